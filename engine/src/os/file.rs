//! What the standard library lacks for files: a synced directory, write-back hints, locks.

#[cfg(target_os = "linux")]
use std::fs::OpenOptions;
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
#[cfg(target_os = "linux")]
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes the names in `dir` durable: renames and new files survive a power cut after this.
///
/// # Errors
/// What open or fsync said. After an error nothing is known about the names.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a file's content and its size durable: fdatasync, which leaves out times and permissions.
///
/// # Errors
/// What the call said. The kernel tells of an error once; a later call may succeed though data is lost.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Opens a file once more, whatever its name is by now, to write to it past the page cache: each write is durable
/// when it returns. Offsets, lengths and addresses have to be whole pages.
///
/// # Errors
/// What open said; not every system and file system can.
pub fn open_direct(file: &File) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        OpenOptions::new().write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(path)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Locks a folder against other processes, by flock on a descriptor of its own. The lock lasts until
/// the descriptor is closed here and in every fork child that kept it. `None` if another has it.
///
/// # Errors
/// What open or flock said; some file systems have no locks.
pub fn lock_dir(dir: &Path) -> io::Result<Option<File>> {
    let file = File::open(dir)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Has writes beyond the limit on the size of files fail, as they do on a full disk, instead of ending the
/// process.
///
/// # Errors
/// What the system said.
pub fn ignore_size_signal() -> io::Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no handler of ours is installed, so none can run.
    #[allow(unsafe_code)]
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(())
}

/// Asks the kernel to begin writing back `len` bytes at `offset`, so that a later fsync is short.
/// A hint: what it says is not looked at.
pub fn begin_writeback(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call takes no pointers.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file.as_raw_fd(), offset, len);
}

/// Tells the kernel that `file` will be read once from front to back. A hint.
pub fn expect_sequential(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = nix::fcntl::posix_fadvise(file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
