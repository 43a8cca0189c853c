//! The folder of the data: this server has it for itself.
//!
//! Two servers in one folder write over each other's files. The lock is the kernel's (flock on the
//! folder) and goes with the process and its saving child; no file is made for it. A file system
//! without locks is used without one, and that is said.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_engine::engine::Claim;
use cairn_engine::persist::storage::{DirLock, Disk, Storage};

use crate::config::{Config, SetError};
use crate::log::Log;
use crate::server::Server;
use crate::settings::errno_text;

/// A server that was killed may still be dying, and its child after it: so long it is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(20);

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
}
