//! Key metadata of Redis 8.6 as a content: strings in it may be stored in several forms.
//!
//! What follows the opcode is a count, then for each class four bytes and a module's values.

use std::convert::Infallible;

use cairn_engine::codec::rdb::{
    Depth, Dialect, KeyHead, NEWEST_REDIS, ObjectType, Sink, ValueEvent, Version, decode_value,
};

use super::push_framed;

/// The same metadata with every string as it is; as they are if they are laid out in another way.
pub(super) fn canonical(meta: &[u8]) -> Vec<u8> {
    read(meta).unwrap_or_else(|| meta.to_vec())
}

fn read(meta: &[u8]) -> Option<Vec<u8>> {
    /// A count up to here is one byte.
    const MOST: u8 = 63;
    const CLASS_BYTES: usize = 4;
    let (&count @ 0..=MOST, mut rest) = meta.split_first()? else { return None };
    let mut values = Values(vec![count]);
    for _ in 0..count {
        let (class, behind) = rest.split_at_checked(CLASS_BYTES)?;
        values.0.extend_from_slice(class);
        // With an id in front, the values of a class are laid out as a module's value.
        let payload = [&[0], behind].concat();
        let version = Version { dialect: Dialect::Redis, number: NEWEST_REDIS };
        let used =
            decode_value(version, ObjectType::Module.byte(), &payload, Depth::Item, &mut values).ok()?;
        rest = behind.get(used.checked_sub(1)?..)?;
    }
    Some(values.0)
}

struct Values(Vec<u8>);

impl Sink for Values {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Item)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        let (tag, bytes): (u8, &[u8]) = match &event {
            ValueEvent::ModuleSigned(value) => (b'i', &value.to_be_bytes()),
            ValueEvent::ModuleUnsigned(value) => (b'i', &value.to_be_bytes()),
            ValueEvent::ModuleFloat(value) => (b'f', &value.to_bits().to_be_bytes()),
            ValueEvent::ModuleDouble(value) => (b'd', &value.to_bits().to_be_bytes()),
            ValueEvent::ModuleString(bytes) => (b's', bytes),
            _ => return Ok(()),
        };
        self.0.push(tag);
        push_framed(&mut self.0, bytes);
        Ok(())
    }
}
