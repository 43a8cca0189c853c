//! Files without what has to go.
//!
//! A file of checked blocks gets new ones, for the sum of each is over its place: all records that stay go into
//! blocks of about [`BLOCK_BYTES`], and a transaction into one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use cairn_engine::base::crc64::Crc64;
use cairn_engine::codec::aof::block::{self, Pending, Reader};
use cairn_engine::codec::aof::record::{Content, Parser, Step, push_command};

use crate::feed::{Feed, InPlace};
use crate::repair::plan::FilePlan;
use crate::scan::Mark;
use crate::transaction::Open;

/// A block is written when so much has been collected.
const BLOCK_BYTES: usize = 256 << 10;

/// What was written of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) sum: u64,
}

/// Counts and sums what goes to a file.
struct Summed<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
    sum: Crc64,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.sum.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a file without what has to go.
///
/// # Errors
/// What reading and writing say.
pub(crate) fn write(plan: &FilePlan, out: &mut dyn Write) -> io::Result<Written> {
    let file = File::open(&plan.member.path)?;
    let mut out = Summed { out, bytes: 0, sum: Crc64::new() };
    if let Some(salvaged) = &plan.salvaged {
        let file = salvaged.file.reopen()?;
        let len = file.metadata()?.len();
        copy(&file, 0, len, &mut out)?;
    } else if plan.is_right() && plan.reserves.iter().all(|(_, to)| *to == plan.bytes) {
        copy(&file, 0, plan.log_end, &mut out)?;
    } else if plan.has_blocks {
        let from = whole_blocks(&file, plan)?;
        copy(&file, 0, from, &mut out)?;
        blocks(&file, plan, from, &mut out)?;
    } else {
        let mut at = 0;
        for drop in &plan.drops {
            copy(&file, at, drop.from, &mut out)?;
            out.write_all(&select(drop.select))?;
            at = drop.to;
        }
        copy(&file, at, plan.bytes, &mut out)?;
    }
    Ok(Written { bytes: out.bytes, sum: out.sum.value() })
}

/// Copies bytes of a file.
pub(crate) fn copy(mut file: &File, from: u64, to: u64, out: &mut dyn Write) -> io::Result<()> {
    file.seek(SeekFrom::Start(from))?;
    let wanted = to.saturating_sub(from);
    let copied = io::copy(&mut file.take(wanted), out)?;
    if copied < wanted {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
    }
    Ok(())
}

/// The command that chooses a database, if one has to be chosen.
fn select(db: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(db) = db {
        push_command(&mut out, [&b"SELECT"[..], db.to_string().as_bytes()]);
    }
    out
}

/// Up to where blocks can stay as they are: nothing is dropped before, or in the last of them.
fn whole_blocks(file: &File, plan: &FilePlan) -> io::Result<u64> {
    let first = plan.gaps().first().map_or(plan.bytes, |(from, ..)| *from);
    let first = plan.seal_from.map_or(first, |from| from.min(first));
    let mut feed = InPlace::new(file, plan.start, plan.bytes);
    let mut reader = Reader::new(plan.start, Some(plan.bytes));
    loop {
        feed.fill(1)?;
        match reader.next(feed.bytes(), feed.is_last()) {
            Ok(block::Step::Block(block)) if block.end <= first => {
                let len = (block.end - block.at) as usize;
                feed.consume(len);
            }
            Ok(block::Step::More { at_least }) => feed.fill(at_least)?,
            _ => return Ok(feed.at()),
        }
    }
}

/// Writes what stays from `at` on as new blocks.
fn blocks(file: &File, plan: &FilePlan, mut at: u64, out: &mut Summed<'_>) -> io::Result<()> {
    let mut pending = Pending::new();
    let mut open = Open::default();
    let end = plan.bytes;
    for (from, to, db) in plan.gaps().into_iter().chain([(end, end, None)]) {
        records(file, at, from, &mut pending, &mut open, out)?;
        pending.body_mut().extend_from_slice(&select(db));
        at = to.max(at);
    }
    seal(&mut pending, out)
}

/// Collects the records between two places where records start.
fn records(
    file: &File,
    from: u64,
    to: u64,
    pending: &mut Pending,
    open: &mut Open,
    out: &mut Summed<'_>,
) -> io::Result<()> {
    let mut feed = InPlace::new(file, from, to);
    let mut parser = Parser::new(from, None);
    loop {
        feed.fill(1)?;
        let bytes = feed.bytes();
        match parser.next(bytes, feed.is_last()) {
            Ok(Step::Record(record)) => {
                let len = (record.end - record.at) as usize;
                let is_line = block::is_line(bytes);
                if let Content::Command(argv) = record.content {
                    let name = argv.name();
                    let mark =
                        [(&b"multi"[..], Mark::Multi), (b"exec", Mark::Exec), (b"discard", Mark::Discard)];
                    let mark = mark.into_iter().find(|(word, _)| name.eq_ignore_ascii_case(word));
                    if let Some((_, mark)) = mark {
                        // What does not pair has been dropped, and if not, it changes no more than a size.
                        let _ = open.step(record.at, mark);
                    }
                }
                if !is_line {
                    pending.body_mut().extend_from_slice(&bytes[..len]);
                }
                feed.consume(len);
                if pending.body().len() >= BLOCK_BYTES && open.at().is_none() {
                    seal(pending, out)?;
                }
            }
            Ok(Step::More { at_least }) => feed.fill(at_least)?,
            Ok(Step::Done) => return Ok(()),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
        }
    }
}

fn seal(pending: &mut Pending, out: &mut Summed<'_>) -> io::Result<()> {
    if pending.is_empty() {
        return Ok(());
    }
    let at = out.bytes;
    // All before it is on the disk by the time that anybody reads this.
    out.write_all(pending.seal(at, Some(at)))?;
    pending.clear(2 * BLOCK_BYTES);
    Ok(())
}

/// The sum of a file.
///
/// # Errors
/// What reading says.
pub(crate) fn sum_of(file: &File, bytes: u64) -> io::Result<u64> {
    let mut sum = Crc64::new();
    let mut room = vec![0; 256 << 10];
    let mut at = 0;
    while at < bytes {
        let n = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(room.len());
        file.read_exact_at(&mut room[..n], at)?;
        sum.update(&room[..n]);
        at += n as u64;
    }
    Ok(sum.value())
}
