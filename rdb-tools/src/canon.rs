//! What a value is, whatever its encoding: a set of parts, and digests of them.
//!
//! Each value is taken apart into parts, each a section, an identity and a content: of a hash a part a
//! field (its name, its value), of a list a part an element (its index, its bytes), of a stream its entries,
//! numbers, groups, pending entries, consumers. Two values are equal if they have the same parts, in whatever
//! order. Digests, diffs and patches all work on parts, so they cannot disagree about what counts.
//!
//! What is made equal, as a server would when it loads the value: encodings and dialects; the two zeros
//! of a score; an expiry of -1 and none; numbers that old streams do not have (entries ever added, the first and
//! the greatest deleted id, what a group has read, active times). A stream's length is the number of
//! its entries. A vector set is its elements, without the links of its graph. Everything else counts.
//!
//! Digests: [`Keyed`] for comparing within one process, [`Stable`] for keeping. Each says what holds against
//! data that were made to fool it.

mod debug;
mod key_meta;
mod keyed;
mod stable;
mod stream;
mod vectors;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Family, KeyHead, ObjectType, ValueEvent};

pub use debug::{DebugDigest, DebugStyle};
pub use keyed::{Content, Keyed};
pub use stable::{DIGEST_BYTES, Digest, Stable};
use stream::Stream;
use vectors::Vectors;

/// What does not count, beyond what never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Lists are bags: the same elements in another order are the same list.
    pub ignore_order: bool,
    /// When fields expire does not count.
    pub ignore_field_ttl: bool,
    /// When a consumer was seen and active counts. It does not by default: these times are not
    /// replicated, nor kept by a rewritten log.
    pub consumer_times: bool,
    /// When pending entries of streams were delivered last does not count.
    pub ignore_delivery_times: bool,
    /// The two zeros are two scores. They are one to servers, which give back the one they were given.
    pub keep_zeros: bool,
    /// Idle times and access counters of keys count. They do not by default, since reading changes them.
    pub access: bool,
}

/// What kind of part a part is. In this order commands can make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Section {
    /// Identity: which number of a key's own (one byte, see [`meta`]). Content: the bytes.
    Meta,
    /// No identity; the bytes of a string.
    Text,
    /// An index, 8 bytes; an element of a list.
    Element,
    /// An element of a list whose order is ignored; nothing.
    BagElement,
    /// A member of a set; nothing.
    Member,
    /// A field of a hash; its value.
    Field,
    /// A field of a hash, or member; when it expires, 8 bytes.
    FieldTtl,
    /// A member of a sorted set; the bits of its score, 8 bytes.
    Scored,
    /// A stream id, 16 bytes; nothing. Of pending entries, and only where whoever reads asks for it.
    StandIn,
    /// A group's name; its last id, and what it has read: 1 and 8 bytes, or 0.
    Group,
    /// Group, consumer; seen and active time where they count.
    Consumer,
    /// Group, id; a 0, time and number of deliveries. Then, as another part: a 1, and the owner's name.
    Pending,
    /// Group, index; the id.
    Nacked,
    /// A stream id, 16 bytes; fields and values, each with its length before it.
    Entry,
    /// No identity; last id, greatest deleted id, first id, entries added.
    Totals,
    /// No identity; the four numbers of idempotent production.
    Idempotence,
    /// Producer, idempotent id; the entry's id.
    IdempotentId,
    /// A path of a path hash; nothing.
    Path,
    /// Path, field; value.
    PathField,
    /// No identity; the index that ARINSERT used last.
    ArrayInsert,
    /// An index, 8 bytes; an element of an array.
    ArrayElement,
    /// No identity; the module type's id.
    Module,
    /// An index, 8 bytes; a value of a module, its type before it.
    ModuleItem,
    /// What of a vector set (one byte); a number or a matrix.
    VectorSet,
    /// A name; norm, range, attributes, vector.
    Vector,
    /// An offset, 8 bytes; a piece of the undecoded value. Only where whoever reads asks for it.
    Raw,
}

impl Section {
    /// All of them, in order.
    const ALL: [Self; 26] = [
        Self::Meta,
        Self::Text,
        Self::Element,
        Self::BagElement,
        Self::Member,
        Self::Field,
        Self::FieldTtl,
        Self::Scored,
        Self::StandIn,
        Self::Group,
        Self::Consumer,
        Self::Pending,
        Self::Nacked,
        Self::Entry,
        Self::Totals,
        Self::Idempotence,
        Self::IdempotentId,
        Self::Path,
        Self::PathField,
        Self::ArrayInsert,
        Self::ArrayElement,
        Self::Module,
        Self::ModuleItem,
        Self::VectorSet,
        Self::Vector,
        Self::Raw,
    ];

    /// The section with that number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// Identities of [`Section::Meta`].
pub mod meta {
    /// Redis 8.6 key metadata.
    pub const KEY_META: &[u8] = &[0];
    /// Redis 8.12: must not be evicted.
    pub const NO_EVICT: &[u8] = &[1];
    /// Idle seconds, 8 bytes.
    pub const IDLE: &[u8] = &[2];
    /// Access counter, one byte.
    pub const FREQ: &[u8] = &[3];
}

/// Takes the parts of a value.
pub trait Parts {
    /// What can go wrong there.
    type Error;

    /// Takes a part. Slices are gone after the call.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    fn part(&mut self, section: Section, identity: &[u8], content: &[u8]) -> Result<(), Self::Error>;
}

/// When a key expires, as servers take it: -1 is never.
#[must_use]
pub fn expiry(head: &KeyHead<'_>) -> Option<UnixMs> {
    head.expire_at.filter(|at| at.0 != -1)
}

/// Takes values apart: events at depth `Item` in, parts out. Memory is that of the largest element.
#[derive(Debug)]
pub struct Canon {
    rules: Rules,
    object: ObjectType,
    index: u64,
    path: Vec<u8>,
    identity: Vec<u8>,
    content: Vec<u8>,
    stream: Stream,
    vectors: Vectors,
}

impl Canon {
    /// Parts by these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            object: ObjectType::String,
            index: 0,
            path: Vec::new(),
            identity: Vec::new(),
            content: Vec::new(),
            stream: Stream::default(),
            vectors: Vectors::default(),
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// A key starts. Its expiry is no part: see [`expiry`].
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin<P: Parts>(&mut self, head: &KeyHead<'_>, out: &mut P) -> Result<(), P::Error> {
        self.object = head.object;
        self.index = 0;
        match head.object.family() {
            Family::Stream => self.stream = Stream::of(head.object),
            Family::Module => self.vectors = Vectors::default(),
            _ => {}
        }
        if let Some(meta) = head.meta {
            out.part(Section::Meta, meta::KEY_META, &key_meta::canonical(meta))?;
        }
        if head.no_evict {
            out.part(Section::Meta, meta::NO_EVICT, b"")?;
        }
        if self.rules.access {
            if let Some(idle_s) = head.idle_s {
                out.part(Section::Meta, meta::IDLE, &idle_s.to_be_bytes())?;
            }
            if let Some(freq) = head.freq {
                out.part(Section::Meta, meta::FREQ, &[freq])?;
            }
        }
        Ok(())
    }

    /// The number of the next element.
    fn next_index(&mut self) -> [u8; 8] {
        let index = self.index;
        self.index = index.wrapping_add(1);
        index.to_be_bytes()
    }

    /// A step of the value. Events of depths above `Item` have no parts; `Raw` pieces are passed on.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn event<P: Parts>(&mut self, event: &ValueEvent<'_>, out: &mut P) -> Result<(), P::Error> {
        use ValueEvent as E;
        match *event {
            E::String { bytes, .. } => out.part(Section::Text, b"", bytes),
            E::Element(member) if self.object.family() == Family::Set => {
                out.part(Section::Member, member, b"")
            }
            E::Element(element) if self.rules.ignore_order => out.part(Section::BagElement, element, b""),
            E::Element(element) => {
                let index = self.next_index();
                out.part(Section::Element, &index, element)
            }
            E::Field { field, value, .. } if self.object == ObjectType::PathHash => {
                self.identity.clear();
                push_framed(&mut self.identity, &self.path);
                self.identity.extend_from_slice(field);
                out.part(Section::PathField, &self.identity, value)
            }
            E::Field { field, value, expire_at } => {
                out.part(Section::Field, field, value)?;
                match expire_at {
                    Some(at) => self.member_expiry(field, at, out),
                    None => Ok(()),
                }
            }
            E::Path { path, .. } => {
                self.path.clear();
                self.path.extend_from_slice(path);
                out.part(Section::Path, path, b"")
            }
            E::Member { member, score } => {
                let score = if score == 0.0 && !self.rules.keep_zeros { 0.0 } else { score };
                out.part(Section::Scored, member, &score.to_bits().to_be_bytes())
            }
            E::BeginArray { insert_index: Some(index), .. } => {
                out.part(Section::ArrayInsert, b"", &index.to_be_bytes())
            }
            E::ArrayElement { index, value } => out.part(Section::ArrayElement, &index.to_be_bytes(), value),
            E::Raw(piece) => {
                let at = self.index;
                self.index = at.wrapping_add(piece.len() as u64);
                out.part(Section::Raw, &at.to_be_bytes(), piece)
            }
            _ => match self.object.family() {
                Family::Stream => self.stream_event(event, out),
                Family::Module => self.module_event(event, out),
                _ => Ok(()),
            },
        }
    }

    /// A field or member expires. KeyDB tells that behind the value (see [`SubExpiry`]).
    ///
    /// # Errors
    /// Those of `out`.
    pub fn member_expiry<P: Parts>(&self, member: &[u8], at: UnixMs, out: &mut P) -> Result<(), P::Error> {
        if self.rules.ignore_field_ttl {
            return Ok(());
        }
        out.part(Section::FieldTtl, member, &at.0.to_be_bytes())
    }

    fn module_event<P: Parts>(&mut self, event: &ValueEvent<'_>, out: &mut P) -> Result<(), P::Error> {
        use ValueEvent as E;
        let content = &mut self.content;
        content.clear();
        match *event {
            E::BeginModule { id } => {
                self.vectors.begin(id);
                return out.part(Section::Module, b"", &id.to_be_bytes());
            }
            _ if self.vectors.event(event, out)? => return Ok(()),
            // A number is a number: modules that changed the sign of a type changed no content.
            E::ModuleSigned(value) => push_tagged(content, b'i', &value.to_be_bytes()),
            E::ModuleUnsigned(value) => push_tagged(content, b'i', &value.to_be_bytes()),
            E::ModuleFloat(value) => push_tagged(content, b'f', &value.to_bits().to_be_bytes()),
            E::ModuleDouble(value) => push_tagged(content, b'd', &value.to_bits().to_be_bytes()),
            E::ModuleString(bytes) => push_tagged(content, b's', bytes),
            _ => return Ok(()),
        }
        let index = self.next_index();
        out.part(Section::ModuleItem, &index, &self.content)
    }
}

fn push_tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

/// Appends bytes with their length before them, so that what follows cannot be taken for them.
pub fn push_framed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Takes what [`push_framed`] has appended off the front of `bytes`; `None` if it is not there.
pub fn take_framed<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (framed, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *bytes = rest;
    Some(framed)
}

/// What KeyDB says behind a key about the expiry of its members: two auxiliary fields each.
#[derive(Debug, Default)]
pub struct SubExpiry {
    member: Option<Vec<u8>>,
}

impl SubExpiry {
    /// Takes an auxiliary field. Answers a member and when it expires, when that is known.
    pub fn aux(&mut self, key: &[u8], value: &[u8]) -> Option<(Vec<u8>, UnixMs)> {
        match key {
            b"keydb-subexpire-key" => {
                self.member = Some(value.to_vec());
                None
            }
            b"keydb-subexpire-when" => {
                let at = cairn_engine::base::num::parse_i64(value)?;
                Some((self.member.take()?, UnixMs(at)))
            }
            _ => None,
        }
    }

    /// Whether an auxiliary field is one of these.
    #[must_use]
    pub fn is_one(key: &[u8]) -> bool {
        key.starts_with(b"keydb-subexpire-")
    }
}

/// The name of a function library: what its first line says, `#!engine name=NAME`; else its text.
#[must_use]
pub fn library_name(code: &[u8]) -> &[u8] {
    let line = code.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace);
    words.find_map(|word| word.strip_prefix(b"name=")).filter(|name| !name.is_empty()).unwrap_or(code)
}

#[cfg(test)]
mod tests;
