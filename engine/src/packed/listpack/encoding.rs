//! One listpack entry: how long it is, how it is read, how it is written.
//!
//! The readers take any bytes and any offset and answer `None` where there is no entry.

use super::super::Element;
use super::HEADER;
use crate::base::num;

/// What an element of up to four kilobytes takes at the most besides its own bytes.
pub const MAX_AROUND: usize = 4;
/// The longest back length.
pub(super) const MAX_BACK_LEN: usize = 5;
/// The longest entry that carries an integer, back length included.
pub(super) const MAX_INT_ENTRY: usize = 10;

pub(super) const STRING_6: u8 = 0x80;
const INT_13: u8 = 0xc0;
const STRING_12: u8 = 0xe0;
const STRING_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;

/// Strings below this length have it in the encoding byte.
pub(super) const STRING_6_LIMIT: usize = 1 << 6;
/// Strings below this length have it in 12 bits.
const STRING_12_LIMIT: usize = 1 << 12;

/// Bytes an element takes in a listpack, its back length included; with them the limit of a node
/// can be tested before the insertion.
#[must_use]
pub fn encoded_len(s: &[u8]) -> usize {
    match num::parse_i64(s) {
        Some(v) => encoded_int_len(v),
        None => string_entry_len(s.len()),
    }
}

/// Bytes an integer takes in a listpack, its back length included.
#[must_use]
pub fn encoded_int_len(v: i64) -> usize {
    let mut entry = [0; MAX_INT_ENTRY];
    write_int(&mut entry, v)
}

pub(super) fn string_entry_len(len: usize) -> usize {
    let body = string_header_len(len) + len;
    body + back_len(body)
}

pub(super) fn string_header_len(len: usize) -> usize {
    match len {
        0..STRING_6_LIMIT => 1,
        STRING_6_LIMIT..STRING_12_LIMIT => 2,
        _ => 5,
    }
}

/// Bytes of the body for each first byte that alone tells it, 0 for the others.
///
/// One load instead of a chain of branches: in a listpack of numbers the widths come in no order,
/// and the branches would be guessed wrong half the time.
const SHORT_BODY: [u8; 256] = {
    let mut table = [0; 256];
    let mut first = 0;
    while first < 256 {
        table[first] = match first as u8 {
            0..STRING_6 => 1,
            STRING_6..INT_13 => 1 + (first as u8 & 0x3f),
            INT_13..STRING_12 => 2,
            INT_16 => 3,
            INT_24 => 4,
            INT_32 => 5,
            INT_64 => 9,
            STRING_12..=STRING_32 | 0xf5.. => 0,
        };
        first += 1;
    }
    table
};

/// [`SHORT_BODY`] of the first byte `first`: at most 64, so that the back length is one byte.
#[inline(always)]
pub(super) fn short_body(first: u8) -> usize {
    usize::from(SHORT_BODY[usize::from(first)])
}

/// Bytes of the entry at `at` without its back length, as its first bytes declare them: they may
/// lie beyond the end of `bytes`. `None` at an end mark or an unknown encoding.
#[inline(always)]
pub(super) fn body_len(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at)?;
    match short_body(first) {
        0 => long_body_len(bytes, at, first),
        short => Some(short),
    }
}

fn long_body_len(bytes: &[u8], at: usize, first: u8) -> Option<usize> {
    match first {
        STRING_12..STRING_32 => Some(2 + (usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(at + 1)?))),
        STRING_32 => (u32::from_le_bytes(array(bytes, at + 1)?) as usize).checked_add(5),
        _ => None,
    }
}

#[inline(always)]
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// Bytes of the back length of an entry whose body takes `body` bytes.
///
/// Valkey compares with one less than what would fit, so 16383 already takes three bytes.
#[inline(always)]
pub(super) const fn back_len(body: usize) -> usize {
    match body {
        0..=0x7f => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0xfff_ffff => 4,
        _ => 5,
    }
}

/// Writes the back length of a body of `body` bytes to the start of `out`; answers its length.
#[inline(always)]
pub(super) fn write_back_len(out: &mut [u8], body: usize) -> usize {
    let len = back_len(body);
    let mut rest = body;
    for byte in out[..len].iter_mut().rev() {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out[0] &= 0x7f;
    len
}

/// The element at `at` and the offset behind its entry.
#[inline(always)]
pub(super) fn decode(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let first = *bytes.get(at)?;
    if (STRING_6..INT_13).contains(&first) {
        let len = usize::from(first & 0x3f);
        let s = bytes.get(at + 1..at + 1 + len)?;
        return Some((Element::Bytes(s), at + 2 + len));
    }
    let short = short_body(first);
    if short == 0 {
        return decode_long_string(bytes, at, first);
    }
    Some((Element::Int(read_int(bytes, at, first)?), at + 1 + short))
}

/// The element at `at`, whose first byte is `first`, if that alone tells its length, and the offset behind it,
/// where its back length would be.
#[inline(always)]
pub(super) fn decode_short(bytes: &[u8], at: usize, first: u8) -> Option<(Element<'_>, usize)> {
    if (STRING_6..INT_13).contains(&first) {
        let end = at + 1 + usize::from(first & 0x3f);
        return Some((Element::Bytes(bytes.get(at + 1..end)?), end));
    }
    match short_body(first) {
        0 => None,
        body => Some((Element::Int(read_int(bytes, at, first)?), at + body)),
    }
}

/// The element at `at` and the offset behind it, where its back length would be.
#[inline(always)]
pub(super) fn decode_body(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let first = *bytes.get(at)?;
    if (STRING_6..INT_13).contains(&first) {
        let end = at + 1 + usize::from(first & 0x3f);
        return Some((Element::Bytes(bytes.get(at + 1..end)?), end));
    }
    let short = short_body(first);
    if short == 0 {
        let body = long_body_len(bytes, at, first)?;
        let end = at.checked_add(body)?;
        return Some((Element::Bytes(bytes.get(at + long_header(first)..end)?), end));
    }
    Some((Element::Int(read_int(bytes, at, first)?), at + short))
}

/// The integer whose entry, with the first byte `first`, is at `at`.
#[inline(always)]
fn read_int(bytes: &[u8], at: usize, first: u8) -> Option<i64> {
    // Where there are nine bytes all widths are read alike: the data with its first byte, seen as
    // a big number, is moved up until the sign is on top, then down again.
    let Some([_, data @ ..]) = bytes.get(at..).and_then(<[u8]>::first_chunk::<9>) else {
        return read_int_at_end(bytes, at, first);
    };
    Some(match first {
        0..STRING_6 => first.into(),
        INT_13..STRING_12 => int_13(first, data[0]),
        _ => {
            let unused = 64 - 8 * (short_body(first) as u32 - 1);
            i64::from_le_bytes(*data) << unused >> unused
        }
    })
}

/// [`read_int`] where a whole word cannot be loaded.
#[cold]
fn read_int_at_end(bytes: &[u8], at: usize, first: u8) -> Option<i64> {
    let entry = bytes.get(at..at.checked_add(short_body(first))?)?;
    Some(match *entry {
        [v @ 0..STRING_6] => v.into(),
        [high, low] => int_13(high, low),
        [_, a, b] => i16::from_le_bytes([a, b]).into(),
        [_, a, b, c] => (i32::from_le_bytes([0, a, b, c]) >> 8).into(),
        [_, a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        _ => return None,
    })
}

/// The sign is the 13th bit: moved to the top of 16 and back.
#[inline(always)]
fn int_13(high: u8, low: u8) -> i64 {
    (i16::from_be_bytes([high << 3 | low >> 5, low << 3]) >> 3).into()
}

fn long_header(first: u8) -> usize {
    if first == STRING_32 { 5 } else { 2 }
}

fn decode_long_string(bytes: &[u8], at: usize, first: u8) -> Option<(Element<'_>, usize)> {
    let body = long_body_len(bytes, at, first)?;
    let s = bytes.get(at + long_header(first)..at.checked_add(body)?)?;
    Some((Element::Bytes(s), at + body + back_len(body)))
}

/// The offset of the entry that ends at `at`.
#[inline(always)]
pub(super) fn prev_entry(bytes: &[u8], at: usize) -> Option<usize> {
    let mut body = 0usize;
    for width in 1..=MAX_BACK_LEN {
        let byte = *bytes.get(at.checked_sub(width)?)?;
        body |= usize::from(byte & 0x7f) << (7 * (width - 1));
        if byte & 0x80 == 0 {
            let start = at.checked_sub(body.checked_add(width)?)?;
            return (start >= HEADER).then_some(start);
        }
    }
    None
}

/// Writes the entry of `v` to the start of `out`; answers its length.
pub(super) fn write_int(out: &mut [u8; MAX_INT_ENTRY], v: i64) -> usize {
    let bytes = v.to_le_bytes();
    let body = match v {
        0..=0x7f => {
            out[0] = bytes[0];
            1
        }
        -0x1000..=0x0fff => {
            out[0] = INT_13 | (bytes[1] & 0x1f);
            out[1] = bytes[0];
            2
        }
        -0x8000..=0x7fff => tagged(out, INT_16, &bytes[..2]),
        -0x80_0000..=0x7f_ffff => tagged(out, INT_24, &bytes[..3]),
        -0x8000_0000..=0x7fff_ffff => tagged(out, INT_32, &bytes[..4]),
        _ => tagged(out, INT_64, &bytes),
    };
    body + write_back_len(&mut out[body..], body)
}

fn tagged(out: &mut [u8], tag: u8, data: &[u8]) -> usize {
    out[0] = tag;
    out[1..=data.len()].copy_from_slice(data);
    data.len() + 1
}

/// Writes the entry of the string `s` to `out`, which is [`string_entry_len`] long.
pub(super) fn write_string(out: &mut [u8], s: &[u8]) {
    let body = write_string_body(out, s);
    write_back_len(&mut out[body..], body);
}

/// Writes `s` without its back length to the start of `out`, which has room for it; answers its length.
#[inline(always)]
pub(super) fn write_string_body(out: &mut [u8], s: &[u8]) -> usize {
    let header = string_header_len(s.len());
    let len = (s.len() as u32).to_le_bytes();
    match header {
        1 => out[0] = STRING_6 | len[0],
        2 => {
            out[0] = STRING_12 | len[1];
            out[1] = len[0];
        }
        _ => {
            out[0] = STRING_32;
            out[1..5].copy_from_slice(&len);
        }
    }
    let body = header + s.len();
    out[header..body].copy_from_slice(s);
    body
}
