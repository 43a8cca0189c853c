//! Streams as JSON: entries, totals, groups with their pending entries and consumers, producers.

use std::collections::HashMap;

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{ObjectType, StreamId, StreamTotals, ValueEvent};

use crate::arena::{Arena, Span};
use crate::json;

/// A stream as its events have told it.
#[derive(Debug, Default)]
pub(super) struct Stream {
    entries: Vec<(StreamId, Vec<Span>)>,
    totals: StreamTotals,
    groups: Vec<Group>,
    idmp: Option<[u64; 4]>,
    producers: Vec<(Span, Vec<(Span, StreamId)>)>,
}

#[derive(Debug)]
struct Group {
    name: Span,
    last_id: StreamId,
    entries_read: Option<u64>,
    pending: Vec<(StreamId, UnixMs, u64)>,
    nacked: Vec<StreamId>,
    consumers: Vec<Consumer>,
}

#[derive(Debug)]
struct Consumer {
    name: Span,
    seen_at: UnixMs,
    active_at: Option<UnixMs>,
    pending: Vec<StreamId>,
}

impl Stream {
    pub(super) fn add(&mut self, event: &ValueEvent<'_>, arena: &mut Arena) {
        match *event {
            ValueEvent::StreamEntry { id, fields } => {
                self.entries.push((id, fields.iter().map(|field| arena.push(field)).collect()));
            }
            ValueEvent::StreamTotals(totals) => self.totals = totals,
            ValueEvent::StreamGroup { name, last_id, entries_read } => self.groups.push(Group {
                name: arena.push(name),
                last_id,
                entries_read,
                pending: Vec::new(),
                nacked: Vec::new(),
                consumers: Vec::new(),
            }),
            ValueEvent::StreamIdmp { duration_s, max_entries, added, duplicates } => {
                self.idmp = Some([duration_s, max_entries, added, duplicates]);
            }
            ValueEvent::StreamIdmpEntry { producer, iid, id } => {
                let iid = arena.push(iid);
                match self.producers.last_mut() {
                    Some((name, ids)) if arena.at(*name) == producer => ids.push((iid, id)),
                    _ => self.producers.push((arena.push(producer), vec![(iid, id)])),
                }
            }
            _ => {
                if let Some(group) = self.groups.last_mut() {
                    group.add(event, arena);
                }
            }
        }
    }

    /// Appends the whole stream. `object` says which numbers the record's version has.
    pub(super) fn push_json(mut self, out: &mut Vec<u8>, arena: &Arena, object: ObjectType) {
        use ObjectType as T;
        let has_active_time = !matches!(object, T::StreamListpacks | T::StreamListpacks2);
        let has_nacks = object == T::StreamListpacks5;
        out.push(b'{');
        json::push_name(out, "entries");
        json::push_array(out, &self.entries, |out, (id, fields)| {
            out.push(b'[');
            push_id(out, *id);
            out.push(b',');
            json::push_array(out, fields, |out, field| json::push_bytes(out, arena.at(*field)));
            out.push(b']');
        });
        json::push_name(out, "length");
        json::push_u64(out, self.totals.length);
        json::push_name(out, "last_id");
        push_id(out, self.totals.last_id);
        let has_totals = self.totals.entries_added.is_some();
        if let (Some(first), Some(deleted), Some(added)) =
            (self.totals.first_id, self.totals.max_deleted_id, self.totals.entries_added)
        {
            json::push_name(out, "first_id");
            push_id(out, first);
            json::push_name(out, "max_deleted_id");
            push_id(out, deleted);
            json::push_name(out, "entries_added");
            json::push_u64(out, added);
        }
        json::push_name(out, "groups");
        self.groups.sort_by(|a, b| arena.at(a.name).cmp(arena.at(b.name)));
        json::push_array(out, self.groups, |out, group| {
            group.push_json(out, arena, has_totals, has_active_time, has_nacks);
        });
        if let Some([duration_s, max_entries, added, duplicates]) = self.idmp {
            json::push_name(out, "idmp");
            out.push(b'{');
            for (name, value) in [
                ("duration", duration_s),
                ("maxsize", max_entries),
                ("added", added),
                ("duplicates", duplicates),
            ] {
                json::push_name(out, name);
                json::push_u64(out, value);
            }
            json::push_name(out, "producers");
            self.producers.sort_by(|a, b| arena.at(a.0).cmp(arena.at(b.0)));
            json::push_array(out, self.producers, |out, (producer, ids)| {
                out.push(b'[');
                json::push_bytes(out, arena.at(producer));
                out.push(b',');
                json::push_array(out, ids, |out, (iid, id)| {
                    out.push(b'[');
                    json::push_bytes(out, arena.at(iid));
                    out.push(b',');
                    push_id(out, id);
                    out.push(b']');
                });
                out.push(b']');
            });
            out.push(b'}');
        }
        out.push(b'}');
    }
}

impl Group {
    fn add(&mut self, event: &ValueEvent<'_>, arena: &mut Arena) {
        match *event {
            ValueEvent::StreamPending { id, delivered_at, deliveries } => {
                self.pending.push((id, delivered_at, deliveries));
            }
            ValueEvent::StreamNacked(id) => self.nacked.push(id),
            ValueEvent::StreamConsumer { name, seen_at, active_at } => {
                self.consumers.push(Consumer {
                    name: arena.push(name),
                    seen_at,
                    active_at,
                    pending: Vec::new(),
                });
            }
            ValueEvent::StreamConsumerPending(id) => {
                if let Some(consumer) = self.consumers.last_mut() {
                    consumer.pending.push(id);
                }
            }
            _ => {}
        }
    }

    fn push_json(
        mut self,
        out: &mut Vec<u8>,
        arena: &Arena,
        has_entries_read: bool,
        has_active_time: bool,
        has_nacks: bool,
    ) {
        let owners: HashMap<StreamId, Span> =
            self.consumers.iter().flat_map(|c| c.pending.iter().map(|id| (*id, c.name))).collect();
        out.push(b'{');
        json::push_name(out, "name");
        json::push_bytes(out, arena.at(self.name));
        json::push_name(out, "last_id");
        push_id(out, self.last_id);
        if has_entries_read {
            json::push_name(out, "entries_read");
            match self.entries_read {
                Some(read) => json::push_u64(out, read),
                None => out.extend_from_slice(b"null"),
            }
        }
        json::push_name(out, "pel");
        self.pending.sort_unstable();
        json::push_array(out, &self.pending, |out, (id, delivered_at, deliveries)| {
            out.push(b'[');
            push_id(out, *id);
            out.push(b',');
            json::push_bytes(out, owners.get(id).map_or(&[], |name| arena.at(*name)));
            out.push(b',');
            json::push_i64(out, delivered_at.0);
            out.push(b',');
            json::push_u64(out, *deliveries);
            out.push(b']');
        });
        json::push_name(out, "consumers");
        self.consumers.sort_by(|a, b| arena.at(a.name).cmp(arena.at(b.name)));
        json::push_array(out, self.consumers, |out, mut consumer| {
            consumer.pending.sort_unstable();
            out.push(b'{');
            json::push_name(out, "name");
            json::push_bytes(out, arena.at(consumer.name));
            json::push_name(out, "seen_time");
            json::push_i64(out, consumer.seen_at.0);
            if has_active_time {
                json::push_name(out, "active_time");
                json::push_i64(out, consumer.active_at.map_or(-1, |at| at.0));
            }
            json::push_name(out, "pel");
            json::push_array(out, consumer.pending, push_id);
            out.push(b'}');
        });
        if has_nacks {
            json::push_name(out, "nacked_count");
            json::push_u64(out, self.nacked.len() as u64);
            if !self.nacked.is_empty() {
                json::push_name(out, "nacked");
                json::push_array(out, self.nacked, push_id);
            }
        }
        out.push(b'}');
    }
}

fn push_id(out: &mut Vec<u8>, id: StreamId) {
    out.push(b'"');
    num::push_u64(out, id.ms);
    out.push(b'-');
    num::push_u64(out, id.seq);
    out.push(b'"');
}
