//! Cairn: one record a key, with the value in it while that is small.
//!
//! Behaviour: `engine/src/keyspace/entry.rs`, `engine/src/structure/{record,table,btree}`; the sizes of
//! structures are asked from the compiler.

use cairn_engine::base::size_class::size_class;
use cairn_engine::codec::rdb::{Family, ObjectType};
use cairn_engine::keyspace::entry::{INLINE_PACKED_MAX_BYTES, INLINE_STRING_MAX_BYTES};
use cairn_engine::value::Value;
use cairn_engine::value::stream::Stream;
use cairn_engine::value::string::is_embedded;

use super::meter::{Key, StreamSeen};
use super::seen::Seen;
use super::{Encoding, limits};

/// A key's place in the keyspace's table.
const SLOT: u64 = 8;
const POINTER: u64 = 8;
/// The head of a table of members or fields.
const TABLE: u64 = 88;
/// What leads to a chunk of a stream's nodes or entries.
const CHUNK_HEAD: u64 = 24;

fn class(bytes: u64) -> u64 {
    size_class(bytes as usize) as u64
}

fn record(key: u64, expires: bool, payload: u64) -> u64 {
    let key_len = if key <= 0xff { 1 } else { 4 };
    let payload_len = match payload {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    let expiry = if expires { 8 } else { 0 };
    class(1 + key_len + payload_len + expiry + key + payload)
}

/// The key with a value that is elsewhere.
pub(super) fn boxed(key: Key) -> u64 {
    SLOT + record(key.bytes, key.expires, POINTER) + size_of::<Value>() as u64
}

/// A string.
pub(super) fn string(key: Key, len: u64, int: Option<i64>) -> (u64, Encoding) {
    let record = |payload: u64| SLOT + record(key.bytes, key.expires, payload);
    match int {
        Some(value) => {
            let bits = 65 - (value ^ (value >> 63)).leading_zeros();
            let bytes = if value == 0 { 0 } else { bits.div_ceil(8) };
            (record(bytes.into()), Encoding::Int)
        }
        None => {
            let is_embedded = is_embedded(len as usize, key.bytes as usize, key.expires);
            let is_inside = len <= INLINE_STRING_MAX_BYTES as u64;
            let bytes = if is_inside { record(len) } else { boxed(key) + len };
            (bytes, if is_embedded { Encoding::Embstr } else { Encoding::Raw })
        }
    }
}

/// A member of a set that is a table.
pub(super) fn member(len: u64) -> u64 {
    record(len, false, 0)
}

/// A field and its value in a table.
pub(super) fn field((field, value): (u64, u64), expires: bool) -> u64 {
    record(field, expires, value)
}

/// A member of a sorted set that is a tree, in its leaf: tag, length, member. Its score is counted at the end.
pub(super) fn scored(len: u64) -> u64 {
    let len_width = match len {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    };
    1 + len_width + len
}

/// A tree of so many members, whose leaves hold `content` bytes besides scores. `scores` are the extremes if all
/// are integers: leaves keep these as differences, in the fewest bytes that do.
fn tree(members: u64, content: u64, scores: Option<(i64, i64)>) -> u64 {
    const HEAD: u64 = 160;
    const LEAF_BYTES: u64 = 1024;
    const LEAF: u64 = 48;
    const FANOUT: u64 = 32;
    const INNER: u64 = 120;
    const CHILD: u64 = 28;
    const INDEX_SLOT: u64 = 6;
    const SEGMENT: u64 = 24;
    const SEGMENT_MEMBERS: u64 = 1024;
    let leaves = (content + 4 * members).div_ceil(LEAF_BYTES).max(1);
    let score = match scores {
        // What is within one leaf, if scores are spread evenly.
        Some((low, high)) => match low.abs_diff(high) / leaves {
            0 => 0,
            1..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        },
        None => 8,
    };
    let content = content + score * members;
    let leaves = content.div_ceil(LEAF_BYTES).max(1);
    let inner = if leaves == 1 { 0 } else { leaves.div_ceil(FANOUT) };
    let slots = (members + members / 4).max(8) + 8;
    HEAD + content
        + LEAF * leaves
        + INNER * inner
        + if leaves == 1 { 0 } else { CHILD * leaves }
        + INDEX_SLOT * slots
        + SEGMENT * members.div_ceil(SEGMENT_MEMBERS)
}

/// The buckets of a table that was made for so many elements.
pub(super) fn table(elements: u64) -> u64 {
    const LINE: u64 = 64;
    const SLOTS: u64 = 9;
    const LARGEST: u64 = 56;
    const FILL_PERCENT: u64 = 87;
    let needed = |lines: u64| (lines - 1) * SLOTS * FILL_PERCENT;
    let mut segments = 1;
    while needed(LARGEST) * segments < elements.saturating_mul(100) && segments < 1 << 40 {
        segments *= 2;
    }
    let share = elements.div_ceil(segments).saturating_mul(100);
    const SIZES: [u64; 13] = [2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48, 56, 56];
    let smallest = if segments > 1 { 8 } else { 0 };
    let lines = SIZES[smallest..].iter().copied().find(|lines| needed(*lines) >= share).unwrap_or(LARGEST);
    segments * (lines * LINE + POINTER)
}

/// A list, set, hash or sorted set.
pub(super) fn collection(key: Key, of: ObjectType, seen: &Seen) -> (u64, Encoding) {
    let packed = |bytes: u64, encoding: Encoding| {
        let size = if bytes <= INLINE_PACKED_MAX_BYTES as u64 {
            SLOT + record(key.bytes, key.expires, bytes)
        } else {
            boxed(key) + bytes
        };
        (size, encoding)
    };
    let is_small = |most: u64| match seen.packed {
        Some(_) => seen.elements <= most,
        None => seen.is_small(most),
    };
    match of.family() {
        Family::List => {
            const HEAD: u64 = 96;
            const NODE: u64 = 24 + 4;
            const LEAST_ROOM: u64 = 4;
            let list = &seen.list;
            if list.nodes == 1 && !list.is_plain && list.last.0 <= limits::LIST_NODE {
                packed(list.last.0, Encoding::Listpack)
            } else {
                let spine = NODE * list.nodes.max(LEAST_ROOM).checked_next_power_of_two().unwrap_or(1 << 63);
                (boxed(key) + HEAD + spine + list.sealed + list.last.0, Encoding::Quicklist)
            }
        }
        Family::Set => {
            if !seen.is_mixed && seen.elements <= limits::INTSET {
                packed(seen.intset_bytes(), Encoding::Intset)
            } else if seen.is_small(limits::SET) {
                packed(seen.listpack_bytes(), Encoding::Listpack)
            } else {
                let table = TABLE + table(seen.elements);
                (boxed(key) + table + seen.apart, Encoding::Hashtable)
            }
        }
        Family::Zset => {
            if is_small(limits::ZSET) {
                packed(seen.listpack_bytes(), Encoding::Listpack)
            } else {
                (boxed(key) + tree(seen.elements, seen.apart, seen.scores()), Encoding::Skiplist)
            }
        }
        _ => {
            let triples = matches!(of, ObjectType::HashListpackEx | ObjectType::HashListpackExPreGa);
            if !is_small(limits::HASH) {
                let table = TABLE + table(seen.elements);
                (boxed(key) + table + seen.apart, Encoding::Hashtable)
            } else if triples || seen.expiring > 0 {
                let expiries =
                    if triples { 0 } else { 10 * seen.expiring + 2 * (seen.elements - seen.expiring) };
                // OBJECT ENCODING calls it what Valkey holds such a hash in.
                packed(seen.listpack_bytes() + expiries, Encoding::Hashtable)
            } else {
                packed(seen.listpack_bytes(), Encoding::Listpack)
            }
        }
    }
}

/// The entries that a group, or a consumer, has pending: in chunks, which grow by doubling.
pub(super) fn pending(entries: u64, is_group: bool) -> u64 {
    const CHUNK: u64 = 64;
    const LEAST: u64 = 4;
    let rest = match entries % CHUNK {
        0 => 0,
        rest => rest.max(LEAST).next_power_of_two(),
    };
    let chunks = if entries == 0 { 0 } else { entries.div_ceil(CHUNK).max(LEAST).next_power_of_two() };
    chunks * CHUNK_HEAD + (entries / CHUNK * CHUNK + rest) * if is_group { 40 } else { 16 }
}

/// A stream.
pub(super) fn stream(key: Key, seen: &StreamSeen) -> u64 {
    const NODE: u64 = 40;
    const NODES: u64 = 128;
    /// What a node has more than its listpack, before an entry's length behind it is left out.
    const COUNTS: u64 = 12 - 7;
    const GROUP: u64 = 200;
    const CONSUMER: u64 = 88 + 8 + 24;
    let trees = seen.finished_trees();
    let consumers = trees.count - seen.groups.min(trees.count);
    boxed(key)
        + size_of::<Stream>() as u64
        + seen.nodes.len() * NODE
        + seen.nodes.len().div_ceil(NODES) * CHUNK_HEAD
        + seen.pack_bytes.saturating_sub(seen.pack_entries)
        + COUNTS * seen.nodes.len()
        + GROUP * seen.groups
        + CONSUMER * consumers
        + 2 * seen.names_bytes
        + trees.cairn
}
