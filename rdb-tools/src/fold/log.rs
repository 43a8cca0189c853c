//! Logs on disk: which files make one up, in which order, and how far each of them counts.
//!
//! A log is named by its manifest, by the folder that it is in, by a server's data folder, or it is one
//! file: commands, with or without an RDB file in front. Reads nothing but manifests, first bytes, and reserves.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::aof::manifest::{self, FileKind, Manifest, Marks, TEMP_PREFIX};

use super::reserve;

/// A manifest is text of a few lines; more than this is something else.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// What is looked at of a file to tell a manifest from commands.
const HEAD_BYTES: u64 = 64 << 10;
/// What servers call a log whose configuration does not say.
pub const DEFAULT_STEM: &str = "appendonly.aof";

/// What a file is for its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything up to the first increment.
    Base,
    /// Commands since then.
    Incr,
    /// The whole log.
    Single,
}

/// A file of a log.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Its name in its folder.
    pub name: Vec<u8>,
    /// What it is for.
    pub role: Role,
    /// What the manifest says of it.
    pub marks: Marks,
    /// Its size, without the reserve behind the log.
    pub bytes: u64,
    /// Where it ends for the fold; what is behind counts as if it were not there.
    pub until: Option<u64>,
}

impl Part {
    /// The name as a person may see it.
    #[must_use]
    pub fn shown(&self) -> String {
        crate::output::Shown(&self.name).to_string()
    }

    /// Bytes of it that count.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.until.map_or(self.bytes, |until| until.min(self.bytes))
    }
}

/// A log: its files in the order in which they are read.
#[derive(Debug, Clone)]
pub struct Log {
    /// What it was found by: the manifest, or the file.
    pub path: PathBuf,
    /// The files. The last one may end in the middle of a command, as crashes leave them.
    pub parts: Vec<Part>,
    /// The manifest, where there is one.
    pub manifest: Option<Manifest>,
}

/// A place in a log: a file of it, and an offset in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the file, from 0.
    pub part: usize,
    /// Offset in it.
    pub at: u64,
}

impl Log {
    /// Finds the log that `path` stands for.
    ///
    /// # Errors
    /// There is none, there are several, its manifest cannot be used, or a file is missing.
    pub fn open(path: &Path) -> anyhow::Result<Log> {
        if !fs::metadata(path).with_context(|| path.display().to_string())?.is_dir() {
            return Log::of_file(path);
        }
        if let Some(log) = Log::in_folder(path)? {
            return Ok(log);
        }
        // A server's data folder has the log's folder in it.
        let mut found = Vec::new();
        for name in names_in(path)? {
            let inner = path.join(OsStr::from_bytes(&name));
            if inner.is_dir() {
                found.extend(Log::in_folder(&inner)?);
            }
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => bail!("{}: no append only file in this folder", path.display()),
            n => bail!(
                "{}: {n} logs in this folder; name one of their manifests: {}",
                path.display(),
                found.iter().map(|log| log.path.display().to_string()).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// Whether `path` is a log in parts: a manifest, or a folder.
    #[must_use]
    pub fn is_set(path: &Path) -> bool {
        path.is_dir() || is_manifest(path)
    }

    fn of_file(path: &Path) -> anyhow::Result<Log> {
        if is_manifest(path) {
            return Log::of_manifest(path);
        }
        let at = || path.display().to_string();
        let size = fs::metadata(path).with_context(at)?.len();
        let bytes = log_end(path, size, false).with_context(at)?;
        let part = Part {
            path: path.to_owned(),
            name: path.file_name().unwrap_or(path.as_os_str()).as_bytes().to_vec(),
            role: Role::Single,
            marks: Marks::default(),
            bytes,
            until: None,
        };
        Ok(Log { path: path.to_owned(), parts: vec![part], manifest: None })
    }

    fn in_folder(folder: &Path) -> anyhow::Result<Option<Log>> {
        let names = names_in(folder)?;
        let path_of = |name: &[u8]| folder.join(OsStr::from_bytes(name));
        let kept: Vec<&Vec<u8>> =
            names.iter().filter(|name| !name.starts_with(TEMP_PREFIX.as_bytes())).collect();
        let manifests: Vec<_> =
            kept.iter().filter(|name| name.ends_with(manifest::SUFFIX.as_bytes())).collect();
        match manifests[..] {
            [name] => return Log::of_manifest(&path_of(name)).map(Some),
            [] => {}
            _ => bail!("{}: {} manifests; name the one that is meant", folder.display(), manifests.len()),
        }
        if let Some(part) = kept.iter().find(|name| is_part(name)) {
            bail!(
                "{}: files of a log ({} for one) and no manifest; 'aof-tools repair' can make one",
                folder.display(),
                crate::output::Shown(part)
            );
        }
        let singles: Vec<_> = kept.iter().filter(|name| name.ends_with(b".aof")).collect();
        match singles[..] {
            [] => Ok(None),
            [name] => Log::of_file(&path_of(name)).map(Some),
            _ => bail!("{}: {} logs; name the one that is meant", folder.display(), singles.len()),
        }
    }

    fn of_manifest(path: &Path) -> anyhow::Result<Log> {
        let at = || path.display().to_string();
        let len = fs::metadata(path).with_context(at)?.len();
        if len > MAX_MANIFEST_BYTES {
            bail!("{}: {len} bytes are too many for a manifest", path.display());
        }
        let text = fs::read(path).with_context(at)?;
        let manifest = Manifest::parse(&text).map_err(|error| {
            anyhow::anyhow!("{}: {}", path.display(), crate::output::clean(&error.to_string()))
        })?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut parts = Vec::new();
        for (kind, entry) in manifest.live() {
            let file = folder.join(OsStr::from_bytes(&entry.name));
            let size = fs::metadata(&file)
                .with_context(|| format!("{}: names {}", path.display(), file.display()))?
                .len();
            let marks = entry.marks;
            let bytes =
                log_end(&file, size, marks.blocks.is_some()).with_context(|| file.display().to_string())?;
            let wrong = match (marks.size, marks.end) {
                // The reserve of a closed file counts: it is in its checksum.
                (Some(named), _) if named != size => Some((size, named)),
                (None, Some(named)) if named > bytes => Some((bytes, named)),
                _ => None,
            };
            if let Some((bytes, named)) = wrong {
                bail!("{}: {bytes} bytes, and the manifest says {named}", file.display());
            }
            let role = if kind == FileKind::Base { Role::Base } else { Role::Incr };
            parts.push(Part { path: file, name: entry.name.clone(), role, marks, bytes, until: None });
        }
        Ok(Log { path: path.to_owned(), parts, manifest: Some(manifest) })
    }

    /// What servers call this log in their configuration (`appendfilename`).
    #[must_use]
    pub fn stem(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        match (&self.manifest, name.strip_suffix(manifest::SUFFIX)) {
            (Some(_), Some(stem)) if !stem.is_empty() => stem.to_owned(),
            _ => DEFAULT_STEM.to_owned(),
        }
    }

    /// Bytes of all files that count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(Part::counted).sum()
    }

    /// Leaves out everything from `place` on.
    pub fn cut(&mut self, place: Place) {
        self.parts.truncate(place.part + 1);
        if let Some(part) = self.parts.get_mut(place.part) {
            part.until = Some(part.until.map_or(place.at, |until| until.min(place.at)));
        }
    }
}

/// Where the log in a file of so many bytes ends, if it is one that can be looked at from its end.
fn log_end(path: &Path, bytes: u64, has_blocks: bool) -> io::Result<u64> {
    if !path.is_file() {
        return Ok(bytes);
    }
    reserve::log_end(&fs::File::open(path)?, bytes, has_blocks)
}

/// Whether a file is a manifest, by its name or by its first line that is no comment.
fn is_manifest(path: &Path) -> bool {
    if path.as_os_str().as_bytes().ends_with(manifest::SUFFIX.as_bytes()) {
        return true;
    }
    // Opening a pipe would wait for it, and take what belongs to the reader.
    if !path.is_file() {
        return false;
    }
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    let mut lines = head.split(|b| *b == b'\n').filter(|line| !line.starts_with(b"#"));
    read.is_ok() && lines.next().is_some_and(|line| line.starts_with(b"file "))
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
