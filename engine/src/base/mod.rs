//! Facts that every layer shares: number grammars, glob, time, seeded randomness, slots, geohashes, LZF,
//! CRC-64, quoted words, sizes of allocations.

pub mod crc64;
pub mod geo;
pub mod glob;
pub mod long_double;
pub mod lzf;
pub mod num;
pub mod rng;
pub mod size_class;
pub mod slot;
pub mod stream_id;
pub mod time;
pub mod words;
