//! What the commands of a batch will look up, asked for before they run, so that they wait for memory together
//! and not one after the other. Changes nothing but speed: buckets first, then entries, then fields and members.

use std::collections::VecDeque;
use std::ops::Range;

use cairn_engine::keyspace::{Db, Keyspace, Place};
use cairn_engine::value::LargeTable;
use smallvec::SmallVec;

use super::{Batch, Entry, Parse};
use crate::server::Server;

/// So many commands look for fields and members together.
pub(super) const PREFETCH_CALLS: usize = 32;

/// The entry of a command is asked for when the one so many before it runs.
const PREFETCH_AHEAD: usize = 12;

/// And if it lies in the next bucket, when the one so many before it runs.
const NEXT_AHEAD: usize = 8;

/// And if it lies in a stash, so many before it.
const STASH_AHEAD: usize = 4;

/// While commands are parsed, the entry of a command is asked for when the one so many behind it is parsed:
/// its bucket has come by then.
const PARSED_BETWEEN: usize = 6;

/// Calls on small hashes and sets among them after which no more large ones are looked for.
const SMALL_CALLS: usize = 2;

/// A smaller database is in the processor's cache anyhow.
pub(super) const PREFETCH_KEYS: usize = 10_000;

/// How far buckets and entries have been asked for.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The first command whose bucket has not been.
    bucket: usize,
    /// The first command whose entry has not been.
    entry: usize,
    /// Commands whose entry may lie in the bucket next to its own, which has been asked for.
    in_next: VecDeque<usize>,
    /// Commands whose entry may lie in a stash, which has been asked for.
    in_stash: VecDeque<usize>,
    /// There is something to be asked for.
    is_of_use: bool,
}

impl Ahead {
    /// Begins with other commands.
    pub(super) fn begin(&mut self) {
        (self.bucket, self.entry, self.is_of_use) = (0, 0, false);
        self.in_next.clear();
        self.in_stash.clear();
    }

    /// Notes that some of the commands are on databases large enough for this.
    #[inline]
    pub(super) fn expect_use(&mut self) {
        self.is_of_use = true;
    }

    /// As `fetch`, while commands are being parsed: asks for the bucket of the one behind `parsed`, given by
    /// its entry and its key's hash, and for the entry of one a few before it of the same client, if these are among the first to run.
    #[inline]
    pub(super) fn fetch_parsed(
        &mut self,
        db: &Db,
        (entry, hash): (u32, u64),
        parsed: &[Parse],
        bytes: usize,
    ) {
        let i = parsed.len();
        if i != self.bucket || i >= 2 * PREFETCH_AHEAD {
            return;
        }
        db.prefetch(hash);
        self.bucket = i + 1;
        if let Some(before) = i.checked_sub(PARSED_BETWEEN)
            && self.entry == before
            && before < PREFETCH_AHEAD
            && parsed[before].entry == entry
            && parsed[before].key_at > 0
        {
            if db.prefetch_entry_at(parsed[before].hash, Place::Home, bytes).is_some() {
                self.in_next.push_back(before);
            }
            self.entry = before + 1;
        }
    }

    /// Asks for the entries of the commands up to a few behind `i`, and for the buckets of as many behind
    /// those. No sooner: what comes long before it is needed has gone from the nearest cache again.
    #[inline]
    pub(super) fn fetch(&mut self, keyspace: &Keyspace, parsed: &[Parse], entries: &[Entry], i: usize) {
        if self.is_of_use {
            self.fetch_more(keyspace, parsed, entries, i);
        }
    }

    fn fetch_more(&mut self, keyspace: &Keyspace, parsed: &[Parse], entries: &[Entry], i: usize) {
        let fetched = |i: usize| {
            let call = &parsed[i];
            let entry = &entries[call.entry as usize];
            (call.key_at > 0 && entry.fetched_bytes > 0)
                .then(|| (keyspace.db(entry.db), call.hash, entry.fetched_bytes))
        };
        for i in self.bucket..parsed.len().min(i + 2 * PREFETCH_AHEAD) {
            if let Some((db, hash, _)) = fetched(i) {
                db.prefetch(hash);
            }
            self.bucket = i + 1;
        }
        for i in self.entry..parsed.len().min(i + PREFETCH_AHEAD) {
            if let Some((db, hash, bytes)) = fetched(i)
                && db.prefetch_entry_at(hash, Place::Home, bytes).is_some()
            {
                self.in_next.push_back(i);
            }
            self.entry = i + 1;
        }
        while let Some(at) = self.in_next.pop_front_if(|at| *at <= i + NEXT_AHEAD) {
            if let Some((db, hash, bytes)) = fetched(at)
                && db.prefetch_entry_at(hash, Place::Next, bytes).is_some()
            {
                self.in_stash.push_back(at);
            }
        }
        while let Some(at) = self.in_stash.pop_front_if(|at| *at <= i + STASH_AHEAD) {
            if let Some((db, hash, bytes)) = fetched(at) {
                db.prefetch_entry_at(hash, Place::Stash, bytes);
            }
        }
    }
}

impl Batch {
    /// Asks the CPU for what the commands from `first` on will look up, so that they wait for memory
    /// together and not one after the other. Changes nothing but speed.
    pub(super) fn prefetch(&mut self, server: &Server, first: usize) {
        let Some(engine) = &server.engine else { return };
        let last = self.parsed.len().min(first + PREFETCH_CALLS);
        if self.parsed.len() < 2 {
            return;
        }
        let keyspace = engine.keyspace();
        // Fields and members are looked for in the entries: all of those are asked for before.
        self.ahead.fetch(keyspace, &self.parsed, &self.entries, if self.has_members { last } else { first });
        if self.has_members {
            self.prefetch_members(keyspace, server, first..last);
        }
    }

    /// As `prefetch`, for the fields and members that commands on large hashes, sets and sorted sets will look up.
    fn prefetch_members(&self, keyspace: &Keyspace, server: &Server, calls: Range<usize>) {
        let mut small = 0;
        let mut fetched: SmallVec<[(LargeTable<'_>, u64); PREFETCH_CALLS]> = SmallVec::new();
        for call in &self.parsed[calls] {
            let (Some(number), Some((at, hash))) = (call.found, call.key_hash()) else { continue };
            let member_at = server.commands.entry(number).member_at;
            if member_at == 0 || at + member_at >= call.args {
                continue;
            }
            let entry = &self.entries[call.entry as usize];
            // What waits may lie elsewhere by now, and is parsed again.
            if entry.is_held {
                continue;
            }
            let buf = entry.bytes(&self.arena);
            let arg = |i: usize| self.args[call.first_arg + i].of(buf);
            let found = keyspace.db(entry.db).entry_hashed(hash, arg(at));
            let Some(table) = found.and_then(|entry| LargeTable::of(entry.view())) else {
                // Where the first ones are small, the others will be, too: looking costs time.
                small += 1;
                if small == SMALL_CALLS {
                    break;
                }
                continue;
            };
            let hash = table.hash(arg(at + member_at));
            table.prefetch(hash);
            fetched.push((table, hash));
        }
        fetched.iter().for_each(|(table, hash)| table.prefetch_item(*hash));
        fetched.retain(|(table, hash)| table.prefetch_rest(*hash));
    }
}
