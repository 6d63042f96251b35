//! `podturn rehearse`: what would run when, and how would it end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use podturn_turn::{Millis, Plan, StepId, Time};
use podturn_wire::Exit;

use super::run::{parameter, refuse_unknown};
use super::written::put;
use super::{input, podturn_failed};
use crate::history::{History, Record};
use crate::plan::diagnostic::quote;
use crate::plan::{
    Checked, Diagnostics, Manifest, PodFacts, Reporter, Source, SourceFile, Span, check, duration_argument,
    named_signal, named_step, yaml,
};
use crate::rehearsal::{self, Wishes};
use crate::view;
use crate::volume::published::{State, WallClock};

/// Arguments of `podturn rehearse`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Nothing is run: the plan's own rules are applied to stubs, in virtual time. Unless told otherwise
  a task's command takes 1s (half of its `timeout` at most), and succeeds;
  a service is ready at its first probe, and runs until it is not needed;
  every container is there at once, and podturn itself takes no time;
  approvals are given at once, and nobody decides about failures (`onFailure: Pause`);
  `when` is evaluated, with the outputs and parameters that were given; `$(...)` in containers is not looked at.

Examples:
  podturn rehearse pod.yaml                                    what runs after what
  podturn rehearse pod.yaml --fail test=2 --slow db=30s        what if
  podturn rehearse pod.yaml --fail train=OOMKilled             killed for its memory, in every attempt
  podturn rehearse pod.yaml --each-failure                     how it ends for each single failure
  podturn rehearse pod.yaml --output evaluate.accuracy=0.93    the value that a `when` asks for
  podturn rehearse pod.yaml --seed 7 --timeline                commands of 0.5s to 2s; bars
  podturn rehearse pod.yaml --fail test -o what-if.html        the page that `podturn report` makes

Exit codes: 0 rehearsed, however the plan would end; 2 the plan or an argument cannot be used, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// A manifest with a plan (annotation podturn.dev/plan), or a plan by itself; - for stdin
    file: PathBuf,
    /// STEP fails in every attempt: with this code, or 1; or killed by a signal (SIGKILL), or for its memory (OOMKilled). A service ends
    /// by itself, 100ms after its begin; may be given several times
    #[arg(long, value_name = "STEP[=HOW]")]
    fail: Vec<String>,
    /// STEP's command takes this long. Of a service: it is up, or fails, after this long; may be given several times
    #[arg(long, value_name = "STEP=DURATION")]
    slow: Vec<String>,
    /// STEP's container never arrives; may be given several times
    #[arg(long, value_name = "STEP")]
    never: Vec<String>,
    /// What STEP's command leaves for others, if it succeeds; may be given several times
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    output: Vec<String>,
    /// The value of a parameter of the plan; may be given several times
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Nobody approves anything
    #[arg(long)]
    no_approval: bool,
    /// Draw how long each command takes (0.5s to 2s) and the jitter of back-offs; the same number gives the same run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// For each single step that fails: how the plan ends, and what becomes of the others
    #[arg(long, conflicts_with_all = ["timeline", "report"])]
    each_failure: bool,
    /// Bars over time besides: # an attempt runs, . it waits for a slot, a container, a person or a back-off
    #[arg(long)]
    timeline: bool,
    /// Write the run as an HTML page too, as `podturn report` does; - for the page alone, on stdout
    #[arg(short = 'o', long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Prints what would happen.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (checked, wishes) = match load(arguments) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    input::print(&checked.warnings);
    let shown = match arguments.report.as_deref() {
        Some(stdout) if stdout == Path::new("-") => write_page(&rehearsal::rehearse(&checked.plan, &wishes), stdout),
        _ => show(&checked.plan, &wishes, arguments),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => podturn_failed(&*error),
    }
}

/// What a reader of the result has to know besides.
fn assumed(plan: &Plan, wishes: &Wishes) -> &'static str {
    match (plan.steps.iter().any(|step| step.approval.is_some()), wishes.nobody_approves) {
        (true, false) => ", approvals are given at once",
        (true, true) => ", nobody approves",
        (false, _) => "",
    }
}

type Failure = Box<dyn std::error::Error>;

fn write_page(record: &Record, file: &Path) -> Result<(), Failure> {
    Ok(put(file, &view::report(record)?)?)
}

fn show(plan: &Plan, wishes: &Wishes, arguments: &Arguments) -> Result<(), Failure> {
    super::showln!("A rehearsal: nothing was run, commands are stubs{}.\n", assumed(plan, wishes));
    let record = rehearsal::rehearse(plan, wishes);
    let history = History::of(&record)?;
    let missing = rehearsal::missing_outputs(&history, wishes);
    if arguments.each_failure {
        let already = history.state.outcome.as_deref() == Some("Failed");
        let why = if already {
            format!("\nit fails already as it is:\n{}", view::sentences(&history.state))
        } else {
            String::new()
        };
        let mut runs = vec![(None, history.state)];
        for (step, record) in rehearsal::each_failure(plan, wishes) {
            runs.push((Some(plan.steps[step.index()].name.clone()), History::of(&record)?.state));
        }
        super::show!("{}{why}", view::failures(&runs));
    } else {
        show_one(&record, &history, arguments)?;
    }
    for output in missing {
        super::showln!("help: --output {output}=VALUE says what that step leaves, so that the `when` has a value");
    }
    Ok(())
}

fn show_one(record: &Record, history: &History, arguments: &Arguments) -> Result<(), Failure> {
    super::show!("{}", view::table(&history.state));
    if history.state.outcome.is_some() {
        super::show!("{}", view::sentences(&history.state));
    } else {
        let again = history.state.steps.iter().find(|step| step.attempt > rehearsal::ATTEMPTS_MOST);
        let stops = again.map_or_else(
            || stands(&history.state),
            |step| {
                let last =
                    step.attempts.last().map(|attempt| format!(", {} at last", attempt.reason)).unwrap_or_default();
                format!("the rehearsal stops here: {} has failed {} times{last}", step.name, rehearsal::ATTEMPTS_MOST)
            },
        );
        super::show!("{}{stops}\n", view::standing(&history.state, &end_of(record)));
    }
    if arguments.timeline {
        super::show!("\n{}", view::timeline(history));
    }
    if let Some(file) = &arguments.report {
        write_page(record, file)?;
    }
    Ok(())
}

/// Why the play stops before the plan has ended.
fn stands(state: &State) -> String {
    match state.steps.iter().any(|step| view::Act::awaited_by(step).is_some()) {
        true => "nothing happens any more until a person decides, or the pod is deleted".to_owned(),
        false => "nothing happens any more: services go on until the pod is deleted".to_owned(),
    }
}

/// When the last thing happened, as the published state writes times.
fn end_of(record: &Record) -> String {
    WallClock { boottime: 0, realtime: 0 }.show(record.events.last().map_or(0, |event| event.at))
}

fn load(arguments: &Arguments) -> Result<(Checked, Wishes), Diagnostics> {
    let checked = read(&arguments.file, &arguments.parameters)?;
    refuse_unknown(&arguments.parameters, &checked)?;
    let mut wishes = Wishes { nobody_approves: arguments.no_approval, seed: arguments.seed, ..Wishes::default() };
    let mut wrong = Diagnostics::default();
    let mut each = |flag: &str, texts: &[String], take: &mut dyn FnMut(&mut Argument<'_>)| {
        for text in texts {
            let file = SourceFile::new(flag, text.as_str());
            let mut argument = Argument { checked: &checked, reporter: Reporter::new(&file), file };
            take(&mut argument);
            wrong.append(argument.reporter.finish());
        }
    };
    each("--fail", &arguments.fail, &mut |it| wishes.fails.extend(it.fail()));
    each("--never", &arguments.never, &mut |it| wishes.never.extend(it.step(it.file.text().len())));
    each("--slow", &arguments.slow, &mut |it| wishes.slow.extend(it.slow(&wishes.fails)));
    each("--output", &arguments.output, &mut |it| {
        if let Some((step, key, value)) = it.output() {
            wishes.outputs.entry(step).or_default().insert(key, value);
        }
    });
    if wrong.is_empty() { Ok((checked, wishes)) } else { Err(wrong) }
}

fn read(file: &Path, parameters: &[(String, String)]) -> Result<Checked, Diagnostics> {
    let input::Text { name, text } = input::read(file)?;
    let source = Source::file(name.clone(), text);
    if !Manifest::is_one(&yaml::parse(&source)?) {
        return check(&source, &PodFacts { parameters: parameters.iter().cloned().collect(), ..PodFacts::default() });
    }
    let manifest = Manifest::read(&name, source.text())?;
    let mut facts = manifest.facts.clone();
    facts.parameters.extend(parameters.iter().cloned());
    manifest.check(&facts)
}

/// An argument's value that names a step. What is wrong with it is told as of a file, with the place.
struct Argument<'a> {
    checked: &'a Checked,
    file: Arc<SourceFile>,
    reporter: Reporter,
}

impl Argument<'_> {
    /// The step that is named up to `end`.
    fn step(&mut self, end: usize) -> Option<StepId> {
        named_step(self.checked, &self.file.text()[..end], Span { start: 0, end }, &mut self.reporter)
    }

    fn refuse(&mut self, start: usize, message: &str, help: &str) {
        let end = self.file.text().len();
        self.reporter.error(Span { start, end }, message).help(help);
    }

    /// `STEP[=CODE]`, `STEP=SIGKILL`, `STEP=OOMKilled`.
    fn fail(&mut self) -> Option<(StepId, Exit)> {
        let file = Arc::clone(&self.file);
        let (name, code) = file.text().split_once('=').map_or((file.text(), None), |(name, code)| (name, Some(code)));
        let step = self.step(name.len())?;
        let known = &self.checked.plan.steps[step.index()];
        let Some(code) = code else { return Some((step, Exit::Code(rehearsal::failure(known)))) };
        let start = name.len() + 1;
        if let Some(killed) = killed(code) {
            return Some((step, killed));
        }
        match code.parse::<u8>() {
            Ok(code) if !known.service && known.success_exit_codes.contains(&code) => {
                self.refuse(start, &format!("{code} is a success of {}", quote(name)), "give a code that is none");
                None
            }
            Ok(code) => Some((step, Exit::Code(code))),
            Err(_) => {
                let help = "give a number from 1 to 255, a signal (SIGKILL), or OOMKilled";
                self.refuse(start, &format!("{} is no exit code", quote(code)), help);
                None
            }
        }
    }

    /// `STEP=DURATION`.
    fn slow(&mut self, fails: &BTreeMap<StepId, Exit>) -> Option<(StepId, Time)> {
        let file = Arc::clone(&self.file);
        let Some((name, duration)) = file.text().split_once('=') else {
            self.refuse(0, "this says not how long", "write STEP=DURATION, such as db=30s");
            return None;
        };
        let step = self.step(name.len())?;
        let known = &self.checked.plan.steps[step.index()];
        if known.service && known.readiness.is_none() && !fails.contains_key(&step) {
            let message =
                format!("{} is a service without readiness: it is ready as soon as it has begun", quote(name));
            self.refuse(0, &message, "give it a `readiness` in the plan, or slow down another step");
            return None;
        }
        match duration_argument(duration) {
            Ok(ms) => Some((step, nanoseconds(ms))),
            Err(why) => {
                self.refuse(name.len() + 1, &format!("{} is no duration", quote(duration)), &why);
                None
            }
        }
    }

    /// `STEP.KEY=VALUE`.
    fn output(&mut self) -> Option<(StepId, String, String)> {
        let file = Arc::clone(&self.file);
        let parts = file.text().split_once('=').and_then(|(path, value)| Some((path.split_once('.')?, value)));
        let Some(((name, key), value)) = parts.filter(|((_, key), _)| !key.is_empty()) else {
            self.refuse(0, "this is no output", "write STEP.KEY=VALUE, such as evaluate.accuracy=0.93");
            return None;
        };
        let step = self.step(name.len())?;
        if self.checked.plan.steps[step.index()].service {
            let message = format!("{} is a service, and services have no outputs", quote(name));
            self.refuse(0, &message, "give the output to a task");
            return None;
        }
        Some((step, key.to_owned(), value.to_owned()))
    }
}

/// How a command ends that is killed: by a signal's name, or for its memory.
fn killed(how: &str) -> Option<Exit> {
    let by = |number, oom| Exit::Signal { number, oom };
    if how == "OOMKilled" { Some(by(9, true)) } else { named_signal(how).map(|number| by(number, false)) }
}

const fn nanoseconds(ms: Millis) -> Time {
    ms.saturating_mul(1_000_000)
}
