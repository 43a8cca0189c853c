//! From a file to the keys, on two threads where there are two processors: one reads, checks and makes
//! entries ahead, the other, which owns the keys, puts them in or runs the commands.
//!
//! Batches stand in one line. When it is short the reader reads; when it is long it makes the entries of
//! the batch that is last in it. The owner takes the first batch and makes its entries if that has not been
//! done, so neither waits for long.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::os::memory;
use crate::persist::load::LoadProgress;

use super::batch::Batch;
use super::build::Builder;
use super::file::{Failure, Span};
use super::parse::{Failed, Parsing, Part, Wrong};
use super::replay::Replayer;

/// A smaller file is read before a thread has begun.
const LEAST_BYTES: u64 = 1 << 20;
/// Batches that are read before the entries of one are made.
const READ_AHEAD: usize = 4;
/// The longest line.
const MOST_BATCHES: usize = 12;
/// So many more entries made in vain than others, and no more are made: a log that changes what is there
/// is only read ahead.
const MOST_USELESS: i64 = 10_000;

/// Runs all of a file. `may_spawn` if another thread may help.
///
/// # Errors
/// `Failure`.
pub(super) fn run(
    mut parsing: Parsing,
    replayer: &mut Replayer<'_>,
    span: Span,
    may_spawn: bool,
) -> Result<(Parsing, Option<Wrong>), Failure> {
    let is_large = parsing.feed.end.saturating_sub(parsing.feed.offset) >= LEAST_BYTES;
    if may_spawn && is_large && thread::available_parallelism().is_ok_and(|processors| processors.get() > 1) {
        return on_two_threads(parsing, replayer, span);
    }
    let bytes = parsing.feed.end;
    let mut builder = Builder::of(&replayer.into);
    let mut is_begun = !(span.is_base && is_large);
    loop {
        match parsing.next()? {
            Part::End(wrong) => return Ok((parsing, wrong)),
            Part::Batch(mut batch) => {
                if !std::mem::replace(&mut is_begun, true) {
                    replayer.expect(&batch, bytes);
                }
                if replayer.useful >= -MOST_USELESS {
                    builder.build(&mut batch);
                }
                replayer.run(&mut batch).map_err(Failure::Command)?;
                tell(replayer, &batch, span);
                parsing.recycle(batch);
            }
        }
    }
}

fn tell(replayer: &mut Replayer<'_>, batch: &Batch, span: Span) {
    let (bytes, keys) = (span.before + batch.end, replayer.commands);
    replayer.progress = LoadProgress { bytes, total_bytes: span.total, keys };
    replayer.listener.progress(replayer.progress);
}

/// A place in the line.
enum Slot {
    Read(Batch),
    /// Its entries are being made.
    InHand,
    Made(Batch),
}

#[derive(Default)]
struct Line {
    slots: VecDeque<Slot>,
    /// Batches that were run.
    spare: Vec<Batch>,
    /// Entries that were made and could be put in, less those that could not.
    useful: i64,
    /// Nothing more will come.
    is_closed: bool,
    /// Nothing more is wanted.
    is_given_up: bool,
}

#[derive(Default)]
struct Shared {
    line: Mutex<Line>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing is left half done while the lock is held.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, line: MutexGuard<'a, Line>) -> MutexGuard<'a, Line> {
        self.changed.wait(line).unwrap_or_else(PoisonError::into_inner)
    }

    /// The first batch, and whether its entries would have to be made yet; `None` when there are no more.
    fn take(&self) -> Option<(Batch, bool)> {
        let mut line = self.lock();
        loop {
            match line.slots.front() {
                Some(Slot::InHand) => {}
                Some(_) => break,
                None if line.is_closed => return None,
                None => {}
            }
            line = self.wait(line);
        }
        let taken = line.slots.pop_front();
        let pays = line.useful >= -MOST_USELESS;
        drop(line);
        self.changed.notify_one();
        match taken {
            Some(Slot::Read(batch)) => Some((batch, pays)),
            Some(Slot::Made(batch)) => Some((batch, false)),
            _ => None,
        }
    }
}

/// Closes the line when the reader ends, in whatever way.
struct Closes<'a>(&'a Shared);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

fn on_two_threads(
    parsing: Parsing,
    replayer: &mut Replayer<'_>,
    span: Span,
) -> Result<(Parsing, Option<Wrong>), Failure> {
    let shared = Shared::default();
    let bytes = parsing.feed.end;
    let (builder, mut own_builder) = (Builder::of(&replayer.into), Builder::of(&replayer.into));
    thread::scope(|scope| {
        let read = || {
            let _closes = Closes(&shared);
            work(parsing, builder, &shared)
        };
        let reader = match thread::Builder::new().name("cairn-load".to_owned()).spawn_scoped(scope, read) {
            Ok(reader) => reader,
            Err(error) => return Err(Failure::Io(error)),
        };
        let mut stopped = Ok(());
        let mut is_begun = !span.is_base;
        while let Some((mut batch, is_unmade)) = shared.take() {
            if !std::mem::replace(&mut is_begun, true) {
                replayer.expect(&batch, bytes);
            }
            if is_unmade {
                own_builder.build(&mut batch);
            }
            stopped = replayer.run(&mut batch);
            if stopped.is_err() {
                shared.lock().is_given_up = true;
                shared.changed.notify_one();
                break;
            }
            tell(replayer, &batch, span);
            let mut line = shared.lock();
            line.useful += std::mem::take(&mut replayer.useful);
            line.spare.push(batch);
        }
        let ended = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        stopped.map_err(Failure::Command)?;
        Ok(ended?)
    })
}

/// What the reader does until the end.
fn work(
    mut parsing: Parsing,
    mut builder: Builder<'_>,
    shared: &Shared,
) -> Result<(Parsing, Option<Wrong>), Failed> {
    let mut wrong = None;
    let mut is_read = false;
    loop {
        let mut line = shared.lock();
        while line.slots.len() >= MOST_BATCHES && !line.is_given_up && unmade(&line).is_none() {
            line = shared.wait(line);
        }
        if line.is_given_up {
            return Ok((parsing, wrong));
        }
        line.spare.drain(..).for_each(|batch| parsing.recycle(batch));
        let has_read_enough = is_read || line.slots.len() >= READ_AHEAD;
        match unmade(&line).filter(|_| has_read_enough) {
            Some(at) => {
                let slot = std::mem::replace(&mut line.slots[at], Slot::InHand);
                let from_end = line.slots.len() - at;
                drop(line);
                let Slot::Read(mut batch) = slot else { continue };
                builder.build(&mut batch);
                memory::publish_thread();
                let mut line = shared.lock();
                // Those in front of it may have gone meanwhile, and none has come behind it.
                let at = line.slots.len() - from_end;
                line.slots[at] = Slot::Made(batch);
            }
            None if is_read => return Ok((parsing, wrong)),
            None => {
                drop(line);
                let part = parsing.next()?;
                memory::publish_thread();
                match part {
                    Part::Batch(batch) => shared.lock().slots.push_back(Slot::Read(batch)),
                    Part::End(end) => (wrong, is_read) = (end, true),
                }
            }
        }
        shared.changed.notify_one();
    }
}

/// The last batch in the line whose entries have not been made, unless it is the first: that one is about
/// to be taken.
fn unmade(line: &Line) -> Option<usize> {
    if line.useful < -MOST_USELESS {
        return None;
    }
    let last = line.slots.iter().rposition(|slot| matches!(slot, Slot::Read(_)))?;
    (last > 0).then_some(last)
}
