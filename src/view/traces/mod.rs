//! A run as a trace: a span for the run, for each step, for each attempt, and for each wait that is not the plan's own order.
//!
//! Names follow OpenTelemetry's semantic conventions for CI/CD spans and resources (version 1.37: `cicd.pipeline.*`,
//! `cicd.pipeline.task.*`, `error.type`, `process.exit.code`, `k8s.container.name`); what they have no name for is `podturn.*`.
//!
//! A step's span begins when its dependencies were met, and links to theirs. Its children are its attempts, and what else it waited
//! for.

mod words;

use podturn_turn::{Impossible, StepId};

use crate::history::{AttemptHistory, History, Moment, Record, Span as Piece, What};
use crate::trace::message::{
    ERROR, Event, INTERNAL, KeyValue, Link, Request, Resource, ResourceSpans, SERVER, Scope, ScopeSpans, Span, Status,
    Value,
};
use crate::trace::{Context, SpanId};
use crate::volume::published::Step;
use words::{outcome_result, reason_result, wait};

/// As many spans are in one request: collectors limit its size, at 4 MiB some of them.
const SPANS_MOST: usize = 2_000;

/// Of whom the spans are told to be.
#[derive(Clone, Debug)]
pub struct Source {
    /// `service.name`, which is the pipeline's name too.
    pub service: String,
    /// What else is known.
    pub attributes: Vec<(String, String)>,
}

/// The run's trace, in as many requests as it needs; none, if nothing has happened.
///
/// # Errors
/// When the record is damaged.
pub fn traces(record: &Record, context: &Context, source: &Source) -> Result<Vec<Request>, Impossible> {
    let Some(started) = record.started.and_then(|ms| u64::try_from(ms).ok()) else { return Ok(Vec::new()) };
    let history = History::of(record)?;
    let begin = started.saturating_mul(1_000_000);
    let spans = Spans { history: &history, context, begin, pipeline: &source.service }.all();
    let name = KeyValue::text("service.name", source.service.clone());
    let others = source.attributes.iter().map(|(key, value)| KeyValue::text(key, value.clone()));
    let resource = Resource { attributes: std::iter::once(name).chain(others).collect() };
    let scope = Scope { name: "podturn".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let request = |spans: &[Span]| {
        let scope_spans = vec![ScopeSpans { scope: Some(scope.clone()), spans: spans.to_vec() }];
        Request { resource_spans: vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }] }
    };
    Ok(spans.chunks(SPANS_MOST).map(request).collect())
}

struct Spans<'a> {
    history: &'a History,
    context: &'a Context,
    /// When the run began, in ns since 1970.
    begin: u64,
    pipeline: &'a str,
}

impl Spans<'_> {
    fn all(&self) -> Vec<Span> {
        let mut spans = vec![self.run()];
        for (index, step) in self.history.state.steps.iter().enumerate() {
            let id = StepId(index as u32);
            spans.push(self.step(id, step));
            let mut waits = 0;
            for piece in &self.history.steps[index].spans {
                match piece.what {
                    What::Attempt(place) => spans.push(self.attempt(id, step, place)),
                    // The order of the plan, and what is too short to be anybody's question.
                    What::Dependencies | What::Others | What::Handoff => {}
                    what => {
                        spans.push(self.wait(id, waits, piece, wait(what)));
                        waits += 1;
                    }
                }
            }
        }
        spans
    }

    fn span(&self, id: SpanId, parent: Option<SpanId>, name: String, from: Moment, to: Moment) -> Span {
        Span {
            trace_id: self.context.trace().to_vec(),
            span_id: id.to_vec(),
            parent_span_id: parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            name,
            kind: INTERNAL,
            start_time_unix_nano: self.begin + from,
            end_time_unix_nano: self.begin + to.max(from),
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: None,
            flags: 1,
        }
    }

    fn run(&self) -> Span {
        let state = &self.history.state;
        let parent = self.context.parent().map(|parent| parent.span);
        let name = format!("RUN {}", self.pipeline);
        let mut span = self.span(self.context.run_span(), parent, name, 0, self.history.end);
        span.kind = SERVER;
        span.attributes = vec![
            KeyValue::text("cicd.pipeline.name", self.pipeline),
            KeyValue::text("cicd.pipeline.action.name", "RUN"),
            KeyValue::text("cicd.pipeline.run.id", state.run.clone()),
        ];
        if let Some(outcome) = &state.outcome {
            span.attributes.push(KeyValue::text("cicd.pipeline.result", outcome_result(outcome)));
            span.attributes.push(KeyValue::text("podturn.outcome", outcome.clone()));
        }
        if state.outcome.as_deref() == Some("Failed") {
            let culprit = state.steps.iter().find(|step| step.phase == "Failed" && !step.allow_failure);
            let culprit = culprit.or_else(|| state.steps.iter().find(|step| step.phase == "Cancelled"));
            let (kind, message) = match culprit {
                Some(step) => (step.reason.clone().unwrap_or_default(), format!("{}: {}", step.name, step.message)),
                None => ("Failed".to_owned(), String::new()),
            };
            fail(&mut span, kind, message);
        }
        span
    }

    fn step(&self, id: StepId, step: &Step) -> Span {
        let history = &self.history.steps[id.index()];
        let to = history.ended.unwrap_or(self.history.end);
        let is_order = |piece: &&Piece| matches!(piece.what, What::Dependencies | What::Others);
        // Behind the last of them: a step may have to wait for a dependency again, as for a service that was lost.
        let first = history.spans.iter().take_while(is_order).map(|piece| piece.to).last();
        let from = first.unwrap_or_else(|| history.spans.first().map_or(to, |piece| piece.from));
        let parent = Some(self.context.run_span());
        let mut span = self.span(self.context.step_span(id), parent, format!("RUN {}", step.name), from, to);
        span.attributes = vec![
            KeyValue::text("cicd.pipeline.task.name", step.name.clone()),
            KeyValue::text("cicd.pipeline.task.run.id", format!("{}/{}", self.history.state.run, step.name)),
            KeyValue::text("k8s.container.name", step.name.clone()),
            KeyValue::text("podturn.phase", step.phase.clone()),
        ];
        if let Some(reason) = &step.reason {
            let result = reason_result(&step.phase, reason);
            span.attributes.push(KeyValue::text("cicd.pipeline.task.run.result", result));
            span.attributes.push(KeyValue::text("podturn.reason", reason.clone()));
        }
        if step.service {
            span.attributes.push(KeyValue::new("podturn.service", Value::Bool(true)));
        }
        if step.allow_failure {
            span.attributes.push(KeyValue::new("podturn.allow_failure", Value::Bool(true)));
        }
        span.links = self.history.plan.steps[id.index()].depends_on.iter().map(|on| self.link(*on)).collect();
        if step.phase == "Failed" {
            fail(&mut span, step.reason.clone().unwrap_or_default(), step.message.clone());
        }
        span
    }

    fn link(&self, on: podturn_turn::Dependency) -> Link {
        Link {
            trace_id: self.context.trace().to_vec(),
            span_id: self.context.step_span(on.step).to_vec(),
            attributes: vec![KeyValue::text("podturn.condition", format!("{:?}", on.condition))],
        }
    }

    fn attempt(&self, id: StepId, step: &Step, place: usize) -> Span {
        let attempt = &self.history.steps[id.index()].attempts[place];
        let own = self.context.attempt_span(id, attempt.number);
        let to = attempt.ended.unwrap_or(self.history.end);
        let parent = Some(self.context.step_span(id));
        let mut span = self.span(own, parent, format!("{} attempt", step.name), attempt.begun, to);
        span.attributes = self.of_attempt(step, attempt);
        let happened = [("ready", attempt.ready), ("stop signal", attempt.stopping)];
        let happened = happened.into_iter().filter_map(|(name, at)| Some((name, at?)));
        span.events =
            happened.map(|(name, at)| Event { time_unix_nano: self.begin + at, name: name.to_owned() }).collect();
        span.events.sort_by_key(|event| event.time_unix_nano);
        if let Some(reason) = attempt.reason.filter(|reason| words::is_failure(*reason)) {
            let told = step.attempts.iter().find(|told| told.attempt == attempt.number);
            let code = told.and_then(|told| told.exit_code);
            fail(&mut span, format!("{reason:?}"), code.map(|code| format!("exit code {code}")).unwrap_or_default());
        }
        span
    }

    fn of_attempt(&self, step: &Step, attempt: &AttemptHistory) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::text("cicd.pipeline.task.name", step.name.clone()),
            KeyValue::text("k8s.container.name", step.name.clone()),
            KeyValue::new("podturn.attempt", Value::Int(attempt.number.into())),
        ];
        if let Some(reason) = attempt.reason {
            attributes.push(KeyValue::text("podturn.reason", format!("{reason:?}")));
        }
        if let Some(code) = step.attempts.iter().find(|told| told.attempt == attempt.number).and_then(|it| it.exit_code)
        {
            attributes.push(KeyValue::new("process.exit.code", Value::Int(code.into())));
        }
        if let Some(usage) = attempt.end.map(|end| end.usage) {
            attributes.push(KeyValue::new("podturn.cpu.time", Value::Double(usage.cpu as f64 / 1_000.0)));
            let bytes = usage.max_rss.saturating_mul(1_024);
            attributes.push(KeyValue::new("podturn.memory.peak", Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))));
        }
        attributes
    }

    fn wait(&self, id: StepId, number: u32, piece: &Piece, name: &str) -> Span {
        let parent = Some(self.context.step_span(id));
        let mut span =
            self.span(self.context.wait_span(id, number), parent, format!("wait: {name}"), piece.from, piece.to);
        span.attributes = vec![
            KeyValue::text("cicd.pipeline.task.name", self.history.state.steps[id.index()].name.clone()),
            KeyValue::text("podturn.waits_for", name),
        ];
        span
    }
}

fn fail(span: &mut Span, kind: String, message: String) {
    span.attributes.push(KeyValue::text("error.type", kind));
    span.status = Some(Status { message, code: ERROR });
}

#[cfg(test)]
mod tests;
