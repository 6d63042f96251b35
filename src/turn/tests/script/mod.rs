//! The language of the stories.
//!
//! ```text
//! == A title, and a new run
//! plan onFailure=Drain maxParallel=2 pool=gpu:1 timeout=1h arrival=10m
//!   build
//!   test    after build            retry=2 backoff=10s causes=ExitCode codes=3 timeout=15m
//!   cleanup after build=Failed     allowFailure uses=gpu:1 success=0,3 restarts
//!   notify  finally
//! > start                           an event; `+5s` before it lets time pass first
//!   build Pending -> Granted        what changed: turns to write, phases, the next timer, the outcome
//! ```
//! Events: `start`, `reboot`, `arrive STEP..`, `begin STEP..`, `exit STEP CODE`, `killed STEP SIGNAL`, `oom STEP`,
//! `not-found STEP`, `not-started STEP`, `not-begun STEP`, `stop-signal STEP`, `lost STEP`, `deaf STEP`, `cancel`,
//! `ready STEP`, `unready STEP`, `not-ready STEP` (readiness), `true STEP`, `false STEP`, `no-value STEP` (its `when`),
//! `outputs STEP KEY=VALUE..`, and `refers=REFERENCE,..` at `arrive`,
//! `terminate TIME` (the pod is deleted), `pause`, `resume`, `retry STEP`, `skip STEP`, `approve STEP`, `stop STEP` (a person's requests),
//! `full`, `deadline` (time goes to the next timer). `last=1:0` is what a new instance remembers (`1:?`: begun, no end; `1:-`: not started),
//! `instance=1` or `attempt=1` speak of an older one, `at=5s` is the stamp of an end, `timed-out` and `survivors` are
//! what they say. `all` arrives every step. `>! ` is an event that has to be refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use podturn_turn::{
    Answer, Backoff, Cause, Condition, Decision, Dependency, Event, Kind, Millis, OnFailure, Outcome, Outputs, Phase,
    Plan, Pool, Probe, Probed, Readiness, Request, Restarts, Retry, State, Step, StepId, Time, Use,
};
use podturn_wire::{Ended, Exit, InstanceId, Last, RunId, StartStage, Then, Turn, Usage};

const RUN: RunId = RunId(7);
const MILLI: u64 = 1_000_000;
/// The plan's `gracePeriod`.
const GRACE: Millis = 10_000;

/// Plays every story of a file and returns the file as it should be.
pub(crate) fn play(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    let mut story: Option<Story> = None;
    while let Some(line) = lines.next() {
        if line.starts_with("plan") {
            let mut source = vec![line];
            while let Some(step) = lines.next_if(|next| next.starts_with("  ")) {
                source.push(step);
            }
            source.iter().for_each(|line| writeln!(out, "{line}").expect("a string takes it"));
            story.take().iter().for_each(Story::check_replay);
            story = Some(Story::new(parse_plan(&source)));
        } else if let Some(command) = line.strip_prefix('>') {
            while lines.next_if(|next| next.starts_with("  ")).is_some() {}
            let story = story.as_mut().unwrap_or_else(|| panic!("`{line}` comes before a plan"));
            writeln!(out, "{line}").expect("a string takes it");
            for effect in story.play(command) {
                writeln!(out, "  {effect}").expect("a string takes it");
            }
        } else {
            writeln!(out, "{line}").expect("a string takes it");
        }
    }
    story.iter().for_each(Story::check_replay);
    out
}

struct Story {
    state: State,
    now: Time,
    journal: Vec<Event>,
    /// Every turn that was written, in order.
    turns: Vec<(StepId, Turn)>,
    instances: BTreeMap<StepId, u64>,
    reports: u64,
    timer: Option<Time>,
    outcome: Option<Outcome>,
    question: Option<StepId>,
}

impl Story {
    fn new(plan: Plan) -> Self {
        Self {
            state: State::new(plan, RUN),
            now: 0,
            journal: Vec::new(),
            turns: Vec::new(),
            instances: BTreeMap::new(),
            reports: 0,
            timer: None,
            outcome: None,
            question: None,
        }
    }

    fn play(&mut self, command: &str) -> Vec<String> {
        let (refused, command) = command.strip_prefix('!').map_or((false, command), |rest| (true, rest));
        let mut words: Vec<&str> = command.split_whitespace().collect();
        if let Some(pause) = words[0].strip_prefix('+') {
            self.now += millis(pause) * MILLI;
            words.remove(0);
        }
        let phases = self.phases();
        let mut effects = Vec::new();
        for kind in self.kinds(words[0], &words[1..]) {
            let event = Event { seq: self.journal.len() as u64 + 1, at: self.now, kind };
            let before = self.snapshot();
            if let Kind::Requested { request } = event.kind {
                effects.push(match self.state.answer(request) {
                    Answer::Does(what) => format!("answer: {what}"),
                    Answer::Done(what) => format!("answer: nothing to do: {what}"),
                    Answer::No(why) => format!("answer: no: {why}"),
                });
            }
            match (self.state.next(&event), refused) {
                (Ok(()), false) => {
                    self.journal.push(event);
                    self.write_turns(&mut effects);
                }
                (Err(impossible), true) => {
                    assert_eq!(before, self.snapshot(), "a refused event changes nothing");
                    return vec![format!("impossible: {impossible}")];
                }
                (result, _) => panic!("`{command}`: {result:?}"),
            }
        }
        self.changes(&phases, &mut effects);
        effects
    }

    fn write_turns(&mut self, effects: &mut Vec<String>) {
        while let Some(step) = self.state.poll_turn() {
            let turn = self.state.turn_for(step);
            let values = turn.attempt.and_then(|_| self.state.replacements(step).ok()).unwrap_or_default();
            let with = if values.is_empty() { String::new() } else { format!(" with {}", values.join(", ")) };
            effects.push(format!("{} turn {}: {}{with}", self.name(step), turn.turn, said(&turn)));
            self.turns.push((step, turn));
        }
    }

    fn changes(&mut self, phases: &[Phase], effects: &mut Vec<String>) {
        for (step, (was, is)) in self.ids().zip(phases.iter().zip(self.phases())) {
            if *was != is {
                let view = self.state.view(step);
                let because = view.message.split_once(": ").map_or("", |(_, because)| because);
                let why = view.reason.map_or(String::new(), |reason| format!(" ({reason:?}: {because})"));
                effects.push(format!("{} {was:?} -> {is:?}{why}", self.name(step)));
            }
        }
        if self.question != self.state.question() {
            self.question = self.state.question();
            effects.extend(self.question.map(|step| format!("asks for the `when` of {}", self.name(step))));
        }
        let timer = self.state.next_deadline();
        if timer != self.timer {
            self.timer = timer;
            effects.push(timer.map_or("no timer".into(), |at| format!("timer at {}ms", at / MILLI)));
        }
        let outcome = self.state.outcome();
        if outcome != self.outcome {
            self.outcome = outcome;
            effects.push(format!("outcome {}", outcome.map_or("open again".into(), |outcome| format!("{outcome:?}"))));
        }
    }

    /// The same journal, through its JSON form and into a new state, gives the same turns with the same numbers.
    fn check_replay(&self) {
        let mut replayed = State::new(self.state.plan().clone(), RUN);
        let mut turns = Vec::new();
        for event in &self.journal {
            let line = serde_json::to_string(event).expect("an event has a JSON form");
            let event: Event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            replayed.next(&event).expect("what was possible once is possible again");
            while let Some(step) = replayed.poll_turn() {
                turns.push((step, replayed.turn_for(step)));
            }
        }
        assert_eq!(turns, self.turns, "replay gives the same turns");
        for step in self.ids() {
            assert_eq!(replayed.view(step), self.state.view(step));
        }
        assert_eq!(replayed.next_deadline(), self.state.next_deadline());
        assert_eq!(replayed.outcome(), self.state.outcome());
    }

    fn snapshot(&self) -> String {
        format!("{:?}", self.state)
    }

    fn ids(&self) -> impl Iterator<Item = StepId> + use<> {
        (0..self.state.plan().steps.len() as u32).map(StepId)
    }

    fn phases(&self) -> Vec<Phase> {
        self.ids().map(|step| self.state.phase(step)).collect()
    }

    fn name(&self, step: StepId) -> &str {
        &self.state.plan().steps[step.index()].name
    }

    fn id(&self, name: &str) -> StepId {
        self.ids().find(|step| self.name(*step) == name).unwrap_or_else(|| panic!("no step `{name}`"))
    }

    fn kinds(&mut self, verb: &str, words: &[&str]) -> Vec<Kind> {
        match verb {
            "start" => vec![Kind::CoordinatorStarted { rebooted: false }],
            "reboot" => {
                self.now = 1_000 * MILLI; // a clock that began anew
                vec![Kind::CoordinatorStarted { rebooted: true }]
            }
            "cancel" => vec![Kind::Requested { request: Request::Cancel }],
            "pause" => vec![Kind::Requested { request: Request::Pause }],
            "terminate" => vec![Kind::Requested { request: Request::Terminate { grace: millis(words[0]) } }],
            "resume" => vec![Kind::Requested { request: Request::Resume }],
            "full" => vec![Kind::VolumeFull],
            "deadline" => {
                self.now = self.now.max(self.state.next_deadline().expect("a timer is set"));
                vec![Kind::Deadline]
            }
            "arrive" | "begin" => {
                let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.contains('='));
                let steps: Vec<StepId> =
                    if names == ["all"] { self.ids().collect() } else { names.iter().map(|n| self.id(n)).collect() };
                steps.into_iter().map(|step| self.kind_of_step(verb, step, &options)).collect()
            }
            _ => {
                let step = self.id(words[0]);
                vec![self.kind_of_step(verb, step, &words[1..])]
            }
        }
    }

    fn kind_of_step(&mut self, verb: &str, step: StepId, options: &[&str]) -> Kind {
        let option = |key: &str| options.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        self.reports += 1;
        let report = self.reports;
        if verb == "arrive" {
            let life = self.instances.entry(step).or_default();
            *life = option("instance").map_or(*life + 1, |number| number.parse().expect("a number"));
            let instance = instance_id(step, *life);
            let last = option("last").map(|last| self.last(last));
            let references = option("refers").into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
            return Kind::Arrived { step, instance, report, last, references };
        }
        let life = option("instance").map(|number| number.parse().expect("a number"));
        let instance = instance_id(step, life.unwrap_or_else(|| self.instances.get(&step).copied().unwrap_or(0)));
        let view = self.state.view(step);
        let attempt = option("attempt").map_or(view.attempts, |number| number.parse().expect("a number"));
        let started_at = option("started").map_or(self.now, |at| millis(at) * MILLI);
        let at = option("at").map_or(self.now, |at| millis(at) * MILLI);
        let end = |exit| Kind::Ended {
            step,
            instance,
            report,
            attempt,
            started_at,
            ended: Ended { at, exit, timed_out: options.contains(&"timed-out"), usage: Usage::default() },
        };
        match verb {
            "begin" => Kind::Begun { step, instance, report, attempt, started_at },
            "exit" => end(Exit::Code(options[0].parse().expect("a code"))),
            "killed" => end(Exit::Signal { number: options[0].parse().expect("a signal"), oom: false }),
            "oom" => end(Exit::Signal { number: 9, oom: true }),
            "not-found" => end(Exit::StartError { stage: StartStage::Exec, errno: 2 }),
            "not-started" => end(Exit::NotStarted),
            "not-begun" => Kind::NotBegun { step, instance, attempt },
            "stop-signal" => Kind::StopSignal { step, instance, report, signal: 15 },
            "lost" => Kind::Lost { step, instance, survivors: options.contains(&"survivors") },
            "deaf" => Kind::Deaf { step, instance },
            "ready" => Kind::Probed {
                step,
                instance,
                report,
                attempt,
                probed_at: at,
                readiness: Probed::Ready,
                why: String::new(),
            },
            "unready" => Kind::Probed {
                step,
                instance,
                report,
                attempt,
                probed_at: at,
                readiness: Probed::Unready,
                why: String::new(),
            },
            "not-ready" => Kind::Probed {
                step,
                instance,
                report,
                attempt,
                probed_at: at,
                readiness: Probed::NotReady,
                why: String::new(),
            },
            "outputs" => {
                let pairs = options.iter().filter_map(|word| word.split_once('='));
                let values = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                Kind::Outputs { step, attempt: view.attempts, outputs: Outputs { values, ..Outputs::default() } }
            }
            "true" => Kind::Decided { step, decision: Decision::Run },
            "false" => Kind::Decided { step, decision: Decision::Skip },
            "no-value" => Kind::Decided { step, decision: Decision::Error("no such key: branch".into()) },
            "retry" => Kind::Requested { request: Request::Retry { step, attempt } },
            "skip" => Kind::Requested { request: Request::Skip { step, attempt } },
            "approve" => Kind::Requested { request: Request::Approve { step } },
            "stop" => Kind::Requested { request: Request::Stop { step, attempt } },
            _ => panic!("no event `{verb}`"),
        }
    }

    /// `1:0`, `1:?`, `1:-`
    fn last(&self, text: &str) -> Last {
        let (attempt, end) = text.split_once(':').expect("attempt:code");
        let exit = if end == "-" { Some(Exit::NotStarted) } else { end.parse().ok().map(Exit::Code) };
        let ended = exit.map(|exit| Ended { at: self.now, exit, timed_out: false, usage: Usage::default() });
        Last { attempt: attempt.parse().expect("a number"), started_at: self.now, ended }
    }
}

fn instance_id(step: StepId, life: u64) -> InstanceId {
    InstanceId(u64::from(step.0) * 1000 + life)
}

fn said(turn: &Turn) -> String {
    // Only the deletion of the pod changes it.
    let grace = if turn.grace == GRACE { String::new() } else { format!(", grace {}ms", turn.grace) };
    match (&turn.attempt, &turn.then) {
        (Some(attempt), _) => format!("attempt {attempt}{grace}"),
        (None, Then::Stay) => format!("stay{grace}"),
        (None, Then::Park) => "park".into(),
        (None, Then::Exit { code, message }) => format!("exit {code}, \"{}\"", message.as_str()),
    }
}

fn parse_plan(lines: &[&str]) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        max_parallel: None,
        pools: Vec::new(),
        timeout: None,
        on_failure: OnFailure::Continue,
        grace_period: GRACE,
        arrival_timeout: 600_000,
        coordinator_grace: 900_000,
        pause_timeout: None,
        long_running: false,
        parameters: Vec::new(),
    };
    for word in lines[0].split_whitespace().skip(1) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("maxParallel", n) => plan.max_parallel = Some(n.parse().expect("a number")),
            ("pool", pool) => {
                let (name, capacity) = pool.split_once(':').expect("name:capacity");
                plan.pools.push(Pool { name: name.into(), capacity: capacity.parse().expect("a number") });
            }
            ("timeout", limit) => plan.timeout = Some(millis(limit)),
            ("arrival", limit) => plan.arrival_timeout = millis(limit),
            ("onFailure", "Continue") => plan.on_failure = OnFailure::Continue,
            ("onFailure", "Drain") => plan.on_failure = OnFailure::Drain,
            ("pauseTimeout", limit) => plan.pause_timeout = Some(millis(limit)),
            ("longRunning", _) => plan.long_running = true,
            ("onFailure", "Pause") => plan.on_failure = OnFailure::Pause,
            ("onFailure", "Cancel") => plan.on_failure = OnFailure::Cancel,
            (word, _) => panic!("no plan option `{word}`"),
        }
    }
    let names: Vec<&str> = lines[1..].iter().map(|line| line.split_whitespace().next().expect("a name")).collect();
    for line in &lines[1..] {
        let step = parse_step(line, &names, &plan.pools);
        plan.steps.push(step);
    }
    plan
}

fn parse_step(line: &str, names: &[&str], pools: &[Pool]) -> Step {
    let mut words = line.split_whitespace();
    let mut step = Step {
        name: words.next().expect("a name").into(),
        depends_on: Vec::new(),
        retry: Retry {
            limit: 0,
            backoff: Backoff { duration: 0, factor_milli: 2000, cap: None, jitter_milli: 0 },
            causes: Cause::ALL.to_vec(),
            exit_codes: Vec::new(),
        },
        success_exit_codes: vec![0],
        timeout: None,
        allow_failure: false,
        finally: false,
        uses: Vec::new(),
        stop_signal: 15,
        restarts: Restarts::Never,
        termination_log: String::new(),
        service: false,
        readiness: None,
        when: None,
        approval: None,
    };
    let codes = |list: &str| list.split(',').map(|code| code.parse().expect("a code")).collect();
    while let Some(word) = words.next() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("after", _) => {
                let list = words.next().expect("what it comes after");
                step.depends_on = list.split(',').map(|dependency| parse_dependency(dependency, names)).collect();
            }
            ("retry", n) => step.retry.limit = n.parse().expect("a number"),
            ("backoff", wait) => step.retry.backoff.duration = millis(wait),
            ("causes", list) => step.retry.causes = list.split(',').map(cause).collect(),
            ("codes", list) => step.retry.exit_codes = codes(list),
            ("success", list) => step.success_exit_codes = codes(list),
            ("timeout", limit) => step.timeout = Some(millis(limit)),
            ("allowFailure", _) => step.allow_failure = true,
            ("finally", _) => step.finally = true,
            ("service", _) => step.service = true,
            ("readiness", _) => step.readiness = Some(readiness()),
            ("when", _) => step.when = Some("steps.a.outputs.branch == 'main'".into()),
            ("approval", message) => step.approval = Some(message.replace('-', " ")),
            ("restarts", "") => step.restarts = Restarts::Always,
            ("restarts", "killed") => step.restarts = Restarts::WhenKilled,
            ("uses", list) => step.uses = list.split(',').map(|part| parse_use(part, pools)).collect(),
            (word, _) => panic!("no step option `{word}`"),
        }
    }
    step
}

fn parse_dependency(text: &str, names: &[&str]) -> Dependency {
    let (name, condition) = text.split_once('=').unwrap_or((text, "Succeeded"));
    let place = names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no step `{name}`"));
    let condition = match condition {
        "Started" => Condition::Started,
        "Ready" => Condition::Ready,
        "Succeeded" => Condition::Succeeded,
        "Failed" => Condition::Failed,
        "Completed" => Condition::Completed,
        other => panic!("no condition `{other}`"),
    };
    Dependency { step: StepId(u32::try_from(place).expect("a small plan")), condition }
}

/// What is probed, and how often, is nothing to the core.
fn readiness() -> Readiness {
    Readiness {
        probe: Probe::File { path: "/ready".into() },
        initial_delay_seconds: 0,
        period_seconds: 10,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 3,
    }
}

fn parse_use(text: &str, pools: &[Pool]) -> Use {
    let (name, units) = text.split_once(':').expect("pool:units");
    let pool = pools.iter().position(|pool| pool.name == name).unwrap_or_else(|| panic!("no pool `{name}`"));
    Use { pool: u32::try_from(pool).expect("few pools"), units: units.parse().expect("a number") }
}

fn cause(name: &str) -> Cause {
    *Cause::ALL.iter().find(|cause| format!("{cause:?}") == name).unwrap_or_else(|| panic!("no cause `{name}`"))
}

fn millis(text: &str) -> Millis {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: Millis = text[..text.len() - unit.len()].parse().expect("a number");
    number
        * match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            other => panic!("no unit `{other}`"),
        }
}
