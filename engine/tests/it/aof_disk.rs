//! The append only file on the machine's own files, with its threads and children.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::aof::manifest::Manifest;
use cairn_engine::codec::aof::reserve;
use cairn_engine::codec::rdb::Options;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::{self, Args};
use cairn_engine::engine::{Caller, Engine};
use cairn_engine::persist::aof::{
    AofEvent, AofSettings, AofState, Found, LastFile, Reserve, SyncPolicy, Unit, Wake,
};
use cairn_engine::persist::load::LoadProgress;
use cairn_engine::persist::recover::{Listener, Note, Outside, RecoverOptions};

use crate::fresh;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    engine: Engine,
    woken: Receiver<()>,
    events: Vec<AofEvent>,
}

impl Server {
    /// One whose log is being turned on.
    fn new(dir: &Path, policy: SyncPolicy) -> Server {
        let (wake, woken) = channel();
        let mut engine = Engine::new(fresh::config(&dir.join("dump.rdb")), NOW);
        engine.set_wake(Wake::new(Arc::new(move || {
            let _ = wake.send(());
        })));
        engine.configure_aof(AofSettings {
            dir: dir.join("appendonlydir"),
            policy,
            ..AofSettings::default()
        });
        engine.start_aof(Instant::now());
        let mut server = Server { engine, woken, events: Vec::new() };
        server.wait(|engine| engine.aof_state() == AofState::On);
        server
    }

    fn run(&mut self, line: &str) {
        self.log(line);
        self.engine.flush_log(Instant::now());
    }

    /// Has the log's file end where the log does.
    fn write_nothing_ahead(&mut self) {
        let settings = self.engine.aof_settings().clone();
        self.engine.configure_aof(AofSettings { reserve: None, ..settings });
    }

    /// Runs and logs a command; nothing is written yet.
    fn log(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = command::all().find(|c| line.starts_with(c.spec.name)).expect("a command");
        let mut reply = Reply::new(Protocol::Resp2);
        self.engine.apply(command, Args(&words), Caller::new(0, NOW), &mut reply);
        self.engine.log_settled(Unit::Transaction, NOW);
    }

    fn wait(&mut self, until: impl Fn(&Engine) -> bool) {
        let started = Instant::now();
        loop {
            let events = self.engine.poll_aof(Instant::now(), NOW, 0);
            self.events.extend(events);
            if until(&self.engine) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{:?}", self.events);
            // A child does not wake anybody.
            let _ = self.woken.recv_timeout(Duration::from_millis(5));
        }
    }

    fn wait_for_ack(&mut self) {
        let position = self.engine.log_position();
        self.wait(|engine| engine.acked_position(Instant::now()) >= position);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn manifest(dir: &Path) -> Manifest {
    Manifest::parse(&fs::read(dir.join("appendonly.aof.manifest")).unwrap()).unwrap()
}

#[test]
fn a_log_is_turned_on_written_rewritten_and_closed() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec, SyncPolicy::No] {
        let dir = tempfile::tempdir().unwrap();
        let aof = dir.path().join("appendonlydir");
        let mut server = Server::new(dir.path(), policy);
        server.run("set a 1");
        server.run("incr a");
        server.wait_for_ack();
        let expected = ["base.rdb", "incr.aof"].map(|kind| format!("appendonly.aof.1.{kind}"));
        assert_eq!(names(&aof)[..2], expected);
        server.engine.start_rewrite(Instant::now()).unwrap();
        while server.engine.is_rewriting() {
            server.run("incr a");
            server.wait_for_ack();
        }
        assert!(server.events.contains(&AofEvent::RewriteDone), "{:?}", server.events);
        server.wait(|engine| engine.aof_manifest().history.is_empty());
        assert_eq!(
            names(&aof),
            ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"]
        );
        server.run("incr a");
        server.engine.close_aof(Instant::now(), NOW).unwrap();
        let last = &manifest(&aof).incr[0];
        let bytes = fs::metadata(aof.join("appendonly.aof.2.incr.aof")).unwrap().len();
        assert_eq!((last.marks.end, last.marks.blocks), (Some(bytes), Some(0)));
    }
}

struct Deaf;

impl Listener for Deaf {
    fn progress(&mut self, _: LoadProgress) {}
    fn note(&mut self, _: Note) {}
    fn outside(&mut self, _: &[&[u8]]) -> Outside {
        Outside::Unknown
    }
}

/// Starts on what there is, as a server does.
fn start(dir: &Path) -> Result<Engine, String> {
    start_heard_by(dir, &mut Deaf)
}

fn start_heard_by(dir: &Path, listener: &mut dyn Listener) -> Result<Engine, String> {
    let mut engine = Engine::new(fresh::config(&dir.join("dump.rdb")), NOW);
    let settings = AofSettings { dir: dir.join("appendonlydir"), ..AofSettings::default() };
    let options = RecoverOptions {
        enabled: true,
        rdb_path: dir.join("dump.rdb"),
        aof_dir: settings.dir.clone(),
        filename: settings.filename.clone(),
        load_truncated: true,
        corrupt_tail_max_bytes: 0,
        checksum: true,
        strict: false,
        rdb: Options::default(),
    };
    let recovered = engine.recover(NOW, &options, &mut fresh::scripts(), listener);
    let recovered = recovered.map_err(|refusal| refusal.to_string())?;
    engine.configure_aof(settings);
    let last = recovered.last.map(LastFile::from);
    let found = Found {
        manifest: recovered.manifest,
        last,
        bytes: recovered.log_bytes,
        base_bytes: recovered.base_bytes,
    };
    engine.begin_aof(found, Instant::now(), NOW).map_err(|error| error.to_string())?;
    Ok(engine)
}

/// Another server, which does not know our lock: once it hears this, it appends a command to a file.
struct Stranger<'a> {
    waits_for: &'a str,
    incr: &'a Path,
}

impl Listener for Stranger<'_> {
    fn progress(&mut self, _: LoadProgress) {}
    fn note(&mut self, note: Note) {
        if note.text.contains(self.waits_for) {
            let mut file = fs::OpenOptions::new().append(true).open(self.incr).unwrap();
            file.write_all(b"*3\r\n$3\r\nSET\r\n$5\r\nother\r\n$1\r\n1\r\n").unwrap();
        }
    }
    fn outside(&mut self, _: &[&[u8]]) -> Outside {
        Outside::Unknown
    }
}

#[test]
fn what_another_server_appends_while_a_log_is_read_is_not_cut_off() {
    for (torn, waits_for) in [("", "DB loaded from incr"), ("*3\r\n$3\r\nSE", "!!! Truncating the AOF")] {
        for policy in [SyncPolicy::Always, SyncPolicy::EverySec] {
            let dir = tempfile::tempdir().unwrap();
            let incr = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
            let mut server = Server::new(dir.path(), policy);
            server.run("set a 1");
            server.wait_for_ack();
            drop(server);
            let mut file = fs::read(&incr).unwrap();
            file.extend_from_slice(torn.as_bytes());
            fs::write(&incr, &file).unwrap();
            let before = names(incr.parent().unwrap());
            let refused = start_heard_by(dir.path(), &mut Stranger { waits_for, incr: &incr }).unwrap_err();
            assert!(refused.contains("another process writes to it"), "{refused}");
            let after = fs::read(&incr).unwrap();
            assert!(after.starts_with(&file) && after.ends_with(b"other\r\n$1\r\n1\r\n"), "{policy:?}");
            assert_eq!(names(incr.parent().unwrap()), before, "and nothing else is there");
        }
    }
}

#[test]
fn what_another_server_does_to_any_file_while_a_log_is_read_is_not_passed_over() {
    for other in ["base.rdb", "1.incr.aof", "2.incr.aof", "manifest"] {
        let dir = tempfile::tempdir().unwrap();
        let aof = dir.path().join("appendonlydir");
        let mut server = Server::new(dir.path(), SyncPolicy::Always);
        server.run("set a 1");
        server.wait_for_ack();
        drop(server);
        let mut two = manifest(&aof);
        let mut next = two.incr[0].clone();
        (next.name, next.seq) = (b"appendonly.aof.2.incr.aof".to_vec(), 2);
        two.incr.push(next);
        fs::write(aof.join("appendonly.aof.manifest"), two.format_checked()).unwrap();
        fs::write(aof.join("appendonly.aof.2.incr.aof"), "").unwrap();
        let name = names(&aof).into_iter().find(|name| name.ends_with(other)).unwrap();
        let path = aof.join(name);
        let before = fs::read(&path).unwrap();
        let refused =
            start_heard_by(dir.path(), &mut Stranger { waits_for: "DB loaded from incr", incr: &path });
        assert!(refused.is_err(), "{other}");
        let after = fs::read(&path).unwrap();
        assert!(after.starts_with(&before) && after.ends_with(b"other\r\n$1\r\n1\r\n"), "{other}");
        assert_eq!(names(&aof).len(), 4, "{other}");
    }
}

#[test]
fn the_end_of_a_log_whose_file_was_replaced_or_cut_is_refused_until_all_of_it_is_in_fresh_files() {
    for (policy, is_cut) in [
        (SyncPolicy::Always, false),
        (SyncPolicy::Always, true),
        (SyncPolicy::EverySec, false),
        (SyncPolicy::EverySec, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let incr = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
        let mut server = Server::new(dir.path(), policy);
        server.write_nothing_ahead();
        server.run("set a 1");
        server.wait_for_ack();
        let copied = fs::read(&incr).unwrap();
        server.run("set b 2");
        server.wait_for_ack();
        if is_cut {
            fs::write(&incr, &copied).unwrap();
        } else {
            let copy = dir.path().join("copy");
            fs::write(&copy, &copied).unwrap();
            fs::rename(copy, &incr).unwrap();
        }
        server.engine.close_aof(Instant::now(), NOW).unwrap_err();
        // A kill before the fresh files are there.
        server.engine.poll_aof(Instant::now(), NOW, 0);
        assert!(server.engine.is_rewriting());
        let refused = start(dir.path()).expect_err("there is less than was acknowledged");
        assert!(refused.contains("the manifest says at least"), "{refused}");
        server.wait(|engine| !engine.log_health().is_failed());
        server.engine.close_aof(Instant::now(), NOW).unwrap();
        let digest = server.engine.digest();
        drop(server);
        assert_eq!(start(dir.path()).unwrap().digest(), digest, "nothing is lost");
    }
}

#[test]
fn a_copy_with_all_that_was_acknowledged_is_started_on() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec] {
        let dir = tempfile::tempdir().unwrap();
        let incr = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
        let mut server = Server::new(dir.path(), policy);
        server.run("set a 1");
        server.wait_for_ack();
        let digest = server.engine.digest();
        let copy = dir.path().join("copy");
        fs::copy(&incr, &copy).unwrap();
        fs::rename(copy, &incr).unwrap();
        // So often it is looked.
        std::thread::sleep(Duration::from_millis(15));
        server.run("set b 2");
        server.wait(|engine| engine.log_health().is_failed());
        assert!(server.engine.is_rewriting(), "{policy:?}");
        assert_eq!(start(dir.path()).unwrap().digest(), digest, "{policy:?}");
    }
}

#[test]
fn a_folder_whose_log_was_removed_is_not_started_on_before_it_is_there_again() {
    for what in ["folder", "base", "incr", "manifest", "base and manifest", "incr and manifest"] {
        let dir = tempfile::tempdir().unwrap();
        let aof = dir.path().join("appendonlydir");
        let mut server = Server::new(dir.path(), SyncPolicy::Always);
        server.run("set a 1");
        server.wait_for_ack();
        for name in names(&aof) {
            if what == "folder" || what.split(" and ").any(|part| name.contains(part)) {
                fs::remove_file(aof.join(name)).unwrap();
            }
        }
        if what == "folder" {
            fs::remove_dir(&aof).unwrap();
        }
        server.engine.distrust_aof("it is gone", Instant::now());
        server.engine.poll_aof(Instant::now(), NOW, 0);
        assert!(server.engine.is_rewriting());
        let digest = server.engine.digest();
        match start(dir.path()) {
            Ok(engine) => assert_eq!((what, engine.digest()), ("manifest", digest)),
            Err(refused) => assert!(refused.contains("No such file or directory"), "{refused}"),
        }
        server.wait(|engine| !engine.log_health().is_failed() && engine.aof_manifest().history.is_empty());
        drop(server);
        assert_eq!(start(dir.path()).unwrap().digest(), digest, "{what}");
    }
}

#[test]
fn a_log_that_another_server_appends_to_is_left_to_it() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec] {
        let dir = tempfile::tempdir().unwrap();
        let aof = dir.path().join("appendonlydir");
        let incr = aof.join("appendonly.aof.1.incr.aof");
        let mut server = Server::new(dir.path(), policy);
        let settings = server.engine.aof_settings().clone();
        let reserve = Some(Reserve { least: 1, most: 100_000 });
        server.engine.configure_aof(AofSettings { reserve, ..settings });
        server.run("set a 1");
        server.wait_for_ack();
        let foreign = b"*3\r\n$3\r\nSET\r\n$5\r\nother\r\n$1\r\n1\r\n";
        fs::OpenOptions::new().append(true).open(&incr).unwrap().write_all(foreign).unwrap();
        // It is looked once a second.
        std::thread::sleep(Duration::from_millis(1100));
        let is_told = |server: &Server| {
            let is_it = |event: &AofEvent| matches!(event, AofEvent::Distrusted(why) if why.contains("another process"));
            server.events.iter().any(is_it)
        };
        let started = Instant::now();
        while !is_told(&server) {
            assert!(started.elapsed() < PATIENCE, "{:?}", server.events);
            server.run("incr a");
            server.wait(|_| true);
        }
        server.wait(|engine| !engine.log_health().is_failed() && engine.aof_manifest().history.is_empty());
        assert!(server.events.contains(&AofEvent::Recovered));
        server.run("set b 2");
        server.wait_for_ack();
        let digest = server.engine.digest();
        drop(server);
        assert_eq!(start(dir.path()).unwrap().digest(), digest, "nothing is lost");
        let aside = fs::read(aof.join("appendonly.aof.1.incr.aof.foreign")).unwrap();
        let is_there = aside.windows(foreign.len()).any(|window| window == foreign);
        assert!(is_there || policy == SyncPolicy::EverySec, "what the other has written last is kept");
    }
}

#[test]
fn what_another_server_has_appended_is_not_written_over_at_the_end() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec] {
        let dir = tempfile::tempdir().unwrap();
        let incr = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
        let mut server = Server::new(dir.path(), policy);
        server.write_nothing_ahead();
        server.run("set a 1");
        server.wait_for_ack();
        let mut file = fs::read(&incr).unwrap();
        file.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$5\r\nother\r\n$1\r\n1\r\n");
        fs::write(&incr, &file).unwrap();
        // What a client sends together with SHUTDOWN is logged and in no file.
        server.log("set b 2");
        let closed = server.engine.close_aof(Instant::now(), NOW).unwrap_err();
        assert!(closed.to_string().contains("another process writes to it"), "{closed}");
        assert_eq!(fs::read(&incr).unwrap(), file, "{policy:?}");
        server.wait(|engine| !engine.log_health().is_failed());
        server.engine.close_aof(Instant::now(), NOW).unwrap();
        let digest = server.engine.digest();
        drop(server);
        assert_eq!(start(dir.path()).unwrap().digest(), digest, "nothing is lost");
    }
}

/// Starts, writes, and is killed.
fn server_grows(dir: &Path) {
    let mut engine = start(dir).unwrap();
    let set = command::all().find(|command| command.spec.name == "set").expect("a command");
    let words = [&b"set"[..], b"grown", b"1"];
    engine.apply(set, Args(&words), Caller::new(0, NOW), &mut Reply::new(Protocol::Resp2));
    engine.log_settled(Unit::Transaction, NOW);
    engine.flush_log(Instant::now());
}

/// The log in a file of commands that may have a reserve.
pub(crate) fn without_reserve(file: &[u8]) -> &[u8] {
    let end = reserve::before(file, 0);
    // A newline may be what a reserve would have there, too.
    &file[..end + usize::from(file[..end].ends_with(b"\r"))]
}

/// A file cannot show by itself that whole blocks are missing at its end; what a start has found there, the
/// manifest says.
#[test]
fn whole_blocks_that_a_start_has_found_are_missed_when_they_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let aof = dir.path().join("appendonlydir");
    let incr = aof.join("appendonly.aof.1.incr.aof");
    let mut server = Server::new(dir.path(), SyncPolicy::Always);
    server.run("set a 1");
    server.wait_for_ack();
    let first = fs::read(&incr).unwrap();
    server.run("set b 2");
    server.wait_for_ack();
    // Killed: nobody has said where the file ends.
    drop(server);
    let file = fs::read(&incr).unwrap();
    let (short, first, second) = (&first, without_reserve(&first), without_reserve(&file));
    assert_eq!((manifest(&aof).incr[0].marks.end, file.len()), (None, short.len()), "there is room for it");
    drop(start(dir.path()).unwrap());
    assert_eq!(manifest(&aof).incr[0].marks.end, Some(second.len() as u64));
    assert_eq!(fs::read(&incr).unwrap(), second);
    for left in [short, first, b""] {
        fs::write(&incr, left).unwrap();
        let refused = start(dir.path()).expect_err("blocks are missing");
        let said = match left.len() < second.len() {
            true => format!("{} bytes, and the manifest says at least {}", left.len(), second.len()),
            false => format!("offset {}: the log ends here, and the manifest says that", first.len()),
        };
        assert!(refused.contains(&said) && refused.contains("aof-tools repair"), "{refused}");
        assert_eq!(fs::read(&incr).unwrap(), left);
    }
    fs::write(&incr, second).unwrap();
    // Where nothing can be written a start goes on.
    server_grows(dir.path());
    fs::create_dir(aof.join("temp-appendonly.aof.manifest")).unwrap();
    assert_eq!(start(dir.path()).unwrap().keyspace().keys(), 3);
    assert_eq!(manifest(&aof).incr[0].marks.end, Some(second.len() as u64));
}

/// Under `always` a file is longer than its log, so that syncs need not make it longer.
#[test]
fn a_reserve_is_there_for_syncs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let incr = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut server = Server::new(dir.path(), SyncPolicy::Always);
    let mut log = 0;
    let mut look = |server: &mut Server, has_reserve: bool| {
        server.run("set a 1");
        server.wait_for_ack();
        let file = fs::read(&incr).unwrap();
        let is_longer = without_reserve(&file).len() > log;
        log = without_reserve(&file).len();
        assert!(is_longer && (file.len() > log) == has_reserve, "{log} of {}", file.len());
    };
    let settings = server.engine.aof_settings().clone();
    let with = |server: &mut Server, policy, reserve| {
        server.engine.configure_aof(AofSettings { policy, reserve, ..settings.clone() });
    };
    look(&mut server, true);
    with(&mut server, SyncPolicy::EverySec, settings.reserve);
    look(&mut server, false);
    with(&mut server, SyncPolicy::Always, settings.reserve);
    look(&mut server, true);
    with(&mut server, SyncPolicy::Always, None);
    look(&mut server, false);
    with(&mut server, SyncPolicy::Always, Some(Reserve { least: 1, most: 10 }));
    look(&mut server, false);
    with(&mut server, SyncPolicy::Always, settings.reserve);
    look(&mut server, true);
    server.engine.close_aof(Instant::now(), NOW).unwrap();
    assert_eq!(fs::metadata(&incr).unwrap().len(), log as u64);
}

/// A flipped bit of the log is damage, and one of the reserve an end to be cut off: nothing of the log goes.
#[test]
fn every_flipped_byte_of_a_killed_log_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let incr = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut server = Server::new(dir.path(), SyncPolicy::Always);
    for line in
        ["set a 1", "rpush b 2 3", "set c ##################################################################"]
    {
        server.run(line);
        server.wait_for_ack();
    }
    drop(server);
    let file = fs::read(&incr).unwrap();
    let log = without_reserve(&file).len();
    let reserve = (log..file.len()).filter(|at| at - log < 70 || at % 4001 == 0 || file.len() - at < 66);
    let digest = start(dir.path()).unwrap().digest();
    for at in (0..log).chain(reserve) {
        let mut bad = file.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&incr, &bad).unwrap();
        match start(dir.path()) {
            Err(refused) => {
                assert!(at <= log && refused.contains("offset"), "byte {at}: {refused}");
                assert_eq!(fs::read(&incr).unwrap(), bad, "a refusal changes nothing");
            }
            Ok(engine) => {
                let is_whole = engine.digest() == digest;
                let aside = names(incr.parent().unwrap()).into_iter().find(|name| name.contains(".torn-"));
                let aside = incr.with_file_name(aside.expect("the end was kept"));
                let kept = [fs::read(&incr).unwrap(), fs::read(&aside).unwrap()].concat();
                let is_kept = bad.starts_with(&kept) && reserve::before(&bad, 0) <= kept.len();
                // What makes a zero byte looks as if it had never been written.
                assert!(is_kept && (is_whole && at >= log || bad[at] == 0), "byte {at}");
                fs::remove_file(aside).unwrap();
            }
        }
    }
}

#[test]
fn behind_what_others_appended_to_a_reserve_the_log_goes_on_in_the_next_file() {
    let dir = tempfile::tempdir().unwrap();
    let aof = dir.path().join("appendonlydir");
    let incr = aof.join("appendonly.aof.1.incr.aof");
    let mut server = Server::new(dir.path(), SyncPolicy::Always);
    server.run("set a 1");
    server.wait_for_ack();
    drop(server);
    let mut file = fs::read(&incr).unwrap();
    assert!(without_reserve(&file).len() < file.len());
    file.extend_from_slice(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n");
    fs::write(&incr, &file).unwrap();
    server_grows(dir.path());
    assert_eq!(fs::read(&incr).unwrap(), file, "it is closed as it is");
    let marks = manifest(&aof).incr.iter().map(|entry| entry.marks.size).collect::<Vec<_>>();
    assert_eq!(marks, [Some(file.len() as u64), None]);
    assert_eq!(start(dir.path()).unwrap().keyspace().keys(), 3);
}

#[test]
fn a_killed_child_leaves_the_log_and_one_that_was_called_off_has_not_failed() {
    for (signal, failures) in [("-9", 1), ("-USR1", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let aof = dir.path().join("appendonlydir");
        let mut server = Server::new(dir.path(), SyncPolicy::EverySec);
        (0..200).for_each(|i| server.run(&format!("set key:{i} {i}")));
        server.engine.settings.key_delay_us = 100_000;
        server.engine.start_rewrite(Instant::now()).unwrap();
        server.wait(|engine| engine.rewrite_pid().is_some());
        let pid = server.engine.rewrite_pid().unwrap().to_string();
        let killed = std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(killed.success());
        server.wait(|engine| !engine.is_rewriting());
        let stats = server.engine.aof_stats(Instant::now());
        assert_eq!((stats.failures, stats.last_rewrite_ok), (failures, failures == 0));
        server.run("incr a");
        server.wait_for_ack();
        assert!(names(&aof).iter().all(|name| !name.starts_with("temp-")), "{:?}", names(&aof));
        // The increment was begun for nothing; it is the log's end nevertheless.
        assert_eq!(manifest(&aof).incr.len(), 2);
        server.engine.settings.key_delay_us = 0;
        server.engine.start_rewrite(Instant::now()).unwrap();
        server.wait(|engine| !engine.is_rewriting() && engine.aof_manifest().history.is_empty());
        assert_eq!(names(&aof).len(), 3);
        assert_eq!(server.engine.aof_stats(Instant::now()).failures, 0);
    }
}

/// Writers that come while a block waits for them go with it, and none is acknowledged before its block.
#[test]
fn what_comes_while_a_block_waits_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path(), SyncPolicy::Always);
    let path = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut value = 0u64;
    for round in 0..200 {
        for _ in 0..1 + round % 7 {
            value += 1;
            server.run("incr a");
            if round % 3 == 0 {
                let events = server.engine.poll_aof(Instant::now(), NOW, 0);
                server.events.extend(events);
            }
        }
        server.wait_for_ack();
        assert_eq!(server.engine.synced_position(), server.engine.log_position());
        let log = fs::read(&path).unwrap();
        let incrs = log.windows(4).filter(|word| word == b"incr").count() as u64;
        assert_eq!(incrs, value, "each is written once");
    }
}
