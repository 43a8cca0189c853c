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
pub struct Tail {
    file: Arc<dyn LogFile>,
    path: PathBuf,
    bytes: u64,
    synced_bytes: u64,
    sum: Crc64,
    /// Whether it consists of checked blocks; it stays so or not for its whole life.
    is_checked: bool,
}

/// Why a block is not in the file.
#[derive(Debug)]
pub(super) enum AppendError {
    /// The file is as it was before: the block may be tried again.
    Undone(io::Error),
    /// A part of the block is there and cannot be cut off: nothing may follow it.
    Stuck(io::Error),
}

impl Tail {
    /// Opens a file that has so many bytes, all of them durable, with this CRC-64. What is appended
    /// goes in checked blocks or not.
    ///
    /// # Errors
    /// What the disk said.
    pub fn open(
        storage: &dyn Storage,
        path: &Path,
        bytes: u64,
        sum: u64,
        is_checked: bool,
    ) -> io::Result<Tail> {
        let file = storage.open_log(path)?;
        let sum = Crc64::resume(sum);
        Ok(Tail { file, path: path.to_owned(), bytes, synced_bytes: bytes, sum, is_checked })
    }

    /// Makes an empty file; one that has the name goes.
    ///
    /// # Errors
    /// What the disk said.
    pub fn create(storage: &dyn Storage, path: &Path, is_checked: bool) -> io::Result<Tail> {
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
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it.
    pub fn bytes(&self) -> u64 {
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
    /// See `AppendError`.
    pub(super) fn append(&mut self, block: &mut Pending, is_synced: bool) -> Result<(), AppendError> {
        let start = self.bytes;
        let bytes = match self.is_checked {
            true => block.seal(start, is_synced.then_some(self.synced_bytes)),
            false => block.body(),
        };
        match self.file.append(bytes) {
            Ok(()) => {
                self.sum.update(bytes);
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(short) if short.written == 0 => Err(AppendError::Undone(short.error)),
            Err(short) => match self.file.truncate(start) {
                Ok(()) => Err(AppendError::Undone(short.error)),
                Err(_) => Err(AppendError::Stuck(short.error)),
            },
        }
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
