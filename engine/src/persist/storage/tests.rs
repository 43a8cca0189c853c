//! The machine's own files do what the trait promises. Knows one machine: this one.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Direct, Disk, DiskLog, LogFile, LogState, PAGE_BYTES, Storage, WriteOverError, dir_of};

fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_log_goes_on_where_it_is_told_whoever_opens_or_cuts_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log: Arc<dyn LogFile> = Disk.open_log(&path).unwrap();
    log.write_at(0, b"hello ").unwrap();
    drop(log);
    let log = Disk.open_log(&path).unwrap();
    log.write_at(6, b"world!!").unwrap();
    log.sync().unwrap();
    log.truncate(11).unwrap();
    log.write_at(11, b".").unwrap();
    assert_eq!(read(&path), b"hello world.");
    Disk.truncate(&path, 5).unwrap();
    log.write_at(5, b"?").unwrap();
    assert_eq!(read(&path), b"hello?");
    log.write_at(1, b"u").unwrap();
    assert_eq!(read(&path), b"hullo?");
    // A thread that syncs shares it with the one that appends.
    let synced = Arc::clone(&log);
    std::thread::spawn(move || synced.sync()).join().unwrap().unwrap();
}

#[test]
fn a_log_tells_whether_it_has_a_name_and_which_file_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("moved"));
    let log = Disk.open_log(&path).unwrap();
    log.write_at(0, b"hello").unwrap();
    let meta = fs::metadata(&path).unwrap();
    let named = LogState { bytes: 5, has_name: true, id: Some((meta.dev(), meta.ino())) };
    assert_eq!(log.look().unwrap(), named);
    fs::rename(&path, &moved).unwrap();
    assert_eq!(log.look().unwrap(), named);
    fs::write(&path, "another").unwrap();
    fs::rename(&path, &moved).unwrap();
    assert_eq!(log.look().unwrap(), LogState { has_name: false, ..named });
}

#[test]
fn pages_are_written_over_whether_or_not_the_page_cache_can_be_passed() {
    let dir = tempfile::tempdir().unwrap();
    for is_passed in [true, false] {
        let path = dir.path().join("log");
        let page = PAGE_BYTES as usize;
        fs::write(&path, vec![b'#'; 4 * page]).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let direct = if is_passed { Direct::Untried } else { Direct::Impossible };
        let log = DiskLog { file, counts_names: true, id: None, direct: Mutex::new(direct) };
        // What the page cache has of it by now is not what is read afterwards.
        assert_eq!(read(&path).len(), 4 * page);
        let moved = dir.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        for (number, len) in [(1, 1), (0, 2), (2, 2)] {
            log.write_over(number * PAGE_BYTES, &vec![b'0' + number as u8; len * page]).unwrap();
        }
        log.write_at(5, b"cached").unwrap();
        log.write_over(3 * PAGE_BYTES, &vec![b'3'; page]).unwrap();
        let expected = [vec![b'0'; 2 * page], vec![b'2'; page], vec![b'3'; page]].concat();
        let bytes = read(&moved);
        assert_eq!(&bytes[5..11], b"cached");
        assert!(bytes[..5] == expected[..5] && bytes[11..] == expected[11..]);
    }
}

#[test]
fn a_write_over_what_has_no_room_is_no_failed_sync() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let log = Disk.open_log(Path::new("/dev/full")).unwrap();
    for _ in 0..2 {
        let error = log.write_over(0, &[0; PAGE_BYTES as usize]).unwrap_err();
        assert!(matches!(error, WriteOverError::Write(_)), "{error:?}");
    }
}

#[test]
fn a_write_that_finds_no_room_says_how_much_is_there() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let short = Disk.open_log(Path::new("/dev/full")).unwrap().write_at(0, b"bytes").unwrap_err();
    assert_eq!((short.written, short.error.kind()), (0, io::ErrorKind::StorageFull));
}

#[test]
fn meta_tells_files_from_folders_and_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"four").unwrap();
    let meta = Disk.meta(&path).unwrap().unwrap();
    assert_eq!((meta.bytes, meta.is_dir), (4, false));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert!(now.abs_diff(meta.modified.0 as u128) < 600_000, "{meta:?}");
    assert!(Disk.meta(dir.path()).unwrap().unwrap().is_dir);
    assert_eq!(Disk.meta(&dir.path().join("nothing")).unwrap(), None);
    assert!(Disk.meta(&path.join("below")).is_err(), "a file is no folder");
}

#[test]
fn a_folder_may_be_there_and_a_linked_name_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, file, second) = (dir.path().join("d"), dir.path().join("f"), dir.path().join("d/s"));
    Disk.create_dir(&folder).unwrap();
    Disk.create_dir(&folder).unwrap();
    fs::write(&file, b"x").unwrap();
    assert_eq!(Disk.create_dir(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    Disk.link(&file, &second).unwrap();
    assert_eq!(Disk.link(&file, &second).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    Disk.remove(&file).unwrap();
    assert_eq!(read(&second), b"x");
}

#[test]
fn a_folder_has_one_owner_until_the_lock_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let lock = Disk.lock_dir(dir.path()).unwrap().expect("nobody has it");
    assert!(lock.descriptor().is_some());
    assert!(lock.covers(&dir.path().join(".")).unwrap());
    assert!(!lock.covers(dir.path().parent().unwrap()).unwrap());
    assert!(Disk.lock_dir(dir.path()).unwrap().is_none());
    drop(lock);
    assert!(Disk.lock_dir(dir.path()).unwrap().is_some());
    assert!(Disk.lock_dir(&dir.path().join("nothing")).is_err());
}

#[test]
fn the_folder_of_a_bare_name_is_this_one() {
    assert_eq!(dir_of(Path::new("dump.rdb")), Path::new("."));
    assert_eq!(dir_of(Path::new("a/dump.rdb")), Path::new("a"));
}
