//! Lazy free: big values go to another thread to be dropped there.
//!
//! A database doesn't drop a big value itself but puts it in its bin, whole, if the reason of the removal
//! is one that the configuration frees lazily; whoever owns the databases empties the bins. What is here
//! knows no threads. Behaviour: valkey src/lazyfree.c; the effort that a value takes is counted in its
//! elements as there, so that the same values count as freed lazily.

use super::db::Discarded;
use super::entry::Entry;
use crate::value::Value;

/// Values of at most so many elements are dropped on the spot: handing them over costs as much.
pub const SMALL_ELEMENTS: usize = 64;

/// Which removals leave big values to another thread (`lazyfree-lazy-...`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Laziness {
    /// Eviction.
    pub eviction: bool,
    /// Keys whose time has passed.
    pub expire: bool,
    /// Values that another one takes the place of, and what commands remove by the way.
    pub server_del: bool,
    /// DEL.
    pub user_del: bool,
    /// FLUSHDB and FLUSHALL that don't say.
    pub user_flush: bool,
}

impl Laziness {
    /// All of them.
    pub const ALL: Laziness =
        Laziness { eviction: true, expire: true, server_del: true, user_del: true, user_flush: true };
    /// None of them.
    pub const NONE: Laziness =
        Laziness { eviction: false, expire: false, server_del: false, user_del: false, user_flush: false };
}

/// The command by which a log says that a key was removed, lazily or not.
#[must_use]
pub fn removal(is_lazy: bool) -> &'static [u8] {
    if is_lazy { b"UNLINK" } else { b"DEL" }
}

/// Something to be dropped, on any thread.
#[derive(Debug)]
pub enum Garbage {
    /// A key with its value.
    Entry(Entry),
    /// A value whose key has another one now.
    Value(Box<Value>),
    /// All that was in a database.
    Keys(Box<Discarded>),
}

impl Garbage {
    /// How many objects that is, as `lazyfreed_objects` counts them.
    #[must_use]
    pub fn objects(&self) -> usize {
        match self {
            Garbage::Entry(_) | Garbage::Value(_) => 1,
            Garbage::Keys(keys) => keys.len(),
        }
    }
}

const _: fn() = || {
    fn may_go_to_another_thread<T: Send>() {}
    may_go_to_another_thread::<Garbage>();
};
