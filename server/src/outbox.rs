//! Messages to clients that are not the reply to what they have just asked: published ones,
//! invalidations, replies to clients that had to wait.
//!
//! They take their place behind the replies that are written already, and leave with them: one
//! sending for each client and turn. A message to many is encoded once.

use std::ops::Range;

use cairn_engine::codec::resp::{Protocol, Reply};

/// Messages in the order in which they were written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    reply: Reply,
    spans: Vec<(u32, Range<usize>)>,
    /// So many spans at the front go before the reply to the command that runs.
    early: usize,
    /// Replies to writes among the messages: where they lie, in order, and up to where the log has to be
    /// safe before they go.
    acks: Vec<(Range<usize>, u64)>,
}

/// A message that may be given to many clients.
#[derive(Debug, Clone)]
pub(crate) struct Message(Range<usize>);

/// The buffer keeps this much room.
const KEEP_BYTES: usize = 64 * 1024;

impl Outbox {
    /// Heap bytes of what waits, and of the room for more.
    #[inline]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.reply.memory_bytes() + self.spans.capacity() * size_of::<(u32, Range<usize>)>()
    }

    /// True if there is nothing to deliver.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Writes a message without a receiver yet. Forgotten when the box is emptied.
    pub(crate) fn write(&mut self, protocol: Protocol, write: impl FnOnce(&mut Reply)) -> Message {
        let start = self.reply.len();
        self.reply.set_protocol(protocol);
        write(&mut self.reply);
        Message(start..self.reply.len())
    }

    /// Gives a message to a client.
    pub(crate) fn give(&mut self, message: &Message, client: u32) {
        if message.0.is_empty() {
            return;
        }
        let is_early = self.spans.len() == self.early;
        match self.spans.last_mut() {
            Some((last, range)) if *last == client && range.end == message.0.start && !is_early => {
                range.end = message.0.end;
            }
            _ => self.spans.push((client, message.0.clone())),
        }
    }

    /// Writes a message to one client.
    pub(crate) fn send(&mut self, client: u32, protocol: Protocol, write: impl FnOnce(&mut Reply)) {
        let message = self.write(protocol, write);
        self.give(&message, client);
    }

    /// As `send`, for the reply to a write: it goes once the log is safe up to `position`.
    pub(crate) fn send_ack(&mut self, client: u32, reply: &[u8], position: u64) {
        let message = self.write(Protocol::Resp2, |out| out.raw(reply));
        self.acks.push((message.0.clone(), position));
        self.give(&message, client);
    }

    /// Replies to writes among the messages.
    pub(crate) fn acks(&self) -> &[(Range<usize>, u64)] {
        &self.acks
    }

    /// Every message with its receiver, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.spans.iter().map(|(client, range)| (*client, &self.reply.bytes()[range.clone()]))
    }

    /// What is in the box now goes before the reply to the command that is about to run.
    pub(crate) fn go_early(&mut self) {
        self.early = self.spans.len();
    }

    /// How many spans at the front go before the reply.
    pub(crate) fn early(&self) -> usize {
        self.early
    }

    /// The bytes of all messages, and which of them are whose.
    pub(crate) fn parts(&self) -> (&[u8], &[(u32, Range<usize>)]) {
        (self.reply.bytes(), &self.spans)
    }

    /// Empties the box.
    pub(crate) fn clear(&mut self) {
        self.reply.clear(KEEP_BYTES);
        self.early = 0;
        self.acks.clear();
        self.spans.clear();
        self.spans.shrink_to(KEEP_BYTES / size_of::<(u32, Range<usize>)>());
    }
}
