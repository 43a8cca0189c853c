//! What a data command gets: the data it may touch, the reply it writes, the time it is told.
//!
//! `Data` is the one way to keys: it hides what has expired, checks types, counts hits and misses and
//! what has changed. It knows no replies; commands hold a value of `Data` and write `reply` beside it.

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::codec::resp::Reply;
use crate::keyspace::db::{AddError, Lookup};
use crate::keyspace::lazy::removal;
use crate::keyspace::{Db, Keyspace, Place};
use crate::value::hash::{Hash, HashRef};
use crate::value::list::{End, List, ListRef};
use crate::value::set::{Set, SetRef};
use crate::value::stream::Stream;
use crate::value::string::IncrError;
use crate::value::zset::{Zset, ZsetRef};
use crate::value::{Limits, StrRef, StringValue, Value, ValueRef};

use smallvec::SmallVec;

use super::effects::{Classes, Effects};
use super::wait::Wait;
use super::{CommandError, Outcome};

/// So many keys wait for memory together.
pub const PREFETCH_KEYS: usize = 32;

/// So many members or fields for a new key are put in at once, and then looked through for doubles.
pub(super) const MANY_AT_ONCE: usize = 6;

/// Hashes of keys.
pub type Hashes = SmallVec<[u64; PREFETCH_KEYS]>;

/// A smaller database is in the processor's cache anyhow.
const PREFETCH_FROM_KEYS: usize = 10_000;

/// Counters that INFO shows about key lookups and removals by time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys removed because their time had passed.
    pub expired: u64,
    /// Hash fields removed because their time had passed.
    pub expired_fields: u64,
    /// Keys removed for want of memory.
    pub evicted: u64,
}

/// What becomes of keys that a caller finds expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExpired {
    /// They go.
    #[default]
    Remove,
    /// They are hidden from commands that only read: writes are paused, and a removal would be one.
    HidePaused,
    /// The same, while another server's data are imported, which tells when keys go.
    HideImported,
    /// They are as others: for who imports.
    Ignore,
}

impl OnExpired {
    /// Whether commands that only read leave them, and do not see them.
    pub const fn hides(self) -> bool {
        matches!(self, Self::HidePaused | Self::HideImported)
    }
}

/// One call's surroundings.
#[derive(Debug)]
pub struct Context<'a> {
    /// The keys.
    pub data: Data<'a>,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// Randomness.
    pub rng: &'a mut Rng,
    /// Whether the caller can wait: not inside a transaction, nor when a log is replayed.
    pub may_wait: bool,
    /// What the call waits for, if it does.
    pub wait: Option<Box<Wait>>,
}

impl Context<'_> {
    /// Ends a call that found nothing: waits if the caller may, else answers as if the time had passed.
    pub fn wait_or_answer(&mut self, wait: Wait) -> Outcome {
        if self.may_wait {
            self.wait = Some(Box::new(wait));
        } else {
            wait.on_timeout.write(self.reply);
        }
        Ok(())
    }
}

/// The keys that a call may touch, in its database.
#[derive(Debug)]
pub struct Data<'a> {
    /// All databases.
    pub keyspace: &'a mut Keyspace,
    /// The call's database.
    pub db: usize,
    /// The time of the call: every expiry is compared with it.
    pub now: UnixMs,
    /// Thresholds and sizes from the configuration.
    pub limits: &'a Limits,
    /// Counters.
    pub stats: &'a mut KeyStats,
    /// Whether lookups count as hits and misses: those of commands that only read do, and of others
    /// those that say so.
    pub counts_reads: bool,
    /// Whether reads leave the access clocks alone (CLIENT NO-TOUCH).
    pub is_no_touch: bool,
    /// What becomes of keys that the caller finds expired.
    pub on_expired: OnExpired,
    /// Whether such keys are hidden from the call but stay where they are.
    pub hides_expired: bool,
    /// Whether the call repeats what was done once (a log, a primary): then nothing limits its work, or
    /// it would not have the same effect.
    pub must_obey: bool,
    /// Whether a script calls, which must not see how a set happens to be laid out where that was promised.
    pub for_script: bool,
    /// Changes to the data set that the call has made, as `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
    /// What happens besides, for those who asked to hear it.
    pub effects: &'a mut Effects,
}

macro_rules! typed {
    ($(#[$doc:meta])* $name:ident, $edit:ident, $upsert:ident, $variant:ident, $view:ty, $owned:ty) => {
        $(#[$doc])*
        ///
        /// `None` if the key is not there.
        ///
        /// # Errors
        /// `WrongType` if the key holds another type.
        pub fn $name(&mut self, key: &[u8]) -> Result<Option<$view>, CommandError> {
            match self.view(key) {
                None => Ok(None),
                Some(ValueRef::$variant(value)) => Ok(Some(value)),
                Some(_) => Err(CommandError::WrongType),
            }
        }

        /// Changes the value of a key of this type; a value left empty takes its key along.
        /// `None` if the key is not there. The caller adds to `dirty` what it has changed.
        ///
        /// # Errors
        /// `WrongType` if the key holds another type.
        pub fn $edit<R>(
            &mut self,
            key: &[u8],
            change: impl FnOnce(&mut $owned, &Limits) -> R,
        ) -> Result<Option<R>, CommandError> {
            self.drop_if_expired(key);
            let limits = self.limits;
            let changed = self.keyspace.db_mut(self.db).modify(key, |value| match value {
                Value::$variant(value) => Ok(change(value, limits)),
                _ => Err(CommandError::WrongType),
            });
            changed.transpose()
        }

        /// As the function that changes a value, on a new one made by `fresh` if the key is not there.
        ///
        /// # Errors
        /// `WrongType` if the key holds another type.
        pub fn $upsert<R>(
            &mut self,
            key: &[u8],
            fresh: impl FnOnce(&Limits) -> $owned,
            change: impl FnOnce(&mut $owned, &Limits) -> R,
        ) -> Result<R, CommandError> {
            // A key that is there is looked up only once.
            let mut change = Some(change);
            let edited = self.$edit(key, |value, limits| change.take().map(|change| change(value, limits)))?;
            if let Some(answer) = edited.flatten() {
                return Ok(answer);
            }
            let change = change.take().expect("no value was changed: the key is not there");
            let mut value = fresh(self.limits);
            let answer = change(&mut value, self.limits);
            let value = Value::$variant(value);
            if !value.is_empty() {
                self.keyspace.db_mut(self.db).set(key, value, None);
                self.effects.event(self.db, Classes::NEW, "new", key);
            }
            Ok(answer)
        }
    };
}

impl Data<'_> {
    /// The call's database.
    pub fn db_ref(&self) -> &Db {
        self.keyspace.db(self.db)
    }

    /// The call's database, to change.
    pub fn db_mut(&mut self) -> &mut Db {
        self.keyspace.db_mut(self.db)
    }

    /// Asks the CPU for what a command on many keys will look up, so that it waits for memory for all
    /// of them together. Changes nothing but speed: worth it from two keys on, some tens at a time
    /// ([`PREFETCH_KEYS`]).
    ///
    /// Answers the hashes of the keys in their order, for [`Data::expect`]; none if it did nothing.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Hashes {
        let db = self.db_ref();
        if db.len() < PREFETCH_FROM_KEYS {
            return Hashes::new();
        }
        let hashes: Hashes = keys.map(|key| db.hash_key(key)).collect();
        if hashes.len() > 1 {
            hashes.iter().for_each(|hash| db.prefetch(*hash));
            let bytes = db.fetched_bytes();
            hashes.iter().for_each(|hash| {
                db.prefetch_entry_at(*hash, Place::Home, bytes);
            });
        }
        hashes
    }

    /// Tells the hash of the key that is looked up next, as `prefetch` has found it; with `None` nothing
    /// is told.
    #[inline]
    pub fn expect(&mut self, key: &[u8], hash: Option<&u64>) {
        if let Some(hash) = hash {
            self.db_mut().expect_key(key, *hash);
        }
    }

    /// True if the key is there though its time has passed, because it may not be removed now.
    #[cold]
    fn is_hidden(&self, key: &[u8]) -> bool {
        self.db_ref().entry(key).is_some_and(|entry| entry.is_expired(self.now))
    }

    /// Removes the key if its time has passed. True if it was removed.
    #[inline]
    pub fn drop_if_expired(&mut self, key: &[u8]) -> bool {
        self.db_ref().expires_len() > 0 && self.drop_expired(key)
    }

    fn drop_expired(&mut self, key: &[u8]) -> bool {
        if self.hides_expired || self.on_expired == OnExpired::Ignore {
            return false;
        }
        let now = self.now;
        let gone = self.db_mut().remove_expired(key, now);
        if gone {
            self.stats.expired += 1;
            self.tell_expired(key);
        }
        gone
    }

    /// As `drop_if_expired`, in another database.
    pub fn drop_if_expired_in(&mut self, db: usize, key: &[u8]) -> bool {
        let own = std::mem::replace(&mut self.db, db);
        let gone = self.drop_if_expired(key);
        self.db = own;
        gone
    }

    /// Removes a key to which the call has given a time that has passed: one change, logged as a
    /// removal. The key is there.
    pub fn expire_at_once(&mut self, key: &[u8]) {
        self.db_mut().remove(key);
        self.stats.expired += 1;
        self.dirty += 1;
        let is_lazy = self.db_ref().laziness().expire;
        self.log_as(&[removal(is_lazy), key]);
        self.changed(key);
        self.event(Classes::EXPIRED, "expired", key);
    }

    /// The time that expiries are compared with.
    #[must_use]
    pub fn expiry_time(&self) -> UnixMs {
        if self.on_expired == OnExpired::Ignore { UnixMs(i64::MIN) } else { self.now }
    }

    /// Whether a time that the call gives to a key has passed, so that the key is to go at once. When a
    /// log is repeated it stays: what came of it is in the log as well.
    #[must_use]
    pub fn has_passed(&self, at: UnixMs) -> bool {
        let is_imported = matches!(self.on_expired, OnExpired::HideImported | OnExpired::Ignore);
        at <= self.now && !self.must_obey && !is_imported
    }

    /// The longest string that the call may make. A log may hold longer ones than are allowed today.
    #[must_use]
    pub fn max_string_bytes(&self) -> usize {
        const LONGEST_REPEATED: usize = 1 << 32;
        let allowed = self.limits.max_string_bytes;
        if self.must_obey { allowed.max(LONGEST_REPEATED) } else { allowed }
    }

    /// Adds to the integer at a key, 0 if the key is not there; answers the sum.
    ///
    /// # Errors
    /// `WrongType`, `NotInteger`, `Overflow`; nothing has changed then.
    pub fn incr(&mut self, key: &[u8], by: i64) -> Result<i64, CommandError> {
        self.make_way(key);
        self.db_mut().incr(key, by).map_err(|e| match e {
            AddError::WrongType => CommandError::WrongType,
            AddError::Incr(IncrError::NotInteger) => CommandError::NotInteger,
            AddError::Incr(IncrError::Overflow) => CommandError::Overflow,
        })
    }

    /// Lets `change` edit the bytes of the string at a key in place, made as long as `len` wants it, with
    /// zero bytes; both are told how long it was. A key that is not there gets an empty string first.
    ///
    /// # Errors
    /// `WrongType` if the key holds another type.
    pub fn edit_bytes<R>(
        &mut self,
        key: &[u8],
        len: impl Fn(usize) -> usize,
        change: impl FnOnce(&mut [u8], usize) -> R,
    ) -> Result<R, CommandError> {
        self.drop_if_expired(key);
        if !self.is_no_touch {
            self.db_mut().touch(key);
        }
        let mut change = Some(change);
        let edit = |bytes: &mut [u8], old| change.take().map(|change| change(bytes, old));
        let edited = self.db_mut().edit_string(key, &len, edit).map_err(|_| CommandError::WrongType)?;
        if let Some(answer) = edited.flatten() {
            return Ok(answer);
        }
        let change = change.take().expect("nothing was edited: the key is not there");
        let mut bytes = vec![0; len(0)];
        let answer = change(&mut bytes, 0);
        self.set(key, Value::String(StringValue::edited(bytes)), None);
        Ok(answer)
    }

    /// Adds elements at an end of the list at a key if that is one of many nodes. Its length then; `None` if
    /// there is no such list: then nothing has changed.
    #[inline]
    pub fn push_to_nodes(&mut self, key: &[u8], end: End, items: &[&[u8]]) -> Option<usize> {
        self.drop_if_expired(key);
        let limits = self.limits;
        self.db_mut().push_to_nodes(key, end, items, limits)
    }

    /// A key is gone because its time had passed: whoever keeps a copy has to remove it.
    #[cold]
    fn tell_expired(&mut self, key: &[u8]) {
        let db = self.db;
        let is_lazy = self.db_ref().laziness().expire;
        self.effects.push_log(db, &[removal(is_lazy), key]);
        self.effects.event(db, Classes::EXPIRED, "expired", key);
        self.effects.changed(db, key);
    }

    /// A key has changed, come or gone: those who watch it, wait for it or cache it hear of it. Does
    /// not count as a change by itself: the command adds to `dirty`.
    #[inline]
    pub fn changed(&mut self, key: &[u8]) {
        self.effects.changed(self.db, key);
    }

    /// A key-space event of this class.
    #[inline]
    pub fn event(&mut self, class: Classes, name: &'static str, key: &[u8]) {
        self.effects.event(self.db, class, name, key);
    }

    /// A key has changed once, by what the event says: counts it, and tells those who care.
    #[inline]
    pub fn wrote(&mut self, class: Classes, name: &'static str, key: &[u8]) {
        self.wrote_many(class, name, key, 1);
    }

    /// As `wrote`, for so many changes of the one key; nothing for none.
    #[inline]
    pub fn wrote_many(&mut self, class: Classes, name: &'static str, key: &[u8], changes: u64) {
        if changes > 0 {
            self.dirty += changes;
            if self.effects.is_heard() {
                self.tell_written(class, name, key);
            }
        }
    }

    #[cold]
    fn tell_written(&mut self, class: Classes, name: &'static str, key: &[u8]) {
        self.changed(key);
        self.event(class, name, key);
    }

    /// As `wrote_many` for commands whose event comes before the key is told to have changed.
    pub fn wrote_late(&mut self, class: Classes, name: &'static str, key: &[u8], changes: u64) {
        if changes > 0 {
            self.dirty += changes;
            self.event(class, name, key);
            self.changed(key);
        }
    }

    /// As `wrote_late`, for commands that take elements out: that the key has gone is told before, too.
    pub fn took(&mut self, class: Classes, name: &'static str, key: &[u8], elements: u64) {
        if elements > 0 {
            self.dirty += elements;
            self.event(class, name, key);
            self.tell_if_gone(key);
            self.changed(key);
        }
    }

    /// Has those look again who wait for a key that has not changed.
    pub fn wake(&mut self, key: &[u8]) {
        self.effects.wake(self.db, key);
    }

    /// The event that a key has gone, if it has: for commands that may have taken its last element,
    /// after their own event.
    #[inline]
    pub fn tell_if_gone(&mut self, key: &[u8]) {
        if self.effects.wants().events.has(Classes::GENERIC) && !self.db_ref().contains(key) {
            self.event(Classes::GENERIC, "del", key);
        }
    }

    /// True if what is logged matters to anybody: worth the work of writing it in another form.
    #[must_use]
    #[inline]
    pub fn is_logging(&self) -> bool {
        self.effects.wants().log
    }

    /// Logs this command in place of the one that was sent; each further call adds one. For commands
    /// whose effect hangs on time, chance, or what was there.
    pub fn log_as(&mut self, words: &[&[u8]]) {
        let db = self.db;
        self.log_in(db, words);
    }

    /// As `log_as`, in another database.
    pub fn log_in(&mut self, db: usize, words: &[&[u8]]) {
        self.effects.say_log();
        self.effects.push_log(db, words);
    }

    /// Logs nothing for this call, though it changes something.
    pub fn log_nothing(&mut self) {
        self.effects.say_log();
    }

    /// The value of a key, for reading; counts a hit or a miss.
    #[inline]
    pub fn view(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.counted(key, !self.is_no_touch)
    }

    /// As `view`, but the key is not marked as used: for commands that tell about keys.
    pub fn look(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.counted(key, false)
    }

    /// As `look`, and nobody is told if it is not there: for commands that tell about the key itself.
    pub fn inspect(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.drop_if_expired(key);
        let hides = self.hides_expired && self.is_hidden(key);
        if self.counts_reads {
            let found = !hides && self.db_ref().contains(key);
            *(if found { &mut self.stats.hits } else { &mut self.stats.misses }) += 1;
        }
        self.db_ref().get(key).filter(|_| !hides)
    }

    #[inline]
    fn counted(&mut self, key: &[u8], touched: bool) -> Option<ValueRef<'_>> {
        // A key that has expired is looked up twice: the first time its going is told.
        self.drop_if_expired(key);
        let hides = self.hides_expired && self.is_hidden(key);
        let expiry_time = self.expiry_time();
        let Data { keyspace, db, stats, counts_reads, effects, .. } = self;
        let found =
            if hides { Lookup::Missing } else { keyspace.db_mut(*db).look_up(key, expiry_time, touched) };
        match found {
            Lookup::There(entry) => {
                stats.hits += u64::from(*counts_reads);
                Some(entry.view())
            }
            Lookup::Missing | Lookup::Expired => {
                if *counts_reads {
                    stats.misses += 1;
                    effects.event(*db, Classes::KEY_MISS, "keymiss", key);
                }
                None
            }
        }
    }

    /// The value of a key, without counting or touching.
    pub fn peek(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.drop_if_expired(key);
        let hides = self.hides_expired && self.is_hidden(key);
        self.db_ref().get(key).filter(|_| !hides)
    }

    /// True if the key is there, which keeps the call from writing it. That is a use of the key, too.
    pub fn is_in_the_way(&mut self, key: &[u8]) -> bool {
        let is_there = self.peek(key).is_some();
        if is_there && !self.is_no_touch {
            self.db_mut().touch(key);
        }
        is_there
    }

    /// Before a key is set: removes what is there with its time passed, and tells of a new key, if it is
    /// one and somebody wants to hear it.
    #[inline]
    fn make_way(&mut self, key: &[u8]) {
        self.drop_if_expired(key);
        if self.effects.is_heard() {
            self.tell_if_new(key);
        }
    }

    #[cold]
    fn tell_if_new(&mut self, key: &[u8]) {
        if self.effects.wants().events.has(Classes::NEW) && !self.db_ref().contains(key) {
            self.event(Classes::NEW, "new", key);
        }
    }

    /// Sets a key to a value, in place of what was there.
    pub fn set(&mut self, key: &[u8], value: Value, expire_at: Option<UnixMs>) {
        self.make_way(key);
        self.db_mut().set(key, value, expire_at);
    }

    /// Sets a key to a string, in place of what was there.
    pub fn set_str(&mut self, key: &[u8], bytes: &[u8], expire_at: Option<UnixMs>) {
        self.make_way(key);
        self.db_mut().set_str(key, bytes, expire_at);
    }

    /// Removes a key by the way. True if it was there, be it only because nobody had noticed that its
    /// time had passed: as in Valkey it goes by the command then, and not by its time.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.db_mut().remove(key)
    }

    /// Removes a key because the caller was asked to; a big value is dropped by another thread if that is
    /// to be done `lazily`. True if it was there and its time had not passed.
    pub fn delete(&mut self, key: &[u8], lazily: bool) -> bool {
        !self.drop_if_expired(key) && self.db_mut().delete(key, lazily)
    }

    typed!(
        /// The string at a key.
        string, edit_string, upsert_string, String, StrRef<'_>, StringValue
    );
    typed!(
        /// The list at a key.
        list, edit_list, upsert_list, List, ListRef<'_>, List
    );
    typed!(
        /// The set at a key.
        set_value, edit_set, upsert_set, Set, SetRef<'_>, Set
    );
    typed!(
        /// The hash at a key.
        hash, edit_hash, upsert_hash, Hash, HashRef<'_>, Hash
    );
    typed!(
        /// The sorted set at a key.
        zset, edit_zset, upsert_zset, Zset, ZsetRef<'_>, Zset
    );
    typed!(
        /// The stream at a key.
        stream, edit_stream, upsert_stream, Stream, &Stream, Box<Stream>
    );
}
