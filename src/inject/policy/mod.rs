//! The same wiring as one object of a cluster: a MutatingAdmissionPolicy (KEP-3962, Kubernetes 1.36), and a ValidatingAdmissionPolicy
//! (KEP-3488) for what it cannot wire.
//!
//! ```text
//! policy(&options) ─> the text of both, with their bindings
//! ```
//! What is written into a pod comes from `parts` and `names`, as for `inject`. CEL reads no YAML: the policy cannot see which containers
//! the plan names, so it wires all that have a command, and says so in `PODTURN_POD` (`allWired`).
//!
//! Belongs here: the policies' texts. Does not belong here: what a wired pod looks like.

mod cel;
mod validating;

use podturn_wire::names::{MOUNT, PUBLIC, STEPS};
use serde_json::{Value, json};

use super::names::{PODTURN, shim};
use super::options::{Deadline, Medium, Options, ShimFrom, Version};
use super::parts;
use super::tree::Tree;
use super::wire::DEADLINE_SECONDS;
use crate::plan::{ANNOTATION, PODTURN_PLAN, Placement, PodFacts};
use cel::{cel, expression, string};

/// The first Kubernetes that serves these policies as `v1`.
pub const POLICY_SINCE: Version = Version { major: 1, minor: 36 };

/// What every pod with a plan has.
fn has_plan() -> String {
    format!("has(object.metadata.annotations) && '{ANNOTATION}' in object.metadata.annotations")
}

/// A pod whose init container has a plan already; `and` is asked of that variable, too.
fn is_wired(and: &str) -> String {
    format!(
        "has(object.spec.initContainers) && object.spec.initContainers.exists(c,\n  \
         has(c.env) && c.env.exists(e, e.name == '{PODTURN_PLAN}'{and}))"
    )
}

const IS_WINDOWS: &str = "has(object.spec.os) && object.spec.os.name == 'windows'";
/// A command that can wait for its turn; one behind `podturn-shim wait` is an onlooker's, which is no step.
fn has_command() -> String {
    format!("has(c.command) && size(c.command) > 0 && !c.command[0].startsWith('{MOUNT}/{PUBLIC}/')")
}

/// Where a container is in the pod.
const AT: &str = "\"/spec/containers/\" + string(variables.names.indexOf(c.name))";

/// Both policies with their bindings, as YAML.
///
/// # Errors
/// An option that a policy cannot keep, with the reason.
pub fn policy(options: &Options) -> Result<String, String> {
    if let Some(why) = refused(options) {
        return Err(why);
    }
    let mutations: Vec<String> =
        [pod(options), commands(options), mounts(options)].iter().map(|text| mutation(text)).collect();
    let variables: Vec<String> = variables(options).iter().map(|(name, why, text)| variable(name, why, text)).collect();
    Ok(format!(
        "{HEAD}{mutating}{variables}  mutations:\n{mutations}{BINDING}{validating}",
        mutating = mutating_head(),
        variables = variables.concat(),
        mutations = mutations.concat(),
        validating = validating::text(options),
    ))
}

fn refused(options: &Options) -> Option<String> {
    let why = match options {
        Options { placement: Placement::Container, .. } => {
            "--placement container: clusters with these policies have native sidecars"
        }
        Options { medium: Medium::Claim(_), .. } => {
            "--volume-medium pvc: one claim cannot be the volume of all pods; use `podturn inject` for that pod"
        }
        Options { drop_plan: true, .. } => "--drop-plan-annotation: the annotation is where the plan comes from",
        Options { job_defaults: true, .. } => "--job-defaults: a policy for pods sees no Jobs",
        Options { pod_resources: true, .. } => {
            "--pod-resources: it follows from the plan, which CEL cannot read; use `podturn inject` for that pod"
        }
        Options { whole_volume: true, shim_from: ShimFrom::Image(_), .. } => {
            "--shim-from image: --whole-volume is for podman 4, which mounts no image as a volume of a pod"
        }
        options => return options.shim_image().err(),
    };
    Some(why.to_owned())
}

const HEAD: &str = "\
# Pods that carry the annotation podturn.dev/plan are wired by the API server itself, at their creation: no `podturn inject`, no webhook,
# no controller. Written by `podturn policy`; docs/auto-inject.md says what it cannot do.
#
#   podturn policy --image my-registry/podturn:0.1.0 | kubectl apply -f -      Kubernetes 1.36 and above, once a cluster
#   kubectl apply -f pod.yaml                                                  a pod with a plan, as it is
#
# Every container with a command is wired, since CEL cannot read which of them the plan names. One that it does not name gets its turn
# at once.
";

/// The policy up to its variables.
fn mutating_head() -> String {
    format!(
        "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata:
  name: podturn
spec:
  failurePolicy: Fail # a pod whose plan is not kept must not run; pods without a plan are never touched
  reinvocationPolicy: Never # what others add later is no step
  matchConstraints:
    resourceRules:
      - apiGroups: [\"\"]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
  matchConditions:
    - name: it-has-a-plan
      expression: {has_plan}
    - name: it-is-not-wired # by `podturn inject`, or by hand
      expression: |-
{wired}
    - name: there-is-a-command # what an image runs by itself is not to be seen here
      expression: object.spec.containers.exists(c, {has_command})
    - name: it-is-not-of-windows # which is refused below, in words
      expression: |-
        !({IS_WINDOWS})
  variables:
",
        has_plan = has_plan(),
        has_command = has_command(),
        wired = indented(&format!("!({})", is_wired("")), 8)
    )
}

const BINDING: &str = "\
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: podturn
spec:
  policyName: podturn # in all namespaces; `matchResources.namespaceSelector` narrows it
---
";

/// Name, comment and expression of what the mutations share.
fn variables(options: &Options) -> Vec<(&'static str, &'static str, String)> {
    vec![
        (
            "names",
            "where each container is: a JSON patch wants its number",
            "object.spec.containers.map(c, c.name)".to_owned(),
        ),
        ("steps", "the containers that are wired", format!("object.spec.containers.filter(c, {})", has_command())),
        ("guaranteed", "a pod in which all requests equal their limits stays so", GUARANTEED.to_owned()),
        ("pod", "what podturn has to know of the pod: PODTURN_POD", facts(options)),
    ]
}

const GUARANTEED: &str = "\
(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])).all(c,
  has(c.resources) && has(c.resources.limits) && ['cpu', 'memory'].all(r,
    r in c.resources.limits && (!has(c.resources.requests) || !(r in c.resources.requests) ||
      c.resources.requests[r] == c.resources.limits[r])))";

/// `PODTURN_POD` as CEL puts it together. Names are those that the API takes, so nothing has to be escaped; what could, is left out here
/// and refused by the other policy.
fn facts(options: &Options) -> String {
    let fixed = PodFacts {
        placement: options.placement,
        all_wired: true,
        parameters: options.parameters.clone(),
        ..PodFacts::default()
    };
    let mut fixed = json!(fixed);
    if let Some(fixed) = fixed.as_object_mut() {
        ["restartPolicy", "terminationGracePeriodSeconds", "containers"].iter().for_each(|key| {
            fixed.shift_remove(*key);
        });
    }
    // The kubelet halves each `$$` in the value of a variable.
    let text = fixed.to_string().replace('$', "$$");
    let head = string(&format!("{},\"restartPolicy\":\"", text.strip_suffix('}').unwrap_or(&text)));
    format!(
        "\
{head} +
  (has(object.spec.restartPolicy) ? object.spec.restartPolicy : 'Always') +
'\",\"terminationGracePeriodSeconds\":' +
  string(has(object.spec.terminationGracePeriodSeconds) ? object.spec.terminationGracePeriodSeconds : 30) +
',\"initContainers\":[' +
  (has(object.spec.initContainers) ? object.spec.initContainers.map(c, '\"' + c.name + '\"').join(',') : '') +
'],\"containers\":[' + variables.steps.map(c,
  '{{\"name\":\"' + c.name + '\"' +
  (has(c.terminationMessagePath) && c.terminationMessagePath.matches('{PLAIN_PATH}') ?
    ',\"terminationMessagePath\":\"' + c.terminationMessagePath + '\"' : '') +
  (has(c.terminationMessagePolicy) ? ',\"terminationMessagePolicy\":\"' + c.terminationMessagePolicy + '\"' : '') +
  (has(c.ports) ? ',\"ports\":[' + c.ports.filter(p, has(p.name)).map(p,
    '{{\"name\":\"' + p.name + '\",\"containerPort\":' + string(p.containerPort) + '}}').join(',') + ']' : '') +
  '}}').join(',') +
']}}'"
    )
}

/// A path that is the same in JSON.
const PLAIN_PATH: &str = "^[A-Za-z0-9/._-]+$";

/// The volume, the two containers, and the fields of the pod.
fn pod(options: &Options) -> String {
    let mut parts = Vec::new();
    if options.share_pid {
        let unset = "has(object.spec.shareProcessNamespace) || (has(object.spec.hostPID) && object.spec.hostPID)";
        parts.push(format!("({unset} ? [] : [\n  {}\n])", patch("\"/spec/shareProcessNamespace\"", "true")));
    }
    let deadline = match options.deadline {
        Deadline::OfPlan => Some(DEADLINE_SECONDS),
        Deadline::Seconds(seconds) => Some(seconds),
        Deadline::Off => None,
    };
    if let Some(seconds) = deadline {
        let wants = "has(object.spec.restartPolicy) && object.spec.restartPolicy == 'Never' && \
                     !has(object.spec.activeDeadlineSeconds)";
        let patch = patch("\"/spec/activeDeadlineSeconds\"", &seconds.to_string());
        parts.push(format!("({wants} ? [\n  {patch}\n] : [])"));
    }
    for list in ["volumes", "initContainers"] {
        let patch = patch(&format!("\"/spec/{list}\""), "[]");
        parts.push(format!("(has(object.spec.{list}) ? [] : [\n  {patch}\n])"));
    }
    let volume = |volume: &Tree| patch("\"/spec/volumes/-\"", &cel(&volume.to_json(), None, "spec.volumes", 4));
    let mut added: Vec<String> = parts::volumes(options).iter().map(volume).collect();
    let plan = json!({ "valueFrom": { "fieldRef": { "fieldPath": format!("metadata.annotations['{ANNOTATION}']") } } });
    let init = |is_guaranteed| {
        let pod = json!({ "value": expression("variables.pod") });
        parts::init_that_reads(plan.clone(), pod, is_guaranteed, options)
    };
    let coordinator = |is_guaranteed| parts::coordinator(is_guaranteed, options).to_json();
    let container = |place: &str, of: &dyn Fn(bool) -> Value| {
        let value = cel(&of(false), Some(("variables.guaranteed", &of(true))), "spec.initContainers", 4);
        patch(&format!("\"/spec/initContainers/{place}\""), &value)
    };
    added.push(container("0", &init));
    added.push(container("-", &coordinator));
    parts.push(format!("[\n  {}\n]", added.join(",\n  ")));
    parts.join(" +\n")
}

/// The shim before each command.
fn commands(options: &Options) -> String {
    let words: Vec<String> = shim(&expression("c.name"), &options.shim_from).iter().map(|word| string(word)).collect();
    let value = format!("[{}] + c.command", words.join(", "));
    format!("variables.steps.map(c,\n  {})", patch_of("replace", &format!("{AT} + \"/command\""), &value))
}

/// The mailbox of each step.
fn mounts(options: &Options) -> String {
    let path = |end: &str| format!("{AT} + \"/volumeMounts{end}\"");
    let mut parts =
        vec![format!("variables.steps.filter(c, !has(c.volumeMounts)).map(c,\n  {})", patch(&path(""), "[]"))];
    for mount in parts::mounts(&expression("c.name"), options) {
        let value = cel(&mount.to_json(), None, "spec.containers.volumeMounts", 4);
        parts.push(format!("variables.steps.map(c,\n  {})", patch(&path("/-"), &value)));
    }
    parts.join(" +\n")
}

fn patch(path: &str, value: &str) -> String {
    patch_of("add", path, value)
}

fn patch_of(op: &str, path: &str, value: &str) -> String {
    format!("JSONPatch{{op: \"{op}\", path: {path},\n    value: {value}}}")
}

fn variable(name: &str, why: &str, text: &str) -> String {
    format!("    - name: {name} # {why}\n      expression: |-\n{}\n", indented(text, 8))
}

fn mutation(text: &str) -> String {
    format!("    - patchType: JSONPatch\n      jsonPatch:\n        expression: |-\n{}\n", indented(text, 10))
}

fn indented(text: &str, columns: usize) -> String {
    let pad = " ".repeat(columns);
    text.lines().map(|line| format!("{pad}{line}")).collect::<Vec<_>>().join("\n")
}

/// Where the mailboxes are, as a part of a path.
fn mailboxes() -> String {
    format!("{}/{STEPS}/", podturn_wire::names::MOUNT)
}

/// The name of both policies.
const NAME: &str = PODTURN;
