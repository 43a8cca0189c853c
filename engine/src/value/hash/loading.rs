//! A hash without expiries from its pairs, as they stand one by one in files.
//!
//! As with sets, pairs are gathered first, and fields compared at the end.

use super::{Hash, PAIR};
use crate::packed::IntText;
use crate::packed::listpack::{Listpack, ListpackBuf, Room, Short};
use crate::structure::fields::FieldTable;
use crate::value::gather::{LONGEST_SHORT, gather, has_room};
use crate::value::malformed::{Malformed, distinct_groups};
use crate::value::{Limits, MAX_LISTPACK_BYTES};

/// Makes one hash after the other, each in the encoding that its pairs call for.
#[derive(Debug, Default)]
pub struct HashLoader {
    declared: usize,
    /// All pairs so far, unless there is a table.
    gathered: Room,
    /// Whether it is known of the fields that are gathered.
    are_distinct: bool,
    table: Option<Box<FieldTable>>,
}

/// A hash from its pairs.
#[derive(Debug)]
pub enum LoadedHash<'a> {
    /// A listpack of pairs that it consists of, to be copied.
    Listpack(Listpack<'a>),
    /// Any other.
    Own(Hash),
}

impl LoadedHash<'_> {
    /// The hash.
    #[must_use]
    pub fn into_hash(self) -> Hash {
        match self {
            LoadedHash::Listpack(pack) => Hash::Listpack(ListpackBuf::from_trusted(pack.as_bytes().to_vec())),
            LoadedHash::Own(hash) => hash,
        }
    }
}

impl HashLoader {
    /// Begins a hash of `declared` pairs. The caller bounds the number.
    pub fn begin(&mut self, declared: usize, limits: &Limits) {
        self.declared = declared;
        self.gathered.clear();
        self.are_distinct = false;
        self.table = (declared > limits.hash_max_listpack_entries).then(|| table(declared, limits));
    }

    /// Takes a pair. False if it is known already that a field has come twice; `finish` knows it for certain.
    pub fn push(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        if let Some(table) = &mut self.table {
            return !table.set(field, value, None);
        }
        let is_small = self.gathered.len() / PAIR < limits.hash_max_listpack_entries
            && field.len().max(value.len()) <= limits.hash_max_listpack_value
            && self.gathered.byte_len() + field.len() + value.len() <= MAX_LISTPACK_BYTES;
        if !is_small {
            return self.become_table(limits) && self.push(field, value, limits);
        }
        self.gathered.push(field);
        self.gathered.push(value);
        self.are_distinct = false;
        true
    }

    /// Takes pairs at once: `count` short texts, field, value, field, value, which have `bytes` bytes in the
    /// file.
    ///
    /// # Errors
    /// A field that is known already to have come twice, as `push` tells.
    pub fn push_all<'a>(
        &mut self,
        mut pairs: impl Iterator<Item = Short<'a>>,
        count: usize,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), Vec<u8>> {
        let stays_small = self.table.is_none()
            && (self.gathered.len() + count) / PAIR <= limits.hash_max_listpack_entries
            && limits.hash_max_listpack_value >= LONGEST_SHORT
            && has_room(&self.gathered, count, bytes);
        if stays_small {
            let is_first = self.gathered.is_empty();
            let seen = gather::<PAIR>(&mut self.gathered, pairs, count / PAIR);
            self.are_distinct = is_first && seen.are_apart;
            return Ok(());
        }
        let (mut first, mut second) = (IntText::new(), IntText::new());
        while let (Some(field), Some(value)) = (pairs.next(), pairs.next()) {
            let field = field.text(&mut first);
            if !self.push(field, value.text(&mut second), limits) {
                return Err(field.to_vec());
            }
        }
        Ok(())
    }

    /// False if a field has come twice.
    fn become_table(&mut self, limits: &Limits) -> bool {
        let mut table = table(self.declared.max(self.gathered.len() / PAIR), limits);
        let mut pairs = self.gathered.view().iter();
        let (mut first, mut second) = (IntText::new(), IntText::new());
        let mut are_distinct = true;
        while let (Some(field), Some(value)) = (pairs.next(), pairs.next()) {
            are_distinct &= !table.set(field.text(&mut first), value.text(&mut second), None);
        }
        self.table = Some(table);
        are_distinct
    }

    /// The hash.
    ///
    /// # Errors
    /// `Duplicate` if a field comes twice.
    pub fn finish(&mut self) -> Result<LoadedHash<'_>, Malformed> {
        if let Some(table) = self.table.take() {
            return Ok(LoadedHash::Own(Hash::Table(table)));
        }
        let gathered = self.gathered.view();
        if !self.are_distinct {
            distinct_groups(gathered, PAIR)?;
        }
        Ok(LoadedHash::Listpack(gathered))
    }
}

fn table(fields: usize, limits: &Limits) -> Box<FieldTable> {
    let mut table = Box::new(FieldTable::new(limits.seed));
    table.reserve(fields);
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Loads pairs after others by the same loader: one by one, or parts of them at once.
    fn loaded(pairs: &[(String, String)], parts: Option<usize>, l: &Limits) -> Option<Hash> {
        let mut loader = HashLoader::default();
        loader.begin(1, l);
        assert!(loader.push(b"f", b"1", l));
        assert_eq!(loader.finish().expect("distinct").into_hash().len(), 1);
        loader.begin(pairs.len(), l);
        let are_new = match parts {
            None => pairs.iter().all(|(field, value)| loader.push(field.as_bytes(), value.as_bytes(), l)),
            Some(part) => pairs.chunks(part).all(|part| {
                let texts = part.iter().flat_map(|(field, value)| [field.as_bytes(), value.as_bytes()]);
                let bytes = texts.clone().map(|text| text.len() + 1).sum();
                let all = texts.map(|from| Short::Text { from, len: from.len() });
                loader.push_all(all, 2 * part.len(), bytes, l).is_ok()
            }),
        };
        if are_new { loader.finish().ok().map(LoadedHash::into_hash) } else { None }
    }

    /// The encoding, and the pairs as text; those of a table in order.
    fn form(hash: &Hash) -> (&'static str, Vec<String>) {
        let text = |e: crate::packed::Element<'_>| e.to_vec().escape_ascii().to_string();
        let mut pairs: Vec<_> =
            hash.view().iter().map(|f| format!("{}={}", text(f.field), text(f.value))).collect();
        if matches!(hash, Hash::Table(_)) {
            pairs.sort();
        }
        (hash.view().encoding_name(), pairs)
    }

    proptest! {
        #[test]
        fn pairs_of_a_file_are_those_that_were_set(
            pairs in prop::collection::vec(("[a-d]{0,4}|-?[0-9]{1,3}|[xy]{60,63}", "[a-z]{0,63}|[0-9]{1,6}"), 0..20),
            entries in 0usize..24,
            value in prop_oneof![Just(64usize), 1usize..64],
        ) {
            let l = Limits {
                hash_max_listpack_entries: entries,
                hash_max_listpack_value: value,
                ..Limits::DEFAULT
            };
            let mut expected = Hash::with_hint(pairs.len(), &l);
            let are_distinct =
                pairs.iter().all(|(field, value)| expected.add_loaded(field.as_bytes(), value.as_bytes(), None, &l));
            for parts in [None, Some(100), Some(7), Some(1)] {
                let got = loaded(&pairs, parts, &l);
                prop_assert_eq!(got.is_some(), are_distinct);
                let Some(got) = got else { continue };
                prop_assert_eq!(form(&got), form(&expected));
            }
        }
    }
}
