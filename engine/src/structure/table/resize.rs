//! How a table grows and shrinks: one segment at a time.
//!
//! Sizes of a segment in cache lines, its header among them, go 2, 3, 4, 6, 8, ... 32, 40, 48; the
//! next step is a split into two of 32. All of them are size classes of the allocator. A segment grows
//! when an item finds no slot in its home, its neighbour and a stash of a few buckets, which
//! happens at about 95 % fill; it shrinks far below that, so that nothing flaps. The step of 40
//! leaves tables half a byte a key smaller, for a tenth more work of an insertion; one of 56 on top
//! would save a quarter and cost as much again.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::bucket::{SLOTS, tag_of};
use super::segment::{POSITION_BITS, Segment, Slot, home_index};
use super::{Entry, HashOf, Table, Thin};
use crate::structure::record;

/// Lines of the first segment of a table.
const FIRST_LINES: usize = 2;
/// Lines of a segment after a split, and the least in a table of several segments.
const SPLIT_LINES: usize = 32;
/// A segment this big splits rather than grows. Twice as much was tried: it saves no memory, and the
/// longest insertions take twice as long.
const MAX_LINES: usize = 48;
/// Lines by which a segment grows from `SPLIT_LINES` on.
const LINES_STEP: usize = 8;
/// Segments are rebuilt or merged to at most this fill, in percent.
const SHRUNK_FILL: usize = 70;
/// A reserved table is built for this fill, in percent: segments vary by some percent around it.
const RESERVED_FILL: usize = 87;
/// A removal looks for sparseness when the count is a multiple of this: often enough to give memory
/// back, rarely enough to cost nothing.
const SHRINK_PERIOD: usize = 16;
/// A segment may be deeper than `log2(items)` less this, which no honest hash makes it.
const DEPTH_SLACK: u32 = 3;
/// Buckets ahead of the one being moved whose items are asked for.
const PREFETCH_BUCKETS: usize = 3;

/// Slots in the home buckets of a segment of `lines`.
const fn capacity(lines: usize) -> usize {
    (lines - 1) * SLOTS
}

/// The next size after `lines`: powers of two and what is halfway up to `SPLIT_LINES`, then even steps.
const fn next_lines(lines: usize) -> usize {
    if lines >= SPLIT_LINES {
        return lines + LINES_STEP;
    }
    let power = 1 << lines.ilog2();
    if lines >= power / 2 * 3 { power * 2 } else { power / 2 * 3 }
}

/// The smallest size that `len` items fill to at most `percent`.
fn fitting_lines(len: usize, percent: usize) -> usize {
    let mut lines = FIRST_LINES;
    while capacity(lines) * percent < len * 100 && lines < MAX_LINES {
        lines = next_lines(lines);
    }
    lines
}

/// Buckets that the stash of a segment may have.
fn stash_limit(home: usize, may_resize: bool) -> usize {
    if !may_resize {
        // Half as much again, so that a child that saves for long doesn't make lookups linear.
        home / 2 + 2
    } else if home == 1 {
        0
    } else {
        home.div_ceil(16)
    }
}

impl<T: Thin, H: HashOf<T>> Table<T, H> {
    /// Puts an absent item in, growing what must grow.
    pub(super) fn insert_at(&mut self, hash: u64, item: T) -> (Segment, Slot) {
        if self.directory.is_empty() {
            self.build(0, FIRST_LINES);
        }
        let item = item.into_raw();
        // SAFETY: the item is ours until it is in its slot, and unchanged.
        let is_volatile = T::is_volatile(unsafe { T::view(item) });
        let mut may_grow = true;
        loop {
            let entry = self.directory[self.index(hash)];
            let (segment, home) = (entry.segment(), home_index(hash, entry.depth(), entry.home()));
            let limit = if may_grow { stash_limit(entry.home(), self.may_resize) } else { usize::MAX };
            let before = segment.stash_len();
            if let Some(at) = segment.place(home, tag_of(hash), item, is_volatile, limit) {
                if segment.stash_len() != before {
                    self.count_stash(segment, before);
                }
                self.len += 1;
                return (segment, at);
            }
            may_grow = self.grow(hash);
        }
    }

    fn count_stash(&mut self, segment: Segment, before: usize) {
        let clocks = if self.has_clocks { SLOTS * size_of::<u32>() } else { 0 };
        self.heap_bytes += (segment.stash_len() - before) * (size_of::<super::bucket::Bucket>() + clocks);
    }

    fn new_segment(&mut self, lines: usize, depth: u8) -> Segment {
        let segment = Segment::new(lines - 1, depth, self.has_clocks);
        self.heap_bytes += segment.heap_bytes();
        segment
    }

    fn free_segment(&mut self, segment: Segment) {
        self.heap_bytes -= segment.heap_bytes();
        // SAFETY: the callers have taken the segment out of the directory, the only place of handles.
        unsafe { segment.free() };
    }

    /// Fills an empty directory with `2^depth` segments.
    fn build(&mut self, depth: u8, lines: usize) {
        assert!(self.directory.is_empty());
        self.depth = depth;
        self.deepest = 1 << depth;
        self.directory.reserve_exact(1 << depth);
        for _ in 0..1usize << depth {
            let segment = self.new_segment(lines, depth);
            self.directory.push(Entry::new(segment));
        }
    }

    /// Makes room for `items` in an empty table at once, so that filling it moves nothing. A table
    /// that holds something is left alone. The caller bounds a number that comes from outside.
    pub fn reserve(&mut self, items: usize) {
        if self.len != 0 || items == 0 {
            return;
        }
        self.clear_directory();
        let mut depth = 0u8;
        while capacity(MAX_LINES + LINES_STEP) * RESERVED_FILL < (items >> depth) * 100 {
            depth += 1;
        }
        let share = items.div_ceil(1 << depth);
        let lines = if depth == 0 && share <= capacity(SPLIT_LINES) {
            fitting_lines(share, RESERVED_FILL)
        } else {
            // One more than growth takes; all of them are size classes.
            (SPLIT_LINES..=MAX_LINES + LINES_STEP)
                .step_by(LINES_STEP)
                .find(|&lines| capacity(lines) * RESERVED_FILL >= share * 100)
                .unwrap_or(MAX_LINES + LINES_STEP)
        };
        self.build(depth, lines);
    }

    /// Frees the segments of an empty table.
    fn clear_directory(&mut self) {
        let mut index = 0;
        while index < self.directory.len() {
            let entry = self.directory[index];
            index += self.run(entry);
            self.free_segment(entry.segment());
        }
        self.directory = Vec::new();
        self.depth = 0;
        self.deepest = 0;
    }

    /// Moves every item of `from` to where `to` says, which is given the hash, and frees `from`.
    /// `from` must be out of the directory already.
    fn pour(&mut self, from: Segment, to: impl Fn(u64) -> Segment) {
        let buckets = from.buckets();
        let prefetch = |index: usize| {
            let bucket = from.bucket(index);
            bucket.used().for_each(|slot| record::prefetch_key(bucket.pointer(slot).as_ptr()));
        };
        (0..PREFETCH_BUCKETS.min(buckets)).for_each(prefetch);
        for index in 0..buckets {
            if index + PREFETCH_BUCKETS < buckets {
                prefetch(index + PREFETCH_BUCKETS);
            }
            let bucket = from.bucket(index);
            for slot in bucket.used() {
                let item = bucket.pointer(slot);
                self.pour_item(item, from.clock(Slot { bucket: index, slot }), &to);
            }
        }
        self.free_segment(from);
    }

    fn pour_item(&mut self, item: NonNull<u8>, clock: u32, to: impl Fn(u64) -> Segment) {
        // SAFETY: a used slot owns a live item; nothing changes it before it is in its new slot.
        let view = unsafe { T::view(item) };
        let hash = self.hasher.hash_of(view);
        let segment = to(hash);
        let home = home_index(hash, segment.depth(), segment.home());
        let before = segment.stash_len();
        let at = segment
            .place(home, tag_of(hash), item, T::is_volatile(view), usize::MAX)
            .expect("the stash has no limit here");
        if segment.stash_len() != before {
            self.count_stash(segment, before);
        }
        segment.set_clock(at, clock);
    }

    /// Points the run of entries that covers `index` at `depth` to `segment`.
    fn point(&mut self, index: usize, segment: Segment) {
        let run = 1usize << (self.depth - segment.depth());
        let first = index & !(run - 1);
        self.directory[first..first + run].fill(Entry::new(segment));
    }

    /// Makes the segment of `hash` bigger or splits it. Answers whether that was worth while; if not,
    /// the hashes of its items are too much alike, and the stash has to take them.
    fn grow(&mut self, hash: u64) -> bool {
        let index = self.index(hash);
        let old = self.directory[index].segment();
        let lines = old.home() + 1;
        if old.len() * 2 < capacity(lines) {
            return false;
        }
        if lines < MAX_LINES {
            let new = self.new_segment(next_lines(lines), old.depth());
            self.point(index, new);
            self.pour(old, |_| new);
            return true;
        }
        let depth = old.depth() + 1;
        if u32::from(depth) + DEPTH_SLACK > self.len.ilog2() || u32::from(depth) > POSITION_BITS / 2 + 8 {
            return false;
        }
        if depth > self.depth {
            self.double();
        }
        if depth == self.depth {
            self.deepest += 2;
        }
        let (low, high) = (self.new_segment(SPLIT_LINES, depth), self.new_segment(SPLIT_LINES, depth));
        let index = self.index(hash);
        let bit = 1usize << (self.depth - depth);
        self.point(index & !bit, low);
        self.point(index | bit, high);
        self.pour(old, |hash| if hash << (depth - 1) >> 63 == 0 { low } else { high });
        true
    }

    fn double(&mut self) {
        let len = self.directory.len();
        self.directory.reserve_exact(len);
        self.directory.resize(len * 2, self.directory[0]);
        // From the end, so that nothing is overwritten before it was read.
        for index in (0..len).rev() {
            let entry = self.directory[index];
            self.directory[index * 2..index * 2 + 2].fill(entry);
        }
        self.depth += 1;
        self.deepest = 0;
    }

    fn halve(&mut self) {
        self.directory = self.directory.iter().copied().step_by(2).collect();
        self.depth -= 1;
        // A segment of the new depth fills a run of one.
        self.deepest = self.directory.iter().filter(|entry| entry.depth() == self.depth).count();
    }

    /// Gives memory back after a removal at `hash`, if its segment has become sparse.
    pub(super) fn shrink(&mut self, hash: u64) {
        if self.may_resize {
            let len = self.directory[self.index(hash)].segment().len();
            if len.is_multiple_of(SHRINK_PERIOD) {
                self.shrink_segment(hash);
            }
        }
    }

    /// Rebuilds the segment of `hash` smaller, or merges it with its twin, if that is worth it.
    pub(super) fn shrink_segment(&mut self, hash: u64) {
        if self.len == 0 {
            return self.clear_directory();
        }
        let index = self.index(hash);
        let old = self.directory[index].segment();
        let lines = old.home() + 1;
        if old.depth() > 0 {
            let run = self.run(self.directory[index]);
            let twin = self.directory[index & !(run - 1) ^ run].segment();
            if twin.depth() == old.depth()
                && (old.len() + twin.len()) * 100 <= capacity(MAX_LINES) * SHRUNK_FILL
            {
                return self.merge(index, old, twin);
            }
        }
        let least = if self.depth > 0 { SPLIT_LINES } else { FIRST_LINES };
        let fitting = fitting_lines(old.len(), SHRUNK_FILL).max(least);
        // Two steps at least: one would be undone by few insertions.
        if fitting * 4 <= lines * 3 {
            let new = self.new_segment(fitting, old.depth());
            self.point(index, new);
            self.pour(old, |_| new);
        }
    }

    fn merge(&mut self, index: usize, old: Segment, twin: Segment) {
        let lines = fitting_lines(old.len() + twin.len(), SHRUNK_FILL).max(SPLIT_LINES);
        if old.depth() == self.depth {
            self.deepest -= 2;
        }
        let new = self.new_segment(lines, old.depth() - 1);
        self.point(index, new);
        self.pour(old, |_| new);
        self.pour(twin, |_| new);
        while self.depth > 0 && self.deepest == 0 {
            self.halve();
        }
    }

    /// Looks at the segment at `cursor`, a position as `scan` has, and gives back memory or breaks up
    /// an overgrown stash, as far as removals and insertions didn't get to it while resizing was not
    /// allowed. Answers the position behind it, 0 at the end. At most one segment's work.
    pub fn tidy(&mut self, cursor: u64) -> u64 {
        if !self.may_resize || self.directory.is_empty() {
            return 0;
        }
        let hash = (cursor & ((1 << POSITION_BITS) - 1)) << (64 - POSITION_BITS);
        let entry = self.directory[self.index(hash)];
        let width = 1u64 << (POSITION_BITS - u32::from(entry.depth()));
        let end = (cursor & ((1 << POSITION_BITS) - 1) & !(width - 1)) + width;
        if entry.segment().stash_len() > stash_limit(entry.home(), true) {
            self.grow(hash);
        } else {
            self.shrink_segment(hash);
        }
        if end >> POSITION_BITS == 0 { end } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_LINES, MAX_LINES, fitting_lines, next_lines};
    use crate::base::size_class::size_class;

    #[test]
    fn sizes_are_size_classes() {
        let mut lines = FIRST_LINES;
        let mut seen = Vec::new();
        while lines <= MAX_LINES {
            assert_eq!(size_class(lines * 64), lines * 64);
            seen.push(lines);
            lines = next_lines(lines);
        }
        assert_eq!(seen, [2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48]);
        assert_eq!(next_lines(40), 48);
        assert_eq!(fitting_lines(10, 100), 3);
    }
}
