//! Source: whatever keys are read from, as the events of an RDB file.
//!
//! A sink sees no difference between an RDB file and what is none: where there are no record bytes, they
//! are made, and go through the same decoder. Offsets that such a source tells are of the
//! records it has made; its own faults say where they are in its own terms (line, file and offset).
//! Formats are told by content; names matter only where contents can be two things.

mod encode;
mod jsonl;
mod text;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use anyhow::Context;
use cairn_engine::codec::rdb::{
    Decoder, Depth, Failure, KeyHead, Options, Sink, Trailer, ValueEvent, Version, decode_value,
};

use crate::cmd::Reading;
use crate::drive::{Fault, Place, Stop, drive};
use crate::input::{Input, damage};

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An RDB file or transfer.
    Rdb,
    /// JSON lines as `dump --format jsonl` writes them.
    Jsonl,
    /// An append only file, alone or in parts.
    Aof,
    /// Commands as clients send them.
    Resp,
    /// A server.
    Live,
}

/// What is looked at to tell what an input is.
const HEAD_BYTES: u64 = 64;

/// What an input is that starts with `head`. Of one without contents only its name can tell.
fn kind_of(name: &OsStr, head: &[u8]) -> Kind {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let ends_with =
        |ends: &[&str]| Path::new(name).extension().is_some_and(|e| ends.iter().any(|end| e == *end));
    match head.trim_ascii_start().first() {
        Some(b'{') => Kind::Jsonl,
        None if ends_with(&["jsonl", "ndjson", "json"]) => Kind::Jsonl,
        _ => Kind::Rdb,
    }
}

/// What keys are read from.
#[derive(Debug)]
pub struct Source {
    name: OsString,
    reading: Reading,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Rdb(Input),
    Jsonl(Input),
    /// Nothing comes out of it but this.
    Damaged(Option<io::Error>),
}

impl Source {
    /// Opens a source: a path, or `-` for standard input.
    ///
    /// # Errors
    /// The name with what keeps it from being opened.
    pub fn open(name: &OsStr, reading: Reading) -> anyhow::Result<Self> {
        let mut input = reading.open(Path::new(name))?;
        let inner = match input.fill(HEAD_BYTES).map(|()| kind_of(name, input.bytes())) {
            Ok(Kind::Jsonl) => Inner::Jsonl(input),
            Ok(_) => Inner::Rdb(input),
            // What is wrong with its bytes is told when they are read.
            Err(error) if damage(&error).is_some() => Inner::Damaged(Some(error)),
            Err(error) => return Err(error).with_context(|| name.to_string_lossy().into_owned()),
        };
        Ok(Self { name: name.to_owned(), reading, inner })
    }

    /// The name that it was opened by.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.inner {
            Inner::Rdb(_) | Inner::Damaged(_) => Kind::Rdb,
            Inner::Jsonl(_) => Kind::Jsonl,
        }
    }

    /// How it is read.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The input, where the source is an RDB file and nothing has been read of it yet.
    ///
    /// For who reads mapped files in parallel; all others call [`Source::read`].
    pub fn rdb_input(&mut self) -> Option<&mut Input> {
        match &mut self.inner {
            Inner::Rdb(input) => Some(input),
            Inner::Jsonl(_) | Inner::Damaged(_) => None,
        }
    }

    /// Reads everything, once, front to back, and shows progress where that is wanted.
    ///
    /// # Errors
    /// [`Stop`]; every key that was whole has gone to the sink before.
    pub fn read<S: Sink>(&mut self, sink: &mut S) -> Result<(), Stop<S::Error>> {
        match &mut self.inner {
            Inner::Rdb(input) => {
                let progress = self.reading.progress(input);
                drive(input, &mut Decoder::new(Options::default()), &progress, sink)?;
                check_packing(input).map_err(Stop::Read)
            }
            Inner::Jsonl(input) => {
                let progress = self.reading.progress(input);
                jsonl::read(input, &progress, sink)
            }
            Inner::Damaged(error) => error.take().map_or(Ok(()), |error| Err(Stop::Read(error))),
        }
    }

    /// The same source from its start, for a second pass. `None` if it can be read only once, as standard
    /// input, or may have changed, as a server.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn reopen(&self) -> anyhow::Result<Option<Self>> {
        let is_repeatable = match &self.inner {
            Inner::Rdb(input) | Inner::Jsonl(input) => input.is_repeatable(),
            Inner::Damaged(_) => false,
        };
        if is_repeatable { Self::open(&self.name, self.reading).map(Some) } else { Ok(None) }
    }
}

/// Reads what is left of a packed input: its own checksum is behind the last byte of what it holds.
///
/// # Errors
/// Whatever reading says.
pub fn check_packing(input: &mut Input) -> io::Result<()> {
    match input.form() {
        Some(_) => input.skip_rest().map(|_| ()),
        None => Ok(()),
    }
}

/// Gives a sink one key, all of whose value is in `payload` as a record of `head.type_byte` in a file of
/// `version` has it, at the depth that the sink wants.
///
/// # Errors
/// [`Stop::Format`] if the payload is no such record, with the head's key, and the sink's errors.
pub fn emit<S: Sink>(
    sink: &mut S,
    version: Version,
    head: &KeyHead<'_>,
    payload: &[u8],
) -> Result<(), Stop<S::Error>> {
    match sink.key(head).map_err(Stop::Sink)? {
        Depth::Skip => {}
        Depth::Raw => sink.value(ValueEvent::Raw(payload)).map_err(Stop::Sink)?,
        depth => {
            let used = decode_value(version, head.type_byte, payload, depth, sink);
            let used = used.map_err(|failure| stop_at(failure, head))?;
            if used != payload.len() {
                let what = format!(
                    "{} bytes follow the value of key \"{}\"",
                    payload.len() - used,
                    crate::output::Shown(head.key)
                );
                return Err(Stop::Other(Fault::of_input(Place::Nowhere, what)));
            }
        }
    }
    sink.end_key(head.at.saturating_add(payload.len() as u64)).map_err(Stop::Sink)
}

/// What ends the reading of a key's value, with the key.
fn stop_at<E>(failure: Failure<E>, head: &KeyHead<'_>) -> Stop<E> {
    match failure {
        Failure::Sink(error) => Stop::Sink(error),
        Failure::Format(mut error) => {
            error.at = error.at.saturating_add(head.at);
            error.db = head.db;
            error.key = Some(head.key.to_vec());
            Stop::Format(error)
        }
    }
}

/// Gives a sink the keys of a source that is no RDB file, with the events around them.
#[derive(Debug)]
pub struct Emitter<'s, S> {
    sink: &'s mut S,
    version: Version,
    db: Option<u64>,
    at: u64,
}

impl<'s, S: Sink> Emitter<'s, S> {
    /// Starts a file of `version`.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(sink: &'s mut S, version: Version) -> Result<Self, Stop<S::Error>> {
        sink.start(version).map_err(Stop::Sink)?;
        Ok(Self { sink, version, db: None, at: version.magic().len() as u64 })
    }

    /// The version that it started with.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The sink, for events that are not of keys.
    pub fn sink(&mut self) -> &mut S {
        self.sink
    }

    /// A function library.
    ///
    /// # Errors
    /// The sink's.
    pub fn function(&mut self, code: &[u8]) -> Result<(), Stop<S::Error>> {
        let at = self.step(code.len() as u64);
        self.sink.function(at, code).map_err(Stop::Sink)
    }

    /// A key of database `head.db`; `head.at` is not looked at. `version` says whose bytes the payload is,
    /// where that is not the version of the start.
    ///
    /// # Errors
    /// As [`emit`].
    pub fn key(
        &mut self,
        version: Version,
        head: &KeyHead<'_>,
        payload: &[u8],
    ) -> Result<(), Stop<S::Error>> {
        let head = self.next(head, payload.len() as u64)?;
        emit(self.sink, version, &head, payload)
    }

    /// Goes to the next key, whose value has about `bytes`; answers its head with its place.
    fn next<'h>(&mut self, head: &KeyHead<'h>, bytes: u64) -> Result<KeyHead<'h>, Stop<S::Error>> {
        if self.db != Some(head.db) {
            self.db = Some(head.db);
            self.sink.select_db(head.db, self.at).map_err(Stop::Sink)?;
        }
        let at = self.step((head.key.len() as u64).saturating_add(bytes));
        Ok(KeyHead { at, ..*head })
    }

    /// The end: all keys have been there.
    ///
    /// # Errors
    /// The sink's.
    pub fn end(self) -> Result<(), Stop<S::Error>> {
        self.sink.end(Trailer::Disabled).map_err(Stop::Sink)
    }

    fn step(&mut self, bytes: u64) -> u64 {
        let at = self.at;
        self.at = at.saturating_add(1).saturating_add(bytes);
        at
    }
}
