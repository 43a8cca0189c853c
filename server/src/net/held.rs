//! Output of one client that has to wait until the log has what it acknowledges. Does no I/O.
//!
//! Replies stay in order: behind one that waits all others wait, too. Positions are those of the log;
//! knows no log.

use std::collections::VecDeque;

/// A run of bytes that wait for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    bytes: usize,
    /// They go once the log is safe up to here.
    position: u64,
    /// They tell a client that its write was done: a lie if the log cannot be written.
    is_ack: bool,
}

/// What waits, in order.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// Bytes at the front that are gone.
    gone: usize,
    pieces: VecDeque<Piece>,
}

impl Held {
    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Has bytes wait until the log is safe up to `position`; `is_ack` for a reply to a write.
    pub(crate) fn push(&mut self, bytes: &[u8], position: u64, is_ack: bool) {
        self.bytes.extend_from_slice(bytes);
        match self.pieces.back_mut() {
            // Nothing overtakes what is before it.
            Some(last) if !last.is_ack && !is_ack && position <= last.position => last.bytes += bytes.len(),
            _ => self.pieces.push_back(Piece { bytes: bytes.len(), position, is_ack }),
        }
    }

    /// Moves to `out` what need not wait any longer, the log being safe up to `safe`. With an `error`
    /// nothing waits: acknowledgements of what the log does not have become that error.
    pub(crate) fn release(&mut self, safe: u64, error: Option<&[u8]>, out: &mut Vec<u8>) {
        while let Some(piece) = self.pieces.front().copied() {
            let is_safe = piece.position <= safe;
            if !is_safe && error.is_none() {
                break;
            }
            match error {
                Some(error) if !is_safe && piece.is_ack => out.extend_from_slice(error),
                _ => out.extend_from_slice(&self.bytes[self.gone..self.gone + piece.bytes]),
            }
            self.gone += piece.bytes;
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            *self = Held::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Held;

    fn release(held: &mut Held, safe: u64, error: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        held.release(safe, error, &mut out);
        String::from_utf8(out).expect("text")
    }

    fn three() -> Held {
        let mut held = Held::default();
        held.push(b"+1", 10, true);
        held.push(b"$2", 10, false);
        held.push(b"+3", 20, true);
        held
    }

    #[test]
    fn replies_go_in_their_order_once_the_log_is_safe() {
        let mut held = three();
        assert_eq!((held.len(), release(&mut held, 9, None)), (6, String::new()));
        assert_eq!(release(&mut held, 10, None), "+1$2");
        assert!(!held.is_empty());
        assert_eq!((release(&mut held, 25, None), held.is_empty(), held.len()), ("+3".into(), true, 0));
    }

    #[test]
    fn what_is_not_safe_is_not_acknowledged() {
        let mut held = three();
        assert_eq!(release(&mut held, 0, Some(b"-E")), "-E$2-E");
        let mut held = three();
        assert_eq!(release(&mut held, 10, Some(b"-E")), "+1$2-E");
        assert!(held.is_empty());
    }
}
