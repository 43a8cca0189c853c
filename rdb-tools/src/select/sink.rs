//! The sink that lets only chosen keys through to another one.
//!
//! Where a filter needs the value, its undecoded bytes are kept until the answer is known, and then decoded at
//! the depth that the other sink wants: as soon as it is known, not at the end, so that `--size 1M..` or
//! `--elements 1000..` keep no more than that. Up to [`MEMORY_BYTES`] are kept in memory, more in a
//! temporary file. Values that come in one piece, as strings and packed values do, are not copied.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Depth, Error, Failure, KeyHead, Kind, ObjectType, Sink, Trailer, ValueEvent, Version,
};

use super::{Chosen, Verdict};
use crate::drive::Stop;
use crate::gauge::{Feed, Gauge, placed};
use crate::jsonl::function_name;
use crate::parallel::{Start, Worker};

/// What is kept of a value in memory until it is known whether its key is chosen.
pub const MEMORY_BYTES: usize = 4 << 20;
/// What is read at once of a value that was kept in a file.
const CHUNK_BYTES: usize = 1 << 20;

/// What can go wrong in a [`Selected`].
#[derive(Debug)]
pub enum Halted<E> {
    /// The sink behind it did not want to go on.
    Sink(E),
    /// The inside of a value is wrong, which shows only when it is decoded.
    Format(Error),
    /// A value could not be kept in a temporary file.
    Spool(io::Error),
    /// As many have come as were wanted ([`Selected::limited`]).
    Enough,
}

impl<E: From<io::Error>> From<io::Error> for Halted<E> {
    fn from(error: io::Error) -> Self {
        Self::Sink(error.into())
    }
}

/// What reading into a [`Selected`] ended with, as reading into the sink behind it would have told it.
#[must_use]
pub fn through<E>(stop: Stop<Halted<E>>) -> Stop<E> {
    match stop {
        Stop::Sink(Halted::Sink(error)) => Stop::Sink(error),
        Stop::Sink(Halted::Format(error)) | Stop::Format(error) => Stop::Format(error),
        Stop::Sink(Halted::Spool(error)) | Stop::Read(error) => Stop::Read(error),
        Stop::Other(fault) => Stop::Other(fault),
        // Whoever sets a limit asks for this before; it is as if nobody listened any more.
        Stop::Sink(Halted::Enough) => Stop::Read(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Passes on what is chosen. Declared sizes (of databases, of slots), which would be wrong then, are left out
/// if anything may be.
#[derive(Debug)]
pub struct Selected<'a, S> {
    chosen: &'a Chosen,
    sink: S,
    version: Version,
    head: OwnedHead,
    at: At,
    /// Why the insides of the value cannot be replayed; told when its offset is known.
    fault: Option<Error>,
    kept: Kept,
    gauge: Gauge,
    replay: Feed,
    passed: u64,
    limit: Option<u64>,
    counter: Option<&'a AtomicU64>,
    /// What KeyDB wrote about the key that follows.
    stamp: Option<(Vec<u8>, u64)>,
}

/// How far the current key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// It is not chosen.
    Dropped,
    /// It is, and the events go to the sink as they come.
    Passing,
    /// Its bytes are kept.
    Open,
    /// It is chosen, and its bytes are decoded for the sink.
    Replayed,
}

#[derive(Debug, Default)]
struct OwnedHead {
    key: Vec<u8>,
    meta: Option<Vec<u8>>,
    at: u64,
    db: u64,
    object: Option<ObjectType>,
    type_byte: u8,
    expire_at: Option<UnixMs>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    no_evict: bool,
}

impl OwnedHead {
    fn keep(&mut self, head: &KeyHead<'_>) {
        self.key.clear();
        self.key.extend_from_slice(head.key);
        self.meta = head.meta.map(<[u8]>::to_vec);
        self.at = head.at;
        self.db = head.db;
        self.object = Some(head.object);
        self.type_byte = head.type_byte;
        self.expire_at = head.expire_at;
        self.idle_s = head.idle_s;
        self.freq = head.freq;
        self.no_evict = head.no_evict;
    }

    fn lend(&self) -> KeyHead<'_> {
        KeyHead {
            at: self.at,
            db: self.db,
            key: &self.key,
            object: self.object.unwrap_or(ObjectType::String),
            type_byte: self.type_byte,
            expire_at: self.expire_at,
            idle_s: self.idle_s,
            freq: self.freq,
            meta: self.meta.as_deref(),
            no_evict: self.no_evict,
        }
    }
}

/// The bytes of a value: in memory, or when they get many, in a file that has no name.
#[derive(Debug, Default)]
struct Kept {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Kept {
    fn clear(&mut self) {
        self.memory.clear();
        self.file = None;
    }

    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + piece.len() > MEMORY_BYTES {
            let mut file = tempfile::tempfile()?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(piece),
            None => {
                self.memory.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// Gives all of it to `each`, and forgets it.
    fn drain<E>(&mut self, mut each: impl FnMut(&[u8]) -> Result<(), Halted<E>>) -> Result<(), Halted<E>> {
        match self.file.take() {
            None => {
                each(&self.memory)?;
                self.memory.clear();
                Ok(())
            }
            Some(mut file) => {
                file.rewind().map_err(Halted::Spool)?;
                let mut chunk = vec![0; CHUNK_BYTES];
                loop {
                    match file.read(&mut chunk).map_err(Halted::Spool)? {
                        0 => return Ok(()),
                        n => each(&chunk[..n])?,
                    }
                }
            }
        }
    }
}

/// Whether all of such a value is in one unit of the format, and so in one piece.
fn is_one_unit(object: ObjectType) -> bool {
    use ObjectType as T;
    matches!(
        object,
        T::String
            | T::HashZipmap
            | T::ListZiplist
            | T::SetIntset
            | T::ZsetZiplist
            | T::HashZiplist
            | T::HashListpack
            | T::ZsetListpack
            | T::SetListpack
            | T::HashListpackEx
            | T::HashListpackExPreGa
            | T::HashTemplateListpackRef
    )
}

impl<'a, S: Sink> Selected<'a, S> {
    /// Lets through to `sink` what is chosen.
    pub fn new(chosen: &'a Chosen, sink: S) -> Self {
        use cairn_engine::codec::rdb::{Dialect, NEWEST_REDIS};
        // Until the file has said what it is.
        let version = Version { dialect: Dialect::Redis, number: NEWEST_REDIS };
        Self {
            chosen,
            sink,
            version,
            head: OwnedHead::default(),
            at: At::Passing,
            fault: None,
            kept: Kept::default(),
            gauge: Gauge::new(version),
            replay: Feed::new(version),
            passed: 0,
            limit: None,
            counter: None,
            stamp: None,
        }
    }

    /// The same for so many keys and function libraries at the most: [`Halted::Enough`] comes with the next one.
    #[must_use]
    pub fn limited(mut self, limit: Option<u64>) -> Self {
        self.limit = limit;
        self
    }

    /// The same, and `counter` counts the keys and function libraries that go through it, and others like it.
    #[must_use]
    pub fn counted(mut self, counter: Option<&'a AtomicU64>) -> Self {
        self.counter = counter;
        self
    }

    fn count(&mut self) {
        self.passed += 1;
        if let Some(counter) = self.counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sink behind it.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.sink
    }

    fn pass_key(&mut self) -> Result<Depth, Halted<S::Error>> {
        self.count();
        if let Some((stamp, end)) = self.stamp.take() {
            self.sink.aux(MVCC_STAMP, &stamp, end).map_err(Halted::Sink)?;
        }
        self.sink.key(&self.head.lend()).map_err(Halted::Sink)
    }

    /// More of a value has come whose key may not be wanted. `is_last` says that it has ended.
    fn look(&mut self, piece: &[u8], is_last: bool) -> Result<(), Halted<S::Error>> {
        self.gauge.push(piece, self.chosen.looks_inside());
        if is_last {
            self.gauge.end();
        }
        // A value that is damaged inside ends all when its offset is known, chosen or not.
        let (false, Some(facts)) = (self.gauge.is_faulty(), self.gauge.facts()) else {
            self.kept.clear();
            return Ok(());
        };
        match self.chosen.value(&self.head.lend(), self.version, facts, self.gauge.bytes()) {
            Verdict::No => {
                self.at = At::Dropped;
                self.kept.clear();
                Ok(())
            }
            Verdict::Yes => self.choose(piece),
            Verdict::Open => self.kept.add(piece).map_err(Halted::Spool),
        }
    }

    /// The key is chosen: what was kept goes to the sink, then `piece`.
    fn choose(&mut self, piece: &[u8]) -> Result<(), Halted<S::Error>> {
        let depth = self.pass_key()?;
        self.at = At::Replayed;
        if let Err(error) = self.replay.begin(self.head.type_byte, depth) {
            self.fault = Some(error);
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.drain(|bytes| self.play(bytes))?;
        self.kept = kept;
        self.play(piece)
    }

    fn play(&mut self, piece: &[u8]) -> Result<(), Halted<S::Error>> {
        if self.fault.is_some() {
            return Ok(());
        }
        match self.replay.push(piece, &mut self.sink) {
            Ok(()) => {}
            Err(Failure::Format(error)) => self.fault = Some(error),
            Err(Failure::Sink(error)) => return Err(Halted::Sink(error)),
        }
        Ok(())
    }

    /// A fault inside the value that has ended, with its place in the file.
    fn end_of_fault(&mut self, end: u64) -> Result<(), Halted<S::Error>> {
        let (db, key) = (self.head.db, &self.head.key);
        let start = end.saturating_sub(self.gauge.bytes());
        let fault = self.gauge.take_fault(db, key, end);
        match fault.or_else(|| self.fault.take().map(|fault| placed(fault, start, db, key))) {
            Some(error) => Err(Halted::Format(error)),
            None => Ok(()),
        }
    }

    fn check_limit(&self) -> Result<(), Halted<S::Error>> {
        match self.limit {
            Some(limit) if self.passed >= limit => Err(Halted::Enough),
            _ => Ok(()),
        }
    }
}

impl<S: Worker> Worker for Selected<'_, S> {
    fn begin(&mut self, start: &Start) -> Result<(), Self::Error> {
        if let Some(version) = start.version {
            self.version = version;
            self.gauge = Gauge::new(version);
            self.gauge.set_templates(&start.templates);
            self.replay = Feed::new(version);
            self.replay.set_templates(&start.templates);
        }
        self.at = At::Passing;
        self.sink.begin(start).map_err(Halted::Sink)
    }

    fn finish(&mut self) -> Result<(), Self::Error> {
        self.sink.finish().map_err(Halted::Sink)
    }
}

/// KeyDB writes it before the key it belongs to.
const MVCC_STAMP: &[u8] = b"mvcc-tstamp";
/// What KeyDB writes behind the key it belongs to begins with this.
const SUBEXPIRE: &[u8] = b"keydb-subexpire-";
/// Valkey announces with it how many keys a slot has.
const SLOT_INFO: &[u8] = b"slot-info";

impl<S: Sink> Sink for Selected<'_, S> {
    type Error = Halted<S::Error>;

    fn start(&mut self, version: Version) -> Result<(), Self::Error> {
        self.version = version;
        self.gauge = Gauge::new(version);
        self.replay = Feed::new(version);
        self.sink.start(version).map_err(Halted::Sink)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), Self::Error> {
        if !self.chosen.is_everything() {
            if key == MVCC_STAMP {
                self.stamp = Some((value.to_vec(), end));
                return Ok(());
            }
            if key == SLOT_INFO || (self.at == At::Dropped && key.starts_with(SUBEXPIRE)) {
                return Ok(());
            }
        }
        self.sink.aux(key, value, end).map_err(Halted::Sink)
    }

    fn select_db(&mut self, db: u64, end: u64) -> Result<(), Self::Error> {
        self.sink.select_db(db, end).map_err(Halted::Sink)
    }

    fn resize_db(&mut self, keys: u64, expires: u64) -> Result<(), Self::Error> {
        match self.chosen.is_everything() {
            true => self.sink.resize_db(keys, expires).map_err(Halted::Sink),
            false => Ok(()),
        }
    }

    fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> Result<(), Self::Error> {
        match self.chosen.is_everything() {
            true => self.sink.slot_info(slot, keys, expires).map_err(Halted::Sink),
            false => Ok(()),
        }
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Result<(), Self::Error> {
        self.sink.slot_import(job, ranges).map_err(Halted::Sink)
    }

    fn function(&mut self, at: u64, code: &[u8]) -> Result<(), Self::Error> {
        self.check_limit()?;
        if !self.chosen.function(function_name(code), code.len() as u64) {
            return Ok(());
        }
        self.count();
        self.sink.function(at, code).map_err(Halted::Sink)
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> Result<(), Self::Error> {
        self.sink.module_aux(at, id, payload).map_err(Halted::Sink)
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Self::Error> {
        if !self.chosen.is_everything() {
            self.gauge.add_template(id, fields);
            self.replay.add_template(id, fields);
        }
        self.sink.template(id, fields).map_err(Halted::Sink)
    }

    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), Self::Error> {
        self.sink.update(at, argv).map_err(Halted::Sink)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        self.check_limit()?;
        match self.chosen.head(head, self.version) {
            Verdict::No => {
                self.at = At::Dropped;
                self.stamp = None;
                Ok(Depth::Skip)
            }
            Verdict::Yes => {
                self.at = At::Passing;
                self.count();
                if let Some((stamp, end)) = self.stamp.take() {
                    self.sink.aux(MVCC_STAMP, &stamp, end).map_err(Halted::Sink)?;
                }
                self.sink.key(head).map_err(Halted::Sink)
            }
            Verdict::Open => {
                self.at = At::Open;
                self.head.keep(head);
                self.kept.clear();
                self.fault = None;
                self.gauge.begin(head);
                Ok(Depth::Raw)
            }
        }
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        match (self.at, event) {
            (At::Passing, event) => self.sink.value(event).map_err(Halted::Sink),
            (At::Open, ValueEvent::Raw(piece)) => {
                let is_last = self.head.object.is_some_and(is_one_unit);
                self.look(piece, is_last)
            }
            (At::Replayed, ValueEvent::Raw(piece)) => {
                self.gauge.push(piece, false);
                self.play(piece)
            }
            (At::Dropped, ValueEvent::Raw(piece)) => {
                self.gauge.push(piece, false);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end_key(&mut self, end: u64) -> Result<(), Self::Error> {
        if self.at == At::Open {
            self.look(&[], true)?;
        }
        self.end_of_fault(end)?;
        match self.at {
            At::Dropped | At::Open => {
                self.stamp = None;
                Ok(())
            }
            At::Replayed if !self.replay.is_done() => {
                let kind = Kind::UnexpectedEof;
                let doing = cairn_engine::codec::rdb::Doing::ReadObjectValue;
                let key = Some(std::mem::take(&mut self.head.key));
                let object = Some(self.head.type_byte);
                Err(Halted::Format(Error {
                    at: end,
                    kind,
                    doing,
                    version: None,
                    db: self.head.db,
                    key,
                    object,
                }))
            }
            At::Passing | At::Replayed => self.sink.end_key(end).map_err(Halted::Sink),
        }
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), Self::Error> {
        self.sink.end(trailer).map_err(Halted::Sink)
    }
}
