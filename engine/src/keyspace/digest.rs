//! DEBUG DIGEST and DEBUG DIGEST-VALUE, byte for byte as Redis 7.2, Valkey 8.1 and later give them.
//!
//! A digest is 20 bytes. To *add* data is to xor its SHA-1 in, so that order doesn't matter; to *mix*
//! is to add and then hash the digest itself, so that it does. A key is mixed, then the number of
//! its type, then its value; the digests of all keys are added. Behaviour: valkey src/debug.c,
//! `xorObjectDigest`, `computeDatasetDigest`.

mod grisu;

use sha1::{Digest as _, Sha1};

use super::{EntryRef, Keyspace};
use crate::base::stream_id::StreamId;
use crate::value::stream::Direction;
use crate::value::{Element, IntText, ValueRef};

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 20;
/// What is added for a key that expires.
pub const KEY_EXPIRES: &[u8] = b"!!expire!!";
/// What is added for a field that expires, in the style of Redis.
pub const FIELD_EXPIRES: &[u8] = b"!!hexpire!!";

/// Whose digest: the families part where a hash has fields with expiries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// A field that expires is marked (Redis 7.4 and later).
    #[default]
    Redis,
    /// It isn't (Valkey 9).
    Valkey,
}

/// The digest of all databases, in the style of Redis.
#[must_use]
pub fn digest(keyspace: &Keyspace) -> [u8; DIGEST_BYTES] {
    digest_in(keyspace, Style::Redis)
}

/// The digest of all databases.
#[must_use]
pub fn digest_in(keyspace: &Keyspace, style: Style) -> [u8; DIGEST_BYTES] {
    let mut all = Sum::default();
    for (index, db) in keyspace.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
        all.mix(&(index as u32).to_be_bytes());
        for entry in db {
            let mut one = Sum::default();
            one.mix(entry.key());
            one.mix_value(entry, style);
            all.add_one(one);
        }
    }
    all.0
}

/// The digest of one key's value, in the style of Redis; that of a key that isn't there is all zeros.
#[must_use]
pub fn digest_value(entry: Option<EntryRef<'_>>) -> [u8; DIGEST_BYTES] {
    digest_value_in(entry, Style::Redis)
}

/// The digest of one key's value; that of a key that isn't there is all zeros.
#[must_use]
pub fn digest_value_in(entry: Option<EntryRef<'_>>, style: Style) -> [u8; DIGEST_BYTES] {
    let mut sum = Sum::default();
    if let Some(entry) = entry {
        sum.mix_value(entry, style);
    }
    sum.0
}

/// A digest being made, for whoever has a value in another form than the keyspace's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum([u8; DIGEST_BYTES]);

impl Sum {
    /// Its bytes so far.
    #[must_use]
    pub fn bytes(self) -> [u8; DIGEST_BYTES] {
        self.0
    }

    /// Adds data: order does not matter.
    pub fn add(&mut self, data: &[u8]) {
        self.add_hash(Sha1::digest(data).into());
    }

    /// Adds what is one thing among others whose order does not matter, as a key among keys.
    pub fn add_one(&mut self, one: Sum) {
        self.add(&one.0);
    }

    /// Adds what others were added to, as the keys of a database that were summed up by themselves.
    pub fn merge(&mut self, other: Sum) {
        self.add_hash(other.0);
    }

    fn add_hash(&mut self, hash: [u8; DIGEST_BYTES]) {
        self.0.iter_mut().zip(hash).for_each(|(mine, its)| *mine ^= its);
    }

    /// Mixes data in: order matters.
    pub fn mix(&mut self, data: &[u8]) {
        self.add(data);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Mixes a score in, in the text that servers give it here and nowhere else.
    pub fn mix_score(&mut self, score: f64) {
        let mut text = Vec::with_capacity(32);
        grisu::push(&mut text, score);
        self.mix(&text);
    }

    fn mix_element(&mut self, element: Element<'_>) {
        self.mix(element.text(&mut IntText::new()));
    }

    fn mix_value(&mut self, entry: EntryRef<'_>, style: Style) {
        let value = entry.view();
        self.mix(&type_number(value).to_be_bytes());
        match value {
            ValueRef::String(text) => self.mix(text.bytes(&mut IntText::new())),
            ValueRef::List(list) => list.iter().for_each(|element| self.mix_element(element)),
            ValueRef::Set(set) => {
                set.iter().for_each(|member| self.add(member.text(&mut IntText::new())));
            }
            ValueRef::Zset(zset) => {
                for (member, score) in zset.iter() {
                    let mut one = Self::default();
                    one.mix_element(member);
                    one.mix_score(score);
                    self.add_one(one);
                }
            }
            ValueRef::Hash(hash) => {
                for field in hash.iter() {
                    let mut one = Self::default();
                    one.mix_element(field.field);
                    one.mix_element(field.value);
                    if field.expire_at.is_some() && style == Style::Redis {
                        one.add(FIELD_EXPIRES);
                    }
                    self.add_one(one);
                }
            }
            ValueRef::Stream(stream) => {
                for entry in stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward) {
                    self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (field, value) in entry.fields {
                        self.mix_element(field);
                        self.mix_element(value);
                    }
                }
            }
            // Only the module that made it can walk it.
            ValueRef::Opaque(_) => {}
        }
        if entry.expire_at().is_some() {
            self.add(KEY_EXPIRES);
        }
    }
}

/// The numbers of valkey src/server.h.
fn type_number(value: ValueRef<'_>) -> u32 {
    match value {
        ValueRef::String(_) => 0,
        ValueRef::List(_) => 1,
        ValueRef::Set(_) => 2,
        ValueRef::Zset(_) => 3,
        ValueRef::Hash(_) => 4,
        ValueRef::Opaque(_) => 5,
        ValueRef::Stream(_) => 6,
    }
}

#[cfg(test)]
mod tests;
