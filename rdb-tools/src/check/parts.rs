//! Whether all parts of one small value differ, by their hashes: for who would rather say "not sure" than grow.
//!
//! The table is made for as many parts as the value declares. It is never cleared: what it has of former values
//! bears their number.

/// More parts than these are for [`super::distinct::Distinct`].
const MOST: u64 = 1 << 16;
/// The low bits of a slot are the number of the value; the rest is of the hash.
const NUMBER: u64 = 0xffff;

/// Hashes of the parts of a value.
#[derive(Debug, Default)]
pub(super) struct Parts {
    slots: Vec<u64>,
    mask: usize,
    /// The number of the value, from 1 on.
    number: u64,
    left: u64,
}

impl Parts {
    /// A value with so many parts follows; `None` if those are too many.
    #[inline]
    pub(super) fn begin(&mut self, count: u64) -> Option<()> {
        if count > MOST {
            return None;
        }
        let slots = (2 * count as usize).next_power_of_two().max(2);
        if self.slots.len() < slots || self.number == NUMBER {
            self.renew(slots);
        }
        (self.mask, self.left) = (slots - 1, count);
        self.number += 1;
        Some(())
    }

    #[cold]
    fn renew(&mut self, slots: usize) {
        self.slots = vec![0; slots.max(self.slots.len())];
        self.number = 0;
    }

    /// Whether fewer parts have come than were declared.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.left > 0
    }

    /// Adds the hash of a part. False if it may be there already, or if there are more parts than were declared.
    #[inline]
    pub(super) fn add(&mut self, hash: u64) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        let slot = hash & !NUMBER | self.number;
        let mut at = (hash >> 32) as usize & self.mask;
        // Half of the slots are free, so an end is found.
        while let Some(there) = self.slots.get_mut(at) {
            if *there & NUMBER != self.number {
                *there = slot;
                return true;
            }
            if *there == slot {
                return false;
            }
            at = (at + 1) & self.mask;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::distinct::Hasher;
    use super::{MOST, Parts};

    #[test]
    fn parts_differ_or_not() {
        let hasher = Hasher::random();
        let hash = |i: u64| hasher.part(&i.to_le_bytes());
        let mut parts = Parts::default();
        for round in 0..3 {
            for count in [0, 1, 2, 3, 100, 5000, 7] {
                parts.begin(count).expect("few");
                assert!((0..count).all(|i| parts.add(hash(i))), "{count} in round {round}");
                // As many as were declared.
                assert!(!parts.add(hash(count)));
                parts.begin(count + 1).expect("few");
                assert!((0..count).all(|i| parts.add(hash(i))));
                assert_eq!(parts.add(hash(count / 2)), count == 0);
            }
        }
        assert!(parts.begin(MOST).is_some() && parts.begin(MOST + 1).is_none());
    }

    #[test]
    fn what_was_in_former_values_is_forgotten() {
        let mut parts = Parts::default();
        for _ in 0..200_000 {
            parts.begin(2).expect("few");
            assert!(parts.add(1 << 40) && parts.add(2 << 40));
        }
    }
}
