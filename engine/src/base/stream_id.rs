//! The id of a stream entry: its order, its text form, its 16-byte form, the next and previous id.
//!
//! Text is `ms-seq` or `ms` alone. Knows no streams: what a missing sequence means is an argument,
//! and the callers deal with `(`, `*`, `$` and `>`. `-` and `+` stand for the least and greatest id.
//! Behaviour: valkey src/t_stream.c (`streamGenericParseIDOrReply`, `streamIncrID`).

use super::num::{parse_u64, push_u64};

/// A stream entry id: milliseconds, then sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Unix time in milliseconds.
    pub ms: u64,
    /// Sequence number within the millisecond.
    pub seq: u64,
}

/// What XADD may be asked for in place of a full id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdSpec {
    /// `*`: the current time, the next free sequence.
    Auto,
    /// `ms-*`: this time, the next free sequence.
    AutoSeq(u64),
    /// `ms-seq`, or `ms` for `ms-0`.
    Exact(StreamId),
}

impl StreamId {
    /// The least id, `0-0`; no entry can have it.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The greatest id.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An id from its two parts.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id right after this one; `None` after [`StreamId::MAX`].
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match (self.ms, self.seq) {
            (u64::MAX, u64::MAX) => None,
            (ms, u64::MAX) => Some(Self::new(ms + 1, 0)),
            (ms, seq) => Some(Self::new(ms, seq + 1)),
        }
    }

    /// The id right before this one; `None` before [`StreamId::MIN`].
    #[must_use]
    pub const fn prev(self) -> Option<Self> {
        match (self.ms, self.seq) {
            (0, 0) => None,
            (ms, 0) => Some(Self::new(ms - 1, u64::MAX)),
            (ms, seq) => Some(Self::new(ms, seq - 1)),
        }
    }

    /// Reads `ms-seq` or `ms`; `missing_seq` completes the latter. `None` on anything else.
    #[must_use]
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        match text.iter().position(|&b| b == b'-') {
            None => Some(Self::new(parse_part(text)?, missing_seq)),
            Some(dash) => Some(Self::new(parse_part(&text[..dash])?, parse_part(&text[dash + 1..])?)),
        }
    }

    /// Reads an end of a range: as [`StreamId::parse`], and `-` for the least, `+` for the greatest.
    #[must_use]
    pub fn parse_bound(text: &[u8], missing_seq: u64) -> Option<Self> {
        match text {
            b"-" => Some(Self::MIN),
            b"+" => Some(Self::MAX),
            _ => Self::parse(text, missing_seq),
        }
    }

    /// Appends `ms-seq`.
    pub fn push_text(self, out: &mut Vec<u8>) {
        push_u64(out, self.ms);
        out.push(b'-');
        push_u64(out, self.seq);
    }

    /// The 16 bytes, big-endian, whose byte order is the ids' order.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.ms) << 64) | u128::from(self.seq)).to_be_bytes()
    }

    /// The id that [`StreamId::to_bytes`] wrote.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let whole = u128::from_be_bytes(bytes);
        Self { ms: (whole >> 64) as u64, seq: whole as u64 }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl IdSpec {
    /// Reads what XADD takes: `*`, `ms-*`, `ms-seq`, `ms`. `None` on anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text == b"*" {
            return Some(Self::Auto);
        }
        if let Some(ms) = text.strip_suffix(b"-*") {
            return parse_part(ms).map(Self::AutoSeq);
        }
        StreamId::parse(text, 0).map(Self::Exact)
    }
}

/// Longer ids are refused before they are looked at.
const MAX_ID_CHARS: usize = 127;

/// Half an id. Valkey falls back on C's `strtoull` here, so that leading zeros, leading white space
/// and one `+` pass, as in no other integer of the protocol.
fn parse_part(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_u64(text) {
        return Some(value);
    }
    if text.len() > MAX_ID_CHARS {
        return None;
    }
    let is_space = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|b| is_space(b)).count()..];
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = digits.iter().take_while(|&&b| b == b'0').count();
    match &digits[zeros..] {
        [] => Some(0),
        rest => parse_u64(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_go_both_ways() {
        for (text, missing, want) in [
            (&b"1-2"[..], 9, Some(StreamId::new(1, 2))),
            (b"7", 9, Some(StreamId::new(7, 9))),
            (b"18446744073709551615-18446744073709551615", 0, Some(StreamId::MAX)),
            (b"18446744073709551616-0", 0, None),
            (b"", 0, None),
            (b"-", 0, None),
            (b"1-", 0, None),
            (b"-1", 0, None),
            (b"1-2-3", 0, None),
            (b"1-*", 0, None),
            (b" 01-+0", 9, Some(StreamId::new(1, 0))),
            (b"00", 9, Some(StreamId::new(0, 9))),
            (b"1 -1", 0, None),
            (b"0x1", 0, None),
        ] {
            assert_eq!(StreamId::parse(text, missing), want, "{}", text.escape_ascii());
        }
        let id = StreamId::new(1_526_919_030_474, 55);
        let mut text = Vec::new();
        id.push_text(&mut text);
        assert_eq!(text, b"1526919030474-55");
        assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        assert_eq!(StreamId::parse_bound(b"-", 5), Some(StreamId::MIN));
        assert_eq!(StreamId::parse_bound(b"+", 5), Some(StreamId::MAX));
    }

    #[test]
    fn neighbours_carry_into_the_milliseconds() {
        assert_eq!(StreamId::new(1, u64::MAX).next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::new(2, 0).prev(), Some(StreamId::new(1, u64::MAX)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.prev(), None);
    }

    #[test]
    fn xadd_specs() {
        assert_eq!(IdSpec::parse(b"*"), Some(IdSpec::Auto));
        assert_eq!(IdSpec::parse(b"5-*"), Some(IdSpec::AutoSeq(5)));
        assert_eq!(IdSpec::parse(b"5"), Some(IdSpec::Exact(StreamId::new(5, 0))));
        assert_eq!(IdSpec::parse(b"-*"), None);
        assert_eq!(IdSpec::parse(b"+"), None);
    }
}
