//! `podturn watch` as `kubectl exec -it` starts it: in the coordinator's container, FROM scratch, in which there is nothing but podturn's
//! static program: no terminfo, no shell, no locale. The terminal's size comes a moment later, from outside.

use super::pty::Screen;
use super::store::Store;
use super::wired::wired;
use super::with;

const DATABASE: &str = include_str!("../../manifests/database-test.yaml");

/// The test goes on until it is told to stop.
const HANGS: (&str, &str) = (
    "echo \"insert somebody\" > /run/database/requests",
    "trap 'echo stopping; exit 1' TERM; echo testing; sleep 1000 & wait",
);

/// The keys are in the last line of the terminal once its size has come through. podman passes a change on when it is told of one, and
/// of two at once it may miss the second: a person pulls at the window once more then.
fn becomes(screen: &mut Screen, (columns, lines): (u16, u16)) {
    for _ in 0..60 {
        screen.resize((columns, lines));
        if screen.begins(lines - 1, " ? help  q quit") {
            return;
        }
        screen.terminal.take(); // once a second, at least
        if screen.begins(lines - 1, " ? help  q quit") {
            return;
        }
        screen.resize((columns - 1, lines));
    }
    panic!("it never filled {columns} columns and {lines} lines:\n{}", screen.text());
}

#[test]
fn a_person_watches_in_a_container_from_scratch_and_stops_a_step() {
    let Some(store) = Store::new() else { return };
    let pod = store.play("watched", &wired("watched", &with(DATABASE, HANGS.0, HANGS.1), &[]));
    pod.wait_for_line("itest", "testing");

    let mut screen = Screen::start(pod.podturn_on_a_terminal(&["watch"]), (50, 12));
    screen.wait("● database  Ready");
    screen.wait("▶ itest");
    becomes(&mut screen, (50, 12));
    becomes(&mut screen, (110, 32));
    screen.press("?");
    screen.wait("leave: the run goes on");
    screen.press("q"); // any key
    // With arrows, as this terminal sends them.
    screen.press("\x1b[F");
    screen.wait("its log is not here: kubectl logs POD -c itest");
    screen.press("x");
    screen.wait("stop itest?");
    screen.press("n");
    screen.wait("nothing was asked for");
    screen.press("\x03");
    let (code, left) = screen.end();
    assert_eq!((code, left.trim()), (Some(0), ""), "nothing is left on the terminal");

    let mut screen = Screen::start(pod.podturn_on_a_terminal(&["watch", "--ascii"]), (80, 24));
    screen.wait("> itest");
    screen.press("\x1b[Fxy");
    let (code, left) = screen.end();
    assert_eq!(code, Some(0), "{left}");
    assert!(left.contains("outcome: Cancelled") || left.contains("outcome: Failed"), "{left}");
    assert!(left.contains("StopRequested"), "the table is left behind:\n{left}");
}
