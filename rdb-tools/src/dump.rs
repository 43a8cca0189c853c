//! The forms in which a dump has its keys: rows of keys, rows of elements, and who writes them.
//!
//! `rows` and `elements` turn the events of a source into rows, whatever is made of these; `csv`, `keys`,
//! `table` make text of rows (`text` hands it on), `array` puts JSON lines into one array, `sorted` brings the keys of a source
//! into order. Form and columns are written down in this crate's README. Knows no arguments and no files.

pub mod array;
pub mod commands;
pub mod csv;
pub mod elements;
pub mod keys;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod rows;
pub mod sorted;
pub mod table;
pub mod text;
