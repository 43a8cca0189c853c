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

use crate::base::size_class::size_class;
pub use corrupt::{Corrupt, CorruptKind};
pub use element::{Element, IntText};

/// Makes `bytes` longer with zeros. What an edit leaves free is what the allocator would give anyway:
/// doubling, as a vector does by itself, would leave a third of a large keyspace's packed values unused.
fn grow(bytes: &mut Vec<u8>, len: usize) {
    if len > bytes.capacity() {
        bytes.reserve_exact(size_class(len) - bytes.len());
    }
    bytes.resize(len, 0);
}

#[cfg(test)]
mod witness_tests;
