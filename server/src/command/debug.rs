//! DEBUG: for tests, and for those who look into a server.
//!
//! Behaviour: valkey src/debug.c.

use std::time::Duration;

use cairn_engine::base::num;
use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{ADMIN, Group, LOADING, NOSCRIPT, PROTECTED, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome};
use cairn_engine::engine::Engine;
use cairn_engine::transcode::dump;
use cairn_engine::value::{StringValue, Value};

use super::{Call, SessionCommand};
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

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Write the configuration to its file, defaults included.",
    "DIGEST",
    "    Print a hex digest of the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Print a hex digest of the values of keys.",
    "ERROR <string>",
    "    Answer an error of this text.",
    "LOG <message>",
    "    Write a message to the log.",
    "OBJECT <key>",
    "    Print facts about the value of a key.",
    "PAUSE-CRON <0|1>",
    "    Let the periodic steps rest.",
    "PROTOCOL <type>",
    "    Answer a test value: string, integer, double, null, array, set, map, attrib, push, verbatim,",
    "    true, false, bignum.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make keys named key:<num>, or prefix:<num>.",
    "RELOAD [NOSAVE]",
    "    Save the data set, unless told not to, and load it again.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Switch the removal of expired keys that nobody asks for.",
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
        (b"error", 3) => Err(CommandError::Text(String::from_utf8_lossy(args.at(2)).into_owned().into())),
        (b"log", 3) => {
            call.server.log.warning(format_args!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(2))));
            call.reply.ok();
            Ok(())
        }
        (b"object", 3) => object(call, args.at(2)),
        (b"pause-cron", 3) => {
            call.server.is_cron_paused = args.int(2)? != 0;
            call.reply.ok();
            Ok(())
        }
        (b"protocol", 3) => protocol(call.reply, args.at(2)),
        (b"populate", 3..=5) => populate(call, args),
        (b"reload", 2) => reload(call, true),
        (b"reload", 3) if args.is(2, "NOSAVE") => reload(call, false),
        (b"set-active-expire", 3) => {
            call.server.is_expiring = args.int(2)? != 0;
            call.reply.ok();
            Ok(())
        }
        (b"sleep", 3) => {
            let seconds = num::parse_f64(args.at(2)).filter(|s| (0.0..=MAX_SLEEP_SECONDS).contains(s));
            std::thread::sleep(Duration::from_secs_f64(seconds.ok_or(CommandError::NotFloat)?));
            call.reply.ok();
            Ok(())
        }
        _ => {
            let word = String::from_utf8_lossy(args.at(1));
            let text =
                format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try DEBUG HELP.");
            Err(CommandError::Text(text.into()))
        }
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

fn object(call: &mut Call<'_>, key: &[u8]) -> Outcome {
    let db = call.session().db;
    let keys = engine(call)?.keyspace_mut().db_mut(db);
    let idle = keys.idle_s(key).unwrap_or(0);
    let value = keys.get(key).ok_or(CommandError::NoSuchKey)?;
    // A dump is the value and, behind it, version and checksum.
    const FOOTER_BYTES: usize = 10;
    let serialized = dump::dump(value).len().saturating_sub(FOOTER_BYTES + 1);
    let encoding = value.encoding_name();
    // There is no object with an address: the value is a part of its key's record.
    let text = format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{serialized} lru:0 lru_seconds_idle:{idle}"
    );
    call.reply.simple(&text);
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
                string|integer|double|null|array|set|map|attrib|push|verbatim|true|false";
            return Err(CommandError::text(text));
        }
    }
    Ok(())
}

fn populate(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let count = args.int(2)?;
    if count < 0 {
        return Err(CommandError::OutOfRange);
    }
    let prefix = args.get(3).unwrap_or(b"key");
    let size = args.get(4).map(|_| args.int(4)).transpose()?;
    let size = size.map(|n| usize::try_from(n).map_err(|_| CommandError::OutOfRange)).transpose()?;
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

fn reload(call: &mut Call<'_>, saves: bool) -> Outcome {
    if call.server.is_saving() {
        call.server.cancel_save();
    }
    call.server.reload(saves).map_err(|why| CommandError::Text(format!("ERR {why}").into()))?;
    call.reply.ok();
    Ok(())
}
