//! `podturn watch`: a run on the whole terminal, as it goes on, and its verbs on keys.
//!
//! Belongs here: what comes from where: keys, news of the volume, the coordinator's answers, the time. Does not belong here: the
//! terminal itself (`terminal`), where a run is looked up (`source`), what is on the screen and what a key does (`view::watch`).

mod source;
mod terminal;

use std::fs;
use std::io::{self, IsTerminal, Stdout};
use std::process::ExitCode;
use std::time::Duration;

use podturn_turn::Plan;
use podturn_wire::names;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::style;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use source::{Live, Source, of_log, of_volume};
use terminal::{Screen, listen_to_keys};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::MissedTickBehavior;

use super::graph::has_unicode;
use super::record::Lookup;
use super::{input, podturn_failed};
use crate::control::{self, AskError};
use crate::coordinator::asked::{Ask, Told, Verb, Verdict};
use crate::view::watch::{Asking, Key, Look, Teller, Watch, Wish};
use crate::view::{self, Act};
use crate::volume::news;
use crate::volume::published::State;

/// How often times are drawn anew, and how long the published state may be old before the coordinator is asked.
const TICK: Duration = Duration::from_secs(1);

/// Arguments of `podturn watch`.
#[derive(clap::Args)]
#[command(after_long_help = "\
All steps in the order of the DAG, with its edges, phases, times, attempts, CPU and memory, and everything that is to be said of the \
selected one. Keys approve, retry, skip and stop it, and pause or cancel the plan; each is asked back. `?` has the keys, \
`q` leaves, and the run goes on.

When the plan ends, the table that `podturn status` prints is left on the terminal. A run that has ended already, a copy of its \
volume and its coordinator's log can be looked at too, read-only.

Examples:
  kubectl exec -it POD -c podturn -- podturn watch
  podturn watch                                      beside a `podturn run` in another terminal
  podturn watch --volume ./copy
  kubectl logs POD -c podturn | podturn watch --from-logs -

Exit codes: 0 shown, 2 there is no run or no terminal, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// ASCII only. Default: as the locale says
    #[arg(long)]
    ascii: bool,
    #[command(flatten)]
    lookup: Lookup,
}

/// Shows the run until somebody leaves, or it ends.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if is_dumb || !io::stdout().is_terminal() {
        anstream::eprintln!("error: this is no terminal that has a screen");
        anstream::eprintln!("  help: with `kubectl exec`, -it gives one; `podturn status --follow` needs none");
        return ExitCode::from(input::BAD_INPUT);
    }
    let colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let look = Look { colours, unicode: !arguments.ascii && has_unicode() };
    let Lookup { from_logs, place } = &arguments.lookup;
    let opened = match from_logs {
        Some(log) => of_log(log, look),
        None => place.find().and_then(|volume| of_volume(volume, look)),
    };
    let (watch, source) = match opened {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    match show(watch, source) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(end)) => {
            let sentences =
                if end.outcome.is_some() { view::sentences(&end) } else { view::standing(&end, &view::now()) };
            super::show!("{}{sentences}", view::table(&end));
            ExitCode::SUCCESS
        }
        Err(error) => podturn_failed(&error),
    }
}

/// Something has happened.
enum News {
    Key(Key),
    Resized,
    /// The terminal is gone, or the process is asked to end.
    Leave,
    /// A new state has been published.
    Published,
    /// The coordinator's word; or why there is none.
    Answer(Result<State, AskError>),
    /// What came of a request.
    Told(String),
    Tick,
}

/// Takes the terminal, and gives it back. The state that is to be printed then, if the run has ended meanwhile.
fn show(watch: Watch, source: Source) -> io::Result<Option<State>> {
    style::force_color_output(true); // what is shown in colour is decided by the view
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let screen = Screen::take()?;
    let shown = runtime.block_on(go(watch, source, &screen));
    drop(screen);
    runtime.shutdown_background();
    shown
}

async fn go(mut watch: Watch, source: Source, screen: &Screen) -> io::Result<Option<State>> {
    // Before the size is looked at: `kubectl exec` sets it at a moment of its own, and of an ended run nothing else is told.
    let mut resized = signal(SignalKind::window_change())?;
    // A viewport that is told its size: one that finds it out takes a terminal that does not say it for an error.
    let mut known = whole(screen.size());
    let viewport = Viewport::Fixed(known);
    let backend = CrosstermBackend::new(io::stdout());
    let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
    let (tell, mut news) = mpsc::channel(16);
    listen_to_keys(tell.clone());
    let mut leave = [signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    let changes = source.changes.map(news::News::of).transpose()?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut run = Following { live: source.live.as_ref(), tell, is_fresh: true, is_asking: false };
    loop {
        if let Some(name) = watch.selected().map(|step| step.name.clone()) {
            watch.tell_log(source.logs.of_step(&name));
        }
        let area = whole(screen.size());
        if area != known {
            terminal.resize(area)?;
            known = area;
        }
        draw(&mut terminal, &mut watch, source.until.as_deref())?;
        let [term, hup] = &mut leave;
        let came = tokio::select! {
            Some(came) = news.recv() => came,
            published = published(changes.as_ref()) => published.map(|()| News::Published)?,
            _ = ticks.tick(), if run.live.is_some() => News::Tick,
            _ = resized.recv() => News::Resized,
            _ = term.recv() => News::Leave,
            _ = hup.recv() => News::Leave,
        };
        match came {
            News::Leave => return Ok(None),
            News::Resized => {}
            News::Key(key) => match watch.press(key) {
                Some(Wish::Quit) => return Ok(None),
                Some(Wish::Ask(asking)) => run.ask(asking),
                None => {}
            },
            News::Told(what) => watch.note(what),
            News::Published | News::Answer(_) | News::Tick => {
                if run.take(came, &mut watch) {
                    return Ok(Some(watch.state().clone()));
                }
            }
        }
    }
}

fn draw(terminal: &mut Terminal<CrosstermBackend<Stdout>>, watch: &mut Watch, until: Option<&str>) -> io::Result<()> {
    let now = until.map_or_else(view::now, str::to_owned);
    terminal.draw(|frame| watch.draw(&now, frame.area(), frame.buffer_mut())).map(drop)
}

const fn whole((width, height): (u16, u16)) -> Rect {
    Rect { x: 0, y: 0, width, height }
}

/// Waits until a new state has been published; for ever, where none will be.
async fn published(changes: Option<&news::News>) -> io::Result<()> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// A run that goes on.
struct Following<'a> {
    live: Option<&'a Live>,
    tell: Sender<News>,
    /// Something was heard of it since the last tick.
    is_fresh: bool,
    is_asking: bool,
}

impl Following<'_> {
    /// Takes news of the run; whether it has ended.
    fn take(&mut self, came: News, watch: &mut Watch) -> bool {
        let Some(live) = self.live else { return false };
        match came {
            News::Published => {
                let read = fs::read(live.volume.path().join(names::STATE)).map_err(drop);
                let read = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(drop));
                if let Ok(state) = read {
                    return self.take_state(state, &live.plan, watch);
                }
            }
            News::Answer(answer) => {
                self.is_asking = false;
                match answer {
                    Ok(state) => return self.take_state(state, &live.plan, watch),
                    Err(_) => watch.tell_silence(),
                }
            }
            _ => {
                let is_fresh = std::mem::replace(&mut self.is_fresh, false);
                if !is_fresh && !self.is_asking {
                    self.is_asking = true;
                    let (tell, volume) = (self.tell.clone(), live.volume.path().to_owned());
                    tokio::spawn(async move { tell.send(News::Answer(control::state(&volume).await)).await });
                }
            }
        }
        false
    }

    /// Whoever lays the volume out anew begins another run: that is another thing to look at.
    fn take_state(&mut self, state: State, plan: &Plan, watch: &mut Watch) -> bool {
        self.is_fresh = true;
        let is_same = state.run == watch.state().run && state.steps.len() == plan.steps.len();
        let has_ended = is_same && state.outcome.is_some();
        if is_same && state.seq >= watch.state().seq {
            watch.tell(state, Teller::Coordinator);
        }
        has_ended || !is_same
    }

    fn ask(&self, asking: Asking) {
        let Some(live) = self.live else { return };
        let (tell, volume) = (self.tell.clone(), live.volume.path().to_owned());
        let ask = Ask { verb: verb(asking.act), step: asking.step, attempt: asking.attempt };
        tokio::spawn(async move {
            let told = control::ask(&volume, &ask).await;
            tell.send(News::Told(said(told))).await
        });
    }
}

const fn verb(act: Act) -> Verb {
    match act {
        Act::Approve => Verb::Approve,
        Act::Retry => Verb::Retry,
        Act::Skip => Verb::Skip,
        Act::Stop => Verb::Stop,
        Act::Pause => Verb::Pause,
        Act::Resume => Verb::Resume,
        Act::Cancel => Verb::Cancel,
    }
}

/// The words of the verbs on the command line.
fn said(told: Result<Told, AskError>) -> String {
    match told {
        Ok(told) => match told.result {
            Verdict::Done => told.message,
            Verdict::Already => format!("nothing to do: {}", told.message),
            Verdict::Refused => format!("no: {}", told.message),
            Verdict::NoSuchStep | Verdict::Bad | Verdict::Forbidden => format!("error: {}", told.message),
        },
        Err(error @ AskError::Late(_)) => format!("{error}; it may still be done"),
        Err(error) => error.to_string(),
    }
}
