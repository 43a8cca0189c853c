//! A segment: the buckets of one interval of hash space, in one allocation behind a header line.
//!
//! An item's home bucket follows from the 48 high bits of its hash; if it is full the item goes to
//! the next bucket, then to the stash, a few extra buckets that hang on the header. With access
//! clocks enabled there is a `u32` per slot beside the buckets, in an allocation of its own, so that
//! updating a clock never dirties a bucket. A segment doesn't own its items: the table does.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::num::NonZero;
use std::ptr::{self, NonNull};

use super::bucket::{Bucket, Place, SLOTS};
use crate::structure::record;

/// Bits of the hash that decide positions, so that a position is a cursor that fits 48 bits.
pub(super) const POSITION_BITS: u32 = 48;
const UNUSED_BITS: u32 = 64 - POSITION_BITS;

/// Buckets by which the stash grows from its second growth on.
const STASH_STEP: usize = 2;

/// The home bucket of `hash` in a segment of `home` buckets at `depth`: the bits below the directory's
/// share, spread evenly and in order.
#[inline]
pub(super) fn home_index(hash: u64, depth: u8, home: usize) -> usize {
    let position = ((hash >> UNUSED_BITS) << UNUSED_BITS << depth) >> UNUSED_BITS;
    ((position * home as u64) >> POSITION_BITS) as usize
}

/// The bucket that takes the overflow of bucket `at`, of `home` buckets.
#[inline]
pub(super) fn next_of(at: usize, home: usize) -> usize {
    if at + 1 == home { 0 } else { at + 1 }
}

#[repr(C, align(64))]
struct Header {
    stash: *mut Bucket,
    clocks: *mut u32,
    len: u32,
    stash_len: u32,
    home: u16,
    depth: u8,
    volatile: bool,
}

const LINE: usize = size_of::<Bucket>();
const _: () = assert!(size_of::<Header>() == LINE && LINE == 64);

/// Where a slot is: a bucket (the stash's count on from the home buckets) and a slot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) bucket: usize,
    pub(super) slot: usize,
}

/// A live segment. A plain pointer, copied freely: the table that made it keeps it alive, and lends
/// it under its own borrow rules (a change needs `&mut Table`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment(NonNull<Header>);

fn layout_of<T>(count: usize, align: usize) -> Layout {
    let bytes = count.checked_mul(size_of::<T>()).expect("a segment is far smaller than memory");
    Layout::from_size_align(bytes, align).expect("a segment is far smaller than memory")
}

fn zeroed(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0);
    // SAFETY: the layout has a size, as just checked.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

// Each method relies on this: `self.0` points to a live header with `home` buckets behind it in the
// same allocation, `stash_len` buckets at `stash`, and, if `clocks` isn't null, a clock for each of
// their slots. `new` establishes it, `grow_stash` and `enable_clocks` keep it, `free` (unsafe) ends it.
impl Segment {
    /// An empty segment of `home` buckets.
    pub(super) fn new(home: usize, depth: u8, with_clocks: bool) -> Self {
        assert!((1..=usize::from(u8::MAX)).contains(&home));
        let at = zeroed(layout_of::<Bucket>(home + 1, LINE)).cast::<Header>();
        // SAFETY: the block is new, aligned to a line and longer than a header.
        unsafe {
            at.write(Header {
                stash: ptr::null_mut(),
                clocks: ptr::null_mut(),
                len: 0,
                stash_len: 0,
                home: home as u16,
                depth,
                volatile: false,
            });
        }
        let segment = Self(at);
        if with_clocks {
            segment.enable_clocks(0);
        }
        segment
    }

    /// Frees the memory, not the items.
    ///
    /// # Safety
    /// No copy of this handle may be used afterwards.
    pub(super) unsafe fn free(self) {
        let (home, stash_len) = (self.home(), self.stash_len());
        // SAFETY: each block goes back with the layout it was made with; see the note on the impl.
        unsafe {
            let (stash, clocks) = ((*self.0.as_ptr()).stash, (*self.0.as_ptr()).clocks);
            if !stash.is_null() {
                dealloc(stash.cast(), layout_of::<Bucket>(stash_len, LINE));
            }
            if !clocks.is_null() {
                dealloc(clocks.cast(), layout_of::<u32>((home + stash_len) * SLOTS, align_of::<u32>()));
            }
            dealloc(self.0.as_ptr().cast(), layout_of::<Bucket>(home + 1, LINE));
        }
    }

    /// The bytes of all its allocations.
    pub(super) fn heap_bytes(self) -> usize {
        let buckets = self.buckets();
        let clocks = if self.has_clocks() { buckets * SLOTS * size_of::<u32>() } else { 0 };
        (buckets + 1) * LINE + clocks
    }

    pub(super) fn address(self) -> NonZero<usize> {
        self.0.expose_provenance()
    }

    /// The segment at an address that `address` gave.
    ///
    /// # Safety
    /// That segment must not have been freed.
    #[inline]
    pub(super) unsafe fn from_address(address: NonZero<usize>) -> Self {
        Self(NonNull::with_exposed_provenance(address))
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        // SAFETY: see the note on the impl; a copy is read, no reference outlives this line.
        unsafe { (*self.0.as_ptr()).len as usize }
    }

    #[inline]
    pub(super) fn home(self) -> usize {
        // SAFETY: as in `len`.
        unsafe { usize::from((*self.0.as_ptr()).home) }
    }

    #[inline]
    pub(super) fn depth(self) -> u8 {
        // SAFETY: as in `len`.
        unsafe { (*self.0.as_ptr()).depth }
    }

    #[inline]
    pub(super) fn stash_len(self) -> usize {
        // SAFETY: as in `len`.
        unsafe { (*self.0.as_ptr()).stash_len as usize }
    }

    /// All buckets, the stash's too.
    #[inline]
    pub(super) fn buckets(self) -> usize {
        self.home() + self.stash_len()
    }

    pub(super) fn is_volatile(self) -> bool {
        // SAFETY: as in `len`.
        unsafe { (*self.0.as_ptr()).volatile }
    }

    pub(super) fn set_volatile(self, volatile: bool) {
        // SAFETY: as in `len`; the table calls this under `&mut`.
        unsafe { (*self.0.as_ptr()).volatile = volatile };
    }

    pub(super) fn has_clocks(self) -> bool {
        // SAFETY: as in `len`.
        unsafe { !(*self.0.as_ptr()).clocks.is_null() }
    }

    fn add_len(self, by: i32) {
        // SAFETY: as in `len`; the table calls this under `&mut`.
        unsafe {
            let len = &mut (*self.0.as_ptr()).len;
            *len = len.checked_add_signed(by).expect("the count follows the items");
        }
    }

    #[inline]
    fn bucket_at(self, index: usize) -> *mut Bucket {
        let home = self.home();
        if index < home {
            // SAFETY: home buckets 0 to `home` follow the header in its allocation.
            unsafe { self.0.as_ptr().cast::<Bucket>().add(1 + index) }
        } else {
            assert!(index - home < self.stash_len(), "a segment has no such bucket");
            // SAFETY: the stash holds `stash_len` buckets, as just checked.
            unsafe { (*self.0.as_ptr()).stash.add(index - home) }
        }
    }

    /// The bucket at `index`.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub(super) fn bucket<'a>(self, index: usize) -> &'a Bucket {
        // SAFETY: `bucket_at` answers a live bucket; the table keeps it unchanged while it lends it.
        unsafe { &*self.bucket_at(index) }
    }

    /// The home bucket at `index`, without touching the header's cache line.
    ///
    /// # Safety
    /// `index` must be less than `home()`.
    #[inline]
    pub(super) unsafe fn home_bucket<'a>(self, index: usize) -> &'a Bucket {
        debug_assert!(index < self.home());
        // SAFETY: home buckets 0 to `home` follow the header in its allocation.
        unsafe { &*self.0.as_ptr().cast::<Bucket>().add(1 + index) }
    }

    /// The bucket at `index`, to change.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub(super) fn bucket_mut<'a>(self, index: usize) -> &'a mut Bucket {
        // SAFETY: as in `bucket`; the table calls this under `&mut`, one bucket at a time.
        unsafe { &mut *self.bucket_at(index) }
    }

    #[inline]
    fn clock_at(self, at: Slot) -> Option<*mut u32> {
        assert!(at.bucket < self.buckets() && at.slot < SLOTS);
        // SAFETY: as in `len`.
        let clocks = unsafe { (*self.0.as_ptr()).clocks };
        // SAFETY: there is a clock for each slot of each bucket, and the slot was just checked.
        (!clocks.is_null()).then(|| unsafe { clocks.add(at.bucket * SLOTS + at.slot) })
    }

    /// Asks the CPU for the header, which says where the clocks are.
    #[inline]
    pub(super) fn prefetch_header(self) {
        record::prefetch(self.0.as_ptr().cast());
    }

    /// Asks the CPU for the access clock of a slot of a home bucket, once the header is there.
    #[inline]
    pub(super) fn prefetch_clock(self, at: Slot) {
        if let Some(clock) = self.clock_at(at) {
            record::prefetch(clock.cast_const().cast());
        }
    }

    /// The access clock of a slot; 0 without clocks.
    #[inline]
    pub(super) fn clock(self, at: Slot) -> u32 {
        // SAFETY: `clock_at` answers a live clock.
        self.clock_at(at).map_or(0, |clock| unsafe { clock.read() })
    }

    /// Sets the access clock of a slot; without clocks nothing happens.
    #[inline]
    pub(super) fn set_clock(self, at: Slot, to: u32) {
        if let Some(clock) = self.clock_at(at) {
            // SAFETY: `clock_at` answers a live clock; the table calls this under `&mut`.
            unsafe { clock.write(to) };
        }
    }

    /// Moves the access clock of a slot on with `tick`; without clocks nothing happens.
    #[inline]
    pub(super) fn tick(self, at: Slot, tick: impl FnOnce(u32) -> u32) {
        if let Some(clock) = self.clock_at(at) {
            // SAFETY: as in `set_clock`.
            unsafe { clock.write(tick(clock.read())) };
        }
    }

    /// Adds clocks, all `clock`, if there are none yet.
    pub(super) fn enable_clocks(self, clock: u32) {
        if !self.has_clocks() {
            let slots = self.buckets() * SLOTS;
            let clocks = zeroed(layout_of::<u32>(slots, align_of::<u32>())).as_ptr().cast::<u32>();
            // SAFETY: the block is new and holds `slots` clocks; for the header as in `len`, the table
            // calls this under `&mut`.
            unsafe {
                for slot in 0..slots {
                    clocks.add(slot).write(clock);
                }
                (*self.0.as_ptr()).clocks = clocks;
            }
        }
    }

    /// Frees the clocks, if there are any.
    pub(super) fn disable_clocks(self) {
        // SAFETY: as in `len`; the block goes back with the layout it was made with.
        unsafe {
            let clocks = std::mem::replace(&mut (*self.0.as_ptr()).clocks, ptr::null_mut());
            if !clocks.is_null() {
                dealloc(clocks.cast(), layout_of::<u32>(self.buckets() * SLOTS, align_of::<u32>()));
            }
        }
    }

    /// Adds buckets to the stash.
    fn grow_stash(self) {
        let (home, old) = (self.home(), self.stash_len());
        // A stash that outgrew its usual few (the table may not split now) grows by doubling.
        let new = old + if old < STASH_STEP { 1 } else { STASH_STEP.max(old / 4 * 2) };
        let header = self.0.as_ptr();
        // SAFETY: the old blocks go back, or are resized, with the layouts they were made with; the
        // new buckets and clocks are zeroed before anyone reads them. See the note on the impl.
        unsafe {
            let stash = if old == 0 {
                zeroed(layout_of::<Bucket>(new, LINE)).as_ptr()
            } else {
                let layout = layout_of::<Bucket>(new, LINE);
                let raw = realloc((*header).stash.cast(), layout_of::<Bucket>(old, LINE), layout.size());
                if raw.is_null() {
                    handle_alloc_error(layout);
                }
                ptr::write_bytes(raw.add(old * LINE), 0, (new - old) * LINE);
                raw
            };
            (*header).stash = stash.cast();
            if !(*header).clocks.is_null() {
                let (was, now) = ((home + old) * SLOTS, (home + new) * SLOTS);
                let layout = layout_of::<u32>(now, align_of::<u32>());
                let old_layout = layout_of::<u32>(was, align_of::<u32>());
                let raw = realloc((*header).clocks.cast(), old_layout, layout.size()).cast::<u32>();
                if raw.is_null() {
                    handle_alloc_error(layout);
                }
                ptr::write_bytes(raw.add(was), 0, now - was);
                (*header).clocks = raw;
            }
            (*header).stash_len = new as u32;
        }
    }

    /// A free slot for an item whose home is `home`; the stash may grow to `stash_limit` buckets.
    fn free_slot(self, home: usize, stash_limit: usize) -> Option<(Slot, Place)> {
        if let Some(slot) = self.bucket(home).free_slot() {
            return Some((Slot { bucket: home, slot }, Place::Home));
        }
        let next = self.next(home);
        if next != home
            && let Some(slot) = self.bucket(next).free_slot()
        {
            return Some((Slot { bucket: next, slot }, Place::Next));
        }
        let first = self.home();
        for bucket in first..self.buckets() {
            if let Some(slot) = self.bucket(bucket).free_slot() {
                return Some((Slot { bucket, slot }, Place::Stash));
            }
        }
        if self.stash_len() >= stash_limit {
            return None;
        }
        let bucket = self.buckets();
        self.grow_stash();
        Some((Slot { bucket, slot: 0 }, Place::Stash))
    }

    /// The bucket that takes the overflow of `home`: the one behind it, or the first.
    #[inline]
    pub(super) fn next(self, home: usize) -> usize {
        next_of(home, self.home())
    }

    /// Puts an item into the segment, unless that would take more than `stash_limit` stash buckets.
    /// Answers the slot.
    pub(super) fn place(
        self,
        home: usize,
        tag: u8,
        item: NonNull<u8>,
        is_volatile: bool,
        stash_limit: usize,
    ) -> Option<Slot> {
        let (at, place) = self.free_slot(home, stash_limit)?;
        if place != Place::Home {
            self.bucket_mut(home).count_out(place);
        }
        let bucket = self.bucket_mut(at.bucket);
        bucket.put(at.slot, tag, item);
        if is_volatile {
            bucket.set_volatile(true);
            self.set_volatile(true);
        }
        self.set_clock(at, 0);
        self.add_len(1);
        Some(at)
    }

    /// Where an item of home `home` is, given the bucket that holds it.
    pub(super) fn place_of(self, home: usize, bucket: usize) -> Place {
        if bucket == home {
            Place::Home
        } else if bucket < self.home() {
            Place::Next
        } else {
            Place::Stash
        }
    }

    /// Empties a used slot whose item has the home bucket `home`; the item is the caller's now.
    pub(super) fn take(self, at: Slot, home: usize) -> NonNull<u8> {
        let place = self.place_of(home, at.bucket);
        let bucket = self.bucket_mut(at.bucket);
        let item = bucket.pointer(at.slot);
        bucket.clear(at.slot);
        if place != Place::Home {
            self.bucket_mut(home).count_back(place);
        }
        self.add_len(-1);
        item
    }
}
