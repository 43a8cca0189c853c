//! Values to codec events and back: RDB load and save, DUMP and RESTORE.
//!
//! Knows both the encodings of values and the record types of files, and nothing of databases,
//! files or time.

pub mod build;
pub mod commands;
pub mod dump;
pub mod libraries;
mod module_name;
pub mod save;
