//! The rule by which a container comes back that was killed as a whole.
//!
//! On cgroup v2 the kubelet lets an out-of-memory kill take every process of a container, the shim included, so the container shows 137
//! and nothing in it can say otherwise. Where the step is retried, or its failure is allowed, a restart rule (KEP-5307, on by
//! default since Kubernetes 1.35) brings it back, and the shim gives the step its next attempt, or ends with 0.
//!
//! Belongs here: which steps get the rule, and what it looks like. Does not belong here: what a run makes of it (the core does).

use podturn_turn::{Cause, Step};
use podturn_wire::exit;

use super::options::{Options, RESTART_RULES_SINCE};
use super::step::Field;
use super::tree::Tree;
use crate::plan::yaml::Node;
use crate::plan::{Checked, ContainerRestarts, Manifest, Placement, PodFacts, RestartPolicy};

const FIELDS: [&str; 2] = ["restartPolicy", "restartPolicyRules"];

/// The steps of a pod that get the rule.
pub(super) struct RestartRules(Vec<String>);

impl RestartRules {
    /// One whose container has a policy or rules of its own keeps those.
    pub(super) fn of(manifest: &Manifest, checked: &Checked, options: &Options) -> Self {
        // An ordinary container does not outlast a step that comes back; a sidecar does.
        let is_possible = options.restart_rules
            && options.kubernetes >= RESTART_RULES_SINCE
            && options.placement == Placement::Sidecar
            && manifest.facts.restart_policy == RestartPolicy::Never;
        let items = manifest.spec.list("containers");
        let named = |name: &str| items.iter().find(|item| item.get("name").and_then(Node::as_str) == Some(name));
        let is_plain = |step: &Step| {
            let container = named(checked.pattern_of(&step.name));
            container.is_some_and(|container| FIELDS.iter().all(|field| container.get(field).is_none()))
        };
        let steps = checked.plan.steps.iter().filter(|step| is_possible && gains(step) && is_plain(step));
        Self(steps.map(|step| step.name.clone()).collect())
    }

    pub(super) fn has(&self, step: &str) -> bool {
        self.0.iter().any(|name| name == step)
    }

    /// Tells the coordinator of them.
    pub(super) fn tell(&self, facts: &mut PodFacts) {
        for container in facts.containers.iter_mut().filter(|container| self.has(&container.name)) {
            container.restarts = Some(ContainerRestarts::WhenKilled);
        }
    }
}

/// Whether anything is better for a step when its container comes back after a kill.
fn gains(step: &Step) -> bool {
    let is_retried = step.retry.limit > 0 && step.retry.causes.contains(&Cause::ShimLost);
    step.allow_failure || is_retried
}

/// The two fields, which the API takes together only.
pub(super) fn restart_rules() -> [Field; 2] {
    let rules = serde_json::json!([
        { "action": "Restart", "exitCodes": { "operator": "In", "values": [exit::KILLED] } }
    ]);
    let [policy, list] = FIELDS;
    [Field::Set(policy, Tree::Text("Never".to_owned())), Field::Set(list, rules.into())]
}
