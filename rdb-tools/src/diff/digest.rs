//! Digests of keys, databases and data sets, which say the same tomorrow and elsewhere.
//!
//! A key's digest is a SHA-256 over its name, its value's digest and its expiry; that of a database is one over
//! those of its keys in order; that of the data set one over those of its databases, libraries of
//! functions and data of modules. Orders are made by sorting digests, outside memory if need be.

use std::io;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, Family, KeyHead, ValueEvent, Version};
use sha2::{Digest as _, Sha256};

use crate::canon::{Canon, DebugDigest, DebugStyle, Digest, Rules, Stable, expiry};
use crate::json;
use crate::spill::{Sorter, Spill};
use crate::walk::Visit;

/// What a key is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Libraries of functions.
    Functions,
    /// Data of modules that belong to no key.
    ModuleAux,
    /// The keys of a database.
    Db(u64),
}

impl Scope {
    /// As the front of a sorting key: bytes that sort as scopes do and end by themselves.
    pub fn push(self, out: &mut Vec<u8>) {
        /// The byte of database 0, and the last one whose number is in its byte.
        const FIRST: u8 = 2;
        const LAST_DB: u64 = 252;
        match self {
            Self::Functions => out.push(0),
            Self::ModuleAux => out.push(1),
            Self::Db(db @ 0..=LAST_DB) => out.push(db as u8 + FIRST),
            Self::Db(db) => {
                out.push(u8::MAX);
                out.extend_from_slice(&db.to_be_bytes());
            }
        }
    }

    /// Takes it off the front of a sorting key.
    #[must_use]
    pub fn split(key: &[u8]) -> Option<(Self, &[u8])> {
        let (first, rest) = key.split_first()?;
        Some(match first {
            0 => (Self::Functions, rest),
            1 => (Self::ModuleAux, rest),
            &u8::MAX => {
                let (db, rest) = rest.split_first_chunk()?;
                (Self::Db(u64::from_be_bytes(*db)), rest)
            }
            db => (Self::Db(u64::from(db - 2)), rest),
        })
    }

    /// For people.
    #[must_use]
    pub fn shown(self) -> String {
        match self {
            Self::Functions => "functions".to_owned(),
            Self::ModuleAux => "module data".to_owned(),
            Self::Db(db) => format!("db {db}"),
        }
    }

    /// As members of a JSON object.
    pub fn push_json(self, line: &mut Vec<u8>) {
        match self {
            Self::Db(db) => {
                json::push_name(line, "db");
                json::push_u64(line, db);
            }
            Self::Functions | Self::ModuleAux => {
                json::push_name(line, "kind");
                json::push_text(line, if self == Self::Functions { "function" } else { "module-aux" });
            }
        }
    }
}

/// Keys and their digests, in the order of the source.
#[derive(Debug, Default)]
pub struct Batch {
    names: Vec<u8>,
    keys: Vec<(Scope, usize, Digest)>,
    /// What goes into the DEBUG DIGEST.
    pub debug: Option<DebugDigest>,
}

impl Batch {
    /// Scope, name and digest of each.
    pub fn keys(&self) -> impl Iterator<Item = (Scope, &[u8], &Digest)> {
        let mut start = 0;
        self.keys.iter().map(move |(scope, end, digest)| {
            let name = &self.names[start..*end];
            start = *end;
            (*scope, name, digest)
        })
    }
}

/// Batches are handed on when they have this many keys.
const BATCH_KEYS: usize = 1024;

/// Whose digest a version's servers compute.
pub type StyleOf = Box<dyn Fn(Version) -> DebugStyle + Send>;

/// Digests key by key.
pub struct Keys {
    canon: Canon,
    ignore_ttl: bool,
    stable: Stable,
    batch: Batch,
    scope: Scope,
    family: Family,
    expires: Option<UnixMs>,
    debug: Option<(StyleOf, UnixMs)>,
    debug_digest: Option<DebugDigest>,
    is_in_debug: bool,
}

impl Keys {
    /// A visitor that has seen nothing.
    #[must_use]
    pub fn new(rules: Rules, ignore_ttl: bool, spill: &Spill) -> Self {
        Self {
            canon: Canon::new(rules),
            ignore_ttl,
            stable: Stable::new(spill),
            batch: Batch::default(),
            scope: Scope::Db(0),
            family: Family::String,
            expires: None,
            debug: None,
            debug_digest: None,
            is_in_debug: false,
        }
    }

    /// The same, and the DEBUG DIGEST of a server that loads the keys at `now`.
    #[must_use]
    pub fn with_debug(mut self, style_of: StyleOf, now: UnixMs) -> Self {
        self.debug = Some((style_of, now));
        self
    }

    fn add(&mut self, scope: Scope, name: &[u8], value: &Digest, expires: Option<UnixMs>) {
        let start = self.batch.names.len();
        self.batch.names.extend_from_slice(name);
        self.end_name(start, scope, value, expires);
    }

    /// The name of the batch's last key, from `start` on, is there already.
    fn end_name(&mut self, start: usize, scope: Scope, value: &Digest, expires: Option<UnixMs>) {
        let name = &self.batch.names[start..];
        let mut one = Sha256::new();
        one.update(b"cairn key 1 ");
        one.update((name.len() as u64).to_be_bytes());
        one.update(name);
        one.update(value);
        if let Some(at) = expires.filter(|_| !self.ignore_ttl) {
            one.update(at.0.to_be_bytes());
        }
        let end = self.batch.names.len();
        self.batch.keys.push((scope, end, one.finalize().into()));
    }
}

impl Visit for Keys {
    type Item = Batch;

    fn start(&mut self, version: Version) {
        if let (Some((style_of, now)), None) = (&self.debug, &self.debug_digest) {
            self.debug_digest = Some(DebugDigest::new(style_of(version), Some(*now)));
        }
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.batch.names.extend_from_slice(head.key);
        self.scope = Scope::Db(head.db);
        self.family = head.object.family();
        self.expires = expiry(head);
        self.is_in_debug = self.debug_digest.as_mut().is_some_and(|debug| debug.begin(head));
        self.canon.begin(head, &mut self.stable)?;
        Ok(Depth::Item)
    }

    fn value(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        if let Some(debug) = self.debug_digest.as_mut().filter(|_| self.is_in_debug) {
            debug.event(event);
        }
        self.canon.event(event, &mut self.stable)
    }

    fn member_expiry(&mut self, member: &[u8], at: UnixMs) -> io::Result<()> {
        self.canon.member_expiry(member, at, &mut self.stable)
    }

    fn end_key(&mut self) -> io::Result<()> {
        if let Some(debug) = self.debug_digest.as_mut().filter(|_| self.is_in_debug) {
            debug.end();
        }
        let value = self.stable.take(self.family)?;
        let start = self.batch.keys.last().map_or(0, |(_, end, _)| *end);
        self.end_name(start, self.scope, &value, self.expires);
        Ok(())
    }

    fn library(&mut self, _at: u64, name: &[u8], code: &[u8]) -> io::Result<()> {
        self.add(Scope::Functions, name, &Sha256::digest(code).into(), None);
        Ok(())
    }

    fn module_aux(&mut self, _at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        let name = crate::jsonl::module_name(id);
        self.add(Scope::ModuleAux, &name, &Sha256::digest(payload).into(), None);
        Ok(())
    }

    fn take(&mut self, all: bool) -> Option<Batch> {
        if !all && self.batch.keys.len() < BATCH_KEYS {
            return None;
        }
        self.batch.debug = self.debug_digest.as_mut().map(DebugDigest::take);
        Some(std::mem::take(&mut self.batch))
    }
}

/// The keys of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub scope: Scope,
    /// How many.
    pub keys: u64,
    /// Over all of them.
    pub digest: Digest,
}

/// The digest of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Over everything.
    pub digest: Digest,
    /// Its parts, in order.
    pub scopes: Vec<Part>,
}

impl Totals {
    /// How many keys of databases there are.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.scopes.iter().filter(|part| matches!(part.scope, Scope::Db(_))).map(|part| part.keys).sum()
    }
}

/// Brings keys together.
#[derive(Debug)]
pub struct Total {
    sorter: Sorter,
    record: Vec<u8>,
    /// The DEBUG DIGEST so far.
    pub debug: Option<DebugDigest>,
}

impl Total {
    /// Nothing yet.
    #[must_use]
    pub fn new(spill: &Spill) -> Self {
        Self { sorter: Sorter::new(spill), record: Vec::new(), debug: None }
    }

    /// Adds a key.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn add(&mut self, scope: Scope, digest: &Digest) -> io::Result<()> {
        self.record.clear();
        scope.push(&mut self.record);
        self.record.extend_from_slice(digest);
        self.sorter.push(&self.record, b"")
    }

    /// All keys have been there.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn finish(self) -> io::Result<Totals> {
        let mut sorted = self.sorter.finish()?;
        let mut all = Sha256::new();
        all.update(b"cairn data 1 ");
        let mut scopes = Vec::new();
        while let Some((scope, _)) = sorted.current().and_then(|record| Scope::split(record.key)) {
            let mut keys = 0;
            let mut one = Sha256::new();
            while let Some((_, digest)) =
                sorted.current().and_then(|record| Scope::split(record.key)).filter(|(its, _)| *its == scope)
            {
                one.update(digest);
                keys += 1;
                sorted.advance()?;
            }
            let digest: Digest = one.finalize().into();
            let mut tag = Vec::new();
            scope.push(&mut tag);
            all.update(&tag);
            all.update(digest);
            scopes.push(Part { scope, keys, digest });
        }
        Ok(Totals { digest: all.finalize().into(), scopes })
    }
}
