//! Keys that are there twice in one database.
//!
//! Of a mapped file a filter of fixed size tells the keys that may have been there before; who they are is
//! found in a second pass by lengths alone, which there is only if the filter has told any. If there are
//! too many of them, because the file has more keys than the filter is made for, and for pipes, which can
//! be read only once, all hashes are sorted, on disk if need be. A mapped file's keys are compared as bytes in the
//! end; those of a pipe are equal if 128 bits of hash under a random seed are.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;

use cairn_engine::codec::rdb::{Decoder, Depth, Failure, KeyHead, Options, Sink, State, ValueEvent};
use memmap2::Mmap;

use super::distinct::Hasher;
use super::filter::{Filter, Sorted};
use super::{Fate, Finding, Report};
use crate::input::release;
use crate::spill::{Sorter, Spill};

/// More suspects than these are not kept: the keys are sorted instead.
const MOST_SUSPECTS: usize = 1 << 17;
/// How much of a file is scanned before its pages are given back.
const WINDOW_BYTES: usize = 4 << 20;

/// Keys that were read, as [`Keys`] wants them.
#[derive(Debug)]
pub(super) enum Hashes {
    /// Of a mapped file.
    Short(Vec<u64>),
    /// With their offsets.
    Placed(Vec<(u128, u64)>),
}

impl Hashes {
    pub(super) fn new(can_be_read_again: bool) -> Self {
        if can_be_read_again { Self::Short(Vec::new()) } else { Self::Placed(Vec::new()) }
    }

    #[inline]
    pub(super) fn push(&mut self, hasher: Hasher, db: u64, key: &[u8], at: u64) {
        match self {
            Self::Short(hashes) => hashes.push(hasher.key(db, key)),
            Self::Placed(hashes) => hashes.push((hasher.wide_key(db, key), at)),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Short(hashes) => hashes.len(),
            Self::Placed(hashes) => hashes.len(),
        }
    }

    pub(super) fn clear(&mut self) {
        drop(self.take());
    }

    /// What is there, leaving nothing.
    pub(super) fn take(&mut self) -> Self {
        match self {
            Self::Short(hashes) => Self::Short(std::mem::take(hashes)),
            Self::Placed(hashes) => Self::Placed(std::mem::take(hashes)),
        }
    }
}

/// The keys of a file so far.
pub(super) enum Keys {
    Filtered { filter: Box<Sorted>, suspects: Vec<u64>, too_many: bool },
    Sorted(Sorter),
}

fn sorter() -> Sorter {
    Sorter::new(&Spill::default().part(2))
}

impl Keys {
    pub(super) fn new(can_be_read_again: bool, file_bytes: u64) -> Self {
        if !can_be_read_again {
            return Self::Sorted(sorter());
        }
        let filter = Box::new(Sorted::new(Filter::new(file_bytes)));
        Self::Filtered { filter, suspects: Vec::new(), too_many: false }
    }

    pub(super) fn add(&mut self, keys: &Hashes) -> io::Result<()> {
        match (self, keys) {
            (Self::Filtered { filter, suspects, too_many }, Hashes::Short(hashes)) => {
                hashes.iter().for_each(|hash| filter.add(*hash, suspects));
                *too_many |= suspects.len() > MOST_SUSPECTS;
                if *too_many {
                    suspects.clear();
                }
            }
            (Self::Sorted(sorter), Hashes::Placed(hashes)) => {
                for (hash, at) in hashes {
                    sorter.push(&hash.to_be_bytes(), &at.to_be_bytes())?;
                }
            }
            _ => unreachable!("whoever hashes keys knows whether they can be read again"),
        }
        Ok(())
    }

    /// Adds a finding for each key that is there again. `origin` is where offset 0 lies in the mapping.
    pub(super) fn report(
        mut self,
        map: Option<&Mmap>,
        origin: usize,
        hasher: Hasher,
        report: &mut Report,
    ) -> io::Result<()> {
        if let Self::Filtered { filter, suspects, too_many } = &mut self {
            filter.finish(suspects);
            *too_many |= suspects.len() > MOST_SUSPECTS;
        }
        match (self, map) {
            (Self::Filtered { too_many: false, suspects, .. }, _) if suspects.is_empty() => Ok(()),
            (Self::Filtered { too_many: false, suspects, .. }, Some(map)) => {
                let places = suspects.into_iter().map(|hash| (hash, Vec::new())).collect();
                let mut again = Suspects { hasher, places, sorter: None, failed: None };
                scan(map, origin, &mut again);
                again.report(report);
                Ok(())
            }
            (Self::Filtered { .. }, Some(map)) => {
                let mut all =
                    Suspects { hasher, places: HashMap::new(), sorter: Some(sorter()), failed: None };
                scan(map, origin, &mut all);
                match (all.failed, all.sorter) {
                    (Some(error), _) => Err(error),
                    (None, Some(sorter)) => report_sorted(sorter, report),
                    (None, None) => Ok(()),
                }
            }
            (Self::Filtered { .. }, None) => Ok(()),
            (Self::Sorted(sorter), _) => report_sorted(sorter, report),
        }
    }
}

fn add(report: &mut Report, first: u64, at: u64, key: Option<(u64, Vec<u8>)>) {
    let what = match key {
        Some(_) => format!("the key is there before, at offset {first}"),
        None => format!("the key at this offset is there before, at offset {first}"),
    };
    report.add(Finding { at, key, kind: "duplicate-key", what, fate: Fate::Crashes });
}

fn report_sorted(sorter: Sorter, report: &mut Report) -> io::Result<()> {
    let mut sorted = sorter.finish()?;
    let mut last: Option<(Vec<u8>, u64)> = None;
    while let Some(record) = sorted.current() {
        let at = record.payload.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        match &last {
            Some((hash, first)) if hash == record.key => add(report, *first, at, None),
            _ => last = Some((record.key.to_vec(), at)),
        }
        sorted.advance()?;
    }
    Ok(())
}

/// Finds where suspects stand; or all keys, if they are to be sorted.
struct Suspects {
    hasher: Hasher,
    /// Offset, database and bytes of every key of a hash.
    places: HashMap<u64, Vec<(u64, u64, Vec<u8>)>>,
    sorter: Option<Sorter>,
    failed: Option<io::Error>,
}

impl Suspects {
    fn report(self, report: &mut Report) {
        for places in self.places.into_values() {
            for (i, (at, db, key)) in places.iter().enumerate() {
                let first = places[..i].iter().find(|(_, other_db, other)| other_db == db && other == key);
                if let Some((first, ..)) = first {
                    add(report, *first, *at, Some((*db, key.clone())));
                }
            }
        }
    }
}

impl Sink for Suspects {
    type Error = Infallible;

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        if let Some(sorter) = &mut self.sorter {
            let hash = self.hasher.wide_key(head.db, head.key);
            if let Err(error) = sorter.push(&hash.to_be_bytes(), &head.at.to_be_bytes()) {
                self.failed.get_or_insert(error);
            }
        } else if let Some(places) = self.places.get_mut(&self.hasher.key(head.db, head.key)) {
            places.push((head.at, head.db, head.key.to_vec()));
        }
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Steps through a file by lengths, up to its end or a fault that was told before.
fn scan<S: Sink<Error = Infallible>>(map: &Mmap, origin: usize, sink: &mut S) {
    let mut decoder = Decoder::new(Options { verify_checksum: false, ..Options::default() });
    let (mut at, mut window) = (origin, WINDOW_BYTES);
    loop {
        let until = at.saturating_add(window).min(map.len());
        let step = match decoder.advance(&map[at..until], until == map.len(), sink) {
            Ok(step) => step,
            Err(Failure::Format(_)) => return,
            Err(Failure::Sink(never)) => match never {},
        };
        release(map, at..at + step.consumed);
        at += step.consumed;
        match step.state {
            State::Done => return,
            State::More { at_least } => {
                window = usize::try_from(at_least).unwrap_or(usize::MAX).max(WINDOW_BYTES);
            }
        }
    }
}
