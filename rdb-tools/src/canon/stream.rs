//! Streams as parts: numbers that old records lack are put in as servers do when they load them.

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{ObjectType, StreamId, StreamTotals, ValueEvent};
use cairn_engine::value::stream::Totals;

use super::{Canon, Parts, Section, push_framed};

/// What has to be remembered of a stream while its events come.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The record's version has no counters of groups.
    has_no_counters: bool,
    /// The record's version has no active times.
    has_no_active_times: bool,
    entries: u64,
    first: Option<StreamId>,
    totals: Totals,
    group: Vec<u8>,
    consumer: Vec<u8>,
    nacked: u64,
}

/// Redis 8.6's default duration and most entries of idempotent production.
const IDLE_LIMIT: u64 = 100;

impl Stream {
    pub(super) fn of(object: ObjectType) -> Self {
        Self {
            has_no_counters: object == ObjectType::StreamListpacks,
            has_no_active_times: matches!(object, ObjectType::StreamListpacks | ObjectType::StreamListpacks2),
            ..Self::default()
        }
    }

    fn totals(&mut self, totals: StreamTotals) -> Totals {
        self.totals = Totals {
            length: self.entries,
            last_id: totals.last_id,
            first_id: totals.first_id.or(self.first).unwrap_or(StreamId::MIN),
            max_deleted_id: totals.max_deleted_id.unwrap_or(StreamId::MIN),
            entries_added: totals.entries_added.unwrap_or(self.entries),
        };
        self.totals
    }
}

impl Canon {
    pub(super) fn stream_event<P: Parts>(
        &mut self,
        event: &ValueEvent<'_>,
        out: &mut P,
    ) -> Result<(), P::Error> {
        use ValueEvent as E;
        let Self { identity, content, stream, rules, .. } = self;
        identity.clear();
        content.clear();
        match *event {
            E::StreamEntry { id, fields } => {
                stream.entries += 1;
                stream.first.get_or_insert(id);
                fields.iter().for_each(|field| push_framed(content, field));
                out.part(Section::Entry, &id.to_bytes(), content)
            }
            E::StreamTotals(totals) => {
                let totals = stream.totals(totals);
                for id in [totals.last_id, totals.max_deleted_id, totals.first_id] {
                    content.extend_from_slice(&id.to_bytes());
                }
                content.extend_from_slice(&totals.entries_added.to_be_bytes());
                out.part(Section::Totals, b"", content)
            }
            E::StreamGroup { name, last_id, entries_read } => {
                stream.group = name.to_vec();
                stream.nacked = 0;
                let read = match stream.has_no_counters {
                    true => stream.totals.entries_up_to(last_id),
                    false => entries_read,
                };
                content.extend_from_slice(&last_id.to_bytes());
                content.push(u8::from(read.is_some()));
                content.extend_from_slice(&read.unwrap_or(0).to_be_bytes());
                out.part(Section::Group, name, content)
            }
            E::StreamPending { id, delivered_at, deliveries } => {
                push_framed(identity, &stream.group);
                identity.extend_from_slice(&id.to_bytes());
                content.push(0);
                let delivered_at = if rules.ignore_delivery_times { UnixMs(0) } else { delivered_at };
                content.extend_from_slice(&delivered_at.0.to_be_bytes());
                content.extend_from_slice(&deliveries.to_be_bytes());
                out.part(Section::Pending, identity, content)
            }
            E::StreamNacked(id) => {
                push_framed(identity, &stream.group);
                identity.extend_from_slice(&stream.nacked.to_be_bytes());
                stream.nacked += 1;
                out.part(Section::Nacked, identity, &id.to_bytes())
            }
            E::StreamConsumer { name, seen_at, active_at } => {
                stream.consumer = name.to_vec();
                push_framed(identity, &stream.group);
                identity.extend_from_slice(name);
                if rules.consumer_times {
                    let active_at = if stream.has_no_active_times { Some(seen_at) } else { active_at };
                    for at in [seen_at, active_at.unwrap_or(UnixMs(-1))] {
                        content.extend_from_slice(&at.0.to_be_bytes());
                    }
                }
                out.part(Section::Consumer, identity, content)
            }
            E::StreamConsumerPending(id) => {
                push_framed(identity, &stream.group);
                identity.extend_from_slice(&id.to_bytes());
                content.push(1);
                content.extend_from_slice(&stream.consumer);
                out.part(Section::Pending, identity, content)
            }
            E::StreamIdmp { duration_s, max_entries, added, duplicates } => {
                // What a server sets by itself, and older records do not have, is nothing of its own.
                let is_default = |limit| limit == 0 || limit == IDLE_LIMIT;
                let is_unused = (added, duplicates) == (0, 0);
                if is_unused && is_default(duration_s) && is_default(max_entries) {
                    return Ok(());
                }
                for number in [duration_s, max_entries, added, duplicates] {
                    content.extend_from_slice(&number.to_be_bytes());
                }
                out.part(Section::Idempotence, b"", content)
            }
            E::StreamIdmpEntry { producer, iid, id } => {
                push_framed(identity, producer);
                identity.extend_from_slice(iid);
                out.part(Section::IdempotentId, identity, &id.to_bytes())
            }
            _ => Ok(()),
        }
    }
}
