//! One bucket: 64 bytes, one cache line, nine slots.
//!
//! `meta u8 | 9 x tag u8 | 9 x pointer u48`. A tag is 8 bits of the item's hash, never 0: 0 is a free
//! slot. `meta` says what a lookup that ends here must still look at: bit 0 "may hold an item that
//! expires", bits 1-3 how many items of this home live in the next bucket, bits 4-7 how many in the
//! stash. A count that reached its top stays there, so it is never below the truth.
#![allow(unsafe_code)]

use std::num::NonZero;
use std::ptr::NonNull;

/// Slots in a bucket.
pub(super) const SLOTS: usize = 9;

const POINTER_BITS: u32 = 48;
const POINTER_BYTES: usize = 6;
const FIRST_POINTER: usize = 1 + SLOTS;
const VOLATILE: u8 = 1;
const NEXT_ONE: u8 = 1 << 1;
const NEXT: u8 = 7 << 1;
const STASH_ONE: u8 = 1 << 4;
const STASH: u8 = 15 << 4;

/// The tag of a hash: its low byte, 0 moved to 1.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// A set of slots; iterating gives their indexes, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Slots(u32);

impl Slots {
    #[inline]
    pub(super) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize)
    }
}

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let first = self.first()?;
        self.0 &= self.0 - 1;
        Some(first)
    }
}

/// Where an item of a home bucket lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the bucket itself.
    Home,
    /// In the one behind it, for want of a slot.
    Next,
    /// In the stash of the segment.
    Stash,
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    bytes: [u8; 64],
}

impl Bucket {
    #[cfg(test)]
    const EMPTY: Self = Self { bytes: [0; 64] };

    /// The slots that carry `tag`.
    #[inline]
    pub(super) fn matches(&self, tag: u8) -> Slots {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{
                __m128i, _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8,
            };
            // SAFETY: a bucket is 64 bytes, aligned to 64, so its first 16 are a legal aligned load;
            // SSE2 belongs to x86-64.
            let mask = unsafe {
                let line = _mm_load_si128(self.bytes.as_ptr().cast::<__m128i>());
                _mm_movemask_epi8(_mm_cmpeq_epi8(line, _mm_set1_epi8(tag as i8)))
            };
            Slots((mask as u32 >> 1) & ((1 << SLOTS) - 1))
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let mut mask = 0u32;
            for slot in 0..SLOTS {
                mask |= u32::from(self.bytes[1 + slot] == tag) << slot;
            }
            Slots(mask)
        }
    }

    /// The slots that hold an item.
    #[inline]
    pub(super) fn used(&self) -> Slots {
        Slots(!self.matches(0).0 & ((1 << SLOTS) - 1))
    }

    /// The first free slot.
    #[inline]
    pub(super) fn free_slot(&self) -> Option<usize> {
        self.matches(0).first()
    }

    #[inline]
    pub(super) fn is_used(&self, slot: usize) -> bool {
        self.bytes[1 + slot] != 0
    }

    /// The pointer in `slot`, or `None` if the slot never held one.
    #[inline]
    fn address(&self, slot: usize) -> Option<NonZero<usize>> {
        // One load of eight bytes that ends where the pointer ends; the two in front are shifted out.
        let at = FIRST_POINTER - 2 + slot * POINTER_BYTES;
        let bytes = *self.bytes[at..].first_chunk::<8>().expect("the last pointer ends with the bucket");
        NonZero::new((u64::from_le_bytes(bytes) >> (64 - POINTER_BITS)) as usize)
    }

    /// The pointer in the used slot `slot`.
    #[inline]
    pub(super) fn pointer(&self, slot: usize) -> NonNull<u8> {
        debug_assert!(self.is_used(slot));
        let address = self.address(slot).expect("a used slot holds a pointer");
        NonNull::with_exposed_provenance(address)
    }

    /// Fills a free slot.
    ///
    /// # Panics
    /// If the address has more than 48 bits.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, tag: u8, item: NonNull<u8>) {
        debug_assert!(!self.is_used(slot) && tag != 0);
        self.bytes[1 + slot] = tag;
        self.set_pointer(slot, item);
    }

    /// Changes the pointer of a slot.
    ///
    /// # Panics
    /// If the address has more than 48 bits.
    #[inline]
    pub(super) fn set_pointer(&mut self, slot: usize, item: NonNull<u8>) {
        let address = item.expose_provenance().get() as u64;
        assert!(address >> POINTER_BITS == 0, "user addresses have 48 bits");
        let at = FIRST_POINTER + slot * POINTER_BYTES;
        self.bytes[at..at + POINTER_BYTES].copy_from_slice(&address.to_le_bytes()[..POINTER_BYTES]);
    }

    #[inline]
    pub(super) fn clear(&mut self, slot: usize) {
        self.bytes[1 + slot] = 0;
    }

    #[inline]
    pub(super) fn is_volatile(&self) -> bool {
        self.bytes[0] & VOLATILE != 0
    }

    #[inline]
    pub(super) fn set_volatile(&mut self, volatile: bool) {
        self.bytes[0] = self.bytes[0] & !VOLATILE | u8::from(volatile);
    }

    #[inline]
    pub(super) fn has_next(&self) -> bool {
        self.bytes[0] & NEXT != 0
    }

    #[inline]
    pub(super) fn has_stash(&self) -> bool {
        self.bytes[0] & STASH != 0
    }

    /// Whether any item of this home lives elsewhere.
    #[inline]
    pub(super) fn has_overflow(&self) -> bool {
        self.bytes[0] & (NEXT | STASH) != 0
    }

    /// How many items went next door and to the stash, as far as it is known.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (usize::from((self.bytes[0] & NEXT) / NEXT_ONE), usize::from(self.bytes[0] / STASH_ONE))
    }

    /// Notes that an item of this home went to `place`.
    pub(super) fn count_out(&mut self, place: Place) {
        let meta = &mut self.bytes[0];
        match place {
            Place::Next if *meta & NEXT != NEXT => *meta += NEXT_ONE,
            Place::Stash if *meta & STASH != STASH => *meta += STASH_ONE,
            _ => {}
        }
    }

    /// Notes that an item of this home left `place`. A count at its top isn't known any more.
    pub(super) fn count_back(&mut self, place: Place) {
        let meta = &mut self.bytes[0];
        match place {
            Place::Next if *meta & NEXT != NEXT && *meta & NEXT != 0 => *meta -= NEXT_ONE,
            Place::Stash if *meta & STASH != STASH && *meta & STASH != 0 => *meta -= STASH_ONE,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Place, SLOTS, tag_of};
    use std::ptr::NonNull;

    #[test]
    fn slots_keep_their_items_apart() {
        assert_eq!(size_of::<Bucket>(), 64);
        let mut bucket = Bucket::EMPTY;
        let items: Vec<u8> = (0..SLOTS as u8).collect();
        for (slot, item) in items.iter().enumerate() {
            assert_eq!(bucket.free_slot(), Some(slot));
            bucket.put(slot, tag_of(slot as u64 % 3), NonNull::from(item));
        }
        assert!(bucket.free_slot().is_none());
        assert_eq!(bucket.matches(1).collect::<Vec<_>>(), [0, 1, 3, 4, 6, 7]);
        assert_eq!(bucket.matches(2).collect::<Vec<_>>(), [2, 5, 8]);
        for (slot, item) in items.iter().enumerate() {
            assert_eq!(bucket.pointer(slot), NonNull::from(item));
        }
        bucket.clear(4);
        assert_eq!(bucket.used().collect::<Vec<_>>(), [0, 1, 2, 3, 5, 6, 7, 8]);
    }

    #[test]
    fn counts_stick_at_their_top() {
        for (place, top) in [(Place::Next, 7), (Place::Stash, 15)] {
            let mut bucket = Bucket::EMPTY;
            bucket.set_volatile(true);
            for _ in 1..top {
                bucket.count_out(place);
            }
            for _ in 1..top {
                assert!(bucket.has_overflow());
                bucket.count_back(place);
            }
            assert!(!bucket.has_overflow());
            for _ in 0..top {
                bucket.count_out(place);
            }
            for _ in 0..100 {
                bucket.count_back(place);
            }
            assert!(bucket.has_overflow() && bucket.is_volatile());
            assert_eq!(bucket.has_next(), place == Place::Next);
            assert_eq!(bucket.has_stash(), place == Place::Stash);
        }
    }
}
