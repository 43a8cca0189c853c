//! The RDB format, written down once: magic, versions and dialects, opcodes, record types.
//!
//! Redis writes `REDIS` and four digits, Valkey 9 and later `VALKEY` and three. From version 12 on
//! the same byte means different things in the two families, so a byte is only ever read together
//! with a `Version`. Behaviour: valkey src/rdb.c and rdb.h; Redis's own documentation and files.
//!
//! A file is `magic version`, then records until `EOF checksum`. A record is an opcode and its
//! fields, or (prefix opcodes) `type key value`. Versions below 5 have no checksum; one of zero says
//! that the writer had checksums switched off. A replica's stream may wrap all of it in
//! `$EOF:<40 bytes>\r\n ... <the same 40 bytes>`.
//!
//! **Lengths**, by the top bits of the first byte: `00` six bits; `01` fourteen, big-endian; byte
//! 0x80 and four bytes big-endian; byte 0x81 and eight; `11` no length: a string in special form.
//! **Strings**: a length and its bytes; or 0xC0, 0xC1, 0xC2 and a little-endian integer of 1, 2, 4
//! bytes that stands for its decimal text; or 0xC3, compressed length, raw length, LZF.
//!
//! Values (n is a length, `s` a string, `ms` 8 bytes little-endian, `id` 16 bytes big-endian):
//!
//! | byte | value |
//! | --- | --- |
//! | 0 string | s |
//! | 1 list, 2 set | n, n x s |
//! | 3 zset | n, n x (s, text score: a length byte and text, or 253 nan, 254 +inf, 255 -inf) |
//! | 4 hash | n, n x (s field, s value) |
//! | 5 zset | n, n x (s, double little-endian) |
//! | 7 module | n type id, then opcode-tagged values until opcode 0 |
//! | 9 to 13, 16, 17, 20 | s: a zipmap, ziplist, intset or listpack |
//! | 14 | n, n x s ziplist |
//! | 15, 19, 21, 26, 27 stream | see `decode/stream.rs` |
//! | 18 | n, n x (n container: 1 plain, 2 packed; s) |
//! | 22 Redis (7.4 RC) | n, n x (n expiry ms or 0, s field, s value) |
//! | 22 Valkey | n, n x (s field, s value, ms expiry or -1) |
//! | 23 Redis (7.4 RC) | s: listpack of (field, value, expiry ms or 0) |
//! | 23 Valkey 81 | n paths, each: s path, n, n x (s field, s value) |
//! | 24 | ms earliest expiry, n, n x (n: 0, or 1 + expiry - earliest; s field; s value) |
//! | 25 | ms earliest expiry, s: listpack as 23 |
//! | 28 array | n, n: 0, or 1 and n insert index; n x (n index, n tag, 8 bytes or s) |
//! | 29, 31 template | n form: 0 s listpack of fields, 1 n and n x s; then as 30, 32 |
//! | 30 | s: listpack of a template's id and the values |
//! | 32 | n template id, then as many s as the template has fields (31: no id) |

mod chances;
pub mod decode;
pub mod encode;
pub mod error;
pub mod event;
mod read;
pub mod records;
pub mod run;
pub mod target;

#[cfg(test)]
mod tests;

pub use decode::{
    Decoder, DumpPayload, Options, Place, Progress, State, Templates, ValueDecoder, decode_value, split_dump,
    split_libraries,
};
pub use encode::{Drain, Writer, WriterOptions, dump_footer};
pub use error::{Doing, DumpError, Error, Failure, Kind, LibrariesError};
pub use event::{Depth, KeyHead, Sink, StreamId, StreamTotals, StringForm, Trailer, ValueEvent};
pub use run::ShortRun;
pub use target::Target;

/// The newest version that Redis writes (8.12 in development).
pub const NEWEST_REDIS: u16 = 16;
/// The first version that is Redis's alone.
pub const FIRST_REDIS_ONLY: u16 = 12;
/// The first version that is Valkey's alone.
pub const FIRST_VALKEY: u16 = 80;
/// The newest version that Valkey writes (9.2 in development).
pub const NEWEST_VALKEY: u16 = 81;
/// The first version with a checksum at the end.
pub const FIRST_WITH_CHECKSUM: u16 = 5;
/// No field of a hash expires later in Redis's own formats (ms); servers refuse such a file.
pub const MAX_FIELD_EXPIRY_MS: u64 = (1 << 48) - 1;
/// Records of files without a checksum: values of types 0 to 4 and 9 to 13, and these opcodes. A record
/// of another kind shows that the version was a higher one, and that its digits have been damaged, which
/// would keep the checksum from being looked at.
#[must_use]
pub fn is_as_old_as_unchecked_files(byte: u8) -> bool {
    matches!(byte, 0..=4 | 9..=13 | opcode::EXPIRE_MS | opcode::EXPIRE_S | opcode::SELECT_DB | opcode::EOF)
}

/// The first Redis version that may leave the checksum of a DUMP payload zero.
pub const FIRST_WITH_BLANK_DUMP_CHECKSUM: u16 = 15;

/// Opcodes: record types that hold no key. They grow downwards from 255.
pub mod opcode {
    /// Redis Enterprise: prefix of a key, `n`. Read and left out, as librdb does.
    pub const ENTERPRISE_RAM_LRU: u8 = 107;
    /// Redis 8.12: prefix of a key that must not be evicted. No payload.
    pub const KEY_NOEVICT: u8 = 241;
    /// Redis 8.10: `n id, n count, count x s field`.
    pub const HASH_TEMPLATE: u8 = 242;
    /// Valkey 9.2: a command as RESP.
    pub const UPDATE: u8 = 242;
    /// Redis 8.6: prefix of a key: `n classes`, each four bytes and module values until opcode 0.
    pub const KEY_META: u8 = 243;
    /// Valkey 9: `s job name, n, n x (n first slot, n last slot)`.
    pub const SLOT_IMPORT: u8 = 243;
    /// Redis 7.4: `n slot, n keys, n expires`.
    pub const SLOT_INFO: u8 = 244;
    /// `s` source of a function library.
    pub const FUNCTION2: u8 = 245;
    /// Functions as the release candidates of 7.0 wrote them; refused, as servers do.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// `n module id`, then module values until opcode 0; the first is the unsigned `when`.
    pub const MODULE_AUX: u8 = 247;
    /// Prefix of a key: `n` idle seconds.
    pub const IDLE: u8 = 248;
    /// Prefix of a key: LFU counter, one byte.
    pub const FREQ: u8 = 249;
    /// `s key, s value`.
    pub const AUX: u8 = 250;
    /// `n keys, n expires` of the current database.
    pub const RESIZE_DB: u8 = 251;
    /// Prefix of a key: expiry, 8 bytes little-endian, ms.
    pub const EXPIRE_MS: u8 = 252;
    /// Prefix of a key: expiry, 4 bytes little-endian, seconds, signed.
    pub const EXPIRE_S: u8 = 253;
    /// `n` database.
    pub const SELECT_DB: u8 = 254;
    /// The end; the checksum follows.
    pub const EOF: u8 = 255;
}

/// Special string forms: the low six bits of a first byte whose top bits are both set.
pub mod string_form {
    /// One byte.
    pub const INT8: u8 = 0;
    /// Two bytes, little-endian.
    pub const INT16: u8 = 1;
    /// Four bytes, little-endian.
    pub const INT32: u8 = 2;
    /// Compressed.
    pub const LZF: u8 = 3;
}

/// Tags of the values inside a module value.
pub mod module_opcode {
    /// The end.
    pub const EOF: u64 = 0;
    /// Signed integer, as a length.
    pub const SIGNED: u64 = 1;
    /// Unsigned integer, as a length.
    pub const UNSIGNED: u64 = 2;
    /// Float, 4 bytes little-endian.
    pub const FLOAT: u64 = 3;
    /// Double, 8 bytes little-endian.
    pub const DOUBLE: u64 = 4;
    /// String.
    pub const STRING: u64 = 5;
}

/// First bytes of text scores that are values themselves; others are lengths.
pub mod text_score {
    /// Not a number.
    pub const NAN: u8 = 253;
    /// Plus infinity.
    pub const PLUS_INF: u8 = 254;
    /// Minus infinity.
    pub const MINUS_INF: u8 = 255;
}

/// Kinds of quicklist nodes in type 18.
pub mod container {
    /// One element, as a string.
    pub const PLAIN: u64 = 1;
    /// A listpack.
    pub const PACKED: u64 = 2;
}

/// Tags of the elements of an array.
pub mod array_tag {
    /// String.
    pub const STRING: u64 = 0;
    /// Integer, 8 bytes little-endian.
    pub const INT: u64 = 1;
    /// Double, 8 bytes little-endian.
    pub const DOUBLE: u64 = 2;
    /// String that the writer kept inside a pointer.
    pub const SMALL_STRING: u64 = 3;
}

/// Who defined the bytes of a file: the families part at version 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Versions up to 11 (common to all) and Redis's own from 12 on.
    Redis,
    /// Valkey's own, from 80 on.
    Valkey,
}

/// The version of a file or of a DUMP payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Who defined it.
    pub dialect: Dialect,
    /// Its number.
    pub number: u16,
}

impl Version {
    /// The version of a DUMP payload, which has a number and no magic. `None` if nobody defined it.
    #[must_use]
    pub fn of_dump(number: u16) -> Option<Self> {
        Some(Self::of_any_dump(number)).filter(|version| version.is_known())
    }

    /// The same of a payload that may be of a version to come.
    fn of_any_dump(number: u16) -> Self {
        let dialect = if number >= FIRST_VALKEY { Dialect::Valkey } else { Dialect::Redis };
        Self { dialect, number }
    }

    /// Whether this build reads it.
    #[must_use]
    pub fn is_known(self) -> bool {
        match self.dialect {
            Dialect::Redis => (1..=NEWEST_REDIS).contains(&self.number),
            Dialect::Valkey => (FIRST_VALKEY..=NEWEST_VALKEY).contains(&self.number),
        }
    }

    /// Whether it is a number that its family may use one day.
    #[must_use]
    pub fn is_to_come(self) -> bool {
        match self.dialect {
            Dialect::Redis => (NEWEST_REDIS + 1..FIRST_VALKEY).contains(&self.number),
            Dialect::Valkey => self.number > NEWEST_VALKEY,
        }
    }

    /// Whether a file of this version ends with a checksum.
    #[must_use]
    pub fn has_checksum(self) -> bool {
        self.number >= FIRST_WITH_CHECKSUM
    }

    /// Whether bytes have the meaning that Redis gave them after the families parted.
    #[must_use]
    pub fn is_redis_only(self) -> bool {
        self.dialect == Dialect::Redis && self.number >= FIRST_REDIS_ONLY
    }

    /// Whether bytes have the meaning that Valkey gave them after the families parted.
    #[must_use]
    pub fn is_valkey_only(self) -> bool {
        self.dialect == Dialect::Valkey
    }

    /// The nine bytes that a file of this version starts with.
    #[must_use]
    pub fn magic(self) -> [u8; 9] {
        let mut magic = *b"REDIS0000";
        let digits = match self.dialect {
            Dialect::Redis => 5,
            Dialect::Valkey => {
                magic[..6].copy_from_slice(b"VALKEY");
                6
            }
        };
        let mut number = self.number;
        for place in (digits..9).rev() {
            magic[place] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        magic
    }
}

/// A record type, told apart by dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the format's table in this file's documentation")]
pub enum ObjectType {
    String,
    List,
    Set,
    ZsetText,
    Hash,
    Zset,
    ModulePreGa,
    Module,
    HashZipmap,
    ListZiplist,
    SetIntset,
    ZsetZiplist,
    HashZiplist,
    ListQuicklist,
    StreamListpacks,
    HashListpack,
    ZsetListpack,
    ListQuicklist2,
    StreamListpacks2,
    SetListpack,
    StreamListpacks3,
    HashMetadataPreGa,
    HashListpackExPreGa,
    HashMetadata,
    HashListpackEx,
    StreamListpacks4,
    StreamListpacks5,
    Array,
    HashTemplateListpack,
    HashTemplateListpackRef,
    HashTemplateArray,
    HashTemplateArrayRef,
    HashExpiry,
    PathHash,
}

/// What a key is, as TYPE answers, whatever its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those that users know")]
pub enum Family {
    String,
    List,
    Set,
    Zset,
    Hash,
    Stream,
    Module,
    Array,
    PathHash,
}

impl Family {
    /// The lower-case word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Module => "module",
            Self::Array => "array",
            Self::PathHash => "radix",
        }
    }
}

use ObjectType as T;

/// Every type with its byte and the name that valkey-check-rdb and redis-check-rdb print.
const TYPES: [(T, u8, &str); 34] = [
    (T::String, 0, "string"),
    (T::List, 1, "list-linked"),
    (T::Set, 2, "set-hashtable"),
    (T::ZsetText, 3, "zset-v1"),
    (T::Hash, 4, "hash-hashtable"),
    (T::Zset, 5, "zset-v2"),
    (T::ModulePreGa, 6, "module-pre-release"),
    (T::Module, 7, "module-value"),
    (T::HashZipmap, 9, "hash-zipmap"),
    (T::ListZiplist, 10, "list-ziplist"),
    (T::SetIntset, 11, "set-intset"),
    (T::ZsetZiplist, 12, "zset-ziplist"),
    (T::HashZiplist, 13, "hash-ziplist"),
    (T::ListQuicklist, 14, "quicklist"),
    (T::StreamListpacks, 15, "stream"),
    (T::HashListpack, 16, "hash-listpack"),
    (T::ZsetListpack, 17, "zset-listpack"),
    (T::ListQuicklist2, 18, "quicklist-v2"),
    (T::StreamListpacks2, 19, "stream-v2"),
    (T::SetListpack, 20, "set-listpack"),
    (T::StreamListpacks3, 21, "stream-v3"),
    (T::HashMetadataPreGa, 22, "hash-hashtable-md-pre-release"),
    (T::HashListpackExPreGa, 23, "hash-listpack-md-pre-release"),
    (T::HashMetadata, 24, "hash-hashtable-md"),
    (T::HashListpackEx, 25, "hash-listpack-md"),
    (T::StreamListpacks4, 26, "stream-v4"),
    (T::StreamListpacks5, 27, "stream-v5"),
    (T::Array, 28, "array"),
    (T::HashTemplateListpack, 29, "hash-template-listpack"),
    (T::HashTemplateListpackRef, 30, "hash-template-listpack-ref"),
    (T::HashTemplateArray, 31, "hash-template-array"),
    (T::HashTemplateArrayRef, 32, "hash-template-array-ref"),
    (T::HashExpiry, 22, "hash-volatile-items"),
    (T::PathHash, 23, "radix"),
];

impl ObjectType {
    /// What `byte` means in a file of `version`; `None` if it is no type there.
    #[must_use]
    pub fn from_byte(byte: u8, version: Version) -> Option<Self> {
        match byte {
            22 if version.is_valkey_only() => return Some(T::HashExpiry),
            23 if version.is_valkey_only() => {
                return (version.number >= 81).then_some(T::PathHash);
            }
            22.. if !version.is_redis_only() => return None,
            _ => {}
        }
        // Bytes are dense but for the unused 8, so this is where the byte's row must be.
        let row = usize::from(if byte > 8 { byte - 1 } else { byte });
        let (object, its_byte, _) = *TYPES.get(row)?;
        (its_byte == byte).then_some(object)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TYPES.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, u8, &'static str) {
        &TYPES[self as usize]
    }

    /// The byte that stands for it in files of its own dialect.
    #[must_use]
    pub fn byte(self) -> u8 {
        self.row().1
    }

    /// The name that the servers' check tools print.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// What the key is to a user.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            T::String => Family::String,
            T::List | T::ListZiplist | T::ListQuicklist | T::ListQuicklist2 => Family::List,
            T::Set | T::SetIntset | T::SetListpack => Family::Set,
            T::ZsetText | T::Zset | T::ZsetZiplist | T::ZsetListpack => Family::Zset,
            T::Hash
            | T::HashZipmap
            | T::HashZiplist
            | T::HashListpack
            | T::HashMetadataPreGa
            | T::HashListpackExPreGa
            | T::HashMetadata
            | T::HashListpackEx
            | T::HashTemplateListpack
            | T::HashTemplateListpackRef
            | T::HashTemplateArray
            | T::HashTemplateArrayRef
            | T::HashExpiry => Family::Hash,
            T::StreamListpacks
            | T::StreamListpacks2
            | T::StreamListpacks3
            | T::StreamListpacks4
            | T::StreamListpacks5 => Family::Stream,
            T::ModulePreGa | T::Module => Family::Module,
            T::Array => Family::Array,
            T::PathHash => Family::PathHash,
        }
    }
}

/// The nine characters of a module type's id, and its encoding version.
#[must_use]
pub fn module_name(id: u64) -> ([u8; 9], u16) {
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut name = [0; 9];
    for (place, char) in name.iter_mut().enumerate() {
        *char = CHARS[(id >> (58 - 6 * place)) as usize & 63];
    }
    (name, (id & 1023) as u16)
}
