//! The keys of a source in the order of databases and names, whatever order the source has.
//!
//! Each key goes with its undecoded value to `spill`, and comes out of there as the events it was.
//! Takes the memory that the sorter is given, and that of the largest value. Equal keys keep their order.

use std::io;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Depth, Dialect, Failure, KeyHead, NEWEST_REDIS, ObjectType, Sink, Trailer, ValueEvent, Version,
};

use crate::drive::Stop;
use crate::gauge::{Feed, placed};
use crate::jsonl::function_name;
use crate::select::{Chosen, Selected, through};
use crate::source::Source;
use crate::spill::{Sorter, Spill};

/// Reads what is chosen of a source into `sink`, libraries first, then keys in order.
///
/// # Errors
/// As [`Source::read`]. When the source is damaged, what came before the damage is given to the sink in order first.
pub fn read<S: Sink<Error: From<io::Error>>>(
    source: &mut Source,
    chosen: &Chosen,
    limit: Option<u64>,
    spill: &Spill,
    sink: &mut S,
) -> Result<(), Stop<S::Error>> {
    let mut gather = Gather::new(spill);
    let read = source.read(&mut Selected::new(chosen, &mut gather)).map_err(through);
    let stop = match read {
        Ok(()) => None,
        Err(Stop::Sink(error)) => return Err(Stop::Sink(error.into())),
        Err(stop) => Some(stop.map_sink(S::Error::from)),
    };
    let given = gather.give(limit.unwrap_or(u64::MAX), sink);
    match stop {
        Some(stop) => given.and(Err(stop)),
        None => given,
    }
}

/// The sort key of a function library.
const LIBRARY: u8 = 0;
/// What the sort keys of keys begin with.
const KEY: u8 = 1;
/// The sort key of what a module keeps beside its keys: its id and place follow.
const AUX: u8 = 2;

/// A slot import under way: its job's name and the slot ranges.
type Import = (Vec<u8>, Vec<(u64, u64)>);

/// Keeps keys in a sorter.
struct Gather {
    sorter: Sorter,
    version: Version,
    templates: Vec<(u64, Vec<Vec<u8>>)>,
    imports: Vec<Import>,
    trailer: Trailer,
    sort_key: Vec<u8>,
    record: Vec<u8>,
    /// Whether the value of the record has ended, and it may still be told more of.
    is_open: bool,
    /// What KeyDB said about members of the key.
    subexpiry: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Gather {
    fn new(spill: &Spill) -> Self {
        Self {
            sorter: Sorter::new(spill),
            version: Version { dialect: Dialect::Redis, number: NEWEST_REDIS },
            templates: Vec::new(),
            imports: Vec::new(),
            trailer: Trailer::Absent,
            sort_key: Vec::new(),
            record: Vec::new(),
            is_open: false,
            subexpiry: Vec::new(),
        }
    }

    /// Nothing more will be said of the last key.
    fn settle(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        // Behind the value, where its length tells that they begin.
        push_number(&mut self.record, self.subexpiry.len() as u64);
        for (name, value) in self.subexpiry.drain(..) {
            push_bytes(&mut self.record, &name);
            push_bytes(&mut self.record, &value);
        }
        self.sorter.push(&self.sort_key, &self.record)
    }

    fn give<S: Sink<Error: From<io::Error>>>(
        mut self,
        limit: u64,
        sink: &mut S,
    ) -> Result<(), Stop<S::Error>> {
        let trouble = |error: io::Error| Stop::Read(error);
        self.settle().map_err(trouble)?;
        sink.start(self.version).map_err(Stop::Sink)?;
        let mut feed = Feed::new(self.version);
        for (id, fields) in &self.templates {
            feed.add_template(*id, fields);
            sink.template(*id, fields).map_err(Stop::Sink)?;
        }
        for (job, ranges) in &self.imports {
            sink.slot_import(job, ranges).map_err(Stop::Sink)?;
        }
        let mut sorted = self.sorter.finish().map_err(trouble)?;
        let mut db = None;
        let mut given = 0;
        while let Some(record) = sorted.current() {
            if given == limit {
                break;
            }
            given += 1;
            match record.key.split_first() {
                Some((&LIBRARY, _)) => sink.function(0, record.payload).map_err(Stop::Sink)?,
                Some((&AUX, rest)) => {
                    let id = rest.first_chunk().map_or(0, |id| u64::from_be_bytes(*id));
                    sink.module_aux(0, id, record.payload).map_err(Stop::Sink)?;
                }
                _ => {
                    let read = Record::read(record.key, record.payload).ok_or_else(|| {
                        trouble(io::Error::new(io::ErrorKind::InvalidData, "a record of the sorter is cut"))
                    })?;
                    if db != Some(read.head.db) {
                        db = Some(read.head.db);
                        sink.select_db(read.head.db, read.head.at).map_err(Stop::Sink)?;
                    }
                    read.give(&mut feed, sink)?;
                }
            }
            sorted.advance().map_err(trouble)?;
        }
        sink.end(self.trailer).map_err(Stop::Sink)
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A number that may not be there.
fn push_option(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    push_number(out, number.unwrap_or(0));
}

/// A key as it was kept.
struct Record<'a> {
    head: KeyHead<'a>,
    end: u64,
    payload: &'a [u8],
    subexpiry: Vec<(&'a [u8], &'a [u8])>,
}

/// Reads what was pushed, from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    fn option(&mut self) -> Option<Option<u64>> {
        let is_there = self.byte()? != 0;
        let number = self.number()?;
        Some(is_there.then_some(number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Where the length of the value stands in a record: it is known at its end.
const LENGTH_AT: usize = 0;

impl<'a> Record<'a> {
    fn read(sort_key: &'a [u8], record: &'a [u8]) -> Option<Self> {
        let (db, key) = sort_key.get(1..)?.split_first_chunk()?;
        let mut reader = Reader(record);
        let (payload_bytes, end, at) = (reader.number()?, reader.number()?, reader.number()?);
        let type_byte = reader.byte()?;
        let object = ObjectType::all().nth(usize::from(reader.byte()?))?;
        let expire_at = reader.option()?.map(|ms| UnixMs(ms.cast_signed()));
        let (idle_s, freq) = (reader.option()?, reader.option()?);
        let has_meta = reader.byte()? != 0;
        let meta = Some(reader.bytes()?).filter(|_| has_meta);
        let no_evict = reader.byte()? != 0;
        let (payload, rest) = reader.0.split_at_checked(usize::try_from(payload_bytes).ok()?)?;
        let mut reader = Reader(rest);
        let mut subexpiry = Vec::new();
        for _ in 0..reader.number()? {
            subexpiry.push((reader.bytes()?, reader.bytes()?));
        }
        let head = KeyHead {
            at,
            db: u64::from_be_bytes(*db),
            key,
            object,
            type_byte,
            expire_at,
            idle_s,
            freq: freq.map(|freq| freq as u8),
            meta,
            no_evict,
        };
        Some(Self { head, end, payload, subexpiry })
    }

    fn give<S: Sink>(&self, feed: &mut Feed, sink: &mut S) -> Result<(), Stop<S::Error>> {
        let start = self.end.saturating_sub(self.payload.len() as u64);
        let depth = sink.key(&self.head).map_err(Stop::Sink)?;
        let fault = |error| Stop::Format(placed(error, start, self.head.db, self.head.key));
        feed.begin(self.head.type_byte, depth).map_err(fault)?;
        feed.push(self.payload, sink).map_err(|failure| match failure {
            Failure::Format(error) => fault(error),
            Failure::Sink(error) => Stop::Sink(error),
        })?;
        sink.end_key(self.end).map_err(Stop::Sink)?;
        let mut told = self.subexpiry.iter();
        told.try_for_each(|(name, value)| sink.aux(name, value, self.end)).map_err(Stop::Sink)
    }
}

impl Sink for Gather {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.version = version;
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> io::Result<()> {
        if self.is_open && key.starts_with(b"keydb-subexpire-") {
            self.subexpiry.push((key.to_vec(), value.to_vec()));
        }
        Ok(())
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
        self.imports.push((job.to_vec(), ranges.to_vec()));
        Ok(())
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> io::Result<()> {
        self.templates.push((id, fields.to_vec()));
        Ok(())
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        self.settle()?;
        self.sorter.push(&[&[AUX][..], &id.to_be_bytes(), &at.to_be_bytes()].concat(), payload)
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> io::Result<()> {
        self.settle()?;
        self.sorter.push(&[&[LIBRARY], function_name(code)].concat(), code)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.settle()?;
        self.sort_key.clear();
        self.sort_key.push(KEY);
        self.sort_key.extend_from_slice(&head.db.to_be_bytes());
        self.sort_key.extend_from_slice(head.key);
        let record = &mut self.record;
        record.clear();
        // The length of the value and its end come later.
        push_number(record, 0);
        push_number(record, 0);
        push_number(record, head.at);
        record.push(head.type_byte);
        let place = ObjectType::all().position(|object| object == head.object).unwrap_or(0);
        record.push(place as u8);
        push_option(record, head.expire_at.map(|at| at.0.cast_unsigned()));
        push_option(record, head.idle_s);
        push_option(record, head.freq.map(u64::from));
        record.push(u8::from(head.meta.is_some()));
        push_bytes(record, head.meta.unwrap_or_default());
        record.push(u8::from(head.no_evict));
        let value_at = record.len() as u64;
        record[LENGTH_AT..8].copy_from_slice(&value_at.to_le_bytes());
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        if let ValueEvent::Raw(piece) = event {
            self.record.extend_from_slice(piece);
        }
        Ok(())
    }

    fn end_key(&mut self, end: u64) -> io::Result<()> {
        let Some((place, _)) = self.record.split_first_chunk_mut::<8>() else { return Ok(()) };
        let value_at = u64::from_le_bytes(*place);
        let bytes = self.record.len() as u64 - value_at;
        self.record[LENGTH_AT..8].copy_from_slice(&bytes.to_le_bytes());
        self.record[8..16].copy_from_slice(&end.to_le_bytes());
        self.is_open = true;
        Ok(())
    }

    fn end(&mut self, trailer: Trailer) -> io::Result<()> {
        self.trailer = trailer;
        self.settle()
    }
}
