//! References in a step's command line and environment, and the values that come in their place.

use std::process::Stdio;

use podturn_wire::{Exit, StartStage, VALUE_MAX};

use crate::mailbox::Mailbox;

/// A shim whose command prints its arguments and one variable, a line each.
fn arrived(arguments: &[&str], variable: &str) -> Mailbox {
    let mut mailbox = Mailbox::listening();
    let mut command = mailbox.command(&["sh", "-c", "for word in \"$@\" \"$VARIABLE\"; do echo \"$word\"; done", "sh"]);
    command.args(arguments).env("VARIABLE", variable).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(command).arrive();
    mailbox
}

/// Runs attempt 1 with these values: its end, and what it said.
fn run(mailbox: &mut Mailbox, values: &[&str]) -> (Exit, String) {
    mailbox.values = values.iter().map(ToString::to_string).collect();
    mailbox.turn(|turn| turn.attempt = Some(1));
    let exit = mailbox.ended(1).exit;
    mailbox.let_exit(0, "");
    let (out, err) = mailbox.output();
    (exit, if exit == Exit::Code(0) { out } else { err })
}

const NO_VALUES: Exit = Exit::StartError { stage: StartStage::Replace, errno: 61 };
const TOO_LONG: Exit = Exit::StartError { stage: StartStage::Replace, errno: 7 };

#[test]
fn references_are_listed_on_arrival_and_replaced_before_the_run() {
    let arguments = ["--tag=v$(steps.build.outputs.version)!", "$(steps.test.exitCode:-none)", "$(date) $$ $HOME"];
    let mut mailbox = arrived(&arguments, "$(params.TARGET)/$(steps.build.outputs.version)/$(plan.outcome)");
    let listed = ["steps.build.outputs.version", "steps.test.exitCode:-none", "params.TARGET", "plan.outcome"];
    assert_eq!(mailbox.references(), listed, "each once, the default with it");
    let (exit, out) = run(&mut mailbox, &["1.2.3", "0", "prod", "Succeeded"]);
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(out, "--tag=v1.2.3!\n0\n$(date) $$ $HOME\nprod/1.2.3/Succeeded\n");
    assert!(mailbox.references().is_empty(), "a turn for the instance has shown that they were read");
}

#[test]
fn a_command_line_without_references_lists_none() {
    let mut mailbox = arrived(&["$(date)", "$(steps.build)"], "$$");
    assert!(mailbox.references().is_empty());
    assert_eq!(run(&mut mailbox, &[]), (Exit::Code(0), "$(date)\n$(steps.build)\n$$\n".to_owned()));
}

#[test]
fn an_escaped_reference_is_literal_and_needs_no_value() {
    let mut mailbox = arrived(&["$$(steps.build.phase)"], "");
    assert!(mailbox.references().is_empty());
    assert_eq!(run(&mut mailbox, &[]), (Exit::Code(0), "$(steps.build.phase)\n\n".to_owned()));
}

#[test]
fn values_are_taken_as_they_are() {
    let value = "$(plan.outcome) \"quoted\" \\ \u{e9}\u{1f600}\ttwo\nlines";
    let mut mailbox = arrived(&["<$(steps.a.outputs.v)>"], "");
    assert_eq!(run(&mut mailbox, &[value]), (Exit::Code(0), format!("<{value}>\n\n")));
}

#[test]
fn a_turn_without_the_values_is_a_start_error_and_no_guess() {
    for values in [&[][..], &["one"], &["one", "two", "three"]] {
        let mut mailbox = arrived(&["$(steps.a.outputs.v) $(steps.b.phase)"], "");
        let (exit, said) = run(&mut mailbox, values);
        assert_eq!(exit, NO_VALUES, "{values:?}");
        assert!(said.contains("replacing the references in the command line: the turn has no values"), "{said}");
    }
    let mut mailbox = arrived(&["nothing to replace"], "");
    assert_eq!(run(&mut mailbox, &["one"]).0, NO_VALUES, "values of which nobody knows where they belong");
}

#[test]
fn the_next_attempt_may_have_other_values() {
    let mut mailbox = arrived(&["$(steps.a.outputs.v)"], "");
    mailbox.turn(|turn| turn.attempt = Some(1));
    assert_eq!(mailbox.ended(1).exit, NO_VALUES);
    mailbox.values = vec!["late".to_owned()];
    mailbox.turn(|turn| turn.attempt = Some(2));
    assert_eq!(mailbox.ended(2).exit, Exit::Code(0));
    assert_eq!(mailbox.line(), "late");
}

#[test]
fn large_values_fit_as_long_as_the_kernel_takes_the_argument() {
    let large = "\u{1}".repeat(VALUE_MAX); // six bytes each in JSON
    let names: Vec<String> = (1..=16).map(|n| format!("$(steps.a.outputs.v{n})")).collect();
    let mut mailbox = Mailbox::listening();
    let mut command = mailbox.command(&["sh", "-c", "echo ${#1} ${#16}", "sh"]);
    command.args(&names).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(command).arrive();
    let (exit, out) = run(&mut mailbox, &[large.as_str(); 16]);
    assert_eq!((exit, out.trim()), (Exit::Code(0), format!("{VALUE_MAX} {VALUE_MAX}").as_str()), "1 MiB altogether");

    let mut mailbox = arrived(&["$(steps.a.outputs.v)$(steps.a.outputs.v)"], "");
    let (exit, said) = run(&mut mailbox, &[large.as_str()]);
    assert_eq!(exit, TOO_LONG, "128 KiB with its NUL is one byte too long");
    assert!(
        said.contains("replacing the references in the command line: arguments and environment too long"),
        "{said}"
    );
}

#[test]
fn more_references_than_a_report_can_list_are_a_start_error() {
    let words: Vec<String> = (0..1000).map(|n| format!("$(steps.step-{n}.phase)")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut mailbox = arrived(&words, "");
    assert!(mailbox.references().is_empty());
    assert_eq!(run(&mut mailbox, &[]).0, TOO_LONG);
}

#[test]
fn a_program_may_be_named_by_a_reference() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["$(params.PROGRAM)", "hello"]).arrive();
    assert_eq!(run(&mut mailbox, &["echo"]), (Exit::Code(0), "hello\n".to_owned()));
}
