//! Module values and key metadata as JSON: the values a module wrote, and vector sets by name.
//!
//! A module's value is a row of typed values that only the module understands. Redis 8's vector sets
//! are such a value, `vectorset` by name, and common enough to be told apart:
//! `dim, count, quantisation + 256 x M, flags, [input dim, matrix if flags & 1]`, then for each element
//! `name, [attributes if flags & 2], vector, n, n numbers`, the last of which is the norm (low half)
//! and the range of int8 (high half) as bits of floats. Witness: VINFO, VEMB and VGETATTR of Redis 8.

use std::convert::Infallible;

use cairn_engine::codec::rdb::{
    Depth, Dialect, KeyHead, ObjectType, Sink, ValueEvent, Version, decode_value,
};

use crate::arena::{Arena, Span};
use crate::json;

/// The module value as its events have told it.
#[derive(Debug, Default)]
pub(super) struct Module {
    id: u64,
    values: Vec<Item>,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Integer(u64),
    Signed(u64),
    Float(f32),
    Double(f64),
    Bytes(Span),
}

/// The name in a module type id: nine characters of six bits each, above ten bits of version.
#[must_use]
pub fn module_name(id: u64) -> [u8; 9] {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::array::from_fn(|i| CHARACTERS[((id >> (10 + 6 * (8 - i))) & 63) as usize])
}

impl Module {
    pub(super) fn name(&self) -> [u8; 9] {
        module_name(self.id)
    }

    pub(super) fn add(&mut self, event: &ValueEvent<'_>, arena: &mut Arena) {
        match *event {
            ValueEvent::BeginModule { id } => self.id = id,
            ValueEvent::ModuleSigned(value) => self.values.push(Item::Signed(value.cast_unsigned())),
            ValueEvent::ModuleUnsigned(value) => self.values.push(Item::Integer(value)),
            ValueEvent::ModuleFloat(value) => self.values.push(Item::Float(value)),
            ValueEvent::ModuleDouble(value) => self.values.push(Item::Double(value)),
            ValueEvent::ModuleString(bytes) => self.values.push(Item::Bytes(arena.push(bytes))),
            _ => {}
        }
    }

    pub(super) fn push_json(&self, out: &mut Vec<u8>, arena: &Arena, raw: bool) {
        if !raw && self.name() == *b"vectorset" {
            let start = out.len();
            let mut items = Items { left: &self.values, arena };
            if items.push_vector_set(out).is_some() && items.left.is_empty() {
                return;
            }
            // Laid out in a way that we do not know: as any module value then.
            out.truncate(start);
        }
        out.push(b'{');
        json::push_name(out, "module_id");
        json::push_u64(out, self.id);
        json::push_name(out, "values");
        push_items(out, &self.values, arena);
        if raw {
            json::push_name(out, "kinds");
            push_kinds(out, &self.values);
        }
        out.push(b'}');
    }
}

/// Appends what each value is, a letter each: unsigned, signed, float, double, bytes. Numbers in strings
/// look like text, and modules tell them apart.
fn push_kinds(out: &mut Vec<u8>, items: &[Item]) {
    out.push(b'"');
    out.extend(items.iter().map(|item| match item {
        Item::Integer(_) => b'u',
        Item::Signed(_) => b's',
        Item::Float(_) => b'f',
        Item::Double(_) => b'd',
        Item::Bytes(_) => b'b',
    }));
    out.push(b'"');
}

fn push_items(out: &mut Vec<u8>, items: &[Item], arena: &Arena) {
    json::push_array(out, items, |out, item| match item {
        Item::Integer(value) | Item::Signed(value) => json::push_u64(out, *value),
        Item::Float(value) => json::push_f32(out, *value),
        Item::Double(value) => json::push_f64(out, *value),
        Item::Bytes(span) => json::push_bytes(out, arena.at(*span)),
    });
}

/// The quantisations of a vector set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quant {
    F32,
    Int8,
    Bin,
}

impl Quant {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
            Self::Bin => "bin",
        }
    }
}

struct Items<'a> {
    left: &'a [Item],
    arena: &'a Arena,
}

struct Element<'a> {
    name: &'a [u8],
    attributes: Option<&'a [u8]>,
    vector: &'a [u8],
    norm: f32,
    range: f32,
}

impl<'a> Items<'a> {
    fn integer(&mut self) -> Option<u64> {
        match self.left.split_first()? {
            (Item::Integer(value) | Item::Signed(value), left) => {
                self.left = left;
                Some(*value)
            }
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        match self.left.split_first()? {
            (Item::Bytes(span), left) => {
                self.left = left;
                Some(self.arena.at(*span))
            }
            _ => None,
        }
    }

    /// Appends a vector set; `None` if the values are not laid out as one.
    fn push_vector_set(&mut self, out: &mut Vec<u8>) -> Option<()> {
        const DEFAULT_M: u64 = 16;
        const HAS_MATRIX: u64 = 1;
        const HAS_ATTRIBUTES: u64 = 2;
        let (dim, count, config, flags) =
            (self.integer()?, self.integer()?, self.integer()?, self.integer()?);
        let quant = match config & 0xff {
            0 => Quant::F32,
            1 => Quant::Int8,
            2 => Quant::Bin,
            _ => return None,
        };
        let input_dim = match flags & HAS_MATRIX {
            0 => 0,
            _ => {
                let input_dim = self.integer()?;
                self.bytes()?;
                input_dim
            }
        };
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.element(flags & HAS_ATTRIBUTES != 0)?);
        }
        elements.sort_by_key(|element| element.name);
        out.push(b'{');
        json::push_name(out, "quant_type");
        json::push_text(out, quant.name());
        let m = Some((config >> 8) & 0xffff).filter(|m| *m != 0).unwrap_or(DEFAULT_M);
        let with_attributes = elements.iter().filter(|e| e.attributes.is_some()).count() as u64;
        for (name, value) in [
            ("hnsw_m", m),
            ("vector_dim", dim),
            ("projection_input_dim", input_dim),
            ("size", count),
            ("attributes_count", with_attributes),
        ] {
            json::push_name(out, name);
            json::push_u64(out, value);
        }
        json::push_name(out, "elements");
        json::push_array(out, &elements, |out, element| element.push_json(out, quant, dim));
        out.push(b'}');
        Some(())
    }

    fn element(&mut self, has_attributes: bool) -> Option<Element<'a>> {
        let name = self.bytes()?;
        let attributes = match has_attributes {
            true => Some(self.bytes()?).filter(|text| !text.is_empty()),
            false => None,
        };
        let vector = self.bytes()?;
        let mut last = 0;
        for _ in 0..self.integer()? {
            last = self.integer()?;
        }
        let (norm, range) = (f32::from_bits(last as u32), f32::from_bits((last >> 32) as u32));
        Some(Element { name, attributes, vector, norm, range })
    }
}

impl Element<'_> {
    fn push_json(&self, out: &mut Vec<u8>, quant: Quant, dim: u64) {
        out.push(b'[');
        json::push_bytes(out, self.name);
        out.extend_from_slice(b",[");
        json::push_text(out, quant.name());
        out.push(b',');
        json::push_bytes(out, self.vector);
        out.push(b',');
        json::push_f32(out, self.norm);
        if quant == Quant::Int8 {
            out.push(b',');
            json::push_f32(out, self.range);
        }
        out.extend_from_slice(b"],");
        match self.attributes {
            Some(attributes) => json::push_bytes(out, attributes),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b',');
        json::push_array(out, self.numbers(quant, dim), json::push_f32);
        out.push(b']');
    }

    /// The vector as VEMB answers it: of length one and times the norm, or signs alone.
    fn numbers(&self, quant: Quant, dim: u64) -> Vec<f32> {
        let dim = usize::try_from(dim).unwrap_or(usize::MAX);
        match quant {
            Quant::F32 => {
                let (floats, _) = self.vector.as_chunks::<4>();
                floats.iter().take(dim).map(|bytes| f32::from_le_bytes(*bytes) * self.norm).collect()
            }
            Quant::Int8 => {
                let number = |byte: &u8| f32::from(byte.cast_signed()) * self.range / 127.0 * self.norm;
                self.vector.iter().take(dim).map(number).collect()
            }
            Quant::Bin => {
                let bit = |i: usize| (self.vector[i / 8] >> (i % 8)) & 1;
                let bits = (0..dim.min(self.vector.len().saturating_mul(8))).map(bit);
                bits.map(|bit| if bit == 1 { 1.0 } else { -1.0 }).collect()
            }
        }
    }
}

/// Appends Redis 8.6 key metadata: `[[class, [values]], ...]`.
///
/// `meta` is what follows the opcode: a count, then four bytes and a module's values for each class.
///
/// With `raw` the kinds of the values follow them.
pub(super) fn push_key_meta(out: &mut Vec<u8>, meta: &[u8], raw: bool) {
    // The decoder has read these bytes as the same values before, so nothing can be wrong with them.
    // Redis has room for seven classes; a count that takes more than six bits is nothing we know.
    let Some((&count @ 0..64, mut rest)) = meta.split_first() else {
        json::push_bytes(out, meta);
        return;
    };
    json::push_array(out, 0..count, |out, _| {
        let (class, values) = rest.split_at(rest.len().min(4));
        let mut collected = Collected::default();
        // With an id in front, the values of a class are laid out as a module's value.
        let payload = [&[0], values].concat();
        let version = Version { dialect: Dialect::Redis, number: cairn_engine::codec::rdb::NEWEST_REDIS };
        let used = decode_value(version, ObjectType::Module.byte(), &payload, Depth::Item, &mut collected);
        rest = &values[used.map_or(values.len(), |used| used.saturating_sub(1).min(values.len()))..];
        out.extend_from_slice(b"[\"");
        for byte in class {
            out.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        out.extend_from_slice(b"\",");
        push_items(out, &collected.module.values, &collected.arena);
        if raw {
            out.push(b',');
            push_kinds(out, &collected.module.values);
        }
        out.push(b']');
    });
}

#[derive(Debug, Default)]
struct Collected {
    module: Module,
    arena: Arena,
}

impl Sink for Collected {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Item)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        self.module.add(&event, &mut self.arena);
        Ok(())
    }
}
