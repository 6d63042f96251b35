//! `podturn man`: the man pages, from the same definitions as `--help`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::podturn_failed;

/// What the foot of each page says; man(7) wants a day, and the same program has to give the same pages.
const DATE: &str = "2026-11-26";

/// Arguments of `podturn man`.
#[derive(clap::Args)]
#[command(after_long_help = "\
podturn.1, and a page for each command: podturn-run.1, ...

Example:
  podturn man ~/.local/share/man/man1 && man podturn-run

Exit codes: 0 written, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// Where to write them; it is made if it is not there
    directory: PathBuf,
}

/// Writes the pages.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let directory = &arguments.directory;
    match write_all(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            podturn_failed(&io::Error::other(format!("cannot write man pages into {}: {error}", directory.display())))
        }
    }
}

fn write_all(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut podturn = super::Arguments::command().disable_help_subcommand(true);
    podturn.build();
    write(&podturn, directory)?;
    podturn.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|command| write(command, directory))
}

/// `podturn run` has the page podturn-run(1), as git's commands have.
fn write(command: &Command, directory: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone()).section("1").date(DATE).manual("podturn");
    let mut page = Vec::new();
    man.source(format!("podturn {}", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    // What is below all options has no name of its own, and man(7) wants a paragraph where clap_mangen breaks lines around an empty one.
    let page = page.replace("\n.SH EXTRA\n", "\n.SH NOTES\n").replace("\n.br\n\n.br\n", "\n.sp\n");
    std::fs::write(directory.join(format!("{name}.1")), in_ascii(&page))
}

/// As groff_char(7) writes characters: what formats a page may not know in which encoding it is.
fn in_ascii(page: &str) -> String {
    let escaped = |character: char| match character.is_ascii() {
        true => character.to_string(),
        false => format!("\\[u{:04X}]", u32::from(character)),
    };
    page.chars().map(escaped).collect()
}
