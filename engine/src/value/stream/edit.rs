//! Adding, deleting and trimming entries.
//!
//! Behaviour: valkey src/t_stream.c, `streamAppendItem`, `streamDeleteItem`, `streamTrim`.

use crate::base::stream_id::{IdSpec, StreamId};

use super::super::Limits;
use super::Stream;
use super::node::{DELETED, Header, Node};
use super::nodes::At;
use super::range::{Direction, Walk};
use super::references::References;

/// No node grows beyond this, nor an entry.
const MAX_NODE_BYTES: usize = 1 << 30;

/// Why an entry cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The id is not above the last one.
    #[error("the id is not above the last one")]
    NotAbove,
    /// The last possible id has been used.
    #[error("the last possible id has been used")]
    Exhausted,
    /// Fields and values are too long together.
    #[error("the entry is too large")]
    TooLarge,
}

/// What a trim keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many of the newest entries.
    Newest(u64),
    /// Entries from this id on.
    From(StreamId),
}

/// How thorough a trim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Exactly what was asked for.
    Exact,
    /// Whole nodes only, and so many entries at most (0: any number).
    Nodes {
        /// Most entries to remove.
        limit: u64,
    },
}

/// What a trim has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries removed.
    pub removed: u64,
    /// The first id of the node that it left as it was, or did not finish; `None` if it saw all.
    pub stopped_at: Option<StreamId>,
}

impl Trim {
    /// The approximate trim without a LIMIT of its own: a hundred nodes.
    #[must_use]
    pub fn about(limits: &Limits) -> Self {
        let limit = match limits.stream_node_max_entries.saturating_mul(100) {
            0 => 10_000,
            entries => entries.min(1_000_000) as u64,
        };
        Self::Nodes { limit }
    }
}

impl Stream {
    /// The id that an entry added at `now_ms` would get.
    ///
    /// # Errors
    /// `NotAbove` or `Exhausted`.
    pub fn next_id(&self, spec: IdSpec, now_ms: u64) -> Result<StreamId, AppendError> {
        let last = self.totals.last_id;
        let after_last = last.next().ok_or(AppendError::Exhausted)?;
        let id = match spec {
            IdSpec::Exact(id) => id,
            IdSpec::Auto if now_ms > last.ms => StreamId::new(now_ms, 0),
            IdSpec::Auto => after_last,
            IdSpec::AutoSeq(ms) if ms == last.ms => {
                StreamId::new(ms, last.seq.checked_add(1).ok_or(AppendError::NotAbove)?)
            }
            IdSpec::AutoSeq(ms) => StreamId::new(ms, 0),
        };
        if id > last { Ok(id) } else { Err(AppendError::NotAbove) }
    }

    /// Adds an entry of `fields`: field, value, field, value. O(1) but for growing.
    ///
    /// # Errors
    /// [`AppendError`]; nothing has changed then.
    pub fn append<F: AsRef<[u8]>>(
        &mut self,
        spec: IdSpec,
        now_ms: u64,
        fields: &[F],
        limits: &Limits,
    ) -> Result<StreamId, AppendError> {
        let id = self.next_id(spec, now_ms)?;
        let bytes: usize = fields.iter().map(|f| f.as_ref().len()).sum();
        if bytes > MAX_NODE_BYTES {
            return Err(AppendError::TooLarge);
        }
        let max_bytes = match limits.stream_node_max_bytes {
            0 => MAX_NODE_BYTES,
            max => max.min(MAX_NODE_BYTES),
        };
        let max_entries = limits.stream_node_max_entries as u64;
        let fitting = self.nodes.last_mut().and_then(|node| {
            let header = node.view().header()?;
            let is_full = node.view().packed_len() + bytes >= max_bytes
                || (max_entries > 0 && header.live + header.deleted >= max_entries);
            if is_full {
                node.shrink();
                return None;
            }
            Some((node, header))
        });
        match fitting {
            Some((node, header)) => {
                let same = node.view().has_fields(&header, fields);
                node.push(&header, id, fields, same);
            }
            None => {
                let mut node = Node::start(id, fields);
                node.push(&Header::default(), id, fields, true);
                self.nodes.push(node);
            }
        }
        let totals = &mut self.totals;
        totals.length += 1;
        totals.entries_added = totals.entries_added.wrapping_add(1);
        totals.last_id = id;
        if totals.length == 1 {
            totals.first_id = id;
        }
        Ok(id)
    }

    /// Deletes an entry; answers whether it was there. O(log n) and the entries of one node.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some(found) = Walk::new(&self.nodes, id, id, Direction::Forward).next() else {
            return false;
        };
        let (at, head, header) = (found.at, found.head, found.header);
        if header.live <= 1 {
            self.nodes.remove(at);
        } else if let Some(node) = self.nodes.get_mut(at) {
            node.flag_deleted(&head);
            node.set_counts(header.live - 1, header.deleted + 1);
        }
        self.totals.length = self.totals.length.saturating_sub(1);
        self.totals.max_deleted_id = self.totals.max_deleted_id.max(id);
        if self.totals.length == 0 || id == self.totals.first_id {
            self.find_first();
        }
        true
    }

    /// Removes the oldest entries, whatever groups have of them; answers how many. O(nodes removed), and
    /// the entries of one node if exact.
    pub fn trim(&mut self, keep: Keep, how: Trim) -> u64 {
        self.trim_minding(keep, how, References::Keep).removed
    }

    /// As `trim`, minding what groups have of the entries. O(entries looked at) unless `Keep`.
    pub fn trim_minding(&mut self, keep: Keep, how: Trim, references: References) -> Trimmed {
        let mut done = Trimmed { removed: 0, stopped_at: None };
        let read_by_all = self.read_by_all();
        let mut next = self.nodes.first();
        while let Some(at) = next {
            let length = self.totals.length;
            done.stopped_at = self.nodes.get(at).map(|node| node.master);
            if matches!(keep, Keep::Newest(max) if length <= max) {
                return self.end_trim(done);
            }
            let Some(node) = self.nodes.get(at).map(Node::view) else { break };
            // A node that cannot be read is held to be empty; loading lets none in.
            let live = node.header().map_or(0, |h| h.live);
            if matches!(how, Trim::Nodes { limit } if limit > 0 && done.removed + live > limit) {
                return self.end_trim(done);
            }
            let whole = match keep {
                Keep::Newest(max) => length.saturating_sub(live) >= max,
                Keep::From(id) => node.last_id().is_none_or(|last| last < id),
            };
            if !whole && how != Trim::Exact {
                return self.end_trim(done);
            }
            if whole && references == References::Keep {
                next = self.nodes.remove(at);
                self.totals.length = length.saturating_sub(live);
                done.removed += live;
                continue;
            }
            let (removed, is_empty) = self.trim_node(at, keep, references, read_by_all);
            done.removed += removed;
            next = if is_empty { self.nodes.remove(at) } else { self.nodes.after(at) };
            if !whole {
                return self.end_trim(done);
            }
        }
        done.stopped_at = None;
        self.end_trim(done)
    }

    fn end_trim(&mut self, done: Trimmed) -> Trimmed {
        if done.removed > 0 || self.totals.length == 0 {
            self.find_first();
        }
        done
    }

    /// Removes the entries of a node that a trim does not keep; answers how many, and whether no live one
    /// is left.
    fn trim_node(
        &mut self,
        at: At,
        keep: Keep,
        references: References,
        read_by_all: Option<StreamId>,
    ) -> (u64, bool) {
        let length = self.totals.length;
        let Some(node) = self.nodes.get_mut(at) else { return (0, false) };
        let Some(header) = node.view().header() else { return (0, false) };
        let mut removed = 0;
        let mut offset = header.entries_at;
        while let Some(head) = node.view().entry_head(&header, offset) {
            let stop = match keep {
                Keep::Newest(max) => length.saturating_sub(removed) <= max,
                Keep::From(id) => head.id >= id,
            };
            if stop {
                break;
            }
            let Some(next) = node.view().after(&head) else { break };
            offset = next;
            if head.flags & DELETED == 0 && references.allow_removal(&mut self.groups, read_by_all, head.id) {
                node.flag_deleted(&head);
                removed += 1;
            }
        }
        let live = header.live.saturating_sub(removed);
        node.set_counts(live, header.deleted + removed);
        self.totals.length = length.saturating_sub(removed);
        (removed, live == 0)
    }

    /// Looks for the first live entry anew.
    pub(super) fn find_first(&mut self) {
        let first = Walk::new(&self.nodes, StreamId::MIN, StreamId::MAX, Direction::Forward).next();
        self.totals.first_id = first.map_or(StreamId::MIN, |found| found.head.id);
    }
}
