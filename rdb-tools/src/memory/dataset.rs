//! What a server needs for a database beyond its keys: the tables that lead to them.
//!
//! Behaviour: measured (`INFO memory`, `MEMORY STATS`); valkey src/kvstore.c.

use super::valkey::buckets;
use super::{Server, Target, cairn};

/// The tables of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tables {
    /// Of the keys.
    pub keys: u64,
    /// Of those that expire.
    pub expires: u64,
}

/// The tables of a database of so many keys, of which some expire, after it was loaded.
#[must_use]
pub fn tables(target: Target, keys: u64, expires: u64) -> Tables {
    const POINTER: u64 = 8;
    const EXPIRES_ENTRY: u64 = 24;
    const SMALLEST: u64 = 4;
    let dict = |elements: u64| match elements {
        0 => 0,
        _ => POINTER * elements.max(SMALLEST).checked_next_power_of_two().unwrap_or(1 << 63),
    };
    let table = |elements: u64| if elements == 0 { 0 } else { buckets(elements) };
    match target.server {
        Server::Redis70 | Server::Redis72 | Server::Redis8 => {
            Tables { keys: dict(keys), expires: dict(expires) + EXPIRES_ENTRY * expires }
        }
        Server::Valkey8 | Server::Valkey9 => Tables { keys: table(keys), expires: table(expires) },
        Server::Cairn => {
            // A place in the table is counted with each key.
            let bytes = if keys == 0 { 0 } else { cairn::table(keys) };
            Tables { keys: bytes.saturating_sub(POINTER * keys), expires: 0 }
        }
    }
}

/// What a server that has just started and holds nothing needs, as `used_memory_startup` says.
#[must_use]
pub fn startup(server: Server) -> u64 {
    const KIB: u64 = 1 << 10;
    match server {
        Server::Redis70 | Server::Redis72 => 856 * KIB,
        Server::Redis8 => 637 * KIB,
        Server::Valkey8 => 859 * KIB,
        Server::Valkey9 => 905 * KIB,
        Server::Cairn => 110 * KIB,
    }
}
