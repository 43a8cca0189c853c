//! Snapshots on a disk that crashes at any moment and fails at any call: the old file or the new one is
//! there, whole, never another; and a failure is said, remembered and got over.

use std::path::{Path, PathBuf};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Options;
use cairn_engine::engine::{Engine, EngineConfig};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::storage::Storage;
use cairn_engine::value::hash::Hash;
use cairn_engine::value::{Limits, StringValue, Value};

use crate::fresh;
use crate::simulated::{Crash, DIR, Dose, Simulated, crash_everywhere, fail_everywhere};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
/// Some sectors of file for the smallest generation.
const KEYS: u64 = 40;
const SECTORS_BYTES: usize = 2048;

/// Values of this size are written by themselves.
const LARGE_BYTES: usize = 70_000;
/// Keys with such a value, in a large data set.
const LARGE_KEYS: u64 = 3;

/// The two ways to save.
#[derive(Debug, Clone, Copy)]
enum How {
    Now,
    Background,
}

fn path() -> PathBuf {
    Path::new(DIR).join("dump.rdb")
}

fn engine(disk: &Simulated) -> Engine {
    let mut config = EngineConfig { apart: Apart::Here, ..fresh::config(&path()) };
    config.settings.compress = false;
    Engine::with_storage(config, NOW, disk.storage())
}

/// Makes the data set that of a generation: another number of keys, and each says which. So many of them
/// are large; if any is, there is also something that needs a higher version than the file begins with.
fn fill(engine: &mut Engine, generation: u64, large: u64) {
    engine.clear();
    for i in 0..KEYS + generation {
        let mut text = format!("{generation} value {i} {:0>40}", i * i);
        if i < large {
            text.push_str(&"x".repeat(LARGE_BYTES));
        }
        let value = Value::String(StringValue::new(text.as_bytes()));
        engine.keyspace_mut().db_mut(0).set(format!("key:{i}").as_bytes(), value, None);
    }
    if large > 0 {
        let mut hash = Hash::new();
        assert!(hash.add_loaded(b"f", b"v", Some(UnixMs(NOW.0 * 2)), &Limits::DEFAULT));
        engine.keyspace_mut().db_mut(1).set(b"raised", Value::Hash(hash), None);
    }
    engine.add_dirty(1);
}

fn save(engine: &mut Engine, how: How) -> Result<u64, String> {
    match how {
        How::Now => engine.save(NOW, 0).map(|saved| saved.keys).map_err(|error| error.to_string()),
        How::Background => {
            engine.start_background_save(NOW, 0).map_err(|error| error.to_string())?;
            let end = engine.poll_background_save(NOW).expect("it runs here");
            end.result.map(|saved| saved.keys).map_err(|error| error.to_string())
        }
    }
}

/// The generation in the file, every key of which is looked at; `None` without a file.
fn generation(disk: &Simulated) -> Option<u64> {
    let mut engine = engine(disk);
    engine.load(NOW, Options::default(), &mut |_| {}).expect("the file is whole")?;
    let db = engine.keyspace().db(0);
    let generation = (db.len() as u64).checked_sub(KEYS).expect("it has that many");
    for i in 0..KEYS + generation {
        let entry = db.entry(format!("key:{i}").as_bytes()).expect("none is missing");
        let Value::String(value) = entry.to_value() else { panic!("a string") };
        assert!(value.view().to_vec().starts_with(format!("{generation} value {i} ").as_bytes()));
    }
    Some(generation)
}

/// A disk with generation 1 in its file, durable.
fn prepared() -> Simulated {
    let disk = Simulated::new();
    let mut first = engine(&disk);
    fill(&mut first, 1, 0);
    save(&mut first, How::Now).unwrap();
    disk.begin();
    disk
}

fn check(crash: &Crash, image: &Simulated) {
    let found = generation(image).unwrap_or(0);
    let (saved, asked) = (crash.last("saved").unwrap_or(0), crash.last("asked").unwrap_or(0));
    assert!((saved..=asked).contains(&found), "{found} is none of {saved}..={asked}");
    // A server that has the folder for itself removes what the dead have left.
    let mut next = engine(image);
    next.hold_dir(image.lock_dir(Path::new(DIR)).unwrap());
    next.sweep_temp_files();
    let whole: &[&str] = if found == 0 { &[] } else { &["dump.rdb"] };
    assert_eq!(image.names(DIR), whole);
}

fn crash(how: How, large: u64, dose: Dose) {
    let disk = Simulated::new();
    let mut engine = engine(&disk);
    disk.begin();
    for generation in 1..=3 {
        fill(&mut engine, generation, large);
        disk.note("asked", generation);
        assert_eq!(save(&mut engine, how), Ok(KEYS + generation + u64::from(large > 0)));
        disk.note("saved", generation);
    }
    assert!(disk.get(path()).unwrap().len() > SECTORS_BYTES);
    let images = crash_everywhere(&dose, &disk, |crash, image| check(crash, &image));
    println!("{images} images of {how:?}");
}

#[test]
fn after_a_crash_of_save_the_old_or_the_new_file_is_there() {
    crash(How::Now, 0, Dose::of(600));
}

#[test]
fn after_a_crash_of_a_background_save_the_old_or_the_new_file_is_there() {
    crash(How::Background, 0, Dose::of(600));
}

#[test]
fn after_a_crash_between_the_writes_of_a_save_the_old_or_the_new_file_is_there() {
    crash(How::Now, LARGE_KEYS, Dose::of(200));
}

fn fail(how: How) {
    let dose = Dose::of(300);
    let few = Dose { images: 20, ..dose };
    let runs = fail_everywhere(&dose, prepared, |disk, plan| {
        let mut engine = engine(disk);
        fill(&mut engine, 2, 0);
        disk.note("saved", 1);
        disk.note("asked", 2);
        let saved = save(&mut engine, how);
        let hits = disk.faults_hit();
        disk.fail(None);
        let stats = engine.snapshot_stats();
        match &saved {
            Ok(_) => {
                // Either nothing failed, or only what is tried again or does not matter.
                disk.note("saved", 2);
                assert_eq!(generation(disk), Some(2));
                assert!(!stats.failed && stats.dirty == 0);
            }
            Err(error) => {
                assert!(hits > 0, "{error}");
                assert!([Some(1), Some(2)].contains(&generation(disk)), "{error}");
                assert_eq!((&stats.last_error, stats.dirty), (error, 1));
                assert_eq!(stats.failed, matches!(how, How::Background), "{error}");
                if !plan.lasts {
                    assert_eq!(disk.names(DIR), ["dump.rdb"], "{error}");
                }
            }
        }
        crash_everywhere(&few, disk, |crash, image| check(crash, &image));
        // The engine goes on, and the next save makes up for it.
        fill(&mut engine, 3, 0);
        assert_eq!(save(&mut engine, how), Ok(KEYS + 3));
        assert!(!engine.snapshot_stats().failed);
        assert_eq!((generation(disk), disk.names(DIR)), (Some(3), vec!["dump.rdb".to_owned()]));
    });
    println!("{runs} runs of {how:?}");
}

#[test]
fn whichever_call_of_save_fails_the_server_goes_on() {
    fail(How::Now);
}

#[test]
fn whichever_call_of_a_background_save_fails_the_server_goes_on() {
    fail(How::Background);
}
