//! Sorted runs in a temporary file: blocks of whole records, each with its sum.
//!
//! A block is `length u64 | crc u64 | records`, little-endian; a record is `key length, payload length` in
//! base 128, low digits first, then both. The sum is over the block's offset in the file, its length and its
//! records, so that a block that was lost, moved or written halfway is found out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Record, Spill, in_folder};

/// A block is closed when it has this much. A larger record has a block of its own.
pub(super) const BLOCK_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 16;

/// Where a run lies in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    start: u64,
    end: u64,
}

/// A temporary file with runs one behind the other.
#[derive(Debug)]
pub(super) struct RunFile {
    file: Arc<File>,
    folder: PathBuf,
    end: u64,
    /// The block being filled, header included.
    block: Vec<u8>,
}

impl RunFile {
    pub(super) fn create(spill: &Spill) -> io::Result<Self> {
        let file = Arc::new(spill.temp_file()?);
        Ok(Self { file, folder: spill.folder(), end: 0, block: Vec::new() })
    }

    pub(super) fn start_run(&mut self) -> RunWriter<'_> {
        let start = self.end;
        self.block.clear();
        self.block.resize(HEADER_BYTES, 0);
        RunWriter { file: self, start }
    }

    /// A reader of a run, standing on its first record.
    pub(super) fn read(&self, extent: Extent) -> io::Result<RunReader> {
        let mut reader = RunReader {
            file: self.file.clone(),
            folder: self.folder.clone(),
            at: extent.start,
            end: extent.end,
            block: Vec::new(),
            current: None,
            next: 0,
        };
        reader.advance()?;
        Ok(reader)
    }

    #[cfg(test)]
    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }
}

fn sum(at: u64, records: &[u8]) -> u64 {
    let mut digest = crc64fast::Digest::new();
    digest.write(&at.to_le_bytes());
    digest.write(&(records.len() as u64).to_le_bytes());
    digest.write(records);
    digest.sum64()
}

/// Writes the records of one run, which must come in order.
pub(super) struct RunWriter<'a> {
    file: &'a mut RunFile,
    start: u64,
}

impl RunWriter<'_> {
    pub(super) fn push(&mut self, record: Record<'_>) -> io::Result<()> {
        let block = &mut self.file.block;
        push_varint(block, record.key.len() as u64);
        push_varint(block, record.payload.len() as u64);
        block.extend_from_slice(record.key);
        block.extend_from_slice(record.payload);
        if block.len() >= HEADER_BYTES + BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> io::Result<()> {
        let RunFile { file, folder, end, block } = &mut *self.file;
        let records = &block[HEADER_BYTES..];
        let (len, crc) = (records.len() as u64, sum(*end, records));
        block[..8].copy_from_slice(&len.to_le_bytes());
        block[8..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        file.write_all_at(block, *end).map_err(|error| in_folder(folder, &error))?;
        *end += block.len() as u64;
        block.truncate(HEADER_BYTES);
        block.shrink_to(2 * BLOCK_BYTES);
        Ok(())
    }

    pub(super) fn end(mut self) -> io::Result<Extent> {
        if self.file.block.len() > HEADER_BYTES {
            self.close_block()?;
        }
        Ok(Extent { start: self.start, end: self.file.end })
    }
}

/// Reads a run, a block at a time.
#[derive(Debug)]
pub(super) struct RunReader {
    file: Arc<File>,
    folder: PathBuf,
    /// Offset of the next block.
    at: u64,
    end: u64,
    block: Vec<u8>,
    /// The record at hand: start and end of its key, end of its payload.
    current: Option<[usize; 3]>,
    /// Where in the block the next record starts.
    next: usize,
}

impl RunReader {
    pub(super) fn current(&self) -> Option<Record<'_>> {
        let [start, middle, end] = self.current?;
        Some(Record { key: &self.block[start..middle], payload: &self.block[middle..end] })
    }

    /// Steps to the next record, or to the end of the run.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        if self.next == self.block.len() && !self.read_block()? {
            self.current = None;
            self.block = Vec::new();
            self.next = 0;
            return Ok(());
        }
        let mut rest = &self.block[self.next..];
        let lens = read_varint(&mut rest).zip(read_varint(&mut rest));
        let start = self.block.len() - rest.len();
        // The sum was right, so this cannot be wrong; but nothing is sliced by a number off a disk.
        let fits = |(key, payload): (u64, u64)| {
            let middle = start.checked_add(usize::try_from(key).ok()?)?;
            let end = middle.checked_add(usize::try_from(payload).ok()?)?;
            (end <= self.block.len()).then_some([start, middle, end])
        };
        let Some(place) = lens.and_then(fits) else { return Err(self.damaged()) };
        self.next = place[2];
        self.current = Some(place);
        Ok(())
    }

    fn read_block(&mut self) -> io::Result<bool> {
        if self.at == self.end {
            return Ok(false);
        }
        let mut header = [0; HEADER_BYTES];
        self.read_at(self.at, &mut header)?;
        let [len, crc] = [&header[..8], &header[8..]]
            .map(|half| u64::from_le_bytes(half.try_into().expect("half of sixteen bytes")));
        let left = self.end - self.at - HEADER_BYTES as u64;
        if len == 0 || len > left {
            return Err(self.damaged());
        }
        let mut block = std::mem::take(&mut self.block);
        block.clear();
        block.shrink_to(2 * BLOCK_BYTES);
        // Bounded by what was written.
        block.resize(usize::try_from(len).map_err(|_| self.damaged())?, 0);
        self.read_at(self.at + HEADER_BYTES as u64, &mut block)?;
        if sum(self.at, &block) != crc {
            return Err(self.damaged());
        }
        self.block = block;
        self.next = 0;
        self.at += HEADER_BYTES as u64 + len;
        Ok(true)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at).map_err(|error| in_folder(&self.folder, &error))
    }

    #[cold]
    fn damaged(&self) -> io::Error {
        let text = format!("offset {}: not what was written there; is the disk damaged?", self.at);
        in_folder(&self.folder, &io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
