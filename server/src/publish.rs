//! Messages to those who listen: published ones, key-space events, and lines of MONITOR.
//!
//! A message is encoded once for each protocol that its receivers speak. Behaviour: valkey
//! src/pubsub.c, src/notify.c, src/replication.c `replicationFeedMonitors`.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::Args;
use cairn_engine::command::effects::Classes;
use cairn_engine::command::spec::{ADMIN, SKIP_MONITOR};

use crate::clients::{Clients, Closing, Replies};
use crate::monitor;
use crate::observe::commandlog::secret_args;
use crate::outbox::{Message, Outbox};
use crate::pubsub::Kind;
use crate::server::Server;

/// Gives one message to many clients. How many there were.
fn give_all(
    outbox: &mut Outbox,
    clients: &Clients,
    receivers: impl Iterator<Item = u32>,
    write: impl Fn(&mut Reply),
) -> usize {
    let mut encoded: [Option<Message>; 2] = [None, None];
    let mut count = 0;
    for receiver in receivers {
        let Some(client) = clients.get(receiver).filter(|client| client.closing != Closing::Now) else {
            continue;
        };
        count += 1;
        if client.closing != Closing::No {
            // It has said QUIT: its last reply is written.
            continue;
        }
        let protocol = client.session.protocol;
        let place = &mut encoded[usize::from(protocol == Protocol::Resp3)];
        let message = place.get_or_insert_with(|| outbox.write(protocol, &write));
        outbox.give(message, receiver);
    }
    count
}

impl Server {
    /// Sends a message to all who listen to a channel, of a shard or not. How often it is received.
    pub(crate) fn publish(&mut self, kind: Kind, channel: &[u8], message: &[u8]) -> usize {
        let (outbox, clients) = (&mut self.outbox, &self.clients);
        let word: &[u8] = if kind == Kind::Shard { b"smessage" } else { b"message" };
        let direct = self.pubsub.receivers(kind, channel);
        let mut count = give_all(outbox, clients, direct, |reply| {
            reply.push(3);
            [word, channel, message].iter().for_each(|part| reply.bulk(part));
        });
        if kind == Kind::Channel {
            for (pattern, receivers) in self.pubsub.matching(channel) {
                count += give_all(outbox, clients, receivers, |reply| {
                    reply.push(4);
                    [b"pmessage", pattern, channel, message].iter().for_each(|part| reply.bulk(part));
                });
            }
        }
        count
    }

    /// Publishes a key-space event, if `notify-keyspace-events` wants it.
    pub(crate) fn notify(&mut self, db: usize, class: Classes, name: &str, key: &[u8]) {
        let notify = self.config.notify;
        if !notify.classes.has(class) {
            return;
        }
        let channel = |what: &str, last: &[u8]| {
            let mut channel = Vec::with_capacity(what.len() + last.len() + 16);
            // Writing into memory does not fail.
            let _ = write!(channel, "__{what}@{db}__:");
            channel.extend_from_slice(last);
            channel
        };
        if notify.by_key {
            self.publish(Kind::Channel, &channel("keyspace", key), name.as_bytes());
        }
        if notify.by_event {
            self.publish(Kind::Channel, &channel("keyevent", name.as_bytes()), key);
        }
    }

    /// Classes of key-space events that somebody may hear.
    pub(crate) fn heard_events(&self) -> Classes {
        let notify = self.config.notify;
        if self.pubsub.is_deaf() || !(notify.by_key || notify.by_event) {
            Classes::NONE
        } else {
            notify.classes
        }
    }

    /// Shows a command of a client to those who monitor. Nothing while the data set loads.
    #[cold]
    pub(crate) fn feed_monitors(&mut self, client: u32, number: u16, args: Args<'_>) {
        let flags = self.commands.entry(number).spec.flags;
        if flags.has(SKIP_MONITOR) || flags.has(ADMIN) {
            return;
        }
        self.feed_monitors_anyhow(client, args);
    }

    /// As `feed_monitors`, for commands that show themselves.
    #[cold]
    pub(crate) fn feed_monitors_anyhow(&mut self, client: u32, args: Args<'_>) {
        let is_of_script = self.scripting.is_calling();
        let Some(client) = self.clients.get(client).filter(|_| self.engine.is_some()) else { return };
        let unix;
        let source = if is_of_script {
            "lua"
        } else if client.stream.is_unix() {
            unix = format!("unix:{}", String::from_utf8_lossy(&self.config.unixsocket));
            unix.as_str()
        } else {
            client.addr.as_str()
        };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let secrets = secret_args(args.0);
        let mut line = Vec::new();
        let is_secret = |i| secrets.contains(&i);
        monitor::write_line(&mut line, since_epoch, client.session.db, source, args, is_secret);
        let clients = &self.clients;
        let wants = |client: &u32| clients.get(*client).is_some_and(|c| c.session.replies == Replies::On);
        let monitors = self.monitors.iter().copied().filter(wants);
        give_all(&mut self.outbox, clients, monitors, |reply| reply.raw(&line));
    }
}
