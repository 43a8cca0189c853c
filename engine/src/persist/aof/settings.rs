//! What the configuration says about the append only file.

use std::path::PathBuf;

use crate::codec::aof::manifest::Manifest;

/// When what was written is made durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it is acknowledged.
    Always,
    /// Each second.
    #[default]
    EverySec,
    /// When the kernel does.
    No,
}

/// Settings of the append only file. The caller may change all but the names while it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AofSettings {
    /// The folder of its files: `appenddirname` in the data folder. Absolute, if the process may change
    /// its folder.
    pub dir: PathBuf,
    /// What the names of its files start with: `appendfilename`.
    pub filename: String,
    /// `appendfsync`.
    pub policy: SyncPolicy,
    /// `aof-checksum`: blocks and manifests that show damage. A file keeps what it was begun with, so a
    /// change counts from the next one on: after a rewrite all of the log is as this says.
    pub checksum: bool,
    /// `aof-preallocate`: under `always` the file is longer than the log, so that a sync need not make it
    /// longer; by how much. `None` for not at all. Only files of checked blocks are.
    pub reserve: Option<Reserve>,
    /// `aof-use-rdb-preamble`: bases are RDB files.
    pub rdb_base: bool,
    /// `aof-rewrite-incremental-fsync`: the system begins with the writing of a base before the sync at its
    /// end.
    pub incremental_sync: bool,
    /// `aof-timestamp-enabled`: a line with the time each second.
    pub timestamps: bool,
    /// `no-appendfsync-on-rewrite`: nothing is synced while a child writes.
    pub no_sync_on_rewrite: bool,
    /// `aof-disable-auto-gc` negated: files that a rewrite has replaced are removed.
    pub removes_history: bool,
    /// `aof-load-truncated`: an unfinished end is cut off at the start.
    pub load_truncated: bool,
    /// `aof-load-corrupt-tail-max-size`: a damaged end of no more than so many bytes is cut off, too.
    pub corrupt_tail_max_bytes: u64,
    /// `auto-aof-rewrite-percentage`: 0 for no automatic rewrite.
    pub rewrite_percentage: u64,
    /// `auto-aof-rewrite-min-size`.
    pub rewrite_min_bytes: u64,
    /// A comment in manifests without checksums, which say nothing else of whose they are.
    pub comment: Option<&'static str>,
}

/// How many bytes are written ahead at a time: a quarter of the file, but at least and at most so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// At least.
    pub least: u64,
    /// At most. A block that is longer is appended to the file.
    pub most: u64,
}

impl Default for Reserve {
    fn default() -> Reserve {
        Reserve { least: 64 << 10, most: 4 << 20 }
    }
}

/// How manifests are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct ManifestForm {
    is_checked: bool,
    comment: Option<&'static str>,
}

impl ManifestForm {
    /// A manifest as its file.
    pub(super) fn text(self, manifest: &Manifest) -> Vec<u8> {
        match (self.is_checked, self.comment) {
            (true, _) => manifest.format_checked(),
            (false, None) => manifest.format(),
            (false, Some(comment)) => manifest.format_with(comment),
        }
    }
}

impl AofSettings {
    /// How manifests are written.
    pub(super) fn manifest_form(&self) -> ManifestForm {
        ManifestForm { is_checked: self.checksum, comment: self.comment }
    }
}

impl Default for AofSettings {
    fn default() -> AofSettings {
        const REWRITE_MIN_BYTES: u64 = 64 << 20;
        AofSettings {
            dir: PathBuf::from("appendonlydir"),
            filename: "appendonly.aof".to_owned(),
            policy: SyncPolicy::EverySec,
            checksum: true,
            reserve: Some(Reserve::default()),
            rdb_base: true,
            incremental_sync: true,
            timestamps: false,
            no_sync_on_rewrite: false,
            removes_history: true,
            load_truncated: true,
            corrupt_tail_max_bytes: 0,
            rewrite_percentage: 100,
            rewrite_min_bytes: REWRITE_MIN_BYTES,
            comment: None,
        }
    }
}
