//! The table of codes.
//!
//! A code never changes its meaning, and one that is given up is not given again. `docs/lint.md` has a section for each;
//! `tests/lint` holds the two together.

use crate::plan::Severity;

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `PT` and three digits: 0 for what is refused and for lint itself, 1 for the plan, 2 for the pod and its object, 3 for
    /// what steps share.
    pub code: &'static str,
    /// How bad it is, where nothing else is said.
    pub severity: Severity,
    /// In a few words.
    pub title: &'static str,
}

const fn rule(code: &'static str, severity: Severity, title: &'static str) -> Rule {
    Rule { code, severity, title }
}

use Severity::{Error, Info, Warning};

pub(super) const PLAN: Rule = rule("PT001", Error, "The plan, or its pod, cannot be used");
pub(super) const INJECT: Rule = rule("PT002", Error, "The pod cannot be wired");
pub(super) const IGNORE_UNKNOWN: Rule = rule("PT003", Warning, "lint-ignore names something that is not there");
pub(super) const IGNORE_UNUSED: Rule = rule("PT004", Warning, "lint-ignore silences nothing");
pub(super) const ANNOTATION: Rule = rule("PT005", Warning, "An annotation that nobody reads");
pub(super) const NEVER: Rule = rule("PT101", Warning, "A step that can never run");
pub(super) const APPROVAL: Rule = rule("PT102", Warning, "An approval that is waited for without an end");
pub(super) const UNUSED_SERVICE: Rule = rule("PT103", Warning, "A service that nobody waits for");
pub(super) const NO_READINESS: Rule = rule("PT104", Info, "A service that counts as ready as soon as it is started");
pub(super) const UNUSED_POOL: Rule = rule("PT105", Warning, "A pool that nobody uses");
pub(super) const FINALLY_TIMEOUT: Rule = rule("PT106", Warning, "A finally step without a time limit");
pub(super) const WHOLE_MATRIX: Rule =
    rule("PT107", Warning, "A condition that every instance of a matrix has to fail for");
pub(super) const REFERENCE: Rule = rule("PT108", Warning, "A reference that is not what it looks like");
pub(super) const GATE: Rule = rule("PT109", Error, "A container that waits for one that comes after it");
pub(super) const DEADLINE: Rule = rule("PT201", Warning, "Nothing ends a pod that hangs");
pub(super) const TTL: Rule = rule("PT202", Info, "A Job that stays when it has finished");
pub(super) const RUNS_AGAIN: Rule = rule("PT203", Warning, "A Job that runs the whole plan again");
pub(super) const NEVER_COMPLETES: Rule = rule("PT204", Warning, "A pod that never completes");
pub(super) const UNMANAGED: Rule = rule("PT205", Warning, "A container outside the plan that keeps the pod alive");
pub(super) const GRACE: Rule = rule("PT206", Warning, "A grace period that is too short for the way down");
pub(super) const IMAGE: Rule = rule("PT207", Warning, "An image that may be another one tomorrow");
pub(super) const SHARED_USER: Rule = rule("PT208", Warning, "Steps that can reach each other's files");
pub(super) const SAME_VOLUME: Rule = rule("PT301", Warning, "Steps that write a volume at the same time");
pub(super) const OTHER_USER: Rule = rule("PT302", Warning, "A step whose user cannot change what another one wrote");
pub(super) const SAME_PORT: Rule = rule("PT303", Warning, "Steps that listen on the same port at the same time");

/// All of them, by code.
pub const RULES: &[Rule] = &[
    PLAN,
    INJECT,
    IGNORE_UNKNOWN,
    IGNORE_UNUSED,
    ANNOTATION,
    NEVER,
    APPROVAL,
    UNUSED_SERVICE,
    NO_READINESS,
    UNUSED_POOL,
    FINALLY_TIMEOUT,
    WHOLE_MATRIX,
    REFERENCE,
    GATE,
    DEADLINE,
    TTL,
    RUNS_AGAIN,
    NEVER_COMPLETES,
    UNMANAGED,
    GRACE,
    IMAGE,
    SHARED_USER,
    SAME_VOLUME,
    OTHER_USER,
    SAME_PORT,
];

/// The rule of a code.
pub(super) fn by_code(code: &str) -> Option<Rule> {
    RULES.iter().copied().find(|rule| rule.code == code)
}
