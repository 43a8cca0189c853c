//! The file at the end of the log: what is in it, how much of that is durable, and its next block.
//!
//! Whoever appends holds the `Tail`: the thread of the keys, or a job that it lends it to. Knows no
//! positions and no policy.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::crc64::Crc64;
use crate::codec::aof::block::Pending;
use crate::persist::storage::{LogFile, Storage};

/// An open file of commands to append to.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    file: Arc<dyn LogFile>,
    path: PathBuf,
    bytes: u64,
    synced_bytes: u64,
    sum: Crc64,
    /// Whether it consists of checked blocks; it stays so or not for its whole life.
    is_checked: bool,
    /// Whether a failed write may have left something behind its end.
    is_soiled: bool,
}

impl Tail {
    /// Opens a file that has so many bytes, all of them durable, with this CRC-64. What is appended
    /// goes in checked blocks or not.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn open(
        storage: &dyn Storage,
        path: &Path,
        bytes: u64,
        sum: u64,
        is_checked: bool,
    ) -> io::Result<Tail> {
        let file = storage.open_log(path)?;
        let sum = Crc64::resume(sum);
        Ok(Tail {
            file,
            path: path.to_owned(),
            bytes,
            synced_bytes: bytes,
            sum,
            is_checked,
            is_soiled: false,
        })
    }

    /// Makes an empty file; one that has the name goes.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn create(storage: &dyn Storage, path: &Path, is_checked: bool) -> io::Result<Tail> {
        match storage.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Tail::open(storage, path, 0, 0, is_checked),
        }
    }

    /// Whether it consists of checked blocks.
    pub(super) fn is_checked(&self) -> bool {
        self.is_checked
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// CRC-64 of those.
    pub(super) fn sum(&self) -> u64 {
        self.sum.value()
    }

    /// The file, to sync it.
    pub(super) fn file(&self) -> Arc<dyn LogFile> {
        Arc::clone(&self.file)
    }

    /// Notes that so many bytes at its front are durable.
    pub(super) fn synced(&mut self, bytes: u64) {
        self.synced_bytes = self.synced_bytes.max(bytes);
    }

    /// Appends a block; it says how much of the file is durable if the file `is_synced` now and then.
    ///
    /// # Errors
    /// What the disk said. Some of the block may be there, or all of it: nothing follows it, and the next
    /// call removes it first. A start that finds it takes it for a torn end, or for commands that were not
    /// acknowledged.
    pub(super) fn append(&mut self, block: &mut Pending, is_synced: bool) -> io::Result<()> {
        if self.is_soiled {
            self.file.truncate(self.bytes)?;
            self.is_soiled = false;
        }
        let bytes = match self.is_checked {
            true => block.seal(self.bytes, is_synced.then_some(self.synced_bytes)),
            false => block.body(),
        };
        if let Err(short) = self.file.append(bytes) {
            self.is_soiled = self.file.truncate(self.bytes).is_err();
            return Err(short.error);
        }
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes all of it durable.
    ///
    /// # Errors
    /// After an error the file must not be trusted.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.synced_bytes = self.bytes;
        Ok(())
    }
}
