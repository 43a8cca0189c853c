//! The first pass: a line of facts for each key, sorted by key outside memory.

use std::io;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, Family, KeyHead, ValueEvent};

use super::digest::Scope;
use super::spool::Twice;
use crate::canon::{Canon, Content, Keyed, Parts, Rules, Section, expiry};
use crate::drive::Stop;
use crate::parallel::Jobs;
use crate::select::Chosen;
use crate::spill::{Record, Sorted, Sorter, Spill};
use crate::walk::{self, Visit};

/// What is known of a key without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What its value is, in short.
    pub content: Content,
    /// What it is one of.
    pub family: Family,
    /// When it expires.
    pub expires: Option<UnixMs>,
    /// Where its record is in the source.
    pub at: u64,
}

const FAMILIES: [Family; 9] = [
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

impl Facts {
    /// Bytes that [`Facts::read`] takes back.
    pub fn push(&self, out: &mut Vec<u8>) {
        let family = FAMILIES.iter().position(|family| *family == self.family).unwrap_or(0) as u8;
        let (has_expiry, has_ttls) = (self.expires.is_some(), self.content.ttl_sum != 0);
        out.push(family | u8::from(has_expiry) << 4 | u8::from(has_ttls) << 5);
        out.extend_from_slice(&self.content.sum.to_le_bytes());
        if has_ttls {
            out.extend_from_slice(&self.content.ttl_sum.to_le_bytes());
        }
        if let Some(at) = self.expires {
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        for number in [self.at, self.content.elements, self.content.bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Takes them off the front of `bytes`.
    #[must_use]
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (first, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(*first)
        }
        let [flags] = take(bytes)?;
        let sum = u128::from_le_bytes(take(bytes)?);
        let ttl_sum = if flags & 1 << 5 == 0 { 0 } else { u128::from_le_bytes(take(bytes)?) };
        let expires = match flags & 1 << 4 {
            0 => None,
            _ => Some(UnixMs(i64::from_le_bytes(take(bytes)?))),
        };
        let mut number = || Some(u64::from_le_bytes(take(bytes)?));
        let (at, elements, byte_count) = (number()?, number()?, number()?);
        let content = Content { sum, ttl_sum, elements, bytes: byte_count };
        Some(Self { content, family: *FAMILIES.get(usize::from(flags & 15))?, expires, at })
    }
}

/// Records of some keys, one behind the other.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where keys and payloads end.
    ends: Vec<(usize, usize)>,
}

/// Handed on when a batch has this much.
const BATCH_BYTES: usize = 64 << 10;

impl Batch {
    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |(middle, end)| {
            let record = Record { key: &self.bytes[start..*middle], payload: &self.bytes[*middle..*end] };
            start = *end;
            record
        })
    }
}

struct Surveyor {
    canon: Canon,
    keyed: Keyed,
    batch: Batch,
    middle: usize,
    facts: Facts,
}

impl Surveyor {
    fn new(rules: Rules, keyed: Keyed) -> Self {
        let facts = Facts { content: Content::default(), family: Family::String, expires: None, at: 0 };
        Self { canon: Canon::new(rules), keyed, batch: Batch::default(), middle: 0, facts }
    }

    fn begin(&mut self, scope: Scope, name: &[u8], at: u64) {
        scope.push(&mut self.batch.bytes);
        self.batch.bytes.extend_from_slice(name);
        self.middle = self.batch.bytes.len();
        self.facts = Facts { content: Content::default(), family: Family::String, expires: None, at };
    }

    fn end(&mut self) {
        self.facts.content = self.keyed.take();
        self.facts.push(&mut self.batch.bytes);
        self.batch.ends.push((self.middle, self.batch.bytes.len()));
    }

    fn whole(&mut self, scope: Scope, name: &[u8], at: u64, content: &[u8]) {
        self.begin(scope, name, at);
        let Ok(()) = self.keyed.part(Section::Text, b"", content);
        self.end();
    }
}

impl Visit for Surveyor {
    type Item = Batch;

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.begin(Scope::Db(head.db), head.key, head.at);
        (self.facts.family, self.facts.expires) = (head.object.family(), expiry(head));
        let Ok(()) = self.canon.begin(head, &mut self.keyed);
        Ok(Depth::Item)
    }

    fn value(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        let Ok(()) = self.canon.event(event, &mut self.keyed);
        Ok(())
    }

    fn member_expiry(&mut self, member: &[u8], at: UnixMs) -> io::Result<()> {
        let Ok(()) = self.canon.member_expiry(member, at, &mut self.keyed);
        Ok(())
    }

    fn end_key(&mut self) -> io::Result<()> {
        self.end();
        Ok(())
    }

    fn library(&mut self, at: u64, name: &[u8], code: &[u8]) -> io::Result<()> {
        self.whole(Scope::Functions, name, at, code);
        Ok(())
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        // The id takes nine bytes; then comes a tag, and whether this is from before the keys (1) or behind them.
        let when = payload.get(10).copied().unwrap_or_default();
        let name = format!("{}.{when}", String::from_utf8_lossy(&crate::jsonl::module_name(id)));
        self.whole(Scope::ModuleAux, name.as_bytes(), at, payload);
        Ok(())
    }

    fn take(&mut self, all: bool) -> Option<Batch> {
        let is_enough = all || self.batch.bytes.len() >= BATCH_BYTES;
        (is_enough && !self.batch.ends.is_empty()).then(|| std::mem::take(&mut self.batch))
    }
}

/// How surveys that are to be compared are made.
#[derive(Debug)]
pub struct How<'a> {
    /// Which keys.
    pub chosen: &'a Chosen,
    /// What of their values counts.
    pub rules: Rules,
    /// The same for all of them.
    pub keyed: Keyed,
    /// Threads.
    pub jobs: Jobs,
}

/// The keys of a source in order.
#[derive(Debug)]
pub struct Survey {
    sorted: Sorted,
    /// Keys that were there.
    pub keys: u64,
    /// Keys that were there more than once: the last one counts.
    pub twice: u64,
}

impl Survey {
    /// Reads a source.
    ///
    /// # Errors
    /// What is wrong with the source, or with temporary files.
    pub fn of(source: &mut Twice, how: &How<'_>, spill: &Spill) -> Result<Self, Stop<anyhow::Error>> {
        let mut opened = source.open().map_err(Stop::Sink)?;
        let mut sorter = Sorter::new(spill);
        let surveyor = || Surveyor::new(how.rules, how.keyed);
        let read = walk::read(&mut opened, how.chosen, how.jobs, surveyor, |batch| {
            batch.records().try_for_each(|record| sorter.push(record.key, record.payload))
        });
        read.map_err(|stop| stop.map_sink(Into::into))?;
        let keys = sorter.len();
        let sorted = sorter.finish().map_err(|error| Stop::Sink(error.into()))?;
        Ok(Self { sorted, keys, twice: 0 })
    }

    /// The key at hand, as it sorts: see [`Scope::split`].
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.sorted.current().map(|record| record.key)
    }

    /// Takes the facts of the key at hand, of its last record if it has several, and steps on.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn take(&mut self) -> io::Result<Facts> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a record of a temporary file");
        let record = self.sorted.current().ok_or_else(damaged)?;
        let key = record.key.to_vec();
        let mut facts = Facts::read(&mut { record.payload }).ok_or_else(damaged)?;
        self.sorted.advance()?;
        while let Some(record) = self.sorted.current_of(&key) {
            facts = Facts::read(&mut { record.payload }).ok_or_else(damaged)?;
            self.twice += 1;
            self.sorted.advance()?;
        }
        Ok(facts)
    }
}
