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
            let request = &buf[call.start..call.end];
            let has_request = is_logging && is_in_log_form(request, argv);
            let caller = Caller { key_hash: call.key_hash(), has_request, ..caller };
            let ran_so = engine.apply(command, Args(argv), caller, reply);
            if ran_so.is_logged_as_sent {
                if sent.end != call.start {
                    written_to = sent.log(server, db, buf, &mut self.marks).or(written_to);
                    sent.start = call.start;
                }
                sent.end = call.end;
                self.marks.push(Mark { start, end: reply.len(), position: 0, is_ack: true });
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
                    self.marks.push(Mark { start, end: reply.len(), position, is_ack: true });
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
    /// Where their marks begin; nothing else has marked anything since.
    marks: usize,
}

impl Sent {
    /// None; the marks of the next begin there.
    fn none(marks: usize) -> Sent {
        Sent { start: 0, end: 0, marks }
    }

    /// Logs them. Up to where the log goes then; `None` if there are none.
    fn log(&mut self, server: &mut Server, db: usize, buf: &[u8], marks: &mut [Mark]) -> Option<u64> {
        let (engine, own) = (server.engine.as_mut()?, &mut marks[self.marks..]);
        if own.is_empty() {
            return None;
        }
        engine.log_requests(db, &buf[self.start..self.end], own.len() as u64, server.now);
        let position = engine.log_position();
        server.aof.position = position;
        own.iter_mut().for_each(|mark| mark.position = position);
        *self = Sent::none(self.marks + own.len());
        Some(position)
    }
}

/// True if a command lies in the buffer of requests as a log has it. False in doubt, and for long ones,
/// whose cost is elsewhere.
#[inline]
fn is_in_log_form(request: &[u8], argv: &[&[u8]]) -> bool {
    // Counts are taken for what they are by the parser, be there zeros in front: the bytes tell.
    const SHORT: usize = 1000;
    let is_short = argv.len() < 10 && argv.iter().all(|arg| arg.len() < SHORT);
    let digits = |n: usize| 1 + usize::from(n >= 10) + usize::from(n >= 100);
    let bytes: usize = argv.iter().map(|arg| arg.len() + digits(arg.len())).sum();
    // `*n\r\n`, and `$` and two line ends for each argument.
    is_short && request.first() == Some(&b'*') && request.len() == 4 + bytes + 5 * argv.len()
}

#[cfg(test)]
mod tests {
    use super::is_in_log_form;

    #[test]
    fn only_what_a_log_would_have_is_taken_as_it_came() {
        let long = "x".repeat(999);
        let argv: [&[u8]; 3] = [b"SET", b"k", long.as_bytes()];
        let sent = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$999\r\n{long}\r\n");
        assert!(is_in_log_form(sent.as_bytes(), &argv));
        assert!(is_in_log_form(b"*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n", &[b"GET", b"0123456789"]));
        assert!(!is_in_log_form(b"*2\r\n$03\r\nGET\r\n$1\r\nk\r\n", &[b"GET", b"k"]));
        assert!(!is_in_log_form(b"GET                k\r\n", &[b"GET", b"k"]));
        let longer = "x".repeat(1000);
        let sent = format!("*2\r\n$3\r\nGET\r\n$1000\r\n{longer}\r\n");
        assert!(!is_in_log_form(sent.as_bytes(), &[b"GET", longer.as_bytes()]));
    }
}
