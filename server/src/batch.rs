//! Commands of many clients at once: read, parsed where they lie, run in the order of their arrival,
//! answered into one buffer, and sent with one write a client.
//!
//! What a client sends goes into a shared arena, packed one client behind the other. Only a command
//! that did not come whole moves to a buffer of the client's own.

mod ahead;
mod aside;
mod marks;
mod quick;
mod turn;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::time::Instant;

use cairn_engine::codec::resp::{
    Arg, Opening, Parsed, Parser, Protocol, ProtocolError, Reply, RequestLimits,
};
use cairn_engine::command::DataCommand;
use cairn_engine::engine::Engine;
use cairn_engine::keyspace::Db;
use smallvec::SmallVec;

use self::ahead::{Ahead, PREFETCH_CALLS, PREFETCH_KEYS};
pub(crate) use self::aside::Aside;
use self::marks::Mark;
use crate::clients::{Client, Closing, Hold};
use crate::command::table::{Kind, Recent};
use crate::dispatch::{self, Called};
use crate::net::unsent::{Copies, LONG_BYTES};
use crate::observe::Cost;
use crate::queue::LIGHT_NANOS;
use crate::server::Server;

/// Bytes taken from a client in one turn, at the most.
const READ_BYTES: usize = 32 * 1024;

/// Bytes of big arguments taken from all clients in one turn, about.
const MAX_READ_BYTES: usize = 4 << 20;

/// Bytes taken in any case from a client that has sent something.
const LEAST_READ_BYTES: usize = 4 * 1024;

/// Bytes of the shared arena. Small enough to stay in the processor's cache.
const ARENA_BYTES: usize = 512 * 1024;

/// Arguments from this size on are read straight into a buffer of the client's own.
const BIG_ARGUMENT_BYTES: usize = 32 * 1024;

/// Arguments of a command, as Redis limits them.
const MAX_ARGS: i64 = i32::MAX as i64;

/// Commands with so many arguments are run without allocating a list of them.
const INLINE_ARGS: usize = 24;

/// The clock is read anew after commands that took longer.
const STALE_NANOS: u64 = 500_000;

/// Commands of a batch before the first of them runs.
const MAX_CALLS: usize = 1024;

/// Replies of a batch before they are sent though others are still to come.
const FLUSH_BYTES: usize = 1 << 20;

/// Pieces of replies and messages of a batch before they are sent.
const FLUSH_SPANS: usize = 1 << 16;

/// The clock is read after so many fast commands: a turn ends when its time is over.
const CALLS_PER_CLOCK: usize = 64;

/// Nanoseconds that a byte sent takes about to be read and run, if it belongs to fast commands.
const NANOS_PER_INPUT_BYTE: u64 = 4;

/// Bytes of a reply that take about a nanosecond.
const REPLY_BYTES_PER_NANO: u64 = 4;

/// The list of arguments keeps this much room.
const KEEP_ARGS: usize = 32 * 1024;

/// The buffer of replies keeps this much room.
const KEEP_REPLY_BYTES: usize = 1 << 20;

/// Of so many long replies and messages it is known how they are shared without more room.
const KEEP_COPIES: usize = 64;

/// Room for replies that is kept after one that broke its limit.
const CUT_REPLY_BYTES: usize = 4 * 1024;

/// Where a client's bytes lie.
#[derive(Debug)]
enum Source {
    Arena,
    Own(Vec<u8>),
}

/// What one client has sent.
#[derive(Debug)]
struct Entry {
    client: u32,
    source: Source,
    /// The first byte that is not parsed.
    at: usize,
    /// Past the last byte.
    end: usize,
    /// Nothing more to be parsed: a part of a command, an error, or a client that goes or waits.
    is_done: bool,
    /// What was parsed beyond `at` is not run and will be parsed again: the client waits, or the time is
    /// over.
    is_held: bool,
    /// The client does not wait; what it sent is to be run in the next turn.
    is_cut_short: bool,
    /// A command of it has run.
    has_run: bool,
    /// Nanoseconds of work, about.
    work: u64,
    /// What was wrong with the request that came last.
    error: Option<ProtocolError>,
    /// The client's database when its commands were parsed, in which their keys are fetched ahead.
    db: usize,
    /// So much of each entry there is worth fetching; 0 for nothing.
    fetched_bytes: usize,
}

/// A command that was parsed.
#[derive(Debug, Clone, Copy)]
struct Parse {
    entry: u32,
    /// Where the command begins.
    start: usize,
    /// Past its last byte.
    end: usize,
    found: Option<u16>,
    /// It is written as a log has it.
    is_usual: bool,
    /// Its code, if it may run with others, see [`Kind`].
    quick: Option<&'static DataCommand>,
    first_arg: usize,
    args: usize,
    /// Its first key's position among the arguments; 0 if none is known.
    key_at: usize,
    /// That key's hash.
    hash: u64,
}

impl Parse {
    /// Its first key's position among the arguments, and the key's hash.
    fn key_hash(&self) -> Option<(usize, u64)> {
        (self.key_at > 0).then_some((self.key_at, self.hash))
    }
}

/// Replies of one client, in the buffer of replies.
#[derive(Debug, Clone, Copy)]
struct Span {
    client: u32,
    start: usize,
    end: usize,
}

impl Span {
    /// It is worth sharing with other clients that get the same.
    fn is_long(&self) -> bool {
        self.end - self.start >= LONG_BYTES
    }
}

/// The buffers of the executor. Kept between turns so that none of this allocates.
#[derive(Debug)]
pub(crate) struct Batch {
    arena: Vec<u8>,
    /// Bytes taken from a client in this turn.
    read_bytes: usize,
    /// Bytes of a big argument taken from a client in this turn.
    max_read_bytes: usize,
    used: usize,
    entries: Vec<Entry>,
    args: Vec<Arg>,
    parsed: Vec<Parse>,
    reply: Reply,
    spans: Vec<Span>,
    /// Used in the place of `reply` by a command that runs apart.
    script_reply: Reply,
    /// That command.
    script_request: Vec<u8>,
    /// What of it may have to wait for the log, in the order of the buffer. Empty while there is none.
    marks: Vec<Mark>,
    /// Replies to one client that did not lie side by side.
    joined: Vec<u8>,
    /// Who shares the long ones among the replies and messages, by where they lie.
    copies: HashMap<(usize, usize), Copies>,
    /// Commands that ran since the last reading of the clock, all of them fast.
    unmeasured: Vec<u16>,
    /// How far buckets and entries have been asked for.
    ahead: Ahead,
    /// The command that was looked up last.
    recent: Recent,
    /// How the command that was parsed last began.
    opening: Opening,
    /// What is known of all that begin so.
    kind: Kind,
    /// Among the parsed commands are such as look up fields and members.
    has_members: bool,
    /// Bytes of big arguments that were read and are not run.
    own_bytes: usize,
    /// When no more is to be begun.
    deadline: Instant,
    /// That time has come.
    is_over: bool,
    /// Clients that the turn had no time for.
    late: Vec<u32>,
}

impl Batch {
    /// Empty buffers.
    pub(crate) fn new() -> Batch {
        Batch {
            arena: vec![0; ARENA_BYTES],
            read_bytes: READ_BYTES,
            max_read_bytes: MAX_READ_BYTES,
            used: 0,
            entries: Vec::new(),
            args: Vec::new(),
            parsed: Vec::new(),
            reply: Reply::new(Protocol::Resp2),
            script_reply: Reply::new(Protocol::Resp2),
            script_request: Vec::new(),
            spans: Vec::new(),
            marks: Vec::new(),
            joined: Vec::new(),
            copies: HashMap::new(),
            unmeasured: Vec::new(),
            ahead: Ahead::default(),
            recent: Recent::default(),
            opening: Opening::default(),
            kind: Kind::default(),
            has_members: false,
            own_bytes: 0,
            deadline: Instant::now(),
            is_over: false,
            late: Vec::new(),
        }
    }

    fn read(&mut self, server: &mut Server, index: u32) {
        let Some(client) = server.clients.get_mut(index) else { return };
        if client.closing != Closing::No {
            return;
        }
        let read_before = client.read_bytes;
        let read = match client.session.hold {
            Hold::No => self.read_new(client),
            _ => read_held(client).map(|()| None),
        };
        server.stats.input_bytes += client.read_bytes - read_before;
        let (source, at) = match read {
            Ok(Some(read)) => read,
            Ok(None) => {
                close_if_too_long(server, index);
                return;
            }
            Err(e) => {
                match e.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        server.log.verbose(format_args!("Client closed connection {}", client.addr));
                    }
                    _ => server.log.verbose(format_args!("Reading from client {}: {e}", client.addr)),
                }
                client.close(Closing::Now);
                server.mark_closing(index);
                return;
            }
        };
        client.active = server.now_instant;
        server.stats.reads += 1;
        if let Source::Own(own) = &source {
            client.in_flight = own.capacity();
            server.count_client(index);
        }
        let end = if let Source::Own(own) = &source { own.len() } else { self.used };
        self.entries.push(Entry::new(index, source, at, end));
    }

    /// Reads once from a client: behind what it has sent before, into the arena if that is small.
    /// Where the bytes are and where those begin that are not parsed; `None` if there was nothing to read;
    /// an error of kind `UnexpectedEof` if the client is gone.
    fn read_new(&mut self, client: &mut Client) -> io::Result<Option<(Source, usize)>> {
        let connection = &mut client.connection;
        let rest = connection.input.len();
        let missing = connection.parser.bulk_missing(rest);
        let (source, at, read) = if missing >= BIG_ARGUMENT_BYTES || rest > READ_BYTES {
            // At most doubles what has come, whatever length the client has announced, and ends where a
            // big argument does: how much that takes must not hang on the pieces in which it comes.
            let room = if missing == 0 { READ_BYTES } else { missing.min(rest.max(2 * READ_BYTES)) };
            if connection.input.capacity() - rest < room.min(READ_BYTES) {
                connection.input.reserve_exact(room);
            }
            // Nobody waits for one who sends faster than we read.
            let max = (connection.input.capacity() - rest).min(self.max_read_bytes);
            match client.stream.read_append(max, &mut connection.input) {
                Err(e) if is_nothing(&e) => return Ok(None),
                Err(e) => return Err(e),
                Ok(is_closed) if is_closed && connection.input.len() == rest => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(_) => {}
            }
            let read = connection.input.len() - rest;
            self.own_bytes += read;
            (Source::Own(std::mem::take(&mut connection.input)), 0, read)
        } else {
            let at = self.used;
            let room = &mut self.arena[at + rest..at + rest + self.read_bytes];
            let read = match client.stream.read(room) {
                Err(e) if is_nothing(&e) => return Ok(None),
                Err(e) => return Err(e),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
            };
            self.arena[at..at + rest].copy_from_slice(&connection.input);
            connection.input.clear();
            connection.input.shrink_to(0);
            self.used += rest + read;
            (Source::Arena, at, read)
        };
        client.read_bytes += read as u64;
        Ok(Some((source, at)))
    }

    /// Runs what was read for as long as there is time, then sends the replies.
    fn run(&mut self, server: &mut Server) {
        server.evict_clients();
        loop {
            while self.parse(server) {
                self.execute(server);
                self.refuse_bad_requests(server);
                if self.is_over {
                    break;
                }
            }
            if server.resumed.is_empty() || self.is_over || !self.take_resumed(server) {
                break;
            }
        }
        server.tell_broadcasts();
        if !server.outbox.is_empty() {
            self.take_outbox(server);
        }
        self.flush(server);
        for entry in self.entries.drain(..) {
            let (index, has_run) = (entry.client, entry.has_run);
            if keep_rest(&self.arena, server, entry) {
                // Who has not run anything comes first.
                if has_run { self.late.push(index) } else { server.put_in_queue(index) }
            }
            server.count_client(index);
        }
        self.late.drain(..).for_each(|index| server.put_in_queue(index));
        (self.used, self.own_bytes) = (0, 0);
        self.args.clear();
        self.args.shrink_to(KEEP_ARGS);
    }

    /// Has clients that wait no longer go on with what they have sent meanwhile, after all others and before
    /// anybody is told what goes out once a turn. False if none has sent anything.
    #[cold]
    fn take_resumed(&mut self, server: &mut Server) -> bool {
        let mut has_work = false;
        for index in std::mem::take(&mut server.resumed) {
            let Some(client) = server.clients.get_mut(index) else { continue };
            if client.closing != Closing::No || client.session.hold != Hold::No {
                continue;
            }
            let own = self.entries.iter_mut().find(|entry| entry.client == index);
            if let Some(entry) = own {
                if std::mem::take(&mut entry.is_held) {
                    entry.is_done = false;
                    has_work = true;
                }
            } else if !client.connection.input.is_empty() {
                client.is_cut_short = false;
                let input = std::mem::take(&mut client.connection.input);
                let end = input.len();
                self.entries.push(Entry::new(index, Source::Own(input), 0, end));
                has_work = true;
            }
        }
        has_work
    }

    /// Parses up to `MAX_CALLS` commands. False if nothing came of it.
    fn parse(&mut self, server: &mut Server) -> bool {
        self.args.clear();
        self.parsed.clear();
        self.ahead.begin();
        self.has_members = false;
        let mut has_errors = false;
        let keyspace = server.engine.as_ref().map(Engine::keyspace);
        for (entry, i) in self.entries.iter_mut().zip(0u32..) {
            if entry.is_done {
                continue;
            }
            let buf = match &mut entry.source {
                Source::Arena => &mut self.arena[..entry.end],
                Source::Own(own) => own.as_mut_slice(),
            };
            let Some(client) = server.clients.get_mut(entry.client) else { continue };
            if client.session.hold != Hold::No {
                entry.hold_from(entry.at, client);
                continue;
            }
            let db = keyspace.map(|keyspace| keyspace.db(client.session.db));
            entry.db = client.session.db;
            entry.fetched_bytes = db.filter(|db| db.len() >= PREFETCH_KEYS).map_or(0, Db::fetched_bytes);
            if entry.fetched_bytes > 0 {
                self.ahead.expect_use();
            }
            let is_authenticated = client.session.is_authenticated || !server.has_password;
            let bulk_bytes = server.config.proto_max_bulk_len;
            let limits = RequestLimits { bulk_bytes, args: MAX_ARGS, is_authenticated };
            while !entry.is_done && self.parsed.len() < MAX_CALLS {
                let (start, first_arg) = (entry.at, self.args.len());
                let parser = &mut client.connection.parser;
                match parser.next_like(buf, start, &limits, &mut self.args, &mut self.opening) {
                    Parsed::Command { end } => {
                        entry.at = end;
                        let args = &self.args[first_arg..];
                        if !self.opening.is_repeated() {
                            let Some(name) = args.first() else { continue };
                            self.kind = server.commands.kind_of(name.of(buf), args.len(), &mut self.recent);
                        }
                        let Kind { found, quick, key_at, has_member } = self.kind;
                        let args = args.len();
                        let mut hash = 0;
                        if key_at > 0
                            && let Some(db) = db
                        {
                            let key = self.args[first_arg + key_at].of(buf);
                            // One key often has many commands in a row.
                            let before =
                                self.parsed.last().filter(|before| before.entry == i).filter(|before| {
                                    before.key_at > 0
                                        && is_same(self.args[before.first_arg + before.key_at].of(buf), key)
                                });
                            hash = before.map_or_else(|| db.hash_key(key), |before| before.hash);
                            self.has_members |= has_member;
                            if entry.fetched_bytes > 0 {
                                self.ahead.fetch_parsed(db, (i, hash), &self.parsed, entry.fetched_bytes);
                            }
                        }
                        let key_at = if db.is_some() { key_at } else { 0 };
                        self.parsed.push(Parse {
                            entry: i,
                            start,
                            end,
                            found,
                            is_usual: self.opening.is_usual(),
                            quick,
                            first_arg,
                            args,
                            key_at,
                            hash,
                        });
                        // It may be the password: the next command may have wider limits. And bytes of
                        // an inline command are changed: none of them may be parsed in vain.
                        if !is_authenticated || buf[start] != b'*' {
                            break;
                        }
                    }
                    Parsed::NeedMore { .. } => entry.is_done = true,
                    Parsed::Error(error) => {
                        entry.error = Some(error);
                        entry.is_done = true;
                        has_errors = true;
                    }
                }
            }
        }
        has_errors || !self.parsed.is_empty()
    }

    fn execute(&mut self, server: &mut Server) {
        let mut measured = Instant::now();
        let (mut next, mut clock_at) = (0, CALLS_PER_CLOCK);
        while next < self.parsed.len() {
            if next.is_multiple_of(PREFETCH_CALLS) {
                self.prefetch(server, next);
            }
            if server.is_ending() {
                self.entries.iter_mut().for_each(|entry| entry.is_done = true);
                break;
            }
            let last = self.parsed.len().min((next / PREFETCH_CALLS + 1) * PREFETCH_CALLS);
            next += match self.run_quick(server, next..last) {
                0 => {
                    self.run_one(server, next, &mut measured);
                    1
                }
                ran => ran,
            };
            let has_to_flush = self.reply.len() >= FLUSH_BYTES || self.spans.len() >= FLUSH_SPANS;
            if has_to_flush {
                // Sending is not the command's time, nor the next one's.
                share_time(server, &mut self.unmeasured, measured);
                self.flush(server);
                measured = Instant::now();
            }
            if next >= clock_at {
                clock_at = next + CALLS_PER_CLOCK;
                self.is_over = Instant::now() >= self.deadline;
            } else {
                self.is_over = measured >= self.deadline;
            }
            if self.is_over {
                (next..self.parsed.len()).for_each(|late| self.put_back(server, late));
                break;
            }
        }
        share_time(server, &mut self.unmeasured, measured);
    }

    /// Has a command that was parsed, and what its client sent behind it, run later.
    #[cold]
    fn put_back(&mut self, server: &mut Server, call: usize) {
        let Parse { entry: at, start, .. } = self.parsed[call];
        let entry = &mut self.entries[at as usize];
        let Some(client) = server.clients.get_mut(entry.client) else { return };
        if entry.is_held || client.closing != Closing::No {
            return;
        }
        entry.is_cut_short = client.session.hold == Hold::No;
        entry.hold_from(start, client);
        let own = self.parsed[call..].iter().take_while(|parse| parse.entry == at);
        let Some(Parse { start: last, end, first_arg, args, .. }) = own.last().copied() else { return };
        let buf = entry.bytes(&self.arena);
        if buf[last] != b'*' {
            // Its bytes were changed by parsing. Such a command is the last of its client in a batch.
            let args = &self.args[first_arg..first_arg + args];
            let command = multibulk(&args.iter().map(|arg| arg.of(buf)).collect::<Vec<_>>());
            entry.put_in_place(start..last, &command, end, &self.arena);
        }
    }

    /// Runs the command `i` of those that were parsed. The clock was read last at `measured`.
    fn run_one(&mut self, server: &mut Server, i: usize, measured: &mut Instant) {
        let call = self.parsed[i];
        let Parse { entry, found, first_arg, args, .. } = call;
        // Whatever it does, a command of many arguments has much to do. One that came alone is measured
        // alone anyhow.
        let is_slow = args > INLINE_ARGS
            || self.parsed.len() == 1
            || server.observer.measures_each
            || found.is_some_and(|n| !server.commands.entry(n).is_quick);
        if is_slow {
            *measured = share_time(server, &mut self.unmeasured, *measured);
        }
        let entry = &mut self.entries[entry as usize];
        let Some(client) = server.clients.get_mut(entry.client) else { return };
        if client.closing != Closing::No {
            entry.is_done = true;
            return;
        }
        if client.session.hold != Hold::No {
            self.put_back(server, i);
            return;
        }
        if found.is_some_and(|number| server.commands.entry(number).is_apart) {
            self.run_apart(server, i, measured);
            return;
        }
        let buf = entry.bytes(&self.arena);
        let is_own = matches!(entry.source, Source::Own(_));
        let args = &self.args[first_arg..first_arg + args];
        let argv: SmallVec<[&[u8]; INLINE_ARGS]> = args.iter().map(|arg| arg.of(buf)).collect();
        client.commands += 1;
        self.reply.set_protocol(client.session.protocol);
        let limit = server.config.output_limits[client.class() as usize].reply_limit();
        self.reply.limit_to(limit);
        let (client, start) = (entry.client, self.reply.len());
        let called = dispatch::call(server, client, found, call.key_hash(), &argv, &mut self.reply);
        if self.reply.is_cut() {
            // The limit is one of memory, so what nobody gets leaves none.
            self.reply.truncate(start);
            self.reply.shrink_to(CUT_REPLY_BYTES);
            server.close_for_output(client);
        }
        if called == Called::Held {
            drop(argv);
            if let Some(client) = server.clients.get_mut(client) {
                client.commands -= 1;
            }
            self.put_back(server, i);
            return;
        }
        let reply_bytes = self.reply.len().saturating_sub(start);
        let ran = Ran { client, called, is_slow, is_own, reply_bytes };
        let nanos = ran.note(server, &argv, &mut self.unmeasured, measured);
        drop(argv);
        entry.note_work(nanos.unwrap_or(reply_bytes as u64 / REPLY_BYTES_PER_NANO));
        self.after_call(server, client, start, called);
    }

    /// What follows from a command of `client` whose reply begins at `start` and is the last in the
    /// buffer.
    fn after_call(&mut self, server: &mut Server, client: u32, start: usize, called: Called) {
        server.settle();
        if server.aof.is_on
            && let Some(position) = server.note_logged(client, called)
        {
            self.marks.push(Mark::ack(start, self.reply.len(), position));
        }
        if server.outbox.is_empty() {
            add_span(&mut self.spans, client, start, self.reply.len());
        } else {
            self.take_outbox_around(server, client, start);
        }
    }

    /// Tells clients that broke the protocol, and lets them go.
    fn refuse_bad_requests(&mut self, server: &mut Server) {
        for i in 0..self.entries.len() {
            let Some(error) = self.entries[i].error.take() else { continue };
            let index = self.entries[i].client;
            let Some(client) = server.clients.get_mut(index) else { continue };
            if client.closing != Closing::No {
                continue;
            }
            server.log.verbose(format_args!("{error} from client {}", client.addr));
            client.close(Closing::AfterReplies);
            let start = self.reply.len();
            self.reply.error(&format!("ERR {error}"));
            server.stats.count_error(&self.reply.bytes()[start..]);
            add_span(&mut self.spans, index, start, self.reply.len());
        }
    }

    /// Puts the messages of the outbox behind the replies so far.
    fn take_outbox(&mut self, server: &mut Server) {
        let end = self.reply.len();
        self.take_outbox_around(server, 0, end);
    }

    /// Puts the messages of the outbox around a reply that begins at `start` and is the last in the
    /// buffer: behind it, but for those that go early.
    fn take_outbox_around(&mut self, server: &mut Server, client: u32, start: usize) {
        let base = self.reply.len();
        let (bytes, spans) = server.outbox.parts();
        self.reply.raw(bytes);
        if server.aof.is_on {
            self.mark_outbox(server, base);
        }
        let (early, late) = spans.split_at(server.outbox.early());
        for (client, range) in early {
            add_span(&mut self.spans, *client, base + range.start, base + range.end);
        }
        if start < base {
            add_span(&mut self.spans, client, start, base);
        }
        for (client, range) in late {
            add_span(&mut self.spans, *client, base + range.start, base + range.end);
        }
        server.outbox.clear();
    }

    /// Sends the replies: once to each client, whatever came between its replies. What has been written
    /// is in the log before.
    fn flush(&mut self, server: &mut Server) {
        if self.spans.len() > 1 {
            // Stable: each client's own stay in order.
            self.spans.sort_by_key(|span| span.client);
        }
        if server.aof.is_on && !server.flush_log() {
            self.hold_back(server);
            self.marks.clear();
            self.spans.clear();
            self.reply.clear(KEEP_REPLY_BYTES);
            return;
        }
        self.marks.clear();
        let bytes = self.reply.bytes();
        for spans in self.spans.chunk_by(|a, b| a.client == b.client) {
            match spans {
                [] => {}
                [span] if !span.is_long() => server.send(span.client, &bytes[span.start..span.end]),
                [first, ..] => {
                    self.joined.clear();
                    for span in spans {
                        if span.is_long() {
                            if !self.joined.is_empty() {
                                server.send(span.client, &self.joined);
                                self.joined.clear();
                            }
                            let copies = self.copies.entry((span.start, span.end)).or_default();
                            server.send_message(span.client, &bytes[span.start..span.end], copies);
                        } else {
                            self.joined.extend_from_slice(&bytes[span.start..span.end]);
                        }
                    }
                    if !self.joined.is_empty() {
                        server.send(first.client, &self.joined);
                    }
                }
            }
        }
        self.copies.clear();
        self.copies.shrink_to(KEEP_COPIES);
        self.joined.clear();
        self.joined.shrink_to(KEEP_REPLY_BYTES);
        self.spans.clear();
        self.reply.clear(KEEP_REPLY_BYTES);
    }
}

/// A command that has run, or waits.
#[derive(Debug, Clone, Copy)]
struct Ran {
    client: u32,
    called: Called,
    /// It is measured alone.
    is_slow: bool,
    /// It lay in a buffer of its client's own.
    is_own: bool,
    reply_bytes: usize,
}

impl Ran {
    /// Counts it, and takes its time if it is measured alone: so many nanoseconds. The clock was read last at
    /// `measured`.
    fn note(
        self,
        server: &mut Server,
        argv: &[&[u8]],
        unmeasured: &mut Vec<u16>,
        measured: &mut Instant,
    ) -> Option<u64> {
        let Ran { client, called, is_slow, is_own, reply_bytes } = self;
        // A command that waits counts once it is answered.
        let waits =
            is_slow && server.clients.get(client).is_some_and(|client| client.session.hold == Hold::Blocked);
        let ran = match called {
            Called::Ran(number) if !waits => Some(number),
            _ => None,
        };
        match ran {
            Some(number) => {
                server.stats.commands += 1;
                unmeasured.push(number);
            }
            None => server.uncount_run(client),
        }
        let mut nanos = None;
        if is_slow {
            let began = *measured;
            *measured = share_time(server, unmeasured, began);
            nanos = Some(nanos_between(began, *measured));
        }
        if let Some(number) = ran {
            let observer = &server.observer;
            let may_be_large = is_own || observer.logs_small_requests;
            if is_slow || may_be_large || reply_bytes >= observer.large_reply_bytes {
                server.observe(client, number, argv, Cost { nanos, reply_bytes, has_request: true });
            }
        }
        nanos
    }
}

impl Entry {
    /// Nothing more to come of this client in this batch.
    fn done(client: u32) -> Entry {
        Entry { is_done: true, ..Entry::new(client, Source::Arena, 0, 0) }
    }

    fn new(client: u32, source: Source, at: usize, end: usize) -> Entry {
        Entry {
            client,
            source,
            at,
            end,
            is_done: false,
            is_held: false,
            is_cut_short: false,
            has_run: false,
            work: (end - at) as u64 * NANOS_PER_INPUT_BYTE,
            error: None,
            db: 0,
            fetched_bytes: 0,
        }
    }

    /// The buffer that its commands lie in.
    fn bytes<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match &self.source {
            Source::Arena => &arena[..self.end],
            Source::Own(own) => own,
        }
    }

    /// A command of it has run for so many nanoseconds.
    #[inline]
    fn note_work(&mut self, nanos: u64) {
        self.has_run = true;
        self.work += nanos;
    }

    /// Has everything from the command at `start` on wait: it will be parsed again.
    fn hold_from(&mut self, start: usize, client: &mut Client) {
        if !self.is_held {
            self.is_held = true;
            self.is_done = true;
            self.at = start;
            self.error = None;
            client.connection.parser = Parser::default();
        }
    }

    /// Has the bytes of `before`, then this command, and then what lies from `rest` on be parsed next.
    fn put_in_place(&mut self, before: Range<usize>, command: &[u8], rest: usize, arena: &[u8]) {
        let bytes = match &self.source {
            Source::Arena => &arena[..self.end],
            Source::Own(own) => &own[..self.end],
        };
        let all = [&bytes[before], command, &bytes[rest..]].concat();
        (self.at, self.end) = (0, all.len());
        self.source = Source::Own(all);
    }
}

/// A command as most clients send it.
fn multibulk(argv: &[&[u8]]) -> Vec<u8> {
    let mut command = Reply::new(Protocol::Resp2);
    command.array(argv.len());
    argv.iter().for_each(|word| command.bulk(word));
    command.take()
}

/// Takes what a client sends while it has to wait. An error of kind `UnexpectedEof` if it is gone.
fn read_held(client: &mut Client) -> io::Result<()> {
    let before = client.connection.input.len();
    let is_closed = match client.stream.read_append(READ_BYTES, &mut client.connection.input) {
        Err(e) if is_nothing(&e) => return Ok(()),
        Err(e) => return Err(e),
        Ok(is_closed) => is_closed,
    };
    let read = client.connection.input.len() - before;
    client.read_bytes += read as u64;
    if is_closed && read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Notes that what stands in the buffer of replies from `start` to `end` is for `client`.
fn add_span(spans: &mut Vec<Span>, client: u32, start: usize, end: usize) {
    match spans.last_mut() {
        Some(last) if last.client == client && last.end == start => last.end = end,
        _ => spans.push(Span { client, start, end }),
    }
}

/// Charges the time since `since` evenly to the commands of `ran`. Returns the time now.
fn share_time(server: &mut Server, ran: &mut Vec<u16>, since: Instant) -> Instant {
    if ran.is_empty() {
        return since;
    }
    let now = Instant::now();
    let nanos = nanos_between(since, now);
    let each = nanos / ran.len() as u64;
    // One command often comes many times in a row.
    for same in ran.chunk_by(|a, b| a == b) {
        let (number, times) = (same[0], same.len() as u64);
        server.charge(number, each, times);
    }
    if nanos > STALE_NANOS {
        if ran.len() > 1 {
            server.observer.suspect(nanos);
        }
        server.read_clock();
    }
    ran.clear();
    now
}

fn nanos_between(since: Instant, until: Instant) -> u64 {
    u64::try_from(until.duration_since(since).as_nanos()).unwrap_or(u64::MAX)
}

/// Keeps what a client has sent and that is not a whole command yet, or that there was no time for: then
/// true.
fn keep_rest(arena: &[u8], server: &mut Server, entry: Entry) -> bool {
    let Some(client) = server.clients.get_mut(entry.client) else { return false };
    client.in_flight = 0;
    let is_cut_short = entry.at < entry.end && (entry.is_cut_short || !entry.is_done);
    // Half a command tells nothing, unless it is a large half.
    if entry.has_run || (!is_cut_short && entry.work >= u64::from(LIGHT_NANOS)) {
        client.weight.note(entry.work);
    }
    if client.closing != Closing::No {
        // Whatever has marked it, it is looked at when the turn ends.
        server.mark_closing(entry.client);
        return false;
    }
    if entry.at == entry.end {
        return false;
    }
    client.is_cut_short = is_cut_short;
    client.connection.input = match entry.source {
        Source::Arena => arena[entry.at..entry.end].to_vec(),
        Source::Own(own) if entry.at == 0 => own,
        Source::Own(own) => own[entry.at..].to_vec(),
    };
    if !is_cut_short {
        close_if_too_long(server, entry.client);
    }
    is_cut_short
}

/// Disconnects a client that has sent more than it may without a whole command in it.
fn close_if_too_long(server: &mut Server, index: u32) {
    let limit = usize::try_from(server.config.query_buffer_limit).unwrap_or(usize::MAX);
    let Some(client) = server.clients.get_mut(index) else { return };
    let rest = client.connection.input.len();
    server.stats.peak_input = server.stats.peak_input.max(rest);
    if rest > limit {
        server
            .log
            .warning(format_args!("Closing client that reached max query buffer length: {}", client.addr));
        server.stats.query_buffer_disconnections += 1;
        client.close(Closing::Now);
        server.mark_closing(index);
    }
}

/// Whether two keys are the same; most that are not differ in their last bytes.
#[inline]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.last_chunk::<4>() == b.last_chunk::<4>() && a == b
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
