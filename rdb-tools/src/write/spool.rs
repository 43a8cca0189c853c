//! Bytes that are written before something in front of them is known: in memory while they are few,
//! then in a file without a name. What is to stand in a gap is filled in when they are copied out.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};

use cairn_engine::codec::rdb::Drain;

/// Bytes kept in memory.
const KEPT_BYTES: usize = 4 << 20;

/// Written bytes, with gaps.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    /// What memory did not keep, in front of what it has now.
    file: Option<File>,
    in_file: u64,
    gaps: Vec<(u64, u64)>,
}

/// A place in a spool where a count will stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap(usize);

/// What a spool is made of, in order.
pub(super) enum Piece<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// The count that was put into a gap.
    Count(u64),
}

impl Spool {
    /// Bytes written so far.
    pub(super) fn len(&self) -> u64 {
        self.in_file + self.memory.len() as u64
    }

    /// Leaves a gap behind what has been written: at offset `at`.
    pub(super) fn leave_gap(&mut self, at: u64) -> Gap {
        self.gaps.push((at, 0));
        Gap(self.gaps.len() - 1)
    }

    pub(super) fn fill(&mut self, gap: Gap, count: u64) {
        self.gaps[gap.0].1 = count;
    }

    /// Hands on all of it, and forgets it.
    pub(super) fn empty(&mut self, out: impl FnMut(Piece<'_>) -> io::Result<()>) -> io::Result<()> {
        let result = self.read(out);
        self.clear();
        result
    }

    /// Hands on all of it.
    pub(super) fn read(&mut self, mut out: impl FnMut(Piece<'_>) -> io::Result<()>) -> io::Result<()> {
        let gaps = std::mem::take(&mut self.gaps);
        let end = std::iter::once((self.len(), None));
        let parts = gaps.iter().map(|(at, count)| (*at, Some(*count))).chain(end);
        if self.file.is_none() {
            let mut from = 0;
            for (at, count) in parts {
                out(Piece::Bytes(&self.memory[from..at as usize]))?;
                count.map_or(Ok(()), |count| out(Piece::Count(count)))?;
                from = at as usize;
            }
        } else {
            let mut reader = self.reader()?;
            let mut buffer = vec![0; 256 << 10];
            let mut from = 0;
            for (at, count) in parts {
                while from < at {
                    let n = (buffer.len() as u64).min(at - from) as usize;
                    reader.read_exact(&mut buffer[..n])?;
                    out(Piece::Bytes(&buffer[..n]))?;
                    from += n as u64;
                }
                count.map_or(Ok(()), |count| out(Piece::Count(count)))?;
            }
        }
        self.gaps = gaps;
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.memory.shrink_to(KEPT_BYTES);
        self.file = None;
        self.in_file = 0;
        self.gaps.clear();
    }

    /// All the bytes, from the first on.
    pub(super) fn reader(&mut self) -> io::Result<impl Read + '_> {
        let file = match &mut self.file {
            Some(file) => {
                file.seek(SeekFrom::Start(0))?;
                Some(BufReader::with_capacity(256 << 10, file))
            }
            None => None,
        };
        Ok(Both { file, memory: Cursor::new(&self.memory) })
    }
}

/// The file first, then the memory.
struct Both<'a> {
    file: Option<BufReader<&'a mut File>>,
    memory: Cursor<&'a Vec<u8>>,
}

impl Read for Both<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            let n = file.read(bytes)?;
            if n > 0 || bytes.is_empty() {
                return Ok(n);
            }
            self.file = None;
        }
        self.memory.read(bytes)
    }
}

impl Drain for Spool {
    type Error = io::Error;

    fn drain(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.memory.len() + bytes.len() > KEPT_BYTES {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(tempfile::tempfile()?),
            };
            file.write_all(&self.memory)?;
            self.in_file += self.memory.len() as u64;
            self.memory.clear();
            if bytes.len() > KEPT_BYTES / 4 {
                file.write_all(bytes)?;
                self.in_file += bytes.len() as u64;
                return Ok(());
            }
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, Piece, Spool};
    use cairn_engine::codec::rdb::Drain;

    #[test]
    fn gaps_are_filled_in_memory_and_in_files() {
        for piece in [3, KEPT_BYTES / 2 + 1, KEPT_BYTES + 1] {
            let mut spool = Spool::default();
            let mut expected = Vec::new();
            let mut gaps = Vec::new();
            for i in 0..5_u8 {
                gaps.push(spool.leave_gap(spool.len()));
                spool.drain(&vec![i; piece]).expect("room");
                expected.push(100 + i);
                expected.extend(vec![i; piece]);
            }
            for (i, gap) in gaps.into_iter().enumerate() {
                spool.fill(gap, 100 + i as u64);
            }
            for round in 0..2 {
                let mut seen = Vec::new();
                spool
                    .empty(|piece| {
                        match piece {
                            Piece::Bytes(bytes) => seen.extend_from_slice(bytes),
                            Piece::Count(count) => seen.push(count as u8),
                        }
                        Ok(())
                    })
                    .expect("they are there");
                assert!(if round == 0 { seen == expected } else { seen.is_empty() }, "{piece}");
            }
        }
    }
}
