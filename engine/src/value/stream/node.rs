//! One node: a run of entries in a listpack, exactly as Redis keeps and saves it.
//!
//! Layout: `live | deleted | n | field x n | 0`, the master entry, then entries
//! `flags | ms - master.ms | seq - master.seq | (n | (field | value) x n)  or  value x n | pieces`.
//! `flags` is 1 for a deleted entry, plus 2 when the fields are the master's and only values are
//! there; `pieces` counts the elements of the entry before it, for walking backwards. Deleting only
//! sets a flag; a node goes when its last live entry does. Behaviour: valkey src/t_stream.c.

use crate::base::stream_id::StreamId;
use crate::packed::Element;
use crate::packed::listpack::{self, Listpack, ListpackBuf};

/// The entry is deleted.
pub(super) const DELETED: i64 = 1;
/// The entry has the master entry's fields.
pub(super) const SAME_FIELDS: i64 = 2;

/// A run of entries whose ids are told relative to `master`.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) master: StreamId,
    pub(super) pack: ListpackBuf,
}

/// The master entry.
#[derive(Debug, Clone, Copy)]
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
    names: Option<listpack::Iter<'a>>,
    own: listpack::Iter<'a>,
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

/// A node is no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadNode;

fn next_int(elements: &mut listpack::Iter<'_>) -> Option<i64> {
    elements.next()?.as_i64()
}

fn next_count(elements: &mut listpack::Iter<'_>) -> Option<u64> {
    u64::try_from(next_int(elements)?).ok()
}

impl Node {
    pub(super) fn view(&self) -> NodeRef<'_> {
        NodeRef { master: self.master, pack: self.pack.view() }
    }

    /// Starts a node whose master entry has these fields, with one entry to come.
    pub(super) fn start<F: AsRef<[u8]>>(master: StreamId, fields: &[F]) -> Self {
        let mut pack = ListpackBuf::new();
        pack.push_back_int(1);
        pack.push_back_int(0);
        pack.push_back_int((fields.len() / 2) as i64);
        for pair in fields.chunks_exact(2) {
            pack.push_back(pair[0].as_ref());
        }
        pack.push_back_int(0);
        Self { master, pack }
    }

    /// Appends an entry; the header must count it already.
    pub(super) fn push<F: AsRef<[u8]>>(&mut self, id: StreamId, fields: &[F], same: bool) {
        let pairs = (fields.len() / 2) as i64;
        let pack = &mut self.pack;
        pack.push_back_int(if same { SAME_FIELDS } else { 0 });
        pack.push_back_int(id.ms.wrapping_sub(self.master.ms) as i64);
        pack.push_back_int(id.seq.wrapping_sub(self.master.seq) as i64);
        if !same {
            pack.push_back_int(pairs);
        }
        for pair in fields.chunks_exact(2) {
            if !same {
                pack.push_back(pair[0].as_ref());
            }
            pack.push_back(pair[1].as_ref());
        }
        pack.push_back_int(if same { pairs + 3 } else { 2 * pairs + 4 });
    }

    /// Writes the header's two counts anew.
    pub(super) fn set_counts(&mut self, live: u64, deleted: u64) {
        let first = self.pack.view().first_offset();
        self.pack.replace_int_at(first, live as i64);
        if let Some(at) = self.pack.view().next(first) {
            self.pack.replace_int_at(at, deleted as i64);
        }
    }

    /// Flags the entry as deleted; answers how much longer the listpack became.
    pub(super) fn flag_deleted(&mut self, head: &EntryHead) -> isize {
        let before = self.pack.byte_len() as isize;
        self.pack.replace_int_at(head.at, head.flags | DELETED);
        self.pack.byte_len() as isize - before
    }
}

/// A node to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeRef<'a> {
    pub(super) master: StreamId,
    pub(super) pack: Listpack<'a>,
}

impl<'a> NodeRef<'a> {
    pub(super) fn header(self) -> Option<Header> {
        let mut elements = self.pack.iter();
        let live = next_count(&mut elements)?;
        let deleted = next_count(&mut elements)?;
        let fields = next_count(&mut elements)?;
        let fields_at = elements.offset();
        skip(&mut elements, fields.checked_add(1)?)?;
        Some(Header { live, deleted, fields, fields_at, entries_at: elements.offset() })
    }

    /// The entry at `at`; `None` at the end.
    pub(super) fn entry_head(self, header: &Header, at: usize) -> Option<EntryHead> {
        let mut elements = self.pack.iter_from(at);
        let flags = next_int(&mut elements)?;
        let ms = self.master.ms.wrapping_add(next_int(&mut elements)? as u64);
        let seq = self.master.seq.wrapping_add(next_int(&mut elements)? as u64);
        let pairs = if flags & SAME_FIELDS != 0 { header.fields } else { next_count(&mut elements)? };
        Some(EntryHead { at, flags, id: StreamId { ms, seq }, pairs, body_at: elements.offset() })
    }

    /// Where the entry after this one starts, or the end.
    pub(super) fn after(self, head: &EntryHead) -> Option<usize> {
        let mut elements = self.pack.iter_from(head.body_at);
        skip(&mut elements, pieces_of_body(head.flags, head.pairs)?.checked_add(1)?)?;
        Some(elements.offset())
    }

    /// Where the entry starts that ends before `end`; `None` if there is none.
    pub(super) fn before(self, header: &Header, end: usize) -> Option<usize> {
        if end <= header.entries_at {
            return None;
        }
        let mut at = self.pack.prev(end)?;
        let pieces = self.pack.at(at)?.as_i64()?;
        for _ in 0..pieces {
            at = self.pack.prev(at)?;
        }
        (at >= header.entries_at).then_some(at)
    }

    /// The whole entry.
    pub(super) fn entry(self, header: &Header, head: &EntryHead) -> Entry<'a> {
        let same = head.flags & SAME_FIELDS != 0;
        let names = same.then(|| self.pack.iter_from(header.fields_at));
        Entry {
            id: head.id,
            fields: Fields { names, own: self.pack.iter_from(head.body_at), left: head.pairs },
        }
    }

    /// The id of the last entry, deleted or not.
    pub(super) fn last_id(self) -> Option<StreamId> {
        let header = self.header()?;
        let at = self.before(&header, self.pack.end_offset())?;
        Some(self.entry_head(&header, at)?.id)
    }

    /// Whether the fields are the master entry's.
    pub(super) fn has_fields<F: AsRef<[u8]>>(self, header: &Header, fields: &[F]) -> bool {
        header.fields == fields.len() as u64 / 2
            && self
                .pack
                .iter_from(header.fields_at)
                .zip(fields.chunks_exact(2))
                .all(|(own, pair)| own.eq_bytes(pair[0].as_ref()))
    }

    /// Checks the whole layout of bytes that are a listpack; answers the live entries. O(n).
    pub(super) fn check(self) -> Result<u64, BadNode> {
        self.count_entries().ok_or(BadNode)
    }

    fn count_entries(self) -> Option<u64> {
        let header = self.header()?;
        let zero_at = self.pack.prev(header.entries_at)?;
        if self.pack.at(zero_at)?.as_i64()? != 0 {
            return None;
        }
        let (mut live, mut deleted) = (0u64, 0u64);
        let mut elements = self.pack.iter_from(header.entries_at);
        while elements.offset() < self.pack.end_offset() {
            let head = self.entry_head(&header, elements.offset())?;
            let body = pieces_of_body(head.flags, head.pairs)?;
            elements = self.pack.iter_from(head.body_at);
            skip(&mut elements, body)?;
            let fixed = if head.flags & SAME_FIELDS != 0 { 3 } else { 4 };
            if next_count(&mut elements)? != body.checked_add(fixed)? {
                return None;
            }
            if head.flags & DELETED != 0 { deleted += 1 } else { live += 1 }
        }
        (header.live == live && header.deleted == deleted && live + deleted > 0).then_some(live)
    }
}

/// Elements of an entry between its head and its piece count.
fn pieces_of_body(flags: i64, pairs: u64) -> Option<u64> {
    if flags & SAME_FIELDS != 0 { Some(pairs) } else { pairs.checked_mul(2) }
}

/// Steps over `count` elements; `None` if there are fewer. Never longer than the bytes there are.
fn skip(elements: &mut listpack::Iter<'_>, count: u64) -> Option<()> {
    for _ in 0..count {
        elements.next()?;
    }
    Some(())
}
