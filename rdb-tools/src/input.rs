//! Input: a file that is mapped, or read through a buffer where it cannot be.
//!
//! A mapped file must not shrink while it is read: the system answers a touch behind its end with
//! SIGBUS. So mapping is what regular files get by default, and `--no-mmap`, pipes and `-` (standard
//! input) go through a buffer that holds no more than one unit of the format. What is packed is
//! unpacked on the way ([`unpack`]); offsets are then of what comes out. Knows no other format.
//!
//! Pages of a mapped file count as the process's memory as long as they are mapped, so [`Input::consume`]
//! lets go of those behind the reader. Nothing is lost by that: whoever touches such a page again gets it from the
//! file again, also through a [`Input::share`] of the mapping. Who reads ahead of others calls
//! [`Input::keep_pages`], and [`release`] for each range that all are done with.

#![allow(unsafe_code)]

pub mod unpack;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unpack::Form;

/// What a mapped file is handed out in: enough to keep a decoder busy, small enough for a smooth
/// progress bar.
const WINDOW_BYTES: usize = 8 << 20;
/// What is read into a buffer at once, at least and at most.
const READ_BYTES: usize = 256 << 10;
const BUFFER_BYTES: usize = 1 << 20;
/// How many bytes behind the reader are let go of at once.
const RELEASE_BYTES: usize = 4 << 20;
/// Pages are released in multiples of this: no system has larger ones by default.
const PAGE_BYTES: usize = 64 << 10;
/// What is looked at to see whether an input is packed.
const HEAD_BYTES: usize = 8;

/// How to open an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Map regular files, buffer the rest.
    Map,
    /// Never map: the file may shrink, or lives where mapping is a bad idea.
    Buffer,
}

/// An input that is read from front to back.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    len: Option<u64>,
    at: u64,
    source: Source,
    form: Option<Form>,
    is_repeatable: bool,
}

#[derive(Debug)]
enum Source {
    Mapped { map: Option<Arc<memmap2::Mmap>>, window: usize, released: usize, keeps: bool },
    Buffered { reader: Reader, bytes: Vec<u8>, start: usize, ended: bool, error: Option<io::Error> },
}

struct Reader(Box<dyn Read + Send>);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Input {
    /// Opens `path`, and unpacks what is packed; `-` is standard input.
    ///
    /// # Errors
    /// Whatever opening says; a folder is an error too. [`damage`] tells what is wrong with a packed
    /// input.
    pub fn open(path: &Path, access: Access) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::unpacked(path, Box::new(io::stdin()), false);
        }
        let (file, len) = open_file(path)?;
        let Some(len) = len else {
            return Self::unpacked(path, Box::new(file), false);
        };
        let mut head = [0; HEAD_BYTES];
        let read = file.read_at(&mut head, 0)?;
        match Form::of(&head[..read]) {
            Some(_) => Self::unpacked(path, Box::new(file), true),
            None => Ok(Self::file(path, file, len, access)),
        }
    }

    /// Opens `path` for its bytes as they are, packed or not.
    ///
    /// # Errors
    /// Whatever opening says; a folder is an error too.
    pub fn open_as_it_is(path: &Path, access: Access) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::buffered(path, Box::new(io::stdin()), None));
        }
        let (file, len) = open_file(path)?;
        Ok(match len {
            Some(len) => Self::file(path, file, len, access),
            None => Self::buffered(path, Box::new(file), None),
        })
    }

    /// An input of what `reader` gives, unpacked where it is packed; `name` stands for its path.
    ///
    /// # Errors
    /// Whatever reading its first bytes says.
    pub fn from_reader(name: &Path, reader: Box<dyn Read + Send>) -> io::Result<Self> {
        Self::unpacked(name, reader, false)
    }

    fn file(path: &Path, file: File, len: u64, access: Access) -> Self {
        let mapped = match access {
            Access::Map => Self::mapped_file(path, &file, len),
            Access::Buffer => None,
        };
        mapped.unwrap_or_else(|| Self::buffered(path, Box::new(file), Some(len)))
    }

    fn mapped_file(path: &Path, file: &File, len: u64) -> Option<Self> {
        // Nothing can be mapped of an empty file.
        let map = if len == 0 {
            None
        } else {
            // SAFETY: the mapping is private and read-only, and this process never writes to the file
            // while it is mapped. Other processes must not shrink it; whoever cannot promise that
            // passes `--no-mmap`, which is what the help text of that option says.
            Some(Arc::new(unsafe { memmap2::Mmap::map(file) }.ok()?))
        };
        if let Some(map) = &map {
            // Only a hint: where the system does not take it, reading is slower and nothing else.
            let _ = map.advise(memmap2::Advice::Sequential);
        }
        let source = Source::Mapped { map, window: WINDOW_BYTES, released: 0, keeps: false };
        Some(Self { path: path.to_owned(), len: Some(len), at: 0, source, form: None, is_repeatable: true })
    }

    fn unpacked(path: &Path, reader: Box<dyn Read + Send>, is_repeatable: bool) -> io::Result<Self> {
        let (form, reader) = match unpack::unpack(reader) {
            // What is wrong with the bytes is for who reads them to say, as behind the first ones.
            Err(error) if damage(&error).is_some() => {
                let failing: Box<dyn Read + Send> = Box::new(Failing(Some(error)));
                (None, failing)
            }
            unpacked => unpacked?,
        };
        let input = Self::buffered(path, reader, None);
        Ok(Self { form, is_repeatable, ..input })
    }

    fn buffered(path: &Path, reader: Box<dyn Read + Send>, len: Option<u64>) -> Self {
        let reader = Reader(reader);
        let source = Source::Buffered { reader, bytes: Vec::new(), start: 0, ended: false, error: None };
        Self { path: path.to_owned(), len, at: 0, source, form: None, is_repeatable: len.is_some() }
    }

    /// How it is packed, if it is; offsets are of what comes out.
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// Leaves the pages behind the reader mapped: others look at them, and will call [`release`].
    pub fn keep_pages(&mut self) {
        if let Source::Mapped { keeps, .. } = &mut self.source {
            *keeps = true;
        }
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size when it was opened; `None` for a pipe, and for what is packed.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether it is known to have no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// Whether opening it again gives the same bytes again: a regular file.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// Offset of the first byte that has not been consumed.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The bytes that are at hand, from [`Input::position`] on. Empty before the first [`Input::fill`]
    /// of a buffered input.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Mapped { map, window, .. } => {
                let rest = rest_of(map.as_ref(), self.at);
                &rest[..rest.len().min(*window)]
            }
            Source::Buffered { bytes, start, .. } => &bytes[*start..],
        }
    }

    /// Whether nothing follows [`Input::bytes`].
    #[must_use]
    pub fn is_last(&self) -> bool {
        match &self.source {
            Source::Mapped { map, window, .. } => rest_of(map.as_ref(), self.at).len() <= *window,
            Source::Buffered { ended, .. } => *ended,
        }
    }

    /// Makes at least `at_least` bytes be at hand, or all that are left.
    ///
    /// A buffer grows with the bytes that really come, never by `at_least` alone.
    ///
    /// # Errors
    /// Whatever reading says.
    pub fn fill(&mut self, at_least: u64) -> io::Result<()> {
        let at_least = usize::try_from(at_least).unwrap_or(usize::MAX);
        match &mut self.source {
            Source::Mapped { window, .. } => {
                *window = at_least.max(WINDOW_BYTES);
                Ok(())
            }
            Source::Buffered { reader, bytes, start, ended, error } => {
                if *start > 0 {
                    bytes.drain(..*start);
                    *start = 0;
                }
                while !*ended && bytes.len() < at_least.max(1) {
                    // What came before an error is at hand first.
                    if let Some(error) = error.take() {
                        return Err(error);
                    }
                    // As much as comes at once: a server at the other end may wait for us.
                    let len = bytes.len();
                    let wanted = at_least.saturating_sub(len).clamp(READ_BYTES, BUFFER_BYTES);
                    bytes.resize(len + wanted, 0);
                    let read = reader.0.read(&mut bytes[len..]);
                    bytes.truncate(len + *read.as_ref().unwrap_or(&0));
                    match read {
                        Ok(read) => *ended = read == 0,
                        Err(failed) if failed.kind() == io::ErrorKind::Interrupted => {}
                        Err(failed) => *error = Some(failed),
                    }
                }
                Ok(())
            }
        }
    }

    /// Steps over `n` of the bytes at hand.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.bytes().len(), "only bytes at hand can be consumed");
        self.at += n as u64;
        match &mut self.source {
            Source::Buffered { start, .. } => *start += n,
            Source::Mapped { map: Some(map), released, keeps: false, .. } => {
                // `at` has only ever grown by bytes of this map.
                let at = self.at as usize;
                if at - *released >= RELEASE_BYTES {
                    release(map, *released..at);
                    *released = at;
                }
            }
            Source::Mapped { .. } => {}
        }
    }

    /// The whole content when it is mapped, wherever the position is.
    #[must_use]
    pub fn mapped(&self) -> Option<&[u8]> {
        match &self.source {
            Source::Mapped { map, .. } => Some(map.as_ref().map_or(&[], |map| &map[..])),
            Source::Buffered { .. } => None,
        }
    }

    /// A share of the mapping, for whoever looks at the content while the input is being read.
    #[must_use]
    pub fn share(&self) -> Option<Arc<memmap2::Mmap>> {
        match &self.source {
            Source::Mapped { map, .. } => map.clone(),
            Source::Buffered { .. } => None,
        }
    }

    /// All that is left, read into memory where it is not mapped.
    ///
    /// # Errors
    /// Whatever reading says.
    pub fn rest(&mut self) -> io::Result<Cow<'_, [u8]>> {
        if let Source::Buffered { ended: false, .. } = &self.source {
            self.fill(u64::MAX)?;
        }
        Ok(match &self.source {
            Source::Mapped { map, .. } => Cow::Borrowed(rest_of(map.as_ref(), self.at)),
            Source::Buffered { bytes, start, .. } => Cow::Borrowed(&bytes[*start..]),
        })
    }

    /// Steps over everything that is left and says how much it was.
    ///
    /// # Errors
    /// Whatever reading says.
    pub fn skip_rest(&mut self) -> io::Result<u64> {
        let from = self.at;
        loop {
            self.fill(1)?;
            let n = self.bytes().len();
            if n == 0 {
                return Ok(self.at - from);
            }
            self.consume(n);
        }
    }
}

/// Reads nothing but an error.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Opens a file; its length if it is a regular one.
fn open_file(path: &Path) -> io::Result<(File, Option<u64>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// Lets go of the whole pages in a range of a mapping: they no longer count as memory of the process.
///
/// The mapping stays as it is; whoever touches them again gets them from the file. A page that lies
/// across the range's start goes too, one across its end stays.
pub fn release(map: &memmap2::Mmap, range: Range<usize>) {
    let start = range.start / PAGE_BYTES * PAGE_BYTES;
    let end = range.end.min(map.len()) / PAGE_BYTES * PAGE_BYTES;
    if start >= end {
        return;
    }
    // SAFETY: the mapping is of a file, private and never written to, so a dropped page comes back from the
    // file with the bytes it had, as `mapped_file` says who promises. The range lies inside the mapping.
    let released =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
    // A system that does not take it keeps the pages, as it would have without being asked.
    let _ = released;
}

/// What an error says about the input's own bytes, if it is not the system that failed: the input was
/// packed, and cannot be unpacked.
#[must_use]
pub fn damage(error: &io::Error) -> Option<&Damage> {
    error.get_ref()?.downcast_ref()
}

/// A packed input that cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What it is packed as.
    pub form: &'static str,
    /// Bytes that had come out of it.
    pub at: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {} of what is unpacked: {}: {}", self.at, self.form, self.what)
    }
}

impl std::error::Error for Damage {}

fn rest_of(map: Option<&Arc<memmap2::Mmap>>, at: u64) -> &[u8] {
    let bytes: &[u8] = map.map_or(&[], |map| map);
    // `at` has only ever grown by bytes of this map.
    &bytes[at as usize..]
}

#[cfg(test)]
mod tests {
    use super::{Access, Input};
    use std::io::Write;
    use std::path::Path;

    #[test]
    fn a_file_reads_the_same_mapped_and_buffered() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&content).expect("write");
        for access in [Access::Map, Access::Buffer] {
            let mut input = Input::open(file.path(), access).expect("open");
            assert_eq!(input.mapped().is_some(), access == Access::Map);
            assert_eq!(input.len(), Some(3_000_000));
            let mut read = Vec::new();
            while read.len() < content.len() {
                input.fill(777).expect("read");
                assert_eq!(input.position(), read.len() as u64);
                let n = input.bytes().len().min(1000);
                assert!(n >= 777 || input.is_last());
                read.extend_from_slice(&input.bytes()[..n]);
                input.consume(n);
            }
            assert!(read == content && input.bytes().is_empty());
            input.fill(1).expect("read at the end");
            assert!(input.is_last() && input.bytes().is_empty());
            let mut input = Input::open(file.path(), access).expect("open");
            input.fill(2_500_000).expect("read");
            assert!(input.bytes().len() >= 2_500_000);
            input.consume(10);
            assert!(input.rest().expect("read")[..] == content[10..]);
            assert_eq!(input.skip_rest().expect("read"), 2_999_990);
        }
    }

    #[test]
    fn folders_and_missing_files_are_errors_and_empty_files_are_not() {
        assert!(Input::open(Path::new("/"), Access::Map).is_err());
        assert!(Input::open(Path::new("/no such file"), Access::Map).is_err());
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for access in [Access::Map, Access::Buffer] {
            let mut input = Input::open(file.path(), access).expect("open");
            input.fill(5).expect("read");
            assert!(input.is_last() && input.is_empty() && input.bytes().is_empty());
        }
    }
}
