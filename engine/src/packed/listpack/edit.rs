//! The editor of a listpack: an owned run of bytes that is a valid listpack after every call.

use super::super::{Corrupt, grow};
use super::encoding::{MAX_INT_ENTRY, string_entry_len, write_int, write_string};
use super::{COUNT_UNKNOWN, EMPTY, END, HEADER, Listpack};
use crate::base::num;
use crate::base::size_class::size_class;

/// Room of a listpack that begins empty.
const FIRST_ROOM: usize = 64;
/// An appender leaves at most one in so many bytes spare.
pub(super) const MOST_SPARE: usize = 16;

/// A listpack that can be changed.
///
/// Strings that are the exact decimal text of an integer are stored as integers, as Redis stores
/// them, so the bytes are those Redis writes for the same elements.
///
/// Offsets are those of the [`Listpack`] view of the same bytes. Every edit moves the elements
/// behind it; an offset that is not an element's, nor the end mark's, breaks the sequence.
///
/// # Panics
/// Edits panic when the listpack would outgrow the 4 GiB its header can tell, and for an offset
/// beyond the end mark. Callers keep far below with [`encoded_len`](super::encoded_len).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListpackBuf(Vec<u8>);

/// What an entry is written from.
pub(super) enum New<'a> {
    Int([u8; MAX_INT_ENTRY], usize),
    String(&'a [u8]),
}

impl<'a> New<'a> {
    #[inline]
    pub(super) fn of(s: &'a [u8]) -> Self {
        num::parse_i64(s).map_or(Self::String(s), Self::int)
    }

    fn int(v: i64) -> Self {
        let mut entry = [0; MAX_INT_ENTRY];
        let len = write_int(&mut entry, v);
        Self::Int(entry, len)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Int(_, len) => *len,
            Self::String(s) => string_entry_len(s.len()),
        }
    }

    #[inline]
    pub(super) fn write(&self, out: &mut [u8]) {
        match self {
            Self::Int(entry, len) => out.copy_from_slice(&entry[..*len]),
            Self::String(s) => write_string(out, s),
        }
    }
}

impl Default for ListpackBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl ListpackBuf {
    /// An empty listpack, with room for some elements: most get some at once.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(FIRST_ROOM)
    }

    /// An empty listpack with room for `bytes` bytes, header and end mark included.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buf = Vec::with_capacity(bytes.max(EMPTY));
        buf.extend_from_slice(&[EMPTY as u8, 0, 0, 0, 0, 0, END]);
        Self(buf)
    }

    /// Takes over bytes from outside.
    ///
    /// # Errors
    /// [`Corrupt`] as from [`Listpack::new`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        Listpack::new(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes over bytes that we made, or have validated before.
    ///
    /// # Panics
    /// When there are fewer bytes than the smallest listpack has.
    #[must_use]
    pub fn from_trusted(bytes: Vec<u8>) -> Self {
        assert!(bytes.len() >= EMPTY, "a listpack has a header and an end mark");
        Self(bytes)
    }

    /// The view of it.
    #[inline]
    #[must_use]
    pub fn view(&self) -> Listpack<'_> {
        Listpack::trusted(&self.0)
    }

    /// Its bytes, which are the payload of an RDB.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, for good.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }

    /// How many elements it has. O(1), or O(n) from 65535 on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Gives spare room back.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Removes every element.
    pub fn clear(&mut self) {
        self.0.truncate(0);
        self.0.extend_from_slice(&[EMPTY as u8, 0, 0, 0, 0, 0, END]);
    }

    /// Appends `s`. O(1) but for growing.
    pub fn push_back(&mut self, s: &[u8]) {
        self.push_new(&New::of(s));
    }

    /// Appends the integer `v`.
    pub fn push_back_int(&mut self, v: i64) {
        self.push_new(&New::int(v));
    }

    fn push_new(&mut self, new: &New<'_>) {
        let (at, len) = (self.0.len() - 1, new.len());
        grow(&mut self.0, at + 1 + len);
        new.write(&mut self.0[at..at + len]);
        self.0[at + len] = END;
        self.settle(1);
    }

    /// Appends elements one after the other, which take about `room` bytes: the header is written, and
    /// spare room given back, when what is answered goes.
    #[must_use]
    pub fn appender(&mut self, room: usize) -> Appender<'_> {
        let at = self.0.len() - 1;
        self.0.reserve_exact(room);
        Appender { bytes: self, at, count: 0 }
    }

    /// Puts `s` before all others. O(n).
    pub fn push_front(&mut self, s: &[u8]) {
        self.splice(HEADER, 0, Some(&New::of(s)), 1);
    }

    /// Puts the integer `v` before all others. O(n).
    pub fn push_front_int(&mut self, v: i64) {
        self.splice(HEADER, 0, Some(&New::int(v)), 1);
    }

    /// Puts `s` before the element, or the end mark, at `offset`, where it then stands. O(n).
    pub fn insert_at(&mut self, offset: usize, s: &[u8]) {
        self.splice(offset, 0, Some(&New::of(s)), 1);
    }

    /// Puts the integer `v` before the element, or the end mark, at `offset`. O(n).
    pub fn insert_int_at(&mut self, offset: usize, v: i64) {
        self.splice(offset, 0, Some(&New::int(v)), 1);
    }

    /// Puts `s` in place of the element at `offset`, where it then stands. O(n), or O(1) when it
    /// takes as many bytes.
    pub fn replace_at(&mut self, offset: usize, s: &[u8]) {
        let old = self.entry_len(offset);
        self.splice(offset, old, Some(&New::of(s)), 0);
    }

    /// Puts the integer `v` in place of the element at `offset`.
    pub fn replace_int_at(&mut self, offset: usize, v: i64) {
        let old = self.entry_len(offset);
        self.splice(offset, old, Some(&New::int(v)), 0);
    }

    /// Removes the element at `offset`; answers the offset of the one behind it, or of the end
    /// mark, which is `offset` again. O(n).
    pub fn remove_at(&mut self, offset: usize) -> usize {
        let old = self.entry_len(offset);
        self.splice(offset, old, None, -1);
        offset
    }

    /// Removes `count` elements from `offset` on, or as many as there are; answers how many.
    pub fn remove_many_at(&mut self, offset: usize, count: usize) -> usize {
        let view = self.view();
        let mut end = offset;
        let mut removed = 0;
        while removed < count {
            let Some(next) = view.next(end) else { break };
            end = next;
            removed += 1;
        }
        self.splice(offset, end - offset, None, -(removed as isize));
        removed
    }

    /// Removes `count` elements from element `start` on, or as many as there are; answers how
    /// many. O(n).
    pub fn remove_range(&mut self, start: usize, count: usize) -> usize {
        match isize::try_from(start).ok().and_then(|start| self.view().seek(start)) {
            Some(offset) if count > 0 => self.remove_many_at(offset, count),
            _ => 0,
        }
    }

    /// Appends all elements of `other`, as they are encoded there. O(bytes of `other`).
    pub fn append(&mut self, other: Listpack<'_>) {
        let body = other.as_bytes().get(HEADER..other.end_offset()).unwrap_or_default();
        let added = other.len() as isize;
        let at = self.0.len() - 1;
        self.open(at, 0, body.len());
        self.0[at..at + body.len()].copy_from_slice(body);
        self.settle(added);
    }

    /// Cuts before element `index`: the elements from there on are answered, the others stay. O(n).
    #[must_use]
    pub fn split_off(&mut self, index: usize) -> Self {
        let Some(offset) = isize::try_from(index).ok().and_then(|index| self.view().seek(index)) else {
            return Self::new();
        };
        let moved = self.len() - index;
        let mut tail = Self::with_capacity(self.0.len() - offset + HEADER);
        let body = &self.0[offset..self.0.len() - 1];
        tail.0.truncate(HEADER);
        tail.0.extend_from_slice(body);
        tail.0.push(END);
        tail.settle(moved as isize);
        let cut = body.len();
        self.splice(offset, cut, None, -(moved as isize));
        tail
    }

    fn entry_len(&self, offset: usize) -> usize {
        let next = self.view().next(offset).expect("the offset is an element's, by contract");
        next - offset
    }

    /// Puts `new` in place of the `old` bytes at `at`, and adds `added` to the count.
    fn splice(&mut self, at: usize, old: usize, new: Option<&New<'_>>, added: isize) {
        assert!(at >= HEADER && at < self.0.len(), "the offset lies in the listpack, by contract");
        let len = new.map_or(0, New::len);
        self.open(at, old, len);
        if let Some(new) = new {
            new.write(&mut self.0[at..at + len]);
        }
        self.settle(added);
    }

    /// Makes the `old` bytes at `at` into `new` ones, whose content is left open.
    fn open(&mut self, at: usize, old: usize, new: usize) {
        let end = self.0.len();
        if new > old {
            grow(&mut self.0, end + (new - old));
        }
        self.0.copy_within(at + old..end, at + new);
        if new < old {
            self.0.truncate(end - (old - new));
        }
    }

    /// Brings the header up to date after `added` elements came, or went.
    fn settle(&mut self, added: isize) {
        let size = u32::try_from(self.0.len()).expect("a listpack stays below 4 GiB, by contract");
        self.0[..4].copy_from_slice(&size.to_le_bytes());
        if added == 0 {
            return;
        }
        let count = match self.view().counted() {
            Some(count) => count.saturating_add_signed(added),
            // Once the bytes are too few for 65535 elements, one walk makes the count known again.
            None if self.0.len() - EMPTY < 2 * COUNT_UNKNOWN => self.view().walk_len(),
            None => COUNT_UNKNOWN,
        };
        let count = count.min(COUNT_UNKNOWN) as u16;
        self.0[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }
}

/// Appends many elements to a listpack.
#[derive(Debug)]
pub struct Appender<'a> {
    bytes: &'a mut ListpackBuf,
    /// Where the next element goes. What is behind it in the bytes is room.
    at: usize,
    count: isize,
}

impl Appender<'_> {
    /// Appends `s`.
    #[inline]
    pub fn push(&mut self, s: &[u8]) {
        self.put(&New::of(s));
    }

    /// Appends `s`, which is not the text of an integer.
    #[inline]
    pub fn push_text(&mut self, s: &[u8]) {
        debug_assert!(num::parse_i64(s).is_none(), "an integer is stored as one");
        self.put(&New::String(s));
    }

    /// Appends the integer `v`.
    #[inline]
    pub fn push_int(&mut self, v: i64) {
        self.put(&New::int(v));
    }

    #[inline]
    fn put(&mut self, new: &New<'_>) {
        let end = self.at + new.len();
        let bytes = &mut self.bytes.0;
        if end >= bytes.len() {
            // As far as the room goes, so that this is seldom.
            let len = (end + 1).max(bytes.capacity());
            grow(bytes, len);
        }
        new.write(&mut bytes[self.at..end]);
        self.at = end;
        self.count += 1;
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        let bytes = &mut self.bytes.0;
        bytes.truncate(self.at);
        bytes.push(END);
        let needed = size_class(bytes.len());
        if bytes.capacity() - needed.min(bytes.capacity()) > needed / MOST_SPARE {
            bytes.shrink_to(needed);
        }
        self.bytes.settle(self.count);
    }
}
