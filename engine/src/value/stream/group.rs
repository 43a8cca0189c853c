//! A consumer group: how far it has read, who its consumers are, which entries they have yet to
//! acknowledge.
//!
//! Pending entries are in order of their ids, each with the number of its consumer; each consumer has
//! the ids of its own. Both always agree. Names are in byte order, as Redis saves them. Knows no
//! entries: what an id stands for is the stream's business. Behaviour: valkey src/t_stream.c.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;

use super::pending::ById;

/// The number of no consumer: of entries that were given back (XNACK).
const NOBODY: u32 = u32::MAX;

/// A consumer group.
#[derive(Debug, Clone)]
pub struct Group {
    pub(super) last_id: StreamId,
    pub(super) entries_read: Option<u64>,
    pel: ById<Nack>,
    names: BTreeMap<Box<[u8]>, u32>,
    consumers: Vec<Option<Box<Consumer>>>,
    /// Numbers of consumers that are gone.
    free: Vec<u32>,
    nacked: Vec<StreamId>,
    /// What consumers have by the time of its delivery: made when it is first asked for.
    by_time: Option<BTreeSet<(UnixMs, StreamId)>>,
}

/// Pending entries that have been so for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Idle {
    /// Entry, how long ago it was delivered, and how often: those that were given back first, then the
    /// longest idle.
    pub entries: Vec<(StreamId, i64, u64)>,
    /// When the next one will have been idle for long enough; `None` if nothing more is pending.
    pub next_at: Option<UnixMs>,
}

/// A consumer of a group.
#[derive(Debug, Clone)]
pub struct Consumer {
    name: Box<[u8]>,
    /// The last time it tried anything.
    pub seen_at: UnixMs,
    /// The last time it got something; `None` before the first.
    pub active_at: Option<UnixMs>,
    pending: ById<()>,
}

#[derive(Debug, Clone, Copy)]
struct Nack {
    consumer: u32,
    delivered_at: UnixMs,
    deliveries: u64,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending<'a> {
    /// The entry's id.
    pub id: StreamId,
    /// Whose it is; `None` if it was given back.
    pub consumer: Option<&'a [u8]>,
    /// When it was last delivered.
    pub delivered_at: UnixMs,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// The number of a consumer within its group, until it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConsumerId(u32);

impl Consumer {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries it has yet to acknowledge.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids of the entries it has yet to acknowledge, in order.
    pub fn pending_ids(&self) -> impl Iterator<Item = StreamId> {
        self.pending.iter().map(|(id, ())| id)
    }
}

impl Group {
    pub(super) fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_id,
            entries_read,
            pel: ById::default(),
            names: BTreeMap::new(),
            consumers: Vec::new(),
            free: Vec::new(),
            nacked: Vec::new(),
            by_time: None,
        }
    }

    /// The last id that was delivered.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// How many entries were delivered, when that is known.
    #[must_use]
    pub fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// How many entries wait for an acknowledgement.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pel.len()
    }

    /// The least and the greatest id that wait for an acknowledgement.
    #[must_use]
    pub fn pending_bounds(&self) -> Option<(StreamId, StreamId)> {
        self.pel.bounds()
    }

    /// The pending entries with ids from `start` to `end`, both included, in order.
    pub fn pending(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Pending<'_>> {
        self.pel.range(start, end).map(|(id, nack)| self.describe(id, nack))
    }

    /// The pending entries of one consumer with ids from `start` to `end`, in order.
    pub fn pending_of<'a>(
        &'a self,
        consumer: &'a Consumer,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = Pending<'a>> {
        consumer.pending.range(start, end).filter_map(|(id, ())| self.pending_at(id))
    }

    /// The pending entry with this id.
    #[must_use]
    pub fn pending_at(&self, id: StreamId) -> Option<Pending<'_>> {
        self.pel.get(id).map(|nack| self.describe(id, nack))
    }

    /// The pending entries that were given back, in the order in which that happened.
    #[must_use]
    pub fn nacked(&self) -> &[StreamId] {
        &self.nacked
    }

    /// How many consumers there are.
    #[must_use]
    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// The consumers in the byte order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().filter_map(|&at| self.consumers[at as usize].as_deref())
    }

    /// The consumer of this name.
    #[must_use]
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers[*self.names.get(name)? as usize].as_deref()
    }

    fn describe<'a>(&'a self, id: StreamId, nack: &Nack) -> Pending<'a> {
        let consumer = self.consumers.get(nack.consumer as usize).and_then(Option::as_deref);
        Pending {
            id,
            consumer: consumer.map(|c| &*c.name),
            delivered_at: nack.delivered_at,
            deliveries: nack.deliveries,
        }
    }

    pub(super) fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied().map(ConsumerId)
    }

    pub(super) fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_deref_mut().expect("a number is good until its consumer is deleted")
    }

    /// Adds a consumer; `None` if there is one of that name.
    pub(super) fn add_consumer(&mut self, name: &[u8], now: UnixMs) -> Option<ConsumerId> {
        if self.names.contains_key(name) {
            return None;
        }
        let consumer =
            Box::new(Consumer { name: name.into(), seen_at: now, active_at: None, pending: ById::default() });
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.consumers.push(None);
                let at = self.consumers.len() - 1;
                u32::try_from(at).expect("four billion consumers do not fit into memory")
            }
        };
        self.consumers[at as usize] = Some(consumer);
        self.names.insert(name.into(), at);
        Some(ConsumerId(at))
    }

    /// Removes a consumer and its pending entries; answers how many there were.
    pub(super) fn remove_consumer(&mut self, name: &[u8]) -> Option<u64> {
        let at = self.names.remove(name)?;
        let consumer = self.consumers[at as usize].take()?;
        self.free.push(at);
        for id in consumer.pending_ids() {
            let nack = self.pel.remove(id);
            if let (Some(by_time), Some(nack)) = (&mut self.by_time, nack) {
                by_time.remove(&(nack.delivered_at, id));
            }
        }
        Some(consumer.pending.len() as u64)
    }

    /// Removes a pending entry from the group and from its consumer.
    pub(super) fn remove_pending(&mut self, id: StreamId) -> bool {
        let Some(nack) = self.pel.remove(id) else { return false };
        if let Some(by_time) = &mut self.by_time {
            by_time.remove(&(nack.delivered_at, id));
        }
        self.disown(id, nack.consumer);
        true
    }

    fn disown(&mut self, id: StreamId, owner: u32) {
        match self.consumers.get_mut(owner as usize).and_then(Option::as_deref_mut) {
            Some(consumer) => drop(consumer.pending.remove(id)),
            None => self.nacked.retain(|&n| n != id),
        }
    }

    /// Makes an entry, pending or not, pending for this consumer.
    pub(super) fn assign(&mut self, id: StreamId, to: ConsumerId, delivered_at: UnixMs, deliveries: u64) {
        let nack = Nack { consumer: to.0, delivered_at, deliveries };
        let old = self.pel.insert(id, nack);
        if let Some(by_time) = &mut self.by_time {
            if let Some(old) = old {
                by_time.remove(&(old.delivered_at, id));
            }
            by_time.insert((delivered_at, id));
        }
        if let Some(old) = old {
            if old.consumer == to.0 {
                return;
            }
            self.disown(id, old.consumer);
        }
        self.consumer_mut(to).pending.insert(id, ());
    }

    /// Counts one more delivery of a pending entry.
    pub(super) fn deliver_again(&mut self, id: StreamId, now: UnixMs) {
        if let Some(nack) = self.pel.get_mut(id) {
            if let Some(by_time) = &mut self.by_time {
                by_time.remove(&(nack.delivered_at, id));
                by_time.insert((now, id));
            }
            nack.delivered_at = now;
            nack.deliveries = nack.deliveries.wrapping_add(1);
        }
    }

    /// The first pending id from `start` on.
    pub(super) fn pending_from(&self, start: StreamId) -> Option<StreamId> {
        self.pel.iter_from(start).next().map(|(id, _)| id)
    }

    /// The first pending id of a consumer from `start` on.
    pub(super) fn pending_of_from(&self, consumer: ConsumerId, start: StreamId) -> Option<StreamId> {
        let consumer = self.consumers[consumer.0 as usize].as_deref()?;
        consumer.pending.iter_from(start).next().map(|(id, ())| id)
    }

    /// Adds a pending entry of nobody, as files have them before their consumers; `false` if there.
    pub(super) fn load_pending(&mut self, id: StreamId, delivered_at: UnixMs, deliveries: u64) -> bool {
        let nack = Nack { consumer: NOBODY, delivered_at, deliveries };
        self.pel.insert(id, nack).is_none()
    }

    /// Gives a pending entry of nobody to a consumer; `false` if it is not there or is taken.
    pub(super) fn load_owner(&mut self, id: StreamId, to: ConsumerId) -> bool {
        match self.pel.get_mut(id) {
            Some(nack) if nack.consumer == NOBODY => nack.consumer = to.0,
            _ => return false,
        }
        self.consumer_mut(to).pending.insert(id, ()).is_none()
    }

    /// Marks a pending entry as given back; `false` if it is not there or is marked already.
    pub(super) fn load_nacked(&mut self, id: StreamId) -> bool {
        if self.pel.get(id).is_none() {
            return false;
        }
        self.nacked.push(id);
        true
    }

    /// Whether the entries of nobody are those that were given back.
    pub(super) fn is_complete(&self) -> bool {
        let given_back: BTreeSet<_> = self.nacked.iter().collect();
        given_back.len() == self.nacked.len()
            && self.pel.iter().all(|(id, nack)| (nack.consumer == NOBODY) == given_back.contains(&id))
    }

    /// The pending entries that `exists` says are there and that were delivered at least `min_idle_ms`
    /// ago, `limit` at most. O(what is given, and the entries that are gone).
    pub(super) fn idle(
        &mut self,
        now: UnixMs,
        min_idle_ms: i64,
        limit: usize,
        exists: impl Fn(StreamId) -> bool,
    ) -> Idle {
        let Group { pel, nacked, by_time, .. } = self;
        let by_time = by_time.get_or_insert_with(|| {
            let owned = pel.iter().filter(|(_, nack)| nack.consumer != NOBODY);
            owned.map(|(id, nack)| (nack.delivered_at, id)).collect()
        });
        let mut idle = Idle::default();
        let given_back = nacked.iter().copied();
        for id in given_back.chain(by_time.iter().map(|(_, id)| *id)) {
            let Some(nack) = pel.get(id) else { continue };
            let idle_ms = now.ms_after(nack.delivered_at);
            if idle.entries.len() == limit {
                break;
            }
            if !exists(id) {
                continue;
            }
            if nack.consumer != NOBODY && idle_ms < min_idle_ms {
                idle.next_at = Some(nack.delivered_at.saturating_add_ms(min_idle_ms));
                break;
            }
            idle.entries.push((id, idle_ms, nack.deliveries));
        }
        idle
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let pel = self.pel.memory_bytes()
            + self.by_time.as_ref().map_or(0, |by_time| by_time.len() * size_of::<(UnixMs, StreamId)>());
        let consumers: usize = self
            .consumers()
            .map(|c| size_of::<Consumer>() + 2 * c.name.len() + c.pending.memory_bytes())
            .sum();
        pel + consumers
            + self.consumers.capacity() * size_of::<Option<Box<Consumer>>>()
            + self.names.len() * size_of::<(Box<[u8]>, u32)>()
            + self.nacked.capacity() * size_of::<StreamId>()
    }
}
