//! The RDB format, written down once: magic, versions and dialects, opcodes, record types.
//!
//! Redis writes `REDIS` and four digits, Valkey 9 and later `VALKEY` and three. From version 12 on
//! the same byte means different things in the two families, so a byte is only ever read together
//! with a `Version`. Behaviour: valkey src/rdb.c and rdb.h; Redis's own documentation and files.

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
}
