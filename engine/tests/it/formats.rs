//! Files of real servers: they load, give the digest that their server gave, and survive a save.
//!
//! The files under `testdata/` are always there; many more are tested when `CAIRN_FIXTURES` names a
//! folder with `made/<producer>/<name>.rdb` and `<name>.digest.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Dialect, Options, Target};
use cairn_engine::engine::{Engine, EngineConfig};
use cairn_engine::persist::load::LoadError;
use cairn_engine::persist::snapshot::{Settings, TargetChoice};
use cairn_engine::value::Limits;

/// A moment after all the files were written and before the expiries that are meant to last.
const NOW: UnixMs = UnixMs(1_795_300_000_000);

fn engine(path: &Path, target: TargetChoice) -> Engine {
    let config = EngineConfig {
        databases: 16,
        seed: [1, 2],
        limits: Limits::DEFAULT,
        rdb_path: path.to_owned(),
        settings: Settings { target, compress: true, checksum: true },
        redis_version: "7.4.2",
    };
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
