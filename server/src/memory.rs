//! Memory: what is in use, and what is done when that is more than `maxmemory`.
//!
//! Eviction goes in bounded steps: before a command, for as long as `maxmemory-eviction-tenacity` allows,
//! and if that was not enough, in each turn until it is. Which key goes is the engine's choice. Behaviour:
//! valkey src/evict.c `performEvictions`.

use std::time::{Duration, Instant};

use cairn_engine::engine::Engine;
use cairn_engine::keyspace::evict::Policy;
use cairn_engine::keyspace::{Laziness, LfuTuning};
use cairn_engine::os::jemalloc;

use crate::config::Config;
use crate::server::Server;

/// The error for a command that needs memory when there is none.
pub(crate) const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// The clock is read after so many keys.
const KEYS_PER_CLOCK: u32 = 16;

/// What is remembered between two steps.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// True while eviction goes on in each turn.
    pub(crate) is_evicting: bool,
    /// Since when memory has been short.
    short_since: Option<Instant>,
    /// How long it was short before that.
    short_before: Duration,
}

impl Memory {
    /// How long memory has been short, now and ever.
    pub(crate) fn short(&self) -> (Duration, Duration) {
        let now = self.short_since.map_or(Duration::ZERO, |since| since.elapsed());
        (now, self.short_before + now)
    }

    /// True if it was short when it was last looked at.
    #[inline]
    pub(crate) fn is_noted_short(&self) -> bool {
        self.is_evicting || self.short_since.is_some()
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        self.short_before = Duration::ZERO;
        if self.short_since.is_some() {
            self.short_since = Some(Instant::now());
        }
    }

    fn note(&mut self, room: Room) {
        if room == Room::Enough {
            self.is_evicting = false;
            if let Some(since) = self.short_since.take() {
                self.short_before += since.elapsed();
            }
        } else if self.short_since.is_none() {
            self.short_since = Some(Instant::now());
        }
    }
}

/// How a step of eviction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// There is room.
    Enough,
    /// Not yet, and keys are left that may go.
    Later,
    /// Not, and no key is left that may go.
    None,
}

/// How long one step of eviction may take; `None` for as long as it takes.
fn step_time(tenacity: i64) -> Option<Duration> {
    /// A linear part, up to half a millisecond.
    const LINEAR: i64 = 10;
    const LINEAR_US: u64 = 50;
    /// Then each grade takes longer than the one before.
    const GROWTH: f64 = 1.15;
    const ENDLESS: i64 = 100;
    let grade = tenacity.clamp(0, ENDLESS);
    match grade {
        ENDLESS => None,
        0..=LINEAR => Some(Duration::from_micros(LINEAR_US * grade.unsigned_abs())),
        _ => {
            let most = (LINEAR_US * LINEAR.unsigned_abs()) as f64;
            Some(Duration::from_micros((most * GROWTH.powi((grade - LINEAR) as i32)) as u64))
        }
    }
}

/// Makes an engine follow the directives about memory.
pub(crate) fn tune(engine: &mut Engine, config: &Config) {
    let laziness = Laziness {
        eviction: config.lazyfree_lazy_eviction,
        expire: config.lazyfree_lazy_expire,
        server_del: config.lazyfree_lazy_server_del,
        user_del: config.lazyfree_lazy_user_del,
        user_flush: config.lazyfree_lazy_user_flush,
    };
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    let lfu =
        LfuTuning { log_factor: number(config.lfu_log_factor), decay_minutes: number(config.lfu_decay_time) };
    engine.tune(laziness, lfu);
    engine.keep_clocks_for(config.maxmemory_policy);
}

impl Server {
    /// Bytes in use that count against `maxmemory`.
    fn counted_memory(&self) -> u64 {
        jemalloc::used_bytes().saturating_sub(self.uncounted_memory())
    }

    /// Bytes in use that do not count against `maxmemory`: what eviction itself makes grow, the list of what
    /// has gone and the messages about it. Counted, each key that goes would have others go with it.
    #[inline]
    pub(crate) fn uncounted_memory(&self) -> u64 {
        let effects = self.engine.as_ref().map_or(0, |engine| engine.effects().memory_bytes());
        let log = self.engine.as_ref().map_or(0, Engine::aof_memory_bytes);
        (effects + log + self.happened.memory_bytes() + self.outbox.memory_bytes()) as u64
    }

    /// Makes room before a command, if there is a limit and memory is beyond it. True if there is none to
    /// be made: commands that need memory are refused then.
    #[inline]
    pub(crate) fn is_out_of_memory(&mut self) -> bool {
        self.config.maxmemory > 0 && self.make_room_first() == Room::None
    }

    /// Makes room. Whoever has copies of the keys that go hears of it before the command is answered.
    fn make_room_first(&mut self) -> Room {
        self.caller = None;
        let room = self.make_room();
        self.outbox.go_early();
        room
    }

    /// The next step of an eviction that was not done.
    #[inline]
    pub(crate) fn go_on_evicting(&mut self) {
        if self.memory.is_evicting {
            self.memory.is_evicting = self.make_room() == Room::Later;
        }
    }

    /// `maxmemory` is another one: what is too much goes, though no command comes.
    pub(crate) fn maxmemory_has_changed(&mut self) {
        let (limit, used) = (self.config.maxmemory, self.counted_memory());
        if limit > 0 && limit < used {
            self.log.warning(format_args!(
                "WARNING: the new maxmemory value set via CONFIG SET ({limit}) is smaller than the current memory \
                 usage ({used}). This will result in key eviction and/or the inability to accept new write commands \
                 depending on the maxmemory-policy."
            ));
        }
        self.memory.is_evicting = true;
    }

    fn make_room(&mut self) -> Room {
        let limit = self.config.maxmemory;
        // In the order of what is most often so and cheapest to know.
        let has_room = limit == 0
            || jemalloc::used_bytes() <= limit
            || self.is_loading()
            || self.paused().is_some()
            || self.counted_memory() <= limit;
        let room = if has_room { Room::Enough } else { self.evict(limit) };
        self.memory.note(room);
        room
    }

    #[cold]
    fn evict(&mut self, limit: u64) -> Room {
        // Clients that take more than they may go before any key does.
        self.evict_clients();
        if self.counted_memory() <= limit {
            return Room::Enough;
        }
        let policy = self.config.maxmemory_policy;
        if policy == Policy::NoEviction || self.config.import_mode {
            return Room::None;
        }
        let begun = Instant::now();
        let room = self.evict_for_a_while(limit, policy);
        self.log_each();
        // Nobody has asked for this, not even the one whose command is next.
        let caller = self.caller.take();
        self.tell_effects();
        self.caller = caller;
        self.observe_event("eviction-cycle", begun.elapsed());
        room
    }

    fn evict_for_a_while(&mut self, limit: u64, policy: Policy) -> Room {
        let samples = usize::try_from(self.config.maxmemory_samples).unwrap_or(1);
        let time = step_time(self.config.maxmemory_eviction_tenacity);
        let (begun, now, mut keys) = (Instant::now(), self.now, 0u32);
        let is_each_observed = self.observer.latency.threshold_ms > 0;
        while self.counted_memory() > limit {
            let one_begun = is_each_observed.then(Instant::now);
            let Some(engine) = &mut self.engine else { return Room::Enough };
            if !engine.evict_one(policy, samples, now) {
                let wait_begun = Instant::now();
                let room = self.wait_for_room(limit, begun, time);
                self.observe_event("eviction-lazyfree", wait_begun.elapsed());
                return room;
            }
            if let Some(begun) = one_begun {
                self.observe_event("eviction-del", begun.elapsed());
            }
            keys += 1;
            if keys.is_multiple_of(KEYS_PER_CLOCK) && time.is_some_and(|time| begun.elapsed() > time) {
                self.memory.is_evicting = true;
                return Room::Later;
            }
        }
        Room::Enough
    }

    /// No key is left that may go. What went may still be on its way.
    fn wait_for_room(&mut self, limit: u64, begun: Instant, time: Option<Duration>) -> Room {
        const NAP: Duration = Duration::from_millis(1);
        let nap = time.map_or(NAP, |time| time.min(NAP));
        while self.engine.as_ref().is_some_and(|engine| engine.lazy_free().0 > 0)
            && time.is_none_or(|time| begun.elapsed() < time)
        {
            if self.counted_memory() <= limit {
                return Room::Enough;
            }
            std::thread::sleep(nap);
        }
        if self.counted_memory() <= limit { Room::Enough } else { Room::None }
    }
}

#[cfg(test)]
mod tests {
    use super::step_time;
    use std::time::Duration;

    #[test]
    fn tenacity_grows_first_evenly_then_ever_faster() {
        assert_eq!(step_time(0), Some(Duration::ZERO));
        assert_eq!(step_time(1), Some(Duration::from_micros(50)));
        assert_eq!(step_time(10), Some(Duration::from_micros(500)));
        assert_eq!(step_time(11), Some(Duration::from_micros(575)));
        assert!(step_time(99).is_some_and(|time| (100..150).contains(&time.as_secs())));
        assert_eq!(step_time(100), None);
    }
}
