//! What steps write into volumes that they share.

use std::collections::BTreeMap;

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use crate::inject::PODTURN;
use crate::plan::Span;
use crate::plan::diagnostic::{listed, quote};
use crate::plan::yaml::{Node, Typed};

/// A step's mount of a volume.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// The step, as an index into the plan.
    pub step: usize,
    /// Where the manifest names the volume.
    pub span: Span,
    /// The directory of the volume; `None` where the kubelet puts it together.
    sub_path: Option<String>,
    pub is_read_only: bool,
}

impl Mount {
    /// Whether the two see some of the same files, as far as the manifest shows it.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (&self.sub_path, &other.sub_path) else { return false };
        let is_within = |inner: &str, outer: &str| {
            outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_within(a, b) || is_within(b, a)
    }
}

/// Volumes that nobody can write.
const READ_ONLY: [&str; 5] = ["configMap", "secret", "downwardAPI", "projected", "image"];

/// The mounts of the steps, by volume. Two volumes of one claim are one, with the name of the first.
pub(super) fn mounts(pod: &Pod<'_>) -> BTreeMap<String, Vec<Mount>> {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut claims: BTreeMap<&str, &str> = BTreeMap::new();
    let mut read_only: Vec<&str> = Vec::new();
    for volume in pod.spec().list("volumes") {
        let Some(name) = volume.get("name").and_then(Node::as_str) else { continue };
        let claim = volume.get("persistentVolumeClaim");
        let known = claim.and_then(|claim| claim.get("claimName")?.as_str());
        names.insert(name, known.map_or(name, |claim| claims.entry(claim).or_insert(name)));
        let is_kept = claim.is_some_and(|claim| is_true(claim.get("readOnly")));
        if is_kept || READ_ONLY.iter().any(|kind| volume.get(kind).is_some()) {
            read_only.push(name);
        }
    }
    let turns = turns(pod);
    let mut mounts: BTreeMap<String, Vec<Mount>> = BTreeMap::new();
    for (step, _, container) in pod.steps() {
        for mount in container.list("volumeMounts") {
            let Some(node) = mount.get("name") else { continue };
            let Some(name) = node.as_str().filter(|name| !turns.contains(name)) else { continue };
            let sub_path = mount.get("subPath").and_then(Node::as_str).unwrap_or_default();
            let is_put_together = mount.get("subPathExpr").is_some() || sub_path.contains("$(");
            mounts.entry((*names.get(name).unwrap_or(&name)).to_owned()).or_default().push(Mount {
                step,
                span: node.place(),
                sub_path: (!is_put_together).then(|| sub_path.trim_matches('/').to_owned()),
                is_read_only: is_true(mount.get("readOnly")) || read_only.contains(&name),
            });
        }
    }
    mounts
}

/// The volume of turns and reports, in a pod that was wired by hand: each step writes its own part of it.
fn turns<'p>(pod: &'p Pod<'_>) -> Vec<&'p str> {
    let items = ["initContainers", "containers"].into_iter().filter_map(|list| pod.spec().get(list)?.items()).flatten();
    let mounts = items.filter_map(|container| container.get("volumeMounts")?.items()).flatten();
    let is_at = |mount: &&Node| {
        mount
            .get("mountPath")
            .and_then(Node::as_str)
            .is_some_and(|path| path.trim_end_matches('/') == podturn_wire::names::MOUNT)
    };
    mounts.filter(is_at).filter_map(|mount| mount.get("name")?.as_str()).chain([PODTURN]).collect()
}

fn is_true(node: Option<&Node>) -> bool {
    node.and_then(Node::typed) == Some(Typed::Bool(true))
}

/// How many names are said before the others are counted.
const NAMED: usize = 4;

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    for (volume, mounts) in mounts(pod) {
        let writers: Vec<&Mount> = mounts.iter().filter(|mount| !mount.is_read_only).collect();
        for group in groups(pod, &writers) {
            let name = |at: usize| pod.plan().steps[writers[at].step].name.as_str();
            let meet = |a: usize, b: usize| {
                writers[a].meets(writers[b]) && pod.order.may_overlap(writers[a].step, writers[b].step)
            };
            let others = |at: usize| -> Vec<usize> { group.iter().copied().filter(|other| meet(at, *other)).collect() };
            // The one that meets the most is named; of equals, the first.
            let Some(hub) = group.iter().copied().rev().max_by_key(|at| others(*at).len()) else { continue };
            let rest = others(hub);
            let names: Vec<&str> = rest.iter().map(|at| name(*at)).collect();
            let message = format!(
                "{} may run at the same time as {}, and {} write the volume {}",
                name(hub),
                said(&names),
                if names.len() == 1 { "both" } else { "all of them" },
                quote(&volume)
            );
            let containers: Vec<&str> = group.iter().map(|at| pod.container_of(name(*at))).collect();
            found.add(codes::SAME_VOLUME, writers[rest[0]].span, message, &containers).help(
                "`readOnly: true` at the mounts that only read; else a `subPath` for each, or let one depend on the other",
            );
        }
    }
}

/// Mounts that are joined by pairs of steps that may run at the same time; each group has two steps or more.
fn groups(pod: &Pod<'_>, mounts: &[&Mount]) -> Vec<Vec<usize>> {
    let mut is_in_one = vec![false; mounts.len()];
    let mut groups = Vec::new();
    for first in 0..mounts.len() {
        if std::mem::replace(&mut is_in_one[first], true) {
            continue;
        }
        let mut group = vec![first];
        let mut next = 0;
        while let Some(at) = group.get(next).copied() {
            next += 1;
            for other in 0..mounts.len() {
                let (a, b) = (mounts[at], mounts[other]);
                if !is_in_one[other] && a.meets(b) && pod.order.may_overlap(a.step, b.step) {
                    is_in_one[other] = true;
                    group.push(other);
                }
            }
        }
        group.sort_unstable();
        if group.len() > 1 {
            groups.push(group);
        }
    }
    groups
}

/// Names as they are said.
pub(super) fn said(names: &[&str]) -> String {
    if names.len() <= NAMED {
        return listed(names);
    }
    format!("{} and {} more steps", names[..NAMED - 1].join(", "), names.len() - (NAMED - 1))
}
