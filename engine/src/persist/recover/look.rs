//! What there is on the disk: the snapshot's file, the log's folder, a log of one file. Looks at names,
//! sizes, times, the manifest and the head of the snapshot's file, and changes nothing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::aof::manifest::{self, Entry, FileKind, Manifest, Marks, SUFFIX, TEMP_PREFIX};
use crate::codec::rdb::{Decoder, Depth, KeyHead, Sink, ValueEvent};
use crate::persist::snapshot::STAMP_AUX;
use crate::persist::storage::{InputFile, Meta, Storage, dir_of};

use super::refusal::{Refusal, look_at, words};
use super::{RecoverOptions, file};

/// A manifest is text of a few lines; more than this is something else.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// The fields that say when a snapshot was made stand within so many bytes of its start.
const HEAD_BYTES: usize = 4 << 10;

/// A file of a log that is to be read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) source: file::Source,
    pub(super) name: Vec<u8>,
    /// What is to be told to tools that look at the log.
    pub(super) manifest_path: PathBuf,
    pub(super) is_base: bool,
    /// Whether it is a log of one file.
    pub(super) is_single: bool,
    /// The time of the last data in it: of a base that is when it was begun.
    pub(super) time: UnixMs,
}

impl Part {
    /// Its name for messages.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// The snapshot's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dump {
    /// When it was made, in Unix seconds, as it says.
    pub(super) created_s: Option<i64>,
    pub(super) modified: UnixMs,
    /// When it was begun, as far as the disk knows: a save in the background changes it for long after.
    pub(super) begun: UnixMs,
    /// What it says of its place among the times in manifests.
    pub(super) stamp: Option<UnixMs>,
}

impl Dump {
    /// The time of the data in it, as far as it is known.
    pub(super) fn time(&self) -> UnixMs {
        match self.created_s {
            // It tells seconds; where the disk tells the same one, it knows more.
            Some(seconds) if self.begun.0.div_euclid(1000) == seconds => self.begun,
            Some(seconds) => UnixMs(seconds.saturating_mul(1000)),
            None => self.modified,
        }
    }
}

/// A file in the log's folder.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) name: Vec<u8>,
    pub(super) meta: Meta,
    /// Whether it has a name as the log's files have.
    pub(super) is_part: bool,
}

/// What there is.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) manifest_path: PathBuf,
    /// The manifest; `None` if there is none.
    pub(super) manifest: Option<Result<Manifest, Refusal>>,
    /// An unfinished manifest, if it can be read.
    pub(super) unfinished: Option<Manifest>,
    /// Whether the log's folder is there.
    pub(super) has_dir: bool,
    /// Files in the log's folder, whether the manifest names them or not.
    pub(super) files: Vec<Present>,
    /// The log of one file, in the data folder.
    pub(super) single: Option<Meta>,
    pub(super) single_path: PathBuf,
    pub(super) dump: Option<Dump>,
}

impl Look {
    /// Files with names as the log's files have.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Present> {
        self.files.iter().filter(|file| file.is_part)
    }

    /// The file of this name in the log's folder.
    pub(super) fn file(&self, name: &[u8]) -> Option<&Present> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The manifest of a log that is not loaded: all its files are history, and new names go on after it.
    pub(super) fn retired(&self) -> Manifest {
        let mut retired = match &self.manifest {
            Some(Ok(manifest)) => manifest.clone(),
            _ => Manifest::default(),
        };
        if let Some(base) = retired.base.take() {
            retired.history.insert(0, base);
        }
        retired.retire_incrs(0);
        for part in self.parts() {
            let Some((kind, seq)) = part_of(&part.name) else { continue };
            let newest = match kind {
                FileKind::Base => &mut retired.base_seq,
                _ => &mut retired.incr_seq,
            };
            *newest = seq.max(*newest);
        }
        retired
    }
}

/// Looks.
///
/// # Errors
/// The disk does not let it.
pub(super) fn look(storage: &dyn Storage, options: &RecoverOptions) -> Result<Look, Refusal> {
    let dir = &options.aof_dir;
    let manifest_path = dir.join(format!("{}{SUFFIX}", options.filename));
    let single_path = dir_of(dir).join(&options.filename);
    let meta = |path: &Path| storage.meta(path).map_err(|error| Refusal::io("Can't look at", path, &error));
    let mut look = Look {
        manifest: None,
        unfinished: None,
        has_dir: false,
        files: Vec::new(),
        single: meta(&single_path)?.filter(|meta| !meta.is_dir),
        dump: look_at_dump(storage, &options.rdb_path)?,
        manifest_path,
        single_path,
    };
    match meta(dir)? {
        None => return Ok(look),
        Some(meta) if !meta.is_dir => {
            let error = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(Refusal::io("Can't open append-only dir", dir, &error));
        }
        Some(_) => look.has_dir = true,
    }
    let names = storage.list(dir).map_err(|error| Refusal::io("Can't open append-only dir", dir, &error))?;
    for path in names {
        let Some(name) = path.file_name().map(|name| name.as_bytes().to_vec()) else { continue };
        let is_part = name
            .strip_prefix(options.filename.as_bytes())
            .is_some_and(|rest| rest.is_empty() || (rest.starts_with(b".") && part_of(&name).is_some()));
        if let Some(meta) = meta(&path)?.filter(|meta| !meta.is_dir) {
            look.files.push(Present { name, meta, is_part });
        }
    }
    look.files.sort_by(|a, b| a.name.cmp(&b.name));
    if meta(&look.manifest_path)?.is_some() {
        look.manifest = Some(read_manifest(storage, &look.manifest_path));
    }
    let temp = dir.join(format!("{TEMP_PREFIX}{}{SUFFIX}", options.filename));
    if look.manifest.is_none() && meta(&temp)?.is_some() {
        look.unfinished = read_manifest(storage, &temp).ok();
    }
    Ok(look)
}

/// The kind and the number that a name like `appendonly.aof.3.incr.aof` tells.
pub(super) fn part_of(name: &[u8]) -> Option<(FileKind, i64)> {
    let mut words = name.rsplit(|byte| *byte == b'.');
    let (format, role, seq) = (words.next()?, words.next()?, words.next()?);
    let kind = match (role, format) {
        (b"base", b"rdb" | b"aof") => FileKind::Base,
        (b"incr", b"aof") => FileKind::Incr,
        _ => return None,
    };
    num::parse_i64(seq).filter(|seq| *seq > 0).map(|seq| (kind, seq))
}

pub(super) fn read_manifest(storage: &dyn Storage, path: &Path) -> Result<Manifest, Refusal> {
    let advice = || look_at(path);
    let cannot = |error: &io::Error| {
        let why = words(error);
        let line =
            format!("Fatal error: can't open the AOF manifest file {} for reading: {why}", path.display());
        Refusal::new(line, String::new())
    };
    let mut input = storage.open(path).map_err(|error| cannot(&error))?;
    if input.bytes() > MAX_MANIFEST_BYTES {
        let text = format!("{}: {} bytes are too many for a manifest", path.display(), input.bytes());
        return Err(Refusal::new(text, advice()));
    }
    let text = read_up_to(input.as_mut(), MAX_MANIFEST_BYTES as usize).map_err(|error| cannot(&error))?;
    Manifest::parse(&text).map_err(|error| manifest_refusal(&error, path, advice()))
}

/// The words of Redis for a manifest that cannot be used, a line each.
fn manifest_refusal(error: &manifest::Error, path: &Path, advice: String) -> Refusal {
    let mut lines = vec!["*** FATAL AOF MANIFEST FILE ERROR ***".to_owned()];
    if let Some((number, line)) = &error.line {
        lines.push(format!("Reading the manifest file, at line {number}"));
        lines.push(format!(">>> '{}'", line.escape_ascii()));
    }
    lines.push(error.kind.to_string());
    lines.push(format!("in {}", path.display()));
    Refusal { lines, advice }
}

fn read_up_to(input: &mut dyn InputFile, most: usize) -> io::Result<Vec<u8>> {
    const PIECE: usize = 64 << 10;
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let have = bytes.len();
        bytes.resize(have + PIECE.min(most - have), 0);
        let read = input.read(&mut bytes[have..]);
        bytes.truncate(have + read.as_ref().map_or(0, |n| *n));
        if read? == 0 {
            break;
        }
    }
    Ok(bytes)
}

fn look_at_dump(storage: &dyn Storage, path: &Path) -> Result<Option<Dump>, Refusal> {
    let cannot = |error: &io::Error| Refusal::io("Fatal error: can't open the RDB file", path, error);
    let Some(meta) = storage.meta(path).map_err(|error| cannot(&error))? else { return Ok(None) };
    let mut dump = Dump { created_s: None, modified: meta.modified, begun: begun(&meta), stamp: None };
    if !meta.is_dir {
        let mut input = storage.open(path).map_err(|error| cannot(&error))?;
        let head = read_up_to(input.as_mut(), HEAD_BYTES).map_err(|error| cannot(&error))?;
        let mut sink = Created::default();
        // It is only asked for its time here: what is wrong with it shows when it is loaded.
        let _ = Decoder::new(crate::codec::rdb::Options::default()).advance(&head, false, &mut sink);
        (dump.created_s, dump.stamp) = (sink.ctime, sink.stamp);
    }
    Ok(Some(dump))
}

/// When a file was begun, as far as the disk knows.
pub(super) fn begun(meta: &Meta) -> UnixMs {
    // A copy with the times of its original was made later than that.
    meta.created.map_or(meta.modified, |created| created.min(meta.modified))
}

/// Hears when a snapshot was made, and no more.
#[derive(Default)]
struct Created {
    ctime: Option<i64>,
    stamp: Option<UnixMs>,
}

impl Sink for Created {
    type Error = ();

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), ()> {
        match key {
            b"ctime" => self.ctime = num::parse_i64(value),
            STAMP_AUX => self.stamp = num::parse_i64(value).map(UnixMs),
            _ => {}
        }
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, ()> {
        Err(())
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), ()> {
        Err(())
    }
}

/// An entry for a file that no manifest names.
pub(super) fn entry(name: &[u8], seq: i64) -> Entry {
    Entry { name: name.to_vec(), seq, extra: Vec::new(), marks: Marks::default() }
}

/// The path of a file in a folder.
pub(super) fn path_in(dir: &Path, name: &[u8]) -> PathBuf {
    dir.join(OsStr::from_bytes(name))
}
