//! What the server counts for INFO.

use std::borrow::Cow;

/// Counts of one command.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommandStats {
    /// Times it ran.
    pub(crate) calls: u64,
    /// Nanoseconds it ran. Fast commands that ran one behind the other share their time evenly.
    pub(crate) nanos: u64,
    /// Times it was refused before it ran.
    pub(crate) rejected: u64,
    /// Times it answered with an error.
    pub(crate) failed: u64,
}

/// How often an error code may be new; from then on a client could only make the table grow.
const MAX_ERROR_CODES: usize = 128;

/// What the others count under.
const OVERFLOW_CODE: &str = "ERRORSTATS_OVERFLOW";

/// An error's code is looked for in so many bytes.
const MAX_CODE_BYTES: usize = 32;

/// How many measurements a rate is averaged over.
const RATE_SAMPLES: usize = 16;

/// A rate per second, averaged over the last measurements.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    samples: [u64; RATE_SAMPLES],
    next: usize,
    last_total: u64,
}

impl Rate {
    /// Notes that the counter stands at `total`, `elapsed_ms` after the last measurement.
    pub(crate) fn measure(&mut self, total: u64, elapsed_ms: u64) {
        let delta = total.saturating_sub(self.last_total);
        self.last_total = total;
        self.samples[self.next] = delta.saturating_mul(1000) / elapsed_ms.max(1);
        self.next = (self.next + 1) % RATE_SAMPLES;
    }

    /// The average.
    pub(crate) fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / RATE_SAMPLES as u64
    }
}

/// Everything the server counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    /// Connections taken.
    pub(crate) connections: u64,
    /// Connections refused for being too many.
    pub(crate) rejected_connections: u64,
    /// Commands run.
    pub(crate) commands: u64,
    /// Bytes read from clients.
    pub(crate) input_bytes: u64,
    /// Bytes written to clients.
    pub(crate) output_bytes: u64,
    /// Error replies.
    pub(crate) errors: u64,
    /// Reads that brought something.
    pub(crate) reads: u64,
    /// Writes.
    pub(crate) writes: u64,
    /// Clients disconnected because their unparsed input grew too large.
    pub(crate) query_buffer_disconnections: u64,
    /// Clients disconnected because they did not take their replies.
    pub(crate) output_buffer_disconnections: u64,
    /// Clients disconnected because all clients together took too much memory.
    pub(crate) evicted_clients: u64,
    /// Turns of the event loop.
    pub(crate) turns: u64,
    /// Microseconds spent in them, waiting aside.
    pub(crate) turn_us: u64,
    /// The longest of them, in microseconds.
    pub(crate) max_turn_us: u64,
    /// Most commands that ran in one of them.
    pub(crate) max_turn_commands: u64,
    /// Microseconds spent in periodic steps.
    pub(crate) cron_us: u64,
    /// Turns a second.
    pub(crate) turn_rate: Rate,
    /// Microseconds spent in turns, a second.
    pub(crate) turn_us_rate: Rate,
    /// Commands a second.
    pub(crate) command_rate: Rate,
    /// Bytes read a second.
    pub(crate) input_rate: Rate,
    /// Bytes written a second.
    pub(crate) output_rate: Rate,
    /// Counts by the command's number in the table.
    pub(crate) by_command: Vec<CommandStats>,
    /// Counts by an error's code.
    pub(crate) by_error: Vec<(String, u64)>,
    /// Wrong passwords.
    pub(crate) denied_auth: u64,
    /// The most memory that was in use.
    pub(crate) peak_memory: u64,
    /// Most bytes that waited in the input buffer of a client lately.
    pub(crate) peak_input: usize,
    /// Most bytes that waited in the output buffer of a client lately.
    pub(crate) peak_output: usize,
}

impl Stats {
    /// Counts of nothing yet, for a table of so many commands.
    pub(crate) fn new(commands: usize) -> Stats {
        Stats { by_command: vec![CommandStats::default(); commands], ..Stats::default() }
    }

    /// Counts an error reply of ours, given with its leading `-`.
    pub(crate) fn count_error(&mut self, reply: &[u8]) {
        self.count_code(error_code(reply));
    }

    /// Counts an error reply that a script has made up. There may be any number of those, so from some
    /// number of codes on new ones share a place.
    pub(crate) fn count_custom_error(&mut self, reply: &[u8]) {
        let code = error_code(reply);
        let is_known = || self.by_error.iter().any(|(known, _)| *known == code);
        let is_over = self.by_error.len() >= MAX_ERROR_CODES && !is_known();
        self.count_code(if is_over { OVERFLOW_CODE.into() } else { code });
    }

    fn count_code(&mut self, code: Cow<'_, str>) {
        self.errors += 1;
        match self.by_error.iter().position(|(known, _)| *known == code) {
            Some(at) => self.by_error[at].1 += 1,
            None => self.by_error.push((code.into_owned(), 1)),
        }
    }

    /// Counts a turn of the event loop that took `us` microseconds and ran so many commands.
    pub(crate) fn count_turn(&mut self, us: u64, commands: u64) {
        self.turns += 1;
        self.turn_us += us;
        self.max_turn_us = self.max_turn_us.max(us);
        self.max_turn_commands = self.max_turn_commands.max(commands);
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        let peak_memory = self.peak_memory;
        *self = Stats { peak_memory, ..Stats::new(self.by_command.len()) };
    }
}

/// The word in front of an error reply. What has none of its own counts as the most common one.
fn error_code(reply: &[u8]) -> Cow<'_, str> {
    let head = &reply[..reply.len().min(MAX_CODE_BYTES)];
    let end = head.iter().position(|b| *b == b' ').filter(|_| head.starts_with(b"-"));
    end.map_or("ERR".into(), |end| String::from_utf8_lossy(&head[1..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_code() {
        let mut stats = Stats::new(0);
        stats.count_error(b"-ERR no\r\n");
        stats.count_error(b"-ERR why\r\n");
        stats.count_error(b"-NOAUTH Authentication required.\r\n");
        stats.count_error(b"-OK\r\n");
        assert_eq!(stats.by_error, [("ERR".to_owned(), 3), ("NOAUTH".to_owned(), 1)]);
        assert_eq!(stats.errors, 4);
        for i in 0..200 {
            stats.count_custom_error(format!("-{i} x\r\n").as_bytes());
        }
        assert_eq!(stats.by_error.len(), MAX_ERROR_CODES + 1);
        let overflow = stats.by_error.last().expect("it is there");
        assert_eq!(*overflow, (OVERFLOW_CODE.to_owned(), 74));
        stats.count_error(b"-WRONGTYPE x\r\n");
        stats.count_custom_error(b"-NOAUTH x\r\n");
        assert_eq!(stats.by_error.last(), Some(&("WRONGTYPE".to_owned(), 1)), "ours are always counted");
        assert_eq!(stats.by_error[1], ("NOAUTH".to_owned(), 2));
    }
}
