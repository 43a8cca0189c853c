//! A library to read RDB files with, and the pieces that the tools share.
//!
//! The format is in `cairn_engine::codec::rdb`; here are inputs (mapped files, pipes), outputs (JSON,
//! text that is safe to look at), and the sinks behind the subcommands of `rdb-tools`.

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
