//! A value in another form: which records a target takes as they are, and the events of the others as a
//! record that it reads. Memory does not grow with the value; what must be known before it can be
//! written (how many elements a list has, when the first field expires) is waited for in a spool.
//!
//! A record is copied if its bytes mean the same to the target. Else hashes, sets, sorted sets and lists
//! are written element by element, and streams node by node, in the newest form that the target has. What
//! it cannot hold is counted and left out (`crate::lossy`). Layouts: `codec/rdb/mod.rs`.

mod stream;

use std::collections::HashMap;
use std::io::{self, Read};

use byteorder::{LittleEndian, ReadBytesExt};
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Depth, Drain, Family, MAX_FIELD_EXPIRY_MS, ObjectType, Target, ValueEvent, Writer, WriterOptions,
    container, module_name,
};

use super::spool::{Gap, Piece, Spool};
use crate::lossy::Feature;
use stream::StreamState;

use ObjectType as T;

/// How a record gets into a file of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// As the bytes it is.
    Copy,
    /// Event by event.
    Encode(Encoding),
    /// Not at all: the target has nothing like it.
    LeaveOut(Feature),
}

/// How a record is written event by event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// What it was.
    pub from: ObjectType,
    /// What it becomes.
    pub to: ObjectType,
    /// The depth at which its events are wanted.
    pub depth: Depth,
}

/// How a record of that type gets into a file of `target`.
///
/// Strings in the forms that DUMP has for templates are never copied: it is not known whether servers
/// read them in files.
#[must_use]
pub fn plan(object: ObjectType, target: Target) -> Plan {
    let is_dump_form = matches!(object, T::HashTemplateListpack | T::HashTemplateArray);
    if target.can_hold(object) && !is_dump_form {
        return Plan::Copy;
    }
    let encode = |to, depth| Plan::Encode(Encoding { from: object, to, depth });
    match object.family() {
        Family::String => Plan::Copy,
        Family::List => encode(T::List, Depth::Item),
        Family::Set => encode(T::Set, Depth::Item),
        Family::Zset => encode(target.zset(), Depth::Item),
        Family::Hash => {
            let may_expire = matches!(
                object,
                T::HashMetadata
                    | T::HashListpackEx
                    | T::HashMetadataPreGa
                    | T::HashListpackExPreGa
                    | T::HashExpiry
            );
            let to = target.hash_with_field_ttl().filter(|_| may_expire);
            encode(to.unwrap_or(T::Hash), Depth::Item)
        }
        Family::Stream => match target.stream() {
            Some(to) => encode(to, Depth::Packed),
            None => Plan::LeaveOut(Feature::Streams),
        },
        Family::Module => Plan::LeaveOut(Feature::Modules),
        Family::Array => Plan::LeaveOut(Feature::Arrays),
        Family::PathHash => Plan::LeaveOut(Feature::PathHashes),
    }
}

/// How a record that could be copied is written when its strings are to be compressed anew, or no more.
#[must_use]
pub fn plan_anew(object: ObjectType, target: Target) -> Plan {
    // The events of an array do not say how an element was stored, nor those of a hash which template it
    // has; and a module's strings are its own affair.
    let is_opaque = |object| {
        matches!(object, T::Array | T::Module | T::HashTemplateListpackRef | T::HashTemplateArrayRef)
    };
    match plan(object, target) {
        Plan::Copy if is_opaque(object) => Plan::Copy,
        Plan::Copy => Plan::Encode(Encoding { from: object, to: object, depth: Depth::Packed }),
        other => other,
    }
}

/// Whether the module of that name reads values of that version in the servers that a target stands for.
/// Of modules that are not known here it is taken that it does, where it is loaded.
#[must_use]
pub fn module_is_read(target: Target, id: u64) -> bool {
    let is_redis = !target.has_slot_import();
    let (name, version) = module_name(id);
    match (&name, version) {
        // Bytes of its own from 4 on, where it had JSON text before; Valkey's module reads text only.
        (b"ReJSON-RL", 4..) => is_redis && target >= Target::Redis88,
        (b"TSDB-TYPE", 9..) => is_redis && target >= Target::Redis86,
        // A type of Redis 8 itself.
        (b"vectorset", _) => is_redis && target >= Target::Redis74,
        _ => true,
    }
}

/// Takes the events of one value after another, and writes each in its new form.
pub struct Transcoder {
    w: Writer<Spool>,
    /// Offset of the writer at the value's start.
    base: u64,
    encoding: Encoding,
    state: State,
    lost: Vec<(Feature, u64)>,
    /// Fields whose expiry was told behind the value. They take memory.
    late: HashMap<Vec<u8>, u64>,
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

enum State {
    /// Counts come before what they count.
    Plain,
    /// Elements are counted.
    List {
        count: Gap,
        elements: u64,
    },
    /// Fields are kept in a form of our own until it is known when the first expires.
    Expiring {
        fields: u64,
        expiring: u64,
        earliest: u64,
    },
    Stream(Box<StreamState>),
}

impl Transcoder {
    /// One that compresses strings if `compress` says so.
    #[must_use]
    pub fn new(compress: bool) -> Self {
        let options = WriterOptions { compress, checksum: false };
        let encoding = Encoding { from: T::String, to: T::String, depth: Depth::Item };
        let w = Writer::new(Spool::default(), options);
        Self { w, base: 0, encoding, state: State::Plain, lost: Vec::new(), late: HashMap::new() }
    }

    /// A value begins; what there was of another is forgotten.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn begin(&mut self, encoding: Encoding) -> io::Result<()> {
        self.w.flush()?;
        self.w.drain_mut().clear();
        self.base = self.w.offset();
        self.encoding = encoding;
        self.lost.clear();
        self.late.clear();
        let Encoding { from, to, .. } = encoding;
        self.state = match to.family() {
            Family::List if from != to => State::List { count: self.gap(), elements: 0 },
            Family::Hash if matches!(to, T::HashMetadata | T::HashExpiry) => {
                State::Expiring { fields: 0, expiring: 0, earliest: u64::MAX }
            }
            Family::Stream => State::Stream(Box::new(StreamState::new(from, to))),
            _ => State::Plain,
        };
        Ok(())
    }

    /// Leaves a gap for a count.
    fn gap(&mut self) -> Gap {
        let at = self.w.offset() - self.base;
        self.w.drain_mut().leave_gap(at)
    }

    fn fill(&mut self, gap: Gap, count: u64) {
        self.w.drain_mut().fill(gap, count);
    }

    fn lose(&mut self, feature: Feature, count: u64) {
        match self.lost.iter_mut().find(|(lost, _)| *lost == feature) {
            Some((_, total)) => *total += count,
            None => self.lost.push((feature, count)),
        }
    }

    /// Takes a step of the value.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn event(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        match &mut self.state {
            State::Plain => self.plain(event),
            State::List { elements, .. } => match event {
                ValueEvent::Element(element) => {
                    *elements += 1;
                    self.w.string(element)
                }
                _ => Ok(()),
            },
            State::Expiring { .. } => self.expiring(event),
            State::Stream(_) => self.stream(event),
        }
    }

    fn plain(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        match *event {
            ValueEvent::String { bytes, .. } | ValueEvent::Element(bytes) => self.w.string(bytes),
            ValueEvent::Begin { declared } | ValueEvent::BeginNodes { declared } => self.w.len(declared),
            ValueEvent::Field { field, value, expire_at } => {
                if expire_at.is_some() {
                    self.lose(Feature::FieldTtl, 1);
                }
                self.w.string(field)?;
                self.w.string(value)
            }
            ValueEvent::Member { member, score } => {
                self.w.string(member)?;
                match self.encoding.to {
                    T::ZsetText => self.w.text_score(score),
                    _ => self.w.double(score),
                }
            }
            ValueEvent::Listpack(listpack) => {
                if self.encoding.to == T::HashListpackEx {
                    let expiries = listpack.iter().skip(2).step_by(3).filter_map(|at| at.as_i64());
                    let earliest = expiries.filter(|at| *at > 0).min();
                    self.w.ms(UnixMs(earliest.unwrap_or(NO_EARLIEST)))?;
                }
                self.w.blob(listpack.as_bytes())
            }
            ValueEvent::Intset(intset) => self.w.blob(intset.as_bytes()),
            ValueEvent::Ziplist(ziplist) | ValueEvent::OldListNode(ziplist) => {
                self.w.blob(ziplist.as_bytes())
            }
            ValueEvent::Zipmap(zipmap) => self.w.blob(zipmap.as_bytes()),
            ValueEvent::ListNode(listpack) => {
                self.w.len(container::PACKED)?;
                self.w.blob(listpack.as_bytes())
            }
            ValueEvent::PlainListNode(element) => {
                self.w.len(container::PLAIN)?;
                self.w.blob(element)
            }
            ValueEvent::Path { path, declared } => {
                self.w.string(path)?;
                self.w.len(declared)
            }
            _ => Ok(()),
        }
    }

    /// A field: its expiry, its length and bytes, its value's length and bytes.
    fn expiring(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        let ValueEvent::Field { field, value, expire_at } = *event else { return Ok(()) };
        let most = if self.encoding.to == T::HashMetadata { MAX_FIELD_EXPIRY_MS } else { u64::MAX };
        let mut at = expire_at.map(|at| at.0.cast_unsigned());
        if at.is_some_and(|at| at > most) {
            self.lose(Feature::LateFieldTtl, 1);
            at = None;
        }
        if let State::Expiring { fields, expiring, earliest } = &mut self.state {
            *fields += 1;
            if let Some(at) = at {
                *expiring += 1;
                *earliest = at.min(*earliest);
            }
        }
        self.w.raw(&at.map_or(NEVER, u64::cast_signed).to_le_bytes())?;
        self.w.raw(&(field.len() as u64).to_le_bytes())?;
        self.w.raw(field)?;
        self.w.raw(&(value.len() as u64).to_le_bytes())?;
        self.w.raw(value)
    }

    /// Whether the value is a hash whose fields' expiries can still be told.
    #[must_use]
    pub fn may_expire_late(&self) -> bool {
        matches!(self.state, State::Expiring { .. })
    }

    /// A field of the hash that has ended, and when it expires.
    pub fn expire_late(&mut self, field: &[u8], at: u64) {
        if self.encoding.to == T::HashMetadata && at > MAX_FIELD_EXPIRY_MS {
            return self.lose(Feature::LateFieldTtl, 1);
        }
        if let State::Expiring { expiring, earliest, .. } = &mut self.state {
            *expiring += 1;
            *earliest = at.min(*earliest);
            self.late.insert(field.to_vec(), at);
        }
    }

    /// The value has ended: what it has become.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn end(&mut self) -> io::Result<ObjectType> {
        let to = match std::mem::replace(&mut self.state, State::Plain) {
            State::Plain => self.encoding.to,
            State::List { count, elements } => {
                self.fill(count, elements);
                T::List
            }
            state @ State::Expiring { expiring, .. } => {
                self.state = state;
                if expiring == 0 { T::Hash } else { self.encoding.to }
            }
            State::Stream(stream) => {
                self.end_stream(*stream)?;
                self.encoding.to
            }
        };
        self.w.flush()?;
        Ok(to)
    }

    /// What of the value was left out.
    #[must_use]
    pub fn lost(&self) -> &[(Feature, u64)] {
        &self.lost
    }

    /// Copies the value that has ended, and forgets it.
    ///
    /// # Errors
    /// Those of the disk and of `out`.
    pub fn write_to<D: Drain<Error = io::Error>>(&mut self, out: &mut Writer<D>) -> io::Result<()> {
        if let State::Expiring { fields, expiring, earliest } = self.state {
            let to = if expiring == 0 { T::Hash } else { self.encoding.to };
            copy_fields(self.w.drain_mut(), out, to, fields, earliest, &self.late)?;
            self.w.drain_mut().clear();
            return Ok(());
        }
        self.w.drain_mut().empty(|piece| match piece {
            Piece::Bytes(bytes) => out.raw(bytes),
            Piece::Count(count) => out.len(count),
        })
    }
}

/// What stands for no expiry.
const NEVER: i64 = -1;
/// What Redis writes as the earliest expiry of a hash none of whose fields expires.
const NO_EARLIEST: i64 = MAX_FIELD_EXPIRY_MS as i64 + 1;

/// Writes the fields that were kept as a hash of type `to`.
fn copy_fields<D: Drain<Error = io::Error>>(
    spool: &mut Spool,
    out: &mut Writer<D>,
    to: ObjectType,
    fields: u64,
    earliest: u64,
    late: &HashMap<Vec<u8>, u64>,
) -> io::Result<()> {
    if to == T::HashMetadata {
        out.ms(UnixMs(earliest.cast_signed()))?;
    }
    out.len(fields)?;
    let mut reader = spool.reader()?;
    let (mut field, mut value) = (Vec::new(), Vec::new());
    for _ in 0..fields {
        let at = reader.read_i64::<LittleEndian>()?;
        read_bytes(&mut reader, &mut field)?;
        read_bytes(&mut reader, &mut value)?;
        let at = late.get(&field).map_or(at, |at| at.cast_signed());
        if to == T::HashMetadata {
            // Zero stands for none, so distances are counted from one.
            let distance = if at == NEVER { 0 } else { at.cast_unsigned() - earliest + 1 };
            out.len(distance)?;
        }
        out.string(&field)?;
        out.string(&value)?;
        if to == T::HashExpiry {
            out.ms(UnixMs(at))?;
        }
    }
    Ok(())
}

fn read_bytes(reader: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    const KEPT_BYTES: usize = 1 << 20;
    let len = reader.read_u64::<LittleEndian>()?;
    bytes.clear();
    bytes.shrink_to(KEPT_BYTES);
    // What was written here a moment ago: the length is right.
    if reader.take(len).read_to_end(bytes)? as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
