//! The simulation itself: what may survive a crash does, and what may not does not.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use cairn_engine::base::time::UnixMs;
use cairn_engine::persist::storage::Storage;

use super::faults::{EINTR, EIO, ENOSPC};
use super::{Call, Crash, DIR, Dose, Fault, Kind, Plan, Simulated, crash_everywhere};

/// Enough for every combination of these tests.
const ALL: Dose = Dose { images: 1_000_000, seed: 1 };

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// What power cuts at the end may leave of `of`.
fn survivals<T: Ord>(disk: &Simulated, of: impl Fn(&Simulated) -> T) -> BTreeSet<T> {
    let mut all = BTreeSet::new();
    crash_everywhere(&ALL, disk, |crash, image| {
        if crash.kind == Kind::PowerCut && crash.next == "the end" {
            all.insert(of(&image));
        }
    });
    all
}

fn contents(disk: &Simulated, name: &str) -> BTreeSet<Vec<u8>> {
    survivals(disk, |image| image.get(path(name)).expect("its name is durable"))
}

fn set<T: Ord + Clone>(of: &[T]) -> BTreeSet<T> {
    of.iter().cloned().collect()
}

fn names(disk: &Simulated) -> BTreeSet<String> {
    survivals(disk, |image| image.names(DIR).join(" "))
}

#[test]
fn what_was_synced_stays_and_the_rest_in_any_part() {
    let disk = Simulated::new();
    disk.put(path("f"), b"abc");
    disk.begin();
    let log = disk.open_log(&path("f")).unwrap();
    log.write_at(3, b"XY").unwrap();
    let all: [&[u8]; 5] = [b"abc", b"abcX", b"abcXY", b"abc\0\0", b"abcX\0"];
    assert_eq!(contents(&disk, "f"), set(&all.map(<[u8]>::to_vec)));
    log.sync().unwrap();
    assert_eq!(contents(&disk, "f"), set(&[b"abcXY".to_vec()]));
}

#[test]
fn sectors_are_new_or_old_each() {
    let disk = Simulated::new();
    disk.put(path("f"), &[1; 600]);
    disk.begin();
    disk.open_log(&path("f")).unwrap().write_at(600, &[2; 1000]).unwrap();
    let all = contents(&disk, "f");
    // The write lies in four sectors. The second is the first with room for it.
    let with = |first: u8, second: u8, third: u8| {
        let mut bytes = vec![1; 600];
        bytes.extend([first].repeat(1024 - 600));
        bytes.extend([second].repeat(512));
        bytes.extend([third].repeat(1600 - 1536));
        bytes
    };
    for bits in 0..8u8 {
        let byte = |at: u8| if bits >> at & 1 == 1 { 2 } else { 0 };
        assert!(all.contains(&with(byte(0), byte(1), byte(2))), "{bits:b}");
    }
    assert!(all.iter().all(|content| content.len() >= 600 && content[..600] == [1; 600]));
    assert!(all.iter().all(|content| content.iter().all(|byte| *byte <= 2)));
}

#[test]
fn a_cut_may_be_lost_and_what_came_after_it_kept() {
    let disk = Simulated::new();
    disk.put(path("f"), &[1; 1536]);
    disk.begin();
    let log = disk.open_log(&path("f")).unwrap();
    log.truncate(512).unwrap();
    log.write_at(512, &[2; 512]).unwrap();
    let all = contents(&disk, "f");
    let old_size = [vec![1; 512], vec![2; 512], vec![1; 512]].concat();
    let cut = vec![1; 512];
    let both = [vec![1; 512], vec![2; 512]].concat();
    for content in [vec![1; 1536], old_size, cut, both] {
        assert!(all.contains(&content), "{}", content.len());
    }
    disk.truncate(&path("f"), 100).unwrap();
    assert_eq!(contents(&disk, "f"), set(&[vec![1; 100]]), "this one syncs");
}

#[test]
fn a_rename_happens_or_not_until_the_folder_is_synced() {
    let disk = Simulated::new();
    disk.put(path("old"), b"old");
    disk.begin();
    let mut file = disk.create(&path("temp")).unwrap();
    file.write_all(b"new").unwrap();
    disk.rename(&path("temp"), &path("old")).unwrap();
    assert_eq!(names(&disk), set(&["old".into(), "old temp".into()]));
    let all = contents(&disk, "old");
    // Without a sync of the file the new name may lead to nothing.
    for content in [&b"old"[..], b"new", b"", b"n"] {
        assert!(all.contains(content), "{content:?}");
    }
    file.sync().unwrap();
    assert_eq!(contents(&disk, "old"), set(&[b"old".to_vec(), b"new".to_vec()]));
    disk.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(contents(&disk, "old"), set(&[b"new".to_vec()]));
    assert_eq!(names(&disk), set(&["old".into()]));
}

#[test]
fn names_survive_in_any_subset() {
    let disk = Simulated::new();
    disk.put(path("a"), b"");
    disk.begin();
    disk.link(&path("a"), &path("b")).unwrap();
    disk.remove(&path("a")).unwrap();
    disk.open_log(&path("c")).unwrap();
    let all = ["a", "a b", "", "b", "a c", "a b c", "c", "b c"].map(str::to_owned);
    assert_eq!(names(&disk), set(&all));
}

#[test]
fn a_folder_that_is_not_durable_takes_its_files_along() {
    let disk = Simulated::new();
    disk.begin();
    disk.create_dir(&path("d")).unwrap();
    disk.put(path("d/f"), b"x");
    let found = survivals(&disk, |image| image.get(path("d/f")));
    assert_eq!(found, set(&[None, Some(b"x".to_vec())]));
    disk.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(survivals(&disk, |image| image.get(path("d/f"))), set(&[Some(b"x".to_vec())]));
}

#[test]
fn what_a_failed_sync_lost_no_later_sync_brings_back() {
    let disk = Simulated::new();
    disk.put(path("f"), b"abc");
    disk.begin();
    let log = disk.open_log(&path("f")).unwrap();
    log.write_at(3, b"XY").unwrap();
    disk.fail(Some(Plan { after: 0, fault: Fault::Errno(EIO), lasts: false, only: Some(Call::Sync) }));
    assert_eq!(log.sync().unwrap_err().raw_os_error(), Some(EIO));
    log.sync().unwrap();
    let all: [&[u8]; 3] = [b"abcXY", b"abc\0\0", b"abc"];
    assert_eq!(contents(&disk, "f"), set(&all.map(<[u8]>::to_vec)));
    log.write_at(5, b"Z").unwrap();
    log.sync().unwrap();
    let all: [&[u8]; 2] = [b"abcXYZ", b"abc\0\0Z"];
    assert_eq!(contents(&disk, "f"), set(&all.map(<[u8]>::to_vec)));
    log.truncate(3).unwrap();
    log.write_at(3, b"XYZ").unwrap();
    log.sync().unwrap();
    assert_eq!(contents(&disk, "f"), set(&[b"abcXYZ".to_vec()]), "written again it is sure again");
    assert_eq!(disk.faults_hit(), 1);
}

#[test]
fn a_kill_loses_nothing_but_the_write_it_was_in() {
    let disk = Simulated::new();
    disk.begin();
    let log = disk.open_log(&path("f")).unwrap();
    for (number, bytes) in [b"abcd", b"efgh"].into_iter().enumerate() {
        log.write_at(number as u64 * 4, bytes).unwrap();
        disk.note("written", number as u64 + 1);
    }
    let mut seen = BTreeSet::new();
    crash_everywhere(&ALL, &disk, |crash: &Crash, image| {
        if crash.kind == Kind::Kill {
            let content = image.get(path("f")).unwrap_or_default();
            let whole = crash.last("written").unwrap_or(0) as usize * 4;
            assert!(content.len() >= whole && b"abcdefgh".starts_with(&content), "{crash}");
            seen.insert(content.len());
        }
    });
    assert!(seen.is_superset(&set(&[0, 1, 3, 4, 5, 7, 8])), "{seen:?}");
}

#[test]
fn files_tell_when_they_were_changed() {
    let disk = Simulated::new();
    disk.set_time(UnixMs(7));
    disk.put(path("f"), b"abc");
    disk.set_time(UnixMs(9));
    let meta = disk.meta(&path("f")).unwrap().unwrap();
    assert_eq!((meta.bytes, meta.modified, meta.is_dir), (3, UnixMs(7), false));
    disk.open_log(&path("f")).unwrap().write_at(3, b"d").unwrap();
    assert_eq!(disk.meta(&path("f")).unwrap().unwrap().modified, UnixMs(9));
    assert!(disk.meta(Path::new(DIR)).unwrap().unwrap().is_dir);
    assert_eq!(disk.meta(&path("g")).unwrap(), None);
}

#[test]
fn a_dose_limits_the_images() {
    let disk = Simulated::new();
    disk.begin();
    let log = disk.open_log(&path("f")).unwrap();
    for i in 0..100 {
        log.write_at(i * 5000, &[7; 5000]).unwrap();
    }
    let count = |images| {
        let mut seen = 0;
        assert_eq!(crash_everywhere(&Dose { images, seed: 3 }, &disk, |_, _| seen += 1), seen);
        seen
    };
    assert!((5..=10).contains(&count(10)), "{}", count(10));
    assert!((400..=600).contains(&count(500)), "{}", count(500));
}

#[test]
fn calls_fail_by_plan() {
    let disk = Simulated::new();
    let plan = |after, fault, lasts| Plan { after, fault, lasts, only: None };
    disk.fail(Some(plan(1, Fault::Short, false)));
    let log = disk.open_log(&path("f")).unwrap();
    let short = log.write_at(0, b"abcd").unwrap_err();
    assert_eq!((short.written, short.error.raw_os_error()), (2, Some(ENOSPC)));
    log.write_at(2, b"cd").unwrap();
    assert_eq!((disk.get(path("f")).unwrap(), disk.calls()), (b"abcd".to_vec(), 3));
    disk.fail(Some(plan(0, Fault::Errno(EINTR), true)));
    log.write_at(4, b"e").unwrap();
    assert_eq!(disk.remove(&path("f")).unwrap_err().kind(), io::ErrorKind::Interrupted);
    assert_eq!(disk.faults_hit(), 3);
    assert!(disk.get(path("f")).is_some());
    disk.fail(Some(plan(0, Fault::Late(EIO), false)));
    assert_eq!(disk.remove(&path("f")).unwrap_err().raw_os_error(), Some(EIO));
    assert!(disk.get(path("f")).is_none());
    disk.fail(None);
    assert!(disk.lock_dir(Path::new(DIR)).unwrap().is_some());
    let lock = disk.lock_dir(Path::new(DIR)).unwrap();
    assert!(disk.lock_dir(Path::new(DIR)).unwrap().is_none());
    drop(lock);
}
