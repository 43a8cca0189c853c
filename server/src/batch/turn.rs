//! Who is served in a turn, and for how long: in the order in which the poller names them while there is
//! time for all, and otherwise as `queue.rs` says.

use std::time::Instant;

use super::{ARENA_BYTES, Batch, Entry, LEAST_READ_BYTES, MAX_READ_BYTES, READ_BYTES, Source};
use crate::clients::{Closing, Hold};
use crate::queue::{Queue, Times};
use crate::server::Server;

/// What was read is run before more is read, if it is so many bytes.
const RUN_BYTES: usize = 256 * 1024;

/// So much room for replies is kept by an idle server.
const IDLE_BYTES: usize = 64 * 1024;

impl Batch {
    /// Reads from the clients that have sent something, and runs what they sent, until the time of a turn
    /// is over.
    pub(crate) fn serve(&mut self, server: &mut Server, readable: &[u32]) {
        if server.is_ending() {
            return;
        }
        if !server.outbox.is_empty() {
            self.take_outbox(server);
        }
        for index in std::mem::take(&mut server.resumed) {
            let client = server.clients.get_mut(index).filter(|client| !client.connection.input.is_empty());
            if let Some(client) = client {
                client.is_cut_short = true;
                server.put_in_queue(index);
            }
        }
        let now = server.now_instant;
        let times = Times::of_turn(now);
        self.begin(times.others(now));
        if server.queue.is_empty() {
            // The usual case: there is time for all.
            self.share_among(readable.len());
            let mut clients = readable.iter();
            while self.goes_on(server)
                && let Some(&client) = clients.next()
            {
                self.take_in(server, client);
            }
            self.run(server);
            clients.for_each(|client| server.put_in_queue(*client));
            if readable.is_empty() {
                self.give_back();
            }
        } else {
            readable.iter().for_each(|client| server.put_in_queue(*client));
            let (light, others) = (server.queue.light(), server.queue.others());
            self.share_among(light + others);
            self.begin(times.light());
            self.serve_queued(server, light, Queue::pop_light);
            self.begin(times.others(Instant::now()));
            self.serve_queued(server, others, Queue::pop_other);
        }
    }

    /// Nobody wants anything: room that was made for large replies is given back.
    fn give_back(&mut self) {
        if self.reply.is_empty() {
            self.reply.clear(IDLE_BYTES);
            self.joined.shrink_to(IDLE_BYTES);
        }
    }

    /// Serves up to `count` clients of the queue, in the order in which `pop` takes them out.
    fn serve_queued(&mut self, server: &mut Server, count: usize, pop: fn(&mut Queue) -> Option<u32>) {
        for _ in 0..count {
            if !self.goes_on(server) {
                return;
            }
            let Some(index) = pop(&mut server.queue) else { break };
            if server.clients.get_mut(index).is_some_and(|client| client.weight.leave()) {
                self.take_in(server, index);
            }
        }
        self.run(server);
    }

    fn begin(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.is_over = false;
    }

    /// The more have sent something, the less of each is done before the next has its turn.
    fn share_among(&mut self, clients: usize) {
        let clients = clients.max(1);
        self.read_bytes = (ARENA_BYTES / clients).clamp(LEAST_READ_BYTES, READ_BYTES);
        self.max_read_bytes = (MAX_READ_BYTES / clients).max(2 * READ_BYTES);
    }

    /// Runs what was read, if that is enough. False if the time is over.
    fn goes_on(&mut self, server: &mut Server) -> bool {
        if self.arena.len() - self.used < 2 * READ_BYTES || self.used + self.own_bytes >= RUN_BYTES {
            self.run(server);
            self.is_over |= Instant::now() >= self.deadline;
        }
        !self.is_over
    }

    /// Takes what a client has sent: what a turn had no time for, or what is new.
    fn take_in(&mut self, server: &mut Server, index: u32) {
        let Some(client) = server.clients.get_mut(index) else { return };
        if client.is_cut_short && client.closing == Closing::No && client.session.hold == Hold::No {
            client.is_cut_short = false;
            let input = std::mem::take(&mut client.connection.input);
            if !input.is_empty() {
                // One entry a client: what it sends now comes behind.
                let end = input.len();
                self.entries.push(Entry::new(index, Source::Own(input), 0, end));
            }
        } else {
            client.is_cut_short = false;
            self.read(server, index);
        }
    }
}
