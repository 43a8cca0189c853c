//! The integration tests of the engine.

mod samples;
mod snapshot;
mod tidy;
