//! SIGINT while a process does something long that it will not ask about: a file goes, then the process.
//!
//! A signal handler may do next to nothing: this one calls unlink and _exit, which POSIX lists as safe.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Exit status of a process that was ended so.
const STATUS: c_int = 1;

/// The file's name, which lives as long as the process; null for none.
static FILE: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Has SIGINT remove `file`, if it is there, and end the process with status 1. The name is kept for good,
/// so this is for the end of a process and not for each save.
///
/// # Errors
/// A name with a zero byte, or what the system said; SIGINT then does what it did.
pub fn remove_and_end(file: &Path) -> io::Result<()> {
    let name = CString::new(file.as_os_str().as_bytes())?;
    FILE.store(name.into_raw(), Ordering::Release);
    let action = SigAction::new(SigHandler::Handler(end), SaFlags::empty(), SigSet::empty());
    // SAFETY: `end` keeps to what a handler may do, and looks at nothing but a name that is never freed.
    unsafe { sigaction(Signal::SIGINT, &action) }?;
    Ok(())
}

extern "C" fn end(_signal: c_int) {
    let name = FILE.load(Ordering::Acquire);
    // SAFETY: the pointer is null or came from `CString::into_raw` and was never freed; both calls are
    // safe in a handler, and the second does not return.
    unsafe {
        if !name.is_null() {
            libc::unlink(CStr::from_ptr(name).as_ptr());
        }
        libc::_exit(STATUS)
    }
}
