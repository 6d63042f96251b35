//! The trace of a run: whether one is asked for, and its sending at the end.

use std::thread::JoinHandle;

#[cfg(feature = "tools")]
use podturn_turn::{Parameter, Plan};

use super::record;
#[cfg(feature = "tools")]
use crate::local::LocalPod;
use crate::process;
use crate::trace::{self, Context, NotAsked, Settings};
use crate::view::{self, Source};
use crate::volume::Volume;

/// A trace that is asked for.
pub(super) struct Traced {
    settings: Settings,
    /// Where its spans belong.
    pub(super) context: Context,
}

/// Whether the environment asks for the trace of the run on this volume. What is in the way is said.
pub(super) fn asked(volume: &Volume) -> Option<Traced> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut settings = match Settings::read(variable) {
        Ok(settings) => settings,
        Err(NotAsked::Quiet) => return None,
        Err(NotAsked::Impossible(why)) => {
            tracing::warn!("no trace is sent: {why}");
            return None;
        }
    };
    for why in &settings.passed_over {
        tracing::warn!("of the trace: {why}");
    }
    // A pod's host name is its own name, unless it says otherwise.
    let is_named = settings.resource.iter().any(|(key, _)| key == "k8s.pod.name");
    if variable("KUBERNETES_SERVICE_HOST").is_some() && !is_named {
        let name = variable("HOSTNAME").filter(|name| !name.is_empty());
        settings.resource.extend(name.map(|name| ("k8s.pod.name".to_owned(), name)));
    }
    let run = volume.read_run().ok()??;
    let context = Context::of(run.run, &run.plan, variable(trace::PARAMETER).as_deref());
    Some(Traced { settings, context })
}

impl Traced {
    /// Sends it from a thread of its own, whose end may be waited for: it takes no longer than the settings say. A failure is told, and
    /// changes nothing of how the run ended.
    pub(super) fn send(self, volume: &Volume) -> Option<JoinHandle<()>> {
        if self.context.parent().is_some_and(|parent| !parent.is_sampled()) {
            return None; // whoever began the trace keeps nothing of it
        }
        let volume = volume.clone();
        let spawned = process::spawn("trace", move || {
            if let Err(error) = self.try_to_send(&volume) {
                tracing::warn!("the trace was not sent: {error}");
            }
        });
        match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::warn!("the trace was not sent: {error}");
                None
            }
        }
    }

    fn try_to_send(&self, volume: &Volume) -> std::io::Result<()> {
        let record = record::of_files(volume)?;
        let source = Source { service: self.settings.service.clone(), attributes: self.settings.resource.clone() };
        let requests = view::traces(&record, &self.context, &source).map_err(std::io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sent = runtime.block_on(trace::export(&self.settings, &requests)).map_err(std::io::Error::other);
        runtime.shutdown_background(); // a name that nobody resolves is not waited for
        sent
    }
}

/// The variables of this environment that ask for traces; `None`: none do.
#[cfg(feature = "tools")]
pub(super) fn variables() -> Option<Vec<(String, String)>> {
    let is_quiet = Settings::read(|name| std::env::var(name).ok()).err() == Some(NotAsked::Quiet);
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    (!is_quiet).then(|| all.filter(|(name, _)| name.starts_with("OTEL_")).collect())
}

/// What asks the coordinator of a pod elsewhere for the trace of this run: the same variables, and what the run is a part of.
#[cfg(feature = "tools")]
pub(super) fn for_pod() -> Vec<(String, String)> {
    let parent = std::env::var(trace::PARAMETER).ok().map(|parent| (trace::PARAMETER.to_owned(), parent));
    variables().map_or_else(Vec::new, |variables| variables.into_iter().chain(parent).collect())
}

/// What this process is a part of, as the plan's parameter, unless the plan has one.
#[cfg(feature = "tools")]
pub(super) fn add_parameter(plan: &mut Plan) {
    if plan.parameters.iter().all(|parameter| parameter.name != trace::PARAMETER) {
        let value = std::env::var(trace::PARAMETER).unwrap_or_default();
        plan.parameters.push(Parameter { name: trace::PARAMETER.to_owned(), value });
    }
}

/// Each step that does not say otherwise gets its context of the trace.
#[cfg(feature = "tools")]
pub(super) fn hand_on(pod: &mut LocalPod, plan: &Plan) {
    for container in &mut pod.containers {
        let is_step = plan.steps.iter().any(|step| step.name == container.name);
        if is_step && container.env.iter().all(|(name, _)| name != trace::PARAMETER) {
            container.env.push((trace::PARAMETER.to_owned(), format!("$({})", trace::REFERENCE)));
        }
    }
}
