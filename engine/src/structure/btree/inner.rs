//! Inner nodes: for each child how many entries are below it, and what its first entry is.

use super::leaf::NONE;

/// What an inner node knows of a child.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Child {
    /// Entries below it.
    pub(super) count: u64,
    /// Score of its first entry.
    pub(super) score: f64,
    /// [`prefix_of`] its first entry's member.
    pub(super) prefix: u64,
    /// A leaf's number, or an inner node's.
    pub(super) node: u32,
}

/// An inner node; its children are all leaves or all inner nodes.
#[derive(Debug, Clone)]
pub(super) struct Inner {
    pub(super) parent: u32,
    pub(super) children: Vec<Child>,
}

impl Inner {
    pub(super) fn new(children: Vec<Child>) -> Self {
        Self { parent: NONE, children }
    }

    /// Where a child stands.
    #[inline]
    pub(super) fn position(&self, node: u32) -> usize {
        self.children.iter().position(|c| c.node == node).expect("a node is among its parent's children")
    }
}

/// The first eight bytes of a member, as a number that orders as they do; zeros stand in for
/// missing ones, so equal prefixes say nothing.
#[inline]
pub(super) fn prefix_of(member: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = member.len().min(8);
    first[..len].copy_from_slice(&member[..len]);
    u64::from_be_bytes(first)
}
