//! How soon the kernel lets a thread run, and how much of a processor it gets.
//!
//! A thread that has been woken may have to wait until the one that runs has used up its slice. The kernel
//! lets the one with the shorter slices go first (Linux 6.12 and later; before, their length means
//! nothing). Other systems are left as they are.
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use libc::sched_attr;

/// The shortest slice that the kernel knows.
#[cfg(target_os = "linux")]
const SHORTEST_NANOS: u64 = 100_000;

/// The longest.
#[cfg(target_os = "linux")]
const LONGEST_NANOS: u64 = 100_000_000;

/// Has the calling thread, which sleeps most of the time, run as soon as it is woken, as far as the kernel
/// gives it that. One with another policy than the usual one is left as it is.
pub fn wake_at_once() {
    #[cfg(target_os = "linux")]
    if let Some(attr) = current()
        && attr.sched_policy == libc::SCHED_OTHER.unsigned_abs()
    {
        let _ = set(sched_attr { sched_flags: 0, sched_runtime: SHORTEST_NANOS, ..attr });
    }
}

/// Makes the calling thread one that works and waits for nobody. The longest slice there is does not mean
/// that it may keep a processor for so long, but that whoever wakes up with a shorter one goes first. False
/// if the kernel would not.
pub(super) fn be_batch(nice: libc::c_int) -> bool {
    #[cfg(target_os = "linux")]
    return set(sched_attr {
        size: ATTR_BYTES,
        sched_policy: libc::SCHED_BATCH.unsigned_abs(),
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: LONGEST_NANOS,
        sched_deadline: 0,
        sched_period: 0,
    });
    #[cfg(not(target_os = "linux"))]
    {
        let _ = nice;
        false
    }
}

#[cfg(target_os = "linux")]
const ATTR_BYTES: u32 = size_of::<sched_attr>() as u32;

#[cfg(target_os = "linux")]
fn set(attr: sched_attr) -> bool {
    // SAFETY: the kernel reads a live local that tells its own size. If it refuses, nothing is changed.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) == 0 }
}

/// How the calling thread is scheduled now.
#[cfg(target_os = "linux")]
fn current() -> Option<sched_attr> {
    let mut attr = sched_attr {
        size: ATTR_BYTES,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `ATTR_BYTES` bytes to a live local of that size. 0 is this thread.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, ATTR_BYTES, 0) };
    (got == 0).then_some(sched_attr { size: ATTR_BYTES, ..attr })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_wakes_at_once_keeps_its_policy_and_its_nice() {
        let here = current();
        let there = std::thread::spawn(|| {
            let before = current();
            wake_at_once();
            (before, current())
        });
        let (before, after) = there.join().expect("it only asks");
        let kept = |attr: &Option<sched_attr>| {
            attr.as_ref().map(|attr| (attr.sched_policy, attr.sched_nice, attr.sched_priority))
        };
        assert_eq!(kept(&before), kept(&after));
        // Kernels before 6.12 know no slices of a thread.
        let slice = |attr: &Option<sched_attr>| attr.as_ref().map_or(0, |attr| attr.sched_runtime);
        assert!(slice(&after) == SHORTEST_NANOS || slice(&after) == slice(&before), "{}", slice(&after));
        assert_eq!(slice(&current()), slice(&here), "other threads keep theirs");
    }
}
