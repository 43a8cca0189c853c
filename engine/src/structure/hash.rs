//! The hash of keys, fields and members: SipHash-1-3 under a secret seed.
//!
//! Keyed because the bytes come from strangers, who could otherwise choose them to collide. The
//! seed comes from the owner; nothing here asks for randomness. Written out here because keys are short
//! and come in one piece, which makes it a third faster than hashers that take pieces. Algorithm: J.-P.
//! Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF"; the `siphasher` crate is the witness.

use super::record::{Record, RecordRef};
use super::table::HashOf;

/// The key of the hash. One random seed serves all the tables of a process; the default one is
/// known to everyone and for tests and tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashSeed(pub u64, pub u64);

impl From<[u64; 2]> for HashSeed {
    fn from(words: [u64; 2]) -> Self {
        Self(words[0], words[1])
    }
}

impl HashSeed {
    /// The hash of `bytes` under this seed.
    #[must_use]
    #[inline]
    pub fn hash(self, bytes: &[u8]) -> u64 {
        let mut state = State([
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ]);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state.take(u64::from_le_bytes(*word));
        }
        // The last word: what is left, and in its highest byte the length.
        let tail = match (bytes.last_chunk::<8>(), rest.len() as u32) {
            (_, 0) => 0,
            (Some(last), len) => u64::from_le_bytes(*last) >> (64 - 8 * len),
            (None, _) => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        state.take((bytes.len() as u64) << 56 | tail);
        state.finish()
    }
}

/// The four words that the bytes are stirred into.
struct State([u64; 4]);

impl State {
    #[inline(always)]
    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        (0..3).for_each(|_| self.round());
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }

    #[inline(always)]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

/// Hashes records by their keys.
impl HashOf<Record> for HashSeed {
    #[inline]
    fn hash_of(&self, record: RecordRef<'_>) -> u64 {
        self.hash(record.key())
    }
}

#[cfg(test)]
mod tests {
    use super::HashSeed;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    proptest! {
        #[test]
        fn hashes_are_the_witness_s(seed: (u64, u64), bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let witness = SipHasher13::new_with_keys(seed.0, seed.1);
            prop_assert_eq!(HashSeed(seed.0, seed.1).hash(&bytes), witness.hash(&bytes));
        }
    }

    #[test]
    fn seed_and_bytes_decide() {
        let seed = HashSeed(1, 2);
        assert_eq!(seed.hash(b"key"), HashSeed(1, 2).hash(b"key"));
        assert_ne!(seed.hash(b"key"), HashSeed(2, 1).hash(b"key"));
        assert_ne!(seed.hash(b"key"), seed.hash(b"kex"));
        assert_ne!(seed.hash(b""), seed.hash(b"\0"));
    }
}
