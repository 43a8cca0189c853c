//! The data types, each an enum over its encodings.
//!
//! A [`Value`] owns, a [`ValueRef`] looks: readers are on the view, which may also stand on bytes
//! inside the keyspace's record, and editors are on the owned type, which converts itself when an
//! edit takes it past one of the [`Limits`]. Clocks, limits and randomness are arguments.

pub mod bitmap;
mod gather;
pub mod hash;
pub mod hyperloglog;
mod inline;
mod large;
mod limits;
pub mod list;
pub mod malformed;
pub mod opaque;
pub mod set;
pub mod stream;
pub mod string;
pub mod zset;

pub use hash::{Hash, HashRef};
pub use inline::{InlineBytes, InlineTag};
pub(crate) use inline::{copy_int_bytes, int_bytes, int_from_bytes};
pub use large::LargeTable;
pub use limits::Limits;
pub use list::{List, ListRef};
pub use malformed::Malformed;
pub use opaque::{Opaque, OpaqueDialect};
pub use set::{Set, SetRef};
pub use stream::Stream;
pub use string::{StrRef, StringValue};
pub use zset::{Zset, ZsetRef};

pub use crate::packed::{Element, IntText};

use crate::packed::intset::{Intset, IntsetBuf};
use crate::packed::listpack::{Listpack, ListpackBuf};

/// Whatever the limits, a listpack does not get longer: its header has 32 bits for the length.
const MAX_LISTPACK_BYTES: usize = 1 << 30;

/// An owned value.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string.
    String(StringValue),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A hash.
    Hash(Hash),
    /// A sorted set.
    Zset(Zset),
    /// A stream.
    Stream(Box<Stream>),
    /// Something this server only carries.
    Opaque(Box<Opaque>),
}

/// A value to look at: borrowed from a [`Value`] or from the bytes of an inline form.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string.
    String(StrRef<'a>),
    /// A list.
    List(ListRef<'a>),
    /// A set.
    Set(SetRef<'a>),
    /// A hash.
    Hash(HashRef<'a>),
    /// A sorted set.
    Zset(ZsetRef<'a>),
    /// A stream.
    Stream(&'a Stream),
    /// Something this server only carries.
    Opaque(&'a Opaque),
}

impl Value {
    /// The tag and bytes that stand for the value inside a record; `None` if it needs a pointer.
    ///
    /// The bytes may be long: the record decides what is short enough for it. Spare room is lost.
    #[must_use]
    pub fn inline_form(&self) -> Option<(InlineTag, InlineBytes<'_>)> {
        match self {
            Self::String(s) => Some(s.inline_form()),
            Self::List(List::Listpack(pack)) => packed(InlineTag::ListListpack, pack.as_bytes()),
            Self::Set(Set::Intset(ints)) => packed(InlineTag::SetIntset, ints.as_bytes()),
            Self::Set(Set::Listpack(pack)) => packed(InlineTag::SetListpack, pack.as_bytes()),
            Self::Hash(Hash::Listpack(pack)) => packed(InlineTag::HashListpack, pack.as_bytes()),
            Self::Hash(Hash::ListpackEx(pack)) => packed(InlineTag::HashListpackEx, pack.as_bytes()),
            Self::Zset(Zset::Listpack(pack)) => packed(InlineTag::ZsetListpack, pack.as_bytes()),
            Self::List(List::Quicklist(_))
            | Self::Set(Set::Table(_))
            | Self::Hash(Hash::Table(_))
            | Self::Zset(Zset::Tree(_))
            | Self::Stream(_)
            | Self::Opaque(_) => None,
        }
    }

    /// The value whose [`Value::inline_form`] this is. Copies the bytes; does not validate them.
    ///
    /// # Panics
    /// If the tag is [`InlineTag::Boxed`], which has no bytes.
    #[must_use]
    pub fn from_inline(tag: InlineTag, bytes: &[u8]) -> Self {
        ValueRef::from_inline(tag, bytes).to_owned()
    }

    /// As [`Value::from_inline`], but a packed collection takes `room` for its bytes, which are replaced.
    /// So who edits many of them in turn, and takes the room back each time ([`Value::into_room`]), does
    /// not allocate for each.
    ///
    /// # Panics
    /// As [`Value::from_inline`].
    #[must_use]
    pub fn from_inline_in(tag: InlineTag, bytes: &[u8], room: &mut Vec<u8>) -> Self {
        let mut fill = || {
            let mut own = std::mem::take(room);
            own.clear();
            own.extend_from_slice(bytes);
            own
        };
        let mut pack = || ListpackBuf::from_trusted(fill());
        match tag {
            InlineTag::ListListpack => Self::List(List::Listpack(pack())),
            InlineTag::SetListpack => Self::Set(Set::Listpack(pack())),
            InlineTag::HashListpack => Self::Hash(Hash::Listpack(pack())),
            InlineTag::HashListpackEx => Self::Hash(Hash::ListpackEx(pack())),
            InlineTag::ZsetListpack => Self::Zset(Zset::Listpack(pack())),
            InlineTag::SetIntset => Self::Set(Set::Intset(IntsetBuf::from_trusted(fill()))),
            _ => Self::from_inline(tag, bytes),
        }
    }

    /// The bytes of a packed collection with the room they have; `None` if the value is none.
    #[must_use]
    pub fn into_room(self) -> Option<Vec<u8>> {
        match self {
            Self::List(List::Listpack(pack))
            | Self::Set(Set::Listpack(pack))
            | Self::Hash(Hash::Listpack(pack) | Hash::ListpackEx(pack))
            | Self::Zset(Zset::Listpack(pack)) => Some(pack.into_bytes()),
            Self::Set(Set::Intset(ints)) => Some(ints.into_bytes()),
            _ => None,
        }
    }

    /// Gives back the room that a packed collection does not need.
    pub fn shrink(&mut self) {
        match self {
            Self::List(List::Listpack(pack))
            | Self::Set(Set::Listpack(pack))
            | Self::Hash(Hash::Listpack(pack) | Hash::ListpackEx(pack))
            | Self::Zset(Zset::Listpack(pack)) => pack.shrink_to_fit(),
            Self::Set(Set::Intset(ints)) => ints.shrink_to_fit(),
            _ => {}
        }
    }

    /// The value to look at.
    #[inline]
    #[must_use]
    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Self::String(s) => ValueRef::String(s.view()),
            Self::List(list) => ValueRef::List(list.view()),
            Self::Set(set) => ValueRef::Set(set.view()),
            Self::Hash(hash) => ValueRef::Hash(hash.view()),
            Self::Zset(zset) => ValueRef::Zset(zset.view()),
            Self::Stream(stream) => ValueRef::Stream(stream),
            Self::Opaque(o) => ValueRef::Opaque(o),
        }
    }

    /// Whether the key must go: a collection without elements. Strings never count as empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// What it takes to drop the value: its elements or nodes, 1 for what is packed into one allocation.
    #[must_use]
    pub fn effort(&self) -> usize {
        match self {
            Self::List(List::Quicklist(list)) => list.node_count(),
            Self::Set(set @ Set::Table(_)) => set.len(),
            Self::Hash(hash @ Hash::Table(_)) => hash.len(),
            Self::Zset(zset @ Zset::Tree(_)) => zset.len(),
            Self::Stream(stream) => {
                // As in Valkey, the first group stands for all of them.
                let groups = stream.groups().len();
                let pending = stream.groups().next().map_or(0, |(_, group)| 1 + group.pending_len());
                stream.nodes_len() + groups * pending
            }
            _ => 1,
        }
    }

    /// Heap bytes it owns, not counting `Value` itself.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::String(s) => s.memory_bytes(),
            Self::List(list) => list.memory_bytes(),
            Self::Set(set) => set.memory_bytes(),
            Self::Hash(hash) => hash.memory_bytes(),
            Self::Zset(zset) => zset.memory_bytes(),
            Self::Stream(stream) => size_of::<Stream>() + stream.memory_bytes(),
            Self::Opaque(o) => size_of::<Opaque>() + o.memory_bytes(),
        }
    }

    /// What TYPE answers.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.view().type_name()
    }
}

impl<'a> ValueRef<'a> {
    /// The value that these bytes are. O(1), nothing is validated or copied.
    ///
    /// # Panics
    /// If the tag is [`InlineTag::Boxed`], which has no bytes.
    #[inline]
    #[must_use]
    pub fn from_inline(tag: InlineTag, bytes: &'a [u8]) -> Self {
        match tag {
            InlineTag::Int => Self::String(StrRef::Int(int_from_bytes(bytes))),
            InlineTag::Str => Self::String(StrRef::Text(bytes)),
            InlineTag::StrRaw => Self::String(StrRef::Edited(bytes)),
            InlineTag::SetIntset => Self::Set(SetRef::Intset(Intset::trusted(bytes))),
            InlineTag::SetListpack => Self::Set(SetRef::Listpack(Listpack::trusted(bytes))),
            InlineTag::HashListpack => Self::Hash(HashRef::Listpack(Listpack::trusted(bytes))),
            InlineTag::HashListpackEx => Self::Hash(HashRef::ListpackEx(Listpack::trusted(bytes))),
            InlineTag::ListListpack => Self::List(ListRef::Listpack(Listpack::trusted(bytes))),
            InlineTag::ZsetListpack => Self::Zset(ZsetRef::Listpack(Listpack::trusted(bytes))),
            _ => unreachable!("no value is inline with tag {tag:?}"),
        }
    }

    /// The bytes that it consists of, if it is one run of them.
    #[inline]
    #[must_use]
    pub fn whole_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::String(StrRef::Text(bytes) | StrRef::Edited(bytes)) => Some(bytes),
            Self::List(ListRef::Listpack(pack))
            | Self::Set(SetRef::Listpack(pack))
            | Self::Hash(HashRef::Listpack(pack) | HashRef::ListpackEx(pack))
            | Self::Zset(ZsetRef::Listpack(pack)) => Some(pack.as_bytes()),
            Self::Set(SetRef::Intset(ints)) => Some(ints.as_bytes()),
            _ => None,
        }
    }

    /// Whether the key must go: a collection without elements. Strings never count as empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        match self {
            Self::String(_) | Self::Stream(_) | Self::Opaque(_) => false,
            Self::List(list) => list.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::Hash(hash) => hash.is_empty(),
            Self::Zset(zset) => zset.is_empty(),
        }
    }

    /// What TYPE answers.
    #[must_use]
    pub fn type_name(self) -> &'a str {
        match self {
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Hash(_) => "hash",
            Self::Zset(_) => "zset",
            Self::Stream(_) => "stream",
            Self::Opaque(o) => &o.type_name,
        }
    }

    /// What OBJECT ENCODING answers under a key of so many bytes.
    #[must_use]
    pub fn encoding_name(self, key_bytes: usize, expires: bool) -> &'static str {
        match self {
            Self::String(s) => s.encoding_name(key_bytes, expires),
            Self::List(list) => list.encoding_name(),
            Self::Set(set) => set.encoding_name(),
            Self::Hash(hash) => hash.encoding_name(),
            Self::Zset(zset) => zset.encoding_name(),
            Self::Stream(_) => "stream",
            // What Valkey says of modules' values.
            Self::Opaque(_) => "raw",
        }
    }

    /// An owned copy that keeps the encoding. O(size).
    #[must_use]
    pub fn to_owned(self) -> Value {
        match self {
            Self::String(s) => Value::String(s.to_owned()),
            Self::List(list) => Value::List(list.to_owned()),
            Self::Set(set) => Value::Set(set.to_owned()),
            Self::Hash(hash) => Value::Hash(hash.to_owned()),
            Self::Zset(zset) => Value::Zset(zset.to_owned()),
            Self::Stream(stream) => Value::Stream(Box::new(stream.clone())),
            Self::Opaque(o) => Value::Opaque(Box::new(o.clone())),
        }
    }
}

fn packed(tag: InlineTag, bytes: &[u8]) -> Option<(InlineTag, InlineBytes<'_>)> {
    Some((tag, InlineBytes::Borrowed(bytes)))
}

#[cfg(test)]
mod tests;
