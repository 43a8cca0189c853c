//! A data folder to start from, and what a start has come to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::base::crc64::crc64;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::aof::block::Pending;
use cairn_engine::codec::aof::manifest::Manifest;
use cairn_engine::codec::aof::record;
use cairn_engine::codec::rdb::Options;
use cairn_engine::engine::{Engine, EngineConfig};
use cairn_engine::packed::IntText;
use cairn_engine::persist::load::LoadProgress;
use cairn_engine::persist::recover::{Level, Listener, Note, Outside, RecoverOptions, Recovered, Refusal};
use cairn_engine::value::ValueRef;
use tempfile::TempDir;

use crate::fresh;

/// The time of all starts.
pub(super) const NOW: UnixMs = UnixMs(1_800_000_000_000);

/// A log of commands, written in short: words apart by blanks, commands by `|`.
pub(super) fn commands(text: &str) -> Vec<u8> {
    let mut log = Vec::new();
    for command in text.split('|') {
        let words: Vec<&[u8]> = command.split_whitespace().map(str::as_bytes).collect();
        record::push_command(&mut log, words.iter().copied());
    }
    log
}

/// The same in checked blocks, one for each text; `synced` is what each says.
pub(super) fn blocks(texts: &[&str], synced: impl Fn(u64) -> Option<u64>) -> Vec<u8> {
    let mut log = Vec::new();
    for text in texts {
        let mut pending = Pending::new();
        pending.body_mut().extend_from_slice(&commands(text));
        let at = log.len() as u64;
        log.extend_from_slice(pending.seal(at, synced(at)));
    }
    log
}

/// A folder that a server starts in.
pub(super) struct Home {
    pub(super) dir: TempDir,
    pub(super) options: RecoverOptions,
}

impl Home {
    pub(super) fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        Home { dir, options }
    }

    /// With a manifest that names these files, each of which has this content.
    pub(super) fn with_log(files: &[(&str, &[u8])]) -> Home {
        let home = Home::new();
        let mut manifest = String::new();
        for (name, content) in files {
            let kind = if name.contains(".base.") { 'b' } else { 'i' };
            let seq = name.split('.').find_map(|word| word.parse::<i64>().ok()).unwrap_or(1);
            manifest.push_str(&format!("file {name} seq {seq} type {kind}\n"));
            home.write(&format!("appendonlydir/{name}"), content);
        }
        home.write("appendonlydir/appendonly.aof.manifest", manifest.as_bytes());
        home
    }

    /// Changes the manifest, and makes it one with marks and sums.
    pub(super) fn mark(&self, change: impl FnOnce(&mut Manifest)) {
        const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
        let mut manifest = Manifest::parse(&self.read(MANIFEST)).unwrap();
        change(&mut manifest);
        self.write(MANIFEST, &manifest.format_checked());
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Every file with its content.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let name = path.strip_prefix(self.dir.path()).unwrap();
                        files.insert(name.to_string_lossy().into_owned(), fs::read(&path).unwrap());
                    }
                }
            }
        }
        files
    }

    pub(super) fn start(&self) -> Result<Started, Refusal> {
        self.start_with(fresh::config(&self.options.rdb_path))
    }

    pub(super) fn start_with(&self, config: EngineConfig) -> Result<Started, Refusal> {
        let mut engine = Engine::new(config, NOW);
        let mut heard = Heard::default();
        let recovered = engine.recover(NOW, &self.options, &mut fresh::scripts(), &mut heard)?;
        assert_eq!(engine.snapshot_stats().dirty, 0, "a start changes nothing");
        assert!(engine.effects().is_empty(), "nobody is told what a log says");
        Ok(Started { engine, recovered, notes: heard.notes, progress: heard.progress })
    }

    /// Starts, and gives the keys of the first database, in short.
    #[track_caller]
    pub(super) fn loads(&self, expected: &str) -> Started {
        let started = self.start().unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        assert_eq!(started.keys(0), expected);
        started
    }

    /// Starts twice: both times it is refused with the same words, and no file is changed. All of `parts`
    /// are in them.
    #[track_caller]
    pub(super) fn refuses(&self, parts: &[&str]) -> String {
        let before = self.files();
        let first = self.start().err().unwrap_or_else(|| panic!("must be refused: {parts:?}"));
        assert_eq!(self.files(), before, "a refusal changes no file");
        let second = self.start().err().expect("refused the first time, and not the second time");
        assert_eq!(first, second);
        let text = first.to_string();
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text:?}");
        }
        text
    }
}

pub(super) fn options(dir: &Path) -> RecoverOptions {
    RecoverOptions {
        enabled: true,
        rdb_path: dir.join("dump.rdb"),
        aof_dir: dir.join("appendonlydir"),
        filename: "appendonly.aof".to_owned(),
        load_truncated: true,
        corrupt_tail_max_bytes: 0,
        checksum: true,
        strict: false,
        rdb: Options::default(),
    }
}

/// What a start has come to.
pub(super) struct Started {
    pub(super) engine: Engine,
    pub(super) recovered: Recovered,
    pub(super) notes: Vec<Note>,
    pub(super) progress: Vec<LoadProgress>,
}

impl Started {
    /// The strings of a database as `key=value`, and other keys by their names, in order.
    pub(super) fn keys(&self, db: usize) -> String {
        let mut keys: Vec<String> = self
            .engine
            .keyspace()
            .db(db)
            .iter()
            .map(|entry| {
                let key = String::from_utf8_lossy(entry.key()).into_owned();
                match entry.view() {
                    ValueRef::String(value) => {
                        format!("{key}={}", String::from_utf8_lossy(value.bytes(&mut IntText::default())))
                    }
                    _ => key,
                }
            })
            .collect();
        keys.sort();
        keys.join(" ")
    }

    /// Whether a note has this in it.
    #[track_caller]
    pub(super) fn says(&self, part: &str) {
        assert!(self.notes.iter().any(|note| note.text.contains(part)), "no {part:?} in {:#?}", self.notes);
    }

    /// Whether no note is a warning.
    #[track_caller]
    pub(super) fn is_calm(&self) {
        let worry = self.notes.iter().find(|note| note.level == Level::Warning);
        assert!(worry.is_none(), "{worry:?}");
    }
}

#[derive(Default)]
struct Heard {
    notes: Vec<Note>,
    progress: Vec<LoadProgress>,
}

impl Listener for Heard {
    fn progress(&mut self, progress: LoadProgress) {
        self.progress.push(progress);
    }

    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    fn outside(&mut self, argv: &[&[u8]]) -> Outside {
        match argv[0] {
            b"publish" => Outside::Skip,
            b"cluster" => Outside::Refuse("wrong number of arguments for 'cluster' command".to_owned()),
            _ => Outside::Unknown,
        }
    }
}

/// Size and CRC-64 of a closed file, as marks have them.
pub(super) fn closed(content: &[u8]) -> (Option<u64>, Option<u64>) {
    (Some(content.len() as u64), Some(crc64(content)))
}
