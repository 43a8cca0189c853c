//! Getting every readable key out of a damaged file.
//!
//! Three things are tried, in this order. If one byte is wrong, or two next to each other, the file's own checksum
//! tells which (`repair.rs`), and nothing is lost. A value whose insides are wrong is left out, and its record's
//! lengths lead to the next one. Where the lengths themselves are wrong, records are looked for behind the
//! damage (`resync.rs`).
//!
//! What is not certain is not passed on: a record that ended where the damage shows, and whose own length may
//! have been changed, is told and left out unless it is asked for. What cannot be seen: bytes changed inside a
//! string, and a count that was changed so that exactly whole records became elements of a collection. A file has one
//! checksum for all of it; if that is wrong and cannot be put right, the report says that there may be such.

mod bytes;
mod out;
mod partial;
mod repair;
mod report;
mod resync;
mod unit;
mod version;
mod walk;

pub use out::Form;
pub use repair::Verdict;
pub use report::{Lost, Report, Resumed, Why};
pub use walk::{Options, salvage, salvage_slice};
