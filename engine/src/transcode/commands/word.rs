//! One word of a command, in the form in which a value has it: the text of numbers is made where the
//! word is written, so that nothing is allocated for it.

use crate::base::num;
use crate::base::stream_id::StreamId;
use crate::packed::Element;

/// A word of a command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Word<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The decimal text of an integer.
    Int(i64),
    /// The shortest text that reads back as this double.
    Score(f64),
    /// `ms-seq`.
    Id(StreamId),
    /// These bytes, one after the other.
    Joined(&'a [&'a [u8]]),
}

impl Word<'_> {
    /// Appends the text.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        match *self {
            Word::Bytes(bytes) => out.extend_from_slice(bytes),
            Word::Int(n) => num::push_i64(out, n),
            Word::Score(score) => num::push_f64_shortest(out, score),
            Word::Id(id) => id.push_text(out),
            Word::Joined(pieces) => pieces.iter().for_each(|piece| out.extend_from_slice(piece)),
        }
    }

    /// The text in a vector of its own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.push_to(&mut out);
        out
    }

    /// Bytes of the text; of a number, as many as it may have at most.
    #[inline]
    pub(super) fn most_bytes(&self) -> usize {
        const MOST_OF_A_NUMBER: usize = 2 * num::MAX_INT_CHARS + 1;
        match self {
            Word::Bytes(bytes) => bytes.len(),
            Word::Int(_) | Word::Score(_) | Word::Id(_) => MOST_OF_A_NUMBER,
            Word::Joined(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
        }
    }
}

impl<'a> From<Element<'a>> for Word<'a> {
    #[inline]
    fn from(element: Element<'a>) -> Self {
        match element {
            Element::Bytes(bytes) => Word::Bytes(bytes),
            Element::Int(n) => Word::Int(n),
        }
    }
}
