//! Online backups: what was sealed is what there was at that moment, whatever fails or crashes meanwhile,
//! and the server's own files are none of a backup's business.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Options;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::{self, Args};
use cairn_engine::engine::{Caller, Engine, EngineConfig};
use cairn_engine::persist::aof::{AofSettings, AofState, SyncPolicy, Unit};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::backup::BackupState;
use cairn_engine::persist::load::LoadProgress;
use cairn_engine::persist::recover::{Listener, Note, Outside, RecoverOptions};
use cairn_engine::persist::storage::{Disk, Storage};
use cairn_engine::value::ValueRef;

use crate::conversations::real::Server;
use crate::fresh;
use crate::simulated::{DIR, Dose, Simulated, crash_everywhere, fail_everywhere};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

struct Silent;

impl Listener for Silent {
    fn progress(&mut self, _: LoadProgress) {}
    fn note(&mut self, _: Note) {}
    fn outside(&mut self, argv: &[&[u8]]) -> Outside {
        Outside::Refuse(argv[0].escape_ascii().to_string())
    }
}

fn config(dir: &Path, apart: Apart) -> EngineConfig {
    EngineConfig { apart, ..fresh::config(&dir.join("dump.rdb")) }
}

fn settings(dir: PathBuf) -> AofSettings {
    AofSettings { dir, policy: SyncPolicy::EverySec, checksum: true, ..AofSettings::default() }
}

/// An engine with its files in `dir`, and the time that its timers see.
struct Home {
    engine: Engine,
    dir: PathBuf,
    /// Whether children and threads take their time.
    is_apart: bool,
    started: Instant,
    passed: Cell<Duration>,
}

impl Home {
    fn new(dir: &Path, storage: Arc<dyn Storage>, apart: Apart, has_log: bool) -> Home {
        let mut engine = Engine::with_storage(config(dir, apart), NOW, storage);
        let started = Instant::now();
        if has_log {
            engine.configure_aof(settings(dir.join("appendonlydir")));
            engine.start_aof(started);
        }
        Home {
            engine,
            dir: dir.to_owned(),
            is_apart: apart == Apart::ForkAndThreads,
            started,
            passed: Cell::new(Duration::ZERO),
        }
    }

    fn now(&self) -> Instant {
        self.started + self.passed.get()
    }

    fn poll(&mut self) {
        self.passed.set(self.passed.get() + Duration::from_millis(100));
        self.engine.poll_aof(self.now(), NOW, 0);
    }

    /// Polls until it is so, or for long enough that it will never be.
    fn wait(&mut self, until: impl Fn(&Engine) -> bool) -> bool {
        for _ in 0..2000 {
            self.poll();
            if until(&self.engine) {
                return true;
            }
            if self.is_apart {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        false
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let name = line.split(' ').next().unwrap_or_default();
        let command = command::all().find(|c| c.spec.name == name).expect("a command");
        let mut reply = Reply::new(Protocol::Resp2);
        self.engine.apply(command, Args(&words), Caller::new(0, NOW), &mut reply);
        assert_ne!(reply.bytes().first(), Some(&b'-'), "{line}");
        self.engine.log_settled(Unit::Transaction, NOW);
        self.engine.flush_log(self.now());
    }

    fn backup_dir(&self) -> PathBuf {
        self.dir.join("backupdir")
    }

    fn start(&mut self) -> bool {
        let settings = settings(self.backup_dir());
        let now = self.now();
        self.engine.start_backup(settings, now, NOW).is_ok()
            && self.wait(|engine| !matches!(state(engine), BackupState::Pending | BackupState::Snapshotting))
            && state(&self.engine) == BackupState::Incrementing
    }

    fn seal(&mut self) -> bool {
        let now = self.now();
        self.engine.seal_backup(false, now, NOW).is_ok()
    }
}

fn state(engine: &Engine) -> BackupState {
    engine.backup().state()
}

/// What a start from a sealed set comes to.
fn restored(storage: Arc<dyn Storage>, dir: &Path) -> Engine {
    let mut engine = Engine::with_storage(config(Path::new("/nowhere"), Apart::Here), NOW, storage);
    let options = RecoverOptions { enabled: false, ..options(dir.to_owned()) };
    engine
        .recover(NOW, &options, &mut fresh::scripts(), &mut Silent)
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    engine
}

fn options(aof_dir: PathBuf) -> RecoverOptions {
    RecoverOptions {
        enabled: true,
        rdb_path: aof_dir.join("none.rdb"),
        aof_dir,
        filename: "appendonly.aof".to_owned(),
        load_truncated: true,
        corrupt_tail_max_bytes: 0,
        checksum: true,
        strict: true,
        rdb: Options::default(),
    }
}

fn write_some(home: &mut Home, from: usize) {
    for i in from..from + 3 {
        home.run(&format!("set k{i} {i}"));
        home.run(&format!("rpush l a{i} b{i}"));
    }
    home.run("incr n");
}

/// A backup from start to seal, with writes before, between and after. The digest of the seal, if it came to
/// that.
fn work(home: &mut Home) -> Option<[u8; 20]> {
    write_some(home, 0);
    let is_started = home.start();
    write_some(home, 10);
    home.poll();
    write_some(home, 20);
    let at_seal = home.engine.digest();
    let is_sealed = is_started && home.seal();
    write_some(home, 30);
    home.poll();
    is_sealed.then_some(at_seal)
}

#[test]
fn a_sealed_set_is_what_there_was_at_the_seal() {
    for has_log in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut home = Home::new(dir.path(), Arc::new(Disk), Apart::ForkAndThreads, has_log);
        let files = |home: &Home| home.engine.backup().files().to_vec();
        assert!(!has_log || home.wait(|engine| engine.aof_state() == AofState::On));
        let digest = work(&mut home).expect("nothing fails");
        let names: Vec<_> =
            files(&home).iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(
            names,
            ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]
        );
        assert_eq!(fs::read_dir(home.backup_dir()).unwrap().count(), 3);
        assert_eq!(restored(Arc::new(Disk), &home.backup_dir()).digest(), digest);
        assert_ne!(home.engine.digest(), digest, "the work goes on");
        // Nothing of it is lost on the log.
        if has_log {
            home.engine.close_aof(home.now(), NOW).unwrap();
            let own = restored(Arc::new(Disk), &dir.path().join("appendonlydir"));
            assert_eq!(own.digest(), home.engine.digest());
        }
        home.engine.clean_up_backup().unwrap();
        assert_eq!(state(&home.engine), BackupState::Idle);
        assert_eq!(fs::read_dir(home.backup_dir()).unwrap().count(), 0);
    }
}

#[test]
fn states_and_refusals_are_those_of_the_command() {
    let disk = Simulated::new();
    let mut home = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
    let said = |result: Result<(), _>| {
        result.err().map_or_else(String::new, |e: cairn_engine::persist::backup::BackupRefused| e.to_string())
    };
    let now = home.now();
    assert_eq!(said(home.engine.abort_backup("x", now)), "No backup in progress");
    assert!(said(home.engine.seal_backup(false, now, NOW)).starts_with("No backup ready to seal"));
    assert_eq!(said(home.engine.clean_up_backup()), "");
    home.run("set a 1");
    home.engine.start_backup(settings(home.backup_dir()), now, NOW).unwrap();
    assert_eq!(state(&home.engine), BackupState::Pending);
    assert!(home.engine.backup().files().is_empty());
    let again = home.engine.start_backup(settings(home.backup_dir()), now, NOW);
    assert!(said(again).starts_with("A backup is already in progress"));
    assert_eq!(said(home.engine.clean_up_backup()), "Backup is in progress");
    assert!(home.wait(|engine| state(engine) == BackupState::Incrementing));
    assert_eq!(home.engine.backup().files().len(), 1);
    let now = home.now();
    home.engine.abort_backup("aborted by user", now).unwrap();
    assert_eq!((state(&home.engine), home.engine.backup().error()), (BackupState::Failed, "aborted by user"));
    assert_eq!(disk.names(home.backup_dir()), [""; 0]);
    // A failed one is no obstacle.
    assert!(home.start() && home.seal());
    let (started, ended) = home.engine.backup().times();
    assert_eq!((started, ended), (NOW, NOW));
    let again = home.engine.start_backup(settings(home.backup_dir()), now, NOW);
    assert!(said(again).starts_with("A sealed backup exists"));
    home.engine.clean_up_backup().unwrap();
    disk.put(home.backup_dir().join("mine"), b"");
    let again = home.engine.start_backup(settings(home.backup_dir()), now, NOW);
    assert!(said(again).ends_with("is not empty"));
}

#[test]
fn a_backup_is_known_to_the_next_process() {
    let disk = Simulated::new();
    let mut home = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
    let next = || {
        let mut next = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
        let (dir, now) = (next.backup_dir(), next.now());
        next.engine.find_backup(&dir, &settings(dir.clone()).filename, now);
        next
    };
    assert_eq!(state(&next().engine), BackupState::Idle);
    home.run("set a 1");
    assert!(home.start());
    home.run("set b 2");
    let unsealed = next();
    assert_eq!(state(&unsealed.engine), BackupState::Failed);
    assert_eq!(unsealed.engine.backup().error(), "the server ended before the backup was sealed");
    assert!(home.seal());
    let mut sealed = next();
    assert_eq!(state(&sealed.engine), BackupState::Sealed);
    assert_eq!(sealed.engine.backup().files(), home.engine.backup().files());
    // More than was sealed is not what was sealed.
    let incr = home.engine.backup().files()[1].clone();
    let text = disk.get(&incr).expect("the increment");
    disk.put(&incr, &[&text[..], b"x"].concat());
    assert_eq!(state(&next().engine), BackupState::Failed);
    disk.put(&incr, &text);
    sealed.engine.clean_up_backup().unwrap();
    assert_eq!(disk.names(home.backup_dir()), [""; 0]);
    assert_eq!(state(&next().engine), BackupState::Idle);
    disk.put(
        home.backup_dir().join("appendonly.aof.manifest"),
        b"file a seq 1 type b\nfile c seq 1 type i\n",
    );
    assert_eq!(state(&next().engine), BackupState::Idle, "it has no sum, so it may be anybody's");
}

#[test]
fn a_sealed_backup_without_checksums_is_known_to_the_next_process() {
    let disk = Simulated::new();
    let mut home = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
    let dir = home.backup_dir();
    let plain = || AofSettings { checksum: false, ..settings(dir.clone()) };
    let next = || {
        let mut next = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
        let now = next.now();
        next.engine.find_backup(&dir, &plain().filename, now);
        next
    };
    home.run("set a 1");
    let now = home.now();
    home.engine.start_backup(plain(), now, NOW).unwrap();
    assert!(home.wait(|engine| state(engine) == BackupState::Incrementing));
    home.run("set b 2");
    assert_eq!(state(&next().engine), BackupState::Failed, "it is ours, and not sealed");
    assert!(home.seal());
    let digest = home.engine.digest();
    let sealed = next();
    assert_eq!(state(&sealed.engine), BackupState::Sealed);
    assert_eq!(sealed.engine.backup().files(), home.engine.backup().files());
    assert_eq!(restored(disk.storage(), &dir).digest(), digest);
    let text = disk.get(&home.engine.backup().files()[2]).expect("the manifest");
    assert!(!text.windows(5).any(|word| word == b"cairn"), "{}", text.escape_ascii());
    // What is shorter than it was is not what was sealed.
    let incr = home.engine.backup().files()[1].clone();
    let text = disk.get(&incr).expect("the increment");
    disk.put(&incr, &text[..text.len() - 1]);
    assert_eq!(state(&next().engine), BackupState::Failed);
}

#[test]
fn what_a_crash_leaves_of_a_backup_can_be_cleaned_up_by_the_next_process() {
    for checksum in [true, false] {
        let disk = Simulated::new();
        let mut home = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
        let dir = home.backup_dir();
        let settings = AofSettings { checksum, ..settings(dir.clone()) };
        let dose = Dose::of(200);
        home.run("set a 1");
        disk.begin();
        let now = home.now();
        home.engine.start_backup(settings.clone(), now, NOW).unwrap();
        assert!(home.wait(|engine| state(engine) == BackupState::Incrementing));
        home.run("set b 2");
        assert!(home.seal());
        let mut states = [0; 3];
        crash_everywhere(&dose, &disk, |_, image| {
            let mut next = Home::new(Path::new(DIR), image.storage(), Apart::Here, false);
            let now = next.now();
            next.engine.find_backup(&dir, &settings.filename, now);
            states[match state(&next.engine) {
                BackupState::Idle => 0,
                BackupState::Failed => 1,
                _ => 2,
            }] += 1;
            next.engine.clean_up_backup().unwrap();
            next.engine.start_backup(settings.clone(), now, NOW).unwrap_or_else(|e| panic!("{e}"));
        });
        assert!(states.iter().all(|n| *n > 0), "{states:?}");
    }
}

#[test]
fn a_sealed_set_goes_when_its_time_is_over() {
    let disk = Simulated::new();
    let mut home = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
    assert!(home.start() && home.seal());
    for _ in 0..50 {
        home.poll();
    }
    assert_eq!(state(&home.engine), BackupState::Sealed);
    home.engine.keep_sealed_backup_for(Duration::from_secs(7));
    assert!(home.engine.next_aof_poll().is_some());
    assert!(home.wait(|engine| state(engine) == BackupState::Idle));
    assert!(home.passed.get() >= Duration::from_secs(7) && home.passed.get() < Duration::from_secs(8));
    assert_eq!(disk.names(home.backup_dir()), [""; 0]);
}

#[test]
fn a_backup_that_fails_is_no_harm_to_the_server() {
    let dose = Dose::of(150);
    let make = || {
        let disk = Simulated::new();
        disk.begin();
        disk
    };
    let runs = fail_everywhere(&dose, make, |disk, plan| {
        let mut home = Home::new(Path::new(DIR), disk.storage(), Apart::Here, false);
        let sealed = work(&mut home);
        assert!(!home.engine.log_health().is_failed());
        disk.fail(None);
        match sealed {
            Some(digest) => {
                assert_eq!(state(&home.engine), BackupState::Sealed);
                assert_eq!(restored(disk.storage(), &home.backup_dir()).digest(), digest);
            }
            None => {
                assert!(matches!(state(&home.engine), BackupState::Failed | BackupState::Idle));
                assert!(home.engine.backup().files().is_empty());
                // What is left, if it could not be removed, is no set that could be taken for one.
                let left = disk.names(home.backup_dir());
                let has_manifest = left.iter().any(|name| name == "appendonly.aof.manifest");
                assert!(plan.lasts || !has_manifest, "{left:?}");
                let _ = home.engine.clean_up_backup();
                for name in disk.names(home.backup_dir()) {
                    disk.storage().remove(&home.backup_dir().join(name)).unwrap();
                }
                assert!(home.start() && home.seal(), "the next one is fine");
                let own = home.engine.digest();
                assert_eq!(restored(disk.storage(), &home.backup_dir()).digest(), own);
            }
        }
    });
    println!("{runs} runs");
    assert!(runs > 50);
}

#[test]
fn a_crash_leaves_the_log_alone_and_what_was_sealed_whole() {
    let dose = Dose::of(500);
    let disk = Simulated::new();
    let mut home = Home::new(Path::new(DIR), disk.storage(), Apart::Here, true);
    assert!(home.wait(|engine| engine.aof_state() == AofState::On));
    home.run("set promised 1");
    assert!(home.wait(|engine| engine.synced_position() == engine.log_position()));
    disk.begin();
    let digest = work(&mut home).expect("nothing fails");
    disk.note("sealed", 1);
    home.run("set promised 2");
    assert!(home.wait(|engine| engine.synced_position() == engine.log_position()));
    disk.note("promised", 2);
    home.poll();
    let backup_dir = home.backup_dir();
    crash_everywhere(&dose, &disk, |crash, image| {
        let dir = Path::new(DIR).join("appendonlydir");
        let mut own = Engine::with_storage(config(Path::new(DIR), Apart::Here), NOW, image.storage());
        own.recover(NOW, &options(dir), &mut fresh::scripts(), &mut Silent)
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        let promised = crash.last("promised").unwrap_or(1) as i64;
        let found = own.keyspace().db(0).entry(b"promised").expect("it was promised");
        let ValueRef::String(found) = found.view() else { panic!("{:?}", found.view()) };
        assert!(found.as_i64() >= Some(promised), "{found:?}");
        if crash.last("sealed").is_some() {
            assert_eq!(restored(image.storage(), &backup_dir).digest(), digest);
        }
    });
}

#[test]
fn real_servers_load_a_sealed_set() {
    let Some(binary) = std::env::var_os("CAIRN_REFERENCE_SERVER") else {
        println!("skipped: CAIRN_REFERENCE_SERVER does not name a redis-server or valkey-server");
        return;
    };
    let binary = Path::new(&binary);
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::new(dir.path(), Arc::new(Disk), Apart::ForkAndThreads, false);
    let digest = work(&mut home).expect("nothing fails");
    let into = tempfile::tempdir().unwrap();
    let folder = into.path().join("appendonlydir");
    fs::create_dir(&folder).unwrap();
    for file in home.engine.backup().files() {
        fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let more = ["--appendonly", "yes", "--enable-debug-command", "yes"];
    let mut server = Server::start_in(into, binary, Protocol::Resp2, &more);
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(server.ask(&["DEBUG", "DIGEST"]), format!("+{hex}"));
}
