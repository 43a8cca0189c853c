//! A library to read RDB files with, and the pieces that the tools share.
//!
//! The format is in `cairn_engine::codec::rdb`; here are inputs (mapped files, pipes), outputs (JSON,
//! text that is safe to look at), and the sinks behind the subcommands of `rdb-tools`.
//!
//! Whoever wants something else of a file writes a [`Sink`](rdb::Sink): it says of every key how much of the value it
//! wants to see, and gets that as events. Values are never built, so memory does not grow with them.
//!
//! ```
//! use rdb_tools::cmd::Reading;
//! use rdb_tools::rdb::{Depth, Family, KeyHead, Sink, ValueEvent};
//! use rdb_tools::source::Source;
//!
//! /// Counts the fields of all hashes; of other keys it sees no value.
//! #[derive(Default)]
//! struct Fields(u64);
//!
//! impl Sink for Fields {
//!     type Error = std::convert::Infallible;
//!
//!     fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
//!         Ok(if head.object.family() == Family::Hash { Depth::Item } else { Depth::Skip })
//!     }
//!
//!     fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
//!         self.0 += u64::from(matches!(event, ValueEvent::Field { .. }));
//!         Ok(())
//!     }
//! }
//!
//! // Also a log, its folder, JSON lines, any of them packed, or redis://host.
//! let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/cookbook/shop.rdb");
//! let mut source = Source::open(file.as_ref(), Reading { no_mmap: false, no_progress: true })?;
//! let mut fields = Fields::default();
//! if let Err(stop) = source.read(&mut fields) {
//!     stop.report("fields", source.name())?; // with the offset and the key of what is damaged
//! }
//! assert_eq!(fields.0, 8);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! [`drive::drive`] does the same for an [`input::Input`] and a decoder of one's own, and [`parallel`] on all cores.

pub mod arena;
pub mod canon;
pub mod check;
pub mod cmd;
pub mod diff;
pub mod drive;
pub mod dropin;
pub mod dump;
pub mod edit;
pub mod encoding;
pub mod erased;
pub mod escape;
pub mod facts;
pub mod fold;
mod gauge;
pub mod index;
pub mod input;
pub mod json;
pub mod jsonl;
pub mod lossy;
pub mod memory;
pub mod output;
pub mod parallel;
pub mod progress;
pub mod report;
pub mod salvage;
pub mod select;
pub mod source;
pub mod spill;
pub mod stats;
pub mod walk;
pub mod when;
pub mod write;

pub use cairn_engine::codec::rdb;
