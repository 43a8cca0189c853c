//! A source that can be read twice: what cannot be opened again is copied to a temporary RDB file first.
//!
//! Records are copied as they are, value by value in pieces; the file has no name and is gone with the tool.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

use cairn_engine::codec::rdb::{
    Depth, Dialect, Drain, KeyHead, Sink, Target, Trailer, ValueEvent, Version, Writer, WriterOptions, opcode,
};

use crate::canon::SubExpiry;
use crate::cmd::Reading;
use crate::drive::Stop;
use crate::source::{Kind, Source};
use crate::spill::Spill;

/// A source, and what keeps its copy alive.
#[derive(Debug)]
pub struct Twice {
    name: OsString,
    path: OsString,
    reading: Reading,
    first: Option<Source>,
    _copy: Option<File>,
}

impl Twice {
    /// Makes sure that a source can be read twice.
    ///
    /// # Errors
    /// What is wrong with the source, or with the temporary file.
    pub fn new(mut source: Source, reading: Reading, spill: &Spill) -> Result<Self, Stop<anyhow::Error>> {
        let name = source.name().to_owned();
        if source.kind() == Kind::Rdb && source.reopen().map_err(Stop::Sink)?.is_some() {
            return Ok(Self { path: name.clone(), name, reading, first: Some(source), _copy: None });
        }
        let file = spill.temp_file().map_err(|error| Stop::Sink(error.into()))?;
        let mut copier = Copier::new(io::BufWriter::new(&file), KeptAux::OfKeys);
        source.read(&mut copier).map_err(|stop| stop.map_sink(Into::into))?;
        copier.finish().map_err(|error| Stop::Sink(error.into()))?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        let reading = Reading { no_progress: true, ..reading };
        Ok(Self { name, path, reading, first: None, _copy: Some(file) })
    }

    /// The name that the source was opened by.
    #[must_use]
    pub fn name(&self) -> &OsString {
        &self.name
    }

    /// The servers that its version is of, where that can be told without reading it. Version 9 is KeyDB's too, where
    /// members expire in another way: nothing is said of it.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        let mut magic = [0; 9];
        File::open(&self.path).ok()?.read_exact(&mut magic).ok()?;
        let all = [Dialect::Redis, Dialect::Valkey]
            .into_iter()
            .flat_map(|dialect| (1..=u16::from(u8::MAX)).map(move |number| Version { dialect, number }));
        let version = all.into_iter().find(|version| version.magic() == magic)?;
        Target::of_version(version).filter(|target| *target != Target::Redis62)
    }

    /// How it is read.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The source from its start, again and again.
    ///
    /// # Errors
    /// What keeps it from being opened.
    pub fn open(&mut self) -> anyhow::Result<Source> {
        match self.first.take() {
            Some(source) => Ok(source),
            None => Source::open(&self.path, self.reading),
        }
    }
}

/// An output as a drain.
pub struct ToFile<W>(W);

impl<W: Write> Drain for ToFile<W> {
    type Error = io::Error;

    fn drain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// Copies events to a file that has them again: the same bytes but for what is around records.
pub struct Copier<W: Write> {
    out: Writer<ToFile<W>>,
    db: Option<u64>,
    aux: KeptAux,
}

/// Which auxiliary fields are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptAux {
    /// Those that belong to keys.
    OfKeys,
    /// All but sizes of slots.
    All,
}

/// Older versions are written as this one, which has all of theirs, and a checksum.
const FIRST_WRITTEN: u16 = 6;

impl<W: Write> Copier<W> {
    /// A copier to `out`.
    pub fn new(out: W, aux: KeptAux) -> Self {
        // The checksum is kept: a temporary disk can be as bad as any other.
        let options = WriterOptions { compress: false, checksum: true };
        Self { out: Writer::new(ToFile(out), options), db: None, aux }
    }

    /// Writes the end. Answers the output.
    ///
    /// # Errors
    /// Of writing.
    pub fn finish(self) -> io::Result<W> {
        let (mut file, _) = self.out.finish()?;
        file.0.flush()?;
        Ok(file.0)
    }
}

impl<W: Write> std::fmt::Debug for Copier<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copier").field("out", &self.out).finish_non_exhaustive()
    }
}

impl<W: Write> Sink for Copier<W> {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        let number = match version.dialect {
            Dialect::Redis => version.number.max(FIRST_WRITTEN),
            Dialect::Valkey => version.number,
        };
        self.out.raw(&Version { number, ..version }.magic())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> io::Result<()> {
        match self.aux == KeptAux::All && ![&b"slot-info"[..], b"mvcc-tstamp"].contains(&key)
            || SubExpiry::is_one(key)
        {
            true => self.out.aux(key, value),
            false => Ok(()),
        }
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> io::Result<()> {
        self.out.function(code)
    }

    fn module_aux(&mut self, _at: u64, _id: u64, payload: &[u8]) -> io::Result<()> {
        self.out.module_aux(payload)
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> io::Result<()> {
        self.out.byte(opcode::HASH_TEMPLATE)?;
        self.out.len(id)?;
        self.out.len(fields.len() as u64)?;
        fields.iter().try_for_each(|field| self.out.string(field))
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> io::Result<()> {
        Err(crate::walk::refused_update(at))
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        if self.db != Some(head.db) {
            self.db = Some(head.db);
            self.out.select_db(head.db)?;
        }
        if let Some(at) = head.expire_at {
            self.out.expire_ms(at)?;
        }
        if let Some(idle_s) = head.idle_s {
            self.out.idle(idle_s)?;
        }
        if let Some(freq) = head.freq {
            self.out.freq(freq)?;
        }
        if let Some(meta) = head.meta {
            self.out.key_meta(meta)?;
        }
        if head.no_evict {
            self.out.byte(opcode::KEY_NOEVICT)?;
        }
        self.out.byte(head.type_byte)?;
        self.out.string(head.key)?;
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        if let ValueEvent::Raw(piece) = event { self.out.raw(piece) } else { Ok(()) }
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
        if self.aux == KeptAux::OfKeys {
            return Ok(());
        }
        self.out.byte(opcode::SLOT_IMPORT)?;
        self.out.string(job)?;
        self.out.len(ranges.len() as u64)?;
        ranges.iter().try_for_each(|(first, last)| {
            self.out.len(*first)?;
            self.out.len(*last)
        })
    }

    fn end(&mut self, _trailer: Trailer) -> io::Result<()> {
        Ok(())
    }
}
