//! The name of a value's encoding, as OBJECT ENCODING would have answered it on the server that wrote the file.
//!
//! A record's type tells it, but for strings, whose encoding hangs on the value, and for lists, of which
//! servers since 7.2 keep those of one node as a listpack. Witnesses: OBJECT ENCODING of sixteen
//! servers for the keys in their own files; before 3.2 there were other limits for strings, which no file
//! tells, and Valkey 8.1 counts the key too.

use cairn_engine::base::num;
use cairn_engine::codec::rdb::{KeyHead, ObjectType as T, Version};
use cairn_engine::value::string;

/// Encodings that OBJECT ENCODING can answer for what a file can hold.
pub const NAMES: [&str; 15] = [
    "int",
    "embstr",
    "raw",
    "linkedlist",
    "ziplist",
    "quicklist",
    "listpack",
    "listpackex",
    "hashtable",
    "intset",
    "skiplist",
    "zipmap",
    "stream",
    "sliced-array",
    "radix",
];

/// The first version whose writers kept lists of one node as a listpack.
const FIRST_WITH_LISTPACK_LISTS: u16 = 11;

/// The encoding if the type of the record tells it.
#[must_use]
pub fn of_type(object: T, version: Version) -> Option<&'static str> {
    Some(match object {
        T::String => return None,
        T::ListQuicklist2 if version.number >= FIRST_WITH_LISTPACK_LISTS => return None,
        T::List => "linkedlist",
        T::ListQuicklist | T::ListQuicklist2 => "quicklist",
        T::ListZiplist | T::ZsetZiplist | T::HashZiplist => "ziplist",
        T::HashZipmap => "zipmap",
        T::SetIntset => "intset",
        T::HashListpack | T::ZsetListpack | T::SetListpack => "listpack",
        T::HashTemplateListpack | T::HashTemplateListpackRef => "listpack",
        T::HashListpackEx | T::HashListpackExPreGa => "listpackex",
        T::Set | T::Hash | T::HashMetadata | T::HashMetadataPreGa | T::HashExpiry => "hashtable",
        T::HashTemplateArray | T::HashTemplateArrayRef => "hashtable",
        T::Zset | T::ZsetText => "skiplist",
        T::StreamListpacks
        | T::StreamListpacks2
        | T::StreamListpacks3
        | T::StreamListpacks4
        | T::StreamListpacks5 => "stream",
        T::Array => "sliced-array",
        T::PathHash => "radix",
        // What servers answer for values of modules.
        T::Module | T::ModulePreGa => "raw",
    })
}

/// The encoding of a string.
#[must_use]
pub fn of_string(value: &[u8], key_bytes: usize, expires: bool, version: Version) -> &'static str {
    const MOST_DIGITS: usize = 20;
    const MOST_EMBEDDED: usize = 44;
    if value.len() <= MOST_DIGITS && num::parse_i64(value).is_some() {
        return "int";
    }
    let is_embedded = match version.is_valkey_only() {
        true => string::is_embedded(value.len(), key_bytes, expires),
        false => value.len() <= MOST_EMBEDDED,
    };
    if is_embedded { "embstr" } else { "raw" }
}

/// The encoding of a list of the type [`T::ListQuicklist2`].
#[must_use]
pub fn of_list(packed_nodes: u64, plain_nodes: u64, version: Version) -> &'static str {
    let is_one_pack = packed_nodes == 1 && plain_nodes == 0;
    if is_one_pack && version.number >= FIRST_WITH_LISTPACK_LISTS { "listpack" } else { "quicklist" }
}

/// Whether the type of the record tells the encoding of this key.
#[must_use]
pub fn is_told_by_head(head: &KeyHead<'_>, version: Version) -> bool {
    of_type(head.object, version).is_some()
}
