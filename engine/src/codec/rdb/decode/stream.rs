//! Streams: nodes of entries, totals, consumer groups, idempotent producers.
//!
//! In file order (`n` a length, `s` a string, `ms` 8 bytes little-endian, `ID` two lengths, `raw` 16
//! bytes big-endian):
//!
//! ```text
//! n nodes, each: s of raw master id, s listpack
//! n length, ID last; from type 19 on: ID first, ID greatest deleted, n entries added
//! n groups, each: s name, ID last delivered; from 19 on: n entries read (all ones: unknown)
//!     n pending, each: raw, ms delivered, n deliveries
//!     n consumers, each: s name, ms seen; from 21 on: ms active; n pending, each: raw
//!     from 27 on: n released, each: raw
//! from 26 on: n duration s, n most entries, n producers, each: s name, n ids, each: s, ID
//!             n ids added, n duplicates
//! ```
//!
//! A node's listpack: live count, deleted count, n, n field names, 0; then each entry: flags, ms and
//! seq as differences to the master id, then with flag 2 a value for each of those names, else n and n
//! (name, value); at last how many of the entry's elements came before.
//! Behaviour: valkey src/t_stream.c, `streamValidateListpackIntegrity`.

use super::packed::listpack_view;
use super::value::Room;
use super::{ObjectType, Scratch};
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::rdb::error::{Halt, Kind, Stop};
use crate::codec::rdb::event::{Sink, StreamId, StreamTotals, ValueEvent};
use crate::codec::rdb::read::Cursor;
use crate::packed::Element;
use crate::packed::listpack::{Iter, Listpack};

use ObjectType as T;

/// Entry flags in a node.
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Where in a stream the next unit stands.
#[derive(Debug)]
pub(super) struct StreamState {
    at: At,
    nodes: u64,
    had_nodes: bool,
    groups: u64,
    pending: u64,
    consumers: u64,
    owned: u64,
    released: u64,
    producers: u64,
    ids: u64,
    producer: Vec<u8>,
    duration_s: u64,
    max_entries: u64,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Nodes,
    Totals,
    Groups,
    Pending,
    Consumers,
    Owned,
    Released,
    Idmp,
    Producers,
    Ids,
    IdmpTotals,
}

fn has_totals(object: T) -> bool {
    object != T::StreamListpacks
}

fn has_active_time(object: T) -> bool {
    !matches!(object, T::StreamListpacks | T::StreamListpacks2)
}

fn has_idmp(object: T) -> bool {
    matches!(object, T::StreamListpacks4 | T::StreamListpacks5)
}

fn has_released(object: T) -> bool {
    object == T::StreamListpacks5
}

impl StreamState {
    pub(super) fn begin<S: Sink>(
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<Self, Halt<S::Error>> {
        let nodes = cur.len()?;
        cur.commit();
        if room.emit {
            let event = match room.items {
                true => ValueEvent::Begin { declared: nodes },
                false => ValueEvent::BeginNodes { declared: nodes },
            };
            sink.value(event).map_err(Halt::Sink)?;
        }
        Ok(Self {
            at: At::Nodes,
            nodes,
            had_nodes: nodes > 0,
            groups: 0,
            pending: 0,
            consumers: 0,
            owned: 0,
            released: 0,
            producers: 0,
            ids: 0,
            producer: Vec::new(),
            duration_s: 0,
            max_entries: 0,
        })
    }

    pub(super) fn read<S: Sink>(
        &mut self,
        object: T,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        loop {
            let next = match self.at {
                At::Nodes if self.nodes == 0 => Some(At::Totals),
                At::Nodes => {
                    node(cur, room, sink)?;
                    self.nodes -= 1;
                    None
                }
                At::Totals => {
                    self.totals(object, cur, room, sink)?;
                    Some(At::Groups)
                }
                At::Groups if self.groups == 0 => match has_idmp(object) {
                    true => Some(At::Idmp),
                    false => return Ok(()),
                },
                At::Groups => {
                    self.group(object, cur, room, sink)?;
                    self.groups -= 1;
                    Some(At::Pending)
                }
                At::Pending if self.pending == 0 => {
                    self.consumers = cur.len()?;
                    Some(At::Consumers)
                }
                At::Pending => {
                    pending(cur, room, sink)?;
                    self.pending -= 1;
                    None
                }
                At::Consumers if self.consumers == 0 => match has_released(object) {
                    true => {
                        self.released = cur.len()?;
                        Some(At::Released)
                    }
                    false => Some(At::Groups),
                },
                At::Consumers => {
                    self.consumer(object, cur, room, sink)?;
                    self.consumers -= 1;
                    Some(At::Owned)
                }
                At::Owned if self.owned == 0 => Some(At::Consumers),
                At::Owned => {
                    let id = cur.raw_stream_id()?;
                    give(ValueEvent::StreamConsumerPending(id), room, sink)?;
                    self.owned -= 1;
                    None
                }
                At::Released if self.released == 0 => Some(At::Groups),
                At::Released => {
                    let id = cur.raw_stream_id()?;
                    give(ValueEvent::StreamNacked(id), room, sink)?;
                    self.released -= 1;
                    None
                }
                At::Idmp => {
                    (self.duration_s, self.max_entries) = (cur.len()?, cur.len()?);
                    self.producers = cur.len()?;
                    Some(At::Producers)
                }
                At::Producers if self.producers == 0 => Some(At::IdmpTotals),
                At::Producers => {
                    let (name, ids) = (cur.str()?, cur.len()?);
                    if room.look {
                        let name = name.bytes(&mut room.scratch.first)?;
                        self.producer.clear();
                        self.producer.extend_from_slice(name);
                    }
                    self.ids = ids;
                    self.producers -= 1;
                    Some(At::Ids)
                }
                At::Ids if self.ids == 0 => Some(At::Producers),
                At::Ids => {
                    self.idempotent_id(cur, room, sink)?;
                    self.ids -= 1;
                    None
                }
                At::IdmpTotals => {
                    let (added, duplicates) = (cur.len()?, cur.len()?);
                    cur.commit();
                    let event = ValueEvent::StreamIdmp {
                        duration_s: self.duration_s,
                        max_entries: self.max_entries,
                        added,
                        duplicates,
                    };
                    return give(event, room, sink);
                }
            };
            if let Some(next) = next {
                self.at = next;
            }
            cur.commit();
        }
    }

    fn totals<S: Sink>(
        &mut self,
        object: T,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        let at = cur.offset();
        let mut totals = StreamTotals { length: cur.len()?, last_id: cur.stream_id()?, ..Default::default() };
        if has_totals(object) {
            totals.first_id = Some(cur.stream_id()?);
            totals.max_deleted_id = Some(cur.stream_id()?);
            totals.entries_added = Some(cur.len()?);
        }
        self.groups = cur.len()?;
        if room.look && totals.length > 0 && !self.had_nodes {
            return Err(Halt::Bad(at, Kind::StreamLength(totals.length)));
        }
        give(ValueEvent::StreamTotals(totals), room, sink)
    }

    fn group<S: Sink>(
        &mut self,
        object: T,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        let (name, last_id) = (cur.str()?, cur.stream_id()?);
        let entries_read = match has_totals(object) {
            true => Some(cur.len()?).filter(|&read| read != u64::MAX),
            false => None,
        };
        self.pending = cur.len()?;
        if room.look {
            let name = name.bytes(&mut room.scratch.first)?;
            if room.emit {
                let event = ValueEvent::StreamGroup { name, last_id, entries_read };
                sink.value(event).map_err(Halt::Sink)?;
            }
        }
        Ok(())
    }

    fn consumer<S: Sink>(
        &mut self,
        object: T,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        let (name, seen_at) = (cur.str()?, UnixMs(cur.i64_le()?));
        let active_at = match has_active_time(object) {
            true => Some(UnixMs(cur.i64_le()?)).filter(|&at| at != UnixMs(-1)),
            false => None,
        };
        self.owned = cur.len()?;
        if room.look {
            let name = name.bytes(&mut room.scratch.first)?;
            if room.emit {
                let event = ValueEvent::StreamConsumer { name, seen_at, active_at };
                sink.value(event).map_err(Halt::Sink)?;
            }
        }
        Ok(())
    }

    fn idempotent_id<S: Sink>(
        &self,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        let (iid, id) = (cur.str()?, cur.stream_id()?);
        if room.look {
            let iid = iid.bytes(&mut room.scratch.first)?;
            if room.emit {
                let producer = &self.producer;
                let event = ValueEvent::StreamIdmpEntry { producer, iid, id };
                sink.value(event).map_err(Halt::Sink)?;
            }
        }
        Ok(())
    }
}

fn give<S: Sink>(event: ValueEvent<'_>, room: &Room<'_>, sink: &mut S) -> Result<(), Halt<S::Error>> {
    match room.emit {
        true => sink.value(event).map_err(Halt::Sink),
        false => Ok(()),
    }
}

fn pending<S: Sink>(cur: &mut Cursor<'_>, room: &mut Room<'_>, sink: &mut S) -> Result<(), Halt<S::Error>> {
    let (id, delivered_at) = (cur.raw_stream_id()?, UnixMs(cur.i64_le()?));
    let deliveries = cur.len()?;
    give(ValueEvent::StreamPending { id, delivered_at, deliveries }, room, sink)
}

fn node<S: Sink>(cur: &mut Cursor<'_>, room: &mut Room<'_>, sink: &mut S) -> Result<(), Halt<S::Error>> {
    if !room.look {
        cur.skip_str()?;
        cur.skip_str()?;
        return Ok(());
    }
    let Scratch { first, second } = &mut *room.scratch;
    let at = cur.offset();
    let master = cur.str()?;
    let entries_at = cur.offset();
    let entries = cur.str()?;
    let master = master.bytes(second)?;
    let master = match <[u8; 16]>::try_from(master) {
        Ok(bytes) => StreamId::from_bytes(bytes),
        Err(_) => return Err(Halt::Bad(at, Kind::StreamNodeId(master.len()))),
    };
    let view = listpack_view(entries.bytes(first)?, entries_at)?;
    check_node(view, entries_at)?;
    match (room.emit, room.items) {
        (false, _) => Ok(()),
        (true, false) => sink.value(ValueEvent::StreamNode { master, entries: view }).map_err(Halt::Sink),
        (true, true) => entry_events(view, master, |event| sink.value(event).map_err(Halt::Sink)),
    }
}

/// The elements of a node, walked in the order of its layout; each step checks what it expects.
struct Walk<'a> {
    elements: Iter<'a>,
    index: usize,
    at: u64,
}

impl<'a> Walk<'a> {
    #[cold]
    fn bad<T>(&self, what: &'static str) -> Result<T, Stop> {
        Err(Stop::Bad(self.at, Kind::StreamNode { entry: self.index, what }))
    }

    fn next(&mut self, what: &'static str) -> Result<Element<'a>, Stop> {
        match self.elements.next() {
            Some(element) => {
                self.index += 1;
                Ok(element)
            }
            None => self.bad(what),
        }
    }

    fn int(&mut self, what: &'static str) -> Result<i64, Stop> {
        match self.next(what)?.as_i64() {
            Some(value) => Ok(value),
            None => self.bad(what),
        }
    }

    fn count(&mut self, what: &'static str) -> Result<u64, Stop> {
        match u64::try_from(self.int(what)?) {
            Ok(count) => Ok(count),
            Err(_) => self.bad(what),
        }
    }

    fn skip(&mut self, count: u64, what: &'static str) -> Result<(), Stop> {
        for _ in 0..count {
            self.next(what)?;
        }
        Ok(())
    }
}

/// Checks that a node is laid out as a stream's.
fn check_node(view: Listpack<'_>, at: u64) -> Result<(), Stop> {
    let mut walk = Walk { elements: view.iter(), index: 0, at };
    let live = walk.count("count of live entries")?;
    let deleted = walk.count("count of deleted entries")?;
    let names = walk.count("count of field names")?;
    walk.skip(names, "field name")?;
    if walk.int("end of the field names")? != 0 {
        return walk.bad("end of the field names");
    }
    // Both are below 2^63.
    let mut flagged = 0;
    for _ in 0..live + deleted {
        let flags = walk.int("entry flags")?;
        flagged += u64::from(flags & DELETED != 0);
        walk.int("entry time")?;
        walk.int("entry sequence")?;
        let (fields, own_names) = match flags & SAME_FIELDS {
            0 => (walk.count("count of fields")?, true),
            _ => (names, false),
        };
        let elements = match own_names {
            true => {
                for _ in 0..fields {
                    walk.skip(2, "field")?;
                }
                fields.wrapping_mul(2).wrapping_add(4)
            }
            false => {
                walk.skip(fields, "value")?;
                fields.wrapping_add(3)
            }
        };
        if walk.count("count of the entry's elements")? != elements {
            return walk.bad("count of the entry's elements");
        }
    }
    match walk.elements.next() {
        // Editing relies on both counts, not only on their sum.
        None if flagged != deleted => walk.bad("count of deleted entries"),
        None => Ok(()),
        Some(_) => walk.bad("more than the entries it counts"),
    }
}

/// Gives the live entries of a node that [`check_node`] has passed.
fn entry_events<E>(
    view: Listpack<'_>,
    master: StreamId,
    mut give: impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    // All integers as text first, so that the fields can be slices of one thing that stays put.
    let mut texts = Vec::new();
    for element in &view {
        if let Element::Int(value) = element {
            num::push_i64(&mut texts, value);
        }
    }
    let mut walk = Texts { elements: view.iter(), texts: &texts };
    let live = walk.int();
    let deleted = walk.int();
    let names: Vec<&[u8]> = (0..walk.int()).map(|_| walk.text()).collect();
    walk.int();
    let mut fields: Vec<&[u8]> = Vec::new();
    for _ in 0..live + deleted {
        let flags = walk.int();
        let id = StreamId {
            ms: master.ms.wrapping_add_signed(walk.int()),
            seq: master.seq.wrapping_add_signed(walk.int()),
        };
        fields.clear();
        if flags & SAME_FIELDS != 0 {
            for name in &names {
                fields.extend([name, walk.text()]);
            }
        } else {
            for _ in 0..walk.int() {
                fields.extend([walk.text(), walk.text()]);
            }
        }
        walk.int();
        if flags & DELETED == 0 {
            give(ValueEvent::StreamEntry { id, fields: &fields })?;
        }
    }
    Ok(())
}

/// The elements of a checked node, with the texts of all its integers one behind the other.
struct Texts<'a> {
    elements: Iter<'a>,
    texts: &'a [u8],
}

impl<'a> Texts<'a> {
    fn int(&mut self) -> i64 {
        match self.elements.next() {
            Some(element @ Element::Int(value)) => {
                self.texts = &self.texts[element.len()..];
                value
            }
            Some(element @ Element::Bytes(_)) => element.as_i64().unwrap_or(0),
            None => 0,
        }
    }

    fn text(&mut self) -> &'a [u8] {
        match self.elements.next() {
            Some(element @ Element::Int(_)) => {
                let (text, rest) = self.texts.split_at(element.len());
                self.texts = rest;
                text
            }
            Some(Element::Bytes(bytes)) => bytes,
            None => &[],
        }
    }
}
