//! What a turn encloses for its attempt, besides what every turn has: a readiness probe that the shim tries, and the values
//! of the references that it listed.
//!
//! Both may be large, and most turns have neither, so they are no part of [`crate::Turn`]: who needs them reads them from the
//! same bytes, where they stay.

use crate::json::{Object, Writer};
use crate::{Quoted, Strings, TURN_MAX, WireError};

/// The longest value of a reference in bytes: as long as an output may be.
pub const VALUE_MAX: usize = 64 * 1024;

/// The values of one turn in bytes, taken together. execve(2) would refuse much more.
pub const VALUES_MAX: usize = 1024 * 1024;

/// What a turn encloses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enclosed<'a> {
    /// What the shim tries to find out whether the command is ready; `None`: nothing (there is no such probe, or it is
    /// one that the coordinator tries itself).
    pub probe: Option<Probe<'a>>,
    /// The answers to the references that the instance listed, in their order. A turn without attempt needs none.
    pub replace: Strings<'a>,
}

/// A readiness probe, with the fields and the meaning that Kubernetes gives them ("Configure Liveness, Readiness and
/// Startup Probes"). Counted from the attempt's begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe<'a> {
    /// What is tried.
    pub kind: ProbeKind<'a>,
    /// From the begin to the first try, in seconds.
    pub initial_delay_seconds: u32,
    /// From one try to the next, in seconds; at least 1.
    pub period_seconds: u32,
    /// How long one try may take, in seconds; at least 1.
    pub timeout_seconds: u32,
    /// Successes in a row that make it ready; at least 1.
    pub success_threshold: u32,
    /// Failures in a row that mean 'never ready' before the first success, and 'not ready' after it; at least 1.
    pub failure_threshold: u32,
}

/// What a shim can try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind<'a> {
    /// A command and its arguments, run as the step's own command is; code 0 is a success. Not empty.
    Exec(Strings<'a>),
    /// An absolute path: there is such a file, and it was not changed before the attempt's begin.
    File(Quoted<'a>),
    /// A line of the command's stdout or stderr contains this text. Once met it stays met.
    Log(Quoted<'a>),
}

impl<'a> Enclosed<'a> {
    /// As many bytes are enough for any turn that encloses this.
    #[must_use]
    pub fn room(&self) -> usize {
        let texts = match self.probe.map(|probe| probe.kind) {
            Some(ProbeKind::Exec(command)) => command.room(),
            Some(ProbeKind::File(text) | ProbeKind::Log(text)) => text.room(),
            None => 0,
        };
        TURN_MAX + texts + self.replace.room()
    }

    /// Whether a turn may enclose something, by a glance that is cheaper than reading it.
    #[must_use]
    pub fn may_be_in(turn: &[u8]) -> bool {
        const PROBE: u64 = u64::from_le_bytes(*b"\"probe\"\0");
        const REPLACE: u64 = u64::from_le_bytes(*b"\"replace");
        let words = turn.windows(8).filter_map(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?)));
        words.into_iter().any(|word| word << 8 == PROBE << 8 || word == REPLACE)
    }

    /// Reads what the turn in these bytes encloses.
    ///
    /// # Errors
    /// A [`WireError`] for anything that is not a whole turn. What it says besides is not looked at.
    #[cold]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let object = Object::parse(bytes)?;
        let probe = object.object("probe")?.map(|probe| Probe::read(&probe)).transpose()?;
        Ok(Self { probe, replace: object.strings("replace")?.unwrap_or_default() })
    }

    #[cold]
    pub(crate) fn write(&self, json: &mut Writer<'_>) {
        if let Some(probe) = &self.probe {
            json.begin_member("probe");
            probe.write(json);
            json.end();
        }
        if !self.replace.is_empty() {
            json.strings("replace", self.replace);
        }
    }
}

/// The members of a probe that are numbers.
const NUMBERS: [&str; 5] =
    ["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"];

impl<'a> Probe<'a> {
    #[cold]
    fn write(&self, json: &mut Writer<'_>) {
        match self.kind {
            ProbeKind::Exec(command) => json.strings("exec", command),
            ProbeKind::File(path) => json.quoted_string("file", path),
            ProbeKind::Log(text) => json.quoted_string("log", text),
        }
        let Self {
            initial_delay_seconds, period_seconds, timeout_seconds, success_threshold, failure_threshold, ..
        } = *self;
        let numbers = [initial_delay_seconds, period_seconds, timeout_seconds, success_threshold, failure_threshold];
        for (name, value) in NUMBERS.into_iter().zip(numbers) {
            json.number(name, u64::from(value));
        }
    }

    #[cold]
    fn read(object: &Object<'a>) -> Result<Self, WireError> {
        let kind = match (object.strings("exec")?, object.quoted("file")?, object.quoted("log")?) {
            (Some(command), None, None) if !command.is_empty() => ProbeKind::Exec(command),
            (None, Some(path), None) => ProbeKind::File(path),
            (None, None, Some(text)) => ProbeKind::Log(text),
            _ => return Err(WireError::Member("probe")),
        };
        let mut numbers = [0; NUMBERS.len()];
        for ((number, name), at_least) in numbers.iter_mut().zip(NUMBERS).zip([0, 1, 1, 1, 1]) {
            let value = object.optional_u32(name)?.filter(|value| *value >= at_least);
            *number = value.ok_or(WireError::Member(name))?;
        }
        let [initial_delay_seconds, period_seconds, timeout_seconds, success_threshold, failure_threshold] = numbers;
        Ok(Self { kind, initial_delay_seconds, period_seconds, timeout_seconds, success_threshold, failure_threshold })
    }
}
