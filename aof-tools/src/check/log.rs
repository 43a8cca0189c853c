//! Logs: finding them, and checking their files one after another.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::aof::manifest::{self, FileKind, Manifest, Marks, TEMP_PREFIX};
use cairn_engine::codec::aof::record::{Content, Error, Parser, Step, Transactions, Unpaired};
use cairn_engine::codec::aof::{MAGIC_BYTES, starts_with_rdb};
use rdb_tools::check::{self, Depths, Report};
use rdb_tools::cmd::Reading;
use rdb_tools::input::Input;
use rdb_tools::output::Shown;
use rdb_tools::progress::Progress;

use super::fate::Fate;
use crate::blocks::{self, Bad};

/// A manifest is text of a few lines; more than this is something else.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// A log on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Log {
    /// In parts, by its manifest.
    Manifest(PathBuf),
    /// In one file.
    Single(PathBuf),
    /// Parts without a manifest.
    Headless(PathBuf, Vec<Vec<u8>>),
}

/// One fault.
#[derive(Debug)]
pub(super) struct Finding {
    /// The file's name in its folder.
    pub(super) file: Vec<u8>,
    /// Where in the file.
    pub(super) at: Option<u64>,
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
    /// Everything before it could be read, and no transaction is open there.
    pub(super) valid_up_to: u64,
    /// The RDB file in it, if there is one.
    pub(super) rdb: Option<Report>,
}

/// What a check of a log found out.
#[derive(Debug)]
pub(super) struct LogReport {
    pub(super) path: PathBuf,
    pub(super) files: Vec<FileReport>,
    pub(super) findings: Vec<Finding>,
}

/// A file's place in its log.
struct Member<'a> {
    name: &'a [u8],
    role: &'static str,
    is_last: bool,
    /// What the manifest says of it.
    marks: Marks,
}

/// The logs that a path stands for.
///
/// # Errors
/// There is nothing at the path, or nothing of the kind.
pub(super) fn find(path: &Path) -> anyhow::Result<Vec<Log>> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    if !metadata.is_dir() {
        let is_manifest = path.as_os_str().as_bytes().ends_with(manifest::SUFFIX.as_bytes());
        return Ok(vec![match is_manifest || starts_like_manifest(path) {
            true => Log::Manifest(path.to_owned()),
            false => Log::Single(path.to_owned()),
        }]);
    }
    let mut logs = find_in_folder(path)?;
    if logs.is_empty() {
        // A server's data folder has the log's folder in it.
        for name in names_in(path)? {
            let inner = path.join(OsStr::from_bytes(&name));
            if inner.is_dir() {
                logs.extend(find_in_folder(&inner)?);
            }
        }
    }
    if logs.is_empty() {
        bail!("{}: no append only file in this folder", path.display());
    }
    Ok(logs)
}

fn find_in_folder(folder: &Path) -> anyhow::Result<Vec<Log>> {
    let names = names_in(folder)?;
    let path_of = |name: &[u8]| folder.join(OsStr::from_bytes(name));
    let is_temp = |name: &[u8]| name.starts_with(TEMP_PREFIX.as_bytes());
    let manifests: Vec<_> = names
        .iter()
        .filter(|name| name.ends_with(manifest::SUFFIX.as_bytes()) && !is_temp(name))
        .map(|name| Log::Manifest(path_of(name)))
        .collect();
    if !manifests.is_empty() {
        return Ok(manifests);
    }
    let parts: Vec<_> = names.iter().filter(|name| is_part(name) && !is_temp(name)).cloned().collect();
    if !parts.is_empty() {
        return Ok(vec![Log::Headless(folder.to_owned(), parts)]);
    }
    let single = names.iter().find(|name| name.ends_with(b".aof"));
    Ok(single.map(|name| Log::Single(path_of(name))).into_iter().collect())
}

/// Whether a name is one that a server gives to a part: `name.SEQ.base.rdb`, `.base.aof`, `.incr.aof`.
fn is_part(name: &[u8]) -> bool {
    let mut words = name.rsplit(|b| *b == b'.');
    let (format, role, seq) = (words.next(), words.next(), words.next());
    matches!((role, format), (Some(b"base"), Some(b"rdb" | b"aof")) | (Some(b"incr"), Some(b"aof")))
        && seq.is_some_and(|seq| !seq.is_empty() && seq.iter().all(u8::is_ascii_digit))
}

fn names_in(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name().as_bytes().to_vec())).collect();
    let mut names = names.with_context(|| folder.display().to_string())?;
    names.sort();
    Ok(names)
}

/// Whether the first line that is no comment starts as a manifest's lines do.
fn starts_like_manifest(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(64 << 10).read_to_end(&mut head));
    let mut lines = head.split(|b| *b == b'\n').filter(|line| !line.starts_with(b"#"));
    read.is_ok() && lines.next().is_some_and(|line| line.starts_with(b"file "))
}

/// Checks a log.
///
/// # Errors
/// A file that is there cannot be read. A file that is not there is a finding.
pub(super) fn check(log: &Log, depths: Depths, reading: Reading) -> anyhow::Result<LogReport> {
    match log {
        Log::Single(path) => {
            let mut report = LogReport { path: path.clone(), files: Vec::new(), findings: Vec::new() };
            let name = path.file_name().unwrap_or(path.as_os_str()).as_bytes();
            let member = Member { name, role: "single", is_last: true, marks: Marks::default() };
            report.check_file(path, &member, depths, reading)?;
            Ok(report)
        }
        Log::Headless(folder, parts) => {
            let mut report = LogReport { path: folder.clone(), files: Vec::new(), findings: Vec::new() };
            let what = format!("{} files of a log and no manifest", parts.len());
            report.find(&parts[0], None, "no-manifest", Fate::StartsEmpty, what);
            for (i, name) in parts.iter().enumerate() {
                let path = folder.join(OsStr::from_bytes(name));
                let role = if name.windows(6).any(|w| w == b".base.") { "base" } else { "incr" };
                let member = Member { name, role, is_last: i + 1 == parts.len(), marks: Marks::default() };
                report.check_file(&path, &member, depths, reading)?;
            }
            Ok(report)
        }
        Log::Manifest(path) => check_manifest(path, depths, reading),
    }
}

fn check_manifest(path: &Path, depths: Depths, reading: Reading) -> anyhow::Result<LogReport> {
    let mut report = LogReport { path: path.to_owned(), files: Vec::new(), findings: Vec::new() };
    let name = path.file_name().unwrap_or(path.as_os_str()).as_bytes();
    let len = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    if len > MAX_MANIFEST_BYTES {
        bail!("{}: {len} bytes are too many for a manifest", path.display());
    }
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let manifest = match Manifest::parse(&text) {
        Ok(manifest) => manifest,
        Err(error) => {
            let what = match &error.line {
                Some((number, line)) => format!("line {number}, '{}': {}", Shown(line), error.kind),
                None => error.kind.to_string(),
            };
            report.find(name, None, "manifest", Fate::REFUSES, what);
            return Ok(report);
        }
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let last = manifest.live().last().map(|(_, entry)| entry.name.clone());
    if last.is_none() {
        report.find(name, None, "manifest", Fate::ACCEPTS, "no file that holds data is named".to_owned());
    }
    let mut seen = HashSet::new();
    for (kind, entry) in manifest.entries() {
        let file = folder.join(OsStr::from_bytes(&entry.name));
        if !seen.insert(entry.name.as_slice()) {
            report.find(
                &entry.name,
                None,
                "manifest",
                Fate::ACCEPTS,
                "named twice in the manifest".to_owned(),
            );
        }
        if !file.is_file() {
            let fate = if kind == FileKind::History { Fate::ACCEPTS } else { Fate::REFUSES };
            report.find(
                &entry.name,
                None,
                "missing",
                fate,
                "the manifest names it, and it is not there".to_owned(),
            );
            continue;
        }
        let role = match kind {
            FileKind::Base => "base",
            FileKind::Incr => "incr",
            // Left over from a rewrite, and not read any more.
            FileKind::History => continue,
        };
        let is_last = last.as_deref() == Some(&entry.name);
        let member = Member { name: &entry.name, role, is_last, marks: entry.marks };
        report.check_file(&file, &member, depths, reading)?;
    }
    report.find_orphans(folder, name, &seen)?;
    Ok(report)
}

impl LogReport {
    fn find(&mut self, file: &[u8], at: Option<u64>, kind: &'static str, fate: Fate, what: String) {
        self.findings.push(Finding { file: file.to_vec(), at, kind, what, fate });
    }

    /// Files that belong to this log by their names and that nothing refers to.
    fn find_orphans(&mut self, folder: &Path, manifest: &[u8], named: &HashSet<&[u8]>) -> anyhow::Result<()> {
        let stem = manifest.strip_suffix(manifest::SUFFIX.as_bytes()).unwrap_or(manifest);
        for name in names_in(folder)? {
            if named.contains(name.as_slice()) || name == manifest {
                continue;
            }
            if name
                .strip_prefix(TEMP_PREFIX.as_bytes())
                .is_some_and(|rest| rest.starts_with(stem) || rest.ends_with(b".aof"))
            {
                let what = "left over from something that did not end".to_owned();
                self.find(&name, None, "temporary", Fate::ACCEPTS, what);
            } else if name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(b".")) && is_part(&name) {
                let what = "looks like a part of the log, and the manifest does not name it".to_owned();
                self.find(&name, None, "orphan", Fate::ACCEPTS, what);
            }
        }
        Ok(())
    }

    fn check_file(
        &mut self,
        path: &Path,
        member: &Member<'_>,
        depths: Depths,
        reading: Reading,
    ) -> anyhow::Result<()> {
        let Member { name, role, is_last, marks } = member;
        if *marks != Marks::default() {
            let differs = blocks::differs(&mut reading.open(path)?, marks);
            if let Some(what) = differs.with_context(|| path.display().to_string())? {
                self.find(name, None, "size", Fate::Damaged, what);
            }
        }
        let mut input = reading.open(path)?;
        let progress = reading.progress(&input);
        let mut file =
            FileReport { name: name.to_vec(), role, bytes: 0, commands: 0, valid_up_to: 0, rdb: None };
        let result = self.read_file(&mut input, &mut file, *is_last, depths, &progress);
        result.with_context(|| path.display().to_string())?;
        if file.rdb.is_none() {
            let bad =
                blocks::check(&mut reading.open(path)?, marks).with_context(|| path.display().to_string())?;
            if let Some(bad) = bad {
                self.bad_block(&mut file, &bad, *is_last);
            }
        }
        self.files.push(file);
        Ok(())
    }

    fn bad_block(&mut self, file: &mut FileReport, bad: &Bad, is_last: bool) {
        file.valid_up_to = file.valid_up_to.min(bad.at);
        // A torn end was told when its commands were read, if it could be seen there.
        let is_told = bad.is_torn && self.findings.iter().any(|finding| finding.file == file.name);
        if !is_told {
            let fate = match (bad.is_torn, is_last) {
                (true, true) => Fate::Truncates,
                (true, false) => Fate::REFUSES,
                (false, _) => Fate::Damaged,
            };
            self.find(&file.name, Some(bad.at), "block", fate, bad.what.clone());
        }
    }

    fn read_file(
        &mut self,
        input: &mut Input,
        file: &mut FileReport,
        is_last: bool,
        depths: Depths,
        progress: &Progress,
    ) -> io::Result<()> {
        input.fill(MAGIC_BYTES as u64)?;
        if starts_with_rdb(input.bytes()) {
            let rdb = check::check(input, depths, progress)?;
            for finding in &rdb.findings {
                let what = match &finding.key {
                    Some((db, key)) => format!("db {db}, key \"{}\": {}", Shown(key), finding.what),
                    None => finding.what.clone(),
                };
                self.find(&file.name, Some(finding.at), finding.kind, Fate::Rdb(finding.fate), what);
            }
            let is_complete = rdb.is_complete();
            file.rdb = Some(rdb);
            if !is_complete {
                file.bytes = input.position() + input.skip_rest()?;
                return Ok(());
            }
        }
        file.valid_up_to = input.position();
        self.read_commands(input, file, is_last, progress)?;
        file.bytes = input.position() + input.skip_rest()?;
        Ok(())
    }

    fn read_commands(
        &mut self,
        input: &mut Input,
        file: &mut FileReport,
        is_last: bool,
        progress: &Progress,
    ) -> io::Result<()> {
        let mut parser = Parser::new(input.position(), input.len());
        let mut transactions = Transactions::default();
        loop {
            let step = parser.next(input.bytes(), input.is_last());
            match step {
                Ok(Step::Record(record)) => {
                    let (at, end) = (record.at, record.end);
                    if let Err(unpaired) = transactions.step(&record) {
                        self.unpaired(file, at, unpaired);
                    }
                    match record.content {
                        Content::Command(_) => file.commands += 1,
                        Content::Annotation(text) => self.annotation(file, at, text),
                    }
                    file.valid_up_to = transactions.open_at().unwrap_or(end);
                    input.consume((end - at) as usize);
                    // A command is small: the bar need not know of each.
                    if file.commands.is_multiple_of(1024) {
                        progress.at(end);
                    }
                }
                Ok(Step::More { at_least }) => input.fill(at_least)?,
                Ok(Step::Done) => break,
                Err(error) => return self.broken(input, file, error, is_last),
            }
        }
        if let Some(at) = transactions.open_at() {
            let fate = if is_last { Fate::Truncates } else { Fate::REFUSES };
            let what = "the transaction that starts here has no EXEC".to_owned();
            self.find(&file.name, Some(at), "transaction", fate, what);
        }
        Ok(())
    }

    fn unpaired(&mut self, file: &FileReport, at: u64, unpaired: Unpaired) {
        let what = match unpaired {
            Unpaired::Multi { open_at } => {
                format!("MULTI inside the transaction that starts at offset {open_at}")
            }
            Unpaired::Exec => "EXEC without MULTI".to_owned(),
        };
        self.find(&file.name, Some(at), "transaction", Fate::ACCEPTS, what);
    }

    fn annotation(&mut self, file: &FileReport, at: u64, text: &[u8]) {
        let is_stamp = text.starts_with(b"TS:");
        if is_stamp && cairn_engine::codec::aof::record::timestamp(text).is_none() {
            let what = format!("timestamp \"{}\" is not a number", Shown(&text[3..]));
            self.find(&file.name, Some(at), "timestamp", Fate::ACCEPTS, what);
        }
    }

    /// A record that cannot be read: the end of what can be said about the file.
    fn broken(
        &mut self,
        input: &mut Input,
        file: &FileReport,
        error: Error,
        is_last: bool,
    ) -> io::Result<()> {
        let from = input.position();
        let has_more = error.is_truncation() && has_commands(input.bytes());
        let is_zero = rest_is_zero(input)?;
        let behind = input.position() - from;
        let (kind, fate, what) = if is_zero {
            let what = format!(
                "{behind} zero bytes up to the end: written space whose content never reached the disk"
            );
            ("zeros", Fate::REFUSES, what)
        } else {
            let argument = error.argument.map_or(String::new(), |i| {
                format!(" (argument {i} of the command at offset {})", error.record_at)
            });
            let doubt = match has_more {
                true => "; further commands are among them, so a length is likely wrong",
                false => "",
            };
            let what =
                format!("{}{argument}; {behind} bytes from offset {from} on are lost{doubt}", error.kind);
            match (error.is_truncation(), is_last) {
                (true, true) => ("truncated", Fate::Truncates, what),
                (true, false) => ("truncated", Fate::REFUSES, what),
                (false, _) => ("format", Fate::REFUSES, what),
            }
        };
        self.find(&file.name, Some(error.at), kind, fate, what);
        Ok(())
    }
}

/// Whether something that looks like a command starts behind the first line.
fn has_commands(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, b"\r\n*").any(|at| {
        let rest = &bytes[at + 3..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        digits > 0 && rest[digits..].starts_with(b"\r\n$")
    })
}

/// Reads on to the end; whether all of it is zero bytes.
fn rest_is_zero(input: &mut Input) -> io::Result<bool> {
    let mut is_zero = true;
    loop {
        input.fill(1)?;
        let bytes = input.bytes();
        if bytes.is_empty() {
            return Ok(is_zero);
        }
        is_zero = is_zero && bytes.iter().all(|b| *b == 0);
        let n = bytes.len();
        input.consume(n);
    }
}

#[cfg(test)]
mod tests {
    use super::is_part;

    #[test]
    fn parts_are_known_by_their_names() {
        for name in ["appendonly.aof.1.base.rdb", "a.22.base.aof", "my log.3.incr.aof"] {
            assert!(is_part(name.as_bytes()), "{name}");
        }
        for name in ["appendonly.aof", "a.incr.aof", "a.x.incr.aof", "a.1.incr.rdb", "a.manifest"] {
            assert!(!is_part(name.as_bytes()), "{name}");
        }
    }
}
