//! Byte strings that are both memory and file: listpack and intset (view and editor), ziplist and
//! zipmap (view only, for files of old servers).
//!
//! A view borrows bytes; building one with `new` checks all of them, so that every later walk is
//! plain slicing. `trusted` skips the check for bytes that we made or have checked before; a walk
//! over bytes that did not deserve the trust ends early or yields nonsense, but never panics.
//! Knows no types, thresholds or files.

pub mod intset;
pub mod listpack;
pub mod ziplist;
pub mod zipmap;

mod corrupt;
mod element;

pub use corrupt::{Corrupt, CorruptKind};
pub use element::{Element, IntText};

/// What an edit leaves free: a sixteenth. Doubling, as a vector does by itself, would leave a third of
/// a large keyspace's packed values unused; the allocator mostly extends in place within its classes.
const SPARE: usize = 16;

/// Makes `bytes` longer with zeros.
fn grow(bytes: &mut Vec<u8>, len: usize) {
    if len > bytes.capacity() {
        bytes.reserve_exact(len - bytes.len() + len / SPARE);
    }
    bytes.resize(len, 0);
}

#[cfg(test)]
mod witness_tests;
