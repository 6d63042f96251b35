//! What the coordinator sees in the simulated pod where there are no bells: files' times, locks, witnesses of deaths.

use podturn::coordinator::{Link, Sight};
use podturn::volume::alive::{Holder, Stamp};
use podturn_turn::StepId;
use podturn_wire::InstanceId;
use podturn_wire::alive::lock_byte;

use crate::desk::Desk;
use crate::pod::Sighting;

/// A stamp, a holder and a touch are steps only where something new comes of them.
impl Sight for Desk<'_> {
    /// A process, by its place in the table.
    type Witness = usize;

    fn arrivals(&mut self) -> Vec<StepId> {
        std::mem::take(&mut self.pod.borrow_mut().arrivals)
    }

    fn stamp(&mut self, step: StepId) -> Option<Stamp> {
        let container = &mut self.pod.borrow_mut().containers[step.index()];
        container.report_seen = container.report_stamp;
        container.report.as_ref().map(|_| Stamp { inode: container.report_stamp, changed: (0, 0) })
    }

    fn holder(&mut self, step: StepId, instance: InstanceId) -> Holder {
        let byte = lock_byte(instance);
        let is_new = {
            let pod = self.pod.borrow();
            pod.lock(step.index()) != pod.containers[step.index()].holder_seen
        };
        if is_new {
            drop(self.act(|| format!("asks who has the lock of {instance} of s{}", step.0)));
        }
        let mut pod = self.pod.borrow_mut();
        let lock = pod.lock(step.index());
        pod.containers[step.index()].holder_seen = lock;
        match lock.filter(|(held, _)| *held == byte) {
            None => Holder::Nobody,
            Some((_, shim)) if pod.case.visible => Holder::Process(pod.processes[shim].pid),
            Some(_) => Holder::Process(0),
        }
    }

    fn beat(&mut self) {
        let mut pod = self.pod.borrow_mut();
        (0..pod.containers.len()).for_each(|step| pod.touch_turn(step));
    }

    fn witness(&mut self, pid: u32) -> Option<usize> {
        let pod = self.act(|| format!("opens a witness of {pid}"));
        (0..pod.processes.len()).find(|entry| pod.processes[*entry].pid == pid && pod.exists(*entry))
    }

    fn keep_seen(&mut self, step: StepId, process: Option<(u32, usize)>) -> Link {
        let mut pod = self.pod.borrow_mut();
        let witness = process.map(|(_, witness)| witness);
        let seen = Sighting { step: step.index(), witness, is_silent: false, hung_up: false };
        pod.busy_at = pod.now;
        // Numbers are used again.
        if let Some(free) = pod.sightings.iter().rposition(|seen| seen.hung_up) {
            pod.sightings[free] = seen;
            return Link(free as u32);
        }
        pod.sightings.push(seen);
        Link(pod.sightings.len() as u32 - 1)
    }

    fn note_silent(&mut self, link: Link, is_silent: bool) {
        self.pod.borrow_mut().sightings[link.0 as usize].is_silent = is_silent;
    }

    fn has_witness(&mut self, link: Link) -> bool {
        let seen = &self.pod.borrow().sightings[link.0 as usize];
        !seen.hung_up && seen.witness.is_some()
    }
}
