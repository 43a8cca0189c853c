//! Starts: what is loaded of what is there, what is refused, and what is changed on the disk for it.
//!
//! The rows that tests are named for are those of `testdata/scenarios.md`.

mod fields;
mod fixtures;
mod rows;
mod scripts;
mod support;
