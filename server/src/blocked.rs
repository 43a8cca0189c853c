//! Clients that wait: for keys, in the order in which they came, or for a time.
//!
//! Pure bookkeeping: who waits for what, until when, and which keys are worth a look. Running their
//! commands again is `waiting.rs`. Behaviour: valkey src/blocked.c, src/timeout.c.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cairn_engine::base::time::UnixMs;
use cairn_engine::command::wait::{OnTimeout, WaitFor};

use crate::watch::DbKey;

/// The reply to a client whose time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeoutReply {
    /// That of a data command.
    Data(OnTimeout),
    /// WAIT: replicas that have it all.
    Replicas,
    /// BGREWRITEAOF: that it has begun.
    Rewrite,
    /// WAITAOF: whether this server has it on disk, and the replicas that have.
    Fsynced {
        /// Up to where the client has written to the log.
        position: u64,
        /// This server is to have it.
        local: bool,
        /// So are replicas.
        replicas: bool,
    },
}

/// A client that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The command's number in the table.
    pub(crate) number: u16,
    /// Its arguments.
    pub(crate) argv: Vec<Vec<u8>>,
    /// The database it works on.
    pub(crate) db: usize,
    /// The keys, each once.
    pub(crate) keys: Vec<Vec<u8>>,
    /// What they must become; `None` if nothing but time ends the waiting.
    pub(crate) wanted: Option<WaitFor>,
    /// When the waiting ends.
    pub(crate) deadline: Option<UnixMs>,
    /// The reply then.
    pub(crate) on_timeout: TimeoutReply,
    /// The place in every queue: the lower, the sooner.
    place: u64,
}

impl Waiting {
    /// A client's wish.
    pub(crate) fn new(
        number: u16,
        argv: Vec<Vec<u8>>,
        db: usize,
        mut keys: Vec<Vec<u8>>,
        wanted: Option<WaitFor>,
        deadline: Option<UnixMs>,
        on_timeout: TimeoutReply,
    ) -> Waiting {
        keys.sort_unstable();
        keys.dedup();
        Waiting { number, argv, db, keys, wanted, deadline, on_timeout, place: 0 }
    }

    fn wants_gone(&self) -> bool {
        matches!(self.wanted, Some(WaitFor::StreamGroup | WaitFor::StreamClaim(_)))
    }

    /// When the command is to be run again, if nothing happens before.
    fn again_at(&self) -> Option<UnixMs> {
        match self.wanted {
            Some(WaitFor::StreamClaim(at)) => Some(at),
            _ => None,
        }
    }

    /// Heap bytes of the arguments.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.argv.iter().chain(&self.keys).map(|word| word.capacity() + size_of::<Vec<u8>>()).sum()
    }
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    clients: HashMap<u32, Waiting>,
    queues: HashMap<DbKey, BTreeMap<u64, u32>>,
    deadlines: BTreeSet<(UnixMs, u32)>,
    /// Whose commands are to be run again by themselves, and when.
    agains: BTreeSet<(UnixMs, u32)>,
    next_place: u64,
    /// Clients that want to hear that a key is gone.
    group_waiters: usize,
    ready: Vec<DbKey>,
    is_ready: HashSet<DbKey>,
}

impl Blocked {
    /// Clients that wait.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Keys that are waited for.
    pub(crate) fn keys(&self) -> usize {
        self.queues.len()
    }

    /// Clients that wait with an end.
    pub(crate) fn timeouts(&self) -> usize {
        self.deadlines.len()
    }

    /// Keys that clients wait for who want to hear that they are gone.
    pub(crate) fn keys_unblocked_when_gone(&self) -> usize {
        let wants_gone = |client: &u32| self.clients.get(client).is_some_and(Waiting::wants_gone);
        self.queues.values().filter(|queue| queue.values().any(wants_gone)).count()
    }

    /// Everybody who waits for the disk, and for what.
    pub(crate) fn sync_waiters(&self) -> impl Iterator<Item = (u32, u64, bool, bool)> {
        self.clients.iter().filter_map(|(client, waiting)| match waiting.on_timeout {
            TimeoutReply::Fsynced { position, local, replicas } => Some((*client, position, local, replicas)),
            _ => None,
        })
    }

    /// Somebody who waits for a rewrite to begin.
    pub(crate) fn rewrite_waiter(&self) -> Option<u32> {
        let waits = |waiting: &Waiting| waiting.on_timeout == TimeoutReply::Rewrite;
        self.clients.iter().find(|(_, waiting)| waits(waiting)).map(|(client, _)| *client)
    }

    /// True if somebody waits for a key.
    pub(crate) fn wants_keys(&self) -> bool {
        !self.queues.is_empty()
    }

    /// What a client waits for.
    pub(crate) fn get(&self, client: u32) -> Option<&Waiting> {
        self.clients.get(&client)
    }

    /// Has a client wait, behind all others.
    pub(crate) fn add(&mut self, client: u32, mut waiting: Waiting) {
        waiting.place = self.next_place;
        self.next_place += 1;
        self.put_back(client, waiting);
    }

    /// Has a client that was taken out wait on, in its old place.
    pub(crate) fn put_back(&mut self, client: u32, waiting: Waiting) {
        self.group_waiters += usize::from(waiting.wants_gone());
        for key in &waiting.keys {
            self.queues.entry((waiting.db, key.clone())).or_default().insert(waiting.place, client);
        }
        if let Some(deadline) = waiting.deadline {
            self.deadlines.insert((deadline, client));
        }
        if let Some(at) = waiting.again_at() {
            self.agains.insert((at, client));
        }
        self.clients.insert(client, waiting);
    }

    /// Takes a client out of every queue.
    pub(crate) fn remove(&mut self, client: u32) -> Option<Waiting> {
        let waiting = self.clients.remove(&client)?;
        self.group_waiters -= usize::from(waiting.wants_gone());
        for key in &waiting.keys {
            let place = (waiting.db, key.clone());
            if let Some(queue) = self.queues.get_mut(&place) {
                queue.remove(&waiting.place);
                if queue.is_empty() {
                    self.queues.remove(&place);
                }
            }
        }
        if let Some(deadline) = waiting.deadline {
            self.deadlines.remove(&(deadline, client));
        }
        if let Some(at) = waiting.again_at() {
            self.agains.remove(&(at, client));
        }
        Some(waiting)
    }

    /// The next time that a waiting ends or is worth a look by itself.
    pub(crate) fn next_deadline(&self) -> Option<UnixMs> {
        [self.deadlines.first(), self.agains.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// A client whose command is to be run again at `now`.
    pub(crate) fn due_again(&self, now: UnixMs) -> Option<u32> {
        self.agains.first().filter(|(at, _)| *at <= now).map(|(_, client)| *client)
    }

    /// A client whose time has passed at `now`.
    pub(crate) fn timed_out(&self, now: UnixMs) -> Option<u32> {
        self.deadlines.first().filter(|(at, _)| at.is_past(now)).map(|(_, client)| *client)
    }

    /// A key has changed: worth a look if somebody waits for it.
    pub(crate) fn key_changed(&mut self, db: usize, key: &[u8]) {
        if self.queues.is_empty() {
            return;
        }
        let key = (db, key.to_vec());
        if self.queues.contains_key(&key) && self.is_ready.insert(key.clone()) {
            self.ready.push(key);
        }
    }

    /// Every key of these databases may have changed.
    pub(crate) fn databases_changed(&mut self, dbs: &[usize]) {
        let mut keys: Vec<DbKey> = self.queues.keys().filter(|(db, _)| dbs.contains(db)).cloned().collect();
        keys.sort_unstable();
        for (db, key) in keys {
            self.key_changed(db, &key);
        }
    }

    /// Keys worth a look, in the order in which they changed; none are left behind.
    pub(crate) fn take_ready(&mut self) -> Vec<DbKey> {
        self.is_ready.clear();
        std::mem::take(&mut self.ready)
    }

    /// True if there are keys worth a look.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Who waits for a key, first come first: the next behind place `after`, with its place.
    pub(crate) fn next_waiter(&self, key: &DbKey, after: Option<u64>) -> Option<(u64, u32)> {
        let from = after.map_or(0, |place| place + 1);
        self.queues.get(key)?.range(from..).next().map(|(place, client)| (*place, *client))
    }

    /// True if somebody wants to hear that a key is gone.
    pub(crate) fn anyone_wants_gone(&self) -> bool {
        self.group_waiters > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_tried_again_by_itself() {
        let mut blocked = Blocked::default();
        let mut claims = waiting(&["s"], Some(90));
        claims.wanted = Some(WaitFor::StreamClaim(UnixMs(40)));
        blocked.add(5, claims);
        assert_eq!((blocked.next_deadline(), blocked.due_again(UnixMs(39))), (Some(UnixMs(40)), None));
        assert_eq!(blocked.due_again(UnixMs(40)), Some(5));
        assert!(blocked.anyone_wants_gone());
        blocked.remove(5);
        assert_eq!((blocked.next_deadline(), blocked.due_again(UnixMs(40))), (None, None));
    }

    fn waiting(keys: &[&str], deadline: Option<i64>) -> Waiting {
        let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let reply = TimeoutReply::Data(OnTimeout::Null);
        Waiting::new(0, Vec::new(), 0, keys, Some(WaitFor::List), deadline.map(UnixMs), reply)
    }

    #[test]
    fn first_come_first_and_nobody_stays_behind() {
        let mut blocked = Blocked::default();
        blocked.add(7, waiting(&["a", "b", "a"], None));
        blocked.add(3, waiting(&["a"], Some(50)));
        let a = (0, b"a".to_vec());
        assert_eq!(blocked.next_waiter(&a, None), Some((0, 7)));
        assert_eq!(blocked.next_waiter(&a, Some(0)), Some((1, 3)));
        assert_eq!(blocked.next_waiter(&a, Some(1)), None);
        assert_eq!((blocked.len(), blocked.keys(), blocked.timeouts()), (2, 2, 1));
        blocked.key_changed(0, b"a");
        blocked.key_changed(0, b"a");
        blocked.key_changed(1, b"a");
        blocked.key_changed(0, b"none");
        assert_eq!(blocked.take_ready(), [(0, b"a".to_vec())]);
        assert!(!blocked.has_ready());
        assert_eq!((blocked.timed_out(UnixMs(50)), blocked.timed_out(UnixMs(51))), (None, Some(3)));
        assert!(blocked.remove(7).is_some() && blocked.remove(7).is_none());
        assert_eq!(blocked.next_waiter(&a, None), Some((1, 3)));
        blocked.remove(3);
        assert_eq!((blocked.len(), blocked.keys(), blocked.timeouts()), (0, 0, 0));
    }
}
