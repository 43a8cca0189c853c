//! The tools as a person runs them: binaries, files, transcripts of the servers' own tools.

mod expected;
mod support;
