//! The core of podturn: a plan, what has happened so far, and what each step should do now.
//!
//! Belongs here: the graph, phases, `next(state, event)`, timers as data, and the outcome. Does not belong here: a
//! clock, a file, a socket, a thread, randomness. This crate is `no_std`, so that the compiler guards the wall. The same
//! functions run live, in replay after a crash, and in the tests' simulations.
//!
//! # The contract
//! The caller's loop is this, and nothing else:
//! ```text
//! let mut state = State::new(plan, run);             // or: replay, which is the loop without the last two lines
//! loop {
//!     let event = wait();                            // a report, an arrival, a death, a deadline, a request
//!     journal.append(&event);                        // complete BEFORE any turn that follows from it is written
//!     state.next(&event)?;                           // settled to a fixed point
//!     while let Some(step) = state.poll_turn() {     // grants come first: they are on the hand-off's path
//!         write(step, state.turn_for(step)); ring(step);
//!     }
//!     arm(state.next_deadline());
//! }
//! ```
//! An event that was journaled but not yet applied when the coordinator died is applied in replay; a turn that was
//! not yet written is written then, because turns are a function of the state.

#![no_std]

extern crate alloc;

mod event;
mod plan;
mod state;

pub use event::{Event, Kind, Process, Request};
pub use plan::{Backoff, Cause, Condition, Dependency, Millis, OnFailure, Plan, Pool, Retry, Step, StepId, Time, Use};
pub use state::{Impossible, Outcome, Phase, Reason, State, StepView};
