//! The tools as a person runs them: binaries, files, transcripts of the servers' own tools.

mod check_rdb;
mod expected;
mod support;
