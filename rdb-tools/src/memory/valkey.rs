//! Valkey 8.1 and 9: the key, its expiry and small strings are part of the object; tables are buckets of
//! one cache line each.
//!
//! Behaviour: valkey src/object.c, src/hashtable.c, src/entry.c, src/vset.c; measured (`testdata/memory/`).

use cairn_engine::codec::rdb::{Family, ObjectType};

use super::alloc::{Allocator, embedded_sds, roomy_sds_header};
use super::meter::{Key, StreamSeen};
use super::redis::{Levels, NACK};
use super::seen::Seen;
use super::{Encoding, Server, Target, limits};

const OBJECT: u64 = 16;
const EXPIRY: u64 = 8;
const POINTER: u64 = 8;
const BUCKET: u64 = 64;
const SLOTS: u64 = 7;
const QUICKLIST: u64 = 40;
const QUICKLIST_NODE: u64 = 40;
const ZSET: u64 = 16;
const STREAM: u64 = 80;
const TREE: u64 = 32;
const LEVEL: u64 = 16;
/// Keys from this length on have room for an expiry whether they have one or not.
const ROOM_FOR_EXPIRY: u64 = 128;

/// The object with the key in it and the value elsewhere.
pub(super) fn object(target: Target, key: Key) -> u64 {
    let expiry = if key.expires || key.bytes >= ROOM_FOR_EXPIRY { EXPIRY } else { 0 };
    target.allocator.class(OBJECT + expiry + 1 + embedded_sds(key.bytes))
}

/// A string.
pub(super) fn string(target: Target, key: Key, len: u64, is_int: bool) -> (u64, Encoding) {
    let object = object(target, key);
    if is_int {
        return (object, Encoding::Int);
    }
    // Whether the value is inside is asked as it is loaded, again when it gets its key, and again if
    // the expiry makes it move.
    let expiry = if key.expires { EXPIRY } else { 0 };
    let value = 3 + len + 1;
    let (fixed, key_bytes, most, alone) = match target.server {
        Server::Valkey8 => (OBJECT, key.bytes + 3, 64, 44),
        _ => (OBJECT - POINTER, embedded_sds(key.bytes) + 1, 128, 116),
    };
    // From 9.0 on the value leaves room for a pointer, in case it grows out of the object.
    let least = if target.server == Server::Valkey8 { 0 } else { POINTER };
    let bytes = fixed + 1 + embedded_sds(key.bytes) + value.max(least);
    let has_room = target.allocator.class(bytes) >= bytes + EXPIRY;
    let asked = fixed + key_bytes + value;
    let is_embedded = len <= alone && asked <= most && (has_room || asked + expiry <= most);
    if is_embedded {
        (target.allocator.class(bytes + expiry), Encoding::Embstr)
    } else {
        (object + target.allocator.roomy_sds(len), Encoding::Raw)
    }
}

/// A field and its value in a table.
pub(super) fn field(allocator: Allocator, (field, value): (u64, u64), expires: bool) -> u64 {
    const MOST: u64 = 128;
    let expiry = if expires { EXPIRY } else { 0 };
    // A field with an expiry has a header that can say so.
    let header = if expires { roomy_sds_header(field).max(3) } else { roomy_sds_header(field) };
    let own = expiry + header + field + 1;
    let embedded = 3 + value + 1;
    if own + embedded <= MOST {
        return allocator.class(own + embedded);
    }
    let own = expiry + POINTER + roomy_sds_header(field).max(3) + field + 1;
    allocator.class(own) + allocator.roomy_sds(value)
}

/// A table that was made for so many elements: its buckets, and those that hang on full ones.
pub(super) fn table(server: Server, elements: u64, has_metadata: bool) -> u64 {
    let header = if server == Server::Valkey8 { 72 } else { 80 };
    let metadata = if has_metadata { POINTER } else { 0 };
    header + metadata + buckets(elements)
}

/// Bytes of the buckets of a table of so many elements.
pub(super) fn buckets(elements: u64) -> u64 {
    let least = match elements {
        0..=SLOTS => 1,
        _ => (elements.saturating_mul(5) - 1) / 32 + 1,
    };
    let count = least.checked_next_power_of_two().unwrap_or(1 << 63);
    let chained = if count == 1 { 0.0 } else { chained_per_bucket(elements as f64 / count as f64) };
    BUCKET * (count + (chained * count as f64).round() as u64)
}

/// How many further buckets hang on one whose elements come by chance, so many on average.
fn chained_per_bucket(mean: f64) -> f64 {
    const MOST: u32 = 40;
    let mut chance = (-mean).exp();
    let mut sum = 0.0;
    for elements in 1..=MOST {
        chance *= mean / f64::from(elements);
        // A bucket with another one behind it has a slot less.
        let behind = elements.saturating_sub(SLOTS as u32).div_ceil(SLOTS as u32 - 1);
        sum += chance * f64::from(behind);
    }
    sum
}

/// What a hash keeps to find the fields that expire: buckets in order of time, of up to 127 fields each, in a
/// radix tree if there are several. How many depends on the times; they are taken to be spread evenly
/// between the first and the last.
fn expiring_fields(allocator: Allocator, fields: u64, times: Option<(i64, i64)>) -> u64 {
    const VECTOR: u64 = 127;
    const WINDOW_MS: f64 = 8192.0;
    /// A bucket's leaf and its share of the branches.
    const LEAF: f64 = 45.0;
    let vector = |fields: u64| if fields < 2 { 0 } else { allocator.class(8 + POINTER * fields) };
    let Some((first, last)) = times.filter(|_| fields > VECTOR) else { return vector(fields) };
    let windows = last.abs_diff(first) as f64 / WINDOW_MS + 1.0;
    let used = windows * (1.0 - (-(fields as f64) / windows).exp());
    // What does not fit into a bucket is divided by finer times.
    let used = used.max(fields as f64 / VECTOR as f64 * 1.4);
    (used * LEAF) as u64 + (used as u64).saturating_mul(vector((fields as f64 / used).round() as u64))
}

/// A list, set, hash or sorted set.
pub(super) fn collection(target: Target, key: Key, of: ObjectType, seen: &Seen) -> (u64, Encoding) {
    let (server, allocator) = (target.server, target.allocator);
    let pack = |bytes: u64| allocator.class(bytes);
    let is_small = |most: u64| match seen.packed {
        Some(_) => seen.elements <= most,
        None => seen.is_small(most),
    };
    let (value, encoding) = match of.family() {
        Family::List => {
            let list = &seen.list;
            if list.nodes == 1 && !list.is_plain && list.last.0 <= limits::LIST_NODE {
                (list.bytes, Encoding::Listpack)
            } else {
                (QUICKLIST + QUICKLIST_NODE * list.nodes + list.bytes, Encoding::Quicklist)
            }
        }
        Family::Set => {
            if !seen.is_mixed && seen.elements <= limits::INTSET {
                (pack(seen.intset_bytes()), Encoding::Intset)
            } else if seen.is_small(limits::SET) {
                (pack(seen.listpack_bytes()), Encoding::Listpack)
            } else {
                (table(server, seen.elements, false) + seen.apart, Encoding::Hashtable)
            }
        }
        Family::Zset => {
            if is_small(limits::ZSET) {
                (pack(seen.listpack_bytes()), Encoding::Listpack)
            } else {
                let skiplist = match server {
                    Server::Valkey8 => 32 + allocator.class(24 + 32 * LEVEL),
                    _ => 16 + 32 * LEVEL,
                };
                let fixed = ZSET + skiplist + table(server, seen.elements, false);
                (fixed + (seen.apart >> Levels::FRACTION_BITS), Encoding::Skiplist)
            }
        }
        _ => {
            let expiring = if server == Server::Valkey9 { seen.expiring } else { 0 };
            let triples = matches!(of, ObjectType::HashListpackEx | ObjectType::HashListpackExPreGa);
            if is_small(limits::HASH)
                && expiring == 0
                && !(server == Server::Valkey9 && of == ObjectType::HashExpiry)
            {
                let bytes = if triples { 7 + seen.entries } else { seen.listpack_bytes() };
                (pack(bytes), Encoding::Listpack)
            } else {
                let table = table(server, seen.elements, server == Server::Valkey9);
                (table + seen.apart + expiring_fields(allocator, expiring, seen.times), Encoding::Hashtable)
            }
        }
    };
    (object(target, key) + value, encoding)
}

/// A stream.
pub(super) fn stream(target: Target, key: Key, seen: &StreamSeen) -> u64 {
    let (_, nodes) = seen.nodes.totals();
    let trees = seen.finished_trees();
    object(target, key)
        + STREAM
        + TREE
        + nodes
        + seen.packs
        + seen.groups_bytes
        + TREE * trees.count
        + trees.bytes
        + NACK * trees.pending
}
