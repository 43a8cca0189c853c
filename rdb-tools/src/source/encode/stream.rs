//! Streams as records: entries in nodes, then totals, groups, idempotent producers.

use cairn_engine::codec::rdb::{Drain, ObjectType, StreamId, StreamTotals, ValueEvent, Writer};
use cairn_engine::packed::listpack::ListpackBuf;

use super::sure;

use ObjectType as T;

/// What servers put into one node by default.
const NODE_ENTRIES: usize = 100;
const NODE_BYTES: usize = 4096;
/// The flag of an entry whose fields are those of its node.
const SAME_FIELDS: i64 = 2;

type Entry = (StreamId, Vec<Vec<u8>>);
/// A producer with its idempotent ids and the entries they made.
type Producer = (Vec<u8>, Vec<(Vec<u8>, StreamId)>);

/// A stream as its events have told it.
#[derive(Default)]
pub(super) struct Stream {
    nodes: Vec<(StreamId, Vec<u8>)>,
    /// Of the node that is being filled.
    entries: Vec<Entry>,
    entry_bytes: usize,
    totals: StreamTotals,
    groups: Vec<Group>,
    idmp: [u64; 4],
    producers: Vec<Producer>,
}

struct Group {
    name: Vec<u8>,
    last_id: StreamId,
    read: u64,
    pending: Vec<(StreamId, i64, u64)>,
    released: Vec<StreamId>,
    consumers: Vec<Consumer>,
}

struct Consumer {
    name: Vec<u8>,
    seen_at: i64,
    active_at: i64,
    pending: Vec<StreamId>,
}

impl Stream {
    pub(super) fn event(&mut self, _object: T, event: &ValueEvent<'_>) -> Result<(), String> {
        let no_group = || "what belongs to a group comes before the first".to_owned();
        match *event {
            ValueEvent::StreamEntry { id, fields } => {
                self.entry_bytes += fields.iter().map(|field| field.len() + 2).sum::<usize>();
                self.entries.push((id, fields.iter().map(|field| field.to_vec()).collect()));
                if self.entries.len() >= NODE_ENTRIES || self.entry_bytes >= NODE_BYTES {
                    self.end_node();
                }
            }
            ValueEvent::StreamTotals(totals) => self.totals = totals,
            ValueEvent::StreamGroup { name, last_id, entries_read } => self.groups.push(Group {
                name: name.to_vec(),
                last_id,
                // In the file as in C: -1.
                read: entries_read.unwrap_or(u64::MAX),
                pending: Vec::new(),
                released: Vec::new(),
                consumers: Vec::new(),
            }),
            ValueEvent::StreamPending { id, delivered_at, deliveries } => {
                let group = self.groups.last_mut().ok_or_else(no_group)?;
                group.pending.push((id, delivered_at.0, deliveries));
            }
            ValueEvent::StreamNacked(id) => {
                self.groups.last_mut().ok_or_else(no_group)?.released.push(id);
            }
            ValueEvent::StreamConsumer { name, seen_at, active_at } => {
                self.groups.last_mut().ok_or_else(no_group)?.consumers.push(Consumer {
                    name: name.to_vec(),
                    seen_at: seen_at.0,
                    active_at: active_at.map_or(-1, |at| at.0),
                    pending: Vec::new(),
                });
            }
            ValueEvent::StreamConsumerPending(id) => {
                let group = self.groups.last_mut().ok_or_else(no_group)?;
                group.consumers.last_mut().ok_or_else(no_group)?.pending.push(id);
            }
            ValueEvent::StreamIdmp { duration_s, max_entries, added, duplicates } => {
                self.idmp = [duration_s, max_entries, added, duplicates];
            }
            ValueEvent::StreamIdmpEntry { producer, iid, id } => {
                let iid = iid.to_vec();
                match self.producers.last_mut() {
                    Some((name, ids)) if *name == producer => ids.push((iid, id)),
                    _ => self.producers.push((producer.to_vec(), vec![(iid, id)])),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end_node(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.entry_bytes = 0;
        if let Some((master, _)) = entries.first() {
            self.nodes.push((*master, node(&entries)));
        }
    }

    pub(super) fn write<D: Drain<Error = std::convert::Infallible>>(
        &mut self,
        object: T,
        w: &mut Writer<D>,
    ) -> Result<(), String> {
        let has_totals = object != T::StreamListpacks;
        let has_active_time = !matches!(object, T::StreamListpacks | T::StreamListpacks2);
        let has_idmp = matches!(object, T::StreamListpacks4 | T::StreamListpacks5);
        self.end_node();
        if self.nodes.is_empty() && self.totals.length > 0 {
            return Err("a stream has a length and no entries".to_owned());
        }
        sure(w.len(self.nodes.len() as u64));
        for (master, node) in &self.nodes {
            sure(w.len(16));
            sure(w.raw_stream_id(*master));
            sure(w.blob(node));
        }
        let totals = &self.totals;
        sure(w.len(totals.length));
        sure(w.stream_id(totals.last_id));
        if has_totals {
            sure(w.stream_id(totals.first_id.unwrap_or_default()));
            sure(w.stream_id(totals.max_deleted_id.unwrap_or_default()));
            sure(w.len(totals.entries_added.unwrap_or(totals.length)));
        }
        sure(w.len(self.groups.len() as u64));
        for group in &self.groups {
            sure(w.string(&group.name));
            sure(w.stream_id(group.last_id));
            if has_totals {
                sure(w.len(group.read));
            }
            sure(w.len(group.pending.len() as u64));
            for (id, delivered_at, deliveries) in &group.pending {
                sure(w.raw_stream_id(*id));
                sure(w.raw(&delivered_at.to_le_bytes()));
                sure(w.len(*deliveries));
            }
            sure(w.len(group.consumers.len() as u64));
            for consumer in &group.consumers {
                sure(w.string(&consumer.name));
                sure(w.raw(&consumer.seen_at.to_le_bytes()));
                if has_active_time {
                    sure(w.raw(&consumer.active_at.to_le_bytes()));
                }
                sure(w.len(consumer.pending.len() as u64));
                consumer.pending.iter().for_each(|id| sure(w.raw_stream_id(*id)));
            }
            if object == T::StreamListpacks5 {
                sure(w.len(group.released.len() as u64));
                group.released.iter().for_each(|id| sure(w.raw_stream_id(*id)));
            }
        }
        if has_idmp {
            let [duration_s, max_entries, added, duplicates] = self.idmp;
            sure(w.len(duration_s));
            sure(w.len(max_entries));
            sure(w.len(self.producers.len() as u64));
            for (name, ids) in &self.producers {
                sure(w.string(name));
                sure(w.len(ids.len() as u64));
                for (iid, id) in ids {
                    sure(w.string(iid));
                    sure(w.stream_id(*id));
                }
            }
            sure(w.len(added));
            sure(w.len(duplicates));
        }
        Ok(())
    }
}

/// The listpack of a node whose master is its first entry.
fn node(entries: &[Entry]) -> Vec<u8> {
    let mut out = ListpackBuf::new();
    let Some((master, first)) = entries.first() else { return out.into_bytes() };
    let names = |fields: &[Vec<u8>]| fields.iter().step_by(2).cloned().collect::<Vec<_>>();
    let master_names = names(first);
    out.push_back_int(entries.len() as i64);
    out.push_back_int(0);
    out.push_back_int(master_names.len() as i64);
    master_names.iter().for_each(|name| out.push_back(name));
    out.push_back_int(0);
    for (id, fields) in entries {
        let is_same = names(fields) == master_names;
        out.push_back_int(if is_same { SAME_FIELDS } else { 0 });
        out.push_back_int(id.ms.wrapping_sub(master.ms).cast_signed());
        out.push_back_int(id.seq.wrapping_sub(master.seq).cast_signed());
        let pairs = fields.len() / 2;
        if is_same {
            fields.iter().skip(1).step_by(2).for_each(|value| out.push_back(value));
            out.push_back_int((pairs + 3) as i64);
        } else {
            out.push_back_int(pairs as i64);
            fields.iter().for_each(|field| out.push_back(field));
            out.push_back_int((2 * pairs + 4) as i64);
        }
    }
    out.into_bytes()
}
