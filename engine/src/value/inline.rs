//! Small values as bytes inside the keyspace's record: which form they take and back again.
//!
//! A form is a tag of four bits and a run of bytes; the record keeps both and says how long the run
//! may be. The bytes of packed forms are the RDB's own. Tags are only ever paired with bytes that
//! `Value::inline_form` made, so reading them back does not validate.

use std::ops::Deref;

/// What the bytes of an inline value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum InlineTag {
    /// A string that is an integer: 0 to 8 bytes, little-endian, sign-extended.
    Int = 0,
    /// A string.
    Str = 1,
    /// A string that an edit made: OBJECT ENCODING says raw whatever its length.
    StrRaw = 2,
    /// A set as an intset.
    SetIntset = 3,
    /// A set as a listpack.
    SetListpack = 4,
    /// A hash as a listpack of pairs.
    HashListpack = 5,
    /// A hash as a listpack of triples: field, value, expiry.
    HashListpackEx = 6,
    /// A sorted set as a listpack of pairs.
    ZsetListpack = 7,
    /// A list as one listpack.
    ListListpack = 8,
    /// Not inline: the record holds a pointer to a `Value`.
    Boxed = 15,
}

impl InlineTag {
    /// The tag with this number, as `as u8` gave it.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Int,
            1 => Self::Str,
            2 => Self::StrRaw,
            3 => Self::SetIntset,
            4 => Self::SetListpack,
            5 => Self::HashListpack,
            6 => Self::HashListpackEx,
            7 => Self::ZsetListpack,
            8 => Self::ListListpack,
            15 => Self::Boxed,
            _ => return None,
        })
    }
}

/// The bytes of an inline form: borrowed from the value, or the few of an integer.
#[derive(Debug, Clone, Copy)]
pub enum InlineBytes<'a> {
    /// The value's own bytes.
    Borrowed(&'a [u8]),
    /// An integer's bytes and how many of them count.
    Int([u8; 8], u8),
}

impl Deref for InlineBytes<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Int(bytes, len) => &bytes[..usize::from(*len)],
        }
    }
}

/// The fewest little-endian bytes that sign-extend to `v`; none for 0.
#[inline]
#[must_use]
pub(crate) fn int_bytes(v: i64) -> InlineBytes<'static> {
    let significant = if v == 0 { 0 } else { 65 - (v ^ (v >> 63)).leading_zeros() };
    InlineBytes::Int(v.to_le_bytes(), significant.div_ceil(8) as u8)
}

/// The integer whose [`int_bytes`] these are. Bytes past the eighth are ignored.
#[inline]
#[must_use]
pub(crate) fn int_from_bytes(bytes: &[u8]) -> i64 {
    match *bytes {
        [] => 0,
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c] => i64::from(i32::from_le_bytes([0, a, b, c]) >> 8),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => {
            let len = bytes.len().min(8);
            let mut wide = [0; 8];
            wide[..len].copy_from_slice(&bytes[..len]);
            let shift = 64 - 8 * len as u32;
            (i64::from_le_bytes(wide) << shift) >> shift
        }
    }
}

/// Copies an integer's bytes over as many others, without a call where there are few.
#[inline]
pub(crate) fn copy_int_bytes(to: &mut [u8], from: &[u8]) {
    match (to, from) {
        ([a], [x]) => *a = *x,
        ([a, b], [x, y]) => (*a, *b) = (*x, *y),
        ([a, b, c], [x, y, z]) => (*a, *b, *c) = (*x, *y, *z),
        ([a, b, c, d], [x, y, z, u]) => (*a, *b, *c, *d) = (*x, *y, *z, *u),
        (to, from) => to.copy_from_slice(from),
    }
}

#[cfg(test)]
mod tests {
    use super::{InlineTag, copy_int_bytes, int_bytes, int_from_bytes};

    #[test]
    fn integers_take_the_fewest_bytes() {
        let cases =
            [(0, 0), (1, 1), (-1, 1), (127, 1), (128, 2), (-128, 1), (-129, 2), (i64::MAX, 8), (i64::MIN, 8)];
        for (v, len) in cases {
            assert_eq!(int_bytes(v).len(), len, "{v}");
        }
    }

    #[test]
    fn integers_are_copied_over_others_of_their_length() {
        for len in 0..=8 {
            let from: Vec<u8> = (1..=len).collect();
            let mut to = vec![0xff; usize::from(len)];
            copy_int_bytes(&mut to, &from);
            assert_eq!(to, from);
        }
    }

    #[test]
    fn integers_come_back() {
        for shift in 0..64 {
            for base in [1i64 << shift, (1i64 << shift).wrapping_neg()] {
                for v in [base.wrapping_sub(1), base, base.wrapping_add(1)] {
                    assert_eq!(int_from_bytes(&int_bytes(v)), v);
                }
            }
        }
    }

    #[test]
    fn tags_come_back_from_their_bits() {
        let known = (0..=255u8).filter_map(|bits| InlineTag::from_bits(bits).map(|tag| (bits, tag as u8)));
        assert!(known.clone().all(|(bits, tag)| bits == tag));
        assert_eq!(known.count(), 10);
    }
}
