//! A set from its members one by one, as it stands in files that have no listpacks of sets.
//!
//! Members are gathered first and compared at the end, all at once: to look for each among those before
//! it took ten times as long for a hundred of them.

use super::{Set, fits, max_intset, table};
use crate::base::num;
use crate::packed::intset::IntsetBuf;
use crate::packed::listpack::ListpackBuf;
use crate::structure::members::MemberTable;
use crate::value::malformed::{Malformed, distinct_groups};
use crate::value::{Limits, MAX_LISTPACK_BYTES};

/// Room of so many bytes is kept from set to set.
const MOST_KEPT_BYTES: usize = 64 << 10;

/// Makes one set after the other, each in the encoding that its members call for. Integers become an
/// intset, others a listpack in the order in which they come, too many or too long ones a table.
#[derive(Debug)]
pub struct SetLoader {
    declared: usize,
    /// All members so far, unless there is a table.
    gathered: ListpackBuf,
    count: usize,
    is_all_ints: bool,
    table: Option<Box<MemberTable>>,
}

impl Default for SetLoader {
    fn default() -> Self {
        SetLoader { declared: 0, gathered: ListpackBuf::new(), count: 0, is_all_ints: true, table: None }
    }
}

impl SetLoader {
    /// Begins a set of `declared` members. The caller bounds the number.
    pub fn begin(&mut self, declared: usize, limits: &Limits) {
        let is_large = declared > max_intset(limits).max(limits.set_max_listpack_entries);
        self.declared = declared;
        self.gathered.clear();
        self.count = 0;
        self.is_all_ints = true;
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
        self.gathered.push_back(member);
        self.count += 1;
        true
    }

    /// Whether the set stays small with this member.
    #[inline]
    fn has_room(&mut self, member: &[u8], limits: &Limits) -> bool {
        if self.is_all_ints {
            if num::parse_i64(member).is_some() {
                let is_small = self.gathered.byte_len() + member.len() <= MAX_LISTPACK_BYTES;
                return is_small && self.count < max_intset(limits);
            }
            self.is_all_ints = false;
            let longest = self.gathered.view().iter().filter_map(|v| v.as_i64()).map(num::i64_chars).max();
            if longest.is_some_and(|chars| chars > limits.set_max_listpack_value) {
                return false;
            }
        }
        self.count < limits.set_max_listpack_entries && fits(self.gathered.byte_len(), member, limits)
    }

    /// False if a member has come twice.
    fn become_table(&mut self, limits: &Limits) -> bool {
        let mut table = table(self.declared.max(self.count), limits);
        let mut text = crate::packed::IntText::new();
        let are_distinct = self.gathered.view().iter().all(|member| table.insert(member.text(&mut text)));
        self.table = Some(table);
        are_distinct
    }

    /// The set.
    ///
    /// # Errors
    /// `Duplicate` if a member comes twice.
    pub fn finish(&mut self, limits: &Limits) -> Result<Set, Malformed> {
        if let Some(table) = self.table.take() {
            return Ok(Set::Table(table));
        }
        let gathered = self.gathered.view();
        distinct_groups(gathered, 1)?;
        let set = if self.is_all_ints {
            let mut ints: Vec<i64> = gathered.iter().filter_map(|member| member.as_i64()).collect();
            ints.sort_unstable();
            let ints = IntsetBuf::from_ascending(&ints).expect("no member comes twice");
            Set::from_intset(ints, limits)
        } else {
            Set::Listpack(ListpackBuf::from_trusted(gathered.as_bytes().to_vec()))
        };
        if self.gathered.byte_len() > MOST_KEPT_BYTES {
            self.gathered = ListpackBuf::new();
        }
        Ok(set)
    }
}
