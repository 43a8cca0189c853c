//! Keys that get one name: found by sorting what all keys are called afterwards, before anything is written.
//!
//! Names are compared by 128 bits of a hash whose secret is new in every run, so that nobody can make names
//! that only seem to be one; by chance two of a billion keys do that once in 10^20 runs.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;

use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, ValueEvent};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{Edits, OnCollision};
use crate::spill::{Sorter, Spill};

/// A key that gets a name that another one gets too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// Its database in the input.
    pub db: u64,
    /// Its name there.
    pub key: Vec<u8>,
    /// The name that it gets.
    pub name: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Secret(u64, u64);

impl Secret {
    fn fresh() -> Self {
        let random = RandomState::new();
        Self(random.build_hasher().finish(), random.hash_one(1))
    }

    fn name(self, db: u64, key: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write_u64(db);
        hasher.write(key);
        hasher.finish128().as_u128()
    }
}

/// A sink that looks at the names that keys get.
#[derive(Debug)]
pub struct Collisions<'e> {
    edits: &'e Edits,
    secret: Secret,
    names: Sorter,
}

impl<'e> Collisions<'e> {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(edits: &'e Edits, spill: &Spill) -> Self {
        Self { edits, secret: Secret::fresh(), names: Sorter::new(spill) }
    }

    /// What of the names that have been seen were given twice and more: decides between them.
    ///
    /// # Errors
    /// Of the temporary file.
    pub fn resolve(self) -> io::Result<Resolver> {
        let mut sorted = self.names.finish()?;
        let mut twice: HashMap<u128, Name> = HashMap::new();
        let mut last = None;
        while let Some(record) = sorted.current() {
            let name = record.key.try_into().map(u128::from_be_bytes).ok();
            if let Some(name) = name.filter(|_| name == last) {
                twice.entry(name).or_insert(Name { keys: 1, seen: 0 }).keys += 1;
            }
            last = name;
            sorted.advance()?;
        }
        Ok(Resolver { rule: self.edits.on_collision, secret: self.secret, twice })
    }
}

impl Sink for Collisions<'_> {
    type Error = io::Error;

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        let (db, key) = (self.edits.db(head.db), self.edits.key(head.key));
        let name = self.secret.name(db, &key);
        self.names.push(&name.to_be_bytes(), &[])?;
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Name {
    /// Keys that get it.
    keys: u64,
    /// Those of them that have come by.
    seen: u64,
}

/// Decides between keys that get one name. Memory: that of those names.
#[derive(Debug)]
pub struct Resolver {
    rule: OnCollision,
    secret: Secret,
    twice: HashMap<u128, Name>,
}

/// Collisions that are told by name.
const LISTED: usize = 10;

impl Resolver {
    /// How many names two keys and more would get.
    #[must_use]
    pub fn names(&self) -> usize {
        self.twice.len()
    }

    /// Whether the key that comes by next, of this name, stays.
    pub(super) fn keeps(&mut self, db: u64, key: &[u8]) -> bool {
        if self.twice.is_empty() {
            return true;
        }
        let Some(name) = self.twice.get_mut(&self.secret.name(db, key)) else { return true };
        name.seen += 1;
        match self.rule {
            OnCollision::Fail => true,
            OnCollision::First => name.seen == 1,
            OnCollision::Last => name.seen == name.keys,
        }
    }
}

/// A sink that tells which keys get one name, a few of them.
#[derive(Debug)]
pub struct Named<'e> {
    edits: &'e Edits,
    resolver: &'e Resolver,
    listed: Vec<Collision>,
}

impl<'e> Named<'e> {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(edits: &'e Edits, resolver: &'e Resolver) -> Self {
        Self { edits, resolver, listed: Vec::new() }
    }

    /// What has been found.
    #[must_use]
    pub fn listed(&self) -> &[Collision] {
        &self.listed
    }
}

impl Sink for Named<'_> {
    type Error = io::Error;

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        if self.listed.len() < LISTED {
            let (db, key) = (self.edits.db(head.db), self.edits.key(head.key));
            if self.resolver.twice.contains_key(&self.resolver.secret.name(db, &key)) {
                self.listed.push(Collision { db: head.db, key: head.key.to_vec(), name: key.into_owned() });
            }
        }
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> io::Result<()> {
        Ok(())
    }
}
