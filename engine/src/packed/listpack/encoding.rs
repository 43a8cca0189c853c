//! One listpack entry: how long it is, how it is read, how it is written.
//!
//! The readers take any bytes and any offset and answer `None` where there is no entry.

use super::super::Element;
use super::HEADER;
use crate::base::num;

/// The longest back length.
pub(super) const MAX_BACK_LEN: usize = 5;
/// The longest entry that carries an integer, back length included.
pub(super) const MAX_INT_ENTRY: usize = 10;

const STRING_6: u8 = 0x80;
const INT_13: u8 = 0xc0;
const STRING_12: u8 = 0xe0;
const STRING_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;

/// Strings below this length have it in the encoding byte.
const STRING_6_LIMIT: usize = 1 << 6;
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

fn string_header_len(len: usize) -> usize {
    match len {
        0..STRING_6_LIMIT => 1,
        STRING_6_LIMIT..STRING_12_LIMIT => 2,
        _ => 5,
    }
}

/// Bytes of the entry at `at` without its back length, as its first bytes declare them: they may
/// lie beyond the end of `bytes`. `None` at an end mark or an unknown encoding.
#[inline(always)]
pub(super) fn body_len(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at)?;
    Some(match first {
        0..STRING_6 => 1,
        STRING_6..INT_13 => 1 + usize::from(first & 0x3f),
        INT_13..STRING_12 => 2,
        STRING_12..STRING_32 => 2 + (usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(at + 1)?)),
        STRING_32 => (u32::from_le_bytes(array(bytes, at + 1)?) as usize).checked_add(5)?,
        INT_16 => 3,
        INT_24 => 4,
        INT_32 => 5,
        INT_64 => 9,
        0xf5.. => return None,
    })
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
    match first {
        0..STRING_6 => Some((Element::Int(first.into()), at + 2)),
        STRING_6..INT_13 => {
            let len = usize::from(first & 0x3f);
            let s = bytes.get(at + 1..at + 1 + len)?;
            Some((Element::Bytes(s), at + 2 + len))
        }
        _ => decode_long(bytes, at),
    }
}

fn decode_long(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let body = body_len(bytes, at)?;
    let entry = bytes.get(at..at.checked_add(body)?)?;
    let element = match entry[0] {
        INT_13..STRING_12 => {
            let raw = u16::from(entry[0] & 0x1f) << 8 | u16::from(entry[1]);
            // The sign is the 13th bit: move it to the top and back.
            Element::Int(i64::from((raw << 3) as i16 >> 3))
        }
        STRING_12..STRING_32 => Element::Bytes(&entry[2..]),
        STRING_32 => Element::Bytes(&entry[5..]),
        INT_16 => Element::Int(i16::from_le_bytes(array(entry, 1)?).into()),
        INT_24 => Element::Int((i32::from_le_bytes([0, entry[1], entry[2], entry[3]]) >> 8).into()),
        INT_32 => Element::Int(i32::from_le_bytes(array(entry, 1)?).into()),
        _ => Element::Int(i64::from_le_bytes(array(entry, 1)?)),
    };
    Some((element, at + body + back_len(body)))
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
    write_back_len(&mut out[body..], body);
}
