//! Who listens to what: channels, patterns, and channels of a shard.
//!
//! Pure: clients are numbers of slots, and nothing is sent from here. A name that nobody listens to
//! any more is forgotten at once, so that nobody can fill the memory with names. Behaviour: valkey
//! src/pubsub.c.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use cairn_engine::base::glob;

/// A channel's or a pattern's name; kept once for all who know it.
pub(crate) type Name = Rc<[u8]>;

/// What can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A channel.
    Channel,
    /// All channels that a pattern matches.
    Pattern,
    /// A channel of a shard.
    Shard,
}

/// How much a client listens to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Channels.
    pub(crate) channels: usize,
    /// Patterns.
    pub(crate) patterns: usize,
    /// Channels of the shard.
    pub(crate) shards: usize,
}

impl Counts {
    /// All of them.
    pub(crate) fn total(self) -> usize {
        self.channels + self.patterns + self.shards
    }

    /// The number in the confirmation of a subscription of this kind.
    pub(crate) fn shown(self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.shards,
            Kind::Channel | Kind::Pattern => self.channels + self.patterns,
        }
    }
}

/// What one client listens to.
#[derive(Debug, Default)]
struct Subscriptions {
    channels: HashSet<Name>,
    patterns: HashSet<Name>,
    shards: HashSet<Name>,
}

impl Subscriptions {
    fn of(&mut self, kind: Kind) -> &mut HashSet<Name> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    fn counts(&self) -> Counts {
        Counts { channels: self.channels.len(), patterns: self.patterns.len(), shards: self.shards.len() }
    }
}

type Listeners = HashMap<Name, BTreeSet<u32>>;

/// Every subscription.
#[derive(Debug, Default)]
pub(crate) struct Pubsub {
    channels: Listeners,
    patterns: Listeners,
    shards: Listeners,
    clients: HashMap<u32, Subscriptions>,
}

impl Pubsub {
    fn listeners(&self, kind: Kind) -> &Listeners {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn listeners_mut(&mut self, kind: Kind) -> &mut Listeners {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// Has a client listen. False if it did already. O(log n) in those who listen to the name.
    pub(crate) fn subscribe(&mut self, client: u32, kind: Kind, name: &[u8]) -> bool {
        let listeners = self.listeners_mut(kind);
        let name = match listeners.get_key_value(name) {
            Some((known, _)) => Name::clone(known),
            None => Name::from(name),
        };
        let is_new = listeners.entry(Name::clone(&name)).or_default().insert(client);
        if is_new {
            self.clients.entry(client).or_default().of(kind).insert(name);
        }
        is_new
    }

    /// Has a client listen no more. False if it did not.
    pub(crate) fn unsubscribe(&mut self, client: u32, kind: Kind, name: &[u8]) -> bool {
        let Some(mine) = self.clients.get_mut(&client) else { return false };
        if !mine.of(kind).remove(name) {
            return false;
        }
        if mine.counts().total() == 0 {
            self.clients.remove(&client);
        }
        let listeners = self.listeners_mut(kind);
        if let Some(all) = listeners.get_mut(name) {
            all.remove(&client);
            if all.is_empty() {
                listeners.remove(name);
            }
        }
        true
    }

    /// Forgets a client.
    pub(crate) fn forget(&mut self, client: u32) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in self.names_of(client, kind) {
                self.unsubscribe(client, kind, &name);
            }
        }
    }

    /// What a client listens to, in no order.
    pub(crate) fn names_of(&self, client: u32, kind: Kind) -> Vec<Name> {
        let Some(mine) = self.clients.get(&client) else { return Vec::new() };
        let names = match kind {
            Kind::Channel => &mine.channels,
            Kind::Pattern => &mine.patterns,
            Kind::Shard => &mine.shards,
        };
        names.iter().map(Name::clone).collect()
    }

    /// How much a client listens to.
    pub(crate) fn counts(&self, client: u32) -> Counts {
        self.clients.get(&client).map(Subscriptions::counts).unwrap_or_default()
    }

    /// Clients that listen to anything.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Names of this kind that somebody listens to.
    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.listeners(kind).len()
    }

    /// True if no message on a channel could reach anybody.
    #[inline]
    pub(crate) fn is_deaf(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }

    /// Number of clients that listen to this very name.
    pub(crate) fn count(&self, kind: Kind, name: &[u8]) -> usize {
        self.listeners(kind).get(name).map_or(0, BTreeSet::len)
    }

    /// Clients that listen to this very name.
    pub(crate) fn receivers(&self, kind: Kind, name: &[u8]) -> impl Iterator<Item = u32> + '_ {
        self.listeners(kind).get(name).into_iter().flatten().copied()
    }

    /// The patterns that match a channel, each with the clients that listen to it. O(patterns).
    pub(crate) fn matching<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], impl Iterator<Item = u32> + 'a)> {
        let matches = move |(pattern, _): &(&Name, _)| glob::matches(pattern, channel, false);
        self.patterns.iter().filter(matches).map(|(pattern, clients)| (&**pattern, clients.iter().copied()))
    }

    /// Names of this kind that somebody listens to and that `pattern` matches; all without one.
    pub(crate) fn names<'a>(
        &'a self,
        kind: Kind,
        pattern: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let names = self.listeners(kind).keys().map(|name| &**name);
        names.filter(move |name| pattern.is_none_or(|pattern| glob::matches(pattern, name, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(pubsub: &Pubsub, channel: &[u8]) -> Vec<u32> {
        let mut all: Vec<u32> = pubsub.receivers(Kind::Channel, channel).collect();
        for (_, clients) in pubsub.matching(channel) {
            all.extend(clients);
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn messages_reach_channels_and_patterns() {
        let mut pubsub = Pubsub::default();
        assert!(pubsub.is_deaf());
        assert!(pubsub.subscribe(1, Kind::Channel, b"news.a"));
        assert!(!pubsub.subscribe(1, Kind::Channel, b"news.a"));
        assert!(pubsub.subscribe(1, Kind::Pattern, b"news.*"));
        assert!(pubsub.subscribe(2, Kind::Pattern, b"news.?"));
        assert!(pubsub.subscribe(3, Kind::Shard, b"news.a"));
        assert_eq!(reached(&pubsub, b"news.a"), [1, 1, 2]);
        assert_eq!(reached(&pubsub, b"news.long"), [1]);
        assert_eq!(reached(&pubsub, b"other"), []);
        assert_eq!(pubsub.receivers(Kind::Shard, b"news.a").collect::<Vec<_>>(), [3]);
        assert_eq!(pubsub.counts(1), Counts { channels: 1, patterns: 1, shards: 0 });
        assert_eq!((pubsub.len(Kind::Pattern), pubsub.clients()), (2, 3));
    }

    #[test]
    fn nothing_is_left_of_who_has_gone() {
        let mut pubsub = Pubsub::default();
        for client in 0..4 {
            for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
                pubsub.subscribe(client, kind, b"all");
                pubsub.subscribe(client, kind, &client.to_le_bytes());
            }
        }
        assert!(pubsub.unsubscribe(0, Kind::Channel, b"all"));
        assert!(!pubsub.unsubscribe(0, Kind::Channel, b"all"));
        assert_eq!(pubsub.count(Kind::Channel, b"all"), 3);
        for client in 0..4 {
            pubsub.forget(client);
        }
        assert!(pubsub.channels.is_empty() && pubsub.patterns.is_empty() && pubsub.shards.is_empty());
        assert!(pubsub.clients.is_empty() && pubsub.is_deaf());
    }

    #[test]
    fn names_are_listed_by_pattern() {
        let mut pubsub = Pubsub::default();
        for name in ["foo", "bar", "food"] {
            pubsub.subscribe(7, Kind::Channel, name.as_bytes());
        }
        let mut names: Vec<&[u8]> = pubsub.names(Kind::Channel, Some(b"foo*")).collect();
        names.sort_unstable();
        assert_eq!(names, [&b"foo"[..], b"food"]);
        assert_eq!(pubsub.names(Kind::Channel, None).count(), 3);
        assert_eq!(pubsub.names(Kind::Shard, None).count(), 0);
    }
}
