//! A partition run in memory.

use std::io::{BufReader, Read};

use cairn_engine::codec::rdb::{
    Depth, Failure, KeyHead, ObjectType, Sink, ValueEvent, Version, decode_value,
};

use super::commands::{Call, Commands};
use super::keys::{BadKey, Keys};
use super::log::Log;
use super::run::answers;
use super::tape::{Item, Key, Reader};
use super::walk::{bad, fault_at};
use super::{Options, Skipped, Summary};
use crate::drive::{Fault, Place};
use crate::output::Shown;

/// Bytes of a partition that are read at once.
const READ_BYTES: usize = 64 << 10;

/// What a partition comes to.
pub(super) struct Replayed {
    pub(super) keys: Keys,
    /// Commands that were left out: the first of them, and how many.
    pub(super) skipped: Vec<Skipped>,
    pub(super) skips: u64,
}

/// Runs what a partition got.
///
/// # Errors
/// A command answers with an error, a value is wrong, or the temporary file cannot be read.
pub(super) fn replay(log: &Log, options: &Options, tape: impl Read) -> Result<Replayed, Fault> {
    let of_temp = |error: std::io::Error| Fault::of_access(format!("temporary file: {error}"));
    let commands = Commands::new();
    let mut keys = Keys::new(options.now);
    let mut summary = Summary::default();
    let mut reader = Reader::new(BufReader::with_capacity(READ_BYTES, tape));
    let mut version = None;
    let mut current = Key::default();
    let mut payload = Vec::new();
    while let Some(item) = reader.advance().map_err(of_temp)? {
        match item {
            Item::Version(of_base) => version = Some(of_base),
            Item::Key(key) => {
                current = key;
                payload.clear();
            }
            Item::Piece => payload.extend_from_slice(&reader.bytes),
            Item::End => {
                load(&mut keys, version, &current, &payload).map_err(|what| {
                    let what = format!("key \"{}\": {what}", Shown(&current.key));
                    base_of(log, current.at, what)
                })?;
                payload = Vec::new();
            }
            Item::Member { member, when } => keys.expire_member(current.db, &current.key, &member, &when),
            Item::Command { part, at, db } => {
                let argv: Vec<&[u8]> = reader.words.iter().map(|word| &reader.bytes[word.clone()]).collect();
                let Ok(Call::Data(command)) = commands.call(&argv) else { continue };
                let db = usize::try_from(db).unwrap_or(0);
                if let Err(error) = keys.apply(db, command, &argv) {
                    let file = log.parts.get(part as usize).map_or(log.path.as_path(), |part| &part.path);
                    bad(options, &mut summary, file, at, answers(command, &error))?;
                }
            }
        }
    }
    Ok(Replayed { keys, skipped: summary.skipped, skips: summary.skips })
}

/// A fault of the file with the base.
fn base_of(log: &Log, at: u64, what: String) -> Fault {
    match log.parts.first() {
        Some(part) => fault_at(&part.path, at, what),
        None => Fault::of_input(Place::Offset(at), what),
    }
}

/// Loads a key of a base.
fn load(keys: &mut Keys, version: Option<Version>, key: &Key, payload: &[u8]) -> Result<(), String> {
    let version = version.ok_or("a key without a file")?;
    let object = ObjectType::from_byte(key.type_byte, version).ok_or("no such type")?;
    let head = KeyHead {
        at: key.at,
        db: key.db,
        key: &key.key,
        object,
        type_byte: key.type_byte,
        expire_at: key.expire_at,
        idle_s: None,
        freq: None,
        meta: key.meta.as_deref(),
        no_evict: false,
    };
    let text = |BadKey { what, .. }: BadKey| what;
    let mut loader = keys.loader();
    loader.start(version).map_err(text)?;
    loader.select_db(key.db, key.at).map_err(text)?;
    match loader.key(&head).map_err(text)? {
        Depth::Raw => loader.value(ValueEvent::Raw(payload)).map_err(text)?,
        depth => {
            let decoded = decode_value(version, key.type_byte, payload, depth, &mut loader);
            decoded.map_err(|failure| match failure {
                Failure::Format(error) => error.kind.to_string(),
                Failure::Sink(bad) => bad.what,
            })?;
        }
    }
    loader.end_key(key.at).map_err(text)
}
