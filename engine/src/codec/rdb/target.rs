//! The formats that can be written: one for each step in which servers stopped reading the last.
//!
//! One table says what each holds; who converts a value asks here and not for version numbers.

use super::{Dialect, Family, ObjectType as T, Version};

/// A format to write, named for the first release that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Target {
    /// Version 9: Redis 5.0 to 6.2, KeyDB.
    Redis62,
    /// Version 10: Redis 7.0.
    Redis70,
    /// Version 11: Redis 7.2, Valkey 7.2 to 8.1, and all that came after them.
    #[default]
    Redis72,
    /// Version 12: Redis 7.4 to 8.4.
    Redis74,
    /// Version 13: Redis 8.6.
    Redis86,
    /// Version 14: Redis 8.8.
    Redis88,
    /// Version 15: Redis 8.10.
    Redis810,
    /// Version 80: Valkey 9.0 and 9.1.
    Valkey9,
}

/// Target, version, name, other names it is known by.
const TARGETS: [(Target, u16, &str, &[&str]); 8] = [
    (Target::Redis62, 9, "redis-6.2", &["redis-5.0", "redis-6.0", "keydb"]),
    (Target::Redis70, 10, "redis-7.0", &[]),
    (Target::Redis72, 11, "redis-7.2", &["valkey-8", "valkey-7.2", "valkey-8.0", "valkey-8.1"]),
    (Target::Redis74, 12, "redis-7.4", &["redis-8.0", "redis-8.2", "redis-8.4"]),
    (Target::Redis86, 13, "redis-8.6", &[]),
    (Target::Redis88, 14, "redis-8.8", &[]),
    (Target::Redis810, 15, "redis-8.10", &[]),
    (Target::Valkey9, 80, "valkey-9", &["valkey-9.0", "valkey-9.1"]),
];

impl Target {
    /// All of them, oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        TARGETS.iter().map(|row| row.0)
    }

    /// The target of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is_it = |(_, _, own, others): &&(_, _, &str, &[&str])| *own == name || others.contains(&name);
        TARGETS.iter().find(is_it).map(|row| row.0)
    }

    /// The name that [`Target::parse`] takes and messages use.
    #[must_use]
    pub fn name(self) -> &'static str {
        TARGETS[self as usize].2
    }

    /// The version to stamp.
    #[must_use]
    pub fn version(self) -> Version {
        let number = TARGETS[self as usize].1;
        let dialect = if self == Self::Valkey9 { Dialect::Valkey } else { Dialect::Redis };
        Version { dialect, number }
    }

    /// Whether every server that reads this format reads records of that type. Types that no writer
    /// has used since long, as ziplists, are read by all; references to templates only in files that
    /// define them.
    #[must_use]
    pub fn can_hold(self, object: T) -> bool {
        let redis_from = |first| self != Self::Valkey9 && self >= first;
        match object {
            T::ModulePreGa | T::HashMetadataPreGa | T::HashListpackExPreGa | T::PathHash => false,
            T::HashListpack | T::ZsetListpack | T::ListQuicklist2 | T::StreamListpacks2 => {
                self >= Self::Redis70
            }
            T::SetListpack | T::StreamListpacks3 => self >= Self::Redis72,
            T::HashMetadata | T::HashListpackEx => redis_from(Self::Redis74),
            T::StreamListpacks4 => redis_from(Self::Redis86),
            T::StreamListpacks5 | T::Array => redis_from(Self::Redis88),
            T::HashTemplateListpack
            | T::HashTemplateListpackRef
            | T::HashTemplateArray
            | T::HashTemplateArrayRef => redis_from(Self::Redis810),
            T::HashExpiry => self == Self::Valkey9,
            _ => true,
        }
    }

    fn first_held<const N: usize>(self, wishes: [T; N]) -> Option<T> {
        wishes.into_iter().find(|&object| self.can_hold(object))
    }

    /// How a hash is written whose fields have expiries, element by element.
    #[must_use]
    pub fn hash_with_field_ttl(self) -> Option<T> {
        self.first_held([T::HashMetadata, T::HashExpiry])
    }

    /// How such a hash is written as one listpack of triples.
    #[must_use]
    pub fn hash_listpack_with_field_ttl(self) -> Option<T> {
        self.first_held([T::HashListpackEx])
    }

    /// How a hash is written as one listpack. If `None`: element by element.
    #[must_use]
    pub fn hash_listpack(self) -> Option<T> {
        self.first_held([T::HashListpack])
    }

    /// How a sorted set is written as one listpack. If `None`: element by element.
    #[must_use]
    pub fn zset_listpack(self) -> Option<T> {
        self.first_held([T::ZsetListpack])
    }

    /// How a set is written as one listpack. If `None`: element by element.
    #[must_use]
    pub fn set_listpack(self) -> Option<T> {
        self.first_held([T::SetListpack])
    }

    /// How a list is written in nodes of listpacks. If `None`: element by element.
    #[must_use]
    pub fn list_nodes(self) -> Option<T> {
        self.first_held([T::ListQuicklist2])
    }

    /// How a stream is written: with all that the format can say of it.
    #[must_use]
    pub fn stream(self) -> T {
        self.first_held([T::StreamListpacks5, T::StreamListpacks4, T::StreamListpacks3, T::StreamListpacks2])
            .unwrap_or(T::StreamListpacks)
    }

    /// How an array is written.
    #[must_use]
    pub fn array(self) -> Option<T> {
        self.first_held([T::Array])
    }

    /// Whether it can hold values of that family at all.
    #[must_use]
    pub fn can_hold_family(self, family: Family) -> bool {
        match family {
            Family::Array => self.array().is_some(),
            Family::PathHash => false,
            _ => true,
        }
    }

    /// Whether function libraries can be written.
    #[must_use]
    pub fn has_functions(self) -> bool {
        self >= Self::Redis70
    }

    /// Whether key metadata (opcode 243 of Redis) can be written.
    #[must_use]
    pub fn has_key_meta(self) -> bool {
        self >= Self::Redis86 && self != Self::Valkey9
    }

    /// Whether slot sizes (opcode 244 of Redis) can be written.
    #[must_use]
    pub fn has_slot_info(self) -> bool {
        self >= Self::Redis74 && self != Self::Valkey9
    }
}
