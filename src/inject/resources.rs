//! Other requests and limits for containers: the text with nothing else changed.
//!
//! Belongs here: where `resources` are in a manifest, and their editing. Does not belong here: which amounts are right.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::edit::{Edit, edited, expected, look, write_aliases_out};
use super::quantity::{of_bytes, of_millicores};
use super::text::{Text, own};
use super::tree::{Tree, entries_of, put};
use super::{documents, parse};
use crate::plan::site::{Path, Seg, Templates, at, below};
use crate::plan::yaml::Node;
use crate::plan::{Diagnostic, Diagnostics, INJECTED, Manifest, Reporter, SourceFile, Span};

/// Amounts of one container; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewResources {
    /// Thousandths of a core.
    pub cpu_request: Option<u64>,
    /// Thousandths of a core.
    pub cpu_limit: Option<u64>,
    /// Bytes.
    pub memory_request: Option<u64>,
    /// Bytes.
    pub memory_limit: Option<u64>,
}

impl NewResources {
    /// By `requests` and `limits`, what is to be written there.
    fn lists(&self) -> [(&'static str, Vec<(&'static str, String)>); 2] {
        let list = |cpu: Option<u64>, memory: Option<u64>| {
            let cpu = cpu.map(|cpu| ("cpu", of_millicores(cpu)));
            cpu.into_iter().chain(memory.map(|memory| ("memory", of_bytes(memory)))).collect::<Vec<_>>()
        };
        [("requests", list(self.cpu_request, self.memory_request)), ("limits", list(self.cpu_limit, self.memory_limit))]
    }
}

/// The text with these amounts in the containers of its pods that have a plan, by the containers' names.
///
/// # Errors
/// A text that is wired by `inject`, or written in a way that cannot be edited, with the place.
pub fn with_resources(
    file: &Arc<SourceFile>,
    templates: &Templates,
    wanted: &BTreeMap<String, NewResources>,
) -> Result<String, Diagnostics> {
    let mut out = String::with_capacity(file.text().len() * 2);
    for span in documents::split(file.text()) {
        let text = &file.text()[span.start..span.end];
        out.push_str(&document(file, span, text, templates, wanted)?);
    }
    Ok(out)
}

fn document(
    file: &Arc<SourceFile>,
    span: Span,
    text: &str,
    templates: &Templates,
    wanted: &BTreeMap<String, NewResources>,
) -> Result<String, Diagnostics> {
    let Some(document) = parse(text, file.name())? else { return Ok(text.to_owned()) };
    let mut reporter = Reporter::new(file);
    let manifests = Manifest::all(&document, templates, &mut reporter);
    let mut edits = Vec::new();
    for manifest in &manifests {
        if text.contains(INJECTED) && manifest.is_wired {
            let mut diagnostic =
                Diagnostic::error("this manifest is wired, and podturn would change what it has written itself");
            diagnostic
                .at(file, Span::empty(span.start))
                .help("give the one that you wrote: `podturn uninject` makes it of this one");
            return Err(diagnostic.into());
        }
        let list = below(&below(&manifest.site.pod, "spec"), "containers");
        let containers = at(&document, &list).and_then(Node::items).unwrap_or_default();
        for (index, container) in containers.iter().enumerate() {
            let name = container.get("name").and_then(Node::as_str).unwrap_or_default();
            if let Some(amounts) = wanted.get(name) {
                let path = [list.as_slice(), &[Seg::Index(index)]].concat();
                edits.extend(of_container(container, &path, amounts));
            }
        }
    }
    if edits.is_empty() {
        return Ok(text.to_owned());
    }
    write_aliases_out(&document, &mut edits);
    let spec = manifests.first().and_then(|manifest| at(&document, &below(&manifest.site.pod, "spec")));
    let shown = Text { text, look: look(text, &document, spec) };
    let done = edited(&shown, &document, &edits).ok();
    let is_right = |done: &String| {
        parse(done, file.name()).ok().flatten().is_some_and(|got| Tree::from(&got) == expected(&document, &edits))
    };
    done.filter(is_right).ok_or_else(|| {
        let mut diagnostic = Diagnostic::error("this document is written in a way that podturn cannot add to");
        diagnostic.at(file, Span::empty(span.start)).help("write the resources by hand, as the table shows them");
        diagnostic.into()
    })
}

fn of_container(container: &Node, path: &Path, amounts: &NewResources) -> Vec<Edit> {
    let lists = amounts.lists().into_iter().filter(|(_, list)| !list.is_empty());
    let Some(resources) = written_here(container, "resources") else {
        let mut all = entries_of(container.get("resources"));
        for (kind, list) in lists {
            let mut amounts = entries_of(container.get("resources").and_then(|resources| resources.get(kind)));
            list.into_iter().for_each(|(resource, value)| put(&mut amounts, resource, Tree::Text(value)));
            put(&mut all, kind, Tree::Map(amounts));
        }
        return vec![written(container, path, "resources", Tree::Map(all))];
    };
    let found = below(path, "resources");
    let mut edits = Vec::new();
    for (kind, list) in lists {
        match written_here(resources, kind).filter(|there| there.entries().is_some_and(|all| !all.is_empty())) {
            Some(there) => {
                let place = below(&found, kind);
                let amounts = list.into_iter();
                edits.extend(amounts.map(|(resource, value)| written(there, &place, resource, Tree::Text(value))));
            }
            None => {
                let mut amounts = entries_of(resources.get(kind));
                list.into_iter().for_each(|(resource, value)| put(&mut amounts, resource, Tree::Text(value)));
                edits.push(written(resources, &found, kind, Tree::Map(amounts)));
            }
        }
    }
    edits
}

/// A map that is an entry's own: not somebody else's by an alias or a merge, which would change there as well.
fn written_here<'n>(map: &'n Node, key: &str) -> Option<&'n Node> {
    own(map, key).map(|entry| &entry.value).filter(|node| node.alias.is_none() && node.entries().is_some())
}

/// A value for an entry of a map, whether it has that or not.
fn written(map: &Node, path: &Path, key: &str, value: Tree) -> Edit {
    let (place, key) = (path.clone(), key.to_owned());
    match own(map, &key) {
        Some(_) => Edit::Replace { map: place, key, value },
        None => Edit::Put { map: place, key, value, before: None },
    }
}
