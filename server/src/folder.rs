//! The folder of the data: this server has it for itself.
//!
//! Two servers in one folder write over each other's files. The lock is the kernel's (flock on the
//! folder) and goes with the process and its saving child; no file is made for it. A file system
//! without locks is used without one, and that is said.
//!
//! The process stays in a folder that is renamed, or over which another one is mounted, and would go on
//! there; the next start would look for the data where `dir` says. So it is watched where that leads. An empty
//! folder or volume there is moved to, with all data. As long as nothing is there, or something that is not ours
//! to write over, writes are refused. Valkey 9.1 goes on in the folder that nobody will look into.
//!
//! So is the log, whose files may be moved or removed with their folder or without it, or replaced by copies: they
//! are written anew. Another log that has come in their place is not written over: writes are refused as long as it
//! is there.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_engine::engine::{Claim, Engine};
use cairn_engine::persist::aof::AofState;
use cairn_engine::persist::storage::{DirLock, Disk, Storage};

use crate::config::{Config, SetError};
use crate::log::Log;
use crate::server::Server;
use crate::settings::errno_text;

/// A server that was killed may still be dying, and its child after it: so long it is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(20);

/// So often it is looked where `dir` leads.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where `dir` leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To the folder that the process is in, as far as can be said.
    Here,
    /// To nothing.
    Gone,
    /// To another folder.
    Elsewhere,
}

impl Place {
    fn of(dir: &Path) -> Place {
        let there = match fs::metadata(dir) {
            Ok(there) => there,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Place::Gone,
            Err(_) => return Place::Here,
        };
        // A folder that cannot be asked is not the one that could.
        let here = fs::metadata(".").map(|here| (here.dev(), here.ino()));
        if here.is_ok_and(|here| here == (there.dev(), there.ino())) { Place::Here } else { Place::Elsewhere }
    }
}

/// What has become of the log's files.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LogFiles {
    /// They are where they were, as far as can be said.
    Here,
    /// This one is gone; a copy may have its name.
    Gone(PathBuf),
    /// Those of another log are there.
    Replaced,
}

/// Looks where `dir` leads, on a thread of its own: a file system whose server is gone lets nobody wait for
/// the answer but that.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    shared: Option<Arc<Shared>>,
    /// The error that writes are answered with.
    error: Option<String>,
    /// The data are being written to a folder that was empty.
    is_moving: bool,
}

#[derive(Debug)]
struct Shared {
    dir: Mutex<PathBuf>,
    /// The log's files.
    files: Mutex<Vec<PathBuf>>,
    /// It does not lead here, or a file of the log is not what it was.
    is_astray: AtomicBool,
}

/// What tells one file from another.
type FileId = (u64, u64);

fn id_of(path: &Path) -> Option<FileId> {
    fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok()
}

impl Shared {
    fn new(dir: PathBuf) -> Shared {
        Shared { dir: Mutex::new(dir), files: Mutex::default(), is_astray: AtomicBool::new(false) }
    }

    /// Looks once. `known` is what was there before. Manifests are replaced at each rewrite, which is told once. Of
    /// the other files none comes in the place of another: that is told each time, as is one that is gone.
    fn look(&self, known: &mut Vec<(PathBuf, Option<FileId>)>) {
        let dir = self.dir.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = std::mem::take(known);
        let mut is_other = false;
        for (i, path) in files.into_iter().enumerate() {
            let id = id_of(&path);
            let last = before.iter().find(|(old, _)| *old == path).map_or(id, |(_, last)| *last);
            is_other |= id.is_none() || id != last;
            let is_manifest = i == 0;
            known.push((path, if is_manifest { id } else { last.or(id) }));
        }
        if is_other || Place::of(&dir) != Place::Here {
            self.is_astray.store(true, Ordering::Relaxed);
        }
    }
}

impl Watch {
    /// Begins to look.
    pub(crate) fn begin(&mut self, config: &Config) {
        if !config.dir_lock {
            return;
        }
        let shared = Arc::new(Shared::new(dir_of(config)));
        let own = Arc::clone(&shared);
        let look = move || {
            let mut known = Vec::new();
            loop {
                sleep(LOOK_EVERY);
                own.look(&mut known);
            }
        };
        // Without a thread it is not watched, as in other servers.
        let thread = std::thread::Builder::new().name("cairn-folder".into()).spawn(look);
        self.shared = thread.ok().map(|_| shared);
    }

    /// `dir` has another name now.
    fn look_at(&self, config: &Config) {
        if let Some(shared) = &self.shared {
            *shared.dir.lock().unwrap_or_else(PoisonError::into_inner) = dir_of(config);
        }
    }

    /// These are the log's files now.
    fn look_at_files(&self, files: Vec<PathBuf>) {
        if let Some(shared) = &self.shared {
            let mut known = shared.files.lock().unwrap_or_else(PoisonError::into_inner);
            if *known != files {
                *known = files;
            }
        }
    }

    /// True if there is something to do. The thread will say so again if it is still so.
    fn is_called(&self) -> bool {
        let is_astray = self.shared.as_ref().is_some_and(|all| all.is_astray.swap(false, Ordering::Relaxed));
        is_astray || self.error.is_some()
    }

    /// The error that writes are answered with, if the data are to be kept.
    #[inline]
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

fn dir_of(config: &Config) -> PathBuf {
    Path::new(OsStr::from_bytes(&config.dir)).to_owned()
}

/// Whether what a name leads to is not this file.
fn is_another(there: Option<&fs::Metadata>, file: Option<FileId>) -> bool {
    there.zip(file).is_some_and(|(there, file)| (there.dev(), there.ino()) != file)
}

/// Whether a file that is made here is there. Some file systems name one folder by two numbers.
fn is_seen_there(dir: &Path) -> bool {
    let name = format!("temp-{}.place", std::process::id());
    // If none can be made, the numbers are believed.
    let is_seen = fs::File::create(&name).is_ok() && fs::symlink_metadata(dir.join(&name)).is_ok();
    let _ = fs::remove_file(&name);
    is_seen
}

/// Whether a folder is what was put in the place of the former one, and not what a volume has left uncovered
/// that is no longer mounted: it is of the same file system, or a mount itself.
fn is_put_there(dir: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let there = device(dir);
    let is_mount = dir.parent().and_then(device).is_some_and(|above| Some(above) != there);
    is_mount || device(Path::new(".")).is_some_and(|here| Some(here) == there)
}

/// Whether a folder has files that a start would take for the data.
fn has_data(config: &Config, dir: &Path) -> bool {
    let at = |name: &[u8]| dir.join(OsStr::from_bytes(name));
    let is_there = |name: &[u8]| fs::symlink_metadata(at(name)).is_ok();
    let has_log =
        || fs::read_dir(at(&config.appenddirname)).is_ok_and(|mut entries| entries.next().is_some());
    is_there(&config.dbfilename) || is_there(&config.appendfilename) || has_log()
}

/// Takes the folder that the process is in. `Ok(None)` if it is to be used without a lock.
///
/// # Errors
/// Another server has it; that has been said.
pub(crate) fn take(config: &Config, log: &Log) -> Result<Option<Box<dyn DirLock>>, ()> {
    if !config.dir_lock {
        return Ok(None);
    }
    let begun = Instant::now();
    loop {
        match Disk.lock_dir(Path::new(".")) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) if begun.elapsed() < PATIENCE => sleep(ASK_EVERY),
            Ok(None) => {
                let dir = String::from_utf8_lossy(&config.dir);
                log.warning(format_args!(
                    "Another server uses the folder {dir}: refusing to start. Give each server its own with 'dir'."
                ));
                return Err(());
            }
            Err(e) => {
                tell_unlocked(log, &config.dir, &e);
                return Ok(None);
            }
        }
    }
}

fn tell_unlocked(log: &Log, dir: &[u8], error: &io::Error) {
    log.warning(format_args!(
        "WARNING: The folder {} cannot be locked ({}): nothing keeps another server out of it.",
        String::from_utf8_lossy(dir),
        errno_text(error)
    ));
}

impl Server {
    /// Goes to the folder that `dir` now names, if no other server has it.
    pub(crate) fn enter_dir(&mut self) -> Result<(), SetError> {
        let refused = |why: String| SetError::Refused("dir".into(), why);
        let dir = Path::new(OsStr::from_bytes(&self.config.dir)).to_owned();
        // Locked first and entered then, so that files are never made where another server is.
        let claim = match &self.engine {
            Some(engine) if self.config.dir_lock => engine.claim_dir(&dir),
            _ => Ok(Claim::Ours),
        };
        if let Ok(Claim::Theirs) = claim {
            return Err(refused("Another server uses this folder".into()));
        }
        let failed = |e: io::Error| refused(errno_text(&e));
        std::env::set_current_dir(&dir).map_err(failed)?;
        let dir = std::env::current_dir().map_err(failed)?;
        self.config.dir = dir.into_os_string().into_encoded_bytes();
        self.folder.look_at(&self.config);
        let Some(engine) = &mut self.engine else { return Ok(()) };
        match claim {
            Ok(Claim::New(lock)) => engine.hold_dir(Some(lock)),
            Ok(Claim::Ours | Claim::Theirs) => {}
            Err(e) => {
                engine.hold_dir(None);
                tell_unlocked(&self.log, &self.config.dir, &e);
            }
        }
        Ok(())
    }

    /// Follows what has become of the folder that `dir` names.
    pub(crate) fn tend_folder(&mut self) {
        let Some(engine) = &self.engine else { return };
        self.folder.look_at_files(engine.aof_files());
        if !self.folder.is_called() {
            return;
        }
        let dir = dir_of(&self.config);
        let name = dir.display();
        match Place::of(&dir) {
            Place::Here if self.folder.is_moving => self.go_on_moving(),
            Place::Here => self.follow_log_files(),
            Place::Gone => self.refuse_for_folder(Some(format!(
                "The data folder {name} is gone: what is written now would not be found by the next start. Put it \
                 back, or an empty one in its place."
            ))),
            Place::Elsewhere if self.folder.error.is_none() && is_seen_there(&dir) => {
                self.log.notice(format_args!("It cannot be told whether {name} is the folder of the data."));
                self.folder.shared = None;
            }
            Place::Elsewhere if has_data(&self.config, &dir) => self.refuse_for_folder(Some(format!(
                "Another folder is at {name} now, and there are data in it: what is written now would not be found by \
                 the next start. Put the former one back, or an empty one in its place."
            ))),
            Place::Elsewhere if !is_put_there(&dir) => self.refuse_for_folder(Some(format!(
                "The volume of the data folder {name} is not mounted any more: what is written now would not be \
                 found by the next start. Mount it, or an empty one in its place."
            ))),
            Place::Elsewhere => self.move_to_empty_folder(),
        }
    }

    /// What has become of the log's files.
    fn log_files(&self) -> LogFiles {
        let Some(engine) = &self.engine else { return LogFiles::Here };
        let files = engine.aof_files();
        let is_gone =
            |path: &PathBuf| fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let gone = files.iter().find(|path| is_gone(path)).cloned();
        let (last, open) = (files.last().cloned(), engine.open_aof_file());
        let there = last.as_ref().and_then(|path| fs::metadata(path).ok());
        match (last, open) {
            _ if files.is_empty() => LogFiles::Here,
            // Ours is nowhere, so nobody can put it back.
            (Some(last), Some(open)) if !open.has_name => match engine.has_other_aof() {
                true => LogFiles::Replaced,
                false => LogFiles::Gone(last),
            },
            // One file is not as long as it is under its name.
            (_, Some(open)) if there.as_ref().is_some_and(|meta| meta.len() != open.bytes) => {
                LogFiles::Replaced
            }
            // It is a copy, and ours has another name: a link that a backup has made, for one.
            (Some(last), Some(open)) if is_another(there.as_ref(), open.id) => LogFiles::Gone(last),
            _ => match gone {
                Some(_) if engine.has_other_aof() => LogFiles::Replaced,
                Some(path) => LogFiles::Gone(path),
                None => LogFiles::Here,
            },
        }
    }

    /// Follows what has become of the log's files.
    fn follow_log_files(&mut self) {
        match self.log_files() {
            LogFiles::Here => self.refuse_for_folder(None),
            LogFiles::Gone(path) => {
                self.refuse_for_folder(None);
                let name = path.display();
                if let Some(engine) = &mut self.engine {
                    match path.exists() {
                        true => engine.leave_aof(&format!("{name} is another file now"), self.now_instant),
                        false => engine.distrust_aof(&format!("{name} is gone"), self.now_instant),
                    }
                }
                self.tend_log();
            }
            LogFiles::Replaced => {
                let dir = dir_of(&self.config).join(OsStr::from_bytes(&self.config.appenddirname));
                self.refuse_for_folder(Some(format!(
                    "Another AOF is in {} now: what is written now would not be found by the next start. Put the \
                     former one back, or take the other away.",
                    dir.display()
                )));
            }
        }
    }

    /// Refuses writes for a reason, or no longer.
    fn refuse_for_folder(&mut self, why: Option<String>) {
        let error = why.as_ref().map(|why| format!("MISCONF {why}"));
        if self.folder.error == error {
            return;
        }
        match why {
            Some(why) => self.log.warning(format_args!("{why}")),
            None => self.log.notice(format_args!("The data folder is where it belongs, writes may go on.")),
        }
        self.folder.error = error;
    }

    /// Goes to the empty folder that `dir` leads to now, and has all data written there.
    fn move_to_empty_folder(&mut self) {
        let name = String::from_utf8_lossy(&self.config.dir).into_owned();
        self.refuse_for_folder(Some(format!(
            "Another, empty folder is at {name} now: the data are being written there."
        )));
        if let Err(why) = self.enter_dir() {
            let why = match why {
                SetError::Refused(_, why) => why,
                _ => "it cannot be entered".to_owned(),
            };
            self.refuse_for_folder(Some(format!("Another folder is at {name} now: {why}.")));
            return;
        }
        self.end_backup_without_seal("the data folder was replaced");
        self.configure_engine();
        self.folder.is_moving = true;
        if self.config.appendonly {
            self.turn_aof_off();
        } else if !self.config.save.is_empty() {
            self.cancel_save();
            self.announce_save();
            // A failure is logged there, and writes are refused for it.
            let _ = self.start_save();
        }
        self.go_on_moving();
    }

    /// Has no start take the folder for an empty one while the first snapshot is being written there. Of a log the
    /// manifest says so.
    fn announce_save(&mut self) {
        const WHY: &str =
            "The data were about to be saved here: they are in the folder that was here before.";
        let announced = self.engine.as_ref().map(|engine| engine.announce_save(WHY));
        if let Some(Err(error)) = announced {
            self.log.warning(format_args!("{error}"));
        }
    }

    /// Has the log begin anew where the data are to go, and writes go on when it has.
    fn go_on_moving(&mut self) {
        let state = self.engine.as_ref().map(Engine::aof_state);
        match state {
            Some(AofState::Off) if self.config.appendonly => {
                // A failure is logged there. The next step tries again.
                let _ = self.turn_aof_on();
            }
            Some(AofState::Starting) => {}
            _ => {
                self.folder.is_moving = false;
                self.refuse_for_folder(None);
            }
        }
    }
}
