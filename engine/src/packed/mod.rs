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

#[cfg(test)]
mod witness_tests;
