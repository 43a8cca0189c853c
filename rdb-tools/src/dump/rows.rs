//! A row a key: what is known of it without its contents.

use std::io;

use cairn_engine::base::slot::key_slot;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Depth, Dialect, Error, Family, KeyHead, NEWEST_REDIS, Sink, ValueEvent, Version,
};

use crate::gauge::Gauge;
use crate::jsonl::function_name;
use crate::parallel::{Start, Worker};

/// What is known of a key, or of a function library.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyRow<'a> {
    /// The database; -1 for a library.
    pub db: i64,
    /// The key's name.
    pub key: &'a [u8],
    /// What TYPE answers; `function` for a library.
    pub type_name: &'a str,
    /// What OBJECT ENCODING answers; a library has none.
    pub encoding: Option<&'static str>,
    /// The type of the record, as the servers' check tools name it.
    pub record: &'static str,
    /// Elements, fields, members or entries; 1 for strings. `None` if only a module knows.
    pub elements: Option<u64>,
    /// Bytes of the value in the file, compressed as it is.
    pub bytes: u64,
    /// When it expires.
    pub expire_at: Option<UnixMs>,
    /// Seconds since it was used.
    pub idle_s: Option<u64>,
    /// Its access counter.
    pub freq: Option<u8>,
    /// Its cluster slot; a library has none.
    pub slot: Option<u16>,
    /// Whether some of its fields expire on their own.
    pub has_field_ttl: bool,
}

/// Takes rows.
pub trait TakeKeys {
    /// Takes the row of a key.
    ///
    /// # Errors
    /// Whatever writing says.
    fn take(&mut self, row: &KeyRow<'_>) -> io::Result<()>;

    /// No rows follow for now.
    ///
    /// # Errors
    /// Whatever writing says.
    fn flush(&mut self) -> io::Result<()>;
}

/// What can go wrong while rows are made.
#[derive(Debug)]
pub enum RowError {
    /// They cannot be written.
    Write(io::Error),
    /// The inside of a value is wrong.
    Format(Error),
}

impl From<io::Error> for RowError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Makes the rows.
#[derive(Debug)]
pub struct KeyRows<T> {
    taker: T,
    version: Version,
    gauge: Gauge,
    db: u64,
    key: Vec<u8>,
    record: &'static str,
    family: Family,
    expire_at: Option<UnixMs>,
    idle_s: Option<u64>,
    freq: Option<u8>,
}

impl<T: TakeKeys> KeyRows<T> {
    /// Gives rows to `taker`.
    pub fn new(taker: T) -> Self {
        let version = Version { dialect: Dialect::Redis, number: NEWEST_REDIS };
        Self {
            taker,
            version,
            gauge: Gauge::new(version),
            db: 0,
            key: Vec::new(),
            record: "",
            family: Family::String,
            expire_at: None,
            idle_s: None,
            freq: None,
        }
    }

    /// Who took the rows.
    pub fn into_inner(self) -> T {
        self.taker
    }
}

impl<T: TakeKeys> Sink for KeyRows<T> {
    type Error = RowError;

    fn start(&mut self, version: Version) -> Result<(), RowError> {
        self.version = version;
        self.gauge = Gauge::new(version);
        Ok(())
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), RowError> {
        self.gauge.add_template(id, fields);
        Ok(())
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), RowError> {
        Ok(self.taker.take(&KeyRow {
            db: -1,
            key: function_name(code),
            type_name: "function",
            encoding: None,
            record: "function",
            elements: Some(1),
            bytes: code.len() as u64,
            expire_at: None,
            idle_s: None,
            freq: None,
            slot: None,
            has_field_ttl: false,
        })?)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, RowError> {
        self.db = head.db;
        self.key.clear();
        self.key.extend_from_slice(head.key);
        self.record = head.object.name();
        self.family = head.object.family();
        self.expire_at = head.expire_at;
        self.idle_s = head.idle_s;
        self.freq = head.freq;
        self.gauge.begin(head);
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), RowError> {
        if let ValueEvent::Raw(piece) = event {
            self.gauge.push(piece, true);
        }
        Ok(())
    }

    fn end_key(&mut self, end: u64) -> Result<(), RowError> {
        if let Some(fault) = self.gauge.take_fault(self.db, &self.key, end) {
            return Err(RowError::Format(fault));
        }
        self.gauge.end();
        let Some(facts) = self.gauge.facts() else { return Ok(()) };
        let module = facts.module_name();
        let type_name = match &module {
            Some(name) => std::str::from_utf8(name).unwrap_or_default(),
            None => self.family.name(),
        };
        let row = KeyRow {
            db: i64::try_from(self.db).unwrap_or(i64::MAX),
            key: &self.key,
            type_name,
            encoding: facts.encoding(),
            record: self.record,
            elements: facts.elements(),
            bytes: self.gauge.bytes(),
            // Servers take -1 for none.
            expire_at: self.expire_at.filter(|at| at.0 != -1),
            idle_s: self.idle_s,
            freq: self.freq,
            slot: Some(key_slot(&self.key)),
            has_field_ttl: facts.has_field_ttl(),
        };
        Ok(self.taker.take(&row)?)
    }
}

impl<T: TakeKeys> Worker for KeyRows<T> {
    fn begin(&mut self, start: &Start) -> Result<(), RowError> {
        if let Some(version) = start.version {
            self.version = version;
            self.gauge = Gauge::new(version);
            self.gauge.set_templates(&start.templates);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RowError> {
        Ok(self.taker.flush()?)
    }
}
