//! What is said where something could not be held against a model of somebody else's.

/// Says that it was not, and why.
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
pub(crate) fn not_validated(why: &str) {
    eprintln!("NOT VALIDATED: {why}");
}
