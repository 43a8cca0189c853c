//! Getting every readable key out of a damaged file.
//!
//! Four things are tried, in this order. If one byte is wrong, or two next to each other, the file's own checksum
//! tells which (`repair.rs`), and nothing is lost. A value whose insides are wrong is left out, and its record's
//! lengths lead to the next one. Where the lengths themselves are wrong, records are looked for behind the
//! damage (`resync.rs`). And a length or count that is wrong, but ends where a record does, has swallowed records
//! without a fault: if the file does not hold as many keys as it declares, or declares none, and no
//! checksum says that this is right, whole records are looked for inside of others.
//!
//! What is not certain is not passed on: a record that ended where the damage shows, and whose own length may
//! have been changed, is told and left out unless it is asked for. What cannot be seen: bytes changed inside a
//! string, and a single record that another has swallowed exactly. A file has one checksum for all of it; if that
//! is wrong and cannot be put right, the report says that there may be such.

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
pub(crate) use unit::Context;
pub use walk::{Options, salvage, salvage_slice};

/// The offset behind a fault at `at` from which records can be read again, in a file whose offset 0 lies at
/// `origin` of a mapping. `None` if only the end follows, or nothing.
pub(crate) fn next_record(map: &memmap2::Mmap, origin: usize, context: &Context, at: usize) -> Option<usize> {
    let bytes = bytes::Bytes::of_map(map, origin..map.len());
    if at >= bytes.len() {
        return None;
    }
    let look = resync::Look::default();
    let search = resync::Search { bytes: &bytes, context, look: &look, path: &[at], is_cut: false };
    let next = search.find(at + 1)?;
    let unit = unit::read(&bytes, context, next, None, usize::MAX).ok()?;
    (!matches!(unit.what, unit::What::End)).then_some(next)
}
