//! A disk in memory that crashes, forgets and fails: the storage behind the tests of persistence.
//!
//! What it promises is as little as POSIX does: bytes of a file survive a power cut once the file was
//! synced, names once their folder was; what was not synced survives in any part. What a failed sync
//! was to keep may be lost for ever, though later syncs succeed. Knows no formats and no engine.
//!
//! # How to write a workload
//!
//! ```ignore
//! let disk = Simulated::new();                          // has the durable, empty folder DIR
//! let config = EngineConfig { apart: Apart::Here, ..fresh::config(&Path::new(DIR).join("dump.rdb")) };
//! let mut engine = Engine::with_storage(config, NOW, disk.storage());
//! disk.begin();                                         // crashes are simulated from here on
//! write_something(&mut engine, 7);
//! engine.save(NOW, 0).unwrap();
//! disk.note("saved", 7);                                // only now is it a promise
//! let dose = Dose::of(2_000);                           // or CAIRN_IMAGES; random by CAIRN_SEED
//! crash_everywhere(&dose, &disk, |crash, image| {       // image: another Simulated, as after a reboot
//!     let mut engine = Engine::with_storage(config(), NOW, image.storage());
//!     engine.load(..).unwrap();
//!     let promised = crash.last("saved").unwrap_or(0);  // the notes before the crash
//!     assert!(what_is_there(&engine) >= promised);      // `crash` is printed if this panics
//! });
//! ```
//!
//! - `crash.kind` tells a `Kill` (the kernel lives on: everything that was written is there, and of the
//!   write that was interrupted a part) from a `PowerCut`. Promises may differ.
//! - A note counts for every crash after it. To allow for "the new one may be there already", note the
//!   intention before the call as well ("asked", 7).
//! - Crashes happen between any two operations; the images of one point are all combinations of what
//!   may survive, or as many of them as the dose allows, chosen by the seed.
//! - Calls that fail: `fail_everywhere` runs a workload once for each call, each way to fail, once and
//!   for good. The disk keeps its log meanwhile, so `crash_everywhere` can follow on the same disk.
//! - An image can be worked on and crashed again: `image.begin()`, go on, `crash_everywhere(.., &image)`.
//! - The clock of `Meta::modified` is `set_time`'s, and stands still by itself.

mod faults;
mod images;
mod model;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_engine::base::time::UnixMs;
use cairn_engine::persist::storage::{
    DirLock, InputFile, LogFile, LogState, Meta, OutputFile, PAGE_BYTES, ShortWrite, Storage, WriteOverError,
};

pub(crate) use faults::{Call, FAULTS, Fault, Plan};
pub(crate) use images::{Crash, Dose, Kind, crash_everywhere, fail_everywhere};
pub(crate) use model::Note;

use faults::{Faults, Verdict, error};
use model::{Model, Node, NodeId, Op};

/// The folder that a new disk has.
pub(crate) const DIR: &str = "/data";

/// A disk; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Simulated(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    model: Model,
    /// What it was when the log began.
    base: Model,
    log: Vec<Op>,
    faults: Faults,
    locked: BTreeSet<NodeId>,
}

impl State {
    /// Makes the call unless it is to fail.
    fn call(&mut self, call: Call, op: Op) -> io::Result<Option<NodeId>> {
        match self.faults.next(call) {
            Verdict::Fine => self.perform(op),
            Verdict::Fails(errno) => {
                // A sync that fails leaves something behind.
                match op {
                    Op::Sync { file, .. } => self.perform(Op::Sync { file, is_ok: false })?,
                    Op::SyncDir { dir, .. } => self.perform(Op::SyncDir { dir, is_ok: false })?,
                    _ => None,
                };
                Err(error(errno))
            }
            Verdict::Short => {
                if let Op::Write { file, at, bytes } = op {
                    let half = bytes[..bytes.len() / 2].into();
                    self.perform(Op::Write { file, at, bytes: half })?;
                }
                Err(error(faults::ENOSPC))
            }
            Verdict::Late(errno) => {
                self.perform(op)?;
                Err(error(errno))
            }
        }
    }

    fn perform(&mut self, op: Op) -> io::Result<Option<NodeId>> {
        let done = self.model.apply(&op)?;
        self.log.push(op);
        Ok(done)
    }

    /// A call that changes nothing.
    fn look(&mut self, call: Call) -> io::Result<()> {
        match self.faults.next(call) {
            Verdict::Fine => Ok(()),
            Verdict::Fails(errno) | Verdict::Late(errno) => Err(error(errno)),
            Verdict::Short => Err(error(faults::ENOSPC)),
        }
    }

    fn file(&self, id: NodeId) -> io::Result<&model::FileNode> {
        match &self.model.nodes[id] {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        self.model.find(path).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Simulated {
    /// A disk with an empty folder `DIR`, which is durable.
    pub(crate) fn new() -> Simulated {
        let mut model = Model::new();
        let made = model.apply(&Op::CreateDir(DIR.into()));
        let synced = model.apply(&Op::SyncDir { dir: "/".into(), is_ok: true });
        assert!(made.is_ok() && synced.is_ok(), "nothing fails yet");
        Simulated::of(model)
    }

    fn of(model: Model) -> Simulated {
        Simulated(Arc::new(Mutex::new(State {
            base: model.clone(),
            model,
            log: Vec::new(),
            faults: Faults::default(),
            locked: BTreeSet::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics in here")
    }

    /// The disk for an engine.
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Forgets the log: crashes are simulated from here on, and what is not durable by now may be lost
    /// in them. Nothing fails by plan any more.
    pub(crate) fn begin(&self) {
        let mut state = self.state();
        state.base = state.model.clone();
        state.log.clear();
        state.faults = Faults::default();
    }

    /// Calls fail by this plan from now on, and none without one.
    pub(crate) fn fail(&self, plan: Option<Plan>) {
        self.state().faults.plan(plan);
    }

    /// Calls that the last plan has seen, of the kind that it is about.
    pub(crate) fn calls(&self) -> usize {
        self.state().faults.calls()
    }

    /// Calls that failed by plan since `begin`.
    pub(crate) fn faults_hit(&self) -> usize {
        self.state().faults.hits()
    }

    /// Notes something for the checks after a crash.
    pub(crate) fn note(&self, what: &'static str, number: u64) {
        self.state().log.push(Op::Note(Note { what, number }));
    }

    /// Sets the clock that files get their times from.
    pub(crate) fn set_time(&self, now: UnixMs) {
        let set = self.state().perform(Op::Clock(now));
        assert!(set.is_ok(), "a clock can always be set");
    }

    /// Puts a file there, durable, in place of what had the name. Never fails by plan.
    pub(crate) fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = path.as_ref();
        let mut state = self.state();
        let file = state.perform(Op::Create(path.into())).expect("its folder is there").expect("a file");
        let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        for op in [
            Op::Write { file, at: 0, bytes: bytes.into() },
            Op::Sync { file, is_ok: true },
            Op::SyncDir { dir, is_ok: true },
        ] {
            state.perform(op).expect("it is there");
        }
    }

    /// What a process reads from a file; `None` if there is none.
    pub(crate) fn get(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state();
        state.find(path.as_ref()).and_then(|id| Ok(state.file(id)?.current.clone())).ok()
    }

    /// The names in a folder, sorted; none if it is not there.
    pub(crate) fn names(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let mut state = self.state();
        let Ok(id) = state.find(dir.as_ref()) else { return Vec::new() };
        let Ok(dir) = state.model.dir_mut(id) else { return Vec::new() };
        dir.current.keys().map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

#[derive(Debug)]
struct Output {
    disk: Simulated,
    file: NodeId,
    at: usize,
}

impl OutputFile for Output {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let op = Op::Write { file: self.file, at: self.at, bytes: bytes.into() };
        self.disk.state().call(Call::Write, op)?;
        self.at += bytes.len();
        Ok(())
    }

    fn replace_start(&mut self, bytes: &[u8]) -> io::Result<()> {
        let op = Op::Write { file: self.file, at: 0, bytes: bytes.into() };
        self.disk.state().call(Call::Write, op).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.state().call(Call::Sync, Op::Sync { file: self.file, is_ok: true }).map(drop)
    }
}

#[derive(Debug)]
struct Input {
    disk: Simulated,
    bytes: Vec<u8>,
    at: usize,
}

impl InputFile for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.disk.state().look(Call::Read)?;
        let rest = &self.bytes[self.at..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }

    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

#[derive(Debug)]
struct Log {
    disk: Simulated,
    file: NodeId,
}

impl LogFile for Log {
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), ShortWrite> {
        let at = usize::try_from(at).expect("small files");
        let mut state = self.disk.state();
        let end = state.file(self.file).map_or(0, |file| file.current.len());
        assert!(at <= end, "a log has no holes");
        match state.call(Call::Append, Op::Write { file: self.file, at, bytes: bytes.into() }) {
            Ok(_) => Ok(()),
            Err(error) => {
                // What a failing call has left it does not say; a short one leaves half.
                let is_short = error.raw_os_error() == Some(faults::ENOSPC);
                Err(ShortWrite { written: if is_short { bytes.len() / 2 } else { 0 }, error })
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state().call(Call::Sync, Op::Sync { file: self.file, is_ok: true }).map(drop)
    }

    fn write_over(&self, at: u64, bytes: &[u8]) -> Result<(), WriteOverError> {
        let changed = {
            let state = self.disk.state();
            let file = state.file(self.file).expect("a file");
            let is_whole = at.is_multiple_of(PAGE_BYTES) && (bytes.len() as u64).is_multiple_of(PAGE_BYTES);
            assert!(
                is_whole && at as usize + bytes.len() <= file.durable.len(),
                "only over pages that are there"
            );
            // Nothing else of the file becomes durable by it.
            assert!(file.changes.is_empty(), "what was there before it is durable");
            // A sector is the old one or the new one: what is the same in both stays. (Zeros, which other writes
            // may leave, are of blocks that a file did not have before.)
            differing(&file.current[at as usize..][..bytes.len()], bytes)
        };
        self.write_at(at + changed.start as u64, &bytes[changed])
            .map_err(|short| WriteOverError::Write(short.error))?;
        self.sync().map_err(WriteOverError::Sync)
    }

    fn look(&self) -> io::Result<LogState> {
        let state = self.disk.state();
        let bytes = state.file(self.file).map_or(0, |file| file.current.len() as u64);
        let names = |node: &Node| match node {
            Node::File(_) => false,
            Node::Dir(dir) => dir.current.values().any(|id| *id == self.file),
        };
        Ok(LogState { bytes, has_name: state.model.nodes.iter().any(names), id: None })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let op = Op::Cut { file: self.file, to: usize::try_from(bytes).expect("small files") };
        self.disk.state().call(Call::CutLog, op).map(drop)
    }
}

/// From the first byte that is not the same in both to the last.
fn differing(old: &[u8], new: &[u8]) -> Range<usize> {
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, rest) = (&old[same..], &new[same..]);
    let same_end = old.iter().rev().zip(rest.iter().rev()).take_while(|(old, new)| old == new).count();
    same..new.len() - same_end
}

#[derive(Debug)]
struct Lock {
    disk: Simulated,
    dir: NodeId,
}

impl DirLock for Lock {
    fn descriptor(&self) -> Option<i32> {
        None
    }

    fn covers(&self, dir: &Path) -> io::Result<bool> {
        Ok(self.disk.state().find(dir)? == self.dir)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.dir);
    }
}

impl Storage for Simulated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        let made = self.state().call(Call::Create, Op::Create(path.into()))?;
        Ok(Box::new(Output { disk: self.clone(), file: made.expect("a file"), at: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn InputFile>> {
        let mut state = self.state();
        state.look(Call::Open)?;
        let id = state.find(path)?;
        let bytes = state.file(id)?.current.clone();
        Ok(Box::new(Input { disk: self.clone(), bytes, at: 0 }))
    }

    fn open_log(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let opened = self.state().call(Call::OpenLog, Op::Open(path.into()))?;
        Ok(Arc::new(Log { disk: self.clone(), file: opened.expect("a file") }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().call(Call::Rename, Op::Rename { from: from.into(), to: to.into() }).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().call(Call::Remove, Op::Remove(path.into())).map(drop)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().call(Call::SyncDir, Op::SyncDir { dir: dir.into(), is_ok: true }).map(drop)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.look(Call::List)?;
        let id = state.find(dir)?;
        let names = &state.model.dir_mut(id)?.current;
        Ok(names.keys().map(|name| dir.join(name)).collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state().call(Call::CreateDir, Op::CreateDir(path.into())).map(drop)
    }

    fn meta(&self, path: &Path) -> io::Result<Option<Meta>> {
        let mut state = self.state();
        state.look(Call::Meta)?;
        let Ok(id) = state.find(path) else { return Ok(None) };
        Ok(Some(match &state.model.nodes[id] {
            Node::File(file) => Meta {
                bytes: file.current.len() as u64,
                modified: file.modified,
                created: None,
                is_dir: false,
            },
            Node::Dir(_) => Meta { bytes: 0, modified: UnixMs(0), created: None, is_dir: true },
        }))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        let file = state.find(path)?;
        let to = usize::try_from(bytes).expect("small files");
        state.call(Call::Cut, Op::Cut { file, to })?;
        state.call(Call::Sync, Op::Sync { file, is_ok: true }).map(drop)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().call(Call::Link, Op::Link { from: from.into(), to: to.into() }).map(drop)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut state = self.state();
        state.look(Call::LockDir)?;
        let id = state.find(dir)?;
        let is_ours = state.locked.insert(id);
        drop(state);
        Ok(is_ours.then(|| Box::new(Lock { disk: self.clone(), dir: id }) as Box<dyn DirLock>))
    }
}
