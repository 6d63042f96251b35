//! Where each block stands: layers in the direction of the edges, few crossings, short and straight edges.
//!
//! The method of Sugiyama, Tagawa and Toda ("Methods for Visual Understanding of Hierarchical System Structures", 1981): layers by
//! the longest way, places for long edges in the layers that they cross, sweeps that move each one to the middle of its
//! neighbours. The last step, places that keep their order and their distance and lie as near as possible to where they should, is
//! solved exactly by pooling neighbours that violate it.

/// What takes part: a block, or the place where a long edge crosses a layer.
#[derive(Clone, Debug)]
struct Item {
    layer: usize,
    /// Its extent across the layers.
    size: f64,
    /// Its middle, across the layers.
    middle: f64,
    before: Vec<usize>,
    after: Vec<usize>,
    is_block: bool,
}

/// Where everything is.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// For each block, its layer.
    pub(super) layer: Vec<usize>,
    /// For each block, the middle of it across the layers.
    pub(super) middle: Vec<f64>,
    /// For each edge, where it crosses the layers between its ends: (layer, place across).
    pub(super) bends: Vec<Vec<(usize, f64)>>,
    /// How many layers there are.
    pub(super) layers: usize,
    /// The extent of the whole, across the layers.
    pub(super) across: f64,
}

/// Above this many places of long edges, those are drawn straight.
const BENDS_MOST: usize = 20_000;
const SWEEPS: usize = 16;

/// Places blocks of these sizes (across the layers), with `gap` between them. `last`: blocks that come after all others.
pub(super) fn place(sizes: &[f64], edges: &[(usize, usize)], last: &[bool], gap: f64) -> Places {
    let layer = layers(sizes.len(), edges, last);
    let layers = layer.iter().max().map_or(0, |layer| layer + 1);
    let (mut items, ways) = items(sizes, edges, &layer);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layers];
    items.iter().enumerate().for_each(|(index, item)| rows[item.layer].push(index));
    order_rows(&mut items, &mut rows);
    straighten(&mut items, &rows, gap);
    let least = items.iter().map(|item| item.middle - item.size / 2.0).fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { least } else { 0.0 };
    items.iter_mut().for_each(|item| item.middle -= least);
    Places {
        middle: items[..sizes.len()].iter().map(|item| item.middle).collect(),
        bends: ways
            .iter()
            .map(|way| way.iter().map(|item| (items[*item].layer, items[*item].middle)).collect())
            .collect(),
        across: items.iter().map(|item| item.middle + item.size / 2.0).fold(0.0, f64::max),
        layer,
        layers,
    }
}

/// The longest way to each block; one that waits for nothing stands just before the first that waits for it.
fn layers(count: usize, edges: &[(usize, usize)], last: &[bool]) -> Vec<usize> {
    let mut layer = vec![0usize; count];
    let order = {
        let edges: Vec<super::Edge> =
            edges.iter().map(|(from, to)| super::Edge { from: *from, to: *to, label: None }).collect();
        super::order(count, &edges)
    };
    let (mut before, mut after) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for (from, to) in edges {
        before[*to].push(*from);
        after[*from].push(*to);
    }
    for block in &order {
        let least = before[*block].iter().map(|from| layer[*from] + 1).max().unwrap_or(0);
        layer[*block] = layer[*block].max(least);
    }
    for block in order.iter().rev().filter(|block| before[**block].is_empty()) {
        if let Some(first) = after[*block].iter().map(|to| layer[*to]).min() {
            layer[*block] = first.saturating_sub(1);
        }
    }
    let others = (0..count).filter(|block| !last[*block]).map(|block| layer[block] + 1).max().unwrap_or(0);
    for block in order.iter().filter(|block| last[**block]) {
        let least = before[*block].iter().filter(|from| last[**from]).map(|from| layer[*from] + 1).max().unwrap_or(0);
        layer[*block] = least.max(others);
    }
    layer
}

/// Blocks, and a place in each layer that an edge crosses; for each edge, those.
fn items(sizes: &[f64], edges: &[(usize, usize)], layer: &[usize]) -> (Vec<Item>, Vec<Vec<usize>>) {
    let empty = |layer: usize, size: f64, is_block: bool| Item {
        layer,
        size,
        middle: 0.0,
        before: Vec::new(),
        after: Vec::new(),
        is_block,
    };
    let mut items: Vec<Item> = sizes.iter().zip(layer).map(|(size, layer)| empty(*layer, *size, true)).collect();
    let crossed: usize = edges.iter().map(|(from, to)| layer[*to].saturating_sub(layer[*from] + 1)).sum();
    let mut ways = Vec::with_capacity(edges.len());
    for (from, to) in edges {
        let mut way = Vec::new();
        let mut at = *from;
        let between = if crossed > BENDS_MOST { 0..0 } else { layer[*from] + 1..layer[*to] };
        for layer in between {
            items.push(empty(layer, 2.0, false));
            let bend = items.len() - 1;
            items[at].after.push(bend);
            items[bend].before.push(at);
            way.push(bend);
            at = bend;
        }
        items[at].after.push(*to);
        items[*to].before.push(at);
        ways.push(way);
    }
    (items, ways)
}

/// Moves each item to the middle of its neighbours, layer by layer to and fro, and keeps the order with the fewest crossings.
fn order_rows(items: &mut [Item], rows: &mut Vec<Vec<usize>>) {
    let mut place = vec![0.0; items.len()];
    let note = |place: &mut Vec<f64>, row: &[usize]| {
        row.iter().enumerate().for_each(|(index, item)| place[*item] = index as f64);
    };
    rows.iter().for_each(|row| note(&mut place, row));
    let (mut best, mut fewest) = (rows.clone(), crossings(items, rows, &place));
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        let layers: Vec<usize> =
            if forward { (1..rows.len()).collect() } else { (0..rows.len().max(1) - 1).rev().collect() };
        for layer in layers {
            let wish = |item: &usize| {
                let near = if forward { &items[*item].before } else { &items[*item].after };
                match near.len() {
                    0 => place[*item],
                    count => near.iter().map(|other| place[*other]).sum::<f64>() / count as f64,
                }
            };
            let mut wishes: Vec<(f64, usize)> = rows[layer].iter().map(|item| (wish(item), *item)).collect();
            wishes.sort_by(|one, other| one.0.total_cmp(&other.0));
            rows[layer] = wishes.into_iter().map(|(_, item)| item).collect();
            note(&mut place, &rows[layer]);
        }
        let count = crossings(items, rows, &place);
        if count < fewest {
            (best, fewest) = (rows.clone(), count);
        }
        if fewest == 0 {
            break;
        }
    }
    *rows = best;
}

/// How many pairs of edges cross between neighbouring layers: inversions, counted by a tree of sums (Fenwick, 1994).
fn crossings(items: &[Item], rows: &[Vec<usize>], place: &[f64]) -> u64 {
    let mut count = 0;
    for row in rows {
        let mut ends: Vec<usize> = Vec::new();
        for item in row {
            let mut targets: Vec<usize> = items[*item].after.iter().map(|next| place[*next] as usize).collect();
            targets.sort_unstable();
            ends.extend(targets);
        }
        let size = ends.iter().max().map_or(0, |end| end + 1);
        let mut sums = vec![0u64; size + 1];
        for (seen, end) in ends.iter().enumerate() {
            let (mut at, mut not_after) = (end + 1, 0);
            while at > 0 {
                not_after += sums[at];
                at -= at & at.wrapping_neg();
            }
            count += seen as u64 - not_after;
            let mut at = end + 1;
            while at <= size {
                sums[at] += 1;
                at += at & at.wrapping_neg();
            }
        }
    }
    count
}

/// Gives each item a place, as near as the order allows to the middle of its neighbours.
fn straighten(items: &mut [Item], rows: &[Vec<usize>], gap: f64) {
    for row in rows {
        let mut at = 0.0;
        for item in row {
            items[*item].middle = at + items[*item].size / 2.0;
            at += items[*item].size + gap;
        }
        row.iter().for_each(|item| items[*item].middle -= at / 2.0);
    }
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        let center = items.iter().map(|item| item.middle).sum::<f64>() / items.len().max(1) as f64;
        let layers: Vec<usize> = if forward { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for layer in layers {
            let row = &rows[layer];
            let wishes: Vec<(f64, f64)> = row.iter().map(|item| wish(items, *item, forward, center)).collect();
            let middles = spread(&wishes, &row.iter().map(|item| items[*item].size).collect::<Vec<_>>(), gap);
            row.iter().zip(middles).for_each(|(item, middle)| items[*item].middle = middle);
        }
    }
}

/// Where an item would like to be, and how much: the places of long edges most, so that those are straight.
fn wish(items: &[Item], item: usize, forward: bool, center: f64) -> (f64, f64) {
    let it = &items[item];
    let near = match (forward, it.before.is_empty(), it.after.is_empty()) {
        (true, false, _) | (_, false, true) => &it.before,
        (_, _, false) => &it.after,
        (_, true, true) => return (center, 0.1),
    };
    let mut middles: Vec<f64> = near.iter().map(|other| items[*other].middle).collect();
    middles.sort_by(f64::total_cmp);
    let half = middles.len() / 2;
    let median = if middles.len() % 2 == 1 { middles[half] } else { (middles[half - 1] + middles[half]) / 2.0 };
    let straight = !it.is_block && near.iter().all(|other| !items[*other].is_block);
    (
        median,
        if straight {
            8.0
        } else if it.is_block {
            2.0
        } else {
            4.0
        },
    )
}

/// The places nearest to the wishes (place, weight) that keep the order and the distance: pools of neighbours that touch move as one.
fn spread(wishes: &[(f64, f64)], sizes: &[f64], gap: f64) -> Vec<f64> {
    // Distances are taken out first, so that 'in order' is all that is left to hold.
    let mut offsets = Vec::with_capacity(sizes.len());
    let mut at = 0.0;
    for (index, size) in sizes.iter().enumerate() {
        if index > 0 {
            at += sizes[index - 1] / 2.0 + gap + size / 2.0;
        }
        offsets.push(at);
    }
    let mut pools: Vec<(f64, f64, usize)> = Vec::new(); // weighted sum, weight, members
    for ((wish, weight), offset) in wishes.iter().zip(&offsets) {
        let mut pool = ((wish - offset) * weight, *weight, 1);
        while let Some(before) = pools.last().filter(|before| before.0 / before.1 > pool.0 / pool.1) {
            pool = (pool.0 + before.0, pool.1 + before.1, pool.2 + before.2);
            pools.pop();
        }
        pools.push(pool);
    }
    let middles = pools.iter().flat_map(|(sum, weight, members)| std::iter::repeat_n(sum / weight, *members));
    middles.zip(&offsets).map(|(middle, offset)| middle + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_keep_their_distance_and_come_as_near_as_they_can() {
        let middles = spread(&[(10.0, 1.0), (10.0, 1.0), (50.0, 1.0)], &[4.0, 4.0, 4.0], 2.0);
        assert_eq!(middles, [7.0, 13.0, 50.0]);
    }

    #[test]
    fn crossings_are_counted_and_taken_away() {
        // 0 and 1 in the first layer, 2 and 3 in the second; each edge crosses the other one.
        let places = place(&[10.0; 4], &[(0, 3), (1, 2)], &[false; 4], 5.0);
        let (above, below) = (places.middle[0] < places.middle[1], places.middle[3] < places.middle[2]);
        assert_eq!(above, below, "{places:?}");
    }

    #[test]
    fn a_block_stands_just_before_who_waits_for_it_and_the_last_ones_behind_all() {
        let places = place(&[10.0; 5], &[(0, 1), (1, 2), (3, 2)], &[false, false, false, false, true], 5.0);
        assert_eq!(places.layer, [0, 1, 2, 1, 3]);
        assert!(places.bends.iter().all(Vec::is_empty));
    }
}
