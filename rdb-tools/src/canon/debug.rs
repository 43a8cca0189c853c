//! DEBUG DIGEST of a data set that no server has loaded, from events, in flat memory.
//!
//! What servers compute is in the engine's `keyspace::digest`; nothing of it needs a whole value. Servers before
//! 7.2 wrote scores in another way. Values of modules are left to the modules: vector sets are known
//! (witness: Redis 8's vset.c, `VectorSetDigest`), others, arrays and path hashes are not, so data sets with
//! these have no digest here.

use std::collections::BTreeMap;
use std::convert::Infallible;

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Family, KeyHead, ValueEvent};
use cairn_engine::keyspace::digest::{DIGEST_BYTES, FIELD_EXPIRES, KEY_EXPIRES, Style, Sum};

use super::vectors::{DIMENSION, Vectors};
use super::{Parts, Section, expiry, take_framed};

/// Whose digest: the style, and how it writes scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugStyle {
    /// Redis and Valkey before 7.2.
    Old,
    /// Redis from 7.2 on.
    Redis,
    /// Valkey.
    Valkey,
}

impl DebugStyle {
    /// A name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "servers before 7.2",
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    fn fields(self) -> Style {
        if self == Self::Redis { Style::Redis } else { Style::Valkey }
    }
}

/// Digests a data set key by key.
#[derive(Debug)]
pub struct DebugDigest {
    style: DebugStyle,
    /// Keys that have expired then are not there, as a server that loads the file leaves them out.
    now: Option<UnixMs>,
    dbs: BTreeMap<u64, Sum>,
    db: u64,
    family: Family,
    key: Sum,
    expires: bool,
    text: Vec<u8>,
    /// Fields that count, of a hash.
    fields: u64,
    expired_fields: u64,
    vectors: Vectors,
    vector_set: VectorSet,
    expired: u64,
    unknown: u64,
}

impl DebugDigest {
    /// A digest of nothing yet.
    #[must_use]
    pub fn new(style: DebugStyle, now: Option<UnixMs>) -> Self {
        Self {
            style,
            now,
            dbs: BTreeMap::new(),
            db: 0,
            family: Family::String,
            key: Sum::default(),
            expires: false,
            text: Vec::new(),
            fields: 0,
            expired_fields: 0,
            vectors: Vectors::default(),
            vector_set: VectorSet::default(),
            expired: 0,
            unknown: 0,
        }
    }

    /// Adds what another one has seen of the same data set.
    pub fn merge(&mut self, other: Self) {
        for (db, keys) in other.dbs {
            self.dbs.entry(db).or_default().merge(keys);
        }
        self.expired += other.expired;
        self.unknown += other.unknown;
    }

    /// Takes what it has seen so far out of it.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let fresh =
            Self { db: self.db, family: self.family, key: self.key, ..Self::new(self.style, self.now) };
        std::mem::replace(self, fresh)
    }

    /// Whose digest it is.
    #[must_use]
    pub fn style_name(&self) -> &'static str {
        self.style.name()
    }

    fn has_passed(&self, at: Option<UnixMs>) -> bool {
        matches!((at, self.now), (Some(at), Some(now)) if at.0 <= now.0)
    }

    /// A key starts. False if it does not count, and its value is not wanted.
    pub fn begin(&mut self, head: &KeyHead<'_>) -> bool {
        let expires = expiry(head);
        if self.has_passed(expires) {
            self.expired += 1;
            return false;
        }
        self.db = head.db;
        self.family = head.object.family();
        self.expires = expires.is_some();
        (self.fields, self.expired_fields) = (0, 0);
        self.key = Sum::default();
        self.key.mix(head.key);
        match type_number(self.family) {
            Some(number) => self.key.mix(&number.to_be_bytes()),
            None => self.unknown += 1,
        }
        true
    }

    /// A step of the value, at depth `Item`.
    pub fn event(&mut self, event: &ValueEvent<'_>) {
        if let ValueEvent::Field { expire_at, .. } = *event {
            if self.has_passed(expire_at) {
                self.expired_fields += 1;
                return;
            }
            self.fields += 1;
        }
        let key = &mut self.key;
        match *event {
            ValueEvent::String { bytes, .. } => key.mix(bytes),
            ValueEvent::Element(element) if self.family == Family::List => key.mix(element),
            ValueEvent::Element(member) => key.add(member),
            ValueEvent::Member { member, score } => {
                let mut one = Sum::default();
                one.mix(member);
                if self.style == DebugStyle::Old {
                    self.text.clear();
                    num::push_f64_17g(&mut self.text, score);
                    one.mix(&self.text);
                } else {
                    one.mix_score(score);
                }
                key.add_one(one);
            }
            ValueEvent::Field { field, value, expire_at } => {
                let mut one = Sum::default();
                one.mix(field);
                one.mix(value);
                if expire_at.is_some() && self.style.fields() == Style::Redis {
                    one.add(FIELD_EXPIRES);
                }
                key.add_one(one);
            }
            ValueEvent::StreamEntry { id, fields } => {
                self.text.clear();
                num::push_u64(&mut self.text, id.ms);
                self.text.push(b'.');
                num::push_u64(&mut self.text, id.seq);
                key.mix(&self.text);
                fields.iter().for_each(|field| key.mix(field));
            }
            ValueEvent::BeginModule { id } => {
                self.vectors.begin(id);
                self.vector_set = VectorSet::default();
            }
            _ if self.family == Family::Module => {
                let Ok(_) = self.vectors.event(event, &mut self.vector_set);
            }
            _ => {}
        }
    }

    /// The key that [`DebugDigest::begin`] was answered true for ends.
    pub fn end(&mut self) {
        if self.fields == 0 && self.expired_fields > 0 {
            self.expired += 1;
            return;
        }
        if self.family == Family::Module {
            match self.vectors.is_whole() {
                true => self.vector_set.add_to(&mut self.key),
                false => self.unknown += 1,
            }
        }
        if self.expires {
            self.key.add(KEY_EXPIRES);
        }
        self.dbs.entry(self.db).or_default().add_one(self.key);
    }

    /// Keys that were left out since they have expired.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// The digest of all databases; the number of keys that keep it from being known.
    ///
    /// # Errors
    /// That number.
    pub fn finish(&self) -> Result<[u8; DIGEST_BYTES], u64> {
        if self.unknown > 0 {
            return Err(self.unknown);
        }
        let mut all = Sum::default();
        for (db, keys) in &self.dbs {
            all.mix(&(*db as u32).to_be_bytes());
            all.merge(*keys);
        }
        Ok(all.bytes())
    }
}

/// A vector set: a sequence for its numbers, one for each element.
#[derive(Debug, Default)]
struct VectorSet {
    sum: Sum,
    dimension: u64,
    elements: u64,
}

impl VectorSet {
    fn add_to(&mut self, key: &mut Sum) {
        let mut numbers = Sum::default();
        for number in [self.elements, self.dimension] {
            let mut text = Vec::new();
            num::push_u64(&mut text, number);
            numbers.mix(&text);
        }
        self.sum.add_one(numbers);
        key.add_one(self.sum);
    }
}

impl Parts for VectorSet {
    type Error = Infallible;

    fn part(&mut self, section: Section, identity: &[u8], content: &[u8]) -> Result<(), Infallible> {
        if section == Section::VectorSet && identity == [DIMENSION] {
            self.dimension = content.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        }
        // Norm and range come first.
        if let (Section::Vector, Some(mut rest)) = (section, content.get(8..)) {
            let attributes = take_framed(&mut rest).unwrap_or_default();
            let mut one = Sum::default();
            one.mix(rest);
            one.mix(identity);
            if !attributes.is_empty() {
                one.mix(attributes);
            }
            self.sum.add_one(one);
            self.elements += 1;
        }
        Ok(())
    }
}

/// The numbers of valkey src/server.h.
fn type_number(family: Family) -> Option<u32> {
    Some(match family {
        Family::String => 0,
        Family::List => 1,
        Family::Set => 2,
        Family::Zset => 3,
        Family::Hash => 4,
        Family::Stream => 6,
        Family::Module => 5,
        Family::Array | Family::PathHash => return None,
    })
}
