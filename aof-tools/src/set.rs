//! Where a log is on disk: by its manifest, in one file, or in parts that no manifest names.
//!
//! Looks at names and manifests only, and changes nothing. Witness for names: valkey src/aof.c.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::aof::manifest::{self, Entry, FileKind, Manifest, Marks, TEMP_PREFIX};

/// A manifest is text of a few lines; more than this is something else.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// A log on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Log {
    /// In parts, by its manifest.
    Manifest(PathBuf),
    /// In one file.
    Single(PathBuf),
    /// Parts without a manifest: their folder and names.
    Headless(PathBuf, Vec<Vec<u8>>),
}

/// What a file of a log is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The data when the log began.
    Base,
    /// Commands since then.
    Incr,
    /// Both in one file.
    Single,
}

impl Role {
    /// One word, for scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Incr => "incr",
            Self::Single => "single",
        }
    }
}

/// A file that holds data of a log.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its name in its folder.
    pub(crate) name: Vec<u8>,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is for.
    pub(crate) role: Role,
    /// Its number; 0 of a log in one file.
    pub(crate) seq: i64,
    /// Whether it is the one that is written to.
    pub(crate) is_last: bool,
    /// What the manifest says of it.
    pub(crate) marks: Marks,
}

/// The name of a part, taken apart: `STEM.SEQ.base.rdb`, `.base.aof`, `.incr.aof`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartName<'a> {
    /// What all names of the log start with.
    pub(crate) stem: &'a [u8],
    /// Its number.
    pub(crate) seq: i64,
    /// Base or increment.
    pub(crate) role: Role,
}

impl<'a> PartName<'a> {
    /// Takes a name apart; `None` if no server gives such a name to a part.
    pub(crate) fn parse(name: &'a [u8]) -> Option<Self> {
        let mut words = name.rsplitn(4, |b| *b == b'.');
        let (format, role, seq, stem) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let role = match (role, format) {
            (b"base", b"rdb" | b"aof") => Role::Base,
            (b"incr", b"aof") => Role::Incr,
            _ => return None,
        };
        let is_number = !seq.is_empty() && seq.iter().all(u8::is_ascii_digit);
        let seq = is_number.then(|| std::str::from_utf8(seq).ok()?.parse().ok())??;
        (!name.starts_with(TEMP_PREFIX.as_bytes())).then_some(Self { stem, seq, role })
    }
}

/// Whether a name is one that a server gives to a part.
pub(crate) fn is_part(name: &[u8]) -> bool {
    PartName::parse(name).is_some()
}

/// The logs that a path stands for.
///
/// # Errors
/// There is nothing at the path, or nothing of the kind.
pub(crate) fn find(path: &Path) -> anyhow::Result<Vec<Log>> {
    if path.as_os_str() == "-" {
        return Ok(vec![Log::Single(path.to_owned())]);
    }
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

/// The names in a folder, sorted.
///
/// # Errors
/// The folder, with what the system says.
pub(crate) fn names_in(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
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

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The name of a file in its folder.
pub(crate) fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or(path.as_os_str()).as_bytes()
}

/// Reads a manifest's text.
///
/// # Errors
/// The path, with what the system says, or that it is far too long.
pub(crate) fn read_manifest(path: &Path) -> anyhow::Result<Vec<u8>> {
    let len = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    if len > MAX_MANIFEST_BYTES {
        bail!("{}: {len} bytes are too many for a manifest", path.display());
    }
    fs::read(path).with_context(|| path.display().to_string())
}

/// The files that a manifest in `folder` says hold data, in order, whether they are there or not.
pub(crate) fn members(folder: &Path, manifest: &Manifest) -> Vec<Member> {
    let member = |(kind, entry): (FileKind, &Entry)| Member {
        name: entry.name.clone(),
        path: folder.join(OsStr::from_bytes(&entry.name)),
        role: if kind == FileKind::Base { Role::Base } else { Role::Incr },
        seq: entry.seq,
        is_last: false,
        marks: entry.marks,
    };
    let mut members: Vec<_> = manifest.live().map(member).collect();
    mark_last(&mut members);
    members
}

/// Parts by their names: bases first, each kind by its numbers.
pub(crate) fn headless_members(folder: &Path, parts: &[Vec<u8>]) -> Vec<Member> {
    let member = |name: &Vec<u8>| {
        let part = PartName::parse(name)?;
        Some(Member {
            name: name.clone(),
            path: folder.join(OsStr::from_bytes(name)),
            role: part.role,
            seq: part.seq,
            is_last: false,
            marks: Marks::default(),
        })
    };
    let mut members: Vec<_> = parts.iter().filter_map(member).collect();
    members.sort_by(|a, b| (a.role, a.seq, &a.name).cmp(&(b.role, b.seq, &b.name)));
    mark_last(&mut members);
    members
}

/// A log in one file.
pub(crate) fn single_member(path: &Path) -> Member {
    Member {
        name: name_of(path).to_vec(),
        path: path.to_owned(),
        role: Role::Single,
        seq: 0,
        is_last: true,
        marks: Marks::default(),
    }
}

fn mark_last(members: &mut [Member]) {
    if let Some(last) = members.last_mut() {
        last.is_last = true;
    }
}

impl Log {
    /// The path that it is called by.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Manifest(path) | Self::Single(path) | Self::Headless(path, _) => path,
        }
    }

    /// Its files, in the order in which they are read.
    ///
    /// # Errors
    /// The manifest cannot be read, or is none.
    pub(crate) fn members(&self) -> anyhow::Result<Vec<Member>> {
        Ok(match self {
            Self::Single(path) => vec![single_member(path)],
            Self::Headless(folder, parts) => headless_members(folder, parts),
            Self::Manifest(path) => {
                let text = read_manifest(path)?;
                let manifest = Manifest::parse(&text).with_context(|| {
                    format!("{}: try 'aof-tools repair', which can make it anew", path.display())
                })?;
                members(folder_of(path), &manifest)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{PartName, Role, is_part};

    #[test]
    fn parts_are_known_by_their_names() {
        for name in ["appendonly.aof.1.base.rdb", "a.22.base.aof", "my log.3.incr.aof"] {
            assert!(is_part(name.as_bytes()), "{name}");
        }
        for name in [
            "appendonly.aof",
            "a.incr.aof",
            "a.x.incr.aof",
            "a.1.incr.rdb",
            "a.manifest",
            "temp-a.1.incr.aof",
            "a.99999999999999999999.incr.aof",
        ] {
            assert!(!is_part(name.as_bytes()), "{name}");
        }
        let part = PartName::parse(b"a.b.22.base.aof").expect("a part");
        assert_eq!(part, PartName { stem: b"a.b", seq: 22, role: Role::Base });
    }
}
