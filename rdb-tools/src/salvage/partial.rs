//! The part of a damaged collection that comes before the damage, as a record of plain elements.
//!
//! Only for those who ask for it: what comes out is a value that never was.

use std::ops::Range;
use std::sync::Arc;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::encode::push_len;
use cairn_engine::codec::rdb::{
    Decoder, Depth, Family, KeyHead, ObjectType, Options, Place, Sink, ValueEvent, opcode,
};

use super::bytes::Bytes;
use super::unit::{Context, Key};

/// Parts are kept in memory until their elements have been counted: no more than this of them.
const MOST_BYTES: usize = 16 << 20;

/// A record that was made of a part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) record: Vec<u8>,
    pub(super) elements: u64,
}

/// Full, or damaged: in either case it ends there.
struct Full;

#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    count: u64,
    is_for_this: bool,
}

impl Elements {
    fn push(&mut self, bytes: &[u8]) {
        push_len(&mut self.bytes, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

impl Sink for Elements {
    type Error = Full;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Full> {
        // The unit's only key.
        if std::mem::replace(&mut self.is_for_this, true) { Err(Full) } else { Ok(Depth::Item) }
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Full> {
        if self.bytes.len() > MOST_BYTES {
            return Err(Full);
        }
        match event {
            ValueEvent::Element(element) => self.push(element),
            ValueEvent::Field { field, value, .. } => {
                self.push(field);
                self.push(value);
            }
            ValueEvent::Member { member, score } => {
                self.push(member);
                self.bytes.extend_from_slice(&score.to_le_bytes());
            }
            _ => return Ok(()),
        }
        self.count += 1;
        Ok(())
    }
}

/// Reads the elements in front of the damage of the record in `range`. `None` if there are none, or if it is no
/// collection of elements.
pub(super) fn part(bytes: &Bytes<'_>, context: &Context, range: Range<usize>, key: &Key) -> Option<Part> {
    let object = match key.object.family() {
        Family::List => ObjectType::List,
        Family::Set => ObjectType::Set,
        Family::Hash => ObjectType::Hash,
        // Scores as doubles came with version 8.
        Family::Zset if context.version.number >= 8 => ObjectType::Zset,
        _ => return None,
    };
    let place = Place {
        version: context.version,
        offset: range.start as u64,
        db: key.db,
        templates: Arc::clone(&context.templates),
    };
    let mut elements = Elements::default();
    let end = range.end.min(range.start.saturating_add(4 * MOST_BYTES));
    // How it ends is known: the elements before that are what is wanted.
    let _ = Decoder::resume(Options::default(), &place).advance(
        &bytes.get(range.start..end),
        true,
        &mut elements,
    );
    if elements.count == 0 {
        return None;
    }
    let mut record = Vec::new();
    if let Some(UnixMs(at)) = key.expire_ms.map(UnixMs) {
        record.push(opcode::EXPIRE_MS);
        record.extend_from_slice(&at.to_le_bytes());
    }
    record.push(object.byte());
    push_len(&mut record, key.name.len() as u64);
    record.extend_from_slice(&key.name);
    push_len(&mut record, elements.count);
    record.extend_from_slice(&elements.bytes);
    Some(Part { record, elements: elements.count })
}
