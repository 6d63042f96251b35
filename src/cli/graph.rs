//! `podturn graph`: the DAG of a manifest's plan, or of a run, as text or a picture.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::input;
use super::record::{self, Lookup};
use crate::plan::{Diagnostics, Manifest, PodFacts, Source, check, yaml};
use crate::view::graph::{Graph, Width};

/// Arguments of `podturn graph`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Without FILE it is about a run: the one of this pod, of a `podturn run` of yours on this machine, or --volume DIR.

Edges that others imply are not drawn, and four or more steps that wait for the same ones and are waited for by the same ones \
are one block. Phases are signs as well as colours:
  ○ Pending  ? Awaiting  ▷ Granted  ▶ Running  ● Ready  ↻ Backoff  ‖ Paused  ▽ Stopping
  ✓ Succeeded  ✗ Failed  » Skipped  – Omitted  ⊘ Cancelled

Examples:
  podturn graph pod.yaml                      in the terminal
  podturn graph pod.yaml -o svg > plan.svg    a picture, light and dark
  podturn graph pod.yaml -o mermaid           for a Markdown file on GitHub or GitLab
  podturn graph pod.yaml -o dot | dot -Tpng > plan.png
  kubectl exec POD -c podturn -- podturn graph
  kubectl logs POD -c podturn | podturn graph --from-logs -

Exit codes: 0 shown, 2 the plan cannot be used or there is no run, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// A manifest with a plan, or a plan by itself; - for stdin. Default: a run
    #[arg(conflicts_with_all = ["volume", "from_logs"])]
    file: Option<PathBuf>,
    /// How it is drawn
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Text: ASCII only. Default: as the locale says
    #[arg(long)]
    ascii: bool,
    #[command(flatten)]
    lookup: Lookup,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For Markdown
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
}

/// Draws it on stdout.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let graph = match &arguments.file {
        Some(file) => match of_file(file) {
            Ok(graph) => graph,
            Err(diagnostics) => return input::refuse(&diagnostics),
        },
        None => match of_run(&arguments.lookup) {
            Ok(graph) => graph,
            Err(code) => return code,
        },
    };
    let text = match arguments.output {
        Format::Text => graph.text(Width { columns: columns(), unicode: !arguments.ascii && has_unicode() }),
        Format::Mermaid => graph.mermaid(),
        Format::Dot => graph.dot(),
        Format::Svg => graph.svg(),
    };
    super::show!("{text}");
    ExitCode::SUCCESS
}

fn of_file(file: &std::path::Path) -> Result<Graph, Diagnostics> {
    let input::Text { name, text } = input::read(file)?;
    let source = Source::file(name.clone(), text);
    let checked = if Manifest::is_one(&yaml::parse(&source)?) {
        let manifest = Manifest::read(&name, source.text())?;
        check(&manifest.plan, &manifest.facts)?
    } else {
        check(&source, &PodFacts::default())?
    };
    Ok(Graph::of_plan(&checked.plan))
}

fn of_run(lookup: &Lookup) -> Result<Graph, ExitCode> {
    if let Some(log) = &lookup.from_logs {
        let history = record::played(&record::of_log(log)?)?;
        return Ok(Graph::of_run(&history.plan, &history.state));
    }
    let (volume, state) = lookup.place.state()?;
    let run = record::read_run(&volume)?;
    Ok(Graph::of_run(&run.plan, &state))
}

/// The terminal's width, as it or `COLUMNS` says. What is not a terminal gets 80, whoever looks at it later.
fn columns() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || {
        let size = width_of(std::io::stdout().as_fd())?;
        (size > 0).then_some(usize::from(size))
    };
    said.or_else(asked).unwrap_or(80).clamp(40, 240)
}

/// The columns of a terminal; tty_ioctl(4), TIOCGWINSZ.
pub(super) fn width_of(terminal: BorrowedFd<'_>) -> Option<u16> {
    nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);
    let mut size = nix::libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a winsize, which is what this request writes.
    unsafe { window_size(terminal.as_raw_fd(), &raw mut size) }.ok().map(|_| size.ws_col)
}

/// locale(7): the first of these that is set decides; with none of them set, as in most containers, a terminal that shows `kubectl
/// exec` shows Unicode too.
pub(super) fn has_unicode() -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let set = names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    set.is_none_or(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}
