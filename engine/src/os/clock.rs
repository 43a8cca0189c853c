//! What the C library knows about local time.

#![allow(unsafe_code)]

/// Seconds that local time is ahead of UTC at an instant; 0 if the system does not know.
pub fn local_offset_seconds(unix_seconds: i64) -> i64 {
    let time: libc::time_t = unix_seconds;
    let mut broken_down = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live locals of the right types; the result is used only if the call
    // says that it has filled it in.
    unsafe {
        if libc::localtime_r(&raw const time, broken_down.as_mut_ptr()).is_null() {
            return 0;
        }
        broken_down.assume_init().tm_gmtoff
    }
}
