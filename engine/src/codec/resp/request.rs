//! Requests as clients send them: multibulk commands and inline commands, parsed where they lie.
//!
//! Arguments come out as ranges of the caller's buffer; nothing is copied, and a big argument that
//! arrives in pieces is not looked at again from its start. Errors carry the text that Redis sends
//! before it closes the connection. Behaviour: valkey src/networking.c `processMultibulkBuffer`,
//! `processInlineBuffer`.

use std::fmt;

use memchr::memchr;

use crate::base::{num, words};

/// A header line (`*3`, `$5`) or an inline command may be this long, terminator not counted.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// What a client that has not authenticated may send: arguments of a command, and bytes of one.
const UNAUTHENTICATED_ARGS: i64 = 10;
const UNAUTHENTICATED_BULK_BYTES: i64 = 16 * 1024;

/// One argument: a range of the buffer that was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// Where it begins.
    pub at: usize,
    /// Its bytes.
    pub len: usize,
}

impl Arg {
    /// The argument's bytes. `buf` must be the buffer that was parsed.
    #[inline]
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.at..][..self.len]
    }
}

/// What a request may not exceed.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Bytes of one argument (`proto-max-bulk-len`).
    pub bulk_bytes: u64,
    /// Arguments of one command.
    pub args: i64,
    /// False while the client has yet to authenticate: then the narrow limits hold.
    pub is_authenticated: bool,
}

/// What [`Parser::next`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole command: its arguments were appended to `args`, and the next begins at `end`. No
    /// argument at all (an empty line, `*0`) is to be passed over.
    Command {
        /// Offset in the buffer, past the command's last byte.
        end: usize,
    },
    /// The buffer ends inside a command. At least `missing` bytes more are needed to go on.
    NeedMore {
        /// At least 1; known exactly inside an argument.
        missing: usize,
    },
    /// The client does not speak the protocol; to be told and disconnected.
    Error(ProtocolError),
}

/// What was wrong with a request. `Display` gives the text that clients get after `ERR `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// The line with the number of arguments does not end.
    MultibulkLineTooLong,
    /// The number of arguments is no number or too large.
    MultibulkLength,
    /// Too many arguments for a client that has not authenticated.
    UnauthenticatedMultibulkLength,
    /// The line with an argument's length does not end.
    BulkLineTooLong,
    /// An argument begins with this instead of `$`.
    ExpectedBulk(u8),
    /// An argument's length is no number, negative or too large.
    BulkLength,
    /// Too long an argument for a client that has not authenticated.
    UnauthenticatedBulkLength,
    /// An inline command does not end.
    InlineTooLong,
    /// A line or an argument is not followed by `\r\n`.
    MissingCrlf,
    /// An inline command with a quote that is not closed.
    UnbalancedQuotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Self::MultibulkLineTooLong => "too big mbulk count string",
            Self::MultibulkLength => "invalid multibulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::BulkLineTooLong => "too big bulk count string",
            Self::ExpectedBulk(found) => return write!(f, "expected '$', got '{}'", char::from(*found)),
            Self::BulkLength => "invalid bulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::InlineTooLong => "too big inline request",
            Self::MissingCrlf => "invalid CRLF in request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
        })
    }
}

/// Room for so many arguments is kept from one command to the next.
const KEEP_ARGS: usize = 64;

/// Where a connection's parser stands inside a command of which only a part has come.
///
/// Between commands it is empty, so a new one can take over at any command's first byte.
#[derive(Debug, Default)]
pub struct Parser {
    /// Arguments yet to come; 0 before the header was read.
    args_left: usize,
    /// Length of the argument whose `$` line was read but whose bytes were not all there.
    bulk: Option<usize>,
    /// Bytes of the command that are parsed, relative to its first byte.
    done: usize,
    /// Bytes past `done` in which no line end was found.
    searched: usize,
    /// Arguments found so far, relative to the command's first byte.
    partial: Vec<Arg>,
}

/// How a command of the usual form began: with its count and its first argument, the command's name.
/// The next one often begins with the same bytes, and then these need not be read again.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// The bytes, as a number; no command begins like this if `mask` has no bits.
    bytes: u128,
    /// All bits of as many bytes.
    mask: u128,
    /// Arguments behind the name.
    count: usize,
    /// The name, relative to the command's first byte.
    name: Arg,
    is_repeated: bool,
    is_usual: bool,
}

impl Default for Opening {
    fn default() -> Opening {
        let name = Arg { at: 0, len: 0 };
        Opening { bytes: 1, mask: 0, count: 0, name, is_repeated: false, is_usual: false }
    }
}

impl Opening {
    /// True if the command that was parsed last began as the one before it did: its name and the number of
    /// its arguments are the same.
    #[must_use]
    #[inline]
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// True if the command that was parsed last is written in the one way that servers and their logs
    /// write one. False in doubt, and for one with an argument of 1000 bytes or more.
    #[must_use]
    #[inline]
    pub fn is_usual(&self) -> bool {
        self.is_usual
    }

    /// Notes how a command of the usual form at `start` begins, unless that takes too many bytes.
    fn note(&mut self, buf: &[u8], start: usize, count: usize, name: Arg) {
        let bytes = name.at + name.len - start;
        *self = match buf[start..].first_chunk() {
            Some(first) if bytes <= first.len() => {
                let mask = u128::MAX >> (8 * (first.len() - bytes));
                let name = Arg { at: name.at - start, len: name.len };
                let bytes = u128::from_le_bytes(*first) & mask;
                Opening { bytes, mask, count: count - 1, name, is_repeated: false, is_usual: true }
            }
            _ => Opening { is_usual: true, ..Opening::default() },
        };
    }

    /// If a command at `start` begins like this: how many arguments it has behind its name, and its name.
    #[inline]
    fn read(&mut self, buf: &[u8], start: usize) -> Option<(usize, Arg)> {
        let first = u128::from_le_bytes(*buf.get(start..)?.first_chunk()?);
        self.is_repeated = first & self.mask == self.bytes;
        self.is_repeated.then_some((self.count, Arg { at: start + self.name.at, len: self.name.len }))
    }
}

/// Reads a command of the usual form that is all there: short counts, nothing missing, nothing wrong.
/// Its end, or `None` for any other, to be read with care; `args` is then as it was.
#[inline]
fn whole(
    buf: &[u8],
    start: usize,
    limits: &RequestLimits,
    args: &mut Vec<Arg>,
    opening: &mut Opening,
) -> Option<usize> {
    let are_narrow = limits.bulk_bytes < SHORT_COUNT || limits.args < SHORT_COUNT as i64;
    if !limits.is_authenticated || are_narrow {
        return None;
    }
    let first_new = args.len();
    if let Some((count, name)) = opening.read(buf, start) {
        args.push(name);
        return rest(buf, name.at + name.len, count, first_new, args);
    }
    let (count, at) = short_count(buf, start, b'*').filter(|(count, _)| *count > 0)?;
    let end = rest(buf, at - 2, count, first_new, args)?;
    opening.note(buf, start, count, args[first_new]);
    Some(end)
}

/// Reads `count` arguments, of which the first one's header follows the line end at `end`. The command's
/// end; `None` if it is not of the usual form: then `args` is as long as it was.
#[inline]
fn rest(buf: &[u8], mut end: usize, count: usize, first_new: usize, args: &mut Vec<Arg>) -> Option<usize> {
    // Each argument's header is looked at together with the line end before it.
    for _ in 0..count {
        let Some((len, at)) = head_behind(buf, end) else {
            args.truncate(first_new);
            return None;
        };
        args.push(Arg { at, len });
        end = at + len;
    }
    // As an array of a known length: otherwise this is a call.
    if buf.get(end..).and_then(<[u8]>::first_chunk) == Some(b"\r\n") {
        return Some(end + 2);
    }
    args.truncate(first_new);
    None
}

/// Counts of at most three digits are below this.
const SHORT_COUNT: u64 = 1000;

/// The length of at most three digits in the argument's header that follows the line end at `at`, and
/// where the argument begins. `None` for anything else. Eight bytes are all that such a header and the
/// line end can take.
#[inline]
fn head_behind(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    const LINE_ENDS: u64 = u64::from_le_bytes(*b"\r\n$\0\r\n\0\0");
    const ONE: u64 = u64::from_le_bytes([0xff, 0xff, 0xff, 0, 0xff, 0xff, 0, 0]);
    const TWO_ENDS: u64 = u64::from_le_bytes(*b"\r\n$\0\0\r\n\0");
    const TWO: u64 = u64::from_le_bytes([0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0]);
    const THREE_ENDS: u64 = u64::from_le_bytes(*b"\r\n$\0\0\0\r\n");
    const THREE: u64 = u64::from_le_bytes([0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0xff]);
    let digit = |byte: u64| Some((byte & 0xff).wrapping_sub(u64::from(b'0')) as usize).filter(|d| *d <= 9);
    let Some(bytes) = buf.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
        return buf.get(at..)?.strip_prefix(b"\r\n").and_then(|_| short_count(buf, at + 2, b'$'));
    };
    let word = u64::from_le_bytes(*bytes);
    if word & ONE == LINE_ENDS {
        return Some((digit(word >> 24)?, at + 6));
    }
    if word & TWO == TWO_ENDS {
        let tens = digit(word >> 24).filter(|d| *d > 0)?;
        return Some((tens * 10 + digit(word >> 32)?, at + 7));
    }
    if word & THREE == THREE_ENDS {
        let hundreds = digit(word >> 24).filter(|d| *d > 0)?;
        return Some((hundreds * 100 + digit(word >> 32)? * 10 + digit(word >> 40)?, at + 8));
    }
    None
}

/// The number of at most three digits in the line that begins with `mark` at `at`, and where the line
/// ends. `None` for anything else.
#[inline]
fn short_count(buf: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let digit = |byte: u8| Some(usize::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit <= 9);
    match *buf.get(at..)? {
        [m, a, b'\r', b'\n', ..] if m == mark => Some((digit(a)?, at + 4)),
        [m, a @ b'1'..=b'9', b, b'\r', b'\n', ..] if m == mark => Some((digit(a)? * 10 + digit(b)?, at + 5)),
        [m, a @ b'1'..=b'9', b, c, b'\r', b'\n', ..] if m == mark => {
            Some((digit(a)? * 100 + digit(b)? * 10 + digit(c)?, at + 6))
        }
        _ => None,
    }
}

impl Parser {
    /// True if a part of a command was seen.
    #[must_use]
    pub fn is_inside_command(&self) -> bool {
        self.args_left > 0 || self.searched > 0
    }

    /// Heap bytes of what is remembered of a command that has not come whole.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.partial.capacity() * size_of::<Arg>()
    }

    /// Bytes of the command that are parsed, of those that have come.
    #[must_use]
    pub fn parsed_bytes(&self) -> usize {
        self.done
    }

    /// Bytes still missing of an argument whose length is known, given that `have` bytes of the
    /// command are there. 0 elsewhere: the caller sizes its buffer by this for big arguments only.
    #[must_use]
    pub fn bulk_missing(&self, have: usize) -> usize {
        self.bulk.map_or(0, |len| (self.done + len + 2).saturating_sub(have))
    }

    /// Parses the command that begins at `start`.
    ///
    /// After `NeedMore` the next call goes on where this one stopped: the bytes from the command's
    /// start on must still be there, at `start` (which may have moved) and with more behind them.
    /// Quotes and escapes of inline commands are resolved in place, so the bytes of a finished
    /// inline command are changed.
    pub fn next(
        &mut self,
        buf: &mut [u8],
        start: usize,
        limits: &RequestLimits,
        args: &mut Vec<Arg>,
    ) -> Parsed {
        self.next_like(buf, start, limits, args, &mut Opening::default())
    }

    /// As `next`, for commands of which many begin as the one before: `opening` is to be handed from one
    /// call to the next.
    #[inline]
    pub fn next_like(
        &mut self,
        buf: &mut [u8],
        start: usize,
        limits: &RequestLimits,
        args: &mut Vec<Arg>,
        opening: &mut Opening,
    ) -> Parsed {
        if start >= buf.len() {
            return Parsed::NeedMore { missing: 1 };
        }
        if self.args_left == 0
            && self.searched == 0
            && let Some(end) = whole(buf, start, limits, args, opening)
        {
            return Parsed::Command { end };
        }
        *opening = Opening::default();
        self.next_with_care(buf, start, limits, args)
    }

    fn next_with_care(
        &mut self,
        buf: &mut [u8],
        start: usize,
        limits: &RequestLimits,
        args: &mut Vec<Arg>,
    ) -> Parsed {
        if self.args_left == 0 {
            if buf[start] != b'*' {
                return self.inline(buf, start, args);
            }
            return match self.header(buf, start, limits) {
                Ok(0) => {
                    let end = start + self.done;
                    self.done = 0;
                    Parsed::Command { end }
                }
                Ok(count) => {
                    self.args_left = count;
                    self.arguments(buf, start, limits, args)
                }
                Err(stop) => stop,
            };
        }
        self.arguments(buf, start, limits, args)
    }

    /// Reads `*N`. The number of arguments, 0 for none.
    fn header(&mut self, buf: &[u8], start: usize, limits: &RequestLimits) -> Result<usize, Parsed> {
        let text = self.line(buf, start, ProtocolError::MultibulkLineTooLong)?;
        let count = num::parse_i64(&buf[text.start + 1..text.end]).filter(|n| *n <= limits.args);
        let Some(count) = count else { return Err(Parsed::Error(ProtocolError::MultibulkLength)) };
        if !limits.is_authenticated && count > UNAUTHENTICATED_ARGS {
            return Err(Parsed::Error(ProtocolError::UnauthenticatedMultibulkLength));
        }
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The line that begins at `done`, without its end; moves `done` past it.
    #[inline]
    fn line(
        &mut self,
        buf: &[u8],
        start: usize,
        too_long: ProtocolError,
    ) -> Result<std::ops::Range<usize>, Parsed> {
        let begin = start + self.done;
        let there = buf.len() - begin;
        match memchr(b'\r', &buf[begin + self.searched..]) {
            Some(at) if self.searched + at + 2 <= there => {
                let end = begin + self.searched + at;
                if buf[end + 1] != b'\n' {
                    return Err(Parsed::Error(ProtocolError::MissingCrlf));
                }
                self.searched = 0;
                self.done = end + 2 - start;
                Ok(begin..end)
            }
            Some(_) => Err(Parsed::NeedMore { missing: 1 }),
            None if there > MAX_LINE_BYTES => Err(Parsed::Error(too_long)),
            None => {
                self.searched = there;
                Err(Parsed::NeedMore { missing: 1 })
            }
        }
    }

    #[inline]
    fn arguments(&mut self, buf: &[u8], start: usize, limits: &RequestLimits, args: &mut Vec<Arg>) -> Parsed {
        let first_new = args.len();
        let relative = |arg: Arg| Arg { at: arg.at - start, len: arg.len };
        while self.args_left > 0 {
            match self.argument(buf, start, limits) {
                // A command of many arguments comes in many pieces: what is known of it stays where it is.
                Ok(arg) if !self.partial.is_empty() => self.partial.push(relative(arg)),
                Ok(arg) => args.push(arg),
                Err(stop) => {
                    // Kept for the next call; the caller's list holds whole commands only.
                    self.partial.extend(args.drain(first_new..).map(relative));
                    return stop;
                }
            }
            self.args_left -= 1;
        }
        args.extend(self.partial.iter().map(|arg| Arg { at: arg.at + start, len: arg.len }));
        self.partial.clear();
        if self.partial.capacity() > KEEP_ARGS {
            self.partial = Vec::new();
        }
        let end = start + self.done;
        self.done = 0;
        Parsed::Command { end }
    }

    #[inline]
    fn argument(&mut self, buf: &[u8], start: usize, limits: &RequestLimits) -> Result<Arg, Parsed> {
        let len = match self.bulk {
            Some(len) => len,
            None => {
                let len = self.bulk_len(buf, start, limits)?;
                self.bulk = Some(len);
                len
            }
        };
        let at = start + self.done;
        // The length is within the limits, so far below usize::MAX.
        let end = self.done + len + 2;
        let there = buf.len() - start;
        if there < end {
            return Err(Parsed::NeedMore { missing: end - there });
        }
        if buf[at + len..at + len + 2] != *b"\r\n" {
            return Err(Parsed::Error(ProtocolError::MissingCrlf));
        }
        self.bulk = None;
        self.done = end;
        Ok(Arg { at, len })
    }

    #[inline]
    fn bulk_len(&mut self, buf: &[u8], start: usize, limits: &RequestLimits) -> Result<usize, Parsed> {
        let begin = start + self.done;
        // Most lengths have one or two digits.
        let len = match buf.get(begin..begin + 4) {
            Some(&[b'$', a @ b'0'..=b'9', b'\r', b'\n']) => {
                self.done += 4;
                self.searched = 0;
                i64::from(a - b'0')
            }
            _ => {
                let text = self.line(buf, start, ProtocolError::BulkLineTooLong)?;
                if buf[text.start] != b'$' {
                    return Err(Parsed::Error(ProtocolError::ExpectedBulk(buf[text.start])));
                }
                let len = num::parse_i64(&buf[text.start + 1..text.end]);
                len.filter(|n| *n >= 0).ok_or(Parsed::Error(ProtocolError::BulkLength))?
            }
        };
        if len as u64 > limits.bulk_bytes {
            return Err(Parsed::Error(ProtocolError::BulkLength));
        }
        if !limits.is_authenticated && len > UNAUTHENTICATED_BULK_BYTES {
            return Err(Parsed::Error(ProtocolError::UnauthenticatedBulkLength));
        }
        usize::try_from(len).map_err(|_| Parsed::Error(ProtocolError::BulkLength))
    }

    fn inline(&mut self, buf: &mut [u8], start: usize, args: &mut Vec<Arg>) -> Parsed {
        let there = buf.len() - start;
        let Some(at) = memchr(b'\n', &buf[start + self.searched..]) else {
            if there > MAX_LINE_BYTES {
                return Parsed::Error(ProtocolError::InlineTooLong);
            }
            self.searched = there;
            return Parsed::NeedMore { missing: 1 };
        };
        let line_end = start + self.searched + at;
        self.searched = 0;
        let text_end = if line_end > start && buf[line_end - 1] == b'\r' { line_end - 1 } else { line_end };
        let Some(words) = words::split(&buf[start..text_end]) else {
            return Parsed::Error(ProtocolError::UnbalancedQuotes);
        };
        // Resolving quotes and escapes only ever shortens, so the words fit where they came from.
        let mut to = start;
        for word in &words {
            buf[to..to + word.len()].copy_from_slice(word);
            args.push(Arg { at: to, len: word.len() });
            to += word.len();
        }
        Parsed::Command { end: line_end + 1 }
    }
}

#[cfg(test)]
mod tests;
