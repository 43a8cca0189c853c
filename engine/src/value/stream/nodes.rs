//! The nodes of a stream, in the order of their master ids, in chunks: appending and taking the
//! first are O(1), looking one up is a binary search, taking one out of the middle moves little.

use std::collections::VecDeque;

use crate::base::stream_id::StreamId;

use super::node::Node;

/// Most nodes of a chunk.
const CHUNK: usize = if cfg!(test) { 4 } else { 128 };

/// The nodes. No chunk is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    chunks: VecDeque<Vec<Node>>,
    len: usize,
}

/// Where a node is. Good until nodes come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    chunk: usize,
    node: usize,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: At) -> Option<&Node> {
        self.chunks.get(at.chunk)?.get(at.node)
    }

    pub(super) fn get_mut(&mut self, at: At) -> Option<&mut Node> {
        self.chunks.get_mut(at.chunk)?.get_mut(at.node)
    }

    pub(super) fn first(&self) -> Option<At> {
        (self.len > 0).then_some(At { chunk: 0, node: 0 })
    }

    pub(super) fn last(&self) -> Option<At> {
        let chunk = self.chunks.len().checked_sub(1)?;
        Some(At { chunk, node: self.chunks[chunk].len().checked_sub(1)? })
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Node> {
        self.chunks.back_mut()?.last_mut()
    }

    pub(super) fn after(&self, at: At) -> Option<At> {
        let next = At { node: at.node + 1, ..at };
        if self.get(next).is_some() {
            return Some(next);
        }
        let next = At { chunk: at.chunk + 1, node: 0 };
        self.get(next).map(|_| next)
    }

    pub(super) fn before(&self, at: At) -> Option<At> {
        if at.node > 0 {
            return Some(At { node: at.node - 1, ..at });
        }
        let chunk = at.chunk.checked_sub(1)?;
        Some(At { chunk, node: self.chunks[chunk].len() - 1 })
    }

    /// The last node whose master id is not above `id`. O(log n).
    pub(super) fn at_or_before(&self, id: StreamId) -> Option<At> {
        let chunk = self.chunks.partition_point(|c| c[0].master <= id).checked_sub(1)?;
        let node = self.chunks[chunk].partition_point(|n| n.master <= id) - 1;
        Some(At { chunk, node })
    }

    /// Appends a node, whose master id must be above all others.
    pub(super) fn push(&mut self, node: Node) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(node),
            _ => self.chunks.push_back(vec![node]),
        }
    }

    /// Puts a node in where its master id belongs; `false` if that id is there.
    pub(super) fn insert(&mut self, node: Node) -> bool {
        match self.at_or_before(node.master) {
            Some(at) if self.get(at).is_some_and(|n| n.master == node.master) => return false,
            at if at == self.last() => self.push(node),
            None => {
                self.chunks.push_front(vec![node]);
                self.len += 1;
            }
            Some(At { chunk, node: before }) => {
                self.len += 1;
                let full = &mut self.chunks[chunk];
                full.insert(before + 1, node);
                if full.len() > CHUNK {
                    let half = full.split_off(CHUNK / 2);
                    self.chunks.insert(chunk + 1, half);
                }
            }
        }
        true
    }

    /// Removes a node; answers where the one behind it is now.
    pub(super) fn remove(&mut self, at: At) -> Option<At> {
        let chunk = &mut self.chunks[at.chunk];
        chunk.remove(at.node);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(at.chunk);
            return self.get(At { node: 0, ..at }).map(|_| At { node: 0, ..at });
        }
        let next = if at.node < chunk.len() { at } else { At { chunk: at.chunk + 1, node: 0 } };
        self.get(next).map(|_| next)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.chunks.iter().flatten()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let chunks = self.chunks.capacity() * size_of::<Vec<Node>>();
        let nodes: usize = self.chunks.iter().map(|c| c.capacity() * size_of::<Node>()).sum();
        let packs: usize = self.iter().map(Node::memory_bytes).sum();
        chunks + nodes + packs
    }
}
