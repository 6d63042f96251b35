//! The turn: what the coordinator wants of one step, whole.

use crate::json::{Object, Writer};
use crate::{ENCLOSING_TURN_MAX, Enclosed, InstanceId, MESSAGE_MAX, RunId, Text, VERSION, WireError};

/// The longest path of a termination log in bytes.
pub const TERMINATION_LOG_MAX: usize = 255;

/// A whole desired state, not a command: whoever reads it twice does nothing twice.
///
/// What an attempt needs besides, and most do not, is [`Enclosed`] in the same file.
///
/// Going from `attempt: Some(k)` to `None` means: stop attempt k with `signal`, and with SIGKILL after `grace`.
/// Signal, grace and time limit are in the turn so that a shim whose coordinator is gone still keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The run that this turn belongs to. A shim obeys no other.
    pub run: RunId,
    /// The instance that it is addressed to. `None` only in the turn that the init container lays down, from which a
    /// shim learns the run and the grace.
    pub instance: Option<InstanceId>,
    /// Grows with every change of the desired state, never falls within a run. 0 is the init container's.
    pub turn: u64,
    /// The `seq` of the newest report that this turn takes into account.
    pub ack: u64,
    /// The attempt that should be running, counted from 1; `None`: none should.
    pub attempt: Option<u32>,
    /// What to do while no attempt is wanted.
    pub then: Then,
    /// What stop sends first. Linux signal number.
    pub signal: u8,
    /// Between stop signal and SIGKILL, in milliseconds.
    pub grace: u64,
    /// How long one attempt may take, in milliseconds.
    pub timeout: Option<u64>,
    /// How long a waiting shim outlives a lost coordinator, in milliseconds.
    pub coordinator_grace: u64,
    /// The file for the step's last line (`terminationMessagePath`); empty: the step's container wants none.
    pub termination_log: Text<TERMINATION_LOG_MAX>,
}

/// What a shim does when it runs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "no allocation here, and there is one turn at a time")]
pub enum Then {
    /// Wait for the next turn.
    Stay,
    /// End the container with this code, after a line for a person.
    Exit {
        /// The container's exit code.
        code: u8,
        /// One line, for the termination log and stderr. Empty: none.
        message: Text<MESSAGE_MAX>,
    },
    /// Wait for ever, so that a kubelet that restarts what exits does not run the step again.
    Park,
}

impl Turn {
    /// Writes the JSON form into `buffer` and returns its length. It encloses nothing.
    ///
    /// # Errors
    /// `TooLong` when `buffer` is too small; [`crate::TURN_MAX`] bytes are always enough.
    pub fn write(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        self.write_enclosing(&Enclosed::default(), buffer)
    }

    /// As [`Turn::write`], with what it encloses.
    ///
    /// # Errors
    /// `TooLong` when `buffer` is too small; [`Enclosed::room`] bytes are always enough.
    pub fn write_enclosing(&self, enclosed: &Enclosed<'_>, buffer: &mut [u8]) -> Result<usize, WireError> {
        let mut json = Writer::new(buffer);
        json.begin();
        json.number("version", VERSION);
        json.string("run", self.run.digits().as_str());
        match self.instance {
            Some(instance) => json.string("instance", instance.digits().as_str()),
            None => json.null("instance"),
        }
        json.number("turn", self.turn);
        json.number("ack", self.ack);
        json.optional("attempt", self.attempt.map(u64::from));
        match &self.then {
            Then::Stay => json.string("then", "stay"),
            Then::Park => json.string("then", "park"),
            Then::Exit { code, message } => {
                json.string("then", "exit");
                json.number("exitCode", u64::from(*code));
                json.string("message", message.as_str());
            }
        }
        json.number("signal", u64::from(self.signal));
        json.number("grace", self.grace);
        json.optional("timeout", self.timeout);
        json.number("coordinatorGrace", self.coordinator_grace);
        json.string("terminationLog", self.termination_log.as_str());
        enclosed.write(&mut json); // last: who looks for what every turn has need not step over it
        json.end();
        json.finish()
    }

    /// Reads the JSON form, without what it encloses.
    ///
    /// # Errors
    /// A [`WireError`] for anything that is not a whole turn of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > ENCLOSING_TURN_MAX {
            return Err(WireError::TooLong);
        }
        let object = Object::parse(bytes)?;
        match object.number("version")? {
            VERSION => {}
            other => return Err(WireError::Version(other)),
        }
        let then = match object.word("then") {
            Some(b"stay") => Then::Stay,
            Some(b"park") => Then::Park,
            Some(b"exit") => Then::Exit { code: object.small("exitCode")?, message: object.text("message")? },
            _ => return Err(WireError::Member("then")),
        };
        let [turn, ack, grace, coordinator_grace] = object.numbers(["turn", "ack", "grace", "coordinatorGrace"])?;
        Ok(Self {
            run: object.hex("run")?.map(RunId).ok_or(WireError::Member("run"))?,
            instance: object.hex("instance")?.map(InstanceId),
            turn,
            ack,
            attempt: object.optional_u32("attempt")?,
            then,
            signal: object.small("signal")?,
            grace,
            timeout: object.optional_number("timeout")?,
            coordinator_grace,
            termination_log: object.text("terminationLog")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Probe, ProbeKind, Quoted, Strings, TURN_MAX};

    fn a_turn() -> Turn {
        Turn {
            run: RunId(0x1234),
            instance: Some(InstanceId(u64::MAX)),
            turn: 7,
            ack: 3,
            attempt: None,
            then: Then::Exit { code: 143, message: Text::truncated("Cancelled: a \"person\" asked\n\u{1}\u{e9}") },
            signal: 15,
            grace: 10_000,
            timeout: Some(900_000),
            coordinator_grace: 30_000,
            termination_log: Text::truncated("/dev/termination-log"),
        }
    }

    #[test]
    fn a_turn_comes_back_as_it_was_written() {
        let mut buffer = [0; TURN_MAX];
        for turn in [
            a_turn(),
            Turn { attempt: Some(2), then: Then::Stay, timeout: None, ..a_turn() },
            Turn { instance: None, turn: 0, then: Then::Park, termination_log: Text::new(), ..a_turn() },
        ] {
            let length = turn.write(&mut buffer).expect("the buffer is large enough");
            assert_eq!(Turn::parse(&buffer[..length]), Ok(turn));
        }
    }

    fn a_probe(kind: ProbeKind<'_>) -> Probe<'_> {
        Probe {
            kind,
            initial_delay_seconds: 0,
            period_seconds: 10,
            timeout_seconds: 1,
            success_threshold: 2,
            failure_threshold: u32::MAX,
        }
    }

    #[test]
    fn what_a_turn_encloses_comes_back_too() {
        let mut buffer = [0; TURN_MAX];
        let command = ["pg_isready", "-h", "a \"b\""];
        let kinds = [
            ProbeKind::Exec(Strings::new(&command)),
            ProbeKind::File(Quoted::new("/tmp/ready")),
            ProbeKind::Log(Quoted::new("ready to accept\tconnections")),
        ];
        for probe in kinds.map(|kind| Some(a_probe(kind))).into_iter().chain([None]) {
            for replace in [Strings::default(), Strings::new(&["1.2.3", "", "two\nlines"])] {
                let enclosed = Enclosed { probe, replace };
                let length = a_turn().write_enclosing(&enclosed, &mut buffer).expect("the buffer is large enough");
                assert!(length <= enclosed.room());
                assert_eq!(Turn::parse(&buffer[..length]), Ok(a_turn()));
                assert_eq!(Enclosed::parse(&buffer[..length]), Ok(enclosed));
                assert_eq!(Enclosed::may_be_in(&buffer[..length]), enclosed != Enclosed::default());
            }
        }
    }

    #[test]
    fn a_probe_that_tries_nothing_or_too_much_is_refused() {
        let mut buffer = [0; TURN_MAX];
        let never = Probe { period_seconds: 0, ..a_probe(ProbeKind::Log(Quoted::new("x"))) };
        for probe in [never, a_probe(ProbeKind::Exec(Strings::default()))] {
            let enclosed = Enclosed { probe: Some(probe), ..Enclosed::default() };
            let length = a_turn().write_enclosing(&enclosed, &mut buffer).expect("the buffer is large enough");
            assert!(Enclosed::parse(&buffer[..length]).is_err(), "{probe:?}");
        }
        assert_eq!(Enclosed::parse(br#"{"probe":{"file":"a","log":"b"}}"#), Err(WireError::Member("probe")));
    }

    #[test]
    fn a_torn_turn_is_refused_at_every_length() {
        let mut buffer = [0; TURN_MAX];
        let length = a_turn().write(&mut buffer).expect("the buffer is large enough");
        let object = length - 1; // without the newline at the end, which is no part of the object
        for cut in 0..object {
            assert!(Turn::parse(&buffer[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Turn::parse(&buffer[..object]).is_ok());
    }

    #[test]
    fn unknown_members_are_ignored_and_other_versions_refused() {
        let known = br#"{"version":1,"later":{"a":[1,"}"]},"run":"00000000000000aa","instance":null,"turn":0,"ack":0,
            "attempt":null,"then":"stay","signal":15,"grace":1,"timeout":null,"coordinatorGrace":2,"terminationLog":""}"#;
        assert_eq!(Turn::parse(known).map(|t| t.run), Ok(RunId(0xaa)));
        assert_eq!(Turn::parse(br#"{"version":2}"#), Err(WireError::Version(2)));
        assert_eq!(Turn::parse(br#"{"version":1}"#), Err(WireError::Member("then")));
    }
}
