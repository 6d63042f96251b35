//! The command line. Pure.

use podturn_wire::json::decimal;

/// What `podturn-shim --help` prints.
pub(crate) const HELP: &str = "\
podturn-shim waits for a step's turn and runs its command.

Usage: podturn-shim run [--post-start N WORD...] -- COMMAND [ARG...]

COMMAND finds its step's name in PODTURN_STEP, the attempt's number in PODTURN_ATTEMPT and the directory for
outputs in PODTURN_OUTPUTS. Exits with the command's code; 126: cannot be executed, 127: not found, 128 + n:
ended by signal n, 125: the shim itself failed.

N WORDs are a hook's command: it runs beside COMMAND, which is stopped if it fails.
Gates (`wait`) are for /podturn/public/podturn-shim, probes for podturn-probe, beside this program.

  -h, --help     Print this
  -V, --version  Print the version
";

/// What `podturn-shim --version` prints.
pub(crate) const VERSION: &str = concat!("podturn-shim ", env!("CARGO_PKG_VERSION"), "\n");

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run the command that begins at this place of the arguments. The hook, if there is one, is between [`HOOK`] and the
    /// two dashes before it.
    Run(usize),
    /// Print this and end well.
    Print(&'static str),
    /// Say this and end with 125.
    Misuse(&'static str),
}

/// The place of the hook's first word.
pub(crate) const HOOK: usize = 4;

/// Reads the arguments, of which the first is the program's own name.
pub(crate) fn parse<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Request {
    arguments.next();
    match arguments.next() {
        Some(b"-h" | b"--help") => Request::Print(HELP),
        Some(b"-V" | b"--version") => Request::Print(VERSION),
        Some(b"wait") => {
            Request::Misuse("gates are for containers that are not steps: /podturn/public/podturn-shim wait")
        }
        Some(b"probe") => Request::Misuse("probes are for podturn-probe, beside this program"),
        Some(b"run") => {
            let (mut next, mut at) = (arguments.next(), 3);
            if next == Some(b"--post-start") {
                let words = arguments.next().and_then(decimal).filter(|words| (1..1 << 20).contains(words));
                let words = words.unwrap_or(0) as usize;
                (next, at) = (arguments.nth(words), HOOK + words + 1);
            }
            match (next, arguments.next()) {
                (Some(b"-h" | b"--help"), _) => Request::Print(HELP),
                (Some(b"--"), Some(_)) if at > HOOK + 1 || at == 3 => Request::Run(at),
                _ => Request::Misuse("missing command: podturn-shim run -- COMMAND [ARG...]"),
            }
        }
        _ => Request::Misuse("unknown arguments, see podturn-shim --help"),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn of(words: &str) -> Request {
        parse(words.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes))
    }

    #[test]
    fn the_command_stands_behind_two_dashes() {
        assert_eq!(of("shim run -- make -j4"), Request::Run(3));
        assert_eq!(of("shim run -- --help"), Request::Run(3), "the command's own options are its own");
        assert_eq!(of("shim run --post-start 2 sh -- -- make"), Request::Run(7), "a hook's words may be anything");
        assert_eq!(of("shim --help"), Request::Print(HELP));
        assert_eq!(of("shim -V"), Request::Print(VERSION));
    }

    #[test]
    fn anything_else_is_a_misuse() {
        for wrong in
            ["", "shim", "shim run", "shim run --", "shim run make", "shim ru -- make", "shim wait", "shim probe"]
        {
            assert!(matches!(of(wrong), Request::Misuse(_)), "{wrong:?}");
        }
        for wrong in
            ["", "0", "0 -- make", "x a -- make", "2 a -- make", "1 a b -- make", "1 a --", "99999999 a -- make"]
        {
            assert!(matches!(of(&std::format!("shim run --post-start {wrong}")), Request::Misuse(_)), "{wrong:?}");
        }
    }
}
