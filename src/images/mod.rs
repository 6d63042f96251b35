//! What an image runs: the entrypoint, command, user and working directory that a manifest leaves to it.
//!
//! ```text
//! a map file ────────────────────────────────┐
//! Sources: registry, engine, layout, archive ┴─> ImageMap: reference -> Runs ─> inject: runs.command_line(command, args)
//! ```
//!
//! Belongs here: finding an image's configuration, where container tools keep it, and what Kubernetes makes of it. Does
//! not belong here: pulling layers, running anything, and changing manifests. The reading is behind the feature
//! `resolve`; [`Runs`] and [`ImageMap`] are pure and always here, so that who only uses a map needs no network.

mod map;
mod mentioned;
mod runs;

#[cfg(feature = "resolve")]
mod archive;
#[cfg(feature = "resolve")]
mod blobs;
#[cfg(feature = "resolve")]
mod credentials;
#[cfg(feature = "resolve")]
mod document;
#[cfg(feature = "resolve")]
mod engine;
#[cfg(feature = "resolve")]
mod failure;
#[cfg(feature = "resolve")]
mod hosts;
#[cfg(feature = "resolve")]
mod platform;
#[cfg(feature = "resolve")]
mod registry;
#[cfg(feature = "resolve")]
mod source;
#[cfg(feature = "resolve")]
mod tls;

pub use map::ImageMap;
pub use mentioned::{Mention, mentioned};
pub use runs::{CommandLine, NothingToRun, Runs, as_manifest_text, refused_by_run_as_non_root};

#[cfg(feature = "resolve")]
pub use failure::{Failure, Kind};
#[cfg(feature = "resolve")]
pub use hosts::Places;
#[cfg(feature = "resolve")]
pub use platform::Platform;
#[cfg(feature = "resolve")]
pub use source::{Options, Source, Sources};
