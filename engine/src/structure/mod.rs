//! Structures with pointers, ignorant of Redis types.

pub mod btree;
pub mod hash;
pub mod quicklist;
