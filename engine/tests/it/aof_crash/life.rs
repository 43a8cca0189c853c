//! One life of a process with a log, on a simulated disk, and what the next one finds.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Options;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::{self, Args};
use cairn_engine::engine::{Caller, Engine, EngineConfig};
use cairn_engine::persist::aof::{
    AofEvent, AofSettings, AofState, Found, LastFile, LogHealth, Reserve, SyncPolicy, Unit,
};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::load::LoadProgress;
use cairn_engine::persist::recover::{Listener, Note, Outside, RecoverOptions, Recovered};

use crate::fresh;
use crate::simulated::{DIR, Simulated};

pub(super) const NOW: UnixMs = UnixMs(1_800_000_000_000);
const FILENAME: &str = "appendonly.aof";
/// What was acknowledged in so much time a power cut may take, under `everysec`.
const MOST_AT_RISK: Duration = Duration::from_secs(2);
/// Databases that commands go to.
const DATABASES: u64 = 3;

pub(super) fn folder() -> PathBuf {
    Path::new(DIR).join("appendonlydir")
}

pub(super) fn settings(policy: SyncPolicy) -> AofSettings {
    // Small, so that it is used up, and there are blocks that are larger.
    let reserve = Some(Reserve { least: 1, most: 1500 });
    AofSettings { dir: folder(), filename: FILENAME.to_owned(), policy, reserve, ..AofSettings::default() }
}

/// What was done, over all lives: the digest after each number of steps tells how many there were.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    steps_of: HashMap<[u8; 20], u64>,
}

impl History {
    /// How many steps have led to this data set. Any other data set is none that ever was.
    pub(super) fn steps(&self, engine: &Engine) -> Option<u64> {
        self.steps_of.get(&engine.digest()).copied()
    }
}

/// A process.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) disk: Simulated,
    pub(super) engine: Engine,
    pub(super) now: Instant,
    pub(super) history: History,
    /// Steps done, over all lives.
    pub(super) steps: u64,
    /// Steps and where the log ended after them, of those that nobody has been told of.
    waiting: Vec<(u64, u64)>,
    pub(super) acked: u64,
    pub(super) synced: u64,
    pub(super) events: Vec<AofEvent>,
    /// Whether the log has been on long enough to promise something.
    is_on: bool,
    /// When steps were acknowledged that are not durable.
    at_risk: VecDeque<(u64, Instant)>,
}

struct Deaf;

impl Listener for Deaf {
    fn progress(&mut self, _: LoadProgress) {}
    fn note(&mut self, _: Note) {}
    fn outside(&mut self, argv: &[&[u8]]) -> Outside {
        panic!("no such command was logged: {argv:?}")
    }
}

fn engine(disk: &Simulated) -> Engine {
    let config = EngineConfig { apart: Apart::Here, ..fresh::config(&Path::new(DIR).join("dump.rdb")) };
    Engine::with_storage(config, NOW, disk.storage())
}

fn found(recovered: Recovered) -> Found {
    let last = recovered.last.map(LastFile::from);
    Found { manifest: recovered.manifest, last, bytes: recovered.log_bytes, base_bytes: recovered.base_bytes }
}

/// Loads what is on the disk, as a start with the log on does.
pub(super) fn recover(disk: &Simulated) -> Result<(Engine, Recovered), String> {
    recover_as(disk, true)
}

fn recover_as(disk: &Simulated, enabled: bool) -> Result<(Engine, Recovered), String> {
    let mut engine = engine(disk);
    let options = RecoverOptions {
        enabled,
        rdb_path: Path::new(DIR).join("dump.rdb"),
        aof_dir: folder(),
        filename: FILENAME.to_owned(),
        load_truncated: true,
        corrupt_tail_max_bytes: 0,
        checksum: true,
        strict: true,
        rdb: Options::default(),
    };
    let recovered = engine
        .recover(NOW, &options, &mut fresh::scripts(), &mut Deaf)
        .map_err(|refusal| refusal.to_string())?;
    Ok((engine, recovered))
}

impl Life {
    /// Starts on what the disk has, with the log on.
    pub(super) fn start(disk: &Simulated, settings: AofSettings, history: History) -> Result<Life, String> {
        let (mut engine, recovered) = recover(disk)?;
        engine.configure_aof(settings);
        let now = Instant::now();
        let events = engine.begin_aof(found(recovered), now, NOW).map_err(|error| error.to_string())?;
        Ok(Life::of(disk, engine, now, history, events, true))
    }

    /// Starts on what the disk has, with the log off.
    pub(super) fn without_log(disk: &Simulated, settings: AofSettings, history: History) -> Life {
        let (mut engine, recovered) = recover_as(disk, false).expect("a good disk");
        engine.configure_aof(settings);
        engine.know_aof(recovered.manifest);
        Life::of(disk, engine, Instant::now(), history, Vec::new(), false)
    }

    fn of(
        disk: &Simulated,
        engine: Engine,
        now: Instant,
        mut history: History,
        events: Vec<AofEvent>,
        is_on: bool,
    ) -> Life {
        history.steps_of.entry(engine.digest()).or_insert(0);
        let steps = history.steps(&engine).expect("one of the past");
        let life = Life {
            disk: disk.clone(),
            engine,
            now,
            history,
            steps,
            waiting: Vec::new(),
            acked: steps,
            synced: steps,
            events,
            is_on,
            at_risk: VecDeque::new(),
        };
        // What was loaded was made durable when the log began.
        if is_on {
            life.disk.note("acked", steps);
            life.disk.note("synced", steps);
        }
        life
    }

    fn run(&mut self, db: u64, words: &[&[u8]]) {
        let name = std::str::from_utf8(words[0]).expect("ASCII");
        let command = command::all().find(|c| c.spec.name == name).expect("a command");
        let mut reply = Reply::new(Protocol::Resp2);
        let db = usize::try_from(db).expect("a few");
        self.engine.apply(command, Args(words), Caller::new(db, NOW), &mut reply);
        assert_ne!(reply.bytes().first(), Some(&b'-'));
    }

    /// One step: commands that are done together or not at all, none of which may be done twice.
    pub(super) fn step(&mut self) {
        self.steps += 1;
        let k = self.steps.to_string();
        let db = self.steps / 2 % DATABASES;
        self.run(db, &[b"rpush", b"list", k.as_bytes()]);
        if self.steps.is_multiple_of(3) {
            self.run(db, &[b"incrby", b"sum", k.as_bytes()]);
            self.run((db + 1) % DATABASES, &[b"set", b"last", k.as_bytes()]);
        }
        if self.steps.is_multiple_of(7) {
            let long = vec![b'x'; 700];
            self.run(db, &[b"append", b"long", &long]);
        }
        let former = self.history.steps_of.insert(self.engine.digest(), self.steps);
        assert!(former.is_none_or(|steps| steps == self.steps), "each step is seen in the data");
        self.engine.log_settled(Unit::Transaction, NOW);
        self.waiting.push((self.steps, self.engine.log_position()));
        self.engine.flush_log(self.now);
        self.tell();
    }

    /// Tells clients how far their steps are safe.
    fn tell(&mut self) {
        let (acked, synced) = (self.engine.acked_position(self.now), self.engine.synced_position());
        assert!(synced <= self.engine.log_position() && acked <= self.engine.log_position());
        if !self.is_on && self.engine.aof_state() == AofState::On {
            self.is_on = true;
        }
        if !self.is_on {
            return;
        }
        let upto = |position: u64, waiting: &[(u64, u64)]| {
            waiting.iter().take_while(|(_, end)| *end <= position).last().map(|(steps, _)| *steps)
        };
        if let Some(steps) = upto(acked, &self.waiting).filter(|steps| *steps > self.acked) {
            self.acked = steps;
            self.disk.note("acked", steps);
            self.at_risk.push_back((steps, self.now));
        }
        if let Some(steps) = upto(synced, &self.waiting).filter(|steps| *steps > self.synced) {
            self.synced = steps;
            self.disk.note("synced", steps);
        }
        let done = self.synced.min(self.acked);
        self.waiting.retain(|(steps, _)| *steps > done);
        self.at_risk.retain(|(steps, _)| *steps > self.synced);
        if self.engine.aof_settings().policy == SyncPolicy::EverySec
            && let (Some((_, first)), Some((_, last))) = (self.at_risk.front(), self.at_risk.back())
        {
            let at_risk = last.saturating_duration_since(*first);
            assert!(at_risk <= MOST_AT_RISK, "a power cut loses what was acknowledged in {at_risk:?}");
        }
    }

    /// Lets time go by, and the log do what it has to.
    pub(super) fn poll(&mut self, after: Duration) {
        self.now += after;
        let events = self.engine.poll_aof(self.now, NOW, 0);
        self.events.extend(events);
        self.tell();
    }

    /// Polls until nothing is under way and everything is acknowledged; `false` if that does not come.
    pub(super) fn settle(&mut self) -> bool {
        const ENOUGH: usize = 400;
        for _ in 0..ENOUGH {
            let is_done = self.engine.aof_state() == AofState::On
                && *self.engine.log_health() == LogHealth::Fine
                && !self.engine.is_rewriting()
                && self.engine.acked_position(self.now) >= self.engine.log_position();
            if is_done {
                return true;
            }
            self.poll(Duration::from_millis(400));
        }
        false
    }

    /// Saves a snapshot: that is a promise, too.
    pub(super) fn save(&mut self) {
        let later = UnixMs(NOW.0 + 10_000);
        self.disk.set_time(later);
        self.engine.save(later, 0).expect("a good disk");
        self.disk.note("acked", self.steps);
        self.disk.note("synced", self.steps);
    }

    pub(super) fn turn_off(&mut self) {
        let stopped = self.engine.stop_aof(self.now, NOW);
        if stopped.is_ok() {
            self.tell();
        }
        self.is_on = false;
        self.waiting.clear();
        self.at_risk.clear();
    }

    pub(super) fn turn_on(&mut self) {
        self.engine.start_aof(self.now);
        self.waiting.clear();
    }
}
