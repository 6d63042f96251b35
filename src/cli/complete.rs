//! What can be typed after `kubectl podturn`: kubectl asks a program of the name `kubectl_complete-podturn` for it (KEP-3638), with the
//! words so far as its arguments, and reads what cobra's own completions print: a suggestion a line, then what to do with them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use clap::CommandFactory;

use super::Arguments;
use super::remote::{WITH_FILES, is_about_a_run, split};

/// As which this program answers kubectl's question.
const COMPLETER: &str = "kubectl_complete-podturn";

/// What cobra reads in the last line (`ShellCompDirective`): take files where nothing is suggested, or never.
const FILES: &str = ":0";
const NO_FILES: &str = ":4";

/// kubectl's own options, which every verb about a pod takes.
const OF_KUBECTL: [(&str, &str); 3] =
    [("--namespace", "Of the pod"), ("--context", "Of the kubeconfig"), ("--kubeconfig", "Another kubeconfig file")];

/// Answers, if that is what this program was called as.
pub(super) fn answer(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let program = words.next()?;
    Path::new(&program).file_stem().filter(|name| *name == COMPLETER)?;
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    super::show!("{}", suggestions(&words, pods));
    Some(ExitCode::SUCCESS)
}

/// What may stand in the place of the last word. `pods`: the names of those that kubectl's options lead to.
fn suggestions(words: &[String], pods: impl Fn(&[OsString]) -> Vec<String>) -> String {
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let (options, before) = split(before.iter().map(OsString::from));
    let before: Vec<&str> = before.iter().filter_map(|word| word.to_str()).collect();
    let podturn = Arguments::command();
    let Some(verb) = before.first() else {
        let visible = podturn.get_subcommands().filter(|command| !command.is_hide_set());
        return listed(
            last,
            visible.map(|command| (command.get_name().to_owned(), about(command.get_about()))),
            NO_FILES,
        );
    };
    let Some(command) = podturn.find_subcommand(verb) else { return format!("{NO_FILES}\n") };
    if let Some(argument) = before.last().and_then(|word| option(command, word)) {
        let values = argument.get_possible_values().into_iter();
        return listed(last, values.map(|value| (value.get_name().to_owned(), about(value.get_help()))), FILES);
    }
    if last.starts_with('-') {
        let all = command.get_opts().chain(command.get_arguments().filter(|it| !it.get_action().takes_values()));
        let all = all.filter(|option| !option.is_hide_set());
        let own = all.filter_map(|option| Some((format!("--{}", option.get_long()?), about(option.get_help()))));
        let kubectl = OF_KUBECTL.iter().filter(|_| is_about_a_run(verb));
        let kubectl = kubectl.map(|(name, about)| ((*name).to_owned(), (*about).to_owned()));
        let mut all: Vec<(String, String)> = own.chain(kubectl).collect();
        all.sort();
        all.dedup_by(|one, other| one.0 == other.0);
        return listed(last, all.into_iter(), NO_FILES);
    }
    if is_about_a_run(verb) && before.len() == 1 {
        return listed(last, pods(&options).into_iter().map(|pod| (pod, String::new())), NO_FILES);
    }
    let takes_files = WITH_FILES.contains(verb) || !is_about_a_run(verb);
    format!("{}\n", if takes_files { FILES } else { NO_FILES })
}

/// The option whose value is the next word.
fn option<'a>(command: &'a clap::Command, word: &str) -> Option<&'a clap::Arg> {
    command.get_opts().find(|option| {
        let long = option.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        long || option.get_short().is_some_and(|short| word.strip_prefix('-') == Some(&short.to_string()))
    })
}

/// In one line.
fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn listed(prefix: &str, all: impl Iterator<Item = (String, String)>, then: &str) -> String {
    let mut text = String::new();
    for (word, about) in all.filter(|(word, _)| word.starts_with(prefix)) {
        let _ = writeln!(text, "{}", format!("{word}\t{about}").trim_end());
    }
    text + then + "\n"
}

/// The pods of a namespace. None, where kubectl does not tell in time.
fn pods(options: &[OsString]) -> Vec<String> {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["get", "pods", "--output", "name", "--request-timeout", "3s"]).args(options);
    let told = kubectl.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let told = told.ok().filter(|told| told.status.success()).map(|told| told.stdout).unwrap_or_default();
    String::from_utf8_lossy(&told).lines().filter_map(|line| line.strip_prefix("pod/")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &str) -> Vec<String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let pods = |options: &[OsString]| match options {
            [] => vec!["nightly-x7".to_owned(), "other".to_owned()],
            _ => vec!["of-ci".to_owned()],
        };
        let text = suggestions(&words, pods);
        text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn each_place_has_what_can_stand_there() {
        assert_eq!(told("wa"), ["watch", NO_FILES]);
        assert!(told("").contains(&"inject".to_owned()) && !told("").contains(&"container".to_owned()));
        assert_eq!(told("status "), ["nightly-x7", "other", NO_FILES]);
        assert_eq!(told("why n"), ["nightly-x7", NO_FILES]);
        assert_eq!(told("-n ci status "), ["of-ci", NO_FILES], "where kubectl's options lead");
        assert_eq!(told("graph pod --o"), ["--output", NO_FILES]);
        assert_eq!(told("graph pod --output m"), ["mermaid", FILES]);
        assert_eq!(told("graph pod -o s"), ["svg", FILES]);
        assert_eq!(told("status pod --n"), ["--namespace", NO_FILES]);
        assert_eq!(told("inject "), [FILES], "a file of this machine");
        assert_eq!(told("advise n"), ["nightly-x7", NO_FILES]);
        assert_eq!(told("advise nightly-x7 "), [FILES], "the manifest of that pod");
        assert_eq!(told("why nightly-x7 "), [NO_FILES], "a step");
        assert_eq!(told("no-such "), [NO_FILES]);
    }
}
