//! The load driver behind `cairn-load`: starts servers, drives them over RESP, reads what they cost
//! from /proc. Knows nothing of how any of them works; the micro benches in `benches/` do.

pub mod ops;
pub mod persist;
pub mod process;
pub mod report;
pub mod resp;
