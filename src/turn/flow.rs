//! The largest weight of steps of which none has to end before another one starts: the maximum-weight antichain of an order.
//!
//! By Dilworth's theorem, with weights, it is what is left of the sum of all weights after as many pairs 'x ends before y
//! starts' as the weights allow: a maximum flow from the ends of steps to the starts of steps. The order is never written out
//! pair by pair: a start passes on what comes to it to the starts that follow it, so the network has as many arcs as the plan
//! has dependencies. The flow is found by Dinic's algorithm, and a minimum cut of it names the steps.
//!
//! Belongs here: orders and weights. Does not belong here: plans, and why one step comes before another (`sizing.rs`).

use alloc::vec;
use alloc::vec::Vec;

/// No limit. Far above every sum of weights, and far from the end of the type.
const ENDLESS: u128 = u128::MAX >> 2;

const SOURCE: usize = 0;
const SINK: usize = 1;

/// An order of items `0..count`, as a network.
#[derive(Debug)]
pub(crate) struct Order {
    count: usize,
    /// Arc `2n` and its way back `2n + 1`: where it leads, and what it takes at first (weights are filled in).
    heads: Vec<usize>,
    capacities: Vec<u128>,
    /// For each node, its arcs.
    arcs: Vec<Vec<usize>>,
}

/// The heaviest antichain for one choice of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heaviest {
    pub(crate) weight: u128,
    /// In the items' order; items of weight 0 are not in it.
    pub(crate) items: Vec<usize>,
}

impl Order {
    pub(crate) fn new(count: usize) -> Self {
        let mut order =
            Self { count, heads: Vec::new(), capacities: Vec::new(), arcs: vec![Vec::new(); 2 * (count + 1)] };
        (0..count).for_each(|item| order.arc(SOURCE, order.end_of(item), 0));
        (0..count).for_each(|item| order.arc(order.start_of(item), SINK, 0));
        order
    }

    /// A further start, of no item, that others may go through.
    pub(crate) fn gate(&mut self) -> usize {
        self.arcs.push(Vec::new());
        self.arcs.len() - 1
    }

    pub(crate) const fn end_of(&self, item: usize) -> usize {
        2 + item
    }

    pub(crate) const fn start_of(&self, item: usize) -> usize {
        2 + self.count + item
    }

    /// What is over or has begun at `from` (an end or a start) is so before `to` (a start). Whoever adds an arc from an end adds
    /// one from the same item's start: an order goes on from step to step.
    pub(crate) fn before(&mut self, from: usize, to: usize) {
        self.arc(from, to, ENDLESS);
    }

    /// How much one question costs, in arcs.
    pub(crate) fn size(&self) -> usize {
        self.heads.len() / 2
    }

    fn arc(&mut self, from: usize, to: usize, capacity: u128) {
        self.arcs[from].push(self.heads.len());
        self.arcs[to].push(self.heads.len() + 1);
        self.heads.extend([to, from]);
        self.capacities.extend([capacity, 0]);
    }

    /// The heaviest antichain.
    pub(crate) fn heaviest(&self, weights: &[u128]) -> Heaviest {
        let mut free = self.capacities.clone();
        for (item, weight) in weights.iter().enumerate() {
            free[2 * item] = *weight; // from the source
            free[2 * (self.count + item)] = *weight; // to the sink
        }
        let mut flow = 0;
        let depths = loop {
            let depths = self.depths(&free);
            if depths[SINK].is_none() {
                break depths;
            }
            flow += self.fill(&mut free, &depths);
        };
        // The cut: an item is in the antichain whose end could take more, and to whose start nothing more comes.
        let in_it = |item: &usize| depths[self.end_of(*item)].is_some() && depths[self.start_of(*item)].is_none();
        let items: Vec<usize> = (0..self.count).filter(in_it).collect();
        let weight = weights.iter().sum::<u128>() - flow;
        debug_assert_eq!(weight, items.iter().map(|item| weights[*item]).sum::<u128>(), "the order is transitive");
        Heaviest { weight, items }
    }

    /// How many arcs each node is away from the source, where something is free.
    fn depths(&self, free: &[u128]) -> Vec<Option<u32>> {
        let mut depths = vec![None; self.arcs.len()];
        depths[SOURCE] = Some(0);
        let (mut queue, mut next) = (vec![SOURCE], 0);
        while let Some(&node) = queue.get(next) {
            next += 1;
            for &arc in &self.arcs[node] {
                let head = self.heads[arc];
                if free[arc] > 0 && depths[head].is_none() {
                    depths[head] = depths[node].map(|depth: u32| depth + 1);
                    queue.push(head);
                }
            }
        }
        depths
    }

    /// A blocking flow along arcs that lead one deeper. Returns what reached the sink.
    fn fill(&self, free: &mut [u128], depths: &[Option<u32>]) -> u128 {
        let mut tried = vec![0; self.arcs.len()];
        let (mut path, mut total): (Vec<usize>, u128) = (Vec::new(), 0);
        loop {
            let node = path.last().map_or(SOURCE, |arc| self.heads[*arc]);
            if node == SINK {
                let least = path.iter().map(|arc| free[*arc]).min().unwrap_or(0);
                for arc in &path {
                    free[*arc] -= least;
                    free[*arc ^ 1] += least;
                }
                total += least;
                // On from the first arc that is full now.
                let full = path.iter().position(|arc| free[*arc] == 0).unwrap_or(0);
                path.truncate(full);
                continue;
            }
            let deeper = depths[node].map(|depth| depth + 1);
            match self.arcs[node].get(tried[node]) {
                Some(&arc) if free[arc] > 0 && depths[self.heads[arc]] == deeper => path.push(arc),
                Some(_) => tried[node] += 1,
                None => match path.pop() {
                    Some(arc) => tried[self.heads[arc ^ 1]] += 1,
                    None => return total,
                },
            }
        }
    }

    /// The items that cannot be active together with this one.
    pub(crate) fn comparable(&self, item: usize) -> Vec<usize> {
        let later = self.reached(self.end_of(item), 0);
        let earlier = self.reached(self.start_of(item), 1);
        let is_it = |other: &usize| *other != item && (later[self.start_of(*other)] || earlier[self.end_of(*other)]);
        (0..self.count).filter(is_it).collect()
    }

    /// What is reached over the endless arcs, or against them (`back` is 1).
    fn reached(&self, from: usize, back: usize) -> Vec<bool> {
        let mut reached = vec![false; self.arcs.len()];
        let mut stack = vec![from];
        while let Some(node) = stack.pop() {
            for &arc in self.arcs[node].iter().filter(|arc| *arc & 1 == back && self.capacities[*arc ^ back] == ENDLESS)
            {
                if !core::mem::replace(&mut reached[self.heads[arc]], true) {
                    stack.push(self.heads[arc]);
                }
            }
        }
        reached
    }
}
