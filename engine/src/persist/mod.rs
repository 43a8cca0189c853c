//! When and how state reaches the disk, and how it comes back.

pub mod aof;
pub mod apart;
pub mod backup;
pub mod base;
pub mod carried;
pub mod commands;
pub mod load;
pub mod recover;
pub mod rules;
pub mod snapshot;
pub mod storage;
