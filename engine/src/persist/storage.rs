//! The one door to files: everything that the engine reads or writes on a disk goes through `Storage`.
//!
//! Tests put a storage behind it that records, fails or tears; the server uses `Disk`. Knows no
//! format and no policy.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::os;

/// A file that is written once from front to back.
pub trait OutputFile: Debug {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// After an error the file's content past its last synced byte is unknown.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// After an error the file must not be trusted, even if a later call succeeds.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read from front to back.
pub trait InputFile: Debug {
    /// Reads up to `into.len()` bytes; 0 at the end.
    ///
    /// # Errors
    /// What the disk said.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// Size in bytes when it was opened.
    fn bytes(&self) -> u64;
}

/// A place with files.
pub trait Storage: Debug {
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
}

#[derive(Debug)]
struct DiskInput {
    file: File,
    bytes: u64,
}

impl OutputFile for DiskOutput {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        let fresh = self.written - self.handed_over;
        if fresh >= WRITEBACK_BYTES {
            os::file::begin_writeback(&self.file, self.handed_over, fresh);
            self.handed_over = self.written;
        }
        Ok(())
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
        Ok(Box::new(DiskOutput { file, written: 0, handed_over: 0 }))
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
}
