//! Files of real servers: they load, give the digest that their server gave, and survive a save.
//!
//! The files under `testdata/` are always there; many more are tested when `CAIRN_FIXTURES` names a
//! folder with `made/<producer>/<name>.rdb` and `<name>.digest.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Dialect, Options, Target};
use cairn_engine::engine::Engine;
use cairn_engine::persist::load::LoadError;
use cairn_engine::persist::snapshot::TargetChoice;
use cairn_engine::transcode::dump;
use cairn_engine::value::{Limits, ValueRef};

use crate::fresh;

/// A moment after all the files were written and before the expiries that are meant to last.
const NOW: UnixMs = UnixMs(1_795_300_000_000);

fn engine(path: &Path, target: TargetChoice) -> Engine {
    let mut config = fresh::config(path);
    config.settings.target = target;
    Engine::new(config, NOW)
}

fn load(path: &Path) -> Result<Engine, LoadError> {
    let mut engine = engine(path, TargetChoice::Auto(Dialect::Redis));
    engine.load(NOW, Options::default(), &mut |_| {})?.expect("the file is there");
    Ok(engine)
}

fn hex(digest: [u8; 20]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Every `<name>.rdb` of a folder that has a `<name>.digest.txt`.
fn files_with_digest(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found: Vec<(PathBuf, String)> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rdb"))
        .filter_map(|path| {
            let digest = fs::read_to_string(path.with_extension("digest.txt")).ok()?;
            Some((path, digest.trim().to_owned()))
        })
        .collect();
    found.sort();
    found
}

/// Loads a file, compares its digest, saves it and loads what was saved.
fn check(path: &Path, digest: &str) -> Result<(), String> {
    let name = path.display();
    let engine = load(path).map_err(|e| format!("{name}: {e}"))?;
    let got = hex(engine.digest());
    if got != digest {
        return Err(format!("{name}: digest {got}, the file's server gave {digest}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("dump.rdb");
    let mut engine = engine;
    engine.rdb_path = copy.clone();
    let saved = engine.save(NOW, 0).map_err(|e| format!("{name}: save: {e}"))?;
    let again = load(&copy).map_err(|e| format!("{name}: saved copy ({saved:?}): {e}"))?;
    let got = hex(again.digest());
    if got == digest { Ok(()) } else { Err(format!("{name}: saved copy has digest {got}, not {digest}")) }
}

/// Every key goes through DUMP and RESTORE, and what is only carried also through a saved file, without
/// a byte changed.
fn check_every_key(path: &Path) -> Result<(), String> {
    let name = path.display();
    let mut engine = load(path).map_err(|e| format!("{name}: {e}"))?;
    let mut scratch = self::engine(path, engine.settings.target);
    let folder = tempfile::tempdir().unwrap();
    engine.rdb_path = folder.path().join("dump.rdb");
    engine.save(NOW, 0).map_err(|e| format!("{name}: save: {e}"))?;
    let again = load(&engine.rdb_path).map_err(|e| format!("{name}: saved copy: {e}"))?;
    if engine.carried() != again.carried() {
        return Err(format!("{name}: libraries or module data differ after a save"));
    }
    for (db, entry) in engine.keyspace().iter().enumerate().flat_map(|(i, db)| db.iter().map(move |e| (i, e)))
    {
        let fault = |what: String| format!("{name}: db {db}, key \"{}\": {what}", entry.key().escape_ascii());
        let payload = dump::dump(entry.view());
        let value = dump::restore(&payload, &Limits::DEFAULT).map_err(|e| fault(format!("{e:?}")))?;
        let reloaded =
            again.keyspace().db(db).entry(entry.key()).ok_or_else(|| fault("not saved".to_owned()))?;
        if let ValueRef::Opaque(kept) = entry.view() {
            let bytes = |value: ValueRef<'_>| match value {
                ValueRef::Opaque(opaque) => (opaque.payload.clone(), opaque.meta.clone(), opaque.type_byte),
                other => panic!("{}", fault(format!("{other:?}"))),
            };
            let own = (kept.payload.clone(), kept.meta.clone(), kept.type_byte);
            if own != bytes(value.view()) || own != bytes(reloaded.view()) {
                return Err(fault("the bytes of a carried value changed".to_owned()));
            }
        }
        scratch.keyspace_mut().db_mut(db).set(entry.key(), value, entry.expire_at());
        if scratch.digest_value(db, entry.key()) != engine.digest_value(db, entry.key()) {
            return Err(fault("another value after DUMP and RESTORE".to_owned()));
        }
        if entry.expire_at() != reloaded.expire_at() {
            return Err(fault("another expiry after a save".to_owned()));
        }
    }
    Ok(())
}

fn rdb_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries.map(|e| e.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "rdb")).collect()
}

#[test]
fn every_key_of_testdata_survives_dump_and_restore() {
    let files = rdb_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb"));
    let faults: Vec<String> = files.iter().filter_map(|path| check_every_key(path).err()).collect();
    assert!(files.len() > 20 && faults.is_empty(), "{} files: {}", files.len(), faults.join("\n"));
}

#[test]
fn every_key_of_the_fixtures_survives_dump_and_restore() {
    let Some(root) = std::env::var_os("CAIRN_FIXTURES") else {
        println!("skipped: CAIRN_FIXTURES is not set");
        return;
    };
    let producers = fs::read_dir(Path::new(&root).join("made")).unwrap().map(|e| e.unwrap().path());
    let files: Vec<PathBuf> = producers.filter(|p| p.is_dir()).flat_map(|p| rdb_files(&p)).collect();
    let known = |path: &&PathBuf| {
        let refused = path.file_stem().is_some_and(|s| REFUSED.iter().any(|r| s == *r));
        !refused && !path.ends_with("redis-4.0-rc1/modules.rdb")
    };
    let faults: Vec<String> =
        files.iter().filter(known).filter_map(|path| check_every_key(path).err()).collect();
    assert!(files.len() > 100 && faults.is_empty(), "{} files: {}", files.len(), faults.join("\n"));
}

/// Public files that no server loads: future versions, damage, a wrong checksum, a zipmap whose count
/// is wrong.
const PUBLIC_AND_BAD: [&str; 7] = [
    "encodings-rdb75-unknown-types.rdb",
    "encodings-rdb987-unknown-types.rdb",
    "encodings-rdb987.rdb",
    "future_v19.rdb",
    "invalid_chksum_v8.rdb",
    "corrupt_ziplist.rdb",
    "zipmap_big_len.rdb",
];

fn rdb_files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    found.extend(rdb_files(dir));
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_dir()) {
        rdb_files_below(&entry, found);
    }
}

#[test]
fn public_files_load_or_are_refused_with_an_offset() {
    let Some(root) = std::env::var_os("CAIRN_FIXTURES") else {
        println!("skipped: CAIRN_FIXTURES is not set");
        return;
    };
    let mut files = Vec::new();
    rdb_files_below(&Path::new(&root).join("public"), &mut files);
    assert!(files.len() > 50, "only {} files", files.len());
    for path in files {
        let is_bad = path.file_name().is_some_and(|name| PUBLIC_AND_BAD.iter().any(|bad| name == *bad));
        match load(&path) {
            Ok(_) => assert!(!is_bad, "{} loads", path.display()),
            Err(error) => assert!(is_bad && error.to_string().contains("offset"), "{error}"),
        }
    }
}

#[test]
fn testdata_files_give_the_digest_of_their_server() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb");
    let files = files_with_digest(&dir);
    let (today, older): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| {
        let producer = path.file_name().unwrap().to_string_lossy();
        has_todays_digest(&producer, path)
    });
    assert!(today.len() > 10, "only {} files with a digest in {}", today.len(), dir.display());
    let mut faults: Vec<String> =
        today.iter().filter_map(|(path, digest)| check(path, digest).err()).collect();
    faults.extend(older.iter().filter_map(|(path, _)| Some(load(path).err()?.to_string())));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Producers whose digests are made as today: older ones print scores otherwise.
const DIGESTS_AS_TODAY: [&str; 4] = ["redis-7.4", "redis-8", "valkey-8", "valkey-9"];
/// What `expected.jsonl` says of values that have no commands here: a digest of them means another
/// thing.
const WITHOUT_COMMANDS: [&str; 3] = ["\"type\":\"vectorset\"", "\"type\":\"array\"", "\"module_id\""];

/// True if every digest in this file is made as this engine makes it.
fn has_todays_digest(producer: &str, rdb: &Path) -> bool {
    // The uncompressed copy of a file has the contents of the other.
    let twin = rdb.to_string_lossy().replace("-nocompress.rdb", ".rdb");
    let expected = fs::read_to_string(Path::new(&twin).with_extension("expected.jsonl")).unwrap_or_default();
    DIGESTS_AS_TODAY.iter().any(|prefix| producer.starts_with(prefix))
        && !WITHOUT_COMMANDS.iter().any(|marker| expected.contains(marker))
}

/// Records that no one outside their program can know: refused by name and offset.
const REFUSED: [&str; 2] = ["keydb-cron", "functions-prega"];

#[test]
fn fixtures_give_the_digest_of_their_server() {
    let Some(root) = std::env::var_os("CAIRN_FIXTURES") else {
        println!("skipped: CAIRN_FIXTURES is not set");
        return;
    };
    let made = Path::new(&root).join("made");
    let mut faults = Vec::new();
    let mut tried = 0;
    for producer in fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()) {
        let name = producer.file_name().unwrap().to_string_lossy().into_owned();
        for (path, digest) in files_with_digest(&producer) {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            tried += 1;
            if REFUSED.contains(&stem.as_str()) {
                let error = load(&path).expect_err("a file that cannot be known is refused").to_string();
                assert!(error.contains("offset") && error.contains("byte"), "{error}");
            } else if has_todays_digest(&name, &path) {
                faults.extend(check(&path, &digest).err());
            } else {
                faults.extend(load(&path).err().map(|e| e.to_string()));
            }
        }
    }
    assert!(tried > 100, "only {tried} files with digests below {}", made.display());
    assert!(faults.is_empty(), "{} of {tried}:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_named_target_refuses_what_it_cannot_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb/valkey-9.1.2-all-types.rdb");
    let mut engine = load(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    engine.rdb_path = folder.path().join("dump.rdb");
    engine.settings.target = TargetChoice::Named(Target::Redis72);
    let error = engine.save(NOW, 0).unwrap_err().to_string();
    assert!(error.contains("redis-7.2") && error.contains("expiry"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a refused save leaves no file");
}
