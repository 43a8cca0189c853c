//! Checking an RDB file: every fault in one pass, each with its place and what a server makes of it.
//!
//! The decoder tells whether lengths hold; a value is then looked at on its own, so that a fault
//! inside one does not end the check. When the lengths themselves are wrong, nothing after them can be
//! trusted and the check ends there. Knows no output; `cmd/check.rs` has that.

mod fate;
mod value;

use std::convert::Infallible;
use std::sync::Arc;

use cairn_engine::codec::rdb::{
    Decoder, Depth, Error, Failure, Family, KeyHead, Options as DecoderOptions, Sink, Trailer, ValueEvent,
    Version, decode_value,
};
use siphasher::sip128::SipHasher13;

use crate::drive::{Stop, drive};
use crate::input::Input;
use crate::output::clean;
use crate::progress::Progress;

pub use fate::{Fate, kind_name};
use value::{Finder, Inspector};

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depths {
    /// Lengths and checksum; values are stepped over.
    Quick,
    /// Everything.
    Deep,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Offset in the file, behind the wrapping of a diskless transfer.
    pub at: u64,
    /// The key it is in, and its database.
    pub key: Option<(u64, Vec<u8>)>,
    /// A word for its kind, for scripts.
    pub kind: &'static str,
    /// What is wrong, for people. Bytes of the file are escaped in it.
    pub what: String,
    /// What a server makes of it.
    pub fate: Fate,
}

/// What a check found out.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The file's version; `None` if it has no right magic.
    pub version: Option<Version>,
    /// Server name and version of the aux fields.
    pub producer: Option<(String, Vec<u8>)>,
    /// Keys whose records are whole.
    pub keys: u64,
    /// Those of them that expire.
    pub expires: u64,
    /// Databases with keys.
    pub dbs: u64,
    /// Function libraries.
    pub functions: u64,
    /// What the file says about its checksum; `None` if its end was not reached.
    pub trailer: Option<Trailer>,
    /// Bytes read.
    pub bytes: u64,
    /// The faults in the order in which they were found; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// All of them, also those that are not listed.
    pub found: u64,
}

/// No more findings than this are kept: a file of garbage could have one in every key.
pub const MAX_FINDINGS: usize = 100_000;

impl Report {
    /// Whether the whole file could be read, whatever is wrong in its values.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.trailer.is_some()
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Adds what the decoder says: `start` is where its offset 0 lies.
    fn add_error(&mut self, error: &Error, start: u64, key: Option<(u64, Vec<u8>)>) {
        self.add(Finding {
            at: start + error.at,
            key: key.or_else(|| error.key.clone().map(|key| (error.db, key))),
            kind: kind_name(&error.kind),
            what: clean(&error.kind.to_string()),
            fate: Fate::of(error),
        });
    }
}

/// Checks the RDB file at the input's position; what follows it is left.
///
/// # Errors
/// Only if the input cannot be read; faults of the file are findings.
pub fn check(input: &mut Input, depths: Depths, progress: &Progress) -> std::io::Result<Report> {
    let start = input.position();
    let mut checker = Checker::new(depths, input.share(), start);
    let mut decoder = Decoder::new(DecoderOptions::default());
    let result = drive(input, &mut decoder, progress, &mut checker);
    checker.report.bytes = input.position() - start;
    checker.find_duplicate_keys();
    match result {
        Ok(()) => {}
        Err(Stop::Format(error)) => checker.report.add_error(&error, 0, None),
        Err(Stop::Read(error)) => return Err(error),
        Err(Stop::Other(fault)) => return Err(std::io::Error::other(fault)),
        Err(Stop::Sink(never)) => match never {},
    }
    Ok(checker.report)
}

/// The key being read.
#[derive(Debug, Default)]
struct Current {
    db: u64,
    key: Vec<u8>,
    type_byte: u8,
    /// Payload seen at depth `Raw`.
    raw_bytes: u64,
    is_raw: bool,
}

struct Checker {
    depths: Depths,
    /// The mapped file, from which values are taken when their length is known.
    mapped: Option<Arc<memmap2::Mmap>>,
    /// Where in the file the decoder's offset 0 lies, wrapping included.
    origin: usize,
    /// The payload of the current value where the file is not mapped.
    payload: Vec<u8>,
    current: Current,
    inspector: Inspector,
    hasher: SipHasher13,
    /// Hash and offset of every key.
    keys: Vec<(u64, u64)>,
    last_db: Option<u64>,
    report: Report,
}

impl Checker {
    fn new(depths: Depths, mapped: Option<Arc<memmap2::Mmap>>, start: u64) -> Self {
        const WRAPPING: &[u8] = b"$EOF:";
        const WRAPPING_BYTES: usize = 47;
        // A mapped file has an address, so its offsets fit.
        let start = start as usize;
        let is_wrapped = mapped.as_ref().is_some_and(|map| map[start..].starts_with(WRAPPING));
        let hasher = random_hasher();
        Self {
            depths,
            mapped,
            origin: start + if is_wrapped { WRAPPING_BYTES } else { 0 },
            payload: Vec::new(),
            current: Current::default(),
            inspector: Inspector::new(hasher),
            hasher,
            keys: Vec::new(),
            last_db: None,
            report: Report::default(),
        }
    }

    /// A value that a server must not meet twice: 64 bits are enough to tell a billion keys apart.
    fn remember_key(&mut self, head: &KeyHead<'_>) {
        if self.depths == Depths::Deep {
            let hash = self.hasher.hash(head.key).as_u128() as u64;
            self.keys.push((hash ^ head.db.wrapping_mul(0x9e37_79b9_7f4a_7c15), head.at));
        }
    }

    fn find_duplicate_keys(&mut self) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_unstable();
        for pair in keys.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            self.report.add(Finding {
                at: pair[1].1,
                key: None,
                kind: "duplicate-key",
                what: format!("the key at this offset is there before, at offset {}", pair[0].1),
                fate: Fate::Crashes,
            });
        }
    }

    /// Looks at a value whose bytes are all there.
    fn inspect(&mut self, end: u64) {
        let start = end - self.current.raw_bytes;
        let payload: &[u8] = match &self.mapped {
            Some(map) => &map[self.origin + start as usize..self.origin + end as usize],
            None => &self.payload,
        };
        let Some(version) = self.report.version else { return };
        let depth = self.inspector.depth();
        let result = decode_value(version, self.current.type_byte, payload, depth, &mut self.inspector);
        if let Err(Failure::Format(error)) = result {
            let key = Some((self.current.db, std::mem::take(&mut self.current.key)));
            self.report.add_error(&error, start, key);
            return;
        }
        let twice = self.inspector.end().map(|hash| {
            let mut finder = Finder::new(&self.inspector, hash);
            // The same bytes were decoded above, so nothing can go wrong that has not gone wrong before.
            let _ = decode_value(version, self.current.type_byte, payload, depth, &mut finder);
            finder.found
        });
        if let Some(twice) = twice {
            self.inspector.add_duplicate(twice.as_deref());
        }
        self.take_problems(start);
    }

    fn take_problems(&mut self, at: u64) {
        for problem in self.inspector.problems.drain(..) {
            self.report.add(Finding {
                at,
                key: Some((self.current.db, self.current.key.clone())),
                kind: problem.kind,
                what: problem.what,
                fate: problem.fate,
            });
        }
    }
}

/// A hash that nobody can prepare collisions for.
fn random_hasher() -> SipHasher13 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    SipHasher13::new_with_keys(random.hash_one(0), random.hash_one(1))
}

impl Sink for Checker {
    type Error = Infallible;

    fn start(&mut self, version: Version) -> Result<(), Infallible> {
        self.report.version = Some(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), Infallible> {
        if let Some(name) = producer_of(key) {
            self.report.producer = Some((name.to_owned(), value.to_vec()));
        }
        Ok(())
    }

    fn function(&mut self, _at: u64, _code: &[u8]) -> Result<(), Infallible> {
        self.report.functions += 1;
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.remember_key(head);
        self.report.expires += u64::from(head.expire_at.is_some());
        if self.last_db != Some(head.db) {
            self.last_db = Some(head.db);
            self.report.dbs += 1;
        }
        self.current.db = head.db;
        self.current.key.clear();
        self.current.key.extend_from_slice(head.key);
        self.current.type_byte = head.type_byte;
        self.current.raw_bytes = 0;
        self.payload.clear();
        self.inspector.begin(head.object);
        let depth = match self.depths {
            Depths::Quick => Depth::Skip,
            Depths::Deep if self.inspector.is_inspected_while_read(self.mapped.is_some()) => {
                self.inspector.depth()
            }
            Depths::Deep => Depth::Raw,
        };
        self.current.is_raw = depth == Depth::Raw;
        Ok(depth)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        match event {
            ValueEvent::Raw(piece) => {
                self.current.raw_bytes += piece.len() as u64;
                if self.mapped.is_none() {
                    self.payload.extend_from_slice(piece);
                }
            }
            event => self.inspector.event(&event),
        }
        Ok(())
    }

    fn end_key(&mut self, end: u64) -> Result<(), Infallible> {
        self.report.keys += 1;
        match self.depths {
            Depths::Quick => {}
            Depths::Deep if self.current.is_raw => self.inspect(end),
            Depths::Deep => {
                if self.inspector.end().is_some() {
                    self.inspector.add_duplicate(None);
                }
                self.take_problems(end);
            }
        }
        Ok(())
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), Infallible> {
        self.report.trailer = Some(trailer);
        Ok(())
    }
}

/// The server that an aux field with its version names.
#[must_use]
pub fn producer_of(key: &[u8]) -> Option<&'static str> {
    match key {
        b"redis-ver" => Some("redis"),
        b"valkey-ver" => Some("valkey"),
        _ => None,
    }
}

/// What a finding calls a collection's parts.
fn part_name(family: Family) -> &'static str {
    match family {
        Family::Hash | Family::PathHash => "field",
        _ => "member",
    }
}

#[cfg(test)]
mod tests;
