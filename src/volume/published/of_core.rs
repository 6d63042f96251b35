//! The view of a run, made of the core's state.
//!
//! Belongs here: what of the core is shown, and in which words. Does not belong here: its form (`super`).

use podturn_turn::{Attempt, Condition, Outcome, Phase, Probe, Reason, State as Core, StepId, StepView, Time, Waits};
use podturn_wire::{Ended, Exit, VERSION};

use super::{AttemptView, Dependency, Pool, State, Step, WallClock};
use crate::volume::usage::Peaks;

impl State {
    /// The view of a core's state.
    #[must_use]
    pub fn of(core: &Core, clock: WallClock) -> Self {
        let plan = core.plan();
        let steps: Vec<Step> = (0..plan.steps.len() as u32).map(|index| Step::of(core, StepId(index), clock)).collect();
        let ends = (0..plan.steps.len() as u32).filter_map(|index| core.ended_at(StepId(index)));
        let pools = plan.pools.iter().enumerate().map(|(index, pool)| Pool {
            name: pool.name.clone(),
            capacity: pool.capacity,
            in_use: core.pool_in_use(index),
        });
        Self {
            version: VERSION,
            run: core.run().to_string(),
            seq: core.seq(),
            outcome: core.outcome().map(outcome_word),
            started_at: core.first_start().map(|at| clock.show(at)),
            ended_at: core.outcome().and_then(|_| ends.max()).map(|at| clock.show(at)),
            paused: core.is_paused(),
            steps,
            max_parallel: plan.max_parallel,
            pools: pools.collect(),
        }
    }
}

impl Step {
    fn of(core: &Core, id: StepId, clock: WallClock) -> Self {
        let (plan, view) = (core.plan(), core.view(id));
        let step = &plan.steps[id.index()];
        let depends_on = step.depends_on.iter().map(|dependency| Dependency {
            step: plan.steps[dependency.step.index()].name.clone(),
            condition: condition_word(dependency.condition),
            met: core.is_met(*dependency),
        });
        let uses = step.uses.iter().map(|wanted| (plan.pools[wanted.pool as usize].name.clone(), wanted.units));
        let show = |at: Option<Time>| at.map(|at| clock.show(at));
        Self {
            name: step.name.clone(),
            phase: phase_word(view.phase),
            reason: view.reason.map(reason_word),
            waits_for: core.waits_for(id).map(waits_word),
            depends_on: depends_on.collect(),
            service: step.service,
            readiness: step.readiness.as_ref().map(|readiness| probe_words(&readiness.probe)),
            probe_failures: None,
            when: step.when.clone(),
            approval: step.approval.clone(),
            uses: uses.collect(),
            finally: step.finally,
            allow_failure: step.allow_failure,
            arrived: view.arrived,
            instance: view.instance.map(|instance| instance.to_string()),
            turn: core.turn_for(id).turn,
            attempt: view.attempts,
            usage: None,
            unseen: false,
            due_at: show(view.due_at),
            started_at: show(view.started_at),
            ready_at: show(view.ready_at),
            ended_at: show(view.ended_at),
            duration_ms: duration(&view),
            next_attempt_at: show(view.next_attempt_at),
            exit_code: view.last_end.and_then(exit_code),
            container_exit_code: view.container_exit_code,
            attempts: view.history.iter().map(|attempt| AttemptView::of(attempt, clock)).collect(),
            message: view.message,
            outputs: view.outputs.values,
            outputs_refused: view.outputs.refused,
        }
    }
}

impl AttemptView {
    fn of(attempt: &Attempt, clock: WallClock) -> Self {
        let signal = attempt.ended.and_then(|ended| match ended.exit {
            Exit::Signal { number, .. } => Some(number),
            _ => None,
        });
        Self {
            attempt: attempt.number,
            reason: reason_word(attempt.reason),
            started_at: attempt.started_at.map(|at| clock.show(at)),
            ended_at: clock.show(attempt.ended_at),
            exit_code: attempt.ended.and_then(exit_code),
            signal,
            cpu_ms: attempt.ended.map(|ended| ended.usage.cpu),
            max_rss_kib: attempt.ended.map(|ended| ended.usage.max_rss),
            peak_rss_kib: None,
            processes: None,
            read_bytes: None,
            write_bytes: None,
        }
    }

    /// What was seen while it ran, beside what its shim said at its end.
    pub fn add_usage(&mut self, peaks: &Peaks) {
        self.peak_rss_kib = Some(peaks.rss_kib);
        self.processes = Some(peaks.processes);
        self.read_bytes = peaks.read_bytes;
        self.write_bytes = peaks.write_bytes;
    }
}

fn duration(view: &StepView) -> Option<u64> {
    let (started, ended) = (view.started_at?, view.ended_at?);
    Some(ended.saturating_sub(started) / 1_000_000)
}

/// An attempt that was called back before its command was started has none.
fn exit_code(ended: Ended) -> Option<u8> {
    (ended.exit != Exit::NotStarted).then(|| ended.exit.code())
}

/// As a manifest says it, in one line. Without a host it is the pod itself.
fn probe_words(probe: &Probe) -> String {
    match probe {
        Probe::Exec { command } => format!("exec {}", in_short(&command.join(" "))),
        Probe::HttpGet { host, port, path, https: _, headers: _ } => format!("httpGet {host}:{port}{path}"),
        Probe::TcpSocket { host, port } => format!("tcpSocket {host}:{port}"),
        Probe::Grpc { port, service } if service.is_empty() => format!("grpc :{port}"),
        Probe::Grpc { port, service } => format!("grpc :{port} {service}"),
        Probe::File { path } => format!("file {path}"),
        Probe::Log { contains } => format!("log {}", in_short(contains)),
    }
}

/// The beginning of what may be a whole script: its first line.
fn in_short(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.trim_start().lines().next().unwrap_or_default();
    let short = &line[..line.floor_char_boundary(LONGEST)];
    if short.len() == text.len() { short.to_owned() } else { format!("{} ...", short.trim_end()) }
}

// The words are the names of the variants: the same as in the journal and in messages.
fn phase_word(phase: Phase) -> String {
    format!("{phase:?}")
}

fn waits_word(waits: Waits) -> String {
    match waits {
        Waits::Dependencies(_) => "Dependencies".to_owned(),
        other => format!("{other:?}"),
    }
}

fn reason_word(reason: Reason) -> String {
    format!("{reason:?}")
}

fn condition_word(condition: Condition) -> String {
    format!("{condition:?}")
}

fn outcome_word(outcome: Outcome) -> String {
    format!("{outcome:?}")
}
