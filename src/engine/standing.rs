//! How the pod stands, by what the API server says of it.
//!
//! Belongs here: reading a pod's status (Kubernetes API, PodStatus v1 core). Does not belong here: asking for it.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::inject::{PODTURN, PODTURN_INIT};

/// Why a container that is not there yet may never be.
const TROUBLES: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// Something that follows from a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This container has begun, perhaps once more: its log can be followed.
    Began(String),
    /// A person should know.
    Note(String),
}

/// As what a container is in its pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Init,
    Sidecar,
    Ordinary,
}

/// How the pod stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Its name, once there is one.
    pub(super) pod: String,
    /// It is not there any more.
    pub(super) is_gone: bool,
    pub(super) grace_seconds: Option<u64>,
    pub(super) active_deadline_seconds: Option<u64>,
    phase: String,
    reason: String,
    /// How often each container that has begun was started again.
    begun: BTreeMap<String, u64>,
    /// Containers whose ends count, and their codes: those of native sidecars do not.
    codes: Vec<(String, i32)>,
    init_failed: Option<String>,
    /// An ordinary container that is in trouble, and was never there.
    unborn: Option<String>,
    /// What was said already.
    said: HashSet<String>,
}

impl Standing {
    /// It has ended for good, or is gone.
    pub(super) fn is_over(&self) -> bool {
        self.is_gone || matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// `activeDeadlineSeconds` has ended it.
    pub(super) fn is_too_late(&self) -> bool {
        self.reason == "DeadlineExceeded"
    }

    /// Containers that ended with another code than 0, but for the coordinator.
    pub(super) fn failed(&self) -> Vec<(String, i32)> {
        self.codes.iter().filter(|(name, code)| *code != 0 && name != PODTURN).cloned().collect()
    }

    /// The init container that failed, so that nothing after it was started.
    pub(super) fn failed_init_container(&self) -> Option<String> {
        self.init_failed.clone()
    }

    /// A container that may never be created: it keeps the pod Pending, whatever became of the plan.
    pub(super) fn unborn(&self) -> Option<&str> {
        self.unborn.as_deref()
    }

    /// Takes what the watch says: `{type, object}`. Of several pods (a Job's) the first one is the run.
    pub(super) fn handle(&mut self, event: &Value) -> Vec<News> {
        let pod = &event["object"];
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if pod["kind"] != "Pod" || (!self.pod.is_empty() && self.pod != name) {
            return Vec::new();
        }
        name.clone_into(&mut self.pod);
        self.grace_seconds = pod["spec"]["terminationGracePeriodSeconds"].as_u64().or(self.grace_seconds);
        self.active_deadline_seconds = pod["spec"]["activeDeadlineSeconds"].as_u64().or(self.active_deadline_seconds);
        self.is_gone |= event["type"] == "DELETED";
        let status = &pod["status"];
        if !status.is_object() {
            return Vec::new();
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (self.phase, self.reason) = (text(&status["phase"]), text(&status["reason"]));
        let mut news = Vec::new();
        self.codes.clear();
        self.unborn = None;
        let is_sidecar = |status: &Value| {
            let mut all = items(&pod["spec"]["initContainers"]);
            all.any(|container| container["name"] == status["name"] && container["restartPolicy"] == "Always")
        };
        for container in items(&status["initContainerStatuses"]) {
            self.take(container, if is_sidecar(container) { Role::Sidecar } else { Role::Init }, &mut news);
        }
        for container in items(&status["containerStatuses"]) {
            self.take(container, Role::Ordinary, &mut news);
        }
        let unscheduled = items(&status["conditions"])
            .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False");
        if let Some(condition) = unscheduled {
            self.say(format!("no node takes the pod yet: {}", text(&condition["message"])), &mut news);
        }
        if !self.reason.is_empty() {
            self.say(format!("the pod is {}: {}", self.reason, text(&status["message"])), &mut news);
        }
        news
    }

    fn take(&mut self, container: &Value, role: Role, news: &mut Vec<News>) {
        let Some(name) = container["name"].as_str().map(str::to_owned) else { return };
        let state = &container["state"];
        let code = state["terminated"]["exitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
        if let Some(code) = code.filter(|_| role != Role::Sidecar) {
            self.codes.push((name.clone(), code));
            if role == Role::Init && code != 0 && self.phase == "Failed" {
                self.init_failed.get_or_insert(name.clone());
            }
        }
        let waiting = &state["waiting"];
        if let Some(reason) = waiting["reason"].as_str().filter(|reason| TROUBLES.contains(reason)) {
            let message = waiting["message"].as_str().unwrap_or_default();
            self.say(format!("{name}: {reason}: {message}"), news);
            if role == Role::Ordinary && !self.begun.contains_key(&name) {
                self.unborn = Some(name.clone());
            }
        }
        // podturn's init container says what is wrong, and nothing else.
        let is_heard = name != PODTURN_INIT || code.is_some_and(|code| code != 0);
        let restarts = container["restartCount"].as_u64().unwrap_or(0);
        let has_begun = state.get("running").is_some() || code.is_some();
        if has_begun && is_heard && self.begun.get(&name) != Some(&restarts) {
            self.begun.insert(name.clone(), restarts);
            news.push(News::Began(name));
        }
    }

    /// Once.
    fn say(&mut self, text: String, news: &mut Vec<News>) {
        if self.said.insert(text.clone()) {
            news.push(News::Note(text));
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str, init: &Value, containers: &Value) -> Value {
        json!({ "type": "MODIFIED", "object": { "kind": "Pod", "metadata": { "name": "p" },
            "status": { "phase": phase, "initContainerStatuses": init, "containerStatuses": containers } } })
    }

    #[test]
    fn a_container_is_followed_once_for_each_time_that_it_begins() {
        let mut standing = Standing::default();
        let running = |restarts: u64| json!([{ "name": "a", "restartCount": restarts, "state": { "running": {} } }]);
        let waiting =
            json!([{ "name": "a", "restartCount": 0, "state": { "waiting": { "reason": "ContainerCreating" } } }]);
        assert_eq!(standing.handle(&pod("Pending", &json!([]), &waiting)), []);
        assert_eq!(standing.handle(&pod("Running", &json!([]), &running(0))), [News::Began("a".to_owned())]);
        assert_eq!(standing.handle(&pod("Running", &json!([]), &running(0))), []);
        assert_eq!(standing.handle(&pod("Running", &json!([]), &running(1))), [News::Began("a".to_owned())]);
        assert!(!standing.is_over());
        let ended = json!([{ "name": "a", "restartCount": 1, "state": { "terminated": { "exitCode": 3 } } }]);
        assert_eq!(standing.handle(&pod("Failed", &json!([]), &ended)), []);
        assert_eq!((standing.is_over(), standing.failed()), (true, vec![("a".to_owned(), 3)]));
        assert_eq!(standing.failed_init_container(), None);
    }

    #[test]
    fn what_keeps_a_container_from_coming_is_said_once() {
        let mut standing = Standing::default();
        let trouble = json!([{ "name": "a", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }]);
        let told = standing.handle(&pod("Pending", &json!([]), &trouble));
        assert_eq!(told, [News::Note("a: ImagePullBackOff: no such image".to_owned())]);
        assert_eq!(standing.handle(&pod("Pending", &json!([]), &trouble)), []);
        assert_eq!(standing.unborn(), Some("a"));
        let running = json!([{ "name": "a", "restartCount": 0, "state": { "running": {} } }]);
        standing.handle(&pod("Running", &json!([]), &running));
        assert_eq!(standing.unborn(), None);
    }

    #[test]
    fn podturns_init_container_is_heard_only_when_it_fails() {
        let mut standing = Standing::default();
        let init = |code: i32| json!([{ "name": PODTURN_INIT, "state": { "terminated": { "exitCode": code } } }]);
        assert_eq!(standing.handle(&pod("Pending", &init(0), &json!([]))), []);
        assert_eq!(standing.handle(&pod("Failed", &init(2), &json!([]))), [News::Began(PODTURN_INIT.to_owned())]);
        assert_eq!(standing.failed_init_container().as_deref(), Some(PODTURN_INIT));
    }

    #[test]
    fn a_native_sidecar_may_end_as_it_likes() {
        let mut standing = Standing::default();
        let ended = |name: &str, code: i32| json!({ "name": name, "state": { "terminated": { "exitCode": code } } });
        let told = |phase: &str, step: i32| {
            let mut told = pod(phase, &json!([ended("first", 0), ended("proxy", 143)]), &json!([ended("a", step)]));
            told["object"]["spec"] =
                json!({ "initContainers": [{ "name": "first" }, { "name": "proxy", "restartPolicy": "Always" }] });
            told
        };
        standing.handle(&told("Succeeded", 0));
        assert_eq!((standing.failed(), standing.failed_init_container()), (Vec::new(), None));
        standing.handle(&told("Failed", 3));
        assert_eq!((standing.failed(), standing.failed_init_container()), (vec![("a".to_owned(), 3)], None));
    }

    #[test]
    fn a_second_pod_of_a_job_is_another_run() {
        let mut standing = Standing::default();
        standing.handle(&pod("Running", &json!([]), &json!([])));
        let mut other = pod("Failed", &json!([]), &json!([]));
        other["object"]["metadata"]["name"] = "q".into();
        standing.handle(&other);
        assert!(!standing.is_over());
        let gone = json!({ "type": "DELETED", "object": { "kind": "Pod", "metadata": { "name": "p" } } });
        standing.handle(&gone);
        assert!(standing.is_over() && standing.is_gone);
    }
}
