//! The version of a snapshot is the lowest that holds the data, whatever turns up where in the file, and
//! the file is written once.

use std::path::{Path, PathBuf};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Dialect, Options, Target};
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::{self, Args};
use cairn_engine::engine::{Caller, Engine, EngineConfig};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::snapshot::TargetChoice;
use cairn_engine::value::{Opaque, OpaqueDialect, StringValue, Value};

use crate::fresh;
use crate::simulated::{Call, DIR, Fault, Plan, Simulated};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const LATER: UnixMs = UnixMs(NOW.0 + 5_000);
/// More bytes than a writer gathers before it hands them over.
const LARGE_BYTES: usize = 300_000;

fn path() -> PathBuf {
    Path::new(DIR).join("dump.rdb")
}

fn engine(disk: &Simulated, choice: TargetChoice) -> Engine {
    let mut config = EngineConfig { apart: Apart::Here, ..fresh::config(&path()) };
    config.settings.target = choice;
    Engine::with_storage(config, NOW, disk.storage())
}

fn run(engine: &mut Engine, lines: &str) {
    for line in lines.split('|') {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let name = words[0].to_ascii_lowercase();
        let command = command::all().find(|c| c.spec.name.as_bytes() == name).expect("a command");
        let command = words.get(1).and_then(|sub| command.subcommand(sub)).unwrap_or(command);
        let mut reply = Reply::new(Protocol::Resp2);
        engine.apply(command, Args(&words), Caller::new(0, NOW), &mut reply);
        assert!(!reply.bytes().starts_with(b"-"), "{line}: {}", reply.bytes().escape_ascii());
    }
}

/// Something that only Redis 8.8 and later have.
fn array() -> Value {
    Value::Opaque(Box::new(Opaque {
        dialect: OpaqueDialect::Redis,
        version: 14,
        type_byte: 28,
        payload: b"\x01\x00\x00\x03\x01s".as_slice().into(),
        meta: None,
        type_name: "array".into(),
    }))
}

fn pad(engine: &mut Engine, db: usize) {
    let text = "x".repeat(LARGE_BYTES);
    engine.keyspace_mut().db_mut(db).set(b"pad", Value::String(StringValue::new(text.as_bytes())), None);
}

/// Saves, and looks at what another engine finds. Answers the target and how often the file was begun.
fn save(disk: &Simulated, engine: &mut Engine) -> (Target, usize) {
    disk.fail(Some(Plan { after: usize::MAX, fault: Fault::Short, lasts: false, only: Some(Call::Create) }));
    let saved = engine.save(NOW, 0).expect("it can be said");
    let begun = disk.calls();
    disk.fail(None);
    let bytes = disk.get(path()).expect("a file");
    assert_eq!(&bytes[..9], &saved.target.version().magic());
    assert_eq!(bytes.len() as u64, saved.bytes);
    let mut again = self::engine(disk, TargetChoice::Auto(Dialect::Redis));
    again
        .load(LATER, Options { require_checksum: true, ..Options::default() }, &mut |_| {})
        .expect("it loads");
    again.settings.target = engine.settings.target;
    assert_eq!(again.digest(), engine.digest());
    (saved.target, begun)
}

fn check(family: Dialect, lines: &str, target: Target) {
    let disk = Simulated::new();
    let mut engine = engine(&disk, TargetChoice::Auto(family));
    pad(&mut engine, 0);
    run(&mut engine, lines);
    pad(&mut engine, 1);
    assert_eq!(save(&disk, &mut engine), (target, 1), "{lines}");
}

#[test]
fn common_data_are_for_redis_7_0() {
    let all = "SET s 1 | SET t text PX 100000000 | RPUSH l a b c | SADD ints 1 2 3 | SADD small a b c 7 \
         | HSET h f v | ZADD z 1 a 2.5 b | XADD x 1-1 f v | XGROUP CREATE x g 0 | SETBIT b 9 1 | PFADD p a b";
    for family in [Dialect::Redis, Dialect::Valkey] {
        check(family, all, Target::Redis70);
    }
}

#[test]
fn a_consumer_that_was_just_served_needs_nothing_more() {
    let lines = "XADD x 1-1 f v | XGROUP CREATE x g 0 | XREADGROUP GROUP g me STREAMS x >";
    check(Dialect::Redis, lines, Target::Redis70);
}

#[test]
fn a_consumer_that_came_for_nothing_is_remembered_as_that() {
    let lines = "XGROUP CREATE x g 0 MKSTREAM | XGROUP CREATECONSUMER x g me";
    for family in [Dialect::Redis, Dialect::Valkey] {
        check(family, lines, Target::Redis72);
    }
}

#[test]
fn fields_that_expire_are_of_the_family() {
    let lines = "HSET h f v g w | HPEXPIRE h 100000000 FIELDS 1 f | XGROUP CREATE x g 0 MKSTREAM \
         | XGROUP CREATECONSUMER x g me";
    check(Dialect::Redis, lines, Target::Redis74);
    check(Dialect::Valkey, lines, Target::Valkey9);
}

#[test]
fn what_only_the_other_family_has_makes_it_that_one() {
    let disk = Simulated::new();
    let mut engine = engine(&disk, TargetChoice::Auto(Dialect::Valkey));
    run(&mut engine, "HSET h f v | HPEXPIRE h 100000000 FIELDS 1 f");
    pad(&mut engine, 0);
    engine.keyspace_mut().db_mut(1).set(b"a", array(), None);
    // The hash was already there in Valkey's way.
    assert_eq!(save(&disk, &mut engine), (Target::Redis88, 2));
}

#[test]
fn a_file_without_a_checksum_is_raised_as_well() {
    let disk = Simulated::new();
    let mut engine = engine(&disk, TargetChoice::Auto(Dialect::Redis));
    engine.settings.checksum = false;
    pad(&mut engine, 0);
    run(&mut engine, "HSET h f v | HPEXPIRE h 100000000 FIELDS 1 f");
    assert_eq!(engine.save(NOW, 0).expect("it can be said").target, Target::Redis74);
    let bytes = disk.get(path()).expect("a file");
    assert!(bytes.starts_with(b"REDIS0012") && bytes.ends_with(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_named_target_is_kept_to() {
    let disk = Simulated::new();
    for (target, lines, is_fine) in [
        (Target::Redis72, "SADD s a b", true),
        (Target::Redis70, "XGROUP CREATE x g 0 MKSTREAM | XGROUP CREATECONSUMER x g me", true),
        (Target::Redis70, "HSET h f v | HPEXPIRE h 100000000 FIELDS 1 f", false),
    ] {
        let mut engine = engine(&disk, TargetChoice::Named(target));
        run(&mut engine, lines);
        match engine.save(NOW, 0) {
            Ok(saved) => assert!(is_fine && saved.target == target, "{lines}: {saved:?}"),
            Err(error) => assert!(!is_fine && error.to_string().contains("redis-7.4 can"), "{error}"),
        }
    }
}
