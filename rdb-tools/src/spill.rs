//! External sort: records of a key and a payload come out in the order of their keys, however many.
//!
//! What does not fit the memory budget goes to a temporary file that has no name (nothing is left behind by
//! a killed tool) as sorted runs, which are merged a bounded number at a time. Runs are made of blocks; each
//! block carries a CRC-64/XZ over its place and its bytes, and is compared before the first record of it is
//! handed out: a bad disk is an error and never a wrong answer. Equal keys come in the order in which they
//! were pushed. Knows no format: keys are compared as bytes, payloads are not looked at.

mod merge;
mod run;
mod size;

use std::io;
use std::path::PathBuf;

use clap::Args;

use merge::Merge;
use run::{Extent, RunFile};

pub use size::parse_size;

/// Where sorting takes place; options that every subcommand that sorts has.
#[derive(Debug, Clone, Args)]
pub struct Spill {
    /// Memory for sorting; what does not fit goes to temporary files
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = parse_size)]
    pub memory: u64,

    /// Folder for temporary files [default: $TMPDIR, or /tmp]
    #[arg(long, value_name = "DIR")]
    pub tmp_dir: Option<PathBuf>,
}

impl Default for Spill {
    fn default() -> Self {
        Self { memory: 32 << 20, tmp_dir: None }
    }
}

impl Spill {
    /// The folder for temporary files.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.tmp_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The same with a part of the memory, for one of several sorters that live at the same time.
    #[must_use]
    pub fn part(&self, of: u64) -> Self {
        Self { memory: self.memory / of.max(1), tmp_dir: self.tmp_dir.clone() }
    }

    /// A temporary file without a name.
    ///
    /// # Errors
    /// What the system says, with the folder.
    pub fn temp_file(&self) -> io::Result<std::fs::File> {
        let folder = self.folder();
        tempfile::tempfile_in(&folder).map_err(|error| in_folder(&folder, &error))
    }
}

/// An error of a temporary file, told with its folder.
fn in_folder(folder: &std::path::Path, error: &io::Error) -> io::Error {
    let text = format!("temporary file in {} (--tmp-dir chooses another folder): {error}", folder.display());
    io::Error::new(error.kind(), text)
}

/// A record: what it is sorted by, and what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is sorted by, as bytes.
    pub key: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

/// Where a pushed record lies in the arena.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The first bytes of the key, big-endian: most comparisons need no more.
    prefix: u64,
    at: usize,
    key_len: u32,
    payload_len: u32,
}

impl Entry {
    fn record(self, arena: &[u8]) -> Record<'_> {
        let (key, rest) = arena[self.at..].split_at(self.key_len as usize);
        Record { key, payload: &rest[..self.payload_len as usize] }
    }
}

/// The first eight bytes of a key as a number that sorts as they do.
fn prefix_of(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut first = [0; 8];
            first[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(first)
        }
    }
}

/// Budgets below this would make runs of a few records.
const LEAST_MEMORY: usize = 1 << 20;

/// Takes records in any order.
#[derive(Debug)]
pub struct Sorter {
    spill: Spill,
    memory: usize,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    file: Option<RunFile>,
    runs: Vec<Extent>,
    pushed: u64,
}

impl Sorter {
    /// A sorter that has nothing, and holds no memory yet.
    #[must_use]
    pub fn new(spill: &Spill) -> Self {
        let memory = usize::try_from(spill.memory).unwrap_or(usize::MAX).max(LEAST_MEMORY);
        Self {
            spill: spill.clone(),
            memory,
            arena: Vec::new(),
            entries: Vec::new(),
            file: None,
            runs: Vec::new(),
            pushed: 0,
        }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// Of the temporary file; a key or payload of 4 GiB or more.
    pub fn push(&mut self, key: &[u8], payload: &[u8]) -> io::Result<()> {
        let too_long =
            |_| io::Error::new(io::ErrorKind::InvalidInput, "a record to sort is longer than 4 GiB");
        let key_len = u32::try_from(key.len()).map_err(too_long)?;
        let payload_len = u32::try_from(payload.len()).map_err(too_long)?;
        let taken = self.arena.len() + self.entries.len() * size_of::<Entry>();
        let needed = key.len() + payload.len() + size_of::<Entry>();
        if taken + needed > self.memory && !self.entries.is_empty() {
            self.write_run()?;
        }
        self.entries.push(Entry { prefix: prefix_of(key), at: self.arena.len(), key_len, payload_len });
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(payload);
        self.pushed += 1;
        Ok(())
    }

    /// Records pushed so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pushed
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pushed == 0
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        // The place decides between equal keys: the order in which they came. Records without any bytes have
        // the place of the next one that has some.
        self.entries.sort_unstable_by(|a, b| {
            a.prefix
                .cmp(&b.prefix)
                .then_with(|| a.record(arena).key.cmp(b.record(arena).key))
                .then(a.at.cmp(&b.at))
                .then(a.payload_len.cmp(&b.payload_len))
        });
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.sort();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(RunFile::create(&self.spill)?),
        };
        let mut run = file.start_run();
        for entry in &self.entries {
            run.push(entry.record(&self.arena))?;
        }
        let extent = run.end()?;
        self.runs.push(extent);
        self.arena.clear();
        self.entries.clear();
        if self.arena.capacity() > self.memory {
            // One record was larger than the whole budget.
            self.arena.shrink_to(self.memory);
        }
        Ok(())
    }

    /// Sorts. What was spilled is read back from here on; the memory of the sorter is given back.
    ///
    /// # Errors
    /// Of the temporary file.
    pub fn finish(mut self) -> io::Result<Sorted> {
        let pushed = self.pushed;
        let source = match self.file.is_some() {
            false => {
                self.sort();
                From::Memory { arena: self.arena, entries: self.entries, next: 0 }
            }
            true => {
                if !self.entries.is_empty() {
                    self.write_run()?;
                }
                self.arena = Vec::new();
                self.entries = Vec::new();
                let file = self.file.take().expect("it was there");
                From::Runs(Merge::new(&self.spill, file, self.runs, self.memory)?)
            }
        };
        Ok(Sorted { source, pushed })
    }
}

/// Records in order: look at the [`Sorted::current`] one, then [`Sorted::advance`].
#[derive(Debug)]
pub struct Sorted {
    source: From,
    pushed: u64,
}

#[derive(Debug)]
enum From {
    Memory { arena: Vec<u8>, entries: Vec<Entry>, next: usize },
    Runs(Merge),
}

impl Sorted {
    /// How many records there are in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pushed
    }

    /// Whether there never was a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pushed == 0
    }

    /// The record at hand; `None` behind the last.
    #[must_use]
    pub fn current(&self) -> Option<Record<'_>> {
        match &self.source {
            From::Memory { arena, entries, next } => Some(entries.get(*next)?.record(arena)),
            From::Runs(merge) => merge.current(),
        }
    }

    /// Steps to the next record.
    ///
    /// # Errors
    /// Of the temporary file, also if it does not hold what was written to it.
    pub fn advance(&mut self) -> io::Result<()> {
        match &mut self.source {
            From::Memory { entries, next, .. } => {
                *next = (*next + 1).min(entries.len());
                Ok(())
            }
            From::Runs(merge) => merge.advance(),
        }
    }

    /// The record at hand if its key is `key`.
    #[must_use]
    pub fn current_of(&self, key: &[u8]) -> Option<Record<'_>> {
        self.current().filter(|record| record.key == key)
    }
}

#[cfg(test)]
mod tests;
