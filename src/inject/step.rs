//! What is changed in a step's container: as a list of edits, or in the copy that a matrix makes of it.
//!
//! Belongs here: the fields of one container. Does not belong here: which containers are steps.

use super::names::{programs, shim};
use super::options::{ImageConfig, Options};
use super::parts;
use super::probes::turned;
use super::tree::Tree;
use crate::plan::yaml::Node;

/// A field that is set, or added to.
#[derive(Clone, Debug)]
pub(super) enum Field {
    /// Another value.
    Set(&'static str, Tree),
    /// Words, or mounts, that stand before those of the list.
    Before(&'static str, Vec<Tree>),
    /// And behind them.
    After(&'static str, Vec<Tree>),
}

/// The changes of a step's container, in their order.
#[derive(Clone, Debug)]
pub(super) struct StepChange {
    pub fields: Vec<Field>,
    /// What was done, and what for.
    pub told: Vec<(&'static str, &'static str)>,
    /// The image whose own command was written out.
    pub image: Option<String>,
    /// That image is written by digest.
    pub is_pinned: bool,
}

impl StepChange {
    /// For a container whose questions were asked before (`refuse`).
    pub(super) fn of(step: &str, container: &Node, options: &Options) -> Self {
        let turned = turned(step, &programs(step, &options.shim_from), 0, container);
        let [program, run, dashes] = shim(step, &options.shim_from);
        let words = [program, run].into_iter().chain(turned.hooks).chain([dashes]);
        let shim: Vec<Tree> = words.map(Tree::Text).collect();
        let has_command = container.get("command").and_then(Node::items).is_some_and(|words| !words.is_empty());
        let image = container.get("image").and_then(Node::as_str).unwrap_or_default();
        let mut change = Self { fields: Vec::new(), told: turned.changes, image: None, is_pinned: false };
        match options.images.get(image).filter(|_| !has_command) {
            Some(config) => {
                change.image = Some(image.to_owned());
                change.image_command(container, shim, config);
            }
            None => change.fields.push(Field::Before("command", shim)),
        }
        let entries = turned.entries.into_iter();
        change.fields.extend(entries.map(|(key, value)| Field::Set(key, value.into())));
        change.fields.push(Field::After("volumeMounts", parts::mounts(step, options)));
        change
    }

    /// What the image runs by itself, written out.
    fn image_command(&mut self, container: &Node, mut words: Vec<Tree>, config: &ImageConfig) {
        words.extend(config.entrypoint.iter().cloned().map(Tree::Text));
        self.fields.push(Field::Set("command", Tree::List(words)));
        // A command in the manifest hides the image's CMD as well as its ENTRYPOINT.
        let has_args = container.get("args").and_then(Node::items).is_some_and(|args| !args.is_empty());
        if !has_args && !config.cmd.is_empty() {
            let args = config.cmd.iter().cloned().map(Tree::Text).collect();
            self.fields.push(Field::Set("args", Tree::List(args)));
        }
        if let Some(pinned) = &config.pinned {
            self.is_pinned = true;
            self.fields.push(Field::Set("image", Tree::Text(pinned.clone())));
        }
    }

    /// The container with the changes made.
    pub(super) fn applied(&self, container: &Node) -> Tree {
        let mut tree = Tree::from(container);
        let Tree::Map(entries) = &mut tree else { return tree };
        for field in &self.fields {
            let list = |entries: &[(String, Tree)], name: &str| match entries.iter().find(|(key, _)| key == name) {
                Some((_, Tree::List(items))) => items.clone(),
                _ => Vec::new(),
            };
            let (name, value) = match field {
                Field::Set(name, value) => (*name, value.clone()),
                Field::Before(name, items) => (*name, Tree::List([items.clone(), list(entries, name)].concat())),
                Field::After(name, items) => (*name, Tree::List([list(entries, name), items.clone()].concat())),
            };
            match entries.iter_mut().find(|(key, _)| key == name) {
                Some((_, old)) => *old = value,
                None => entries.push((name.to_owned(), value)),
            }
        }
        tree
    }
}
