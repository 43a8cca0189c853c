//! A digest under a random key, for comparing two data sets within one process.
//!
//! Every part is hashed by SipHash-1-3 with 128 bits under a key that is drawn when the process starts; a
//! value's digest is the sum of the hashes of its parts modulo 2^128. So it needs no order and no memory,
//! and a value that comes in pieces is summed as it comes. Two values that differ have the same digest
//! with a chance of about 2^-128, also if an adversary chose both: sums of hashes without a key could be
//! made equal on purpose (that is a lattice or a birthday problem, easy at this size), but whoever does
//! not know the key cannot look for such sums, and neither key nor digests leave the process.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

use super::{Parts, Section};

/// What was summed up of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// The sum over all parts but expiries of fields.
    pub sum: u128,
    /// The sum over expiries of fields.
    pub ttl_sum: u128,
    /// Elements, fields, members, entries, whatever the value has many of; 1 for a string.
    pub elements: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Sums up parts.
#[derive(Debug, Clone, Copy)]
pub struct Keyed {
    hasher: SipHasher13,
    content: Content,
}

/// Parts up to this size are hashed in one piece.
const SMALL: usize = 512;

impl Keyed {
    /// A digest under a new key. Digests are comparable only if they come from copies of one `Keyed`.
    #[must_use]
    pub fn new() -> Self {
        let random = RandomState::new();
        let hasher = SipHasher13::new_with_keys(random.hash_one(0u8), random.hash_one(1u8));
        Self { hasher, content: Content::default() }
    }

    /// What has been summed up since the last call.
    pub fn take(&mut self) -> Content {
        std::mem::take(&mut self.content)
    }

    fn hash(&self, section: Section, identity: &[u8], content: &[u8]) -> u128 {
        // The length of the identity tells the two apart; the hash itself adds the whole length.
        let mut head = [section as u8; 9];
        head[1..].copy_from_slice(&(identity.len() as u64).to_le_bytes());
        let len = head.len() + identity.len() + content.len();
        if len <= SMALL {
            let mut piece = [0; SMALL];
            let (first, rest) = piece.split_at_mut(head.len());
            first.copy_from_slice(&head);
            rest[..identity.len()].copy_from_slice(identity);
            rest[identity.len()..identity.len() + content.len()].copy_from_slice(content);
            return self.hasher.hash(&piece[..len]).as_u128();
        }
        use std::hash::Hasher as _;
        let mut hasher = self.hasher;
        hasher.write(&head);
        hasher.write(identity);
        hasher.write(content);
        siphasher::sip128::Hasher128::finish128(&hasher).as_u128()
    }
}

impl Default for Keyed {
    fn default() -> Self {
        Self::new()
    }
}

impl Parts for Keyed {
    type Error = Infallible;

    fn part(&mut self, section: Section, identity: &[u8], content: &[u8]) -> Result<(), Infallible> {
        let hash = self.hash(section, identity, content);
        if section == Section::FieldTtl {
            self.content.ttl_sum = self.content.ttl_sum.wrapping_add(hash);
            return Ok(());
        }
        self.content.sum = self.content.sum.wrapping_add(hash);
        let bytes = match section {
            Section::Text
            | Section::Element
            | Section::ArrayElement
            | Section::ModuleItem
            | Section::Entry
            | Section::Raw => content.len(),
            Section::BagElement
            | Section::Member
            | Section::Field
            | Section::Scored
            | Section::PathField
            | Section::Vector => identity.len() + content.len(),
            _ => return Ok(()),
        };
        self.content.elements += 1;
        self.content.bytes = self.content.bytes.saturating_add(bytes as u64);
        Ok(())
    }
}
