//! The one door to files: everything that the engine reads or writes on a disk goes through `Storage`.
//!
//! Tests put a storage behind it that records, fails or tears; the server uses `Disk`. Knows no
//! format and no policy.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::time::UnixMs;
use crate::os;

/// A file that is written once from front to back; only what it begins with may be said anew.
pub trait OutputFile: Debug + Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// After an error the file's content past its last synced byte is unknown.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Puts `bytes` in the place of as many that the file begins with.
    ///
    /// # Errors
    /// As of `write_all`.
    fn replace_start(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Leaves all that is written to the sync at the end, instead of having it go to the disk bit by bit.
    fn write_at_once(&mut self) {}

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// After an error the file must not be trusted, even if a later call succeeds.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read from front to back.
pub trait InputFile: Debug + Send {
    /// Reads up to `into.len()` bytes; 0 at the end.
    ///
    /// # Errors
    /// What the disk said.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// Size in bytes when it was opened.
    fn bytes(&self) -> u64;
}

/// A file that is written to at its end for as long as a process lives. One thread writes to it, another
/// syncs it; what is written while a sync runs is not promised by that sync.
pub trait LogFile: Debug + Send + Sync {
    /// Writes all of `bytes` at this offset, which is the file's end or before it. A call that a signal
    /// interrupts is repeated here.
    ///
    /// # Errors
    /// `ShortWrite` says how much is there nevertheless.
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), ShortWrite>;

    /// Makes what has been written durable, and the file's size.
    ///
    /// # Errors
    /// After an error the file must not be trusted, even if a later call succeeds: the kernel may have
    /// dropped what it could not write, and told so once.
    fn sync(&self) -> io::Result<()>;

    /// Writes `bytes` over as many that are there and durable, and makes them durable: them, not what else
    /// waits for a sync. Offset and length are multiples of [`PAGE_BYTES`].
    ///
    /// # Errors
    /// Which of both failed. The bytes may be there nevertheless, any part of them.
    fn write_over(&self, at: u64, bytes: &[u8]) -> Result<(), WriteOverError>;

    /// What has become of the file.
    ///
    /// # Errors
    /// What the disk said.
    fn look(&self) -> io::Result<LogState>;

    /// Cuts the file to so many bytes; appending goes on there.
    ///
    /// # Errors
    /// What the disk said.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// What has become of a file that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogState {
    /// Its size.
    pub bytes: u64,
    /// Whether it has a name, be it another one. What is written to one without goes when it is closed.
    pub has_name: bool,
    /// Its device and its number there, if they can be relied on.
    pub id: Option<(u64, u64)>,
}

/// A write that did not get to its end.
#[derive(Debug)]
pub struct ShortWrite {
    /// Bytes that are in the file; a call that failed may have left more behind them.
    pub written: usize,
    /// Why there are no more.
    pub error: io::Error,
}

/// Why bytes that were written over others are not durable.
#[derive(Debug)]
pub enum WriteOverError {
    /// There was no room, say; the file may be gone on with.
    Write(io::Error),
    /// After this the file must not be trusted.
    Sync(io::Error),
}

/// What a folder says of one of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Size.
    pub bytes: u64,
    /// When the content changed last.
    pub modified: UnixMs,
    /// When it came to be, or came to be here, where the file system tells that.
    pub created: Option<UnixMs>,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// The right to use a folder alone. It ends when this is dropped, and with the process.
pub trait DirLock: Debug + Send + Sync {
    /// The descriptor to which it belongs: a fork child that keeps it open keeps the lock.
    fn descriptor(&self) -> Option<i32>;

    /// Whether it is the lock of the folder at `dir`, under whatever name.
    ///
    /// # Errors
    /// What the disk said.
    fn covers(&self, dir: &Path) -> io::Result<bool>;
}

/// A place with files. All of it may be used by several threads, and in a fork child.
pub trait Storage: Debug + Send + Sync {
    /// Creates an empty file or empties the one that is there.
    ///
    /// # Errors
    /// What the disk said.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;

    /// Opens a file to read.
    ///
    /// # Errors
    /// `NotFound` and what else the disk said.
    fn open(&self, path: &Path) -> io::Result<Box<dyn InputFile>>;

    /// Gives a file another name, in place of what had it.
    ///
    /// # Errors
    /// What the disk said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the disk said.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// After an error it is unknown which names are.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Paths of the entries of a folder, in no order.
    ///
    /// # Errors
    /// What the disk said.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Opens a file to go on with it, and creates it if it is not there.
    ///
    /// # Errors
    /// What the disk said.
    fn open_log(&self, path: &Path) -> io::Result<Arc<dyn LogFile>>;

    /// Creates a folder; one that is there is fine.
    ///
    /// # Errors
    /// What the disk said, and if something else has the name.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// What is known of a file or folder; `None` if it is not there. Links are followed.
    ///
    /// # Errors
    /// What the disk said.
    fn meta(&self, path: &Path) -> io::Result<Option<Meta>>;

    /// Cuts a file to so many bytes and makes that durable.
    ///
    /// # Errors
    /// What the disk said; it is unknown then which size the file has after a power cut.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Gives a file a second name, which nothing may have yet.
    ///
    /// # Errors
    /// `AlreadyExists`, and what else the disk said.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a folder for this process alone. `None` if another has it.
    ///
    /// # Errors
    /// What the disk said; not every file system knows locks.
    fn lock_dir(&self, dir: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
}

/// The folder in which a file lies: `.` for a bare name.
pub fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Sees to it that a file is as long as it was when it was read.
///
/// # Errors
/// It is not, and what the disk said.
pub(crate) fn must_have(storage: &dyn Storage, path: &Path, bytes: u64) -> io::Result<()> {
    let found = storage.meta(path)?.map_or(0, |meta| meta.bytes);
    if found == bytes {
        return Ok(());
    }
    let text =
        format!("it had {bytes} bytes when it was read, and has {found} now: another process writes to it");
    Err(io::Error::other(text))
}

/// The machine's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

/// Write-back is begun for each piece of this size, so that the closing fsync has little left to do.
const WRITEBACK_BYTES: u64 = 4 << 20;

#[derive(Debug)]
struct DiskOutput {
    file: File,
    written: u64,
    handed_over: u64,
    /// True if the system is asked to begin with the writing early.
    is_incremental: bool,
}

#[derive(Debug)]
struct DiskInput {
    file: File,
    bytes: u64,
}

/// Whole pages of a file may be written past the page cache.
pub const PAGE_BYTES: u64 = 4096;

#[derive(Debug)]
struct DiskLog {
    file: File,
    /// Whether the file system tells how many names a file has.
    counts_names: bool,
    /// What tells the file from others, if it did when it was opened.
    id: Option<(u64, u64)>,
    direct: Mutex<Direct>,
}

/// The same file once more, for writes that go past the page cache and are durable when they return: one call
/// instead of a write and a sync, and less of the system's time.
#[derive(Debug)]
enum Direct {
    Untried,
    /// Not every file system can.
    Impossible,
    Open {
        file: File,
        /// Where bytes lie at an address that the disk can read from.
        aligned: Vec<u8>,
    },
}

impl Direct {
    fn of(file: &File) -> Direct {
        match os::file::open_direct(file) {
            Ok(file) => Direct::Open { file, aligned: Vec::new() },
            Err(_) => Direct::Impossible,
        }
    }

    /// Writes whole pages, durably. `None` if they have to go the other way.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Option<Result<(), WriteOverError>> {
        let Direct::Open { file, aligned } = self else { return None };
        aligned.resize(aligned.len().max(bytes.len() + PAGE_BYTES as usize), 0);
        let from = aligned.as_ptr().align_offset(PAGE_BYTES as usize);
        let pages = aligned.get_mut(from..from + bytes.len())?;
        pages.copy_from_slice(bytes);
        let result = loop {
            match file.write_at(pages, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match result {
            Ok(n) if n == bytes.len() => Some(Ok(())),
            // All of it is written again.
            Ok(_) => None,
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                    *self = Direct::Impossible;
                    None
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Some(Err(WriteOverError::Write(error)))
                }
                _ => Some(Err(WriteOverError::Sync(error))),
            },
        }
    }
}

#[derive(Debug)]
struct DiskLock(File);

impl DirLock for DiskLock {
    fn descriptor(&self) -> Option<i32> {
        Some(self.0.as_raw_fd())
    }

    fn covers(&self, dir: &Path) -> io::Result<bool> {
        let (ours, theirs) = (self.0.metadata()?, fs::metadata(dir)?);
        Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
    }
}

impl LogFile for DiskLog {
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), ShortWrite> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write_at(&bytes[written..], at + written as u64) {
                Ok(0) => return Err(ShortWrite { written, error: io::ErrorKind::WriteZero.into() }),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ShortWrite { written, error }),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        os::file::sync_data(&self.file)
    }

    fn write_over(&self, at: u64, bytes: &[u8]) -> Result<(), WriteOverError> {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*direct, Direct::Untried) {
            *direct = Direct::of(&self.file);
        }
        if let Some(result) = direct.write(at, bytes) {
            return result;
        }
        self.write_at(at, bytes).map_err(|short| WriteOverError::Write(short.error))?;
        self.sync().map_err(WriteOverError::Sync)
    }

    fn look(&self) -> io::Result<LogState> {
        let found = os::file::about(&self.file)?;
        let has_name = found.names > 0 || !self.counts_names;
        Ok(LogState { bytes: found.bytes, has_name, id: self.id.filter(|id| *id == found.id) })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

impl OutputFile for DiskOutput {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        let fresh = self.written - self.handed_over;
        if fresh >= WRITEBACK_BYTES && self.is_incremental {
            os::file::begin_writeback(&self.file, self.handed_over, fresh);
            self.handed_over = self.written;
        }
        Ok(())
    }

    fn replace_start(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, 0)
    }

    fn write_at_once(&mut self) {
        self.is_incremental = false;
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl InputFile for DiskInput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(into) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(DiskOutput { file, written: 0, handed_over: 0, is_incremental: true }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn InputFile>> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        os::file::expect_sequential(&file);
        Ok(Box::new(DiskInput { file, bytes: meta.len() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        os::file::sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn open_log(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let about = os::file::about(&file).ok();
        let counts_names = about.is_some_and(|about| about.names > 0);
        let named = fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let id = about.map(|about| about.id).filter(|id| Some(*id) == named);
        Ok(Arc::new(DiskLog { file, counts_names, id, direct: Mutex::new(Direct::Untried) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn meta(&self, path: &Path) -> io::Result<Option<Meta>> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let unix = |at: io::Result<SystemTime>| {
            let since = at.ok()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_millis()).ok().map(UnixMs)
        };
        let modified = unix(meta.modified()).unwrap_or(UnixMs(0));
        Ok(Some(Meta { bytes: meta.len(), modified, created: unix(meta.created()), is_dir: meta.is_dir() }))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let locked = os::file::lock_dir(dir)?;
        Ok(locked.map(|file| Box::new(DiskLock(file)) as Box<dyn DirLock>))
    }
}

#[cfg(test)]
mod tests;
