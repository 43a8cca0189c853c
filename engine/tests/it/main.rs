//! The integration tests of the engine.

mod tidy;
