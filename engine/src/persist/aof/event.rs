//! What the log has to tell whoever keeps the server's log. `Display` gives Redis's words where tests
//! look for them.

use std::fmt;
use std::time::Duration;

/// Something that has happened to the append only file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AofEvent {
    /// A write failed; it is tried again each second.
    WriteFailed(String),
    /// Writes succeed again.
    WriteFixed,
    /// A sync failed: the file is given up, and a rewrite to fresh files follows.
    SyncFailed(String),
    /// The files were changed by somebody else: they are given up, and a rewrite to fresh files follows.
    Distrusted(String),
    /// Fresh files hold everything: writes are allowed again.
    Recovered,
    /// A child writes a new base.
    RewriteStarted {
        /// The child.
        pid: i32,
    },
    /// No child could be made.
    ForkFailed(String),
    /// A new increment goes on after the old one.
    IncrCreated {
        /// Its name.
        name: String,
    },
    /// A start has made a file.
    Created {
        /// `base` or `incr`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A start goes on with an increment.
    Opened {
        /// Its name.
        name: String,
    },
    /// The child is done.
    ChildDone {
        /// What copy-on-write has cost, in bytes.
        cow_bytes: u64,
    },
    /// A temporary file has got its name.
    Renamed {
        /// `base` or `incr`.
        what: &'static str,
        /// The temporary name.
        from: String,
        /// The name.
        to: String,
        /// How long that took.
        took: Duration,
    },
    /// The new base is in use.
    RewriteDone,
    /// A rewrite has failed; the log is as it was.
    RewriteFailed(String),
    /// A rewrite was called off.
    RewriteCancelled {
        /// The child.
        pid: i32,
    },
    /// A file that a rewrite has replaced is being removed.
    HistoryRemoved {
        /// Its name.
        name: String,
    },
    /// Rewrites fail all the time: none goes by itself for so many minutes.
    Limited {
        /// The pause.
        minutes: u64,
    },
    /// The first base of a log that was turned on is there.
    TurnedOn,
    /// The disk takes longer than a second to sync.
    SlowSync,
}

impl AofEvent {
    /// Whether it should worry somebody.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        use AofEvent::{Distrusted, ForkFailed, Limited, RewriteFailed, SyncFailed, WriteFailed};
        let is_failure =
            matches!(self, WriteFailed(_) | SyncFailed(_) | Distrusted(_) | ForkFailed(_) | RewriteFailed(_));
        is_failure || matches!(self, Limited { .. })
    }
}

impl fmt::Display for AofEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteFailed(why) => write!(f, "Error writing to the AOF file: {why}"),
            Self::WriteFixed => f.write_str("AOF write error looks solved. The server can write again."),
            Self::SyncFailed(why) => write!(
                f,
                "Fail to fsync the AOF file: {why}. The file is not used any more: writes are refused until \
                 everything has been rewritten to fresh files."
            ),
            Self::Distrusted(why) => write!(
                f,
                "The AOF file is not used any more: {why}. Writes are refused until everything has been rewritten to \
                 fresh files."
            ),
            Self::Recovered => {
                f.write_str("The AOF has been rewritten to fresh files. The server can write again.")
            }
            Self::RewriteStarted { pid } => {
                write!(f, "Background append only file rewriting started by pid {pid}")
            }
            Self::ForkFailed(why) => write!(f, "Can't rewrite append only file in background: {why}"),
            Self::IncrCreated { name } => write!(f, "Creating AOF incr file {name} on background rewrite"),
            Self::Created { what, name } => write!(f, "Creating AOF {what} file {name} on server start"),
            Self::Opened { name } => write!(f, "Opening AOF incr file {name} on server start"),
            Self::ChildDone { cow_bytes } => write!(
                f,
                "Background AOF rewrite terminated with success, {} MB of memory used by copy-on-write",
                cow_bytes >> 20
            ),
            Self::Renamed { what, from, to, .. } => {
                write!(f, "Successfully renamed the temporary AOF {what} file {from} into {to}")
            }
            Self::RewriteDone => f.write_str("Background AOF rewrite finished successfully"),
            Self::RewriteFailed(why) if why.starts_with("terminated by ") => {
                write!(f, "Background AOF rewrite {why}")
            }
            Self::RewriteFailed(why) => write!(f, "Background AOF rewrite terminated with error: {why}"),
            Self::RewriteCancelled { pid } => write!(f, "Killing running AOF rewrite child: {pid}"),
            Self::HistoryRemoved { name } => write!(f, "Removing the history file {name} in the background"),
            Self::Limited { minutes } => write!(
                f,
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
            ),
            Self::TurnedOn => f.write_str("The AOF is on: its first base has been written"),
            Self::SlowSync => f.write_str(
                "Asynchronous AOF fsync is taking too long (disk is busy?). Replies to writes wait for it.",
            ),
        }
    }
}
