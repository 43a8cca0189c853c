//! A log in parts that is being made: a folder that appears whole or not at all.
//!
//! The files are written into a folder beside the goal, synced, the manifest last, and then the folder gets
//! its name. A folder that is there is replaced only if it has nothing but a log in it, and only if that was
//! asked for.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::aof::manifest::{Entry, Manifest, Marks, SUFFIX, TEMP_PREFIX};
use tempfile::TempDir;

use super::output::{bare, folder_of, of, sync_folder};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A log that is being made.
#[derive(Debug)]
pub struct NewSet {
    temp: TempDir,
    goal: PathBuf,
    /// What servers call it (`appendfilename`).
    stem: String,
    manifest: Manifest,
}

/// A file of it.
#[derive(Debug)]
pub struct NewFile {
    file: BufWriter<File>,
    /// What it will be called.
    goal: PathBuf,
}

impl NewSet {
    /// Begins a log in a folder `goal`, which is no part of what is read: `inputs`.
    ///
    /// # Errors
    /// What is in the way.
    pub fn begin(goal: &Path, stem: &str, force: bool, inputs: &[&Path]) -> anyhow::Result<NewSet> {
        let at = || goal.display().to_string();
        if goal.as_os_str() == "-" {
            bail!("a log in parts is a folder: it cannot go to standard output");
        }
        let resolved = fs::canonicalize(goal).ok();
        let is_inside = |input: &&Path| {
            let input = fs::canonicalize(input).ok();
            resolved.as_ref().zip(input).is_some_and(|(goal, input)| input.starts_with(goal))
        };
        if inputs.iter().any(is_inside) {
            bail!("{}: what is read is in it; an input is never changed", at());
        }
        match fs::metadata(goal) {
            Ok(there) if !there.is_dir() => bail!("{}: is there, and is no folder", at()),
            Ok(_) => {
                let names = names_in(goal)?;
                if !names.is_empty() && !force {
                    bail!("{}: is there already, and not empty; --force replaces it", at());
                }
                let is_log = |name: &[u8]| is_part(name) || name.ends_with(SUFFIX.as_bytes());
                if let Some(name) = names.iter().find(|name| !is_log(name)) {
                    let name = crate::output::Shown(name);
                    bail!("{}: has more in it than a log (\"{name}\"), so it is not replaced", at());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(at),
        }
        let mut prefix = OsString::from(".");
        prefix.push(goal.file_name().with_context(|| format!("{}: has no name", at()))?);
        prefix.push(".");
        // What the user's mask leaves of it, as with any folder.
        let temp = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".tmp")
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(folder_of(goal))
            .map_err(bare)
            .with_context(at)?;
        Ok(NewSet { temp, goal: goal.to_owned(), stem: stem.to_owned(), manifest: Manifest::default() })
    }

    /// The base: its file, which gets the name and number of an old one, if there is one.
    ///
    /// # Errors
    /// What the system says.
    pub fn base(&mut self, old: Option<&Entry>, extension: &str) -> anyhow::Result<NewFile> {
        let entry = fresh(old, 1, || format!("{}.1.base.{extension}", self.stem));
        self.manifest.base_seq = entry.seq;
        let file = self.file(&entry.name);
        self.manifest.base = Some(entry);
        file
    }

    /// The next increment, in the same way.
    ///
    /// # Errors
    /// What the system says.
    pub fn incr(&mut self, old: Option<&Entry>) -> anyhow::Result<NewFile> {
        let seq = self.manifest.incr_seq + 1;
        let entry = fresh(old, seq, || format!("{}.{seq}.incr.aof", self.stem));
        self.manifest.incr_seq = entry.seq;
        let file = self.file(&entry.name);
        self.manifest.incr.push(entry);
        file
    }

    fn file(&self, name: &[u8]) -> anyhow::Result<NewFile> {
        let name = OsStr::from_bytes(name);
        let goal = self.goal.join(name);
        let file = File::options().write(true).create_new(true).open(self.temp.path().join(name));
        let file = file.with_context(|| goal.display().to_string())?;
        Ok(NewFile { file: BufWriter::with_capacity(BUFFER_BYTES, file), goal })
    }

    /// The log is whole: writes its manifest and gives its folder its name.
    ///
    /// # Errors
    /// What the system says; nothing is at the goal that was not there then.
    pub fn commit(self) -> anyhow::Result<PathBuf> {
        let at = || self.goal.display().to_string();
        let name = format!("{}{SUFFIX}", self.stem);
        let mut file = self.file(name.as_bytes())?;
        file.write_all(&self.manifest.format()).with_context(at)?;
        file.close()?;
        sync_folder(self.temp.path()).with_context(at)?;
        let parent = folder_of(&self.goal);
        let old = match names_in(&self.goal) {
            Ok(names) if !names.is_empty() => {
                let old =
                    tempfile::Builder::new().prefix(".replaced.").tempdir_in(parent).with_context(at)?;
                fs::rename(&self.goal, old.path().join("log")).with_context(at)?;
                Some(old)
            }
            // An empty folder is replaced by the renaming itself.
            _ => None,
        };
        if let Err(error) = fs::rename(self.temp.path(), &self.goal) {
            if let Some(old) = &old {
                fs::rename(old.path().join("log"), &self.goal).with_context(at)?;
            }
            return Err(error).with_context(at);
        }
        // It has another name now.
        let _ = self.temp.keep();
        sync_folder(parent).with_context(at)?;
        Ok(self.goal)
    }
}

/// The line of a file: that of an old one without what it says of the old content.
fn fresh(old: Option<&Entry>, seq: i64, name: impl FnOnce() -> String) -> Entry {
    match old {
        Some(old) => {
            Entry { name: old.name.clone(), seq: old.seq, extra: Vec::new(), marks: Marks::default() }
        }
        None => Entry { name: name().into_bytes(), seq, extra: Vec::new(), marks: Marks::default() },
    }
}

impl NewFile {
    /// The file is whole: makes it durable.
    ///
    /// # Errors
    /// What the system says.
    pub fn close(self) -> anyhow::Result<()> {
        let at = || self.goal.display().to_string();
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error).with_context(at)?;
        file.sync_all().with_context(at)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| of(&self.goal, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| of(&self.goal, &error))
    }
}

/// The names in a folder, sorted.
fn names_in(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name().as_bytes().to_vec())).collect();
    let mut names = names.with_context(|| folder.display().to_string())?;
    names.sort();
    Ok(names)
}

/// Whether a name is one that a server gives to a part: `STEM.SEQ.base.rdb`, `.base.aof`, `.incr.aof`.
#[must_use]
pub fn is_part(name: &[u8]) -> bool {
    let mut words = name.rsplitn(4, |b| *b == b'.');
    let (format, role, seq) = (words.next(), words.next(), words.next());
    let is_role = match (role, format) {
        (Some(b"base"), Some(format)) => matches!(format, b"rdb" | b"aof"),
        (Some(b"incr"), Some(format)) => format == b"aof",
        _ => false,
    };
    let is_number = seq.is_some_and(|seq| !seq.is_empty() && seq.iter().all(u8::is_ascii_digit));
    is_role && is_number && words.next().is_some() && !name.starts_with(TEMP_PREFIX.as_bytes())
}
