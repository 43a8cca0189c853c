//! Choosing keys: the filters that every subcommand takes, and the sink that lets only chosen keys through.
//!
//! Filters of different kinds must all hold; of one kind given more than once, one. `--not-...` drops keys
//! that any of them matches. What the head of a key tells is looked at first, so that values of keys that
//! are not chosen are stepped over; `select/sink.rs` sees to those filters that need the value. Knows no
//! clock but the instant it is given.

mod range;
mod sink;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use cairn_engine::base::glob;
use cairn_engine::base::slot::key_slot;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Family, KeyHead, ObjectType, Version};
use clap::Args;
use regex::bytes::{RegexSet, RegexSetBuilder};

pub use range::{Counts, Numbers, Range, Seconds, Sizes, Ttl, size};
pub use sink::{Halted, MEMORY_BYTES, Selected, through};

use crate::encoding;
use crate::facts::Facts;
use crate::when;

/// Which keys a subcommand shall see.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters (of one kind any, of different kinds all must hold)")]
pub struct Selection {
    /// Keys that match this pattern of KEYS: * ? [a-z] \x
    #[arg(long, value_name = "GLOB")]
    pub key: Vec<OsString>,

    /// Keys in which this regular expression is found; it is about bytes, (?u) makes it about Unicode
    #[arg(long, value_name = "RE")]
    pub regex: Vec<String>,

    /// No keys that match this pattern
    #[arg(long, value_name = "GLOB")]
    pub not_key: Vec<OsString>,

    /// No keys in which this regular expression is found
    #[arg(long, value_name = "RE")]
    pub not_regex: Vec<String>,

    /// Keys of these databases: 0, 3-5
    #[arg(long, value_name = "DB", value_delimiter = ',')]
    pub db: Vec<Numbers>,

    /// No keys of these databases
    #[arg(long, value_name = "DB", value_delimiter = ',')]
    pub not_db: Vec<Numbers>,

    /// Keys of these types, as TYPE answers them, nine-letter names of modules' types included; `module`
    /// stands for all modules, `function` for function libraries
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,

    /// No keys of these types
    #[arg(long = "not-type", value_name = "TYPE", value_delimiter = ',')]
    pub not_types: Vec<String>,

    /// Keys of these encodings, as OBJECT ENCODING answers them, or as redis-check-rdb names record types
    #[arg(long, value_name = "ENCODING", value_delimiter = ',')]
    pub encoding: Vec<String>,

    /// Keys by expiry: persistent, volatile, expired, field-ttl (a hash with fields that expire), the time
    /// that is left (..10m, 2h..7d) or when it comes (2026-01-01..2026-02-01, @1767225600..)
    #[arg(long, value_name = "STATE|RANGE")]
    pub ttl: Vec<Ttl>,

    /// Keys whose values take so many bytes in the file, compressed as they are: 1MiB.., 10KB..64KB
    #[arg(long, value_name = "RANGE")]
    pub size: Vec<Sizes>,

    /// Keys with so many elements, fields, members or entries; strings have one: 1000.., ..1
    #[arg(long, value_name = "RANGE")]
    pub elements: Vec<Counts>,

    /// Keys of these cluster slots: 0-5460
    #[arg(long, value_name = "SLOTS", value_delimiter = ',')]
    pub slot: Vec<Numbers>,

    /// Keys that had been idle for so long; only files of servers with an LRU policy tell: 30d..
    #[arg(long, value_name = "RANGE")]
    pub idle: Vec<Seconds>,

    /// Keys with such an access counter; only files of servers with an LFU policy tell: ..5
    #[arg(long, value_name = "RANGE")]
    pub freq: Vec<Counts>,

    /// What time it is for --ttl, instead of the time of this computer
    #[arg(long, value_name = "INSTANT", value_parser = now)]
    pub now: Option<UnixMs>,
}

fn now(text: &str) -> Result<UnixMs, String> {
    when::instant(text).map_err(|why| format!("\"{text}\" {why}"))
}

/// A type as `--type` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypeName {
    Family(Family),
    Module([u8; 9]),
    Function,
}

impl TypeName {
    fn parse(name: &str) -> anyhow::Result<Self> {
        let families = [
            Family::String,
            Family::List,
            Family::Set,
            Family::Zset,
            Family::Hash,
            Family::Stream,
            Family::Module,
            Family::Array,
            Family::PathHash,
        ];
        if let Some(family) = families.into_iter().find(|family| family.name() == name) {
            return Ok(Self::Family(family));
        }
        if name == "function" {
            return Ok(Self::Function);
        }
        match <[u8; 9]>::try_from(name.as_bytes()) {
            Ok(name) if name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) => {
                Ok(Self::Module(name))
            }
            _ => bail!(
                "\"{name}\" is no type: string, list, set, zset, hash, stream, array, radix, function, module, or \
                 the nine letters of a module's type"
            ),
        }
    }
}

/// An encoding as `--encoding` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EncodingName {
    Object(&'static str),
    Record(ObjectType),
}

/// What is known about whether a key is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is not.
    No,
    /// It is.
    Yes,
    /// More of it must be seen first.
    Open,
}

impl Verdict {
    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Open,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Open,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Yes => Self::No,
            Self::Open => Self::Open,
        }
    }

    /// Whether one of `all` holds; true if there are none.
    fn any<T>(all: &[T], holds: impl Fn(&T) -> Self) -> Self {
        if all.is_empty() {
            return Self::Yes;
        }
        all.iter().map(holds).fold(Self::No, Self::or)
    }
}

/// A selection that is ready to be asked. Threads may share it.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// One name, byte for byte.
    only: Option<Vec<u8>>,
    keys: Vec<Vec<u8>>,
    regexes: Option<RegexSet>,
    not_keys: Vec<Vec<u8>>,
    not_regexes: Option<RegexSet>,
    dbs: Vec<Numbers>,
    not_dbs: Vec<Numbers>,
    types: Vec<TypeName>,
    not_types: Vec<TypeName>,
    encodings: Vec<EncodingName>,
    ttls: Vec<Ttl>,
    sizes: Vec<Sizes>,
    elements: Vec<Counts>,
    slots: Vec<Numbers>,
    idles: Vec<Seconds>,
    freqs: Vec<Counts>,
    now: UnixMs,
    sample: Option<Share>,
    is_everything: bool,
}

/// A share of all keys, the same ones in every file: those whose hashes, with the seed, are low enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Other seeds give other keys.
    pub seed: u64,
    /// The greatest hash.
    pub most: u64,
}

impl Share {
    /// What stands for the database of function libraries.
    pub const LIBRARIES: u64 = u64::MAX;

    /// Of so many in a million.
    #[must_use]
    pub fn of_millionths(seed: u64, millionths: u32) -> Self {
        let most = u128::from(u64::MAX) * u128::from(millionths.min(1_000_000)) / 1_000_000;
        Self { seed, most: u64::try_from(most).unwrap_or(u64::MAX) }
    }

    /// The hash of a key.
    #[must_use]
    pub fn hash(seed: u64, db: u64, key: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(key, seed ^ db.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn has(self, db: u64, key: &[u8]) -> bool {
        Self::hash(self.seed, db, key) <= self.most
    }
}

impl Selection {
    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// Types, encodings and regular expressions that are none.
    pub fn compile(&self) -> anyhow::Result<Chosen> {
        let globs = |all: &[OsString]| all.iter().map(|glob| glob.as_encoded_bytes().to_vec()).collect();
        let types =
            |all: &[String]| all.iter().map(|name| TypeName::parse(name)).collect::<Result<Vec<_>, _>>();
        let mut chosen = Chosen {
            only: None,
            keys: globs(&self.key),
            regexes: regexes("--regex", &self.regex)?,
            not_keys: globs(&self.not_key),
            not_regexes: regexes("--not-regex", &self.not_regex)?,
            dbs: self.db.clone(),
            not_dbs: self.not_db.clone(),
            types: types(&self.types).context("--type")?,
            not_types: types(&self.not_types).context("--not-type")?,
            encodings: encodings(&self.encoding)?,
            ttls: self.ttl.clone(),
            sizes: self.size.clone(),
            elements: self.elements.clone(),
            slots: self.slot.clone(),
            idles: self.idle.clone(),
            freqs: self.freq.clone(),
            now: self.now.unwrap_or_else(clock),
            sample: None,
            is_everything: false,
        };
        chosen.is_everything = chosen.has_no_filter();
        Ok(chosen)
    }
}

fn clock() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn regexes(option: &'static str, all: &[String]) -> anyhow::Result<Option<RegexSet>> {
    if all.is_empty() {
        return Ok(None);
    }
    // Keys are bytes: a dot is one of them.
    RegexSetBuilder::new(all).unicode(false).build().context(option).map(Some)
}

fn encodings(names: &[String]) -> anyhow::Result<Vec<EncodingName>> {
    let mut found = Vec::new();
    for name in names {
        let before = found.len();
        found.extend(
            encoding::NAMES.iter().filter(|known| *known == name).map(|name| EncodingName::Object(name)),
        );
        found.extend(ObjectType::all().filter(|object| object.name() == name).map(EncodingName::Record));
        if found.len() == before {
            let records: Vec<&str> = ObjectType::all().map(ObjectType::name).collect();
            bail!("--encoding: \"{name}\" is none of {}; {}", encoding::NAMES.join(", "), records.join(", "));
        }
    }
    Ok(found)
}

fn is_in(all: &[Numbers], number: u64) -> bool {
    all.iter().any(|numbers| numbers.0.contains(&number))
}

impl Chosen {
    /// One that chooses everything.
    #[must_use]
    pub fn everything() -> Self {
        Self { is_everything: true, ..Self::default() }
    }

    /// The same, and of its keys a share.
    #[must_use]
    pub fn sampled(self, share: Share) -> Self {
        Self { sample: Some(share), is_everything: false, ..self }
    }

    /// Of what is chosen the key of that name, in one database or in all. Libraries are no keys.
    #[must_use]
    pub fn only(mut self, key: Vec<u8>, db: Option<u64>) -> Self {
        if let Some(db) = db {
            self.dbs = vec![Numbers(Range { from: db, to: db })];
        }
        self.not_types.push(TypeName::Function);
        Self { only: Some(key), is_everything: false, ..self }
    }

    /// Whether there is no filter.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.is_everything
    }

    /// The instant that expiries are compared with.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.now
    }

    fn has_no_filter(&self) -> bool {
        self.regexes.is_none()
            && self.not_regexes.is_none()
            && [self.keys.len(), self.not_keys.len(), self.dbs.len(), self.not_dbs.len()] == [0; 4]
            && [self.types.len(), self.not_types.len(), self.encodings.len(), self.ttls.len()] == [0; 4]
            && [self.sizes.len(), self.elements.len(), self.slots.len(), self.idles.len(), self.freqs.len()]
                == [0; 5]
    }

    /// What the head of a key tells. [`Chosen::value`] answers what is [`Verdict::Open`] then.
    #[must_use]
    pub fn head(&self, head: &KeyHead<'_>, version: Version) -> Verdict {
        if self.is_everything {
            return Verdict::Yes;
        }
        let by_head = self.place(head.db, head.key)
            && self.sample.is_none_or(|share| share.has(head.db, head.key))
            && (self.slots.is_empty() || is_in(&self.slots, u64::from(key_slot(head.key))))
            && (self.idles.is_empty()
                || head.idle_s.is_some_and(|idle| self.idles.iter().any(|r| r.0.contains(&idle))))
            && (self.freqs.is_empty()
                || head.freq.is_some_and(|freq| self.freqs.iter().any(|r| r.0.contains(&u64::from(freq)))));
        if !by_head {
            return Verdict::No;
        }
        self.about_value(head, None, version, None)
    }

    /// What is known of a key that its head did not rule out, when so many bytes of its value have been seen,
    /// and if `facts` are [whole](Facts::is_whole), the answer.
    #[must_use]
    pub fn value(&self, head: &KeyHead<'_>, version: Version, facts: &Facts, bytes: u64) -> Verdict {
        self.about_value(head, Some(facts), version, Some(bytes))
    }

    /// Whether a function library is chosen: a key named as the library, of the type `function`, in no database and
    /// no slot, that never expires, of one element, and as large as its source.
    #[must_use]
    pub fn function(&self, name: &[u8], code_bytes: u64) -> bool {
        if self.is_everything {
            return true;
        }
        let is_function = |all: &[TypeName]| all.contains(&TypeName::Function);
        self.dbs.is_empty()
            && self.has_name(name)
            && self.sample.is_none_or(|share| share.has(Share::LIBRARIES, name))
            && (self.types.is_empty() || is_function(&self.types))
            && !is_function(&self.not_types)
            && [self.encodings.len(), self.slots.len(), self.idles.len(), self.freqs.len()] == [0; 4]
            && (self.ttls.is_empty() || self.ttls.contains(&Ttl::Persistent))
            && (self.sizes.is_empty() || self.sizes.iter().any(|r| r.0.contains(&code_bytes)))
            && (self.elements.is_empty() || self.elements.iter().any(|r| r.0.contains(&1)))
    }

    fn place(&self, db: u64, key: &[u8]) -> bool {
        (self.dbs.is_empty() || is_in(&self.dbs, db)) && !is_in(&self.not_dbs, db) && self.has_name(key)
    }

    fn has_name(&self, key: &[u8]) -> bool {
        self.only.as_ref().is_none_or(|only| only == key)
            && (self.keys.is_empty() || matches_any(&self.keys, key))
            && !matches_any(&self.not_keys, key)
            && self.regexes.as_ref().is_none_or(|set| set.is_match(key))
            && !self.not_regexes.as_ref().is_some_and(|set| set.is_match(key))
    }

    /// Whether the value is looked into beyond its length.
    fn looks_inside(&self) -> bool {
        let names_modules = |all: &[TypeName]| all.iter().any(|name| matches!(name, TypeName::Module(_)));
        !self.elements.is_empty()
            || !self.encodings.is_empty()
            || self.ttls.contains(&Ttl::Field)
            || names_modules(&self.types)
            || names_modules(&self.not_types)
    }

    /// The filters that may need the value.
    fn about_value(
        &self,
        head: &KeyHead<'_>,
        facts: Option<&Facts>,
        version: Version,
        bytes: Option<u64>,
    ) -> Verdict {
        let is_whole = facts.is_some_and(Facts::is_whole);
        let is_type = |name: &TypeName| match *name {
            TypeName::Function => Verdict::No,
            TypeName::Family(family) => Verdict::of(head.object.family() == family),
            TypeName::Module(name) => match (head.object.family(), facts.and_then(Facts::module_name)) {
                (Family::Module, None) => Verdict::Open,
                (_, found) => Verdict::of(found == Some(name)),
            },
        };
        let is_encoded = |name: &EncodingName| match *name {
            EncodingName::Record(object) => Verdict::of(head.object == object),
            EncodingName::Object(name) => {
                match encoding::of_type(head.object, version).or_else(|| facts.and_then(Facts::encoding)) {
                    Some(encoding) => Verdict::of(encoding == name),
                    None => Verdict::Open,
                }
            }
        };
        let mut verdict = Verdict::any(&self.types, is_type);
        if !self.not_types.is_empty() {
            verdict = verdict.and(Verdict::any(&self.not_types, is_type).not());
        }
        verdict = verdict.and(Verdict::any(&self.encodings, is_encoded));
        verdict = verdict.and(Verdict::any(&self.ttls, |ttl| self.expires(*ttl, head, facts)));
        verdict = verdict.and(Verdict::any(&self.sizes, |sizes| grown(sizes.0, bytes, is_whole)));
        verdict.and(Verdict::any(&self.elements, |counts| match facts.map(Facts::elements) {
            // Only its module knows how many there are.
            Some(None) if is_whole => Verdict::No,
            Some(None) => Verdict::Open,
            seen => grown(counts.0, seen.flatten(), is_whole),
        }))
    }

    fn expires(&self, ttl: Ttl, head: &KeyHead<'_>, facts: Option<&Facts>) -> Verdict {
        // Servers take -1 for none.
        let expire_at = head.expire_at.filter(|at| at.0 != -1);
        Verdict::of(match (ttl, expire_at) {
            (Ttl::Persistent, at) => at.is_none(),
            (Ttl::Volatile, at) => at.is_some(),
            (Ttl::Expired, Some(at)) => at.is_past(self.now),
            (Ttl::Left(range), Some(at)) => range.contains(&at.0.saturating_sub(self.now.0)),
            (Ttl::At(range), Some(at)) => range.contains(&at),
            (Ttl::Expired | Ttl::Left(_) | Ttl::At(_), None) => false,
            (Ttl::Field, _) => match facts {
                _ if !may_have_field_ttl(head.object) => false,
                Some(facts) if facts.has_field_ttl() => true,
                Some(facts) if facts.is_whole() => false,
                _ => return Verdict::Open,
            },
        })
    }
}

fn may_have_field_ttl(object: ObjectType) -> bool {
    matches!(
        object,
        ObjectType::HashMetadata
            | ObjectType::HashMetadataPreGa
            | ObjectType::HashListpackEx
            | ObjectType::HashListpackExPreGa
            | ObjectType::HashExpiry
    )
}

/// Whether a number that has grown to `seen` and may grow on, unless it `is_whole`, will be in the range.
fn grown(range: Range<u64>, seen: Option<u64>, is_whole: bool) -> Verdict {
    let Some(seen) = seen else { return Verdict::Open };
    if is_whole {
        return Verdict::of(range.contains(&seen));
    }
    match seen {
        seen if seen > range.to => Verdict::No,
        seen if seen >= range.from && range.to == u64::MAX => Verdict::Yes,
        _ => Verdict::Open,
    }
}

fn matches_any(globs: &[Vec<u8>], key: &[u8]) -> bool {
    // KEYS treats the lone star on its own: it matches the empty key too.
    globs.iter().any(|glob| glob == b"*" || glob::matches(glob, key, false))
}
