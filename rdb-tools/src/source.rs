//! Source: whatever keys are read from, as the events of an RDB file.
//!
//! A sink sees no difference between an RDB file and what is none: where there are no record bytes, they
//! are made, and go through the same decoder. Offsets that such a source tells are of the
//! records it has made; its own faults say where they are in its own terms (line, file and offset).
//! Formats are told by content; names matter only where contents can be two things.

mod encode;
mod jsonl;
mod live;
mod log;
mod text;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context;
use cairn_engine::codec::aof;
use cairn_engine::codec::rdb::{
    Decoder, Depth, Failure, KeyHead, Options, Sink, Trailer, ValueEvent, Version,
};

use crate::cmd::Reading;
use crate::drive::{Fault, Place, Stop, drive};
use crate::erased;
use crate::fold::Log;
use crate::input::{Input, damage};
use crate::output::clean;
use live::{Address, Live};
use log::Commands;

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

/// What is looked at to tell what an input is: enough for the auxiliary fields of an RDB file.
const HEAD_BYTES: u64 = 1024;

/// What an input is that starts with `head`. Of one without contents only its name can tell; and commands
/// that people have typed could be anything, so their name must say so.
fn kind_of(name: &OsStr, head: &[u8]) -> Kind {
    let ends_with =
        |ends: &[&str]| Path::new(name).extension().is_some_and(|e| ends.iter().any(|end| e == *end));
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let first = head.trim_ascii_start().first();
    if aof::starts_with_rdb(head) {
        // An RDB file can have commands behind it. It says so, or its name does.
        let has = |word: &[u8]| memchr::memmem::find(head, word).is_some();
        let is_preamble = has(b"aof-preamble\xc0\x01") || has(b"aof-base\xc0\x01");
        let is_log = ends_with(&["aof"]) || (is_preamble && !ends_with(&["rdb"]));
        return if is_log { Kind::Aof } else { Kind::Rdb };
    }
    match first {
        Some(b'{') => Kind::Jsonl,
        Some(b'#') => Kind::Aof,
        Some(b'*') if ends_with(&["aof"]) => Kind::Aof,
        Some(b'*') => Kind::Resp,
        None if ends_with(&["jsonl", "ndjson", "json"]) => Kind::Jsonl,
        None if ends_with(&["aof"]) => Kind::Aof,
        _ if ends_with(&["resp", "redis", "commands"]) => Kind::Resp,
        _ => Kind::Rdb,
    }
}

/// Whether commands are lines of words.
fn is_typed(head: &[u8]) -> bool {
    head.first().is_some_and(|byte| !matches!(byte, b'*' | b'#')) && !aof::starts_with_rdb(head)
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
    Log(Kind, Box<Commands>),
    Live(Box<Live>),
    /// Nothing comes out of it but this.
    Damaged(Option<io::Error>),
}

/// An input's name as it may be shown: the address of a server without its password, control characters escaped.
#[must_use]
pub fn shown(name: &OsStr) -> String {
    clean(&match Address::is_one(name.as_bytes()) {
        true => Address::without_password(&name.to_string_lossy()),
        false => name.to_string_lossy().into_owned(),
    })
}

impl Source {
    /// Opens a source: a path, or `-` for standard input. A path may be an RDB file, JSON lines, commands, an
    /// append only file, its manifest, or the folder that it is in; files may be packed. `redis://` and
    /// `unix://` are servers; [`Source::name`] is then without the password.
    ///
    /// # Errors
    /// The name with what keeps it from being opened.
    pub fn open(name: &OsStr, reading: Reading) -> anyhow::Result<Self> {
        if Address::is_one(name.as_bytes()) {
            let (live, shown) = Live::open(name)?;
            return Ok(Self { name: shown.into(), reading, inner: Inner::Live(live.into()) });
        }
        let path = Path::new(name);
        let is_stdin = name == "-";
        if !is_stdin && Log::is_set(path) {
            let inner = Inner::Log(Kind::Aof, Commands::open(path)?.into());
            return Ok(Self { name: name.to_owned(), reading, inner });
        }
        let mut input = reading.open(path)?;
        let kind = match input.fill(HEAD_BYTES) {
            Ok(()) => kind_of(name, input.bytes()),
            // What is wrong with its bytes is told when they are read.
            Err(error) if damage(&error).is_some() => {
                let inner = Inner::Damaged(Some(error));
                return Ok(Self { name: name.to_owned(), reading, inner });
            }
            Err(error) => return Err(error).with_context(|| name.to_string_lossy().into_owned()),
        };
        let inner = match kind {
            Kind::Jsonl => Inner::Jsonl(input),
            Kind::Rdb | Kind::Live => Inner::Rdb(input),
            Kind::Aof | Kind::Resp
                if input.is_repeatable() && input.form().is_none() && !is_typed(input.bytes()) =>
            {
                Inner::Log(kind, Commands::open(path)?.into())
            }
            Kind::Aof | Kind::Resp => {
                let are_inline = kind == Kind::Resp && is_typed(input.bytes());
                Inner::Log(kind, Commands::spool(name, input, are_inline)?.into())
            }
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
            Inner::Log(kind, _) => *kind,
            Inner::Live(_) => Kind::Live,
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
            Inner::Jsonl(_) | Inner::Log(..) | Inner::Live(_) | Inner::Damaged(_) => None,
        }
    }

    /// Reads everything, once, front to back, and shows progress where that is wanted.
    ///
    /// # Errors
    /// [`Stop`]; every key that was whole has gone to the sink before.
    pub fn read<S: Sink>(&mut self, sink: &mut S) -> Result<(), Stop<S::Error>> {
        self.read_with(Options::default(), sink)
    }

    /// As [`Source::read`], with an RDB file decoded in another way than by default.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_with<S: Sink>(&mut self, options: Options, sink: &mut S) -> Result<(), Stop<S::Error>> {
        match &mut self.inner {
            Inner::Rdb(input) => {
                let progress = self.reading.progress(input);
                drive(input, &mut Decoder::new(options), &progress, sink)?;
                check_end(input)
            }
            Inner::Jsonl(input) => {
                let progress = self.reading.progress(input);
                erased::read(sink, |any| jsonl::read(input, &progress, any))
            }
            Inner::Log(_, commands) => commands.read(self.reading, sink),
            Inner::Live(live) => live.read(self.reading, sink),
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
            Inner::Log(_, commands) => commands.is_repeatable(),
            Inner::Live(_) | Inner::Damaged(_) => false,
        };
        if is_repeatable { Self::open(&self.name, self.reading).map(Some) } else { Ok(None) }
    }
}

/// Looks at what follows the RDB file in an input: commands would change its keys, and a packed
/// input has its own checksum behind the last byte of what it holds.
///
/// # Errors
/// Whatever reading says, and [`Stop::Other`] for commands.
pub fn check_end<E>(input: &mut Input) -> Result<(), Stop<E>> {
    input.fill(1).map_err(Stop::Read)?;
    if matches!(input.bytes().first(), Some(b'*' | b'#')) {
        let place = Place::Offset(input.position());
        let what = "commands follow the RDB file: it begins an append only file, which is read to its end if it \
                    is a file whose name ends in .aof";
        return Err(Stop::Other(Fault::of_input(place, what)));
    }
    match input.form() {
        Some(_) => input.skip_rest().map(|_| ()).map_err(Stop::Read),
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
            let used = erased::decode_value(version, head.type_byte, payload, depth, sink);
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
