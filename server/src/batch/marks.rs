//! Which replies and messages of a batch wait for the log, and until when.

use std::ops::Range;

use super::{Batch, KEEP_REPLY_BYTES, Span};
use crate::server::Server;

/// Output in the buffer of replies that may have to wait for the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    start: usize,
    end: usize,
    /// It goes once the log is safe up to here.
    pub(super) position: u64,
    of: Marked,
}

/// What a mark is about.
#[derive(Debug, Clone, Copy)]
enum Marked {
    /// Replies to writes, of so many bytes each.
    Acks(usize),
    Other,
}

impl Mark {
    /// One reply to a write.
    pub(super) fn ack(start: usize, end: usize, position: u64) -> Mark {
        Mark { start, end, position, of: Marked::Acks(end - start) }
    }

    fn other(start: usize, end: usize, position: u64) -> Mark {
        Mark { start, end, position, of: Marked::Other }
    }

    /// Takes in the reply that follows, if it looks like those before.
    #[inline]
    pub(super) fn extend(&mut self, reply: &Range<usize>) -> bool {
        let is_like =
            self.end == reply.start && matches!(self.of, Marked::Acks(bytes) if bytes == reply.len());
        if is_like {
            self.end = reply.end;
        }
        is_like
    }

    /// Its pieces, each of which waits or goes for itself, and whether they are replies to writes.
    fn pieces(self) -> (impl Iterator<Item = Range<usize>>, bool) {
        let (bytes, is_ack) = match self.of {
            Marked::Acks(bytes) => (bytes, true),
            Marked::Other => (self.end - self.start, false),
        };
        let pieces = (self.start..self.end).step_by(bytes.max(1)).map(move |at| at..at + bytes);
        (pieces, is_ack)
    }
}

impl Batch {
    /// Messages of the outbox wait for the log as what they tell of does.
    pub(super) fn mark_outbox(&mut self, server: &Server, base: usize) {
        let position = server.aof.position;
        let mut start = base;
        for (range, acked_at) in server.outbox.acks() {
            let (from, to) = (base + range.start, base + range.end);
            self.marks.push(Mark::other(start, from, position));
            self.marks.push(Mark::ack(from, to, *acked_at));
            start = to;
        }
        self.marks.push(Mark::other(start, self.reply.len(), position));
    }

    /// Sends what may go. The rest waits for the log, and what is behind it in its client's order with it.
    #[cold]
    pub(super) fn hold_back(&mut self, server: &mut Server) {
        let bytes = self.reply.bytes();
        for spans in self.spans.chunk_by(|a, b| a.client == b.client) {
            let Some(Span { client, .. }) = spans.first().copied() else { continue };
            self.joined.clear();
            for span in spans {
                let mut at = span.start;
                let first = self.marks.partition_point(|mark| mark.end <= span.start);
                let marks = self.marks[first..].iter().take_while(|mark| mark.start < span.end);
                for mark in marks {
                    let (pieces, is_ack) = mark.pieces();
                    let after = Some((mark.position, is_ack));
                    for piece in pieces.filter(|piece| piece.end > span.start && piece.start < span.end) {
                        let (from, to) = (piece.start.max(at), piece.end.min(span.end));
                        server.send_when_safe(client, &bytes[at..from], None, &mut self.joined);
                        server.send_when_safe(client, &bytes[from..to], after, &mut self.joined);
                        at = to;
                    }
                }
                server.send_when_safe(client, &bytes[at..span.end], None, &mut self.joined);
            }
            if !self.joined.is_empty() {
                server.send(client, &self.joined);
            }
        }
        self.joined.clear();
        self.joined.shrink_to(KEEP_REPLY_BYTES);
    }
}
