//! A stream as an RDB record. The layout is in `codec/rdb/decode/stream.rs`.

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;
use crate::codec::rdb::{Drain, ObjectType, Writer};
use crate::value::stream::{Consumer, Group, Stream};

use super::{Answer, Fault, Feature, Record};

/// What stands for a count of entries read that is not known.
const UNKNOWN: u64 = u64::MAX;
/// What stands for a consumer that has never got anything.
const NEVER: UnixMs = UnixMs(-1);

/// What not every target can express of a stream. O(groups).
pub(super) fn features(stream: &Stream) -> impl Iterator<Item = Feature> {
    let has_state = stream.idempotence().is_some_and(|own| !own.is_unused());
    let has_nacks = stream.groups().any(|(_, group)| !group.nacked().is_empty());
    let state = has_state.then_some(Feature::StreamIdmp);
    let nacks = has_nacks.then_some(Feature::StreamNacks);
    [Some(Feature::Streams), state, nacks].into_iter().flatten()
}

/// Whether a consumer got something last at another time than it was seen. Who reads a stream that does
/// not say it takes the one for the other, as `StreamLoader` does: valkey src/rdb.c `rdbLoadObject`.
/// O(consumers).
pub(super) fn has_activity(stream: &Stream) -> bool {
    let is_told = |consumer: &Consumer| consumer.active_at != Some(consumer.seen_at);
    stream.groups().any(|(_, group)| group.consumers().any(is_told))
}

/// Writes a stream with its groups, in all that the target can say of it.
pub(super) fn write<D: Drain>(out: &mut Record<'_, D>, stream: &Stream) -> Answer<D> {
    let form = out.target.stream().ok_or(Fault::Inexpressible(Feature::Streams))?;
    out.begin(form)?;
    let w = &mut *out.w;
    w.len(stream.nodes_len() as u64)?;
    for (master, entries) in stream.nodes() {
        w.blob(&master.to_bytes())?;
        w.blob(entries.as_bytes())?;
    }
    let totals = stream.totals();
    w.len(totals.length)?;
    w.stream_id(totals.last_id)?;
    if form != ObjectType::StreamListpacks {
        w.stream_id(totals.first_id)?;
        w.stream_id(totals.max_deleted_id)?;
        w.len(totals.entries_added)?;
    }
    w.len(stream.groups().len() as u64)?;
    for (name, group) in stream.groups() {
        w.string(name)?;
        write_group(w, form, group)?;
    }
    if matches!(form, ObjectType::StreamListpacks4 | ObjectType::StreamListpacks5) {
        write_idempotence(w, stream)?;
    }
    Ok(())
}

fn write_group<D: Drain>(w: &mut Writer<D>, form: ObjectType, group: &Group) -> Answer<D> {
    w.stream_id(group.last_id())?;
    if form != ObjectType::StreamListpacks {
        w.len(group.entries_read().unwrap_or(UNKNOWN))?;
    }
    w.len(group.pending_len() as u64)?;
    for pending in group.pending(StreamId::MIN, StreamId::MAX) {
        w.raw_stream_id(pending.id)?;
        w.ms(pending.delivered_at)?;
        w.len(pending.deliveries)?;
    }
    w.len(group.consumers_len() as u64)?;
    for consumer in group.consumers() {
        w.string(consumer.name())?;
        w.ms(consumer.seen_at)?;
        if !matches!(form, ObjectType::StreamListpacks | ObjectType::StreamListpacks2) {
            w.ms(consumer.active_at.unwrap_or(NEVER))?;
        }
        w.len(consumer.pending_len() as u64)?;
        for id in consumer.pending_ids() {
            w.raw_stream_id(id)?;
        }
    }
    if form == ObjectType::StreamListpacks5 {
        w.len(group.nacked().len() as u64)?;
        for id in group.nacked() {
            w.raw_stream_id(*id)?;
        }
    }
    Ok(())
}

fn write_idempotence<D: Drain>(w: &mut Writer<D>, stream: &Stream) -> Answer<D> {
    let Some(own) = stream.idempotence() else {
        // Settings that Redis takes for its defaults, and no producers, ids, duplicates.
        for _ in 0..NUMBERS_WITHOUT_STATE {
            w.len(0)?;
        }
        return Ok(());
    };
    w.len(own.duration_s)?;
    w.len(own.max_entries)?;
    w.len(own.producers.len() as u64)?;
    for (producer, ids) in &own.producers {
        w.string(producer)?;
        w.len(ids.len() as u64)?;
        for (iid, id) in ids {
            w.string(iid)?;
            w.stream_id(*id)?;
        }
    }
    w.len(own.added)?;
    w.len(own.duplicates)?;
    Ok(())
}

const NUMBERS_WITHOUT_STATE: usize = 5;
