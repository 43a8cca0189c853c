//! The integration tests of the engine.

mod formats;
mod samples;
mod snapshot;
mod tidy;
