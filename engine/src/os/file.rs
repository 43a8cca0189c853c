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

/// What there is to an open file.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its size.
    pub bytes: u64,
    /// How many names it has.
    pub names: u64,
    /// Its device, and its number there.
    pub id: (u64, u64),
}

/// Looks at an open file. Asks for no more than what it tells: a network file system would write out all it has of
/// the file to say when that was changed.
///
/// # Errors
/// What the call said.
pub fn about(file: &File) -> io::Result<About> {
    #[cfg(target_os = "linux")]
    {
        let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
        // SAFETY: the descriptor is open for as long as `file` is borrowed, the path is a C string, and the call
        // writes no more than a `statx`, all of which may be zero.
        #[allow(unsafe_code)]
        let (done, found) = unsafe {
            let mask = libc::STATX_SIZE | libc::STATX_NLINK | libc::STATX_INO;
            let path = c"".as_ptr();
            let done = libc::statx(file.as_raw_fd(), path, libc::AT_EMPTY_PATH, mask, found.as_mut_ptr());
            (done, found.assume_init())
        };
        if done == 0 {
            let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
            let (bytes, names) = (found.stx_size, u64::from(found.stx_nlink));
            return Ok(About { bytes, names, id: (device, found.stx_ino) });
        }
    }
    // An old kernel, or another one.
    use std::os::unix::fs::MetadataExt;
    let found = file.metadata()?;
    Ok(About { bytes: found.len(), names: found.nlink(), id: (found.dev(), found.ino()) })
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
