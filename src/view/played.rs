//! Runs for the tests of this room: a plan, and how each attempt of its steps ends.

use podturn_turn::{Outputs, Plan};
use podturn_wire::{Exit, RunId};

use crate::history::{Act, Record, Script, Scripts, play};
use crate::plan::{PodFacts, Source, check};

pub(super) const SECOND: u64 = 1_000_000_000;

/// What nobody who shows text may take for anything but text.
pub(super) const EVIL: &str =
    "</failure>]]><script>alert(1)</script>\"'& | `x` **b** [l](http://e) $m$ \\| <b>\u{202e}\0\x1b[31m\nnext";

pub(super) fn plan(text: &str) -> Plan {
    check(&Source::file("plan.yaml".to_owned(), text.to_owned()), &PodFacts::default()).expect("the plan is right").plan
}

/// An attempt of so many seconds that ends with this code.
pub(super) fn act(seconds: u64, code: u8) -> Act {
    let exit = Exit::Code(code);
    Act {
        handoff: 1_000_000,
        runs: Some(seconds * SECOND),
        probed: None,
        stops: SECOND,
        told: 1_000_000,
        exit,
        stopped: Exit::Signal { number: 15, oom: false },
        timed_out: false,
        outputs: Outputs::default(),
    }
}

/// The run in which each step makes its attempts; a step without any never arrives.
pub(super) fn record(plan: Plan, steps: &[&[Act]]) -> Record {
    let script = |acts: &&[Act]| Script {
        arrives: (!acts.is_empty()).then_some(0),
        acts: acts.to_vec(),
        approval: Some(SECOND),
        ..Script::default()
    };
    let scripts = Scripts { steps: steps.iter().map(script).collect(), ..Scripts::default() };
    let run = RunId(0xab);
    let events = play(&plan, run, &scripts).expect("it ends");
    Record {
        run,
        plan,
        events,
        started: Some(1_764_000_000_000),
        usage: Vec::new(),
        resources: Default::default(),
        until: None,
        is_rehearsal: false,
    }
}
