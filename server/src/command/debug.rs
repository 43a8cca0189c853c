//! DEBUG: for tests, and for those who look into a server.
//!
//! Behaviour: valkey src/debug.c.

use std::time::Duration;

use cairn_engine::base::num;
use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{ADMIN, Group, LOADING, NOSCRIPT, PROTECTED, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome, help};
use cairn_engine::engine::Engine;
use cairn_engine::transcode::dump;
use cairn_engine::value::list::NodeRef;
use cairn_engine::value::{ListRef, StringValue, Value, ValueRef};
use nix::sys::signal::Signal;

use super::info::machine_memory;
use super::{Call, SessionCommand};
use crate::config::kind::parse_memory;
use crate::data::{Keeps, Reload};
use crate::dispatch::LOADING_ERROR;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[DEBUG];

const DEBUG: SessionCommand = SessionCommand::new(
    Spec::new("debug", Group::Server, "1.0.0", -2, "")
        .flags(ADMIN.or(NOSCRIPT).or(LOADING).or(STALE).or(PROTECTED))
        .complexity("Depends on the subcommand")
        .summary("Commands for tests and for looking into a server."),
    debug,
);

/// Longest sleep of DEBUG SLEEP: more is a mistake.
const MAX_SLEEP_SECONDS: f64 = 3600.0;

/// Longest sleep of DEBUG AOF-FLUSH-SLEEP.
const MAX_FLUSH_SLEEP: Duration = Duration::from_secs(60);

/// Most bytes of a list element that a shared node may take.
const MAX_PACKED_THRESHOLD: u64 = (1 << 32) - (1 << 20);

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "AOF-FLUSH-SLEEP <microsec>",
    "    Have the log wait before each write, for tests.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Write the configuration to its file, defaults included.",
    "CLIENT-ENFORCE-REPLY-LIST <0|1>",
    "    Nothing changes: replies never wait in a buffer of a fixed size.",
    "DICT-RESIZING <0|1>",
    "    Let tables of keys grow and shrink.",
    "DIGEST",
    "    Print a hex digest of the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Print a hex digest of the values of keys.",
    "ERROR <string>",
    "    Answer an error of this text.",
    "HTSTATS <dbid> [full]",
    "    Print facts about a database's table.",
    "HTSTATS-KEY <key> [full]",
    "    Print facts about the table of a key's value.",
    "LOADAOF",
    "    Write what is logged, empty the data set, and load the append-only file.",
    "LOG <message>",
    "    Write a message to the log.",
    "OBJECT <key> [fast]",
    "    Print facts about the value of a key; fast leaves out those that take long.",
    "PANIC",
    "    End the process as a mistake in it would.",
    "PAUSE-CRON <0|1>",
    "    Let the periodic steps rest.",
    "PROTOCOL <type>",
    "    Answer a test value: string, integer, double, null, array, set, map, attrib, push, verbatim,",
    "    true, false, bignum.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make keys named key:<num>, or prefix:<num>.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Give list elements from this size on a node of their own; 0 is the default.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Save the data set, unless told not to, and load it again.",
    "REPLYBUFFER <PEAK-RESET-TIME <NEVER|RESET|time>|RESIZING <0|1>>",
    "    Nothing changes: there is no reply buffer that is resized.",
    "SEGFAULT",
    "    End the process by the signal of that name.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Switch the removal of expired keys that nobody asks for.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Let scripts run commands about the server and connections that are denied to them.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Whether RESTORE takes payloads whose checksums do not fit.",
    "SLEEP <seconds>",
    "    Do nothing for a while. Decimals allowed.",
    "HELP",
    "    Print this help.",
];

fn debug(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let word = args.at(1).to_ascii_lowercase();
    match (word.as_slice(), args.len()) {
        (b"help", 2) => {
            call.reply.array(HELP.len());
            for line in HELP {
                call.reply.simple(line);
            }
            Ok(())
        }
        (b"aof-flush-sleep", 3) => {
            let us = u64::try_from(args.int(2)?).unwrap_or(0);
            call.server.aof.flush_sleep = Duration::from_micros(us).min(MAX_FLUSH_SLEEP);
            call.reply.ok();
            Ok(())
        }
        (b"config-rewrite-force-all", 2) => {
            let written = call.server.rewrite_config(true);
            written.map_err(|why| CommandError::Text(format!("ERR {why}").into()))?;
            call.reply.ok();
            Ok(())
        }
        (b"digest", 2) => {
            let digest = engine(call)?.digest();
            call.reply.simple(&hex(&digest));
            Ok(())
        }
        (b"digest-value", _) => digest_value(call, args),
        (b"dict-resizing", 3) => {
            let may_resize = args.int(2)? != 0;
            engine(call)?.keyspace_mut().allow_resize(may_resize);
            call.reply.ok();
            Ok(())
        }
        (b"client-enforce-reply-list", 3) => {
            call.server.counts_all_output = args.int(2)? != 0;
            call.reply.ok();
            Ok(())
        }
        (b"replybuffer", 4) if args.is(2, "PEAK-RESET-TIME") || args.is(2, "RESIZING") => {
            call.reply.ok();
            Ok(())
        }
        (b"error", 3) => {
            let text = String::from_utf8_lossy(args.at(2)).replace(['\r', '\n'], " ");
            Err(CommandError::Text(text.into()))
        }
        (b"htstats", 3..) => table_stats(call, args),
        (b"htstats-key", 3..) => value_table_stats(call, args.at(2)),
        (b"loadaof", 2) => {
            call.server.load_log_again().map_err(CommandError::text)?;
            call.reply.ok();
            Ok(())
        }
        (b"log", 3) => {
            call.server.log.warning(format_args!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(2))));
            call.reply.ok();
            Ok(())
        }
        (b"object", 3 | 4) => object(call, args.at(2), args.len() == 4 && args.is(3, "fast")),
        (b"panic", 2) => {
            call.server.log.warning(format_args!("DEBUG PANIC"));
            std::process::abort();
        }
        (b"segfault", 2) => {
            call.server.log.warning(format_args!("DEBUG SEGFAULT"));
            // The first ends the watch that Rust keeps for overflowing stacks, the second the process.
            for _ in 0..2 {
                nix::sys::signal::raise(Signal::SIGSEGV)
                    .map_err(|e| CommandError::Text(format!("ERR {e}").into()))?;
            }
            Ok(())
        }
        (b"quicklist-packed-threshold", 3) => {
            let bytes = parse_memory(args.at(2)).filter(|bytes| *bytes <= MAX_PACKED_THRESHOLD);
            let text = "ERR argument must be a memory value bigger than 1 and smaller than 4gb";
            let bytes =
                bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or(CommandError::text(text))?;
            engine(call)?.limits.list_large_bytes = bytes;
            call.reply.ok();
            Ok(())
        }
        (b"pause-cron", 3) => {
            call.server.is_cron_paused = args.int(2)? != 0;
            call.reply.ok();
            Ok(())
        }
        (b"protocol", 3) => protocol(call.reply, args.at(2)),
        (b"populate", 3..=5) => populate(call, args),
        (b"reload", _) => {
            const WRONG: CommandError =
                CommandError::text("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
            let (mut saves, mut flushes, mut merges) = (true, true, false);
            for i in 2..args.len() {
                match args.at(i).to_ascii_lowercase().as_slice() {
                    b"nosave" => saves = false,
                    b"noflush" => flushes = false,
                    b"merge" => merges = true,
                    _ => return Err(WRONG),
                }
            }
            let keeps = match (flushes, merges) {
                // There is nothing to merge with.
                (true, _) => Keeps::Nothing,
                (false, true) => Keeps::WhatIsNotInTheFile,
                (false, false) => Keeps::All,
            };
            reload(call, Reload { saves, keeps })
        }
        (b"set-active-expire", 3) => {
            call.server.is_expiring = args.int(2)? != 0;
            call.reply.ok();
            Ok(())
        }
        (b"set-disable-deny-scripts", 3) => {
            call.server.scripting.allows_denied = args.int(2)? != 0;
            call.reply.ok();
            Ok(())
        }
        (b"set-skip-checksum-validation", 3) => {
            let trusts = args.int(2)? != 0;
            engine(call)?.limits.trusts_dumps = trusts;
            call.reply.ok();
            Ok(())
        }
        (b"sleep", 3) => {
            let seconds = num::parse_f64(args.at(2)).filter(|s| (0.0..=MAX_SLEEP_SECONDS).contains(s));
            std::thread::sleep(Duration::from_secs_f64(seconds.ok_or(CommandError::NotFloat)?));
            call.reply.ok();
            Ok(())
        }
        _ => Err(help::bad_subcommand_arguments(args)),
    }
}

fn engine<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Engine, CommandError> {
    call.server.engine.as_mut().ok_or(CommandError::text(LOADING_ERROR))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn digest_value(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let db = call.session().db;
    let engine = engine(call)?;
    let digests: Vec<String> = args.from(2).iter().map(|key| hex(&engine.digest_value(db, key))).collect();
    call.reply.array(digests.len());
    for digest in &digests {
        call.reply.simple(digest);
    }
    Ok(())
}

fn object(call: &mut Call<'_>, key: &[u8], fast: bool) -> Outcome {
    let db = call.session().db;
    let config = &call.server.config;
    let (fill, depth) = (config.list_max_listpack_size, config.list_compress_depth);
    let now = call.server.now;
    let keys = engine(call)?.keyspace_mut().db_mut(db);
    let (idle, lru) = (keys.idle_s(key).unwrap_or(0), lru_clock(keys.accessed_s(key).unwrap_or(0)));
    let freq = keys.freq(key, now);
    let expires = keys.expire_at(key).is_some();
    let value = keys.get(key).ok_or(CommandError::NoSuchKey)?;
    let encoding = value.encoding_name(key.len(), expires);
    // There is no object with an address: the value is a part of its key's record.
    let mut text = format!("Value at:0x0 refcount:1 encoding:{encoding}");
    if !fast {
        // A dump is the value and, behind it, version and checksum.
        const FOOTER_BYTES: usize = 10;
        let serialized = dump::dump(value).len().saturating_sub(FOOTER_BYTES + 1);
        text.push_str(&format!(" serializedlength:{serialized}"));
    }
    match freq {
        Some(freq) => text.push_str(&format!(" lfu_freq:{freq} lfu_access_time_minutes:0")),
        None => text.push_str(&format!(" lru:{lru} lru_seconds_idle:{idle}")),
    }
    if let ValueRef::List(ListRef::Quicklist(list)) = value {
        let (nodes, items) = (list.node_count(), list.len());
        let average = items as f64 / nodes.max(1) as f64;
        let compressed = u8::from(depth != 0);
        text.push_str(&format!(
            " ql_nodes:{nodes} ql_avg_node:{average:.2} ql_listpack_max:{fill} ql_compressed:{compressed}"
        ));
        if !fast {
            let bytes: usize = list.nodes().map(|node| node_bytes(&node)).sum();
            text.push_str(&format!(" ql_uncompressed_size:{bytes}"));
        }
    }
    call.reply.simple(&text);
    Ok(())
}

fn node_bytes(node: &NodeRef<'_>) -> usize {
    match node {
        NodeRef::Packed(pack) => pack.as_bytes().len(),
        NodeRef::Sealed(sealed) => sealed.packed_len(),
        NodeRef::Plain(bytes) => bytes.len(),
    }
}

/// Redis's clock of accesses: seconds in 24 bits.
fn lru_clock(seconds: u64) -> u64 {
    seconds & 0x00ff_ffff
}

/// Places of a table of so many bytes: nine in a bucket of 64.
fn slots(bytes: usize) -> usize {
    bytes / 64 * 9
}

fn write_table(out: &mut String, slots: usize, elements: usize) {
    out.push_str(&format!(
        "Hash table 0 stats (main hash table):\n table size: {slots}\n number of entries: {elements}\n"
    ));
}

fn table_stats(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let index = args.int(2)?;
    let keyspace = engine(call)?.keyspace();
    let db = usize::try_from(index).ok().and_then(|index| keyspace.iter().nth(index));
    let db = db.ok_or(CommandError::text("ERR Out of range database"))?;
    let mut out = "[Dictionary HT]\n".to_owned();
    write_table(&mut out, slots(db.table_bytes()), db.len());
    // Expiries are in the records of the keys.
    out.push_str("[Expires HT]\n");
    call.reply.verbatim(out.as_bytes());
    Ok(())
}

fn value_table_stats(call: &mut Call<'_>, key: &[u8]) -> Outcome {
    let db = call.session().db;
    let entry = engine(call)?.keyspace().db(db).entry(key).ok_or(CommandError::NoSuchKey)?;
    let value = entry.view();
    let has_table = matches!(value.encoding_name(key.len(), false), "hashtable" | "skiplist");
    let elements = match value {
        ValueRef::Set(set) if has_table => set.len(),
        ValueRef::Hash(hash) if has_table => hash.len(),
        ValueRef::Zset(zset) if has_table => zset.len(),
        _ => {
            let text = "ERR The value stored at the specified key is not represented using an hash table";
            return Err(CommandError::text(text));
        }
    };
    let mut out = String::new();
    write_table(&mut out, slots(entry.memory_bytes()), elements);
    call.reply.verbatim(out.as_bytes());
    Ok(())
}

/// A value of the type that a client's test asks for.
fn protocol(reply: &mut Reply, kind: &[u8]) -> Outcome {
    const ITEMS: usize = 3;
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12_345),
        b"double" => reply.double(3141.0 / 1000.0),
        b"null" => reply.null(),
        b"array" => {
            reply.array(ITEMS);
            (0..ITEMS as i64).for_each(|i| reply.int(i));
        }
        b"set" => {
            reply.set(ITEMS);
            (0..ITEMS as i64).for_each(|i| reply.int(i));
        }
        b"map" => {
            reply.map(ITEMS);
            for i in 0..ITEMS as i64 {
                reply.int(i);
                reply.bool(i == 1);
            }
        }
        b"attrib" => {
            if reply.is_resp3() {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !reply.is_resp3() {
                return Err(CommandError::text("ERR RESP2 is not supported by this command"));
            }
            // A push is no reply, and those of a command itself come behind its reply.
            reply.bulk(b"Some real reply following the push reply");
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
        }
        b"verbatim" => reply.verbatim(b"This is a verbatim\nstring"),
        b"true" => reply.bool(true),
        b"false" => reply.bool(false),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => {
            let text = "ERR Wrong protocol type name. Please use one of the following: \
                string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
            return Err(CommandError::text(text));
        }
    }
    Ok(())
}

fn populate(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    const NEGATIVE: CommandError = CommandError::text("ERR value is out of range, must be positive");
    let positive = |i| args.int(i).ok().filter(|n| *n >= 0).ok_or(NEGATIVE);
    let count = positive(2)?;
    // A key takes more than these bytes; a count beyond them would be a request to run out of memory.
    const KEY_BYTES: u64 = 16;
    if count.unsigned_abs() > machine_memory() / KEY_BYTES {
        return Err(CommandError::text("ERR OOM in dbExpand"));
    }
    let prefix = args.get(3).unwrap_or(b"key");
    let size = args.get(4).map(|_| positive(4)).transpose()?;
    let size = size.map(|n| usize::try_from(n).map_err(|_| NEGATIVE)).transpose()?;
    if size.is_some_and(|size| size as u64 > call.server.config.proto_max_bulk_len) {
        return Err(CommandError::StringTooLong);
    }
    let db = call.session().db;
    let engine = engine(call)?;
    let keys = engine.keyspace_mut().db_mut(db);
    let mut made = 0;
    for i in 0..count {
        let key = [prefix, b":", i.to_string().as_bytes()].concat();
        if keys.contains(&key) {
            continue;
        }
        let mut value = format!("value:{i}").into_bytes();
        if let Some(size) = size.filter(|size| *size > 0) {
            value.resize(size, 0);
        }
        keys.set(&key, Value::String(StringValue::new(&value)), None);
        made += 1;
    }
    engine.add_dirty(made);
    call.reply.ok();
    Ok(())
}

fn reload(call: &mut Call<'_>, how: Reload) -> Outcome {
    if call.server.is_loading() {
        return Err(CommandError::text(LOADING_ERROR));
    }
    if call.server.is_saving() {
        call.server.cancel_save();
    }
    call.server.reload(how).map_err(|why| CommandError::Text(format!("ERR {why}").into()))?;
    call.reply.ok();
    Ok(())
}
