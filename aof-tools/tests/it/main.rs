//! The tool as a person runs it: binaries, files, transcripts of the servers' own tool.

mod blocks;
mod check;
mod check_aof;
mod cookbook;
mod corpus;
mod log;
mod repair;
mod replay;
mod reserve;
mod support;
