//! Bases of append only files: everything up to a moment, as an RDB file or as commands.
//!
//! Written under a temporary name and synced; who starts it gives it its name. Commands go in checked
//! blocks, as in increments, and the sum of the whole file is answered for the manifest.

use std::path::{Path, PathBuf};

use crate::base::crc64::Crc64;
use crate::codec::aof::block;
use crate::codec::aof::manifest::BaseFormat;
use crate::codec::rdb::Target;

use super::apart::Apart;
use super::commands::{unsayable, write_commands};
use super::snapshot::{self, Background, Contents, Producer, SaveError, Saved, Settings, failed};
use super::storage::{OutputFile, Storage};

/// How a base is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseSettings {
    /// As what.
    pub format: BaseFormat,
    /// Commands go in checked blocks.
    pub is_checked: bool,
    /// Commands begin with a line that says the time.
    pub has_timestamp: bool,
    /// How RDB files are written; the pace is that of commands as well.
    pub rdb: Settings,
}

impl BaseSettings {
    /// The format in which all of it can be said.
    #[must_use]
    pub fn format_for(self, contents: Contents<'_>) -> BaseFormat {
        if unsayable(contents.carried).is_some() { BaseFormat::Rdb } else { self.format }
    }
}

/// Writes a base and makes it durable. What cannot be said in commands makes an RDB file of it.
///
/// # Errors
/// `SaveError`; the file is removed.
pub fn write(
    storage: &dyn Storage,
    path: &Path,
    settings: BaseSettings,
    producer: &Producer,
    contents: Contents<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Saved, SaveError> {
    let saved = match settings.format_for(contents) {
        BaseFormat::Rdb => {
            let producer = Producer { is_aof_base: true, ..producer.clone() };
            snapshot::write_temp(storage, path, settings.rdb, &producer, contents, progress)
        }
        BaseFormat::Aof => write_aof(storage, path, settings, producer, contents, progress),
    };
    if saved.is_err() {
        // Best effort: the start-up sweep takes what is left.
        let _ = storage.remove(path);
    }
    saved
}

/// Starts to write a base, where `apart` says, to the path that `temp` gives the writing process.
///
/// # Errors
/// `Fork`.
#[allow(clippy::too_many_arguments, reason = "each is a different thing, used once")]
pub fn start(
    apart: Apart,
    kept: Option<i32>,
    storage: &dyn Storage,
    temp: &dyn Fn(u32) -> PathBuf,
    settings: BaseSettings,
    producer: &Producer,
    contents: Contents<'_>,
) -> Result<Background, SaveError> {
    snapshot::begin(apart, kept, contents, |told, parent| {
        let path = temp(std::process::id());
        let saved = write(storage, &path, settings, producer, contents, told);
        match parent {
            Some(parent) if !parent.is_alive() => Err(SaveError::Orphaned),
            _ => saved,
        }
    })
}

/// A file of commands, as far as it is written.
struct Blocks {
    file: Box<dyn OutputFile>,
    is_checked: bool,
    bytes: u64,
    sum: Crc64,
    line: Vec<u8>,
}

impl Blocks {
    fn write(&mut self, pieces: &[&[u8]]) -> std::io::Result<()> {
        if self.is_checked {
            let mut line = std::mem::take(&mut self.line);
            line.clear();
            // Nobody reads a base before it is durable, so what was durable at which time says nothing.
            block::push_line_of(&mut line, self.bytes, None, pieces);
            self.put(&line)?;
            self.line = line;
        }
        pieces.iter().try_for_each(|piece| self.put(piece))
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn write_aof(
    storage: &dyn Storage,
    path: &Path,
    settings: BaseSettings,
    producer: &Producer,
    contents: Contents<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Saved, SaveError> {
    let mut file = storage.create(path).map_err(failed("create", path))?;
    if !settings.rdb.incremental_sync {
        file.write_at_once();
    }
    let is_checked = settings.is_checked;
    let mut blocks = Blocks { file, is_checked, bytes: 0, sum: Crc64::new(), line: Vec::new() };
    if settings.has_timestamp {
        let line = format!("#TS:{}\r\n", producer.created_at.secs());
        blocks.write(&[line.as_bytes()]).map_err(failed("write", path))?;
    }
    let delay = settings.rdb.key_delay_us;
    let keys = write_commands(contents, delay, progress, &mut |pieces| blocks.write(pieces))
        .map_err(failed("write", path))?;
    blocks.file.sync().map_err(failed("sync", path))?;
    let (bytes, sum) = (blocks.bytes, Some(blocks.sum.value()));
    Ok(Saved { bytes, keys, target: Target::default(), cow_bytes: 0, sum })
}
