//! Redis 7.0 to 8.0: an object of 16 bytes, a dict entry and a key of its own for every key.
//!
//! Behaviour: measured (`testdata/memory/`); valkey 8.0 and before share most of it.

use cairn_engine::codec::rdb::{Family, ObjectType};

use super::alloc::{Allocator, embedded_sds, sds_header};
use super::meter::{Key, StreamSeen};
use super::seen::Seen;
use super::{Encoding, Server, Target, limits};

const OBJECT: u64 = 16;
const DICT_ENTRY: u64 = 24;
const DICT: u64 = 56;
const SMALLEST_DICT: u64 = 4;
const POINTER: u64 = 8;
const QUICKLIST: u64 = 40;
const QUICKLIST_NODE: u64 = 40;
const ZSET: u64 = 16;
const SKIPLIST: u64 = 32;
const SKIPLIST_HEADER: u64 = 24 + 32 * LEVEL;
const LEVEL: u64 = 16;
const STREAM: u64 = 80;
/// A consumer group of a stream.
pub(super) const GROUP_BYTES: u64 = 40;
/// An entry that was delivered and not acknowledged.
pub(super) const NACK: u64 = 24;
/// Longest string that shares the object's allocation.
const EMBEDDED: u64 = 44;

/// A consumer of a group, its name left out.
pub(super) fn consumer(server: Server) -> u64 {
    if server == Server::Redis70 { 24 } else { 32 }
}

/// What is there for every key: the key, its place in the dict.
fn key_bytes(target: Target, key: Key) -> u64 {
    target.allocator.sds(key.bytes) + DICT_ENTRY
}

/// Key and object, without what the object points to.
pub(super) fn around(target: Target, key: Key) -> u64 {
    key_bytes(target, key) + OBJECT
}

/// A string.
pub(super) fn string(target: Target, key: Key, len: u64, is_int: bool) -> (u64, Encoding) {
    let (value, encoding) = match len {
        _ if is_int => (OBJECT, Encoding::Int),
        0..=EMBEDDED => (target.allocator.class(OBJECT + 3 + len + 1), Encoding::Embstr),
        _ => (OBJECT + target.allocator.sds(len), Encoding::Raw),
    };
    (key_bytes(target, key) + value, encoding)
}

/// A member of a set that is a table.
pub(super) fn member(allocator: Allocator, len: u64) -> u64 {
    DICT_ENTRY + allocator.sds(len)
}

/// A field and its value.
pub(super) fn field(allocator: Allocator, (field, value): (u64, u64)) -> u64 {
    DICT_ENTRY + allocator.sds(field) + allocator.sds(value)
}

/// The same from Redis 7.4 on, where fields have room for an expiry.
pub(super) fn field_with_meta(allocator: Allocator, (field, value): (u64, u64), expires: bool) -> u64 {
    const EXPIRY_AND_FLAGS: u64 = 16 + 2;
    let meta = if expires { EXPIRY_AND_FLAGS } else { 0 };
    DICT_ENTRY + allocator.class(meta + sds_header(field) + field + 1) + allocator.sds(value)
}

/// Places of a dict that was made for so many elements.
fn places(elements: u64) -> u64 {
    elements.max(SMALLEST_DICT).checked_next_power_of_two().unwrap_or(1 << 63)
}

fn dict(elements: u64) -> u64 {
    DICT + POINTER * places(elements)
}

/// A dict of so many elements that was made for `expected`, fewer perhaps. Elements move from the smaller
/// table to the larger one a place for each that is added, so both may be there.
fn grown_dict(elements: u64, expected: u64) -> u64 {
    /// Of the places of a full table so many, in percent, are not empty; the others cost no step.
    const OCCUPIED: u64 = 63;
    let (full, first) = (places(elements), places(expected));
    let before = full / 2;
    let is_moving = full > first && (elements - before) * 100 < before * OCCUPIED;
    DICT + POINTER * if is_moving { full + before } else { full.max(first) }
}

/// A list, set, hash or sorted set.
pub(super) fn collection(target: Target, key: Key, object: ObjectType, seen: &Seen) -> (u64, Encoding) {
    let (server, allocator) = (target.server, target.allocator);
    let pack = |bytes: u64| allocator.class(bytes);
    let old = server == Server::Redis70;
    let (value, encoding) = match object.family() {
        Family::List => {
            let list = &seen.list;
            if !old && list.nodes == 1 && !list.is_plain && list.last.0 <= limits::LIST_NODE {
                (list.bytes, Encoding::Listpack)
            } else {
                (QUICKLIST + QUICKLIST_NODE * list.nodes + list.bytes, Encoding::Quicklist)
            }
        }
        Family::Set => {
            if !seen.is_mixed && seen.elements <= limits::INTSET {
                (pack(seen.intset_bytes()), Encoding::Intset)
            } else if !old && seen.is_small(limits::SET) {
                (pack(seen.listpack_bytes()), Encoding::Listpack)
            } else {
                (dict(seen.elements) + seen.apart, Encoding::Hashtable)
            }
        }
        Family::Zset => {
            let is_small = match seen.packed {
                Some(_) => seen.elements <= limits::ZSET,
                None => seen.is_small(limits::ZSET),
            };
            if is_small {
                (pack(seen.listpack_bytes()), Encoding::Listpack)
            } else {
                let fixed = ZSET + SKIPLIST + allocator.class(SKIPLIST_HEADER) + dict(seen.elements);
                (fixed + (seen.apart >> Levels::FRACTION_BITS), Encoding::Skiplist)
            }
        }
        _ => hash(target, object, seen),
    };
    (around(target, key) + value, encoding)
}

fn hash(target: Target, object: ObjectType, seen: &Seen) -> (u64, Encoding) {
    const LISTPACK_EX: u64 = 32;
    // The expiry of a field that has none is a 0.
    const NO_EXPIRY: u64 = 2;
    const EXPIRY: u64 = 10;
    let is_small = match seen.packed {
        Some(_) => seen.elements <= limits::HASH,
        None => seen.is_small(limits::HASH),
    };
    if !is_small {
        // A dict is made for the fields that are still to come when the first long one is met.
        let expected = match (object, seen.long_at) {
            (ObjectType::HashMetadata, _) if seen.elements > limits::HASH => 0,
            (ObjectType::Hash, Some(at)) if seen.elements <= limits::HASH => seen.elements - at,
            _ => seen.elements,
        };
        return (grown_dict(seen.elements, expected) + seen.apart, Encoding::Hashtable);
    }
    let triples = matches!(object, ObjectType::HashListpackEx | ObjectType::HashListpackExPreGa);
    let has_expiries = triples || object == ObjectType::HashMetadata || seen.expiring > 0;
    if has_expiries && target.server == Server::Redis8 {
        let bytes = match seen.packed {
            Some(bytes) => bytes,
            None => {
                let expiries = EXPIRY * seen.expiring + NO_EXPIRY * (seen.elements - seen.expiring);
                seen.listpack_bytes() + expiries
            }
        };
        return (LISTPACK_EX + target.allocator.class(bytes), Encoding::ListpackEx);
    }
    let bytes = if triples { 7 + seen.entries } else { seen.listpack_bytes() };
    (target.allocator.class(bytes), Encoding::Listpack)
}

/// What Redis takes radix trees to be: it does not know, and estimates it by their keys and nodes.
fn estimated_tree(keys: u64, nodes: u64) -> u64 {
    const BY_NODE: u64 = 4 + 8 * 30;
    const BY_KEY: u64 = 16;
    BY_KEY * keys + BY_NODE * nodes
}

/// A stream.
pub(super) fn stream(target: Target, key: Key, seen: &StreamSeen) -> u64 {
    let (nodes, _) = seen.nodes.totals();
    let trees = seen.finished_trees();
    around(target, key)
        + STREAM
        + estimated_tree(seen.nodes.len(), nodes)
        + seen.packs
        + seen.groups_bytes
        + estimated_tree(trees.keys, trees.nodes)
        + NACK * trees.pending
}

/// How much more Redis estimates a stream's trees than they are.
pub(super) fn overcounted_trees(seen: &StreamSeen) -> u64 {
    const TREE: u64 = 24;
    let (nodes, bytes) = seen.nodes.totals();
    let trees = seen.finished_trees();
    let estimate = estimated_tree(seen.nodes.len() + trees.keys, nodes + trees.nodes);
    estimate.saturating_sub(bytes + trees.bytes + TREE * (trees.count + 1))
}

/// How much more Redis from 7.2 on counts for the entries of a set's dict than they are: a member that
/// is alone in its place has none, the others have short ones.
pub(super) fn overcounted_entries(members: u64) -> u64 {
    const SHORT_ENTRY: f64 = 16.0;
    let (members, places) = (members as f64, places(members) as f64);
    let alone = places * (1.0 - (-members / places).exp());
    (DICT_ENTRY as f64 * members - SHORT_ENTRY * (members - alone)) as u64
}

/// What members of sorted sets take in skip lists, where chance decides how tall a node is: the mean over
/// the heights. Answers are in units of 1/256 byte, as a mean is no whole number.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    allocator: Allocator,
    /// Mean of a node that is separate from its member.
    separate: u64,
    /// Means of nodes with so many bytes of member behind them.
    with_member: Vec<u32>,
}

impl Levels {
    pub(super) const FRACTION_BITS: u32 = 8;
    /// Members beyond are so long that the rounding to classes hides the levels.
    const LONGEST_KNOWN: u64 = 255;
    const SEPARATE: u64 = 24;
    const JOINED: u64 = 16 + 1;

    pub(super) fn new(allocator: Allocator) -> Self {
        let with_member = (0..=Self::LONGEST_KNOWN)
            .map(|len| Self::mean(allocator, Self::JOINED + embedded_sds(len)) as u32)
            .collect();
        Self { allocator, separate: Self::mean(allocator, Self::SEPARATE), with_member }
    }

    fn mean(allocator: Allocator, fixed: u64) -> u64 {
        const TALLEST: u64 = 12;
        // Three of four nodes have no further level, and so on from each level.
        let heights = (1..=TALLEST).map(|level| {
            let share = 3.0 / f64::from(1 << (2 * level));
            allocator.class(fixed + LEVEL * level) as f64 * share
        });
        (heights.sum::<f64>() * f64::from(1 << Self::FRACTION_BITS)) as u64
    }

    pub(super) fn redis(&self, len: u64) -> u64 {
        ((self.allocator.sds(len) + DICT_ENTRY) << Self::FRACTION_BITS) + self.separate
    }

    pub(super) fn valkey8(&self, len: u64) -> u64 {
        (self.allocator.roomy_sds(len) << Self::FRACTION_BITS) + self.separate
    }

    pub(super) fn valkey9(&self, len: u64) -> u64 {
        match self.with_member.get(len as usize) {
            Some(mean) => u64::from(*mean),
            None => Self::mean(self.allocator, Self::JOINED + embedded_sds(len)),
        }
    }
}
