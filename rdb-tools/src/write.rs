//! Writing: files that appear whole or not at all, and what goes into them.

mod output;
pub mod rdb;
mod spool;
pub mod transcode;

pub use output::{Output, Placed, refuse_same};
