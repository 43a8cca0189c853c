//! Watched keys: who is to hear that a key has changed between WATCH and EXEC.
//!
//! Knows keys and slots of clients, and no transactions. Behaviour: valkey src/multi.c.

use std::collections::HashMap;

/// A key of a database.
pub(crate) type DbKey = (usize, Vec<u8>);

/// A watched key of one client.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// Database and name.
    pub(crate) key: DbKey,
    /// Whether it was there when it was watched (and its time had not passed).
    pub(crate) was_there: bool,
    /// Whether it was there with its time passed: its removal is no change.
    pub(crate) was_expired: bool,
}

/// Who watches which keys.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    by_key: HashMap<DbKey, Vec<u32>>,
    /// How many clients watch something.
    clients: usize,
}

impl Watchers {
    /// True if nobody watches anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many clients watch something.
    pub(crate) fn clients(&self) -> usize {
        self.clients
    }

    /// How many keys are watched.
    pub(crate) fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// True if a client watches a key. O(clients that do).
    pub(crate) fn has(&self, key: &DbKey, client: u32) -> bool {
        self.by_key.get(key).is_some_and(|clients| clients.contains(&client))
    }

    /// Adds a client's key; `is_first` if it watched nothing so far.
    pub(crate) fn add(&mut self, key: DbKey, client: u32, is_first: bool) {
        self.by_key.entry(key).or_default().push(client);
        self.clients += usize::from(is_first);
    }

    /// Removes all keys of a client.
    pub(crate) fn remove(&mut self, client: u32, keys: &[Watched]) {
        for watched in keys {
            if let Some(clients) = self.by_key.get_mut(&watched.key) {
                clients.retain(|c| *c != client);
                if clients.is_empty() {
                    self.by_key.remove(&watched.key);
                }
            }
        }
        self.clients -= usize::from(!keys.is_empty());
    }

    /// Who watches a key.
    pub(crate) fn of(&self, db: usize, key: &[u8]) -> Vec<u32> {
        if self.by_key.is_empty() {
            return Vec::new();
        }
        self.by_key.get(&(db, key.to_vec())).cloned().unwrap_or_default()
    }

    /// Who watches anything, once each.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.by_key.values().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
