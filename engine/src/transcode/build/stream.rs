//! A stream from the events of a decoder.

use crate::codec::rdb::{ObjectType, ValueEvent};
use crate::value::stream::{LoadTotals, Stream, StreamForm, StreamLoader};

use super::BuildError;

/// Hands events to the stream's own loader.
#[derive(Debug)]
pub(super) struct StreamBuilder {
    loader: StreamLoader,
}

impl StreamBuilder {
    /// A builder for a record of this type.
    pub(super) fn new(object: ObjectType) -> StreamBuilder {
        let form = match object {
            ObjectType::StreamListpacks => StreamForm::First,
            ObjectType::StreamListpacks2 => StreamForm::Counters,
            _ => StreamForm::ActiveTimes,
        };
        StreamBuilder { loader: StreamLoader::new(form) }
    }

    /// Takes an event.
    pub(super) fn event(&mut self, event: &ValueEvent<'_>) -> Result<(), BuildError> {
        let loader = &mut self.loader;
        match *event {
            ValueEvent::StreamNode { master, entries } => loader.node(master, entries)?,
            ValueEvent::StreamTotals(totals) => loader.totals(&LoadTotals {
                length: totals.length,
                last_id: totals.last_id,
                first_id: totals.first_id,
                max_deleted_id: totals.max_deleted_id,
                entries_added: totals.entries_added,
            })?,
            ValueEvent::StreamGroup { name, last_id, entries_read } => {
                loader.group(name, last_id, entries_read)?;
            }
            ValueEvent::StreamPending { id, delivered_at, deliveries } => {
                loader.pending(id, delivered_at, deliveries)?;
            }
            ValueEvent::StreamNacked(id) => loader.nacked(id)?,
            ValueEvent::StreamConsumer { name, seen_at, active_at } => {
                loader.consumer(name, seen_at, active_at)?;
            }
            ValueEvent::StreamConsumerPending(id) => loader.consumer_pending(id)?,
            ValueEvent::StreamIdmp { duration_s, max_entries, added, duplicates } => {
                loader.idempotence(duration_s, max_entries, added, duplicates);
            }
            ValueEvent::StreamIdmpEntry { producer, iid, id } => loader.idempotent_id(producer, iid, id),
            _ => unreachable!("a decoder gives no {event:?} for a stream"),
        }
        Ok(())
    }

    /// The stream.
    pub(super) fn finish(self) -> Result<Box<Stream>, BuildError> {
        Ok(Box::new(self.loader.finish()?))
    }
}
