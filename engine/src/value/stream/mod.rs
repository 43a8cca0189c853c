//! Streams: entries in the order of their ids, and groups of consumers that read them.
//!
//! The entries are in nodes whose bytes are those of Redis's own nodes and of the RDB (`node.rs`),
//! found by binary search (`nodes.rs`). A stream may be empty and stays a key then. Clocks and limits
//! are arguments. Behaviour: valkey src/t_stream.c; the extras of Redis 8.6 and 8.8 are only carried.

mod deliver;
mod edit;
mod group;
mod load;
mod node;
mod nodes;
mod pending;
mod range;
mod references;
mod totals;

use std::collections::BTreeMap;

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;
use crate::packed::listpack::ListpackBuf;

use nodes::Nodes;
use range::Walk;

pub use deliver::{Acks, AutoClaimed, Claim, Claimed, Deliveries, NoGroup, Reader, Unclaimed};
pub use edit::{AppendError, Keep, Trim, Trimmed};
pub use group::{Consumer, Group, Idle, Pending};
pub use load::{BadStream, LoadTotals, StreamForm, StreamLoader};
pub use node::{Entry, Fields};
pub use range::{Direction, Range};
pub use references::{References, Removed};
pub use totals::Totals;

/// A stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    nodes: Nodes,
    totals: Totals,
    groups: BTreeMap<Box<[u8]>, Group>,
    idempotence: Option<Box<Idempotence>>,
}

/// An id that a producer chose, and the entry it made.
pub type IdempotentId = (Box<[u8]>, StreamId);

/// What Redis 8.6 keeps of producers whose entries must not be added twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotence {
    /// Seconds an id is remembered.
    pub duration_s: u64,
    /// Most ids remembered of a producer.
    pub max_entries: u64,
    /// Ids ever added.
    pub added: u64,
    /// Duplicates ever refused.
    pub duplicates: u64,
    /// Producers in byte order, with their idempotent ids and the entries these made.
    pub producers: BTreeMap<Box<[u8]>, Vec<IdempotentId>>,
}

impl Idempotence {
    /// Seconds and ids that Redis remembers unless told otherwise.
    const DEFAULT_LIMIT: u64 = 100;

    /// Whether nothing is lost without it: no producer has been there, nothing was set.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        let nothing_set = |limit| limit == 0 || limit == Self::DEFAULT_LIMIT;
        self.producers.is_empty()
            && (self.added, self.duplicates) == (0, 0)
            && nothing_set(self.duration_s)
            && nothing_set(self.max_entries)
    }
}

impl Default for Idempotence {
    fn default() -> Self {
        let limit = Self::DEFAULT_LIMIT;
        Self { duration_s: limit, max_entries: limit, added: 0, duplicates: 0, producers: BTreeMap::new() }
    }
}

/// Why XSETID is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetIdError {
    /// The id is below the greatest deleted one.
    #[error("the id is below the greatest deleted one")]
    BelowDeleted,
    /// The id is below the last entry's.
    #[error("the id is below the last entry's")]
    BelowTop,
    /// Fewer entries added than there are.
    #[error("fewer entries added than there are")]
    AddedBelowLength,
}

impl Stream {
    /// An empty stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many live entries it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.totals.length
    }

    /// Whether it has no live entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.totals.length == 0
    }

    /// Its numbers.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The live entries from `start` to `end`, both included. O(log n) and the entries of one node
    /// until the first.
    #[must_use]
    pub fn range(&self, start: StreamId, end: StreamId, direction: Direction) -> Range<'_> {
        Range::new(&self.nodes, start, end, direction)
    }

    /// The live entry with this id.
    #[must_use]
    pub fn entry(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id, Direction::Forward).next()
    }

    /// Whether there is a live entry with this id.
    #[must_use]
    pub fn contains(&self, id: StreamId) -> bool {
        Walk::new(&self.nodes, id, id, Direction::Forward).next().is_some()
    }

    /// The id of the newest live entry.
    #[must_use]
    pub fn last_live_id(&self) -> Option<StreamId> {
        let mut walk = Walk::new(&self.nodes, StreamId::MIN, StreamId::MAX, Direction::Backward);
        walk.next().map(|found| found.head.id)
    }

    /// The id of the oldest entry that still takes room, deleted or not: what MINID says when a trim
    /// is propagated.
    #[must_use]
    pub fn first_kept_id(&self) -> Option<StreamId> {
        let walk = Walk::new(&self.nodes, StreamId::MIN, StreamId::MAX, Direction::Forward);
        walk.with_deleted().next().map(|found| found.head.id)
    }

    /// Sets the last id and, if given, the number of entries ever added and the greatest deleted id.
    ///
    /// # Errors
    /// [`SetIdError`]; nothing has changed then.
    pub fn set_id(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) -> Result<(), SetIdError> {
        if last_id < self.totals.max_deleted_id {
            return Err(SetIdError::BelowDeleted);
        }
        if self.totals.length > 0 {
            if self.last_live_id().is_some_and(|top| last_id < top) {
                return Err(SetIdError::BelowTop);
            }
            if entries_added.is_some_and(|added| added < self.totals.length) {
                return Err(SetIdError::AddedBelowLength);
            }
        }
        self.totals.last_id = last_id;
        if let Some(added) = entries_added {
            self.totals.entries_added = added;
        }
        if let Some(id) = max_deleted_id.filter(|&id| id != StreamId::MIN) {
            self.totals.max_deleted_id = id;
        }
        Ok(())
    }

    /// The groups in the byte order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// The group of this name.
    #[must_use]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Adds a group; `false` if there is one of that name.
    pub fn create_group(&mut self, name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups.insert(name.into(), Group::new(last_id, entries_read));
        true
    }

    /// Removes a group and all that is pending in it; `false` if there is none of that name.
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        self.groups.remove(name).is_some()
    }

    /// Sets how far a group has read.
    ///
    /// # Errors
    /// [`NoGroup`].
    pub fn set_group_id(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Result<(), NoGroup> {
        let group = self.groups.get_mut(name).ok_or(NoGroup)?;
        (group.last_id, group.entries_read) = (last_id, entries_read);
        Ok(())
    }

    /// Moves the last id of a group forward to `last_id`, never back; answers whether it moved.
    ///
    /// # Errors
    /// [`NoGroup`].
    pub fn advance_group(&mut self, name: &[u8], last_id: StreamId) -> Result<bool, NoGroup> {
        let group = self.groups.get_mut(name).ok_or(NoGroup)?;
        let moves = last_id > group.last_id;
        if moves {
            group.last_id = last_id;
        }
        Ok(moves)
    }

    /// Adds a consumer; answers whether it is new. One that is there is left as it is.
    ///
    /// # Errors
    /// [`NoGroup`].
    pub fn create_consumer(&mut self, group: &[u8], name: &[u8], now: UnixMs) -> Result<bool, NoGroup> {
        let group = self.groups.get_mut(group).ok_or(NoGroup)?;
        Ok(group.add_consumer(name, now).is_some())
    }

    /// Removes a consumer and what is pending for it; answers how much that was, `None` if there is
    /// no such consumer.
    ///
    /// # Errors
    /// [`NoGroup`].
    pub fn delete_consumer(&mut self, group: &[u8], name: &[u8]) -> Result<Option<u64>, NoGroup> {
        Ok(self.groups.get_mut(group).ok_or(NoGroup)?.remove_consumer(name))
    }

    /// How many entries a group has yet to deliver, when that can be known.
    #[must_use]
    pub fn lag(&self, group: &Group) -> Option<i64> {
        self.totals.lag(group.entries_read(), group.last_id())
    }

    /// Idempotent production, if a newer server used it.
    #[must_use]
    pub fn idempotence(&self) -> Option<&Idempotence> {
        self.idempotence.as_deref()
    }

    /// The nodes as they are saved: the id that their entries' ids are relative to, and a listpack, each
    /// made as it comes.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (StreamId, ListpackBuf)> {
        self.nodes.iter().map(|node| (node.master, node.view().to_listpack()))
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// How many nodes Redis's radix tree of the same stream would have, for XINFO. O(nodes).
    #[must_use]
    pub fn radix_nodes(&self) -> u64 {
        let masters: Vec<[u8; 16]> = self.nodes.iter().map(|node| node.master.to_bytes()).collect();
        if masters.is_empty() { 1 } else { radix_nodes(&masters, 0) }
    }

    /// Heap bytes it owns.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let groups: usize =
            self.groups.iter().map(|(name, g)| name.len() + size_of::<Group>() + g.memory_bytes()).sum();
        let idempotence: usize =
            self.idempotence.iter().flat_map(|own| &own.producers).fold(0, |sum, (name, ids)| {
                sum + name.len()
                    + ids.iter().map(|(iid, _)| iid.len() + size_of::<IdempotentId>()).sum::<usize>()
            });
        self.nodes.memory_bytes() + groups + idempotence
    }
}

/// Radix tree nodes for these keys, which are sorted, differ, and agree in their first `depth` bytes:
/// one for a run of bytes that all share, one for a branching, one for the end of each. The depth of
/// the recursion is the length of a key.
fn radix_nodes(keys: &[[u8; 16]], depth: usize) -> u64 {
    let (first, last) = (&keys[0], &keys[keys.len() - 1]);
    let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let run = u64::from(common > depth);
    if common == first.len() {
        return run + 1;
    }
    let branches: u64 =
        keys.chunk_by(|a, b| a[common] == b[common]).map(|k| radix_nodes(k, common + 1)).sum();
    run + 1 + branches
}

#[cfg(test)]
mod tests;
