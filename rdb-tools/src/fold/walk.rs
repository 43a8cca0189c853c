//! The files of a log, one after another: their RDB file in front, then their commands.
//!
//! What the end of a file means is decided here; what is done with its content is the visitor's business.

use std::ops::Range;
use std::path::Path;

use cairn_engine::codec::aof::{MAGIC_BYTES, starts_with_rdb};

use super::edits::{Edited, Editor};
use super::keydb;
use super::log::{Part, Role};
use super::read::{Broken, Failed, Kind, Records};
use super::{OnBad, OnTorn, Options, Skipped, Summary, Torn};
use crate::drive::{Fault, Place};
use crate::input::Input;
use crate::output::clean;
use crate::progress::Progress;

/// Commands that were left out and are named; more are only counted.
const NAMED_SKIPS: usize = 100;
/// The bar need not know of each command.
const COMMANDS_PER_STEP: u64 = 1024;

/// Gets what is in a file.
pub(super) trait Visitor {
    /// Why it does not want to go on.
    type Error;

    /// The same for a fault of the file.
    fn fault(fault: Fault) -> Self::Error;

    /// The file starts with an RDB file: it is to be read to its end.
    fn rdb(&mut self, part: &Part, input: &mut Input, progress: &Progress) -> Result<(), Self::Error>;

    /// A command.
    fn command(&mut self, part: &Part, at: u64, end: u64, argv: &[&[u8]]) -> Result<(), Self::Error>;

    /// An annotation.
    fn annotation(&mut self, _part: &Part, _at: u64, _end: u64, _text: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A command cannot be edited as it should be.
    fn not_edited(&mut self, part: &Part, at: u64, what: String) -> Result<(), Self::Error> {
        Err(Self::fault(fault_at(&part.path, at, what)))
    }
}

/// How a file has ended.
pub(super) struct Walked {
    /// What is wrong where its end is not its end.
    pub(super) broken: Option<Broken>,
    /// Offset of the end.
    pub(super) end: u64,
    /// The first reserve in it that something follows.
    pub(super) gap: Option<Range<u64>>,
}

/// A fault at an offset of a file.
pub(super) fn fault_at(path: &Path, at: u64, what: impl Into<String>) -> Fault {
    Fault::of_input(Place::Offset(at), what).in_file(path.display().to_string())
}

/// What the system says of a file.
pub(super) fn fault_of_system(path: &Path, error: &std::io::Error) -> Fault {
    Fault::of_access(error.to_string()).in_file(path.display().to_string())
}

/// Reads a file; with `from`, only the commands from that offset on, where a command starts.
pub(super) fn walk<V: Visitor>(
    part: &Part,
    from: Option<u64>,
    options: &Options,
    visitor: &mut V,
) -> Result<Walked, V::Error> {
    let path = part.path.as_path();
    let system = |error: &std::io::Error| V::fault(fault_of_system(path, error));
    let opened = options.reading.open(path);
    let mut input = opened.map_err(|e| V::fault(Fault::of_access(clean(&format!("{e:#}")))))?;
    let progress = options.reading.progress(&input);
    match from {
        Some(from) => skip_to(&mut input, from).map_err(|error| system(&error))?,
        None => {
            input.fill(MAGIC_BYTES as u64).map_err(|error| system(&error))?;
            if starts_with_rdb(input.bytes()) {
                visitor.rdb(part, &mut input, &progress)?;
            }
        }
    }
    let mut records = Records::new(&mut input, part.marks, part.until);
    let mut argv = Vec::new();
    let mut editor = Editor::new(&options.edits, part.role == Role::Base);
    let mut steps = 0u64;
    let broken = loop {
        match records.advance() {
            Ok(Some(record)) => {
                let (at, end) = (record.at, record.end);
                match record.content {
                    Kind::Command(words) => {
                        let mut words_of: Vec<&[u8]> = std::mem::take(&mut argv);
                        words.put(&mut words_of);
                        let payload = keydb::plain_payload(&words_of);
                        if let (Some(payload), Some(word)) = (&payload, words_of.get_mut(3)) {
                            *word = payload;
                        }
                        match editor.as_mut().map(|editor| editor.edit(&words_of)) {
                            None => visitor.command(part, at, end, &words_of)?,
                            Some(Ok(Edited::Kept(edited))) => visitor.command(part, at, end, &edited)?,
                            Some(Ok(Edited::Excluded)) => {}
                            Some(Err(what)) => visitor.not_edited(part, at, what)?,
                        }
                        argv = emptied(words_of);
                    }
                    Kind::Annotation(text) => visitor.annotation(part, at, end, text)?,
                }
                steps += 1;
                if steps.is_multiple_of(COMMANDS_PER_STEP) {
                    progress.at(record.end);
                }
            }
            Ok(None) => break None,
            Err(Failed::Io(error)) => return Err(system(&error)),
            Err(Failed::Broken(broken)) => break Some(broken),
        }
    };
    let end = broken.as_ref().map_or(records.position(), |broken| broken.at);
    Ok(Walked { broken, end, gap: records.gap() })
}

/// The room of a list of words, for the words of another command.
fn emptied<'b>(mut words: Vec<&[u8]>) -> Vec<&'b [u8]> {
    words.clear();
    words.into_iter().map(|_| &[][..]).collect()
}

fn skip_to(input: &mut Input, at: u64) -> std::io::Result<()> {
    while input.position() < at {
        input.fill(1)?;
        let left = usize::try_from(at - input.position()).unwrap_or(usize::MAX);
        let n = input.bytes().len().min(left);
        if n == 0 {
            break;
        }
        input.consume(n);
    }
    Ok(())
}

/// Decides what it means how a file has ended. Answers where it ends for who reads it again.
pub(super) fn settle(
    part: &Part,
    walked: Walked,
    open_at: Option<u64>,
    is_last: bool,
    options: &Options,
    summary: &mut Summary,
) -> Result<u64, Fault> {
    let open = open_at.map(|at| Broken {
        at,
        what: "the transaction that starts here has no EXEC".to_owned(),
        is_torn: part.marks.whole_to().is_none_or(|end| end <= at),
    });
    let broken = match (walked.broken, open) {
        (None, None) => return Ok(walked.end),
        // Who cuts a log at a place has been told what that drops.
        (None, Some(open)) if part.until.is_some() => return Ok(open.at),
        (Some(broken), None) => broken,
        (None, Some(open)) => open,
        (Some(broken), Some(open)) => {
            let what = format!("{}; offset {}: {}", open.what, broken.at, broken.what);
            Broken { at: open.at, what, is_torn: broken.is_torn }
        }
    };
    if !broken.is_torn || !is_last || options.on_torn == OnTorn::Fail {
        let what = match (broken.is_torn, is_last) {
            (true, false) => format!("{}; only the last file of a log may end so", broken.what),
            _ => broken.what,
        };
        return Err(fault_at(&part.path, broken.at, what));
    }
    summary.torn = Some(Torn {
        file: part.path.clone(),
        at: broken.at,
        bytes: part.bytes.saturating_sub(broken.at),
        what: broken.what,
    });
    Ok(broken.at)
}

/// A command cannot be repeated.
///
/// # Errors
/// That ends the fold, unless it is to be left out.
#[cold]
pub(super) fn bad(
    options: &Options,
    summary: &mut Summary,
    file: &Path,
    at: u64,
    what: String,
) -> Result<(), Fault> {
    if options.on_bad == OnBad::Fail {
        return Err(fault_at(file, at, what));
    }
    summary.skips += 1;
    if summary.skipped.len() < NAMED_SKIPS {
        summary.skipped.push(Skipped { file: file.to_owned(), at, what });
    }
    Ok(())
}
