//! The sink that checks: one for each thread.
//!
//! Of a mapped file values are first looked at in the decoder's own pass. A batch in which something is
//! wrong is read again in a careful way: the decoder goes by lengths alone, and each value is decoded on its own,
//! so that a fault inside one does not end the check and can be told with names. Pipes are read
//! carefully from the start.

use std::io;
use std::sync::Arc;

use cairn_engine::codec::rdb::records::{Passing, Records, Stored};
use cairn_engine::codec::rdb::{
    Depth, Failure, KeyHead, Sink, Templates, Trailer, ValueEvent, Version, decode_value,
};

use super::distinct::Hasher;
use super::glance::Glance;
use super::keys::Hashes;
use super::value::{Finder, Inspector};
use super::{Depths, Finding, MAX_DBS, Report, producer_of};
use crate::drive::Stop;
use crate::erased;
use crate::parallel::{Closed, Outlet, Start, Worker};

/// What keeps a checker from going on.
#[derive(Debug)]
pub(super) enum Halt {
    /// Something is wrong in the batch, which is to be read carefully.
    Again,
    /// Temporary files cannot be had.
    Spill(io::Error),
    /// Nobody listens.
    Closed,
}

impl From<Closed> for Halt {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
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

/// Looks at batch after batch.
pub(super) struct Checker {
    depths: Depths,
    /// The mapped file, from which values are taken when their length is known.
    mapped: Option<Arc<memmap2::Mmap>>,
    /// Where in the file the decoder's offset 0 lies, wrapping included.
    origin: usize,
    /// The payload of the current value where the file is not mapped.
    payload: Vec<u8>,
    current: Current,
    inspector: Inspector,
    glance: Glance,
    hasher: Hasher,
    /// The keys of the batch.
    pub(super) keys: Hashes,
    outlet: Option<Outlet<Hashes>>,
    version: Option<Version>,
    is_careful: bool,
    /// Where the current batch began.
    batch_at: Option<u64>,
    /// Where the last batch began, also when it has come to its end.
    pub(super) last_at: u64,
    /// The hash templates that were defined before, in this batch and in those before it.
    pub(super) templates: Arc<Templates>,
    /// What the current batch came to so far.
    batch: Report,
    /// What all batches before came to.
    pub(super) report: Report,
}

/// Keys that are handed on at once.
const KEYS_AT_ONCE: usize = 8192;

impl Checker {
    pub(super) fn new(
        depths: Depths,
        hasher: Hasher,
        mapped: Option<Arc<memmap2::Mmap>>,
        origin: usize,
        outlet: Option<Outlet<Hashes>>,
    ) -> Self {
        let keys = Hashes::new(mapped.is_some());
        Self {
            depths,
            mapped,
            origin,
            payload: Vec::new(),
            current: Current::default(),
            inspector: Inspector::new(hasher),
            glance: Glance::new(hasher),
            hasher,
            keys,
            outlet,
            version: None,
            is_careful: true,
            batch_at: None,
            last_at: 0,
            templates: Arc::default(),
            batch: Report::default(),
            report: Report::default(),
        }
    }

    /// Looks at a value whose bytes are all there.
    fn inspect(&mut self, end: u64) {
        let start = end - self.current.raw_bytes;
        let payload: &[u8] = match &self.mapped {
            Some(map) => &map[self.origin + start as usize..self.origin + end as usize],
            None => &self.payload,
        };
        let Some(version) = self.version else { return };
        let depth = self.inspector.depth();
        let result = decode_value(version, self.current.type_byte, payload, depth, &mut self.inspector);
        if let Err(Failure::Format(error)) = result {
            let key = Some((self.current.db, std::mem::take(&mut self.current.key)));
            self.batch.add_error(&error, start, key);
            return;
        }
        if let Some(hash) = self.inspector.end() {
            let mut finder = Finder::new(&self.inspector, hash);
            // The same bytes were decoded above, so nothing can go wrong that has not gone wrong before.
            let _ = decode_value(version, self.current.type_byte, payload, depth, &mut finder);
            if let Some(twice) = finder.found {
                self.inspector.add_duplicate(Some(&twice));
            }
        }
        self.take_problems(start);
    }

    fn take_problems(&mut self, at: u64) {
        for problem in self.inspector.problems.drain(..) {
            self.batch.add(Finding {
                at,
                key: Some((self.current.db, self.current.key.clone())),
                kind: problem.kind,
                what: problem.what,
                fate: problem.fate,
            });
        }
    }

    /// Takes note of a key. Where the value is stepped over, nobody asks whether the key is there twice.
    #[inline]
    fn count(&mut self, head: &KeyHead<'_>) {
        if self.depths == Depths::Deep {
            self.keys.push(self.hasher, head.db, head.key, head.at);
        }
        self.batch.expires += u64::from(head.expire_at.is_some());
        if self.current.db != head.db || self.batch.db_ids.is_empty() {
            self.current.db = head.db;
            if self.batch.db_ids.len() < MAX_DBS {
                self.batch.db_ids.insert(head.db);
            }
        }
    }

    /// Looks at a value that is too rare, too large or too odd for a [`Glance`].
    fn other(&mut self, head: &KeyHead<'_>, value: &mut Stored<'_>) -> Option<()> {
        self.inspector.begin(head.object);
        let (depth, version) = (self.inspector.depth(), self.version?);
        let len = erased::decode_value(version, head.type_byte, value.rest(), depth, &mut self.inspector);
        value.bytes(len.ok()? as u64)?;
        let is_well = self.inspector.end().is_none()
            && self.inspector.problems.is_empty()
            && self.inspector.failed().is_none();
        is_well.then_some(())
    }

    fn hand_on(&mut self) -> Result<(), Halt> {
        match &self.outlet {
            Some(outlet) if self.keys.len() > 0 => Ok(outlet.send(self.keys.take())?),
            _ => Ok(()),
        }
    }
}

impl Worker for Checker {
    fn begin(&mut self, start: &Start) -> Result<(), Halt> {
        self.version = start.version.or(self.version);
        // Read before, it is read again because something is wrong.
        let is_again = self.batch_at.replace(start.offset) == Some(start.offset);
        self.is_careful = is_again || !start.can_be_read_again;
        self.batch = Report::default();
        self.keys.clear();
        self.templates = Arc::clone(&start.templates);
        self.last_at = start.offset;
        Ok(())
    }

    fn pass(&mut self, records: &mut Records<'_>) {
        // What is read again has a fault, which the decoder will tell.
        if !self.is_careful && self.depths == Depths::Deep {
            records.pass(self);
        }
    }

    fn again(&mut self, stop: &Stop<Halt>) -> bool {
        matches!(stop, Stop::Format(_) | Stop::Sink(Halt::Again)) && !self.is_careful
    }

    fn finish(&mut self) -> Result<(), Halt> {
        self.batch_at = None;
        self.report.merge(std::mem::take(&mut self.batch));
        self.hand_on()
    }
}

impl Passing for Checker {
    #[inline]
    fn record(&mut self, head: &KeyHead<'_>, value: &mut Stored<'_>) -> bool {
        let start = value.clone();
        if self.glance.value(head.object, value).is_none() {
            *value = start;
            if self.other(head, value).is_none() {
                return false;
            }
        }
        self.count(head);
        self.batch.keys += 1;
        true
    }

    fn aux(&mut self, key: &[u8]) -> bool {
        producer_of(key).is_none()
    }
}

impl Sink for Checker {
    type Error = Halt;

    fn start(&mut self, version: Version) -> Result<(), Halt> {
        self.version = Some(version);
        self.batch.version = Some(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), Halt> {
        if let Some(name) = producer_of(key) {
            self.batch.producer = Some((name.to_owned(), value.to_vec()));
        }
        Ok(())
    }

    fn function(&mut self, _at: u64, _code: &[u8]) -> Result<(), Halt> {
        self.batch.functions += 1;
        Ok(())
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Halt> {
        Arc::make_mut(&mut self.templates).insert(id, Arc::new(fields.to_vec()));
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Halt> {
        self.count(head);
        self.current.type_byte = head.type_byte;
        let depth = match self.depths {
            Depths::Quick => Depth::Skip,
            Depths::Deep => {
                self.inspector.begin(head.object);
                let is_whole = self.inspector.is_inspected_while_read(self.mapped.is_some());
                if self.is_careful {
                    self.current.key.clear();
                    self.current.key.extend_from_slice(head.key);
                    self.current.raw_bytes = 0;
                    self.payload.clear();
                }
                if is_whole || !self.is_careful { self.inspector.depth() } else { Depth::Raw }
            }
        };
        self.current.is_raw = depth == Depth::Raw;
        Ok(depth)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Halt> {
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

    fn end_key(&mut self, end: u64) -> Result<(), Halt> {
        self.batch.keys += 1;
        match self.depths {
            Depths::Quick => return Ok(()),
            Depths::Deep if self.current.is_raw => self.inspect(end),
            Depths::Deep => {
                let is_twice = self.inspector.end().is_some();
                if !self.is_careful && (is_twice || !self.inspector.problems.is_empty()) {
                    return Err(Halt::Again);
                }
                if is_twice {
                    self.inspector.add_duplicate(None);
                }
                self.take_problems(end);
            }
        }
        if let Some(error) = self.inspector.failed() {
            return Err(Halt::Spill(error));
        }
        if self.is_careful && self.keys.len() >= KEYS_AT_ONCE {
            self.hand_on()?;
        }
        Ok(())
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), Halt> {
        self.batch.trailer = Some(trailer);
        Ok(())
    }
}
