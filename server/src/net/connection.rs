//! The bytes of one connection: what came in and is not used up, what is to go out. Does no I/O.

use cairn_engine::codec::resp::Parser;

use super::held::Held;
use super::unsent::Unsent;

/// Bytes of output that are not counted against a client's limits: Valkey has a buffer of this size for
/// each client, and blocks of it behind.
pub(crate) const OUTPUT_BLOCK_BYTES: usize = 16 * 1024;

/// Received and not used, or written and not sent.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The beginning of a command that is not all there, or commands that have to wait.
    pub(crate) input: Vec<u8>,
    /// How far `input` is parsed.
    pub(crate) parser: Parser,
    /// Bytes to send.
    pub(crate) unsent: Unsent,
    /// Output that is to go behind that, and must not yet.
    held: Option<Box<Held>>,
}

impl Connection {
    /// True if nothing is left that the client is to get.
    pub(crate) fn is_done(&self) -> bool {
        self.unsent.is_empty() && self.held.is_none()
    }

    /// Output that must not go yet.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_deref()
    }

    /// Has output wait behind what waits already, see [`Held::push`].
    pub(crate) fn hold(&mut self, bytes: &[u8], position: u64, is_ack: bool) {
        self.held.get_or_insert_default().push(bytes, position, is_ack);
    }

    /// Takes what need not wait any longer, see [`Held::release`].
    pub(crate) fn release(&mut self, safe: u64, error: Option<&[u8]>, out: &mut Vec<u8>) {
        if let Some(held) = &mut self.held {
            held.release(safe, error, out);
            if held.is_empty() {
                self.held = None;
            }
        }
    }

    /// Forgets what waits to be sent.
    pub(crate) fn discard_output(&mut self) {
        self.unsent = Unsent::default();
        self.held = None;
    }

    /// Bytes that wait to be sent, as the limits count them: nothing for few.
    pub(crate) fn counted_output(&self) -> usize {
        count_output(self.unsent.len())
    }

    /// Bytes of memory for output, room included.
    pub(crate) fn output_bytes(&self) -> usize {
        self.unsent.memory_bytes() + self.held.as_ref().map_or(0, |held| held.memory_bytes())
    }
}

/// How the limits count so many bytes of output.
pub(crate) fn count_output(bytes: usize) -> usize {
    if bytes > OUTPUT_BLOCK_BYTES { bytes } else { 0 }
}
