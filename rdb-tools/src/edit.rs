//! Edits on the way: keys get other names, databases other numbers, expiries other instants.
//!
//! A sink in front of another one. Two keys that get one name in one database are found by
//! [`Collisions`], which reads the source once before it is written. Knows no clock but the instant it
//! is given.

mod collide;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, KeyHead, ObjectType, Sink, Trailer, ValueEvent, Version};
use clap::{Args, ValueEnum};
use regex::bytes::{Regex, RegexBuilder};

use crate::when;
pub use collide::{Collision, Collisions, Named, Resolver};

/// What is changed of keys on their way.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Edits")]
pub struct Edits {
    /// Replace what the regular expression finds in a key; $1 and ${name} stand for its groups
    ///
    /// The first = ends the expression (\x3d stands for one inside). It is about bytes; all places
    /// are replaced where it is found. Of several rules the first that finds something counts.
    #[arg(long, value_name = "REGEX=REPLACEMENT", value_parser = rename)]
    pub rename: Vec<Rename>,

    /// Replace what keys begin with; OLD= takes it away. Before --rename
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    pub rename_prefix: Vec<(String, String)>,

    /// Put something in front of every key, after the other rules
    #[arg(long, value_name = "PREFIX")]
    pub add_prefix: Option<String>,

    /// Put the keys of a database into another one
    #[arg(long, value_name = "FROM:TO", value_delimiter = ',', value_parser = map_db)]
    pub map_db: Vec<(u64, u64)>,

    /// What happens to keys that get one name
    #[arg(long, value_enum, default_value_t = OnCollision::Fail)]
    pub on_collision: OnCollision,

    /// Let no key expire, and no field
    #[arg(long, conflicts_with_all = ["ttl_add", "expire_at", "set_ttl"])]
    pub no_ttl: bool,

    /// Let everything that expires do so later: 30d, or earlier: -1h
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = shift)]
    pub ttl_add: Option<i64>,

    /// Let every key expire at this instant: 2027-01-01, @1767225600
    #[arg(long, value_name = "INSTANT", value_parser = instant, conflicts_with = "set_ttl")]
    pub expire_at: Option<UnixMs>,

    /// Let every key expire so much later than now
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub set_ttl: Option<i64>,

    /// Leave keys out that have expired (at the instant of --now), before their expiry is changed
    #[arg(long)]
    pub drop_expired: bool,
}

/// What happens to keys that get one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OnCollision {
    /// Nothing is written
    #[default]
    Fail,
    /// The first of them in the input stays
    First,
    /// The last of them in the input stays
    Last,
}

/// A rule of `--rename`.
#[derive(Debug, Clone)]
pub struct Rename {
    pattern: Regex,
    replacement: Vec<u8>,
}

fn rename(text: &str) -> Result<Rename, String> {
    let (pattern, replacement) = pair(text)?;
    let pattern = RegexBuilder::new(&pattern).unicode(false).build().map_err(|error| error.to_string())?;
    Ok(Rename { pattern, replacement: replacement.into_bytes() })
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("must be OLD=NEW".to_owned()),
    }
}

fn map_db(text: &str) -> Result<(u64, u64), String> {
    let numbers = text.split_once(':').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    numbers.ok_or_else(|| "must be two numbers, as 1:0".to_owned())
}

fn instant(text: &str) -> Result<UnixMs, String> {
    when::instant(text).map_err(|why| format!("\"{text}\" {why}"))
}

fn duration(text: &str) -> Result<i64, String> {
    when::duration(text).map_err(|why| format!("\"{text}\" {why}"))
}

fn shift(text: &str) -> Result<i64, String> {
    match text.strip_prefix('-') {
        Some(less) => duration(less).map(|ms| -ms),
        None => duration(text.strip_prefix('+').unwrap_or(text)),
    }
}

impl Edits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let renames = !self.rename.is_empty() || !self.rename_prefix.is_empty() || self.add_prefix.is_some();
        !(renames || !self.map_db.is_empty() || self.changes_ttl() || self.drop_expired)
    }

    fn changes_ttl(&self) -> bool {
        self.no_ttl || self.ttl_add.is_some() || self.expire_at.is_some() || self.set_ttl.is_some()
    }

    /// Whether fields of hashes get other instants.
    #[must_use]
    pub fn changes_field_ttl(&self) -> bool {
        self.no_ttl || self.ttl_add.is_some()
    }

    /// Whether two keys may get one name: one prefix for all keeps them apart.
    #[must_use]
    pub fn may_collide(&self) -> bool {
        !(self.rename.is_empty() && self.rename_prefix.is_empty() && self.map_db.is_empty())
    }

    /// The database that keys of `db` go to.
    #[must_use]
    pub fn db(&self, db: u64) -> u64 {
        self.map_db.iter().find(|(from, _)| *from == db).map_or(db, |(_, to)| *to)
    }

    /// The name that a key gets.
    #[must_use]
    pub fn key<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        let mut name = Cow::Borrowed(key);
        let prefix = self.rename_prefix.iter().find(|(old, _)| key.starts_with(old.as_bytes()));
        if let Some((old, new)) = prefix {
            name = Cow::Owned([new.as_bytes(), &key[old.len()..]].concat());
        }
        if let Some(rule) = self.rename.iter().find(|rule| rule.pattern.is_match(&name)) {
            name = Cow::Owned(rule.pattern.replace_all(&name, &rule.replacement[..]).into_owned());
        }
        match &self.add_prefix {
            Some(prefix) => Cow::Owned([prefix.as_bytes(), &name].concat()),
            None => name,
        }
    }

    /// When a key expires that expired at `at`.
    fn expiry(&self, at: Option<UnixMs>, now: UnixMs) -> Option<UnixMs> {
        if self.no_ttl {
            return None;
        }
        let at = match (self.expire_at, self.set_ttl) {
            (Some(at), _) => Some(at),
            (None, Some(ttl)) => Some(UnixMs(now.0.saturating_add(ttl))),
            (None, None) => at,
        };
        at.map(|at| self.later(at))
    }

    fn later(&self, at: UnixMs) -> UnixMs {
        match self.ttl_add {
            // Servers take -1 for none and refuse other negative instants: what expired before 1970 stays so.
            Some(ms) if at.0 >= 0 => UnixMs(at.0.saturating_add(ms).max(0)),
            _ => at,
        }
    }

    /// When a field expires that expired at `at`.
    fn field_expiry(&self, at: Option<UnixMs>) -> Option<UnixMs> {
        if self.no_ttl { None } else { at.map(|at| self.later(at)) }
    }
}

/// Passes on keys as they are after the edits.
#[derive(Debug)]
pub struct Edited<'e, S> {
    edits: &'e Edits,
    now: UnixMs,
    resolver: Option<Resolver>,
    sink: S,
    /// Whether the key whose events come, or that came last, is left out.
    is_dropped: bool,
    dropped: u64,
    passed: u64,
}

impl<'e, S: Sink> Edited<'e, S> {
    /// A sink in front of `sink`; `resolver` decides between keys that get one name.
    pub fn new(edits: &'e Edits, now: UnixMs, resolver: Option<Resolver>, sink: S) -> Self {
        Self { edits, now, resolver, sink, is_dropped: false, dropped: 0, passed: 0 }
    }

    /// Keys left out, because they had expired or another one has their name.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keys passed on.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// The sink behind it.
    pub fn into_inner(self) -> S {
        self.sink
    }

    fn is_expired(&self, head: &KeyHead<'_>) -> bool {
        self.edits.drop_expired && head.expire_at.is_some_and(|at| at != UnixMs(-1) && at <= self.now)
    }
}

impl<S: Sink> Sink for Edited<'_, S> {
    type Error = S::Error;

    fn start(&mut self, version: Version) -> Result<(), S::Error> {
        self.sink.start(version)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), S::Error> {
        // What KeyDB says of members of the last key.
        if !key.starts_with(b"keydb-subexpire") {
            return self.sink.aux(key, value, end);
        }
        if self.is_dropped || self.edits.no_ttl {
            return Ok(());
        }
        let at = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).map(UnixMs);
        match at.filter(|_| key == b"keydb-subexpire-when") {
            Some(at) => self.sink.aux(key, self.edits.later(at).0.to_string().as_bytes(), end),
            None => self.sink.aux(key, value, end),
        }
    }

    fn select_db(&mut self, db: u64, end: u64) -> Result<(), S::Error> {
        self.sink.select_db(self.edits.db(db), end)
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Result<(), S::Error> {
        self.sink.slot_import(job, ranges)
    }

    fn function(&mut self, at: u64, code: &[u8]) -> Result<(), S::Error> {
        self.sink.function(at, code)
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> Result<(), S::Error> {
        self.sink.module_aux(at, id, payload)
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), S::Error> {
        self.sink.template(id, fields)
    }

    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), S::Error> {
        self.sink.update(at, argv)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, S::Error> {
        let (db, key) = (self.edits.db(head.db), self.edits.key(head.key));
        let is_kept =
            !self.is_expired(head) && self.resolver.as_mut().is_none_or(|resolver| resolver.keeps(db, &key));
        self.is_dropped = !is_kept;
        if self.is_dropped {
            self.dropped += 1;
            return Ok(Depth::Skip);
        }
        self.passed += 1;
        let expire_at = self.edits.expiry(head.expire_at, self.now);
        let depth = self.sink.key(&KeyHead { db, key: &key, expire_at, ..*head })?;
        // Instants of fields are changed in their events.
        let expires = matches!(
            head.object,
            ObjectType::HashExpiry
                | ObjectType::HashMetadata
                | ObjectType::HashListpackEx
                | ObjectType::HashMetadataPreGa
                | ObjectType::HashListpackExPreGa
        );
        Ok(match depth {
            Depth::Packed if expires && self.edits.changes_field_ttl() => Depth::Item,
            depth => depth,
        })
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), S::Error> {
        if self.is_dropped {
            return Ok(());
        }
        match event {
            ValueEvent::Field { field, value, expire_at } => {
                let expire_at = self.edits.field_expiry(expire_at);
                self.sink.value(ValueEvent::Field { field, value, expire_at })
            }
            event => self.sink.value(event),
        }
    }

    fn end_key(&mut self, end: u64) -> Result<(), S::Error> {
        if self.is_dropped { Ok(()) } else { self.sink.end_key(end) }
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), S::Error> {
        self.sink.end(trailer)
    }
}
