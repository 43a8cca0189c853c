//! An index beside an RDB file: where each key is, sorted by the hashes of names, so that one key of a
//! large file is found in milliseconds.
//!
//! Layout, little-endian: `"cairnidx" | u32 form | u32 bytes of the head, its sum included | stamp of the file:
//! u64 bytes, i64 mtime in ns, u64 sum | u64 where offset 0 of the unwrapped file lies | u8 dialect, u16 version |
//! u64 keys | slot imports and hash templates, each with the place behind which it was told | u64 XXH3 of the head`,
//! then blocks of `BLOCK_BYTES`: entries of `u64 hash, u64 place, u64 database`, sorted, and at the end of the block
//! u64 XXH3 of all before, seeded with the block's number. A place is the last end of a record, aux field or
//! SELECTDB before the key: a decoder that starts there meets the key first. The stamp (size, time, and sum of head
//! and tail of the file) tells an index that is stale; every block is compared before it is believed.

mod build;
mod lookup;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub use build::{Built, build};
pub use lookup::{Found, Lookup, Refusal};

const MAGIC: &[u8; 8] = b"cairnidx";
const FORM: u32 = 1;
/// A block, which is a page.
const BLOCK_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 24;
/// Entries of a block; what is left is the sum and zeros.
const BLOCK_ENTRIES: usize = (BLOCK_BYTES - SUM_BYTES) / ENTRY_BYTES;
const SUM_BYTES: usize = 8;
/// Slot imports and hash templates of a file are few; a head that claims more than this is damaged.
const MOST_HEAD_BYTES: u64 = 64 << 20;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its size.
    pub bytes: u64,
    /// When it was written to, in nanoseconds.
    pub mtime_ns: i64,
    /// XXH3 of its first and last 64 KiB.
    pub sum: u64,
}

impl Stamp {
    /// Of a file as it is now.
    ///
    /// # Errors
    /// Whatever reading says.
    pub fn of(file: &File) -> io::Result<Self> {
        const LOOKED_AT_BYTES: u64 = 64 << 10;
        let metadata = file.metadata()?;
        let bytes = metadata.len();
        let mut sum = Xxh3::new();
        let mut buffer = vec![0; LOOKED_AT_BYTES.min(bytes) as usize];
        for at in [0, bytes.saturating_sub(LOOKED_AT_BYTES)] {
            file.read_exact_at(&mut buffer, at)?;
            sum.update(&buffer);
        }
        let mtime_ns = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
        Ok(Self { bytes, mtime_ns, sum: sum.digest() })
    }
}

/// What keys are sorted by.
fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

#[cfg(test)]
mod tests;
