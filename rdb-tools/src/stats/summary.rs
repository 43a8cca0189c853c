//! What a file's statistics come to: the parts of the memory added up, and what is left unexplained.

use super::prefix::Prefixes;
use super::spans::Share;
use super::top::BigKey;
use super::{Origin, Stats};
use crate::memory::dataset::{Tables, startup, tables};

/// The memory of a server that holds all keys of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Keys and values.
    pub keys: u64,
    /// What is in that and not allocated: the server's `MEMORY USAGE` counts too much there.
    pub overcounted: u64,
    /// The tables that lead to them.
    pub tables: Tables,
    /// Libraries of functions: their source, at the least.
    pub functions: u64,
    /// What a server needs that holds nothing.
    pub startup: u64,
}

impl Memory {
    /// All of it.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.keys.saturating_sub(self.overcounted)
            + self.tables.keys
            + self.tables.expires
            + self.functions
            + self.startup
    }
}

/// The statistics of a file, ready to be shown.
#[derive(Debug)]
pub struct Summary {
    /// The file's name, as the user gave it.
    pub name: String,
    /// What the file says about itself.
    pub origin: Origin,
    /// What was counted.
    pub stats: Stats,
    /// The greatest keys by memory.
    pub by_memory: Vec<BigKey>,
    /// By elements.
    pub by_elements: Vec<BigKey>,
    /// By access counter.
    pub by_freq: Vec<BigKey>,
    /// The estimate of the server's memory.
    pub memory: Memory,
    /// Nodes that the slots are dealt out to.
    pub nodes: usize,
    /// How many prefixes are shown.
    pub top: usize,
    /// Whether the file was read to its end.
    pub is_complete: bool,
    /// Whether all keys were counted, or only those that were chosen.
    pub is_everything: bool,
}

impl Summary {
    /// The summary of statistics that were gathered from the source `name`.
    #[must_use]
    pub fn new(name: String, mut stats: Stats, origin: Origin, nodes: usize, top: usize) -> Self {
        let target = stats.target();
        let of_dbs = stats.dbs.values().map(|db| tables(target, db.keys, db.expiring));
        let tables = of_dbs.fold(Tables::default(), |sum, db| Tables {
            keys: sum.keys + db.keys,
            expires: sum.expires + db.expires,
        });
        let memory = Memory {
            keys: stats.total.memory,
            overcounted: stats.overcounted,
            tables,
            functions: origin.functions.1,
            startup: startup(target.server),
        };
        let mut take = |top: fn(&mut Stats) -> &mut super::Top| {
            std::mem::replace(top(&mut stats), super::Top::new(0)).into_keys()
        };
        let by_memory = take(|stats| &mut stats.by_memory);
        let by_elements = take(|stats| &mut stats.by_elements);
        let by_freq = take(|stats| &mut stats.by_freq);
        Self {
            name,
            origin,
            stats,
            by_memory,
            by_elements,
            by_freq,
            memory,
            nodes,
            top,
            is_complete: true,
            is_everything: true,
        }
    }

    /// How much more memory the file's writer used than the estimate explains, where that can be
    /// compared: the file says it, all of it was counted, and the estimate is for that server.
    #[must_use]
    pub fn unexplained(&self) -> Option<i128> {
        let is_comparable =
            self.is_complete && self.is_everything && self.stats.target().server == self.origin.like();
        let used = self.origin.used_memory.filter(|_| is_comparable)?;
        Some(i128::from(used) - i128::from(self.memory.sum()))
    }

    /// Why there is no [`Summary::unexplained`].
    #[must_use]
    pub fn why_not_compared(&self) -> Option<&'static str> {
        if self.unexplained().is_some() {
            return None;
        }
        Some(match self.origin.used_memory {
            None => "the file does not say what its writer used",
            Some(_) if !self.is_everything => "not all keys were counted",
            Some(_) if !self.is_complete => "the file was not read to its end",
            Some(_) => "the file's writer holds data in another way than the server asked for",
        })
    }

    /// Whether any key has idle seconds.
    #[must_use]
    pub fn has_idle(&self) -> bool {
        self.stats.idle.iter().any(|share| share.count > 0)
    }

    /// Whether any key has an access counter.
    #[must_use]
    pub fn has_freq(&self) -> bool {
        self.stats.freqs.count() > 0
    }

    /// Whether any hash field has an expiry.
    #[must_use]
    pub fn has_field_ttls(&self) -> bool {
        self.stats.field_ttls.iter().any(|Share { count, .. }| *count > 0)
    }

    /// The prefixes.
    #[must_use]
    pub fn prefixes(&self) -> &Prefixes {
        &self.stats.prefixes
    }
}

/// What [`Summary::unexplained`] is made of, in one sentence.
pub const UNEXPLAINED: &str = "client and replication buffers, the append-only log's buffer, scripts, tables that \
                               were growing or had been larger, room left in values that were edited, and the error of \
                               the estimate; memory lost to fragmentation is not in used-mem";
