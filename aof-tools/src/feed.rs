//! Bytes of a file from some offset on: through the library's input, or read in place from a plain file.
//!
//! What reads in place can start anywhere, several of them at once, and holds no more than a piece, or one
//! record. Knows no format.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cairn_engine::base::crc64::Crc64;
use cairn_engine::codec::aof::reserve;
use rdb_tools::input::Input;

/// Bytes asked of the system at a time: they stay in the second-level cache until they have been read.
const READ_BYTES: usize = 512 << 10;

/// Bytes that are read from front to back.
pub(crate) trait Feed {
    /// Offset of the first byte that has not been consumed.
    fn at(&self) -> u64;
    /// The bytes at hand, from there on.
    fn bytes(&self) -> &[u8];
    /// Whether nothing follows them.
    fn is_last(&self) -> bool;
    /// Where the bytes end, if that is known.
    fn end(&self) -> Option<u64>;
    /// Makes at least so many bytes be at hand, or all that are left. More may be.
    ///
    /// # Errors
    /// What the system says.
    fn fill(&mut self, at_least: u64) -> io::Result<()>;
    /// Steps over `n` of the bytes at hand.
    fn consume(&mut self, n: usize);

    /// Steps over `n` bytes, or all that are left, at hand or not. How many those were.
    ///
    /// # Errors
    /// What the system says.
    fn skip(&mut self, n: u64) -> io::Result<u64> {
        step_over(self, n)
    }

    /// Goes back to an earlier place if it can.
    fn back(&mut self, _at: u64) {}
}

/// Steps over bytes, reading them.
fn step_over(feed: &mut (impl Feed + ?Sized), n: u64) -> io::Result<u64> {
    let mut left = n;
    while left > 0 {
        feed.fill(1)?;
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(feed.bytes().len());
        if here == 0 {
            break;
        }
        feed.consume(here);
        left -= here as u64;
    }
    Ok(n - left)
}

impl Feed for Input {
    fn at(&self) -> u64 {
        self.position()
    }

    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn is_last(&self) -> bool {
        self.is_last()
    }

    fn end(&self) -> Option<u64> {
        self.len()
    }

    fn fill(&mut self, at_least: u64) -> io::Result<()> {
        self.fill(at_least)
    }

    fn consume(&mut self, n: usize) {
        self.consume(n);
    }
}

/// Looks, while another feed is read, for the reserve at its end.
pub(crate) struct Ending<'f, F> {
    feed: &'f mut F,
    reserve: reserve::Ending,
}

impl<'f, F: Feed> Ending<'f, F> {
    /// From where the feed is.
    pub(crate) fn new(feed: &'f mut F) -> Self {
        let reserve = reserve::Ending::new(feed.at());
        Self { feed, reserve }
    }

    /// Where the reserve starts with which that ends which was consumed; its end, if there is none.
    pub(crate) fn reserve_start(&self) -> u64 {
        self.reserve.start()
    }
}

impl<F: Feed> Feed for Ending<'_, F> {
    fn at(&self) -> u64 {
        self.feed.at()
    }

    fn bytes(&self) -> &[u8] {
        self.feed.bytes()
    }

    fn is_last(&self) -> bool {
        self.feed.is_last()
    }

    fn end(&self) -> Option<u64> {
        self.feed.end()
    }

    fn fill(&mut self, at_least: u64) -> io::Result<()> {
        self.feed.fill(at_least)
    }

    fn consume(&mut self, n: usize) {
        self.reserve.push(&self.feed.bytes()[..n]);
        self.feed.consume(n);
    }
}

/// A plain file, read in place.
#[derive(Debug)]
pub(crate) struct InPlace<'f> {
    file: &'f File,
    /// Size of the file.
    end: u64,
    /// Offset of `bytes[start]`.
    at: u64,
    bytes: Vec<u8>,
    start: usize,
    /// Of the bytes consumed, if somebody wants it.
    sum: Option<Crc64>,
}

impl<'f> InPlace<'f> {
    /// Reads `file`, which is `end` bytes long, from offset `at` on.
    pub(crate) fn new(file: &'f File, at: u64, end: u64) -> Self {
        Self { file, end, at, bytes: Vec::new(), start: 0, sum: None }
    }

    /// Sums up what is consumed from here on.
    pub(crate) fn start_sum(&mut self) {
        self.sum = Some(Crc64::new());
    }

    /// The sum since [`Self::start_sum`].
    pub(crate) fn sum(&self) -> Option<u64> {
        self.sum.as_ref().map(Crc64::value)
    }

    /// The file has so many bytes now, and others than before from here on.
    pub(crate) fn renew(&mut self, end: u64) {
        self.end = end;
        self.bytes.clear();
        self.start = 0;
    }

    /// Goes on at another place. What is at hand is kept if it lies there.
    pub(crate) fn seek(&mut self, at: u64) {
        match at.checked_sub(self.at).and_then(|ahead| usize::try_from(ahead).ok()) {
            Some(ahead) if ahead <= self.bytes.len() - self.start => self.start += ahead,
            _ => {
                self.bytes.clear();
                self.start = 0;
            }
        }
        self.at = at;
    }
}

impl Feed for InPlace<'_> {
    fn at(&self) -> u64 {
        self.at
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn is_last(&self) -> bool {
        self.at + self.bytes().len() as u64 >= self.end
    }

    fn end(&self) -> Option<u64> {
        Some(self.end)
    }

    fn fill(&mut self, at_least: u64) -> io::Result<()> {
        let left = self.end.saturating_sub(self.at);
        let needed = usize::try_from(at_least.min(left)).unwrap_or(usize::MAX);
        if self.bytes().len() >= needed {
            return Ok(());
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        // Never more than the file has, so a claim in it sizes nothing.
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(needed.max(READ_BYTES));
        if self.bytes.capacity() > 4 * READ_BYTES.max(wanted) {
            self.bytes.shrink_to(wanted);
        }
        let mut have = self.bytes.len();
        self.bytes.resize(wanted.max(have), 0);
        while have < wanted {
            match self.file.read_at(&mut self.bytes[have..], self.at + have as u64) {
                // Somebody has cut the file since it was opened.
                Ok(0) => {
                    self.end = self.at + have as u64;
                    break;
                }
                Ok(n) => have += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.truncate(have);
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(have);
        Ok(())
    }

    fn consume(&mut self, n: usize) {
        assert!(n <= self.bytes().len(), "only bytes at hand can be consumed");
        if let Some(sum) = &mut self.sum {
            sum.update(&self.bytes[self.start..self.start + n]);
        }
        self.start += n;
        self.at += n as u64;
    }

    fn skip(&mut self, n: u64) -> io::Result<u64> {
        if self.sum.is_some() {
            return step_over(self, n);
        }
        let n = n.min(self.end.saturating_sub(self.at));
        self.seek(self.at + n);
        Ok(n)
    }

    fn back(&mut self, at: u64) {
        self.seek(at);
    }
}

/// The file behind an input, if its bytes are the input's own: a regular file that nothing unpacks.
///
/// # Errors
/// What the system says.
pub(crate) fn plain_file(path: &Path, input: &mut Input) -> io::Result<Option<(File, u64)>> {
    const COMPARED: u64 = 64;
    if path.as_os_str() == "-" || input.position() != 0 {
        return Ok(None);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || input.len() != Some(metadata.len()) {
        return Ok(None);
    }
    input.fill(COMPARED)?;
    let mut head = [0; COMPARED as usize];
    let n = input.bytes().len().min(head.len());
    let is_same = file.read_exact_at(&mut head[..n], 0).is_ok() && head[..n] == input.bytes()[..n];
    Ok(is_same.then_some((file, metadata.len())))
}

#[cfg(test)]
mod tests {
    use super::{Feed, InPlace};
    use std::io::Write;

    #[test]
    fn a_file_is_read_in_place_from_anywhere() {
        let mut file = tempfile::tempfile().expect("a file");
        let content: Vec<u8> = (0..2_000_000u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&content).expect("write");
        let len = content.len() as u64;
        for (from, wants_sum) in [(0, false), (777, true), (1_999_990, false), (2_000_000, true)] {
            let mut feed = InPlace::new(&file, from, len);
            if wants_sum {
                feed.start_sum();
            }
            let mut at = from as usize;
            let mut round = 0;
            loop {
                feed.fill(600_000).expect("read");
                let n = feed.bytes().len();
                assert!(feed.bytes() == &content[at..at + n] && (n >= 600_000 || feed.is_last()));
                if n == 0 {
                    break;
                }
                round += 1;
                let step = if round % 2 == 0 { feed.skip(700_000).expect("read") } else { n as u64 / 3 + 1 };
                if round % 2 == 1 {
                    feed.consume(step as usize);
                }
                at += step as usize;
                assert_eq!(feed.at(), at as u64);
            }
            let expected = cairn_engine::base::crc64::crc64(&content[from as usize..]);
            assert_eq!(feed.sum(), wants_sum.then_some(expected));
        }
        // The file has been cut since its size was asked for.
        let mut feed = InPlace::new(&file, 1_999_999, len + 50);
        feed.fill(10).expect("read");
        assert!(feed.bytes().len() == 1 && feed.is_last());
    }
}
