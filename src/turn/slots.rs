//! `maxParallel` and pools: who may run now.
//!
//! A service takes no slot: the units of all services are put aside for the whole run, and a service that is due gets its
//! turn at once.
//!
//! Steps that ask for the same units stand in one line, so that a step that does not fit costs one look however many
//! stand behind it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::{Plan, StepId};

/// What is free, and who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// `None`: no limit.
    free_attempts: Option<u32>,
    free_units: Vec<u32>,
    lines: Vec<Line>,
    /// For each step, its line.
    line_of: Vec<usize>,
    /// The first of every line that is not empty, so that plan order is the order of this set.
    heads: BTreeSet<(StepId, usize)>,
    /// For each step, whether it is a service.
    services: Vec<bool>,
    /// Services that are due.
    due: BTreeSet<StepId>,
}

/// The waiting steps that need just these units.
#[derive(Clone, Debug)]
struct Line {
    /// (pool, units), each pool once.
    needs: Vec<(usize, u32)>,
    waiting: BTreeSet<StepId>,
}

impl Slots {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut lines: Vec<Line> = Vec::new();
        let mut known: BTreeMap<Vec<(usize, u32)>, usize> = BTreeMap::new();
        let line_of = plan
            .steps
            .iter()
            .map(|step| {
                let mut units: BTreeMap<usize, u32> = BTreeMap::new();
                for wanted in &step.uses {
                    let sum = units.entry(wanted.pool as usize).or_default();
                    *sum = sum.saturating_add(wanted.units);
                }
                let needs: Vec<(usize, u32)> = units.into_iter().collect();
                *known.entry(needs.clone()).or_insert_with(|| {
                    lines.push(Line { needs, waiting: BTreeSet::new() });
                    lines.len() - 1
                })
            })
            .collect();
        let mut free_units: Vec<u32> = plan.pools.iter().map(|pool| pool.capacity).collect();
        for wanted in plan.steps.iter().filter(|step| step.service).flat_map(|step| &step.uses) {
            let free = &mut free_units[wanted.pool as usize];
            *free = free.saturating_sub(wanted.units);
        }
        Self {
            free_attempts: plan.max_parallel,
            free_units,
            lines,
            line_of,
            heads: BTreeSet::new(),
            services: plan.steps.iter().map(|step| step.service).collect(),
            due: BTreeSet::new(),
        }
    }

    /// Puts a step in its line, or takes it out; the same twice does nothing.
    pub(crate) fn set_waiting(&mut self, step: StepId, waits: bool) {
        if self.services[step.index()] {
            if waits {
                self.due.insert(step)
            } else {
                self.due.remove(&step)
            };
            return;
        }
        let index = self.line_of[step.index()];
        let line = &mut self.lines[index].waiting;
        let head = line.first().copied();
        let changed = if waits { line.insert(step) } else { line.remove(&step) };
        let new_head = line.first().copied();
        if changed && head != new_head {
            if let Some(head) = head {
                self.heads.remove(&(head, index));
            }
            if let Some(head) = new_head {
                self.heads.insert((head, index));
            }
        }
    }

    /// The first waiting step that fits, which then holds its slot; and how many lines were looked at.
    pub(crate) fn take_next(&mut self) -> (Option<StepId>, u64) {
        if let Some(service) = self.due.pop_first() {
            return (Some(service), 1);
        }
        if self.free_attempts == Some(0) {
            return (None, 0);
        }
        let mut looks = 0;
        let fitting = self.heads.iter().find(|(_, line)| {
            looks += 1;
            self.lines[*line].needs.iter().all(|(pool, units)| self.free_units[*pool] >= *units)
        });
        let Some(&(step, line)) = fitting else { return (None, looks) };
        for (pool, units) in &self.lines[line].needs {
            self.free_units[*pool] -= units;
        }
        if let Some(free) = &mut self.free_attempts {
            *free -= 1;
        }
        self.set_waiting(step, false);
        (Some(step), looks)
    }

    /// Gives back what the step holds.
    pub(crate) fn give_back(&mut self, step: StepId) {
        if self.services[step.index()] {
            return;
        }
        for (pool, units) in &self.lines[self.line_of[step.index()]].needs {
            self.free_units[*pool] += units;
        }
        if let Some(free) = &mut self.free_attempts {
            *free += 1;
        }
    }

    /// What is free of a pool.
    pub(crate) fn free_units(&self, pool: usize) -> u32 {
        self.free_units[pool]
    }

    #[cfg(debug_assertions)]
    pub(crate) fn is_waiting(&self, step: StepId) -> bool {
        self.due.contains(&step) || self.lines[self.line_of[step.index()]].waiting.contains(&step)
    }
}
