//! The control API: HTTP over the Unix socket `control.sock` on the shared volume, and its client.
//!
//! ```text
//! POST /v1/requests   {"verb": "retry", "step": "build", "attempt": 1}   ->   {"result": "done", "message": "..."}
//! GET  /v1/state      the published state as of now
//! ```
//! Belongs here: how a question comes in and its answer goes out. Does not belong here: what a question means and who may
//! ask it (`coordinator::asked`), and what it does (the core).

mod client;
mod server;

pub use client::{AskError, ask, relay, state};
pub use server::{Control, listen};

use schemars::{Schema, schema_for};

use crate::coordinator::asked::{Ask, Told};

/// Where requests are posted.
pub const REQUESTS: &str = "/v1/requests";

/// Where the state is read.
pub const STATE: &str = "/v1/state";

/// The longest request in bytes.
pub const REQUEST_MAX: usize = 64 * 1024;

/// A request and its answer, for the schema.
#[derive(schemars::JsonSchema)]
#[schemars(title = "control API", rename_all = "camelCase")]
#[expect(dead_code, reason = "it is only described")]
struct Api {
    /// The body of POST /v1/requests.
    request: Ask,
    /// The body of its answer. Status 200: done or already; 409 refused; 404 noSuchStep; 400 bad; 403 forbidden.
    answer: Told,
}

/// The JSON Schema of the control API.
#[must_use]
pub fn control_schema() -> Schema {
    schema_for!(Api)
}
