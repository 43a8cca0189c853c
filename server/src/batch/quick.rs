//! Runs of quick commands of one client: what is checked before each command elsewhere is checked here
//! once for all of them.
//!
//! Only commands that can do nothing but read or change data and answer run here, and only while nothing
//! unusual goes on in the server or with the client; everything else takes the long way. Both ways give
//! the same replies and counts.

use std::ops::Range;
use std::time::Instant;

use cairn_engine::command::Args;
use cairn_engine::command::spec::WRITE;
use cairn_engine::engine::Caller;
use cairn_engine::os::jemalloc;
use smallvec::SmallVec;

use super::{Batch, INLINE_ARGS, Mark, REPLY_BYTES_PER_NANO, Source, add_span, nanos_between};
use crate::dispatch::Called;
use crate::observe::Cost;
use crate::server::Server;

impl Batch {
    /// Runs commands from the front of `calls` that can be run together. Answers how many those were: none
    /// if the first is none of them.
    pub(super) fn run_quick(&mut self, server: &mut Server, calls: Range<usize>) -> usize {
        let first = &self.parsed[calls.start];
        if first.quick.is_none() || self.parsed.len() == 1 || !server.is_plain() {
            return 0;
        }
        let at = first.entry;
        let entry = &self.entries[at as usize];
        let (index, Source::Arena) = (entry.client, &entry.source) else { return 0 };
        let Some(client) = server.clients.get(index).filter(|client| client.is_plain(server.has_password))
        else {
            return 0;
        };
        if server.config.output_limits[client.class() as usize].reply_limit() < usize::MAX {
            return 0;
        }
        let session = &client.session;
        let (db, is_logging) = (session.db, server.aof.is_on);
        let caller = Caller { is_no_touch: session.no_touch, ..Caller::new(db, server.now) };
        self.reply.set_protocol(session.protocol);
        self.reply.limit_to(usize::MAX);
        server.caller = Some(index);
        let buf = &self.arena[..entry.end];
        let first_reply = self.reply.len();
        let reply = &mut self.reply;
        let (mut ran, mut unsettled, mut written_to) = (0, None, None);
        let mut sent = Sent::none(self.marks.len());
        let mut clock = server.observer.measures_each.then(Instant::now);
        for (call, i) in self.parsed[calls.clone()].iter().zip(calls.start..) {
            let (Some(number), Some(command)) = (call.found, call.quick.filter(|_| call.entry == at)) else {
                break;
            };
            let Some(engine) = &mut server.engine else { break };
            if call.args > INLINE_ARGS
                || server.config.maxmemory > 0 && jemalloc::used_bytes() > server.config.maxmemory
            {
                break;
            }
            self.ahead.fetch(engine.keyspace(), &self.parsed, &self.entries, i);
            let args = &self.args[call.first_arg..][..call.args];
            let two: [&[u8]; 2];
            let three: [&[u8]; 3];
            let four: [&[u8]; 4];
            let many: SmallVec<[&[u8]; INLINE_ARGS]>;
            // Most commands are short, and a list of a known length is made without a loop.
            let argv = match *args {
                [a, b] => {
                    two = [a.of(buf), b.of(buf)];
                    &two[..]
                }
                [a, b, c] => {
                    three = [a.of(buf), b.of(buf), c.of(buf)];
                    &three
                }
                [a, b, c, d] => {
                    four = [a.of(buf), b.of(buf), c.of(buf), d.of(buf)];
                    &four
                }
                _ => {
                    many = args.iter().map(|arg| arg.of(buf)).collect();
                    &many
                }
            };
            let start = reply.len();
            let has_request = is_logging && call.is_usual;
            let caller = Caller { key_hash: call.key_hash(), has_request, ..caller };
            let ran_so = engine.apply(command, Args(argv), caller, reply);
            if ran_so.is_logged_as_sent {
                if sent.end != call.start {
                    written_to = sent.log(server, db, buf, &mut self.marks).or(written_to);
                    sent.start = call.start;
                }
                sent.take(call.end, start..reply.len(), &mut self.marks);
            }
            ran += 1;
            self.unmeasured.push(number);
            if reply.bytes().get(start) == Some(&b'-') {
                server.stats.by_command[usize::from(number)].failed += 1;
                server.stats.count_error(&reply.bytes()[start..]);
            }
            let reply_bytes = reply.len() - start;
            // Each by itself when one of them may be slow; what it is charged is its share of the group's.
            let nanos = clock.as_mut().map(|clock| {
                let began = std::mem::replace(clock, Instant::now());
                nanos_between(began, *clock)
            });
            let is_slow = nanos.is_some_and(|nanos| server.observer.is_slow(nanos));
            if is_slow || reply_bytes >= server.observer.large_reply_bytes {
                server.observe(index, number, argv, Cost { nanos, reply_bytes, has_request: true });
            }
            if !server.is_settled() {
                written_to = sent.log(server, db, buf, &mut self.marks).or(written_to);
                if !server.is_settled_by_logging() {
                    unsettled = Some(start);
                    break;
                }
                let position = server.log_only();
                if command.spec.flags.has(WRITE) {
                    self.marks.push(Mark::ack(start, reply.len(), position));
                    written_to = Some(position);
                }
                sent = Sent::none(self.marks.len());
            }
            if reply.len() >= super::FLUSH_BYTES {
                break;
            }
        }
        if ran == 0 {
            return 0;
        }
        written_to = sent.log(server, db, buf, &mut self.marks).or(written_to);
        server.stats.commands += ran as u64;
        self.entries[at as usize].note_work((self.reply.len() - first_reply) as u64 / REPLY_BYTES_PER_NANO);
        let last_command = self.unmeasured.last().copied();
        if let Some(client) = server.clients.get_mut(index) {
            client.commands += ran as u64;
            client.session.last_command = last_command;
            client.session.written_to = written_to.unwrap_or(client.session.written_to);
        }
        let end = unsettled.unwrap_or(self.reply.len());
        if first_reply < end {
            add_span(&mut self.spans, index, first_reply, end);
        }
        if let (Some(start), Some(number)) = (unsettled, last_command) {
            self.after_call(server, index, start, Called::Ran(number));
        }
        ran
    }
}

/// Requests that lie one behind the other in the buffer, have run, and are to be logged as they were sent.
struct Sent {
    start: usize,
    end: usize,
    count: u64,
    /// Where their marks begin; nothing else has marked anything since.
    marks: usize,
}

impl Sent {
    /// None; the marks of the next begin there.
    fn none(marks: usize) -> Sent {
        Sent { start: 0, end: 0, count: 0, marks }
    }

    /// Takes in the request that lies behind them up to `end`, and marks its reply.
    #[inline]
    fn take(&mut self, end: usize, reply: Range<usize>, marks: &mut Vec<Mark>) {
        (self.end, self.count) = (end, self.count + 1);
        if !marks[self.marks..].last_mut().is_some_and(|mark| mark.extend(&reply)) {
            marks.push(Mark::ack(reply.start, reply.end, 0));
        }
    }

    /// Logs them. Up to where the log goes then; `None` if there are none.
    fn log(&mut self, server: &mut Server, db: usize, buf: &[u8], marks: &mut [Mark]) -> Option<u64> {
        let engine = server.engine.as_mut().filter(|_| self.count > 0)?;
        engine.log_requests(db, &buf[self.start..self.end], self.count, server.now);
        let position = engine.log_position();
        server.aof.position = position;
        marks[self.marks..].iter_mut().for_each(|mark| mark.position = position);
        *self = Sent::none(marks.len());
        Some(position)
    }
}
