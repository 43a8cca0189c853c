//! Using an index: is it of this file as it is now, where is a key, and what is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use cairn_engine::codec::rdb::{
    Decoder, Depth, Dialect, Failure, KeyHead, Options, Place, Sink, State, Templates, ValueEvent, Version,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{BLOCK_BYTES, BLOCK_ENTRIES, ENTRY_BYTES, FORM, MAGIC, MOST_HEAD_BYTES, Stamp, hash};
use crate::drive::{Fault, Stop};
use crate::erased;
use crate::parallel::{Start, Worker};

/// Why an index is not used: a phrase that goes behind its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Absent,
    /// It is of another state of the file, or of another file.
    Stale(String),
    /// It is damaged, or no index.
    Damaged(String),
}

/// An index with its file.
#[derive(Debug)]
pub struct Lookup {
    index: File,
    file: File,
    head_bytes: u64,
    blocks: u64,
    head: Head,
}

#[derive(Debug)]
struct Head {
    stamp: Stamp,
    /// Where in the file offset 0 of the unwrapped file lies.
    origin: u64,
    version: Version,
    keys: u64,
    imports: Vec<(u64, Vec<(u64, u64)>)>,
    templates: Vec<(u64, u64, Vec<Vec<u8>>)>,
}

/// Reads numbers and strings, never beyond the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (size, mtime_ns, sum) = (reader.number()?, reader.number()?.cast_signed(), reader.number()?);
        let origin = reader.number()?;
        let dialect = if reader.take::<1>()? == [1] { Dialect::Valkey } else { Dialect::Redis };
        let number = u16::from_le_bytes(reader.take()?);
        let keys = reader.number()?;
        let mut imports = Vec::new();
        for _ in 0..reader.number()? {
            let place = reader.number()?;
            let mut ranges = Vec::new();
            for _ in 0..reader.number()? {
                ranges.push((reader.number()?, reader.number()?));
            }
            imports.push((place, ranges));
        }
        let mut templates = Vec::new();
        for _ in 0..reader.number()? {
            let (place, id) = (reader.number()?, reader.number()?);
            let mut fields = Vec::new();
            for _ in 0..reader.number()? {
                fields.push(reader.bytes()?.to_vec());
            }
            templates.push((place, id, fields));
        }
        let stamp = Stamp { bytes: size, mtime_ns, sum };
        Some(Self { stamp, origin, version: Version { dialect, number }, keys, imports, templates })
    }
}

fn damaged(error: impl std::fmt::Display) -> Refusal {
    Refusal::Damaged(format!("is no index that can be used ({error})"))
}

/// Where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where a decoder has to start to meet it first, in the unwrapped file.
    pub place: u64,
    /// Its database.
    pub db: u64,
}

impl Lookup {
    /// Opens the index at `index`, if it is of `file` as it is now.
    ///
    /// # Errors
    /// What keeps it from being used; an error of reading the file itself.
    pub fn open(index: &Path, file: File) -> io::Result<Result<Self, Refusal>> {
        let index = match File::open(index) {
            Ok(index) => index,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(Refusal::Absent)),
            Err(error) => return Ok(Err(damaged(error))),
        };
        let (head, head_bytes, bytes) = match read_head(&index) {
            Ok(read) => read,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let now = Stamp::of(&file)?;
        if now != head.stamp {
            let what = if now.bytes != head.stamp.bytes {
                format!("when it had {} bytes; it has {} now", head.stamp.bytes, now.bytes)
            } else if now.sum != head.stamp.sum {
                "with other contents".to_owned()
            } else {
                "before it was written to for the last time".to_owned()
            };
            return Ok(Err(Refusal::Stale(format!("is of the file {what}"))));
        }
        let blocks = head.keys.div_ceil(BLOCK_ENTRIES as u64);
        if blocks.checked_mul(BLOCK_BYTES as u64).and_then(|all| all.checked_add(head_bytes)) != Some(bytes) {
            return Ok(Err(damaged("it is cut short")));
        }
        Ok(Ok(Self { index, file, head_bytes, blocks, head }))
    }

    /// Keys in the index.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.head.keys
    }

    /// The places of records whose keys have the hash of `key`, in the order of the file. O(log n).
    ///
    /// # Errors
    /// Of reading, and of a block that is damaged.
    pub fn find(&self, key: &[u8]) -> Result<Vec<Found>, Refusal> {
        let wanted = hash(key);
        // The first block that may have it is the last one that begins with a lower hash.
        let (mut low, mut high) = (0, self.blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            let first = self.block(middle)?.first().map_or(u64::MAX, |entry| entry.0);
            if first < wanted { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        for number in low.saturating_sub(1)..self.blocks {
            let block = self.block(number)?;
            found.extend(block.iter().filter(|entry| entry.0 == wanted).map(|entry| entry.1));
            if block.last().is_none_or(|entry| entry.0 > wanted) {
                break;
            }
        }
        Ok(found)
    }

    /// The entries of a block: hash and where.
    fn block(&self, number: u64) -> Result<Vec<(u64, Found)>, Refusal> {
        let mut bytes = [0; BLOCK_BYTES];
        self.index
            .read_exact_at(&mut bytes, self.head_bytes + number * BLOCK_BYTES as u64)
            .map_err(damaged)?;
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or_else(|| damaged("a block is cut short"))?;
        if u64::from_le_bytes(*sum) != xxh3_64_with_seed(body, number) {
            return Err(damaged(format!("block {number} is damaged")));
        }
        let before = number * BLOCK_ENTRIES as u64;
        let count = self.head.keys.saturating_sub(before).min(BLOCK_ENTRIES as u64) as usize;
        let entries = body.chunks_exact(ENTRY_BYTES).take(count).filter_map(|entry| {
            let mut reader = Reader(entry);
            Some((reader.number()?, Found { place: reader.number()?, db: reader.number()? }))
        });
        Ok(entries.collect())
    }

    /// Gives the key at `found` to a sink, if its name is `key`, with all that belongs to it.
    ///
    /// # Errors
    /// As reading the file from its start; [`Stop::Other`] if there is no record where the index says.
    pub fn read<S: Worker>(&self, found: Found, key: &[u8], sink: &mut S) -> Result<(), Stop<S::Error>> {
        let is_before = |place: u64| place < found.place;
        let mut templates = Templates::new();
        for (place, id, fields) in &self.head.templates {
            if is_before(*place) {
                templates.insert(*id, Arc::new(fields.clone()));
            }
        }
        let imports = self.head.imports.iter().filter(|(place, _)| is_before(*place));
        let importing = Arc::new(imports.flat_map(|(_, ranges)| ranges.iter().copied()).collect());
        let (version, templates) = (self.head.version, Arc::new(templates));
        let start = Start {
            version: Some(version),
            offset: found.place,
            db: found.db,
            importing,
            templates: Arc::clone(&templates),
            can_be_read_again: false,
        };
        sink.begin(&start).map_err(Stop::Sink)?;
        let place = Place { version, offset: found.place, db: found.db, templates };
        let mut decoder = Decoder::resume(Options::default(), &place);
        let mut one = One { sink, key, at: At::Before };
        let read = self.drive(&mut decoder, &mut one);
        let has_ended = one.at == At::Behind;
        match read {
            Ok(()) => Ok(()),
            // What comes behind the key is of no matter.
            Err(Stop::Format(_)) if has_ended => Ok(()),
            Err(Stop::Sink(Ended::Behind)) => Ok(()),
            Err(Stop::Sink(Ended::Sink(error))) => Err(Stop::Sink(error)),
            Err(Stop::Read(error)) => Err(Stop::Read(error)),
            Err(Stop::Format(error)) => Err(Stop::Format(error)),
            Err(Stop::Other(fault)) => Err(Stop::Other(fault)),
        }
    }

    /// Pushes the file from the decoder's place on.
    fn drive<S: Sink>(&self, decoder: &mut Decoder, sink: &mut S) -> Result<(), Stop<S::Error>> {
        const CHUNK_BYTES: usize = 64 << 10;
        let Some(mut at) =
            decoder.offset().checked_add(self.head.origin).filter(|at| *at < self.head.stamp.bytes)
        else {
            return Err(Stop::Other(Fault::of_access(
                "the index says that a key is behind the end of the file",
            )));
        };
        let mut bytes: Vec<u8> = Vec::new();
        let mut wanted = 1;
        loop {
            while (bytes.len() as u64) < wanted && at < self.head.stamp.bytes {
                let step = (self.head.stamp.bytes - at).min(CHUNK_BYTES.max(bytes.len()) as u64) as usize;
                let start = bytes.len();
                bytes.resize(start + step, 0);
                self.file.read_exact_at(&mut bytes[start..], at).map_err(Stop::Read)?;
                at += step as u64;
            }
            let is_last = at == self.head.stamp.bytes;
            let progress =
                erased::advance(decoder, &bytes, is_last, sink).map_err(|failure| match failure {
                    Failure::Format(error) => Stop::Format(error),
                    Failure::Sink(error) => Stop::Sink(error),
                })?;
            bytes.drain(..progress.consumed);
            match progress.state {
                State::Done => return Ok(()),
                State::More { at_least } => wanted = at_least,
            }
        }
    }
}

/// The head of an index, how long it is, and how long the index is.
fn read_head(index: &File) -> Result<(Head, u64, u64), Refusal> {
    let bytes = index.metadata().map_err(damaged)?.len();
    let mut start = [0; 16];
    index.read_exact_at(&mut start, 0).map_err(|_| damaged("it is too short"))?;
    let mut reader = Reader(&start);
    if reader.take() != Some(*MAGIC) {
        return Err(damaged("it does not begin as an index does"));
    }
    match reader.take().map(u32::from_le_bytes) {
        Some(FORM) => {}
        other => return Err(damaged(format!("form {} is not known here", other.unwrap_or(0)))),
    }
    let head_bytes = u64::from(reader.take().map_or(0, u32::from_le_bytes));
    if head_bytes > bytes || head_bytes > MOST_HEAD_BYTES {
        return Err(damaged("it is cut short"));
    }
    let mut all = vec![0; head_bytes as usize];
    index.read_exact_at(&mut all, 0).map_err(damaged)?;
    let (body, sum) = all.split_last_chunk::<8>().ok_or_else(|| damaged("it is cut short"))?;
    if u64::from_le_bytes(*sum) != xxh3_64(body) {
        return Err(damaged("its head is damaged"));
    }
    let head = body.get(16..).and_then(Head::read).ok_or_else(|| damaged("its head is damaged"))?;
    Ok((head, head_bytes, bytes))
}

/// Passes on the first key that comes, and what belongs to it.
struct One<'a, S> {
    sink: &'a mut S,
    key: &'a [u8],
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Before,
    Inside,
    /// What KeyDB says of the key comes behind it.
    Behind,
}

/// Why reading one key ended.
enum Ended<E> {
    /// It has been read.
    Behind,
    Sink(E),
}

impl<S: Sink> Sink for One<'_, S> {
    type Error = Ended<S::Error>;

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), Self::Error> {
        match self.at {
            At::Behind => self.sink.aux(key, value, end).map_err(Ended::Sink),
            _ => Ok(()),
        }
    }

    fn select_db(&mut self, _db: u64, _end: u64) -> Result<(), Self::Error> {
        if self.at == At::Behind { Err(Ended::Behind) } else { Ok(()) }
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Result<(), Self::Error> {
        match self.at {
            At::Before => self.sink.slot_import(job, ranges).map_err(Ended::Sink),
            _ => Ok(()),
        }
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Self::Error> {
        match self.at {
            At::Before => self.sink.template(id, fields).map_err(Ended::Sink),
            _ => Ok(()),
        }
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        // Another name with the same hash is nothing to tell of.
        if self.at == At::Behind || head.key != self.key {
            return Err(Ended::Behind);
        }
        self.at = At::Inside;
        self.sink.key(head).map_err(Ended::Sink)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        self.sink.value(event).map_err(Ended::Sink)
    }

    fn end_key(&mut self, end: u64) -> Result<(), Self::Error> {
        self.at = At::Behind;
        self.sink.end_key(end).map_err(Ended::Sink)
    }
}
