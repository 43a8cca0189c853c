//! What the server counts for INFO.

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
    /// Turns of the event loop.
    pub(crate) turns: u64,
    /// Microseconds spent in them, waiting aside.
    pub(crate) turn_us: u64,
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

    /// Counts an error reply, given with its leading `-`.
    pub(crate) fn count_error(&mut self, reply: &[u8]) {
        self.errors += 1;
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let end = text.iter().position(|b| matches!(b, b' ' | b'\r')).unwrap_or(text.len());
        let code = String::from_utf8_lossy(&text[..end]);
        match self.by_error.iter().position(|(known, _)| *known == code) {
            Some(at) => self.by_error[at].1 += 1,
            None if self.by_error.len() < MAX_ERROR_CODES => self.by_error.push((code.into_owned(), 1)),
            None => {}
        }
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        let peak_memory = self.peak_memory;
        *self = Stats { peak_memory, ..Stats::new(self.by_command.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_code() {
        let mut stats = Stats::new(0);
        stats.count_error(b"-ERR no\r\n");
        stats.count_error(b"-ERR why\r\n");
        stats.count_error(b"-NOAUTH\r\n");
        assert_eq!(stats.by_error, [("ERR".to_owned(), 2), ("NOAUTH".to_owned(), 1)]);
        assert_eq!(stats.errors, 3);
    }
}
