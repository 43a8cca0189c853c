//! Telling clients that what they keep copies of has changed (CLIENT TRACKING).
//!
//! Messages to the client that runs a command come behind its reply: the outbox sees to that. Who reads
//! which keys is kept in `tracking.rs`. Behaviour: valkey src/tracking.c.

use std::collections::BTreeMap;
use std::rc::Rc;

use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::Args;

use crate::clients::Closing;
use crate::outbox::Message;
use crate::server::Server;
use crate::tracking::{Broadcast, Caching, Mode};

/// The channel on which clients that speak RESP2 hear of another one's keys.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// What messages of invalidation look like to a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Of RESP3.
    Push,
    /// A message on a channel.
    Published,
}

impl Shape {
    fn protocol(self) -> Protocol {
        match self {
            Shape::Push => Protocol::Resp3,
            Shape::Published => Protocol::Resp2,
        }
    }

    fn write_head(self, reply: &mut Reply) {
        match self {
            Shape::Push => {
                reply.push(2);
                reply.bulk(b"invalidate");
            }
            Shape::Published => {
                reply.array(3);
                reply.bulk(b"message");
                reply.bulk(CHANNEL);
            }
        }
    }
}

/// Writes the keys that have changed. `except` is a client that need not hear of its own changes.
fn write_keys(reply: &mut Reply, changed: &BTreeMap<Rc<[u8]>, Option<u32>>, except: Option<u32>) {
    let told = || changed.iter().filter(|(_, by)| except.is_none() || **by != except);
    reply.array(told().count());
    told().for_each(|(key, _)| reply.bulk(key));
}

impl Server {
    /// Notes what keys a command of a tracking client has read.
    ///
    /// What it has changed itself, as a key whose time had passed, is told first: it has read what is
    /// there since, and that it changes again has to be told again.
    pub(crate) fn remember_reads(&mut self, index: u32, number: u16, args: Args<'_>) {
        let caching = self.clients.get(index).and_then(|client| client.session.caching.as_ref());
        if !caching.is_some_and(|caching| caching.remembers()) {
            return;
        }
        if self.engine.as_ref().is_some_and(|engine| !engine.effects().happened().is_empty()) {
            self.tell_effects();
        }
        let token = self.clients.token(index);
        let keys = self.commands.entry(number).spec.key_positions(args.0).unwrap_or_default();
        for (at, _) in keys {
            self.tracking.remember(token, args.at(at));
        }
    }

    /// CLIENT CACHING holds for one command, or one transaction: it was this one.
    pub(crate) fn end_announcement(&mut self, index: u32) {
        let Some(session) = self.clients.get_mut(index).map(|client| &mut client.session) else { return };
        if let Some(caching) = session.caching.as_mut().filter(|_| session.transaction.is_none()) {
            caching.is_announced = false;
        }
    }

    /// A key has changed: whoever has a copy is told, now or when the turn ends.
    pub(crate) fn invalidate_key(&mut self, key: &[u8]) {
        // Of a script's changes even those hear who do not want to hear of their own.
        let by = self.caller.filter(|_| !self.scripting.is_calling());
        self.tracking.changed(key, by);
        if let Some(readers) = self.tracking.take(key) {
            self.tell_readers(key, &readers);
        }
    }

    fn tell_readers(&mut self, key: &[u8], readers: &[u64]) {
        for token in readers {
            let Some(index) = self.clients.by_token(*token) else { continue };
            let caching = self.clients.get(index).and_then(|client| client.session.caching.as_ref());
            let is_own = self.caller == Some(index);
            let is_told = |caching: &Caching| caching.mode != Mode::Broadcast && !(caching.no_loop && is_own);
            if caching.is_some_and(|caching| is_told(caching)) {
                match is_own {
                    true => self.tracking.own.push((index, Some(key.into()))),
                    false => self.invalidate_one(index, key),
                }
            }
        }
    }

    fn invalidate_one(&mut self, index: u32, key: &[u8]) {
        self.invalidate(index, |reply| {
            reply.array(1);
            reply.bulk(key);
        });
    }

    /// Tells a client what it has changed itself: behind all that others hear of its command.
    pub(crate) fn tell_own_changes(&mut self) {
        for (index, key) in std::mem::take(&mut self.tracking.own) {
            match key {
                Some(key) => self.invalidate_one(index, &key),
                None => self.invalidate(index, Reply::null),
            }
        }
    }

    /// All keys have gone: whoever tracks any is told that none is good any more.
    pub(crate) fn invalidate_all(&mut self) {
        if self.tracking.clients > 0 {
            let tracks = |client: &crate::clients::Client| client.session.caching.is_some();
            let all: Vec<u32> =
                self.clients.iter().filter(|(_, client)| tracks(client)).map(|(index, _)| index).collect();
            for index in all {
                match self.caller == Some(index) {
                    true => self.tracking.own.push((index, None)),
                    // In the protocol of who hears it. Valkey 9.1 takes that of who tracks: after a redirection
                    // to RESP2 nobody can read that.
                    false => self.invalidate(index, Reply::null),
                }
            }
        }
        self.tracking.clear();
    }

    /// Who is told for a client, and how. None if nobody can be; the client is told that, then.
    fn receiver(&mut self, index: u32) -> Option<(u32, Shape)> {
        let session = &self.clients.get(index)?.session;
        let protocol = session.protocol;
        let Some(redirect) = session.caching.as_ref()?.redirect else {
            return (protocol == Protocol::Resp3).then_some((index, Shape::Push));
        };
        let target = self.clients.by_token(redirect.token);
        let target = target.and_then(|target| Some((target, self.clients.get(target)?)));
        if let Some((target, client)) = target.filter(|(_, client)| client.closing == Closing::No) {
            return match client.session.protocol {
                Protocol::Resp3 => Some((target, Shape::Push)),
                Protocol::Resp2 => client.session.is_subscriber.then_some((target, Shape::Published)),
            };
        }
        if let Some(caching) = self.clients.get_mut(index).and_then(|client| client.session.caching.as_mut())
        {
            caching.is_broken = true;
        }
        if protocol == Protocol::Resp3 {
            self.outbox.send(index, protocol, |reply| {
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.uint(redirect.id);
            });
        }
        None
    }

    /// Tells a client, or who is told in its place, of the keys that `write` writes.
    fn invalidate(&mut self, index: u32, write: impl FnOnce(&mut Reply)) {
        let Some((receiver, shape)) = self.receiver(index) else { return };
        self.outbox.send(receiver, shape.protocol(), |reply| {
            shape.write_head(reply);
            write(reply);
        });
    }

    /// Tells those who asked for prefixes what has changed. To be called when a turn ends.
    pub(crate) fn tell_broadcasts(&mut self) {
        for Broadcast { clients, changed } in self.tracking.broadcasts() {
            let mut encoded: [Option<Message>; 2] = [None, None];
            for index in clients {
                let caching = self.clients.get(index).and_then(|client| client.session.caching.as_ref());
                let Some(no_loop) = caching.map(|caching| caching.no_loop) else { continue };
                let has_own = no_loop && changed.values().any(|by| *by == Some(index));
                if has_own && changed.values().all(|by| *by == Some(index)) {
                    continue;
                }
                if has_own {
                    self.invalidate(index, |reply| write_keys(reply, &changed, Some(index)));
                } else if let Some((receiver, shape)) = self.receiver(index) {
                    let outbox = &mut self.outbox;
                    let message = encoded[usize::from(shape == Shape::Push)].get_or_insert_with(|| {
                        outbox.write(shape.protocol(), |reply| {
                            shape.write_head(reply);
                            write_keys(reply, &changed, None);
                        })
                    });
                    outbox.give(message, receiver);
                }
            }
        }
    }

    /// Forgets keys if more are remembered than `tracking-table-max-keys` allows. Done before a command,
    /// so that who has asked for it hears of it before the reply.
    pub(crate) fn limit_tracking(&mut self) {
        let max = usize::try_from(self.config.tracking_table_max_keys).unwrap_or(usize::MAX);
        // It is nobody's doing: whoever is not told of his own changes is told of this.
        let gone = self.tracking.evict(max);
        if gone.is_empty() {
            return;
        }
        let caller = self.caller.take();
        for (key, readers) in gone {
            self.tell_readers(&key, &readers);
        }
        self.caller = caller;
        self.outbox.go_early();
    }

    /// Has a client track nothing.
    pub(crate) fn stop_tracking(&mut self, index: u32) {
        let caching = self.clients.get_mut(index).and_then(|client| client.session.caching.take());
        if let Some(caching) = caching {
            for prefix in &caching.prefixes {
                self.tracking.remove_prefix(index, prefix);
            }
            self.tracking.clients -= 1;
            self.update_wants();
        }
    }
}
