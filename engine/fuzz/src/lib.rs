//! The fuzz targets, as functions: any bytes in, a panic if a promise is broken.
//!
//! `fuzz_targets/` has a binary for each, which cargo-fuzz runs. The tests of aof-tools include this file by its
//! path and run the committed corpus through every target, so that it works without a fuzzer.

pub mod aof_file;
pub mod check_file;
pub mod listpack;
pub mod rdb_file;
pub mod resp;
pub mod salvage_file;
pub mod source_file;

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by their names.
pub const TARGETS: [(&str, Target); 7] = [
    ("aof_file", aof_file::run),
    ("check_file", check_file::run),
    ("listpack", listpack::run),
    ("rdb_file", rdb_file::run),
    ("resp", resp::run),
    ("salvage_file", salvage_file::run),
    ("source_file", source_file::run),
];
