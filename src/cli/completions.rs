//! `podturn completions`: the completion script of a shell.

use std::process::ExitCode;

use clap::{CommandFactory, ValueEnum};

/// Arguments of `podturn completions`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Zsh,
}

/// Prints the script on stdout.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Elvish => clap_complete::Shell::Elvish,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Arguments::command(), "podturn", &mut script);
    super::out_as_it_is(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
