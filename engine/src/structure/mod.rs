//! Structures with pointers, ignorant of Redis types.

pub mod quicklist;
