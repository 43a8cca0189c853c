//! Strings without a detour: SET and INCR on the bytes of the record, with no `Value` made.

use super::{Db, spare};
use crate::base::time::UnixMs;
use crate::keyspace::entry::{Entry, EntryRef};
use crate::structure::table::TableEntry;
use crate::value::string::IncrError;
use crate::value::{StrRef, ValueRef};

/// Why a key's number cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddError {
    /// The key holds another type.
    WrongType,
    /// The string isn't an integer, or the sum would not be one.
    Incr(IncrError),
}

impl Db {
    /// Sets a key to the string that SET stores for these bytes. A string of the same size class is
    /// overwritten in place.
    #[inline]
    pub fn set_str(&mut self, key: &[u8], bytes: &[u8], expire_at: Option<UnixMs>) {
        let hash = self.hash_key(key);
        match self.table.entry(hash, |entry| entry.is_key(key)) {
            TableEntry::Occupied(mut occupied) => {
                if !occupied.with(|entry| entry.overwrite_string(bytes, expire_at)) {
                    self.counts.subtract(occupied.view().marks());
                    spare(&mut occupied, self.laziness, &mut self.bin);
                    occupied.with(|entry| entry.replace_string(bytes, expire_at));
                    self.counts.add(occupied.view().marks());
                }
                occupied.tick(|clock| self.clocks.accessed(clock));
            }
            TableEntry::Vacant(vacant) => {
                Self::add(vacant, Entry::string(key, bytes, expire_at), &mut self.counts, &self.clocks);
                self.outgrow();
            }
        }
    }

    /// Puts an integer in the place of a key's value and leaves the expiry; answers whether the key
    /// is there.
    pub fn overwrite_int(&mut self, key: &[u8], v: i64) -> bool {
        self.edit(key, |entry| entry.store_int(v)).is_some()
    }

    /// Lets `change` edit the bytes of the string at a key, made as long as `len` wants it, with zero
    /// bytes; both are told how long it was. One lookup, and no copy. `None` if the key isn't there.
    ///
    /// # Errors
    /// `WrongType`; nothing changes then.
    pub fn edit_string<R>(
        &mut self,
        key: &[u8],
        len: impl FnOnce(usize) -> usize,
        change: impl FnOnce(&mut [u8], usize) -> R,
    ) -> Result<Option<R>, AddError> {
        let hash = self.hash_key(key);
        let TableEntry::Occupied(mut occupied) = self.table.entry(hash, |entry| entry.is_key(key)) else {
            return Ok(None);
        };
        self.counts.subtract(occupied.view().marks());
        let answer = occupied.with(|entry| entry.edit_string(len, change));
        self.counts.add(occupied.view().marks());
        answer.map(Some).ok_or(AddError::WrongType)
    }

    /// Adds to the integer at a key, 0 if the key isn't there, and answers the sum. One lookup.
    ///
    /// # Errors
    /// As `AddError` says; nothing changes then.
    pub fn incr(&mut self, key: &[u8], by: i64) -> Result<i64, AddError> {
        let hash = self.hash_key(key);
        match self.table.entry(hash, |entry| entry.is_key(key)) {
            TableEntry::Occupied(mut occupied) => {
                let sum = match occupied.with(|entry| entry.add_in_place(by)) {
                    Some(sum) => sum,
                    None => {
                        let old = integer(occupied.view())?;
                        let sum = old.checked_add(by).ok_or(AddError::Incr(IncrError::Overflow))?;
                        self.counts.subtract(occupied.view().marks());
                        occupied.with(|entry| entry.store_int(sum));
                        self.counts.add(occupied.view().marks());
                        sum
                    }
                };
                occupied.tick(|clock| self.clocks.accessed(clock));
                Ok(sum)
            }
            TableEntry::Vacant(vacant) => {
                Self::add(vacant, Entry::int(key, by), &mut self.counts, &self.clocks);
                self.outgrow();
                Ok(by)
            }
        }
    }
}

fn integer(entry: EntryRef<'_>) -> Result<i64, AddError> {
    match entry.view() {
        ValueRef::String(StrRef::Int(v)) => Ok(v),
        ValueRef::String(text) => text.as_i64().ok_or(AddError::Incr(IncrError::NotInteger)),
        _ => Err(AddError::WrongType),
    }
}
