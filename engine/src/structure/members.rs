//! A set of byte strings: a table of records that are all key.
//!
//! What big sets are made of. Knows no encodings and no thresholds.

use std::fmt;

use super::hash::HashSeed;
use super::record::Record;
use super::table::{Iter, Place, Table, TableEntry};
use crate::base::rng::Rng;

/// How much of an item is asked for ahead: most are no longer.
const PREFETCH_BYTES: usize = 64;

/// A set of distinct byte strings.
pub struct MemberTable {
    table: Table<Record, HashSeed>,
    record_bytes: usize,
}

impl MemberTable {
    /// An empty set; allocates nothing.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        Self { table: Table::new(seed), record_bytes: 0 }
    }

    /// Adds `member`; answers whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        let hash = self.table.hasher().hash(member);
        match self.table.entry(hash, |record| record.is_key(member)) {
            TableEntry::Occupied(_) => false,
            TableEntry::Vacant(vacant) => {
                let record = Record::new(0, member, None, b"");
                self.record_bytes += record.alloc_bytes();
                vacant.insert(record);
                true
            }
        }
    }

    /// Whether `member` is in the set.
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        let hash = self.table.hasher().hash(member);
        self.table.find(hash, |record| record.is_key(member)).is_some()
    }

    /// Takes `member` out; answers whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let hash = self.table.hasher().hash(member);
        let removed = self.table.remove(hash, |record| record.is_key(member));
        self.record_bytes -= removed.as_ref().map_or(0, Record::alloc_bytes);
        removed.is_some()
    }

    /// Members in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The members, in no order that means anything.
    #[must_use]
    pub fn iter(&self) -> Members<'_> {
        Members(self.table.iter())
    }

    /// Visits some members from `cursor` on and answers the next cursor, 0 at the end; the guarantee
    /// is `Table::scan`'s.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8])) -> u64 {
        self.table.scan(cursor, |record| visit(record.key()))
    }

    /// A member, each as likely as any other.
    #[must_use]
    pub fn random(&self, rng: &mut Rng) -> Option<&[u8]> {
        self.table.random(rng).map(super::record::RecordRef::key)
    }

    /// Makes room for `members` in an empty set; the caller bounds a number from outside.
    pub fn reserve(&mut self, members: usize) {
        self.table.reserve(members);
    }

    /// The hash of `member`, for the functions that take one.
    #[must_use]
    pub fn hash(&self, member: &[u8]) -> u64 {
        self.table.hasher().hash(member)
    }

    /// Asks the CPU for the place of a hash.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash);
    }

    /// Asks the CPU for what is at the place of a hash, once the place is there.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        self.table.prefetch_item(hash, Place::Home, PREFETCH_BYTES);
    }

    /// The seed that the set was made with.
    #[must_use]
    pub fn seed(&self) -> HashSeed {
        *self.table.hasher()
    }

    /// The heap bytes of the set: table and members.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.record_bytes
    }
}

impl Clone for MemberTable {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.seed());
        copy.reserve(self.len());
        for member in self {
            copy.insert(member);
        }
        copy
    }
}

impl fmt::Debug for MemberTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|member| member.escape_ascii().to_string())).finish()
    }
}

impl<'a> IntoIterator for &'a MemberTable {
    type Item = &'a [u8];
    type IntoIter = Members<'a>;

    fn into_iter(self) -> Members<'a> {
        self.iter()
    }
}

/// The members of a set.
pub struct Members<'a>(Iter<'a, Record, HashSeed>);

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().map(|(record, _)| record.key())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::MemberTable;
    use crate::base::rng::Rng;
    use crate::structure::hash::HashSeed;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_is_a_set() {
        let count = if cfg!(miri) { 60 } else { 5000u32 };
        let mut set = MemberTable::new(HashSeed(3, 4));
        assert_eq!((set.memory_bytes(), set.random(&mut Rng::new(1))), (0, None));
        for i in 0..count {
            assert!(set.insert(&i.to_le_bytes()));
            assert!(!set.insert(&i.to_le_bytes()));
        }
        assert!(set.insert(b""));
        let seen: BTreeSet<Vec<u8>> = set.iter().map(<[u8]>::to_vec).collect();
        assert_eq!(seen.len(), count as usize + 1);
        assert_eq!(set.len(), seen.len());
        assert!(set.contains(set.random(&mut Rng::new(1)).expect("the set holds something")));
        let copy = set.clone();
        for i in (0..count).step_by(2) {
            assert!(set.remove(&i.to_le_bytes()));
            assert!(!set.remove(&i.to_le_bytes()));
        }
        assert!((0..count).all(|i| set.contains(&i.to_le_bytes()) == (i % 2 == 1)));
        assert!((0..count).all(|i| copy.contains(&i.to_le_bytes())));
        let (mut cursor, mut scanned) = (0, BTreeSet::new());
        loop {
            cursor = set.scan(cursor, |member| {
                scanned.insert(member.to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, set.iter().map(<[u8]>::to_vec).collect());
        for member in scanned {
            set.remove(&member);
        }
        assert!(set.is_empty());
        assert_eq!(set.record_bytes, 0);
    }
}
