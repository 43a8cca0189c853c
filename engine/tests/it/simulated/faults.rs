//! Calls that fail: which one, how, and for how long. Knows nothing of files.

use std::fmt;
use std::io;

/// A call on the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Create,
    Open,
    OpenLog,
    Read,
    Write,
    Append,
    Sync,
    CutLog,
    Cut,
    Rename,
    Link,
    Remove,
    SyncDir,
    List,
    Meta,
    CreateDir,
    LockDir,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With this error, and nothing is done. Calls that are repeated after an EINTR are repeated.
    Errno(i32),
    /// A write does the half of it and says that there is no room. Other calls fail with ENOSPC.
    Short,
    /// It is done, and yet an error is told, as network file systems do.
    Late(i32),
}

pub(crate) const EINTR: i32 = 4;
pub(crate) const EIO: i32 = 5;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;

/// Every way to fail that a test of all calls tries.
pub(crate) const FAULTS: &[Fault] = &[
    Fault::Errno(EIO),
    Fault::Errno(ENOSPC),
    Fault::Errno(EINTR),
    Fault::Errno(EMFILE),
    Fault::Short,
    Fault::Late(EIO),
];

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The first that fails: so many come before it, of those that count.
    pub(crate) after: usize,
    /// How.
    pub(crate) fault: Fault,
    /// Whether all later ones fail, too.
    pub(crate) lasts: bool,
    /// The calls that count and fail; `None` for all.
    pub(crate) only: Option<Call>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { after, fault, lasts, only } = self;
        let calls = only.map_or("any".to_owned(), |call| format!("{call:?}"));
        let until = if *lasts { "from there on" } else { "once" };
        write!(f, "call {after} ({calls}) fails with {fault:?} {until}")
    }
}

/// A plan and how far it is.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: Option<Plan>,
    /// Calls since a plan was made that count.
    calls: usize,
    /// Calls that have failed, by this plan and those before.
    hits: usize,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    Fails(i32),
    Short,
    Late(i32),
}

impl Faults {
    /// Follows another plan. Without one nothing fails and nothing is counted.
    pub(crate) fn plan(&mut self, plan: Option<Plan>) {
        self.plan = plan;
        if plan.is_some() {
            self.calls = 0;
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits
    }

    /// Counts a call and says what becomes of it.
    pub(crate) fn next(&mut self, call: Call) -> Verdict {
        let Some(plan) = self.plan else { return Verdict::Fine };
        if plan.only.is_some_and(|only| only != call) {
            return Verdict::Fine;
        }
        let at = self.calls;
        self.calls += 1;
        let is_hit = if plan.lasts { at >= plan.after } else { at == plan.after };
        if !is_hit {
            return Verdict::Fine;
        }
        self.hits += 1;
        // The disk repeats those itself, so nobody behind it sees an interruption.
        let is_repeated = matches!(
            call,
            Call::Create | Call::Open | Call::OpenLog | Call::Read | Call::Write | Call::Append | Call::Sync
        );
        match plan.fault {
            Fault::Errno(EINTR) if is_repeated => Verdict::Fine,
            Fault::Errno(errno) => Verdict::Fails(errno),
            Fault::Short if matches!(call, Call::Write | Call::Append) => Verdict::Short,
            Fault::Short => Verdict::Fails(ENOSPC),
            // Looking at something changes nothing: it just fails.
            Fault::Late(errno)
                if matches!(call, Call::Open | Call::Read | Call::List | Call::Meta | Call::LockDir) =>
            {
                Verdict::Fails(errno)
            }
            Fault::Late(errno) => Verdict::Late(errno),
        }
    }
}

pub(crate) fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
