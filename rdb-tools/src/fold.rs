//! Fold: a log becomes the data that it makes, without a server.
//!
//! Reads a log in any form (in parts by its manifest, in one file, with or without an RDB file in front,
//! plain or in checked blocks), runs its commands as a server's start does, with the engine's own
//! commands, and tells the keys as the events of an RDB file. Nothing expires meanwhile: keys keep their
//! expiry. The log is never changed.
//!
//! Rules, as servers have them (valkey src/aof.c): each file begins in database 0; commands between MULTI
//! and EXEC run when EXEC has come, so a transaction without an end is dropped; the last file may end in a
//! write that was torn off.

mod commands;
mod edits;
mod emit;
mod keydb;
mod keys;
mod libraries;
mod links;
pub mod log;
mod partition;
pub mod read;
mod replay;
pub mod reserve;
mod run;
mod scan;
mod spill;
mod survey;
mod tape;
mod walk;

use std::path::PathBuf;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Sink;

use crate::cmd::Reading;
use crate::drive::Stop;
use crate::erased::{self, Behind, Failed};
use crate::spill::Spill;

pub use edits::{Edits, Exclude};
pub use log::{DEFAULT_STEM, Log, Part, Place, Role};
pub use scan::{Ends, Seen, What, scan};

/// What becomes of a command that cannot be repeated, or answers with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBad {
    /// The fold ends there.
    #[default]
    Fail,
    /// It is left out, and counted.
    Skip,
}

/// What becomes of a last file that ends in a write that was torn off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTorn {
    /// The torn end is left out, as by servers whose `aof-load-truncated` is yes.
    #[default]
    Drop,
    /// The fold ends there.
    Fail,
}

/// How a log is folded.
#[derive(Debug, Clone)]
pub struct Options {
    /// What becomes of bad commands.
    pub on_bad: OnBad,
    /// What becomes of a torn end.
    pub on_torn: OnTorn,
    /// The time: what is relative in a log counts from here.
    pub now: UnixMs,
    /// How files are opened, and whether progress is shown.
    pub reading: Reading,
    /// What is changed of the log before it is run.
    pub edits: Edits,
    /// Memory for keys; what does not fit is split and goes to temporary files.
    pub spill: Spill,
}

impl Options {
    /// The defaults, with the time that it is.
    #[must_use]
    pub fn new(reading: Reading) -> Options {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Options {
            on_bad: OnBad::default(),
            on_torn: OnTorn::default(),
            now: UnixMs(now),
            reading,
            edits: Edits::default(),
            spill: Spill::default(),
        }
    }
}

/// A command that was left out.
#[derive(Debug, Clone)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// Offset of the command.
    pub at: u64,
    /// Why.
    pub what: String,
}

/// What a fold has done.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Commands that were run.
    pub commands: u64,
    /// Keys that were told.
    pub keys: u64,
    /// Commands that were left out: the first of them.
    pub skipped: Vec<Skipped>,
    /// How many there were.
    pub skips: u64,
    /// The end of the last file, where it was torn off.
    pub torn: Option<Torn>,
}

impl Summary {
    /// Adds commands that were left out elsewhere.
    fn add_skips(&mut self, mut skipped: Vec<Skipped>, skips: u64) {
        self.skipped.append(&mut skipped);
        self.skips += skips;
    }
}

/// An end of a file that was left out.
#[derive(Debug, Clone)]
pub struct Torn {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub at: u64,
    /// Its bytes.
    pub bytes: u64,
    /// What is wrong there.
    pub what: String,
}

/// Folds a log and tells its keys to `sink`.
///
/// # Errors
/// [`Stop`]; it names file and offset. What was told until then is not all.
pub fn fold<S: Sink>(log: &Log, options: &Options, sink: &mut S) -> Result<Summary, Stop<S::Error>> {
    erased::read(sink, |any| fold_to(log, options, any))
}

fn fold_to(log: &Log, options: &Options, sink: &mut Behind<'_>) -> Result<Summary, Stop<Failed>> {
    let memory = options.spill.memory;
    // With no memory at all even the smallest log is split: that is for tests.
    if memory > 0
        && let Some(run) = run::in_memory(log, options, Some(memory / 2)).map_err(Stop::Other)?
    {
        return run.tell(sink);
    }
    let survey = survey::survey(log, options).map_err(Stop::Other)?;
    if survey.is_whole {
        let run = run::in_memory(log, options, None).map_err(Stop::Other)?;
        return run.map_or_else(|| unreachable!("nothing was too large"), |run| run.tell(sink));
    }
    partition::fold(log, options, survey, sink)
}
