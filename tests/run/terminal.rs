//! On a terminal: a pseudo-terminal of its own, whose keys and lines are those of a person's.

use std::collections::BTreeSet;
use std::fs::File;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pod::{Place, Watched};
use super::pty::{CLEAR, Screen, Terminal};

#[test]
fn a_line_tells_who_runs_and_is_gone_at_the_end() {
    let place = Place::new();
    place.gate("gate");
    let pod = place.pod(
        "steps: {a: {}, b: {}, c: {dependsOn: [a, b]}}",
        &[("a", "read _ < /notes/gate; echo 'a speaks'"), ("b", "read _ < /notes/gate"), ("c", "")],
    );
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let mut terminal = Terminal::start(command);
    terminal.wait("; waiting: c for a, b");
    let times = |written: &str| {
        let times = written.split("[0/3] running: a ").skip(1).filter_map(|rest| rest.split_once('s'));
        times.map(|(seconds, _)| seconds.to_owned()).collect::<BTreeSet<_>>()
    };
    while times(&terminal.written()).len() < 2 {
        assert!(terminal.take(), "times go on with nothing else that happens: {}", terminal.written());
    }
    let _gate = place.open_gate("gate");
    terminal.wait("a speaks");
    assert!(terminal.written().contains("\x1b[33ma       | \x1b[0ma speaks"), "in colour: {:?}", terminal.written());
    let (code, lines) = terminal.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("running:")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("outcome: Succeeded")), "{lines:#?}");
}

/// It has the terminal, so what a person has to say is said in another one, and the line says what.
#[test]
fn the_line_says_what_to_type_in_another_terminal() {
    let place = Place::new();
    let pod = place.pod("steps: {a: {approval: true}, b: {dependsOn: [a]}}", &[("a", ""), ("b", "")]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let mut terminal = Terminal::start(command);
    terminal.wait("in another terminal: podturn approve a");
    assert_eq!(place.ask(&["pause"]).0, 0);
    terminal.wait("paused; ");
    terminal.wait("in another terminal: podturn resume");
    assert_eq!(place.ask(&["resume"]).0, 0);
    assert_eq!(place.ask(&["approve", "a"]).0, 0);
    let (code, lines) = terminal.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("another terminal")), "{lines:#?}");
}

/// CI systems that give a terminal keep all that is written to it.
#[test]
fn in_ci_there_is_no_such_line() {
    let place = Place::new();
    let pod = place.pod("steps: {a: {}}", &[("a", "sleep 0.2; echo 'a speaks'")]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("TERM", "xterm").env("CI", "true");
    let mut terminal = Terminal::start(command);
    terminal.wait("outcome: Succeeded");
    assert!(
        !terminal.written().contains("running:") && !terminal.written().contains(CLEAR),
        "{:?}",
        terminal.written()
    );
    assert_eq!(terminal.end().0, Some(0));
}

/// The terminal sends SIGINT to everybody in its foreground: that must be podturn alone, which has an order to keep.
#[test]
fn ctrl_c_reaches_podturn_alone() {
    let place = Place::new();
    place.gate("gate");
    // The kubelet's own SIGTERM may come while it is on its way down.
    let script = "trap 'echo interrupted >> /notes/got' INT; trap 'trap \"\" TERM; echo stopped >> /notes/got; exit 1' TERM; \
                  echo begun; while :; do read _ < /notes/gate; done";
    // The container of `cleanup` is there before `a` begins: on a deletion nothing is created any more.
    let pod = place.pod("steps: {a: {}, cleanup: {finally: true}}", &[("cleanup", "echo cleaned"), ("a", script)]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.wait("| begun");
    terminal.press(b"\x03");
    terminal.wait("| cleaned");
    let (code, lines) = terminal.end();
    assert_eq!(code, Some(143), "{lines:#?}");
    assert_eq!(place.lines("got"), ["stopped"], "{lines:#?}");
}

/// A terminal that goes away sends SIGHUP, and every write fails from then on: one reason to end, not two.
#[test]
fn a_terminal_that_goes_away_cancels_in_order() {
    let place = Place::new();
    let pod = place.pod(
        "steps: {a: {}, cleanup: {finally: true}}",
        &[("cleanup", "echo cleaned >> /notes/got"), ("a", "echo begun; while :; do echo more; done")],
    );
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.wait("| begun");
    terminal.keyboard = File::open("/dev/null").expect("it is there");
    if let Some(run) = Watched::new(terminal.child.id().cast_signed()) {
        run.wait_end();
    }
    assert_eq!(terminal.child.wait().expect("our child").code(), Some(143));
    assert_eq!(place.lines("got"), ["cleaned"]);
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// A terminal that was stopped (^S), or is not looked at: a write to it would wait, and must not keep Ctrl-C from being heard.
#[test]
fn a_terminal_that_was_stopped_cannot_hold_up_the_end() {
    let place = Place::new();
    let pod = place.pod("steps: [a]", &[("a", "trap '' TERM; echo begun; while :; do echo more; done")]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.wait("| begun");
    let pid = Pid::from_raw(terminal.child.id().cast_signed());
    let run = Watched::new(pid.as_raw()).expect("it lives");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        kill(pid, signal).expect("it is our child");
    }
    run.wait_end();
    assert_eq!(terminal.child.wait().expect("our child").code(), Some(143));
}

#[test]
fn no_escapes_where_none_are_wanted() {
    let never: &[&str] = &["--color", "never"];
    for (name, value, arguments) in [
        ("NO_COLOR", "1", &[][..]),
        ("TERM", "dumb", &[]),
        ("CLICOLOR", "0", &[]),
        ("TERM", "xterm", never),
        ("CLICOLOR_FORCE", "1", never),
    ] {
        let place = Place::new();
        let pod = place.pod("steps: [a]", &[("a", "echo here")]);
        let mut command = place.command(&place.write(&pod), arguments);
        command.env("TERM", "xterm").env_remove("NO_COLOR").env(name, value);
        let mut terminal = Terminal::start(command);
        terminal.wait("outcome: Succeeded");
        let colours = terminal.written().matches("\x1b[3").count() + terminal.written().matches("\x1b[0m").count();
        assert_eq!(colours, 0, "{name}={value} {arguments:?}: {:?}", terminal.written());
        assert!(value != "dumb" || !terminal.written().contains('\x1b'), "{:?}", terminal.written());
        assert_eq!(terminal.end().0, Some(0));
    }
    // One output may be a terminal while the other is not.
    let place = Place::new();
    let pod = place.pod("steps: [a]", &[("a", "echo here; echo there >&2")]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("TERM", "xterm");
    let ended = Place::start_command(command).end();
    assert!(!ended.all().contains("\\u{1b}"), "{}", ended.all());
}

/// In a pipe, too, where somebody shows colours later.
#[test]
fn colours_are_there_where_they_are_asked_for() {
    let always: &[&str] = &["--color", "always"];
    for (name, value, arguments) in
        [("CLICOLOR_FORCE", "1", &[][..]), ("TERM", "xterm", always), ("NO_COLOR", "1", always)]
    {
        let place = Place::new();
        let pod = place.pod("steps: [a]", &[("a", "echo here; echo there >&2")]);
        let mut command = place.command(&place.write(&pod), arguments);
        command.env("TERM", "xterm").env_remove("NO_COLOR").env(name, value);
        let ended = Place::start_command(command).end();
        let is_coloured = |lines: &[String], said: &str| lines.contains(&format!("\x1b[33ma       | \x1b[0m{said}"));
        let all_are = is_coloured(&ended.out, "here") && is_coloured(&ended.err, "there");
        assert!(all_are, "{name}={value} {arguments:?}: {}", ended.all());
    }
}

#[test]
fn without_unicode_in_the_locale_there_is_none_in_the_line() {
    for (locale, cut) in [("C", "[0/1] 1 r~"), ("C.UTF-8", "[0/1] 1 r…")] {
        let place = Place::new();
        place.gate("gate");
        let pod = place.pod("steps: [a]", &[("a", "read _ < /notes/gate")]);
        let mut command = place.command(&place.write(&pod), &[]);
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        let mut screen = Screen::start_in(locale, command, (10, 24));
        screen.terminal.wait(cut);
        let _gate = place.open_gate("gate");
        let (code, _) = screen.terminal.end();
        assert_eq!(code, Some(0));
    }
}
