//! The file at the end of the log: what is in it, how much of that is durable, and its next block.
//!
//! Whoever appends holds the `Tail`: the thread of the keys, or a job that it lends it to. Knows no
//! positions and no policy.
//!
//! A file may have a reserve (`codec::aof::reserve`). It is durable before anything is written over it, and it
//! is cut off, durably, before anything is written that goes beyond it or that no sync follows. So a power cut
//! leaves what is not durable either in front of some of the reserve, or behind a file that had none.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::crc64::Crc64;
use crate::codec::aof::block::Pending;
use crate::codec::aof::reserve::{self, LINE_BYTES};
use crate::persist::aof::lifecycle::LastFile;
use crate::persist::aof::log::CommitError;
use crate::persist::aof::settings::Reserve;
use crate::persist::storage::{LogFile, PAGE_BYTES, Storage, WriteOverError, must_have};

/// So often it is looked, where nothing else asks for it, whether the file is still what it was left as: that takes
/// as long as a third of a small write.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An open file of commands to append to.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    file: Arc<dyn LogFile>,
    path: PathBuf,
    /// Bytes of the log in it.
    bytes: u64,
    /// Where the file ends: the reserve is in between.
    end: u64,
    /// There is no new reserve before the log is so long: the disk had no room for one.
    no_reserve_to: u64,
    synced_bytes: u64,
    sum: Crc64,
    /// The last bytes of the log: those in the page in which it ends, as far as this has written them.
    last_page: Vec<u8>,
    /// Whether it consists of checked blocks; it stays so or not for its whole life.
    is_checked: bool,
    /// Whether a failed write may have left something behind its end, or over a reserve.
    is_soiled: bool,
    /// When `check_sometimes` looked last.
    looked_at: Option<Instant>,
}

impl Tail {
    /// Opens a file that was read, to append to it in checked blocks or not. A reserve is cut off, which the
    /// next sync makes durable.
    ///
    /// # Errors
    /// What the disk said, and if the file is not as long as it was: what has been added since would be cut off
    /// or written over. Nothing was changed then.
    pub(super) fn open(
        storage: &dyn Storage,
        path: &Path,
        last: &LastFile,
        is_checked: bool,
    ) -> io::Result<Tail> {
        must_have(storage, path, last.file_bytes)?;
        let file = storage.open_log(path)?;
        if last.file_bytes > last.bytes {
            file.truncate(last.bytes)?;
        }
        Ok(Tail::new(file, path, (last.bytes, last.sum), is_checked))
    }

    fn new(file: Arc<dyn LogFile>, path: &Path, (bytes, sum): (u64, u64), is_checked: bool) -> Tail {
        Tail {
            file,
            path: path.to_owned(),
            bytes,
            end: bytes,
            no_reserve_to: 0,
            synced_bytes: bytes,
            sum: Crc64::resume(sum),
            last_page: Vec::new(),
            is_checked,
            is_soiled: false,
            looked_at: None,
        }
    }

    /// Makes an empty file; one that has the name goes.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn create(storage: &dyn Storage, path: &Path, is_checked: bool) -> io::Result<Tail> {
        match storage.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Tail::new(storage.open_log(path)?, path, (0, Crc64::new().value()), is_checked)),
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

    /// Sees to it that the file is as long as it was left here, and that there is a way to it.
    ///
    /// # Errors
    /// `Foreign` if it is not.
    pub(super) fn check(&self) -> Result<(), CommitError> {
        match self.file.look() {
            Ok(found) if !found.has_name => Err(CommitError::Foreign(
                "the last of its files was removed, or another one has come in its place".to_owned(),
            )),
            Ok(found) if found.bytes != self.end && !self.is_soiled => Err(CommitError::Foreign(format!(
                "another process writes to it: {} bytes are there, and {} were written",
                found.bytes, self.end
            ))),
            // Who cannot be asked shows that when it is written to.
            _ => Ok(()),
        }
    }

    /// As `check`, unless it was looked a moment ago.
    ///
    /// # Errors
    /// As of `check`.
    pub(super) fn check_sometimes(&mut self, now: Instant) -> Result<(), CommitError> {
        if self.looked_at.is_some_and(|at| now.saturating_duration_since(at) < LOOK_EVERY) {
            return Ok(());
        }
        self.looked_at = Some(now);
        self.check()
    }

    /// Whether bytes that were written are not where a start would look for them; false if nobody can say.
    pub(super) fn is_missed(&self) -> bool {
        self.file.look().is_ok_and(|found| !found.has_name || found.bytes < self.bytes)
    }

    /// Sees to it that a block of so many bytes can be written over a reserve, if the disk has room.
    ///
    /// # Errors
    /// The sync of what was written for it: the file must not be trusted.
    pub(super) fn make_reserve(&mut self, len: u64, reserve: Reserve) -> Result<(), CommitError> {
        let needed = self.bytes + len + LINE_BYTES;
        let is_useless = len > reserve.most || needed <= self.end || self.bytes < self.no_reserve_to;
        if !self.is_checked || self.is_soiled || is_useless {
            return Ok(());
        }
        let ahead = (self.bytes / 4).clamp(reserve.least, reserve.most);
        let to = (needed + ahead).next_multiple_of(PAGE_BYTES);
        self.check()?;
        // The last line is the last no more.
        let from = if self.end > self.bytes { self.end - LINE_BYTES } else { self.bytes };
        let mut lines = Vec::new();
        reserve::push(&mut lines, from..to, from == self.bytes);
        if self.file.write_at(from, &lines).is_err() {
            self.no_reserve_to = self.bytes + reserve.most;
            // It goes before the next block.
            self.is_soiled = true;
            return Ok(());
        }
        self.end = to;
        self.file.sync().map_err(CommitError::Sync)
    }

    /// Cuts off the reserve, durably, and what failed writes have left.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn trim(&mut self) -> Result<(), CommitError> {
        if self.is_soiled || self.end > self.bytes {
            self.check()?;
            // A call that fails may have cut it nevertheless: nothing is written over what is not there.
            self.is_soiled = true;
            self.file.truncate(self.bytes).map_err(CommitError::Append)?;
            let had_reserve = std::mem::replace(&mut self.end, self.bytes) > self.bytes;
            if had_reserve {
                self.file.sync().map_err(CommitError::Sync)?;
            }
            self.is_soiled = false;
        }
        Ok(())
    }

    /// Appends a block; it says how much of the file is durable if the file `is_synced` now and then.
    ///
    /// # Errors
    /// What the disk said. Some of the block may be there, or all of it: nothing follows it, and the next
    /// call removes it first. A start that finds it takes it for a torn end, or for commands that were not
    /// acknowledged.
    pub(super) fn append(&mut self, block: &mut Pending, is_synced: bool) -> Result<(), CommitError> {
        self.trim()?;
        let sealed = match self.is_checked {
            true => block.seal_summed(self.bytes, is_synced.then_some(self.synced_bytes)),
            false => block.unsealed(),
        };
        let bytes = sealed.bytes();
        if let Err(short) = self.file.write_at(self.bytes, bytes) {
            self.is_soiled = self.file.truncate(self.bytes).is_err();
            return Err(CommitError::Append(short.error));
        }
        sealed.add_to(&mut self.sum);
        self.bytes += bytes.len() as u64;
        self.end = self.bytes;
        keep_last_page(&mut self.last_page, self.bytes, bytes);
        Ok(())
    }

    /// Appends a block and makes it durable, over the reserve if there is room in it.
    ///
    /// # Errors
    /// As of `append`, and of the sync.
    pub(super) fn append_durably(&mut self, block: &mut Pending, is_synced: bool) -> Result<(), CommitError> {
        if self.is_soiled || self.bytes + block.most_bytes() + LINE_BYTES > self.end {
            self.check()?;
            self.append(block, is_synced)?;
            return self.sync().map_err(CommitError::Sync);
        }
        let (mut bytes, len) = block.seal_over(self.bytes, is_synced.then_some(self.synced_bytes));
        let result = self.write_over(&bytes);
        if let Err(WriteOverError::Write(error)) = result {
            self.is_soiled = true;
            // Best effort: it is done again, durably, before the next block.
            let _ = self.file.truncate(self.bytes);
            return Err(CommitError::Append(error));
        }
        bytes.truncate(len);
        self.sum.update(&bytes);
        self.bytes += len as u64;
        keep_last_page(&mut self.last_page, self.bytes, &bytes);
        match result {
            Err(WriteOverError::Sync(error)) => Err(CommitError::Sync(error)),
            _ => {
                self.synced_bytes = self.bytes;
                Ok(())
            }
        }
    }

    /// Writes this over the reserve, durably: whole pages if it is known what else they have.
    fn write_over(&self, bytes: &[u8]) -> Result<(), WriteOverError> {
        let in_page = self.bytes % PAGE_BYTES;
        if self.last_page.len() as u64 != in_page {
            self.file.write_at(self.bytes, bytes).map_err(|short| WriteOverError::Write(short.error))?;
            return self.file.sync().map_err(WriteOverError::Sync);
        }
        let to = self.bytes + bytes.len() as u64;
        let page_end = to.next_multiple_of(PAGE_BYTES);
        let mut pages = Vec::with_capacity((page_end - self.bytes + in_page) as usize);
        pages.extend_from_slice(&self.last_page);
        pages.extend_from_slice(bytes);
        reserve::push_part(&mut pages, to..page_end, self.end);
        self.file.write_over(self.bytes - in_page, &pages)
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

/// Has `page` be the end of the log's last page, as far as it is known, after `written` has come to stand at the
/// end of a log of so many bytes.
fn keep_last_page(page: &mut Vec<u8>, bytes: u64, written: &[u8]) {
    let in_page = (bytes % PAGE_BYTES) as usize;
    if written.len() >= in_page {
        page.clear();
    }
    page.extend_from_slice(&written[written.len().saturating_sub(in_page)..]);
    page.drain(..page.len().saturating_sub(in_page));
}

#[cfg(test)]
mod tests;
