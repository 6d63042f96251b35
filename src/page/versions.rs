//! The newest version of the page, and the newest metrics: made when somebody asks, once a second at most.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hyper::body::Bytes;

use crate::history::Record;
use crate::process;
use crate::view::metrics::{Metrics, metrics};
use crate::view::{self, Live};
use crate::volume::published::State;
use crate::volume::{Journal, Volume, usage};

/// How old a version may be, in ns.
const FRESH: u64 = 900_000_000;

/// One version.
#[derive(Debug)]
pub(super) struct Version {
    /// Counts from 1.
    pub(super) number: u64,
    pub(super) page: Bytes,
    /// The run's end is on it: no other version follows.
    pub(super) is_last: bool,
    /// The whole length of the timeline.
    total: String,
    parts: BTreeMap<String, String>,
    /// The version before, and what has changed since.
    change: (u64, String),
}

impl Version {
    /// What whoever has this version (0: none that is known here) has to change to have the newest, as JSON.
    pub(super) fn change_from(&self, number: u64) -> String {
        if number == self.change.0 {
            self.change.1.clone()
        } else {
            message(&self.total, self.number, self.parts.iter())
        }
    }
}

fn message<'a>(total: &str, number: u64, parts: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let parts: serde_json::Map<_, _> = parts.map(|(id, html)| (id.clone(), html.clone().into())).collect();
    serde_json::json!({ "version": number, "total": total, "parts": parts }).to_string()
}

/// Makes versions.
pub(super) struct Versions {
    volume: Volume,
    /// Whether whoever looks may act, with the token.
    acts: bool,
    newest: RefCell<Option<(u64, Rc<Version>)>>,
    metrics: RefCell<Option<(u64, Rc<Metrics>)>>,
}

impl Versions {
    pub(super) const fn of(volume: Volume, acts: bool) -> Self {
        Self { volume, acts, newest: RefCell::new(None), metrics: RefCell::new(None) }
    }

    pub(super) const fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The newest version; `None`: there is no run to be seen yet.
    /// `at_once`: however fresh the one before is.
    pub(super) fn newest(&self, at_once: bool) -> Option<Rc<Version>> {
        let now = process::now();
        let known = self.newest.borrow().clone();
        if let Some((made, version)) = &known
            && (version.is_last || (!at_once && now.saturating_sub(*made) < FRESH))
        {
            return Some(version.clone());
        }
        let before = known.map(|(_, version)| version);
        let version = Rc::new(self.make(now, before.as_deref())?);
        *self.newest.borrow_mut() = Some((now, version.clone()));
        Some(version)
    }

    fn make(&self, now: u64, before: Option<&Version>) -> Option<Version> {
        let record = self.record(now)?;
        let number = before.map_or(1, |before| before.number + 1);
        let Live { page, total, parts, has_ended } = view::live(&record, number, self.acts).ok()?;
        let is_new = |(id, html): &(&String, &String)| before.is_none_or(|before| before.parts.get(*id) != Some(*html));
        let change = message(&total, number, parts.iter().filter(is_new));
        let change = (number - 1, change);
        Some(Version { number, page: page.into(), is_last: has_ended, total, change, parts })
    }

    /// All that is known of the run now.
    fn record(&self, now: u64) -> Option<Record> {
        let run = self.volume.read_run().ok()??;
        let state = self.state()?;
        let events = Journal::read(&self.volume).ok()?;
        let mut record = Record::new(run, events, state.started_at.as_deref(), usage::read(&self.volume));
        record.until = Some(now);
        Some(record)
    }

    /// The run's metrics, as fresh as a version; `None`: there is no run to be seen yet.
    pub(super) fn metrics(&self) -> Option<Rc<Metrics>> {
        let now = process::now();
        if let Some((made, metrics)) = &*self.metrics.borrow()
            && now.saturating_sub(*made) < FRESH
        {
            return Some(metrics.clone());
        }
        let metrics = Rc::new(metrics(&self.record(now)?).ok()?);
        *self.metrics.borrow_mut() = Some((now, metrics.clone()));
        Some(metrics)
    }

    /// The published state.
    pub(super) fn state(&self) -> Option<State> {
        let path = self.volume.path().join(podturn_wire::names::STATE);
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}
