//! Structures with pointers, ignorant of Redis types.

pub mod btree;
pub mod fields;
pub mod hash;
pub mod members;
pub mod quicklist;
pub mod record;
pub mod table;
