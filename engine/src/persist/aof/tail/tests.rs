//! The file after each step: the log in blocks, then a reserve or nothing.

use std::fs;

use super::*;
use crate::base::rng::Rng;
use crate::codec::aof::block::{Reader, Step};
use crate::persist::storage::{Disk, LogState, ShortWrite};

const RESERVE: Reserve = Reserve { least: 64, most: 3000 };

fn record(len: usize) -> Vec<u8> {
    format!("*2\r\n$3\r\nGET\r\n${len}\r\n{}\r\n", "k".repeat(len)).into_bytes()
}

fn block(body: &[u8]) -> Pending {
    let mut block = Pending::new();
    block.body_mut().extend_from_slice(body);
    block
}

/// What stands in blocks, and where that ends. A reserve, if there is one, goes up to the end.
fn content(file: &[u8]) -> (Vec<u8>, u64) {
    let mut reader = Reader::new(0, Some(file.len() as u64));
    let mut bodies = Vec::new();
    loop {
        match reader.next(&file[reader.at() as usize..], true).expect("it is right") {
            Step::Block(block) => bodies.extend_from_slice(block.body),
            Step::Reserve(_) => {}
            Step::Done => return (bodies, reader.reserve().unwrap_or(reader.at())),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_log_of_any_blocks_has_a_reserve_behind_it_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut rng = Rng::new(3);
    let mut tail = Tail::create(&Disk, &path, true).unwrap();
    let (mut written, mut with_reserve, mut grown, mut whole_pages) = (Vec::new(), 0, 0, 0);
    for _ in 0..400 {
        let body = record(match rng.index(20) {
            0 => RESERVE.most as usize + rng.index(3000),
            _ => 1 + rng.index(200),
        });
        let mut next = block(&body);
        written.extend_from_slice(&body);
        let end = tail.end;
        match rng.index(30) {
            0 => tail.append(&mut next, true).unwrap(),
            1 => tail.append_durably(&mut next, true).unwrap(),
            _ => {
                tail.make_reserve(next.most_bytes(), RESERVE).unwrap();
                tail.append_durably(&mut next, true).unwrap();
            }
        }
        tail.sync().unwrap();
        assert_eq!(next.body(), body, "the block stays what it was");
        if rng.index(50) == 0 {
            tail.trim().unwrap();
            assert_eq!(tail.end, tail.bytes);
        }
        if rng.index(50) == 0 {
            let (bytes, sum) = (tail.bytes, tail.sum());
            let last = LastFile { name: Vec::new(), bytes, file_bytes: tail.end, sum, is_closed: false };
            tail = Tail::open(&Disk, &path, &last, true).unwrap();
        }
        let file = fs::read(&path).unwrap();
        assert_eq!(file.len() as u64, tail.end);
        assert_eq!(content(&file), (written.clone(), tail.bytes));
        // To other servers each line of a reserve is an annotation: none is empty.
        let behind = &file[tail.bytes as usize..];
        assert!(behind.split_inclusive(|byte| *byte == b'\n').all(|line| line.starts_with(b"#")));
        assert!(behind.is_empty() || behind.ends_with(b"==\n"));
        let in_page = (tail.bytes % PAGE_BYTES) as usize;
        assert!(file[..tail.bytes as usize].ends_with(&tail.last_page) && tail.last_page.len() <= in_page);
        whole_pages += usize::from(tail.end > tail.bytes && tail.last_page.len() == in_page);
        assert_eq!(tail.sum(), {
            let mut sum = Crc64::new();
            sum.update(&file[..tail.bytes as usize]);
            sum.value()
        });
        with_reserve += usize::from(tail.end > tail.bytes);
        grown += usize::from(tail.end > end);
    }
    assert!((250..398).contains(&with_reserve), "{with_reserve}");
    assert!((20..200).contains(&grown), "{grown}");
    assert!((20..with_reserve - 20).contains(&whole_pages), "{whole_pages}");
}

#[test]
fn a_file_without_checksums_has_no_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut tail = Tail::create(&Disk, &path, false).unwrap();
    for len in [1, 10, 4000] {
        let mut next = block(&record(len));
        tail.make_reserve(next.most_bytes(), RESERVE).unwrap();
        tail.append_durably(&mut next, true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), tail.bytes);
    }
}

/// A file that is cut, and yet an error is told, as network file systems do.
#[derive(Debug)]
struct CutLate(Arc<dyn LogFile>);

impl LogFile for CutLate {
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), ShortWrite> {
        self.0.write_at(at, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write_over(&self, at: u64, bytes: &[u8]) -> Result<(), WriteOverError> {
        self.0.write_over(at, bytes)
    }

    fn look(&self) -> io::Result<LogState> {
        self.0.look()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.truncate(bytes)?;
        Err(io::ErrorKind::TimedOut.into())
    }
}

#[test]
fn a_reserve_that_may_be_cut_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut tail = Tail::create(&Disk, &path, true).unwrap();
    let body = record(100);
    let mut next = block(&body);
    tail.make_reserve(next.most_bytes(), RESERVE).unwrap();
    tail.append_durably(&mut next, true).unwrap();
    let file = tail.file();
    tail.file = Arc::new(CutLate(Arc::clone(&file)));
    assert!(matches!(tail.trim(), Err(CommitError::Append(_))));
    tail.file = file;
    tail.append_durably(&mut next, true).unwrap();
    let file = fs::read(&path).unwrap();
    assert_eq!((file.len() as u64, tail.end), (tail.bytes, tail.bytes));
    assert_eq!(content(&file), (body.repeat(2), tail.bytes));
}
