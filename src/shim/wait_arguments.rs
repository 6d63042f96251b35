//! The command line of `podturn-shim wait`. Pure.

use podturn_wire::json::decimal;

use crate::arguments;
use crate::wait_network::{Server, Url};
use crate::wait_phases::Condition;

/// What `podturn-shim wait --help` prints.
pub(crate) const HELP: &str = "\
Waits until every gate is open: a start order for containers that are not steps.

Usage: podturn-shim wait GATE... [--timeout TIME]

      --for STEP[=CONDITION]  The step is Started, Ready, Succeeded, Failed or Completed, as in dependsOn; without
                              CONDITION: Ready. Not in an init container: steps start after those
      --file FILE             FILE exists
      --tcp ADDR:PORT         Connections are taken there. ADDR: localhost, 10.0.0.1 or [::1], no names
      --http URL              GET http://ADDR[:PORT]/PATH is answered with 200 to 399
      --timeout TIME          Give up after 500ms, 90s, 15m or 1h30m; without it: never
  -h, --help                  Print this

Up to 16 gates, which have to be open together. Exits with 0: they are; 1: a step's condition is lost for ever;
2: wrong arguments, or no such step; 124: the time is over; 125: waiting is impossible; 128 + n: signal n.
";

/// As many gates can be waited for at once.
pub(crate) const GATES_MAX: usize = 16;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate<'a> {
    /// A condition of a step.
    Step { name: &'a str, condition: Condition },
    /// That a path is there.
    File(&'a [u8]),
    /// That a connection is taken.
    Tcp(Server),
    /// That a page is there.
    Http(Url<'a>),
}

/// One gate, and how the command line wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub(crate) gate: Gate<'a>,
    pub(crate) text: &'a str,
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish<'a> {
    /// The first `count` of them.
    gates: [Asked<'a>; GATES_MAX],
    count: usize,
    /// In ms.
    pub(crate) timeout: Option<u64>,
}

impl<'a> Wish<'a> {
    pub(crate) fn gates(&self) -> &[Asked<'a>] {
        &self.gates[..self.count]
    }

    fn add(&mut self, text: &'a [u8], gate: Gate<'a>) -> Result<(), Misuse<'a>> {
        let text = shown(text);
        let place = self.gates.get_mut(self.count).ok_or(Misuse { what: "more than 16 gates", which: text })?;
        *place = Asked { gate, text };
        self.count += 1;
        Ok(())
    }
}

/// What is wrong with a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misuse<'a> {
    pub(crate) what: &'static str,
    /// The argument that is meant.
    pub(crate) which: &'a str,
}

/// What the command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is no heap, and one of these a process")]
pub(crate) enum Order<'a> {
    Wait(Wish<'a>),
    Print(&'static str),
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// The first argument that cannot be understood.
pub(crate) fn parse<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Result<Order<'a>, Misuse<'a>> {
    match arguments.next() {
        Some(b"wait") => {}
        Some(b"-h" | b"--help") => return Ok(Order::Print(HELP)),
        Some(b"-V" | b"--version") => return Ok(Order::Print(arguments::VERSION)),
        Some(b"run") => {
            return Err(Misuse { what: "a step's shim lies in its mailbox, this one only waits:", which: "run" });
        }
        other => {
            return Err(Misuse { what: "missing `wait`, see --help:", which: shown(other.unwrap_or(b"podturn-shim")) });
        }
    }
    let nothing = Asked { gate: Gate::File(b""), text: "" };
    let mut wish = Wish { gates: [nothing; GATES_MAX], count: 0, timeout: None };
    while let Some(argument) = arguments.next() {
        if matches!(argument, b"-h" | b"--help") {
            return Ok(Order::Print(HELP));
        }
        let equals = argument.iter().position(|byte| *byte == b'=');
        let (option, joined) = match equals {
            Some(at) => (&argument[..at], Some(&argument[at + 1..])),
            None => (argument, None),
        };
        if !matches!(option, b"--for" | b"--file" | b"--tcp" | b"--http" | b"--timeout") {
            return Err(Misuse { what: "unknown argument", which: shown(argument) });
        }
        let Some(value) = joined.or_else(|| arguments.next()).filter(|value| !value.is_empty()) else {
            return Err(Misuse { what: "a value is missing after", which: shown(option) });
        };
        let bad = |what| Misuse { what, which: shown(value) };
        match option {
            b"--for" => wish.add(value, step(value).ok_or(bad(FOR))?)?,
            b"--file" => wish.add(value, Gate::File(value))?,
            b"--tcp" => wish.add(value, Gate::Tcp(Server::parse(value, None).ok_or(bad(TCP))?))?,
            b"--http" => wish.add(value, Gate::Http(Url::parse(value).ok_or(bad(HTTP))?))?,
            _ => wish.timeout = Some(duration(value).ok_or(bad(TIMEOUT))?),
        }
    }
    if wish.count == 0 {
        return Err(Misuse { what: "nothing to wait for: give", which: "--for, --file, --tcp or --http" });
    }
    Ok(Order::Wait(wish))
}

const FOR: &str = "--for takes STEP=CONDITION (Started, Ready, Succeeded, Failed, Completed), not";
const TCP: &str = "--tcp takes ADDR:PORT with localhost, 10.0.0.1 or [::1] as ADDR (no names), not";
const HTTP: &str = "--http takes http://ADDR[:PORT]/PATH with localhost or a literal address (no names, no https), not";
const TIMEOUT: &str = "--timeout takes a duration such as 500ms, 90s, 15m or 1h30m, not";

/// An argument as it can be told. One that is not UTF-8 is not understood anywhere but as a file.
fn shown(argument: &[u8]) -> &str {
    core::str::from_utf8(argument).unwrap_or("(not UTF-8)")
}

fn step(value: &[u8]) -> Option<Gate<'_>> {
    let text = core::str::from_utf8(value).ok()?;
    let (name, condition) = match text.split_once('=') {
        Some((name, condition)) => (name, Condition::parse(condition)?),
        None => (text, Condition::READY),
    };
    podturn_wire::names::is_container_name(name).then_some(Gate::Step { name, condition })
}

/// A duration as plans write it, in ms: whole numbers with units, the larger ones first. A year at most, as there.
pub(crate) fn duration(text: &[u8]) -> Option<u64> {
    const MAX: u64 = 8760 * 60 * 60 * 1000;
    let mut units: &[(&[u8], u64)] = &[(b"h", 3_600_000), (b"m", 60_000), (b"s", 1000), (b"ms", 1)];
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let (number, after) = split(rest, u8::is_ascii_digit);
        let (unit, after) = split(after, u8::is_ascii_alphabetic);
        let place = units.iter().position(|(name, _)| *name == unit)?;
        total = decimal(number)?.checked_mul(units[place].1)?.checked_add(total)?;
        units = &units[place + 1..];
        rest = after;
    }
    (1..=MAX).contains(&total).then_some(total)
}

fn split(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| !belongs(byte)).unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    fn of(words: &str) -> Result<Order<'_>, Misuse<'_>> {
        parse([&b"wait"[..]].into_iter().chain(words.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes)))
    }

    fn texts(words: &str) -> Vec<String> {
        let Ok(Order::Wait(wish)) = of(words) else { panic!("{words}: {:?}", of(words)) };
        wish.gates().iter().map(|asked| asked.text.to_string()).collect()
    }

    #[test]
    fn gates_of_every_kind_can_be_mixed() {
        let words = "--for build=Succeeded --file /x --tcp=[::1]:80 --http http://localhost/ok --timeout 1m30s";
        assert_eq!(texts(words), ["build=Succeeded", "/x", "[::1]:80", "http://localhost/ok"]);
        let Ok(Order::Wait(wish)) = of(words) else { panic!("it is understood") };
        assert_eq!(wish.timeout, Some(90_000));
        assert_eq!(texts("--for=build=Started"), ["build=Started"], "an option and its value may be one word");
        assert_eq!(of("--tcp 10.0.0.1:1 --help"), Ok(Order::Print(HELP)));
    }

    #[test]
    fn a_step_alone_means_ready() {
        assert_eq!(step(b"db"), step(b"db=Ready"));
        assert_ne!(step(b"db"), step(b"db=Started"));
    }

    #[test]
    fn a_misuse_is_told_with_its_argument() {
        let table = [
            ("", "nothing to wait for: give"),
            ("--timeout 5s", "nothing to wait for: give"),
            ("--for", "a value is missing after"),
            ("--file=", "a value is missing after"),
            ("--until x", "unknown argument"),
            ("build", "unknown argument"),
            ("--for build=Done", FOR),
            ("--for build=ready", FOR),
            ("--for Build=Ready", FOR),
            ("--for =Ready", FOR),
            ("--tcp db:5432", TCP),
            ("--tcp localhost", TCP),
            ("--http https://localhost/", HTTP),
            ("--http localhost/", HTTP),
            ("--file x --timeout 5", TIMEOUT),
            ("--file x --timeout 0s", TIMEOUT),
        ];
        for (words, what) in table {
            assert_eq!(of(words).map_err(|misuse| misuse.what), Err(what), "{words}");
        }
        let many = "--file x ".repeat(GATES_MAX + 1);
        assert_eq!(of(&many).map_err(|misuse| misuse.what), Err("more than 16 gates"));
        assert!(of(&"--file x ".repeat(GATES_MAX)).is_ok());
    }

    /// The tables of the plan's own reader.
    #[test]
    fn durations_are_those_of_a_plan() {
        for (text, millis) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("1h1m1s1ms", 3_661_001),
            ("36h", 129_600_000),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(duration(text.as_bytes()), Some(millis), "{text}");
        }
        for text in [
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
            "0s",
            "8761h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(text.as_bytes()), None, "{text}");
        }
    }
}
