//! Hashes: pairs in a listpack while they are few and short, triples with an expiry once a field of
//! such a hash has one, a hash table beyond that.
//!
//! The triples are those of Redis 7.4: field, value, expiry in milliseconds, 0 for none; sorted by
//! expiry, fields without one last. So the next expiry is the third element. A field past its expiry
//! is invisible to readers, which get `now`, and goes when a writer sets it anew or
//! [`Hash::remove_expired`] comes by. Behaviour: valkey src/t_hash.c; the triples: Redis 7.4's, by
//! what its DUMP shows.

mod loading;
mod view;

use crate::base::time::UnixMs;
use crate::packed::Element;
use crate::packed::listpack::{Listpack, ListpackBuf, MAX_AROUND};
use crate::structure::fields::FieldTable;

use super::malformed::{Malformed, distinct_groups};
use super::{Limits, MAX_LISTPACK_BYTES};
pub use loading::{HashLoader, LoadedHash};
pub use view::{Field, Fields, HashRef};

/// Elements of a field in a listpack without expiries.
const PAIR: usize = 2;
/// Elements of a field in a listpack with expiries.
const TRIPLE: usize = 3;
/// The expiry of a field that has none.
const NO_EXPIRY: i64 = 0;

/// An owned hash.
#[derive(Clone)]
pub enum Hash {
    /// Field, value, field, value...
    Listpack(ListpackBuf),
    /// Field, value, expiry, field, value, expiry...
    ListpackEx(ListpackBuf),
    /// Anything.
    Table(Box<FieldTable>),
}

/// What setting a field does to its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldTtl {
    /// The field has none from now on.
    Clear,
    /// It stays as it is; of a field that is past it, nothing stays.
    Keep,
    /// It is this.
    At(UnixMs),
}

/// What setting a field has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The field was not there.
    New,
    /// The field was there, past its expiry: it counts as new, and what was there as expired.
    Revived,
    /// The field was there.
    Updated,
}

impl Written {
    /// Whether the field could not be seen before.
    #[must_use]
    pub const fn is_new(self) -> bool {
        !matches!(self, Written::Updated)
    }

    const fn of(was_there: bool, was_live: bool) -> Written {
        match (was_there, was_live) {
            (false, _) => Written::New,
            (true, false) => Written::Revived,
            (true, true) => Written::Updated,
        }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash.
    #[must_use]
    pub fn new() -> Self {
        Self::Listpack(ListpackBuf::new())
    }

    /// An empty hash for about `hint` fields. The caller bounds a hint that comes from outside.
    #[must_use]
    pub fn with_hint(hint: usize, limits: &Limits) -> Self {
        let mut hash = Self::new();
        hash.expect_fields(hint, limits);
        hash
    }

    /// Whether a listpack of pairs of a file is a hash as it is, under these limits.
    ///
    /// # Errors
    /// As [`Hash::from_listpack`].
    pub fn keeps(pack: Listpack<'_>, limits: &Limits) -> Result<bool, Malformed> {
        Ok(distinct_groups(pack, PAIR)? <= limits.hash_max_listpack_entries)
    }

    /// Takes over a listpack of pairs of a file.
    ///
    /// # Errors
    /// `Incomplete` if a field has no value, `Duplicate` if it comes twice.
    pub fn from_listpack(pack: ListpackBuf, limits: &Limits) -> Result<Self, Malformed> {
        let count = distinct_groups(pack.view(), PAIR)?;
        let mut hash = Self::Listpack(pack);
        hash.expect_fields(count, limits);
        Ok(hash)
    }

    /// Takes over a listpack of triples of a file; sorts it if it isn't.
    ///
    /// # Errors
    /// As [`Hash::from_listpack`], and `BadExpiry`.
    pub fn from_listpack_ex(pack: ListpackBuf, limits: &Limits) -> Result<Self, Malformed> {
        let count = distinct_groups(pack.view(), TRIPLE)?;
        let mut is_sorted = true;
        let mut last = 0;
        for (index, expiry) in expiries(pack.view()).enumerate() {
            let at = expiry.filter(|&at| at >= 0).ok_or(Malformed::BadExpiry { index })?;
            let rank = rank(at);
            is_sorted &= rank >= last;
            last = rank;
        }
        let mut hash = Self::ListpackEx(if is_sorted { pack } else { sorted(pack.view()) });
        hash.expect_fields(count, limits);
        Ok(hash)
    }

    /// The hash to look at.
    #[inline]
    #[must_use]
    pub fn view(&self) -> HashRef<'_> {
        match self {
            Self::Listpack(pack) => HashRef::Listpack(pack.view()),
            Self::ListpackEx(pack) => HashRef::ListpackEx(pack.view()),
            Self::Table(table) => HashRef::Table(table),
        }
    }

    /// How many fields it has, those past their expiry included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no fields: its key must go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Becomes a table right away if so many fields, in all, will not fit otherwise.
    pub fn expect_fields(&mut self, count: usize, limits: &Limits) {
        if count > limits.hash_max_listpack_entries && !matches!(self, Self::Table(_)) {
            self.as_table(count, limits);
        }
    }

    /// Adds many fields to a small hash at once, if they fit and none is there or comes twice; answers whether
    /// it did. `pairs` is field, value, field, value. O(n) in what is there then.
    pub fn fill(&mut self, pairs: &[&[u8]], limits: &Limits) -> bool {
        let Self::Listpack(pack) = self else { return false };
        let bytes: usize = pairs.iter().map(|text| text.len()).sum();
        let before = pack.len();
        if (before + pairs.len()) / PAIR > limits.hash_max_listpack_entries
            || pack.byte_len() + bytes > MAX_LISTPACK_BYTES
            || pairs.iter().any(|text| text.len() > limits.hash_max_listpack_value)
        {
            return false;
        }
        // Whoever writes a field that is there most likely writes others over, too.
        let view = pack.view();
        if pairs.first().is_none_or(|field| view.find(view.first_offset(), field, PAIR).is_some()) {
            return false;
        }
        let mut appender = pack.appender(bytes + pairs.len() * MAX_AROUND);
        pairs.iter().for_each(|text| appender.push(text));
        drop(appender);
        let is_filled = distinct_groups(pack.view(), PAIR).is_ok();
        if !is_filled {
            pack.remove_range(before, pairs.len());
        }
        is_filled
    }

    /// A hash of these pairs (field, value, field, value), in the form that setting all of them at once makes
    /// of them; `None` if a field comes twice.
    #[must_use]
    pub fn from_pairs(pairs: &[&[u8]], limits: &Limits) -> Option<Self> {
        let mut hash = Self::with_hint(pairs.len() / PAIR, limits);
        if hash.fill(pairs, limits) {
            return Some(hash);
        }
        let (pairs, _) = pairs.as_chunks::<PAIR>();
        let mut add = |[field, value]: &[&[u8]; PAIR]| hash.set(field, value, UnixMs::MIN, limits);
        pairs.iter().all(&mut add).then_some(hash)
    }

    /// Sets a field, which loses its expiry; answers whether it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], now: UnixMs, limits: &Limits) -> bool {
        self.set_with(field, value, FieldTtl::Clear, now, limits).is_new()
    }

    /// Sets a field and its expiry.
    pub fn set_with(
        &mut self,
        field: &[u8],
        value: &[u8],
        ttl: FieldTtl,
        now: UnixMs,
        limits: &Limits,
    ) -> Written {
        if !self.takes(field, value, limits) {
            self.as_table(0, limits);
        }
        if matches!(ttl, FieldTtl::At(_)) {
            self.use_expiries();
        }
        let written = match self {
            Self::Listpack(pack) => set_pair(pack, field, value),
            Self::ListpackEx(pack) => set_triple(pack, field, value, ttl, now),
            Self::Table(table) => return set_in_table(table, field, value, ttl, now),
        };
        if written == Written::New {
            self.expect_fields(self.len(), limits);
        }
        written
    }

    /// Adds a field of a file; answers false if it is there already, and the hash is of no use then.
    pub fn add_loaded(
        &mut self,
        field: &[u8],
        value: &[u8],
        expire_at: Option<UnixMs>,
        limits: &Limits,
    ) -> bool {
        if let Self::Table(table) = self {
            return !table.set(field, value, expire_at.map(clamp));
        }
        if self.view().lookup(field).is_some() {
            return false;
        }
        let ttl = expire_at.map_or(FieldTtl::Clear, FieldTtl::At);
        self.set_with(field, value, ttl, UnixMs::MIN, limits).is_new()
    }

    /// Removes a field that can be seen; answers whether there was one. What is past its expiry stays
    /// for [`Hash::remove_expired`], which tells of it.
    pub fn remove(&mut self, field: &[u8], now: UnixMs) -> bool {
        let is_hidden = match self {
            Self::Listpack(_) => false,
            Self::Table(table) if table.expiring() == 0 => false,
            _ => !self.view().contains(field, now),
        };
        !is_hidden && self.discard(field)
    }

    /// Removes a field, even if it is past its expiry; answers whether it was there.
    pub fn discard(&mut self, field: &[u8]) -> bool {
        let (pack, group) = match self {
            Self::Listpack(pack) => (pack, PAIR),
            Self::ListpackEx(pack) => (pack, TRIPLE),
            Self::Table(table) => return table.remove(field),
        };
        let view = pack.view();
        let Some((at, _)) = view.find(view.first_offset(), field, group) else { return false };
        pack.remove_many_at(at, group);
        true
    }

    /// Gives a field an expiry, or with `None` takes it away. Answers what it had before; `None` if
    /// there is no such field, or it is past its expiry.
    pub fn set_expiry(
        &mut self,
        field: &[u8],
        expire_at: Option<UnixMs>,
        now: UnixMs,
    ) -> Option<Option<UnixMs>> {
        let old = self.view().expiry(field, now)?;
        if old.is_none() && expire_at.is_none() {
            return Some(old);
        }
        self.use_expiries();
        match self {
            Self::Listpack(_) => {}
            Self::ListpackEx(pack) => {
                let view = pack.view();
                if let Some((at, _)) = view.find(view.first_offset(), field, TRIPLE)
                    && let Some(value) = view.next(at).and_then(|at| view.at(at))
                {
                    let value = value.to_vec();
                    pack.remove_many_at(at, TRIPLE);
                    insert_triple(pack, field, &value, expire_at.map_or(NO_EXPIRY, clamp));
                }
            }
            Self::Table(table) => {
                table.set_expiry(field, expire_at.map(clamp));
            }
        }
        Some(old)
    }

    /// Removes up to `most` fields past their expiry, showing each to `visit`; answers how many.
    pub fn remove_expired(&mut self, now: UnixMs, most: usize, mut visit: impl FnMut(Element<'_>)) -> usize {
        match self {
            Self::Listpack(_) => 0,
            Self::ListpackEx(pack) => {
                let gone = view::expired_prefix(pack.view(), now).min(most);
                pack.view().iter().step_by(TRIPLE).take(gone).for_each(visit);
                if gone > 0 {
                    pack.remove_range(0, gone * TRIPLE);
                }
                gone
            }
            Self::Table(table) => table.remove_expired(now.0, most, |field, _| visit(Element::Bytes(field))),
        }
    }

    /// Heap bytes it owns.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Listpack(pack) | Self::ListpackEx(pack) => pack.byte_len(),
            Self::Table(table) => size_of::<FieldTable>() + table.memory_bytes(),
        }
    }

    /// Whether a field and value of such lengths may be in the encoding.
    fn takes(&self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        match self {
            Self::Table(_) => true,
            Self::Listpack(pack) | Self::ListpackEx(pack) => {
                let longest = field.len().max(value.len());
                longest <= limits.hash_max_listpack_value
                    && pack.byte_len() + field.len() + value.len() <= MAX_LISTPACK_BYTES
            }
        }
    }

    /// Makes pairs triples.
    fn use_expiries(&mut self) {
        if let Self::Listpack(pack) = self {
            let mut triples = ListpackBuf::with_capacity(pack.byte_len() + pack.len());
            for (i, element) in pack.view().iter().enumerate() {
                push(&mut triples, element);
                if i % PAIR == 1 {
                    triples.push_back_int(NO_EXPIRY);
                }
            }
            *self = Self::ListpackEx(triples);
        }
    }

    /// Becomes a table with room for `fields`.
    fn as_table(&mut self, fields: usize, limits: &Limits) {
        if matches!(self, Self::Table(_)) {
            return;
        }
        let mut table = Box::new(FieldTable::new(limits.seed));
        table.reserve(fields.max(self.len()));
        for field in self.view().iter() {
            let expiry = field.expire_at.map(|at| at.0);
            field.field.with_bytes(|name| field.value.with_bytes(|value| table.set(name, value, expiry)));
        }
        *self = Self::Table(table);
    }
}

/// The third element of each triple; `None` for one that is no integer.
fn expiries(view: Listpack<'_>) -> impl Iterator<Item = Option<i64>> {
    view.iter().skip(TRIPLE - 1).step_by(TRIPLE).map(|element| element.as_i64())
}

/// The order of triples: by expiry, those without one last.
const fn rank(expiry: i64) -> i64 {
    if expiry == NO_EXPIRY { i64::MAX } else { expiry }
}

/// An expiry as a triple can hold it: 0 would mean none, and what lies before 1970 is as past as 1.
fn clamp(at: UnixMs) -> i64 {
    at.0.max(1)
}

fn is_live(expiry: Option<i64>, now: UnixMs) -> bool {
    expiry.is_none_or(|at| !UnixMs(at).is_past(now))
}

/// The expiry of the triple at `at`.
fn expiry_of(view: Listpack<'_>, at: usize) -> Option<i64> {
    let third = view.next(view.next(at)?)?;
    view.at(third)?.as_i64().filter(|&at| at != NO_EXPIRY)
}

fn push(pack: &mut ListpackBuf, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => pack.push_back(bytes),
        Element::Int(v) => pack.push_back_int(v),
    }
}

fn set_in_table(table: &mut FieldTable, field: &[u8], value: &[u8], ttl: FieldTtl, now: UnixMs) -> Written {
    let old = if table.expiring() > 0 { table.expiry(field).flatten() } else { None };
    let was_live = is_live(old, now);
    let expiry = match ttl {
        FieldTtl::Clear => None,
        FieldTtl::Keep => old.filter(|_| was_live),
        FieldTtl::At(at) => Some(clamp(at)),
    };
    let was_there = table.set(field, value, expiry);
    Written::of(was_there, was_live)
}

fn set_pair(pack: &mut ListpackBuf, field: &[u8], value: &[u8]) -> Written {
    let view = pack.view();
    let found = view.find(view.first_offset(), field, PAIR).and_then(|(at, _)| view.next(at));
    match found {
        Some(at) => pack.replace_at(at, value),
        None => {
            pack.push_back(field);
            pack.push_back(value);
        }
    }
    Written::of(found.is_some(), true)
}

fn set_triple(pack: &mut ListpackBuf, field: &[u8], value: &[u8], ttl: FieldTtl, now: UnixMs) -> Written {
    let view = pack.view();
    let found = view.find(view.first_offset(), field, TRIPLE);
    let old = found.and_then(|(at, _)| expiry_of(view, at));
    let was_live = found.is_some() && is_live(old, now);
    let expiry = match ttl {
        FieldTtl::Clear => NO_EXPIRY,
        FieldTtl::Keep => old.filter(|_| was_live).unwrap_or(NO_EXPIRY),
        FieldTtl::At(at) => clamp(at),
    };
    match found {
        Some((at, _)) if old.unwrap_or(NO_EXPIRY) == expiry => {
            if let Some(at) = view.next(at) {
                pack.replace_at(at, value);
            }
        }
        Some((at, _)) => {
            pack.remove_many_at(at, TRIPLE);
            insert_triple(pack, field, value, expiry);
        }
        None => insert_triple(pack, field, value, expiry),
    }
    Written::of(found.is_some(), was_live)
}

/// Puts a triple before the first that expires no sooner, which is where Redis 7.4 puts it.
fn insert_triple(pack: &mut ListpackBuf, field: &[u8], value: &[u8], expiry: i64) {
    let view = pack.view();
    let at = if expiry == NO_EXPIRY {
        view.end_offset()
    } else {
        let later =
            |&(at, _): &(usize, Element<'_>)| rank(expiry_of(view, at).unwrap_or(NO_EXPIRY)) >= expiry;
        view.entries().step_by(TRIPLE).find(later).map_or(view.end_offset(), |(at, _)| at)
    };
    // Backwards, each before the one put in last, so that one offset serves for all three.
    pack.insert_int_at(at, expiry);
    pack.insert_at(at, value);
    pack.insert_at(at, field);
}

/// The same triples in order; those of one expiry keep theirs.
fn sorted(view: Listpack<'_>) -> ListpackBuf {
    let elements: Vec<Element<'_>> = view.iter().collect();
    let mut triples: Vec<&[Element<'_>]> = elements.chunks_exact(TRIPLE).collect();
    triples.sort_by_key(|triple| rank(triple[TRIPLE - 1].as_i64().unwrap_or(NO_EXPIRY)));
    let mut pack = ListpackBuf::with_capacity(view.as_bytes().len());
    triples.into_iter().flatten().for_each(|&element| push(&mut pack, element));
    pack
}

#[cfg(test)]
mod tests;
