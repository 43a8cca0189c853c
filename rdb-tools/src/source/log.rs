//! Logs and streams of commands: what is no log on disk yet becomes one, and `crate::fold` makes its keys.
//!
//! A log is folded from files, because its end must be known before its middle counts. So what comes through a
//! pipe, or was packed, or has commands as people type them, goes to a temporary file first, which is gone
//! with the source.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use cairn_engine::codec::aof::record::push_command;
use cairn_engine::codec::rdb::Sink;
use cairn_engine::codec::resp::request::{Parsed, Parser, RequestLimits};
use tempfile::NamedTempFile;

use crate::cmd::Reading;
use crate::drive::{Fault, Place, Stop};
use crate::fold::{self, Log};
use crate::input::Input;
use crate::output::{Shown, clean, program};

/// A line of commands that people type is not longer.
const MAX_INLINE_BYTES: usize = 64 << 10;

/// A log with what it needs to live.
#[derive(Debug)]
pub(super) struct Commands {
    log: Log,
    /// Where it was put, if it was no file.
    spool: Option<NamedTempFile>,
    /// Why not all of it could be put there.
    cut: Option<Cut>,
}

impl Commands {
    /// The log that `path` is.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { log: Log::open(path)?, spool: None, cut: None })
    }

    /// The log that `input` has, which is not at hand as a file; `are_inline` if people typed it.
    pub(super) fn spool(name: &OsStr, mut input: Input, are_inline: bool) -> anyhow::Result<Self> {
        let mut spool = NamedTempFile::new().context("a temporary file")?;
        let copied =
            if are_inline { copy_inline(&mut input, &mut spool) } else { copy(&mut input, &mut spool) };
        let cut = match copied {
            Ok(()) => None,
            Err(Copied::Read(error)) if crate::input::damage(&error).is_some() => Some(Cut::Read(error)),
            Err(Copied::Read(error)) => {
                return Err(error).with_context(|| name.to_string_lossy().into_owned());
            }
            Err(Copied::Write(error)) => {
                return Err(error).with_context(|| format!("{}: temporary file", spool.path().display()));
            }
            Err(Copied::Bad(fault)) => Some(Cut::Bad(fault)),
        };
        spool.flush().context("a temporary file")?;
        Ok(Self { log: Log::open(spool.path())?, spool: Some(spool), cut })
    }

    /// Whether it can be read again.
    pub(super) fn is_repeatable(&self) -> bool {
        self.spool.is_none()
    }

    /// Runs the commands and tells the keys.
    pub(super) fn read<S: Sink>(&mut self, reading: Reading, sink: &mut S) -> Result<(), Stop<S::Error>> {
        let spool = self.spool.as_ref().map(|spool| spool.path().display().to_string());
        let summary =
            fold::fold(&self.log, &fold::Options::new(reading), sink).map_err(|stop| match stop {
                // The name of a temporary file says nothing to anybody.
                Stop::Other(fault) if spool.is_some() => Stop::Other(fault.in_file("")),
                stop => stop,
            })?;
        match self.cut.take() {
            None => {}
            Some(Cut::Read(error)) => return Err(Stop::Read(error)),
            Some(Cut::Bad(fault)) => return Err(Stop::Other(fault)),
        }
        if let Some(torn) = summary.torn {
            let name = spool.map_or_else(|| format!("{}: ", torn.file.display()), |_| String::new());
            let what = format!(
                "{name}offset {}: the last {} bytes are a write that was torn off, and are left out",
                torn.at, torn.bytes
            );
            // Keys matter more than whether this can be told.
            let _ = writeln!(io::stderr(), "{}: {}", program(), clean(&what));
        }
        Ok(())
    }
}

enum Copied {
    Read(io::Error),
    Write(io::Error),
    /// What was read is not what it should be.
    Bad(Fault),
}

/// What came instead of the rest.
#[derive(Debug)]
enum Cut {
    Read(io::Error),
    Bad(Fault),
}

fn copy(input: &mut Input, out: &mut impl Write) -> Result<(), Copied> {
    loop {
        input.fill(1).map_err(Copied::Read)?;
        let len = input.bytes().len();
        if len == 0 {
            return Ok(());
        }
        out.write_all(input.bytes()).map_err(Copied::Write)?;
        input.consume(len);
    }
}

/// Commands as clients may send them, which is also a line of words.
fn copy_inline(input: &mut Input, out: &mut impl Write) -> Result<(), Copied> {
    const LIMITS: RequestLimits = RequestLimits {
        bulk_bytes: i64::MAX.cast_unsigned() >> 1,
        args: i32::MAX as i64,
        is_authenticated: true,
    };
    let mut out = io::BufWriter::new(out);
    let (mut parser, mut words, mut bytes) = (Parser::default(), Vec::new(), Vec::new());
    let mut record = Vec::new();
    let bad = |at, what: String| Copied::Bad(Fault::of_input(Place::Offset(at), what));
    // Where the bytes begin that are not commands yet.
    let mut at = input.position();
    loop {
        input.fill(1).map_err(Copied::Read)?;
        let len = input.bytes().len();
        bytes.extend_from_slice(input.bytes());
        input.consume(len);
        let mut done = 0;
        loop {
            words.clear();
            match parser.next(&mut bytes, done, &LIMITS, &mut words) {
                Parsed::Command { end } => {
                    if !words.is_empty() {
                        record.clear();
                        push_command(&mut record, words.iter().map(|word| word.of(&bytes)));
                        out.write_all(&record).map_err(Copied::Write)?;
                    }
                    done = end;
                }
                Parsed::NeedMore { .. } => break,
                Parsed::Error(error) => return Err(bad(at + done as u64, error.to_string())),
            }
        }
        bytes.drain(..done);
        at += done as u64;
        if len == 0 {
            // The last line may lack its end.
            if bytes.is_empty() {
                return out.flush().map_err(Copied::Write);
            }
            if bytes.ends_with(b"\n") || bytes.len() > MAX_INLINE_BYTES {
                let shown = Shown(&bytes).to_string();
                return Err(bad(at, format!("a command without its end: \"{shown}\"")));
            }
            bytes.push(b'\n');
        }
    }
}
