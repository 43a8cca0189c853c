//! A library to read RDB files with, and the pieces that the tools share.
