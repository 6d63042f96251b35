//! A copy of a volume, made of what its run's log tells: for whoever looks on when the volume is gone.

use std::fs;
use std::io;
use std::path::Path;

use podturn_turn::Event;
use podturn_wire::names;
use serde::Serialize;

use super::Run;
use super::published::State;
use super::usage::{Sample, USAGE};

/// Writes the files that views read into a directory. There are no mailboxes in it, and nobody can go on with it.
///
/// # Errors
/// Those of writing.
pub fn write_copy(directory: &Path, run: &Run, events: &[Event], usage: &[Sample], state: &State) -> io::Result<()> {
    fs::write(directory.join(names::RUN), serde_json::to_vec(run)?)?;
    fs::write(directory.join(names::JOURNAL), lines(events)?)?;
    fs::write(directory.join(USAGE), lines(usage)?)?;
    fs::write(directory.join(names::STATE), serde_json::to_vec(state)?)
}

fn lines(all: &[impl Serialize]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for one in all {
        serde_json::to_writer(&mut lines, one)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::volume::{Journal, Volume, usage};

    #[test]
    fn a_copy_has_all_that_views_read() {
        let run: Run = serde_json::from_value(json!({
            "version": 1, "run": "0123456789abcdef", "bootId": "b", "placement": "sidecar", "durability": "process",
            "plan": { "steps": [], "maxParallel": null, "pools": [], "timeout": null, "onFailure": "Continue", "gracePeriod": 1,
                "arrivalTimeout": 1, "coordinatorGrace": 1, "pauseTimeout": null, "longRunning": false, "parameters": [] },
        }))
        .expect("a run");
        let state = json!({ "version": 1, "run": "0123456789abcdef", "seq": 1, "outcome": null, "steps": [] });
        let state: State = serde_json::from_value(state).expect("a state");
        let started = podturn_turn::Kind::CoordinatorStarted { rebooted: false };
        let events = [Event { seq: 1, at: 2, kind: started }];
        let samples: [Sample; 1] = [serde_json::from_value(json!({
            "step": "build", "attempt": 1, "afterMs": 250, "cpuMs": 90, "rssKib": 4096, "maxRssKib": 4096, "processes": 2,
        }))
        .expect("a sample")];
        let directory = tempfile::tempdir().expect("a directory");
        write_copy(directory.path(), &run, &events, &samples, &state).expect("it can be written");
        let volume = Volume::open(directory.path()).expect("it is there");
        assert_eq!(volume.read_run().expect("it can be read"), Some(run));
        assert_eq!(Journal::read(&volume).expect("it can be read"), events);
        assert_eq!(usage::read(&volume), samples);
        let read: State = serde_json::from_slice(&fs::read(directory.path().join(names::STATE)).expect("it is there"))
            .expect("a state");
        assert_eq!(read, state);
    }
}
