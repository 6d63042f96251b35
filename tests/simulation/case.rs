//! What is played: a plan, what its commands do, and how its pod is made.

use podturn_turn::{Backoff, Cause, Condition, Dependency, OnFailure, Plan, Restarts, Retry, Step, StepId};
use podturn_wire::Exit;

use crate::chooser::Dice;
use crate::pod::{MILLISECOND, SECOND};

/// What one attempt's command does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// How it ends by itself. `StartError`: it cannot be started.
    pub(crate) exit: Exit,
    /// After how long, in ns.
    pub(crate) takes: u64,
    /// What SIGTERM does to it.
    pub(crate) at_term: AtTerm,
    /// What it leaves behind.
    pub(crate) leaves: Leaves,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtTerm {
    Dies,
    Ignores,
    /// Ends with code 0, as a polite server does.
    EndsWell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Nothing,
    /// A descendant that outlives its shim until somebody ends it.
    Daemon,
    /// One that not even SIGKILL ends for a long time (a stuck disk).
    Stuck,
}

/// How shims and coordinator hear of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// By sockets.
    Bells,
    /// By looking, as `--bell file` has it.
    Looks {
        /// The coordinator sees the shims' locks; no if the runtime keeps them within a container.
        locks: bool,
        /// inotify(7) tells it of reports.
        early: bool,
    },
}

/// One thing to play.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) plan: Plan,
    /// By step, then by attempt; the last one stands for all after it.
    pub(crate) scripts: Vec<Vec<Script>>,
    /// When each step's container comes, in ns.
    pub(crate) comes_at: Vec<u64>,
    /// The coordinator sees the shims' processes (a shared process namespace, or the local pod).
    pub(crate) visible: bool,
    /// ... and may end them.
    pub(crate) may_kill: bool,
    /// Another run has left reports in the mailboxes.
    pub(crate) leftovers: bool,
    pub(crate) hearing: Hearing,
}

pub(crate) const SUCCEEDS: Script =
    Script { exit: Exit::Code(0), takes: SECOND, at_term: AtTerm::Dies, leaves: Leaves::Nothing };
pub(crate) const FAILS: Script = Script { exit: Exit::Code(3), ..SUCCEEDS };

fn step(name: &str, restarts: bool, retries: u32) -> Step {
    Step {
        name: name.to_owned(),
        depends_on: Vec::new(),
        retry: Retry {
            limit: retries,
            backoff: Backoff { duration: 1_000, factor_milli: 1_000, cap: None, jitter_milli: 0 },
            causes: Cause::ALL.to_vec(),
            exit_codes: Vec::new(),
        },
        success_exit_codes: vec![0],
        timeout: None,
        allow_failure: false,
        finally: false,
        uses: Vec::new(),
        stop_signal: 15,
        restarts: if restarts { Restarts::Always } else { Restarts::Never },
        termination_log: String::new(),
        service: false,
        readiness: None,
        when: None,
        approval: None,
    }
}

fn plan(steps: Vec<Step>) -> Plan {
    Plan {
        steps,
        max_parallel: None,
        pools: Vec::new(),
        timeout: None,
        on_failure: OnFailure::Continue,
        grace_period: 10_000,
        arrival_timeout: 120_000,
        coordinator_grace: 20_000,
        pause_timeout: None,
        long_running: false,
        parameters: Vec::new(),
    }
}

impl Case {
    /// One step, that fails at first.
    pub(crate) fn one(restarts: bool) -> Self {
        let name = if restarts { "one-restarts" } else { "one" };
        Self::small(name, plan(vec![step("a", restarts, 1)]), vec![vec![FAILS, SUCCEEDS]])
    }

    /// b after a.
    pub(crate) fn two(restarts: bool) -> Self {
        let name = if restarts { "two-restarts" } else { "two" };
        let mut steps = vec![step("a", restarts, 1), step("b", restarts, 1)];
        steps[1].depends_on.push(Dependency { step: StepId(0), condition: Condition::Succeeded });
        Self::small(name, plan(steps), vec![vec![SUCCEEDS], vec![SUCCEEDS]])
    }

    fn small(name: &str, plan: Plan, scripts: Vec<Vec<Script>>) -> Self {
        let comes_at = vec![0; plan.steps.len()];
        Self {
            name: name.to_owned(),
            plan,
            scripts,
            comes_at,
            visible: true,
            may_kill: true,
            leftovers: true,
            hearing: Hearing::Bells,
        }
    }

    /// The small ones, each searched through completely within its bound.
    pub(crate) fn all_small() -> Vec<Self> {
        let deaf = Self { name: "one-deaf".to_owned(), may_kill: false, ..Self::one(false) };
        let looks = |locks, early| Hearing::Looks { locks, early };
        vec![
            Self::one(false),
            Self::one(true),
            deaf.clone(),
            Self::two(false),
            Self::two(true),
            Self::one(false).in_file_mode(looks(true, false)),
            Self::one(true).in_file_mode(looks(true, true)),
            deaf.in_file_mode(looks(false, false)),
            Self::two(false).in_file_mode(looks(true, true)),
            Self::two(true).in_file_mode(looks(true, false)),
        ]
    }

    /// The same without bells. Where not even locks are seen, no process is.
    fn in_file_mode(self, hearing: Hearing) -> Self {
        let sees = matches!(hearing, Hearing::Looks { locks: true, .. });
        let (visible, may_kill) = (self.visible && sees, self.may_kill && sees);
        Self { name: format!("{}-file", self.name), hearing, visible, may_kill, ..self }
    }

    /// The coordinator has the kernel's word for whether a shim lives.
    pub(crate) fn shows_deaths(&self) -> bool {
        self.visible || matches!(self.hearing, Hearing::Looks { locks: true, .. })
    }

    pub(crate) fn has_bells(&self) -> bool {
        self.hearing == Hearing::Bells
    }

    /// Whether the case of this seed has bells: odd ones do.
    pub(crate) fn has_seed_bells(seed: u64) -> bool {
        !seed.is_multiple_of(2)
    }

    /// The plan of a seed: 1 to 8 steps.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let count = 1 + dice.below(8);
        let steps: Vec<Step> = (0..count).map(|index| random_step(&mut dice, index)).collect();
        let mut plan = plan(steps);
        plan.max_parallel = dice.is_one_in(4).then(|| 1 + dice.below(3) as u32);
        plan.timeout = dice.is_one_in(8).then(|| 1_000 + dice.below(30_000) as u64);
        plan.on_failure = [OnFailure::Continue, OnFailure::Drain, OnFailure::Cancel][dice.below(3)];
        let scripts = (0..count).map(|_| (0..3).map(|_| random_script(&mut dice)).collect()).collect();
        let comes_at = (0..count).map(|_| [0, 0, 0, 50 * MILLISECOND, 5 * SECOND, 200 * SECOND][dice.below(6)]);
        let comes_at = comes_at.collect();
        let visible = !dice.is_one_in(4);
        let may_kill = visible && !dice.is_one_in(3);
        let leftovers = dice.is_one_in(2);
        let hearing = Hearing::Bells;
        let name = format!("seed:{seed}");
        let case = Self { name: name.clone(), plan, scripts, comes_at, visible, may_kill, leftovers, hearing };
        if Self::has_seed_bells(seed) {
            return case;
        }
        let hearing = Hearing::Looks { locks: !dice.is_one_in(3), early: dice.is_one_in(2) };
        Self { name, ..case.in_file_mode(hearing) }
    }

    /// By its name, as failures print it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.strip_prefix("seed:") {
            Some(seed) => seed.parse().ok().map(Self::of_seed),
            None => Self::all_small().into_iter().find(|case| case.name == name),
        }
    }

    pub(crate) fn script(&self, step: usize, attempt: u32) -> Script {
        let scripts = &self.scripts[step];
        scripts[(attempt as usize - 1).min(scripts.len() - 1)]
    }
}

fn random_step(dice: &mut Dice, index: usize) -> Step {
    let restarts = dice.is_one_in(3);
    let retries = dice.below(3) as u32;
    let mut step = step(&format!("s{index}"), restarts, retries);
    step.allow_failure = dice.is_one_in(6);
    step.timeout = dice.is_one_in(6).then(|| 500 + dice.below(3_000) as u64);
    for earlier in 0..index {
        if dice.is_one_in(3) {
            let condition = [
                Condition::Succeeded,
                Condition::Succeeded,
                Condition::Succeeded,
                Condition::Completed,
                Condition::Failed,
                Condition::Started,
            ][dice.below(6)];
            step.depends_on.push(Dependency { step: StepId(earlier as u32), condition });
        }
    }
    step
}

fn random_script(dice: &mut Dice) -> Script {
    let exit = match dice.below(8) {
        0..5 => Exit::Code(0),
        5 | 6 => Exit::Code(3),
        _ => Exit::StartError { stage: podturn_wire::StartStage::Exec, errno: 2 },
    };
    Script {
        exit,
        takes: [MILLISECOND, SECOND, 4 * SECOND][dice.below(3)],
        at_term: [AtTerm::Dies, AtTerm::Dies, AtTerm::Ignores, AtTerm::EndsWell][dice.below(4)],
        leaves: [Leaves::Nothing, Leaves::Nothing, Leaves::Daemon, Leaves::Stuck][dice.below(4)],
    }
}
