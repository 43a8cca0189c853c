//! What clients take of memory, and who goes when that is more than `maxmemory-clients`.
//!
//! With a limit set, a client is counted anew whenever its buffers may have changed; without one nothing
//! is counted. Behaviour: valkey src/networking.c `evictClients`, src/server.c
//! `updateClientMemUsageAndBucket`.

use crate::blocked::Waiting;
use crate::clients::{Client, Closing};
use crate::command::client_list::write_line;
use crate::command::transaction::Transaction;
use crate::server::Server;
use crate::tracking::Caching;
use crate::watch::Watched;

/// No limit is smaller: with less nobody could put it right.
const LEAST_LIMIT: u64 = 128 * 1024;

/// What a watched key takes besides its name: its place in the list of the client and in that of the key.
const WATCH_BYTES: usize = 2 * size_of::<Watched>() + 64;

/// What a subscription takes besides the channel's name, which all who listen to it share: its places in
/// the sets of the client and of the channel.
const SUBSCRIPTION_BYTES: usize = 128;

impl Client {
    /// Bytes that the client takes, itself included; those aside that it waits with for a key.
    pub(crate) fn memory_bytes(&self) -> usize {
        let (connection, session) = (&self.connection, &self.session);
        let names = session.name.capacity() + session.lib_name.capacity() + session.lib_ver.capacity();
        size_of::<Client>()
            + self.addr.capacity()
            + self.laddr.capacity()
            + names
            + self.in_flight
            + connection.input.capacity()
            + connection.parser.memory_bytes()
            + connection.output_bytes()
            + session.transaction.as_deref().map_or(0, Transaction::memory_bytes)
            + session.watched.len() * WATCH_BYTES
            + session.caching.as_deref().map_or(0, Caching::memory_bytes)
    }

    /// Bytes of an argument that has been announced and has no room yet: room is made as bytes come.
    fn announced_bytes(&self) -> usize {
        /// No argument counts more, so that sums do not overflow.
        const AT_MOST: usize = 1 << 40;
        let connection = &self.connection;
        let room = connection.input.capacity() + self.in_flight;
        connection.parser.bulk_missing(room).min(AT_MOST)
    }
}

impl Server {
    /// Bytes that count against the limit: those that a client takes, and those that it has announced.
    pub(crate) fn client_bytes(&self, index: u32, client: &Client) -> usize {
        self.taken_bytes(index, client) + client.announced_bytes()
    }

    /// Bytes that a client takes.
    fn taken_bytes(&self, index: u32, client: &Client) -> usize {
        let subscriptions = match client.session.is_subscriber {
            true => self.pubsub.counts(index).total() * SUBSCRIPTION_BYTES,
            false => 0,
        };
        client.memory_bytes() + subscriptions + self.blocked.get(index).map_or(0, Waiting::memory_bytes)
    }

    /// Bytes that all clients take. O(n).
    pub(crate) fn client_memory(&self) -> u64 {
        self.clients.iter().map(|(index, client)| self.taken_bytes(index, client) as u64).sum()
    }

    /// How much all clients may take; `None` without a limit.
    fn client_limit(&self) -> Option<u64> {
        let limit = match self.config.maxmemory_clients {
            0 => return None,
            bytes @ 1.. => bytes.unsigned_abs(),
            // Percent of no limit are no limit.
            _ if self.config.maxmemory == 0 => return None,
            percent => {
                let bytes = u128::from(self.config.maxmemory) * u128::from(percent.unsigned_abs()) / 100;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        };
        Some(limit.max(LEAST_LIMIT))
    }

    /// Counts a client anew, whose buffers may have changed; one that goes takes nothing. Costs nothing
    /// without a limit.
    #[inline]
    pub(crate) fn count_client(&mut self, index: u32) {
        if self.config.maxmemory_clients != 0
            && let Some(client) = self.clients.get(index)
        {
            let bytes = match client.closing {
                Closing::Now => 0,
                _ => self.client_bytes(index, client),
            };
            self.clients.count(index, bytes as u64);
        }
    }

    /// Counts all clients: there is a limit now, or another one.
    pub(crate) fn count_clients(&mut self) {
        let all: Vec<u32> = self.clients.iter().map(|(index, _)| index).collect();
        all.into_iter().for_each(|index| self.count_client(index));
    }

    /// Marks clients to be disconnected, those that take most first, until the others are within the
    /// limit.
    #[inline]
    pub(crate) fn evict_clients(&mut self) {
        if self.config.maxmemory_clients != 0
            && let Some(limit) = self.client_limit()
            && self.clients.counted() > limit
        {
            self.evict_largest(limit);
        }
    }

    #[cold]
    fn evict_largest(&mut self, limit: u64) {
        // Who has not been counted yet has sent nothing: it would go without an answer, and free nothing.
        let may_go = |client: &Client| {
            client.closing != Closing::Now && !client.session.no_evict && client.counted > 0
        };
        let mut largest: Vec<(u64, u32)> = self
            .clients
            .iter()
            .filter(|(_, client)| may_go(client))
            .map(|(index, client)| (client.counted, index))
            .collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        for (_, index) in largest {
            if self.clients.counted() <= limit {
                return;
            }
            let Some(client) = self.clients.get(index) else { continue };
            let mut line = Vec::new();
            write_line(&mut line, index, client, self);
            self.log
                .notice(format_args!("Evicting client: {}", String::from_utf8_lossy(line.trim_ascii_end())));
            if let Some(client) = self.clients.get_mut(index) {
                client.connection.discard_output();
                client.close(Closing::Now);
                self.stats.evicted_clients += 1;
            }
            self.mark_closing(index);
        }
        if self.clients.counted() > limit {
            self.log.warning(format_args!("Over client maxmemory after evicting all evictable clients"));
        }
    }
}
