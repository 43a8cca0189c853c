//! The start: finding the data, loading them while clients are answered, and beginning the log.
//!
//! Which files are the data, and what is in them, is the engine's matter. Here it is told, and the process
//! ends if they cannot be used: nothing was changed then. Words: valkey src/server.c `loadDataFromDisk`,
//! src/rdb.c, src/aof.c.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cairn_engine::codec::rdb::{Dialect, Options};
use cairn_engine::engine::{Engine, EngineConfig};
use cairn_engine::keyspace::HashSeed;
use cairn_engine::os::huge_pages::{self, PutOff};
use cairn_engine::persist::aof::{AofState, Found, LastFile};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::load::{LoadError, LoadProgress, Loaded};
use cairn_engine::persist::recover::{
    Level, Listener, Note, Outside, Preload, RecoverOptions, Recovered, Source,
};
use cairn_engine::script::Scripts;

use crate::aof_switch::aof_settings;
use crate::batch::Batch;
use crate::data::{limits, rdb_path, settings};
use crate::dispatch::{LOADING_ERROR, unknown_subcommand_text};
use crate::memory::tune;
use crate::server::Server;
use crate::version::REDIS_VERSION;

/// A load that is under way.
#[derive(Debug)]
pub(crate) struct Loading {
    /// When it began, in seconds since 1970.
    pub(crate) start_seconds: i64,
    /// When it began.
    pub(crate) since: Instant,
    /// How far it is.
    pub(crate) progress: LoadProgress,
    /// The engine whose data are to be replaced (DEBUG RELOAD and LOADAOF). Nobody sees its data meanwhile,
    /// but its files are ours.
    pub(crate) aside: Option<Box<Engine>>,
}

/// What the last load has brought, for INFO.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LastLoad {
    /// Keys that are there.
    pub(crate) keys: u64,
    /// Keys that were left out because their time had passed.
    pub(crate) expired: u64,
    /// Bytes of an unfinished end that was cut off.
    pub(crate) torn_bytes: u64,
    /// Commands of a log that answered with an error.
    pub(crate) errors: u64,
}

/// From where clients are answered while the data load.
enum Answers<'a> {
    /// At the start: whole turns.
    Turns(&'a mut Batch),
    /// From inside of a client's command.
    Inside,
}

/// Hears what happens while the data load.
struct Start<'a> {
    server: &'a mut Server,
    answers: Answers<'a>,
    /// Once it is known that much is to be loaded at a start: huge pages put off, if that can be.
    small_pages: Option<Option<PutOff>>,
}

/// Bytes of files from which on a start puts huge pages off. What puts them off takes a few megabytes itself.
const MUCH_BYTES: u64 = 32 << 20;

impl Listener for Start<'_> {
    fn progress(&mut self, progress: LoadProgress) {
        let Some(loading) = &mut self.server.loading else { return };
        let keys = progress.keys.saturating_sub(loading.progress.keys);
        loading.progress = progress;
        if self.small_pages.is_none() && progress.total_bytes >= MUCH_BYTES {
            self.small_pages = Some(huge_pages::put_off());
        }
        let delay = load_delay(keys, self.server.config.key_load_delay_us);
        match &mut self.answers {
            Answers::Turns(batch) => self.server.serve_while_loading(batch, delay),
            Answers::Inside => self.server.serve_inside_load(delay),
        }
    }

    fn note(&mut self, note: Note) {
        match note.level {
            Level::Notice => self.server.log.notice(format_args!("{}", note.text)),
            Level::Warning => self.server.log.warning(format_args!("{}", note.text)),
        }
    }

    /// Commands of sessions change no data: those that exist are passed over.
    fn outside(&mut self, argv: &[&[u8]]) -> Outside {
        let commands = &self.server.commands;
        let Some(mut number) = argv.first().and_then(|name| commands.find(name)) else {
            return Outside::Unknown;
        };
        if let (false, Some(word)) = (commands.entry(number).subcommands.is_empty(), argv.get(1)) {
            let Some(sub) = commands.subcommand(number, word) else {
                let text = unknown_subcommand_text(&commands.entry(number).full_name, word);
                return Outside::Refuse(text.trim_start_matches("ERR ").to_owned());
            };
            number = sub;
        }
        let entry = commands.entry(number);
        if !entry.spec.accepts(argv.len()) {
            let name = &entry.full_name;
            return Outside::Refuse(format!("wrong number of arguments for '{name}' command"));
        }
        Outside::Skip
    }
}

impl Server {
    /// Makes the engine, finds the data and loads them, answering clients meanwhile, and begins the log.
    /// False if that cannot be; no file was changed then, and the text log says why.
    pub(crate) fn load_data(&mut self, batch: &mut Batch, seed: [u64; 2]) -> bool {
        let mut engine = self.new_engine(seed);
        engine.hold_dir(self.dir_lock.take());
        engine.set_wake(self.aof.waker());
        self.loading = Some(self.begin_loading());
        let since = Instant::now();
        let options = self.recover_options(self.config.appendonly);
        let (now, preload) = (self.now, self.preload());
        let mut scripts = self.take_scripts();
        let mut start = Start { server: self, answers: Answers::Turns(batch), small_pages: None };
        let recovered = match &preload {
            Some(what) => engine.preload(what, now, &options, &mut scripts, &mut start),
            None => engine.recover(now, &options, &mut scripts, &mut start),
        };
        drop(start);
        self.scripting.scripts = scripts;
        self.loading = None;
        self.read_clock();
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(refusal) => {
                refusal.to_string().lines().for_each(|line| self.log.warning(format_args!("{line}")));
                return false;
            }
        };
        // Not before: a refusal changes nothing, not even what dead processes have left.
        self.tell_swept(&engine.sweep_temp_files());
        self.tell_recovered(&recovered, since.elapsed());
        if preload.is_some() {
            let file = String::from_utf8_lossy(&self.config.preload_file);
            self.log.warning(format_args!(
                "DB pre-loaded from {file}, and not from the folder's own files. Take preload-file out of the \
                 configuration: each start with it begins with that file again"
            ));
        }
        let is_begun = self.begin_log(engine, recovered);
        self.find_backup();
        is_begun
    }

    /// All scripts, for a log that may have more of them.
    fn take_scripts(&mut self) -> Scripts {
        let mut scripts = self.scripting.scripts.take();
        scripts.set_slow_after(self.busy_after());
        scripts
    }

    fn begin_loading(&self) -> Loading {
        let progress = LoadProgress::default();
        Loading { start_seconds: self.now.secs(), since: Instant::now(), progress, aside: None }
    }

    /// What is to be loaded in the place of what the folder has. The folder's own log is no such thing: it
    /// is gone on with.
    fn preload(&self) -> Option<Preload> {
        let (kind, path) = self.config.preload_file.split_at_checked(4)?;
        let path = PathBuf::from(OsStr::from_bytes(path));
        if kind == b"rdb:" {
            return Some(Preload::Dump(path));
        }
        let settings = aof_settings(&self.config);
        let own = settings.dir.join(format!("{}.manifest", settings.filename));
        let is_own = self.config.appendonly
            && path.canonicalize().is_ok_and(|path| own.canonicalize().is_ok_and(|own| own == path));
        (!is_own).then_some(Preload::Log(path))
    }

    /// An engine without keys that follows the configuration.
    pub(crate) fn new_engine(&self, seed: [u64; 2]) -> Engine {
        let config = EngineConfig {
            databases: usize::try_from(self.config.databases).unwrap_or(1),
            seed,
            limits: limits(&self.config, HashSeed(seed[0], seed[1])),
            rdb_path: rdb_path(&self.config).into(),
            settings: settings(&self.config, Dialect::Redis),
            redis_version: REDIS_VERSION,
            apart: Apart::ForkAndThreads,
        };
        let mut engine = Engine::new(config, self.now);
        let ttl = u64::try_from(self.config.backup_sealed_ttl_s).unwrap_or(0);
        engine.keep_sealed_backup_for(Duration::from_secs(ttl));
        tune(&mut engine, &self.config);
        engine.configure_aof(aof_settings(&self.config));
        engine.keyspace_mut().tick(self.now);
        engine
    }

    /// Goes on with the log that was loaded, or begins one, if there is to be one; it is there, durably,
    /// before anybody is served.
    fn begin_log(&mut self, mut engine: Engine, recovered: Recovered) -> bool {
        let Recovered { manifest, last, log_bytes, base_bytes, .. } = recovered;
        if !self.config.appendonly {
            engine.know_aof(manifest);
            self.engine = Some(engine);
            self.update_wants();
            return true;
        }
        self.tell_swept(&engine.sweep_aof());
        let last = last.map(LastFile::from);
        let found = Found { manifest, last, bytes: log_bytes, base_bytes };
        let begun = engine.begin_aof(found, self.now_instant, self.now);
        self.engine = Some(engine);
        match begun {
            Ok(events) => {
                events.iter().for_each(|event| self.tell_aof_event(event));
                self.aof.is_on = true;
                self.update_wants();
                true
            }
            Err(error) => {
                self.log.warning(format_args!("Can't open the append-only file: {error}. Exiting."));
                false
            }
        }
    }

    /// What is checked of a snapshot besides its layout.
    pub(crate) fn load_options(&self) -> Options {
        Options {
            require_checksum: self.config.rdb_require_checksum,
            relaxed_version: self.config.rdb_relaxed_version,
            ..Options::default()
        }
    }

    /// What the configuration says about a start; `enabled` if the data are in the log.
    fn recover_options(&self, enabled: bool) -> RecoverOptions {
        let settings = aof_settings(&self.config);
        RecoverOptions {
            enabled,
            rdb_path: rdb_path(&self.config).into(),
            aof_dir: settings.dir,
            filename: settings.filename,
            load_truncated: settings.load_truncated,
            corrupt_tail_max_bytes: settings.corrupt_tail_max_bytes,
            checksum: settings.checksum,
            strict: false,
            rdb: self.load_options(),
        }
    }

    fn tell_recovered(&mut self, recovered: &Recovered, took: Duration) {
        self.last_load = LastLoad {
            torn_bytes: recovered.torn.as_ref().map_or(0, |torn| torn.bytes),
            errors: recovered.errors,
            ..LastLoad::default()
        };
        let seconds = took.as_secs_f64();
        match &recovered.source {
            Source::Nothing => {}
            Source::Dump(loaded) => {
                self.tell_loaded(loaded);
                self.log.notice(format_args!("DB loaded from disk: {seconds:.3} seconds"));
            }
            Source::Log => {
                if let Some(base) = &recovered.base {
                    self.tell_loaded(base);
                }
                self.log.notice(format_args!("DB loaded from append only file: {seconds:.3} seconds"));
            }
        }
    }

    /// DEBUG LOADAOF: writes what is logged, and puts what the log holds in the place of what is in memory.
    ///
    /// # Errors
    /// What to answer; what is in memory is as it was.
    pub(crate) fn load_log_again(&mut self) -> Result<(), &'static str> {
        const FAILED: &str = "ERR Error trying to load the AOF files, check server logs.";
        if !self.write_all_logged() {
            return Err(FAILED);
        }
        let (options, begun) = (self.recover_options(true), Instant::now());
        let loaded = self.load_beside(|other, start, scripts| {
            let now = start.server.now;
            let recovered = other.recover(now, &options, scripts, start);
            match recovered {
                Ok(recovered) if recovered.source == Source::Nothing => Err(None),
                Ok(recovered) => Ok(recovered),
                Err(refusal) => Err(Some(refusal.to_string())),
            }
        });
        let (other, recovered) = match loaded.ok_or(LOADING_ERROR)? {
            Ok(loaded) => loaded,
            Err(refusal) => {
                let lines = refusal.unwrap_or_default();
                lines.lines().for_each(|line| self.log.warning(format_args!("{line}")));
                return Err(FAILED);
            }
        };
        self.tell_recovered(&recovered, begun.elapsed());
        // Of a log that is off only that is known which its files say.
        if let Some(engine) = self.engine.as_mut().filter(|engine| engine.aof_state() == AofState::Off) {
            engine.know_aof(recovered.manifest);
        }
        self.end_backup_without_seal("the data set was loaded anew");
        self.take_data_of(other);
        self.log.notice(format_args!("Append Only File loaded by DEBUG LOADAOF"));
        Ok(())
    }

    /// Has all that was logged be in the file. False if that cannot be.
    fn write_all_logged(&mut self) -> bool {
        const NAP: Duration = Duration::from_millis(1);
        const PATIENCE: Duration = Duration::from_secs(30);
        let begun = Instant::now();
        while self.aof.is_on {
            self.flush_log();
            self.tend_log();
            let is_waiting = self.engine.as_ref().is_some_and(|engine| {
                let stats = engine.aof_stats(self.now_instant);
                engine.aof_state() == AofState::On && stats.pending_bytes + stats.pending_syncs > 0
            });
            if !is_waiting {
                break;
            }
            if self.aof.error().is_some() || begun.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(NAP);
            self.read_clock();
        }
        true
    }

    /// Answers clients between two pieces of the file, for `delay` at the least.
    fn serve_while_loading(&mut self, batch: &mut Batch, delay: Duration) {
        let until = Instant::now() + delay;
        let mut broken = self.turn(batch, Duration::ZERO).is_err();
        while !broken && !self.is_ending() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            broken = self.turn(batch, left).is_err();
        }
        if let Some(status) = self.shutdown.status().or(broken.then_some(1)) {
            // There is nothing to save: what is loaded so far is a part of what the file has.
            self.finish();
            std::process::exit(status);
        }
    }

    /// Loads into an engine that is new, while there is none in the server, and clients are answered so.
    /// What `load` says; `None` if a load is under way already.
    fn load_beside<T, E>(
        &mut self,
        load: impl FnOnce(&mut Engine, &mut Start<'_>, &mut Scripts) -> Result<T, E>,
    ) -> Option<Result<(Engine, T), E>> {
        // What was acknowledged so far is in the log before anybody is answered.
        self.flush_log();
        let engine = self.engine.take()?;
        let seed = engine.limits.seed;
        let mut other = self.new_engine([seed.0, seed.1]);
        self.loading = Some(Loading { aside: Some(Box::new(engine)), ..self.begin_loading() });
        let mut scripts = self.take_scripts();
        let mut start = Start { server: self, answers: Answers::Inside, small_pages: Some(None) };
        let loaded = load(&mut other, &mut start, &mut scripts);
        self.scripting.scripts = scripts;
        self.engine = self.loading.take().and_then(|loading| loading.aside).map(|engine| *engine);
        // Both may have been asked for something else meanwhile.
        self.configure_engine();
        self.update_wants();
        Some(loaded.map(|loaded| (other, loaded)))
    }

    /// Puts what was loaded beside in the place of what is there, and tells those who mind.
    pub(crate) fn take_data_of(&mut self, other: Engine) {
        let Some(engine) = &mut self.engine else { return };
        (0..engine.keyspace().len()).for_each(|db| engine.effects_mut().flushed(db));
        engine.take_data_of(other);
    }

    /// As `load_beside`, of the snapshot's file. `clears` gives up what is in memory first, so that there is
    /// room for as much again.
    pub(crate) fn load_dump_beside(
        &mut self,
        clears: bool,
    ) -> Option<Result<(Engine, Option<Loaded>), LoadError>> {
        let (now, options) = (self.now, self.load_options());
        self.load_beside(|other, start, _| {
            let aside = start.server.loading.as_mut().and_then(|loading| loading.aside.as_mut());
            if let Some(engine) = aside.filter(|_| clears) {
                engine.clear();
            }
            other.load(now, options, &mut |progress| start.progress(progress))
        })
    }

    /// Answers clients between two pieces of a file that is loaded for a client's command, for `delay` at the
    /// least. It is as if nothing had happened then.
    fn serve_inside_load(&mut self, delay: Duration) {
        const NAP: Duration = Duration::from_millis(1);
        let (now, caller) = (self.now, self.caller);
        let (exec_writes, is_in_exec) = (self.aof.exec_writes, self.aof.is_in_exec);
        let until = Instant::now() + delay;
        loop {
            self.serve_while_busy();
            self.follow_signal();
            if let Some(status) = self.shutdown.status() {
                self.finish();
                std::process::exit(status);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(NAP));
        }
        (self.now, self.caller) = (now, caller);
        (self.aof.exec_writes, self.aof.is_in_exec) = (exec_writes, is_in_exec);
    }

    pub(crate) fn tell_loaded(&mut self, loaded: &Loaded) {
        (self.last_load.keys, self.last_load.expired) = (loaded.keys, loaded.expired);
        let aux = |name: &[u8]| {
            let found = loaded.aux.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        if let Some(version) = aux(b"valkey-ver").or_else(|| aux(b"redis-ver")) {
            self.log.notice(format_args!("Loading RDB produced by version {version}"));
        }
        if let Some(created) = aux(b"ctime").and_then(|text| text.parse::<i64>().ok()) {
            let age = self.now.secs().saturating_sub(created).max(0);
            self.log.notice(format_args!("RDB age {age} seconds"));
        }
        for key in &loaded.empty_keys {
            self.log.notice(format_args!("rdbLoadObject skipping empty key: {}", key.escape_ascii()));
        }
        if loaded.unchecked {
            self.log.warning(format_args!("RDB file was saved with checksum disabled: no check performed."));
        }
        if loaded.trailing_bytes > 0 {
            self.log.warning(format_args!(
                "{} bytes behind the end of the RDB file were not read",
                loaded.trailing_bytes
            ));
        }
        let (keys, expired, empty) = (loaded.keys, loaded.expired, loaded.empty);
        match empty {
            0 => self
                .log
                .notice(format_args!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.")),
            _ => self.log.notice(format_args!(
                "Done loading RDB, keys loaded: {keys}, keys expired: {expired}, empty keys skipped: {empty}."
            )),
        }
    }
}

/// How long `key-load-delay` makes the loading of so many keys take: so many microseconds each, or,
/// below zero, one for so many keys.
fn load_delay(keys: u64, delay_us: i64) -> Duration {
    let us = delay_us.unsigned_abs();
    Duration::from_micros(if delay_us >= 0 { keys.saturating_mul(us) } else { keys / us })
}
