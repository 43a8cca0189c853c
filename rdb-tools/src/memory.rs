//! How much memory a server would need for a key that it loads from a file.
//!
//! Servers hold the same value in different ways, and the way in the file need not be the one in memory:
//! a server rewrites old encodings and leaves small encodings when a value is past its limits. So a
//! [`Meter`] watches a value go by and answers what the chosen [`Server`] would make of it: which
//! encoding, and how many bytes as `MEMORY USAGE key SAMPLES 0` counts them. [`dataset`] has what is
//! not any key's. Nothing here allocates by what a file says.
//!
//! The numbers come from measurements of real servers (`testdata/memory/`) and from reading what
//! Valkey allocates (src/object.c, src/entry.c, src/hashtable.c, src/t_zset.c, src/rax.c). They hold
//! for default limits, 64-bit machines and jemalloc.

mod alloc;
mod cairn;
pub mod dataset;
mod meter;
mod rax;
mod redis;
mod seen;
mod valkey;

use cairn_engine::codec::rdb::Version;
use clap::ValueEnum;

pub use alloc::Allocator;
pub use meter::{Measured, Meter};

/// A server whose way to hold data is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Server {
    /// Redis 7.0
    #[value(name = "redis-7.0")]
    Redis70,
    /// Redis 7.2 and Valkey 7.2
    #[value(name = "redis-7.2", alias = "valkey-7.2")]
    Redis72,
    /// Redis 7.4 and 8.0
    #[value(name = "redis-8", aliases = ["redis-8.0", "redis-7.4"])]
    Redis8,
    /// Valkey 8.1
    #[value(name = "valkey-8", alias = "valkey-8.1")]
    Valkey8,
    /// Valkey 9.0 and 9.1
    #[value(name = "valkey-9", aliases = ["valkey-9.0", "valkey-9.1"])]
    Valkey9,
    /// Cairn
    #[value(name = "cairn")]
    Cairn,
}

impl Server {
    /// The name that the command line takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis70 => "redis-7.0",
            Self::Redis72 => "redis-7.2",
            Self::Redis8 => "redis-8",
            Self::Valkey8 => "valkey-8",
            Self::Valkey9 => "valkey-9",
            Self::Cairn => "cairn",
        }
    }

    /// The known server that is most like the one that wrote a file: by its aux field and, where that
    /// says nothing, by the file's version.
    #[must_use]
    pub fn of_producer(producer: Option<(&str, &[u8])>, rdb: Option<Version>) -> Self {
        let numbers = producer.and_then(|(name, version)| {
            let mut parts =
                std::str::from_utf8(version).ok()?.split('.').map(|part| part.parse::<u32>().ok());
            Some((name, parts.next()??, parts.next().flatten().unwrap_or(0)))
        });
        match (numbers, rdb) {
            (Some(("valkey", major, _)), _) if major >= 9 => Self::Valkey9,
            (Some(("valkey", 8, _)), _) => Self::Valkey8,
            (Some(("valkey", ..)), _) => Self::Redis72,
            (Some(("redis", major, minor)), _) if (major, minor) >= (7, 4) => match major {
                // What other servers call themselves for their clients' sake.
                255.. => Self::Redis72,
                _ => Self::Redis8,
            },
            (Some(("redis", 7, 2..)), _) => Self::Redis72,
            (Some(("redis", ..)), _) => Self::Redis70,
            (_, Some(version)) if version.is_valkey_only() => Self::Valkey9,
            (_, Some(version)) if version.is_redis_only() => Self::Redis8,
            (_, Some(version)) if version.number >= 11 => Self::Redis72,
            _ => Self::Redis70,
        }
    }
}

/// What is measured for: a server and its allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The server.
    pub server: Server,
    /// Its allocator.
    pub allocator: Allocator,
}

/// How a server holds a value, as OBJECT ENCODING names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of OBJECT ENCODING")]
pub enum Encoding {
    Int,
    Embstr,
    Raw,
    Listpack,
    ListpackEx,
    Intset,
    Quicklist,
    Hashtable,
    Skiplist,
    Stream,
    /// A module's own, or a type that the server does not have: what the file has of it is counted.
    Opaque,
}

impl Encoding {
    /// What OBJECT ENCODING answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Embstr => "embstr",
            Self::Raw => "raw",
            Self::Listpack => "listpack",
            Self::ListpackEx => "listpackex",
            Self::Intset => "intset",
            Self::Quicklist => "quicklist",
            Self::Hashtable => "hashtable",
            Self::Skiplist => "skiplist",
            Self::Stream => "stream",
            Self::Opaque => "opaque",
        }
    }
}

/// The limits at which servers leave their small encodings, by default.
mod limits {
    pub(super) const INTSET: u64 = 512;
    pub(super) const SET: u64 = 128;
    pub(super) const HASH: u64 = 512;
    pub(super) const ZSET: u64 = 128;
    /// Longest element of any of them.
    pub(super) const ELEMENT: u64 = 64;
    /// Bytes of a list's node.
    pub(super) const LIST_NODE: u64 = 8192;
}
