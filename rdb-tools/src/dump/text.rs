//! Rows as text: a line each, handed on in large pieces.
//!
//! What a line looks like is the caller's (`csv`, `table`); which rows there are, `rows` and `elements` know.

use std::io;

use super::elements::{ElementRow, TakeElements};
use super::rows::{KeyRow, TakeKeys};
use crate::jsonl::Lines;

/// Text is handed on when there is that much of it.
pub(crate) const HANDED_ON_BYTES: usize = 256 << 10;

/// Makes text of rows of keys or of elements: `form` appends a line.
#[derive(Debug)]
pub struct RowText<L, F> {
    text: Vec<u8>,
    lines: L,
    form: F,
}

impl<L: Lines, F> RowText<L, F> {
    /// Gives text to `lines`.
    pub fn new(lines: L, form: F) -> Self {
        Self { text: Vec::new(), lines, form }
    }

    /// A line has been added.
    fn added(&mut self) -> io::Result<()> {
        if self.text.len() >= HANDED_ON_BYTES { self.lines.take(&mut self.text) } else { Ok(()) }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if !self.text.is_empty() {
            self.lines.take(&mut self.text)?;
        }
        self.lines.flush()
    }
}

impl<L: Lines, F: FnMut(&mut Vec<u8>, &KeyRow<'_>)> TakeKeys for RowText<L, F> {
    fn take(&mut self, row: &KeyRow<'_>) -> io::Result<()> {
        (self.form)(&mut self.text, row);
        self.added()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()
    }
}

impl<L: Lines, F: FnMut(&mut Vec<u8>, &ElementRow<'_>)> TakeElements for RowText<L, F> {
    fn take(&mut self, row: &ElementRow<'_>) -> io::Result<()> {
        (self.form)(&mut self.text, row);
        self.added()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()
    }
}
