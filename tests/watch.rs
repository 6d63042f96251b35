//! The screen of `podturn watch`, against `tests/watch/*.txt`, and what keys do on it.
//!
//! `PODTURN_BLESS=1 cargo test --test watch` writes the files anew, and `docs/watch.txt`, the picture in the documentation. Read what has
//! changed before you commit it. The program itself, in a terminal, is seen in `tests/run/watch.rs`.

#[path = "support/golden.rs"]
mod golden;

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use podturn::history::{History, Record};
use podturn::plan::{PodFacts, Source, check};
use podturn::rehearsal::{Wishes, rehearse};
use podturn::view::Act;
use podturn::view::watch::{Key, Log, Look, Teller, Watch, Wish};
use podturn::volume::published::State;
use podturn_turn::{Plan, StepId, Time};
use podturn_wire::Exit;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

const START: &str = "2026-11-26T10:00:00Z";
const PLAIN: Look = Look { colours: false, unicode: true };
const ASCII: Look = Look { colours: false, unicode: false };

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_default()
}

fn plan(text: &str) -> Plan {
    check(&Source::file("plan.yaml".to_owned(), text.to_owned()), &PodFacts::default()).expect("a plan").plan
}

/// A run in virtual time, as it stands after so many ms, and that time.
fn after(ms: u64, plan: &Plan, wishes: &Wishes) -> (State, String) {
    let start: Timestamp = START.parse().expect("a time");
    let mut record: Record = rehearse(plan, wishes);
    record.started = Some(start.as_millisecond());
    let first = record.events.first().map_or(0, |event| event.at);
    record.events.retain(|event| event.at - first <= Time::from(ms) * 1_000_000);
    let now = Timestamp::from_millisecond(start.as_millisecond() + ms.cast_signed()).expect("a time");
    (History::of(&record).expect("a run").state, now.to_string())
}

fn id(plan: &Plan, name: &str) -> StepId {
    StepId(plan.steps.iter().position(|step| step.name == name).expect("a step") as u32)
}

/// The pipeline in its middle: it has met most of what can happen to a step.
fn pipeline() -> (Plan, State, String) {
    let plan = plan(&read("tests/watch/pipeline.yaml"));
    let wishes = Wishes {
        fails: [(id(&plan, "lint"), Exit::Code(3))].into(),
        slow: [("db", 2_500), ("test-3-9", 9_000), ("test-3-10", 9_000)]
            .map(|(name, ms)| (id(&plan, name), ms * 1_000_000))
            .into(),
        outputs: [(id(&plan, "build"), [("version".to_owned(), "1.4.0".to_owned())].into())].into(),
        nobody_approves: true,
        ..Wishes::default()
    };
    let (mut state, now) = after(13_250, &plan, &wishes);
    use_something(&mut state);
    (plan, state, now)
}

/// Stubs use nothing.
fn use_something(state: &mut State) {
    for step in state.steps.iter_mut().filter(|step| step.phase == "Running") {
        let usage = serde_json::json!({
            "cpuMs": 380, "rssKib": 41_000, "peakRssKib": 64_000, "maxRssKib": 40_000, "processes": 3,
        });
        step.usage = Some(serde_json::from_value(usage).expect("as state.json has it"));
    }
    for (index, step) in state.steps.iter_mut().enumerate() {
        for attempt in &mut step.attempts {
            attempt.cpu_ms = Some(137 * (index as u64 + 1));
            attempt.max_rss_kib = Some(31_000 * (index as u64 + 1));
        }
    }
}

fn screen(watch: &mut Watch, now: &str, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let drawn = terminal.draw(|frame| watch.draw(now, frame.area(), frame.buffer_mut()));
    drawn.expect("it is drawn");
    terminal.backend().buffer().clone()
}

/// What a person reads, line by line. The second half of a wide character has no text of its own.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let (mut line, mut skip) = (String::new(), 0);
        for x in 0..buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            if skip == 0 {
                line.push_str(symbol);
                skip = unicode_width::UnicodeWidthStr::width(symbol).max(1);
            }
            skip -= 1;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[track_caller]
fn compare(name: &str, seen: &str) {
    if let Some(difference) = golden::difference(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name), seen) {
        panic!("{difference}");
    }
}

fn press(watch: &mut Watch, keys: &[Key]) -> Vec<Wish> {
    keys.iter().filter_map(|key| watch.press(*key)).collect()
}

const fn letter(letter: char) -> Key {
    Key::Char(letter)
}

#[test]
fn the_screen_is_as_expected_at_every_size() {
    let (plan, state, now) = pipeline();
    let sizes = [
        ("tests/watch/usual.txt", (100, 30), PLAIN),
        ("tests/watch/wide.txt", (150, 20), PLAIN),
        ("tests/watch/narrow.ascii.txt", (44, 20), ASCII),
        ("tests/watch/low.txt", (72, 8), PLAIN),
        ("tests/watch/least.txt", (16, 3), PLAIN),
    ];
    for (name, size, look) in sizes {
        let mut watch = Watch::new(&plan, state.clone(), Teller::Coordinator, look);
        watch.tell_log(Log::Lines(vec!["packed 134 bytes".to_owned(), "asks\x1b[2J".to_owned()]));
        compare(name, &text(&screen(&mut watch, &now, size)));
    }
}

#[test]
fn nothing_is_drawn_outside_of_any_terminal() {
    let (plan, state, now) = pipeline();
    for mode in [&[][..], &[letter('?')], &[letter('c')], &[Key::Enter]] {
        for (width, height) in [(1, 1), (3, 40), (200, 1), (10, 3), (11, 4), (119, 13), (120, 14), (500, 200)] {
            let mut watch = Watch::new(&plan, state.clone(), Teller::Coordinator, PLAIN);
            press(&mut watch, mode);
            screen(&mut watch, &now, (width, height));
        }
    }
}

/// The picture in the documentation: a manifest of this repository, rehearsed to its middle.
#[test]
fn the_picture_in_the_documentation_is_what_is_drawn() {
    let manifest = podturn::plan::Manifest::read("pod.yaml", read("manifests/quickstart.yaml")).expect("a manifest");
    let plan = check(&manifest.plan, &manifest.facts).expect("a plan").plan;
    let wishes = Wishes { fails: [(id(&plan, "lint"), Exit::Code(2))].into(), ..Wishes::default() };
    let (mut state, now) = after(2_400, &plan, &wishes);
    use_something(&mut state);
    let mut watch = Watch::new(&plan, state, Teller::Coordinator, PLAIN);
    watch.tell_log(Log::Lines(vec!["attempt 1".to_owned()]));
    compare("docs/watch.txt", &text(&screen(&mut watch, &now, (92, 18))));
}

#[test]
fn help_and_questions_are_shown_over_the_rest() {
    let (plan, state, now) = pipeline();
    let mut watch = Watch::new(&plan, state, Teller::Coordinator, PLAIN);
    press(&mut watch, &[letter('?')]);
    compare("tests/watch/help.txt", &text(&screen(&mut watch, &now, (80, 26))));
    press(&mut watch, &[letter('q'), letter('a')]);
    compare("tests/watch/question.txt", &text(&screen(&mut watch, &now, (60, 24))));
}

#[test]
fn a_key_is_asked_back_and_only_yes_asks() {
    let (plan, state, _) = pipeline();
    let mut watch = Watch::new(&plan, state, Teller::Coordinator, PLAIN);
    assert_eq!(watch.selected().map(|step| step.name.as_str()), Some("publish"), "who waits for a person comes first");
    assert_eq!(press(&mut watch, &[letter('a'), letter('n')]), []);
    assert_eq!(press(&mut watch, &[letter('a'), Key::Enter]), []);
    assert_eq!(press(&mut watch, &[letter('y')]), [], "nothing is asked any more");
    for (key, act) in [('a', Act::Approve), ('r', Act::Retry), ('s', Act::Skip), ('x', Act::Stop)] {
        let wishes = press(&mut watch, &[letter(key), letter('y')]);
        let [Wish::Ask(asking)] = wishes.as_slice() else { panic!("{key}: {wishes:?}") };
        assert_eq!((asking.act, asking.step.as_deref(), asking.attempt), (act, Some("publish"), Some(0)));
    }
    for (key, act) in [('p', Act::Pause), ('c', Act::Cancel)] {
        let wishes = press(&mut watch, &[letter(key), letter('Y')]);
        let [Wish::Ask(asking)] = wishes.as_slice() else { panic!("{key}: {wishes:?}") };
        assert_eq!((asking.act, &asking.step, asking.attempt), (act, &None, None), "it is about the plan");
    }
    assert_eq!(press(&mut watch, &[letter('c'), Key::Interrupt]), [Wish::Quit], "it leaves, whatever is asked");
}

/// Whoever reads about a step goes on reading, whatever is asked or answered meanwhile.
#[test]
fn one_step_alone_stays_alone_after_a_question_and_after_the_help() {
    let (plan, state, now) = pipeline();
    let mut watch = Watch::new(&plan, state, Teller::Coordinator, PLAIN);
    press(&mut watch, &[Key::Enter]);
    let is_alone = |watch: &mut Watch| !text(&screen(watch, &now, (100, 30))).contains("STEP");
    assert!(is_alone(&mut watch));
    for keys in [[letter('a'), letter('n')], [letter('a'), letter('y')], [letter('?'), letter('q')]] {
        press(&mut watch, &keys[..1]);
        assert!(is_alone(&mut watch), "behind the question too");
        press(&mut watch, &keys[1..]);
        assert!(is_alone(&mut watch), "{keys:?}");
    }
    press(&mut watch, &[Key::Escape]);
    assert!(!is_alone(&mut watch));
}

/// A log may say anything of what was used.
#[test]
fn no_figure_is_too_large_for_the_screen() {
    let (plan, mut state, now) = pipeline();
    for step in &mut state.steps {
        step.usage = Some(
            serde_json::from_value(serde_json::json!({
                "cpuMs": u64::MAX, "rssKib": u64::MAX, "peakRssKib": u64::MAX, "maxRssKib": u64::MAX, "processes": u32::MAX,
            }))
            .expect("as state.json has it"),
        );
        step.attempts
            .iter_mut()
            .for_each(|attempt| (attempt.cpu_ms, attempt.max_rss_kib) = (Some(u64::MAX), Some(u64::MAX)));
    }
    let mut watch = Watch::new(&plan, state, Teller::Record, PLAIN);
    assert!(text(&screen(&mut watch, &now, (150, 40))).contains("STEP"));
}

#[test]
fn the_step_that_was_meant_is_the_one_that_was_selected_when_the_key_was_pressed() {
    let (plan, mut state, _) = pipeline();
    let mut watch = Watch::new(&plan, state.clone(), Teller::Coordinator, PLAIN);
    press(&mut watch, &[letter('a')]);
    let publish = state.steps.iter_mut().find(|step| step.name == "publish").expect("a step");
    publish.attempt = 1;
    watch.tell(state, Teller::Coordinator);
    let wishes = press(&mut watch, &[letter('y')]);
    assert!(matches!(wishes.as_slice(), [Wish::Ask(asking)] if asking.attempt == Some(0)), "{wishes:?}");
}

#[test]
fn the_selection_goes_along_the_dag_and_stays_with_its_step() {
    let (plan, state, now) = pipeline();
    let mut watch = Watch::new(&plan, state.clone(), Teller::Coordinator, PLAIN);
    let at = |watch: &mut Watch, keys: &[Key]| {
        press(watch, keys);
        watch.selected().map(|step| step.name.clone()).unwrap_or_default()
    };
    assert_eq!(at(&mut watch, &[Key::Home]), "clone");
    assert_eq!(at(&mut watch, &[Key::Up]), "clone", "there is nothing above");
    assert_eq!(at(&mut watch, &[Key::Down, letter('j'), letter('k')]), "build");
    assert_eq!(at(&mut watch, &[Key::End]), "notify");
    assert_eq!(at(&mut watch, &[Key::PageDown, Key::Up]), "publish");
    watch.tell(state, Teller::Coordinator);
    assert_eq!(at(&mut watch, &[]), "publish");
    let seen = text(&screen(&mut watch, &now, (100, 30)));
    assert!(seen.lines().any(|line| line.starts_with("> ") && line.contains(" publish ")), "{seen}");
}

#[test]
fn a_paused_plan_says_so_and_the_same_key_ends_it() {
    let (plan, mut state, now) = pipeline();
    state.paused = true;
    let mut watch = Watch::new(&plan, state, Teller::Coordinator, PLAIN);
    let seen = text(&screen(&mut watch, &now, (100, 30)));
    assert!(seen.contains("paused by a person") && seen.contains("p resume"), "{seen}");
    let wishes = press(&mut watch, &[letter('p'), letter('y')]);
    assert!(matches!(wishes.as_slice(), [Wish::Ask(asking)] if asking.act == Act::Resume), "{wishes:?}");
}

#[test]
fn nothing_is_asked_of_a_run_that_has_ended_or_of_nobody() {
    let plan = plan("steps: [a, b]");
    let (ended, now) =
        after(10_000, &plan, &Wishes { fails: [(StepId(0), Exit::Code(3))].into(), ..Wishes::default() });
    let (going, _) = after(500, &plan, &Wishes::default());
    let cases = [
        (ended.clone(), Teller::Silence, "the run has ended: Failed after 1.00s", "the run has ended (Failed)"),
        (going.clone(), Teller::Silence, "no coordinator answers", "no coordinator answers here"),
        (going, Teller::Record, "the log ends here", "no coordinator answers here"),
    ];
    for (state, teller, head, refusal) in cases {
        let mut watch = Watch::new(&plan, state, teller, PLAIN);
        let seen = text(&screen(&mut watch, &now, (100, 20)));
        assert!(seen.contains(head) && seen.contains("read-only"), "{seen}");
        for key in "arsxpc".chars() {
            assert_eq!(press(&mut watch, &[letter(key)]), []);
            let seen = text(&screen(&mut watch, &now, (100, 20)));
            assert!(seen.contains(refusal), "{key}: {seen}");
            assert_eq!(press(&mut watch, &[letter('y')]), []);
        }
    }
    let mut watch = Watch::new(&plan, ended, Teller::Silence, PLAIN);
    compare("tests/watch/ended.txt", &text(&screen(&mut watch, &now, (80, 16))));
}

/// Signs, and words, say everything; colours say it again.
#[test]
fn there_are_colours_where_they_are_wanted_and_only_there() {
    let (plan, state, now) = pipeline();
    let colours = |look: Look| {
        let mut watch = Watch::new(&plan, state.clone(), Teller::Coordinator, look);
        watch.note("done");
        let buffer = screen(&mut watch, &now, (100, 30));
        let coloured: Vec<(String, Color)> = buffer
            .content()
            .iter()
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .map(|cell| (cell.symbol().to_owned(), cell.fg))
            .collect();
        (coloured, text(&buffer))
    };
    let (plain, words) = colours(PLAIN);
    assert_eq!(plain, []);
    let (coloured, same) = colours(Look { colours: true, unicode: true });
    assert_eq!(words, same);
    for wanted in [("✓", Color::Green), ("✗", Color::Red), ("▶", Color::Blue), ("?", Color::Yellow)] {
        assert!(coloured.iter().any(|(sign, colour)| (sign.as_str(), *colour) == wanted), "{wanted:?}: {coloured:?}");
    }
}

/// A matrix of 300: the selected one is in view wherever it is, and the signs can be told.
#[test]
fn three_hundred_steps_can_be_gone_through() {
    let mut text_of_plan = String::from("steps:\n  start: {}\n");
    for leg in 0..299 {
        text_of_plan.push_str(&format!("  leg-{leg}: {{ dependsOn: [start] }}\n"));
    }
    let plan = plan(&text_of_plan);
    let (state, now) = after(1_500, &plan, &Wishes::default());
    let mut watch = Watch::new(&plan, state, Teller::Coordinator, ASCII);
    press(&mut watch, &[Key::Home]);
    for step in 0..300 {
        let seen = text(&screen(&mut watch, &now, (80, 24)));
        let name = if step == 0 { "start".to_owned() } else { format!("leg-{}", step - 1) };
        let marked = seen.lines().find(|line| line.starts_with("> ")).unwrap_or_default();
        assert!(marked.split_whitespace().any(|word| word == name), "{name}: {seen}");
        press(&mut watch, &[Key::Down]);
    }
}

/// Alone on the screen a step shows all that there is of it, line by line.
#[test]
fn one_step_alone_can_be_read_to_its_last_line() {
    let (plan, state, now) = pipeline();
    let mut watch = Watch::new(&plan, state, Teller::Coordinator, PLAIN);
    watch.tell_log(Log::Lines((0..100).map(|line| format!("line {line}")).collect()));
    let beside = text(&screen(&mut watch, &now, (80, 30)));
    assert!(beside.contains("line 99") && !beside.contains("line 90\n"), "the newest ones\n{beside}");
    press(&mut watch, &[Key::Enter]);
    assert!(text(&screen(&mut watch, &now, (80, 30))).contains("line 0\n"));
    press(&mut watch, &[Key::End]);
    assert!(text(&screen(&mut watch, &now, (80, 30))).contains("line 99\n"));
    press(&mut watch, &[Key::Up]);
    let seen = text(&screen(&mut watch, &now, (80, 30)));
    assert!(
        !seen.contains("line 99\n") && seen.contains("line 98\n"),
        "one line back, however often End was pressed\n{seen}"
    );
    press(&mut watch, &[Key::Escape]);
    assert!(text(&screen(&mut watch, &now, (80, 30))).contains("STEP"));
}
