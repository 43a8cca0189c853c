//! What a server makes of a fault of a log. Servers from 7.0 on with their default settings.

use std::fmt;

use rdb_tools::check::Fate as RdbFate;

/// What a server does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It cuts the tail off and starts, if `aof-load-truncated` is on.
    Truncates,
    /// It starts without the log and writes a new one over it.
    StartsEmpty,
    /// It does not start if it knows checksums of logs; others load it as it is.
    Damaged,
    /// It puts what follows in another database, unless it is Cairn and does not start.
    Misplaces,
    /// What it does with a fault of an RDB file.
    Rdb(RdbFate),
}

impl Fate {
    /// It does not start.
    pub(super) const REFUSES: Self = Self::Rdb(RdbFate::Refuses);
    /// It may crash.
    pub(super) const CRASHES: Self = Self::Rdb(RdbFate::Crashes);
    /// It does not mind.
    pub(super) const ACCEPTS: Self = Self::Rdb(RdbFate::Accepts);

    /// One word, for scripts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Truncates => "truncates",
            Self::StartsEmpty => "starts-empty",
            Self::Damaged => "damaged",
            Self::Misplaces => "misplaces",
            Self::Rdb(fate) => fate.name(),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncates => {
                f.write_str("servers cut it off and start; with aof-load-truncated no they refuse")
            }
            Self::Damaged => f.write_str("Cairn refuses to start; others know no checksums and load it"),
            Self::Misplaces => f.write_str("Cairn refuses to start; others go on in the database before it"),
            Self::StartsEmpty => f.write_str("servers start empty and write over it"),
            Self::Rdb(RdbFate::Accepts) => f.write_str("servers do not mind"),
            Self::Rdb(RdbFate::Refuses) => f.write_str("servers refuse to start"),
            Self::Rdb(fate) => fate.fmt(f),
        }
    }
}
