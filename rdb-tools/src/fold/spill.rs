//! Commands and records on their way to the partition that runs them, in one temporary file without a
//! name.
//!
//! Each partition has a buffer; a full one goes to the end of the file. What comes out of a partition is
//! what went in, in its order. Knows nothing of what the bytes mean.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::spill::Spill;

/// The fewest and the most bytes that go to the file at once.
const PIECE_BYTES: (u64, u64) = (4 << 10, 256 << 10);

/// What partitions will get.
pub(super) struct Partitions {
    file: File,
    /// Bytes in it.
    end: u64,
    piece: usize,
    partitions: Vec<Partition>,
}

#[derive(Default)]
struct Partition {
    buffer: Vec<u8>,
    /// Where in the file what was in the buffer before is.
    extents: Vec<(u64, u32)>,
}

impl Partitions {
    /// So many of them, whose buffers take so many bytes together.
    pub(super) fn new(spill: &Spill, count: usize, memory: u64) -> io::Result<Partitions> {
        let piece = (memory / count.max(1) as u64).clamp(PIECE_BYTES.0, PIECE_BYTES.1) as usize;
        let partitions = (0..count.max(1)).map(|_| Partition::default()).collect();
        Ok(Partitions { file: spill.temp_file()?, end: 0, piece, partitions })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Appends to what a partition gets.
    pub(super) fn push(&mut self, partition: usize, bytes: &[u8]) -> io::Result<()> {
        let Partition { buffer, extents } = &mut self.partitions[partition];
        if !buffer.is_empty() && buffer.len() + bytes.len() > self.piece {
            flush(&self.file, &mut self.end, buffer, extents)?;
        }
        if bytes.len() <= self.piece {
            buffer.extend_from_slice(bytes);
            return Ok(());
        }
        bytes.chunks(1 << 30).try_for_each(|chunk| flush_bytes(&self.file, &mut self.end, chunk, extents))
    }

    /// Nothing more comes: gives the buffers back and makes the file ready to be read.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        for Partition { buffer, extents } in &mut self.partitions {
            if !buffer.is_empty() {
                flush(&self.file, &mut self.end, buffer, extents)?;
            }
            *buffer = Vec::new();
        }
        Ok(())
    }

    /// What a partition got.
    pub(super) fn read(&self, partition: usize) -> impl Read + '_ {
        let extents = &self.partitions[partition].extents;
        Extents { file: &self.file, extents, at: 0 }
    }
}

fn flush(file: &File, end: &mut u64, buffer: &mut Vec<u8>, extents: &mut Vec<(u64, u32)>) -> io::Result<()> {
    flush_bytes(file, end, buffer, extents)?;
    buffer.clear();
    Ok(())
}

fn flush_bytes(file: &File, end: &mut u64, bytes: &[u8], extents: &mut Vec<(u64, u32)>) -> io::Result<()> {
    file.write_all_at(bytes, *end)?;
    extents.push((*end, bytes.len() as u32));
    *end += bytes.len() as u64;
    Ok(())
}

/// Pieces of a file, one after another.
struct Extents<'a> {
    file: &'a File,
    extents: &'a [(u64, u32)],
    /// Bytes of the first that were read.
    at: u32,
}

impl Read for Extents<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(&(offset, len)) = self.extents.first() else { return Ok(0) };
        let n = into.len().min((len - self.at) as usize);
        self.file.read_exact_at(&mut into[..n], offset + u64::from(self.at))?;
        self.at += n as u32;
        if self.at == len {
            self.extents = &self.extents[1..];
            self.at = 0;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_gets_its_own_in_order() {
        let mut partitions = Partitions::new(&Spill::default(), 3, 0).expect("a file");
        let mut expected = vec![Vec::new(); 3];
        for i in 0..2000u32 {
            let bytes = vec![i as u8; (i * i % 6000) as usize];
            let to = (i % 7 % 3) as usize;
            partitions.push(to, &bytes).expect("written");
            expected[to].extend_from_slice(&bytes);
        }
        partitions.seal().expect("written");
        for (number, expected) in expected.iter().enumerate() {
            let mut got = Vec::new();
            partitions.read(number).read_to_end(&mut got).expect("read");
            assert!(got == *expected);
        }
    }
}
