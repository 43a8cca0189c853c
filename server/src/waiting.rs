//! What follows from a command besides its reply: watched keys, clients that wait for keys.
//!
//! After each command (or a whole transaction) the engine's effects are told to those who asked; then
//! the keys that clients wait for are looked at, and those clients' commands run again, first come
//! first. Behaviour: valkey src/blocked.c `handleClientsBlockedOnKeys`, src/multi.c `touchWatchedKey`.

use std::time::Instant;

use cairn_engine::codec::resp::Reply;
use cairn_engine::command::Args;
use cairn_engine::command::effects::{Effect, Wants};
use cairn_engine::command::spec::READONLY;
use cairn_engine::command::wait::Wait;
use cairn_engine::engine::Caller;
use cairn_engine::persist::aof::Unit;

use crate::blocked::{TimeoutReply, Waiting};
use crate::clients::{Hold, Replies};
use crate::command::persistence::{REWRITE_FAILED, REWRITE_STARTED};
use crate::command::table::Run;
use crate::command::wait::WAITAOF_OFF;
use crate::observe::Cost;
use crate::server::Server;

/// Why a waiting ends though no key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The time has passed, or CLIENT UNBLOCK says it has.
    Timeout,
    /// CLIENT UNBLOCK with ERROR.
    Error,
    /// WAITAOF, and there is no log any more.
    AofOff,
    /// BGREWRITEAOF could not begin.
    NoRewrite,
}

const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

impl Server {
    /// Chooses what the engine writes down, by who wants to hear it.
    pub(crate) fn update_wants(&mut self) {
        let wants = Wants {
            // What was read outlives its readers, until it changes.
            keys: !self.watchers.is_empty()
                || self.blocked.wants_keys()
                || self.tracking.clients > 0
                || self.tracking.keys() > 0,
            events: self.heard_events(),
            // Whether there is a log the engine knows itself.
            log: false,
        };
        if let Some(engine) = &mut self.engine {
            engine.set_wants(wants);
        }
    }

    /// True if nothing follows from what has run.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.engine.as_ref().is_none_or(|engine| engine.effects().is_empty()) && !self.blocked.has_ready()
    }

    /// What follows from a command that has run, and from those that run because of it.
    #[inline]
    pub(crate) fn settle(&mut self) {
        // What a script has done so far is one piece with what it is still to do.
        if self.is_settled() && self.tracking.own.is_empty() || self.scripting.is_running() {
            return;
        }
        let Some(engine) = &mut self.engine else { return };
        // Those who are served because of it come behind, each by itself.
        engine.log_settled(Unit::Transaction, self.now);
        if !engine.effects().happened().is_empty() {
            self.tell_effects();
        }
        self.tell_own_changes();
        if self.blocked.has_ready() {
            self.serve_waiting();
        }
    }

    /// Tells what has happened to those who asked; clients that wait for a key are not served yet.
    pub(crate) fn tell_effects(&mut self) {
        let empty = std::mem::take(&mut self.happened);
        let Some(engine) = &mut self.engine else { return };
        let mut happened = engine.effects_mut().take_happened(empty);
        let mut is_flush_told = false;
        for effect in happened.iter() {
            match effect {
                Effect::Changed { db, key } => {
                    self.invalidate_key(key);
                    self.break_watches(db, key);
                    self.blocked.key_changed(db, key);
                }
                Effect::Woken { db, key } => self.blocked.key_changed(db, key),
                Effect::Event { db, class, name, key } => self.notify(db, class, name, key),
                Effect::Flushed { db } => {
                    if !std::mem::replace(&mut is_flush_told, true) {
                        self.invalidate_all();
                    }
                    self.break_watches_of(&[db]);
                    self.blocked.databases_changed(&[db]);
                }
                Effect::Swapped { a, b } => {
                    self.break_watches_of(&[a, b]);
                    self.blocked.databases_changed(&[a, b]);
                }
            }
        }
        happened.clear();
        self.happened = happened;
    }

    /// A key has changed: transactions that rely on it will not run.
    fn break_watches(&mut self, db: usize, key: &[u8]) {
        for client in self.watchers.of(db, key) {
            let Some(client) = self.clients.get_mut(client) else { continue };
            let session = &mut client.session;
            if session.is_watch_broken {
                continue;
            }
            let watched = session.watched.iter().find(|w| w.key.0 == db && w.key.1 == key);
            if let Some(watched) = watched {
                // Whoever saw the key expired when watching it does not mind that it is removed.
                let is_removal = !self.engine.as_ref().is_some_and(|e| e.keyspace().db(db).contains(key));
                session.is_watch_broken |= !(watched.was_expired && is_removal);
            }
        }
    }

    /// Other keys, or none, are in some databases now: a watched key has changed if it was there or is
    /// there now, and not merely as one whose time has passed.
    fn break_watches_of(&mut self, dbs: &[usize]) {
        for client in self.watchers.all() {
            let Some(client) = self.clients.get_mut(client) else { continue };
            let session = &mut client.session;
            for watched in session.watched.iter_mut().filter(|watched| dbs.contains(&watched.key.0)) {
                let (db, key) = &watched.key;
                let entry = self.engine.as_ref().and_then(|engine| engine.keyspace().db(*db).entry(key));
                let is_expired = entry.is_some_and(|entry| entry.is_expired(self.now));
                let is_there = entry.is_some() && !is_expired;
                session.is_watch_broken |= watched.was_there || is_there;
                watched.was_expired = is_expired;
            }
        }
    }

    /// Has a client wait as its data command wishes.
    pub(crate) fn wait_for_keys(&mut self, client: u32, number: u16, args: Args<'_>, db: usize, wait: Wait) {
        let Wait { keys, wanted, deadline, on_timeout, args: replaced } = wait;
        let argv = replaced.unwrap_or_else(|| args.0.iter().map(|word| word.to_vec()).collect());
        let keys = keys.iter().filter_map(|&at| argv.get(at).cloned()).collect();
        let on_timeout = TimeoutReply::Data(on_timeout);
        self.block(client, Waiting::new(number, argv, db, keys, Some(wanted), deadline, on_timeout));
    }

    /// Has a client wait.
    pub(crate) fn block(&mut self, client: u32, waiting: Waiting) {
        if let Some(client) = self.clients.get_mut(client) {
            client.session.hold = Hold::Blocked;
        }
        self.blocked.add(client, waiting);
        self.update_wants();
    }

    /// Lets a client go on with what it has sent meanwhile.
    fn release(&mut self, client: u32) {
        if let Some(waiter) = self.clients.get_mut(client) {
            waiter.session.hold = Hold::No;
            if waiter.session.replies == Replies::SkipNext {
                waiter.session.replies = Replies::On;
            }
            self.resumed.push(client);
            self.count_run(client);
        }
        self.update_wants();
    }

    /// Runs the commands of clients that wait for keys which have changed. A key that was there before and has
    /// a value of another type now counts, too: Valkey 9.1 has those wait on for whom there is something.
    fn serve_waiting(&mut self) {
        // Each round serves somebody or is the last: those who are served no longer wait.
        while self.blocked.has_ready() {
            for key in self.blocked.take_ready() {
                let mut after = None;
                while let Some((place, client)) = self.blocked.next_waiter(&key, after) {
                    after = Some(place);
                    let Some(engine) = &self.engine else { return };
                    let value = engine.keyspace().db(key.0).get(&key.1);
                    let is_gone = value.is_none();
                    let wanted = self.blocked.get(client).and_then(|waiting| waiting.wanted);
                    if wanted.is_some_and(|wanted| wanted.is_met_by(value)) {
                        self.try_again(client);
                    } else if is_gone && !self.blocked.anyone_wants_gone() {
                        break;
                    }
                }
            }
        }
    }

    /// Runs a waiting client's command again. It waits on if there is still nothing for it.
    fn try_again(&mut self, client: u32) {
        let Some(mut waiting) = self.blocked.remove(client) else { return };
        let Some(session) = self.clients.get(client).map(|client| &client.session) else { return };
        let is_no_touch = session.no_touch;
        let caller = Caller { may_wait: true, is_no_touch, ..Caller::new(waiting.db, self.now) };
        let protocol = session.protocol;
        let is_heard = session.replies == Replies::On;
        let Run::Data(command) = self.commands.entry(waiting.number).run else { return };
        let mut reply = Reply::new(protocol);
        let argv: Vec<&[u8]> = waiting.argv.iter().map(Vec::as_slice).collect();
        let Some(engine) = &mut self.engine else { return };
        let caller_before = self.caller.replace(client);
        let began = Instant::now();
        let logged_before = engine.log_position();
        let ran = engine.apply(command, Args(&argv), caller, &mut reply);
        engine.log_settled(Unit::Transaction, self.now);
        let logged = Some(engine.log_position()).filter(|position| *position > logged_before);
        if self.tracking.clients > 0 && command.spec.flags.has(READONLY) {
            self.remember_reads(client, waiting.number, Args(&argv));
        }
        if let Some(wait) = ran.wait {
            waiting.wanted = Some(wait.wanted);
            self.blocked.put_back(client, waiting);
            self.tell_effects();
            self.tell_own_changes();
            self.caller = caller_before;
            return;
        }
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.charge(waiting.number, nanos, 1);
        let cost = Cost { nanos: Some(nanos), reply_bytes: reply.len(), has_request: true };
        self.observe(client, waiting.number, &argv, cost);
        if reply.bytes().first() == Some(&b'-') {
            self.stats.by_command[usize::from(waiting.number)].failed += 1;
            self.stats.count_error(reply.bytes());
        }
        if let Some(position) = logged
            && let Some(client) = self.clients.get_mut(client)
        {
            client.session.written_to = position;
        }
        match logged {
            _ if !is_heard => {}
            Some(position) => self.outbox.send_ack(client, reply.bytes(), position),
            None => self.outbox.send(client, protocol, |out| out.raw(reply.bytes())),
        }
        self.tell_effects();
        self.tell_own_changes();
        self.caller = caller_before;
        self.end_announcement(client);
        self.release(client);
    }

    /// Ends the waiting of a client without what it waited for. False if it does not wait.
    pub(crate) fn stop_waiting(&mut self, client: u32, ending: Ending) -> bool {
        let Some(waiting) = self.blocked.remove(client) else { return false };
        let synced = self.synced_position();
        let is_synced = |position| synced.is_some_and(|synced| synced >= position);
        if let Some(session) = self.clients.get(client).map(|client| &client.session)
            && session.replies == Replies::On
        {
            self.outbox.send(client, session.protocol, |reply| match (ending, waiting.on_timeout) {
                (Ending::Error, _) => reply.error(UNBLOCKED),
                (_, TimeoutReply::Data(answer)) => answer.write(reply),
                (_, TimeoutReply::Replicas) => reply.int(0),
                (Ending::NoRewrite, _) => reply.error(REWRITE_FAILED),
                (_, TimeoutReply::Rewrite) => reply.simple(REWRITE_STARTED),
                (Ending::AofOff, _) => reply.error(WAITAOF_OFF),
                (_, TimeoutReply::Fsynced { position, .. }) => {
                    reply.array(2);
                    reply.int(i64::from(is_synced(position)));
                    reply.int(0);
                }
            });
        }
        self.charge(waiting.number, 0, 1);
        let argv: Vec<&[u8]> = waiting.argv.iter().map(Vec::as_slice).collect();
        self.observe(
            client,
            waiting.number,
            &argv,
            Cost { nanos: Some(0), reply_bytes: 0, has_request: true },
        );
        if ending == Ending::Error {
            self.stats.by_command[usize::from(waiting.number)].rejected += 1;
            self.stats.count_error(format!("-{UNBLOCKED}\r\n").as_bytes());
        }
        self.release(client);
        true
    }

    /// Ends the waiting of clients whose time has passed.
    pub(crate) fn end_timed_out(&mut self) {
        while let Some(client) = self.blocked.timed_out(self.now) {
            self.stop_waiting(client, Ending::Timeout);
        }
        while let Some(client) = self.blocked.due_again(self.now) {
            self.try_again(client);
            self.settle();
        }
    }

    /// A client is gone: nothing is kept for it.
    pub(crate) fn forget_client(&mut self, client: u32) {
        self.unsubscribe_all(client);
        self.stop_tracking(client);
        self.monitors.remove(&client);
        let was_waiting = self.blocked.remove(client).is_some();
        let watched =
            self.clients.get_mut(client).map(|c| std::mem::take(&mut c.session.watched)).unwrap_or_default();
        if was_waiting || !watched.is_empty() {
            self.watchers.remove(client, &watched);
            self.update_wants();
        }
    }
}
