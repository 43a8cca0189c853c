//! Structures with pointers, ignorant of Redis types.
