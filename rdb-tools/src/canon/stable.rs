//! A digest that is the same tomorrow and elsewhere: what `digest` prints.
//!
//! Every part is hashed by SHA-256; the hashes of a value are put in order and hashed again. Parts that come in
//! order anyway (elements of a list, entries of a stream) go into one hash as they come. So two values
//! with the same digest are a collision of SHA-256, also if an adversary chose both; sums or
//! exclusive-ors of hashes, which would save the sorting, do not have that property at any size that
//! is cheap. Hashes of a value that are too many for memory are sorted outside it.

use std::io;

use cairn_engine::codec::rdb::Family;
use sha2::{Digest as _, Sha256};

use super::{Parts, Section};
use crate::spill::{Sorter, Spill};

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;

/// A SHA-256.
pub type Digest = [u8; DIGEST_BYTES];

/// Digests up to this many are kept in memory: 2 MiB.
const MOST_IN_MEMORY: usize = 64 << 10;

/// Digests that are put in order and hashed.
#[derive(Debug)]
struct Bag {
    spill: Spill,
    few: Vec<Digest>,
    many: Option<Sorter>,
}

impl Bag {
    fn new(spill: Spill) -> Self {
        Self { spill, few: Vec::new(), many: None }
    }

    fn add(&mut self, digest: Digest) -> io::Result<()> {
        if self.few.len() == MOST_IN_MEMORY {
            let many = self.many.get_or_insert_with(|| Sorter::new(&self.spill));
            self.few.drain(..).try_for_each(|digest| many.push(&digest, b""))?;
        }
        self.few.push(digest);
        Ok(())
    }

    /// Hashes what is in it into `into`, with its number before it, and empties it.
    fn take(&mut self, into: &mut Sha256) -> io::Result<()> {
        match self.many.take() {
            None => {
                self.few.sort_unstable();
                into.update((self.few.len() as u64).to_be_bytes());
                self.few.iter().for_each(|digest| into.update(digest));
            }
            Some(mut many) => {
                self.few.iter().try_for_each(|digest| many.push(digest, b""))?;
                let mut sorted = many.finish()?;
                into.update(sorted.len().to_be_bytes());
                while let Some(record) = sorted.current() {
                    into.update(record.key);
                    sorted.advance()?;
                }
            }
        }
        self.few.clear();
        Ok(())
    }
}

/// Digests values one after the other.
#[derive(Debug)]
pub struct Stable {
    ordered: Sha256,
    ordered_parts: u64,
    bag: Bag,
    frame: Vec<u8>,
}

impl Stable {
    /// A digest that spills where `spill` says.
    #[must_use]
    pub fn new(spill: &Spill) -> Self {
        Self { ordered: Sha256::new(), ordered_parts: 0, bag: Bag::new(spill.part(4)), frame: Vec::new() }
    }

    /// The digest of all parts since the last call, which made a value of that family.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn take(&mut self, family: Family) -> io::Result<Digest> {
        let mut all = Sha256::new();
        all.update(b"cairn value 1 ");
        all.update(family.name());
        all.update(self.ordered_parts.to_be_bytes());
        all.update(self.ordered.finalize_reset());
        self.ordered_parts = 0;
        self.bag.take(&mut all)?;
        Ok(all.finalize().into())
    }
}

impl Parts for Stable {
    type Error = io::Error;

    fn part(&mut self, section: Section, identity: &[u8], content: &[u8]) -> io::Result<()> {
        let frame = &mut self.frame;
        frame.clear();
        frame.push(section as u8);
        frame.extend_from_slice(&(identity.len() as u64).to_be_bytes());
        frame.extend_from_slice(&(content.len() as u64).to_be_bytes());
        frame.extend_from_slice(identity);
        let is_ordered = matches!(
            section,
            Section::Text | Section::Element | Section::Entry | Section::ArrayElement | Section::ModuleItem
        );
        if is_ordered {
            self.ordered.update(&*frame);
            self.ordered.update(content);
            self.ordered_parts += 1;
            return Ok(());
        }
        let mut one = Sha256::new();
        one.update(&*frame);
        one.update(content);
        self.bag.add(one.finalize().into())
    }
}
