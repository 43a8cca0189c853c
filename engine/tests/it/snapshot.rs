//! Snapshots on the machine's own disk, in real children: whatever goes wrong, the old file stays and the
//! engine says so. Crashes and failing calls: `snapshot_crash.rs`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Options;
use cairn_engine::command::effects::{Classes, Wants};
use cairn_engine::engine::{Claim, Engine, EngineConfig};
use cairn_engine::keyspace::evict::Policy;
use cairn_engine::keyspace::{Laziness, LfuTuning};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::rules::SaveRule;
use cairn_engine::persist::storage::{Disk, Storage};
use cairn_engine::value::{StringValue, Value};

use crate::fresh;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
/// A background save of these tests ends far sooner.
const PATIENCE: Duration = Duration::from_secs(60);

fn fill(engine: &mut Engine, keys: usize) {
    for i in 0..keys {
        let value = StringValue::new(format!("value {i}").as_bytes());
        engine.keyspace_mut().db_mut(0).set(format!("key:{i}").as_bytes(), Value::String(value), None);
    }
    engine.add_dirty(keys as u64);
}

fn keys_in(path: &Path) -> usize {
    let mut engine = Engine::new(fresh::config(path), NOW);
    engine.load(NOW, Options::default(), &mut |_| {}).unwrap().expect("the file is there");
    engine.keyspace().db(0).len()
}

fn wait_for_end(engine: &mut Engine) -> Result<u64, String> {
    let started = Instant::now();
    loop {
        if let Some(end) = engine.poll_background_save(NOW) {
            return end.result.map(|saved| saved.keys).map_err(|e| e.to_string());
        }
        assert!(started.elapsed() < PATIENCE, "the child does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_child_saves_what_was_there_when_it_forked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut engine = Engine::new(fresh::config(&path), NOW);
    fill(&mut engine, 20_000);
    engine.start_background_save(NOW, 0).unwrap();
    fill(&mut engine, 30_000);
    assert_eq!(wait_for_end(&mut engine), Ok(20_000));
    assert_eq!(engine.snapshot_stats().dirty, 30_000, "changes made meanwhile stay counted");
    assert_eq!(keys_in(&path), 20_000);
    assert_eq!(names(dir.path()), ["dump.rdb"]);
}

#[test]
fn a_save_that_runs_here_is_told_of_by_the_next_poll() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut engine = Engine::new(EngineConfig { apart: Apart::Here, ..fresh::config(&path) }, NOW);
    fill(&mut engine, 10);
    let pid = engine.start_background_save(NOW, 0).unwrap();
    assert_eq!(pid, std::process::id().cast_signed());
    assert!(engine.is_saving());
    fill(&mut engine, 15);
    let end = engine.poll_background_save(NOW).expect("it is over");
    assert_eq!((end.result.unwrap().keys, engine.snapshot_stats().dirty), (10, 15));
    assert!(!engine.is_saving() && engine.poll_background_save(NOW).is_none());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    engine.start_background_save(NOW, 0).unwrap();
    let error = wait_for_end(&mut engine).unwrap_err();
    assert!(error.starts_with("rename ") && engine.snapshot_stats().failed, "{error}");
}

#[test]
fn a_child_keeps_the_folder_of_its_server() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut engine = Engine::new(fresh::config(&one.path().join("dump.rdb")), NOW);
    let claim = |engine: &mut Engine, dir: &tempfile::TempDir| match engine.claim_dir(dir.path()).unwrap() {
        Claim::New(lock) => {
            engine.hold_dir(Some(lock));
            "new"
        }
        Claim::Ours => "ours",
        Claim::Theirs => "theirs",
    };
    assert_eq!((claim(&mut engine, &one), claim(&mut engine, &one)), ("new", "ours"));
    let taken = Disk.lock_dir(two.path()).unwrap().expect("nobody has it");
    assert_eq!(claim(&mut engine, &two), "theirs");
    assert!(Disk.lock_dir(one.path()).unwrap().is_none(), "the one it had stays");
    drop(taken);
    fill(&mut engine, 1000);
    engine.settings.key_delay_us = 1000;
    engine.start_background_save(NOW, 0).unwrap();
    assert_eq!(claim(&mut engine, &two), "new");
    assert!(Disk.lock_dir(one.path()).unwrap().is_none(), "the child writes there");
    engine.cancel_background_save();
    // A child of another test may have been forked meanwhile, and not have closed what it got.
    let begun = Instant::now();
    while Disk.lock_dir(one.path()).unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the child is gone");
    }
}

#[test]
fn a_killed_child_leaves_the_old_file_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut engine = Engine::new(fresh::config(&path), NOW);
    fill(&mut engine, 7);
    engine.save(NOW, 0).unwrap();
    fill(&mut engine, 200_000);
    let pid = engine.start_background_save(NOW, 0).unwrap();
    kill("-KILL", pid);
    let end = wait_for_end(&mut engine);
    // The child may have been done before the signal came: then the file is the new one, whole.
    match end {
        Err(text) => {
            assert_eq!(text, "terminated by signal 9");
            assert!(engine.snapshot_stats().failed);
            assert_eq!(keys_in(&path), 7);
        }
        Ok(keys) => assert_eq!(keys, 200_000),
    }
    assert_eq!(names(dir.path()), ["dump.rdb"]);
    engine.start_background_save(NOW, 0).unwrap();
    assert_eq!(wait_for_end(&mut engine), Ok(200_000));
    assert!(!engine.snapshot_stats().failed, "a good save clears the failure");
}

#[test]
fn a_child_that_was_called_off_has_not_failed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut engine = Engine::new(fresh::config(&path), NOW);
    fill(&mut engine, 1000);
    engine.settings.key_delay_us = 10_000;
    let pid = engine.start_background_save(NOW, 0).unwrap();
    wait_for_temp(dir.path());
    kill("-USR1", pid);
    assert_eq!(wait_for_end(&mut engine), Err("terminated by signal 10".to_owned()));
    let stats = engine.snapshot_stats();
    assert!(!stats.failed && stats.last_error.is_empty() && stats.dirty == 1000);
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}

#[test]
fn a_clock_that_was_set_keeps_no_rule_from_saving() {
    let dir = tempfile::tempdir().unwrap();
    let config = EngineConfig { apart: Apart::Here, ..fresh::config(&dir.path().join("dump.rdb")) };
    let mut engine = Engine::new(config, NOW);
    let rules = [SaveRule { seconds: 60, changes: 1 }];
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    engine.note_saves(at(0));
    fill(&mut engine, 1);
    assert_eq!(engine.due_save(&rules, at(60)), None);
    assert_eq!(engine.due_save(&rules, at(61)), Some(rules[0]));
    // An hour back by the calendar; the rule goes by the time that has passed.
    let earlier = UnixMs(NOW.0 - 3_600_000);
    engine.start_background_save(earlier, 0).unwrap();
    engine.note_saves(at(61));
    assert!(engine.poll_background_save(earlier).unwrap().result.is_ok());
    engine.note_saves(at(62));
    fill(&mut engine, 1);
    assert_eq!(engine.due_save(&rules, at(122)), None);
    assert_eq!(engine.due_save(&rules, at(123)), Some(rules[0]));
    // After a failure there is a pause.
    fs::remove_file(dir.path().join("dump.rdb")).unwrap();
    fs::create_dir(dir.path().join("dump.rdb")).unwrap();
    engine.start_background_save(earlier, 0).unwrap();
    engine.note_saves(at(130));
    assert!(engine.poll_background_save(earlier).unwrap().result.is_err());
    assert_eq!((engine.due_save(&rules, at(135)), engine.may_retry_save(at(135))), (None, false));
    assert_eq!((engine.due_save(&rules, at(136)), engine.may_retry_save(at(136))), (Some(rules[0]), true));
}

fn wait_for_temp(dir: &Path) {
    let begun = Instant::now();
    while names(dir).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the child has not begun");
    }
}

fn kill(signal: &str, pid: i32) {
    let killed = std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn a_failure_in_the_child_is_reported_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut engine = Engine::new(fresh::config(&path), NOW);
    fill(&mut engine, 10);
    // A folder where the file should go: the rename fails, whoever we are.
    fs::create_dir(&path).unwrap();
    engine.start_background_save(NOW, 0).unwrap();
    let error = wait_for_end(&mut engine).unwrap_err();
    assert!(error.starts_with("rename ") && error.contains("dump.rdb"), "{error}");
    assert_eq!(names(dir.path()), ["dump.rdb"], "the temporary file is gone");
}

#[test]
fn temporary_files_of_the_dead_are_swept_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let own = format!("temp-{}.rdb", std::process::id());
    for name in ["temp-999999999.rdb", own.as_str(), "temp-x.rdb", "dump.rdb", "temp-1.txt"] {
        fs::write(dir.path().join(name), b"x").unwrap();
    }
    let engine = Engine::new(fresh::config(&dir.path().join("dump.rdb")), NOW);
    let swept = engine.sweep_temp_files();
    assert_eq!(swept, [dir.path().join("temp-999999999.rdb")]);
    assert_eq!(names(dir.path()).len(), 4);
}

#[test]
fn a_refused_file_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut engine = Engine::new(fresh::config(&path), NOW);
    fill(&mut engine, 50);
    engine.save(NOW, 0).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut next = Engine::new(fresh::config(&path), NOW);
    let error = next.load(NOW, Options::default(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("dump.rdb: offset"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(names(dir.path()), ["dump.rdb"]);
}

/// What a key's clock says after it was saved at `NOW` and loaded in the same moment, under two policies.
fn clock_after(saved_under: Policy, loaded_under: Policy) -> (Option<u64>, Option<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut engine = Engine::new(fresh::config(&path), NOW);
    engine.keep_clocks_for(saved_under);
    engine.keyspace_mut().tick(NOW);
    fill(&mut engine, 3);
    let db = engine.keyspace_mut().db_mut(0);
    db.restore_clock(b"key:1", Some(77), Some(99));
    engine.save(NOW, 0).unwrap();
    let mut engine = Engine::new(fresh::config(&path), NOW);
    engine.keep_clocks_for(loaded_under);
    engine.keyspace_mut().tick(NOW);
    engine.load(NOW, Options::default(), &mut |_| {}).unwrap();
    let db = engine.keyspace_mut().db_mut(0);
    (db.idle_s(b"key:1"), db.freq(b"key:1", NOW))
}

#[test]
fn a_policy_writes_how_keys_are_used() {
    let (lru, lfu) = (Policy::AllkeysLru, Policy::VolatileLfu);
    assert_eq!(clock_after(lru, lru), (Some(77), None));
    assert_eq!(clock_after(lru, Policy::NoEviction), (Some(77), None));
    assert_eq!(clock_after(lfu, lfu), (None, Some(99)));
    assert_eq!(clock_after(Policy::NoEviction, lru), (Some(0), None), "nobody had asked for it");
    assert_eq!(clock_after(lru, lfu), (None, Some(5)), "one kind says nothing about the other");
}

#[test]
fn eviction_tells_and_logs_what_goes() {
    let mut engine = Engine::new(fresh::config(Path::new("unused.rdb")), NOW);
    engine.set_wants(Wants { keys: true, events: Classes::EVICTED, log: true });
    engine.tune(Laziness::ALL, LfuTuning::default());
    fill(&mut engine, 1);
    assert!(engine.evict_one(Policy::AllkeysRandom, 5, NOW));
    assert!(!engine.evict_one(Policy::AllkeysRandom, 5, NOW), "there is no other");
    let happened: Vec<String> = engine.effects().happened().iter().map(|e| format!("{e:?}")).collect();
    assert_eq!(happened.len(), 2, "{happened:?}");
    assert!(happened[1].contains("evicted"), "{happened:?}");
    let log: Vec<u8> = engine.effects().log().flat_map(|(_, words)| words.to_vec()).collect();
    assert!(log.starts_with(b"*2\r\n$6\r\nUNLINK\r\n"));
    assert_eq!((engine.key_stats().evicted, engine.keyspace().keys()), (1, 0));
}
