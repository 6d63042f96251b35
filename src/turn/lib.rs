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
//! one attempt from grant to verdict, `need.rs` who needs whom (services) and what waits for a person,
//! `reference.rs` values of `$(...)`, `request.rs` the verbs, `settle.rs` what follows for the other steps, `graph.rs`, `slots.rs` and `timers.rs`
//! the three structures that keep the cost of an event independent of the plan's size, `sizing.rs` and `flow.rs` what a plan needs at most (right-sizing), `track.rs` what is remembered of
//! a step, `view.rs` and `words.rs` what is told outside.
//!
//! # Questions and answers
//! Two things the core cannot know by itself. `question()` names a step whose `when` has to be evaluated: the caller
//! journals the answer as `Decided`, and asks again until there is no question. `answer(request)` says what a person's
//! request would do now: only what does something is journaled, as `Requested`.

#![no_std]

extern crate alloc;

mod attempt;
mod event;
mod flow;
mod graph;
mod handle;
mod need;
mod plan;
mod reference;
mod request;
mod settle;
mod sizing;
mod slots;
mod state;
mod timers;
mod track;
mod view;
mod words;

pub use event::{Decision, Event, Kind, Outputs, Probed, Process, Request};
pub use plan::{
    Backoff, Cause, Condition, Dependency, Millis, OnFailure, Parameter, Plan, Pool, Probe, Readiness, Restarts, Retry,
    Step, StepId, Time, Use,
};
pub use request::Answer;
pub use sizing::{Peak, peak};
pub use state::{Impossible, Outcome, Phase, Reason, State};
pub use track::Attempt;
pub use view::{StepView, Waits};
pub use words::ORDINARY_SUCCESS;
