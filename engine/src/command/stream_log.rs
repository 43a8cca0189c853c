//! What commands of consumer groups say to the log: the form that has the same effect at any time.
//!
//! Knows words only. Behaviour: valkey src/t_stream.c, `streamPropagateXCLAIM`,
//! `streamPropagateGroupID`, `streamPropagateConsumerCreation`.

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;

use super::Data;
use super::stream::id_word;

/// A group of the stream at a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupName<'a> {
    /// The key.
    pub(super) key: &'a [u8],
    /// The group's name.
    pub(super) group: &'a [u8],
}

/// A pending entry as it is after the call.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingWords<'a> {
    /// Its id as text.
    pub(super) id: &'a [u8],
    /// Whose it is.
    pub(super) consumer: &'a [u8],
    /// When it was last delivered.
    pub(super) delivered_at: UnixMs,
    /// How often it was delivered.
    pub(super) deliveries: u64,
}

impl GroupName<'_> {
    /// Logs the claim that makes an entry pending just so, and brings the group's last id up to `last_id`.
    /// If the stream has no such entry, the same claim takes it off the pending ones.
    pub(super) fn log_claim(self, data: &mut Data<'_>, pending: PendingWords<'_>, last_id: StreamId) {
        let PendingWords { id, consumer, delivered_at, deliveries } = pending;
        let time = delivered_at.0.to_string();
        // The number may have wrapped around, and is signed in Valkey.
        let retries = (deliveries as i64).to_string();
        data.log_as(&[
            b"XCLAIM",
            self.key,
            self.group,
            consumer,
            b"0",
            id,
            b"TIME",
            time.as_bytes(),
            b"RETRYCOUNT",
            retries.as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &id_word(last_id),
        ]);
    }

    /// Logs how far the group has read; an unknown number of entries is -1.
    pub(super) fn log_progress(self, data: &mut Data<'_>, last_id: StreamId, entries_read: Option<u64>) {
        let reads = entries_read.map_or(-1, |n| n as i64).to_string();
        let last_id = id_word(last_id);
        data.log_as(&[b"XGROUP", b"SETID", self.key, self.group, &last_id, b"ENTRIESREAD", reads.as_bytes()]);
    }

    /// Logs a new consumer.
    pub(super) fn log_consumer(self, data: &mut Data<'_>, consumer: &[u8]) {
        data.log_as(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, consumer]);
    }
}
