//! Dense registers: six bits each, low bits first, one by one, all at once, and the greatest of several.
//!
//! [`Lanes`] takes registers in without unpacking them. Of eight registers, which are three 16-bit lanes,
//! six lie inside of a lane, two in each; the other two lie inside of a lane if one begins a byte later.
//! So registers are masked out of their lanes, and the greater lane has the greater register. Plain loops
//! over arrays of a known size, of which the compiler makes vectors.

use super::{BLOCK_REGISTERS, BLOCKS, PACKED_BYTES, PackedRegisters, REGISTER_BITS, REGISTER_MAX, Registers};

/// Bytes of a block of registers.
const PACKED: usize = BLOCK_REGISTERS * REGISTER_BITS / 8;
/// Lanes of a block.
const LANES: usize = PACKED / 2;

/// Lanes of a block, none of them negative.
type Block = [i16; LANES];

const fn by_threes(three: [i16; 3]) -> Block {
    let mut all = [0; LANES];
    let mut i = 0;
    while i < LANES {
        all[i] = three[i % 3];
        i += 1;
    }
    all
}

/// The lower register of each lane: the first, fourth and seventh of eight.
const LOW: Block = by_threes([0x003f, 0x00fc, 0x03f0]);
/// The higher one, after a shift by one bit, as lanes have a sign: the second, fifth and eighth.
const HIGH: Block = by_threes([0x07e0, 0x1f80, 0x7e00]);
/// Those in lanes that begin a byte later: the third and the sixth.
const ACROSS: Block = by_threes([0x03f0, 0x0fc0, 0]);

/// The greatest of each register of several dense payloads.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    low: [Block; BLOCKS],
    high: [Block; BLOCKS],
    across: [Block; BLOCKS],
}

impl Lanes {
    /// All registers 0.
    pub(super) fn new() -> Box<Self> {
        let none = [[0; LANES]; BLOCKS];
        Box::new(Self { low: none, high: none, across: none })
    }

    /// Raises each register to that of a payload, whose missing bytes count as 0.
    pub(super) fn raise(&mut self, payload: &[u8]) {
        // A block is read with the byte behind it; the last one has none.
        let mut padded = [0; PACKED + 1];
        let blocks = self.low.iter_mut().zip(&mut self.high).zip(&mut self.across);
        for (i, ((low, high), across)) in blocks.enumerate() {
            let rest = payload.get(i * PACKED..).unwrap_or_default();
            let packed: &[u8; PACKED + 1] = match rest.first_chunk() {
                Some(packed) => packed,
                None => {
                    padded[..rest.len()].copy_from_slice(rest);
                    &padded
                }
            };
            let (own, later) = (lanes(packed, 0), lanes(packed, 1));
            for lane in 0..LANES {
                low[lane] = low[lane].max(own[lane] & LOW[lane]);
            }
            for lane in 0..LANES {
                high[lane] = high[lane].max((own[lane] as u16 >> 1) as i16 & HIGH[lane]);
            }
            for lane in 0..LANES {
                across[lane] = across[lane].max(later[lane] & ACROSS[lane]);
            }
        }
    }

    /// The registers as a payload.
    pub(super) fn pack(&self) -> Box<PackedRegisters> {
        let mut payload = Box::new([0; PACKED_BYTES]);
        // By index, as everywhere here: without optimisation across units of code that is a vector, too.
        for (block, packed) in payload.as_chunks_mut::<PACKED>().0.iter_mut().enumerate() {
            let (low, high, across) = (&self.low[block], &self.high[block], &self.across[block]);
            for lane in 0..LANES {
                let own = (low[lane] | high[lane] << 1) as u16;
                // What lies across begins a byte later; the last such lane of a block has no register.
                let before = if lane == 0 { 0 } else { across[lane - 1] as u16 >> 8 };
                let both = own | (across[lane] as u16) << 8 | before;
                packed[2 * lane] = both as u8;
                packed[2 * lane + 1] = (both >> 8) as u8;
            }
        }
        payload
    }
}

/// The lanes of a block that begin at its first byte, or at its second.
#[inline(always)]
fn lanes(packed: &[u8; PACKED + 1], from: usize) -> Block {
    let mut lanes = [0; LANES];
    for (i, lane) in lanes.iter_mut().enumerate() {
        let at = from + 2 * i;
        *lane = i16::from_le_bytes([packed[at], packed[at + 1]]);
    }
    lanes
}

/// Where a register is: its first byte, and how many bits of that come before it.
fn bits_of(index: usize) -> (usize, usize) {
    (index * REGISTER_BITS / 8, index * REGISTER_BITS % 8)
}

/// The byte and the one behind it, if there is one.
fn pair(payload: &[u8], byte: usize) -> u16 {
    u16::from_le_bytes([payload[byte], payload.get(byte + 1).copied().unwrap_or(0)])
}

/// A register.
pub(super) fn register(payload: &[u8], index: usize) -> u8 {
    let (byte, shift) = bits_of(index);
    (pair(payload, byte) >> shift) as u8 & REGISTER_MAX
}

/// Raises a register; answers whether it was lower.
pub(super) fn set(payload: &mut [u8], index: usize, count: u8) -> bool {
    let (byte, shift) = bits_of(index);
    let old = pair(payload, byte);
    if count <= (old >> shift) as u8 & REGISTER_MAX {
        return false;
    }
    let new = old & !(u16::from(REGISTER_MAX) << shift) | u16::from(count) << shift;
    let [low, high] = new.to_le_bytes();
    payload[byte] = low;
    if let Some(next) = payload.get_mut(byte + 1) {
        *next = high;
    }
    true
}

/// Raises all registers.
pub(super) fn set_all(payload: &mut [u8], registers: &Registers) {
    for (at, eight) in registers.as_chunks::<8>().0.iter().enumerate() {
        if *eight != [0; 8] {
            eight.iter().enumerate().for_each(|(i, &count)| {
                set(payload, at * 8 + i, count);
            });
        }
    }
}
