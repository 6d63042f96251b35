//! The two containers and the volume that a wired pod has.
//!
//! Belongs here: what is written into them, and why. Does not belong here: where in the manifest they go (`wire`).
//!
//! Security contexts satisfy Pod Security `restricted`
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).

use podturn_wire::names::MOUNT;
use serde_json::{Map, Value, json};

use super::names::{MailboxMount, PODTURN, PODTURN_INIT, PODTURN_SHIM, VARIABLES, mailbox, programs};
use super::options::{Medium, Options, ShimFrom};
use super::quantity::bytes;
use super::tree::Tree;
use crate::plan::{PODTURN_POD_UID, Placement};

/// What the coordinator needs besides the volume. With 50 steps it was measured at 5.5 MiB (docs/performance.md); each probe
/// and hook is one more such process for a moment.
const MEMORY_REQUEST: &str = "16Mi";
const MEMORY_LIMIT: u64 = 64 << 20;
const CPU_REQUEST: &str = "10m";
/// It has one thread, so a whole CPU never throttles it; the limit is there for quotas that ask for one.
const CPU_LIMIT: &str = "1";

/// The volumes: the one that is shared, and the image with the shim where one is mounted.
pub(super) fn volumes(options: &Options) -> Vec<Tree> {
    // An image that cannot be told was refused.
    let shim = options.shim_image().ok().flatten().map(|image| {
        let mut image = json!({ "reference": image });
        if let Some(policy) = &options.pull_policy {
            image["pullPolicy"] = policy.as_str().into();
        }
        Tree::from(json!({ "name": PODTURN_SHIM, "image": image }))
    });
    [volume(options)].into_iter().chain(shim).collect()
}

/// The shared one.
fn volume(options: &Options) -> Tree {
    let source = match &options.medium {
        Medium::Memory => json!({ "emptyDir": { "medium": "Memory", "sizeLimit": options.size_limit } }),
        Medium::Disk => json!({ "emptyDir": { "sizeLimit": options.size_limit } }),
        Medium::Claim(claim) => json!({ "persistentVolumeClaim": { "claimName": claim } }),
    };
    let mut volume = Map::from_iter([("name".to_owned(), PODTURN.into())]);
    volume.extend(source.as_object().cloned().unwrap_or_default());
    Value::Object(volume).into()
}

/// The init container. Both texts are the values of its variables.
pub(super) fn init(plan: &str, pod: &str, is_guaranteed: bool, options: &Options) -> Tree {
    let value = |text: &str| json!({ "value": literal(text) });
    init_that_reads(value(plan), value(pod), is_guaranteed, options).into()
}

/// As the value of a variable: the kubelet halves each `$$` there, and would replace `$(NAME)`.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// The init container, with what follows the names of its variables with the plan and the pod.
pub(super) fn init_that_reads(plan: Value, pod: Value, is_guaranteed: bool, options: &Options) -> Value {
    let variable = |name: &str, from: Value| {
        let mut variable = Map::from_iter([("name".to_owned(), name.into())]);
        variable.extend(from.as_object().cloned().unwrap_or_default());
        Value::Object(variable)
    };
    let uid = json!({ "name": PODTURN_POD_UID, "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } });
    let mut container = podturn(PODTURN_INIT, "init", is_guaranteed, options);
    if let Some(Value::Array(args)) = container.get_mut("args") {
        let chosen = [
            (options.durable, ["--durability", "node"]),
            (options.by_files, ["--bell", "file"]),
            (options.shim_from != ShimFrom::Volume, ["--shim-from", "image"]),
        ];
        args.extend(
            chosen.into_iter().filter(|(is_chosen, _)| *is_chosen).flat_map(|(_, words)| words).map(Value::from),
        );
    }
    let env = json!([variable(VARIABLES[0], plan), variable(VARIABLES[1], pod), uid]);
    after(&mut container, "args", "env", env);
    Value::Object(container)
}

/// The coordinator.
pub(super) fn coordinator(is_guaranteed: bool, options: &Options) -> Tree {
    let mut container = podturn(PODTURN, "coordinate", is_guaranteed, options);
    let on_deletion = json!({ "preStop": { "exec": { "command": ["podturn", "terminating"] } } });
    after(&mut container, "args", "lifecycle", on_deletion);
    if options.placement == Placement::Sidecar {
        // A frozen coordinator is started again after a minute; where nothing restarts it, the probe would only end it.
        let probe = json!({
            "exec": { "command": ["podturn", "alive"] },
            "initialDelaySeconds": 10,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
        });
        after(&mut container, "args", "livenessProbe", probe);
        after(&mut container, "args", "restartPolicy", "Always".into());
    }
    let variable = |(name, value): (&String, &String)| json!({ "name": name, "value": literal(value) });
    let env: Vec<Value> = options.coordinator_env.iter().map(variable).collect();
    if !env.is_empty() {
        after(&mut container, "args", "env", env.into());
    }
    Value::Object(container).into()
}

fn podturn(name: &str, command: &str, is_guaranteed: bool, options: &Options) -> Map<String, Value> {
    let mut container = Map::new();
    container.insert("name".to_owned(), name.into());
    container.insert("image".to_owned(), options.image.as_str().into());
    if let Some(policy) = &options.pull_policy {
        container.insert("imagePullPolicy".to_owned(), policy.as_str().into());
    }
    container.insert("args".to_owned(), json!([command]));
    container.insert("resources".to_owned(), resources(is_guaranteed, options));
    container.insert("securityContext".to_owned(), security_context(options));
    container.insert("volumeMounts".to_owned(), json!([{ "name": PODTURN, "mountPath": MOUNT }]));
    container
}

/// A pod in which every container has limits that equal its requests is `Guaranteed`, and stays so.
fn resources(is_guaranteed: bool, options: &Options) -> Value {
    // What it writes on a volume in memory counts as its memory.
    let in_memory = matches!(options.medium, Medium::Memory);
    let volume = if in_memory { bytes(&options.size_limit).unwrap_or(MEMORY_LIMIT) } else { 0 };
    let limit = format!("{}Mi", (MEMORY_LIMIT + volume).div_ceil(1 << 20));
    if is_guaranteed {
        let all = json!({ "cpu": "100m", "memory": limit });
        return json!({ "requests": all, "limits": all });
    }
    json!({
        "requests": { "cpu": CPU_REQUEST, "memory": MEMORY_REQUEST },
        "limits": { "cpu": CPU_LIMIT, "memory": limit },
    })
}

fn security_context(options: &Options) -> Value {
    let mut context = Map::new();
    context.insert("runAsNonRoot".to_owned(), true.into());
    if let Some(user) = options.user {
        context.insert("runAsUser".to_owned(), user.into());
        context.insert("runAsGroup".to_owned(), user.into());
    }
    context.insert("allowPrivilegeEscalation".to_owned(), false.into());
    context.insert("readOnlyRootFilesystem".to_owned(), true.into());
    context.insert("capabilities".to_owned(), json!({ "drop": ["ALL"] }));
    context.insert("seccompProfile".to_owned(), json!({ "type": "RuntimeDefault" }));
    Value::Object(context)
}

/// Puts a field behind another one.
fn after(container: &mut Map<String, Value>, before: &str, key: &str, value: Value) {
    let at = container.keys().position(|known| known == before).map_or(container.len(), |at| at + 1);
    container.shift_insert(at, key.to_owned(), value);
}

/// How a step's container sees its mailbox, and the shim.
pub(super) fn mounts(step: &str, options: &Options) -> Vec<Tree> {
    if options.whole_volume {
        return vec![json!({ "name": PODTURN, "mountPath": MOUNT }).into()];
    }
    let mount = |half: &MailboxMount| {
        let mut mount = json!({ "name": PODTURN, "mountPath": half.path, "subPath": half.sub_path });
        if half.read_only {
            mount["readOnly"] = true.into();
        }
        Tree::from(mount)
    };
    let shim = (options.shim_from != ShimFrom::Volume).then(|| {
        let path = programs(step, &options.shim_from);
        Tree::from(json!({ "name": PODTURN_SHIM, "mountPath": path, "readOnly": true }))
    });
    mailbox(step).iter().map(mount).chain(shim).collect()
}
