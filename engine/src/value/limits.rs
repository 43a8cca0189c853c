//! The thresholds at which a value changes its encoding, and the seed of the tables it may become,
//! as one argument of the editors.
//!
//! Nothing here is global: whoever owns the configuration passes a `Limits` down. Names and defaults
//! are the directives of valkey src/config.c.

use crate::structure::hash::HashSeed;

/// When a small encoding gives way to a large one.
///
/// A value is converted when an edit would take it past a limit; lowering a limit does not touch
/// values that are already there, as in Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most pairs of a packed hash.
    pub hash_max_listpack_entries: usize,
    /// Longest field or value of a packed hash, in bytes.
    pub hash_max_listpack_value: usize,
    /// Most members of an intset.
    pub set_max_intset_entries: usize,
    /// Most members of a packed set.
    pub set_max_listpack_entries: usize,
    /// Longest member of a packed set, in bytes.
    pub set_max_listpack_value: usize,
    /// Most members of a packed sorted set.
    pub zset_max_listpack_entries: usize,
    /// Longest member of a packed sorted set, in bytes.
    pub zset_max_listpack_value: usize,
    /// How much fits into a list node: -1 to -5 stand for 4, 8, 16, 32, 64 KiB, a positive number
    /// for so many elements.
    pub list_max_listpack_size: i32,
    /// Bytes from which on a list's element gets a node of its own; 0 leaves it to what fits into a node.
    pub list_large_bytes: usize,
    /// Nodes at each end of a list that stay uncompressed; 0 is never compress. Kept so that it can
    /// be configured; lists are held uncompressed whatever it says.
    pub list_compress_depth: u32,
    /// Bytes of a stream node; 0 is no limit.
    pub stream_node_max_bytes: usize,
    /// Entries of a stream node; 0 is no limit.
    pub stream_node_max_entries: usize,
    /// Bytes of a sparse HyperLogLog before it becomes dense.
    pub hll_sparse_max_bytes: usize,
    /// Longest string an edit may make, in bytes (`proto-max-bulk-len`).
    pub max_string_bytes: usize,
    /// Whether RESTORE takes payloads without a look at their checksums: for tests of what lies behind it.
    pub trusts_dumps: bool,
    /// Whether RESTORE takes payloads of versions that nobody had defined yet (`rdb-version-check relaxed`).
    pub takes_future_dumps: bool,
    /// What the hash tables of large values hash with; random in a server.
    pub seed: HashSeed,
}

impl Limits {
    /// The defaults of Valkey 9.1 and Redis 7.
    pub const DEFAULT: Self = Self {
        hash_max_listpack_entries: 512,
        hash_max_listpack_value: 64,
        set_max_intset_entries: 512,
        set_max_listpack_entries: 128,
        set_max_listpack_value: 64,
        zset_max_listpack_entries: 128,
        zset_max_listpack_value: 64,
        list_max_listpack_size: -2,
        list_large_bytes: 0,
        list_compress_depth: 0,
        stream_node_max_bytes: 4096,
        stream_node_max_entries: 100,
        hll_sparse_max_bytes: 3000,
        max_string_bytes: 512 * 1024 * 1024,
        trusts_dumps: false,
        takes_future_dumps: false,
        seed: HashSeed(0, 0),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
