//! Which commands are wanted.

use crate::vocabulary::Vocabulary;
use crate::walk::Entry;

/// Whether a key is wanted.
pub(crate) type KeyTest = Box<dyn Fn(&[u8]) -> bool>;

/// What a command must be like.
pub(crate) struct Choice {
    /// From and to, in Unix seconds, both included.
    pub(crate) times: (Option<i64>, Option<i64>),
    /// From, and before.
    pub(crate) offsets: (u64, u64),
    /// Whether a key is wanted; `None` if keys do not matter.
    pub(crate) keys: Option<KeyTest>,
    /// Databases; empty for all.
    pub(crate) dbs: Vec<u64>,
    /// Commands in lower case; empty for all.
    pub(crate) commands: Vec<Vec<u8>>,
    /// Commands in lower case.
    pub(crate) not_commands: Vec<Vec<u8>>,
    /// So many more.
    pub(crate) left: u64,
    /// Commands that were left out because nobody knows their time.
    pub(crate) without_time: u64,
}

/// Commands that touch keys without naming them.
const TOUCH_ALL: [&[u8]; 3] = [b"flushall", b"flushdb", b"swapdb"];

impl Choice {
    /// Whether a command is wanted.
    pub(crate) fn has(&mut self, entry: &Entry<'_>, vocabulary: &Vocabulary) -> bool {
        let name = entry.argv.first().copied().unwrap_or_default();
        let is_in = |names: &[Vec<u8>]| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let is_wanted = (self.offsets.0..self.offsets.1).contains(&entry.at)
            && (self.dbs.is_empty() || self.dbs.contains(&entry.db))
            && (self.commands.is_empty() || is_in(&self.commands))
            && !is_in(&self.not_commands)
            && self.has_key(entry, name, vocabulary);
        is_wanted && self.has_time(entry.time)
    }

    fn has_key(&self, entry: &Entry<'_>, name: &[u8], vocabulary: &Vocabulary) -> bool {
        let Some(is_wanted) = &self.keys else { return true };
        TOUCH_ALL.iter().any(|all| all.eq_ignore_ascii_case(name))
            || vocabulary.keys(entry.argv).into_iter().any(|at| is_wanted(entry.argv[at]))
    }

    fn has_time(&mut self, time: Option<i64>) -> bool {
        match (self.times, time) {
            ((None, None), _) => true,
            (_, None) => {
                self.without_time += 1;
                false
            }
            ((from, to), Some(time)) => {
                from.is_none_or(|from| from <= time) && to.is_none_or(|to| time <= to)
            }
        }
    }

    /// Whether all commands are wanted.
    pub(crate) fn is_everything(&self) -> bool {
        self.keys.is_none() && self.commands.is_empty() && self.not_commands.is_empty()
    }
}
