//! Names of signals, as signal(7) has them: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.

use super::diagnostic::Reporter;
use super::fields::wrong;
use super::yaml::{Node, Typed};

/// The standard signals of Linux with the numbers of x86, ARM and RISC-V (signal(7), "Signal numbering").
const NAMES: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first real-time signal that the C library leaves to programs, and the last one (signal(7), "Real-time signals").
const REAL_TIME: std::ops::RangeInclusive<u8> = 34..=64;

/// Signals that suspend a process: a step would neither run nor end.
const SUSPENDING: std::ops::RangeInclusive<u8> = 19..=22;

/// Reads a stop signal: its number. What is wrong with it is told to `reporter`.
pub fn signal(node: &Node, reporter: &mut Reporter) -> Option<u8> {
    let number = match node.typed() {
        Some(Typed::Integer(number)) => u8::try_from(number).ok().filter(|number| is_signal(*number)),
        Some(Typed::String(text)) => named(text),
        _ => None,
    };
    match number {
        Some(number) if SUSPENDING.contains(&number) => {
            let message = format!("stopSignal cannot be {}: it would suspend the step and not end it", write(number));
            reporter.error(node.span, message);
            None
        }
        Some(number) => Some(number),
        None => {
            let nearest = node.as_str().and_then(|text| {
                let upper = text.to_ascii_uppercase();
                let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
                reporter.nearest(bare, NAMES.iter().map(|(name, _)| *name)).map(|name| format!("SIG{name}"))
            });
            wrong(node, "stopSignal", reporter)
                .did_you_mean(nearest.as_deref())
                .help("write a signal of Linux, such as SIGTERM, TERM, 15 or SIGRTMIN+3");
            None
        }
    }
}

fn is_signal(number: u8) -> bool {
    (1..=31).contains(&number) || REAL_TIME.contains(&number)
}

/// The number of a signal that is written by its name; `None`: it is none.
#[must_use]
pub fn named(text: &str) -> Option<u8> {
    let bare = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(plain) = NAMES.iter().find(|(name, _)| *name == bare) {
        return Some(plain.1);
    }
    let offset =
        |after: &str, sign: char| after.strip_prefix(sign).map_or(after.is_empty().then_some(0), |n| n.parse().ok());
    let number = if let Some(after) = bare.strip_prefix("RTMIN") {
        REAL_TIME.start().checked_add(offset(after, '+')?)
    } else if let Some(after) = bare.strip_prefix("RTMAX") {
        REAL_TIME.end().checked_sub(offset(after, '-')?)
    } else {
        None
    };
    number.filter(|number| REAL_TIME.contains(number))
}

/// The name that [`signal`] reads back.
pub(super) fn write(number: u8) -> String {
    match NAMES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => format!("SIGRTMIN+{}", number.saturating_sub(*REAL_TIME.start())),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_signal, named, write};

    #[test]
    fn every_signal_has_a_name_that_is_read_back() {
        for number in (1..=255).filter(|number| is_signal(*number)) {
            assert_eq!(named(&write(number)), Some(number));
        }
        assert_eq!((named("TERM"), named("SIGRTMAX-1"), named("SIGRTMIN")), (Some(15), Some(63), Some(34)));
        for bad in ["", "SIG", "term", "SIGRTMIN+31", "SIGRTMAX-40", "RTMIN3", "SIGRTMIN+-1"] {
            assert_eq!(named(bad), None, "{bad}");
        }
    }
}
