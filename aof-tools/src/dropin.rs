//! `redis-check-aof` and `valkey-check-aof`: the same lines, prompts and exit codes.
//!
//! Scripts read what the servers' tool prints, so this follows its habits: lengths are read as C's
//! `strtol` does, lines in pieces of fixed size, line numbers go on counting over the files of a
//! manifest, and the first fault ends the run. `aof-tools check` is the tool that says what is wrong.
//! Three things are better here: a file that may only be read can be checked, an RDB base of Valkey 9
//! is known as one, and a length that no memory could hold is a fault and not a crash.
//! Witness: transcripts of redis-check-aof 7.0.15.

mod commands;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cairn_engine::codec::aof::manifest::{self, MAX_LINE_BYTES, Manifest, Marks};
use cairn_engine::codec::aof::starts_with_rdb;
use rdb_tools::dropin::check_rdb::{self, Verdict};
use rdb_tools::dropin::{basename, log_line};
use rdb_tools::fold::reserve::log_end;
use rdb_tools::input::{Access, Input};
use rdb_tools::output::stdout;

use crate::blocks;
use crate::check::usual_jobs;
use crate::scan::{Ended as Scanned, Job, Mark, Note, PIECE_BYTES, scan_file};
use crate::transaction::Open;
use crate::vocabulary::{Vocabulary, Wrong};
use commands::{Commands, Ended, leading_long};

/// Runs the tool with its arguments (without `argv[0]`) and answers its exit code.
///
/// # Errors
/// What keeps it from writing.
pub(crate) fn main(argv0: &str, args: &[OsString]) -> anyhow::Result<u8> {
    let mut out = stdout();
    let mut tool =
        Tool { out: &mut out, tool: tool_name(argv0), fix: false, yes: false, to_timestamp: 0, lines: 1 };
    let result = tool.run(argv0, args);
    let code = match result {
        Ok(()) => 0,
        Err(Stop::Exit) => 1,
        Err(Stop::Write(error)) => return Err(error.into()),
    };
    out.flush()?;
    Ok(code)
}

fn tool_name(argv0: &str) -> &'static str {
    if basename(argv0).contains("valkey") { "valkey-check-aof" } else { "redis-check-aof" }
}

/// Why a run ends early.
enum Stop {
    /// With exit code 1; everything has been said.
    Exit,
    /// The output is gone.
    Write(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

type Step<T = ()> = Result<T, Stop>;

struct Tool<'o> {
    out: &'o mut dyn Write,
    tool: &'static str,
    fix: bool,
    /// The question is answered already: `--yes` or `-y`, which the original has not.
    yes: bool,
    /// 0 for none, which is why nobody can truncate to the epoch.
    to_timestamp: i64,
    /// Line ends seen so far, over all files.
    lines: i64,
}

/// A file of the log: what it is called in messages, and where it is.
struct Target<'a> {
    name: &'a [u8],
    path: &'a [u8],
    is_last: bool,
    /// What the manifest says of it.
    marks: Marks,
}

/// How a file that is all right came out.
enum Outcome {
    Valid,
    Empty,
    Truncated,
    TruncatedToTimestamp,
}

impl Tool<'_> {
    fn say(&mut self, parts: &[&[u8]]) -> Step {
        for part in parts {
            self.out.write_all(part)?;
        }
        self.out.write_all(b"\n")?;
        Ok(())
    }

    fn exit<T>(&mut self, parts: &[&[u8]]) -> Step<T> {
        self.say(parts)?;
        Err(Stop::Exit)
    }

    fn run(&mut self, argv0: &str, args: &[OsString]) -> Step {
        let is_yes = |arg: &&OsString| *arg == "--yes" || *arg == "-y";
        // Alone it is a file's name, as for the original.
        self.yes = args.len() > 1 && args.iter().any(|arg| is_yes(&arg));
        let args: Vec<&OsString> = args.iter().filter(|arg| !self.yes || !is_yes(arg)).collect();
        let file = match &args[..] {
            [flag] if *flag == "-v" || *flag == "--version" => {
                return self.say(&[self.tool.as_bytes(), b" ", env!("CARGO_PKG_VERSION").as_bytes()]);
            }
            [file] => file,
            [flag, file] if *flag == "--fix" => {
                self.fix = true;
                file
            }
            [flag, time, file] if *flag == "--truncate-to-timestamp" => {
                match leading_long(time.as_bytes()) {
                    Some((seconds, [])) => self.to_timestamp = seconds,
                    _ => return self.exit(&[b"Invalid timestamp, aborting..."]),
                }
                file
            }
            _ => {
                let usage = b" [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>";
                return self.exit(&[b"Usage: ", argv0.as_bytes(), usage]);
            }
        };
        let path = file.as_bytes();
        let content = self.read(path, b"")?;
        if is_manifest(&content) {
            return self.multi_part(path, &content);
        }
        let has_preamble = is_rdb(&content);
        self.say(&[b"Start checking Old-Style AOF"])?;
        let outcome = self.single(
            &Target { name: path, path, is_last: true, marks: Marks::default() },
            &content,
            has_preamble,
        )?;
        self.tell(&outcome, b"AOF", path)
    }

    /// Reads a file; `aborting` is what the message about a file that cannot be opened ends with.
    fn read(&mut self, path: &[u8], aborting: &[u8]) -> Step<Content> {
        let opened = Input::open_as_it_is(Path::new(OsStr::from_bytes(path)), Access::Map);
        match opened.and_then(Content::new) {
            Ok(content) => Ok(content),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                self.exit(&[b"Cannot read file: ", path])
            }
            Err(error) => {
                let reason = reason(&error);
                self.exit(&[b"Cannot open file ", path, b": ", reason.as_bytes(), aborting])
            }
        }
    }

    fn tell(&mut self, outcome: &Outcome, what: &[u8], name: &[u8]) -> Step {
        let time = self.to_timestamp.to_string();
        match outcome {
            Outcome::Valid => self.say(&[what, b" ", name, b" is valid"]),
            Outcome::Empty => self.say(&[what, b" ", name, b" is empty"]),
            Outcome::Truncated => self.say(&[b"Successfully truncated AOF ", name]),
            Outcome::TruncatedToTimestamp => {
                self.say(&[b"Successfully truncated AOF ", name, b" to timestamp ", time.as_bytes()])
            }
        }
    }

    fn multi_part(&mut self, manifest_path: &[u8], content: &[u8]) -> Step {
        self.say(&[b"Start checking Multi Part AOF"])?;
        let manifest = match Manifest::parse(content) {
            Ok(manifest) => manifest,
            Err(error) => return self.manifest_fault(&error),
        };
        let folder = match manifest_path.iter().rposition(|b| *b == b'/') {
            Some(0) => b"/",
            Some(at) => &manifest_path[..at],
            None => b".",
        };
        let in_folder = |name: &[u8]| [folder, b"/", name].concat();
        if let Some(base) = &manifest.base {
            let path = in_folder(&base.name);
            let content = self.read(&path, b"")?;
            let has_preamble = is_rdb(&content);
            let format: &[u8] = if has_preamble { b"RDB" } else { b"RESP" };
            self.say(&[b"Start to check BASE AOF (", format, b" format)."])?;
            let target = Target {
                name: &base.name,
                path: &path,
                is_last: manifest.incr.is_empty(),
                marks: base.marks,
            };
            let outcome = self.single(&target, &content, has_preamble)?;
            self.tell(&outcome, b"BASE AOF", &base.name)?;
        }
        if !manifest.incr.is_empty() {
            self.say(&[b"Start to check INCR files."])?;
        }
        for (i, incr) in manifest.incr.iter().enumerate() {
            let path = in_folder(&incr.name);
            let content = self.read(&path, b", aborting...")?;
            let is_last = i + 1 == manifest.incr.len();
            let target = Target { name: &incr.name, path: &path, is_last, marks: incr.marks };
            let outcome = self.single(&target, &content, false)?;
            if incr.marks.end.is_some()
                && matches!(outcome, Outcome::Truncated | Outcome::TruncatedToTimestamp)
            {
                self.forget_end(manifest_path, &manifest)?;
            }
            self.tell(&outcome, b"INCR AOF", &incr.name)?;
        }
        self.say(&[b"All AOF files and manifest are valid"])
    }

    /// What a clean shutdown left is not all there any more: the manifest must not say so.
    fn forget_end(&mut self, path: &[u8], manifest: &Manifest) -> Step {
        let mut manifest = manifest.clone();
        manifest.incr.iter_mut().for_each(|entry| entry.marks.end = None);
        match blocks::replace(Path::new(OsStr::from_bytes(path)), &manifest.format_checked()) {
            Ok(()) => Ok(()),
            Err(error) => self.exit(&[b"Failed to write ", path, b": ", reason(&error).as_bytes()]),
        }
    }

    /// Compares a file with what the manifest says of it.
    fn compare(&mut self, target: &Target<'_>, bytes: &[u8]) -> Step {
        // A file that is about to be cut may end earlier than a shutdown has left it.
        let marks = match self.fix || self.to_timestamp != 0 {
            true => Marks { end: None, ..target.marks },
            false => target.marks,
        };
        if marks.whole_to().is_none() {
            return Ok(());
        }
        let path = Path::new(OsStr::from_bytes(target.path));
        match Input::open_as_it_is(path, Access::Map)
            .and_then(|mut input| blocks::differs(&mut input, &marks, reserve_of(target, bytes)))
        {
            Ok(None) => Ok(()),
            Ok(Some(what)) => {
                self.say(&[b"AOF ", target.name, b": ", what.as_bytes()])?;
                self.exit(&[b"AOF ", target.name, b" is not valid. Use the --fix option to try fixing it."])
            }
            Err(error) => self.exit(&[b"Cannot read file: ", target.path, b": ", reason(&error).as_bytes()]),
        }
    }

    /// Where the first block of a file is whose sum does not fit.
    fn bad_block(&mut self, target: &Target<'_>) -> Step<Option<usize>> {
        let path = Path::new(OsStr::from_bytes(target.path));
        let found = Input::open_as_it_is(path, Access::Map)
            .and_then(|mut input| blocks::check(&mut input, &target.marks));
        match found {
            Ok(None) => Ok(None),
            Ok(Some(bad)) => {
                let text = format!("0x{:16x}: {}", bad.at, bad.what);
                self.say(&[text.as_bytes()])?;
                Ok(usize::try_from(bad.at).ok())
            }
            Err(error) => self.exit(&[b"Cannot read file: ", target.path, b": ", reason(&error).as_bytes()]),
        }
    }

    fn manifest_fault<T>(&mut self, error: &manifest::Error) -> Step<T> {
        log_line(self.out, b"\n*** FATAL AOF MANIFEST FILE ERROR ***\n")?;
        if let Some((number, line)) = &error.line {
            log_line(self.out, format!("Reading the manifest file, at line {number}\n").as_bytes())?;
            log_line(self.out, &[b">>> '", line.as_slice(), b"'\n"].concat())?;
        }
        log_line(self.out, format!("{}\n", error.kind).as_bytes())?;
        Err(Stop::Exit)
    }

    fn single(&mut self, target: &Target<'_>, content: &Content, has_preamble: bool) -> Step<Outcome> {
        let bytes: &[u8] = content;
        self.compare(target, bytes)?;
        if bytes.is_empty() {
            return Ok(Outcome::Empty);
        }
        let start = match has_preamble {
            true => self.preamble(target, bytes)?,
            false => 0,
        };
        if self.to_timestamp == 0
            && let Some(lines) = whole_lines(target, start, bytes.len())
        {
            self.lines += lines;
            let (size, lines) = (bytes.len(), self.lines);
            let numbers = format!(", size={size}, ok_up_to={size}, ok_up_to_line={lines}, diff=0");
            self.say(&[b"AOF analyzed: filename=", target.name, numbers.as_bytes()])?;
            return Ok(Outcome::Valid);
        }
        let mut commands = Commands::new(bytes, start, target.path, self.to_timestamp);
        let ended = commands.run(self.lines);
        self.lines = commands.lines();
        match ended {
            Ended::Broken => {}
            Ended::FormatError => self.say(&[b"AOF ", target.name, b" format error"])?,
            Ended::BadTimestamp => return self.exit(&[b"Invalid timestamp annotation"]),
            Ended::PastTimestamp(at) => {
                let (at, left) = match has_preamble {
                    true => (at, Vec::new()),
                    false => blocks::cut(bytes, 0, &target.marks, at),
                };
                return self.cut_at_timestamp(target, at, &left);
            }
        }
        if let Some(error) = commands.error() {
            self.say(&[error])?;
        }
        let (size, mut valid) = (bytes.len(), commands.valid_up_to());
        if !has_preamble && let Some(bad_at) = self.bad_block(target)? {
            valid = valid.min(bad_at);
        }
        let diff = size - valid;
        if diff == 0 && self.to_timestamp != 0 {
            let time = self.to_timestamp.to_string();
            self.say(&[b"Truncate nothing in AOF ", target.name, b" to timestamp ", time.as_bytes()])?;
            return Ok(Outcome::Valid);
        }
        let numbers = format!(", size={size}, ok_up_to={valid}, ok_up_to_line={}, diff={diff}", self.lines);
        self.say(&[b"AOF analyzed: filename=", target.name, numbers.as_bytes()])?;
        match (diff, self.fix) {
            (0, _) => Ok(Outcome::Valid),
            (_, true) => self.cut(target, size, valid),
            (_, false) => {
                self.exit(&[b"AOF ", target.name, b" is not valid. Use the --fix option to try fixing it."])
            }
        }
    }

    /// Checks the RDB file in front and answers where the commands start.
    fn preamble(&mut self, target: &Target<'_>, bytes: &[u8]) -> Step<usize> {
        match check_rdb::check(bytes, target.name, self.out)? {
            Verdict::Good { len } => {
                self.say(&[b"RDB preamble is OK, proceeding with AOF tail..."])?;
                Ok(len)
            }
            Verdict::Bad => self.exit(&[b"RDB preamble of AOF file is not sane, aborting."]),
            Verdict::Exited => Err(Stop::Exit),
        }
    }

    fn cut_at_timestamp(&mut self, target: &Target<'_>, at: usize, left: &[u8]) -> Step<Outcome> {
        let time = self.to_timestamp.to_string();
        let time = time.as_bytes();
        if at == 0 && left.is_empty() {
            return self.exit(&[
                b"AOF ",
                target.path,
                b" has nothing before timestamp ",
                time,
                b", aborting...",
            ]);
        }
        if !target.is_last {
            let to = format!(" to offset {at} because it is not the last file.");
            self.say(&[b"Failed to truncate AOF ", target.path, b" to timestamp ", time, to.as_bytes()])?;
            let advice = format!(
                "If you insist, please delete all files after this file according to the manifest file and delete \
                 the corresponding records in manifest file manually. Then re-run {}.",
                self.tool
            );
            return self.exit(&[advice.as_bytes()]);
        }
        if truncate(target.path, at, left).is_err() {
            return self.exit(&[b"Failed to truncate AOF ", target.path, b" to timestamp ", time]);
        }
        Ok(Outcome::TruncatedToTimestamp)
    }

    /// Asks, and cuts the file to what is valid.
    fn cut(&mut self, target: &Target<'_>, size: usize, valid: usize) -> Step<Outcome> {
        if !target.is_last {
            return self.exit(&[
                b"Failed to truncate AOF ",
                target.name,
                b" because it is not the last file",
            ]);
        }
        let sizes = format!(" from {size} bytes, with {} bytes, to {valid} bytes", size - valid);
        self.say(&[b"This will shrink the AOF ", target.name, sizes.as_bytes()])?;
        self.out.write_all(b"Continue? [y/N]: ")?;
        self.out.flush()?;
        let mut answer = [b'y'];
        let answered = if self.yes { 1 } else { io::stdin().read(&mut answer).unwrap_or(0) };
        if self.yes {
            self.out.write_all(b"y\n")?;
        }
        if answered == 0 || !answer[0].eq_ignore_ascii_case(&b'y') {
            return self.exit(&[b"Aborting..."]);
        }
        match truncate(target.path, valid, &[]) {
            Ok(()) => Ok(Outcome::Truncated),
            Err(_) => self.exit(&[b"Failed to truncate AOF ", target.name]),
        }
    }
}

/// Bytes of the reserve behind the log of a file.
fn reserve_of(target: &Target<'_>, bytes: &[u8]) -> u64 {
    let path = Path::new(OsStr::from_bytes(target.path));
    let len = bytes.len() as u64;
    let end = File::open(path).and_then(|file| log_end(&file, len, target.marks.blocks.is_some()));
    len - end.unwrap_or(len)
}

/// The lines of a file's commands from `start` on, if a quick look finds nothing wrong with them that the
/// slow one could mind.
fn whole_lines(target: &Target<'_>, start: usize, size: usize) -> Option<i64> {
    let path = Path::new(OsStr::from_bytes(target.path));
    let file = File::open(path).ok()?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size as u64) {
        return None;
    }
    let from = start as u64;
    let job = Job {
        file: &file,
        from,
        end: size as u64,
        in_blocks: target.marks.blocks == Some(from),
        wants_sum: false,
        threads: usual_jobs(),
        piece_bytes: PIECE_BYTES,
    };
    let (mut open, mut is_paired) = (Open::default(), true);
    let scanned = scan_file(&Vocabulary::new(), job, &mut |tally, _| {
        for (at, mark) in tally.marks.drain(..) {
            // DISCARD is a command like any other there.
            is_paired &= mark == Mark::Discard || open.step(at, mark).is_ok();
        }
    });
    let scanned = scanned.ok().filter(|scanned| scanned.ended == Scanned::Reached)?;
    // A NUL ends a name there, so another name may be meant; and a block is judged in full by the slow look.
    let is_plain = |(_, note): &(u64, Note)| match note {
        Note::Command(Wrong::Unknown { name }) => !name.contains(&0),
        note => !matches!(note, Note::InBlock(_)),
    };
    let tally = scanned.tally;
    let is_listed = tally.noted == tally.notes.len() as u64;
    let is_whole = is_paired && open.at().is_none() && is_listed && tally.notes.iter().all(is_plain);
    is_whole.then(|| i64::try_from(tally.lines).ok())?
}

/// A file in memory, mapped where that is possible.
struct Content {
    input: Input,
}

impl Content {
    fn new(mut input: Input) -> io::Result<Self> {
        input.rest()?;
        Ok(Self { input })
    }
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.input.mapped().unwrap_or_else(|| self.input.bytes())
    }
}

/// Cuts a file, appends `behind`, and makes sure that it stays so.
fn truncate(path: &[u8], len: usize, behind: &[u8]) -> io::Result<()> {
    blocks::truncate(Path::new(OsStr::from_bytes(path)), len, behind)
}

/// What the system says, without the number that Rust puts behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

fn is_rdb(content: &[u8]) -> bool {
    const LEAST_BYTES: usize = 8;
    content.len() >= LEAST_BYTES && starts_with_rdb(content)
}

/// Whether the first line that is no comment starts with `file`.
fn is_manifest(mut content: &[u8]) -> bool {
    while content.first() == Some(&b'#') {
        let window = &content[..content.len().min(MAX_LINE_BYTES)];
        let line = memchr::memchr(b'\n', window).map_or(window.len(), |at| at + 1);
        content = &content[line..];
    }
    content.starts_with(b"file")
}
