//! The command line of `podturn-probe`. Pure.

use podturn_wire::json::decimal;

use crate::wait_arguments::duration;
use crate::wait_network::{Server, Url};

/// What `podturn-probe --help` prints.
pub(crate) const HELP: &str = "\
Stands in for a step's own Kubernetes probes and hooks, which count from the container's start and not from the turn.

Usage: podturn-probe [startup QUESTION] [liveness QUESTION]
       podturn-probe hook QUESTION

startup, liveness  Yes (0) while no command of the step runs. Then `startup` is asked until its first yes in this
                   attempt, and from then on `liveness`. No: 1
hook               Does it, for the hooks of `podturn-shim run` that are no commands

A QUESTION is one of these
      --exec N WORD...   This command of N words ends with code 0
      --tcp ADDR:PORT    A connection is taken there. ADDR: pod (this pod's address), localhost, 10.0.0.1 or [::1]
      --http URL         GET http://ADDR[:PORT]/PATH is answered with 200 to 399. For a hook any answer will do
      --sleep TIME       The time is over
and may have
      --header LINE      A field of the request, such as 'Host: shop', several times
      --timeout TIME     The answer takes at most this long. Probes: 1s. Hooks: no limit
      --delay TIME       Asked no sooner than this after the attempt's begin
      --forgive TIME     No counts as yes until this time after the attempt's begin (startup only)
TIME is such as 500ms, 90s, 15m or 1h30m. Wrong arguments: 2.
";

/// As many fields of a request can be given.
pub(crate) const HEADERS_MAX: usize = 32;

/// What is done to find an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check<'a> {
    /// The command that begins at this place of the arguments, of so many words.
    Exec {
        at: usize,
        words: usize,
    },
    Tcp(Server),
    Http(Url<'a>),
    /// In ms.
    Sleep(u64),
}

/// A check, and when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    pub(crate) check: Check<'a>,
    /// In ms; `None`: no limit was given.
    pub(crate) timeout: Option<u64>,
    /// From the attempt's begin, in ms: it is not asked before.
    pub(crate) delay: u64,
    /// From the attempt's begin, in ms: 'no' does not count before.
    pub(crate) forgive: u64,
    headers: [&'a [u8]; HEADERS_MAX],
    count: usize,
}

impl<'a> Question<'a> {
    /// `Name: value` each.
    pub(crate) fn headers(&self) -> &[&'a [u8]] {
        &self.headers[..self.count]
    }
}

/// What a command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is no heap, and one of these a process")]
pub(crate) enum Order<'a> {
    Print(&'static str),
    /// At least one of them.
    Probe {
        startup: Option<Question<'a>>,
        liveness: Option<Question<'a>>,
    },
    Hook(Question<'a>),
}

/// What is wrong with a command line, and which argument is meant.
pub(crate) type Misuse<'a> = (&'static str, &'a [u8]);

/// Reads the arguments behind the program's name.
///
/// # Errors
/// The first argument that cannot be understood.
pub(crate) fn parse<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Result<Order<'a>, Misuse<'a>> {
    let mut words = Words { arguments, at: 1, unread: None };
    let (mut startup, mut liveness) = (None, None);
    loop {
        match words.next() {
            Some(b"-h" | b"--help") => return Ok(Order::Print(HELP)),
            Some(b"startup") if startup.is_none() && liveness.is_none() => startup = Some(words.question(true)?),
            Some(b"liveness") if liveness.is_none() => liveness = Some(words.question(false)?),
            Some(b"hook") if startup.is_none() && liveness.is_none() => {
                let question = words.question(false)?;
                return match words.next() {
                    None => Ok(Order::Hook(question)),
                    Some(other) => Err(("unknown argument", other)),
                };
            }
            None if startup.is_some() || liveness.is_some() => return Ok(Order::Probe { startup, liveness }),
            None => return Err(("what should be asked? See --help", b"")),
            Some(other) => return Err(("unknown argument", other)),
        }
    }
}

struct Words<'a, I> {
    arguments: I,
    /// The place of the next one among all arguments.
    at: usize,
    unread: Option<&'a [u8]>,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Words<'a, I> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let word = self.unread.take().or_else(|| self.arguments.next())?;
        self.at += 1;
        Some(word)
    }

    fn question(&mut self, is_startup: bool) -> Result<Question<'a>, Misuse<'a>> {
        let mut check = None;
        let nothing = Check::Sleep(0);
        let (headers, count) = ([&b""[..]; HEADERS_MAX], 0);
        let mut question = Question { check: nothing, timeout: None, delay: 0, forgive: 0, headers, count };
        while let Some(option) = self.next() {
            if !option.starts_with(b"--") {
                (self.unread, self.at) = (Some(option), self.at - 1);
                break;
            }
            let value = self.next().ok_or(("a value is missing after", option))?;
            match option {
                b"--timeout" => question.timeout = Some(duration(value).ok_or((TIME, value))?),
                b"--delay" => question.delay = duration(value).ok_or((TIME, value))?,
                b"--forgive" if is_startup => question.forgive = duration(value).ok_or((TIME, value))?,
                b"--header" => question.add(value)?,
                _ => {
                    let last = check.replace(self.check(option, value)?);
                    last.is_none().then_some(()).ok_or(("one question at a time, not also", option))?;
                }
            }
        }
        question.check = check.ok_or(("missing --exec, --tcp or --http", b"".as_slice()))?;
        Ok(question)
    }

    fn check(&mut self, option: &'a [u8], value: &'a [u8]) -> Result<Check<'a>, Misuse<'a>> {
        match option {
            b"--exec" => {
                let words = decimal(value).and_then(|words| usize::try_from(words).ok());
                let (words, at) = (words.filter(|words| *words > 0).ok_or((EXEC, value))?, self.at);
                let are_there = (0..words).all(|_| self.next().is_some());
                if are_there { Ok(Check::Exec { at, words }) } else { Err((EXEC, value)) }
            }
            b"--tcp" => Server::parse_or_pod(value, None).map(Check::Tcp).ok_or((TCP, value)),
            b"--http" => Url::parse_with(value, Server::parse_or_pod).map(Check::Http).ok_or((HTTP, value)),
            b"--sleep" => duration(value).map(Check::Sleep).ok_or((TIME, value)),
            _ => Err(("unknown argument", option)),
        }
    }
}

impl<'a> Question<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), Misuse<'a>> {
        let colon = line.iter().position(|byte| *byte == b':').filter(|at| *at > 0);
        let is_line = line.iter().all(|byte| !matches!(byte, b'\r' | b'\n'));
        colon.filter(|_| is_line).ok_or(("--header takes 'NAME: VALUE', not", line))?;
        *self.headers.get_mut(self.count).ok_or(("more than 32 header fields:", line))? = line;
        self.count += 1;
        Ok(())
    }
}

const TIME: &str = "not a time such as 500ms, 90s, 15m or 1h30m:";
const EXEC: &str = "--exec takes the number of the command's words, and then these, not";
const TCP: &str = "--tcp takes ADDR:PORT with pod, localhost, 10.0.0.1 or [::1] as ADDR, not";
const HTTP: &str = "--http takes http://ADDR[:PORT]/PATH with pod, localhost or a literal address, not";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Result<Order<'_>, Misuse<'_>> {
        parse(words.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes))
    }

    #[test]
    fn startup_and_liveness_may_be_asked_in_one() {
        let words = "startup --forgive 4m30s --exec 2 liveness --help --delay 5s liveness --tcp pod:80 --timeout 2s";
        let Ok(Order::Probe { startup: Some(startup), liveness: Some(liveness) }) = of(words) else {
            panic!("{:?}", of(words))
        };
        assert_eq!(startup.check, Check::Exec { at: 6, words: 2 }, "words of a command are nothing else");
        assert_eq!((startup.forgive, startup.delay, startup.timeout), (270_000, 5_000, None));
        assert_eq!(liveness.check, Check::Tcp(Server { addresses: [None; 2], port: 80 }));
        assert_eq!((liveness.forgive, liveness.delay, liveness.timeout), (0, 0, Some(2_000)));
        let Ok(Order::Probe { startup: None, liveness: Some(other) }) = of("liveness --exec 1 true") else { panic!() };
        assert_eq!(other.check, Check::Exec { at: 4, words: 1 });
    }

    #[test]
    fn a_hook_is_one_question() {
        let Ok(Order::Hook(question)) = of("hook --sleep 5s") else { panic!() };
        assert_eq!(question.check, Check::Sleep(5_000));
        let words = "hook --http http://pod:8080/x --header A:b --header Host:c";
        let Ok(Order::Hook(question)) = of(words) else { panic!() };
        assert_eq!(question.headers(), [&b"A:b"[..], b"Host:c"]);
    }

    #[test]
    fn a_misuse_is_told_with_its_argument() {
        for (words, what) in [
            ("", "what should be asked? See --help"),
            ("liveness", "missing --exec, --tcp or --http"),
            ("liveness --timeout 5s", "missing --exec, --tcp or --http"),
            ("liveness --exec", "a value is missing after"),
            ("liveness --exec 0 true", EXEC),
            ("liveness --exec 3 sh -c", EXEC),
            ("liveness --exec sh -c true", EXEC),
            ("liveness --tcp pod", TCP),
            ("liveness --tcp pods:80", TCP),
            ("liveness --tcp pod:0", TCP),
            ("liveness --http https://pod/", HTTP),
            ("liveness --http http://shop/", HTTP),
            ("liveness --tcp pod:80 --http http://pod/", "one question at a time, not also"),
            ("liveness --tcp pod:80 --timeout 5", TIME),
            ("liveness --tcp pod:80 --forgive 5s", "unknown argument"),
            ("liveness --tcp pod:80 --header x", "--header takes 'NAME: VALUE', not"),
            ("liveness --tcp pod:80 more", "unknown argument"),
            ("liveness --tcp pod:80 startup --tcp pod:80", "unknown argument"),
            ("hook --sleep 5s liveness --tcp pod:80", "unknown argument"),
            ("wait --for build", "unknown argument"),
        ] {
            assert_eq!(of(words).map_err(|(what, _)| what), Err(what), "{words}");
        }
    }
}
