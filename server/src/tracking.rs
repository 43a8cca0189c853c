//! What clients keep copies of, and so have to hear of when it changes (CLIENT TRACKING).
//!
//! Pure: readers are the poller's tokens of clients, which tell a client from a later one in the same
//! slot, so a client that goes leaves its entries behind until the keys change. Who is told, and how,
//! is `invalidate.rs`. Behaviour: valkey src/tracking.c.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use cairn_engine::base::rng::Rng;
use smallvec::SmallVec;

/// Tokens of clients that have read a key, in order.
pub(crate) type Readers = SmallVec<[u64; 2]>;

/// Keys forgotten in one go when the table is too full, times the number of goes that were not enough.
const EFFORT_KEYS: u32 = 100;

/// Which keys a client is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// Those it has read.
    #[default]
    Read,
    /// Those read by commands that CLIENT CACHING YES has announced.
    OptIn,
    /// Those it has read but by commands that CLIENT CACHING NO has announced.
    OptOut,
    /// All that begin with one of its prefixes.
    Broadcast,
}

/// The client that gets another one's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// Its number, as CLIENT ID gives it.
    pub(crate) id: u64,
    /// The poller's.
    pub(crate) token: u64,
}

/// How one client tracks keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caching {
    /// Which keys.
    pub(crate) mode: Mode,
    /// Who is told.
    pub(crate) redirect: Option<Redirect>,
    /// Not told of what it does itself.
    pub(crate) no_loop: bool,
    /// CLIENT CACHING was the last command.
    pub(crate) is_announced: bool,
    /// Who was to be told has gone.
    pub(crate) is_broken: bool,
    /// For `Mode::Broadcast`.
    pub(crate) prefixes: BTreeSet<Vec<u8>>,
}

impl Caching {
    /// Bytes that it takes, of prefixes their places only: Valkey does not count their names either, and
    /// whoever listens to many would be the first to be evicted for what others share. O(1).
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Caching>() + self.prefixes.len() * size_of::<Vec<u8>>()
    }

    /// True if the keys that the client reads now are to be remembered.
    pub(crate) fn remembers(&self) -> bool {
        match self.mode {
            Mode::Read => true,
            Mode::OptIn => self.is_announced,
            Mode::OptOut => !self.is_announced,
            Mode::Broadcast => false,
        }
    }
}

#[derive(Debug)]
struct Tracked {
    /// Where its name is in `order`.
    at: usize,
    readers: Readers,
}

#[derive(Debug, Default)]
struct Prefix {
    clients: BTreeSet<u32>,
    /// Keys that have changed, each with the client that changed it last.
    changed: BTreeMap<Rc<[u8]>, Option<u32>>,
}

/// What is to be told to the clients of one prefix.
#[derive(Debug)]
pub(crate) struct Broadcast {
    /// Who is told.
    pub(crate) clients: Vec<u32>,
    /// Keys that have changed, each with the client that changed it last.
    pub(crate) changed: BTreeMap<Rc<[u8]>, Option<u32>>,
}

/// Everything that clients keep copies of.
#[derive(Debug)]
pub(crate) struct Tracking {
    keys: HashMap<Rc<[u8]>, Tracked>,
    /// The same names, for choosing one by chance.
    order: Vec<Rc<[u8]>>,
    /// Readers of all keys.
    items: usize,
    prefixes: BTreeMap<Vec<u8>, Prefix>,
    has_changes: bool,
    /// Clients that track keys.
    pub(crate) clients: usize,
    /// What clients are to be told of what their own commands have changed, in order; without a key that
    /// none is good any more.
    pub(crate) own: Vec<(u32, Option<Rc<[u8]>>)>,
    /// Goes at an overfull table that were not enough.
    tries: u32,
    rng: Rng,
}

impl Tracking {
    /// An empty table that chooses by chance from `seed`.
    pub(crate) fn new(seed: u64) -> Tracking {
        Tracking {
            keys: HashMap::new(),
            order: Vec::new(),
            items: 0,
            prefixes: BTreeMap::new(),
            has_changes: false,
            clients: 0,
            own: Vec::new(),
            tries: 0,
            rng: Rng::new(seed),
        }
    }

    /// Keys that somebody has read.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Readers of all keys.
    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// Prefixes that somebody has asked for.
    pub(crate) fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// A client has read a key.
    pub(crate) fn remember(&mut self, reader: u64, key: &[u8]) {
        let tracked = match self.keys.get_mut(key) {
            Some(tracked) => tracked,
            None => {
                let name: Rc<[u8]> = Rc::from(key);
                self.order.push(Rc::clone(&name));
                let at = self.order.len() - 1;
                self.keys.entry(name).or_insert(Tracked { at, readers: Readers::new() })
            }
        };
        if let Err(at) = tracked.readers.binary_search(&reader) {
            tracked.readers.insert(at, reader);
            self.items += 1;
        }
    }

    /// Forgets a key. Who has read it.
    pub(crate) fn take(&mut self, key: &[u8]) -> Option<Readers> {
        let Tracked { at, readers } = self.keys.remove(key)?;
        self.order.swap_remove(at);
        if let Some(moved) = self.order.get(at) {
            self.keys.get_mut(moved).expect("every name in the order is a key").at = at;
        }
        self.items -= readers.len();
        Some(readers)
    }

    /// Forgets all keys.
    pub(crate) fn clear(&mut self) {
        self.keys = HashMap::new();
        self.order = Vec::new();
        self.items = 0;
    }

    /// Keys that are forgotten by chance because the table holds more than `max`, with their readers.
    /// Not all that are too many at once, but the more the longer it lasts.
    pub(crate) fn evict(&mut self, max: usize) -> Vec<(Rc<[u8]>, Readers)> {
        let mut gone = Vec::new();
        if max == 0 || self.keys.len() <= max {
            self.tries = 0;
            return gone;
        }
        for _ in 0..EFFORT_KEYS.saturating_mul(self.tries.saturating_add(1)) {
            let at = self.rng.below(self.order.len() as u64) as usize;
            let key = Rc::clone(&self.order[at]);
            let readers = self.take(&key).expect("every name in the order is a key");
            gone.push((key, readers));
            if self.keys.len() <= max {
                self.tries = 0;
                return gone;
            }
        }
        self.tries = self.tries.saturating_add(1);
        gone
    }

    /// Has a client told of all keys that begin with a prefix.
    pub(crate) fn add_prefix(&mut self, client: u32, prefix: &[u8]) {
        match self.prefixes.get_mut(prefix) {
            Some(known) => known.clients.insert(client),
            None => self.prefixes.entry(prefix.to_vec()).or_default().clients.insert(client),
        };
    }

    /// Has a client told no more of a prefix.
    pub(crate) fn remove_prefix(&mut self, client: u32, prefix: &[u8]) {
        let Some(known) = self.prefixes.get_mut(prefix) else { return };
        known.clients.remove(&client);
        if known.clients.is_empty() {
            self.prefixes.remove(prefix);
        }
    }

    /// A key has changed, by the client `by` if it was one. O(prefixes).
    pub(crate) fn changed(&mut self, key: &[u8], by: Option<u32>) {
        let mut name: Option<Rc<[u8]>> = None;
        for (prefix, state) in &mut self.prefixes {
            if key.starts_with(prefix) {
                let name = name.get_or_insert_with(|| Rc::from(key));
                state.changed.insert(Rc::clone(name), by);
                self.has_changes = true;
            }
        }
    }

    /// What is to be told to those who have asked for prefixes, for what has changed since the last
    /// call.
    pub(crate) fn broadcasts(&mut self) -> Vec<Broadcast> {
        if !std::mem::take(&mut self.has_changes) {
            return Vec::new();
        }
        let told = self.prefixes.values_mut().filter(|state| !state.changed.is_empty());
        told.map(|state| Broadcast {
            clients: state.clients.iter().copied().collect(),
            changed: std::mem::take(&mut state.changed),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_once() {
        let mut tracking = Tracking::new(1);
        tracking.remember(7, b"a");
        tracking.remember(5, b"a");
        tracking.remember(7, b"a");
        tracking.remember(7, b"b");
        assert_eq!((tracking.keys(), tracking.items()), (2, 3));
        assert_eq!(tracking.take(b"a").as_deref(), Some(&[5, 7][..]));
        assert_eq!(tracking.take(b"a"), None);
        assert_eq!((tracking.keys(), tracking.items()), (1, 1));
        tracking.clear();
        assert_eq!((tracking.keys(), tracking.items()), (0, 0));
    }

    #[test]
    fn a_full_table_forgets_by_chance() {
        let mut tracking = Tracking::new(1);
        for i in 0..1000u32 {
            tracking.remember(1, &i.to_le_bytes());
        }
        assert!(tracking.evict(0).is_empty());
        assert_eq!(tracking.evict(950).len(), 50);
        // A limit far below takes more and more at a time.
        let steps: Vec<usize> = (0..5).map(|_| tracking.evict(10).len()).collect();
        assert_eq!(steps, [100, 200, 300, 340, 0]);
        assert_eq!((tracking.keys(), tracking.items()), (10, 10));
        for at in 0..tracking.order.len() {
            assert_eq!(tracking.keys[&tracking.order[at]].at, at);
        }
    }

    #[test]
    fn prefixes_gather_changes() {
        let mut tracking = Tracking::new(1);
        tracking.add_prefix(1, b"a:");
        tracking.add_prefix(2, b"");
        tracking.changed(b"a:1", Some(1));
        tracking.changed(b"a:1", None);
        tracking.changed(b"b", Some(2));
        let told: Vec<(Vec<u32>, usize)> =
            tracking.broadcasts().iter().map(|b| (b.clients.clone(), b.changed.len())).collect();
        assert_eq!(told, [(vec![2], 2), (vec![1], 1)]);
        assert!(tracking.broadcasts().is_empty());
        tracking.remove_prefix(1, b"a:");
        tracking.remove_prefix(2, b"");
        assert_eq!(tracking.prefixes(), 0);
        tracking.changed(b"a:1", None);
        assert!(tracking.broadcasts().is_empty());
    }
}
