//! A log checked: its manifest, and its files one after another.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cairn_engine::codec::aof::manifest::{self, FileKind, Manifest, Marks, TEMP_PREFIX};
use cairn_engine::codec::aof::record::Error;
use cairn_engine::codec::aof::{MAGIC_BYTES, block, starts_with_rdb};
use rdb_tools::check::{self, Depths, Report};
use rdb_tools::cmd::Reading;
use rdb_tools::drive::Stop;
use rdb_tools::fold::reserve::log_end;
use rdb_tools::fold::{self, OnBad};
use rdb_tools::input::Input;
use rdb_tools::output::Shown;
use rdb_tools::progress::Progress;
use rdb_tools::spill::Spill;

use super::fate::Fate;
use crate::blocks;
use crate::feed::{Ending, Feed, InPlace, plain_file};
use crate::resync::resync;
use crate::scan::{Ended, Job, Note, PIECE_BYTES, Scan, Special, Tally, scan_file};
use crate::set::{self, Log, Member, Role, folder_of, is_part, name_of, names_in};
use crate::transaction::{Open, Unpaired};
use crate::vocabulary::{Vocabulary, Wrong};
use crate::walk::StepOver;

/// Faults of a file that are listed; more are counted.
const MOST_LISTED: usize = 1000;

/// One fault.
#[derive(Debug)]
pub(super) struct Finding {
    /// The file's name in its folder.
    pub(super) file: Vec<u8>,
    /// Where in the file.
    pub(super) at: Option<u64>,
    /// Where reading went on, if some bytes could not be read.
    pub(super) resumed_at: Option<u64>,
    /// A word for its kind, for scripts.
    pub(super) kind: &'static str,
    /// What is wrong, for people.
    pub(super) what: String,
    /// What a server makes of it.
    pub(super) fate: Fate,
}

/// What a file of the log is.
#[derive(Debug)]
pub(super) struct FileReport {
    pub(super) name: Vec<u8>,
    /// `base`, `incr` or `single`.
    pub(super) role: &'static str,
    pub(super) bytes: u64,
    pub(super) commands: u64,
    /// Checked blocks whose sums fit.
    pub(super) blocks: u64,
    /// Bytes of reserves: room behind a log that Cairn has not used, or what was that.
    pub(super) reserve: u64,
    /// The first and the last timestamp, in Unix seconds.
    pub(super) times: Option<(i64, i64)>,
    /// Databases that a server needs for it.
    pub(super) databases: u64,
    /// Commands that only some servers have.
    pub(super) special: BTreeMap<Vec<u8>, Special>,
    /// Everything before it could be read, and no transaction is open there.
    pub(super) valid_up_to: u64,
    /// The RDB file in it, if there is one.
    pub(super) rdb: Option<Report>,
    /// Faults, also those that are not listed.
    pub(super) found: u64,
}

/// What a check of a log found out.
#[derive(Debug)]
pub(super) struct LogReport {
    pub(super) path: PathBuf,
    pub(super) files: Vec<FileReport>,
    pub(super) findings: Vec<Finding>,
    /// Faults that are not listed.
    pub(super) unlisted: u64,
    /// Whether the commands were run; `None` if nobody wanted that.
    pub(super) replayed: Option<bool>,
}

/// How to check.
pub(super) struct Checker {
    pub(super) depths: Depths,
    pub(super) reading: Reading,
    pub(super) threads: usize,
    pub(super) vocabulary: Vocabulary,
    /// Memory for running the commands; `None` if they are not run.
    pub(super) replay: Option<Spill>,
}

impl Checker {
    /// Checks a log.
    ///
    /// # Errors
    /// A file that is there cannot be read. A file that is not there is a finding.
    pub(super) fn check(&self, log: &Log) -> anyhow::Result<LogReport> {
        let path = log.path().to_owned();
        let mut report =
            LogReport { path, files: Vec::new(), findings: Vec::new(), unlisted: 0, replayed: None };
        match log {
            Log::Single(path) => self.check_file(&mut report, &set::single_member(path))?,
            Log::Headless(folder, parts) => {
                let what = format!(
                    "{} files of a log and no manifest; 'aof-tools repair {}' can make one",
                    parts.len(),
                    folder.display()
                );
                report.find(&parts[0], None, "no-manifest", Fate::StartsEmpty, what);
                for member in set::headless_members(folder, parts) {
                    self.check_file(&mut report, &member)?;
                }
            }
            Log::Manifest(path) => self.check_manifest(&mut report, path)?,
        }
        if let Some(spill) = &self.replay {
            self.run_commands(&mut report, spill)?;
        }
        Ok(report)
    }

    /// Runs the commands of a log that can be read, and adds those that answer with an error.
    fn run_commands(&self, report: &mut LogReport, spill: &Spill) -> anyhow::Result<()> {
        let is_minor = |finding: &Finding| {
            matches!(finding.kind, "unknown-command" | "arity" | "timestamp" | "orphan" | "temporary")
                || matches!(finding.fate, Fate::ACCEPTS | Fate::Truncates)
        };
        report.replayed = Some(report.findings.iter().all(is_minor) && report.unlisted == 0);
        if report.replayed == Some(false) {
            return Ok(());
        }
        let log = fold::Log::open(&report.path)?;
        let options =
            fold::Options { on_bad: OnBad::Skip, spill: spill.clone(), ..fold::Options::new(self.reading) };
        match fold::fold(&log, &options, &mut StepOver) {
            Ok(summary) => {
                report.unlisted += summary.skips - summary.skipped.len() as u64;
                for skipped in summary.skipped {
                    let file = name_of(&skipped.file);
                    let is_told = |finding: &Finding| finding.file == file && finding.at == Some(skipped.at);
                    // Commands that only some servers have are told as a note.
                    if !skipped.what.contains("unknown command") && !report.findings.iter().any(is_told) {
                        report.find(file, Some(skipped.at), "replay", Fate::ACCEPTS, skipped.what);
                    }
                }
            }
            Err(Stop::Read(error)) => return Err(error).with_context(|| report.path.display().to_string()),
            Err(Stop::Sink(never)) => match never {},
            Err(Stop::Format(error)) => {
                let what = rdb_tools::output::clean(&error.to_string());
                report.find(name_of(&log.path), Some(error.at), "replay", Fate::REFUSES, what);
            }
            Err(Stop::Other(fault)) => {
                let what = fault.to_string();
                report.find(name_of(&log.path), None, "replay", Fate::REFUSES, what);
            }
        }
        Ok(())
    }

    fn check_manifest(&self, report: &mut LogReport, path: &Path) -> anyhow::Result<()> {
        let name = name_of(path);
        let text = set::read_manifest(path)?;
        let folder = folder_of(path);
        let manifest = match Manifest::parse(&text) {
            Ok(manifest) => manifest,
            Err(error) => {
                let what = match &error.line {
                    Some((number, line)) => format!("line {number}, '{}': {}", Shown(line), error.kind),
                    None => error.kind.to_string(),
                };
                report.find(name, None, "manifest", Fate::REFUSES, what);
                return self.check_unnamed(report, folder, name);
            }
        };
        if manifest.live().next().is_none() {
            let what = "no file that holds data is named".to_owned();
            report.find(name, None, "manifest", Fate::ACCEPTS, what);
        }
        let mut seen = HashSet::new();
        for (kind, entry) in manifest.entries() {
            if !seen.insert(entry.name.as_slice()) {
                let what = "named twice in the manifest".to_owned();
                report.find(&entry.name, None, "manifest", Fate::ACCEPTS, what);
            }
            let file =
                folder.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&entry.name));
            if kind == FileKind::History && !file.is_file() {
                let what = "the manifest names it, and it is not there".to_owned();
                report.find(&entry.name, None, "missing", Fate::ACCEPTS, what);
            }
        }
        for member in set::members(folder, &manifest) {
            if member.path.is_file() {
                self.check_file(report, &member)?;
            } else {
                let what = "the manifest names it, and it is not there".to_owned();
                report.find(&member.name, None, "missing", Fate::REFUSES, what);
            }
        }
        report.find_orphans(folder, name, &seen)
    }

    /// Files that belong to a log whose manifest says nothing: they are what can be saved.
    fn check_unnamed(&self, report: &mut LogReport, folder: &Path, manifest: &[u8]) -> anyhow::Result<()> {
        let stem = stem_of(manifest);
        let names = names_in(folder)?;
        let is_of_it = |name: &&Vec<u8>| set::PartName::parse(name).is_some_and(|part| part.stem == stem);
        let parts: Vec<_> = names.iter().filter(is_of_it).cloned().collect();
        for member in set::headless_members(folder, &parts) {
            self.check_file(report, &member)?;
        }
        let all = parts.iter().map(Vec::as_slice).collect();
        report.find_orphans(folder, manifest, &all)
    }

    fn check_file(&self, report: &mut LogReport, member: &Member) -> anyhow::Result<()> {
        let mut file = FileReport {
            name: member.name.clone(),
            role: member.role.name(),
            bytes: 0,
            commands: 0,
            blocks: 0,
            reserve: 0,
            times: None,
            databases: 0,
            special: BTreeMap::new(),
            valid_up_to: 0,
            rdb: None,
            found: 0,
        };
        let input = self.reading.open(&member.path)?;
        let progress = self.reading.progress(&input);
        let mut work = FileCheck {
            checker: self,
            member,
            report,
            file: &mut file,
            progress: &progress,
            listed: 0,
            open: Open::default(),
            is_whole: true,
            reserve_at_end: 0,
        };
        let first = work.report.findings.len();
        work.run(input).with_context(|| member.path.display().to_string())?;
        work.report.findings[first..].sort_by_key(|finding| finding.at);
        report.files.push(file);
        Ok(())
    }
}

/// What the names of a log's files start with, by the name of its manifest.
fn stem_of(manifest: &[u8]) -> &[u8] {
    manifest.strip_suffix(manifest::SUFFIX.as_bytes()).unwrap_or(manifest)
}

impl LogReport {
    fn find(&mut self, file: &[u8], at: Option<u64>, kind: &'static str, fate: Fate, what: String) {
        self.findings.push(Finding { file: file.to_vec(), at, resumed_at: None, kind, what, fate });
    }

    /// Whether nothing is wrong.
    pub(super) fn is_ok(&self) -> bool {
        self.findings.is_empty() && self.unlisted == 0
    }

    /// Files that belong to this log by their names and that nothing refers to.
    fn find_orphans(&mut self, folder: &Path, manifest: &[u8], named: &HashSet<&[u8]>) -> anyhow::Result<()> {
        let stem = stem_of(manifest);
        for name in names_in(folder)? {
            if named.contains(name.as_slice()) || name == manifest {
                continue;
            }
            let rest = name.strip_prefix(TEMP_PREFIX.as_bytes());
            if rest.is_some_and(|rest| rest.starts_with(stem) || rest.ends_with(b".aof")) {
                let what = "left over from something that did not end".to_owned();
                self.find(&name, None, "temporary", Fate::ACCEPTS, what);
            } else if name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(b".")) && is_part(&name) {
                let what = "looks like a part of the log, and the manifest does not name it".to_owned();
                self.find(&name, None, "orphan", Fate::ACCEPTS, what);
            }
        }
        Ok(())
    }
}

/// One file being checked.
struct FileCheck<'a> {
    checker: &'a Checker,
    member: &'a Member,
    report: &'a mut LogReport,
    file: &'a mut FileReport,
    progress: &'a Progress,
    listed: usize,
    /// The transaction that is open.
    open: Open,
    /// Whether nothing was wrong so far that ends what servers read.
    is_whole: bool,
    /// Bytes of the reserve behind the log.
    reserve_at_end: u64,
}

impl FileCheck<'_> {
    fn find(&mut self, at: u64, kind: &'static str, fate: Fate, what: String) {
        self.file.found += 1;
        if self.listed < MOST_LISTED {
            self.listed += 1;
            self.report.find(&self.member.name, Some(at), kind, fate, what);
        } else {
            self.report.unlisted += 1;
        }
    }

    fn run(&mut self, mut input: Input) -> io::Result<()> {
        let marks = &self.member.marks;
        let plain = plain_file(&self.member.path, &mut input)?;
        input.fill(MAGIC_BYTES as u64)?;
        if starts_with_rdb(input.bytes()) {
            if *marks != Marks::default() {
                self.compare(&mut self.checker.reading.open(&self.member.path).map_err(io::Error::other)?)?;
            }
            if !self.base(&mut input)? {
                self.file.bytes = input.position() + input.skip_rest()?;
                return Ok(());
            }
        }
        let start = input.position();
        self.file.valid_up_to = start;
        let in_blocks = marks.blocks == Some(start);
        let sum = match plain {
            Some((file, end)) => {
                drop(input);
                self.plain(&file, start, end, in_blocks)?
            }
            None => {
                self.streamed(&mut input, in_blocks)?;
                self.file.bytes = input.position() + input.skip_rest()?;
                None
            }
        };
        if let Some(at) = self.open.at() {
            let fate = if self.member.is_last { Fate::Truncates } else { Fate::REFUSES };
            self.find(at, "transaction", fate, "the transaction that starts here has no EXEC".to_owned());
        }
        if self.file.rdb.is_none() {
            self.compare_size(sum)?;
        }
        Ok(())
    }

    /// Checks the RDB file in front. False if its end was not reached.
    fn base(&mut self, input: &mut Input) -> io::Result<bool> {
        let rdb = check::check(input, self.checker.depths, self.progress)?;
        for finding in &rdb.findings {
            let what = match &finding.key {
                Some((db, key)) => format!("db {db}, key \"{}\": {}", Shown(key), finding.what),
                None => finding.what.clone(),
            };
            self.find(finding.at, finding.kind, Fate::Rdb(finding.fate), what);
        }
        let unlisted = rdb.found - rdb.findings.len() as u64;
        self.file.found += unlisted;
        self.report.unlisted += unlisted;
        let is_complete = rdb.is_complete();
        self.file.rdb = Some(rdb);
        if is_complete && self.member.role == Role::Base && self.member.name.ends_with(b".rdb") {
            let at = input.position();
            let behind = input.skip_rest()?;
            if behind > 0 {
                let what = format!("{behind} bytes follow the end of the RDB file");
                self.find(at, "trailing", Fate::ACCEPTS, what);
            }
        }
        Ok(is_complete)
    }

    /// Checks the commands of a plain file. The sum of the bytes, if the manifest has one.
    fn plain(
        &mut self,
        file: &std::fs::File,
        start: u64,
        end: u64,
        mut in_blocks: bool,
    ) -> io::Result<Option<u64>> {
        let wants_sum = self.member.marks.crc64.is_some() && start == 0;
        let mut at = start;
        let mut sum = None;
        loop {
            let job = Job {
                file,
                from: at,
                end,
                in_blocks,
                wants_sum: wants_sum && at == start,
                threads: self.checker.threads,
                piece_bytes: PIECE_BYTES,
            };
            let vocabulary = &self.checker.vocabulary;
            let scanned = scan_file(vocabulary, job, &mut |tally, to| self.take(tally, to))?;
            self.tell_tally(scanned.tally);
            if scanned.ended == Ended::Reached {
                self.file.bytes = scanned.at;
                if at == start {
                    sum = scanned.sum;
                }
                return Ok(sum);
            }
            // Whether there is a block behind a bad one shows best in a search of its own.
            let mut behind = InPlace::new(file, scanned.at, end);
            let found = resync(&self.checker.vocabulary, &mut behind, scanned.in_blocks)?;
            at = behind.at();
            match scanned.ended {
                Ended::Record(error) => {
                    let is_zero = !found && is_zero(&mut InPlace::new(file, error.at, end))?;
                    self.bad_record(scanned.at, &error, at, found, is_zero);
                }
                Ended::Block(fault) => {
                    let judged = self.judge(fault)?;
                    let mut to = at;
                    if !found {
                        to = log_end(file, end, true)?.max(blocks::wrong_from(&fault));
                        self.file.reserve += end - to;
                    }
                    self.bad_block(fault, to, found, judged);
                }
                Ended::Reached => {}
            }
            in_blocks = scanned.in_blocks;
            if !found {
                self.file.bytes = end;
                return Ok(None);
            }
        }
    }

    /// Checks commands that come from a pipe, or unpacked.
    fn streamed(&mut self, input: &mut Input, in_blocks: bool) -> io::Result<()> {
        let progress = self.progress;
        let mut in_blocks = in_blocks;
        loop {
            let mut scan = Scan::new(&self.checker.vocabulary, in_blocks);
            let ended = loop {
                let limit = input.position() + STREAMED_BYTES;
                let ended = scan.run(input, limit, &mut |at| progress.at(at))?;
                let mut tally = std::mem::take(&mut scan.tally);
                self.take(&mut tally, Feed::at(input));
                self.tell_tally(tally);
                if ended != Ended::Reached || input.position() < limit {
                    break ended;
                }
            };
            in_blocks = scan.in_blocks;
            let bad_at = input.position();
            if ended == Ended::Reached {
                return Ok(());
            }
            let first_is_zero = input.bytes().first() == Some(&0);
            let mut behind = Ending::new(input);
            let found = resync(&self.checker.vocabulary, &mut behind, in_blocks)?;
            let reserve_start = behind.reserve_start();
            let at = input.position();
            match ended {
                Ended::Record(error) => {
                    self.bad_record(bad_at, &error, at, found, first_is_zero && !found);
                }
                Ended::Block(fault) => {
                    let judged = (fault.kind.to_string(), !found);
                    let mut to = at;
                    if !found {
                        to = reserve_start.max(blocks::wrong_from(&fault));
                        self.file.reserve += at.saturating_sub(to);
                    }
                    self.bad_block(fault, to, found, judged);
                }
                Ended::Reached => {}
            }
            if !found {
                return Ok(());
            }
        }
    }

    /// Takes what was found up to `to`: whether transactions pair, and what is open there.
    fn take(&mut self, tally: &mut Tally, to: u64) {
        for (at, mark) in std::mem::take(&mut tally.marks) {
            match self.open.step(at, mark) {
                Ok(()) => {}
                Err(unpaired) => self.unpaired(at, unpaired),
            }
        }
        if self.is_whole {
            self.file.valid_up_to = self.open.at().unwrap_or(to);
        }
        self.progress.at(to);
    }

    fn unpaired(&mut self, at: u64, unpaired: Unpaired) {
        let what = match unpaired {
            Unpaired::Multi { open_at } => {
                format!("MULTI inside the transaction that starts at offset {open_at}")
            }
            Unpaired::Exec => "EXEC without MULTI".to_owned(),
            Unpaired::Discard => "DISCARD without MULTI".to_owned(),
        };
        self.find(at, "transaction", Fate::ACCEPTS, what);
    }

    fn tell_tally(&mut self, tally: Tally) {
        let file = &mut *self.file;
        file.commands += tally.commands;
        file.blocks += tally.blocks;
        file.reserve += tally.reserve;
        self.reserve_at_end += tally.reserve_at_end;
        file.databases = file.databases.max(tally.most_db.saturating_add(1));
        file.times = match (file.times, tally.first_time, tally.last_time) {
            (Some((first, _)), _, Some(last)) => Some((first, last)),
            (None, Some(first), Some(last)) => Some((first, last)),
            (times, ..) => times,
        };
        for (name, more) in tally.special {
            let entry = file.special.entry(name).or_insert(Special { count: 0, ..more });
            entry.count += more.count;
        }
        let unlisted = tally.noted - tally.notes.len() as u64;
        for (at, note) in tally.notes {
            let (kind, fate, what) = say(&note);
            self.find(at, kind, fate, what);
        }
        self.file.found += unlisted;
        self.report.unlisted += unlisted;
    }

    /// A record that cannot be read: how it is told, and where reading goes on.
    fn bad_record(&mut self, from: u64, error: &Error, to: u64, found: bool, is_zero: bool) {
        let is_last = self.member.is_last;
        let from = from.min(error.record_at);
        let bytes = to - from;
        let argument = error.argument.map_or(String::new(), |i| {
            format!(" (argument {i} of the command at offset {})", error.record_at)
        });
        let (kind, fate, what) = if is_zero {
            let zeros = to - error.at;
            let what = format!(
                "{zeros} zero bytes up to the end: written space whose content never reached the disk"
            );
            ("zeros", Fate::REFUSES, what)
        } else if found {
            let doubt = match error.is_truncation() {
                true => "; further commands are among them, so a length is likely wrong",
                false => "",
            };
            let what = format!(
                "{}{argument}; {bytes} bytes from offset {from} on are lost, and reading goes on at offset \
                 {to}{doubt}",
                error.kind
            );
            // A server that believes the length takes all of it for a torn end, and cuts it off.
            match error.is_truncation() && is_last {
                true => ("format", Fate::Truncates, what),
                false => ("format", Fate::REFUSES, what),
            }
        } else {
            let what = format!("{}{argument}; {bytes} bytes from offset {from} on are lost", error.kind);
            match (error.is_truncation(), is_last) {
                (true, true) => ("truncated", Fate::Truncates, what),
                (true, false) => ("truncated", Fate::REFUSES, what),
                (false, _) => ("format", Fate::REFUSES, what),
            }
        };
        self.lost(error.at, to, found, kind, fate, what);
    }

    /// Something could not be read up to `to`.
    fn lost(&mut self, at: u64, to: u64, found: bool, kind: &'static str, fate: Fate, what: String) {
        let listed_before = self.report.findings.len();
        self.find(at, kind, fate, what);
        if let (true, Some(finding)) = (found, self.report.findings.get_mut(listed_before)) {
            finding.resumed_at = Some(to);
        }
        if let (Some(open_at), true) = (self.open.take(), found) {
            let what = "the transaction that starts here is damaged".to_owned();
            self.find(open_at, "transaction", Fate::REFUSES, what);
        }
        self.is_whole = false;
    }

    /// What a bad block means: its text, and whether it may be a torn end.
    fn judge(&self, fault: block::Fault) -> io::Result<(String, bool)> {
        let mut input = self.checker.reading.open(&self.member.path).map_err(io::Error::other)?;
        Feed::skip(&mut input, blocks::wrong_from(&fault))?;
        let bad = blocks::judge(&mut input, fault, &self.member.marks)?;
        Ok((bad.what, bad.is_torn))
    }

    fn bad_block(&mut self, fault: block::Fault, to: u64, found: bool, (text, is_torn): (String, bool)) {
        let bytes = to.saturating_sub(blocks::wrong_from(&fault));
        let what = match found {
            true => format!("{text}; {bytes} bytes are lost, and reading goes on at offset {to}"),
            false => format!("{text}; {bytes} bytes from here on are lost"),
        };
        let fate = match (is_torn, self.member.is_last) {
            (true, true) => Fate::Truncates,
            (true, false) => Fate::REFUSES,
            (false, _) => Fate::Damaged,
        };
        self.lost(fault.at, to, found, "block", fate, what);
    }

    /// Compares the file with what the manifest says of it, reading it for that.
    fn compare(&mut self, input: &mut Input) -> io::Result<()> {
        if let Some(what) = blocks::differs(input, &self.member.marks, self.reserve_at_end)? {
            self.report.find(&self.member.name, None, "size", Fate::Damaged, what);
            self.file.found += 1;
        }
        Ok(())
    }

    /// The same when its size and its sum are known.
    fn compare_size(&mut self, sum: Option<u64>) -> io::Result<()> {
        let marks = self.member.marks;
        if marks.whole_to().is_none() {
            return Ok(());
        }
        if marks.crc64.is_some() && sum.is_none() && marks.size == Some(self.file.bytes) {
            return self
                .compare(&mut self.checker.reading.open(&self.member.path).map_err(io::Error::other)?);
        }
        if let Some(what) = blocks::differs_from(&marks, self.file.bytes, self.reserve_at_end, sum) {
            self.report.find(&self.member.name, None, "size", Fate::Damaged, what);
            self.file.found += 1;
        }
        Ok(())
    }
}

/// What a note says: kind, what servers make of it, text.
fn say(note: &Note) -> (&'static str, Fate, String) {
    match note {
        Note::Command(Wrong::Unknown { name }) => {
            ("unknown-command", Fate::REFUSES, format!("no server knows the command \"{}\"", Shown(name)))
        }
        Note::Command(Wrong::Subcommand { name, word }) => {
            let what = format!("{} has no subcommand \"{}\"", name.to_ascii_uppercase(), Shown(word));
            ("unknown-command", Fate::REFUSES, what)
        }
        Note::Command(Wrong::Arity { name, argc }) => {
            let name = name.to_ascii_uppercase().replace('|', " ");
            ("arity", Fate::CRASHES, format!("{name} cannot have {argc} arguments, its name counted"))
        }
        Note::Timestamp(text) => {
            ("timestamp", Fate::ACCEPTS, format!("timestamp \"{}\" is not a number", Shown(text)))
        }
        Note::Database(word) => {
            ("database", Fate::Misplaces, format!("SELECT of \"{}\", which is no database", Shown(word)))
        }
        Note::InBlock(text) => {
            let what = format!("the checksum of this block is right, and its commands are not: {text}");
            ("block", Fate::REFUSES, what)
        }
    }
}

/// Bytes of a pipe that are looked at before what was found is told.
const STREAMED_BYTES: u64 = 4 << 20;
/// Whether there are only zero bytes up to the end.
fn is_zero(feed: &mut impl Feed) -> io::Result<bool> {
    loop {
        feed.fill(1)?;
        let bytes = feed.bytes();
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        let n = bytes.len();
        feed.consume(n);
    }
}
