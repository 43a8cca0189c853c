//! When and how state reaches the disk, and how it comes back.

pub mod storage;
