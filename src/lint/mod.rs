//! What will probably hurt: findings about pods with a plan, each with a code, a place, the reason and what to do.
//!
//! ```text
//! lint(&file, &options) ─> Linted { findings, silenced, .. } | Diagnostics (a text that cannot be read)
//! ```
//! What cannot run at all is asked where it is known: the plan's check (`PT001`) and `inject` (`PT002`) say it, and their
//! warnings come with the codes that they carry. The rules of this room ask only what nobody else does.
//!
//! Belongs here: rules, one file a topic; the table of codes (`codes`), which the documentation and the tests are held to;
//! what is silenced in the manifest; JSON and SARIF. Does not belong here: reading files and printing.

mod codes;
mod findings;
mod gates;
mod images;
mod jobs;
mod json;
mod order;
mod pod;
mod ports;
mod sarif;
mod services;
mod silence;
mod steps;
mod users;
mod volumes;

use std::sync::Arc;

pub use codes::{RULES, Rule};
pub use findings::Finding;
pub use json::{Report, lint_schema};
pub use sarif::sarif;

use findings::Found;
use pod::Pod;
use silence::Silences;

use crate::inject::{self, Options};
use crate::plan::yaml::Node;
use crate::plan::{Diagnostics, Manifest, PodFacts, Reporter, SourceFile};

/// Everything that was found in one file.
#[derive(Clone, Debug, Default)]
pub struct Linted {
    /// What was found, in the order of the text.
    pub findings: Vec<Finding>,
    /// What the manifests silence.
    pub silenced: Vec<Finding>,
    /// How many pods with a plan there are.
    pub pods: usize,
    /// How many more findings there would be: nobody reads more than a hundred of one kind.
    pub more: usize,
}

impl Linted {
    /// Adds what was found in another file.
    pub fn append(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.silenced.extend(other.silenced);
        self.pods += other.pods;
        self.more += other.more;
    }
}

/// Asks all rules about each pod with a plan. `options` are those of the `inject` that would wire it.
///
/// # Errors
/// A text that cannot be read.
pub fn lint(file: &Arc<SourceFile>, options: &Options) -> Result<Linted, Diagnostics> {
    let documents = inject::unwired(file)?;
    let mut found = Found::new(file);
    let mut silences = Silences::default();
    let mut pods = 0;
    for document in &documents {
        let mut reporter = Reporter::new(file);
        let manifests = Manifest::all(document, &options.templates, &mut reporter);
        for manifest in &manifests {
            let number = found.begin(manifest);
            ask(document, manifest, options, &mut found);
            silences.note(document, manifest, number);
        }
        found.take(&reporter.finish(), codes::PLAN);
        pods += manifests.len();
    }
    let told = inject::inject(file, options).map_or_else(|wrong| wrong, |injected| injected.warnings);
    found.take(&told, codes::INJECT);
    let (mut findings, silenced) = silences.apply(&mut found);
    findings.sort_by_key(|finding| finding.diagnostic.place.as_ref().map(|place| (place.span.start, place.span.end)));
    Ok(Linted { findings, silenced, pods, more: found.more })
}

/// All rules about one pod.
fn ask(document: &Node, manifest: &Manifest, options: &Options, found: &mut Found) {
    let mut facts = PodFacts { placement: options.placement, ..manifest.facts.clone() };
    facts.parameters.extend(options.parameters.clone());
    let checked = match manifest.check(&facts) {
        Ok(checked) => checked,
        Err(wrong) => return found.take(&wrong, codes::PLAN),
    };
    found.take(&checked.warnings, codes::PLAN);
    let pod = Pod::new(document, manifest, &checked, options);
    steps::ask(&pod, found);
    services::ask(&pod, found);
    gates::ask(&pod, found);
    jobs::ask(&pod, found);
    images::ask(&pod, found);
    volumes::ask(&pod, found);
    users::ask(&pod, found);
    ports::ask(&pod, found);
}
