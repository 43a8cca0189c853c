//! Logs that real servers wrote: they load, and give the digest that their server gave.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Dialect;
use cairn_engine::engine::Engine;
use cairn_engine::persist::load::LoadProgress;
use cairn_engine::persist::recover::{Listener, Note, Outside};
use cairn_engine::persist::snapshot::TargetChoice;

use base64::Engine as _;
use cairn_engine::packed::IntText;
use cairn_engine::value::ValueRef;
use serde_json::Value;

use super::support;
use crate::fresh;

/// A moment after all the files were written and before the expiries that are meant to last.
const NOW: UnixMs = UnixMs(1_795_300_000_000);

struct Quiet(Vec<String>);

impl Listener for Quiet {
    fn progress(&mut self, _progress: LoadProgress) {}

    fn note(&mut self, note: Note) {
        self.0.push(note.text);
    }

    fn outside(&mut self, _argv: &[&[u8]]) -> Outside {
        Outside::Unknown
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The log in a folder: its folder and its name.
fn log_in(home: &Path) -> (PathBuf, String) {
    for entry in fs::read_dir(home).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        for file in fs::read_dir(&path).unwrap() {
            let name = file.unwrap().file_name().to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(".manifest") {
                return (path, stem.to_owned());
            }
        }
    }
    let single = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name());
    let single = single.map(|name| name.to_string_lossy().into_owned()).find(|name| name.ends_with(".aof"));
    (home.join("appendonlydir"), single.unwrap_or_else(|| panic!("{}: no log", home.display())))
}

/// Loads a set, compares its digest, and loads what is there then again.
fn check(set: &Path, digest: &str) -> Result<(), String> {
    let home = tempfile::tempdir().unwrap();
    copy(set, home.path());
    let (aof_dir, filename) = log_in(home.path());
    let options =
        cairn_engine::persist::recover::RecoverOptions { aof_dir, filename, ..support::options(home.path()) };
    let family = if set.to_string_lossy().contains("valkey") { Dialect::Valkey } else { Dialect::Redis };
    for round in ["first", "second"] {
        let mut config = fresh::config(&options.rdb_path);
        config.settings.target = TargetChoice::Auto(family);
        let mut engine = Engine::new(config, NOW);
        let mut quiet = Quiet(Vec::new());
        let recovered = engine
            .recover(NOW, &options, &mut fresh::scripts(), &mut quiet)
            .map_err(|refusal| format!("{} ({round}): {refusal}", set.display()))?;
        // Keys that have expired are there when a log has been loaded, and not when the server told its digest.
        while engine.expire_step(NOW, 10_000).expired > 0 {}
        let wrong = match has_todays_digest(set) {
            true => {
                let got: String = engine.digest().iter().map(|byte| format!("{byte:02x}")).collect();
                (got != digest).then(|| format!("digest {got}, not {digest}"))
            }
            false => differs(&engine, &expected(set)),
        };
        if let Some(wrong) = wrong {
            let found =
                format!("{} commands, {} errors, {:?}", recovered.commands, recovered.errors, quiet.0);
            return Err(format!("{} ({round}): {wrong}: {found}", set.display()));
        }
    }
    Ok(())
}

/// Producers whose digests are made as today, and sets without scores: older ones print scores otherwise.
const DIGESTS_AS_TODAY: [&str; 5] = ["redis-7.4", "redis-8", "valkey-8", "valkey-9", "-scripts"];
/// What `expected.jsonl` says of values that have no commands here: a digest of them means another thing.
const WITHOUT_COMMANDS: [&str; 3] = ["\"type\":\"vectorset\"", "\"type\":\"array\"", "\"module_id\""];
/// Commands that this version does not have: a log with one of them is refused by its name.
const REFUSED: [&str; 3] = ["'VADD'", "'ARMSET'", "'XCFGSET'"];
/// Sets that their own server read otherwise: it ran a transaction whose EXEC was cut off, or it restores
/// values in a form that only it knows.
const OTHERWISE: [&str; 4] = [
    "redis-3.0.7/aof-truncated-tx",
    "keydb-6.3.4/aof-single",
    "keydb-6.3.4/aof-single-preamble",
    "keydb-6.3.4/aof-single-rewritten",
];

fn expected(set: &Path) -> String {
    fs::read_to_string(format!("{}.expected.jsonl", set.display())).unwrap()
}

fn has_todays_digest(set: &Path) -> bool {
    let is_today = DIGESTS_AS_TODAY.iter().any(|producer| set.to_string_lossy().contains(producer));
    is_today && !WITHOUT_COMMANDS.iter().any(|mark| expected(set).contains(mark))
}

/// The keys with their expiries, and the strings, that are not as they should be.
fn differs(engine: &Engine, expected: &str) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone().into_bytes(),
        other => base64::engine::general_purpose::STANDARD.decode(other["b64"].as_str().unwrap()).unwrap(),
    };
    let mut keys = 0;
    for record in expected.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let Some(db) = record["db"].as_u64().filter(|_| record["expired"].is_null()) else { continue };
        keys += 1;
        let key = text(&record["key"]);
        let Some(entry) = engine.keyspace().db(db as usize).entry(&key) else {
            return Some(format!("db {db}: no {}", key.escape_ascii()));
        };
        let expire_at = entry.expire_at().map_or(-1, |at| at.0);
        let is_same = match entry.view() {
            ValueRef::String(found) => {
                let mut room = IntText::default();
                let found = found.bytes(&mut room);
                match record["value"]["len"].as_u64() {
                    // Of a long one there is the length. PFMERGE of Redis 3.0 makes long ones of short ones.
                    Some(len) => found.len() as u64 == len || found.starts_with(b"HYLL"),
                    None => found == text(&record["value"]),
                }
            }
            _ => record["type"] != "string",
        };
        // Null is a time that counts from the moment of loading.
        let is_in_time = match record["pexpireat"].as_i64() {
            None => expire_at > NOW.0,
            expected => expected == Some(expire_at),
        };
        if !is_same || !is_in_time {
            return Some(format!(
                "db {db}: {} is another value, or expires at {expire_at}",
                key.escape_ascii()
            ));
        }
    }
    let found = engine.keyspace().keys();
    (found != keys).then(|| format!("{found} keys, not {keys}"))
}

/// Checks every set of these folders that has a digest; answers how many there are.
fn check_all(folders: impl Iterator<Item = PathBuf>) -> usize {
    let mut sets: Vec<(PathBuf, String)> = folders
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .filter_map(|path| {
            let digest = fs::read_to_string(format!("{}.digest.txt", path.display())).ok()?;
            Some((path, digest.trim().to_owned()))
        })
        .collect();
    sets.sort();
    let is_known = |fault: &String| {
        REFUSED.iter().any(|name| fault.contains(name)) || OTHERWISE.iter().any(|set| fault.contains(set))
    };
    let faults = sets.iter().filter_map(|(set, digest)| check(set, digest).err());
    let wrong: Vec<String> = faults.filter(|fault| !is_known(fault)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    sets.len()
}

#[test]
fn logs_of_real_servers_load_with_the_same_contents() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/aof");
    assert!(check_all(std::iter::once(folder)) > 10);
}

#[test]
fn logs_of_every_producer_load_with_the_same_contents() {
    let Some(root) = std::env::var_os("CAIRN_FIXTURES") else {
        println!("skipped: CAIRN_FIXTURES is not set");
        return;
    };
    let producers = fs::read_dir(Path::new(&root).join("made")).unwrap();
    let folders = producers.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let sets = check_all(folders);
    println!("{sets} sets");
    assert!(sets > 20, "only {sets} sets");
}
