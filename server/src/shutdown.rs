//! Ending the process: by SHUTDOWN, by SIGTERM, by SIGINT.
//!
//! A save that fails keeps the server running unless it was told to go anyhow. Behaviour: valkey
//! src/server.c `prepareForShutdown`, `finishShutdown`.

use std::os::unix::ffi::OsStrExt;

use cairn_engine::os::interrupt;
use cairn_engine::persist::snapshot::temp_path;
use nix::sys::signal::{SigSet, Signal};

use crate::config::kind::ShutdownHow;
use crate::data::rdb_path;
use crate::server::Server;

/// Where ending the process stands.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    status: Option<i32>,
    /// Signals that asked for it so far.
    signals: u32,
    /// A signal that is still to be followed.
    asked: Option<Asked>,
}

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy)]
struct Asked {
    name: &'static str,
    how: ShutdownHow,
}

impl Shutdown {
    /// The process's exit status, once it is to end.
    pub(crate) fn status(&self) -> Option<i32> {
        self.status
    }
}

impl Server {
    /// Takes the signals that have come.
    pub(crate) fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            let (name, how) = match number {
                libc::SIGINT => ("SIGINT", self.config.shutdown_on_sigint),
                libc::SIGTERM => ("SIGTERM", self.config.shutdown_on_sigterm),
                _ => continue,
            };
            self.shutdown.signals += 1;
            if number == libc::SIGINT && self.shutdown.signals > 1 {
                self.log.warning(format_args!("You insist... exiting now."));
                self.shutdown.status = Some(1);
                return;
            }
            self.log.warning(format_args!("Received {name} scheduling shutdown..."));
            self.shutdown.asked = Some(Asked { name, how });
            if number == libc::SIGINT {
                // From here on another one ends the process where it stands, also inside of a save, whose
                // file goes with it.
                let temp = temp_path(rdb_path(&self.config), std::process::id());
                if let Err(e) = std::path::absolute(temp).and_then(|temp| interrupt::remove_and_end(&temp)) {
                    self.log.warning(format_args!("Cannot change what SIGINT does: {e}"));
                }
                self.catch_interrupts(false);
            }
        }
    }

    /// Has SIGINT come through the descriptor, or do what it does by default.
    fn catch_interrupts(&self, catch: bool) {
        let signal: SigSet = [Signal::SIGINT].into_iter().collect();
        let done = if catch { signal.thread_block() } else { signal.thread_unblock() };
        if let Err(e) = done {
            self.log.warning(format_args!("Cannot change what SIGINT does: {e}"));
        }
    }

    /// Follows a signal that has come. Not while the periodic steps are paused for a test.
    pub(crate) fn follow_signal(&mut self) {
        if self.is_cron_paused || self.is_ending() {
            return;
        }
        let Some(Asked { name, how }) = self.shutdown.asked.take() else { return };
        if !self.shut_down(how) {
            self.shutdown.signals = 0;
            self.catch_interrupts(true);
            self.log.warning(format_args!(
                "{name} received but errors trying to shut down the server, check the logs for more information"
            ));
        }
    }

    /// Takes back what a signal has asked for. False if nothing was asked for.
    pub(crate) fn abort_shutdown(&mut self) -> bool {
        let was_asked = self.shutdown.asked.take().is_some();
        if was_asked {
            self.shutdown.signals = 0;
            self.catch_interrupts(true);
            self.log.notice(format_args!("Shutdown manually aborted."));
        }
        was_asked
    }

    /// Saves if it is to, and has the process end after this turn, in which nothing more runs. False if
    /// it could not save; then nothing has changed.
    pub(crate) fn shut_down(&mut self, how: ShutdownHow) -> bool {
        let Some(engine) = self.loading.as_mut().and_then(|loading| loading.aside.take()) else {
            return self.end_process(how);
        };
        // Its data are about to be replaced, as somebody wished: they are not saved. Its log is closed.
        self.engine = Some(*engine);
        let is_ending = self.end_process(ShutdownHow { save: false, nosave: true, ..how });
        if let Some(loading) = &mut self.loading {
            loading.aside = self.engine.take().map(Box::new);
        }
        is_ending
    }

    fn end_process(&mut self, how: ShutdownHow) -> bool {
        self.log.notice(format_args!("User requested shutdown..."));
        self.supervisor.tell("STOPPING=1\n", &self.log);
        if !self.stop_rewrite_for_shutdown(how) {
            return false;
        }
        if !self.save_for_shutdown(how) {
            if !how.force {
                self.log.warning(format_args!("Error trying to save the DB, can't exit."));
                return false;
            }
            self.log.warning(format_args!("Error trying to save the DB, exiting anyhow."));
        }
        // Last of all that may fail: a log that was closed cannot be gone on with.
        let is_log_safe = self.close_log_for_shutdown();
        if !is_log_safe {
            if !how.force {
                self.log.warning(format_args!("Error trying to write and sync the AOF, can't exit."));
                return false;
            }
            self.log.warning(format_args!("Error trying to write and sync the AOF, exiting anyhow."));
        }
        self.end_backup_without_seal("the server has ended");
        if !self.config.pidfile.is_empty() {
            self.log.notice(format_args!("Removing the pid file."));
            let path = std::ffi::OsStr::from_bytes(&self.config.pidfile);
            let _ = std::fs::remove_file(path);
        }
        // Nothing runs from here on; what was answered before is still sent (`finish`).
        self.shutdown.status = Some(i32::from(!is_log_safe));
        true
    }

    /// The last thing the process does: sends what can be sent, and closes everything.
    pub(crate) fn finish(&mut self) {
        self.close_all();
        self.log.warning(format_args!("Cairn is now ready to exit, bye bye..."));
    }

    /// The process's exit status, once it is to end.
    pub(crate) fn shutdown_status(&self) -> Option<i32> {
        self.shutdown.status()
    }

    /// True once the process is to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.shutdown.status.is_some()
    }
}
