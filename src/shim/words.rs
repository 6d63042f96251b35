//! What the shim says to people: whole lines, built without `core::fmt`, which would be the larger part of the binary.

use core::fmt::Write as _;

use podturn_wire::json::digits;
use podturn_wire::{MESSAGE_MAX, StartStage, Text, WireError};

use crate::Errno;

/// One line, for stderr and the termination log.
pub(crate) type Line = Text<MESSAGE_MAX>;

/// Why a turn or a mailbox cannot be used.
pub(crate) enum Trouble {
    /// A file could not be read or written.
    File(Errno),
    /// It was read, but is no turn.
    Content(WireError),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::File(errno)
    }
}

/// Joins the parts behind the program's name.
#[cold]
#[inline(never)]
pub(crate) fn line(parts: &[&str]) -> Line {
    line_of("podturn-shim: ", parts)
}

/// As [`line`], of another program.
pub(crate) fn line_of(program: &str, parts: &[&str]) -> Line {
    let mut line = Line::truncated(program);
    for part in parts {
        // A full line is cut, never an error.
        let _ = line.write_str(part);
    }
    line
}

/// The parts, one behind the other.
pub(crate) fn joined(parts: &[&str]) -> Text<64> {
    let mut text = Text::new();
    for part in parts {
        let _ = text.write_str(part);
    }
    text
}

/// `in/turn.json` cannot be used.
#[cold]
#[inline(never)]
pub(crate) fn turn_trouble(trouble: &Trouble) -> Line {
    match trouble {
        Trouble::File(errno) => line(&["in/turn.json: cannot read the turn: ", errno_words(*errno).as_str()]),
        Trouble::Content(WireError::Version(_)) => {
            line(&["in/turn.json: another version of the protocol: use the shim that came with the coordinator"])
        }
        Trouble::Content(WireError::Member(name)) => line(&["in/turn.json: member \"", name, "\" is missing or wrong"]),
        Trouble::Content(_) => line(&["in/turn.json: not a whole turn"]),
    }
}

/// `out/report.json` cannot be written.
#[cold]
pub(crate) fn report_trouble(errno: Errno) -> Line {
    line(&["out/report.json: cannot write the report: ", errno_words(errno).as_str()])
}

/// `in/bell` cannot be used.
#[cold]
pub(crate) fn bell_trouble(errno: Errno) -> Line {
    let why = errno_words(errno);
    line(&[
        "in/bell: cannot connect to the coordinator: ",
        why.as_str(),
        "; its socket is unusable here (try --bell file)",
    ])
}

/// Nobody answered for the whole of the grace, in ms.
#[cold]
#[inline(never)]
pub(crate) fn coordinator_lost(grace: u64) -> Line {
    let seconds = digits(grace / 1_000);
    line(&["no coordinator for ", seconds.as_str(), " s (coordinatorGrace): giving up"])
}

/// The command could not be started.
#[cold]
#[inline(never)]
pub(crate) fn not_started(stage: StartStage, errno: Errno) -> Line {
    let doing = match stage {
        StartStage::Clear => "clearing what the attempt before left: ",
        StartStage::Fork => "making a process for the command: ",
        StartStage::Prepare => "preparing the command's process: ",
        StartStage::Replace => "replacing the references in the command line: ",
        StartStage::Exec if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) => "the command was not found: ",
        StartStage::Exec => "the command cannot be executed: ",
        StartStage::PostStart => "", // never said so
    };
    line(&[doing, errno_words(errno).as_str()])
}

/// The `postStart` hook ended with this code.
#[cold]
pub(crate) fn hook_failed(code: u8) -> Line {
    line(&["the postStart hook failed with code ", digits(u64::from(code)).as_str(), ": stopping the command"])
}

/// Something outlives its command.
#[cold]
pub(crate) fn leftovers() -> Line {
    line(&["the command left processes behind that cannot be ended"])
}

/// Output could not be passed on.
#[cold]
pub(crate) fn output_lost() -> Line {
    line(&["nobody took the command's last output (the `log` probe's pipe): it is lost"])
}

/// An error number as a person reads it; those that happen here have words.
#[cold]
#[inline(never)]
pub(crate) fn errno_words(errno: Errno) -> Text<64> {
    let words = match errno {
        Errno::EPERM => "operation not permitted (EPERM)",
        Errno::ENOENT => "no such file or directory (ENOENT)",
        Errno::E2BIG => "arguments and environment too long (E2BIG)",
        Errno(8) => "exec format error (ENOEXEC)",
        Errno::EAGAIN => "too many processes (EAGAIN)",
        Errno::ENOMEM => "out of memory (ENOMEM)",
        Errno::EACCES => "permission denied (EACCES)",
        Errno::EBUSY => "busy (EBUSY)",
        Errno::ENOTDIR => "not a directory (ENOTDIR)",
        Errno(21) => "is a directory (EISDIR)",
        Errno::EFBIG => "too large (EFBIG)",
        Errno(28) => "no space left (ENOSPC)",
        Errno(30) => "read-only file system (EROFS)",
        Errno::ENAMETOOLONG => "name too long (ENAMETOOLONG)",
        Errno(40) => "a symbolic link, or too many of them (ELOOP)",
        Errno::ENODATA => "the turn has no values for them (ENODATA)",
        Errno::EINVAL => "invalid, such as a NUL in a value (EINVAL)",
        Errno(88) => "not a socket (ENOTSOCK)",
        Errno(91) => "a socket of another type (EPROTOTYPE)",
        Errno(other) => {
            let mut text = Text::truncated("errno ");
            let _ = text.write_str(digits(u64::from(other)).as_str());
            return text;
        }
    };
    Text::truncated(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_says_what_failed_and_why() {
        let table = [
            (StartStage::Clear, Errno::EACCES, "clearing what the attempt before left: permission denied (EACCES)"),
            (StartStage::Fork, Errno::EAGAIN, "making a process for the command: too many processes (EAGAIN)"),
            (StartStage::Prepare, Errno::EPERM, "preparing the command's process: operation not permitted (EPERM)"),
            (StartStage::Exec, Errno::ENOENT, "the command was not found: no such file or directory (ENOENT)"),
            (StartStage::Exec, Errno(8), "the command cannot be executed: exec format error (ENOEXEC)"),
            (StartStage::Exec, Errno(99), "the command cannot be executed: errno 99"),
        ];
        for (stage, errno, words) in table {
            assert_eq!(not_started(stage, errno).as_str().strip_prefix("podturn-shim: "), Some(words));
        }
    }
}
