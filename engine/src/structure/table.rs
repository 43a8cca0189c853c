//! Table: the hash table of the keyspace and of big hashes and sets.
//!
//! Extendible hashing in the order of the hash: its high bits index a directory of segments, the
//! next ones a 64-byte bucket in the segment (`table/segment.rs`, `table/bucket.rs`). A full segment
//! grows by half, then splits in two; a sparse one shrinks or merges with its twin. So growth costs
//! one segment at a time, a few hundred items, and never a second table. The directory, which does
//! double, holds one word for some hundred items.
//!
//! A position is the 48 high bits of a hash. SCAN's cursor is a position: splitting and merging
//! change which bucket covers it, never which items lie behind it, so whatever is present
//! throughout a scan is returned. Knows no types, no time and no randomness. Behaviour of SCAN:
//! Redis's documentation of its guarantees. Figures: `benches`.
#![allow(unsafe_code)]

mod bucket;
mod iter;
mod resize;
mod segment;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::ptr::NonNull;

use super::record::{self, Record, RecordRef};
use crate::base::rng::Rng;
pub use bucket::Place;
use bucket::{Bucket, SLOTS, tag_of};
pub use iter::{Iter, SampleWalk, Sweep};
use segment::{POSITION_BITS, Segment, Slot, home_index, next_of};

/// An owner of one heap object that fits in a 48-bit pointer.
///
/// # Safety
/// `into_raw` gives up the ownership that `from_raw` takes back; `view` may be called any number of
/// times between them. The address has at most 48 bits and stays the same in between.
pub unsafe trait Thin: Sized {
    /// The borrowed form: a copy of the pointer, with a lifetime.
    type Ref<'a>: Copy;

    /// Gives the object up as its address.
    fn into_raw(self) -> NonNull<u8>;

    /// Takes the object back.
    ///
    /// # Safety
    /// `at` comes from `into_raw`, and nothing else owns or borrows the object.
    unsafe fn from_raw(at: NonNull<u8>) -> Self;

    /// Lends the object.
    ///
    /// # Safety
    /// `at` comes from `into_raw`, and the object isn't changed or freed during `'a`.
    unsafe fn view<'a>(at: NonNull<u8>) -> Self::Ref<'a>;

    /// Whether the object may expire; a sweep looks only at those.
    fn is_volatile(view: Self::Ref<'_>) -> bool {
        let _ = view;
        false
    }

    /// Asks the CPU for what the object's head does not tell, which is at hand: for who is about to read
    /// all of it.
    fn prefetch_body(view: Self::Ref<'_>) {
        let _ = view;
    }

    /// Asks the CPU for what the object's body points to, which is at hand.
    fn prefetch_far(view: Self::Ref<'_>) {
        let _ = view;
    }
}

// SAFETY: a record is one allocation behind a plain pointer, and the allocator gives 48-bit
// addresses (the bucket checks each). `into_raw` and `from_raw` are the record's own.
unsafe impl Thin for Record {
    type Ref<'a> = RecordRef<'a>;

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        self.into_raw()
    }

    #[inline]
    unsafe fn from_raw(at: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise is the one that `Record::from_raw` asks for.
        unsafe { Self::from_raw(at) }
    }

    #[inline]
    unsafe fn view<'a>(at: NonNull<u8>) -> RecordRef<'a> {
        // SAFETY: the caller's promise is the one that `RecordRef::from_raw` asks for.
        unsafe { RecordRef::from_raw(at) }
    }

    #[inline]
    fn is_volatile(view: RecordRef<'_>) -> bool {
        view.has_expiry()
    }
}

/// Says the hash of a stored item: splitting a segment asks for it. It must give the hash under which
/// the item was inserted.
pub trait HashOf<T: Thin> {
    /// The hash of `item`.
    fn hash_of(&self, item: T::Ref<'_>) -> u64;
}

/// A directory entry: a segment's address, and beside it what a lookup needs to know of the
/// segment, so that it doesn't touch the header: `depth u8 | home buckets u8 | address u48`.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    fn new(segment: Segment) -> Self {
        let address = segment.address().get() as u64;
        assert!(address >> 48 == 0, "user addresses have 48 bits");
        Self(u64::from(segment.depth()) << 56 | (segment.home() as u64) << 48 | address)
    }

    #[inline]
    fn depth(self) -> u8 {
        (self.0 >> 56) as u8
    }

    #[inline]
    fn home(self) -> usize {
        usize::from((self.0 >> 48) as u8)
    }

    #[inline]
    fn segment(self) -> Segment {
        let address = NonZero::new((self.0 & ((1 << 48) - 1)) as usize).expect("an entry has a segment");
        // SAFETY: entries live in the directory only, which holds no freed segment.
        unsafe { Segment::from_address(address) }
    }
}

/// A hash table that owns its items and moves in small steps.
pub struct Table<T: Thin, H> {
    /// `2^depth` entries, or none while the table never held anything. A segment of a lower depth
    /// fills a run of `2^(depth - its depth)` of them.
    directory: Vec<Entry>,
    len: usize,
    heap_bytes: usize,
    /// Segments whose depth is the directory's.
    deepest: usize,
    depth: u8,
    may_resize: bool,
    has_clocks: bool,
    hasher: H,
    items: PhantomData<T>,
}

/// A slot that a lookup found.
#[derive(Clone, Copy)]
struct Found {
    segment: Segment,
    home: usize,
    at: Slot,
    item: NonNull<u8>,
}

impl<T: Thin, H: HashOf<T>> Table<T, H> {
    /// An empty table; allocates nothing.
    #[must_use]
    pub fn new(hasher: H) -> Self {
        Self {
            directory: Vec::new(),
            len: 0,
            heap_bytes: 0,
            deepest: 0,
            depth: 0,
            may_resize: true,
            has_clocks: false,
            hasher,
            items: PhantomData,
        }
    }

    /// Items in the table.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What hashes the items.
    #[must_use]
    #[inline]
    pub fn hasher(&self) -> &H {
        &self.hasher
    }

    /// The heap bytes of the table itself, not of its items.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.heap_bytes + self.directory.capacity() * size_of::<Entry>()
    }

    /// The directory index of `hash`.
    #[inline]
    fn index(&self, hash: u64) -> usize {
        // In two steps: at depth 0 a shift by 64 would be out of range.
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    #[inline]
    fn locate(&self, hash: u64, mut eq: impl FnMut(T::Ref<'_>) -> bool) -> Option<Found> {
        let entry = *self.directory.get(self.index(hash))?;
        let segment = entry.segment();
        let home = home_index(hash, entry.depth(), entry.home());
        let tag = tag_of(hash);
        // SAFETY: `home_index` answers less than the home count, which the entry repeats.
        let bucket = unsafe { segment.home_bucket(home) };
        for slot in bucket.matches(tag) {
            let item = bucket.pointer(slot);
            // SAFETY: a used slot owns a live item, which isn't changed while `self` is borrowed.
            if eq(unsafe { T::view(item) }) {
                return Some(Found { segment, home, at: Slot { bucket: home, slot }, item });
            }
        }
        if !bucket.has_overflow() {
            return None;
        }
        let mut probe = |index: usize, bucket: &Bucket| {
            for slot in bucket.matches(tag) {
                let item = bucket.pointer(slot);
                // SAFETY: as above.
                if eq(unsafe { T::view(item) }) {
                    return Some(Found { segment, home, at: Slot { bucket: index, slot }, item });
                }
            }
            None
        };
        if bucket.has_next() {
            // The entry repeats what the header says, which may not be in the cache.
            let next = next_of(home, entry.home());
            // SAFETY: `next_of` answers less than the home count.
            if let Some(found) = probe(next, unsafe { segment.home_bucket(next) }) {
                return Some(found);
            }
        }
        let mut stash = segment.home()..segment.buckets();
        if bucket.has_stash() { stash.find_map(|index| probe(index, segment.bucket(index))) } else { None }
    }

    /// The item with this hash for which `eq` holds.
    #[must_use]
    #[inline]
    pub fn find(&self, hash: u64, eq: impl FnMut(T::Ref<'_>) -> bool) -> Option<T::Ref<'_>> {
        let found = self.locate(hash, eq)?;
        // SAFETY: a used slot owns a live item; the answer borrows `self`.
        Some(unsafe { T::view(found.item) })
    }

    /// Changes the item with this hash for which `eq` holds; `change` must leave its key alone.
    pub fn update<R>(
        &mut self,
        hash: u64,
        eq: impl FnMut(T::Ref<'_>) -> bool,
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let mut found = self.locate(hash, eq)?;
        Some(self.change(&mut found, change))
    }

    /// The entry of this hash and `eq`, for a lookup that may end in an insertion or a removal.
    pub fn entry(&mut self, hash: u64, eq: impl FnMut(T::Ref<'_>) -> bool) -> TableEntry<'_, T, H> {
        match self.locate(hash, eq) {
            Some(found) => TableEntry::Occupied(Occupied { table: self, hash, found }),
            None => TableEntry::Vacant(Vacant { table: self, hash }),
        }
    }

    /// Adds an item that the caller knows to be absent.
    pub fn insert(&mut self, hash: u64, item: T) {
        self.insert_at(hash, item);
    }

    /// Adds an item in the place of the one for which `eq` holds, which is answered.
    pub fn replace(&mut self, hash: u64, eq: impl FnMut(T::Ref<'_>) -> bool, item: T) -> Option<T> {
        match self.entry(hash, eq) {
            TableEntry::Occupied(mut occupied) => {
                Some(occupied.with(|present| std::mem::replace(present, item)))
            }
            TableEntry::Vacant(vacant) => {
                vacant.insert(item);
                None
            }
        }
    }

    /// Takes the item with this hash for which `eq` holds out of the table.
    pub fn remove(&mut self, hash: u64, eq: impl FnMut(T::Ref<'_>) -> bool) -> Option<T> {
        let found = self.locate(hash, eq)?;
        let item = self.take(found.segment, found.at, found.home);
        self.shrink(hash);
        Some(item)
    }

    /// Runs `change` on the item of a slot and stores whatever it leaves, even when it unwinds; `found`
    /// says then where the item is. An item that stays where it is leaves bucket and header untouched:
    /// neither may be in the cache.
    #[inline]
    fn change<R>(&mut self, found: &mut Found, change: impl FnOnce(&mut T) -> R) -> R {
        struct Guard<'a, T: Thin> {
            found: &'a mut Found,
            item: ManuallyDrop<T>,
        }
        impl<T: Thin> Drop for Guard<'_, T> {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: the guard is being dropped, so nobody takes the item a second time.
                let item = unsafe { ManuallyDrop::take(&mut self.item) }.into_raw();
                let Found { segment, at, item: before, .. } = *self.found;
                if item != before {
                    segment.bucket_mut(at.bucket).set_pointer(at.slot, item);
                    self.found.item = item;
                }
                // SAFETY: the slot owns this live item again.
                if T::is_volatile(unsafe { T::view(item) }) && !segment.bucket(at.bucket).is_volatile() {
                    segment.bucket_mut(at.bucket).set_volatile(true);
                    segment.set_volatile(true);
                }
            }
        }
        // SAFETY: the slot owns the item, `&mut self` keeps everyone else away from it, and the guard
        // gives it back to the slot.
        let item = ManuallyDrop::new(unsafe { T::from_raw(found.item) });
        let mut guard = Guard { found, item };
        change(&mut guard.item)
    }

    /// Empties a slot and takes its item, without shrinking.
    fn take(&mut self, segment: Segment, at: Slot, home: usize) -> T {
        let item = segment.take(at, home);
        self.len -= 1;
        // SAFETY: the slot owned the item and has just given it up.
        unsafe { T::from_raw(item) }
    }

    /// The item with this hash and its access clock (0 without clocks). Items are told apart by their
    /// hashes alone.
    #[must_use]
    pub fn find_hash(&self, hash: u64) -> Option<(T::Ref<'_>, u32)> {
        let found = self.locate(hash, |item| self.hasher.hash_of(item) == hash)?;
        // SAFETY: a used slot owns a live item; the answer borrows `self`.
        Some((unsafe { T::view(found.item) }, found.segment.clock(found.at)))
    }

    /// Asks the CPU for the bucket of `hash`.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(entry) = self.directory.get(self.index(hash)) {
            let home = home_index(hash, entry.depth(), entry.home());
            // SAFETY: `home_index` answers less than the home count, which the entry repeats.
            record::prefetch(std::ptr::from_ref(unsafe { entry.segment().home_bucket(home) }).cast());
            if self.has_clocks {
                entry.segment().prefetch_header();
            }
        }
    }

    /// As `prefetch`, and for the segment's header as well, which an insertion changes: for a table that
    /// fills up.
    #[inline]
    pub fn prefetch_insertion(&self, hash: u64) {
        if let Some(entry) = self.directory.get(self.index(hash)) {
            let home = home_index(hash, entry.depth(), entry.home());
            entry.segment().prefetch_header();
            // SAFETY: `home_index` answers less than the home count, which the entry repeats.
            record::prefetch(std::ptr::from_ref(unsafe { entry.segment().home_bucket(home) }).cast());
        }
    }

    /// Asks the CPU for the first `bytes` of the item that `hash` probably has, if that lies at `place`, which
    /// has been asked for before: its home by `prefetch`. If it can only lie elsewhere, asks for that, and
    /// answers where it is to be looked for once that has come.
    #[inline]
    pub fn prefetch_item(&self, hash: u64, place: Place, bytes: usize) -> Option<Place> {
        let entry = *self.directory.get(self.index(hash))?;
        let home = home_index(hash, entry.depth(), entry.home());
        // SAFETY: `home_index` answers less than the home count, which the entry repeats.
        let bucket = unsafe { entry.segment().home_bucket(home) };
        match place {
            Place::Home if self.prefetch_matches(hash, bytes, entry, home, bucket) => None,
            _ if !bucket.has_overflow() => None,
            _ => self.prefetch_overflow(hash, place, bytes, entry, home),
        }
    }

    /// As `prefetch_item`, for an item that is not in its home.
    fn prefetch_overflow(
        &self,
        hash: u64,
        place: Place,
        bytes: usize,
        entry: Entry,
        home: usize,
    ) -> Option<Place> {
        /// Buckets of a stash that are asked for: more than those are seldom there.
        const STASH_BUCKETS: usize = 4;
        let (segment, next) = (entry.segment(), next_of(home, entry.home()));
        // SAFETY: both indexes are less than the home count, which the entry repeats.
        let (bucket, next_bucket) = unsafe { (segment.home_bucket(home), segment.home_bucket(next)) };
        let stash = || segment.home()..segment.buckets().min(segment.home() + STASH_BUCKETS);
        match place {
            Place::Home => {
                if bucket.has_next() {
                    record::prefetch(std::ptr::from_ref(next_bucket).cast());
                }
                if bucket.has_stash() {
                    // It says where the stash is.
                    segment.prefetch_header();
                }
                Some(Place::Next)
            }
            Place::Next => {
                let is_found =
                    bucket.has_next() && self.prefetch_matches(hash, bytes, entry, next, next_bucket);
                if is_found || !bucket.has_stash() {
                    return None;
                }
                stash().for_each(|at| record::prefetch(std::ptr::from_ref(segment.bucket(at)).cast()));
                Some(Place::Stash)
            }
            Place::Stash => {
                stash().find(|at| self.prefetch_matches(hash, bytes, entry, *at, segment.bucket(*at)));
                None
            }
        }
    }

    /// Asks the CPU for the first `bytes` of the items in `bucket` that may have `hash`. False if there is
    /// none.
    #[inline]
    fn prefetch_matches(&self, hash: u64, bytes: usize, entry: Entry, at: usize, bucket: &Bucket) -> bool {
        let matches = bucket.matches(tag_of(hash));
        for slot in matches {
            record::prefetch_bytes(bucket.pointer(slot).as_ptr(), bytes);
            if self.has_clocks {
                entry.segment().prefetch_clock(Slot { bucket: at, slot });
            }
        }
        matches.first().is_some()
    }

    /// An item, each as likely as any other; `None` when the table is empty.
    #[must_use]
    pub fn random(&self, rng: &mut Rng) -> Option<T::Ref<'_>> {
        self.random_with_clock(rng).map(|(item, _)| item)
    }

    /// An item, each as likely as any other, and its access clock (0 without clocks).
    #[must_use]
    pub fn random_with_clock(&self, rng: &mut Rng) -> Option<(T::Ref<'_>, u32)> {
        /// More buckets than a segment has unless it couldn't split, where fairness ends.
        const BUCKETS: usize = 80;
        const TRIES: usize = 1024;
        if self.len == 0 {
            return None;
        }
        let buckets = if self.depth == 0 { self.directory[0].segment().buckets() } else { BUCKETS };
        for _ in 0..TRIES {
            // Every slot that might exist is drawn with the same chance, and one that doesn't or is
            // empty is drawn again. A segment counts once, at the first entry of its run.
            let index = rng.index(self.directory.len());
            let entry = self.directory[index];
            let at = Slot { bucket: rng.index(buckets), slot: rng.index(SLOTS) };
            let segment = entry.segment();
            if index & (self.run(entry) - 1) != 0 || at.bucket >= segment.buckets() {
                continue;
            }
            let bucket = segment.bucket(at.bucket);
            if bucket.is_used(at.slot) {
                // SAFETY: a used slot owns a live item; the answer borrows `self`.
                return Some((unsafe { T::view(bucket.pointer(at.slot)) }, segment.clock(at)));
            }
        }
        // Nearly empty, as after mass removal without resizing: the first one behind a random place.
        let from = rng.next_u64() >> (64 - POSITION_BITS);
        self.iter_from(from).next().or_else(|| self.iter_from(0).next())
    }

    /// How many directory entries the segment of `entry` fills.
    #[inline]
    fn run(&self, entry: Entry) -> usize {
        1 << (self.depth - entry.depth())
    }

    /// Whether segments may be split and merged; off while a child saves, so that its pages stay
    /// shared. Segments then overflow into their stashes, up to a bound.
    pub fn resize_allowed(&mut self, allowed: bool) {
        self.may_resize = allowed;
    }

    /// Gives every slot an access clock of 32 bits, 0 at first.
    pub fn enable_clocks(&mut self) {
        self.enable_clocks_at(0);
    }

    /// Gives every slot an access clock of 32 bits, `clock` for the items that are there. O(n).
    pub fn enable_clocks_at(&mut self, clock: u32) {
        if !self.has_clocks {
            self.has_clocks = true;
            self.each_segment(|segment| segment.enable_clocks(clock));
        }
    }

    /// Frees the access clocks.
    pub fn disable_clocks(&mut self) {
        if self.has_clocks {
            self.has_clocks = false;
            self.each_segment(Segment::disable_clocks);
        }
    }

    /// Whether the slots have access clocks.
    #[must_use]
    pub fn has_clocks(&self) -> bool {
        self.has_clocks
    }

    fn each_segment(&mut self, mut act: impl FnMut(Segment)) {
        let mut index = 0;
        while index < self.directory.len() {
            let entry = self.directory[index];
            let segment = entry.segment();
            self.heap_bytes -= segment.heap_bytes();
            act(segment);
            self.heap_bytes += segment.heap_bytes();
            index += self.run(entry);
        }
    }

    /// The access clock of an item; 0 without clocks.
    #[must_use]
    pub fn clock(&self, hash: u64, eq: impl FnMut(T::Ref<'_>) -> bool) -> Option<u32> {
        self.locate(hash, eq).map(|found| found.segment.clock(found.at))
    }

    /// Finds an item and changes its access clock with `tick`, which is given the clock and the item.
    /// Without clocks this is `find`.
    pub fn access(
        &mut self,
        hash: u64,
        eq: impl FnMut(T::Ref<'_>) -> bool,
        tick: impl FnOnce(u32, T::Ref<'_>) -> u32,
    ) -> Option<T::Ref<'_>> {
        let found = self.locate(hash, eq)?;
        // SAFETY: a used slot owns a live item; the answer borrows `self`.
        let item = unsafe { T::view(found.item) };
        if self.has_clocks {
            found.segment.set_clock(found.at, tick(found.segment.clock(found.at), item));
        }
        Some(item)
    }
}

/// The outcome of `Table::access_unless`.
pub enum Access<'a, T: Thin> {
    /// The item isn't there.
    Missing,
    /// It was there and was to go.
    Removed(T),
    /// It is there, and its clock has been changed.
    There(T::Ref<'a>),
}

impl<T: Thin, H: HashOf<T>> Table<T, H> {
    /// As `access`, in one lookup, but takes the item out if `is_gone` holds for it.
    #[inline]
    pub fn access_unless(
        &mut self,
        hash: u64,
        eq: impl FnMut(T::Ref<'_>) -> bool,
        is_gone: impl FnOnce(T::Ref<'_>) -> bool,
        tick: impl FnOnce(u32) -> u32,
    ) -> Access<'_, T> {
        let Some(found) = self.locate(hash, eq) else { return Access::Missing };
        // SAFETY: a used slot owns a live item; the look ends with this line.
        if is_gone(unsafe { T::view(found.item) }) {
            let item = self.take(found.segment, found.at, found.home);
            self.shrink(hash);
            return Access::Removed(item);
        }
        if self.has_clocks {
            found.segment.set_clock(found.at, tick(found.segment.clock(found.at)));
        }
        // SAFETY: a used slot owns a live item; the answer borrows `self`.
        Access::There(unsafe { T::view(found.item) })
    }
}

impl<T: Thin, H: HashOf<T> + Clone> Table<T, H> {
    /// Leaves an empty table of the same kind and answers the old one, to be dropped at leisure.
    #[must_use]
    pub fn take_all(&mut self) -> Self {
        let mut empty = Self::new(self.hasher.clone());
        empty.may_resize = self.may_resize;
        empty.has_clocks = self.has_clocks;
        std::mem::replace(self, empty)
    }
}

impl<T: Thin, H> Drop for Table<T, H> {
    fn drop(&mut self) {
        let mut index = 0;
        while index < self.directory.len() {
            let entry = self.directory[index];
            let segment = entry.segment();
            for bucket in 0..segment.buckets() {
                for slot in segment.bucket(bucket).used() {
                    // SAFETY: the slot owns the item, and the table is going away with all of them.
                    drop(unsafe { T::from_raw(segment.bucket(bucket).pointer(slot)) });
                }
            }
            // SAFETY: the directory is not read at this entry again, nor is its run.
            unsafe { segment.free() };
            index += 1 << (self.depth - entry.depth());
        }
    }
}

/// The outcome of `Table::entry`.
pub enum TableEntry<'a, T: Thin, H> {
    /// The item is there.
    Occupied(Occupied<'a, T, H>),
    /// It isn't.
    Vacant(Vacant<'a, T, H>),
}

/// An item that is there.
pub struct Occupied<'a, T: Thin, H> {
    table: &'a mut Table<T, H>,
    hash: u64,
    found: Found,
}

impl<T: Thin, H: HashOf<T>> Occupied<'_, T, H> {
    /// The item.
    #[must_use]
    pub fn view(&self) -> T::Ref<'_> {
        // SAFETY: the slot owns a live item; the answer borrows `self`.
        unsafe { T::view(self.found.item) }
    }

    /// Changes the item; its key must stay.
    pub fn with<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        self.table.change(&mut self.found, change)
    }

    /// Changes the access clock, if there are clocks.
    pub fn set_clock(&mut self, clock: u32) {
        self.found.segment.set_clock(self.found.at, clock);
    }

    /// Moves the access clock on with `tick`. Costs nothing without clocks.
    #[inline]
    pub fn tick(&mut self, tick: impl FnOnce(u32) -> u32) {
        if self.table.has_clocks {
            self.found.segment.tick(self.found.at, tick);
        }
    }

    /// Takes the item out of the table.
    #[must_use]
    pub fn remove(self) -> T {
        let item = self.table.take(self.found.segment, self.found.at, self.found.home);
        self.table.shrink(self.hash);
        item
    }
}

/// A hash whose item isn't there.
pub struct Vacant<'a, T: Thin, H> {
    table: &'a mut Table<T, H>,
    hash: u64,
}

impl<T: Thin, H: HashOf<T>> Vacant<'_, T, H> {
    /// Adds the item, which must be the one that was looked for.
    pub fn insert(self, item: T) {
        self.table.insert_at(self.hash, item);
    }

    /// Adds the item with an access clock.
    pub fn insert_with_clock(self, item: T, clock: u32) {
        let (segment, at) = self.table.insert_at(self.hash, item);
        segment.set_clock(at, clock);
    }
}

#[cfg(test)]
mod tests;
