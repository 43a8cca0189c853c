//! The spine of a quicklist: nodes in order, each known to hold so many elements.
//!
//! Finds the node of an element by its index without touching the nodes: the counts lie side by
//! side and are added up in blocks, from the nearer end. Knows nothing of what a node is; the rules
//! about how full one gets are in `value/list/`. O(1) at both ends, O(nodes) in the middle.

use std::collections::VecDeque;
use std::ops::Range;

/// Counts added up at once while seeking.
const BLOCK: usize = 32;

/// Nodes in order with the number of elements of each.
#[derive(Debug, Clone)]
pub struct Spine<N> {
    nodes: VecDeque<N>,
    counts: VecDeque<u32>,
    len: usize,
}

impl<N> Default for Spine<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N> Spine<N> {
    /// No nodes.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: VecDeque::new(), counts: VecDeque::new(), len: 0 }
    }

    /// How many elements all nodes hold together.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many nodes there are.
    #[inline]
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Node `at`.
    #[inline]
    #[must_use]
    pub fn node(&self, at: usize) -> Option<&N> {
        self.nodes.get(at)
    }

    /// How many elements node `at` holds; 0 if there is no such node.
    #[inline]
    #[must_use]
    pub fn count(&self, at: usize) -> usize {
        self.counts.get(at).map_or(0, |&count| count as usize)
    }

    /// The nodes in order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &N> + ExactSizeIterator {
        self.nodes.iter()
    }

    /// Puts a node of `count` elements before node `at`, or last if `at` is the number of nodes.
    ///
    /// # Panics
    /// If `at` is beyond that, or the count does not fit in 32 bits.
    pub fn insert(&mut self, at: usize, node: N, count: usize) {
        self.counts.insert(at, to_u32(count));
        self.nodes.insert(at, node);
        self.len += count;
    }

    /// Puts a node of `count` elements first. O(1).
    pub fn push_front(&mut self, node: N, count: usize) {
        self.insert(0, node, count);
    }

    /// Puts a node of `count` elements last. O(1).
    pub fn push_back(&mut self, node: N, count: usize) {
        self.insert(self.nodes.len(), node, count);
    }

    /// Takes node `at` out, with its elements.
    pub fn remove(&mut self, at: usize) -> Option<N> {
        let count = self.counts.remove(at)?;
        self.len -= count as usize;
        self.nodes.remove(at)
    }

    /// Drops the nodes of the range, with their elements. O(nodes).
    ///
    /// # Panics
    /// If the range is not one of nodes.
    pub fn remove_nodes(&mut self, range: Range<usize>) {
        self.nodes.drain(range.clone());
        let gone: usize = self.counts.drain(range).map(|count| count as usize).sum();
        self.len -= gone;
    }

    /// Lets `edit` change node `at`, which holds `count` elements from then on.
    ///
    /// # Panics
    /// If there is no such node, or the count does not fit in 32 bits.
    pub fn edit<R>(&mut self, at: usize, count: usize, edit: impl FnOnce(&mut N) -> R) -> R {
        self.set_count(at, count);
        edit(&mut self.nodes[at])
    }

    /// Lets `add` put one element more into the first node or the last one, which it is given with what that
    /// holds; it answers whether it did, and so does this: false if there is no node.
    ///
    /// # Panics
    /// If the count does not fit in 32 bits.
    #[inline]
    pub fn add_at_end(&mut self, is_front: bool, add: impl FnOnce(&mut N, usize) -> bool) -> bool {
        let (node, count) = if is_front {
            (self.nodes.front_mut(), self.counts.front_mut())
        } else {
            (self.nodes.back_mut(), self.counts.back_mut())
        };
        let (Some(node), Some(count)) = (node, count) else { return false };
        let is_added = add(node, *count as usize);
        if is_added {
            *count += 1;
            self.len += 1;
        }
        is_added
    }

    /// Says that node `at` holds `count` elements.
    ///
    /// # Panics
    /// If there is no such node, or the count does not fit in 32 bits.
    pub fn set_count(&mut self, at: usize, count: usize) {
        self.len = self.len - self.counts[at] as usize + count;
        self.counts[at] = to_u32(count);
    }

    /// The node of element `index`, and the element's index inside it; `None` past the end.
    #[must_use]
    pub fn seek(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        let (front, back) = self.counts.as_slices();
        if index <= self.len / 2 {
            let mut left = index;
            return match find(front, &mut left) {
                Some(at) => Some((at, left)),
                None => find(back, &mut left).map(|at| (front.len() + at, left)),
            };
        }
        let mut left = self.len - 1 - index;
        let at = match find_back(back, &mut left) {
            Some(at) => front.len() + at,
            None => find_back(front, &mut left)?,
        };
        Some((at, self.counts[at] as usize - 1 - left))
    }

    /// Heap bytes of the spine itself, spare room included; the nodes' own are not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<N>() + self.counts.capacity() * size_of::<u32>()
    }
}

/// The position of the count that holds element `left`, which becomes the index inside it.
fn find(counts: &[u32], left: &mut usize) -> Option<usize> {
    let mut at = 0;
    let (blocks, _) = counts.as_chunks::<BLOCK>();
    for block in blocks {
        let sum = block_sum(block);
        if *left < sum {
            break;
        }
        *left -= sum;
        at += BLOCK;
    }
    for (i, &count) in counts[at..].iter().enumerate() {
        if *left < count as usize {
            return Some(at + i);
        }
        *left -= count as usize;
    }
    None
}

/// As [`find`], counting from the last element back.
fn find_back(counts: &[u32], left: &mut usize) -> Option<usize> {
    let mut end = counts.len();
    let (_, blocks) = counts.as_rchunks::<BLOCK>();
    for block in blocks.iter().rev() {
        let sum = block_sum(block);
        if *left < sum {
            break;
        }
        *left -= sum;
        end -= BLOCK;
    }
    for (i, &count) in counts[..end].iter().enumerate().rev() {
        if *left < count as usize {
            return Some(i);
        }
        *left -= count as usize;
    }
    None
}

fn block_sum(block: &[u32; BLOCK]) -> usize {
    let sum: u64 = block.iter().map(|&count| u64::from(count)).sum();
    sum as usize
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a node holds less than 2^32 elements, by contract")
}

#[cfg(test)]
mod tests;
