//! Which version a file is read as: what it says, what it is told to be, or what its records look like.

use std::sync::Arc;

use cairn_engine::codec::rdb::{Dialect, FIRST_VALKEY, Version};

use super::bytes::Bytes;
use super::unit::{Context, What, read};

/// Length of the magic with its digits.
pub(super) const MAGIC_BYTES: usize = 9;

/// The version that the first bytes name, if it is one that is known.
pub(super) fn stated(bytes: &Bytes<'_>) -> Option<Version> {
    if bytes.len() < MAGIC_BYTES {
        return None;
    }
    let magic = bytes.get(0..MAGIC_BYTES);
    let (dialect, digits) = match (magic.strip_prefix(b"REDIS"), magic.strip_prefix(b"VALKEY")) {
        (Some(digits), _) => (Dialect::Redis, digits),
        (_, Some(digits)) => (Dialect::Valkey, digits),
        _ => return None,
    };
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Version { dialect, number }).filter(|version| version.is_known())
}

/// The version as which most units can be read from the start, and how many these are.
pub(super) fn best(bytes: &Bytes<'_>) -> (Version, usize) {
    const UNITS: usize = 200;
    const WINDOWS: usize = 16;
    // The oldest that reads as much as any other comes last, so that what servers agree on wins.
    let redis = (1..=16).map(|number| Version { dialect: Dialect::Redis, number });
    let valkey = (FIRST_VALKEY..=81).map(|number| Version { dialect: Dialect::Valkey, number });
    let mut best = (Version { dialect: Dialect::Redis, number: 11 }, 0);
    let candidates: Vec<Version> = valkey.chain(redis).filter(|v| v.is_known()).collect();
    // What most files are is tried first; a later one must read more.
    let first = [11, 10, 12, 9].map(|number| Version { dialect: Dialect::Redis, number });
    for version in first.into_iter().chain(candidates) {
        let mut context = Context { version, db: 0, templates: Arc::default() };
        let (mut at, mut units) = (MAGIC_BYTES, 0);
        while units < UNITS {
            match read(bytes, &context, at, None, WINDOWS) {
                Ok(unit) => {
                    units += 1;
                    at = unit.end;
                    match unit.what {
                        What::End => {
                            // One that ends where the file does is right.
                            units += if at == bytes.len() { UNITS } else { 0 };
                            break;
                        }
                        What::Template(id, fields) => {
                            Arc::make_mut(&mut context.templates).insert(id, Arc::new(fields));
                        }
                        _ => {}
                    }
                }
                Err(_) => break,
            }
        }
        if units > best.1 {
            best = (version, units);
        }
    }
    best
}
