//! A lane: a thread that does one job after another for the thread that owns the keys.
//!
//! At most one job is under way; its result waits until it is asked for. The two sides share one slot
//! behind a lock, so no wake-up can be lost: whoever waits looks at the slot before it sleeps. Knows
//! nothing of files. A fork while a job runs is safe: a child never touches a lane.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::os::{memory, scheduling};
use crate::persist::apart::Apart;

/// Something to do elsewhere.
pub(super) type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// What is called, on the thread of a lane, when a job has ended.
#[derive(Clone, Default)]
pub struct Wake(Option<Arc<dyn Fn() + Send + Sync>>);

impl Wake {
    /// Calls this.
    #[must_use]
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Wake {
        Wake(Some(wake))
    }

    fn call(&self) {
        if let Some(wake) = &self.0 {
            wake();
        }
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wake").field(&self.0.is_some()).finish()
    }
}

/// The state that both sides see.
enum Slot<T> {
    Idle,
    Given(Job<T>),
    Running,
    Done(T),
    Closed,
}

struct Shared<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        // Nothing is left half done while the lock is held.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The giving side.
pub(super) struct Lane<T> {
    name: &'static str,
    apart: Apart,
    wake: Wake,
    shared: Option<Arc<Shared<T>>>,
    /// A job of a lane without a thread: it runs when its result is asked for.
    here: Option<Job<T>>,
    is_busy: bool,
}

impl<T> fmt::Debug for Lane<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.name)
            .field("is_busy", &self.is_busy)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Lane<T> {
    /// A lane whose thread, if `apart` wants one, starts with the first job.
    pub(super) fn new(name: &'static str, apart: Apart, wake: Wake) -> Lane<T> {
        Lane { name, apart, wake, shared: None, here: None, is_busy: false }
    }

    /// True from when a job is given until its result has been taken.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Gives a job; the one before must have been taken back.
    pub(super) fn give(&mut self, job: Job<T>) {
        assert!(!self.is_busy, "a lane has one job at a time");
        self.is_busy = true;
        if self.apart == Apart::ForkAndThreads && self.shared.is_none() {
            self.shared = start(self.name, self.wake.clone());
        }
        match &self.shared {
            Some(shared) => {
                *shared.lock() = Slot::Given(job);
                shared.changed.notify_all();
            }
            // Without a thread, be it that the system gives none, it runs at the next poll.
            None => self.here = Some(job),
        }
    }

    /// The result of the job, if it has ended. Never waits, but does the job of a lane without a thread.
    pub(super) fn poll(&mut self) -> Option<T> {
        if !self.is_busy {
            return None;
        }
        let done = match (self.here.take(), &self.shared) {
            (Some(job), _) => job(),
            (None, Some(shared)) => take_done(&mut shared.lock())?,
            (None, None) => return None,
        };
        self.is_busy = false;
        Some(done)
    }

    /// The result of the job, when it has ended; `None` if there is none.
    pub(super) fn wait(&mut self) -> Option<T> {
        if let (true, None, Some(shared)) = (self.is_busy, &self.here, &self.shared) {
            let mut slot = shared.lock();
            while !matches!(*slot, Slot::Done(_)) {
                slot = shared.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
            }
        }
        self.poll()
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            // The thread leaves after its job; nobody waits for it here.
            *shared.lock() = Slot::Closed;
            shared.changed.notify_all();
        }
    }
}

fn take_done<T>(slot: &mut Slot<T>) -> Option<T> {
    match std::mem::replace(slot, Slot::Idle) {
        Slot::Done(done) => Some(done),
        other => {
            *slot = other;
            None
        }
    }
}

/// The thread; `None` if the system gives none.
fn start<T: Send + 'static>(name: &str, wake: Wake) -> Option<Arc<Shared<T>>> {
    let shared = Arc::new(Shared { slot: Mutex::new(Slot::Idle), changed: Condvar::new() });
    let own = Arc::clone(&shared);
    std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&own, &wake)).ok().map(|_| shared)
}

fn work<T>(shared: &Shared<T>, wake: &Wake) {
    // A job is a few microseconds of work before the disk's and after it. If whoever runs went first each
    // time, those who wait for the disk would wait for that, too.
    scheduling::wake_at_once();
    while let Some(job) = next_job(shared) {
        let guard = AbortOnPanic;
        let done = job();
        std::mem::forget(guard);
        memory::publish_thread();
        {
            let mut slot = shared.lock();
            if matches!(*slot, Slot::Closed) {
                return;
            }
            *slot = Slot::Done(done);
            shared.changed.notify_all();
        }
        wake.call();
    }
}

fn next_job<T>(shared: &Shared<T>) -> Option<Job<T>> {
    let mut slot = shared.lock();
    loop {
        match std::mem::replace(&mut *slot, Slot::Running) {
            Slot::Given(job) => return Some(job),
            Slot::Closed => {
                *slot = Slot::Closed;
                return None;
            }
            other => *slot = other,
        }
        slot = shared.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
    }
}

/// A job that panics has left a log in an unknown state, and someone waits for it for ever: the process
/// ends, and what was acknowledged is on the disk.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn jobs_run_one_by_one_and_each_wakes_the_owner() {
        let woken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&woken);
        let wake = Wake::new(Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        let mut lane = Lane::new("cairn-test", Apart::ForkAndThreads, wake);
        let owner = std::thread::current().id();
        for i in 0..500u64 {
            lane.give(Box::new(move || (i, std::thread::current().id())));
            assert!(lane.is_busy());
            let (answer, thread) = lane.wait().expect("there was a job");
            assert_eq!(answer, i);
            assert_ne!(thread, owner);
            assert!(!lane.is_busy() && lane.poll().is_none() && lane.wait().is_none());
        }
        drop(lane);
        assert!(woken.load(Ordering::SeqCst) >= 499, "the last call may be under way");
    }

    #[test]
    fn without_a_thread_a_job_runs_when_it_is_asked_for() {
        let mut lane = Lane::new("cairn-test", Apart::Here, Wake::default());
        let ran = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&ran);
        lane.give(Box::new(move || counter.fetch_add(1, Ordering::SeqCst)));
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert_eq!((lane.poll(), ran.load(Ordering::SeqCst)), (Some(0), 1));
        assert_eq!(lane.wait(), None);
    }

    #[test]
    fn a_lane_may_go_while_its_job_runs() {
        let (go, may_go) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let mut lane = Lane::new("cairn-test", Apart::ForkAndThreads, Wake::default());
        lane.give(Box::new(move || begin.send(()).is_ok() && may_go.recv().is_ok()));
        begun.recv().expect("the job runs");
        drop(lane);
        go.send(()).expect("the job still waits");
    }
}
