//! A fork child that does one job and reports through a pipe.
//!
//! Rules for the job, because only the forking thread lives on in the child: touch the memory it was
//! given, its own files and the report pipe; no locks of ours, no logging, no threads, no environment.
//! It allocates, so the process's allocator must register fork handlers (glibc and jemalloc do).

#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, pipe2};

use super::scheduling;

/// Exit status of a job that panicked.
pub const EXIT_PANICKED: i32 = 101;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It left with this status.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
}

impl Ended {
    /// True if the signal was the one that calls a child off, which is no failure.
    pub fn is_called_off(self) -> bool {
        self == Ended::Signaled(Signal::SIGUSR1 as i32)
    }
}

/// The parent's side of a running child.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    reports: std::fs::File,
    fork_time: Duration,
    looked_at: Look,
    _counted: Counted,
}

/// How much processor time a child had had at some moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    had: Duration,
}

/// Children of this process.
static CHILDREN: AtomicUsize = AtomicUsize::new(0);

/// Whether this process has children that share its memory. One that nobody looks after any more counts
/// as gone.
pub fn has_children() -> bool {
    CHILDREN.load(Ordering::Acquire) > 0
}

/// A child in `CHILDREN`, as long as this lives.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Counted {
        CHILDREN.fetch_add(1, Ordering::AcqRel);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        CHILDREN.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The child's side of the report pipe. Blocking; the parent drains it.
#[derive(Debug)]
pub struct Reporter {
    pipe: std::fs::File,
    parent: Parent,
}

/// The process that a child works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent(Pid);

impl Parent {
    /// This process, for the children that it will have.
    pub fn this() -> Parent {
        Parent(nix::unistd::getpid())
    }

    /// True as long as the child that asks has this parent. The kernel ends a child after its parent,
    /// not with it, so a child asks before it does what only a living parent may have done.
    pub fn is_alive(self) -> bool {
        nix::unistd::getppid() == self.0
    }
}

impl Reporter {
    /// Sends bytes to the parent.
    ///
    /// # Errors
    /// `BrokenPipe` when the parent is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pipe.write_all(bytes)
    }

    /// The process that the job is for.
    pub fn parent(&self) -> Parent {
        self.parent
    }
}

/// Forks and runs `job` in the child, which leaves with the status that `job` returns.
///
/// The child ignores no signal that ends it, is killed when the parent dies, and holds none of the
/// parent's descriptors but standard output and error, the pipe, and `kept`. Costs the copy of the page
/// tables: 1 to 30 ms a GiB.
///
/// # Errors
/// What pipe or fork said; there is no child then.
pub fn spawn(kept: Option<RawFd>, job: impl FnOnce(&mut Reporter) -> i32) -> io::Result<Child> {
    use nix::fcntl::OFlag;
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&read_end)?;
    let parent = Parent::this();
    let counted = Counted::new();
    let started = Instant::now();
    // SAFETY: the child runs `run_child`, which keeps to the rules at the top of this file and never
    // returns into the caller's code.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => {
            let fork_time = started.elapsed();
            drop(write_end);
            let looked_at = Look { at: Instant::now(), had: Duration::ZERO };
            Ok(Child { pid: child, reports: read_end.into(), fork_time, looked_at, _counted: counted })
        }
        ForkResult::Child => run_child(parent, write_end, kept, job),
    }
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

fn run_child(
    parent: Parent,
    pipe: OwnedFd,
    kept: Option<RawFd>,
    job: impl FnOnce(&mut Reporter) -> i32,
) -> ! {
    die_with_parent(parent);
    default_signals();
    step_back();
    let pipe = close_all_but(pipe, kept);
    let mut reporter = Reporter { pipe: pipe.into(), parent };
    let status = catch_unwind(AssertUnwindSafe(|| job(&mut reporter))).unwrap_or(EXIT_PANICKED);
    // SAFETY: leaves at once; no destructor or exit handler of the parent may run twice.
    unsafe { libc::_exit(status) }
}

/// Leaves a processor that both want to the parent, which answers clients: it gets it back as soon as it has
/// something to do. Where there is a free processor this costs nothing. What the child is left with, 1.5
/// percent, would let saves and rewrites on a busy machine come to no end; so the parent lends it some time
/// (`Child::lend_processor`). A child that has given up its priority cannot take it back by itself.
fn step_back() {
    const NICE: libc::c_int = 19;
    if scheduling::be_batch(NICE) {
        return;
    }
    // SAFETY: changes this process's own priority; needs no memory of ours. A refusal would only leave
    // it as it is.
    unsafe { libc::nice(NICE) };
}

fn die_with_parent(parent: Parent) {
    #[cfg(target_os = "linux")]
    {
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        // The parent may have died before the line above.
        if !parent.is_alive() {
            // SAFETY: as in `run_child`.
            unsafe { libc::_exit(1) }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
}

fn default_signals() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        // SAFETY: installs the default action, which runs no code of ours.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Closes what the parent had open, so that sockets do not outlive it; keeps 0, 1, 2, the pipe and
/// `kept`.
fn close_all_but(pipe: OwnedFd, kept: Option<RawFd>) -> OwnedFd {
    const FIRST: RawFd = 3;
    let raw = pipe.into_raw_fd();
    #[cfg(target_os = "linux")]
    {
        let mut spared = [raw, kept.unwrap_or(raw)];
        spared.sort_unstable();
        let mut from = FIRST;
        for fd in spared {
            close_range(from, fd - 1);
            from = from.max(fd + 1);
        }
        close_range(from, RawFd::MAX);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (FIRST, kept);
    // SAFETY: `raw` came from an OwnedFd given up above and was not closed.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

#[cfg(target_os = "linux")]
fn close_range(first: RawFd, last: RawFd) {
    if let (Ok(first), Ok(last)) = (u32::try_from(first), u32::try_from(last))
        && first <= last
    {
        // SAFETY: nothing in the child uses those descriptors; their owners live in the parent's code,
        // which never runs here.
        unsafe {
            libc::close_range(first, last, 0);
        }
    }
}

impl Child {
    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// How long the fork itself took.
    pub fn fork_time(&self) -> Duration {
        self.fork_time
    }

    /// The descriptor that becomes readable when a report waits or the child has ended.
    pub fn report_fd(&self) -> i32 {
        self.reports.as_raw_fd()
    }

    /// Appends what the child has reported since the last call. Never waits.
    ///
    /// # Errors
    /// What read said, `WouldBlock` and `Interrupted` aside.
    pub fn read_reports(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        const AT_MOST: usize = 1 << 20;
        let mut piece = [0u8; 4096];
        let mut taken = 0;
        while taken < AT_MOST {
            match self.reports.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    into.extend_from_slice(&piece[..n]);
                    taken += n;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// How the child ended, or `None` while it runs. Never waits.
    ///
    /// # Errors
    /// What waitpid said.
    pub fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, status)) => return Ok(Some(Ended::Exited(status))),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Some(Ended::Signaled(signal as i32))),
                Ok(_) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Leaves the processor to a child that wanted one since the last call and hardly got it, by sleeping
    /// for a millisecond. Looks every ten milliseconds, so that a child has a tenth of a processor that its
    /// parent would have for itself. One that waits for a disk is lent nothing.
    pub fn lend_processor(&mut self) {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        const LOAN: Duration = Duration::from_millis(1);
        let Look { at, had } = self.looked_at;
        let since = at.elapsed();
        if since < LOOK_EVERY {
            return;
        }
        // Where the kernel does not tell, the child has what it takes.
        let Some(has) = processor_time(self.pid) else { return };
        let mut look = Look { at: Instant::now(), had: has };
        if is_kept_waiting(since, has.saturating_sub(had), || state_of(self.pid.as_raw())) {
            std::thread::sleep(LOAN);
            // What it was lent does not count, or it would have to wait twice as long for the next.
            look.had = processor_time(self.pid).unwrap_or(has);
        }
        self.looked_at = look;
    }

    /// Sends a signal to the child: SIGUSR1 to call it off, SIGKILL to end it.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    /// Ends the child and waits for it.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        while matches!(waitpid(self.pid, None), Err(Errno::EINTR)) {}
    }
}

/// True if a process could run, and had less than a sixteenth of a processor for a while.
fn is_kept_waiting(span: Duration, had: Duration, state: impl FnOnce() -> Option<char>) -> bool {
    had < span / 16 && state() == Some('R')
}

/// Processor time that all threads of a process have had.
fn processor_time(pid: Pid) -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return Some(nix::time::ClockId::pid_cpu_clock_id(pid).ok()?.now().ok()?.into());
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

/// True if there is a process of this id, ours or not, that still runs. One that has ended and that
/// nobody has waited for does not.
pub fn is_alive(pid: i32) -> bool {
    !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH)) && !is_zombie(pid)
}

/// False where the kernel does not tell.
fn is_zombie(pid: i32) -> bool {
    matches!(state_of(pid), Some('Z' | 'X'))
}

/// A process's state as the kernel writes it: `R` runs or could, `Z` has ended.
fn state_of(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The state follows the name, which stands in parentheses and may hold any character.
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_waits_for_a_disk_is_lent_no_processor() {
        let millis = Duration::from_millis;
        assert!(is_kept_waiting(millis(10), Duration::ZERO, || Some('R')));
        for other in [Some('D'), Some('S'), Some('T'), Some('Z'), None] {
            assert!(!is_kept_waiting(millis(10), Duration::ZERO, || other), "{other:?}");
        }
        assert!(!is_kept_waiting(millis(10), millis(1), || unreachable!("it had enough")));
    }

    #[test]
    fn what_a_child_has_had_of_a_processor_is_known() {
        let mut child = spawn(None, |reporter| {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(20) {
                std::hint::spin_loop();
            }
            reporter.send(b"nobody ended it").map_or(1, |()| 0)
        })
        .expect("there is room for a process");
        let runs = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            child.lend_processor();
            processor_time(child.pid) > Some(Duration::ZERO)
        });
        let state = state_of(child.pid());
        child.kill();
        assert!(runs && state == Some('R'), "{state:?}");
    }
}
