//! A run as one self-contained HTML page: the graph, the timeline, the critical path, every step, the plan.
//!
//! Belongs here: what is on the page, in which words. Does not belong here: what happened (`history`), where the page goes.
//!
//! Everything is on the page without its script, which only makes it handier: filter, order, zoom, and the arrow keys. So it can be
//! read where scripts are forbidden (the artifact viewers of CI systems), and a live page needs no second renderer: each part has an
//! id and can be replaced by a newer one.

mod actions;
mod path;
mod steps;
mod summary;
mod timeline;
mod usage;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use podturn_turn::{Impossible, StepId};

use super::escape::Escaped;
use super::graph::Graph;
use super::signs::sign;
use crate::history::{History, Record, What, Without};
use crate::plan::canonical;

const COLOURS: &str = include_str!("../colours.css");
const GRAPH: &str = include_str!("../graph/graph.css");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What only a live page has on which a person may act.
const ACT: &str = include_str!("act.js");

/// What the page's content security policy lets run: this script, and nothing that a run could have brought. A test holds it to
/// `page.js`.
const SCRIPT_HASH: &str = include_str!("page.js.sha256");
const ACT_HASH: &str = include_str!("act.js.sha256");

/// What every part of the page is made from.
struct Page<'a> {
    record: &'a Record,
    history: &'a History,
    without: Option<Vec<Without>>,
    /// For each step, whether the end of the run had to wait for it.
    is_critical: Vec<bool>,
    /// A person may act on it, with the token.
    acts: bool,
}

/// The whole page.
///
/// # Errors
/// When the record is damaged.
pub fn report(record: &Record) -> Result<String, Impossible> {
    let history = History::of(record)?;
    Ok(Page::of(record, &history, false).html(None))
}

/// The page of a run that goes on, at one moment.
pub struct Live<'a>(Page<'a>);

impl<'a> Live<'a> {
    /// `history`: that of the record. `acts`: whoever has the token may act on the page, at `/v1/requests`.
    #[must_use]
    pub fn of(record: &'a Record, history: &'a History, acts: bool) -> Self {
        Self(Page::of(record, history, acts))
    }

    /// The whole page. `version`: what it calls itself when it asks for changes, at `/events`.
    #[must_use]
    pub fn page(&self, version: u64) -> String {
        self.0.html(Some(version))
    }

    /// By id, the elements that may be replaced, as they are now.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<String, String> {
        let (page, end) = (&self.0, self.0.history.end.max(1));
        let mut parts = BTreeMap::new();
        let mut part = |id: String, write: &dyn Fn(&mut String)| {
            let mut html = String::new();
            write(&mut html);
            parts.insert(id, html);
        };
        part("summary".to_owned(), &|html| page.write_header(html));
        part("troubles".to_owned(), &|html| page.write_troubles(html));
        part("picture".to_owned(), &|html| page.write_picture(html));
        part("keys".to_owned(), &|html| page.write_keys(html));
        part("axis".to_owned(), &|html| timeline::write_axis(end, html));
        part("path".to_owned(), &|html| page.write_path(html));
        for index in 0..page.history.steps.len() {
            part(format!("t{index}"), &|html| page.write_lane(index, end, html));
            part(format!("s{index}"), &|html| page.write_step(index, html));
            part(format!("u{index}"), &|html| page.write_used(index, html));
        }
        parts
    }
}

/// `--t` of the timeline: its whole length.
#[must_use]
pub fn total(history: &History) -> String {
    timeline::milliseconds(history.end.max(1))
}

impl<'a> Page<'a> {
    fn of(record: &'a Record, history: &'a History, acts: bool) -> Self {
        let mut is_critical = vec![false; history.steps.len()];
        history.critical.iter().for_each(|leg| is_critical[leg.step.index()] = true);
        Self { record, history, without: history.without(record), is_critical, acts }
    }
}

impl Page<'_> {
    /// What the page is about.
    const fn what(&self) -> &'static str {
        if self.record.is_rehearsal { "podturn rehearsal" } else { "podturn run" }
    }

    /// `version`: the page asks for changes.
    fn html(&self, version: Option<u64>) -> String {
        let state = &self.history.state;
        let outcome = state.outcome.as_deref().unwrap_or("Running");
        let connect = if version.is_some() { "connect-src 'self'; " } else { "" };
        let act_hash = if self.acts { format!(" 'sha256-{}'", ACT_HASH.trim()) } else { String::new() };
        let feed = version.map(|version| format!(" data-events=\"/events?version={version}\"")).unwrap_or_default();
        let mut html = String::with_capacity(64 * 1024 + self.history.steps.len() * 2_048);
        let _ = write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{} - {} {}</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
             img-src data:; {connect}script-src 'sha256-{}'{act_hash}; base-uri 'none'; form-action 'none'\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<style>{COLOURS}{GRAPH}{STYLE}</style>\n</head>\n<body{feed}>\n\
             <a class=\"skip\" href=\"#steps\">Skip to the table of steps</a>\n",
            Escaped(outcome),
            self.what(),
            Escaped(&state.run),
            SCRIPT_HASH.trim()
        );
        self.write_header(&mut html);
        if version.is_some() {
            html.push_str("<p id=\"live\" role=\"status\">without its script this page shows how the run stood when it was loaded</p>\n");
        }
        if self.acts {
            html.push_str(actions::ACTIONS);
        }
        html.push_str("<main>\n");
        self.write_troubles(&mut html);
        html.push_str(
            "<section id=\"graph\" aria-labelledby=\"graph-title\">\n<h2 id=\"graph-title\">Graph</h2>\n\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The plan as a graph; the table of steps says the same\">",
        );
        self.write_picture(&mut html);
        html.push_str("</div>\n</section>\n");
        self.write_timeline(&mut html);
        self.write_path(&mut html);
        self.write_steps(&mut html);
        self.write_usage(&mut html);
        self.write_plan(&mut html);
        let act = if self.acts { format!("<script>{ACT}</script>\n") } else { String::new() };
        let _ = write!(
            html,
            "</main>\n<footer>Made by podturn {} from {} events.</footer>\n<script>{SCRIPT}</script>\n{act}</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
            self.record.events.len()
        );
        html
    }

    /// The signs that are on the page and what they mean, and the graph.
    fn write_picture(&self, html: &mut String) {
        html.push_str("<div id=\"picture\"><p class=\"legend\">");
        for phase in super::signs::PHASES {
            let count = self.history.state.steps.iter().filter(|step| step.phase == phase).count();
            if let (Some(sign), 1..) = (sign(phase), count) {
                let _ = write!(
                    html,
                    "<span class=\"key p-{phase}\"><b aria-hidden=\"true\">{}</b> {phase} {count}</span> ",
                    sign.unicode
                );
            }
        }
        for (is_there, words) in self.shapes() {
            if is_there {
                let _ = write!(html, "<span class=\"key\">{words}</span> ");
            }
        }
        let graph = Graph::of_run(&self.history.plan, &self.history.state);
        let _ = write!(html, "</p>{}</div>", graph.inline_svg("g"));
    }

    /// What boxes and lines of the graph say, where there are such.
    fn shapes(&self) -> [(bool, &'static str); 3] {
        let steps = &self.history.plan.steps;
        let on_failure = |on: &podturn_turn::Dependency| on.condition == podturn_turn::Condition::Failed;
        [
            (steps.iter().any(|step| step.service), "round ends: a service"),
            (steps.iter().any(|step| step.finally), "thick frame: a finally step, after all others"),
            (steps.iter().flat_map(|step| &step.depends_on).any(on_failure), "red dashes: only after a failure"),
        ]
    }

    fn write_plan(&self, html: &mut String) {
        let plan = canonical(&self.history.plan);
        let tree = serde_json::from_str::<serde_json::Value>(&plan);
        let plan = tree.map_or(plan, |tree| format!("{tree:#}"));
        let _ = write!(
            html,
            "<section id=\"plan\" aria-labelledby=\"plan-title\">\n<h2 id=\"plan-title\">Plan</h2>\n\
             <details><summary>As podturn understood it</summary>\n<pre tabindex=\"0\">{}</pre></details>\n</section>\n",
            Escaped(plan.trim_end())
        );
    }

    fn name(&self, step: StepId) -> &str {
        &self.history.plan.steps[step.index()].name
    }

    /// What a step does, for a person: after its name and a colon.
    fn words(&self, what: What) -> String {
        match what {
            What::Attempt(_) => "ran".to_owned(),
            What::Dependencies => "waited for its dependencies".to_owned(),
            What::Others => "waited for all others to end".to_owned(),
            What::When => "waited for its when".to_owned(),
            What::Approval => "waited for an approval".to_owned(),
            What::Container => "waited for its container".to_owned(),
            What::Slot(_) => "waited for a place under maxParallel".to_owned(),
            What::Pool(pool, _) => {
                let name = self.history.plan.pools.get(pool as usize).map_or("", |pool| pool.name.as_str());
                format!("waited for pool {name}")
            }
            What::Backoff => "backed off".to_owned(),
            What::Decision => "waited for a person's decision".to_owned(),
            What::Hold => "was held back with all others".to_owned(),
            What::Handoff => "podturn itself".to_owned(),
        }
    }
}

/// The class of what a step does.
const fn class(what: What) -> &'static str {
    match what {
        What::Attempt(_) => "run",
        What::Dependencies | What::Others | What::When => "deps",
        What::Approval | What::Decision => "person",
        What::Container => "container",
        What::Slot(_) | What::Pool(..) => "slot",
        What::Backoff => "backoff",
        What::Hold => "hold",
        What::Handoff => "handoff",
    }
}

/// A length in ns, as people read it.
fn length(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{}.{}ms", ns / 1_000_000, ns % 1_000_000 / 100_000),
        _ => super::table::duration(ns / 1_000_000),
    }
}

#[cfg(test)]
mod tests;
