//! Streams in another form. Nodes, entries and pending lists are the same in all; what differs is which
//! numbers stand beside them. No event says how many groups, pending entries and consumers follow, so
//! those counts are gaps. Layout: `codec/rdb/decode/stream.rs`.

use std::collections::BTreeMap;
use std::io;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{ObjectType, StreamId, StreamTotals, ValueEvent};
use cairn_engine::value::stream::Idempotence;

use super::super::spool::Gap;
use super::{State, Transcoder};
use crate::lossy::Feature;

use ObjectType as T;

/// What stands for a count of entries read that is not known.
const UNKNOWN: u64 = u64::MAX;
/// What stands for a consumer that has never got anything.
const NEVER_ACTIVE: UnixMs = UnixMs(-1);

/// How far the writing of a stream has come.
pub(super) struct StreamState {
    to: ObjectType,
    /// Whether it was told when consumers last got something.
    knows_activity: bool,
    /// Whether consumers' names must be known: released entries may need one that is not taken.
    keeps_names: bool,
    totals: StreamTotals,
    groups: Option<(Gap, u64)>,
    group: Option<Group>,
    /// Duration, most entries and producers come before the producers.
    idmp: Option<[Gap; 3]>,
    producers: u64,
    producer: Option<(Vec<u8>, Gap, u64)>,
    ids: u64,
}

/// The group that is being written.
struct Group {
    pending: (Gap, u64),
    consumers: Option<(Gap, u64)>,
    /// Pending entries of the consumer that is being written.
    owned: Option<(Gap, u64)>,
    nacked: Option<(Gap, u64)>,
    names: Vec<Vec<u8>>,
}

impl StreamState {
    pub(super) fn new(from: ObjectType, to: ObjectType) -> Self {
        Self {
            to,
            knows_activity: has_active_time(from),
            keeps_names: from == T::StreamListpacks5 && to != from,
            totals: StreamTotals::default(),
            groups: None,
            group: None,
            idmp: None,
            producers: 0,
            producer: None,
            ids: 0,
        }
    }

    fn has_totals(&self) -> bool {
        self.to != T::StreamListpacks
    }

    fn has_active_time(&self) -> bool {
        has_active_time(self.to)
    }

    fn has_idmp(&self) -> bool {
        matches!(self.to, T::StreamListpacks4 | T::StreamListpacks5)
    }

    fn has_nacks(&self) -> bool {
        self.to == T::StreamListpacks5
    }

    /// How many entries a server takes a group to have read that is at `last_id` of a stream of which
    /// no more is known than its live entries; as `streamEstimateDistanceFromFirstEverEntry` of Valkey.
    fn entries_read_anew(&self, last_id: StreamId) -> Option<u64> {
        let StreamTotals { length, last_id: top, first_id, .. } = self.totals;
        let first_id = first_id.unwrap_or_default();
        // Without tombstones as many have been added as there are.
        match length {
            0 => (last_id <= top).then_some(0),
            _ if last_id == top => Some(length),
            _ if last_id > top => None,
            _ if last_id < first_id => Some(0),
            _ if last_id == first_id => Some(1),
            _ => None,
        }
    }
}

impl Transcoder {
    pub(super) fn stream(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        // Out of the state while it is used, so that the writer can be used too.
        let State::Stream(mut stream) = std::mem::replace(&mut self.state, State::Plain) else {
            return Ok(());
        };
        let result = self.stream_event(&mut stream, event);
        self.state = State::Stream(stream);
        result
    }

    fn stream_event(&mut self, stream: &mut StreamState, event: &ValueEvent<'_>) -> io::Result<()> {
        match *event {
            ValueEvent::BeginNodes { declared } => self.w.len(declared),
            ValueEvent::StreamNode { master, entries } => {
                self.w.blob(&master.to_bytes())?;
                self.w.blob(entries.as_bytes())
            }
            ValueEvent::StreamTotals(totals) => self.totals(stream, totals),
            ValueEvent::StreamGroup { name, last_id, entries_read } => {
                self.end_group(stream)?;
                if let Some((_, groups)) = &mut stream.groups {
                    *groups += 1;
                }
                self.w.string(name)?;
                self.w.stream_id(last_id)?;
                if stream.has_totals() {
                    self.w.len(entries_read.unwrap_or(UNKNOWN))?;
                } else if entries_read.is_some() && entries_read != stream.entries_read_anew(last_id) {
                    self.lose(Feature::GroupCounters, 1);
                }
                let pending = (self.gap(), 0);
                let group = Group { pending, consumers: None, owned: None, nacked: None, names: Vec::new() };
                stream.group = Some(group);
                Ok(())
            }
            ValueEvent::StreamPending { id, delivered_at, deliveries } => {
                if let Some(group) = &mut stream.group {
                    group.pending.1 += 1;
                }
                self.w.raw_stream_id(id)?;
                self.w.ms(delivered_at)?;
                self.w.len(deliveries)
            }
            ValueEvent::StreamConsumer { name, seen_at, active_at } => {
                if stream.knows_activity && !stream.has_active_time() && active_at != Some(seen_at) {
                    self.lose(Feature::ConsumerActivity, 1);
                }
                let has_active_time = stream.has_active_time();
                let Some(group) = &mut stream.group else { return Ok(()) };
                if stream.keeps_names {
                    group.names.push(name.to_vec());
                }
                self.begin_consumer(
                    group,
                    name,
                    seen_at,
                    active_at.filter(|_| has_active_time),
                    has_active_time,
                )
            }
            ValueEvent::StreamConsumerPending(id) => {
                if let Some((_, owned)) = stream.group.as_mut().and_then(|group| group.owned.as_mut()) {
                    *owned += 1;
                }
                self.w.raw_stream_id(id)
            }
            ValueEvent::StreamNacked(id) => self.nacked(stream, id),
            ValueEvent::StreamIdmpEntry { producer, iid, id } => {
                self.idempotent_id(stream, producer, iid, id)
            }
            ValueEvent::StreamIdmp { duration_s, max_entries, added, duplicates } => {
                self.idmp(stream, [duration_s, max_entries, added, duplicates])
            }
            _ => Ok(()),
        }
    }

    fn totals(&mut self, stream: &mut StreamState, totals: StreamTotals) -> io::Result<()> {
        stream.totals = totals;
        self.w.len(totals.length)?;
        self.w.stream_id(totals.last_id)?;
        if stream.has_totals() {
            self.w.stream_id(totals.first_id.unwrap_or_default())?;
            self.w.stream_id(totals.max_deleted_id.unwrap_or_default())?;
            self.w.len(totals.entries_added.unwrap_or(totals.length))?;
        } else {
            let is_new = totals.max_deleted_id.unwrap_or_default() == StreamId::MIN
                && totals.entries_added.unwrap_or(totals.length) == totals.length;
            if !is_new {
                self.lose(Feature::StreamCounters, 1);
            }
        }
        stream.groups = Some((self.gap(), 0));
        Ok(())
    }

    fn begin_consumer(
        &mut self,
        group: &mut Group,
        name: &[u8],
        seen_at: UnixMs,
        active_at: Option<UnixMs>,
        has_active_time: bool,
    ) -> io::Result<()> {
        self.end_consumer(group);
        match &mut group.consumers {
            Some((_, consumers)) => *consumers += 1,
            None => group.consumers = Some((self.gap(), 1)),
        }
        self.w.string(name)?;
        self.w.ms(seen_at)?;
        if has_active_time {
            self.w.ms(active_at.unwrap_or(NEVER_ACTIVE))?;
        }
        group.owned = Some((self.gap(), 0));
        Ok(())
    }

    fn end_consumer(&mut self, group: &mut Group) {
        if let Some((gap, owned)) = group.owned.take() {
            self.fill(gap, owned);
        }
    }

    /// A released entry. Where the form knows none, it belongs to a consumer of a name that nobody has:
    /// servers refuse a group with entries that belong to none, and dropping them would lose messages.
    fn nacked(&mut self, stream: &mut StreamState, id: StreamId) -> io::Result<()> {
        let (has_nacks, has_active_time) = (stream.has_nacks(), stream.has_active_time());
        let Some(group) = &mut stream.group else { return Ok(()) };
        if !has_nacks {
            self.lose(Feature::StreamNacks, 1);
        }
        if group.nacked.is_none() {
            if has_nacks {
                self.end_consumer(group);
                self.ensure_consumers(group)?;
                group.nacked = Some((self.gap(), 0));
            } else {
                let name = free_name(&group.names);
                self.begin_consumer(group, &name, UnixMs(0), None, has_active_time)?;
                group.nacked = group.owned.take();
            }
        }
        if let Some((_, nacked)) = &mut group.nacked {
            *nacked += 1;
        }
        self.w.raw_stream_id(id)
    }

    fn ensure_consumers(&mut self, group: &mut Group) -> io::Result<()> {
        match group.consumers {
            Some(_) => Ok(()),
            None => self.w.len(0),
        }
    }

    fn end_group(&mut self, stream: &mut StreamState) -> io::Result<()> {
        let has_nacks = stream.has_nacks();
        let Some(mut group) = stream.group.take() else { return Ok(()) };
        self.end_consumer(&mut group);
        self.fill(group.pending.0, group.pending.1);
        match group.nacked {
            // The consumer was begun, or the list of consumers ended, when the first came.
            Some((gap, nacked)) => self.fill(gap, nacked),
            None => {
                self.ensure_consumers(&mut group)?;
                if has_nacks {
                    self.w.len(0)?;
                }
            }
        }
        if let Some((gap, consumers)) = group.consumers {
            self.fill(gap, consumers);
        }
        Ok(())
    }

    fn idempotent_id(
        &mut self,
        stream: &mut StreamState,
        producer: &[u8],
        iid: &[u8],
        id: StreamId,
    ) -> io::Result<()> {
        self.end_group(stream)?;
        stream.ids += 1;
        if !stream.has_idmp() {
            return Ok(());
        }
        self.begin_idmp(stream);
        if stream.producer.as_ref().is_none_or(|(name, ..)| name != producer) {
            self.end_producer(stream);
            stream.producers += 1;
            self.w.string(producer)?;
            stream.producer = Some((producer.to_vec(), self.gap(), 0));
        }
        if let Some((_, _, ids)) = &mut stream.producer {
            *ids += 1;
        }
        self.w.string(iid)?;
        self.w.stream_id(id)
    }

    fn begin_idmp(&mut self, stream: &mut StreamState) {
        if stream.idmp.is_none() {
            stream.idmp = Some([self.gap(), self.gap(), self.gap()]);
        }
    }

    fn end_producer(&mut self, stream: &mut StreamState) {
        if let Some((_, gap, ids)) = stream.producer.take() {
            self.fill(gap, ids);
        }
    }

    fn idmp(&mut self, stream: &mut StreamState, numbers: [u64; 4]) -> io::Result<()> {
        let [duration_s, max_entries, added, duplicates] = numbers;
        self.end_group(stream)?;
        if stream.has_idmp() {
            self.begin_idmp(stream);
            self.end_producer(stream);
            if let Some([first, second, third]) = stream.idmp {
                self.fill(first, duration_s);
                self.fill(second, max_entries);
                self.fill(third, stream.producers);
            }
            self.w.len(added)?;
            return self.w.len(duplicates);
        }
        let own = Idempotence { duration_s, max_entries, added, duplicates, producers: BTreeMap::new() };
        if stream.ids > 0 || !own.is_unused() {
            self.lose(Feature::StreamIdmp, stream.ids.max(1));
        }
        Ok(())
    }

    pub(super) fn end_stream(&mut self, mut stream: StreamState) -> io::Result<()> {
        self.end_group(&mut stream)?;
        if let Some((gap, groups)) = stream.groups {
            self.fill(gap, groups);
        }
        Ok(())
    }
}

fn has_active_time(object: ObjectType) -> bool {
    !matches!(object, T::StreamListpacks | T::StreamListpacks2)
}

/// A name that no consumer of the group has.
fn free_name(taken: &[Vec<u8>]) -> Vec<u8> {
    let is_free = |name: &Vec<u8>| !taken.contains(name);
    let numbered = (1..).map(|n| format!("released-{n}").into_bytes());
    std::iter::once(Vec::new()).chain(numbered).find(is_free).unwrap_or_default()
}
