//! A set from its members, as they stand one by one in files that have no listpacks of sets.
//!
//! Members are gathered first and compared at the end, all at once: to look for each among those before
//! it took ten times as long for a hundred of them. Those that come all at once, as nearly all small sets
//! do, are gathered and compared in one pass over the file's bytes.

use super::{Set, fits, max_intset, table};
use crate::base::num;
use crate::packed::IntText;
use crate::packed::intset::IntsetBuf;
use crate::packed::listpack::{Listpack, ListpackBuf, Room, Short};
use crate::structure::members::MemberTable;
use crate::value::gather::{LONGEST_SHORT, gather, has_room};
use crate::value::malformed::{Malformed, distinct_groups};
use crate::value::{Limits, MAX_LISTPACK_BYTES};

/// Makes one set after the other, each in the encoding that its members call for. Integers become an
/// intset, others a listpack in the order in which they come, too many or too long ones a table.
#[derive(Debug)]
pub struct SetLoader {
    declared: usize,
    /// All members so far, unless there is a table.
    gathered: Room,
    is_all_ints: bool,
    /// Whether it is known of those that are gathered.
    are_distinct: bool,
    table: Option<Box<MemberTable>>,
}

impl Default for SetLoader {
    fn default() -> Self {
        SetLoader {
            declared: 0,
            gathered: Room::default(),
            is_all_ints: true,
            are_distinct: false,
            table: None,
        }
    }
}

/// A set from its members.
#[derive(Debug)]
pub enum LoadedSet<'a> {
    /// A listpack that it consists of, to be copied.
    Listpack(Listpack<'a>),
    /// Any other.
    Own(Set),
}

impl LoadedSet<'_> {
    /// The set.
    #[must_use]
    pub fn into_set(self) -> Set {
        match self {
            LoadedSet::Listpack(pack) => Set::Listpack(ListpackBuf::from_trusted(pack.as_bytes().to_vec())),
            LoadedSet::Own(set) => set,
        }
    }
}

impl SetLoader {
    /// Begins a set of `declared` members. The caller bounds the number.
    pub fn begin(&mut self, declared: usize, limits: &Limits) {
        let is_large = declared > max_intset(limits).max(limits.set_max_listpack_entries);
        self.declared = declared;
        self.gathered.clear();
        self.is_all_ints = true;
        self.are_distinct = false;
        self.table = is_large.then(|| table(declared, limits));
    }

    /// Takes a member. False if it is known already that one has come twice; `finish` knows it for certain.
    #[inline]
    pub fn push(&mut self, member: &[u8], limits: &Limits) -> bool {
        if let Some(table) = &mut self.table {
            return table.insert(member);
        }
        if !self.has_room(member, limits) {
            return self.become_table(limits) && self.push(member, limits);
        }
        self.gathered.push(member);
        self.are_distinct = false;
        true
    }

    /// Takes `count` short members, which have `bytes` bytes, at once. Answers the first that is known
    /// already to have come twice, as `push` does.
    ///
    /// # Errors
    /// Such a member.
    pub fn push_all<'a>(
        &mut self,
        members: impl Iterator<Item = Short<'a>>,
        count: usize,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), Vec<u8>> {
        if !self.have_room(count, bytes, limits) {
            let mut text = IntText::new();
            for member in members {
                let member = member.text(&mut text);
                if !self.push(member, limits) {
                    return Err(member.to_vec());
                }
            }
            return Ok(());
        }
        let is_first = self.gathered.is_empty();
        let seen = gather::<1>(&mut self.gathered, members, count);
        self.is_all_ints &= seen.are_ints;
        self.are_distinct = is_first && seen.are_apart;
        Ok(())
    }

    /// Whether the set stays small with this member.
    #[inline]
    fn has_room(&mut self, member: &[u8], limits: &Limits) -> bool {
        let (count, bytes) = (self.gathered.len(), self.gathered.byte_len());
        if self.is_all_ints {
            if num::parse_i64(member).is_some() {
                return bytes + member.len() <= MAX_LISTPACK_BYTES && count < max_intset(limits);
            }
            self.is_all_ints = false;
            let ints = self.gathered.view();
            let longest = ints.iter().filter_map(|v| v.as_i64()).map(num::i64_chars).max();
            if longest.is_some_and(|chars| chars > limits.set_max_listpack_value) {
                return false;
            }
        }
        count < limits.set_max_listpack_entries && fits(bytes, member, limits)
    }

    /// Whether the set surely stays small with `count` more short members, which have `bytes` bytes.
    #[inline]
    fn have_room(&self, count: usize, bytes: usize, limits: &Limits) -> bool {
        let most = limits.set_max_listpack_entries.min(max_intset(limits));
        self.table.is_none()
            && self.gathered.len() + count <= most
            && limits.set_max_listpack_value >= LONGEST_SHORT
            && has_room(&self.gathered, count, bytes)
    }

    /// False if a member has come twice.
    fn become_table(&mut self, limits: &Limits) -> bool {
        let mut table = table(self.declared.max(self.gathered.len()), limits);
        let mut text = IntText::new();
        let are_distinct = self.gathered.view().iter().all(|member| table.insert(member.text(&mut text)));
        self.table = Some(table);
        are_distinct
    }

    /// The set.
    ///
    /// # Errors
    /// `Duplicate` if a member comes twice.
    pub fn finish(&mut self, limits: &Limits) -> Result<LoadedSet<'_>, Malformed> {
        if let Some(table) = self.table.take() {
            return Ok(LoadedSet::Own(Set::Table(table)));
        }
        let gathered = self.gathered.view();
        if !self.are_distinct {
            distinct_groups(gathered, 1)?;
        }
        if !self.is_all_ints {
            return Ok(LoadedSet::Listpack(gathered));
        }
        let mut ints: Vec<i64> = gathered.iter().filter_map(|member| member.as_i64()).collect();
        ints.sort_unstable();
        let ints = IntsetBuf::from_ascending(&ints).expect("no member comes twice");
        Ok(LoadedSet::Own(Set::from_intset(ints, limits)))
    }
}
