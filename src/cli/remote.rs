//! A run in a pod of a cluster: `podturn --pod NAME VERB ...`, and the same as a plugin of kubectl's, `kubectl podturn VERB NAME ...`.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::{CommandFactory, Parser};

use super::engine::{ClusterArguments, engine_failed};
use super::input::BAD_INPUT;
use super::{Arguments, obey};
use crate::engine::EngineError;
use crate::engine::pod::Pod;
use crate::volume::write_copy;

/// As which this program is kubectl's plugin: `kubectl podturn` looks for it on PATH.
const PLUGIN: &str = "kubectl-podturn";

/// What reads or writes a file that is here: it is done here, with what the coordinator's log tells.
pub(super) const WITH_FILES: [&str; 2] = ["report", "advise"];

/// What is about a run and is no business of a person's at a desk.
const OF_THE_POD: [&str; 4] = ["init", "coordinate", "alive", "terminating"];

const PLUGIN_HELP: &str = "\
Look into a pod with a plan, or tell it what to do

Usage: kubectl podturn VERB POD [ARGUMENTS] [-n NAMESPACE] [--context NAME] [--kubeconfig FILE]

POD is a pod's name, or job/NAME: the newest pod of that Job. The verbs are podturn's: status, watch, why, graph, report, advise,
pause, resume, cancel, approve, retry, skip, stop; `podturn VERB --help` says what follows. They run in the coordinator's container
by `kubectl exec`. Of a pod that has ended, its coordinator's log tells the run; report and advise, which have files here, always go
by that.

Examples:
  kubectl podturn status my-pod
  kubectl podturn why my-pod publish -n ci
  kubectl podturn approve job/nightly publish
  kubectl podturn report my-pod -o run.html

Any other command is podturn's own: kubectl podturn inject pod.yaml

Exit codes: those of the verb; 2 there is no such pod, or several; 125 kubectl failed.
";

/// Which pod a command is about.
#[derive(clap::Args)]
#[command(next_help_heading = "A run in a cluster")]
pub(super) struct Remote {
    /// Go by `kubectl exec` into this pod, or the newest one of job/NAME: status, why, approve, ...
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Remote {
    /// Does what these words ask for, in the pod; `None`: there is no pod in question.
    pub(super) fn run(&self, words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
        let Some(pod) = &self.pod else {
            let option = self.cluster.given()?;
            anstream::eprintln!("error: {option} in front of a command goes with --pod NAME");
            anstream::eprintln!("  help: `podturn run --engine kubectl` has it behind it");
            return Some(ExitCode::from(BAD_INPUT));
        };
        let words = command_of(words.skip(1));
        let verb = words.first().and_then(|word| word.to_str()).unwrap_or_default();
        if !is_about_a_run(verb) {
            anstream::eprintln!("error: {verb} is not about a run: it has nothing to do with --pod");
            return Some(ExitCode::from(BAD_INPUT));
        }
        Some(ask(&self.cluster, pod, &words))
    }
}

/// The words from the command's name on: before it are options of ours.
fn command_of(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.peekable();
    while let Some(word) = words.next_if(|word| is_option(word)) {
        if takes_next(&word) {
            words.next();
        }
    }
    words.collect()
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// Whether the value of this option of ours is the next word.
fn takes_next(word: &OsStr) -> bool {
    matches!(word.to_str(), Some("--pod" | "-n" | "--namespace" | "--context" | "--kubeconfig" | "--color"))
}

/// Whether this command has a run to be about.
pub(super) fn is_about_a_run(verb: &str) -> bool {
    let command = Arguments::command();
    let has_volume = |command: &clap::Command| command.get_arguments().any(|argument| argument.get_id() == "volume");
    !OF_THE_POD.contains(&verb) && command.find_subcommand(verb).is_some_and(has_volume)
}

/// kubectl's own options.
#[derive(Parser)]
#[command(name = "kubectl podturn", no_binary_name = true)]
struct Options {
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Runs as kubectl's plugin, if that is what this program was called as.
pub(super) fn plugin(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let program = words.next()?;
    std::path::Path::new(&program).file_stem().filter(|name| *name == PLUGIN)?;
    let (options, mut words) = split(words);
    let verb = words.first().and_then(|word| word.to_str()).unwrap_or("--help").to_owned();
    if matches!(verb.as_str(), "--help" | "-h" | "help") {
        super::show!("{PLUGIN_HELP}");
        return Some(ExitCode::SUCCESS);
    }
    if !is_about_a_run(&verb) {
        return Some(obey([vec!["podturn".into()], words, options].concat()));
    }
    if words.iter().any(|word| word == "--help" || word == "-h") {
        return Some(obey([vec!["podturn".into()], words].concat()));
    }
    if words.len() < 2 || is_option(&words[1]) {
        anstream::eprint!("error: which pod? kubectl podturn {verb} POD ...\n\n{PLUGIN_HELP}");
        return Some(ExitCode::from(BAD_INPUT));
    }
    let pod = words.remove(1).to_string_lossy().into_owned();
    Some(ask(&Options::parse_from(options).cluster, &pod, &words))
}

/// kubectl's options, wherever they stand, and the other words.
pub(super) fn split(words: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<OsString>) {
    let (mut options, mut others) = (Vec::new(), Vec::new());
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        let is_short = text.starts_with("-n") && !text.starts_with("--");
        let is_long =
            ["--namespace", "--context", "--kubeconfig"].contains(&text.split('=').next().unwrap_or_default());
        if !(is_short || is_long) {
            others.push(word);
            continue;
        }
        let has_more = takes_next(&word);
        options.push(word);
        if has_more {
            options.extend(words.next());
        }
    }
    (options, others)
}

/// Asks the pod, or its log where it has ended.
fn ask(cluster: &ClusterArguments, pod: &str, words: &[OsString]) -> ExitCode {
    match try_to_ask(cluster, pod, words) {
        Ok(code) => code,
        Err(error) => {
            let is_missing = match &error {
                EngineError::Refused { said, .. } => said.contains("NotFound"),
                EngineError::Unknown { .. } => true,
                EngineError::NotInstalled { .. } | EngineError::System(..) => false,
            };
            let code = engine_failed(&error);
            if is_missing { ExitCode::from(BAD_INPUT) } else { code }
        }
    }
}

fn try_to_ask(cluster: &ClusterArguments, pod: &str, words: &[OsString]) -> Result<ExitCode, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| EngineError::System("starting the runtime".to_owned(), error))?;
    let pod = runtime.block_on(Pod::find(&cluster.cluster(), pod))?;
    let verb = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    if !pod.has_ended() && !WITH_FILES.contains(&verb) {
        let is_lasting = verb == "watch" || words.iter().any(|word| word == "--follow");
        let with_terminal = is_lasting && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        return pod.execute(words, with_terminal).map(ExitCode::from);
    }
    let told = match runtime.block_on(pod.told())? {
        Ok(told) => told,
        Err(why) => {
            anstream::eprintln!("error: the log of the coordinator of pod {}: {why}", pod.name);
            return Ok(ExitCode::from(BAD_INPUT));
        }
    };
    drop(runtime); // the command has one of its own
    if pod.has_ended() {
        let _ = writeln!(
            anstream::stderr(),
            "pod {} has ended ({}): this is what its coordinator's log tells",
            pod.name,
            pod.phase
        );
    }
    let (state, told) = told;
    let place = std::env::temp_dir();
    let system =
        |error| EngineError::System(format!("keeping what the log tells in {} (TMPDIR)", place.display()), error);
    let directory = Copy::make(&place).map_err(system)?;
    write_copy(&directory.0, &told.run, &told.events, &told.usage, &state).map_err(system)?;
    let volume = [OsString::from("--volume"), directory.0.clone().into_os_string()];
    let given = [vec!["podturn".into()], words.to_vec(), volume.to_vec()].concat();
    *LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory);
    let code = obey(given);
    clear_away();
    Ok(code)
}

/// Removes what a command looks at here: at its end, wherever that is.
pub(super) fn clear_away() {
    drop(LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// What a command looks at: it may end the process itself (`not_printed`), and then nobody returns here.
static LOOKED_AT: Mutex<Option<Copy>> = Mutex::new(None);

/// A directory for what a log tells. It is removed at the end.
struct Copy(std::path::PathBuf);

impl Copy {
    fn make(place: &std::path::Path) -> std::io::Result<Self> {
        Ok(Self(nix::unistd::mkdtemp(&place.join("podturn-log-XXXXXX"))?))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl Iterator<Item = OsString> + '_ {
        text.split(' ').map(OsString::from)
    }

    fn text(words: &[OsString]) -> String {
        words.join(OsStr::new(" ")).into_string().expect("UTF-8")
    }

    #[test]
    fn a_command_begins_behind_the_options_before_it() {
        let table = [
            ("--pod p status", "status"),
            ("-n ci --pod=p why -n x", "why -n x"),
            (
                "--color never -nci --pod p --context c --kubeconfig=k approve publish --attempt 2",
                "approve publish --attempt 2",
            ),
        ];
        for (given, wanted) in table {
            assert_eq!(text(&command_of(words(given))), wanted);
        }
    }

    #[test]
    fn the_options_of_kubectl_may_stand_anywhere() {
        let table = [
            ("status p -n ci", "-n ci", "status p"),
            ("-nci why p --context=c publish", "-nci --context=c", "why p publish"),
            ("report p -o run.html --kubeconfig k", "--kubeconfig k", "report p -o run.html"),
        ];
        for (given, options, others) in table {
            let found = split(words(given));
            assert_eq!((text(&found.0).as_str(), text(&found.1).as_str()), (options, others));
        }
    }

    #[test]
    fn what_is_about_a_run_is_known() {
        for verb in [
            "status", "watch", "why", "graph", "report", "advise", "cancel", "pause", "resume", "approve", "retry",
            "skip", "stop",
        ] {
            assert!(is_about_a_run(verb), "{verb}");
        }
        for verb in ["inject", "check", "init", "coordinate", "alive", "terminating", "no-such"] {
            assert!(!is_about_a_run(verb), "{verb}");
        }
        assert!(!is_about_a_run("run"), "a run of its own, whose --volume is another option");
    }
}
