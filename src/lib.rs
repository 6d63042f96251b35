//! podturn runs the containers of one Kubernetes pod in the order of a DAG. `ARCHITECTURE.md` has the map.
//!
//! Dependencies between the rooms point downwards only; `tests/architecture.rs` holds that.

pub mod cli;
pub mod control;
pub mod coordinator;
#[cfg(feature = "tools")]
pub mod engine;
#[cfg(feature = "tools")]
pub mod export;
pub mod history;
pub mod images;
pub mod inject;
#[cfg(feature = "tools")]
pub mod lint;
#[cfg(feature = "tools")]
pub mod local;
pub mod page;
pub mod plan;
pub mod probe;
pub mod process;
pub mod rehearsal;
pub mod trace;
pub mod view;
pub mod volume;
pub mod when;
