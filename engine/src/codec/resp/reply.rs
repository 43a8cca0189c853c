//! Replies, written into one buffer in the protocol that the client speaks.
//!
//! RESP3's types have plain twins in RESP2: a map is a flat array, a double a bulk string, a null the
//! null bulk string. Knows no clients; what is in the buffer before a reply is never touched.
//! Behaviour: valkey src/networking.c `addReply...`; the RESP3 specification.

use std::fmt::Display;
use std::io::Write;

use crate::base::num;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// What every client understands; the state of a new connection.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// The number that HELLO and CLIENT LIST show.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// A place in the buffer where a length is still to be filled in.
#[derive(Debug)]
#[must_use = "a reply without its length is broken"]
pub struct Deferred {
    at: usize,
}

/// Room for a line of a short number, or a bulk string of one.
const LINE_ROOM: usize = 16;

/// Room for a length of one digit; longer ones move what follows.
const PLACEHOLDER: &[u8; 4] = b"*0\r\n";

/// A buffer of replies.
#[derive(Debug)]
pub struct Reply {
    out: Vec<u8>,
    protocol: Protocol,
    /// Past this length the reply in progress will not be sent.
    limit: usize,
    /// Something was left out for that.
    is_cut: bool,
}

impl Default for Reply {
    fn default() -> Reply {
        Reply::new(Protocol::default())
    }
}

impl Reply {
    /// An empty buffer.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Reply {
        Reply { out: Vec::new(), protocol, limit: usize::MAX, is_cut: false }
    }

    /// The protocol of what is written next.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the protocol of what is written next.
    pub const fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Sets how many bytes more are worth writing; `usize::MAX` for any number. What is longer is cut:
    /// strings are left out, and it is no reply any more.
    #[inline]
    pub fn limit_to(&mut self, more: usize) {
        self.limit = self.out.len().saturating_add(more);
        self.is_cut = false;
    }

    /// True if something was left out since the limit was set.
    #[must_use]
    #[inline]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// True if there is a limit.
    #[must_use]
    pub const fn has_limit(&self) -> bool {
        self.limit < usize::MAX
    }

    /// True if the reply in progress is so long already that it will not be sent: whoever still has much
    /// to write can stop.
    #[must_use]
    #[inline]
    pub fn is_over_limit(&self) -> bool {
        self.out.len() > self.limit
    }

    /// True if RESP3 is spoken.
    #[must_use]
    pub const fn is_resp3(&self) -> bool {
        matches!(self.protocol, Protocol::Resp3)
    }

    /// Everything that was written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Number of bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True if nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Forgets what was written past `len`.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Gives room back that is more than `keep_bytes` and is not needed for what is there.
    pub fn shrink_to(&mut self, keep_bytes: usize) {
        self.out.shrink_to(keep_bytes);
    }

    /// Forgets everything, and gives room back if it is more than `keep_bytes`.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.out.clear();
        self.out.shrink_to(keep_bytes);
    }

    /// Heap bytes of the buffer.
    #[must_use]
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Takes the bytes away, leaving an empty buffer.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Appends bytes that are a reply already.
    pub fn raw(&mut self, reply: &[u8]) {
        self.out.extend_from_slice(reply);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. Must hold no line end.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.end_line();
    }

    /// An error: `text` begins with its code (`ERR ...`). Line ends in it become spaces, so that data
    /// of a client inside of an error cannot end the reply early.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// An error whose text need not be UTF-8.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.out.push(b'-');
        self.one_line(text);
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        if (0..10).contains(&value) {
            self.out.extend_from_slice(&[b':', b'0' + value as u8, b'\r', b'\n']);
        } else if let Ok(value) = u64::try_from(value) {
            self.number_line(b':', value);
        } else {
            self.out.push(b':');
            num::push_i64(&mut self.out, value);
            self.end_line();
        }
    }

    /// An unsigned integer, in the same form.
    pub fn uint(&mut self, value: u64) {
        self.header(b':', value);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.is_over_limit() {
            self.is_cut = true;
            return;
        }
        self.header(b'$', bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self.end_line();
    }

    /// A bulk string of a number.
    pub fn bulk_int(&mut self, value: i64) {
        if let Ok(short) = u32::try_from(value)
            && u64::from(short) < num::SHORT_LIMIT
        {
            let (digits, len) = num::short_digits(short);
            let mut room = [0; LINE_ROOM];
            room[..4].copy_from_slice(&[b'$', b'0' + len as u8, b'\r', b'\n']);
            room[4..12].copy_from_slice(&digits);
            room[4 + len..6 + len].copy_from_slice(b"\r\n");
            self.push_front_of(&room, 6 + len);
            return;
        }
        self.header(b'$', num::i64_chars(value) as u64);
        num::push_i64(&mut self.out, value);
        self.end_line();
    }

    /// A bulk string of what `value` displays.
    pub fn bulk_display(&mut self, value: impl Display) {
        self.bulk_with(|out| {
            let _ = write!(out, "{value}");
        });
    }

    /// A bulk string of what `write` appends to the buffer it is given.
    pub fn bulk_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let begun = self.begin_array();
        let body = self.out.len();
        write(&mut self.out);
        let len = self.out.len().saturating_sub(body);
        self.end_line();
        self.fill(begun, b'$', len);
    }

    /// A bulk string of `parts`, one behind the other.
    pub fn bulk_parts(&mut self, parts: &[&[u8]]) {
        self.header(b'$', parts.iter().map(|part| part.len() as u64).sum());
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.end_line();
    }

    /// No value: the null bulk string, or `_`.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// No array: the null array, or `_`.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// Head of an array; `len` replies follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as u64);
    }

    /// Head of a map; `pairs` times two replies follow. A flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        if self.is_resp3() { self.header(b'%', pairs as u64) } else { self.header(b'*', pairs as u64 * 2) }
    }

    /// Head of a set; `len` replies follow. An array in RESP2.
    pub fn set(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'~' } else { b'*' }, len as u64);
    }

    /// Head of a push message; `len` replies follow. An array in RESP2.
    pub fn push(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'>' } else { b'*' }, len as u64);
    }

    /// Head of an attribute; `pairs` times two replies follow, and then the reply that it is about.
    /// RESP3 only.
    pub fn attribute(&mut self, pairs: usize) {
        self.header(b'|', pairs as u64);
    }

    /// A double, in the fewest digits that give the same value back. A bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        if self.is_resp3() {
            self.out.push(b',');
            num::push_f64_shortest(&mut self.out, value);
            self.end_line();
        } else {
            self.bulk_double(value);
        }
    }

    /// A double as a bulk string.
    fn bulk_double(&mut self, value: f64) {
        /// Doubles that print as integers do.
        const MOST: f64 = (1u64 << 53) as f64;
        const HEAD: &[u8; 5] = b"$00\r\n";
        let is_minus_0 = value == 0.0 && value.is_sign_negative();
        if value.abs() <= MOST && value.trunc() == value && !is_minus_0 {
            return self.bulk_int(value as i64);
        }
        // Most texts are ten to ninety-nine bytes long, none is longer.
        let at = self.out.len();
        self.out.extend_from_slice(HEAD);
        num::push_f64_shortest(&mut self.out, value);
        let len = (self.out.len() - at - HEAD.len()) as u8;
        if len >= 10 {
            self.out[at + 1] = b'0' + len / 10;
            self.out[at + 2] = b'0' + len % 10;
        } else {
            self.out[at + 1] = b'0' + len;
            self.out.remove(at + 2);
        }
        self.end_line();
    }

    /// A truth value; 1 or 0 in RESP2.
    pub fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.is_resp3(), value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    /// A whole number of any size, given as its digits. A bulk string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        if self.is_resp3() {
            self.out.push(b'(');
            self.one_line(digits.as_bytes());
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// A text for people, as INFO gives it. A bulk string in RESP2.
    pub fn verbatim(&mut self, text: &[u8]) {
        if self.is_resp3() {
            self.header(b'=', text.len() as u64 + 4);
            self.out.extend_from_slice(b"txt:");
            self.out.extend_from_slice(text);
            self.end_line();
        } else {
            self.bulk(text);
        }
    }

    /// A text of another format than the plain one; formats have three letters, and are cut or filled up
    /// with blanks. A bulk string in RESP2.
    pub fn verbatim_as(&mut self, format: &[u8], text: &[u8]) {
        if self.is_resp3() {
            let mut head = *b"   :";
            format.iter().zip(&mut head[..3]).for_each(|(from, to)| *to = *from);
            self.header(b'=', text.len() as u64 + 4);
            self.out.extend_from_slice(&head);
            self.out.extend_from_slice(text);
            self.end_line();
        } else {
            self.bulk(text);
        }
    }

    /// Begins an array, map, set or push message whose length is not known yet. Ended by the matching
    /// `end_...`; those begun later must be ended sooner.
    pub fn begin_array(&mut self) -> Deferred {
        let at = self.out.len();
        self.out.extend_from_slice(PLACEHOLDER);
        Deferred { at }
    }

    /// Fills in the length of an array. O(bytes of the array) if the length has two digits or more.
    pub fn end_array(&mut self, begun: Deferred, len: usize) {
        self.fill(begun, b'*', len);
    }

    /// Fills in the number of pairs of a map.
    pub fn end_map(&mut self, begun: Deferred, pairs: usize) {
        if self.is_resp3() { self.fill(begun, b'%', pairs) } else { self.fill(begun, b'*', pairs * 2) }
    }

    /// Fills in the length of a set.
    pub fn end_set(&mut self, begun: Deferred, len: usize) {
        self.fill(begun, if self.is_resp3() { b'~' } else { b'*' }, len);
    }

    #[allow(clippy::needless_pass_by_value, reason = "a place is filled in once")]
    fn fill(&mut self, begun: Deferred, kind: u8, len: usize) {
        let digits = num::u64_chars(len as u64);
        let extra = digits - 1;
        let Deferred { at } = begun;
        if extra > 0 {
            let body = at + PLACEHOLDER.len();
            let end = self.out.len();
            self.out.resize(end + extra, 0);
            self.out.copy_within(body..end, body + extra);
        }
        let mut room = itoa::Buffer::new();
        let text = room.format(len).as_bytes();
        self.out[at] = kind;
        self.out[at + 1..=at + digits].copy_from_slice(text);
        self.out[at + digits + 1..at + digits + 3].copy_from_slice(b"\r\n");
    }

    #[inline]
    fn header(&mut self, kind: u8, value: u64) {
        if value < 10 {
            self.out.extend_from_slice(&[kind, b'0' + value as u8, b'\r', b'\n']);
        } else if value < 100 {
            let (tens, ones) = (value as u8 / 10, value as u8 % 10);
            self.out.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
        } else if value < 1000 {
            let (hundreds, rest) = (value as u16 / 100, value as u16 % 100);
            let digits = [hundreds, rest / 10, rest % 10].map(|digit| b'0' + digit as u8);
            self.out.extend_from_slice(&[kind, digits[0], digits[1], digits[2], b'\r', b'\n']);
        } else {
            self.number_line(kind, value);
        }
    }

    /// A line of a mark and a number.
    #[inline]
    fn number_line(&mut self, kind: u8, value: u64) {
        if value >= num::SHORT_LIMIT {
            self.out.push(kind);
            num::push_u64(&mut self.out, value);
            self.end_line();
            return;
        }
        let (digits, len) = num::short_digits(value as u32);
        let mut room = [0; LINE_ROOM];
        room[0] = kind;
        room[1..9].copy_from_slice(&digits);
        room[1 + len..3 + len].copy_from_slice(b"\r\n");
        self.push_front_of(&room, 3 + len);
    }

    /// Appends the first `len` bytes of `room`. A copy of a fixed length is a few instructions, one of any
    /// other length a call.
    #[inline]
    fn push_front_of(&mut self, room: &[u8; LINE_ROOM], len: usize) {
        let end = self.out.len() + len;
        self.out.extend_from_slice(room);
        self.out.truncate(end);
    }

    #[inline]
    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn one_line(&mut self, text: &[u8]) {
        let at = self.out.len();
        self.out.extend_from_slice(text);
        for byte in &mut self.out[at..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.end_line();
    }
}

impl Write for Reply {
    /// Appends raw bytes, for `write!`.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
