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
//!
//! # The files
//! `plan.rs`, `event.rs` and `state.rs` say what the words mean. `handle.rs` has what each kind of event does, `attempt.rs`
//! one attempt from grant to verdict, `settle.rs` what follows for the other steps, `graph.rs`, `slots.rs` and `timers.rs`
//! the three structures that keep the cost of an event independent of the plan's size, `track.rs` what is remembered of
//! a step, `view.rs` and `words.rs` what is told outside.
//!
//! # Where the later features go
//! - **Services, `Ready`**: a phase `Ready` after `Running` (every match without wildcard then lists what to decide), a
//!   kind of event for readiness, a third condition whose edge can become unmet again, and a counter 'dependents that
//!   hold it up' beside `unmet`. Stopping those that nobody needs is the middle stage of `settle`, between ends and
//!   turns. A service's units leave `slots.rs` once, at the start.
//! - **`when`, approvals**: questions in `consider`, after `unmet` and before the line for a slot, in that order;
//!   `Skipped` and `Awaiting` are phases, the value of an expression and an approval are kinds of events.
//! - **`Pause`, `retry`, `skip`**: `Paused` is what `settle_attempt` makes of a failure instead of `end`; the requests are
//!   variants of [`Request`] and lead back to `back_off` or on to `end`.
//! - **Outputs, references**: values come with the event `Ended` and go out with the turn; the core only carries them.

#![no_std]

extern crate alloc;

mod attempt;
mod event;
mod graph;
mod handle;
mod plan;
mod settle;
mod slots;
mod state;
mod timers;
mod track;
mod view;
mod words;

pub use event::{Event, Kind, Process, Request};
pub use plan::{
    Backoff, Cause, Condition, Dependency, Millis, OnFailure, Parameter, Plan, Pool, Probe, Readiness, Retry, Step,
    StepId, Time, Use,
};
pub use state::{Impossible, Outcome, Phase, Reason, State};
pub use track::Attempt;
pub use view::StepView;
