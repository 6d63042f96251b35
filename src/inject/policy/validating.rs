//! The ValidatingAdmissionPolicy: what can be seen to be wrong without reading the plan. It looks at pods as they are after all
//! mutations, those that `podturn inject` wired included.
//!
//! Belongs here: what is refused, and the words for it. Does not belong here: the wiring.

use podturn_wire::names::MOUNT;

use super::super::names::PODTURN_SHIM;
use super::super::options::{Options, ShimFrom};
use super::{IS_WINDOWS, NAME, PLAIN_PATH, has_plan, indented, is_wired, mailboxes, variable};
use crate::plan::ANNOTATION;

/// The longest plan in bytes: a variable of a process has at most 128 KiB (`execve(2)`), with its name.
const PLAN_MAX: usize = 128 * 1024 - 64;

/// The policy and its binding.
pub(super) fn text(options: &Options) -> String {
    let validations: Vec<String> =
        validations(options).iter().map(|(test, message)| validation(test, message)).collect();
    let variables = [
        variable("auto", "wired by the policy above", &is_wired(" && has(e.valueFrom)")),
        variable("steps", "the containers that it wired", &steps()),
    ];
    format!(
        "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {NAME}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [\"\"]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
  matchConditions:
    - name: it-has-a-plan
      expression: {has_plan}
  variables:
{}  validations:
{}---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {NAME}
spec:
  policyName: {NAME}
  validationActions: [Deny]
",
        variables.concat(),
        validations.concat(),
        has_plan = has_plan(),
    )
}

fn steps() -> String {
    format!(
        "\
!variables.auto ? [] : object.spec.containers.filter(c,
  has(c.command) && size(c.command) > 0 && c.command[0].startsWith('{}'))",
        mailboxes()
    )
}

fn each(what: &str) -> String {
    format!("variables.steps.all(c, {what})")
}

/// What has to hold, and what is said where it does not.
fn validations(options: &Options) -> Vec<(String, String)> {
    let rule = |test: String, message: &str| (test, message.to_owned());
    let inject = "use `podturn inject` for this pod";
    let is_own = match options.shim_from {
        ShimFrom::Volume => format!("m.name == '{NAME}'"),
        ShimFrom::Image(_) => format!("m.name in ['{NAME}', '{PODTURN_SHIM}']"),
    };
    vec![
        rule(
            format!("({IS_WINDOWS}) || {}", is_wired("")),
            "this pod has a plan, and no container with a command that could keep it: write `command`, or use `podturn inject --resolve`",
        ),
        rule(
            "!has(object.spec.restartPolicy) || object.spec.restartPolicy != 'OnFailure'".to_owned(),
            "restartPolicy OnFailure would run failed steps again behind podturn's back: write `restartPolicy: Never`, and `retry` at the \
             steps that may be tried again",
        ),
        rule(format!("!({IS_WINDOWS})"), "the shim is a Linux program: a pod of Windows has no plan"),
        rule(
            each("!has(c.livenessProbe) && !has(c.startupProbe)"),
            &format!(
                "a livenessProbe or startupProbe of a step counts from the start of its container, long before its turn: {inject}, which turns them"
            ),
        ),
        rule(
            each("!has(c.lifecycle) || (!has(c.lifecycle.postStart) && !has(c.lifecycle.preStop))"),
            &format!(
                "a postStart or preStop hook of a step runs at the start of its container, long before its turn: {inject}, which turns them"
            ),
        ),
        rule(
            each("!has(c.restartPolicy) && !has(c.restartPolicyRules)"),
            "a step has neither a restartPolicy nor restartPolicyRules of its own: leave them out; `retry` at the step tries its command \
             again, and a rule for 137 is what `podturn inject` takes",
        ),
        rule(
            each(&format!("c.volumeMounts.all(m, {is_own} || !(m.mountPath + '/').startsWith('{MOUNT}/'))")),
            &format!("{MOUNT} is where steps have their mailboxes: mount other volumes somewhere else"),
        ),
        rule(
            each(&format!("!has(c.terminationMessagePath) || c.terminationMessagePath.matches('{PLAIN_PATH}')")),
            &format!(
                "the terminationMessagePath of a step has letters, digits and /._- only: {inject}, which takes all"
            ),
        ),
        rule(
            format!("!variables.auto || size(bytes(object.metadata.annotations['{ANNOTATION}'])) <= {PLAN_MAX}"),
            &format!("this plan is too long for a variable: {inject}, or a ConfigMap and `podturn init --plan`"),
        ),
    ]
}

fn validation(test: &str, message: &str) -> String {
    format!(
        "    - expression: |-\n{}\n      message: |-\n{}\n",
        indented(test, 8),
        indented(&format!("podturn: {message}"), 8)
    )
}
