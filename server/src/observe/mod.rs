//! What the server remembers of the commands it ran and of what kept it busy: logs of commands,
//! durations, a monitor of slow events.
//!
//! On the path of a fast command nothing is done here but counting its duration with that of its
//! group. Everything else begins with a comparison that nearly always fails.

pub(crate) mod commandlog;
pub(crate) mod histogram;
pub(crate) mod latency;

use cairn_engine::command::spec::{FAST, SKIP_SLOWLOG};

use crate::config::Config;
use crate::server::Server;
use commandlog::{CommandLog, LogKind};
use histogram::{Histogram, Place};
use latency::Monitor;

/// Below so many microseconds a command must be measured by itself to be found slow.
const FINE_US: u64 = 1000;

/// So many periodic steps long each command is measured by itself after a group was slow.
const SUSPICION_STEPS: u32 = 10;

/// A request that came with others cannot be larger.
const SMALL_REQUEST_BYTES: u64 = 64 * 1024;

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// Commands that took long.
    slow: CommandLog,
    /// Commands that came large.
    large_requests: CommandLog,
    /// Commands that answered at length.
    large_replies: CommandLog,
    /// Slow events.
    pub(crate) latency: Monitor,
    /// Durations by the command's number, for those that have run.
    histograms: Vec<Option<Histogram>>,
    is_tracking: bool,
    /// The configuration asks for each command to be measured by itself.
    is_fine: bool,
    /// From so many nanoseconds on a command is remembered.
    slow_nanos: u64,
    /// Periodic steps until a slow group is forgotten.
    suspicion: u32,
    /// True if each command is to be measured by itself.
    pub(crate) measures_each: bool,
    /// True if requests that came with others may be large enough to be logged.
    pub(crate) logs_small_requests: bool,
    /// Replies of so many bytes are logged.
    pub(crate) large_reply_bytes: usize,
}

/// What a command has cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Nanoseconds it ran; none if it was not measured by itself.
    pub(crate) nanos: Option<u64>,
    /// Bytes of its reply.
    pub(crate) reply_bytes: usize,
    /// A client has sent it, and no script.
    pub(crate) has_request: bool,
}

impl Observer {
    /// Follows the configuration, for a table of so many commands.
    pub(crate) fn configure(&mut self, config: &Config, commands: usize) {
        self.slow.configure(config.slower_than_us, config.slow_max_len);
        self.large_requests.configure(config.request_larger_than, config.large_request_max_len);
        self.large_replies.configure(config.reply_larger_than, config.large_reply_max_len);
        self.is_fine = self.slow.threshold().is_some_and(|us| us < FINE_US);
        self.measures_each = self.is_fine || self.suspicion > 0;
        self.logs_small_requests =
            self.large_requests.threshold().is_some_and(|bytes| bytes <= SMALL_REQUEST_BYTES);
        let bytes = self.large_replies.threshold().unwrap_or(u64::MAX);
        self.large_reply_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.latency.threshold_ms = u64::try_from(config.latency_threshold_ms).unwrap_or(0);
        let event_us = Some(self.latency.threshold_ms).filter(|ms| *ms > 0).map(|ms| ms.saturating_mul(1000));
        let slow_us = self.slow.threshold().into_iter().chain(event_us).min();
        self.slow_nanos = slow_us.map_or(u64::MAX, |us| us.saturating_mul(1000));
        self.is_tracking = config.latency_tracking;
        if !self.is_tracking {
            self.histograms.clear();
        }
        self.histograms.resize(commands, None);
    }

    /// Notes that a group of commands took so long together. If that is as long as a slow command, nobody
    /// knows which of them it was; the next one will be known.
    #[cold]
    pub(crate) fn suspect(&mut self, nanos: u64) {
        if nanos >= self.slow_nanos {
            self.suspicion = SUSPICION_STEPS;
            self.measures_each = true;
        }
    }

    /// True if a command that took so long by itself is to be remembered.
    #[inline]
    pub(crate) fn is_slow(&self, nanos: u64) -> bool {
        nanos >= self.slow_nanos
    }

    /// A periodic step: suspicion passes.
    pub(crate) fn calm_down(&mut self) {
        if self.suspicion > 0 {
            self.suspicion -= 1;
            self.measures_each = self.is_fine || self.suspicion > 0;
        }
    }

    /// Counts durations of a command.
    #[inline]
    fn count(&mut self, number: u16, nanos: u64, times: u64) {
        if self.is_tracking {
            let histogram = self.histograms[usize::from(number)].get_or_insert_with(Histogram::new);
            histogram.add(Place::of(nanos), times);
        }
    }

    /// The durations of a command, if it has run.
    pub(crate) fn histogram(&self, number: u16) -> Option<&Histogram> {
        self.histograms.get(usize::from(number))?.as_ref()
    }

    /// Forgets the durations.
    pub(crate) fn reset_histograms(&mut self) {
        self.histograms.fill(None);
    }

    /// One of the logs.
    pub(crate) fn log(&mut self, kind: LogKind) -> &mut CommandLog {
        match kind {
            LogKind::Slow => &mut self.slow,
            LogKind::LargeRequest => &mut self.large_requests,
            LogKind::LargeReply => &mut self.large_replies,
        }
    }
}

impl Server {
    /// Counts `times` calls of a command that took `nanos` each.
    #[inline]
    pub(crate) fn charge(&mut self, number: u16, nanos: u64, times: u64) {
        let stats = &mut self.stats.by_command[usize::from(number)];
        stats.calls += times;
        stats.nanos = stats.nanos.saturating_add(nanos.saturating_mul(times));
        self.observer.count(number, nanos, times);
    }

    /// Logs a command of the client in slot `client` that has run, if a log wants it. For commands of a
    /// transaction: each by itself. For one that waited: when it is answered.
    pub(crate) fn observe(&mut self, client: u32, number: u16, argv: &[&[u8]], cost: Cost) {
        let flags = self.commands.entry(number).spec.flags;
        let time = self.now.secs();
        let client = self.clients.get(client);
        let describe = || client.map(|c| (c.addr.clone(), c.session.name.clone())).unwrap_or_default();
        let observer = &mut self.observer;
        if let Some(nanos) = cost.nanos {
            let event = if flags.has(FAST) { "fast-command" } else { "command" };
            observer.latency.note(event, nanos / 1000, time);
        }
        if flags.has(SKIP_SLOWLOG) {
            return;
        }
        if let Some(nanos) = cost.nanos {
            observer.slow.note(nanos / 1000, time, argv, describe);
        }
        // The exact size takes longer to find than most commands run.
        if cost.has_request
            && observer.large_requests.threshold().is_some_and(|bytes| most_request_bytes(argv) >= bytes)
        {
            observer.large_requests.note(request_bytes(argv), time, argv, describe);
        }
        observer.large_replies.note(cost.reply_bytes as u64, time, argv, describe);
    }

    /// Notes an event of the server's own that took so long.
    pub(crate) fn observe_event(&mut self, event: &'static str, took: std::time::Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let time = self.now.secs();
        self.observer.latency.note(event, us, time);
    }
}

/// No request is larger: with a line of the longest length for each argument.
fn most_request_bytes(argv: &[&[u8]]) -> u64 {
    const MOST_AROUND: u64 = 32;
    MOST_AROUND + argv.iter().map(|arg| arg.len() as u64 + MOST_AROUND).sum::<u64>()
}

/// Bytes of a request as an array of bulk strings.
fn request_bytes(argv: &[&[u8]]) -> u64 {
    let digits = |n: usize| n.max(1).ilog10() as usize + 1;
    let head = |n: usize| 1 + digits(n) + 2;
    let args: usize = argv.iter().map(|arg| head(arg.len()) + arg.len() + 2).sum();
    (head(argv.len()) + args) as u64
}

#[cfg(test)]
mod tests {
    use super::{Observer, SUSPICION_STEPS, most_request_bytes, request_bytes};
    use crate::config::Config;

    #[test]
    fn a_slow_group_makes_suspicious_for_a_while() {
        let mut observer = Observer::default();
        observer.configure(&Config::default(), 1);
        observer.suspect(9_999_999);
        assert!(!observer.measures_each, "the threshold is ten milliseconds");
        observer.suspect(10_000_000);
        assert!(observer.measures_each);
        for _ in 0..SUSPICION_STEPS {
            assert!(observer.measures_each);
            observer.calm_down();
        }
        assert!(!observer.measures_each);
    }

    #[test]
    fn requests_count_with_their_lengths() {
        assert_eq!(request_bytes(&[b"GET", b""]), "*2\r\n$3\r\nGET\r\n$0\r\n\r\n".len() as u64);
        let ten = [&b"0123456789"[..]; 10];
        assert_eq!(request_bytes(&ten), 5 + 10 * (5 + 10 + 2));
        for argv in [&ten[..], &ten[..1], &[]] {
            assert!(most_request_bytes(argv) >= request_bytes(argv));
        }
    }
}
