//! Sinks behind a pointer, so that the decoder is compiled once and not once for each sink.
//!
//! The decoder is generic over its sink. A tool with a hundred kinds of sinks (each wrapped in filters and
//! edits) would have a hundred decoders in its binary; here all of them share one, for an indirect call an
//! event. An error of the sink stays beside it and is put back in its place at the end.

use cairn_engine::codec::rdb::{
    self, Decoder, Depth, Failure, KeyHead, Progress, Sink, Trailer, ValueDecoder, ValueEvent, Version,
};

use crate::drive::Stop;

/// The sink behind the pointer has failed; why is known on the other side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// What a sink has heard or said is its own matter: `Failed` says only that it did not want to go on.
type Heard = Result<(), Failed>;

/// [`Sink`] with one kind of error, so that a pointer can stand for any of them. Each of its methods is here:
/// what were left out would be answered by the default, and not by the sink.
trait AnySink {
    fn start(&mut self, version: Version) -> Heard;
    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Heard;
    fn select_db(&mut self, db: u64, end: u64) -> Heard;
    fn resize_db(&mut self, keys: u64, expires: u64) -> Heard;
    fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> Heard;
    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Heard;
    fn function(&mut self, at: u64, code: &[u8]) -> Heard;
    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> Heard;
    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Heard;
    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Heard;
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Failed>;
    fn value(&mut self, event: ValueEvent<'_>) -> Heard;
    fn end_key(&mut self, end: u64) -> Heard;
    fn end(&mut self, trailer: Trailer) -> Heard;
}

/// A sink and the error that it has answered.
struct Kept<'a, S: Sink> {
    sink: &'a mut S,
    error: Option<S::Error>,
}

impl<S: Sink> Kept<'_, S> {
    fn keep<T>(&mut self, answer: Result<T, S::Error>) -> Result<T, Failed> {
        answer.map_err(|error| {
            self.error = Some(error);
            Failed
        })
    }
}

/// Any sink, seen from the decoder.
pub struct Behind<'a>(&'a mut dyn AnySink);

macro_rules! forward {
    ($($name:ident ( $($arg:ident : $kind:ty),* ) -> $answer:ty;)*) => {
        impl<S: Sink> AnySink for Kept<'_, S> {
            $(fn $name(&mut self, $($arg: $kind),*) -> Result<$answer, Failed> {
                let answer = self.sink.$name($($arg),*);
                self.keep(answer)
            })*
        }

        impl Sink for Behind<'_> {
            type Error = Failed;

            $(fn $name(&mut self, $($arg: $kind),*) -> Result<$answer, Failed> {
                self.0.$name($($arg),*)
            })*
        }
    };
}

forward! {
    start(version: Version) -> ();
    aux(key: &[u8], value: &[u8], end: u64) -> ();
    select_db(db: u64, end: u64) -> ();
    resize_db(keys: u64, expires: u64) -> ();
    slot_info(slot: u64, keys: u64, expires: u64) -> ();
    slot_import(job: &[u8], ranges: &[(u64, u64)]) -> ();
    function(at: u64, code: &[u8]) -> ();
    module_aux(at: u64, id: u64, payload: &[u8]) -> ();
    template(id: u64, fields: &[Vec<u8>]) -> ();
    update(at: u64, argv: &[&[u8]]) -> ();
    key(head: &KeyHead<'_>) -> Depth;
    value(event: ValueEvent<'_>) -> ();
    end_key(end: u64) -> ();
    end(trailer: Trailer) -> ();
}

/// Runs `run` with a pointer to the sink. The second part of the answer is what the sink has failed with.
fn behind<S: Sink, T>(sink: &mut S, run: impl FnOnce(&mut Behind<'_>) -> T) -> (T, Option<S::Error>) {
    let mut kept = Kept { sink, error: None };
    let answer = run(&mut Behind(&mut kept));
    (answer, kept.error)
}

/// The failure that the sink itself would have been told.
fn failure<S: Sink, T>(
    (answer, error): (Result<T, Failure<Failed>>, Option<S::Error>),
) -> Result<T, Failure<S::Error>> {
    answer.map_err(|failure| match (failure, error) {
        (Failure::Format(error), _) => Failure::Format(error),
        (Failure::Sink(Failed), Some(error)) => Failure::Sink(error),
        (Failure::Sink(Failed), None) => unreachable!("only a sink that has failed says so"),
    })
}

/// [`Decoder::advance`].
///
/// # Errors
/// As there.
pub fn advance<S: Sink>(
    decoder: &mut Decoder,
    input: &[u8],
    is_last: bool,
    sink: &mut S,
) -> Result<Progress, Failure<S::Error>> {
    failure::<S, _>(behind(sink, |any| decoder.advance(input, is_last, any)))
}

/// [`ValueDecoder::advance`].
///
/// # Errors
/// As there.
pub fn advance_value<S: Sink>(
    decoder: &mut ValueDecoder,
    input: &[u8],
    sink: &mut S,
) -> Result<Progress, Failure<S::Error>> {
    failure::<S, _>(behind(sink, |any| decoder.advance(input, any)))
}

/// [`rdb::decode_value`].
///
/// # Errors
/// As there.
pub fn decode_value<S: Sink>(
    version: Version,
    type_byte: u8,
    payload: &[u8],
    depth: Depth,
    sink: &mut S,
) -> Result<usize, Failure<S::Error>> {
    failure::<S, _>(behind(sink, |any| rdb::decode_value(version, type_byte, payload, depth, any)))
}

/// Reads a whole source through the pointer.
///
/// # Errors
/// What `read` says, with the sink's own error.
pub fn read<S: Sink, T>(
    sink: &mut S,
    read: impl FnOnce(&mut Behind<'_>) -> Result<T, Stop<Failed>>,
) -> Result<T, Stop<S::Error>> {
    let (answer, error) = behind(sink, read);
    answer.map_err(|stop| match (stop, error) {
        (Stop::Read(error), _) => Stop::Read(error),
        (Stop::Format(error), _) => Stop::Format(error),
        (Stop::Other(fault), _) => Stop::Other(fault),
        (Stop::Sink(Failed), Some(error)) => Stop::Sink(error),
        (Stop::Sink(Failed), None) => unreachable!("only a sink that has failed says so"),
    })
}
