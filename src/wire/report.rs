//! The report: what a shim has done, whole and monotone.

use crate::json::{Object, Writer};
use crate::{InstanceId, LISTING_REPORT_MAX, RunId, Strings, VERSION, WireError};

/// Everything one shim has to say, in one register: a reader that missed a state in between sees it from the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The run that the shim belongs to.
    pub run: RunId,
    /// The life of the shim that speaks.
    pub instance: InstanceId,
    /// Counts this instance's reports from 1.
    pub seq: u64,
    /// The newest turn that the shim has acted on.
    pub turn: u64,
    /// The newest attempt that this instance has begun; `None`: none yet.
    pub attempt: Option<u32>,
    /// When that attempt was begun, just before its command was started. `CLOCK_BOOTTIME`, ns.
    pub started_at: Option<u64>,
    /// How that attempt ended; `None` while it runs.
    pub ended: Option<Ended>,
    /// Since when that attempt is ready by the turn's probe; `None`: it is not, or there is no such probe.
    /// `CLOCK_BOOTTIME`, ns.
    pub ready_at: Option<u64>,
    /// When that attempt's probe had failed `failureThreshold` times in a row before its first success; it is not tried
    /// any more. `CLOCK_BOOTTIME`, ns.
    pub not_ready_at: Option<u64>,
    /// A stop signal that came from outside the pod's process namespace and waits for an answer.
    pub stop_signal: Option<u8>,
    /// The shim's own process id, for people: nothing is decided by it.
    pub pid: u32,
    /// The newest attempt of an earlier instance, until a turn for this instance acknowledges it.
    pub last: Option<Last>,
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub struct Ended {
    /// When it had ended. `CLOCK_BOOTTIME`, ns.
    pub at: u64,
    /// How.
    pub exit: Exit,
    /// The shim stopped it because the turn's `timeout` was over.
    pub timed_out: bool,
    /// What it used.
    pub usage: Usage,
}

/// How a command ended, or why there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Linux signal number.
        number: u8,
        /// The kernel's out-of-memory killer sent it, by the cgroup's counters.
        oom: bool,
    },
    /// It could not be started.
    StartError {
        /// What failed.
        stage: StartStage,
        /// Linux errno; with [`StartStage::PostStart`] the hook's exit code, 128 + n when a signal ended it.
        errno: u16,
    },
    /// The attempt was begun, but no longer wanted before its command was started.
    NotStarted,
}

impl Exit {
    /// The exit code of a container whose command ended so, before any rule about successes or time-outs. `NotStarted`
    /// has none of its own and counts as cancelled.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { number, .. } => crate::exit::of_signal(number),
            Self::StartError { stage: StartStage::Exec, errno: 2 | 20 } => crate::exit::NOT_FOUND,
            Self::StartError { stage: StartStage::PostStart, .. } => crate::exit::FAILED,
            Self::StartError { .. } => crate::exit::NOT_EXECUTABLE,
            Self::NotStarted => crate::exit::CANCELLED,
        }
    }
}

/// The stage at which a command could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum StartStage {
    /// Ending what the attempt before left behind, or clearing its outputs.
    Clear,
    /// Making the child process.
    Fork,
    /// Giving the child its process group, signals and terminal.
    Prepare,
    /// Putting values in the place of references. `ENODATA`: the turn has no values for what was listed; `E2BIG`: an
    /// argument or a variable became longer than the kernel takes, or the references are too many.
    Replace,
    /// execve(2). `ENOENT` and `ENOTDIR` mean: not found.
    Exec,
    /// The step's `postStart` hook, which runs beside the command: it failed, so the command was stopped.
    PostStart,
}

/// What an attempt used, from wait4(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub struct Usage {
    /// Processor time, user and system, in ms.
    pub cpu: u64,
    /// The largest resident set of one process, in KiB.
    pub max_rss: u64,
}

/// The newest attempt of an earlier instance of the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
pub struct Last {
    /// Its number.
    pub attempt: u32,
    /// When it was begun. `CLOCK_BOOTTIME`, ns.
    pub started_at: u64,
    /// Its end; `None`: begun, and nobody knows how it ended.
    pub ended: Option<Ended>,
}

impl Report {
    /// The attempt of this report as the next instance has to remember it; an instance that began nothing hands on
    /// what it was handed.
    #[must_use]
    pub fn as_last(&self) -> Option<Last> {
        match (self.attempt, self.started_at) {
            (Some(attempt), Some(started_at)) => Some(Last { attempt, started_at, ended: self.ended }),
            _ => self.last,
        }
    }

    /// Writes the JSON form into `buffer` and returns its length. It lists no references.
    ///
    /// # Errors
    /// `TooLong` when `buffer` is too small; [`crate::REPORT_MAX`] bytes are always enough.
    pub fn write(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        self.write_listing(Strings::default(), buffer)
    }

    /// As [`Report::write`], with the distinct references of the command line and environment, without their brackets.
    /// They stand in every report until a turn for this instance shows that the coordinator has read them.
    ///
    /// # Errors
    /// `TooLong` when `buffer` is too small; [`LISTING_REPORT_MAX`] bytes are always enough for [`crate::REFERENCES_MAX`].
    pub fn write_listing(&self, references: Strings<'_>, buffer: &mut [u8]) -> Result<usize, WireError> {
        let mut json = Writer::new(buffer);
        json.begin();
        json.number("version", VERSION);
        json.string("run", self.run.digits().as_str());
        json.string("instance", self.instance.digits().as_str());
        json.number("seq", self.seq);
        json.number("turn", self.turn);
        write_attempt(&mut json, self.attempt, self.started_at, self.ended.as_ref());
        for (name, time) in [("readyAt", self.ready_at), ("notReadyAt", self.not_ready_at)] {
            if time.is_some() {
                json.optional(name, time);
            }
        }
        json.optional("stopSignal", self.stop_signal.map(u64::from));
        json.number("pid", u64::from(self.pid));
        match &self.last {
            Some(last) => {
                json.begin_member("last");
                write_attempt(&mut json, Some(last.attempt), Some(last.started_at), last.ended.as_ref());
                json.end();
            }
            None => json.null("last"),
        }
        if !references.is_empty() {
            json.strings("references", references);
        }
        json.end();
        json.finish()
    }

    /// Reads the JSON form. The bytes may come from a step's own `out/`: nothing in them is believed beyond its type.
    ///
    /// # Errors
    /// A [`WireError`] for anything that is not a whole report of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > LISTING_REPORT_MAX {
            return Err(WireError::TooLong);
        }
        let object = Object::parse(bytes)?;
        match object.number("version")? {
            VERSION => {}
            other => return Err(WireError::Version(other)),
        }
        let (attempt, started_at, ended) = read_attempt(&object)?;
        let ready_at = object.optional_number("readyAt")?;
        let not_ready_at = object.optional_number("notReadyAt")?;
        if attempt.is_none() && (ready_at.is_some() || not_ready_at.is_some()) {
            return Err(WireError::Member("readyAt"));
        }
        let last = match object.object("last")? {
            Some(last) => match read_attempt(&last)? {
                (Some(attempt), Some(started_at), ended) => Some(Last { attempt, started_at, ended }),
                _ => return Err(WireError::Member("last")),
            },
            None => None,
        };
        let [seq, turn] = object.numbers(["seq", "turn"])?;
        Ok(Self {
            run: object.hex("run")?.map(RunId).ok_or(WireError::Member("run"))?,
            instance: object.hex("instance")?.map(InstanceId).ok_or(WireError::Member("instance"))?,
            seq,
            turn,
            attempt,
            started_at,
            ended,
            ready_at,
            not_ready_at,
            stop_signal: object.optional_small("stopSignal")?,
            pid: object.optional_u32("pid")?.ok_or(WireError::Member("pid"))?,
            last,
        })
    }
}

/// The references that the report in these bytes lists, without their brackets. The bytes may come from a step's own `out/`.
///
/// # Errors
/// A [`WireError`] for anything that is not a whole report. What it says besides is not looked at.
pub fn listed_references(report: &[u8]) -> Result<Strings<'_>, WireError> {
    Ok(Object::parse(report)?.strings("references")?.unwrap_or_default())
}

fn write_attempt(json: &mut Writer<'_>, attempt: Option<u32>, started_at: Option<u64>, ended: Option<&Ended>) {
    json.optional("attempt", attempt.map(u64::from));
    json.optional("startedAt", started_at);
    json.optional("endedAt", ended.map(|e| e.at));
    let Some(ended) = ended else {
        json.null("exit");
        return;
    };
    json.begin_member("exit");
    match ended.exit {
        Exit::Code(code) => json.number("code", u64::from(code)),
        Exit::Signal { number, oom } => {
            json.number("signal", u64::from(number));
            json.boolean("oom", oom);
        }
        Exit::StartError { stage, errno } => {
            json.string("startError", stage.name());
            json.number("errno", u64::from(errno));
        }
        Exit::NotStarted => json.boolean("notStarted", true),
    }
    json.end();
    json.boolean("timedOut", ended.timed_out);
    json.begin_member("usage");
    json.number("cpu", ended.usage.cpu);
    json.number("maxRss", ended.usage.max_rss);
    json.end();
}

type Attempt = (Option<u32>, Option<u64>, Option<Ended>);

/// Reads what `write_attempt` wrote. An attempt without its start, or an end without an attempt, cannot be.
///
/// Cold because of the shim, which reads a report only where it comes after another shim.
#[cold]
fn read_attempt(object: &Object<'_>) -> Result<Attempt, WireError> {
    let attempt = object.optional_u32("attempt")?;
    let started_at = object.optional_number("startedAt")?;
    if attempt.is_some() != started_at.is_some() || attempt == Some(0) {
        return Err(WireError::Member("attempt"));
    }
    let ended = match (object.optional_number("endedAt")?, object.object("exit")?) {
        (Some(at), Some(exit)) => {
            let usage = object.object("usage")?.ok_or(WireError::Member("usage"))?;
            let [cpu, max_rss] = usage.numbers(["cpu", "maxRss"])?;
            Some(Ended {
                at,
                exit: read_exit(&exit)?,
                timed_out: object.boolean("timedOut")?,
                usage: Usage { cpu, max_rss },
            })
        }
        (None, None) => None,
        _ => return Err(WireError::Member("exit")),
    };
    if ended.is_some() && attempt.is_none() {
        return Err(WireError::Member("attempt"));
    }
    Ok((attempt, started_at, ended))
}

fn read_exit(exit: &Object<'_>) -> Result<Exit, WireError> {
    if let Some(code) = exit.optional_small("code")? {
        return Ok(Exit::Code(code));
    }
    if let Some(number) = exit.optional_small("signal")? {
        return Ok(Exit::Signal { number, oom: exit.boolean("oom")? });
    }
    if exit.has("startError") {
        let stage = exit.word("startError").and_then(StartStage::named).ok_or(WireError::Member("startError"))?;
        let errno = u16::try_from(exit.number("errno")?).map_err(|_| WireError::Member("errno"))?;
        return Ok(Exit::StartError { stage, errno });
    }
    if exit.has("notStarted") {
        return Ok(Exit::NotStarted);
    }
    Err(WireError::Member("exit"))
}

impl StartStage {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Clear, "clear"),
        (Self::Fork, "fork"),
        (Self::Prepare, "prepare"),
        (Self::Replace, "replace"),
        (Self::Exec, "exec"),
        (Self::PostStart, "postStart"),
    ];

    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }

    fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| n.as_bytes() == name).map(|(stage, _)| *stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::REPORT_MAX;

    fn arrival() -> Report {
        Report {
            run: RunId(1),
            instance: InstanceId(2),
            seq: 1,
            turn: 0,
            attempt: None,
            started_at: None,
            ended: None,
            ready_at: None,
            not_ready_at: None,
            stop_signal: None,
            pid: 42,
            last: None,
        }
    }

    fn end(exit: Exit) -> Ended {
        Ended { at: 9, exit, timed_out: false, usage: Usage { cpu: 12, max_rss: 3400 } }
    }

    #[test]
    fn every_report_comes_back_as_it_was_written() {
        let exits = [
            Exit::Code(0),
            Exit::Code(255),
            Exit::Signal { number: 9, oom: true },
            Exit::StartError { stage: StartStage::Exec, errno: 2 },
            Exit::NotStarted,
        ];
        let mut buffer = [0; REPORT_MAX];
        for exit in exits {
            for last in [None, Some(Last { attempt: 1, started_at: 4, ended: None })] {
                let report = Report {
                    attempt: Some(2),
                    started_at: Some(5),
                    ended: Some(end(exit)),
                    ready_at: Some(6),
                    not_ready_at: last.map(|_| 7),
                    stop_signal: Some(15),
                    last,
                    ..arrival()
                };
                let length = report.write(&mut buffer).expect("the buffer is large enough");
                assert_eq!(Report::parse(&buffer[..length]), Ok(report));
            }
        }
    }

    #[test]
    fn references_are_listed_beside_everything_else() {
        let references = Strings::new(&["steps.build.outputs.version:-\"none\"", "plan.outcome"]);
        let mut buffer = [0; REPORT_MAX];
        let length = arrival().write_listing(references, &mut buffer).expect("the buffer is large enough");
        assert_eq!(Report::parse(&buffer[..length]), Ok(arrival()));
        assert_eq!(listed_references(&buffer[..length]), Ok(references));
        let length = arrival().write(&mut buffer).expect("the buffer is large enough");
        assert_eq!(listed_references(&buffer[..length]), Ok(Strings::default()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut buffer = [0; REPORT_MAX];
        let ended_but_not_begun = Report { ended: Some(end(Exit::Code(0))), ..arrival() };
        let length = ended_but_not_begun.write(&mut buffer).expect("the buffer is large enough");
        assert_eq!(Report::parse(&buffer[..length]), Err(WireError::Member("attempt")));
        let ready_but_not_begun = Report { ready_at: Some(1), ..arrival() };
        let length = ready_but_not_begun.write(&mut buffer).expect("the buffer is large enough");
        assert_eq!(Report::parse(&buffer[..length]), Err(WireError::Member("readyAt")));
        assert_eq!(Report::parse(&[b' '; LISTING_REPORT_MAX + 1]), Err(WireError::TooLong));
    }

    #[test]
    fn the_next_instance_remembers_the_newest_attempt() {
        let handed_on = Some(Last { attempt: 1, started_at: 4, ended: Some(end(Exit::Code(1))) });
        assert_eq!(Report { last: handed_on, ..arrival() }.as_last(), handed_on);
        let began = Report { attempt: Some(2), started_at: Some(8), last: handed_on, ..arrival() };
        assert_eq!(began.as_last(), Some(Last { attempt: 2, started_at: 8, ended: None }));
    }

    #[test]
    fn exit_codes_are_those_of_a_posix_shell() {
        let table = [
            (Exit::Code(3), 3),
            (Exit::Signal { number: 15, oom: false }, 143),
            (Exit::StartError { stage: StartStage::Exec, errno: 2 }, 127),
            (Exit::StartError { stage: StartStage::Exec, errno: 13 }, 126),
            (Exit::StartError { stage: StartStage::PostStart, errno: 137 }, 1),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
