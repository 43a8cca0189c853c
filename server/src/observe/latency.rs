//! The latency monitor: events that took longer than a threshold, the last of each kind with their time.
//!
//! Knows no clock. Behaviour: valkey src/latency.c, src/sparkline.c. Of the events that Valkey 9.1 names, `aof-fstat`,
//! `while-blocked-cron` and `command-unblocking` have nothing here that they would measure, and those of clusters,
//! modules and defragmentation neither; `rdb-unlink-temp-file` is not told. Nobody waits for an `aof-rename` here, but
//! it shows what the disk does. A key that a command finds expired counts with that command; `expire-del` is a step of
//! the walk in which keys went, of which only a large one takes so long.

use std::fmt::Write;

/// Samples kept of each event: at most one a second.
const SAMPLES: usize = 160;

/// Columns of a graph.
const COLUMNS: usize = 80;

/// Rows of a graph.
const ROWS: usize = 4;

/// When an event happened, in seconds since 1970, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// Milliseconds.
    pub(crate) ms: u64,
}

/// Samples of one event.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Its name.
    pub(crate) event: &'static str,
    /// The longest ever.
    pub(crate) max_ms: u64,
    /// All together.
    pub(crate) sum_ms: u64,
    /// How many there were.
    pub(crate) count: u64,
    /// The last ones, oldest first.
    pub(crate) samples: Vec<Sample>,
}

/// What can be said of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Analysis {
    /// Mean.
    pub(crate) mean_ms: u64,
    /// Mean distance from the mean.
    pub(crate) deviation_ms: u64,
    /// Seconds since the oldest sample; one at the least.
    pub(crate) period_s: i64,
}

/// Every event that was seen.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    /// Events below this are not kept; 0 for none at all.
    pub(crate) threshold_ms: u64,
    events: Vec<Series>,
}

impl Monitor {
    /// Keeps an event that took `us` microseconds and ended at `time`, if it took long enough.
    #[inline]
    pub(crate) fn note(&mut self, event: &'static str, us: u64, time: i64) {
        if self.threshold_ms > 0 && us / 1000 >= self.threshold_ms {
            self.add(event, Sample { time, ms: us / 1000 });
        }
    }

    fn add(&mut self, event: &'static str, sample: Sample) {
        let at = self.events.iter().position(|series| series.event == event).unwrap_or_else(|| {
            self.events.push(Series { event, max_ms: 0, sum_ms: 0, count: 0, samples: Vec::new() });
            self.events.len() - 1
        });
        let series = &mut self.events[at];
        series.max_ms = series.max_ms.max(sample.ms);
        series.sum_ms += sample.ms;
        series.count += 1;
        match series.samples.last_mut() {
            // Of one second only the longest is kept.
            Some(last) if last.time == sample.time => last.ms = last.ms.max(sample.ms),
            _ => {
                if series.samples.len() == SAMPLES {
                    series.samples.remove(0);
                }
                series.samples.push(sample);
            }
        }
    }

    /// Every series.
    pub(crate) fn events(&self) -> &[Series] {
        &self.events
    }

    /// The series of an event.
    pub(crate) fn series(&self, event: &[u8]) -> Option<&Series> {
        self.events.iter().find(|series| series.event.as_bytes() == event)
    }

    /// Forgets an event, by its name in any case; every one without a name. Returns how many those were.
    pub(crate) fn reset(&mut self, event: Option<&[u8]>) -> usize {
        let before = self.events.len();
        let is_meant =
            |series: &Series| event.is_none_or(|e| e.eq_ignore_ascii_case(series.event.as_bytes()));
        self.events.retain(|series| !is_meant(series));
        before - self.events.len()
    }
}

impl Series {
    /// What the kept samples say at `now`.
    pub(crate) fn analyze(&self, now: i64) -> Analysis {
        let count = self.samples.len().max(1) as u64;
        let mean_ms = self.samples.iter().map(|s| s.ms).sum::<u64>() / count;
        let distances: u64 = self.samples.iter().map(|s| s.ms.abs_diff(mean_ms)).sum();
        let oldest = self.samples.iter().map(|s| s.time).min().unwrap_or(now);
        Analysis { mean_ms, deviation_ms: distances / count, period_s: (now - oldest).max(1) }
    }

    /// A picture of the kept samples in letters, with how long ago each was.
    pub(crate) fn graph(&self, now: i64) -> String {
        let shown = &self.samples[self.samples.len().saturating_sub(COLUMNS)..];
        let high = self.samples.iter().map(|s| s.ms).max().unwrap_or(0);
        let low = self.samples.iter().map(|s| s.ms).min().unwrap_or(0);
        let mut out = String::new();
        // Writing into memory does not fail.
        let _ =
            writeln!(out, "{} - high {high} ms, low {low} ms (all time high {} ms)", self.event, self.max_ms);
        out.push_str(&"-".repeat(COLUMNS));
        out.push('\n');
        draw(&mut out, shown, high, low);
        out.push('\n');
        let labels: Vec<String> = shown.iter().map(|s| age(now - s.time)).collect();
        let height = labels.iter().map(String::len).max().unwrap_or(0);
        for row in 0..height {
            let letter = |label: &String| label.as_bytes().get(row).map_or(' ', |b| char::from(*b));
            let line: String = labels.iter().map(letter).collect();
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Columns as high as their values: three letters make steps inside a row, and what is below is filled.
fn draw(out: &mut String, samples: &[Sample], high: u64, low: u64) {
    const LETTERS: [char; 3] = ['_', 'o', '#'];
    let steps = (ROWS * LETTERS.len()) as u64;
    let spread = (high - low).max(1);
    for row in (0..ROWS).rev() {
        let line: String = samples
            .iter()
            .map(|sample| {
                let step = (sample.ms - low).saturating_mul(steps - 1) / spread;
                let (top, letter) = (step as usize / LETTERS.len(), step as usize % LETTERS.len());
                match top.cmp(&row) {
                    std::cmp::Ordering::Greater => '|',
                    std::cmp::Ordering::Equal => LETTERS[letter],
                    std::cmp::Ordering::Less => ' ',
                }
            })
            .collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Seconds in the largest unit that they fill.
fn age(seconds: i64) -> String {
    const UNITS: [(i64, char); 3] = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
    match UNITS.iter().find(|(size, _)| seconds >= *size) {
        Some((size, unit)) => format!("{}{unit}", seconds / size),
        None => format!("{}s", seconds.max(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_a_second_is_kept() {
        let mut monitor = Monitor::default();
        monitor.note("command", 500_000, 100);
        assert!(monitor.events().is_empty(), "it is off");
        monitor.threshold_ms = 100;
        for (us, time) in [(99_999, 100), (100_000, 100), (300_000, 101), (200_000, 101), (400_000, 103)] {
            monitor.note("command", us, time);
        }
        monitor.note("fork", 150_000, 103);
        let series = monitor.series(b"command").expect("it is there");
        assert_eq!((series.max_ms, series.sum_ms, series.count), (400, 1000, 4));
        let samples: Vec<(i64, u64)> = series.samples.iter().map(|s| (s.time, s.ms)).collect();
        assert_eq!(samples, [(100, 100), (101, 300), (103, 400)]);
        let expected = Analysis { mean_ms: 266, deviation_ms: 111, period_s: 10 };
        assert_eq!(series.analyze(110), expected);
        assert_eq!(monitor.reset(Some(b"nothing")), 0);
        assert_eq!(monitor.reset(Some(b"COMMAND")), 1);
        assert_eq!(monitor.reset(None), 1);
    }

    #[test]
    fn old_samples_make_room() {
        let mut monitor = Monitor { threshold_ms: 1, ..Monitor::default() };
        for time in 0..500 {
            monitor.note("command", 5000, time);
        }
        let samples = &monitor.series(b"command").expect("it is there").samples;
        assert_eq!((samples.len(), samples[0].time), (SAMPLES, 340));
    }

    #[test]
    fn a_graph_rises_with_its_values() {
        let mut monitor = Monitor { threshold_ms: 1, ..Monitor::default() };
        for (time, ms) in [(0, 101), (60, 201), (3000, 301), (3590, 500)] {
            monitor.note("command", ms * 1000, time);
        }
        let graph = monitor.series(b"command").expect("it is there").graph(3600);
        let expected = format!(
            "command - high 500 ms, low 101 ms (all time high 500 ms)\n{}\n   #\n   |\n  #|\n_#||\n\n1511\nh900\n mms\n",
            "-".repeat(80)
        );
        assert_eq!(graph, expected);
    }
}
