//! Intset: distinct integers, sorted, all of one width.
//!
//! Layout, little-endian: `width u32 | len u32 | len x {i16, i32, i64}`, `width` being 2, 4 or 8.
//! The same bytes are the RDB payload, so nothing here depends on the host. The width is that of
//! the widest member there ever was; it never shrinks. Knows no sets, thresholds or files.
//! Behaviour: valkey src/intset.c.

use super::{Corrupt, CorruptKind, grow};

const HEADER: usize = 8;

/// How wide the integers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// Two bytes.
    I16,
    /// Four bytes.
    I32,
    /// Eight bytes.
    I64,
}

impl Width {
    /// Bytes of one member.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::I16 => 2,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// The narrowest width that `v` fits.
    #[must_use]
    pub const fn of(v: i64) -> Self {
        if v as i16 as i64 == v {
            Self::I16
        } else if v as i32 as i64 == v {
            Self::I32
        } else {
            Self::I64
        }
    }

    const fn from_bytes(width: u32) -> Option<Self> {
        match width {
            2 => Some(Self::I16),
            4 => Some(Self::I32),
            8 => Some(Self::I64),
            _ => None,
        }
    }
}

/// A view of an intset.
#[derive(Clone, Copy, Debug)]
pub struct Intset<'a> {
    width: Width,
    members: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Intset<'a> {
    /// A view of `bytes`, all of which must be one intset. O(n).
    ///
    /// # Errors
    /// [`Corrupt`] for an unknown width, a length that is not that of the bytes, and members that
    /// do not strictly ascend. An empty intset passes: whether a key may hold one is not known here.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let Some((header, members)) = bytes.split_at_checked(HEADER) else {
            return Err(Corrupt::new(0, CorruptKind::TooShort { len: bytes.len(), needed: HEADER }));
        };
        let declared = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let Some(width) = Width::from_bytes(declared) else {
            return Err(Corrupt::new(0, CorruptKind::UnknownWidth { width: declared }));
        };
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let needed = HEADER as u64 + u64::from(len) * width.bytes() as u64;
        if needed != bytes.len() as u64 {
            return Err(Corrupt::new(4, CorruptKind::SizeMismatch { declared: needed, len: bytes.len() }));
        }
        let set = Self { width, members, bytes };
        match set.first_out_of_order() {
            Some(index) => {
                let at = HEADER + index * width.bytes();
                Err(Corrupt::new(at, CorruptKind::NotAscending { index }))
            }
            None => Ok(set),
        }
    }

    /// A view of bytes that we made, or have validated before. O(1).
    ///
    /// Bytes without a header make an empty set.
    #[must_use]
    pub fn trusted(bytes: &'a [u8]) -> Self {
        let width = match bytes {
            [4, ..] => Width::I32,
            [8, ..] => Width::I64,
            _ => Width::I16,
        };
        let members = bytes.get(HEADER..).unwrap_or_default();
        let len = bytes.get(4..HEADER).map_or(0, |len| u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
        let end = (len as usize).saturating_mul(width.bytes());
        Self { width, members: members.get(..end).unwrap_or_default(), bytes }
    }

    /// Index of the first member that is not greater than the one before it.
    fn first_out_of_order(&self) -> Option<usize> {
        fn search<const N: usize>(members: &[u8], read: impl Fn([u8; N]) -> i64) -> Option<usize> {
            let (chunks, _) = members.as_chunks::<N>();
            chunks.windows(2).position(|pair| read(pair[0]) >= read(pair[1])).map(|i| i + 1)
        }
        match self.width {
            Width::I16 => search(self.members, |b| i16::from_le_bytes(b).into()),
            Width::I32 => search(self.members, |b| i32::from_le_bytes(b).into()),
            Width::I64 => search(self.members, i64::from_le_bytes),
        }
    }

    /// The bytes behind the view.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many members there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.members.len() / self.width.bytes()
    }

    /// Whether there are no members.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How wide the members are stored.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.width
    }

    /// Member `index`, counted from the smallest.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<i64> {
        match self.width {
            Width::I16 => self.members.as_chunks().0.get(index).map(|b| i16::from_le_bytes(*b).into()),
            Width::I32 => self.members.as_chunks().0.get(index).map(|b| i32::from_le_bytes(*b).into()),
            Width::I64 => self.members.as_chunks().0.get(index).map(|b| i64::from_le_bytes(*b)),
        }
    }

    /// The smallest member.
    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest member.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Whether `v` is a member. O(log n).
    #[must_use]
    pub fn contains(&self, v: i64) -> bool {
        self.position(v).is_ok()
    }

    /// The index of `v`, or else the one it would have. O(log n).
    ///
    /// # Errors
    /// The index at which `v` would be inserted.
    pub fn position(&self, v: i64) -> Result<usize, usize> {
        match self.width {
            Width::I16 => {
                self.members.as_chunks().0.binary_search_by_key(&v, |b| i16::from_le_bytes(*b).into())
            }
            Width::I32 => {
                self.members.as_chunks().0.binary_search_by_key(&v, |b| i32::from_le_bytes(*b).into())
            }
            Width::I64 => self.members.as_chunks().0.binary_search_by_key(&v, |b| i64::from_le_bytes(*b)),
        }
    }

    /// The members, ascending.
    #[must_use]
    pub fn iter(&self) -> Iter<'a> {
        Iter { set: *self, front: 0, back: self.len() }
    }
}

impl<'a> IntoIterator for Intset<'a> {
    type Item = i64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Intset<'a> {
    type Item = i64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The members of an [`Intset`], ascending.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    set: Intset<'a>,
    front: usize,
    back: usize,
}

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        if self.front >= self.back {
            return None;
        }
        let v = self.set.get(self.front)?;
        self.front += 1;
        Some(v)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.back - self.front;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<i64> {
        if self.front >= self.back {
            return None;
        }
        self.back -= 1;
        self.set.get(self.back)
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// An intset that can be changed; its bytes are a valid intset after every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntsetBuf(Vec<u8>);

impl Default for IntsetBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl IntsetBuf {
    /// An empty intset, two bytes wide.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![2, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Takes over bytes from outside.
    ///
    /// # Errors
    /// [`Corrupt`] as from [`Intset::new`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        Intset::new(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes over bytes that we made, or have validated before.
    ///
    /// # Panics
    /// When there are fewer bytes than a header has.
    #[must_use]
    pub fn from_trusted(bytes: Vec<u8>) -> Self {
        assert!(bytes.len() >= HEADER, "an intset has a header");
        Self(bytes)
    }

    /// The set of these members, if they come in ascending order and each once. O(n).
    #[must_use]
    pub fn from_ascending(members: &[i64]) -> Option<Self> {
        let [first, .., last] = members else { return Some(members.iter().copied().collect()) };
        if !members.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let width = Width::of(*first).max(Width::of(*last));
        let mut bytes = Vec::with_capacity(HEADER + members.len() * width.bytes());
        bytes.extend_from_slice(&(width.bytes() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; HEADER - 4]);
        members.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()[..width.bytes()]));
        let mut set = Self(bytes);
        set.settle();
        Some(set)
    }

    /// The view of it.
    #[inline]
    #[must_use]
    pub fn view(&self) -> Intset<'_> {
        Intset::trusted(&self.0)
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

    /// Gives spare room back.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Adds `v`; answers whether it was new. O(n).
    pub fn insert(&mut self, v: i64) -> bool {
        let width = self.view().width();
        if Width::of(v) > width {
            self.widen(Width::of(v));
        }
        let set = self.view();
        let width = set.width();
        let Err(index) = set.position(v) else { return false };
        let at = HEADER + index * width.bytes();
        let end = self.0.len();
        grow(&mut self.0, end + width.bytes());
        self.0.copy_within(at..end, at + width.bytes());
        self.0[at..at + width.bytes()].copy_from_slice(&v.to_le_bytes()[..width.bytes()]);
        self.settle();
        true
    }

    /// Removes `v`; answers whether it was there. O(n).
    pub fn remove(&mut self, v: i64) -> bool {
        let set = self.view();
        let width = set.width();
        let Ok(index) = set.position(v) else { return false };
        let at = HEADER + index * width.bytes();
        self.0.drain(at..at + width.bytes());
        self.settle();
        true
    }

    /// Rewrites every member in `width`, from the last on, so that none is overwritten unread.
    fn widen(&mut self, width: Width) {
        let old = self.view().width();
        let len = self.len();
        self.0.resize(HEADER + len * width.bytes(), 0);
        for index in (0..len).rev() {
            let from = HEADER + index * old.bytes();
            let to = HEADER + index * width.bytes();
            let negative = self.0[from + old.bytes() - 1] & 0x80 != 0;
            self.0.copy_within(from..from + old.bytes(), to);
            self.0[to + old.bytes()..to + width.bytes()].fill(if negative { 0xff } else { 0 });
        }
        self.0[..4].copy_from_slice(&(width.bytes() as u32).to_le_bytes());
    }

    /// Brings the header's length up to date with the bytes.
    fn settle(&mut self) {
        let width = self.view().width().bytes();
        let len =
            u32::try_from((self.0.len() - HEADER) / width).expect("members stay below 2^32, by contract");
        self.0[4..HEADER].copy_from_slice(&len.to_le_bytes());
    }
}

impl FromIterator<i64> for IntsetBuf {
    fn from_iter<I: IntoIterator<Item = i64>>(members: I) -> Self {
        let mut set = Self::new();
        for v in members {
            set.insert(v);
        }
        set
    }
}

#[cfg(test)]
mod tests;
