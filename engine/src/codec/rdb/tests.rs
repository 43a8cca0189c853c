//! Tests of the codec: vectors by hand, round trips, corruption, and files of real servers.

mod contents;
mod corruption;
mod encoding;
mod fixtures;
mod frame;
mod records;
mod support;
mod vectors;
