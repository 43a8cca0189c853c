//! Something for each of many ids, in the order of the ids: in chunks of a sorted array.
//!
//! Ids come at the end and go from the beginning, mostly, so that chunks are full: half the memory of a
//! tree. Looking one up is two binary searches; one in the middle moves a chunk's rest at most. Knows
//! neither groups nor consumers.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::base::stream_id::StreamId;

/// Most entries of a chunk.
const CHUNK: usize = if cfg!(test) { 8 } else { 64 };

/// Values by id. No chunk is empty.
#[derive(Debug, Clone)]
pub(super) struct ById<V> {
    chunks: VecDeque<Vec<(StreamId, V)>>,
    len: usize,
}

/// Where an entry is, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    chunk: usize,
    at: usize,
}

impl<V> Default for ById<V> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }
}

impl<V> ById<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the first entry is whose id is not below `id`, and whether it has that id.
    fn find(&self, id: StreamId) -> (Place, bool) {
        let last_is_below = |chunk: &Vec<(StreamId, V)>| chunk.last().is_none_or(|(last, _)| *last < id);
        let chunk = self.chunks.partition_point(last_is_below);
        let Some(entries) = self.chunks.get(chunk) else { return (Place { chunk, at: 0 }, false) };
        match entries.binary_search_by(|(other, _)| other.cmp(&id)) {
            Ok(at) => (Place { chunk, at }, true),
            Err(at) => (Place { chunk, at }, false),
        }
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&V> {
        let (place, is_there) = self.find(id);
        is_there.then(|| &self.chunks[place.chunk][place.at].1)
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        let (place, is_there) = self.find(id);
        is_there.then(|| &mut self.chunks[place.chunk][place.at].1)
    }

    /// Sets the value of an id; answers the one that it had.
    pub(super) fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let (Place { chunk, at }, is_there) = self.find(id);
        if is_there {
            return Some(std::mem::replace(&mut self.chunks[chunk][at].1, value));
        }
        self.len += 1;
        // Behind all others it goes into the last chunk, or begins one.
        let (chunk, at) = match self.chunks.back() {
            Some(last) if chunk == self.chunks.len() && last.len() < CHUNK => (chunk - 1, last.len()),
            _ => (chunk, at),
        };
        let Some(entries) = self.chunks.get_mut(chunk) else {
            self.chunks.push_back(vec![(id, value)]);
            return None;
        };
        entries.insert(at, (id, value));
        if entries.len() > CHUNK {
            let rest = entries.split_off(CHUNK / 2);
            self.chunks.insert(chunk + 1, rest);
        }
        None
    }

    /// Takes an id out; answers its value.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<V> {
        let (Place { chunk, at }, is_there) = self.find(id);
        if !is_there {
            return None;
        }
        self.len -= 1;
        let entries = &mut self.chunks[chunk];
        let (_, value) = entries.remove(at);
        if entries.is_empty() {
            self.chunks.remove(chunk);
        } else if entries.len() < CHUNK / 4 {
            self.join(chunk);
        }
        Some(value)
    }

    /// Puts a chunk that has become small together with a neighbour, if that leaves room; else gives back
    /// what it does not need.
    fn join(&mut self, chunk: usize) {
        let len = |at: usize| self.chunks.get(at).map_or(CHUNK, Vec::len);
        let fits = |at: usize| len(at) + len(chunk) <= CHUNK / 4 * 3;
        let first = if fits(chunk + 1) {
            chunk
        } else if chunk > 0 && fits(chunk - 1) {
            chunk - 1
        } else {
            let entries = &mut self.chunks[chunk];
            entries.shrink_to(entries.len() * 2);
            return;
        };
        if let Some(mut second) = self.chunks.remove(first + 1) {
            self.chunks[first].append(&mut second);
        }
    }

    /// Entries from `from` on, in order.
    pub(super) fn iter_from(&self, from: StreamId) -> impl Iterator<Item = (StreamId, &V)> {
        let (Place { chunk, at }, _) = self.find(from);
        self.chunks.iter().skip(chunk).flatten().skip(at).map(|(id, value)| (*id, value))
    }

    /// Entries with ids from `from` to `to`, both included, in order.
    pub(super) fn range(&self, from: StreamId, to: StreamId) -> impl Iterator<Item = (StreamId, &V)> {
        self.iter_from(from).take_while(move |(id, _)| id.cmp(&to) != Ordering::Greater)
    }

    /// All entries, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &V)> {
        self.chunks.iter().flatten().map(|(id, value)| (*id, value))
    }

    /// The least and the greatest id.
    pub(super) fn bounds(&self) -> Option<(StreamId, StreamId)> {
        Some((self.chunks.front()?.first()?.0, self.chunks.back()?.last()?.0))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let entries: usize = self.chunks.iter().map(Vec::capacity).sum();
        self.chunks.capacity() * size_of::<Vec<(StreamId, V)>>() + entries * size_of::<(StreamId, V)>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check(ids: &ById<u32>, model: &BTreeMap<StreamId, u32>) {
        assert_eq!(ids.len(), model.len());
        assert!(ids.iter().eq(model.iter().map(|(id, value)| (*id, value))));
        let ends = (model.keys().next().copied(), model.keys().next_back().copied());
        assert_eq!(ids.bounds().map_or((None, None), |(a, b)| (Some(a), Some(b))), ends);
        assert!(ids.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK));
    }

    proptest! {
        #[test]
        fn chunks_match_a_tree(calls in prop::collection::vec((0u8..4, 0u64..60, any::<u32>()), 0..400)) {
            let (mut ids, mut model) = (ById::default(), BTreeMap::new());
            let mut next = 0;
            for (what, n, value) in calls {
                let id = StreamId::new(n, 0);
                match what {
                    0 => assert_eq!(ids.insert(id, value), model.insert(id, value)),
                    1 => {
                        next += 1;
                        let id = StreamId::new(60 + next, n);
                        assert_eq!(ids.insert(id, value), model.insert(id, value));
                    }
                    2 => assert_eq!(ids.remove(id), model.remove(&id)),
                    _ => {
                        let oldest = ids.bounds().map_or(id, |(first, _)| first);
                        assert_eq!(ids.remove(oldest), model.remove(&oldest));
                    }
                }
                if let Some(kept) = ids.get_mut(id) {
                    *kept ^= 1;
                }
                model.entry(id).and_modify(|kept| *kept ^= 1);
                assert_eq!(ids.get(id), model.get(&id));
                let to = StreamId::new(n + 9, 0);
                assert!(ids.range(id, to).eq(model.range(id..=to).map(|(id, value)| (*id, value))));
                check(&ids, &model);
            }
        }
    }

    #[test]
    fn ids_that_come_in_order_fill_their_chunks() {
        let mut ids = ById::default();
        for ms in 0..1000 {
            ids.insert(StreamId::new(ms, 0), ());
        }
        assert_eq!(ids.chunks.len(), 1000 / CHUNK);
        for ms in 0..999 {
            ids.remove(StreamId::new(ms, 0));
        }
        assert_eq!((ids.chunks.len(), ids.len()), (1, 1));
    }
}
