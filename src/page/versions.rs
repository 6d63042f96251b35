//! The newest version of the page, and the newest metrics: made when somebody asks, and seldom enough.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::history::{History, Record};
use crate::process;
use crate::view::metrics;
use crate::view::{self, Live};
use crate::volume::Volume;
use crate::volume::published::State;

/// How old what is shown may be, in ns.
const FRESH: u64 = 900_000_000;

/// It may be so many times older than it took to make. The page is made while nobody else wants the processor, so on a machine that is
/// busy it takes its time, and comes less often.
const PAUSE: u64 = 10;

/// And no older than this, in ns.
const OLDEST: u64 = 5_000_000_000;

/// Whole pages and metrics leave at this pace, in ns a byte: 20 MB a second. They are as old as a version anyway, so who asks again and again
/// loses nothing by waiting, and copying takes a share of the processor that nobody gets back while it lasts.
const PACE: u64 = 50;

/// What is known of the run at one moment, and what was made of it so far.
struct Look {
    at: u64,
    /// How long that took, in ns.
    took: Cell<u64>,
    record: Record,
    history: Arc<History>,
    openmetrics: OnceCell<Bytes>,
    prometheus: OnceCell<Bytes>,
}

impl Look {
    /// Whether nothing newer is to be made yet.
    fn is_fresh(&self, now: u64) -> bool {
        let pause = self.took.get().saturating_mul(PAUSE).clamp(FRESH, OLDEST);
        now.saturating_sub(self.at) < pause
    }

    fn has_ended(&self) -> bool {
        self.history.state.outcome.is_some()
    }

    /// Makes something of it.
    fn make<T>(&self, make: impl FnOnce() -> T) -> T {
        let begun = process::now();
        let made = make();
        self.took.set(self.took.get() + process::now().saturating_sub(begun));
        made
    }
}

/// One version of the page.
pub(super) struct Version {
    /// Counts from 1.
    pub(super) number: u64,
    /// The run's end is on it: no other version follows.
    pub(super) is_last: bool,
    look: Rc<Look>,
    /// A person may act on it, with the token.
    acts: bool,
    parts: BTreeMap<String, String>,
    /// What has changed since the version before, as an event.
    change: Bytes,
    /// Everything, as an event.
    everything: OnceCell<Bytes>,
    page: OnceCell<Bytes>,
}

impl Version {
    fn of(look: Rc<Look>, acts: bool, before: Option<&Self>) -> Self {
        let number = before.map_or(1, |before| before.number + 1);
        let (parts, change) = look.make(|| {
            let live = Live::of(&look.record, &look.history, acts);
            let parts = live.parts();
            let is_new =
                |(id, html): &(&String, &String)| before.is_none_or(|before| before.parts.get(*id) != Some(*html));
            let change = event(&look.history, number, parts.iter().filter(is_new));
            (parts, change)
        });
        let is_last = look.has_ended();
        Self { number, is_last, look, acts, parts, change, everything: OnceCell::new(), page: OnceCell::new() }
    }

    /// The whole page.
    pub(super) fn page(&self) -> Bytes {
        let look = &self.look;
        let make = || Live::of(&look.record, &look.history, self.acts).page(self.number).into();
        self.page.get_or_init(|| look.make(make)).clone()
    }

    /// What whoever has this version (0: none that is known here) has to change to have the newest, as an event.
    pub(super) fn change_from(&self, number: u64) -> Bytes {
        if number + 1 == self.number {
            return self.change.clone();
        }
        let make = || event(&self.look.history, self.number, self.parts.iter());
        self.everything.get_or_init(|| self.look.make(make)).clone()
    }
}

fn event<'a>(history: &History, number: u64, parts: impl Iterator<Item = (&'a String, &'a String)>) -> Bytes {
    let parts: serde_json::Map<_, _> = parts.map(|(id, html)| (id.clone(), html.clone().into())).collect();
    let change = serde_json::json!({ "version": number, "total": view::total(history), "parts": parts });
    format!("data: {change}\n\n").into()
}

/// Makes versions.
pub(super) struct Versions {
    volume: Volume,
    /// Whether whoever looks may act, with the token.
    acts: bool,
    look: RefCell<Option<Rc<Look>>>,
    newest: RefCell<Option<Rc<Version>>>,
    /// When what has left so far is paid for.
    paid_at: Cell<Option<Instant>>,
}

impl Versions {
    pub(super) const fn of(volume: Volume, acts: bool) -> Self {
        Self { volume, acts, look: RefCell::new(None), newest: RefCell::new(None), paid_at: Cell::new(None) }
    }

    /// Waits until an answer of this length may leave. The first one may at once.
    pub(super) async fn keep_pace(&self, length: usize) {
        let now = Instant::now();
        let at = self.paid_at.get().map_or(now, |paid_at| paid_at.max(now));
        self.paid_at.set(Some(at + Duration::from_nanos(length as u64 * PACE)));
        sleep_until(at).await;
    }

    pub(super) const fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The newest version; `None`: there is no run to be seen yet.
    /// `at_once`: however fresh the one before is.
    pub(super) fn newest(&self, at_once: bool) -> Option<Rc<Version>> {
        let known = self.newest.borrow().clone();
        if let Some(version) = known.as_ref().filter(|version| version.is_last) {
            return Some(version.clone());
        }
        let look = self.look(at_once)?;
        if let Some(version) = known.as_ref().filter(|version| Rc::ptr_eq(&version.look, &look)) {
            return Some(version.clone());
        }
        let version = Rc::new(Version::of(look, self.acts, known.as_deref()));
        *self.newest.borrow_mut() = Some(version.clone());
        Some(version)
    }

    /// The run's metrics, as fresh as a version, in `OpenMetrics`' form or in Prometheus' own; `None`: there is no run to be seen yet.
    pub(super) fn metrics(&self, is_open: bool) -> Option<Bytes> {
        let look = self.look(false)?;
        let made = if is_open { &look.openmetrics } else { &look.prometheus };
        let make = || {
            let metrics = metrics::of(&look.record, Arc::clone(&look.history));
            if is_open { metrics.openmetrics() } else { metrics.prometheus() }
        };
        Some(made.get_or_init(|| look.make(make).into()).clone())
    }

    /// The newest look; `at_once`: however fresh the one before is.
    fn look(&self, at_once: bool) -> Option<Rc<Look>> {
        let now = process::now();
        if let Some(look) = self.look.borrow().as_ref().filter(|look| !at_once && look.is_fresh(now)) {
            return Some(look.clone());
        }
        let record = self.record(now)?;
        let history = Arc::new(History::of(&record).ok()?);
        let took = Cell::new(process::now().saturating_sub(now));
        let (openmetrics, prometheus) = (OnceCell::new(), OnceCell::new());
        let look = Rc::new(Look { at: now, took, record, history, openmetrics, prometheus });
        *self.look.borrow_mut() = Some(look.clone());
        Some(look)
    }

    /// All that is known of the run now.
    fn record(&self, now: u64) -> Option<Record> {
        let mut record = Record::of_volume(&self.volume).ok()??;
        record.until = Some(now);
        Some(record)
    }

    /// The published state.
    pub(super) fn state(&self) -> Option<State> {
        self.volume.read_state().ok()
    }
}
