//! What a call has done besides its reply, written down for whoever asked to hear it: which keys have
//! changed, which key-space events happened, and what a log or a replica has to run.
//!
//! One list for all, in the order of events. Nothing is recorded that nobody wants, so a server without
//! watchers, subscribers and a log pays for a few tests of a flag. Knows no clients and no channels.
//! Behaviour: valkey src/notify.c for the classes, src/server.c `alsoPropagate` for the log.

use std::ops::{BitOr, Range};

use crate::codec::resp::{Protocol, Reply};

/// A set of classes of key-space events, as `notify-keyspace-events` names them by letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(u16);

impl Classes {
    /// No class.
    pub const NONE: Classes = Classes(0);
    /// `g`: commands of no type, DEL and EXPIRE among them.
    pub const GENERIC: Classes = Classes(1);
    /// `$`: strings.
    pub const STRING: Classes = Classes(1 << 1);
    /// `l`: lists.
    pub const LIST: Classes = Classes(1 << 2);
    /// `s`: sets.
    pub const SET: Classes = Classes(1 << 3);
    /// `h`: hashes.
    pub const HASH: Classes = Classes(1 << 4);
    /// `z`: sorted sets.
    pub const ZSET: Classes = Classes(1 << 5);
    /// `x`: keys that went because their time had passed.
    pub const EXPIRED: Classes = Classes(1 << 6);
    /// `e`: keys that went for want of memory.
    pub const EVICTED: Classes = Classes(1 << 7);
    /// `t`: streams.
    pub const STREAM: Classes = Classes(1 << 8);
    /// `d`: modules' types.
    pub const MODULE: Classes = Classes(1 << 9);
    /// `m`: reads of keys that are not there; not in `A`.
    pub const KEY_MISS: Classes = Classes(1 << 10);
    /// `n`: new keys; not in `A`.
    pub const NEW: Classes = Classes(1 << 11);
    /// `A`: all classes but `m` and `n`.
    pub const ALL: Classes = Classes((1 << 10) - 1);

    /// Both sets.
    #[must_use]
    pub const fn or(self, other: Classes) -> Classes {
        Classes(self.0 | other.0)
    }

    /// True if every class of `other` is in.
    #[must_use]
    pub const fn has(self, other: Classes) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Classes {
    type Output = Classes;
    fn bitor(self, other: Classes) -> Classes {
        self.or(other)
    }
}

/// What the caller wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// Which keys change: somebody watches, waits for, or caches keys.
    pub keys: bool,
    /// Key-space events of these classes.
    pub events: Classes,
    /// What a log or a replica has to run.
    pub log: bool,
}

/// Something that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    /// A key has changed, come or gone.
    Changed {
        /// Its database.
        db: usize,
        /// Its name.
        key: &'a [u8],
    },
    /// Those who wait for a key are to look again, though it has not changed.
    Woken {
        /// Its database.
        db: usize,
        /// Its name.
        key: &'a [u8],
    },
    /// A key-space event.
    Event {
        /// The key's database.
        db: usize,
        /// The event's class.
        class: Classes,
        /// The event's name.
        name: &'static str,
        /// The key.
        key: &'a [u8],
    },
    /// All keys of a database have gone.
    Flushed {
        /// The database.
        db: usize,
    },
    /// Two databases have changed places.
    Swapped {
        /// One of them.
        a: usize,
        /// The other.
        b: usize,
    },
}

#[derive(Debug, Clone)]
enum Item {
    Changed { db: usize, key: Range<usize> },
    Woken { db: usize, key: Range<usize> },
    Event { db: usize, class: Classes, name: &'static str, key: Range<usize> },
    Flushed { db: usize },
    Swapped { a: usize, b: usize },
}

/// Keys changed and events, in order.
#[derive(Debug, Default)]
pub struct Happened {
    items: Vec<Item>,
    keys: Vec<u8>,
}

impl Happened {
    /// Heap bytes of the list.
    #[must_use]
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.items.capacity() * size_of::<Item>() + self.keys.capacity()
    }

    /// True if nothing has.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Effect<'_>> {
        self.items.iter().map(|item| match item {
            Item::Changed { db, key } => Effect::Changed { db: *db, key: &self.keys[key.clone()] },
            Item::Woken { db, key } => Effect::Woken { db: *db, key: &self.keys[key.clone()] },
            Item::Event { db, class, name, key } => {
                Effect::Event { db: *db, class: *class, name, key: &self.keys[key.clone()] }
            }
            Item::Flushed { db } => Effect::Flushed { db: *db },
            Item::Swapped { a, b } => Effect::Swapped { a: *a, b: *b },
        })
    }

    /// Forgets it all.
    pub fn clear(&mut self) {
        self.items.clear();
        self.items.shrink_to(KEEP_BYTES / size_of::<Item>());
        self.keys.clear();
        self.keys.shrink_to(KEEP_BYTES);
    }

    fn keep(&mut self, key: &[u8]) -> Range<usize> {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        start..self.keys.len()
    }
}

/// What calls have done since the lists were last cleared.
#[derive(Debug, Default)]
pub struct Effects {
    wants: Wants,
    happened: Happened,
    log: Reply,
    logged: Vec<(usize, Range<usize>)>,
    /// True if the call in progress has said itself what is to be logged.
    is_log_said: bool,
}

/// Buffers larger than this are given back when the list is cleared.
const KEEP_BYTES: usize = 64 * 1024;

impl Effects {
    /// Heap bytes of what is recorded.
    #[must_use]
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.happened.memory_bytes() + self.log.memory_bytes()
    }

    /// An empty list.
    #[must_use]
    pub fn new() -> Effects {
        Effects { log: Reply::new(Protocol::Resp2), ..Effects::default() }
    }

    /// True if anybody wants to hear of keys that change or of events.
    #[must_use]
    #[inline]
    pub fn is_heard(&self) -> bool {
        self.wants.keys || self.wants.events != Classes::NONE
    }

    /// What is recorded.
    #[must_use]
    #[inline]
    pub fn wants(&self) -> Wants {
        self.wants
    }

    /// True if nothing is recorded.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.happened.is_empty() && self.logged.is_empty()
    }

    /// True if there is a log, and nothing for it yet.
    #[inline]
    pub(crate) fn wants_only_this_logged(&self) -> bool {
        self.wants.log && self.logged.is_empty()
    }

    /// Chooses what is recorded from now on.
    pub fn set_wants(&mut self, wants: Wants) {
        self.wants = wants;
    }

    /// Keys changed and events since this was last taken.
    #[must_use]
    #[inline]
    pub fn happened(&self) -> &Happened {
        &self.happened
    }

    /// Gives what has happened in exchange for an empty list, whose room is used from now on.
    pub fn take_happened(&mut self, empty: Happened) -> Happened {
        std::mem::replace(&mut self.happened, empty)
    }

    /// Forgets what is in the log.
    #[inline]
    pub fn clear_log(&mut self) {
        if self.logged.is_empty() {
            return;
        }
        self.log.clear(KEEP_BYTES);
        self.logged.clear();
        self.logged.shrink_to(KEEP_BYTES / size_of::<(usize, Range<usize>)>());
    }

    /// Commands for a log or a replica, in order: each with its database, as a RESP array.
    pub fn log(&self) -> impl Iterator<Item = (usize, &[u8])> + Clone {
        self.logged.iter().map(|(db, range)| (*db, &self.log.bytes()[range.clone()]))
    }

    /// A key has changed, come or gone.
    #[inline]
    pub fn changed(&mut self, db: usize, key: &[u8]) {
        if self.wants.keys {
            let key = self.happened.keep(key);
            self.happened.items.push(Item::Changed { db, key });
        }
    }

    /// Those who wait for a key are to look again.
    pub fn wake(&mut self, db: usize, key: &[u8]) {
        if self.wants.keys {
            let key = self.happened.keep(key);
            self.happened.items.push(Item::Woken { db, key });
        }
    }

    /// A key-space event has happened.
    #[inline]
    pub fn event(&mut self, db: usize, class: Classes, name: &'static str, key: &[u8]) {
        if self.wants.events.has(class) {
            let key = self.happened.keep(key);
            self.happened.items.push(Item::Event { db, class, name, key });
        }
    }

    /// All keys of a database have gone.
    pub fn flushed(&mut self, db: usize) {
        if self.wants.keys {
            self.happened.items.push(Item::Flushed { db });
        }
    }

    /// Two databases have changed places.
    pub fn swapped(&mut self, a: usize, b: usize) {
        if self.wants.keys {
            self.happened.items.push(Item::Swapped { a, b });
        }
    }

    /// A command begins that logs itself unless it says otherwise.
    #[inline]
    pub fn begin(&mut self) {
        self.is_log_said = false;
    }

    /// True if the call in progress has said itself what is to be logged.
    #[inline]
    pub(crate) fn is_log_said(&self) -> bool {
        self.is_log_said
    }

    /// The call in progress is logged by what it says, be it nothing.
    pub(crate) fn say_log(&mut self) {
        self.is_log_said = true;
    }

    /// Adds a command to the log.
    #[inline]
    pub fn push_log(&mut self, db: usize, words: &[&[u8]]) {
        if self.wants.log {
            self.write_log(db, words);
        }
    }

    fn write_log(&mut self, db: usize, words: &[&[u8]]) {
        let start = self.log.len();
        self.log.array(words.len());
        words.iter().for_each(|word| self.log.bulk(word));
        self.logged.push((db, start..self.log.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_recorded() {
        let mut effects = Effects::new();
        effects.changed(0, b"k");
        effects.event(0, Classes::STRING, "set", b"k");
        effects.push_log(0, &[b"DEL", b"k"]);
        assert!(effects.happened().is_empty() && effects.log().next().is_none());

        effects.set_wants(Wants { keys: true, events: Classes::STRING, log: true });
        effects.changed(1, b"k");
        effects.event(1, Classes::STRING, "set", b"k");
        effects.event(1, Classes::GENERIC, "del", b"k");
        effects.push_log(1, &[b"DEL", b"k"]);
        let happened = effects.take_happened(Happened::default());
        let seen: Vec<Effect<'_>> = happened.iter().collect();
        assert_eq!(
            seen,
            [
                Effect::Changed { db: 1, key: b"k" },
                Effect::Event { db: 1, class: Classes::STRING, name: "set", key: b"k" },
            ]
        );
        assert_eq!(effects.log().collect::<Vec<_>>(), [(1, &b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"[..])]);
        effects.clear_log();
        assert!(effects.happened().is_empty() && effects.log().next().is_none());
    }
}
