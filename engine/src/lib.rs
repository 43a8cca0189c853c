//! The engine of Cairn: everything that would exist with no sockets and one caller.
//!
//! Layers, lowest first; an arrow to a higher layer fails a test (`tests/it/tidy.rs`):
//! `base`, `packed`, `structure`, `os`, `codec`, `value`, `transcode`, `keyspace`, `command`, `script`,
//! `persist`, and the facade in `engine.rs`.

pub mod base;
pub mod codec;
pub mod command;
pub mod engine;
pub mod keyspace;
pub mod os;
pub mod packed;
pub mod persist;
pub mod script;
pub mod structure;
pub mod transcode;
pub mod value;
