//! Finding the damaged byte from the checksum alone.
//!
//! A CRC is linear: what the sum of the bytes and the stored sum differ by depends only on which bits are
//! wrong and how far they are from the end. So the difference is taken back byte by byte from the end, and
//! where it has shrunk to the one or two bytes that went in there, these are wrong and this is how. There are 2^64
//! differences, and 2^16 for each byte of the file that are explained so: that another kind of damage looks like
//! this one happens once in 2^48 / length files. Knows no format.

use cairn_engine::base::crc64::Crc64;

use super::bytes::Bytes;

/// Reflected polynomial of CRC-64/REDIS.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
/// The checksum's bytes at the end of a file.
pub(super) const SUM_BYTES: usize = 8;

/// What the checksum of a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is none, or it is switched off.
    None,
    /// It is right.
    Right,
    /// The checksum itself has one or two wrong bytes next to each other.
    SumDamaged,
    /// Wrong, and no change of one byte or two next to each other makes it right.
    Wrong,
    /// These bits of one byte, or two next to each other, make it right.
    Located {
        /// Offset of the first of them.
        at: u64,
        /// What to change the bytes by.
        flip: [u8; 2],
    },
}

/// Sums up all but the last eight bytes, and compares.
pub(super) fn verdict(bytes: &Bytes<'_>, locate: bool) -> Verdict {
    const PIECE_BYTES: usize = 1 << 20;
    let Some(end) = bytes.len().checked_sub(SUM_BYTES) else { return Verdict::None };
    let mut stored = [0; SUM_BYTES];
    stored.copy_from_slice(&bytes.get(end..end + SUM_BYTES));
    let stored = u64::from_le_bytes(stored);
    if stored == 0 {
        return Verdict::None;
    }
    let mut sum = Crc64::new();
    let mut at = 0;
    while at < end {
        let until = (at + PIECE_BYTES).min(end);
        sum.update(&bytes.get(at..until));
        bytes.release(at..until);
        at = until;
    }
    let difference = sum.value() ^ stored;
    if difference == 0 {
        return Verdict::Right;
    }
    if is_small(difference >> (difference.trailing_zeros() / 8 * 8)) {
        return Verdict::SumDamaged;
    }
    match locate.then(|| find(difference, end)).flatten() {
        Some((at, flip)) => Verdict::Located { at: at as u64, flip },
        None => Verdict::Wrong,
    }
}

/// Whether it is no more than two bytes.
fn is_small(value: u64) -> bool {
    value >> 16 == 0
}

/// The place and the bits that explain a difference, in a text of `len` bytes. O(len).
fn find(difference: u64, len: usize) -> Option<(usize, [u8; 2])> {
    let mut table = [0u64; 256];
    for (byte, entry) in table.iter_mut().enumerate() {
        *entry =
            (0..8).fold(byte as u64, |crc, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 });
    }
    // The top byte of an entry is its own alone, so that a step can be taken back.
    let mut by_top = [0u8; 256];
    for (byte, entry) in table.iter().enumerate() {
        by_top[(entry >> 56) as usize] = byte as u8;
    }
    let mut value = difference;
    for at in (0..len).rev() {
        let byte = by_top[(value >> 56) as usize];
        value = (value ^ table[usize::from(byte)]) << 8 | u64::from(byte);
        if is_small(value) {
            let flip = (value as u16).to_le_bytes();
            // Two bytes at the very end would reach into the checksum.
            return (at + 1 < len || flip[1] == 0).then_some((at, flip));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Verdict, find, verdict};
    use crate::salvage::bytes::Bytes;
    use cairn_engine::base::crc64::crc64 as sum_of;

    #[test]
    fn every_byte_that_was_changed_is_found() {
        let text: Vec<u8> = (0..1000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let right = sum_of(&text);
        for at in 0..text.len() {
            for flip in [[1u8, 0], [0x80, 0], [0xff, 0], [0x5a, 0x01], [3, 0xff]] {
                if at + 1 == text.len() && flip[1] != 0 {
                    continue;
                }
                let mut text = text.clone();
                text[at] ^= flip[0];
                if flip[1] != 0 {
                    text[at + 1] ^= flip[1];
                }
                assert_eq!(find(sum_of(&text) ^ right, text.len()), Some((at, flip)), "{at}");
            }
        }
    }

    #[test]
    fn other_damage_is_not_explained_away() {
        let text: Vec<u8> = (0..1000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let whole = [&text[..], &sum_of(&text).to_le_bytes()].concat();
        let judge = |bytes: &[u8]| verdict(&Bytes::of_slice(bytes), true);
        assert_eq!(judge(&whole), Verdict::Right);
        for (a, b) in [(3, 5), (100, 900), (0, 999)] {
            let mut whole = whole.clone();
            whole[a] ^= 1;
            whole[b] ^= 1;
            assert_eq!(judge(&whole), Verdict::Wrong);
        }
        for at in 1000..1008 {
            let mut whole = whole.clone();
            whole[at] ^= 0x10;
            assert_eq!(judge(&whole), Verdict::SumDamaged);
        }
        assert_eq!(judge(&whole[..700]), Verdict::Wrong);
        assert_eq!(judge(&[&text[..], &[0; 8]].concat()), Verdict::None);
        assert_eq!(judge(b"short"), Verdict::None);
    }
}
