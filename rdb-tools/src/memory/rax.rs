//! The size of a radix tree of stream ids, found while the ids go by in order.
//!
//! A server keeps a stream's nodes and its pending entries in radix trees over the 16 big-endian bytes
//! of their ids. Of keys of one length that come in order, the tree is known by what each has in
//! common with the one before: so nothing is kept but the branches on the way to the last key. Ids out
//! of order, which no server writes, only make the answer less exact. Behaviour: valkey src/rax.c.

use super::alloc::Allocator;

const KEY_BYTES: usize = 16;
/// Header of a tree's node.
const HEADER: u64 = 4;
const POINTER: u64 = 8;

/// A branch on the way to the last key.
#[derive(Debug, Clone, Copy)]
struct Branch {
    /// How many bytes lead to it.
    depth: usize,
    children: u64,
}

/// Counts the nodes of a radix tree and their bytes.
#[derive(Debug, Clone)]
pub(super) struct RaxMeter {
    allocator: Allocator,
    last: Option<[u8; KEY_BYTES]>,
    open: Vec<Branch>,
    keys: u64,
    nodes: u64,
    bytes: u64,
}

impl RaxMeter {
    pub(super) fn new(allocator: Allocator) -> Self {
        Self { allocator, last: None, open: Vec::new(), keys: 0, nodes: 0, bytes: 0 }
    }

    pub(super) fn clear(&mut self) {
        (self.last, self.keys, self.nodes, self.bytes) = (None, 0, 0, 0);
        self.open.clear();
    }

    /// Keys so far.
    pub(super) fn len(&self) -> u64 {
        self.keys
    }

    pub(super) fn add(&mut self, key: [u8; KEY_BYTES]) {
        self.keys += 1;
        let Some(last) = self.last.replace(key) else { return };
        let common = last.iter().zip(&key).take_while(|(a, b)| a == b).count();
        if common == KEY_BYTES {
            self.keys -= 1;
            return;
        }
        self.close_down_to(common);
        match self.open.last_mut() {
            Some(branch) if branch.depth == common => branch.children += 1,
            _ => self.open.push(Branch { depth: common, children: 2 }),
        }
    }

    /// The last key is complete: what hangs below `depth` will not change any more.
    fn close_down_to(&mut self, depth: usize) {
        self.leaf();
        let mut end = KEY_BYTES;
        while let Some(&branch) = self.open.last() {
            if branch.depth <= depth {
                break;
            }
            self.open.pop();
            self.run(end - branch.depth - 1);
            self.branch(branch.children);
            end = branch.depth;
        }
        // From the branch that is, or will be, at `depth` or above.
        let above = self.open.last().map_or(depth, |branch| branch.depth.max(depth));
        self.run(end.saturating_sub(above + 1));
    }

    fn node(&mut self, bytes: u64) {
        self.nodes += 1;
        self.bytes += self.allocator.class(bytes);
    }

    /// The node behind the last byte of a key: nothing but the pointer to what the key stands for.
    fn leaf(&mut self) {
        self.node(HEADER + 4 + POINTER);
    }

    /// A run of bytes without a branch.
    fn run(&mut self, len: usize) {
        if len > 0 {
            self.node((HEADER + len as u64).next_multiple_of(POINTER) + POINTER);
        }
    }

    fn branch(&mut self, children: u64) {
        self.node((HEADER + children).next_multiple_of(POINTER) + POINTER * children);
    }

    /// Nodes and bytes of the tree, which may grow on after this.
    pub(super) fn totals(&self) -> (u64, u64) {
        let mut whole = self.clone();
        if whole.last.is_none() {
            // A tree without keys is a root without children.
            whole.node(HEADER + 4);
            return (whole.nodes, whole.bytes);
        }
        whole.leaf();
        let mut end = KEY_BYTES;
        while let Some(branch) = whole.open.pop() {
            whole.run(end - branch.depth - 1);
            whole.branch(branch.children);
            end = branch.depth;
        }
        whole.run(end);
        (whole.nodes, whole.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Allocator, RaxMeter};

    /// Nodes of the tree of these keys, built by the definition: a run of bytes that all share, a branch,
    /// a leaf for each key.
    fn nodes(keys: &[[u8; 16]], depth: usize) -> u64 {
        if keys.len() == 1 {
            return 1 + u64::from(depth < 16);
        }
        let common = (depth..16).take_while(|&i| keys.iter().all(|key| key[i] == keys[0][i])).count();
        let at = depth + common;
        let branches: BTreeSet<u8> = keys.iter().map(|key| key[at]).collect();
        let below = branches.iter().map(|byte| {
            let part: Vec<_> = keys.iter().copied().filter(|key| key[at] == *byte).collect();
            nodes(&part, at + 1)
        });
        u64::from(common > 0) + 1 + below.sum::<u64>()
    }

    #[test]
    fn trees_have_the_nodes_that_their_keys_make() {
        let mut seed = 7u64;
        for round in 0..300u32 {
            let keys: BTreeSet<[u8; 16]> = (0..1 + round % 40)
                .map(|_| {
                    let mut key = [0; 16];
                    for byte in &mut key {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        *byte = (seed >> 60) as u8 / if round % 2 == 0 { 8 } else { 1 };
                    }
                    key
                })
                .collect();
            let keys: Vec<_> = keys.into_iter().collect();
            let mut meter = RaxMeter::new(Allocator::Bundled);
            keys.iter().for_each(|key| meter.add(*key));
            assert_eq!(meter.totals().0, nodes(&keys, 0), "{keys:?}");
            assert_eq!(meter.len(), keys.len() as u64);
        }
        assert_eq!(RaxMeter::new(Allocator::Bundled).totals(), (1, 8));
    }
}
