//! Sealed nodes: nodes of a large list that are full and lie behind others, in fewer bytes than a
//! listpack.
//!
//! Layout, little-endian: `form u8 | width u8 | skipped u16 | count u16 | least i64 if integers | rows`.
//! Rows are of `width` bytes each: strings of one length, or integers less the least of them. The first
//! `skipped` have been popped. Only in memory: files have the listpack, and so has the node again as soon
//! as it is edited but by popping. Knows no rules of when to seal; those are in `quicklist.rs`.

use crate::base::size_class::size_class;
use crate::packed::Element;
use crate::packed::listpack::{Listpack, ListpackBuf, encoded_int_len};

const STRINGS: u8 = 0;
const INTEGERS: u8 = 1;
const HEADER: usize = 6;
const LEAST: usize = 8;
/// Bytes of a listpack besides its entries, and of an entry besides its short string.
const PACK_AROUND: usize = 7;
const ENTRY_AROUND: usize = 2;

/// A sealed node.
#[derive(Debug, Clone)]
pub(super) struct Sealed(Box<[u8]>);

/// A sealed node to look at.
#[derive(Debug, Clone, Copy)]
pub struct SealedRef<'a> {
    rows: &'a [u8],
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Strings { width: usize },
    Integers { width: usize, least: i64 },
}

impl Form {
    const fn width(self) -> usize {
        match self {
            Self::Strings { width } | Self::Integers { width, .. } => width,
        }
    }

    #[inline(always)]
    fn element(self, row: &[u8]) -> Element<'_> {
        match self {
            Self::Strings { .. } => Element::Bytes(row),
            Self::Integers { least, .. } => Element::Int(least.wrapping_add(read_word(row) as i64)),
        }
    }
}

/// The little-endian number of up to eight bytes.
#[inline(always)]
fn read_word(row: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = row.len().min(8);
    word[..len].copy_from_slice(&row[..len]);
    u64::from_le_bytes(word)
}

impl Sealed {
    /// Seals a listpack of `count` elements; `None` if that would not make the allocation smaller. O(n),
    /// but O(1) for most that stay as they are.
    pub(super) fn of(pack: Listpack<'_>, count: usize) -> Option<Self> {
        let count = u16::try_from(count).ok().filter(|&count| count > 0 && count < u16::MAX)?;
        let packed = size_class(pack.as_bytes().len());
        let pays = |bytes: usize| size_class(bytes) < packed;
        match pack.first()? {
            Element::Bytes(first) => {
                let bytes = HEADER + first.len() * usize::from(count);
                let len = pays(bytes).then(|| pack.even_len()).flatten()?;
                let mut own = start(STRINGS, len, count, bytes);
                pack.copy_even(len, &mut own[HEADER..]);
                Some(Self(own.into_boxed_slice()))
            }
            Element::Int(first) => {
                let (mut least, mut most) = (first, first);
                for element in pack {
                    let Element::Int(v) = element else { return None };
                    (least, most) = (least.min(v), most.max(v));
                }
                let significant = 64 - most.wrapping_sub(least).leading_zeros() as usize;
                let width = significant.div_ceil(8).max(1);
                let bytes = HEADER + LEAST + width * usize::from(count);
                if !pays(bytes) {
                    return None;
                }
                let mut own = start(INTEGERS, width, count, bytes);
                own[HEADER..HEADER + LEAST].copy_from_slice(&least.to_le_bytes());
                for (row, element) in own[HEADER + LEAST..].chunks_exact_mut(width).zip(pack) {
                    let Element::Int(v) = element else { return None };
                    row.copy_from_slice(&v.wrapping_sub(least).to_le_bytes()[..width]);
                }
                Some(Self(own.into_boxed_slice()))
            }
        }
    }

    /// The node to look at.
    #[inline]
    pub(super) fn view(&self) -> SealedRef<'_> {
        let width = usize::from(self.0[1]);
        let (form, rows_at) = match self.0[0] {
            STRINGS => (Form::Strings { width }, HEADER),
            _ => {
                let least = self.0[HEADER..].first_chunk().map_or(0, |least| i64::from_le_bytes(*least));
                (Form::Integers { width, least }, HEADER + LEAST)
            }
        };
        let from = rows_at + usize::from(self.skipped()) * width;
        SealedRef { rows: &self.0[from..from + usize::from(self.count()) * width], form }
    }

    fn skipped(&self) -> u16 {
        u16::from_le_bytes([self.0[2], self.0[3]])
    }

    fn count(&self) -> u16 {
        u16::from_le_bytes([self.0[4], self.0[5]])
    }

    /// Drops `count` elements in front, or as many as there are. O(1).
    pub(super) fn pop_front(&mut self, count: usize) {
        let gone = u16::try_from(count).unwrap_or(u16::MAX).min(self.count());
        let (skipped, left) = (self.skipped() + gone, self.count() - gone);
        self.0[2..4].copy_from_slice(&skipped.to_le_bytes());
        self.0[4..HEADER].copy_from_slice(&left.to_le_bytes());
    }

    /// Drops `count` elements behind, or as many as there are. O(1).
    pub(super) fn pop_back(&mut self, count: usize) {
        let left = self.count() - u16::try_from(count).unwrap_or(u16::MAX).min(self.count());
        self.0[4..HEADER].copy_from_slice(&left.to_le_bytes());
    }

    /// Heap bytes.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.0.len()
    }
}

/// The header, with room for `bytes` in all.
fn start(form: u8, width: usize, count: u16, bytes: usize) -> Vec<u8> {
    let mut own = vec![0; bytes];
    own[..2].copy_from_slice(&[form, width as u8]);
    own[4..HEADER].copy_from_slice(&count.to_le_bytes());
    own
}

impl<'a> SealedRef<'a> {
    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len() / self.form.width()
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Element `index`. O(1).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Element<'a>> {
        let width = self.form.width();
        let from = index.checked_mul(width)?;
        Some(self.form.element(self.rows.get(from..from.checked_add(width)?)?))
    }

    /// The elements, from either end.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Iter<'a> {
        Iter { rows: self.rows, form: self.form }
    }

    /// The elements from element `index` on.
    #[must_use]
    pub fn iter_from(&self, index: usize) -> Iter<'a> {
        let from = index.saturating_mul(self.form.width()).min(self.rows.len());
        Iter { rows: &self.rows[from..], form: self.form }
    }

    /// Bytes of the listpack of the same elements. O(n) if they are integers.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        match self.form {
            Form::Strings { width } => PACK_AROUND + self.len() * (width + ENTRY_AROUND),
            Form::Integers { .. } => {
                let entry = |element| if let Element::Int(v) = element { encoded_int_len(v) } else { 0 };
                PACK_AROUND + self.iter().map(entry).sum::<usize>()
            }
        }
    }

    /// The listpack of the same elements. O(n).
    #[must_use]
    pub fn to_listpack(&self) -> ListpackBuf {
        match self.form {
            Form::Strings { width } => ListpackBuf::of_even(width, self.rows),
            Form::Integers { .. } => {
                let mut pack = ListpackBuf::with_capacity(self.packed_len());
                for element in self.iter() {
                    if let Element::Int(v) = element {
                        pack.push_back_int(v);
                    }
                }
                pack
            }
        }
    }
}

/// The elements of a sealed node.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rows: &'a [u8],
    form: Form,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let (row, rest) = self.rows.split_at_checked(self.form.width())?;
        self.rows = rest;
        Some(self.form.element(row))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let at = self.rows.len().checked_sub(self.form.width())?;
        let (rest, row) = self.rows.split_at(at);
        self.rows = rest;
        Some(self.form.element(row))
    }
}

#[cfg(test)]
mod tests;
