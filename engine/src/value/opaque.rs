//! A value this server has no commands for, kept byte for byte.
//!
//! Modules' values, arrays, template hashes and whatever comes next: the key can be listed, expired,
//! renamed, dumped and saved back, but never looked into. The bytes are the payload as RESTORE takes
//! it, without the type byte. Which types end up here is the loader's decision.

/// Whose numbering the type byte and the version belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpaqueDialect {
    /// Redis.
    Redis = 0,
    /// Valkey, where it differs from Redis.
    Valkey = 1,
}

/// An uninterpreted value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// Whose file it came from.
    pub dialect: OpaqueDialect,
    /// The RDB version of that file: a payload may only be written to a file of a version that
    /// knows it.
    pub version: u32,
    /// The RDB type byte.
    pub type_byte: u8,
    /// Everything after the type byte and the key.
    pub payload: Box<[u8]>,
    /// The key's metadata as the file had it, with nothing decoded.
    pub meta: Option<Box<[u8]>>,
    /// What TYPE answers: a module's nine-letter name, `array`, `hash`.
    pub type_name: Box<str>,
}

impl Opaque {
    /// Heap bytes it owns.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.payload.len() + self.meta.as_ref().map_or(0, |meta| meta.len()) + self.type_name.len()
    }
}
