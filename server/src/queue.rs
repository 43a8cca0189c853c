//! Whose turn it is when clients have sent more than one turn has time for.
//!
//! A turn does a bounded piece of work and then asks the poller again. What it did not come to is done
//! in the next ones, in the order in which it came, but first for those who usually ask for little: a
//! client that says PING does not wait behind a thousand that ask for megabytes. Those get what time is
//! left, and some in any case. What one client has sent is always run in its order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A turn goes on for so long with clients that ask for little.
const LIGHT_TIME: Duration = Duration::from_millis(4);

/// And for so long with all.
const TURN_TIME: Duration = Duration::from_millis(5);

/// So much of a turn is for the others, however many ask for little.
const OTHERS_TIME: Duration = Duration::from_millis(1);

/// Who causes less work than this in a turn, in nanoseconds, asks for little.
pub(crate) const LIGHT_NANOS: u32 = 50_000;

/// What one turn may count: a process that was put aside by the system for a while has measured too much.
const MOST_NANOS: u32 = 4 * LIGHT_NANOS;

/// A turn counts as much as so many that went before.
const MEMORY_TURNS: u32 = 8;

/// How much work a client causes in a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weight {
    /// Nanoseconds, about: a running mean.
    nanos: u32,
    /// Nothing is known yet.
    is_unknown: bool,
    /// True while the client is in the queue.
    is_queued: bool,
}

impl Weight {
    /// Of a client of which nothing is known: it has yet to show that it asks for little.
    pub(crate) fn unknown() -> Weight {
        Weight { nanos: LIGHT_NANOS, is_unknown: true, is_queued: false }
    }

    /// Notes what the client has caused in a turn.
    #[inline]
    pub(crate) fn note(&mut self, nanos: u64) {
        self.is_unknown = false;
        let nanos = u32::try_from(nanos).unwrap_or(u32::MAX).min(MOST_NANOS);
        self.nanos = self.nanos - self.nanos / MEMORY_TURNS + nanos / MEMORY_TURNS;
    }

    /// Notes that the client was taken out of the queue. False if it was not in it.
    #[inline]
    pub(crate) fn leave(&mut self) -> bool {
        std::mem::replace(&mut self.is_queued, false)
    }

    /// True if it has taken little lately.
    #[inline]
    pub(crate) fn is_light(self) -> bool {
        matches!(self.load(), Load::Light)
    }

    fn load(self) -> Load {
        match self {
            _ if self.nanos < LIGHT_NANOS => Load::Light,
            _ if self.is_unknown => Load::Unknown,
            _ => Load::Heavy,
        }
    }
}

/// How much a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Light,
    Unknown,
    Heavy,
}

/// Clients to be served in the next turn. Those that send something in the meantime come behind.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    light: VecDeque<u32>,
    unknown: VecDeque<u32>,
    heavy: VecDeque<u32>,
    /// An unknown one was the last to come before those who ask for much.
    is_heavy_next: bool,
}

/// Until when a turn goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    light: Instant,
    all: Instant,
}

impl Times {
    /// Of a turn that begins now.
    pub(crate) fn of_turn(now: Instant) -> Times {
        Times { light: now + LIGHT_TIME, all: now + TURN_TIME }
    }

    /// When those end who ask for little.
    pub(crate) fn light(self) -> Instant {
        self.light
    }

    /// When all others end, of whom the first is served `now`.
    pub(crate) fn others(self, now: Instant) -> Instant {
        self.all.max(now + OTHERS_TIME)
    }
}

impl Queue {
    /// True if nobody waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.light.is_empty() && self.others() == 0
    }

    /// How many wait who ask for little.
    pub(crate) fn light(&self) -> usize {
        self.light.len()
    }

    /// How many others wait.
    pub(crate) fn others(&self) -> usize {
        self.unknown.len() + self.heavy.len()
    }

    /// Puts a client at the end, unless it is in the queue already.
    pub(crate) fn push(&mut self, client: u32, weight: &mut Weight) {
        if !std::mem::replace(&mut weight.is_queued, true) {
            match weight.load() {
                Load::Light => self.light.push_back(client),
                Load::Unknown => self.unknown.push_back(client),
                Load::Heavy => self.heavy.push_back(client),
            }
        }
    }

    /// Takes out the first of those who ask for little. It may be gone by now: whoever is in its slot is
    /// meant only if `leave` says so.
    pub(crate) fn pop_light(&mut self) -> Option<u32> {
        self.light.pop_front()
    }

    /// As `pop_light`, of the others: in turn one that is unknown, who is not to wait behind all who ask for
    /// much, and one of these.
    pub(crate) fn pop_other(&mut self) -> Option<u32> {
        self.is_heavy_next = !self.is_heavy_next;
        let (unknown, heavy) = (&mut self.unknown, &mut self.heavy);
        let (first, second) = if self.is_heavy_next { (unknown, heavy) } else { (heavy, unknown) };
        first.pop_front().or_else(|| second.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: u64) -> Weight {
        let mut weight = Weight::unknown();
        (0..50).for_each(|_| weight.note(nanos));
        weight
    }

    #[test]
    fn who_asks_for_much_is_known_for_it_for_a_while() {
        let mut weight = Weight::unknown();
        assert_eq!(weight.load(), Load::Unknown);
        weight.note(0);
        assert_eq!(weight.load(), Load::Light);
        weight.note(u64::MAX);
        weight.note(0);
        weight.note(u64::MAX);
        assert_eq!(weight.load(), Load::Heavy);
        let turns = (0..100).take_while(|_| {
            weight.note(0);
            weight.load() == Load::Heavy
        });
        assert!((1..20).contains(&turns.count()));
    }

    #[test]
    fn a_single_slow_turn_is_forgiven() {
        let mut weight = of(1000);
        weight.note(u64::MAX);
        assert_eq!(weight.load(), Load::Light);
        (0..3).for_each(|_| weight.note(u64::MAX));
        assert_eq!(weight.load(), Load::Heavy);
    }

    #[test]
    fn nobody_stands_in_the_queue_twice() {
        let mut queue = Queue::default();
        let mut weight = of(u64::MAX);
        queue.push(7, &mut weight);
        (0..50).for_each(|_| weight.note(0));
        queue.push(7, &mut weight);
        assert_eq!((queue.light(), queue.others()), (0, 1));
        assert_eq!(queue.pop_other(), Some(7));
        assert!(weight.leave());
        assert!(!weight.leave(), "it has left");
        queue.push(7, &mut weight);
        assert_eq!(queue.pop_light(), Some(7));
        assert!(queue.is_empty());
    }

    #[test]
    fn new_clients_do_not_wait_behind_all_who_ask_for_much() {
        let mut queue = Queue::default();
        (0..4).for_each(|client| queue.push(client, &mut of(u64::MAX)));
        (4..6).for_each(|client| queue.push(client, &mut Weight::unknown()));
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop_other()).collect();
        assert_eq!(order, [4, 0, 5, 1, 2, 3]);
    }

    #[test]
    fn those_who_ask_for_much_have_their_time_though_others_took_all() {
        let begun = Instant::now();
        let times = Times::of_turn(begun);
        assert_eq!(times.others(begun + LIGHT_TIME), begun + TURN_TIME);
        let late = begun + TURN_TIME * 3;
        assert_eq!(times.others(late), late + OTHERS_TIME);
    }
}
