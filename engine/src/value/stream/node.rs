//! One node: a run of entries, as Redis keeps and saves it but for what it spends to be walked backwards
//! element by element.
//!
//! Layout: `live u32 | deleted u32 | packed u32 | n | field x n`, the master entry, then entries
//! `flags | ms - master.ms | seq - master.seq | (n | (field | value) x n)  or  value x n`, each with its
//! length behind it to be read backwards. All from `n` on are elements of a listpack without back lengths
//! (`packed/listpack/bare.rs`). `flags` is 1 for a deleted entry, plus 2 when the fields are the master's
//! and only values are there. Deleting only sets a flag; a node goes when its last live entry does.
//!
//! Redis's listpack is `live | deleted | n | field x n | 0`, then entries that end in the count of their
//! elements; it is made from the node and back. `packed` is what that takes less its first two elements.
//! Behaviour: valkey src/t_stream.c.

use crate::base::size_class::size_class;
use crate::base::stream_id::StreamId;
use crate::packed::Element;
use crate::packed::listpack::bare::{self, Bare, Packer};
use crate::packed::listpack::{Listpack, ListpackBuf, encoded_int_len};

/// The entry is deleted.
pub(super) const DELETED: i64 = 1;
/// The entry has the master entry's fields.
pub(super) const SAME_FIELDS: i64 = 2;

/// A run of entries whose ids are told relative to `master`.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) master: StreamId,
    bytes: Vec<u8>,
}

/// Where the counts are, and what is behind them.
const LIVE: usize = 0;
const NOT_LIVE: usize = 4;
const PACKED: usize = 8;
const COUNTS: usize = 12;
/// Bytes of a listpack besides its elements.
const PACK_AROUND: usize = 7;
/// Elements of an entry before its values or pairs, with the fields of the master entry and with its own.
const HEAD_SAME: u64 = 3;
const HEAD_OWN: u64 = 4;
/// Integers that an entry may begin with, and its back length.
const ENTRY_AROUND: usize = 4 * bare::MOST_AROUND + 5;

/// The master entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Header {
    pub(super) live: u64,
    pub(super) deleted: u64,
    pub(super) fields: u64,
    pub(super) fields_at: usize,
    /// Where the first entry starts.
    pub(super) entries_at: usize,
}

/// The fixed part of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryHead {
    /// Where its flags are.
    pub(super) at: usize,
    pub(super) flags: i64,
    pub(super) id: StreamId,
    /// Field-value pairs.
    pub(super) pairs: u64,
    /// Where the first value is, or the first field if it has fields of its own.
    pub(super) body_at: usize,
}

/// An entry of a stream, borrowed.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Its field-value pairs.
    pub fields: Fields<'a>,
}

/// The field-value pairs of an entry, in the order of XADD.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    /// The names, when they are the master entry's.
    names: Option<Bare<'a>>,
    own: Bare<'a>,
    left: u64,
}

impl Fields<'_> {
    /// How many pairs are left.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Whether none are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Element<'a>, Element<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => names.next()?,
            None => self.own.next()?,
        };
        Some((name, self.own.next()?))
    }
}

/// The unsigned number at `at`.
#[inline]
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}

fn next_int(elements: &mut Bare<'_>) -> Option<i64> {
    elements.next()?.as_i64()
}

fn next_count(elements: &mut Bare<'_>) -> Option<u64> {
    u64::try_from(next_int(elements)?).ok()
}

impl Node {
    pub(super) fn view(&self) -> NodeRef<'_> {
        NodeRef { master: self.master, bytes: &self.bytes }
    }

    /// Starts a node whose master entry has these fields.
    pub(super) fn start<F: AsRef<[u8]>>(master: StreamId, fields: &[F]) -> Self {
        let mut node = Self { master, bytes: vec![0; COUNTS] };
        node.reserve(fields);
        let out = &mut node.bytes;
        let mut packed = PACK_AROUND + bare::push_int(out, (fields.len() / 2) as i64);
        for pair in fields.chunks_exact(2) {
            packed += bare::push(out, pair[0].as_ref());
        }
        node.add_packed(packed + encoded_int_len(0));
        node
    }

    /// Appends a live entry; `header` is the node's.
    pub(super) fn push<F: AsRef<[u8]>>(&mut self, header: &Header, id: StreamId, fields: &[F], same: bool) {
        let pairs = (fields.len() / 2) as i64;
        self.reserve(fields);
        let out = &mut self.bytes;
        let at = out.len();
        let mut packed = bare::push_int(out, if same { SAME_FIELDS } else { 0 });
        packed += bare::push_int(out, id.ms.wrapping_sub(self.master.ms) as i64);
        packed += bare::push_int(out, id.seq.wrapping_sub(self.master.seq) as i64);
        if !same {
            packed += bare::push_int(out, pairs);
        }
        for pair in fields.chunks_exact(2) {
            if !same {
                packed += bare::push(out, pair[0].as_ref());
            }
            packed += bare::push(out, pair[1].as_ref());
        }
        let len = out.len() - at;
        bare::push_back_len(out, len);
        self.add_packed(packed + encoded_int_len(if same { pairs + 3 } else { 2 * pairs + 4 }));
        self.set_counts(header.live + 1, header.deleted);
    }

    /// Makes room for an entry of these fields, or a master entry. No more than what the allocator would
    /// give anyway: doubling would leave a third of small streams unused.
    fn reserve<F: AsRef<[u8]>>(&mut self, fields: &[F]) {
        let most: usize = fields.iter().map(|field| field.as_ref().len() + bare::MOST_AROUND).sum();
        let needed = self.bytes.len() + most + ENTRY_AROUND;
        if needed > self.bytes.capacity() {
            self.bytes.reserve_exact(size_class(needed) - self.bytes.len());
        }
    }

    /// Gives room back that will not be needed.
    pub(super) fn shrink(&mut self) {
        if size_class(self.bytes.len()) < self.bytes.capacity() {
            self.bytes.shrink_to_fit();
        }
    }

    fn set_word(&mut self, at: usize, value: usize) {
        let value = u32::try_from(value).expect("a node stays below 4 GiB, by contract");
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn add_packed(&mut self, bytes: usize) {
        self.set_word(PACKED, word(&self.bytes, PACKED) as usize + bytes);
    }

    /// Writes the header's two counts anew.
    pub(super) fn set_counts(&mut self, live: u64, deleted: u64) {
        self.set_word(LIVE, live as usize);
        self.set_word(NOT_LIVE, deleted as usize);
    }

    /// Flags the entry as deleted. The flag is the lowest bit, which never makes the element longer.
    pub(super) fn flag_deleted(&mut self, head: &EntryHead) {
        let mut flags = Vec::with_capacity(bare::MOST_AROUND);
        bare::push_int(&mut flags, head.flags | DELETED);
        self.bytes[head.at..head.at + flags.len()].copy_from_slice(&flags);
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The node of a listpack; `None` if it has not the layout of one in full. O(n).
    pub(super) fn from_listpack(master: StreamId, pack: Listpack<'_>) -> Option<Self> {
        let mut from = pack.bodies();
        let mut out = Vec::with_capacity(pack.as_bytes().len() + COUNTS);
        out.resize(COUNTS, 0);
        let declared = (count_of(from.next()?)?, count_of(from.next()?)?);
        let packed_counts = encoded_int_len(declared.0 as i64) + encoded_int_len(declared.1 as i64);
        let fields = copy_count(&mut from, &mut out)?;
        copy(&mut from, &mut out, fields)?;
        if int_of(from.next()?)? != 0 {
            return None;
        }
        let (mut live, mut deleted) = (0u64, 0u64);
        while let Some(flags) = from.next() {
            let flags = int_of(flags)?;
            let same = flags & SAME_FIELDS != 0;
            let at = out.len();
            bare::push_int(&mut out, flags);
            copy_int(&mut from, &mut out)?;
            copy_int(&mut from, &mut out)?;
            let pairs = if same { fields } else { copy_count(&mut from, &mut out)? };
            let body = pieces_of_body(flags, pairs)?;
            copy(&mut from, &mut out, body)?;
            if count_of(from.next()?)? != body.checked_add(if same { HEAD_SAME } else { HEAD_OWN })? {
                return None;
            }
            let len = out.len() - at;
            bare::push_back_len(&mut out, len);
            if flags & DELETED != 0 { deleted += 1 } else { live += 1 }
        }
        if declared != (live, deleted) {
            return None;
        }
        let mut node = Self { master, bytes: out };
        node.set_counts(live, deleted);
        node.set_word(PACKED, pack.as_bytes().len().checked_sub(packed_counts)?);
        node.shrink();
        Some(node)
    }
}

fn int_of(body: &[u8]) -> Option<i64> {
    next_int(&mut Bare::new(body, 0))
}

fn count_of(body: &[u8]) -> Option<u64> {
    next_count(&mut Bare::new(body, 0))
}

/// Copies an element that must be an integer.
fn copy_int<'a>(from: &mut impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Option<i64> {
    let body = from.next()?;
    out.extend_from_slice(body);
    int_of(body)
}

/// Copies an element that must be a count.
fn copy_count<'a>(from: &mut impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Option<u64> {
    u64::try_from(copy_int(from, out)?).ok()
}

/// Copies `count` elements; `None` if there are fewer.
fn copy<'a>(from: &mut impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>, count: u64) -> Option<()> {
    for _ in 0..count {
        out.extend_from_slice(from.next()?);
    }
    Some(())
}

/// A node to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeRef<'a> {
    pub(super) master: StreamId,
    bytes: &'a [u8],
}

impl<'a> NodeRef<'a> {
    #[inline]
    fn elements(self, at: usize) -> Bare<'a> {
        Bare::new(self.bytes, at)
    }

    /// The end of the last entry.
    pub(super) fn end_offset(self) -> usize {
        self.bytes.len()
    }

    /// How many bytes Redis's listpack of the node takes.
    pub(super) fn packed_len(self) -> usize {
        let count = |at| encoded_int_len(word(self.bytes, at).into());
        word(self.bytes, PACKED) as usize + count(LIVE) + count(NOT_LIVE)
    }

    /// Live entries.
    pub(super) fn live(self) -> u64 {
        word(self.bytes, LIVE).into()
    }

    pub(super) fn header(self) -> Option<Header> {
        let mut elements = self.elements(COUNTS);
        let fields = next_count(&mut elements)?;
        let fields_at = elements.offset();
        skip(&mut elements, fields)?;
        let count = |at| word(self.bytes, at).into();
        Some(Header {
            live: count(LIVE),
            deleted: count(NOT_LIVE),
            fields,
            fields_at,
            entries_at: elements.offset(),
        })
    }

    /// The entry at `at`; `None` at the end.
    pub(super) fn entry_head(self, header: &Header, at: usize) -> Option<EntryHead> {
        let mut elements = self.elements(at);
        let flags = next_int(&mut elements)?;
        let ms = self.master.ms.wrapping_add(next_int(&mut elements)? as u64);
        let seq = self.master.seq.wrapping_add(next_int(&mut elements)? as u64);
        let pairs = if flags & SAME_FIELDS != 0 { header.fields } else { next_count(&mut elements)? };
        Some(EntryHead { at, flags, id: StreamId { ms, seq }, pairs, body_at: elements.offset() })
    }

    /// Where the entry after this one starts, or the end.
    pub(super) fn after(self, head: &EntryHead) -> Option<usize> {
        let mut elements = self.elements(head.body_at);
        skip(&mut elements, pieces_of_body(head.flags, head.pairs)?)?;
        let end = elements.offset();
        Some(end + bare::back_len_of(end - head.at))
    }

    /// Where the entry starts that ends before `end`; `None` if there is none.
    pub(super) fn before(self, header: &Header, end: usize) -> Option<usize> {
        if end <= header.entries_at {
            return None;
        }
        bare::start_before(self.bytes, end).filter(|&at| at >= header.entries_at)
    }

    /// The whole entry.
    pub(super) fn entry(self, header: &Header, head: &EntryHead) -> Entry<'a> {
        let same = head.flags & SAME_FIELDS != 0;
        let names = same.then(|| self.elements(header.fields_at));
        Entry { id: head.id, fields: Fields { names, own: self.elements(head.body_at), left: head.pairs } }
    }

    /// The id of the last entry, deleted or not.
    pub(super) fn last_id(self) -> Option<StreamId> {
        let header = self.header()?;
        let at = self.before(&header, self.end_offset())?;
        Some(self.entry_head(&header, at)?.id)
    }

    /// Whether the fields are the master entry's.
    pub(super) fn has_fields<F: AsRef<[u8]>>(self, header: &Header, fields: &[F]) -> bool {
        header.fields == fields.len() as u64 / 2
            && self
                .elements(header.fields_at)
                .zip(fields.chunks_exact(2))
                .all(|(own, pair)| own.eq_bytes(pair[0].as_ref()))
    }

    /// The listpack that Redis has for this node. O(n).
    pub(super) fn to_listpack(self) -> ListpackBuf {
        let mut out = Packer::with_capacity(self.packed_len());
        self.pack_into(&mut out).expect("a node is whole");
        out.finish()
    }

    fn pack_into(self, out: &mut Packer) -> Option<()> {
        let header = self.header()?;
        out.int(header.live as i64);
        out.int(header.deleted as i64);
        pack_bodies(&mut self.elements(COUNTS), out, header.fields + 1)?;
        out.int(0);
        let mut at = header.entries_at;
        while let Some(head) = self.entry_head(&header, at) {
            let fixed = if head.flags & SAME_FIELDS != 0 { HEAD_SAME } else { HEAD_OWN };
            let pieces = pieces_of_body(head.flags, head.pairs)? + fixed;
            let mut elements = self.elements(at);
            pack_bodies(&mut elements, out, pieces)?;
            out.int(pieces as i64);
            at = elements.offset() + bare::back_len_of(elements.offset() - at);
        }
        Some(())
    }
}

fn pack_bodies(elements: &mut Bare<'_>, out: &mut Packer, count: u64) -> Option<()> {
    for _ in 0..count {
        out.body(elements.next_body()?);
    }
    Some(())
}

/// Elements of an entry between its head and its piece count.
fn pieces_of_body(flags: i64, pairs: u64) -> Option<u64> {
    if flags & SAME_FIELDS != 0 { Some(pairs) } else { pairs.checked_mul(2) }
}

/// Steps over `count` elements; `None` if there are fewer. Never longer than the bytes there are.
fn skip(elements: &mut Bare<'_>, count: u64) -> Option<()> {
    for _ in 0..count {
        elements.next_body()?;
    }
    Some(())
}
