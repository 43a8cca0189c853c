//! Checked blocks of a log's file: whether their sums fit, and what it means if one does not.
//!
//! The verdicts are those of a start (`codec::aof::block`); a command outside of any block is another
//! server's and is read by its rules.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use cairn_engine::base::crc64::Crc64;
use cairn_engine::codec::aof::block::{self, Fault, Kind, Reader, Search, Step, Verdict};
use cairn_engine::codec::aof::manifest::Marks;
use cairn_engine::codec::aof::record::{self, Parser};
use rdb_tools::input::Input;

/// A block that is not right.
#[derive(Debug)]
pub(crate) struct Bad {
    /// Offset of the block.
    pub(crate) at: u64,
    /// What is wrong, and how it is known that it was not always so.
    pub(crate) what: String,
    /// Whether it may be the end of a write that a power cut has torn.
    pub(crate) is_torn: bool,
}

/// Looks at all blocks of a file that is no RDB file. `None` if they are right, or there are none; faults
/// outside of blocks are not looked for.
///
/// # Errors
/// What the disk says.
pub(crate) fn check(input: &mut Input, marks: &Marks) -> io::Result<Option<Bad>> {
    let mut parser = Parser::new(input.position(), input.len());
    let mut reader = Reader::new(input.position(), input.len());
    let mut in_blocks = marks.blocks == Some(input.position());
    loop {
        let (bytes, is_last) = (input.bytes(), input.is_last());
        if in_blocks {
            match reader.next(bytes, is_last) {
                Ok(Step::Block(block)) => {
                    let len = (block.end - block.at) as usize;
                    input.consume(len);
                }
                Ok(Step::Foreign) => {
                    in_blocks = false;
                    parser.restart(reader.at(), input.len());
                }
                Ok(Step::More { at_least }) => input.fill(at_least)?,
                Ok(Step::Reserve(len)) => input.consume(len),
                Ok(Step::Done) => return Ok(None),
                Err(fault) => return judge(input, fault, marks).map(Some),
            }
            continue;
        }
        if bytes.first() == Some(&b'#') && bytes.len() < block::PREFIX.len() && !is_last {
            input.fill(block::PREFIX.len() as u64)?;
            continue;
        }
        if block::is_line(bytes) {
            reader.skip_to(parser.at());
            in_blocks = true;
            continue;
        }
        match parser.next(bytes, is_last) {
            Ok(record::Step::Record(record)) => {
                let len = (record.end - record.at) as usize;
                input.consume(len);
            }
            Ok(record::Step::More { at_least }) => input.fill(at_least)?,
            Ok(record::Step::Done) | Err(_) => return Ok(None),
        }
    }
}

/// Where the bytes start that [`judge`] reads: the bad block, or what follows a reserve.
pub(crate) fn wrong_from(fault: &Fault) -> u64 {
    match fault.kind {
        Kind::BehindReserve { at } => at,
        _ => fault.at,
    }
}

/// What a bad block means; `input` stands at [`wrong_from`] and is read to its end.
///
/// # Errors
/// What the disk says.
pub(crate) fn judge(input: &mut Input, fault: Fault, marks: &Marks) -> io::Result<Bad> {
    let mut search = Search::new(fault, input.len());
    loop {
        let bytes = input.bytes();
        let len = bytes.len();
        if len == 0 || search.push(bytes) {
            break;
        }
        input.consume(len);
        input.fill(1)?;
    }
    Ok(match search.finish(marks.whole_to()) {
        Verdict::Corrupt(proof) => {
            Bad { at: fault.at, what: format!("{}; {proof}", fault.kind), is_torn: false }
        }
        Verdict::Torn { .. } => Bad { at: fault.at, what: fault.kind.to_string(), is_torn: true },
    })
}

/// What the manifest says of a file and the file is not. `reserve` bytes of it are a reserve at its end.
///
/// # Errors
/// What the disk says.
pub(crate) fn differs(input: &mut Input, marks: &Marks, reserve: u64) -> io::Result<Option<String>> {
    let mut sum = Crc64::new();
    let mut len = 0;
    loop {
        input.fill(1)?;
        let bytes = input.bytes();
        if bytes.is_empty() {
            break;
        }
        sum.update(bytes);
        let n = bytes.len();
        len += n as u64;
        input.consume(n);
    }
    Ok(differs_from(marks, len, reserve, Some(sum.value())))
}

/// The same of a file with so many bytes, and this sum if it is known.
pub(crate) fn differs_from(marks: &Marks, len: u64, reserve: u64, sum: Option<u64>) -> Option<String> {
    let log = len.saturating_sub(reserve);
    match (marks.size, marks.end, marks.crc64, sum) {
        (Some(size), ..) if size != len => Some(format!("{len} bytes, and the manifest says {size}")),
        (None, Some(end), ..) if log < end && reserve > 0 => {
            Some(format!("{log} bytes and a reserve, and the manifest says at least {end}"))
        }
        (None, Some(end), ..) if log < end => {
            Some(format!("{log} bytes, and the manifest says at least {end}"))
        }
        (Some(_), _, Some(expected), Some(sum)) if sum != expected => {
            Some(format!("its checksum is {sum:016x}, and the manifest says {expected:016x}"))
        }
        _ => None,
    }
}

/// Where to cut a file whose content is to end at `at`: there, or, inside of a block, in front of that
/// block, behind which then comes what is left of it as a block of its own.
pub(crate) fn cut(bytes: &[u8], start: u64, marks: &Marks, at: usize) -> (usize, Vec<u8>) {
    let mut parser = Parser::new(start, Some(bytes.len() as u64));
    let mut reader = Reader::new(start, Some(bytes.len() as u64));
    let mut in_blocks = marks.blocks == Some(start);
    loop {
        let from = if in_blocks { reader.at() } else { parser.at() } as usize;
        let rest = bytes.get(from..).unwrap_or_default();
        if from >= at || rest.is_empty() {
            return (at, Vec::new());
        }
        if !in_blocks && block::is_line(rest) {
            reader.skip_to(parser.at());
            in_blocks = true;
            continue;
        }
        if !in_blocks {
            if !matches!(parser.next(rest, true), Ok(record::Step::Record(_))) {
                return (at, Vec::new());
            }
            continue;
        }
        match reader.next(rest, true) {
            Ok(Step::Block(block)) if at < block.end as usize => {
                let kept = at.saturating_sub(block.body_at as usize);
                let body = &block.body[..kept];
                let mut left = Vec::new();
                if !body.is_empty() {
                    block::push_line(&mut left, block.at, block.synced, body);
                    left.extend_from_slice(body);
                }
                return (block.at as usize, left);
            }
            Ok(Step::Block(_) | Step::Reserve(_)) => {}
            Ok(Step::Foreign) => {
                in_blocks = false;
                parser.restart(reader.at(), Some(bytes.len() as u64));
            }
            _ => return (at, Vec::new()),
        }
    }
}

/// Cuts a file, appends `behind`, and makes sure that it stays so.
///
/// # Errors
/// What the disk says.
pub(crate) fn truncate(path: &Path, len: usize, behind: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(len as u64)?;
    drop(file);
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(behind)?;
    file.sync_all()
}

/// Puts another manifest in the place of one.
///
/// # Errors
/// What the disk says; the old one is there then.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(".fixed");
    let mut file = File::create(&temp)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&temp, path)
}
