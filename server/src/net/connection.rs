//! The bytes of one connection: what came in and is not used up, what is to go out. Does no I/O.

use cairn_engine::codec::resp::Parser;

use super::held::Held;

/// Buffers larger than this are given back once they are empty.
const KEEP_BYTES: usize = 16 * 1024;

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
    /// Bytes to send, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// Output that is to go behind that, and must not yet.
    held: Option<Box<Held>>,
}

impl Connection {
    /// Bytes that wait to be sent.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// True if nothing waits to be sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.sent == self.output.len()
    }

    /// True if nothing is left that the client is to get.
    pub(crate) fn is_done(&self) -> bool {
        self.is_flushed() && self.held.is_none()
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

    /// Adds bytes to send.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.sent > 0 && self.sent >= self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        self.output.extend_from_slice(bytes);
    }

    /// The first `count` unsent bytes are sent.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_flushed() {
            self.sent = 0;
            self.output.clear();
            self.output.shrink_to(KEEP_BYTES);
        }
    }

    /// Forgets what waits to be sent.
    pub(crate) fn discard_output(&mut self) {
        self.output = Vec::new();
        self.sent = 0;
        self.held = None;
    }

    /// Bytes that wait to be sent, as the limits count them: nothing for few.
    pub(crate) fn counted_output(&self) -> usize {
        count_output(self.output.len() - self.sent)
    }

    /// Bytes of memory for output, room included.
    pub(crate) fn output_bytes(&self) -> usize {
        self.output.capacity() + self.held.as_ref().map_or(0, |held| held.memory_bytes())
    }
}

/// How the limits count so many bytes of output.
pub(crate) fn count_output(bytes: usize) -> usize {
    if bytes > OUTPUT_BLOCK_BYTES { bytes } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::Connection;

    #[test]
    fn output_is_a_queue() {
        let mut connection = Connection::default();
        connection.push(b"abcdef");
        connection.advance(4);
        connection.push(b"gh");
        assert_eq!(connection.unsent(), b"efgh");
        connection.advance(4);
        assert!(connection.is_flushed());
        assert_eq!(connection.unsent(), b"");
    }
}
