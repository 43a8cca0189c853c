//! Insertion in bulk: a load makes its entries first and puts them in a little later, when the table's
//! memory has been fetched.

use crate::structure::table::TableEntry;

use super::Db;
use crate::keyspace::entry::Entry;

impl Db {
    /// Asks the CPU for what [`Db::insert_hashed`] changes.
    #[inline]
    pub fn prefetch_insertion(&self, hash: u64) {
        self.table.prefetch_insertion(hash);
    }

    /// Adds an entry whose key has this hash.
    ///
    /// # Errors
    /// The entry, if its key is there; nothing changes then.
    #[inline]
    pub fn insert_hashed(&mut self, hash: u64, entry: Entry) -> Result<(), Entry> {
        let key = entry.view().key();
        match self.table.entry(hash, |present| present.key() == key) {
            TableEntry::Occupied(_) => Err(entry),
            TableEntry::Vacant(vacant) => {
                Self::add(vacant, entry, &mut self.counts, &self.clocks);
                self.outgrow();
                Ok(())
            }
        }
    }
}
