//! Real servers load what is written as commands, and hold then what they hold after loading it as an RDB.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::base::stream_id::StreamId;
use cairn_engine::codec::rdb::Target;
use cairn_engine::codec::resp::Protocol;
use cairn_engine::engine::Engine;
use cairn_engine::persist::snapshot::TargetChoice;
use cairn_engine::value::ValueRef;

use super::{NOW, commands_of, load, rdb_files};
use crate::conversations::Driver;
use crate::conversations::real::Server;

/// A started server; `None` if it does not start from what is there.
fn survivor(start: impl FnOnce() -> Server) -> Option<Server> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(start)).ok()
}

/// A server whose append only file is these commands.
fn start_from_commands(binary: &Path, commands: &[u8]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("appendonlydir");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("appendonly.aof.1.base.aof"), commands).unwrap();
    fs::write(folder.join("appendonly.aof.manifest"), "file appendonly.aof.1.base.aof seq 1 type b\n")
        .unwrap();
    let more = ["--appendonly", "yes", "--enable-debug-command", "yes"];
    Server::start_in(dir, binary, Protocol::Resp2, &more)
}

/// A server whose snapshot this is, written in the version it reads; `None` if that cannot hold it,
/// or the server does not know all of it (modules).
fn start_from_rdb(binary: &Path, engine: &mut Engine, target: Target) -> Option<Server> {
    let dir = tempfile::tempdir().unwrap();
    engine.rdb_path = dir.path().join("dump.rdb");
    engine.settings.target = TargetChoice::Named(target);
    engine.save(NOW, 0).ok()?;
    let more = ["--appendonly", "no", "--enable-debug-command", "yes"];
    survivor(|| Server::start_in(dir, binary, Protocol::Resp2, &more))
}

/// The version that a server writes itself.
fn target_of(server: &Server) -> Target {
    match (server.is_valkey(), server.version()) {
        (true, version) if version >= (9, 0) => Target::Valkey9,
        (false, version) if version >= (8, 10) => Target::Redis810,
        (false, version) if version >= (8, 8) => Target::Redis88,
        (false, version) if version >= (8, 6) => Target::Redis86,
        (false, version) if version >= (7, 4) => Target::Redis74,
        (_, version) if version >= (7, 2) => Target::Redis72,
        _ => Target::Redis70,
    }
}

/// Digest, and of streams also groups and what is pending.
fn contents(server: &mut Server, engine: &Engine) -> String {
    let mut all = server.ask(&["DEBUG", "DIGEST"]);
    assert_eq!(all.len(), 41, "{all}");
    for (index, db) in engine.keyspace().iter().enumerate() {
        server.ask(&["SELECT", &index.to_string()]);
        for entry in db {
            let ValueRef::Stream(stream) = entry.view() else { continue };
            let mut ask = |words: &[&[u8]]| {
                let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
                all += &server.call(&words).escape_ascii().to_string();
            };
            // Who deletes what stands for entries that are gone makes the lag unknown, where streams from
            // before Redis 7 let it be guessed.
            if stream.totals().max_deleted_id != StreamId::MIN {
                ask(&[b"XINFO", b"GROUPS", entry.key()]);
            }
            for (group, _) in stream.groups() {
                ask(&[b"XPENDING", entry.key(), group]);
                ask(&[b"XPENDING", entry.key(), group, b"IDLE", b"0", b"-", b"+", b"0"]);
            }
        }
    }
    all
}

/// Takes sorted sets away that have a score of -0: small ones that are made by commands have 0.
fn without_negative_zeros(engine: &mut Engine) {
    let has_one = |value: ValueRef<'_>| match value {
        ValueRef::Zset(zset) => zset.iter().any(|(_, score)| score == 0.0 && score.is_sign_negative()),
        _ => false,
    };
    for index in 0..engine.keyspace().len() {
        let db = engine.keyspace_mut().db_mut(index);
        let found: Vec<Vec<u8>> = db.iter().filter(|e| has_one(e.view())).map(|e| e.key().to_vec()).collect();
        found.iter().for_each(|key| assert!(db.delete(key, false)));
    }
}

fn check(binary: &Path, path: &Path, target: Target) -> Result<bool, String> {
    let mut engine = load(path);
    without_negative_zeros(&mut engine);
    let Some(mut by_rdb) = start_from_rdb(binary, &mut engine, target) else { return Ok(false) };
    let mut by_commands = start_from_commands(binary, &commands_of(&engine));
    let (one, other) = (contents(&mut by_rdb, &engine), contents(&mut by_commands, &engine));
    if one == other {
        return Ok(true);
    }
    let at = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let near = |text: &str| text[at.saturating_sub(100)..text.len().min(at + 100)].to_owned();
    Err(format!("{}:\n{}\nis now\n{}", path.display(), near(&one), near(&other)))
}

fn files() -> Vec<PathBuf> {
    let mut files = rdb_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb"));
    if let Some(root) = std::env::var_os("CAIRN_FIXTURES") {
        for producer in ["redis-7.0.15", "redis-7.4.1", "redis-8.0.6", "redis-6.2.16", "valkey-9.1.2"] {
            let dir = Path::new(&root).join("made").join(producer);
            if dir.is_dir() {
                files.extend(rdb_files(&dir));
            }
        }
    }
    files
}

#[test]
fn real_servers_load_what_is_written_as_commands() {
    let Some(binary): Option<OsString> = std::env::var_os("CAIRN_REFERENCE_SERVER") else {
        println!("skipped: CAIRN_REFERENCE_SERVER does not name a redis-server or valkey-server");
        return;
    };
    let binary = Path::new(&binary);
    let target = target_of(&Server::start(binary, Protocol::Resp2));
    let files = files();
    let outcomes: Vec<_> = files.iter().map(|path| check(binary, path, target)).collect();
    let same = outcomes.iter().filter(|outcome| **outcome == Ok(true)).count();
    let faults: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().cloned()).collect();
    println!("{} files, {same} loaded both ways by {}", files.len(), target.name());
    assert!(faults.is_empty(), "{} of {}: {}", faults.len(), files.len(), faults.join("\n"));
    assert!(same * 3 > files.len(), "only {same} of {} files can be loaded both ways", files.len());
}
