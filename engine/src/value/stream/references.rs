//! What becomes of the pending entries of groups when the entries they stand for are removed.
//!
//! Nothing is kept for this: groups are asked when a command asks for it, so that a stream without such
//! commands pays nothing. Behaviour: redis src/t_stream.c since 8.2, `streamEntryIsReferenced`,
//! `streamCleanupEntryCGroupRefs`.

use std::collections::BTreeMap;

use crate::base::stream_id::StreamId;

use super::Stream;
use super::group::Group;

/// What a removal does about groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum References {
    /// Pending entries stay so (KEEPREF).
    #[default]
    Keep,
    /// They go along (DELREF).
    Delete,
    /// Only entries that every group has read and nobody has yet to acknowledge are removed (ACKED).
    Acked,
}

/// What became of an entry that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is removed.
    Yes,
    /// It was not there.
    NotThere,
    /// A group has yet to read it, or a consumer to acknowledge it.
    Referenced,
}

type Groups = BTreeMap<Box<[u8]>, Group>;

impl References {
    /// Whether an entry may go; with `Delete`, it is not pending any more.
    pub(super) fn allow_removal(
        self,
        groups: &mut Groups,
        read_by_all: Option<StreamId>,
        id: StreamId,
    ) -> bool {
        match self {
            References::Keep => true,
            References::Delete => {
                forget(groups, id);
                true
            }
            References::Acked => !is_referenced(groups, read_by_all, id),
        }
    }
}

fn is_referenced(groups: &Groups, read_by_all: Option<StreamId>, id: StreamId) -> bool {
    read_by_all.is_some_and(|last| id > last) || groups.values().any(|group| group.pending_at(id).is_some())
}

/// Takes an entry off the pending ones of all groups; answers whether it was among any.
fn forget(groups: &mut Groups, id: StreamId) -> bool {
    groups.values_mut().fold(false, |any, group| group.remove_pending(id) | any)
}

impl Stream {
    /// Up to where every group has read; `None` without groups. O(groups).
    pub(super) fn read_by_all(&self) -> Option<StreamId> {
        self.groups.values().map(Group::last_id).min()
    }

    /// Removes an entry, minding what groups have of it. Answers what became of it, and whether
    /// anything has changed: pending entries of one that is gone may be forgotten.
    pub fn remove(&mut self, id: StreamId, references: References) -> (Removed, bool) {
        let mut forgotten = false;
        match references {
            References::Keep => {}
            References::Delete => forgotten = forget(&mut self.groups, id),
            References::Acked => {
                if is_referenced(&self.groups, self.read_by_all(), id) {
                    return (Removed::Referenced, false);
                }
            }
        }
        let deleted = self.delete(id);
        (if deleted { Removed::Yes } else { Removed::NotThere }, deleted || forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::stream_id::IdSpec;
    use crate::base::time::UnixMs;
    use crate::value::Limits;
    use crate::value::stream::{Acks, Keep, Reader, Trim};

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    /// Entries 1 to 6, two a node, of which group `a` has read four and `b` two, without acknowledging.
    fn half_read() -> Stream {
        let limits = Limits { stream_node_max_entries: 2, ..Limits::DEFAULT };
        let mut stream = Stream::new();
        for ms in 1..=6 {
            stream.append(IdSpec::Exact(id(ms)), 0, &["f", "v"], &limits).expect("ids go up");
        }
        for (group, reads) in [(&b"a"[..], 4), (b"b", 2)] {
            stream.create_group(group, StreamId::MIN, None);
            let reader = Reader { group, consumer: b"c", now: UnixMs(1) };
            stream.see_consumer(reader).expect("there is a group");
            stream.deliver_new(reader, reads, Acks::Wanted, |_| {}).expect("there is a group");
        }
        stream
    }

    fn pending(stream: &Stream, group: &[u8]) -> Vec<u64> {
        let group = stream.group(group).expect("there");
        group.pending(StreamId::MIN, StreamId::MAX).map(|p| p.id.ms).collect()
    }

    #[test]
    fn an_acknowledged_entry_may_go_when_all_have_read_it() {
        let mut stream = half_read();
        assert_eq!(stream.remove(id(1), References::Acked), (Removed::Referenced, false));
        stream.ack(b"a", &[id(1), id(3)]);
        assert_eq!(stream.remove(id(1), References::Acked), (Removed::Referenced, false));
        stream.ack(b"b", &[id(1)]);
        assert_eq!(stream.remove(id(1), References::Acked), (Removed::Yes, true));
        assert_eq!(stream.remove(id(1), References::Acked), (Removed::NotThere, false));
        let unread = (Removed::Referenced, false);
        assert_eq!(stream.remove(id(3), References::Acked), unread, "group b has not read it");
        stream.destroy_group(b"b");
        assert_eq!(stream.remove(id(3), References::Acked), (Removed::Yes, true));
    }

    #[test]
    fn references_stay_or_go() {
        let mut stream = half_read();
        assert_eq!(stream.remove(id(2), References::Keep), (Removed::Yes, true));
        assert_eq!((pending(&stream, b"a"), pending(&stream, b"b")), (vec![1, 2, 3, 4], vec![1, 2]));
        assert_eq!(stream.remove(id(2), References::Delete), (Removed::NotThere, true));
        assert_eq!(stream.remove(id(1), References::Delete), (Removed::Yes, true));
        assert_eq!(stream.remove(id(1), References::Delete), (Removed::NotThere, false));
        assert_eq!((pending(&stream, b"a"), pending(&stream, b"b")), (vec![3, 4], vec![]));
    }

    #[test]
    fn a_trim_minds_references() {
        let mut stream = half_read();
        assert_eq!(stream.trim_minding(Keep::Newest(3), Trim::Exact, References::Delete).removed, 3);
        assert_eq!((pending(&stream, b"a"), pending(&stream, b"b")), (vec![4], vec![]));

        let mut stream = half_read();
        stream.ack(b"a", &[id(1), id(2)]);
        stream.ack(b"b", &[id(2)]);
        let done = stream.trim_minding(Keep::From(id(6)), Trim::Exact, References::Acked);
        assert_eq!((done.removed, stream.len()), (1, 5));
        assert!(!stream.contains(id(2)));
        let done = stream.trim_minding(Keep::Newest(1), Trim::Nodes { limit: 0 }, References::Acked);
        assert_eq!((done.removed, stream.nodes_len()), (0, 3));
        stream.ack(b"b", &[id(1)]);
        let done = stream.trim_minding(Keep::Newest(1), Trim::Nodes { limit: 0 }, References::Acked);
        assert_eq!((done.removed, stream.nodes_len()), (1, 2));
    }
}
