//! Bytes to events and back, pure: no file, no clock, no policy.

pub mod aof;
pub mod rdb;
pub mod resp;
