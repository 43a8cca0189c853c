//! System calls, and nothing else: no format, no policy, no keyspace.
//!
//! `unsafe` is allowed here, a SAFETY line above each block.

pub mod background;
pub mod clock;
pub mod file;
pub mod fork;
pub mod huge_pages;
pub mod interrupt;
#[cfg(feature = "jemalloc")]
pub mod jemalloc;
pub mod memory;
pub mod process_title;
pub mod scheduling;
