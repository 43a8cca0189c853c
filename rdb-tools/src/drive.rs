//! Pushes an input through the RDB decoder into a sink, and says why that came to an end.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};

use cairn_engine::codec::rdb::{Decoder, Error, Failure, Kind, Sink, State};

use crate::erased;
use crate::input::{self, Input};
use crate::output::{Shown, clean, exit};
use crate::progress::Progress;

/// Why an input could not be read to its end.
#[derive(Debug)]
pub enum Stop<E> {
    /// The system could not read it.
    Read(io::Error),
    /// Its bytes are wrong.
    Format(Error),
    /// The sink did not want to go on.
    Sink(E),
    /// What is no RDB file is wrong, or a server did not answer as it should.
    Other(Fault),
}

/// A fault of a source that is no RDB file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the address of the server. Empty for the one that the source was opened by.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What is wrong, for people. Bytes of the file are escaped in it.
    pub what: String,
    /// Whose fault it is.
    pub blame: Blame,
}

/// Where in a file a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In all of it, or in what is no file.
    Nowhere,
    /// Bytes from its start.
    Offset(u64),
    /// Lines from its start, from 1 on.
    Line(u64),
}

/// Whether an input is wrong, or could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The input was read and something is wrong with it: exit code 1.
    Input,
    /// It could not be read: exit code 2.
    Access,
}

impl Fault {
    /// A fault in an input's bytes.
    #[must_use]
    pub fn of_input(place: Place, what: impl Into<String>) -> Self {
        Self { file: String::new(), place, what: what.into(), blame: Blame::Input }
    }

    /// What keeps an input from being read.
    #[must_use]
    pub fn of_access(what: impl Into<String>) -> Self {
        Self { file: String::new(), place: Place::Nowhere, what: what.into(), blame: Blame::Access }
    }

    /// The same in a file that is named, as one of many.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        match self.place {
            Place::Nowhere => {}
            Place::Offset(at) => write!(f, "offset {at}: ")?,
            Place::Line(line) => write!(f, "line {line}: ")?,
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl<E> Stop<E> {
    /// The same for a sink with another error.
    pub fn map_sink<F>(self, f: impl FnOnce(E) -> F) -> Stop<F> {
        match self {
            Self::Read(error) => Stop::Read(error),
            Self::Format(error) => Stop::Format(error),
            Self::Sink(error) => Stop::Sink(f(error)),
            Self::Other(fault) => Stop::Other(fault),
        }
    }
}

impl<E: Into<anyhow::Error>> Stop<E> {
    /// Ends a command that has read from `name`: what is wrong with the input is told on standard
    /// error, `tool: file: offset, key: what`, with what to do next in a second line, and the
    /// exit code is [`exit::FINDINGS`].
    ///
    /// # Errors
    /// What is not the input's fault: it could not be read at all, or the sink failed.
    pub fn report(self, tool: &str, name: &OsStr) -> anyhow::Result<u8> {
        let shown = crate::source::shown(name);
        let (what, next) = match self {
            Self::Sink(error) => return Err(error.into()),
            Self::Read(error) if input::damage(&error).is_none() => {
                return Err(anyhow::Error::new(error).context(shown));
            }
            Self::Other(fault) if fault.blame == Blame::Access => {
                return Err(anyhow::anyhow!(clean(&fault.to_string())).context(shown));
            }
            Self::Read(error) => (clean(&error.to_string()), PACKED_NEXT),
            Self::Format(error) => (told(&error), next_step(&error.kind)),
            Self::Other(fault) => (clean(&fault.to_string()), ""),
        };
        let mut err = io::stderr().lock();
        let told = writeln!(err, "{tool}: {shown}: {what}");
        let told = if next.is_empty() { told } else { told.and_then(|()| writeln!(err, "{tool}: {next}")) };
        told.map_err(|error| anyhow::Error::new(error).context("writing"))?;
        Ok(exit::FINDINGS)
    }
}

/// A decoder's error as a person may see it.
#[must_use]
pub fn told(error: &Error) -> String {
    let mut text = format!("offset {}", error.at);
    if let Some(key) = &error.key {
        text.push_str(&format!(", db {}, key \"{}\"", error.db, Shown(key)));
    }
    format!("{text}: {}", clean(&error.kind.to_string()))
}

/// What a person can do about an input that cannot be unpacked.
const PACKED_NEXT: &str = "copy the file again; what can be unpacked of it, rdb-tools salvage reads";

/// What a person can do about a fault.
fn next_step(kind: &Kind) -> &'static str {
    match kind {
        Kind::UnexpectedEof => {
            "the end is missing: copy the file again, or get out what is there with rdb-tools salvage"
        }
        Kind::Signature => {
            "this does not start as an RDB file does; if it is one with a damaged head, rdb-tools salvage reads it"
        }
        Kind::Version(_) => "a server newer than this tool may have written it",
        Kind::Checksum { .. } => {
            "some byte was changed: rdb-tools check lists what shows it, rdb-tools salvage keeps what is readable"
        }
        _ => "rdb-tools check lists every fault, rdb-tools salvage gets the readable keys out",
    }
}

/// Decodes from the input's position to the end of the RDB file in it; what follows is left.
///
/// # Errors
/// [`Stop`]; the input's position is then at the last whole unit.
pub fn drive<S: Sink>(
    input: &mut Input,
    decoder: &mut Decoder,
    progress: &Progress,
    sink: &mut S,
) -> Result<(), Stop<S::Error>> {
    let mut at_least = 1;
    loop {
        input.fill(at_least).map_err(Stop::Read)?;
        let step = erased::advance(decoder, input.bytes(), input.is_last(), sink);
        let step = step.map_err(|failure| match failure {
            Failure::Format(error) => Stop::Format(error),
            Failure::Sink(error) => Stop::Sink(error),
        })?;
        input.consume(step.consumed);
        progress.at(input.position());
        match step.state {
            State::Done => return Ok(()),
            State::More { at_least: needed } => at_least = needed,
        }
    }
}
