//! Byte strings that are both memory and file: listpack and intset (view and editor), ziplist and
//! zipmap (view only, for files of old servers).
