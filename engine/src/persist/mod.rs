//! When and how state reaches the disk.
