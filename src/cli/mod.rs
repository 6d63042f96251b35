//! Arguments, printing and exit codes. One file a command; the only room that prints or ends the process.

mod check;
mod completions;
mod input;
mod schema;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the containers of one Kubernetes pod in the order of a DAG.
#[derive(Parser)]
#[command(name = "podturn", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a plan, and show how podturn understands it
    Check(check::Arguments),
    /// Print the JSON Schema of what podturn reads or writes
    Schema(schema::Arguments),
    /// Print the completion script of a shell
    Completions(completions::Arguments),
}

/// Reads the arguments, runs the command and returns its exit code. A misuse of the command line is 2, as bad input is.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
