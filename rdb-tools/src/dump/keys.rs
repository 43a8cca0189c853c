//! The names of keys: a line each, escaped, or raw bytes with a NUL behind each.

use std::io;

use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, ValueEvent};

use super::text::HANDED_ON_BYTES;
use crate::escape;
use crate::jsonl::Lines;
use crate::parallel::Worker;

/// Writes the names. Function libraries are no keys.
#[derive(Debug)]
pub struct Keys<L> {
    lines: L,
    text: Vec<u8>,
    is_raw: bool,
}

impl<L: Lines> Keys<L> {
    /// Gives names to `lines`: raw ones with a NUL behind each, or a line each.
    pub fn new(lines: L, is_raw: bool) -> Self {
        Self { lines, text: Vec::new(), is_raw }
    }
}

impl<L: Lines> Sink for Keys<L> {
    type Error = io::Error;

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        match self.is_raw {
            true => {
                self.text.extend_from_slice(head.key);
                self.text.push(0);
            }
            false => {
                escape::push(&mut self.text, head.key);
                self.text.push(b'\n');
            }
        }
        if self.text.len() >= HANDED_ON_BYTES {
            self.lines.take(&mut self.text)?;
        }
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> io::Result<()> {
        Ok(())
    }
}

impl<L: Lines> Worker for Keys<L> {
    fn finish(&mut self) -> io::Result<()> {
        if !self.text.is_empty() {
            self.lines.take(&mut self.text)?;
        }
        self.lines.flush()
    }
}
