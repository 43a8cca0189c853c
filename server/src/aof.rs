//! The append-only file's place in the server: what is logged before who is answered.
//!
//! What commands have changed goes to the log before their replies are sent. Where that is not enough,
//! because the policy wants it on the disk or the disk is behind, the replies wait (`net/held.rs`), and
//! with them whatever else is to go to those clients; all others are answered at once. If the log cannot
//! be written, replies that would acknowledge a write become an error, and further writes are refused.
//! When and how the log is written and synced is the engine's matter. Behaviour: valkey src/aof.c,
//! src/server.c `beforeSleep` and `writeCommandsDeniedByDiskError`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_engine::command::spec::WRITE;
use cairn_engine::engine::Engine;
use cairn_engine::persist::aof::{AofState, SyncPolicy, Unit, Wake};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::dispatch::Called;
use crate::net::reactor::Interest;
use crate::server::Server;
use crate::waiting::Ending;

/// What the server keeps about the log.
pub(crate) struct Aof {
    /// True while what happens is written to it.
    pub(crate) is_on: bool,
    /// End of what it was given, when that was last looked at.
    pub(crate) position: u64,
    /// Replies to what was logged up to here may go.
    safe: u64,
    /// Clients whose output waits; some may be gone.
    pub(crate) held: Vec<u32>,
    /// The error that writes are answered with, while there is something wrong with the log.
    error: Option<String>,
    /// True if the transaction that ran last has commands that write.
    pub(crate) exec_writes: bool,
    /// True while EXEC runs.
    pub(crate) is_in_exec: bool,
    /// What is wrong, or what was when the log was turned off.
    last_error: String,
    /// True if some client may wait for the disk.
    pub(crate) has_sync_waiters: bool,
    /// True if some client may wait for a rewrite to begin.
    pub(crate) has_rewrite_waiters: bool,
    /// True if the worker has done something.
    pub(crate) is_woken: bool,
    wake: Arc<EventFd>,
    /// Since when it is waited for a position to be durable, for the latency monitor.
    committing: Option<(Instant, u64)>,
    /// How long to wait before the log is written (DEBUG AOF-FLUSH-SLEEP).
    pub(crate) flush_sleep: Duration,
}

impl Aof {
    /// No log.
    pub(crate) fn new() -> io::Result<Aof> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Aof {
            is_on: false,
            position: 0,
            safe: 0,
            held: Vec::new(),
            error: None,
            exec_writes: false,
            is_in_exec: false,
            last_error: String::new(),
            has_sync_waiters: false,
            has_rewrite_waiters: false,
            is_woken: false,
            wake: Arc::new(EventFd::from_value_and_flags(0, flags)?),
            committing: None,
            flush_sleep: Duration::ZERO,
        })
    }

    /// What the poller watches.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What the worker calls when it has done something, from its own thread.
    pub(crate) fn waker(&self) -> Wake {
        let wake = Arc::clone(&self.wake);
        Wake::new(Arc::new(move || {
            // It cannot be full: the counter is read at each wake. If it were, there is one to come.
            let _ = wake.write(1);
        }))
    }

    /// The poller says that the worker has done something.
    pub(crate) fn take_wake(&mut self) {
        let _ = self.wake.read();
        self.is_woken = true;
    }

    /// What is wrong, or what was when the log was turned off; empty if nothing is.
    pub(crate) fn last_error(&self) -> &str {
        &self.last_error
    }

    /// The error that writes are answered with now.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

impl Server {
    /// After a command that may have been logged. Up to where the log has to be safe before the client may
    /// be told that its write was done; `None` if it wrote nothing.
    #[inline]
    pub(crate) fn note_logged(&mut self, client: u32, called: Called) -> Option<u64> {
        let position = self.engine.as_ref()?.log_position();
        if position == self.aof.position {
            return None;
        }
        self.aof.position = position;
        // What a read has found expired is logged, too. Nobody was promised that.
        let Called::Ran(number) = called else { return None };
        let is_write = std::mem::take(&mut self.scripting.has_written)
            || self.commands.entry(number).spec.flags.has(WRITE)
            || (Some(number) == self.exec && self.aof.exec_writes);
        if !is_write {
            return None;
        }
        self.clients.get_mut(client)?.session.written_to = position;
        Some(position)
    }

    /// True if all that follows from what has run is that it is logged.
    #[inline]
    pub(crate) fn is_settled_by_logging(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.effects().happened().is_empty())
            && !self.blocked.has_ready()
    }

    /// Logs what has run, nothing else following from it. Up to where the log goes now.
    #[inline]
    pub(crate) fn log_only(&mut self) -> u64 {
        if let Some(engine) = &mut self.engine {
            engine.log_settled(Unit::Transaction, self.now);
            self.aof.position = engine.log_position();
        }
        self.aof.position
    }

    /// Logs what has happened by itself: keys that expired or were evicted, each on its own.
    #[inline]
    pub(crate) fn log_each(&mut self) {
        let is_on = self.aof.is_on;
        if let Some(engine) = self.engine.as_mut().filter(|engine| is_on || engine.backup().is_logging()) {
            engine.log_settled(Unit::Each, self.now);
        }
    }

    /// Writes what was logged. To be called before replies are sent; false if some of them have to wait.
    pub(crate) fn flush_log(&mut self) -> bool {
        if self.observer.latency.threshold_ms > 0 || !self.aof.flush_sleep.is_zero() {
            self.flush_log_observed();
        } else if let Some(engine) = &mut self.engine {
            engine.flush_log(self.now_instant);
        }
        self.note_log()
    }

    /// As `flush_log`, for those who want to know how long it takes, or have it take long.
    #[cold]
    fn flush_log_observed(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let stats = engine.aof_stats(self.now_instant);
        if stats.pending_bytes == 0 {
            engine.flush_log(self.now_instant);
            return;
        }
        std::thread::sleep(self.aof.flush_sleep);
        let (began, has_child) = (Instant::now(), engine.has_child());
        if self.config.appendfsync == SyncPolicy::Always {
            self.aof.committing.get_or_insert((began, engine.log_position()));
            engine.flush_log(self.now_instant);
            return;
        }
        engine.flush_log(self.now_instant);
        let took = began.elapsed();
        let event = match (stats.pending_syncs > 0, has_child) {
            (true, _) => "aof-write-pending-fsync",
            (false, true) => "aof-write-active-child",
            (false, false) => "aof-write-alone",
        };
        self.observe_event(event, took);
        self.observe_event("aof-write", took);
    }

    /// Notes how long it took until what was handed over to be synced was.
    fn observe_commit(&mut self) {
        if let Some((began, position)) = self.aof.committing
            && self.aof.safe >= position
        {
            self.aof.committing = None;
            self.observe_event("aof-fsync-always", began.elapsed());
        }
    }

    /// Looks how far the log is, and how it is. False if something has to wait.
    fn note_log(&mut self) -> bool {
        let Some(engine) = &self.engine else { return self.is_log_safe() };
        self.aof.position = engine.log_position();
        self.aof.safe = engine.acked_position(self.now_instant);
        let health = engine.log_health();
        let error = health.is_failed().then(|| health.to_string());
        let is_over =
            !self.aof.last_error.is_empty() && error.is_none() && engine.aof_state() == AofState::On;
        if self.aof.committing.is_some() {
            self.observe_commit();
        }
        if error.is_some() || self.aof.error.is_some() {
            self.note_log_error(error);
        }
        if is_over {
            self.aof.last_error.clear();
        }
        self.is_log_safe()
    }

    /// True if nothing has to wait for the log, as far as is known.
    fn is_log_safe(&self) -> bool {
        self.aof.safe >= self.aof.position && self.aof.held.is_empty()
    }

    #[cold]
    fn note_log_error(&mut self, error: Option<String>) {
        let text = error.as_ref().map(|why| format!("MISCONF Errors writing to the AOF file: {why}"));
        if self.aof.error == text {
            return;
        }
        self.aof.last_error = error.unwrap_or(std::mem::take(&mut self.aof.last_error));
        self.aof.error = text;
        self.release_held();
    }

    /// Adds bytes for a client to `out` if they may go; has them wait otherwise. `after` tells up to where the log
    /// has to be safe first, and whether they are the reply to a write; `None` for what may go at once.
    pub(crate) fn send_when_safe(
        &mut self,
        client: u32,
        bytes: &[u8],
        after: Option<(u64, bool)>,
        out: &mut Vec<u8>,
    ) {
        if bytes.is_empty() {
            return;
        }
        let (position, is_ack) = after.unwrap_or((0, false));
        let is_behind = self.clients.get(client).is_some_and(|c| c.connection.held().is_some());
        let is_safe = position <= self.aof.safe;
        if is_safe && !is_behind {
            out.extend_from_slice(bytes);
        } else if let Some(error) = self.aof.error.as_ref().filter(|_| !is_behind) {
            if is_ack {
                out.extend_from_slice(format!("-{error}\r\n").as_bytes());
                self.stats.count_error(format!("-{error}\r\n").as_bytes());
            } else {
                out.extend_from_slice(bytes);
            }
        } else {
            self.hold_output(client, bytes, position, is_ack);
        }
    }

    /// Sends what is in the outbox, as far as it need not wait.
    #[cold]
    pub(crate) fn deliver_when_safe(&mut self) {
        let mut outbox = std::mem::take(&mut self.outbox);
        let (bytes, spans) = outbox.parts();
        let position = self.aof.position;
        let mut out = Vec::new();
        for (client, range) in spans {
            let mut at = range.start;
            let acks =
                outbox.acks().iter().filter(|(ack, _)| ack.start >= range.start && ack.end <= range.end);
            for (ack, acked_at) in acks {
                self.send_when_safe(*client, &bytes[at..ack.start], Some((position, false)), &mut out);
                self.send_when_safe(*client, &bytes[ack.clone()], Some((*acked_at, true)), &mut out);
                at = ack.end;
            }
            self.send_when_safe(*client, &bytes[at..range.end], Some((position, false)), &mut out);
            if !out.is_empty() {
                self.send(*client, &out);
                out.clear();
            }
        }
        outbox.clear();
        self.outbox = outbox;
    }

    /// Sends what has waited for the log and need not any longer.
    fn release_held(&mut self) {
        if self.aof.held.is_empty() {
            return;
        }
        let error = self.aof.error.as_ref().map(|error| format!("-{error}\r\n").into_bytes());
        let mut held = std::mem::take(&mut self.aof.held);
        let mut out = Vec::new();
        held.retain(|&index| {
            let Some(client) = self.clients.get_mut(index) else { return false };
            client.connection.release(self.aof.safe, error.as_deref(), &mut out);
            let is_left = client.connection.held().is_some();
            let was_ahead = client.interest == Interest::Nothing;
            if !out.is_empty() {
                self.send(index, &out);
                out.clear();
            } else if was_ahead {
                self.after_send(index);
            }
            is_left
        });
        self.aof.held = held;
    }

    /// Sends all that has waited: what it waited for is done.
    pub(crate) fn release_all_held(&mut self) {
        self.aof.error = None;
        self.aof.safe = u64::MAX;
        self.release_held();
    }

    /// Tells everybody who waits for the log that it could not be written.
    pub(crate) fn fail_held(&mut self, why: &str) {
        self.note_log_error(Some(why.to_owned()));
        self.aof.error = None;
    }

    /// Up to where the log is on the disk for sure; `None` without a log.
    pub(crate) fn synced_position(&self) -> Option<u64> {
        self.engine.as_ref().filter(|_| self.aof.is_on).map(Engine::synced_position)
    }

    /// Answers clients that wait for the disk, and those that do so in vain.
    fn serve_sync_waiters(&mut self) {
        // Whoever waited for a rewrite, too, is told when INFO tells that it is over.
        if !self.aof.has_sync_waiters || (self.is_rewriting_or_tidying() && !self.is_rewriting()) {
            return;
        }
        let synced = self.synced_position().unwrap_or(0);
        let is_wanted = self.config.appendonly;
        let waiters: Vec<(u32, u64, bool, bool)> = self.blocked.sync_waiters().collect();
        self.aof.has_sync_waiters = !waiters.is_empty();
        for (client, position, local, replicas) in waiters {
            if local && !is_wanted {
                self.stop_waiting(client, Ending::AofOff);
            } else if local && !replicas && synced >= position {
                self.stop_waiting(client, Ending::Timeout);
            }
        }
    }

    /// Hears what has happened to the log, and has the next step done. True if fresh files are wanted.
    fn poll_log(&mut self) -> bool {
        let Some(engine) = &mut self.engine else { return false };
        let events = engine.poll_aof(self.now_instant, self.now, self.used_memory);
        for event in &events {
            self.tell_aof_event(event);
        }
        self.engine.as_ref().is_some_and(|engine| engine.wants_fresh_log(self.now_instant))
    }

    /// Looks after the log: hears what its worker has done, and answers those who have waited for it.
    pub(crate) fn tend_log(&mut self) {
        if self.hear_log() {
            self.answer_log();
        }
    }

    /// Hears what the log's worker has done. True if those who have waited for it are to be answered.
    pub(crate) fn hear_log(&mut self) -> bool {
        self.aof.is_woken = false;
        if self.engine.is_none() {
            return false;
        }
        if self.poll_log() && self.make_way_for_log() {
            self.poll_log();
        }
        self.tell_backup_events();
        if self.aof.is_on {
            self.note_log();
        }
        true
    }

    /// True if what was sent meanwhile is to run before held replies are sent: then the disk works while
    /// they are. Not if somebody may take long.
    pub(crate) fn runs_before_held(&self, readable: &[u32]) -> bool {
        let is_light = |index: &u32| self.clients.get(*index).is_some_and(|client| client.weight.is_light());
        !self.aof.held.is_empty()
            && !readable.is_empty()
            && self.queue.is_empty()
            && readable.iter().all(is_light)
    }

    /// Answers those who have waited for the log.
    pub(crate) fn answer_log(&mut self) {
        if self.aof.is_on {
            self.release_held();
        }
        self.serve_sync_waiters();
        self.answer_rewrite_waiters();
    }
}
