//! What goes out to clients: sending, and the limits of what may wait for those who do not read.
//!
//! A client is disconnected when more waits for it than `client-output-buffer-limit` allows, also if its
//! socket would take all of it: the limit is one of what a client may ask for, too. Behaviour: valkey
//! src/networking.c `checkClientOutputBufferLimits`.

use std::io;
use std::os::fd::AsFd;

use cairn_engine::engine::Engine;

use crate::clients::{Client, Closing};
use crate::command::client_list::log_line;
use crate::config::kind::OutputLimit;
use crate::net::connection::{OUTPUT_BLOCK_BYTES, count_output};
use crate::net::held::Held;
use crate::net::reactor::Interest;
use crate::net::unsent::Copies;
use crate::server::Server;

/// Output that may wait for a client that has not authenticated.
const STRANGER_OUTPUT_BYTES: usize = 1024;

impl Server {
    /// Sends bytes to a client behind what waits already; what the socket does not take waits.
    #[inline]
    pub(crate) fn send(&mut self, index: u32, bytes: &[u8]) {
        self.send_message(index, bytes, &mut Copies::None);
    }

    /// The same for bytes that others get, too; `copies` is to be the same for all of them.
    pub(crate) fn send_message(&mut self, index: u32, bytes: &[u8], copies: &mut Copies) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if client.closing == Closing::Now {
            return;
        }
        let hard_bytes = self.config.output_limits[client.class() as usize].hard_bytes;
        let pending = client.connection.unsent.len() + bytes.len();
        let counted = match self.counts_all_output {
            true if pending > 0 => pending + OUTPUT_BLOCK_BYTES,
            _ => count_output(pending),
        };
        let is_stranger = self.has_password && !client.session.was_authenticated;
        if (hard_bytes > 0 && counted as u64 >= hard_bytes)
            || (is_stranger && counted > STRANGER_OUTPUT_BYTES)
        {
            self.close_for_output(index);
            return;
        }
        let connection = &mut client.connection;
        let is_flushed = connection.unsent.is_empty();
        // Who waits for room is told by the poller when there is some.
        let is_waiting = client.interest != Interest::Read && !bytes.is_empty();
        let sent = match (is_flushed, is_waiting) {
            (true, _) if bytes.is_empty() => Ok(0),
            (true, _) => client.stream.write(bytes),
            (false, true) => Ok(0),
            (false, false) => {
                connection.unsent.push_message(bytes, 0, copies);
                client.stream.write_unsent(&connection.unsent)
            }
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(e) if is_full(&e) => 0,
            Err(e) => {
                self.log.verbose(format_args!("Error writing to client {}: {e}", client.addr));
                client.close(Closing::Now);
                self.mark_closing(index);
                return;
            }
        };
        if is_flushed {
            connection.unsent.push_message(bytes, sent, copies);
        } else if is_waiting {
            connection.unsent.push_message(bytes, 0, copies);
        } else {
            connection.unsent.advance(sent);
        }
        if sent > 0 {
            client.active = self.now_instant;
            client.written_bytes += sent as u64;
            self.stats.writes += 1;
            self.stats.output_bytes += sent as u64;
        }
        // Nothing waits, nothing is to be changed: most replies end here.
        let is_done = client.connection.unsent.is_empty()
            && client.interest == Interest::Read
            && client.closing == Closing::No
            && client.soft_limit_since.is_none()
            && self.aof.held.is_empty();
        if !is_done {
            self.after_send(index);
        }
        self.count_client(index);
    }

    /// Has bytes wait until the log is safe up to `position`; `is_ack` for the reply to a write.
    pub(crate) fn hold_output(&mut self, index: u32, bytes: &[u8], position: u64, is_ack: bool) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if client.closing == Closing::Now || bytes.is_empty() {
            return;
        }
        let hard_bytes = self.config.output_limits[client.class() as usize].hard_bytes;
        let is_first = client.connection.held().is_none();
        client.connection.hold(bytes, position, is_ack);
        let held = client.connection.held().map_or(0, Held::len) + client.connection.unsent.len();
        if hard_bytes > 0 && count_output(held) as u64 >= hard_bytes {
            self.close_for_output(index);
            return;
        }
        let is_closing = client.closing != Closing::No;
        if is_first {
            self.aof.held.push(index);
        }
        if is_closing || self.is_ahead_of_log(index) {
            self.after_send(index);
        }
        self.count_client(index);
    }

    /// True if a client has sent more than the log can follow: nothing more is read from it until that has
    /// caught up.
    fn is_ahead_of_log(&self, index: u32) -> bool {
        /// Replies that wait for the log, at the most.
        const MOST_HELD_BYTES: usize = 1 << 20;
        /// Bytes that wait to be written, at the most, before those who write have to wait.
        const MOST_PENDING_BYTES: usize = 64 << 20;
        let held = self.clients.get(index).and_then(|client| client.connection.held());
        held.is_some_and(|held| {
            let pending = self.engine.as_ref().map_or(0, Engine::aof_memory_bytes);
            held.memory_bytes() > MOST_HELD_BYTES || pending > MOST_PENDING_BYTES
        })
    }

    /// Watches for room if something waits, and lets a client go that is done or takes too little.
    pub(crate) fn after_send(&mut self, index: u32) {
        let token = self.clients.token(index);
        let is_ahead = !self.aof.held.is_empty() && self.is_ahead_of_log(index);
        let Some(client) = self.clients.get_mut(index) else { return };
        let waiting = client.connection.unsent.len();
        let closing = client.closing;
        let interest = match (waiting > 0, closing) {
            (true, Closing::No) if is_ahead => Interest::Write,
            (false, Closing::No) if is_ahead => Interest::Nothing,
            (true, Closing::No) => Interest::ReadWrite,
            (true, _) => Interest::Write,
            // Whatever it sends is not read any more, and it must not wake us in circles.
            (false, Closing::AfterReplies) if !client.connection.is_done() => Interest::Nothing,
            (false, _) => Interest::Read,
        };
        if interest != client.interest {
            client.interest = interest;
            if let Err(e) = self.reactor.modify(client.stream.as_fd(), token, interest) {
                self.log.warning(format_args!("Cannot watch a client's socket: {e}"));
            }
        }
        if waiting == 0 {
            client.soft_limit_since = None;
        } else {
            self.stats.peak_output = self.stats.peak_output.max(waiting);
            self.check_soft_limit(index);
        }
        if closing != Closing::No {
            self.mark_closing(index);
        }
    }

    /// Notes since when more waits for a client than the soft limit allows, and disconnects it if that
    /// has been for too long, or if it is a stranger and reads nothing.
    fn check_soft_limit(&mut self, index: u32) {
        let now_seconds = self.now.secs();
        let Some(client) = self.clients.get_mut(index) else { return };
        let limit = self.config.output_limits[client.class() as usize];
        let is_over = limit.soft_bytes > 0 && client.connection.counted_output() as u64 >= limit.soft_bytes;
        let since = is_over.then(|| client.soft_limit_since.unwrap_or(now_seconds));
        if client.soft_limit_since.is_none() && since.is_some() {
            self.soft_limited.push(index);
        }
        client.soft_limit_since = since;
        let is_too_long = since.is_some_and(|since| now_seconds.saturating_sub(since) > limit.soft_seconds);
        let is_stranger = self.has_password && !client.session.was_authenticated;
        if is_too_long || (is_stranger && client.connection.unsent.len() > STRANGER_OUTPUT_BYTES) {
            self.close_for_output(index);
        }
    }

    /// Looks after clients over the soft limit to which nothing more is sent.
    pub(crate) fn check_soft_limits(&mut self) {
        let mut all = std::mem::take(&mut self.soft_limited);
        let is_over = |client: &Client| client.soft_limit_since.is_some() && client.closing == Closing::No;
        all.retain(|index| self.clients.get(*index).is_some_and(is_over));
        all.sort_unstable();
        all.dedup();
        all.iter().for_each(|index| self.check_soft_limit(*index));
        self.soft_limited = all;
    }

    /// Disconnects a client for which there is too much output.
    #[cold]
    pub(crate) fn close_for_output(&mut self, index: u32) {
        let Some(client) = self.clients.get(index) else { return };
        self.log.warning(format_args!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            log_line(index, client, self)
        ));
        self.stats.output_buffer_disconnections += 1;
        if let Some(client) = self.clients.get_mut(index) {
            client.connection.discard_output();
            client.close(Closing::Now);
        }
        self.mark_closing(index);
    }
}

impl OutputLimit {
    /// How long a reply may become before it is not worth going on with: its sending would be refused.
    #[inline]
    pub(crate) fn reply_limit(&self) -> usize {
        match self.hard_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(OUTPUT_BLOCK_BYTES),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
