//! When tries are due, on a clock that jumps: the moments are exact, and nothing waits for them.

use std::cell::RefCell;
use std::sync::Arc;

use podturn_turn::{Probed, Readiness, StepId};
use podturn_wire::InstanceId;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, advance, pause, resume, sleep};

use super::super::count::Known;
use super::super::{Failures, Found, Prober, Probing, Tries};
use super::readiness;
use crate::probe::tests::servers::{changing, health, listen, refusing, silent, story, story_in_jumps, web};
use crate::probe::tests::{grpc, http, tcp};

/// Seconds since the beginning, and what happened then.
type Diary = Vec<(u64, String)>;

const OF: Probing = Probing { step: StepId(3), instance: InstanceId(7), attempt: 2 };

fn of_db(readiness: Readiness, first: u64, known: Known) -> Tries {
    Tries {
        of: OF,
        name: "db".into(),
        readiness: Arc::new(readiness),
        first: Duration::from_secs(first),
        known,
        failures: Failures::default(),
    }
}

/// Plays tries that take so many seconds and come to that: `None` never ends. After the last one, the story does.
async fn play(readiness: &Readiness, first: u64, known: Known, tries: &[(Option<u64>, bool)]) -> Diary {
    let begin = Instant::now();
    let (diary, left) = (RefCell::new(Diary::new()), RefCell::new(tries.iter()));
    let note = |what: &str| diary.borrow_mut().push((begin.elapsed().as_secs(), what.to_owned()));
    let (over, mut is_over) = mpsc::channel::<()>(1);
    let attempt = || {
        let next = left.borrow_mut().next().copied();
        note(if next.is_some() { "try" } else { "over" });
        let over = over.clone();
        async move {
            let Some((takes, succeeds)) = next else {
                over.try_send(()).expect("it is over once");
                return std::future::pending().await;
            };
            match takes {
                Some(seconds) => sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
            succeeds.then_some(None).ok_or_else(|| "refused".to_owned())
        }
    };
    let tell = |verdict: Probed, why: Option<String>| {
        note(&format!("{verdict:?} {}", why.unwrap_or_default()));
        async { true }
    };
    let of_db = of_db(readiness.clone(), first, known);
    tokio::select! {
        () = of_db.schedule(attempt, tell) => {}
        _ = is_over.recv() => {}
    }
    diary.into_inner()
}

fn told(diary: &Diary) -> Vec<(u64, &str)> {
    diary.iter().map(|(at, what)| (*at, what.trim())).collect()
}

#[test]
fn the_first_try_comes_after_the_delay_and_the_others_after_a_period_each() {
    story_in_jumps(async {
        let diary =
            play(&readiness(tcp(1)), 30, Known::Never, &[(Some(0), false), (Some(0), true), (Some(0), true)]).await;
        assert_eq!(told(&diary), [(30, "try"), (40, "try"), (40, "Ready"), (50, "try"), (60, "over")]);
    });
}

#[test]
fn a_readiness_that_never_comes_has_an_end() {
    story_in_jumps(async {
        let diary = play(&readiness(tcp(1)), 0, Known::Never, &[(Some(0), false); 9]).await;
        assert_eq!(told(&diary), [(0, "try"), (10, "try"), (20, "try"), (20, "NotReady refused")]);
    });
}

#[test]
fn a_service_may_flap_for_ever() {
    story_in_jumps(async {
        let readiness = Readiness { failure_threshold: 2, period_seconds: 1, ..readiness(tcp(1)) };
        let tries = [true, false, false, false, true, false, true, false, false].map(|succeeds| (Some(0), succeeds));
        let diary = play(&readiness, 0, Known::Never, &tries).await;
        let verdicts: Vec<_> = told(&diary).into_iter().filter(|(_, what)| *what != "try").collect();
        let expected = [(0, "Ready"), (2, "Unready refused"), (4, "Ready"), (8, "Unready refused"), (9, "over")];
        assert_eq!(verdicts, expected);
    });
}

#[test]
fn a_try_has_its_time_and_a_late_one_is_followed_at_once() {
    story_in_jumps(async {
        let readiness = Readiness { timeout_seconds: 25, ..readiness(tcp(1)) };
        let tries = [(None, true), (Some(24), true), (Some(0), true)];
        let diary = play(&readiness, 0, Known::Never, &tries).await;
        assert_eq!(told(&diary), [(0, "try"), (25, "try"), (49, "Ready"), (49, "try"), (59, "over")]);

        let hanging = Readiness { failure_threshold: 1, ..readiness.clone() };
        let diary = play(&hanging, 0, Known::Never, &[(None, true)]).await;
        assert_eq!(told(&diary), [(0, "try"), (25, "NotReady no answer within 25 s")]);
    });
}

#[test]
fn a_coordinator_that_comes_later_goes_on_where_the_one_before_was() {
    story_in_jumps(async {
        let readiness = Readiness { failure_threshold: 1, ..readiness(tcp(1)) };
        let diary = play(&readiness, 0, Known::Ready, &[(Some(0), true), (Some(0), false), (Some(0), true)]).await;
        let expected = [(0, "try"), (10, "try"), (10, "Unready refused"), (20, "try"), (20, "Ready"), (30, "over")];
        assert_eq!(told(&diary), expected);
        let diary = play(&readiness, 0, Known::Lost, &[(Some(0), false), (Some(0), true)]).await;
        assert_eq!(told(&diary), [(0, "try"), (10, "try"), (10, "Ready"), (20, "over")]);
    });
}

/// A prober as the coordinator starts it, against a real server.
fn start(readiness: Readiness) -> (Prober, mpsc::Receiver<Found>) {
    let (sender, found) = mpsc::channel(16);
    let task = of_db(readiness, 0, Known::Never).follow(sender);
    (Prober { task: tokio::spawn(task).abort_handle(), failures: Failures::default() }, found)
}

/// Real tries on real time: a clock that jumps would not wait for the network.
#[test]
fn servers_make_a_step_ready() {
    story(async {
        let (web, health) = (web("127.0.0.1", |_| true).await, health().await);
        for probe in [tcp(web), http(web, "/200"), grpc(health, "db")] {
            // A machine that stands still for a while is no reason to fail.
            let (_prober, mut found) = start(Readiness { timeout_seconds: 3600, ..readiness(probe) });
            let expected = Found { of: OF, readiness: Probed::Ready, why: None };
            assert_eq!(found.recv().await, Some(expected));
        }
    });
}

#[test]
fn whoever_refuses_hangs_or_fails_is_not_ready() {
    story_in_jumps(async {
        let ((_bound, refusing), (hanging, _)) = (refusing(), silent().await);
        for probe in [tcp(refusing), http(refusing, "/"), grpc(refusing, ""), http(hanging, "/"), grpc(hanging, "")] {
            let (_prober, mut found) = start(readiness(probe));
            let not_ready = found.recv().await.expect("a verdict");
            assert_eq!((not_ready.of, not_ready.readiness), (OF, Probed::NotReady));
            assert!(not_ready.why.is_some());
            assert_eq!(found.recv().await, None, "it tries no more");
        }
    });
}

/// Real tries: the clock runs, and jumps by a period whenever a try has been answered.
#[test]
fn a_server_that_warms_up_and_falters_is_ready_when_it_answers() {
    story(async {
        let (port, mut answered) = changing(&[503, 503, 200, 500, 200, 500, 404, 200]).await;
        let one_second = Duration::from_secs(1);
        tokio::task::spawn_local(async move {
            while answered.recv().await.is_some() {
                pause();
                advance(one_second).await;
                resume();
            }
        });
        let patient = Readiness { timeout_seconds: 3600, period_seconds: 1, ..readiness(http(port, "/")) };
        let (_prober, mut found) = start(Readiness { failure_threshold: 2, ..patient.clone() });
        assert_eq!(found.recv().await.map(|found| found.readiness), Some(Probed::NotReady));
        let (_prober, mut found) = start(Readiness { failure_threshold: 2, ..patient });
        let mut verdicts = Vec::new();
        for _ in 0..3 {
            let Found { readiness, why, .. } = found.recv().await.expect("a verdict");
            verdicts.push((readiness, why.unwrap_or_default()));
        }
        let expected = [(Probed::Ready, ""), (Probed::Unready, "HTTP status 404 Not Found"), (Probed::Ready, "")];
        assert_eq!(verdicts, expected.map(|(readiness, why)| (readiness, why.to_owned())));
    });
}

#[test]
fn a_prober_that_is_dropped_says_no_more() {
    story_in_jumps(async {
        let (listener, port) = listen("127.0.0.1").await;
        let (prober, mut found) = start(readiness(http(port, "/")));
        drop(prober);
        assert_eq!(found.recv().await, None);
        drop(listener);
    });
}
