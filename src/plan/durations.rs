//! Durations as a plan writes them: `500ms`, `90s`, `15m`, `1h30m`.

use podturn_turn::Millis;

use super::diagnostic::{Reporter, quote};
use super::fields::wrong;
use super::yaml::{Node, Typed};

/// The longest duration. Far above any use, and far below what a deadline in nanoseconds can hold.
const MAX: Millis = 8760 * 60 * 60 * 1000;

/// The units, the largest first, in which order a duration names them.
const UNITS: [(&str, Millis); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration; `zero` says whether `0s` makes sense here.
pub(super) fn duration(node: &Node, what: &str, zero: bool, reporter: &mut Reporter) -> Option<Millis> {
    let text = match node.typed() {
        Some(Typed::String(text)) => text,
        Some(Typed::Integer(number)) if number >= 0 => {
            let help = format!("write {number}s for seconds, {number}m for minutes");
            reporter.error(node.span, format!("{what} has no unit")).help(help);
            return None;
        }
        _ => {
            wrong(node, what, reporter).help("write a duration such as 500ms, 90s, 15m or 1h30m");
            return None;
        }
    };
    let error = match parse(text) {
        Ok(0) if !zero => format!("{what} cannot be {}: it has to be longer than nothing", quote(text)),
        Ok(millis) if millis > MAX => format!("{what} cannot be {}: that is more than a year", quote(text)),
        Ok(millis) => return Some(millis),
        Err(why) => format!("{what} cannot be {}: {why}", quote(text)),
    };
    reporter.error(node.span, error).help("write a duration such as 500ms, 90s, 15m or 1h30m");
    None
}

/// The milliseconds of a duration such as `90s`, where it is one of at most a year.
#[must_use]
pub fn milliseconds(text: &str) -> Option<Millis> {
    parse(text).ok().filter(|millis| *millis <= MAX)
}

/// Reads a duration from the command line, in milliseconds.
///
/// # Errors
/// Why it is none, and how one is written.
pub fn duration_argument(text: &str) -> Result<Millis, String> {
    match parse(text) {
        Ok(millis) if (1..=MAX).contains(&millis) => Ok(millis),
        Ok(_) => Err("it is longer than nothing, and not longer than a year".to_owned()),
        Err(why) => Err(format!("{why}; write a duration such as 500ms, 90s, 15m or 1h30m")),
    }
}

/// Reads the text of a duration: whole numbers with units, the larger ones first, none twice.
fn parse(text: &str) -> Result<Millis, String> {
    let mut rest = text;
    let mut units = UNITS.as_slice();
    let mut total: Millis = 0;
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err("it is made of whole numbers with units".to_owned());
        }
        let Some(place) = units.iter().position(|(name, _)| *name == unit) else {
            return Err(bad_unit(unit, number, after));
        };
        let number: Millis = number.parse().map_err(|_| "the number is too large".to_owned())?;
        total = number.checked_mul(units[place].1).and_then(|part| total.checked_add(part)).unwrap_or(Millis::MAX);
        units = &units[place + 1..];
        rest = after;
    }
    Ok(total)
}

fn bad_unit(unit: &str, number: &str, after: &str) -> String {
    if unit.is_empty() && !after.is_empty() {
        return "it is made of whole numbers with units".to_owned();
    }
    if unit.is_empty() {
        return format!("{} has no unit", super::diagnostic::shorten(number));
    }
    if UNITS.iter().any(|(name, _)| *name == unit) {
        return "the larger unit comes first, and each once".to_owned();
    }
    format!("{} is no unit (h, m, s and ms are)", quote(unit))
}

/// Writes a duration in the largest units that give it exactly: `1h30m`, `500ms`.
pub(super) fn write(millis: Millis) -> String {
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut rest = millis;
    let mut text = String::new();
    for (name, unit) in UNITS {
        if rest >= unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{parse, write};

    #[test]
    fn what_is_a_duration() {
        let table = [
            ("0s", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("1h1m1s1ms", 3_661_001),
            ("36h", 129_600_000),
        ];
        for (text, millis) in table {
            assert_eq!(parse(text), Ok(millis), "{text}");
            assert_eq!(parse(&write(millis)), Ok(millis), "{text} written back");
        }
    }

    #[test]
    fn what_is_none() {
        let all = [
            "",
            "s",
            "5",
            "1.5h",
            "-1s",
            "5 s",
            "5s5",
            "1m1h",
            "1s1s",
            "5d",
            "1S",
            "\u{663}s",
            "99999999999999999999s",
        ];
        for text in all {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
