//! The integration tests of the engine.
