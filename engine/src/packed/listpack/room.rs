//! Room in which one listpack after the other is put together, element by element, and looked at there.
//!
//! For loaders: most of what they gather is small, is copied into a record and forgotten, so that room of
//! its own for each would cost more than its bytes. A listpack made here is the one that the editor makes
//! of the same elements.

use super::super::{Element, IntText};
use super::edit::New;
use super::encoding::{MAX_INT_ENTRY, STRING_6, STRING_6_LIMIT, write_int};
use super::{COUNT_UNKNOWN, END, HEADER, Listpack};

/// Short texts are copied in pieces of this size, the last of which is written over by what follows.
const PIECE: usize = 16;
/// The longest short text with what stands around it, in whole pieces.
const MOST_SHORT_BYTES: usize = 1 + STRING_6_LIMIT;
/// Room of so many bytes is kept from one listpack to the next.
const MOST_KEPT_BYTES: usize = 64 << 10;

/// An element as a file has it.
#[derive(Clone, Copy, Debug)]
pub enum Short<'a> {
    /// A string that is the decimal text of an integer.
    Int(i64),
    /// The first `len` bytes, of which there are so many at least; fewer than 64. The others may be read,
    /// too, as copies of a fixed size are cheaper.
    Text {
        /// Where they begin.
        from: &'a [u8],
        /// How many count.
        len: usize,
    },
}

impl<'a> Short<'a> {
    /// What it is in a listpack: text may be that of an integer.
    #[inline(always)]
    #[must_use]
    pub fn element(self) -> Element<'a> {
        match self {
            Short::Int(v) => Element::Int(v),
            Short::Text { from, len } => Element::of(from.get(..len).unwrap_or_default()),
        }
    }

    /// Its text; that of an integer is written into `buf`.
    #[inline]
    pub fn text<'b>(&self, buf: &'b mut IntText) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Short::Int(v) => buf.format(v),
            Short::Text { from, len } => from.get(..len).unwrap_or_default(),
        }
    }
}

/// One listpack after the other.
#[derive(Debug)]
pub struct Room {
    /// What is behind `at` means nothing.
    bytes: Vec<u8>,
    /// Where the next element goes.
    at: usize,
    count: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: Vec::new(), at: HEADER, count: 0 }
    }
}

impl Room {
    /// Begins an empty listpack.
    #[inline]
    pub fn clear(&mut self) {
        if self.bytes.len() > MOST_KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.at = HEADER;
        self.count = 0;
    }

    /// How many elements it has.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes it takes.
    #[inline]
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.at + 1
    }

    /// Appends `s`, as an integer if it is the text of one.
    pub fn push(&mut self, s: &[u8]) {
        self.push_new(&New::of(s));
    }

    /// Appends the integer `v`.
    #[inline]
    pub fn push_int(&mut self, v: i64) {
        let mut entry = [0; MAX_INT_ENTRY];
        let len = write_int(&mut entry, v);
        self.reserve(MAX_INT_ENTRY);
        self.bytes[self.at..self.at + MAX_INT_ENTRY].copy_from_slice(&entry);
        self.at += len;
        self.count += 1;
    }

    /// Appends an element of another packed encoding.
    #[inline]
    pub fn push_element(&mut self, element: Element<'_>) {
        match element {
            Element::Bytes(from) => {
                self.push_short(Short::Text { from, len: from.len() });
            }
            Element::Int(v) => self.push_int(v),
        }
    }

    /// Becomes `other`.
    pub fn copy(&mut self, other: Listpack<'_>) {
        self.clear();
        let (bytes, end) = (other.as_bytes(), other.end_offset());
        self.reserve(end);
        self.bytes[..=end].copy_from_slice(bytes);
        self.at = end;
        self.count = other.len();
    }

    /// Appends an element; answers it in the form that it has got.
    #[inline(always)]
    pub fn push_short<'a>(&mut self, element: Short<'a>) -> Element<'a> {
        let element_in = element.element();
        match (element, element_in) {
            (Short::Text { from, len }, Element::Bytes(s)) if len < STRING_6_LIMIT => self.push_text(from, s),
            (_, Element::Int(v)) => self.push_int(v),
            (_, Element::Bytes(s)) => self.push_new(&New::of(s)),
        }
        element_in
    }

    /// Appends `s`, with which `from` begins: fewer than 64 bytes that are not the text of an integer.
    #[inline(always)]
    fn push_text(&mut self, from: &[u8], s: &[u8]) {
        self.reserve(1 + MOST_SHORT_BYTES);
        let out = &mut self.bytes[self.at..self.at + 1 + MOST_SHORT_BYTES];
        let len = s.len();
        out[0] = STRING_6 | len as u8;
        match from.first_chunk::<PIECE>() {
            Some(piece) if len <= PIECE => out[1..=PIECE].copy_from_slice(piece),
            _ => match from.first_chunk::<STRING_6_LIMIT>() {
                Some(pieces) => out[1..=STRING_6_LIMIT].copy_from_slice(pieces),
                None => out[1..=len].copy_from_slice(s),
            },
        }
        out[1 + len] = 1 + len as u8;
        self.at += 2 + len;
        self.count += 1;
    }

    fn push_new(&mut self, new: &New<'_>) {
        let len = new.len();
        self.reserve(len);
        new.write(&mut self.bytes[self.at..self.at + len]);
        self.at += len;
        self.count += 1;
    }

    /// Makes sure that there are `more` bytes, and one for the end mark.
    #[inline(always)]
    fn reserve(&mut self, more: usize) {
        if self.at + more >= self.bytes.len() {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let len = (self.at + more + 1).max(2 * self.bytes.len());
        self.bytes.resize(len, 0);
    }

    /// The listpack so far.
    ///
    /// # Panics
    /// When it has outgrown the 4 GiB its header can tell. Callers keep far below.
    pub fn view(&mut self) -> Listpack<'_> {
        self.reserve(0);
        let size = u32::try_from(self.byte_len()).expect("a listpack stays below 4 GiB, by contract");
        self.bytes[..4].copy_from_slice(&size.to_le_bytes());
        self.bytes[4..HEADER].copy_from_slice(&(self.count.min(COUNT_UNKNOWN) as u16).to_le_bytes());
        self.bytes[self.at] = END;
        Listpack::trusted(&self.bytes[..=self.at])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::num;
    use crate::packed::listpack::ListpackBuf;

    proptest! {
        #[test]
        fn it_makes_what_the_editor_makes(
            packs in prop::collection::vec(prop::collection::vec((prop_oneof![
                4 => "[a-c]{0,63}".prop_map(String::into_bytes),
                2 => "[0-9a]{1,20}".prop_map(String::into_bytes),
                4 => any::<i64>().prop_map(|v| (v >> (v & 63)).to_string().into_bytes()),
                1 => (64usize..5000).prop_map(|n| vec![b'x'; n]),
            ], 0usize..80), 0..40), 1..4)) {
            let mut room = Room::default();
            for items in packs {
                room.clear();
                let mut pack = ListpackBuf::new();
                for (item, behind) in &items {
                    pack.push_back(item);
                    let len = item.len();
                    let from = [&item[..], &vec![b'-'; *behind]].concat();
                    match num::parse_i64(item) {
                        Some(v) if behind % 2 == 1 => {
                            prop_assert_eq!(room.push_short(Short::Int(v)), Element::Int(v));
                        }
                        _ if behind % 5 == 4 => room.push(item),
                        _ => {
                            let got = room.push_short(Short::Text { from: &from, len });
                            prop_assert_eq!(got, Element::of(item));
                        }
                    }
                    prop_assert_eq!(room.byte_len(), pack.byte_len());
                    if behind % 7 == 6 {
                        prop_assert_eq!(room.view().as_bytes(), pack.as_bytes());
                    }
                }
                prop_assert_eq!((room.len(), room.is_empty()), (items.len(), items.is_empty()));
                prop_assert_eq!(room.view().as_bytes(), pack.as_bytes());
            }
        }
    }
}
