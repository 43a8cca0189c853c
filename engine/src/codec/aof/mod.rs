//! The append only file, as bytes: its records, checked blocks of them, and the manifest of a log in parts.
//!
//! A log is a folder with one manifest, at most one base (an RDB file, or commands), and increments
//! of commands in order; before Redis 7.0 it was one file of commands, with an RDB file in front of
//! them from 4.0 on. Nothing here opens a file or knows what a command means.

pub mod block;
pub mod manifest;
pub mod record;
mod record_error;
pub mod reserve;

/// The bytes that must be at hand to tell an RDB file from commands.
pub const MAGIC_BYTES: usize = 6;

/// Whether a file that starts with these bytes starts with an RDB file.
///
/// Redis looks for `REDIS`; Valkey 9 also for its own magic, which the check tools of 9.0 and 9.1
/// forgot about.
#[must_use]
pub fn starts_with_rdb(head: &[u8]) -> bool {
    head.starts_with(b"REDIS") || head.starts_with(b"VALKEY")
}
