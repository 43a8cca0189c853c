//! One RDB file, several threads: one finds where records begin, others read them, results stay in order.
//!
//! The first thread steps through a mapped file by its lengths and sums it up; at the ends of records it
//! cuts batches of about `BATCH_BYTES`. A worker decodes a batch with a decoder of its own, which starts at
//! that place (`codec::rdb::Place`), into a sink that it keeps for all of its batches. So a sink sees the same
//! events as behind `drive`, with the same offsets. What sinks send comes to the caller's thread in the order of the
//! file. Nothing is copied: workers read the mapping, and whoever has read a part of it gives its
//! pages back. What cannot be mapped is read by one worker while the caller takes its results.
//!
//! Memory: at most two batches a worker and a few more are on their way, each with at most
//! `ITEMS_AHEAD` items that nobody has taken yet; a worker that is further ahead waits. Knows no output.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use cairn_engine::codec::rdb::records::{Passing, Records, Stored};
use cairn_engine::codec::rdb::{
    Decoder, Depth, Error, Failure, KeyHead, Kind, Options, Place, Sink, State, Templates, Trailer,
    ValueEvent, Version,
};
use clap::Args;
use memmap2::Mmap;

use crate::drive::{Stop, drive};
use crate::erased;
use crate::input::{Input, release};
use crate::progress::Progress;
use crate::source::{Source, check_end};

/// What a batch has at least, but for the last one.
const BATCH_BYTES: u64 = 1 << 20;
/// A decoder gets its input in pieces of this size, and pages are given back behind each.
const WINDOW_BYTES: usize = 4 << 20;
/// The scanner's pieces: small, so that what it sums up is still in the cache from the look at the lengths.
const SCAN_BYTES: usize = 256 << 10;
/// The scanner's steps through a record that is not passed: bytes of the first, and how many there are before
/// it goes on by whole pieces.
const FIRST_STEP_BYTES: usize = 32;
const MOST_STEPS: u32 = 8;
/// A touched page brings its neighbours along, also those behind that were given back before.
const NEIGHBOUR_BYTES: usize = 64 << 10;
/// How many items of a batch may wait to be taken.
const ITEMS_AHEAD: usize = 8;
/// More threads than this would wait for the one that finds the records.
const MOST_BY_DEFAULT: usize = 8;

/// How many threads do the work.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Jobs {
    /// Threads that do the work [default: one for each core, 8 at the most]
    #[arg(short, long = "jobs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
}

impl Jobs {
    /// One thread.
    pub const ONE: Self = Self { jobs: Some(1) };

    fn count(self) -> usize {
        match self.jobs {
            Some(jobs) => usize::from(jobs.max(1)),
            None => thread::available_parallelism().map_or(1, |n| n.get().min(MOST_BY_DEFAULT)),
        }
    }
}

/// A sink that reads batch after batch.
///
/// Its `start` is called for the batch at the file's start only, and its `end` for the last.
pub trait Worker: Sink {
    /// A batch of whole records follows; what comes before it in the file is in `start`.
    ///
    /// # Errors
    /// As those of every event.
    fn begin(&mut self, start: &Start) -> Result<(), Self::Error> {
        let _ = start;
        Ok(())
    }

    /// The batch ended: what is held back of it is to be sent. Also called when its bytes turned out to be wrong.
    ///
    /// # Errors
    /// As those of every event.
    fn finish(&mut self) -> Result<(), Self::Error>;

    /// The first records of the batch, whole ones, between `begin` and the events of what is not passed here. Who
    /// knows how to read stored bytes by itself may pass them, as many as it likes.
    fn pass(&mut self, records: &mut Records<'_>) {
        let _ = records;
    }

    /// Reading the batch ended early: whether it is to be read once more from its start, after `begin`. Only asked
    /// where that is possible: the file is mapped, and there is more than one worker.
    fn again(&mut self, stop: &Stop<Self::Error>) -> bool {
        let _ = stop;
        false
    }
}

/// A worker that is lent is one.
impl<S: Worker + ?Sized> Worker for &mut S {
    fn begin(&mut self, start: &Start) -> Result<(), Self::Error> {
        (**self).begin(start)
    }

    fn finish(&mut self) -> Result<(), Self::Error> {
        (**self).finish()
    }

    fn again(&mut self, stop: &Stop<Self::Error>) -> bool {
        (**self).again(stop)
    }
}

/// What is known at the start of a batch.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The file's version; `None` in the batch that begins with it.
    pub version: Option<Version>,
    /// Offset of its first byte in the unwrapped file.
    pub offset: u64,
    /// The database that the last SELECTDB named.
    pub db: u64,
    /// Slot ranges of the imports that were told before.
    pub importing: Arc<Vec<(u64, u64)>>,
    /// The hash templates that were defined before.
    pub templates: Arc<Templates>,
    /// Whether [`Worker::again`] will be asked.
    pub can_be_read_again: bool,
}

/// Where a worker's sink hands on what it made of a batch.
#[derive(Debug)]
pub struct Outlet<T>(Arc<Mutex<Option<SyncSender<T>>>>);

/// Nobody wants more: the sink may as well stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl From<Closed> for io::Error {
    fn from(_: Closed) -> Self {
        io::ErrorKind::BrokenPipe.into()
    }
}

impl<T> Outlet<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn set(&self, sender: Option<SyncSender<T>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Hands on an item of the current batch; waits while too many have not been taken.
    ///
    /// # Errors
    /// [`Closed`] if the caller has stopped, and outside of batches.
    pub fn send(&self, item: T) -> Result<(), Closed> {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*sender {
            Some(sender) => sender.send(item).map_err(|_| Closed),
            None => Err(Closed),
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome<S: Sink> {
    /// The sinks of all workers, as they are after their last batch. After an error some may have seen what
    /// lies behind it.
    pub workers: Vec<S>,
    /// Whether the file was read to its end. The error is the first in the order of the file, and
    /// nothing behind it has been taken.
    pub result: Result<(), Stop<S::Error>>,
}

/// Reads the RDB file at the input's position with several threads; what follows it is left.
///
/// `make` makes the sink of a worker, `take` gets what the sinks send, in the order of the file.
pub fn run<S, T>(
    input: &mut Input,
    jobs: Jobs,
    progress: &Progress,
    make: impl Fn(Outlet<T>) -> S,
    mut take: impl FnMut(T) -> Result<(), S::Error>,
) -> Outcome<S>
where
    S: Worker + Send,
    S::Error: Send,
    T: Send,
{
    match input.share() {
        Some(map) if jobs.count() > 1 && map.len() as u64 - input.position() > BATCH_BYTES => {
            run_mapped(&map, input, jobs.count(), progress, make, &mut take)
        }
        _ => run_alone(input, progress, make, &mut take),
    }
}

/// Reads any source: an RDB file as [`run`] does, another with one sink on the caller's thread while another
/// thread takes.
pub fn run_source<S, T>(
    source: &mut Source,
    jobs: Jobs,
    make: impl Fn(Outlet<T>) -> S,
    mut take: impl FnMut(T) -> Result<(), S::Error> + Send,
) -> Outcome<S>
where
    S: Worker + Send,
    S::Error: Send,
    T: Send,
{
    let reading = source.reading();
    if let Some(input) = source.rdb_input() {
        let progress = reading.progress(input);
        let mut outcome = run(input, jobs, &progress, make, take);
        if outcome.result.is_ok() {
            outcome.result = check_end(input);
        }
        return outcome;
    }
    let outlet = Outlet::new();
    let mut sink = make(outlet.share());
    let (sender, receiver) = sync_channel(ITEMS_AHEAD);
    outlet.set(Some(sender));
    thread::scope(|scope| {
        let taker = scope.spawn(move || receiver.iter().try_for_each(&mut take));
        let result = sink.begin(&Start::default()).map_err(Stop::Sink);
        let result = result.and_then(|()| source.read(&mut sink));
        let finished = sink.finish().map_err(Stop::Sink);
        outlet.set(None);
        let taken = join(taker);
        Outcome { workers: vec![sink], result: taken.map_err(Stop::Sink).and(result).and(finished) }
    })
}

/// One worker reads, the caller's thread takes.
fn run_alone<S, T>(
    input: &mut Input,
    progress: &Progress,
    make: impl Fn(Outlet<T>) -> S,
    take: &mut impl FnMut(T) -> Result<(), S::Error>,
) -> Outcome<S>
where
    S: Worker + Send,
    S::Error: Send,
    T: Send,
{
    let outlet = Outlet::new();
    let mut sink = make(outlet.share());
    let (sender, receiver) = sync_channel(ITEMS_AHEAD);
    outlet.set(Some(sender));
    let start = Start::default();
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut decoder = Decoder::new(Options::default());
            let result = sink.begin(&start).map_err(Stop::Sink);
            let result = result.and_then(|()| drive(input, &mut decoder, progress, &mut sink));
            let finished = sink.finish().map_err(Stop::Sink);
            outlet.set(None);
            (sink, result.and(finished))
        });
        let taken = receiver.iter().try_for_each(&mut *take);
        // A reader that is told so stops at its next item.
        drop(receiver);
        let (sink, result) = join(reader);
        let result = taken.map_err(Stop::Sink).and(result);
        Outcome { workers: vec![sink], result }
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A batch on its way to a worker.
struct Batch<T, E> {
    start: Start,
    /// `None` at the start of the file.
    place: Option<Place>,
    /// Where it lies in the mapping.
    bytes: Range<usize>,
    /// Nothing follows it: what is missing is missing in the file.
    is_last: bool,
    items: SyncSender<T>,
    end: SyncSender<Result<(), Stop<E>>>,
}

/// What the caller's thread has of a batch.
struct Promise<T, E> {
    items: Receiver<T>,
    end: Receiver<Result<(), Stop<E>>>,
    /// Where it ends in the input.
    position: u64,
}

fn run_mapped<S, T>(
    map: &Arc<Mmap>,
    input: &mut Input,
    workers: usize,
    progress: &Progress,
    make: impl Fn(Outlet<T>) -> S,
    take: &mut impl FnMut(T) -> Result<(), S::Error>,
) -> Outcome<S>
where
    S: Worker + Send,
    S::Error: Send,
    T: Send,
{
    let from = input.position() as usize;
    let has_stopped = AtomicBool::new(false);
    let (batches, queue) = sync_channel(workers + 2);
    let (promises, promised) = sync_channel(workers + 2);
    let queue = Mutex::new(queue);
    let (workers, result, read_to) = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let outlet = Outlet::new();
                let sink = make(outlet.share());
                let (queue, has_stopped) = (&queue, &has_stopped);
                scope.spawn(move || work(map, sink, &outlet, queue, has_stopped))
            })
            .collect();
        let scanner = scope.spawn(|| {
            let scanner = Scanner::new(map, from, batches, promises);
            scanner.run(&has_stopped)
        });
        let taken = take_in_order(&promised, progress, take);
        has_stopped.store(true, Ordering::Relaxed);
        drop(promised);
        let (scanned, read_to) = join(scanner);
        let workers = threads.into_iter().map(join).collect::<Vec<_>>();
        // A fault that the scanner has met was met by the worker of its batch too, unless it is the checksum.
        (workers, taken.and(scanned.map_err(Stop::Format)), read_to)
    });
    let mut left = read_to - from;
    while left > 0 {
        // A mapped input is always filled, and has all that was scanned.
        let _ = input.fill(left as u64);
        let step = left.min(input.bytes().len()).max(1);
        input.consume(step);
        left -= step;
    }
    Outcome { workers, result }
}

/// Takes the items of one batch after another.
fn take_in_order<T, E>(
    promised: &Receiver<Promise<T, E>>,
    progress: &Progress,
    take: &mut impl FnMut(T) -> Result<(), E>,
) -> Result<(), Stop<E>> {
    for batch in promised {
        for item in &batch.items {
            take(item).map_err(Stop::Sink)?;
        }
        match batch.end.recv() {
            Ok(result) => result?,
            // The worker is gone, which only a panic can have done: joining it tells.
            Err(_) => return Ok(()),
        }
        progress.at(batch.position);
    }
    Ok(())
}

/// A worker's life: batch after batch, until there are no more or nobody wants more.
fn work<S: Worker, T>(
    map: &Mmap,
    mut sink: S,
    outlet: &Outlet<T>,
    queue: &Mutex<Receiver<Batch<T, S::Error>>>,
    has_stopped: &AtomicBool,
) -> S {
    loop {
        let batch = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Batch { start, place, bytes, is_last, items, end }) = batch else { return sink };
        if has_stopped.load(Ordering::Relaxed) {
            continue;
        }
        outlet.set(Some(items));
        let read = |sink: &mut S| {
            sink.begin(&start).map_err(Stop::Sink)?;
            read_batch(map, place.as_ref(), bytes.clone(), is_last, has_stopped, sink)
        };
        let mut result = read(&mut sink);
        while result.as_ref().is_err_and(|stop| sink.again(stop)) {
            result = read(&mut sink);
        }
        let finished = sink.finish().map_err(Stop::Sink);
        outlet.set(None);
        // Nobody listens after the run has stopped.
        let _ = end.send(result.and(finished));
    }
}

/// Decodes a batch, and gives its pages back.
fn read_batch<S: Worker>(
    map: &Mmap,
    place: Option<&Place>,
    bytes: Range<usize>,
    is_last: bool,
    has_stopped: &AtomicBool,
    sink: &mut S,
) -> Result<(), Stop<S::Error>> {
    let options = Options { verify_checksum: false, ..Options::default() };
    let mut at = bytes.start;
    let mut place = place.cloned();
    // What is larger than a window is not to be in memory all at once.
    if let Some(place) = place.as_mut().filter(|_| bytes.len() <= WINDOW_BYTES) {
        let mut records = Records::new(&map[bytes.clone()], place);
        sink.pass(&mut records);
        at += records.passed();
        place.offset += records.passed() as u64;
        place.db = records.db();
        release(map, bytes.start.saturating_sub(NEIGHBOUR_BYTES)..at);
    }
    let mut decoder = place.map_or_else(|| Decoder::new(options), |place| Decoder::resume(options, &place));
    let mut window = WINDOW_BYTES;
    while at < bytes.end && !has_stopped.load(Ordering::Relaxed) {
        let until = at.saturating_add(window).min(bytes.end);
        let step = erased::advance(&mut decoder, &map[at..until], is_last && until == bytes.end, sink);
        let step = step.map_err(|failure| match failure {
            Failure::Format(error) => Stop::Format(error),
            Failure::Sink(error) => Stop::Sink(error),
        })?;
        release(map, at.saturating_sub(NEIGHBOUR_BYTES)..at + step.consumed);
        at += step.consumed;
        match step.state {
            State::Done => break,
            // The batch ends with a whole record.
            State::More { .. } if until == bytes.end => break,
            State::More { at_least } => {
                window = usize::try_from(at_least).unwrap_or(usize::MAX).max(WINDOW_BYTES);
            }
        }
    }
    Ok(())
}

/// Finds the records, sums up the file, and cuts batches.
struct Scanner<'m, T, E> {
    map: &'m Mmap,
    /// Where the input's position was in the mapping.
    from: usize,
    /// Where in the mapping offset 0 of the file lies, behind the wrapping of a diskless transfer.
    origin: usize,
    version: Option<Version>,
    db: u64,
    templates: Arc<Templates>,
    importing: Arc<Vec<(u64, u64)>>,
    /// What is known at the start of the current batch, and where that is in the file.
    start: Start,
    place: Option<Place>,
    /// The ends of batches in the piece being scanned, each as the start of what follows it.
    ended: Vec<(Start, Option<Place>)>,
    /// Offset of the last of them.
    last_end: u64,
    batches: SyncSender<Batch<T, E>>,
    promises: SyncSender<Promise<T, E>>,
}

/// Nobody wants more.
struct Stopped;

/// Has bytes in the cache before they are looked at here and there, with a wait for each: many lines are on their way
/// at once when they are asked for in a row.
fn bring(bytes: &[u8]) {
    const LINE_BYTES: usize = 64;
    std::hint::black_box(bytes.iter().step_by(LINE_BYTES).fold(0, |all, byte| all ^ byte));
}

impl<'m, T, E> Scanner<'m, T, E> {
    fn new(
        map: &'m Mmap,
        from: usize,
        batches: SyncSender<Batch<T, E>>,
        promises: SyncSender<Promise<T, E>>,
    ) -> Self {
        let start = Start { can_be_read_again: true, ..Start::default() };
        Self {
            map,
            from,
            origin: from + wrapping_bytes(&map[from..]),
            version: None,
            db: 0,
            templates: Arc::default(),
            importing: Arc::clone(&start.importing),
            start,
            place: None,
            ended: Vec::new(),
            last_end: 0,
            batches,
            promises,
        }
    }

    /// Scans to the end of the file. Answers what is wrong with it, and how far it was read in the mapping.
    fn run(mut self, has_stopped: &AtomicBool) -> (Result<(), Error>, usize) {
        let mut decoder = Decoder::new(Options::default());
        let (mut at, mut window, mut steps) = (self.from, FIRST_STEP_BYTES, 0);
        let (mut given_back, mut brought) = (0, at);
        loop {
            if has_stopped.load(Ordering::Relaxed) {
                return (Ok(()), at);
            }
            let piece = &self.map[at..at.saturating_add(SCAN_BYTES).min(self.map.len())];
            bring(&self.map[brought.max(at)..at + piece.len()]);
            brought = at + piece.len();
            let passed = decoder.pass(piece, &mut self);
            let mut state = State::More { at_least: FIRST_STEP_BYTES as u64 };
            if passed > 0 {
                (at, steps) = (at + passed, 0);
            } else {
                // What is not passed is read in steps that end with it, so that what follows can be passed again; what
                // takes more steps is large.
                steps += 1;
                let step_bytes = if steps > MOST_STEPS { window.max(SCAN_BYTES) } else { window };
                let until = at.saturating_add(step_bytes).min(self.map.len());
                let is_last = until == self.map.len();
                match decoder.advance(&self.map[at..until], is_last, &mut self) {
                    Ok(step) => (at, state) = (at + step.consumed, step.state),
                    Err(Failure::Sink(never)) => match never {},
                    Err(Failure::Format(error)) => return self.end(error, at),
                }
            }
            if self.cut_what_ended().is_err() {
                return (Ok(()), at);
            }
            // Of a batch that has become large its worker is far behind: it will get the pages again.
            let begun = self.origin + self.start.offset as usize;
            if at.saturating_sub(begun) > 4 * BATCH_BYTES as usize {
                let from = given_back.max(begun);
                release(self.map, from.saturating_sub(NEIGHBOUR_BYTES)..at);
                given_back = at;
            }
            match state {
                State::Done => {
                    // Without an end the caller sees a run that was stopped, and knows.
                    let _ = self.cut(at - self.origin, true);
                    return (Ok(()), at);
                }
                State::More { at_least } => window = usize::try_from(at_least).unwrap_or(usize::MAX),
            }
        }
    }

    /// The last batch of a file with a fault.
    fn end(mut self, error: Error, at: usize) -> (Result<(), Error>, usize) {
        if self.cut_what_ended().is_err() {
            return (Ok(()), at);
        }
        let _ = match error.kind {
            // No worker knows it. The opcode in front of it would have the worker say that all is well.
            Kind::Checksum { .. } => self.cut(error.at.saturating_sub(1) as usize, false),
            // The worker of the last batch finds the same, with what comes before it.
            _ => self.cut(self.map.len() - self.origin, true),
        };
        (Err(error), at)
    }

    /// Sends the batches on their way that have ended in the piece that was scanned. Not before all of
    /// it was summed up: a worker may be fast, and its pages would come back.
    fn cut_what_ended(&mut self) -> Result<(), Stopped> {
        for next in std::mem::take(&mut self.ended) {
            self.send(next, false)?;
        }
        Ok(())
    }

    /// Sends the batch that ends before offset `end` on its way.
    fn cut(&mut self, end: usize, is_last: bool) -> Result<(), Stopped> {
        let next = self.known_at(end as u64);
        self.send(next, is_last)
    }

    fn known_at(&self, offset: u64) -> (Start, Option<Place>) {
        let (version, db) = (self.version, self.db);
        let (importing, templates) = (Arc::clone(&self.importing), Arc::clone(&self.templates));
        let start = Start {
            version,
            offset,
            db,
            importing,
            templates: Arc::clone(&templates),
            can_be_read_again: true,
        };
        (start, version.map(|version| Place { version, offset, db, templates }))
    }

    /// Sends the current batch on its way; `next` is known where it ends.
    fn send(&mut self, next: (Start, Option<Place>), is_last: bool) -> Result<(), Stopped> {
        let end = self.origin + next.0.offset as usize;
        let start = std::mem::replace(&mut self.start, next.0);
        let place = std::mem::replace(&mut self.place, next.1);
        let bytes = match place {
            None => self.from..end,
            Some(_) => self.origin + start.offset as usize..end,
        };
        let position = bytes.end as u64;
        let (items, taken) = sync_channel(ITEMS_AHEAD);
        let (ended, has_ended) = sync_channel(1);
        let promise = Promise { items: taken, end: has_ended, position };
        self.promises.send(promise).map_err(|_| Stopped)?;
        let batch = Batch { start, place, bytes, is_last, items, end: ended };
        self.batches.send(batch).map_err(|_| Stopped)
    }

    #[inline]
    fn end_record(&mut self, end: u64) {
        if end - self.last_end >= BATCH_BYTES && !self.belongs_to_key_before(end) {
            self.last_end = end;
            self.ended.push(self.known_at(end));
        }
    }

    /// Whether fields of KeyDB stand at this offset that belong to the key before it.
    fn belongs_to_key_before(&self, offset: u64) -> bool {
        // Opcode AUX, then a plain string of 19 or 20 bytes.
        const FIELDS: [&[u8]; 2] = [b"\xfa\x13keydb-subexpire-key", b"\xfa\x14keydb-subexpire-when"];
        let rest = &self.map[self.origin + offset as usize..];
        FIELDS.iter().any(|field| rest.starts_with(field))
    }
}

/// The length of the line that a diskless transfer begins with, if it does.
#[must_use]
pub fn wrapping_bytes(bytes: &[u8]) -> usize {
    const LINE_BYTES: usize = 47;
    match bytes.get(..LINE_BYTES) {
        Some(line) if line.starts_with(b"$EOF:") && line.ends_with(b"\r\n") => LINE_BYTES,
        _ => 0,
    }
}

impl<T, E> Passing for Scanner<'_, T, E> {
    #[inline]
    fn record(&mut self, head: &KeyHead<'_>, value: &mut Stored<'_>) -> bool {
        let Some(version) = self.version else { return false };
        if value.skip(head, version).is_none() {
            return false;
        }
        self.db = head.db;
        self.end_record(value.offset());
        true
    }

    fn aux(&mut self, _key: &[u8]) -> bool {
        true
    }
}

impl<T, E> Sink for Scanner<'_, T, E> {
    type Error = Infallible;

    fn start(&mut self, version: Version) -> Result<(), Infallible> {
        self.version = Some(version);
        Ok(())
    }

    fn slot_import(&mut self, _job: &[u8], ranges: &[(u64, u64)]) -> Result<(), Infallible> {
        Arc::make_mut(&mut self.importing).extend_from_slice(ranges);
        Ok(())
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Infallible> {
        Arc::make_mut(&mut self.templates).insert(id, Arc::new(fields.to_vec()));
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.db = head.db;
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn end_key(&mut self, end: u64) -> Result<(), Infallible> {
        self.end_record(end);
        Ok(())
    }

    fn end(&mut self, _trailer: Trailer) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
