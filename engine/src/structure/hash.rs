//! The hash of keys, fields and members: SipHash-1-3 under a secret seed.
//!
//! Keyed because the bytes come from strangers, who could otherwise choose them to collide. The
//! seed comes from the owner; nothing here asks for randomness. Algorithm: the `siphasher` crate.

use siphasher::sip::SipHasher13;

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
        SipHasher13::new_with_keys(self.0, self.1).hash(bytes)
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

    #[test]
    fn seed_and_bytes_decide() {
        let seed = HashSeed(1, 2);
        assert_eq!(seed.hash(b"key"), HashSeed(1, 2).hash(b"key"));
        assert_ne!(seed.hash(b"key"), HashSeed(2, 1).hash(b"key"));
        assert_ne!(seed.hash(b"key"), seed.hash(b"kex"));
        assert_ne!(seed.hash(b""), seed.hash(b"\0"));
    }
}
