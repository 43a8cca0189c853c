//! A thread that drops what it is given.
//!
//! It is started by the first thing that comes and waits for more as long as the process lives. What it
//! is given it owns: nothing is shared with it but two counters and the queue. Knows nothing of what it
//! drops.
//!
//! A fork while it works is safe. The child has only the forking thread, so this one just stops existing
//! there, and two things could be left locked by it: the allocator, whose fork handlers take its locks
//! before the fork and give them back on both sides (jemalloc and glibc), and the queue, which a child
//! never touches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SendError, Sender, channel};

/// Things that may wait at most. Beyond that the giver drops them itself: it makes garbage faster than
/// this thread removes it, and should feel that.
const QUEUE: u64 = 1 << 16;

#[derive(Debug, Default)]
struct Counters {
    things: AtomicU64,
    pending: AtomicU64,
    dropped: AtomicU64,
}

/// Hands things over to be dropped.
#[derive(Debug)]
pub struct Dropper<T: Send + 'static> {
    queue: Option<Sender<(T, u64)>>,
    counters: Arc<Counters>,
}

impl<T: Send + 'static> Default for Dropper<T> {
    /// One without a thread yet.
    fn default() -> Self {
        Self { queue: None, counters: Arc::default() }
    }
}

impl<T: Send + 'static> Dropper<T> {
    /// Gives a thing away, which counts as so many objects. Where that cannot be, it is dropped here.
    pub fn give(&mut self, thing: T, objects: u64) {
        let counters = &self.counters;
        if counters.things.load(Ordering::Relaxed) >= QUEUE {
            return;
        }
        if self.queue.is_none() {
            self.queue = start(Arc::clone(counters));
        }
        let Some(queue) = &self.queue else { return };
        counters.things.fetch_add(1, Ordering::Relaxed);
        counters.pending.fetch_add(objects, Ordering::Relaxed);
        if let Err(SendError(refused)) = queue.send((thing, objects)) {
            // The thread is gone, as it can only be after a panic.
            drop(refused);
            counters.things.fetch_sub(1, Ordering::Relaxed);
            counters.pending.fetch_sub(objects, Ordering::Relaxed);
        }
    }

    /// Objects that wait or are being dropped.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.counters.pending.load(Ordering::Relaxed)
    }

    /// Objects dropped by the thread since the count was last set to zero.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped.load(Ordering::Relaxed)
    }

    /// Sets the count of dropped objects to zero.
    pub fn reset_dropped(&self) {
        self.counters.dropped.store(0, Ordering::Relaxed);
    }
}

/// The thread; `None` if the system gives none.
fn start<T: Send + 'static>(counters: Arc<Counters>) -> Option<Sender<(T, u64)>> {
    let (queue, things) = channel::<(T, u64)>();
    let work = move || {
        loop {
            let next = things.try_recv().or_else(|_| {
                super::memory::rest_thread();
                things.recv()
            });
            let Ok((thing, objects)) = next else { return };
            drop(thing);
            super::memory::publish_thread();
            // Counted when the memory is free, so that who waits for that may go by the count.
            counters.dropped.fetch_add(objects, Ordering::Relaxed);
            counters.pending.fetch_sub(objects, Ordering::Relaxed);
            counters.things.fetch_sub(1, Ordering::Relaxed);
        }
    };
    std::thread::Builder::new().name("cairn-free".into()).spawn(work).ok().map(|_| queue)
}

#[cfg(test)]
mod tests {
    use super::Dropper;
    use std::sync::mpsc::{Sender, channel};
    use std::time::{Duration, Instant};

    struct Tells(Sender<std::thread::ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            // The test may have ended already.
            let _ = self.0.send(std::thread::current().id());
        }
    }

    #[test]
    fn things_are_dropped_elsewhere_and_counted() {
        let (tell, told) = channel();
        let mut dropper = Dropper::default();
        (0..3).for_each(|_| dropper.give(Tells(tell.clone()), 2));
        for _ in 0..3 {
            let thread = told.recv_timeout(Duration::from_secs(10)).expect("each is dropped");
            assert_ne!(thread, std::thread::current().id());
        }
        let begun = Instant::now();
        while dropper.pending() > 0 && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert_eq!((dropper.pending(), dropper.dropped()), (0, 6));
        dropper.reset_dropped();
        assert_eq!(dropper.dropped(), 0);
    }
}
