//! The integration tests of the engine.

mod conversations;
mod formats;
mod replay;
mod samples;
mod snapshot;
mod specs;
mod string_effects;
mod tidy;
mod zset_effects;
