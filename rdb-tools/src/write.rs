//! Writing: files that appear whole or not at all, and what goes into them.

pub mod aof_set;
pub mod commands;
mod output;
pub mod rdb;
pub mod resp;
mod spool;
pub mod transcode;

pub use output::{Output, Placed, refuse_same};
