//! HyperLogLog: how many different elements there were, in a string of a fixed shape.
//!
//! Layout: `"HYLL" | encoding u8 | 3 bytes | cached cardinality u64 LE, its top bit set when stale`,
//! then the registers. Dense (0): 16384 registers of 6 bits, low bits first, in 12288 bytes. Sparse
//! (1): runs `00llllll` of l+1 zeros, `01llllll llllllll` of l+1 zeros, `1vvvvvll` of l+1 registers
//! with the value v+1. Behaviour: valkey src/hyperloglog.c, byte for byte, so that files and replicas
//! agree. The header is checked by [`view`]; runs are checked where they are walked, because a client
//! may have written anything into a string.

mod dense;
mod estimate;
mod sparse;
mod union;

pub use sparse::{Run, runs};
pub use union::Union;

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bytes before the registers.
const HEADER_BYTES: usize = 16;
/// Bytes of the registers of a dense string.
const PACKED_BYTES: usize = REGISTERS * REGISTER_BITS / 8;
/// Bytes of a dense string.
const DENSE_BYTES: usize = HEADER_BYTES + PACKED_BYTES;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARD_AT: usize = 8;
/// The byte of the cached cardinality whose top bit says that it is stale.
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;

/// Bits of the hash that choose a register.
const INDEX_BITS: u32 = 14;
/// Bits of the hash whose trailing zeros are counted.
const COUNTED_BITS: u32 = 64 - INDEX_BITS;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
/// Registers that are taken together, and how many such blocks there are.
const BLOCK_REGISTERS: usize = 64;
const BLOCKS: usize = REGISTERS / BLOCK_REGISTERS;

/// All registers, a byte each.
pub type Registers = [u8; REGISTERS];
/// All registers, six bits each.
type PackedRegisters = [u8; PACKED_BYTES];

/// The runs of a sparse string do not cover the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("corrupted HyperLogLog")]
pub struct Corrupt;

/// How the registers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// As runs.
    Sparse,
}

/// A string with the header of a HyperLogLog, and, if it is dense, of the right length.
#[derive(Debug, Clone, Copy)]
pub struct HllRef<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
}

/// Looks at a string; `None` if it is no HyperLogLog.
#[must_use]
pub fn view(bytes: &[u8]) -> Option<HllRef<'_>> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    let encoding = match bytes[ENCODING_AT] {
        0 if bytes.len() == DENSE_BYTES => Encoding::Dense,
        1 => Encoding::Sparse,
        _ => return None,
    };
    Some(HllRef { bytes, encoding })
}

/// A HyperLogLog of nothing.
#[must_use]
pub fn empty() -> Vec<u8> {
    let mut bytes = header(Encoding::Sparse, [0; 8]);
    sparse::push_zeros(&mut bytes, REGISTERS);
    bytes
}

fn header(encoding: Encoding, card: [u8; 8]) -> Vec<u8> {
    let capacity = if encoding == Encoding::Dense { DENSE_BYTES } else { HEADER_BYTES + 8 };
    let mut bytes = Vec::with_capacity(capacity);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[u8::from(encoding == Encoding::Sparse), 0, 0, 0]);
    bytes.extend_from_slice(&card);
    bytes
}

impl<'a> HllRef<'a> {
    /// How the registers are kept.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        self.encoding
    }

    /// The cardinality that was counted last, if nothing has changed since.
    #[must_use]
    pub fn cached(self) -> Option<u64> {
        let card = self.bytes[CARD_AT..HEADER_BYTES].try_into().expect("eight bytes of the header");
        (self.bytes[STALE_AT] & STALE == 0).then(|| u64::from_le_bytes(card))
    }

    /// What follows the header.
    pub(crate) fn payload(self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// The runs of a sparse one.
    pub fn runs(self) -> impl Iterator<Item = Run> + 'a {
        let payload = if self.encoding == Encoding::Sparse { self.payload() } else { &[] };
        runs(payload)
    }

    /// The registers, a byte each.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn registers(self) -> Result<Box<Registers>, Corrupt> {
        let mut registers = Box::new([0; REGISTERS]);
        match self.encoding {
            Encoding::Dense => {
                let all = registers.iter_mut().enumerate();
                all.for_each(|(index, register)| *register = dense::register(self.payload(), index));
            }
            Encoding::Sparse => sparse::raise_registers(self.payload(), &mut registers)?,
        }
        Ok(registers)
    }
}

/// Makes a sparse string dense; answers whether it was sparse.
///
/// # Errors
/// `Corrupt`; nothing has changed then.
///
/// # Panics
/// If the string is no HyperLogLog.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupt> {
    let hll = view(bytes).expect("the caller has looked at it");
    if hll.encoding == Encoding::Dense {
        return Ok(false);
    }
    let registers = hll.registers()?;
    bytes.truncate(HEADER_BYTES);
    bytes[ENCODING_AT] = 0;
    bytes.reserve_exact(DENSE_BYTES - HEADER_BYTES);
    bytes.resize(DENSE_BYTES, 0);
    dense::set_all(&mut bytes[HEADER_BYTES..], &registers);
    Ok(true)
}

/// Marks the cached cardinality as stale.
pub fn invalidate(bytes: &mut [u8]) {
    bytes[STALE_AT] |= STALE;
}

/// Keeps a cardinality that was counted.
pub fn keep_cardinality(bytes: &mut [u8], card: u64) {
    bytes[CARD_AT..HEADER_BYTES].copy_from_slice(&card.to_le_bytes());
}

/// Adds an element; answers whether a register has changed. A sparse string that would get longer
/// than `sparse_max_bytes` becomes dense.
///
/// # Errors
/// `Corrupt`; nothing has changed then.
///
/// # Panics
/// If the string is no HyperLogLog.
pub fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_max_bytes: usize) -> Result<bool, Corrupt> {
    let (index, count) = place(element);
    raise(bytes, index, count, sparse_max_bytes)
}

/// Raises each register to that of a union to which the string was added, with the same rules as [`add`];
/// dense from the start if anything dense was added.
///
/// # Errors
/// `Corrupt`; registers may have been raised in part.
///
/// # Panics
/// If the string is no HyperLogLog.
pub fn raise_all(bytes: &mut Vec<u8>, union: &Union, sparse_max_bytes: usize) -> Result<(), Corrupt> {
    if let Some(payload) = union.packed() {
        make_dense(bytes)?;
        bytes[HEADER_BYTES..].copy_from_slice(&*payload);
        return Ok(());
    }
    let registers = union.sparse().into_iter().flatten().enumerate();
    for (index, &count) in registers.filter(|(_, count)| **count > 0) {
        raise(bytes, index, count, sparse_max_bytes)?;
    }
    Ok(())
}

fn raise(bytes: &mut Vec<u8>, index: usize, count: u8, sparse_max_bytes: usize) -> Result<bool, Corrupt> {
    let changed = match view(bytes).expect("the caller has looked at it").encoding {
        Encoding::Dense => dense::set(&mut bytes[HEADER_BYTES..], index, count),
        Encoding::Sparse => match sparse::raise(bytes, HEADER_BYTES, index, count, sparse_max_bytes)? {
            sparse::Raised::No => false,
            sparse::Raised::Yes => true,
            sparse::Raised::DoesNotFit => {
                make_dense(bytes)?;
                dense::set(&mut bytes[HEADER_BYTES..], index, count)
            }
        },
    };
    if changed {
        invalidate(bytes);
    }
    Ok(changed)
}

/// The register of an element, and the value it wants there: one more than the trailing zeros of its
/// hash above the index.
fn place(element: &[u8]) -> (usize, u8) {
    const SEED: u64 = 0xadc8_3b19;
    let hash = murmur64a(element, SEED);
    let index = hash as usize & (REGISTERS - 1);
    let counted = hash >> INDEX_BITS | 1 << COUNTED_BITS;
    (index, counted.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A, the 64-bit MurmurHash2.
fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut k = u64::from_le_bytes(word.try_into().expect("chunks of eight bytes")).wrapping_mul(M);
        k = (k ^ k >> R).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, &byte| tail << 8 | u64::from(byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests;
