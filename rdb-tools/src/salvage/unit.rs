//! One unit of a file at a time: a record with what stands before it, or an opcode.
//!
//! The engine's decoder does the reading, started at the unit's first byte and stopped at its first event, so that
//! the rules of the format are in one place and a start anywhere can be tried.

use std::sync::Arc;

use cairn_engine::codec::rdb::{
    Decoder, Depth, Error, Failure, KeyHead, Kind, ObjectType, Options, Place, Sink, State, Templates,
    Trailer, ValueEvent, Version,
};

use super::bytes::Bytes;
use crate::check::Inspector;

/// What is known where a unit begins.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) version: Version,
    pub(crate) db: u64,
    pub(crate) templates: Arc<Templates>,
}

/// A key as its record's head has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Offset of the type byte.
    pub(crate) at: usize,
    pub(crate) db: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) object: ObjectType,
    pub(crate) type_byte: u8,
    pub(crate) expire_ms: Option<i64>,
    pub(crate) prefixes: Prefixes,
}

/// Which prefixes stand before a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prefixes {
    pub(crate) idle: bool,
    pub(crate) freq: bool,
    pub(crate) meta: bool,
    pub(crate) no_evict: bool,
}

/// What a unit is.
#[derive(Debug)]
pub(crate) enum What {
    Key(Key),
    SelectDb(u64),
    /// Keys, and of them those that expire.
    ResizeDb(u64),
    SlotInfo,
    Template(u64, Vec<Vec<u8>>),
    /// Fields, functions, module data, commands: what is carried over as it is.
    Other,
    End,
}

/// A unit that is whole.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) what: What,
    /// Where it ends.
    pub(crate) end: usize,
}

/// Why there is no whole unit.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The key whose value was being read.
    pub(crate) key: Option<Key>,
    /// What was looked at took more work than was allowed.
    pub(crate) is_too_much: bool,
}

/// The event that ends the reading.
struct Reached;

struct One<'i> {
    what: Option<What>,
    key: Option<Key>,
    end: Option<u64>,
    inspector: Option<&'i mut Inspector>,
}

impl One<'_> {
    fn reach(&mut self, what: What) -> Result<(), Reached> {
        self.what = Some(what);
        Err(Reached)
    }
}

impl Sink for One<'_> {
    type Error = Reached;

    fn aux(&mut self, _key: &[u8], _value: &[u8], _end: u64) -> Result<(), Reached> {
        self.reach(What::Other)
    }
    fn select_db(&mut self, db: u64, _end: u64) -> Result<(), Reached> {
        self.reach(What::SelectDb(db))
    }
    fn resize_db(&mut self, keys: u64, _expires: u64) -> Result<(), Reached> {
        self.reach(What::ResizeDb(keys))
    }
    fn slot_info(&mut self, _slot: u64, _keys: u64, _expires: u64) -> Result<(), Reached> {
        self.reach(What::SlotInfo)
    }
    fn slot_import(&mut self, _job: &[u8], _ranges: &[(u64, u64)]) -> Result<(), Reached> {
        self.reach(What::Other)
    }
    fn function(&mut self, _at: u64, _code: &[u8]) -> Result<(), Reached> {
        self.reach(What::Other)
    }
    fn module_aux(&mut self, _at: u64, _id: u64, _payload: &[u8]) -> Result<(), Reached> {
        self.reach(What::Other)
    }
    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Reached> {
        self.reach(What::Template(id, fields.to_vec()))
    }
    fn update(&mut self, _at: u64, _argv: &[&[u8]]) -> Result<(), Reached> {
        self.reach(What::Other)
    }
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Reached> {
        self.key = Some(Key {
            at: head.at as usize,
            db: head.db,
            name: head.key.to_vec(),
            object: head.object,
            type_byte: head.type_byte,
            expire_ms: head.expire_at.map(|at| at.0),
            prefixes: Prefixes {
                idle: head.idle_s.is_some(),
                freq: head.freq.is_some(),
                meta: head.meta.is_some(),
                no_evict: head.no_evict,
            },
        });
        Ok(match &mut self.inspector {
            Some(inspector) => {
                inspector.begin(head.object);
                inspector.depth()
            }
            None => Depth::Skip,
        })
    }
    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Reached> {
        if let Some(inspector) = &mut self.inspector {
            inspector.event(&event);
        }
        Ok(())
    }
    fn end_key(&mut self, end: u64) -> Result<(), Reached> {
        self.end = Some(end);
        match self.key.take() {
            Some(key) => self.reach(What::Key(key)),
            None => Err(Reached),
        }
    }
    fn end(&mut self, _trailer: Trailer) -> Result<(), Reached> {
        self.reach(What::End)
    }
}

/// What the decoder gets at a time.
const WINDOW_BYTES: usize = 64 << 10;

/// Reads the unit at `at`: by lengths alone, or with its value looked at. Not more than `windows` pieces of 64 KiB
/// are gone through element by element; strings of any length are stepped over.
pub(crate) fn read(
    bytes: &Bytes<'_>,
    context: &Context,
    at: usize,
    inspector: Option<&mut Inspector>,
    windows: usize,
) -> Result<Unit, Box<Fault>> {
    let place = Place {
        version: context.version,
        offset: at as u64,
        db: context.db,
        templates: Arc::clone(&context.templates),
    };
    let mut decoder = Decoder::resume(Options::default(), &place);
    let mut one = One { what: None, key: None, end: None, inspector };
    let (mut from, mut window) = (at.min(bytes.len()), WINDOW_BYTES);
    let fault = |one: One<'_>, kind, is_too_much| Box::new(Fault { kind, key: one.key, is_too_much });
    for _ in 0..windows.max(1) {
        let until = from.saturating_add(window).min(bytes.len());
        let piece = bytes.get(from..until);
        match decoder.advance(&piece, until == bytes.len(), &mut one) {
            Err(Failure::Sink(Reached)) => {
                let end = one.end.unwrap_or(decoder.offset()) as usize;
                // A unit that ends where it begins would be read again and again.
                if end <= at {
                    return Err(fault(one, Kind::UnexpectedEof, false));
                }
                // A sink that stops has seen something.
                let what = one.what.take().unwrap_or(What::Other);
                return Ok(Unit { what, end });
            }
            Err(Failure::Format(Error { kind, .. })) => {
                return Err(fault(one, kind, false));
            }
            Ok(step) => {
                from += step.consumed;
                match step.state {
                    State::Done => break,
                    State::More { at_least } => {
                        window = usize::try_from(at_least).unwrap_or(usize::MAX).max(WINDOW_BYTES);
                    }
                }
            }
        }
    }
    Err(fault(one, Kind::UnexpectedEof, true))
}
