//! The tools as a person runs them: binaries, files, transcripts of the servers' own tools.

mod check_rdb;
mod cli;
mod convert;
mod convert_servers;
mod cookbook;
mod diff;
mod diff_random;
mod digest;
mod dump;
mod dump_commands;
mod expected;
mod fold;
mod fold_split;
mod get;
#[cfg(feature = "parquet")]
mod parquet;
mod patch;
mod rearrange;
mod salvage;
mod salvage_shapes;
mod scan;
mod server;
mod shell;
mod source;
mod stats;
mod stats_memory;
mod support;
