//! A pod elsewhere: the same manifest on podman or in a cluster, as `podturn run` shows it here.
//!
//! ```text
//! play(wired)   ─> Podman::run  ───────┐
//!                                      ├─> Message ... Message, End      (those of `local`)
//! create(wired) ─> Kubectl::run ───────┘
//! ```
//! The coordinator's log tells the whole run, so it says at the end how every step went. An engine is a program of this machine
//! (`podman`, `kubectl`), called as a person would call it.
//!
//! Belongs here: what each engine has to be told, and reading what it says. Does not belong here: printing, wiring (`inject`), and
//! what a plan means.

mod cluster;
mod image;
pub mod kubectl;
mod logs;
mod played;
pub mod pod;
pub mod podman;
mod program;
mod standing;
mod watch;

pub use cluster::{Create, create};
pub use played::{Play, check, name_of_a_run, play};
pub use program::EngineError;

use crate::local::Message;

/// Something that podturn itself has to say.
async fn note(tell: &tokio::sync::mpsc::Sender<Message>, text: impl Into<String>) {
    let _ = tell.send(Message::Note(text.into())).await; // nobody reads, then
}
