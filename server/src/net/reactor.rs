//! The poller: which descriptors have something to read or room to write.
//!
//! Level-triggered epoll, and the only file that knows it. What is left unread or unsent is reported
//! again at the next wait, so nothing has to be remembered here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{self, PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::prctl;

/// Most events taken from one wait.
const MAX_EVENTS: usize = 1024;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadWrite,
    /// Room to write.
    Write,
    /// Nothing but that the other side is gone.
    Nothing,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Interest::Read => EpollFlags::EPOLLIN,
            Interest::ReadWrite => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            Interest::Write => EpollFlags::EPOLLOUT,
            Interest::Nothing => EpollFlags::empty(),
        }
    }
}

/// A descriptor that something can be done with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// The number it was registered with.
    pub(crate) token: u64,
    /// Reading will not wait; it may tell that the other side is gone.
    pub(crate) readable: bool,
    /// Writing will not wait.
    pub(crate) writable: bool,
}

/// The poller.
pub(crate) struct Reactor {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Reactor {
    /// A poller of nothing, for this thread.
    pub(crate) fn new() -> io::Result<Reactor> {
        // Timers of a thread may be 50 us late otherwise, several times a pause. Where that cannot be
        // changed, pauses are longer.
        let _ = prctl::set_timerslack(1);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Reactor { epoll, events: vec![EpollEvent::empty(); MAX_EVENTS] })
    }

    /// Begins to watch a descriptor.
    pub(crate) fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(interest.flags(), token))?)
    }

    /// Changes what a watched descriptor is watched for.
    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(interest.flags(), token))?)
    }

    /// Stops watching a descriptor. To be called before it is closed: a fork child that holds a copy
    /// would keep it in the set otherwise.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits for a moment whatever becomes ready.
    pub(crate) fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// The same, but no longer than until `fd` has something to read.
    pub(crate) fn pause_unless(&self, fd: BorrowedFd<'_>, time: Duration) {
        // Whatever ends it, the next wait tells what there is.
        let _ = poll::ppoll(&mut [PollFd::new(fd, PollFlags::POLLIN)], Some(time.into()), None);
    }

    /// Waits up to `timeout_ms` and appends what is ready. A signal ends the wait early.
    pub(crate) fn wait(&mut self, timeout_ms: u16, ready: &mut Vec<Ready>) -> io::Result<()> {
        let count = match self.epoll.wait(&mut self.events, EpollTimeout::from(timeout_ms)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        ready.extend(self.events[..count].iter().map(|event| {
            let flags = event.events();
            let gone = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
            Ready {
                token: event.data(),
                readable: gone || flags.contains(EpollFlags::EPOLLIN),
                writable: gone || flags.contains(EpollFlags::EPOLLOUT),
            }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::EventFd;
    use std::time::Instant;

    #[test]
    fn a_pause_ends_with_what_it_must_not_miss() {
        const LONG: Duration = Duration::from_secs(60);
        let reactor = Reactor::new().expect("a poller");
        let wake = EventFd::new().expect("an eventfd");
        let began = Instant::now();
        reactor.pause_unless(wake.as_fd(), Duration::from_millis(2));
        assert!(began.elapsed() >= Duration::from_millis(2));
        std::thread::scope(|scope| {
            scope.spawn(|| wake.write(1));
            reactor.pause_unless(wake.as_fd(), LONG);
        });
        reactor.pause_unless(wake.as_fd(), LONG);
        assert!(began.elapsed() < LONG, "it is still to be read");
    }
}
