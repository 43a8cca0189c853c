//! The numbers that a stream keeps of itself, and what can be concluded from them about how far a
//! consumer group has come. Behaviour: valkey src/t_stream.c, `streamRangeHasTombstones`,
//! `streamEstimateDistanceFromFirstEverEntry`, `streamReplyWithCGLag`.

use crate::base::stream_id::StreamId;

/// The numbers of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Live entries.
    pub length: u64,
    /// The last id ever added.
    pub last_id: StreamId,
    /// The first live id; 0-0 when there are none.
    pub first_id: StreamId,
    /// The greatest id ever deleted by XDEL; 0-0 when none was.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
}

impl Totals {
    /// Whether an entry at or after `start` may have been deleted by XDEL.
    fn has_deleted_since(&self, start: StreamId) -> bool {
        self.length > 0 && self.max_deleted_id != StreamId::MIN && start <= self.max_deleted_id
    }

    /// How many entries were ever added up to `id`, when that can be known.
    #[must_use]
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(self.entries_added);
        }
        let whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if !whole {
            return None;
        }
        // XSETID can leave fewer entries added than there are.
        let gone = self.entries_added.wrapping_sub(self.length);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(gone),
            std::cmp::Ordering::Equal => Some(gone.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// The read counter of a group after `id` was delivered as the next one behind `last_id`.
    pub(super) fn reads_after(&self, reads: Option<u64>, last_id: StreamId, id: StreamId) -> Option<u64> {
        match reads {
            Some(n) if last_id >= self.first_id && !self.has_deleted_since(last_id) => {
                Some(n.wrapping_add(1))
            }
            _ if self.entries_added > 0 => self.entries_up_to(id),
            _ => reads,
        }
    }

    /// How many entries a group has yet to get, when that can be known.
    #[must_use]
    pub fn lag(&self, reads: Option<u64>, last_id: StreamId) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let reads = match reads {
            Some(n) if !self.has_deleted_since(last_id) => n,
            _ => self.entries_up_to(last_id)?,
        };
        Some(self.entries_added.wrapping_sub(reads) as i64)
    }
}
