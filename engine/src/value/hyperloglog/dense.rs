//! Dense registers: six bits each, low bits first, and how 64 of them become bytes and back.
//!
//! Plain loops over arrays of a known size: eight registers are a word, eight words a block, and the
//! compiler makes vectors of them. A word is read and written with the two bytes behind its own six, which
//! is what makes it one access; the last block has none behind it and goes through a copy.

use super::{REGISTER_BITS, Registers};

/// Registers of a block.
const BLOCK: usize = 64;
/// Its bytes.
const PACKED: usize = BLOCK * REGISTER_BITS / 8;
/// Bytes behind it that are read and written, too.
const BEHIND: usize = 2;

type Packed = [u8; PACKED + BEHIND];

/// Raises each register of `into` to the one of a dense string's payload.
pub(super) fn raise(payload: &[u8], into: &mut Registers) {
    let mut padded = [0; PACKED + BEHIND];
    let (blocks, _) = into.as_chunks_mut::<BLOCK>();
    for (i, registers) in blocks.iter_mut().enumerate() {
        let rest = payload.get(i * PACKED..).unwrap_or_default();
        let packed = match rest.first_chunk() {
            Some(packed) => packed,
            None => {
                padded[..rest.len()].copy_from_slice(rest);
                &padded
            }
        };
        let new = unpack(packed);
        registers.iter_mut().zip(new).for_each(|(old, new)| *old = new.max(*old));
    }
}

/// Writes registers into the payload of a dense string.
pub(super) fn write(payload: &mut [u8], registers: &Registers) {
    let (blocks, _) = registers.as_chunks::<BLOCK>();
    for (packed, registers) in payload.chunks_exact_mut(PACKED).zip(blocks) {
        packed.copy_from_slice(&pack(registers)[..PACKED]);
    }
}

fn unpack(packed: &Packed) -> [u8; BLOCK] {
    let mut words: [u64; BLOCK / 8] = std::array::from_fn(|i| {
        u64::from_le_bytes(packed[i * 6..i * 6 + 8].try_into().expect("eight bytes are a word"))
    });
    words.iter_mut().for_each(|word| *word = spread(*word));
    let mut registers = [0; BLOCK];
    for (eight, word) in registers.as_chunks_mut().0.iter_mut().zip(words) {
        *eight = word.to_le_bytes();
    }
    registers
}

fn pack(registers: &[u8; BLOCK]) -> Packed {
    let mut packed = [0; PACKED + BEHIND];
    for (i, eight) in registers.as_chunks().0.iter().enumerate() {
        // What is written beyond six bytes the next word overwrites.
        packed[i * 6..i * 6 + 8].copy_from_slice(&gather(u64::from_le_bytes(*eight)).to_le_bytes());
    }
    packed
}

/// Eight registers of six bits, in the lowest 48, as bytes of a word, the first one lowest.
#[inline(always)]
fn spread(x: u64) -> u64 {
    let x = x & 0x00ff_ffff | (x & 0xffff_ff00_0000) << 8;
    let x = x & 0x0000_0fff_0000_0fff | (x & 0x00ff_f000_00ff_f000) << 4;
    x & 0x003f_003f_003f_003f | (x & 0x0fc0_0fc0_0fc0_0fc0) << 2
}

/// The bytes of a word as eight registers of six bits, in the lowest 48 bits.
#[inline(always)]
fn gather(x: u64) -> u64 {
    let x = x & 0x003f_003f_003f_003f | (x & 0x3f00_3f00_3f00_3f00) >> 2;
    let x = x & 0x0000_0fff_0000_0fff | (x & 0x0fff_0000_0fff_0000) >> 4;
    x & 0x00ff_ffff | (x & 0x00ff_ffff_0000_0000) >> 8
}
