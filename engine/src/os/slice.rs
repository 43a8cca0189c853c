//! How soon a thread runs that sleeps most of the time.
//!
//! A thread that has been woken may have to wait until the one that runs has used up its slice. The kernel
//! lets it go first if its own slices are shorter (Linux 6.12 and later); earlier ones, and other policies
//! than the usual one, are left as they are.
#![allow(unsafe_code)]

/// `struct sched_attr` of linux/sched/types.h, as far as its first version goes.
#[repr(C)]
#[derive(Default)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_nanos: u64,
    deadline_nanos: u64,
    period_nanos: u64,
}

const ATTR_BYTES: u32 = size_of::<Attr>() as u32;

/// The shortest slice that the kernel knows.
const SHORTEST_NANOS: u64 = 100_000;

/// Has the calling thread run as soon as it is woken, as far as the kernel gives it that.
pub fn wake_at_once() {
    let Some(mut attr) = current() else { return };
    if attr.policy != libc::SCHED_OTHER.unsigned_abs() {
        return;
    }
    (attr.size, attr.flags, attr.runtime_nanos) = (ATTR_BYTES, 0, SHORTEST_NANOS);
    // SAFETY: the kernel reads a live local of the size that it names. If it refuses, nothing is changed.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

/// What the calling thread has now.
fn current() -> Option<Attr> {
    let mut attr = Attr::default();
    // SAFETY: the kernel writes at most `ATTR_BYTES` bytes to a live local of that size. 0 is this thread.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, ATTR_BYTES, 0) };
    (got == 0).then_some(attr)
}

#[cfg(test)]
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
        let kept = |attr: &Option<Attr>| attr.as_ref().map(|attr| (attr.policy, attr.nice, attr.priority));
        assert_eq!(kept(&before), kept(&after));
        // Kernels before 6.12 know no slices of a thread.
        let slice = |attr: &Option<Attr>| attr.as_ref().map_or(0, |attr| attr.runtime_nanos);
        assert!(slice(&after) == SHORTEST_NANOS || slice(&after) == slice(&before), "{}", slice(&after));
        assert_eq!(slice(&current()), slice(&here), "other threads keep theirs");
    }
}
