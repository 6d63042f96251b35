//! The command line. Pure.

use podturn_wire::json::decimal;

/// What `podturn-shim --help` prints.
pub(crate) const HELP: &str = "\
podturn-shim waits for a step's turn and runs its command.

Usage: podturn-shim run [--post-start N WORD...] [--pre-stop N WORD...] -- COMMAND [ARG...]

COMMAND finds PODTURN_STEP, PODTURN_ATTEMPT and PODTURN_OUTPUTS (a directory) in its environment. Exits with its
code; 126: cannot be executed, 127: not found, 128 + n: signal n, 125: the shim itself failed.

N WORDs are a hook's command. For probes: podturn-probe --help.
";

/// What `podturn-shim --version` prints.
pub(crate) const VERSION: &str = concat!("podturn-shim ", env!("CARGO_PKG_VERSION"), "\n");

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run this.
    Run(Launched),
    /// Print this and end well.
    Print(&'static str),
    /// Say this and end with 125.
    Misuse(&'static str),
}

/// What is run, as places of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Launched {
    /// Where the command begins.
    pub(crate) command: usize,
    /// Where each hook begins, in the order of [`HOOKS`], and where it ends; at the same place: there is none.
    pub(crate) hooks: [(usize, usize); 2],
}

/// The options that have a hook's words.
pub(crate) const HOOKS: [&[u8]; 2] = [b"--post-start", b"--pre-stop"];

/// Reads the arguments, of which the first is the program's own name.
pub(crate) fn parse<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Request {
    arguments.next();
    match arguments.next() {
        Some(b"-h" | b"--help") => Request::Print(HELP),
        Some(b"-V" | b"--version") => Request::Print(VERSION),
        Some(b"wait") => {
            Request::Misuse("gates are for containers that are not steps: /podturn/public/podturn-shim wait")
        }
        Some(b"run") => {
            let (mut next, mut at, mut hooks) = (arguments.next(), 2, [(0, 0); 2]);
            while let Some(which) = HOOKS.iter().position(|name| next == Some(*name)) {
                let words = arguments.next().and_then(decimal).filter(|words| (1..1 << 20).contains(words));
                let Some(words) = words else { break };
                let end = at + 2 + words as usize;
                hooks[which] = (at + 2, end);
                (next, at) = (arguments.nth(words as usize), end);
            }
            match (next, arguments.next()) {
                (Some(b"-h" | b"--help"), _) => Request::Print(HELP),
                (Some(b"--"), Some(_)) => Request::Run(Launched { command: at + 1, hooks }),
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
        let run = |command, hooks| Request::Run(Launched { command, hooks });
        assert_eq!(of("shim run -- make -j4"), run(3, [(0, 0); 2]));
        assert_eq!(of("shim run -- --help"), run(3, [(0, 0); 2]), "the command's own options are its own");
        assert_eq!(
            of("shim run --post-start 2 sh -- -- make"),
            run(7, [(4, 6), (0, 0)]),
            "a hook's words may be anything"
        );
        assert_eq!(of("shim run --pre-stop 1 a --post-start 2 b c -- make"), run(10, [(7, 9), (4, 5)]));
        assert_eq!(of("shim --help"), Request::Print(HELP));
        assert_eq!(of("shim -V"), Request::Print(VERSION));
    }

    #[test]
    fn anything_else_is_a_misuse() {
        for wrong in ["", "shim", "shim run", "shim run --", "shim run make", "shim ru -- make", "shim wait"] {
            assert!(matches!(of(wrong), Request::Misuse(_)), "{wrong:?}");
        }
        for wrong in
            ["", "0", "0 -- make", "x a -- make", "2 a -- make", "1 a b -- make", "1 a --", "99999999 a -- make"]
        {
            for option in ["--post-start", "--pre-stop"] {
                assert!(matches!(of(&std::format!("shim run {option} {wrong}")), Request::Misuse(_)), "{wrong:?}");
            }
        }
    }
}
