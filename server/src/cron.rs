//! What is done every now and then, whatever clients do; each step with its budget.
//!
//! Behaviour: valkey src/server.c `serverCron`.

use std::time::{Duration, Instant};

use cairn_engine::os::jemalloc;

use crate::clients::{Client, Closing, Hold};
use crate::data::CHILD_POLL;
use crate::server::Server;

/// Rates are measured at this interval.
const RATE_INTERVAL: Duration = Duration::from_millis(100);

impl Server {
    /// Does what is due and sets when to come next.
    pub(crate) fn cron(&mut self) {
        let hz = u64::try_from(self.config.hz).unwrap_or(10).max(1);
        let elapsed = self.now_instant.saturating_duration_since(self.last_cron);
        self.last_cron = self.now_instant;
        let regular = Duration::from_millis(1000 / hz);
        self.next_cron = self.now_instant + if self.has_child() { regular.min(CHILD_POLL) } else { regular };
        self.cron_runs += 1;
        if self.is_cron_paused {
            return;
        }
        let began = Instant::now();
        self.pause_accepting(false);
        self.measure_rates(elapsed);
        self.observer.calm_down();
        self.close_idle_clients(hz);
        // A saving child of a server that was killed may have been dying still when we started.
        if self.cron_runs == hz {
            self.sweep_temp_files();
        }
        self.migrations.close_unused(self.now_instant);
        self.tend_folder();
        self.tend_children();
        self.tend_log();
        self.limit_tracking();
        self.check_soft_limits();
        self.expire_keys();
        self.tidy_tables();
        // Unused pages go back to the system bit by bit; without this a server that has become idle
        // would keep them.
        jemalloc::decay();
        let spent = began.elapsed().as_micros();
        self.stats.cron_us += u64::try_from(spent).unwrap_or(u64::MAX);
    }

    /// Lets tables make up for what a saving child has kept them from, for a while.
    fn tidy_tables(&mut self) {
        const SEGMENTS: usize = 8;
        const BUDGET: Duration = Duration::from_millis(1);
        let Some(engine) = &mut self.engine else { return };
        let begun = Instant::now();
        while engine.tidy_step(SEGMENTS) && begun.elapsed() < BUDGET {}
    }

    fn measure_rates(&mut self, elapsed: Duration) {
        self.since_rates += elapsed;
        if self.since_rates < RATE_INTERVAL {
            return;
        }
        let elapsed_ms = u64::try_from(self.since_rates.as_millis()).unwrap_or(u64::MAX);
        self.since_rates = Duration::ZERO;
        let stats = &mut self.stats;
        stats.turn_rate.measure(stats.turns, elapsed_ms);
        stats.turn_us_rate.measure(stats.turn_us, elapsed_ms);
        stats.command_rate.measure(stats.commands, elapsed_ms);
        stats.input_rate.measure(stats.input_bytes, elapsed_ms);
        stats.output_rate.measure(stats.output_bytes, elapsed_ms);
        self.measure_memory();
    }

    /// Disconnects clients that have been silent for `timeout`. Looks at all of them, once a second.
    fn close_idle_clients(&mut self, hz: u64) {
        let Some(timeout) = u64::try_from(self.config.timeout_seconds).ok().filter(|s| *s > 0) else {
            return;
        };
        if !self.cron_runs.is_multiple_of(hz) {
            return;
        }
        let now = self.now_instant;
        let idle = |client: &Client| {
            let session = &client.session;
            // These have nothing to say, and want to hear.
            let listens = session.is_subscriber || session.is_monitor || session.hold == Hold::Blocked;
            !listens && now.saturating_duration_since(client.active).as_secs() > timeout
        };
        let idle: Vec<u32> = self.clients.iter().filter(|(_, c)| idle(c)).map(|(index, _)| index).collect();
        for index in idle {
            self.log.verbose(format_args!("Closing idle client"));
            if let Some(client) = self.clients.get_mut(index) {
                client.close(Closing::Now);
            }
            self.mark_closing(index);
        }
    }
}
