//! Children: processes that save the data set or rewrite the log, one at a time.
//!
//! What is asked for while another one runs waits its turn. When something is due by itself, and how it is
//! done, is the engine's matter. Behaviour: valkey src/server.c `serverCron`, src/aof.c
//! `bgrewriteaofCommand`, src/rdb.c `bgsaveCommand`.

use std::time::{Duration, Instant};

use cairn_engine::engine::Engine;
use cairn_engine::os::huge_pages;
use cairn_engine::persist::aof::{AofEvent, AofState};
use cairn_engine::persist::backup::BackupState;

use crate::data::CHILD_POLL;
use crate::server::Server;
use crate::waiting::Ending;

/// What waits for its turn.
#[derive(Debug, Default)]
pub(crate) struct Children {
    /// BGSAVE was put off.
    pub(crate) is_save_scheduled: bool,
    /// BGREWRITEAOF was put off.
    is_rewrite_scheduled: bool,
    /// When the last rewrite was done, while files that it has replaced may still be there.
    done_at: Option<Instant>,
}

impl Server {
    /// True while a child writes, whatever it writes, or is about to be made.
    pub(crate) fn has_child(&self) -> bool {
        self.is_saving() || self.is_rewriting() || self.engine.as_ref().is_some_and(Engine::has_child)
    }

    /// True while the log is rewritten.
    pub(crate) fn is_rewriting(&self) -> bool {
        self.engine.as_ref().is_some_and(Engine::is_rewriting)
    }

    /// True while the log is rewritten, as INFO tells it: until the files that were replaced have gone, too,
    /// if that does not take long.
    pub(crate) fn is_rewriting_or_tidying(&self) -> bool {
        const NOT_LONG: Duration = Duration::from_secs(1);
        let is_recent = |at: Instant| self.now_instant.saturating_duration_since(at) < NOT_LONG;
        let has_history = |engine: &Engine| !engine.aof_manifest().history.is_empty();
        self.is_rewriting()
            || (self.children.done_at.is_some_and(is_recent)
                && !self.config.aof_disable_auto_gc
                && self.engine.as_ref().is_some_and(has_history))
    }

    /// True if the log is to be rewritten as soon as nothing stands in the way.
    pub(crate) fn is_rewrite_scheduled(&self) -> bool {
        let is_starting = self.engine.as_ref().is_some_and(|engine| engine.aof_state() == AofState::Starting);
        self.children.is_rewrite_scheduled || (is_starting && !self.is_rewriting())
    }

    /// Has the log rewritten as soon as nothing stands in the way. Somebody has asked for it: that it may
    /// have failed before does not count.
    pub(crate) fn schedule_rewrite(&mut self) {
        self.children.is_rewrite_scheduled = true;
        if let Some(engine) = &mut self.engine {
            engine.forget_rewrite_failures();
        }
    }

    /// Forgets a rewrite that was put off. False if there was none.
    pub(crate) fn unschedule_rewrite(&mut self) -> bool {
        std::mem::take(&mut self.children.is_rewrite_scheduled)
    }

    /// Begins to rewrite the log. False if that cannot be; the text log says why.
    pub(crate) fn start_rewrite(&mut self) -> bool {
        let Some(engine) = &mut self.engine else { return false };
        self.children.is_rewrite_scheduled = false;
        if engine.start_rewrite(self.now_instant).is_err() {
            return false;
        }
        // The first step at once: most often it is the fork.
        self.tend_log();
        self.next_cron = self.next_cron.min(self.now_instant + CHILD_POLL);
        true
    }

    /// True if a child rewrites the log, or has done so already.
    pub(crate) fn is_rewrite_begun(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.rewrite_pid().is_some())
    }

    /// Tells those who have asked for a rewrite that it has begun, or that it could not.
    pub(crate) fn answer_rewrite_waiters(&mut self) {
        if !self.aof.has_rewrite_waiters || (self.is_rewriting() && !self.is_rewrite_begun()) {
            return;
        }
        self.aof.has_rewrite_waiters = false;
        let ending = if self.is_rewrite_begun() { Ending::Timeout } else { Ending::NoRewrite };
        while let Some(client) = self.blocked.rewrite_waiter() {
            self.stop_waiting(client, ending);
        }
    }

    /// Looks after children, and starts what is due or waits.
    pub(crate) fn tend_children(&mut self) {
        // A backup that waits goes before what is due by itself, or it might wait for ever.
        if self.backup_state() == BackupState::Pending && !self.has_child() {
            self.tend_log();
        }
        self.tend_snapshots();
        if self.has_child() {
            return;
        }
        let Some(engine) = &mut self.engine else { return };
        if self.children.is_rewrite_scheduled && engine.may_retry_rewrite(self.now_instant) {
            self.start_rewrite();
            return;
        }
        if self.children.is_save_scheduled && engine.may_retry_save(self.now_instant) {
            self.children.is_save_scheduled = self.start_save().is_err();
            return;
        }
        if engine.wants_rewrite(self.now_instant) {
            let stats = engine.aof_stats(self.now_instant);
            let percent = u128::from(stats.bytes) * 100 / u128::from(stats.base_bytes.max(1));
            let growth = percent.saturating_sub(100);
            self.log.notice(format_args!("Starting automatic rewriting of AOF on {growth}% growth"));
            self.start_rewrite();
        }
    }

    /// Says in the text log what has happened to the log of the data.
    pub(crate) fn tell_aof_event(&mut self, event: &AofEvent) {
        if event.is_warning() {
            self.log.warning(format_args!("{event}"));
        } else {
            self.log.notice(format_args!("{event}"));
        }
        match event {
            AofEvent::ChildDone { cow_bytes } => huge_pages::make_again(*cow_bytes),
            AofEvent::RewriteDone => self.children.done_at = Some(self.now_instant),
            AofEvent::Renamed { took, .. } => self.observe_event("aof-rename", *took),
            AofEvent::RewriteStarted { pid } => self.note_rewriting_child(*pid),
            AofEvent::RewriteFailed(_) if self.is_aof_starting() => {
                let name = "what was logged meanwhile begins anew with the next attempt";
                self.log.notice(format_args!("Removing the temp incr aof file: {name}"));
            }
            _ => {}
        }
    }

    /// Ends a child that saves, and has another one save later, or one that writes the base of a backup: writes
    /// are refused until fresh files of the log are there, and only one child writes at a time. False if there
    /// is none.
    pub(crate) fn make_way_for_log(&mut self) -> bool {
        if self.engine.as_ref().is_some_and(|engine| engine.backup().has_child()) {
            self.end_backup_without_seal("the AOF has to be begun anew");
            return true;
        }
        if !self.cancel_save() {
            return false;
        }
        self.log.notice(format_args!("The background save begins again after the rewrite of the AOF"));
        self.children.is_save_scheduled = true;
        true
    }

    fn is_aof_starting(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.aof_state() == AofState::Starting)
    }

    fn note_rewriting_child(&mut self, pid: i32) {
        let Some(engine) = &self.engine else { return };
        let fork = Duration::from_micros(engine.aof_stats(self.now_instant).last_fork_us);
        self.observe_event("fork", fork);
        if let Err(e) = self.oom_score.apply_to_child(&self.config, pid) {
            self.log.warning(format_args!("Unable to write the child's oom_score_adj: {e}"));
        }
        self.next_cron = self.next_cron.min(self.now_instant + CHILD_POLL);
    }
}
