//! The formats that can be written: one for each step in which servers stopped reading the last.
//!
//! One table says what each holds; who converts a value asks here and not for version numbers.

use super::{Dialect, Family, ObjectType as T, Version};

/// A format to write, named for the first release that reads it (version 9: for the last one that writes it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Target {
    /// Version 6: Redis 2.6 to 3.0.
    Redis26,
    /// Version 7: Redis 3.2.
    Redis32,
    /// Version 8: Redis 4.0.
    Redis40,
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
    /// Version 16: Redis 8.12, in development.
    Redis812,
    /// Version 80: Valkey 9.0 and 9.1.
    Valkey9,
    /// Version 81: Valkey 9.2, in development.
    Valkey92,
}

/// Target, version, name, other names it is known by.
const TARGETS: [(Target, u16, &str, &[&str]); 13] = [
    (Target::Redis26, 6, "redis-2.6", &["redis-2.8", "redis-3.0"]),
    (Target::Redis32, 7, "redis-3.2", &[]),
    (Target::Redis40, 8, "redis-4.0", &["redis-4"]),
    (Target::Redis62, 9, "redis-6.2", &["redis-5.0", "redis-5", "redis-6.0", "redis-6", "keydb"]),
    (Target::Redis70, 10, "redis-7.0", &["redis-7"]),
    (Target::Redis72, 11, "redis-7.2", &["valkey-8", "valkey-7.2", "valkey-8.0", "valkey-8.1"]),
    (Target::Redis74, 12, "redis-7.4", &["redis-8.0", "redis-8.2", "redis-8.4"]),
    (Target::Redis86, 13, "redis-8.6", &[]),
    (Target::Redis88, 14, "redis-8.8", &[]),
    (Target::Redis810, 15, "redis-8.10", &[]),
    (Target::Redis812, 16, "redis-8.12", &[]),
    (Target::Valkey9, 80, "valkey-9", &["valkey-9.0", "valkey-9.1"]),
    (Target::Valkey92, 81, "valkey-9.2", &[]),
];

impl Target {
    /// All of them, oldest first, Redis's before Valkey's own.
    pub fn all() -> impl Iterator<Item = Self> {
        TARGETS.iter().map(|row| row.0)
    }

    /// Those that a snapshot of the engine can be: what is older has no word for much of what it keeps.
    pub fn of_snapshots() -> impl Iterator<Item = Self> {
        Self::all().filter(|target| *target >= Self::Redis62)
    }

    /// The target of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is_it = |(_, _, own, others): &&(_, _, &str, &[&str])| *own == name || others.contains(&name);
        TARGETS.iter().find(is_it).map(|row| row.0)
    }

    /// The target whose files have that version, or for a version that nothing writes any more the first
    /// that holds all of it; `None` if nobody defined the version.
    #[must_use]
    pub fn of_version(version: Version) -> Option<Self> {
        let is_it = |target: &Self| {
            let own = target.version();
            own.dialect == version.dialect && own.number >= version.number
        };
        Self::all().find(is_it).filter(|_| version.is_known())
    }

    /// The name that [`Target::parse`] takes and messages use.
    #[must_use]
    pub fn name(self) -> &'static str {
        TARGETS[self as usize].2
    }

    /// The other names that [`Target::parse`] takes.
    #[must_use]
    pub fn other_names(self) -> &'static [&'static str] {
        TARGETS[self as usize].3
    }

    /// The version to stamp.
    #[must_use]
    pub fn version(self) -> Version {
        let number = TARGETS[self as usize].1;
        let dialect = if self.is_valkey() { Dialect::Valkey } else { Dialect::Redis };
        Version { dialect, number }
    }

    /// Whether what its files hold means the same in all later ones, of both families.
    #[must_use]
    pub fn is_common(self) -> bool {
        self <= Self::Redis72
    }

    fn is_valkey(self) -> bool {
        self >= Self::Valkey9
    }

    /// Whether it is this format or a later one of Redis's own.
    fn is_redis_from(self, first: Self) -> bool {
        self >= first && !self.is_valkey()
    }

    /// Whether every server that reads this format reads records of that type. Types that no writer
    /// has used since long, as ziplists, are read by all; references to templates only in files that
    /// define them.
    #[must_use]
    pub fn can_hold(self, object: T) -> bool {
        match object {
            T::String | T::List | T::Set | T::ZsetText | T::Hash => true,
            T::HashZipmap | T::ListZiplist | T::SetIntset | T::ZsetZiplist | T::HashZiplist => true,
            T::ModulePreGa | T::HashMetadataPreGa | T::HashListpackExPreGa => false,
            T::ListQuicklist => self >= Self::Redis32,
            T::Zset | T::Module => self >= Self::Redis40,
            T::StreamListpacks => self >= Self::Redis62,
            T::HashListpack | T::ZsetListpack | T::ListQuicklist2 | T::StreamListpacks2 => {
                self >= Self::Redis70
            }
            T::SetListpack | T::StreamListpacks3 => self >= Self::Redis72,
            T::HashMetadata | T::HashListpackEx => self.is_redis_from(Self::Redis74),
            T::StreamListpacks4 => self.is_redis_from(Self::Redis86),
            T::StreamListpacks5 | T::Array => self.is_redis_from(Self::Redis88),
            T::HashTemplateListpack
            | T::HashTemplateListpackRef
            | T::HashTemplateArray
            | T::HashTemplateArrayRef => self.is_redis_from(Self::Redis810),
            T::HashExpiry => self.is_valkey(),
            T::PathHash => self >= Self::Valkey92,
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

    /// How a sorted set is written element by element: with scores as doubles, or as text.
    #[must_use]
    pub fn zset(self) -> T {
        self.first_held([T::Zset]).unwrap_or(T::ZsetText)
    }

    /// How a stream is written: with all that the format can say of it.
    #[must_use]
    pub fn stream(self) -> Option<T> {
        self.first_held([
            T::StreamListpacks5,
            T::StreamListpacks4,
            T::StreamListpacks3,
            T::StreamListpacks2,
            T::StreamListpacks,
        ])
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
            Family::PathHash => self.can_hold(T::PathHash),
            Family::Stream => self.stream().is_some(),
            Family::Module => self.can_hold(T::Module),
            Family::String | Family::List | Family::Set | Family::Zset | Family::Hash => true,
        }
    }

    /// Whether auxiliary fields and the sizes of databases can be written.
    #[must_use]
    pub fn has_aux(self) -> bool {
        self >= Self::Redis32
    }

    /// Whether idle times and access counters of keys can be written.
    #[must_use]
    pub fn has_idle_and_freq(self) -> bool {
        self >= Self::Redis62
    }

    /// Whether data of modules that belong to no key can be written.
    #[must_use]
    pub fn has_module_aux(self) -> bool {
        self >= Self::Redis62
    }

    /// Whether function libraries can be written.
    #[must_use]
    pub fn has_functions(self) -> bool {
        self >= Self::Redis70
    }

    /// Whether key metadata (opcode 243 of Redis) can be written.
    #[must_use]
    pub fn has_key_meta(self) -> bool {
        self.is_redis_from(Self::Redis86)
    }

    /// Whether slot sizes (opcode 244 of Redis) can be written.
    #[must_use]
    pub fn has_slot_info(self) -> bool {
        self.is_redis_from(Self::Redis74)
    }

    /// Whether templates of hashes (opcode 242 of Redis) can be written.
    #[must_use]
    pub fn has_templates(self) -> bool {
        self.is_redis_from(Self::Redis810)
    }

    /// Whether it can be said of a key that it must not be evicted (opcode 241 of Redis).
    #[must_use]
    pub fn has_no_evict(self) -> bool {
        self.is_redis_from(Self::Redis812)
    }

    /// Whether slot imports under way (opcode 243 of Valkey) can be written.
    #[must_use]
    pub fn has_slot_import(self) -> bool {
        self.is_valkey()
    }

    /// Whether commands can stand among the keys (opcode 242 of Valkey).
    #[must_use]
    pub fn has_updates(self) -> bool {
        self >= Self::Valkey92
    }
}
