//! A value as an RDB record, in the form that a target can read.
//!
//! Packed encodings are written as the bytes they are where the target knows them, and element by
//! element where it does not. What a target cannot express is a fault that names the feature; nothing
//! is dropped.

use std::fmt;

use crate::base::time::UnixMs;
use crate::codec::rdb::{Dialect, Drain, ObjectType, Target, Version, Writer, container};
use crate::packed::listpack::Listpack;
use crate::packed::{Element, IntText};
use crate::value::hash::{Field, HashRef};
use crate::value::list::{ListRef, NodeRef};
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::{Opaque, OpaqueDialect, StrRef, ValueRef};

mod stream;

/// Something that not every target can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Hash fields with an expiry of their own.
    FieldExpiry,
    /// Function libraries.
    Functions,
    /// Idempotent production state of a stream.
    StreamIdmp,
    /// Released entries of a consumer group.
    StreamNacks,
    /// Key metadata.
    KeyMeta,
    /// Streams.
    Streams,
    /// When a consumer last got something, where that is not when it was last seen.
    ConsumerActivity,
    /// A value kept as the bytes of this record type of that family of formats.
    Carried(ObjectType, Dialect),
}

impl Feature {
    /// True if files of this target can express it.
    pub fn held_by(self, target: Target) -> bool {
        match self {
            Feature::FieldExpiry => target.hash_with_field_ttl().is_some(),
            Feature::Functions => target.has_functions(),
            Feature::StreamIdmp => target.can_hold(ObjectType::StreamListpacks4),
            Feature::StreamNacks => target.can_hold(ObjectType::StreamListpacks5),
            Feature::Streams => target.stream().is_some(),
            Feature::ConsumerActivity => target.can_hold(ObjectType::StreamListpacks3),
            Feature::KeyMeta => target.has_key_meta(),
            Feature::Carried(object, dialect) => {
                let is_common = target.is_common() || is_common(object);
                target.can_hold(object) && (is_common || target.version().dialect == dialect)
            }
        }
    }
}

/// Record types that mean the same in both families.
fn is_common(object: ObjectType) -> bool {
    Target::all().any(|target| target.is_common() && target.can_hold(object))
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Feature::FieldExpiry => f.write_str("hash fields with an expiry"),
            Feature::Functions => f.write_str("function libraries"),
            Feature::StreamIdmp => f.write_str("idempotent production state of a stream"),
            Feature::StreamNacks => f.write_str("released entries of a consumer group"),
            Feature::Streams => f.write_str("streams"),
            Feature::ConsumerActivity => f.write_str("when consumers of a stream last got something"),
            Feature::KeyMeta => f.write_str("key metadata"),
            Feature::Carried(object, _) => write!(f, "records of type {object:?}"),
        }
    }
}

/// Why a value was not written.
#[derive(Debug)]
pub enum Fault<E> {
    /// The drain said no.
    Drain(E),
    /// The target cannot express this.
    Inexpressible(Feature),
}

impl<E> From<E> for Fault<E> {
    fn from(error: E) -> Self {
        Fault::Drain(error)
    }
}

type Answer<D> = Result<(), Fault<<D as Drain>::Error>>;

/// Writes the libraries.
///
/// # Errors
/// `Fault`.
pub fn functions<'a, D: Drain>(
    w: &mut Writer<D>,
    target: Target,
    libraries: impl Iterator<Item = &'a [u8]>,
) -> Answer<D> {
    for library in libraries {
        require(target, Feature::Functions)?;
        w.function(library)?;
    }
    Ok(())
}

fn require<E>(target: Target, feature: Feature) -> Result<(), Fault<E>> {
    if feature.held_by(target) { Ok(()) } else { Err(Fault::Inexpressible(feature)) }
}

/// Something of a key that the target cannot express; there may be more.
pub fn lacking(target: Target, value: ValueRef<'_>) -> Option<Feature> {
    let has_meta = matches!(value, ValueRef::Opaque(opaque) if opaque.meta.is_some());
    let meta = has_meta.then_some(Feature::KeyMeta).filter(|feature| !feature.held_by(target));
    meta.or_else(|| lacking_in_record(target, value))
}

fn lacking_in_record(target: Target, value: ValueRef<'_>) -> Option<Feature> {
    let is_lacking = |feature: &Feature| !feature.held_by(target);
    match value {
        ValueRef::String(_) | ValueRef::List(_) | ValueRef::Set(_) | ValueRef::Zset(_) => None,
        ValueRef::Hash(hash) => hash.has_expiries().then_some(Feature::FieldExpiry).filter(is_lacking),
        ValueRef::Stream(stream) => stream::features(stream).find(is_lacking),
        ValueRef::Opaque(opaque) => {
            Some(Feature::Carried(opaque_type(opaque), opaque_version(opaque).dialect)).filter(is_lacking)
        }
    }
}

/// Something that the target has no word for and that is left out of a record without being asked for:
/// whoever reads it knows how to do without.
pub fn left_out(target: Target, value: ValueRef<'_>) -> Option<Feature> {
    match value {
        ValueRef::Stream(stream) if !Feature::ConsumerActivity.held_by(target) => {
            stream::has_activity(stream).then_some(Feature::ConsumerActivity)
        }
        _ => None,
    }
}

/// Writes a key with all that belongs to it, except how it is used.
///
/// # Errors
/// `Fault`. If it is inexpressible, which `lacking` tells before, nothing was written.
pub fn entry<D: Drain>(
    w: &mut Writer<D>,
    target: Target,
    key: &[u8],
    expire_at: Option<UnixMs>,
    value: ValueRef<'_>,
) -> Answer<D> {
    if let Some(feature) = lacking(target, value) {
        return Err(Fault::Inexpressible(feature));
    }
    if let Some(at) = expire_at {
        w.expire_ms(at)?;
    }
    if let ValueRef::Opaque(opaque) = value
        && let Some(meta) = &opaque.meta
    {
        w.key_meta(meta)?;
    }
    body(w, target, Some(key), value)
}

/// Writes type and value, with the key between them if there is one (DUMP has none).
///
/// # Errors
/// `Fault`. If it is inexpressible, nothing was written.
pub fn record<D: Drain>(
    w: &mut Writer<D>,
    target: Target,
    key: Option<&[u8]>,
    value: ValueRef<'_>,
) -> Answer<D> {
    if let Some(feature) = lacking_in_record(target, value) {
        return Err(Fault::Inexpressible(feature));
    }
    body(w, target, key, value)
}

/// Writes what the target is known to be able to express.
fn body<D: Drain>(w: &mut Writer<D>, target: Target, key: Option<&[u8]>, value: ValueRef<'_>) -> Answer<D> {
    let mut out = Record { w, target, key };
    match value {
        ValueRef::String(text) => out.string(text),
        ValueRef::List(list) => out.list(list),
        ValueRef::Set(set) => out.set(set),
        ValueRef::Hash(hash) => out.hash(hash),
        ValueRef::Zset(zset) => out.zset(zset),
        ValueRef::Stream(stream) => stream::write(&mut out, stream),
        ValueRef::Opaque(opaque) => out.opaque(opaque),
    }
}

fn opaque_type(opaque: &Opaque) -> ObjectType {
    ObjectType::from_byte(opaque.type_byte, opaque_version(opaque))
        .expect("an opaque value's type byte was read with its version")
}

/// The version of an opaque value's bytes.
pub fn opaque_version(opaque: &Opaque) -> Version {
    let dialect = match opaque.dialect {
        OpaqueDialect::Redis => Dialect::Redis,
        OpaqueDialect::Valkey => Dialect::Valkey,
    };
    Version { dialect, number: opaque.version as u16 }
}

struct Record<'a, D: Drain> {
    w: &'a mut Writer<D>,
    target: Target,
    key: Option<&'a [u8]>,
}

impl<D: Drain> Record<'_, D> {
    fn begin(&mut self, object: ObjectType) -> Result<(), D::Error> {
        match self.key {
            Some(key) => self.w.key(object, key),
            None => self.w.object_type(object),
        }
    }

    fn string(&mut self, text: StrRef<'_>) -> Answer<D> {
        self.begin(ObjectType::String)?;
        match text {
            StrRef::Int(n) => self.w.int_string(n)?,
            StrRef::Text(bytes) | StrRef::Edited(bytes) => self.w.string(bytes)?,
        }
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), D::Error> {
        match element {
            Element::Int(n) => self.w.int_string(n),
            Element::Bytes(bytes) => self.w.string(bytes),
        }
    }

    fn elements(&mut self, listpack: Listpack<'_>) -> Result<(), D::Error> {
        for (_, element) in listpack.entries() {
            self.element(element)?;
        }
        Ok(())
    }

    fn list(&mut self, list: ListRef<'_>) -> Answer<D> {
        let Some(object) = self.target.list_nodes() else {
            self.begin(ObjectType::List)?;
            self.w.len(list.len() as u64)?;
            for node in list.nodes() {
                match node {
                    NodeRef::Packed(listpack) => self.elements(listpack)?,
                    NodeRef::Sealed(sealed) => {
                        for element in sealed.iter() {
                            self.element(element)?;
                        }
                    }
                    NodeRef::Plain(bytes) => self.w.string(bytes)?,
                }
            }
            return Ok(());
        };
        self.begin(object)?;
        self.w.len(list.nodes().count() as u64)?;
        for node in list.nodes() {
            match node {
                NodeRef::Packed(listpack) => {
                    self.w.len(container::PACKED)?;
                    self.w.blob(listpack.as_bytes())?;
                }
                NodeRef::Sealed(sealed) => {
                    self.w.len(container::PACKED)?;
                    self.w.blob(sealed.to_listpack().as_bytes())?;
                }
                NodeRef::Plain(bytes) => {
                    self.w.len(container::PLAIN)?;
                    self.w.blob(bytes)?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, set: SetRef<'_>) -> Answer<D> {
        match set {
            SetRef::Intset(intset) => {
                self.begin(ObjectType::SetIntset)?;
                self.w.blob(intset.as_bytes())?;
            }
            SetRef::Listpack(listpack) => match self.target.set_listpack() {
                Some(object) => {
                    self.begin(object)?;
                    self.w.blob(listpack.as_bytes())?;
                }
                None => {
                    self.begin(ObjectType::Set)?;
                    self.w.len(listpack.len() as u64)?;
                    self.elements(listpack)?;
                }
            },
            SetRef::Table(table) => {
                self.begin(ObjectType::Set)?;
                self.w.len(table.len() as u64)?;
                for member in table {
                    self.w.string(member)?;
                }
            }
        }
        Ok(())
    }

    fn hash(&mut self, hash: HashRef<'_>) -> Answer<D> {
        match hash {
            HashRef::Listpack(listpack) => match self.target.hash_listpack() {
                Some(object) => {
                    self.begin(object)?;
                    self.w.blob(listpack.as_bytes())?;
                    return Ok(());
                }
                None => {
                    self.begin(ObjectType::Hash)?;
                    self.w.len(listpack.len() as u64 / 2)?;
                    self.elements(listpack)?;
                }
            },
            HashRef::ListpackEx(listpack) if hash.has_expiries() => {
                if let Some(object) = self.target.hash_listpack_with_field_ttl() {
                    self.begin(object)?;
                    self.w.ms(UnixMs(hash.next_expiry().map_or(0, |at| at.0)))?;
                    self.w.blob(listpack.as_bytes())?;
                    return Ok(());
                }
                return self.hash_with_expiries(hash);
            }
            HashRef::Table(_) if hash.has_expiries() => return self.hash_with_expiries(hash),
            HashRef::ListpackEx(_) | HashRef::Table(_) => {
                self.begin(ObjectType::Hash)?;
                self.w.len(hash.len() as u64)?;
                for field in hash.iter() {
                    self.element(field.field)?;
                    self.element(field.value)?;
                }
            }
        }
        Ok(())
    }

    fn hash_with_expiries(&mut self, hash: HashRef<'_>) -> Answer<D> {
        let object = self.target.hash_with_field_ttl();
        let object = object.ok_or(Fault::Inexpressible(Feature::FieldExpiry))?;
        self.begin(object)?;
        let first = hash.next_expiry().map_or(0, |at| at.0);
        if object == ObjectType::HashMetadata {
            self.w.ms(UnixMs(first))?;
        }
        self.w.len(hash.len() as u64)?;
        for Field { field, value, expire_at } in hash.iter() {
            if object == ObjectType::HashMetadata {
                // Zero stands for none, so distances from the first are counted from one.
                let distance = expire_at.map_or(0, |at| at.0.wrapping_sub(first).wrapping_add(1));
                self.w.len(distance as u64)?;
                self.element(field)?;
                self.element(value)?;
            } else {
                self.element(field)?;
                self.element(value)?;
                self.w.ms(expire_at.unwrap_or(UnixMs(-1)))?;
            }
        }
        Ok(())
    }

    fn zset(&mut self, zset: ZsetRef<'_>) -> Answer<D> {
        if let ZsetRef::Listpack(listpack) = zset
            && let Some(object) = self.target.zset_listpack()
        {
            self.begin(object)?;
            self.w.blob(listpack.as_bytes())?;
            return Ok(());
        }
        let object = self.target.zset();
        self.begin(object)?;
        self.w.len(zset.len() as u64)?;
        let mut text = IntText::new();
        // From the highest score down, as loaders expect: each insert is then at the near end.
        for (member, score) in zset.iter().rev() {
            self.w.string(member.text(&mut text))?;
            match object {
                ObjectType::ZsetText => self.w.text_score(score)?,
                _ => self.w.double(score)?,
            }
        }
        Ok(())
    }

    fn opaque(&mut self, opaque: &Opaque) -> Answer<D> {
        self.begin(opaque_type(opaque))?;
        self.w.raw(&opaque.payload)?;
        Ok(())
    }
}
