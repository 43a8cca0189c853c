//! MEMORY: what keys take, and where the memory is.
//!
//! Sizes of values are known, not sampled, so SAMPLES is read and changes nothing. Behaviour: valkey
//! src/object.c `memoryCommand`; the words of DOCTOR are our own.

use std::collections::HashSet;
use std::fmt::Write;

use cairn_engine::base::num;
use cairn_engine::command::spec::{Flags, Group, KeySpec, LOADING, LOOKS, READONLY, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome, help};
use cairn_engine::os::{jemalloc, memory};

use super::{Call, SessionCommand, SessionFn};
use crate::dispatch::LOADING_ERROR;
use crate::server::Server;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[MEMORY];

/// A key's place in the table: a bucket of 64 bytes has room for nine.
const SLOT_BYTES: usize = 8;

const MEMORY: SessionCommand = SessionCommand::new(
    Spec::new("memory", Group::Server, "4.0.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("What keys take, and where the memory is."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("doctor", 2, "", Flags::NONE, "Says in words what is odd about the memory.", |call, _| {
        let report = diagnose(&Overview::new(call.server)?);
        call.reply.verbatim(report.as_bytes());
        Ok(())
    }),
    sub("help", 2, "", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &MEMORY);
        Ok(())
    }),
    sub("malloc-stats", 2, "", LOADING, "Answers the allocator's own report.", |call, _| {
        call.reply.verbatim(jemalloc::report().as_bytes());
        Ok(())
    })
    .complexity("Depends on how much memory is in use"),
    sub("purge", 2, "", LOADING, "Gives unused pages back to the system.", |call, _| {
        jemalloc::purge();
        call.reply.ok();
        Ok(())
    })
    .complexity("Depends on how much memory is in use"),
    sub("stats", 2, "", Flags::NONE, "Answers where the memory is.", stats),
    USAGE,
]);

const USAGE: SessionCommand = SessionCommand::new(
    Spec::new("usage", Group::Server, "4.0.0", -3, "key [ SAMPLES count:int ]")
        .parent("memory")
        .flags(READONLY)
        .keys(&[KeySpec::one(2, LOOKS)])
        .complexity("O(1) for most values, O(N) in the nodes of lists, sorted sets and streams")
        .summary("Answers how many bytes a key and its value take."),
    usage,
);

const fn sub(
    name: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Server, "4.0.0", arity, syntax).parent("memory");
    SessionCommand::new(spec.flags(flags).summary(summary), run)
}

fn usage(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let mut options = args.from(3).iter();
    while let Some(option) = options.next() {
        let samples = options.next().filter(|_| option.eq_ignore_ascii_case(b"samples"));
        let samples = num::parse_i64(samples.ok_or(CommandError::Syntax)?).ok_or(CommandError::NotInteger)?;
        if samples < 0 {
            return Err(CommandError::Syntax);
        }
    }
    let db = call.session().db;
    let engine = call.server.engine.as_ref().ok_or(CommandError::text(LOADING_ERROR))?;
    match engine.keyspace().db(db).entry(args.at(2)) {
        Some(entry) => call.reply.int((entry.memory_bytes() + SLOT_BYTES) as i64),
        None => call.reply.null(),
    }
    Ok(())
}

/// Where the memory is.
struct Overview {
    used: u64,
    peak: u64,
    startup: u64,
    clients: u64,
    client_count: u64,
    /// Databases, and the bytes of their tables.
    tables: Vec<(usize, u64)>,
    keys: u64,
    allocator: jemalloc::AllocatorStats,
    resident: u64,
}

impl Overview {
    fn new(server: &Server) -> Result<Overview, CommandError> {
        let engine = server.engine.as_ref().ok_or(CommandError::text(LOADING_ERROR))?;
        let used = jemalloc::used_bytes();
        let tables = engine.keyspace().iter().enumerate();
        // Those that somebody works with are told though they are empty.
        let selected: HashSet<usize> = server.clients.iter().map(|(_, client)| client.session.db).collect();
        let tables = tables
            .map(|(i, db)| (i, db.table_bytes() as u64))
            .filter(|(i, bytes)| *bytes > 0 || selected.contains(i));
        Ok(Overview {
            used,
            peak: server.stats.peak_memory.max(used),
            startup: server.startup_memory,
            clients: server.client_memory(),
            client_count: server.clients.len() as u64,
            tables: tables.collect(),
            keys: engine.keyspace().keys() as u64,
            allocator: jemalloc::stats(),
            resident: memory::resident_bytes(),
        })
    }

    fn overhead(&self) -> u64 {
        self.startup + self.clients + self.tables.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// What is in use beyond what was before there was any data.
    fn net(&self) -> u64 {
        self.used.saturating_sub(self.startup)
    }
}

/// A ratio, and the bytes that it is about.
struct Excess {
    ratio: f64,
    bytes: i64,
}

fn excess(whole: u64, part: u64) -> Excess {
    let bytes = i64::try_from(i128::from(whole) - i128::from(part)).unwrap_or(i64::MAX);
    Excess { ratio: whole as f64 / part.max(1) as f64, bytes }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn stats(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    enum Fact {
        Bytes(u64),
        Signed(i64),
        Number(f64),
    }
    use Fact::{Bytes, Number, Signed};
    let view = Overview::new(call.server)?;
    let lut: u64 = view.tables.iter().map(|(_, bytes)| bytes).sum();
    let allocator = view.allocator;
    let fragmentation = excess(allocator.active, allocator.allocated);
    let allocator_rss = excess(allocator.resident, allocator.active);
    let rss = excess(view.resident, allocator.resident);
    let total = excess(view.resident, view.used);
    let head = [
        ("peak.allocated", view.peak),
        ("total.allocated", view.used),
        ("startup.allocated", view.startup),
        ("replication.backlog", 0),
        ("replicas.repl.buffer", 0),
        ("clients.slaves", 0),
        ("clients.normal", view.clients),
        ("cluster.links", 0),
        ("cluster.slot_import", 0),
        ("cluster.slot_export", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
    ];
    let tail = [
        ("overhead.db.hashtable.lut", Bytes(lut)),
        // Tables grow in place.
        ("overhead.db.hashtable.rehashing", Bytes(0)),
        ("overhead.total", Bytes(view.overhead())),
        ("db.dict.rehashing.count", Bytes(0)),
        ("keys.count", Bytes(view.keys)),
        ("keys.bytes-per-key", Bytes(view.net() / view.keys.max(1) * u64::from(view.keys > 0))),
        ("dataset.bytes", Bytes(view.dataset())),
        ("dataset.percentage", Number(percent(view.dataset(), view.net()))),
        ("peak.percentage", Number(percent(view.used, view.peak))),
        ("allocator.allocated", Bytes(allocator.allocated)),
        ("allocator.active", Bytes(allocator.active)),
        ("allocator.resident", Bytes(allocator.resident)),
        ("allocator.muzzy", Bytes(0)),
        ("allocator-fragmentation.ratio", Number(fragmentation.ratio)),
        ("allocator-fragmentation.bytes", Signed(fragmentation.bytes)),
        ("allocator-rss.ratio", Number(allocator_rss.ratio)),
        ("allocator-rss.bytes", Signed(allocator_rss.bytes)),
        ("rss-overhead.ratio", Number(rss.ratio)),
        ("rss-overhead.bytes", Signed(rss.bytes)),
        ("fragmentation", Number(total.ratio)),
        ("fragmentation.bytes", Signed(total.bytes)),
    ];
    let reply = &mut *call.reply;
    reply.map(head.len() + view.tables.len() + tail.len());
    for (name, bytes) in head {
        reply.bulk(name.as_bytes());
        reply.uint(bytes);
    }
    for (number, bytes) in &view.tables {
        reply.bulk(format!("db.{number}").as_bytes());
        reply.map(2);
        reply.bulk(b"overhead.hashtable.main");
        reply.uint(*bytes);
        // Expiries are in the records.
        reply.bulk(b"overhead.hashtable.expires");
        reply.uint(0);
    }
    for (name, fact) in tail {
        reply.bulk(name.as_bytes());
        match fact {
            Bytes(n) => reply.uint(n),
            Signed(n) => reply.int(n),
            Number(n) => reply.double(n),
        }
    }
    Ok(())
}

/// What is odd about the memory, in words.
fn diagnose(view: &Overview) -> String {
    /// With less there is nothing to be said.
    const LITTLE: u64 = 5 << 20;
    /// An excess below this does not matter.
    const MUCH: i64 = 10 << 20;
    /// Bytes that a client may take on average.
    const CLIENT: u64 = 200 << 10;
    if view.used < LITTLE {
        return "There is hardly any data: nothing can be said about the memory.\n".to_owned();
    }
    let is_odd = |excess: &Excess, ratio: f64| excess.ratio > ratio && excess.bytes > MUCH;
    let allocator = view.allocator;
    let mut found = Vec::new();
    if view.peak as f64 / view.used as f64 > 1.5 {
        found.push(
            "Peak: there was a time when half as much again was in use. The allocator keeps pages of that time; \
             they are used before new ones, and MEMORY PURGE gives back what it can.",
        );
    }
    if is_odd(&excess(view.resident, view.used), 1.4) {
        found.push("Resident memory: the system holds much more memory for the process than is in use.");
    }
    if is_odd(&excess(allocator.active, allocator.allocated), 1.1) {
        found.push(
            "Fragmentation: pages of the allocator are partly empty, as after many values were removed.",
        );
    }
    if is_odd(&excess(allocator.resident, allocator.active), 1.1) {
        found.push(
            "Unused pages: the allocator holds pages that nothing is in. MEMORY PURGE gives them back.",
        );
    }
    if is_odd(&excess(view.resident, allocator.resident), 1.1) {
        found.push("Other memory: much of the process's memory is not the allocator's.");
    }
    if view.clients / view.client_count.max(1) > CLIENT {
        found.push(
            "Clients: they take much memory. Look with CLIENT LIST for those that send large requests or do not \
             take their replies.",
        );
    }
    if found.is_empty() {
        return "Nothing is odd about the memory.\n".to_owned();
    }
    let mut out = "This is odd about the memory:\n\n".to_owned();
    for line in found {
        // Writing into memory does not fail.
        let _ = writeln!(out, " * {line}\n");
    }
    out
}
