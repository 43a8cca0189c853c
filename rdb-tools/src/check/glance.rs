//! Values of the commonest types, looked at in one pass over their bytes as they are stored.
//!
//! A [`Glance`] knows what the decoder and the [`super::Inspector`] want of such a value, and says "all is well" or
//! "not sure": they then look at it, and say what it is. It builds nothing, and unpacks only what must be looked into.

use std::cmp::Ordering;

use cairn_engine::base::lzf::{self, Unpacker};
use cairn_engine::base::num;
use cairn_engine::codec::rdb::records::{Stored, StoredString};
use cairn_engine::codec::rdb::{ObjectType, container};
use cairn_engine::packed::Element;
use cairn_engine::packed::intset::Intset;
use cairn_engine::packed::listpack::{Listpack, Sound};

use super::distinct::Hasher;
use super::parts::Parts;
use super::score::Score;

/// Looks at one value after the other.
#[derive(Debug)]
pub(super) struct Glance {
    hasher: Hasher,
    parts: Parts,
    unpacker: Unpacker,
}

/// All is well; `None` is "not sure".
type Sure = Option<()>;

impl Glance {
    pub(super) fn new(hasher: Hasher) -> Self {
        Self { hasher, parts: Parts::default(), unpacker: Unpacker::default() }
    }

    /// Whether all is well with a value, which is then read to its end.
    #[inline]
    pub(super) fn value(&mut self, object: ObjectType, value: &mut Stored<'_>) -> Sure {
        use ObjectType as T;
        match object {
            T::String => text(value.string()?),
            T::SetListpack => self.set_listpack(value.string()?),
            T::HashListpack => self.hash_listpack(value.string()?),
            T::ZsetListpack => self.zset_listpack(value.string()?),
            T::SetIntset => {
                let set = Intset::new(bytes(value.string()?, &mut self.unpacker)?).ok()?;
                sure(!set.is_empty())
            }
            T::ListQuicklist2 => self.quicklist(value),
            T::Set => {
                self.begin(value)?;
                while self.parts.is_waiting() {
                    self.part(value)?;
                }
                Some(())
            }
            T::Hash => {
                self.begin(value)?;
                while self.parts.is_waiting() {
                    self.part(value)?;
                    text(value.string()?)?;
                }
                Some(())
            }
            T::Zset => {
                self.begin(value)?;
                while self.parts.is_waiting() {
                    self.part(value)?;
                    let score = f64::from_le_bytes(*value.bytes(8)?.first_chunk()?);
                    sure(!score.is_nan())?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// Reads how many parts there are, which cannot be none.
    #[inline]
    fn begin(&mut self, value: &mut Stored<'_>) -> Sure {
        let count = value.length()?;
        sure(count > 0)?;
        self.parts.begin(count)
    }

    /// A member or field that must differ from the others.
    #[inline]
    fn part(&mut self, value: &mut Stored<'_>) -> Sure {
        let element = match value.string()? {
            StoredString::Raw(bytes) => Element::Bytes(bytes),
            StoredString::Int { value, .. } => Element::Int(value.into()),
            StoredString::Lzf { packed, raw_len } => {
                Element::Bytes(self.unpacker.unpack(packed, raw_len).ok()?)
            }
        };
        sure(self.parts.add(hash(self.hasher, element)))
    }

    fn set_listpack(&mut self, stored: StoredString<'_>) -> Sure {
        let Self { hasher, parts, unpacker } = self;
        let mut members = begin_listpack(bytes(stored, unpacker)?, 1, parts)?;
        for member in members.by_ref() {
            sure(parts.add(hash(*hasher, member)))?;
        }
        sure(members.is_sound() && members.shown() > 0)
    }

    fn hash_listpack(&mut self, stored: StoredString<'_>) -> Sure {
        let Self { hasher, parts, unpacker } = self;
        let mut entries = begin_listpack(bytes(stored, unpacker)?, 2, parts)?;
        while let Some(field) = entries.next() {
            sure(parts.add(hash(*hasher, field)))?;
            entries.next()?;
        }
        sure(entries.is_sound() && entries.shown() > 0)
    }

    fn zset_listpack(&mut self, stored: StoredString<'_>) -> Sure {
        let Self { hasher, parts, unpacker } = self;
        let mut entries = begin_listpack(bytes(stored, unpacker)?, 2, parts)?;
        let first = entries.next()?;
        sure(parts.add(hash(*hasher, first)))?;
        let mut last = (first, Score::of(entries.next()?)?);
        while let Some(member) = entries.next() {
            sure(parts.add(hash(*hasher, member)))?;
            let score = Score::of(entries.next()?)?;
            match last.1.compare(&score)? {
                Ordering::Less => {}
                Ordering::Equal => sure(last.0.with_bytes(|a| member.with_bytes(|b| a <= b)))?,
                Ordering::Greater => return None,
            }
            last = (member, score);
        }
        sure(entries.is_sound())
    }

    fn quicklist(&mut self, value: &mut Stored<'_>) -> Sure {
        let mut has_elements = false;
        for _ in 0..value.length()? {
            match value.length()? {
                container::PLAIN => {
                    let element = value.string()?;
                    text(element)?;
                    sure(!element.is_empty())?;
                    has_elements = true;
                }
                container::PACKED => {
                    let node = Listpack::new(bytes(value.string()?, &mut self.unpacker)?).ok()?;
                    has_elements |= !node.is_empty();
                }
                _ => return None,
            }
        }
        sure(has_elements)
    }
}

#[inline(always)]
fn sure(is_well: bool) -> Sure {
    is_well.then_some(())
}

/// A string that nobody looks into: what is compressed can be unpacked.
#[inline]
fn text(string: StoredString<'_>) -> Sure {
    match string {
        StoredString::Lzf { packed, raw_len } => sure(lzf::is_sound(packed, raw_len)),
        StoredString::Raw(_) | StoredString::Int { .. } => Some(()),
    }
}

/// The bytes of a packed value.
#[inline]
fn bytes<'b>(string: StoredString<'b>, unpacker: &'b mut Unpacker) -> Option<&'b [u8]> {
    match string {
        StoredString::Raw(bytes) => Some(bytes),
        StoredString::Lzf { packed, raw_len } => unpacker.unpack(packed, raw_len).ok(),
        StoredString::Int { .. } => None,
    }
}

/// The elements of a listpack, of which each `unit`th must differ from the others of its kind.
#[inline]
fn begin_listpack<'b>(bytes: &'b [u8], unit: usize, parts: &mut Parts) -> Option<Sound<'b>> {
    let entries = Sound::new(bytes)?;
    parts.begin(entries.declared()?.div_ceil(unit) as u64)?;
    Some(entries)
}

/// Of a part. One that is stored as an integer has the hash of its text.
#[inline(always)]
fn hash(hasher: Hasher, part: Element<'_>) -> u64 {
    match part {
        Element::Int(value) => hasher.number(value),
        Element::Bytes(text) => match text {
            [b'-' | b'0'..=b'9', .., b'0'..=b'9'] | [b'0'..=b'9'] => text_hash(hasher, text),
            _ => hasher.part(text),
        },
    }
}

#[inline(never)]
fn text_hash(hasher: Hasher, text: &[u8]) -> u64 {
    num::parse_i64(text).map_or_else(|| hasher.part(text), |value| hasher.number(value))
}

#[cfg(test)]
mod tests;
