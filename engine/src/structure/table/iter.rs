//! Walks over a table: SCAN, iteration, and the sweep over what may expire.
//!
//! A cursor is a position, the 48 high bits of a hash, so it fits what every client can hold; 0
//! starts, and 0 is the answer at the end.
#![allow(unsafe_code)]

use super::bucket::Bucket;
use super::segment::{POSITION_BITS, Segment, Slot, home_index};
use super::{Found, HashOf, Table, Thin};
use crate::structure::record;

const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;

/// What a sweep does with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// It stays.
    Keep,
    /// It is taken out and handed over.
    Remove,
}

/// How a walk of `Table::sample` went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleWalk {
    /// A position not far in front of where it ended.
    pub end: u64,
    /// Whether it had to look far for what it was to show.
    pub is_long: bool,
}

/// One home bucket's interval of positions.
struct Interval {
    segment: Segment,
    bucket: usize,
    /// The first position behind it; 0 when it is the last.
    end: u64,
}

impl<T: Thin, H: HashOf<T>> Table<T, H> {
    fn interval(&self, cursor: u64) -> Option<Interval> {
        let hash = (cursor & POSITION_MASK) << (64 - POSITION_BITS);
        let entry = *self.directory.get(self.index(hash))?;
        let (depth, home) = (entry.depth(), entry.home() as u64);
        let width = POSITION_BITS - u32::from(depth);
        let bucket = home_index(hash, depth, entry.home());
        // The first position of the next bucket: the least p with p * home >= (bucket + 1) * 2^width.
        let first = cursor & POSITION_MASK & !((1 << width) - 1);
        let end = first + ((bucket as u64 + 1) << width).div_ceil(home);
        Some(Interval { segment: entry.segment(), bucket, end: end & POSITION_MASK })
    }

    /// Visits the items of one home bucket from position `cursor` on, and answers the cursor to go on
    /// with, 0 after the last. Whatever is in the table throughout a scan is visited at least once,
    /// whatever else is inserted and removed between the calls. Foreign cursors are harmless.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(T::Ref<'_>)) -> u64 {
        let Some(Interval { segment, bucket: home, end }) = self.interval(cursor) else { return 0 };
        let mut walk = |index: usize, is_certain: bool| {
            let bucket = segment.bucket(index);
            for slot in bucket.used() {
                // SAFETY: a used slot owns a live item, which isn't changed while `self` is borrowed.
                let item = unsafe { T::view(bucket.pointer(slot)) };
                if is_certain
                    || home_index(self.hasher.hash_of(item), segment.depth(), segment.home()) == home
                {
                    visit(item);
                }
            }
        };
        let previous = if home == 0 { segment.home() - 1 } else { home - 1 };
        // Only the bucket in front can have sent items here.
        walk(home, previous == home || !segment.bucket(previous).has_next());
        if segment.bucket(home).has_next() {
            walk(segment.next(home), false);
        }
        if segment.bucket(home).has_stash() {
            (segment.home()..segment.buckets()).for_each(|index| walk(index, false));
        }
        end
    }

    /// Visits items that may expire, from position `cursor` on, until about `budget` buckets or items
    /// were looked at or the table ends. What `visit` gives up goes to `removed`. Answers the cursor
    /// to go on with, 0 at the end, and how many items were visited. An item that may expire throughout
    /// a sweep is visited at least once. Buckets without such items are
    /// passed over without touching an item. `visit` may change an item, but not its key.
    pub fn sweep(
        &mut self,
        cursor: u64,
        budget: usize,
        mut visit: impl FnMut(&mut T) -> Sweep,
        mut removed: impl FnMut(T),
    ) -> (u64, usize) {
        /// Buckets passed over that cost as much as an item visited.
        const BUCKETS_PER_ITEM: usize = 8;
        let (mut cursor, mut visited, mut passed) = (cursor & POSITION_MASK, 0, 0);
        loop {
            let Some(Interval { segment, bucket, mut end }) = self.interval(cursor) else {
                return (0, visited);
            };
            let last = bucket + 1 == segment.home();
            if segment.is_volatile() {
                visited += self.sweep_home(segment, bucket, &mut visit, &mut removed);
                if last {
                    let any = (0..segment.buckets()).any(|index| segment.bucket(index).is_volatile());
                    segment.set_volatile(any);
                }
            } else {
                // The whole rest of the segment at once.
                let width = 1u64 << (POSITION_BITS - u32::from(segment.depth()));
                end = ((cursor & !(width - 1)) + width) & POSITION_MASK;
            }
            passed += 1;
            // What a sweep takes out seldom leaves a count that `shrink` looks at.
            if self.may_resize && (end == 0 || !segment.is_volatile() || last) {
                self.shrink_segment(cursor << (64 - POSITION_BITS));
            }
            if end == 0 || visited + passed / BUCKETS_PER_ITEM >= budget {
                return (end, visited);
            }
            cursor = end;
        }
    }

    /// Visits what may expire of one home bucket, wherever it lives; answers how many. By homes and not
    /// by buckets: a step may end with a shrinking, which may move an item to a bucket in front of the
    /// cursor, but never its home.
    fn sweep_home(
        &mut self,
        segment: Segment,
        home: usize,
        visit: &mut impl FnMut(&mut T) -> Sweep,
        removed: &mut impl FnMut(T),
    ) -> usize {
        let (has_next, has_stash) = (segment.bucket(home).has_next(), segment.bucket(home).has_stash());
        let mut visited = self.sweep_bucket(segment, home, home, visit, removed);
        if has_next {
            visited += self.sweep_bucket(segment, segment.next(home), home, visit, removed);
        }
        if has_stash {
            for index in segment.home()..segment.buckets() {
                visited += self.sweep_bucket(segment, index, home, visit, removed);
            }
        }
        visited
    }

    /// Visits what may expire in one bucket and has this home; answers how many.
    fn sweep_bucket(
        &mut self,
        segment: Segment,
        index: usize,
        home: usize,
        visit: &mut impl FnMut(&mut T) -> Sweep,
        removed: &mut impl FnMut(T),
    ) -> usize {
        if !segment.bucket(index).is_volatile() {
            return 0;
        }
        prefetch(segment.bucket(index));
        let (mut visited, mut left) = (0, 0);
        for slot in segment.bucket(index).used() {
            let at = Slot { bucket: index, slot };
            // SAFETY: a used slot owns a live item, which nothing changes during this look.
            let view = || unsafe { T::view(segment.bucket(index).pointer(slot)) };
            if !T::is_volatile(view()) {
                continue;
            }
            if home_index(self.hasher.hash_of(view()), segment.depth(), segment.home()) != home {
                left += 1;
                continue;
            }
            visited += 1;
            let item = segment.bucket(index).pointer(slot);
            match self.change(&mut Found { segment, home, at, item }, &mut *visit) {
                Sweep::Keep => left += usize::from(T::is_volatile(view())),
                Sweep::Remove => removed(self.take(segment, at, home)),
            }
        }
        segment.bucket_mut(index).set_volatile(left > 0);
        visited
    }

    /// Shows items and their access clocks from about position `from` on, round and round the table, to
    /// `visit` until it answers false or all were shown once; with `volatile_only` only those that may
    /// expire. Nearby items are strangers to each other, so from a random position this is a sample.
    pub fn sample(
        &self,
        from: u64,
        volatile_only: bool,
        mut visit: impl FnMut(T::Ref<'_>, u32) -> bool,
    ) -> SampleWalk {
        /// A walk past so many segments was a long one.
        const LONG: usize = 16;
        let hash = from << (64 - POSITION_BITS);
        let mut index = self.index(hash);
        let Some(&first) = self.directory.get(index) else { return SampleWalk::default() };
        // Positions wrap, so the walk may come back to the buckets in front of the one it began with.
        let mut bucket = home_index(hash, first.depth(), first.home());
        let (mut segments, mut shown) = (0, 0);
        while segments <= self.directory.len() && shown < self.len {
            let entry = self.directory[index];
            let segment = entry.segment();
            let buckets = if volatile_only && !segment.is_volatile() { 0 } else { segment.buckets() };
            while bucket < buckets {
                let line = segment.bucket(bucket);
                if !volatile_only || line.is_volatile() {
                    for slot in line.used() {
                        // SAFETY: a used slot owns a live item, which isn't changed while `self` is borrowed.
                        let item = unsafe { T::view(line.pointer(slot)) };
                        shown += 1;
                        if volatile_only && !T::is_volatile(item) {
                            continue;
                        }
                        let clock = if self.has_clocks { segment.clock(Slot { bucket, slot }) } else { 0 };
                        if !visit(item, clock) {
                            let end = (index as u64) << 1 << (63 - self.depth) >> (64 - POSITION_BITS);
                            return SampleWalk { end, is_long: segments > LONG };
                        }
                    }
                }
                bucket += 1;
            }
            bucket = 0;
            segments += 1;
            index = (index & !(self.run(entry) - 1)) + self.run(entry);
            if index >= self.directory.len() {
                index = 0;
            }
        }
        SampleWalk { end: 0, is_long: segments > LONG }
    }

    /// All items, in no order that means anything.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, T, H> {
        self.iter_from(0)
    }

    /// All items from about position `from` on.
    pub(super) fn iter_from(&self, from: u64) -> Iter<'_, T, H> {
        let index = self.index((from & POSITION_MASK) << (64 - POSITION_BITS));
        let mut iter = Iter { table: self, entry: index, bucket: 0, slot: 0, left: self.len };
        if let Some(&entry) = self.directory.get(index) {
            iter.entry = index & !(self.run(entry) - 1);
            prefetch(entry.segment().bucket(0));
        }
        iter
    }
}

/// Asks the CPU for the items of the next buckets, while those of `at` are being used: each time for what
/// the time before has brought the address of.
#[inline]
fn fetch_ahead<T: Thin>(segment: Segment, at: usize) {
    each::<T>(segment, at + 1, |item| T::prefetch_far(item));
    each::<T>(segment, at + 2, |item| T::prefetch_body(item));
    if at + 3 < segment.buckets() {
        prefetch(segment.bucket(at + 3));
    }
}

#[inline]
fn each<T: Thin>(segment: Segment, bucket: usize, look: impl Fn(T::Ref<'_>)) {
    if bucket < segment.buckets() {
        let bucket = segment.bucket(bucket);
        for slot in bucket.used() {
            // SAFETY: a used slot owns a live item, which isn't changed while a walk borrows the table.
            look(unsafe { T::view(bucket.pointer(slot)) });
        }
    }
}

/// Asks the CPU for the heads of all items of a bucket.
fn prefetch(bucket: &Bucket) {
    for slot in bucket.used() {
        record::prefetch_key(bucket.pointer(slot).as_ptr());
    }
}

impl<'a, T: Thin, H: HashOf<T>> IntoIterator for &'a Table<T, H> {
    type Item = (T::Ref<'a>, u32);
    type IntoIter = Iter<'a, T, H>;

    fn into_iter(self) -> Iter<'a, T, H> {
        self.iter()
    }
}

/// The items of a table, each with its access clock (0 without clocks).
pub struct Iter<'a, T: Thin, H> {
    table: &'a Table<T, H>,
    entry: usize,
    bucket: usize,
    slot: usize,
    left: usize,
}

impl<'a, T: Thin, H: HashOf<T>> Iterator for Iter<'a, T, H> {
    type Item = (T::Ref<'a>, u32);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = *self.table.directory.get(self.entry)?;
            let segment = entry.segment();
            let bucket = segment.bucket(self.bucket);
            if let Some(slot) = bucket.used().find(|&slot| slot >= self.slot) {
                self.slot = slot + 1;
                self.left = self.left.saturating_sub(1);
                let clock =
                    if self.table.has_clocks { segment.clock(Slot { bucket: self.bucket, slot }) } else { 0 };
                // SAFETY: a used slot owns a live item; the answer borrows the table.
                return Some((unsafe { T::view(bucket.pointer(slot)) }, clock));
            }
            self.slot = 0;
            self.bucket += 1;
            if self.bucket == segment.buckets() {
                self.bucket = 0;
                self.entry += self.table.run(entry);
            }
            if let Some(entry) = self.table.directory.get(self.entry) {
                fetch_ahead::<T>(entry.segment(), self.bucket);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
