//! `podturn watch` beside a `podturn run`, in a terminal of its own: what a person sees, and what keys do to the run.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pod::{Ended, Place};
use super::pty::Screen;

/// `podturn watch` in a terminal of this size, in columns and lines.
fn watch(place: &Place, arguments: &[&str], size: (u16, u16), environment: &[(&str, &str)]) -> Screen {
    watch_in("C.UTF-8", place, arguments, size, environment)
}

/// The same in another locale.
fn watch_in(locale: &str, place: &Place, arguments: &[&str], size: (u16, u16), environment: &[(&str, &str)]) -> Screen {
    let mut command = place.podturn(&["watch"]);
    command.args(arguments).env_remove("TERM").env_remove("NO_COLOR").envs(environment.iter().copied());
    Screen::start_in(locale, command, size)
}

fn kept(ended: &Ended) -> String {
    ended.kept().to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_person_watches_a_run_approves_a_step_and_sees_the_end() {
    let place = Place::new();
    place.gate("first");
    place.gate("second");
    let pod = place.pod(
        "steps: {build: {}, publish: {dependsOn: [build], approval: '发布吗？'}, notify: {finally: true}}",
        &[
            ("build", "echo 'build speaks'; read _ < /notes/first"),
            ("publish", "read _ < /notes/second"),
            ("notify", ""),
        ],
    );
    let run = place.start(&pod, &[]);
    place.wait_arrived();
    let mut screen = watch(&place, &[], (90, 24), &[]);
    screen.wait("0 of 3 done · 1 running");
    screen.wait("> ▶ build    Running");
    screen.wait("build speaks");

    let _first = place.open_gate("first");
    screen.wait("1 waits for you");
    screen.press("\x1b[B");
    screen.wait("> ? publish  Awaiting");
    screen.press("a");
    screen.wait("It asks: 发布吗？");
    screen.press("n");
    screen.wait("nothing was asked for");
    screen.press("ay");
    screen.wait("publish may run");
    screen.wait("> ▶ publish  Running");

    screen.resize((40, 10));
    screen.press("j");
    screen.wait("…"); // there is no room for all
    screen.wait(" ? help  q quit");

    screen.resize((100, 24));
    let _second = place.open_gate("second");
    let (code, text) = screen.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("outcome: Succeeded"), "the table is left behind:\n{text}");
    assert_eq!(run.end().code, 0);
}

#[test]
fn leaving_leaves_the_run_alone_and_cancelling_does_not() {
    let place = Place::new();
    let pod = place.pod("steps: {work: {}, notify: {finally: true}}", &[("work", "exec sleep 1000"), ("notify", "")]);
    let run = place.start(&pod, &[]);
    place.wait_arrived();
    for leave in ["q", "\x03"] {
        let mut screen = watch(&place, &[], (80, 24), &[]);
        screen.wait("work    Running");
        screen.press(leave);
        let (code, text) = screen.end();
        assert_eq!((code, text.trim()), (Some(0), ""), "nothing is left");
    }
    let mut screen = watch(&place, &[], (80, 24), &[]);
    screen.wait("work    Running");
    kill(Pid::from_raw(screen.terminal.child.id().cast_signed()), Signal::SIGTERM).expect("it is ours");
    assert_eq!(screen.end().0, Some(0), "asked to end it gives the terminal back");

    let mut screen = watch(&place, &[], (80, 24), &[]);
    screen.wait("work    Running");
    screen.press("c");
    screen.wait("cancel the plan?");
    screen.press("y");
    let (code, text) = screen.end();
    assert_eq!(code, Some(0));
    assert!(text.contains("outcome: Cancelled"), "{text}");
    assert_eq!(run.end().code, 143);
}

#[test]
fn a_run_that_has_ended_is_looked_at_where_its_volumes_are_kept() {
    let place = Place::new();
    let pod = place.pod("steps: {a: {}, b: {}}", &[("a", "echo 'a speaks'"), ("b", "exit 3")]);
    let volume = kept(&place.run(&pod, &["--keep"]));
    let mut screen = watch(&place, &["--volume", &volume], (80, 24), &[]);
    screen.wait("the run has ended: Failed");
    screen.wait("> ✗ b     Failed");
    screen.press("k");
    screen.wait("a speaks");
    screen.press("c");
    screen.wait("nothing can be asked of it any more");
    screen.press("q");
    assert_eq!(screen.end().0, Some(0));
}

#[test]
fn colours_are_where_they_are_wanted() {
    let place = Place::new();
    let volume = kept(&place.run(&place.pod("steps: {a: {}}", &[("a", "true")]), &["--keep"]));
    let coloured = |arguments: &[&str], environment: &[(&str, &str)]| {
        let arguments = [arguments, &["--volume", &volume]].concat();
        let mut screen = watch(&place, &arguments, (80, 24), environment);
        screen.wait("the run has ended: Succeeded");
        let green = (0..80)
            .filter_map(|column| screen.parser.screen().cell(2, column))
            .any(|cell| cell.contents() == "✓" && cell.fgcolor() == vt100::Color::Idx(2));
        screen.press("q");
        assert_eq!(screen.end().0, Some(0));
        green
    };
    assert!(coloured(&[], &[("TERM", "xterm")]));
    assert!(!coloured(&[], &[("TERM", "xterm"), ("NO_COLOR", "1")]));
    assert!(!coloured(&[], &[("TERM", "xterm"), ("CLICOLOR", "0")]));
    assert!(!coloured(&["--color", "never"], &[("TERM", "xterm")]));
    assert!(coloured(&["--color", "always"], &[("NO_COLOR", "1")]));
}

#[test]
fn without_unicode_in_the_locale_there_is_none_on_the_screen() {
    let place = Place::new();
    let pod = place.pod("steps: {a: {}, b: {dependsOn: [a]}}", &[("a", "true"), ("b", "exit 3")]);
    let volume = kept(&place.run(&pod, &["--keep"]));
    let shown = |locale: &str, line: &str| {
        let mut screen = watch_in(locale, &place, &["--volume", &volume], (40, 24), &[]);
        screen.wait("the run has ended: Failed");
        screen.wait(line);
        let text = screen.text();
        screen.press("q");
        assert_eq!(screen.end().0, Some(0));
        text
    };
    let text = shown("C", "> x b");
    assert!(text.is_ascii(), "{text}");
    assert!(!shown("C.UTF-8", "> ✗ b").is_ascii());
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let place = Place::new();
    let (code, out, err) = place.ask(&["watch"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("no terminal") && err.contains("podturn status --follow"), "{err}");
}
