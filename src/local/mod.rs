//! The local pod: a pod's containers as processes of this machine, and the part of the kubelet that matters for order.
//!
//! ```text
//! runnable(manifest, checked) ─> LocalPod ─> Kubelet::run ─> End
//!                                            └─ each container: a Life, and a process of the Runtime:
//!                                               /proc/self/exe container SPEC ─> container::enter
//! ```
//!
//! Belongs here: reading a pod for this engine (`reading`), namespaces, mounts, starting and ending containers. Does not belong
//! here: printing (a channel of [`Message`]s is handed in), and what the plan means (the coordinator runs here as it does
//! anywhere).

mod attempts;
pub mod container;
mod errors;
mod expand;
mod kubelet;
mod life;
mod logs;
mod mounts;
pub mod namespaces;
mod pod;
mod reading;
mod root;
mod runtime;
mod sandbox;
mod volumes;
mod watch;

pub use errors::KubeletError;
pub use kubelet::{End, Interrupt, Kubelet, LAST_WORDS, on_its_way_down};
pub use logs::{Message, Stream, follow};
pub use mounts::MountError;
pub use pod::{Container, LocalPod, Program};
pub use reading::{Runnable, options, refuse_unknown_volumes, runnable};
