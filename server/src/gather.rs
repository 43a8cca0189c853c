//! Interrupt moderation: when many clients send a little each, the next turn begins a moment later, so
//! that it serves several of them.
//!
//! A thread that is faster than those who feed it would otherwise fall asleep after each request or two
//! and be woken for the next: switching tasks, and for the sender waking another processor, cost more
//! than the request. So the pause is taken only when all of this holds: the reads of the last moments
//! came from many clients, they came so fast that the pause is likely to bring more, and the turn before
//! was short. One client alone, or a few, never wait, and neither does anybody when there is little or
//! much to do. Knows no sockets; pure but for the times that it is told.

use std::time::{Duration, Instant};

/// The pause, by how many clients the last reads came from: at least so many of them. It is about what
/// they wait for each other anyhow, so that their replies come no later than from a server that is busy
/// all the time. Shorter ones are over before the thread has fallen asleep.
const PAUSES: [(u32, Duration); 3] =
    [(24, Duration::from_micros(60)), (16, Duration::from_micros(30)), (8, Duration::from_micros(10))];

/// A turn that took longer has served so many that the costs of a wake-up are shared well.
const SHORT_TURN: Duration = Duration::from_micros(60);

/// Reads that are looked at together.
const READS: u32 = 32;

/// Reads come fast if that many come at least within this time: two within 40 microseconds.
const BUSY: Duration = Duration::from_micros(20 * READS as u64);

/// What is known of the last reads.
#[derive(Debug)]
pub(crate) struct Gather {
    /// A bit for each client that was read from since `since`; clients 64 slots apart share one.
    clients: u64,
    reads: u32,
    since: Instant,
    /// How long to wait after a short turn: the reads before those came fast, and from many.
    pause: Option<Duration>,
}

impl Gather {
    /// Nothing is known.
    pub(crate) fn new(now: Instant) -> Gather {
        Gather { clients: 0, reads: 0, since: now, pause: None }
    }

    /// A turn that began at `began` has read from `readable` and is over now, at `ended`. How long to wait
    /// before the next one looks for something to do, if it should.
    #[inline]
    pub(crate) fn after_turn(
        &mut self,
        readable: &[u32],
        began: Instant,
        ended: Instant,
    ) -> Option<Duration> {
        if began.duration_since(self.since) > BUSY {
            (self.clients, self.reads, self.since, self.pause) = (0, 0, began, None);
        }
        self.reads += readable.len() as u32;
        self.clients = readable.iter().fold(self.clients, |clients, index| clients | 1 << (index % 64));
        if self.reads >= READS {
            let many = self.clients.count_ones();
            self.pause = PAUSES.iter().find(|(clients, _)| many >= *clients).map(|(_, pause)| *pause);
            (self.clients, self.reads, self.since) = (0, 0, ended);
        }
        let is_short = !readable.is_empty() && ended.duration_since(began) < SHORT_TURN;
        self.pause.filter(|_| is_short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many turns, each of which reads from `each` clients of `all` in turn and takes `turn_us`, with
    /// `idle_us` between them: how many were followed by a pause.
    fn pauses(turns: u32, each: u32, all: u32, turn_us: u64, idle_us: u64) -> usize {
        let mut now = Instant::now();
        let mut gather = Gather::new(now);
        let mut next = 0;
        let mut paused = 0;
        for _ in 0..turns {
            now += Duration::from_micros(idle_us);
            let began = now;
            now += Duration::from_micros(turn_us);
            let readable: Vec<u32> = (0..each).map(|i| (next + i) % all).collect();
            next = (next + each) % all;
            paused += usize::from(gather.after_turn(&readable, began, now).is_some());
        }
        paused
    }

    #[test]
    fn many_clients_that_send_little_and_fast_are_gathered() {
        assert!(pauses(1000, 1, 50, 10, 5) > 900);
        assert!(pauses(1000, 2, 10, 12, 0) > 900);
    }

    #[test]
    fn nobody_waits_who_is_alone_or_among_few() {
        for clients in [1, 2, 4, 7] {
            assert_eq!(pauses(1000, 1, clients, 5, 5), 0, "{clients}");
        }
    }

    #[test]
    fn nobody_waits_when_there_is_little_or_much_to_do() {
        assert_eq!(pauses(1000, 1, 50, 10, 30), 0, "the pause would bring nothing");
        assert_eq!(pauses(1000, 25, 50, 70, 0), 0, "the turns are long enough");
        assert_eq!(pauses(1000, 0, 50, 1, 1), 0, "nobody has sent anything");
    }

    #[test]
    fn a_lull_ends_it() {
        let mut now = Instant::now();
        let mut gather = Gather::new(now);
        for i in 0..100 {
            gather.after_turn(&[i % 50], now, now + Duration::from_micros(5));
            now += Duration::from_micros(10);
        }
        assert_eq!(gather.pause, Some(PAUSES[0].1));
        now += Duration::from_millis(1);
        assert_eq!(gather.after_turn(&[1], now, now + Duration::from_micros(5)), None);
    }
}
