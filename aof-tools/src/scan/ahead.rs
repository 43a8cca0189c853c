//! A large plain file looked at in several places at once.
//!
//! The file is cut into pieces, and a worker guesses where the first record of its piece starts. A guess
//! counts only if the piece before ends exactly there; if not, the piece is read again from where it does.
//! So the result is that of one reader from front to back, whatever values hold.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use cairn_engine::base::crc64;
use cairn_engine::codec::aof::block;

use crate::feed::{Feed, InPlace};
use crate::resync::{Plausible, plausible};
use crate::vocabulary::Vocabulary;

use super::{Ended, Scan, Tally};

/// What a worker takes at a time.
pub(crate) const PIECE_BYTES: u64 = 4 << 20;
/// How far into a piece a record is looked for.
const GUESS_BYTES: u64 = 1 << 20;
/// Pieces that a worker may be ahead.
const AHEAD: usize = 4;

/// What is to be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) file: &'a File,
    /// From this offset on, where a record starts.
    pub(crate) from: u64,
    /// Size of the file.
    pub(crate) end: u64,
    /// Whether a block is expected at `from`.
    pub(crate) in_blocks: bool,
    /// Whether the sum of what was read is wanted.
    pub(crate) wants_sum: bool,
    /// Threads that may work.
    pub(crate) threads: usize,
    /// What each of them takes at a time.
    pub(crate) piece_bytes: u64,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) tally: Tally,
    pub(crate) ended: Ended,
    /// Everything before was read.
    pub(crate) at: u64,
    /// Whether a block is expected there.
    pub(crate) in_blocks: bool,
    /// CRC-64 of it, from where it began.
    pub(crate) sum: Option<u64>,
}

/// Looks at a file from `job.from` on, up to its end or the first record that cannot be read. `each` gets
/// what was found piece by piece, in order.
///
/// # Errors
/// What the system says.
pub(crate) fn scan_file(
    vocabulary: &Vocabulary,
    job: Job<'_>,
    each: &mut dyn FnMut(&mut Tally, u64),
) -> io::Result<Scanned> {
    let pieces = job.end.saturating_sub(job.from).div_ceil(job.piece_bytes);
    let workers = (job.threads as u64).min(pieces / 2) as usize;
    let mut merged = Merged::new(vocabulary, job);
    if workers < 2 {
        merged.read_to(job.end, each)?;
        return Ok(merged.done);
    }
    std::thread::scope(|scope| {
        let results: Vec<Receiver<io::Result<Option<Piece>>>> = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(AHEAD);
                scope.spawn(move || work(vocabulary, job, worker as u64, workers as u64, &sender));
                receiver
            })
            .collect();
        for number in 0..pieces {
            let limit = piece_end(job, number);
            // A worker that is gone has told why before, or has panicked, which the scope passes on.
            let piece = match results[(number % workers as u64) as usize].recv() {
                Ok(piece) => piece?,
                Err(_) => None,
            };
            match piece.filter(|piece| piece.start == merged.done.at) {
                Some(piece) => merged.take(piece, each),
                None => merged.read_to(limit, each)?,
            }
            if merged.done.ended != Ended::Reached {
                break;
            }
        }
        Ok(merged.done)
    })
}

fn piece_end(job: Job<'_>, number: u64) -> u64 {
    job.end.min(job.from + (number + 1) * job.piece_bytes)
}

/// A piece that was looked at from a guessed place on.
struct Piece {
    start: u64,
    end: u64,
    in_blocks: bool,
    tally: Tally,
    ended: Ended,
    sum: Option<u64>,
}

/// Looks at every `workers`th piece.
fn work(
    vocabulary: &Vocabulary,
    job: Job<'_>,
    worker: u64,
    workers: u64,
    results: &SyncSender<io::Result<Option<Piece>>>,
) {
    let mut number = worker;
    let mut feed = InPlace::new(job.file, job.from, job.end);
    let has_blocks = job.in_blocks;
    while job.from + number * job.piece_bytes < job.end {
        let from = job.from + number * job.piece_bytes;
        let limit = piece_end(job, number);
        let piece = look(vocabulary, job, &mut feed, from, limit, has_blocks);
        // Nobody listens any more when something wrong was found before this piece.
        if results.send(piece).is_err() {
            return;
        }
        number += workers;
    }
}

fn look(
    vocabulary: &Vocabulary,
    job: Job<'_>,
    feed: &mut InPlace<'_>,
    from: u64,
    limit: u64,
    has_blocks: bool,
) -> io::Result<Option<Piece>> {
    let mut in_blocks = job.in_blocks;
    if from == job.from {
        feed.seek(from);
    } else {
        // What ends a record in front of the piece lies before it.
        feed.seek(from - 2);
        match guess(vocabulary, feed, has_blocks)? {
            Some(ahead) => feed.consume(ahead),
            None => return Ok(None),
        }
        in_blocks = block::is_line(feed.bytes());
    }
    if job.wants_sum {
        feed.start_sum();
    }
    let start = feed.at();
    if start >= limit {
        return Ok(None);
    }
    let mut scan = Scan::new(vocabulary, in_blocks);
    let ended = scan.run(feed, limit, &mut |_| {})?;
    let (end, sum) = (feed.at(), feed.sum());
    Ok(Some(Piece { start, end, in_blocks: scan.in_blocks, tally: scan.tally, ended, sum }))
}

/// How far ahead the first record starts, by all that can be seen.
fn guess(vocabulary: &Vocabulary, feed: &mut InPlace<'_>, has_blocks: bool) -> io::Result<Option<usize>> {
    feed.fill(GUESS_BYTES)?;
    let (bytes, is_last) = (feed.bytes(), feed.is_last());
    let starts = || memchr::memmem::find_iter(bytes, b"\r\n").map(|at| at + 2);
    if has_blocks && let Some(at) = starts().find(|at| block::is_line(&bytes[*at..])) {
        return Ok(Some(at));
    }
    let is_start = |at: &usize| {
        matches!(bytes.get(*at), Some(b'*' | b'#'))
            && plausible(vocabulary, &bytes[*at..], is_last) == Plausible::Yes
    };
    Ok(starts().find(is_start))
}

/// What has been read from front to back.
struct Merged<'v, 'f> {
    vocabulary: &'v Vocabulary,
    feed: InPlace<'f>,
    wants_sum: bool,
    piece_bytes: u64,
    done: Scanned,
}

impl<'v, 'f> Merged<'v, 'f> {
    fn new(vocabulary: &'v Vocabulary, job: Job<'f>) -> Self {
        let done = Scanned {
            tally: Tally::default(),
            ended: Ended::Reached,
            at: job.from,
            in_blocks: job.in_blocks,
            sum: job.wants_sum.then_some(0),
        };
        let feed = InPlace::new(job.file, job.from, job.end);
        Self { vocabulary, feed, wants_sum: job.wants_sum, piece_bytes: job.piece_bytes, done }
    }

    fn take(&mut self, mut piece: Piece, each: &mut dyn FnMut(&mut Tally, u64)) {
        self.done.at = piece.end;
        self.done.in_blocks = piece.in_blocks;
        self.done.ended = piece.ended;
        self.done.sum = match (self.done.sum, piece.sum) {
            (Some(sum), Some(more)) => Some(crc64::combine(sum, more, piece.end - piece.start)),
            _ => None,
        };
        each(&mut piece.tally, piece.end);
        self.done.tally.add(piece.tally);
    }

    /// Reads on, one piece after another, up to the first record at or behind `limit`.
    fn read_to(&mut self, limit: u64, each: &mut dyn FnMut(&mut Tally, u64)) -> io::Result<()> {
        while self.done.at < limit && self.done.ended == Ended::Reached {
            let start = self.done.at;
            self.feed.seek(start);
            if self.wants_sum {
                self.feed.start_sum();
            }
            let mut scan = Scan::new(self.vocabulary, self.done.in_blocks);
            let ended = scan.run(&mut self.feed, limit.min(start + self.piece_bytes), &mut |_| {})?;
            let (end, sum) = (self.feed.at(), self.feed.sum());
            self.take(Piece { start, end, in_blocks: scan.in_blocks, tally: scan.tally, ended, sum }, each);
            if end == start {
                // The file has become shorter.
                break;
            }
        }
        Ok(())
    }
}
