//! A command that may run a script or load data, and what becomes of the rest of its batch if that takes long.
//!
//! Such a command is run apart from the buffers of its batch. They are put aside meanwhile, where another batch
//! that answers clients from inside of it finds them: replies that are ready are sent, and what other
//! clients have sent is given back to them, so that they are answered, too, and wait for nothing that stands
//! in front of them by chance. Who runs the command waits. Behaviour: valkey src/networking.c
//! `processEventsWhileBlocked`.

use std::time::Instant;

use cairn_engine::codec::resp::{Arg, Reply};
use smallvec::SmallVec;

use super::{
    Batch, CUT_REPLY_BYTES, Entry, INLINE_ARGS, KEEP_REPLY_BYTES, Mark, Parse, READ_BYTES,
    REPLY_BYTES_PER_NANO, Ran, Source, Span, keep_rest, share_time,
};
use crate::dispatch::{self, Called};
use crate::server::Server;

/// The buffers of a batch while it runs a command apart.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    reply: Reply,
    spans: Vec<Span>,
    marks: Vec<Mark>,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    args: Vec<Arg>,
    parsed: Vec<Parse>,
    /// That command: its place among those that were parsed.
    call: usize,
    /// Other clients have got back what they have sent.
    is_given_back: bool,
}

impl Batch {
    /// Changes places with what is aside.
    fn swap(&mut self, aside: &mut Aside) {
        std::mem::swap(&mut self.reply, &mut aside.reply);
        std::mem::swap(&mut self.spans, &mut aside.spans);
        std::mem::swap(&mut self.marks, &mut aside.marks);
        std::mem::swap(&mut self.arena, &mut aside.arena);
        std::mem::swap(&mut self.entries, &mut aside.entries);
        std::mem::swap(&mut self.args, &mut aside.args);
        std::mem::swap(&mut self.parsed, &mut aside.parsed);
    }

    /// Runs the command `i` of those that were parsed, which may take long, as `run_one` does others. Its
    /// client may run commands.
    pub(super) fn run_apart(&mut self, server: &mut Server, i: usize, measured: &mut Instant) {
        let Parse { entry: at, start, end, found, first_arg, args, .. } = self.parsed[i];
        let key_hash = self.parsed[i].key_hash();
        *measured = share_time(server, &mut self.unmeasured, *measured);
        let entry = &mut self.entries[at as usize];
        let client = entry.client;
        let Some(caller) = server.clients.get_mut(client) else { return };
        caller.commands += 1;
        let (protocol, class) = (caller.session.protocol, caller.class() as usize);
        // Arguments of a client's own buffer may be large: that is taken as it is.
        let is_own = matches!(entry.source, Source::Own(_));
        let (request, from) = match &mut entry.source {
            Source::Own(own) => (std::mem::take(own), 0),
            Source::Arena => {
                let mut request = std::mem::take(&mut self.script_request);
                request.extend_from_slice(&self.arena[start..end]);
                (request, start)
            }
        };
        let words = self.args[first_arg..first_arg + args].iter();
        let argv: SmallVec<[&[u8]; INLINE_ARGS]> =
            words.map(|arg| Arg { at: arg.at - from, ..*arg }.of(&request)).collect();
        let mut reply = std::mem::take(&mut self.script_reply);
        reply.set_protocol(protocol);
        reply.limit_to(server.config.output_limits[class].reply_limit());
        let mut aside = Aside { call: i, ..Aside::default() };
        self.swap(&mut aside);
        server.scripting.aside = aside;
        let called = dispatch::call(server, client, found, key_hash, &argv, &mut reply);
        let mut aside = std::mem::take(&mut server.scripting.aside);
        self.swap(&mut aside);
        if reply.is_cut() {
            // The limit is one of memory, so what nobody gets leaves none.
            reply.truncate(0);
            reply.shrink_to(CUT_REPLY_BYTES);
            server.close_for_output(client);
        }
        let (reply_at, reply_bytes) = (self.reply.len(), reply.len());
        self.reply.raw(reply.bytes());
        reply.clear(KEEP_REPLY_BYTES);
        self.script_reply = reply;
        let nanos = if called == Called::Held {
            server.uncount_run(client);
            None
        } else {
            let ran = Ran { client, called, is_slow: true, is_own, reply_bytes };
            ran.note(server, &argv, &mut self.unmeasured, measured)
        };
        drop(argv);
        self.put_request_back(at as usize, request);
        if called == Called::Held {
            self.put_back(server, i);
            return;
        }
        self.entries[at as usize].note_work(nanos.unwrap_or(reply_bytes as u64 / REPLY_BYTES_PER_NANO));
        self.after_call(server, client, reply_at, called);
    }

    fn put_request_back(&mut self, entry: usize, mut request: Vec<u8>) {
        match &mut self.entries[entry].source {
            Source::Own(own) => *own = request,
            Source::Arena => {
                request.clear();
                request.shrink_to(READ_BYTES);
                self.script_request = request;
            }
        }
    }

    /// Sends what the batch has ready that runs a command apart, and gives other clients back what they have in
    /// it. The client of that command.
    pub(crate) fn take_over(&mut self, server: &mut Server, aside: &mut Aside) -> Option<u32> {
        self.swap(aside);
        if !self.spans.is_empty() {
            self.flush(server);
        }
        let current = self.parsed.get(aside.call).map(|call| call.entry);
        if !std::mem::replace(&mut aside.is_given_back, true) {
            self.give_others_back(server, aside.call, current);
        }
        let client = current.map(|current| self.entries[current as usize].client);
        self.swap(aside);
        client
    }

    /// Gives clients what they have sent and what is not run, but for the one of `current`.
    fn give_others_back(&mut self, server: &mut Server, call: usize, current: Option<u32>) {
        for i in call + 1..self.parsed.len() {
            if Some(self.parsed[i].entry) != current {
                self.put_back(server, i);
            }
        }
        self.parsed.retain({
            let mut at = 0;
            move |parse| {
                at += 1;
                at <= call + 1 || Some(parse.entry) == current
            }
        });
        for at in (0..self.entries.len()).filter(|at| Some(*at as u32) != current) {
            let index = self.entries[at].client;
            let mut entry = std::mem::replace(&mut self.entries[at], Entry::done(index));
            if entry.error.is_some()
                && let Some(client) = server.clients.get_mut(index)
            {
                // It is found again when that is parsed again.
                entry.is_cut_short = true;
                entry.hold_from(entry.at, client);
            }
            if keep_rest(&self.arena, server, entry) {
                server.put_in_queue(index);
            }
            server.count_client(index);
        }
    }
}
