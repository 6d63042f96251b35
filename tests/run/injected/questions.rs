//! What the probes and hooks of an output ask a step while its command runs: that they do, as `inject` has turned them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::pod::{PIECE, PIECES, Place};

/// The pipe into which every question is written, a line each: by `listener`, and by the programs that `stand_ins` has put there.
pub(super) const QUESTIONS: &str = "questions";

/// What is asked while everything runs, and what only when it is stopped.
const ASKED: [(&str, &[&str], &[&str]); 5] = [
    ("deployment-probes.out.yaml", &["cache: connects", "web: connects", "web: runs"], &["web: GET /drain"]),
    ("deployment.out.yaml", &["db: connects"], &[]),
    ("probes.out.yaml", &["shop: GET /ready", "shop: GET /started"], &[]),
    ("shim-from-image.out.yaml", &["db: runs"], &[]),
    ("stranger-mysql-fixed.out.yaml", &["mysql: connects"], &[]),
];

/// Far more questions than come before each of those was asked.
const MOST: usize = 60;

/// Those that are still to come.
#[derive(Debug)]
pub(super) struct Questions {
    meanwhile: BTreeSet<&'static str>,
    at_last: BTreeSet<&'static str>,
    heard: BufReader<File>,
}

impl Questions {
    pub(super) fn of(file: &str, place: &Place) -> Self {
        let (_, meanwhile, at_last) = ASKED.iter().find(|(of, ..)| *of == file).unwrap_or(&("", &[], &[]));
        place.gate(QUESTIONS);
        fs::set_permissions(place.notes(QUESTIONS), fs::Permissions::from_mode(0o666)).expect("it is ours");
        // Open for both: nobody who writes waits for a reader (fifo(7)).
        let pipe = File::options().read(true).write(true).open(place.notes(QUESTIONS)).expect("a pipe");
        let set = |list: &[&'static str]| list.iter().copied().collect();
        Self { meanwhile: set(meanwhile), at_last: set(at_last), heard: BufReader::new(pipe) }
    }

    /// Whether all has come that is asked while everything runs.
    pub(super) fn have_come(&mut self) -> bool {
        self.wait_until(|still| still.meanwhile.is_empty())
    }

    /// Whether the last has come, too.
    pub(super) fn have_all_come(&mut self) -> bool {
        self.wait_until(|still| still.meanwhile.is_empty() && still.at_last.is_empty())
    }

    fn wait_until(&mut self, is_done: fn(&Self) -> bool) -> bool {
        (0..MOST).any(|_| is_done(self) || !self.take()) && is_done(self)
    }

    /// Takes the next question, if there is one within a test's patience.
    fn take(&mut self) -> bool {
        if self.heard.buffer().is_empty() {
            let mut pipe = [PollFd::new(self.heard.get_ref().as_fd(), PollFlags::POLLIN)];
            let piece = PollTimeout::try_from(PIECE).expect("a second");
            if !(0..PIECES).any(|_| poll(&mut pipe, piece).is_ok_and(|count| count > 0)) {
                return false;
            }
        }
        let mut line = String::new();
        self.heard.read_line(&mut line).expect("whole lines of UTF-8");
        self.meanwhile.remove(line.trim_end());
        self.at_last.remove(line.trim_end());
        true
    }
}
