//! A data set as commands: run on an empty engine they make the same data, whatever the encodings, and
//! real servers that load them as an append only file have the same digest.
//!
//! The conversations and the random calls of other tests are rewritten this way too, by [`copy`].

mod real;

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::base::stream_id::StreamId;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::aof::record::{Content, Parser, Step};
use cairn_engine::codec::rdb::Options;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::{self, Args};
use cairn_engine::engine::{Caller, Engine, EngineConfig};
use cairn_engine::keyspace::EntryRef;
use cairn_engine::keyspace::digest::digest_value;
use cairn_engine::persist::carried::Carried;
use cairn_engine::persist::commands::{unsayable, write_commands};
use cairn_engine::persist::snapshot::Contents;
use cairn_engine::script::{RELOAD_PATIENCE, Versions};
use cairn_engine::transcode::commands::PIECE;
use cairn_engine::value::stream::{Stream, Totals};
use cairn_engine::value::{Limits, ValueRef, ZsetRef};

use crate::fresh;

/// After the files of other servers were made, before the times to live that are to last.
const NOW: UnixMs = UnixMs(1_795_300_000_000);

/// All that an engine holds, as commands.
pub(crate) fn commands_of(engine: &Engine) -> Vec<u8> {
    let mut all = Vec::new();
    let contents = Contents { keyspace: engine.keyspace(), carried: engine.carried() };
    let mut out = |pieces: &[&[u8]]| -> Result<(), Infallible> {
        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        Ok(())
    };
    let mut told = 0;
    let written = write_commands(contents, 0, &mut |keys| told = keys, &mut out);
    let Ok(keys) = written;
    assert_eq!(keys, told);
    assert_eq!(keys, engine.keyspace().iter().map(|db| db.len() as u64).sum::<u64>());
    all
}

/// Runs commands on an engine; answers what was said against any of them.
pub(crate) fn run(engine: &mut Engine, bytes: &[u8], now: UnixMs) -> Vec<String> {
    let mut against = Vec::new();
    let mut parser = Parser::new(0, Some(bytes.len() as u64));
    let mut db = 0;
    loop {
        let at = parser.at() as usize;
        let argv = match parser.next(&bytes[at..], true).expect("what we wrote is well formed") {
            Step::Record(record) => match record.content {
                Content::Command(argv) => argv,
                Content::Annotation(line) => panic!("nobody wrote #{}", line.escape_ascii()),
            },
            Step::Done => return against,
            Step::More { .. } => panic!("there is no more"),
        };
        let words: Vec<&[u8]> = argv.iter().collect();
        let name = String::from_utf8_lossy(words[0]).to_ascii_lowercase();
        if name == "select" {
            db = String::from_utf8_lossy(words[1]).parse().expect("a number");
            continue;
        }
        if name == "function" {
            engine.functions_mut().load(words[2], false, RELOAD_PATIENCE).expect("it was loaded before");
            continue;
        }
        let found = command::all().find(|c| c.spec.name == name).expect("data commands only");
        let meant = words.get(1).and_then(|word| found.subcommand(word)).unwrap_or(found);
        assert!(meant.spec.accepts(words.len()), "{name} with {} words", words.len());
        let mut reply = Reply::new(Protocol::Resp2);
        engine.apply(meant, Args(&words), Caller::repeating(db, now), &mut reply);
        if reply.bytes().first() == Some(&b'-') {
            let said = String::from_utf8_lossy(reply.bytes()).trim_end().to_owned();
            let words: Vec<_> = words.iter().take(12).map(|w| w.escape_ascii().to_string()).collect();
            against.push(format!("{}: {said}", words.join(" ")));
        }
    }
}

/// An engine that got the same data by commands.
pub(crate) fn copy(engine: &Engine, into: &mut Engine, now: UnixMs) {
    let against = run(into, &commands_of(engine), now);
    assert!(against.is_empty(), "refused: {}", against.join("\n"));
}

fn load(path: &Path) -> Engine {
    let mut engine = Engine::new(fresh::config(path), NOW);
    engine.load(NOW, Options::default(), &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
    engine
}

/// What a digest leaves out: the numbers and groups of a stream, but when consumers were there. What was
/// deleted last is not asked of streams that did not say it, as those from before Redis 7.
fn facts(stream: &Stream, says_deleted: bool) -> String {
    let max_deleted_id = if says_deleted { stream.totals().max_deleted_id } else { StreamId::MIN };
    let mut all = format!("{:?}", Totals { max_deleted_id, ..*stream.totals() });
    for (name, group) in stream.groups() {
        let consumers: Vec<_> = group.consumers().map(|c| c.name().escape_ascii().to_string()).collect();
        let pending: Vec<_> = group.pending(StreamId::MIN, StreamId::MAX).collect();
        let name = name.escape_ascii();
        all += &format!("\n{name}: {} {:?} {consumers:?}", group.last_id(), group.entries_read());
        all += &format!(" {pending:?}");
    }
    all
}

/// Whether both have the same digest, but that 0 and -0 are one score: as in Valkey, a small sorted set
/// that is made by commands keeps the former.
fn has_same_digest(one: EntryRef<'_>, other: EntryRef<'_>) -> bool {
    match (one.view(), other.view()) {
        (ValueRef::Zset(zset), ValueRef::Zset(its)) => {
            let pairs = |zset: ZsetRef<'_>| -> Vec<(Vec<u8>, f64)> {
                zset.iter().map(|(member, score)| (member.to_vec(), score)).collect()
            };
            pairs(zset) == pairs(its)
        }
        _ => digest_value(Some(one)) == digest_value(Some(other)),
    }
}

/// In what two engines differ; `None` if in nothing that commands can say.
pub(crate) fn differ(one: &Engine, other: &Engine) -> Option<String> {
    for (index, db) in one.keyspace().iter().enumerate() {
        if db.len() != other.keyspace().db(index).len() {
            return Some(format!("database {index} has another number of keys"));
        }
        for entry in db {
            let Some(its) = other.keyspace().db(index).entry(entry.key()) else {
                return Some(format!("{} is not there", entry.key().escape_ascii()));
            };
            if !has_same_digest(entry, its) {
                return Some(format!("{:?}\nis now\n{:?}", entry.view(), its.view()));
            }
            if entry.expire_at() != its.expire_at() {
                return Some(format!("{} expires otherwise", entry.key().escape_ascii()));
            }
            match (entry.view(), its.view()) {
                (ValueRef::Stream(stream), ValueRef::Stream(its)) => {
                    let says_deleted = stream.totals().max_deleted_id != StreamId::MIN;
                    let (one, other) = (facts(stream, says_deleted), facts(its, says_deleted));
                    if one != other {
                        return Some(format!("{one}\nis now\n{other}"));
                    }
                }
                (ValueRef::Opaque(opaque), ValueRef::Opaque(its)) if opaque != its => {
                    return Some(format!("{opaque:?}\nis now\n{its:?}"));
                }
                (ValueRef::Hash(hash), ValueRef::Hash(its)) => {
                    for field in hash.iter() {
                        let found = field.field.with_bytes(|name| its.lookup(name));
                        if found.map(|(_, at)| at) != Some(field.expire_at) {
                            return Some(format!("{:?} expires otherwise: {found:?}", field));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    None
}

fn small_limits() -> Limits {
    Limits {
        hash_max_listpack_entries: 2,
        set_max_intset_entries: 2,
        set_max_listpack_entries: 2,
        zset_max_listpack_entries: 2,
        list_max_listpack_size: 2,
        stream_node_max_entries: 3,
        ..Limits::DEFAULT
    }
}

fn rdb_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|e| e.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rdb"))
        .collect();
    files.sort();
    files
}

fn check_file(path: &Path) -> Option<String> {
    let engine = load(path);
    for limits in [Limits::DEFAULT, small_limits()] {
        let config = EngineConfig { limits, ..fresh::config(Path::new("")) };
        let mut into = Engine::new(config, NOW);
        let against = run(&mut into, &commands_of(&engine), NOW);
        if !against.is_empty() {
            return Some(format!("{}: refused: {}", path.display(), against.join("\n")));
        }
        if let Some(what) = differ(&engine, &into) {
            return Some(format!("{}: {what}", path.display()));
        }
    }
    None
}

#[test]
fn files_of_real_servers_as_commands_make_the_same_data() {
    let files = rdb_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb"));
    let faults: Vec<String> = files.iter().filter_map(|path| check_file(path)).collect();
    assert!(files.len() > 20 && faults.is_empty(), "{} files: {}", files.len(), faults.join("\n"));
}

#[test]
fn fixtures_as_commands_make_the_same_data() {
    let Some(root) = std::env::var_os("CAIRN_FIXTURES") else {
        println!("skipped: CAIRN_FIXTURES is not set");
        return;
    };
    let producers = fs::read_dir(Path::new(&root).join("made")).unwrap().map(|e| e.unwrap().path());
    let files: Vec<PathBuf> = producers.filter(|p| p.is_dir()).flat_map(|p| rdb_files(&p)).collect();
    let refused = ["keydb-cron", "functions-prega"];
    let known = |path: &&PathBuf| {
        let refused = path.file_stem().is_some_and(|s| refused.iter().any(|r| s == *r));
        !refused && !path.ends_with("redis-4.0-rc1/modules.rdb")
    };
    let faults: Vec<String> = files.iter().filter(known).filter_map(|path| check_file(path)).collect();
    assert!(files.len() > 100 && faults.is_empty(), "{} files: {}", files.len(), faults.join("\n"));
}

/// Runs lines of commands.
fn say(engine: &mut Engine, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let name = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        let found = command::all().find(|c| c.spec.name == name).expect("a data command");
        let meant = words.get(1).and_then(|word| found.subcommand(word)).unwrap_or(found);
        let mut reply = Reply::new(Protocol::Resp2);
        engine.apply(meant, Args(&words), Caller::new(0, NOW), &mut reply);
        assert_ne!(reply.bytes().first(), Some(&b'-'), "{line}: {}", reply.bytes().escape_ascii());
    }
}

fn engine() -> Engine {
    Engine::new(fresh::config(Path::new("")), NOW)
}

/// Rewrites what these lines make, and answers the commands, blanks between the words.
fn rewritten(lines: &str) -> String {
    let mut one = engine();
    say(&mut one, lines);
    let mut other = engine();
    copy(&one, &mut other, NOW);
    if let Some(what) = differ(&one, &other) {
        panic!("{lines}\n{what}");
    }
    let bytes = commands_of(&one);
    let mut parser = Parser::new(0, None);
    let mut said = Vec::new();
    while let Step::Record(record) = parser.next(&bytes[parser.at() as usize..], true).unwrap() {
        let Content::Command(argv) = record.content else { panic!("commands only") };
        let words: Vec<_> = argv.iter().map(|word| word.escape_ascii().to_string()).collect();
        said.push(words.join(" "));
    }
    assert_eq!(said.remove(0), "SELECT 0");
    said.join("\n")
}

#[test]
fn entries_that_are_pending_and_gone_stay_pending() {
    let read = "XADD s 1-1 f v
        XADD s 2-1 f v
        XADD s 3-1 f v
        XGROUP CREATE s g 0
        XGROUP CREATE s h 1-1
        XREADGROUP GROUP g c COUNT 2 STREAMS s >
        XREADGROUP GROUP h d STREAMS s >";
    let whole = rewritten(read);
    assert!(whole.contains("XSETID s 3-1 ENTRIESADDED 3 MAXDELETEDID 0-0\nXGROUP CREATE s g 2-1"), "{whole}");
    assert!(whole.contains("XCLAIM s g c 0 1-1 2-1 TIME"), "{whole}");
    let trimmed = rewritten(&format!("{read}\nXTRIM s MAXLEN 1"));
    assert!(trimmed.contains("XADD s 2-1 x y\nXADD s 3-1 f v\nXGROUP"), "{trimmed}");
    assert!(trimmed.contains("XTRIM s MAXLEN 1\nXSETID"), "{trimmed}");
    let deleted = rewritten(&format!("{read}\nXDEL s 2-1"));
    assert!(deleted.contains("XDEL s 2-1\nXSETID s 3-1 ENTRIESADDED 3 MAXDELETEDID 2-1"), "{deleted}");
    let empty = rewritten(&format!("{read}\nXDEL s 2-1\nXTRIM s MAXLEN 0"));
    assert!(empty.contains("XTRIM s MAXLEN 0\nXSETID s 3-1"), "{empty}");
}

#[test]
fn a_stream_without_entries_is_made_of_one_that_goes() {
    let said = rewritten("XGROUP CREATE s g $ MKSTREAM\nXGROUP CREATECONSUMER s g c");
    let expected = "XADD s MAXLEN 0 0-1 x y\nXSETID s 0-0 ENTRIESADDED 0 MAXDELETEDID 0-0\n\
        XGROUP CREATE s g 0-0 ENTRIESREAD -1\nXGROUP CREATECONSUMER s g c";
    assert_eq!(said, expected);
}

#[test]
fn fields_that_expire_together_go_in_one_command() {
    let said = rewritten(
        "HSET h a 1 b 2 c 3 d 4
        HPEXPIREAT h 1799000000000 FIELDS 2 a c
        HPEXPIREAT h 1799000000001 FIELDS 1 d",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("HSET h ") && lines[0].split(' ').count() == 10, "{said}");
    let both = ["FIELDS 2 a c", "FIELDS 2 c a"].map(|fields| format!("HPEXPIREAT h 1799000000000 {fields}"));
    assert!(both.iter().any(|line| lines.contains(&line.as_str())), "{said}");
    assert!(lines.contains(&"HPEXPIREAT h 1799000000001 FIELDS 1 d"), "{said}");
}

#[test]
fn long_collections_go_in_pieces() {
    let mut words = vec!["RPUSH l".to_owned()];
    words.extend((0..2 * PIECE + 1).map(|i| i.to_string()));
    let said = rewritten(&format!("{}\nPEXPIREAT l 1799000000000", words.join(" ")));
    let lengths: Vec<usize> = said.lines().map(|line| line.split(' ').count() - 2).collect();
    assert_eq!(lengths, [PIECE, PIECE, 1, 1], "{said}");
    assert!(said.ends_with("PEXPIREAT l 1799000000000"), "{said}");
}

#[test]
fn scores_keep_every_digit() {
    let said =
        rewritten("ZADD z 0.1 a 1e300 b -inf c 3 d 450359962737049.75 e 0.30000000000000004 f 5e-324 g");
    let expected = "ZADD z -inf c 5e-324 g 0.1 a 0.30000000000000004 f 3 d 450359962737049.75 e 1e+300 b";
    assert_eq!(said, expected);
}

#[test]
fn module_data_cannot_be_said() {
    let mut carried = Carried::new(Versions::ours("7.4.2"));
    assert_eq!(unsayable(&carried), None);
    let code = b"#!lua name=lib\nredis.register_function('f', function() end)";
    carried.functions.load(code, false, RELOAD_PATIENCE).expect("sound");
    assert_eq!(unsayable(&carried), None);
    carried.module_aux_after.push(vec![1]);
    assert_eq!(unsayable(&carried), Some("module auxiliary data"));
}
