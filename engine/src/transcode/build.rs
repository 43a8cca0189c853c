//! A value from the events of a decoder.
//!
//! Packed encodings are taken over as the bytes they are, after a search for members that come twice;
//! those of old servers are rewritten. What this server has no commands for is kept as its payload.
//! Whether a value is empty, expired or a duplicate of another key is the caller's business.

use std::fmt;

use crate::codec::rdb::{Depth, Dialect, ObjectType, ShortRun, ValueEvent, Version};
use crate::packed::intset::IntsetBuf;
use crate::packed::listpack::{Listpack, ListpackBuf, Room};
use crate::packed::zipmap::Zipmap;
use crate::value::hash::{Hash, HashLoader, LoadedHash};
use crate::value::list::{ListLoader, LoadedList};
use crate::value::malformed::Malformed;
use crate::value::set::{LoadedSet, Set, SetLoader};
use crate::value::stream::BadStream;
use crate::value::zset::{LoadedZset, Zset, ZsetLoader};
use crate::value::{InlineTag, Limits, Opaque, OpaqueDialect, StringValue, Value};

use super::module_name;
use stream::StreamBuilder;

mod stream;

/// Why events make no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildError {
    /// A packed collection is sound as bytes and not as a collection.
    Malformed(Malformed),
    /// A member or field comes twice.
    Duplicate(Vec<u8>),
    /// A member comes twice, far apart: which one is not known any more.
    DuplicateMember,
    /// Consumer groups and entries of a stream contradict each other.
    Stream(BadStream),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Malformed(fault) => write!(f, "{fault}"),
            BuildError::Duplicate(member) => write!(f, "\"{}\" is there twice", member.escape_ascii()),
            BuildError::DuplicateMember => f.write_str("a member is there twice"),
            BuildError::Stream(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<BadStream> for BuildError {
    fn from(fault: BadStream) -> Self {
        BuildError::Stream(fault)
    }
}

impl From<Malformed> for BuildError {
    fn from(fault: Malformed) -> Self {
        BuildError::Malformed(fault)
    }
}

/// A declared count is believed up to this many elements; the rest is grown into.
const MOST_RESERVED: u64 = 1 << 20;

#[derive(Debug)]
enum Growing {
    Nothing,
    Whole(Value),
    /// In `Builder::packed`, by its inline form.
    Packed(InlineTag),
    /// In `Builder::elements`.
    Elements,
    /// In `Builder::members`.
    Members,
    /// In `Builder::pairs`.
    Pairs,
    /// In `Builder::scored`.
    Scored,
    Set(Set),
    Hash(Hash),
    Stream(Box<StreamBuilder>),
    Raw(Vec<u8>),
}

/// What a builder has made.
#[derive(Debug)]
pub enum Built<'a> {
    /// No event came.
    Nothing,
    /// The inline form of a packed collection, of any length.
    Inline(InlineTag, &'a [u8]),
    /// Any value.
    Value(Value),
}

/// Makes one value after the other.
#[derive(Debug)]
pub struct Builder {
    limits: Limits,
    version: Version,
    object: ObjectType,
    type_byte: u8,
    meta: Option<Vec<u8>>,
    growing: Growing,
    /// Room for small packed values, kept from one to the next, as the loaders are.
    packed: Room,
    /// Of lists.
    elements: ListLoader,
    /// Of sets.
    members: SetLoader,
    /// Of hashes.
    pairs: HashLoader,
    /// Of sorted sets.
    scored: ZsetLoader,
}

impl Builder {
    /// A builder whose values follow these limits.
    pub fn new(limits: Limits) -> Builder {
        Builder {
            limits,
            version: Version { dialect: Dialect::Redis, number: 11 },
            object: ObjectType::String,
            type_byte: 0,
            meta: None,
            growing: Growing::Nothing,
            packed: Room::default(),
            elements: ListLoader::default(),
            members: SetLoader::default(),
            pairs: HashLoader::default(),
            scored: ZsetLoader::default(),
        }
    }

    /// The version of the file or payload that the values come from.
    pub fn start(&mut self, version: Version) {
        self.version = version;
    }

    /// Begins a value; says how deep its events must be.
    pub fn begin(&mut self, object: ObjectType, type_byte: u8, meta: Option<&[u8]>) -> Depth {
        self.object = object;
        self.type_byte = type_byte;
        self.meta = meta.map(<[u8]>::to_vec);
        use ObjectType as T;
        let limits = &self.limits;
        // Metadata belongs to modules and has no place in a value of ours: such a key is carried whole.
        self.growing = if meta.is_some() {
            Growing::Raw(Vec::new())
        } else {
            match object {
                T::String | T::SetIntset => Growing::Nothing,
                T::List | T::ListZiplist | T::ListQuicklist | T::ListQuicklist2 => {
                    self.elements.begin();
                    Growing::Elements
                }
                T::Set => {
                    self.members.begin(0, limits);
                    Growing::Members
                }
                T::SetListpack => Growing::Nothing,
                T::Zset | T::ZsetText => {
                    self.scored.begin(0, limits);
                    Growing::Scored
                }
                T::ZsetListpack | T::ZsetZiplist => Growing::Nothing,
                T::Hash => {
                    self.pairs.begin(0, limits);
                    Growing::Pairs
                }
                T::HashZipmap
                | T::HashZiplist
                | T::HashListpack
                | T::HashMetadataPreGa
                | T::HashListpackExPreGa
                | T::HashMetadata
                | T::HashListpackEx
                | T::HashExpiry
                | T::HashTemplateListpack
                | T::HashTemplateListpackRef
                | T::HashTemplateArray
                | T::HashTemplateArrayRef => Growing::Hash(Hash::new()),
                T::StreamListpacks
                | T::StreamListpacks2
                | T::StreamListpacks3
                | T::StreamListpacks4
                | T::StreamListpacks5 => Growing::Stream(Box::new(StreamBuilder::new(object))),
                T::Module | T::ModulePreGa | T::Array | T::PathHash => Growing::Raw(Vec::new()),
            }
        };
        if matches!(self.growing, Growing::Raw(_)) { Depth::Raw } else { Depth::Packed }
    }

    /// Takes elements of a list or set.
    ///
    /// # Errors
    /// As `event`.
    pub fn elements(&mut self, run: ShortRun<'_>) -> Result<(), BuildError> {
        let (count, bytes, limits) = (run.len(), run.byte_len(), &self.limits);
        match self.growing {
            Growing::Members => {
                self.members.push_all(run, count, bytes, limits).map_err(BuildError::Duplicate)
            }
            _ => {
                self.elements.push_all(run, count, bytes, limits);
                Ok(())
            }
        }
    }

    /// Takes fields and values of a hash by turns.
    ///
    /// # Errors
    /// As `event`.
    pub fn fields(&mut self, run: ShortRun<'_>) -> Result<(), BuildError> {
        let (count, bytes) = (run.len(), run.byte_len());
        self.pairs.push_all(run, count, bytes, &self.limits).map_err(BuildError::Duplicate)
    }

    /// Takes an event of the value.
    ///
    /// # Errors
    /// `BuildError`; the builder is ready for the next value then.
    pub fn event(&mut self, event: ValueEvent<'_>) -> Result<(), BuildError> {
        let limits = &self.limits;
        match (event, &mut self.growing) {
            (ValueEvent::Raw(piece), Growing::Raw(payload)) => payload.extend_from_slice(piece),
            (ValueEvent::String { bytes, .. }, growing) => {
                *growing = Growing::Whole(Value::String(StringValue::new(bytes)));
            }
            (ValueEvent::Begin { declared }, Growing::Members) => {
                self.members.begin(declared.min(MOST_RESERVED) as usize, limits);
            }
            (ValueEvent::Begin { declared }, Growing::Pairs) => {
                self.pairs.begin(declared.min(MOST_RESERVED) as usize, limits);
            }
            (ValueEvent::Begin { declared }, Growing::Scored) => {
                self.scored.begin(declared.min(MOST_RESERVED) as usize, limits);
            }
            (ValueEvent::Begin { declared }, Growing::Hash(hash)) => {
                *hash = Hash::with_hint(declared.min(MOST_RESERVED) as usize, limits);
            }
            (ValueEvent::Begin { .. } | ValueEvent::BeginNodes { .. }, _) => {}
            (ValueEvent::Element(member), Growing::Members) => {
                if !self.members.push(member, limits) {
                    return Err(BuildError::Duplicate(member.to_vec()));
                }
            }
            (ValueEvent::Element(element), Growing::Elements) => self.elements.push(element, limits),
            (ValueEvent::Field { field, value, expire_at }, Growing::Hash(hash)) => {
                if !hash.add_loaded(field, value, expire_at, limits) {
                    return Err(BuildError::Duplicate(field.to_vec()));
                }
            }
            (ValueEvent::Field { field, value, .. }, Growing::Pairs) => {
                if !self.pairs.push(field, value, limits) {
                    return Err(BuildError::Duplicate(field.to_vec()));
                }
            }
            (ValueEvent::Member { member, score }, Growing::Scored) => {
                let pushed = self.scored.push(member, score, limits);
                pushed.map_err(|_| BuildError::Duplicate(member.to_vec()))?;
            }
            (ValueEvent::Intset(intset), growing) => {
                let own = IntsetBuf::from_trusted(intset.as_bytes().to_vec());
                *growing = Growing::Set(Set::from_intset(own, limits));
            }
            (ValueEvent::Listpack(pack), growing) => match kept(self.object, pack, limits)? {
                Some(tag) => {
                    self.packed.copy(pack);
                    *growing = Growing::Packed(tag);
                }
                None => *growing = unpacked(self.object, pack, limits)?,
            },
            (ValueEvent::Ziplist(old), Growing::Elements) => self.elements.push_old_node(&old),
            (ValueEvent::Ziplist(old), growing) => {
                self.packed.clear();
                old.into_iter().for_each(|element| self.packed.push_element(element));
                *growing = gathered(self.object, self.packed.view(), limits)?;
            }
            (ValueEvent::Zipmap(old), Growing::Hash(hash)) if is_long(&old, limits) => {
                for (field, value) in &old {
                    if !hash.add_loaded(field, value, None, limits) {
                        return Err(BuildError::Duplicate(field.to_vec()));
                    }
                }
            }
            (ValueEvent::Zipmap(old), growing) => {
                self.packed.clear();
                for (field, value) in &old {
                    self.packed.push(field);
                    self.packed.push(value);
                }
                *growing = gathered(self.object, self.packed.view(), limits)?;
            }
            (ValueEvent::ListNode(pack), Growing::Elements) => self.elements.push_node(pack),
            (ValueEvent::OldListNode(old), Growing::Elements) => self.elements.push_old_node(&old),
            (ValueEvent::PlainListNode(bytes), Growing::Elements) => self.elements.push_plain(bytes),
            (event, Growing::Stream(stream)) => stream.event(&event)?,
            (event, _) => unreachable!("a decoder gives no {event:?} for {:?}", self.object),
        }
        Ok(())
    }

    /// The value; `None` if no event came since `begin`.
    ///
    /// # Errors
    /// `BuildError`.
    pub fn finish(&mut self) -> Result<Option<Value>, BuildError> {
        Ok(match self.built()? {
            Built::Nothing => None,
            Built::Inline(tag, bytes) => Some(Value::from_inline(tag, bytes)),
            Built::Value(value) => Some(value),
        })
    }

    /// As `finish`, for who copies small values anyway.
    ///
    /// # Errors
    /// `BuildError`.
    pub fn built(&mut self) -> Result<Built<'_>, BuildError> {
        let limits = &self.limits;
        Ok(Built::Value(match std::mem::replace(&mut self.growing, Growing::Nothing) {
            Growing::Nothing => return Ok(Built::Nothing),
            Growing::Whole(value) => value,
            Growing::Packed(tag) => return Ok(Built::Inline(tag, self.packed.view().as_bytes())),
            Growing::Elements => match self.elements.finish(limits) {
                LoadedList::Listpack(pack) => {
                    return Ok(Built::Inline(InlineTag::ListListpack, pack.as_bytes()));
                }
                LoadedList::Own(list) => Value::List(list),
            },
            Growing::Members => match self.members.finish(limits)? {
                LoadedSet::Listpack(pack) => {
                    return Ok(Built::Inline(InlineTag::SetListpack, pack.as_bytes()));
                }
                LoadedSet::Own(set) => Value::Set(set),
            },
            Growing::Set(set) => Value::Set(set),
            Growing::Pairs => match self.pairs.finish()? {
                LoadedHash::Listpack(pack) => {
                    return Ok(Built::Inline(InlineTag::HashListpack, pack.as_bytes()));
                }
                LoadedHash::Own(hash) => Value::Hash(hash),
            },
            Growing::Hash(hash) => Value::Hash(hash),
            Growing::Scored => match self.scored.finish(limits).map_err(|_| BuildError::DuplicateMember)? {
                LoadedZset::Listpack(pack) => {
                    return Ok(Built::Inline(InlineTag::ZsetListpack, pack.as_bytes()));
                }
                LoadedZset::Own(zset) => Value::Zset(zset),
            },
            Growing::Stream(stream) => Value::Stream(stream.finish()?),
            Growing::Raw(payload) => Value::Opaque(Box::new(self.opaque(payload))),
        }))
    }

    fn opaque(&mut self, payload: Vec<u8>) -> Opaque {
        Opaque {
            dialect: match self.version.dialect {
                Dialect::Redis => OpaqueDialect::Redis,
                Dialect::Valkey => OpaqueDialect::Valkey,
            },
            version: u32::from(self.version.number),
            type_byte: self.type_byte,
            type_name: module_name::type_name(self.object, &payload).into(),
            payload: payload.into(),
            meta: self.meta.take().map(Vec::into_boxed_slice),
        }
    }
}

/// Whether something in it is too long for a small hash.
fn is_long(old: &Zipmap<'_>, limits: &Limits) -> bool {
    old.into_iter().any(|(field, value)| field.len().max(value.len()) > limits.hash_max_listpack_value)
}

/// Packed values of more bytes get an allocation of their own at once.
const MOST_PACKED_BYTES: usize = 1024;

/// The form that a listpack, which is sound as bytes, is small enough to be copied in and has as it is.
fn kept(object: ObjectType, pack: Listpack<'_>, limits: &Limits) -> Result<Option<InlineTag>, Malformed> {
    use ObjectType as T;
    if pack.as_bytes().len() > MOST_PACKED_BYTES {
        return Ok(None);
    }
    Ok(match object {
        T::SetListpack => Set::keeps(pack, limits)?.then_some(InlineTag::SetListpack),
        T::ZsetListpack | T::ZsetZiplist => Zset::keeps(pack, limits)?.then_some(InlineTag::ZsetListpack),
        T::HashListpack | T::HashZiplist | T::HashZipmap => {
            Hash::keeps(pack, limits)?.then_some(InlineTag::HashListpack)
        }
        _ => None,
    })
}

/// A collection out of a listpack that is in `Builder::packed`.
fn gathered(object: ObjectType, pack: Listpack<'_>, limits: &Limits) -> Result<Growing, BuildError> {
    match kept(object, pack, limits)? {
        Some(tag) => Ok(Growing::Packed(tag)),
        None => unpacked(object, pack, limits),
    }
}

/// A collection out of a listpack that is sound as bytes.
fn unpacked(object: ObjectType, pack: Listpack<'_>, limits: &Limits) -> Result<Growing, BuildError> {
    use ObjectType as T;
    let own = ListpackBuf::from_trusted(pack.as_bytes().to_vec());
    Ok(match object {
        T::SetListpack => Growing::Set(Set::from_listpack(own, limits)?),
        T::ZsetListpack | T::ZsetZiplist => Growing::Whole(Value::Zset(Zset::from_pack(own, limits)?)),
        T::HashListpackEx | T::HashListpackExPreGa => Growing::Hash(Hash::from_listpack_ex(own, limits)?),
        _ => Growing::Hash(Hash::from_listpack(own, limits)?),
    })
}
