//! Keys and memory by hash slot, and how they would spread over the nodes of a cluster.

use std::ops::Range;

/// Slots of a cluster.
pub const SLOTS: usize = 16384;

/// Keys and memory of a slot, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heat {
    /// Keys.
    pub keys: u64,
    /// Bytes in memory.
    pub memory: u64,
}

/// All slots.
#[derive(Debug, Clone)]
pub struct Slots(Box<[Heat; SLOTS]>);

impl Default for Slots {
    fn default() -> Self {
        Self(Box::new([Heat::default(); SLOTS]))
    }
}

impl Slots {
    /// Adds a key of that slot.
    #[inline]
    pub fn add(&mut self, slot: u16, memory: u64) {
        let heat = &mut self.0[usize::from(slot) % SLOTS];
        heat.keys += 1;
        heat.memory += memory;
    }

    /// Adds those of another one.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(other.0.iter()) {
            own.keys += more.keys;
            own.memory += more.memory;
        }
    }

    /// Each slot, in order.
    #[must_use]
    pub fn all(&self) -> &[Heat] {
        &self.0[..]
    }

    /// How many slots have keys.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.iter().filter(|heat| heat.keys > 0).count()
    }

    /// The slots with the most memory, at most so many.
    #[must_use]
    pub fn hottest(&self, most: usize) -> Vec<(u16, Heat)> {
        let mut slots: Vec<(u16, Heat)> =
            (0u16..).zip(self.0.iter().copied()).filter(|(_, heat)| heat.keys > 0).collect();
        slots.sort_unstable_by(|a, b| b.1.memory.cmp(&a.1.memory).then(a.0.cmp(&b.0)));
        slots.truncate(most);
        slots
    }

    /// What each of so many nodes would have if the slots were dealt out evenly, in order, as
    /// `--cluster create` does.
    #[must_use]
    pub fn spread(&self, nodes: usize) -> Vec<(Range<usize>, Heat)> {
        let nodes = nodes.clamp(1, SLOTS);
        let bounds = (0..=nodes).map(|node| (node * SLOTS + nodes / 2) / nodes).collect::<Vec<_>>();
        let share = |range: Range<usize>| {
            let heat = self.0[range.clone()].iter().fold(Heat::default(), |sum, heat| Heat {
                keys: sum.keys + heat.keys,
                memory: sum.memory + heat.memory,
            });
            (range, heat)
        };
        bounds.windows(2).map(|pair| share(pair[0]..pair[1])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Heat, SLOTS, Slots};

    #[test]
    fn slots_add_up_over_nodes() {
        let (mut slots, mut more) = (Slots::default(), Slots::default());
        for i in 0..50_000u32 {
            let part = if i % 3 == 0 { &mut slots } else { &mut more };
            part.add((i * 7 % SLOTS as u32) as u16, u64::from(i));
        }
        slots.merge(&more);
        for nodes in [1, 3, 5, 16, 1000, SLOTS, usize::MAX] {
            let spread = slots.spread(nodes);
            assert_eq!(spread.len(), nodes.min(SLOTS));
            assert_eq!((spread[0].0.start, spread.last().expect("a node").0.end), (0, SLOTS));
            assert!(spread.windows(2).all(|pair| pair[0].0.end == pair[1].0.start));
            let sum = spread.iter().fold(Heat::default(), |sum, (_, heat)| Heat {
                keys: sum.keys + heat.keys,
                memory: sum.memory + heat.memory,
            });
            assert_eq!((sum.keys, sum.memory), (50_000, 50_000 * 49_999 / 2));
        }
        assert_eq!(slots.spread(3)[0].0, 0..5461);
        let hottest = slots.hottest(4);
        assert_eq!(hottest.len(), 4);
        assert!(hottest.is_sorted_by(|a, b| a.1.memory >= b.1.memory));
        assert_eq!(slots.used(), SLOTS);
    }
}
