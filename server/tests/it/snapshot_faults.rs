//! Snapshots that cannot be read, written or begun: what the log says, how the process ends, what stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{Server, program, wait_for};

fn corrupt(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/corrupt/rdb").join(name)
}

/// A folder with this file as its snapshot.
fn folder_with(file: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(file, dir.path().join("dump.rdb")).expect("copied");
    dir
}

#[test]
fn what_cannot_be_loaded_ends_the_start_with_an_error() {
    for (name, text) in [
        ("checksum.rdb", "RDB CRC error"),
        ("cut-in-value.rdb", "Unexpected EOF reading RDB file"),
        ("cut-in-magic.rdb", "Unexpected EOF reading RDB file"),
        ("magic.rdb", "Wrong signature trying to load DB from file"),
        ("version-99.rdb", "Can't handle RDB format version 99"),
        ("key-twice.rdb", "the key is there twice"),
        ("hash-duplicate.rdb", "key \""),
        ("zset-nan.rdb", "key \""),
        ("string-huge.rdb", "key \""),
        ("lzf-huge.rdb", "cannot come out of"),
        ("db-huge.rdb", "but the server has 16"),
        // Modules that nobody knows are carried along; only these release candidates are refused.
        ("type-6.rdb", "module value of a 4.0 release candidate"),
    ] {
        let dir = folder_with(&corrupt(name));
        let before = fs::read(dir.path().join("dump.rdb")).expect("there");
        // A restart finds the same: refusing has repaired nothing by half.
        for _ in 0..2 {
            let mut child =
                program(dir.path()).args(["--port", "0", "--unixsocket", "s"]).spawn().expect("it starts");
            assert_eq!(wait_for(&mut child).code(), Some(1), "{name}");
            let log = fs::read_to_string(dir.path().join("stdout")).expect("the log");
            let line = log.lines().find(|line| line.contains("Fatal error loading the DB")).expect(name);
            assert!(line.contains("dump.rdb: offset ") && line.contains(text), "{name}: {line}");
            assert!(log.contains("rdb-tools check"), "{name}: {log}");
            assert!(!log.contains("Ready to accept"), "{name}: {log}");
            assert_eq!(fs::read(dir.path().join("dump.rdb")).expect("there"), before, "{name}");
        }
    }
}

#[test]
fn what_is_odd_is_loaded_and_said() {
    for (name, keys, text) in [
        ("trailing.rdb", "9", "bytes behind the end of the RDB file were not read"),
        ("quicklist-no-nodes.rdb", "0", "skipping empty key"),
        ("resize-huge.rdb", "1", "Done loading RDB, keys loaded: 1, keys expired: 0."),
    ] {
        let server = Server::start_in(folder_with(&corrupt(name)), &[]);
        assert_eq!(server.client().call("DBSIZE"), keys, "{name}");
        assert!(server.log().contains(text), "{name}: {}", server.log());
    }
    let unsummed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb/redis-7.0.15-nochecksum.rdb");
    let server = Server::start_in(folder_with(&unsummed), &[]);
    assert!(server.log().contains("RDB file was saved with checksum disabled: no check performed."));
}

/// Sets a limit of the server's process, `nofile=3:` for example. False if that cannot be.
fn limit(server: &Server, limit: &str) -> bool {
    let pid = server.child.id().to_string();
    let ran = Command::new("prlimit").args(["--pid", &pid, &format!("--{limit}")]).status();
    ran.is_ok_and(|status| status.success())
}

#[test]
fn a_disk_without_room_leaves_the_old_file_and_the_server() {
    let server = Server::start(&["--save", "900 1", "--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.call("SET generation old"), "OK");
    assert_eq!(client.call("SAVE"), "OK");
    let old = fs::read(server.path("dump.rdb")).expect("the file");
    assert_eq!(client.call("DEBUG POPULATE 20000"), "OK");
    // A file may not be as large as the next one has to be: for a write that is a full disk.
    if !limit(&server, "fsize=100000:") {
        println!("skipped: prlimit is not there");
        return;
    }
    assert!(client.call("SAVE").starts_with("-ERR"));
    assert!(server.log().contains("Failed saving the DB: write "), "{}", server.log());
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    wait_for_status(&server, "err");
    assert!(server.log().contains("Background saving error: write "), "{}", server.log());
    assert_eq!(fs::read(server.path("dump.rdb")).expect("the file"), old);
    let names: Vec<String> = fs::read_dir(server.dir.path())
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!names.iter().any(|name| name.starts_with("temp-")), "{names:?}");
    assert!(client.call("SET generation new").starts_with("-MISCONF "));
    assert_eq!(client.call("GET generation"), "old");
    assert!(limit(&server, "fsize=unlimited:"));
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    wait_for_status(&server, "ok");
    assert_eq!(client.call("SET generation new"), "OK");
}

fn wait_for_status(server: &Server, status: &str) {
    let (begun, mut client) = (Instant::now(), server.client());
    let line = format!("rdb_last_bgsave_status:{status}\r\n");
    while !client.call("INFO persistence").contains(&line) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", server.log());
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_child_that_cannot_be_started_is_said_and_tried_again() {
    let server = Server::start(&["--save", "1 1"]);
    let mut client = server.client();
    assert_eq!(client.call("CONFIG SET save "), "OK");
    assert_eq!(client.call("SET k v"), "OK");
    // What is open stays open, and there is nothing for the child's pipe.
    if !limit(&server, "nofile=3:") {
        println!("skipped: prlimit is not there");
        return;
    }
    assert_eq!(client.call_words(&[b"CONFIG", b"SET", b"save", b"1 1"]), "OK");
    let reply = client.call("BGSAVE");
    assert!(reply.starts_with("-ERR "), "{reply}");
    assert!(server.log().contains("Can't save in background: fork: "), "{}", server.log());
    assert!(client.call("INFO persistence").contains("rdb_last_bgsave_status:err\r\n"));
    assert!(client.call("SET k w").starts_with("-MISCONF "));
    assert_eq!(client.call("GET k"), "v");
    assert!(limit(&server, "nofile=1024:"));
    // The rules try again by themselves, five seconds after the failure.
    wait_for_status(&server, "ok");
    assert_eq!(client.call("SET k w"), "OK");
}

#[test]
fn a_folder_that_takes_no_files_is_said_and_left() {
    let options = ["--enable-protected-configs", "yes"];
    let server = Server::start(&options);
    let mut client = server.client();
    assert_eq!(client.call("SET k v"), "OK");
    let dir = server.dir.path().display().to_string();
    // One that no other test has.
    assert_eq!(client.call(&format!("CONFIG SET dir /proc/{}", server.child.id())), "OK");
    assert!(client.call("SAVE").starts_with("-ERR"));
    assert!(server.log().contains("Failed saving the DB: create "), "{}", server.log());
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    wait_for_status(&server, "err");
    assert!(server.log().contains("Background saving error: create "), "{}", server.log());
    assert_eq!(client.call("GET k"), "v");
    assert_eq!(client.call(&format!("CONFIG SET dir {dir}")), "OK");
    assert_eq!(client.call("SAVE"), "OK");
    assert!(server.path("dump.rdb").exists());
}

#[test]
fn a_folder_may_be_a_link() {
    let (real, links) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let link = links.path().join("link");
    std::os::unix::fs::symlink(real.path(), &link).expect("linked");
    let link = link.display().to_string();
    let server = Server::start(&["--dir", &link]);
    assert_eq!(server.client().call("SET k v"), "OK");
    assert_eq!(server.client().call("SAVE"), "OK");
    assert!(real.path().join("dump.rdb").exists());
    drop(server);
    let server = Server::start(&["--dir", &link]);
    assert_eq!(server.client().call("GET k"), "v");
}

/// Has the next sync of the log fail. False if that cannot be had here.
fn fail_next_sync(server: &Server) -> bool {
    let tasks = format!("/proc/{}/task", server.child.id());
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    let tasks = fs::read_dir(tasks).into_iter().flatten().flatten().map(|task| task.path());
    let Some(worker) = tasks.into_iter().find(|task| name(task).starts_with("cairn-aof")) else {
        return false;
    };
    inject(&worker, &["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"])
}

/// Has strace look at a task, given by its folder in /proc. False if that cannot be had here.
fn inject(task: &Path, options: &[&str]) -> bool {
    let id = task.file_name().unwrap_or_default();
    let tracer =
        Command::new("strace").args(["-qq", "-o", "/dev/null"]).args(options).arg("-p").arg(id).spawn();
    let begun = Instant::now();
    let is_traced = || {
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
    };
    while tracer.is_ok() && begun.elapsed() < Duration::from_secs(10) {
        if is_traced() {
            return true;
        }
        sleep(Duration::from_millis(2));
    }
    false
}

#[test]
fn fresh_files_after_a_failed_sync_do_not_wait_for_a_save() {
    // Over a reserve, writing and syncing may be one call.
    let options = ["--appendonly", "yes", "--appendfsync", "always", "--aof-preallocate", "no"];
    let mut server = Server::start(&options);
    let mut client = server.client();
    assert_eq!(client.call("MSET a 1 b 2 c 3"), "OK");
    assert_eq!(client.call("CONFIG SET rdb-key-save-delay 30000000"), "OK");
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    assert_eq!(client.call("CONFIG SET rdb-key-save-delay 0"), "OK");
    if !fail_next_sync(&server) {
        println!("skipped: strace is not there, or may not look at a process");
        return;
    }
    assert!(client.call("SET d 4").starts_with("-MISCONF "));
    server.wait_for_log("The AOF has been rewritten to fresh files.");
    server.wait_for_log("Background saving terminated with success");
    assert!(server.log().contains("begins again after the rewrite"), "{}", server.log());
    assert_eq!(client.call("SET e 5"), "OK");
    assert_eq!(client.call("MGET a b c e"), "[1 2 3 5]");
}

/// What a sync that failed was to make durable is confirmed by no later sync, only by fresh files.
#[test]
fn waitaof_confirms_nothing_that_a_failed_sync_left_in_doubt() {
    const KEY_DELAY_US: u64 = 400_000;
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let mut client = server.client();
    assert_eq!(client.call("MSET a 1 b 2 c 3"), "OK");
    assert_eq!(client.call("WAITAOF 1 0 0"), "[1 0]");
    assert_eq!(client.call(&format!("CONFIG SET rdb-key-save-delay {KEY_DELAY_US}")), "OK");
    if !fail_next_sync(&server) {
        println!("skipped: strace is not there, or may not look at a process");
        return;
    }
    assert_eq!(client.call("SET d 4"), "OK");
    // It fails within a second, and the base of the fresh files takes more than one.
    assert_eq!(client.call("WAITAOF 1 0 1000"), "[0 0]");
    server.wait_for_log("Input/output error");
    assert_eq!(client.call("WAITAOF 1 0 0"), "[1 0]");
    assert!(server.log().contains("The AOF has been rewritten to fresh files."), "{}", server.log());
    assert_eq!(client.call("MGET a b c d"), "[1 2 3 4]");
}

#[test]
fn a_rename_of_the_log_that_takes_long_is_a_latency_event() {
    let mut server = Server::start(&["--appendonly", "yes", "--latency-monitor-threshold", "10"]);
    let mut client = server.client();
    assert_eq!(client.call("SET k v"), "OK");
    let task = PathBuf::from(format!("/proc/{}", server.child.id()));
    let delay = "inject=rename,renameat,renameat2:delay_enter=20000";
    if !inject(&task, &["-f", "-e", "trace=rename,renameat,renameat2", "-e", delay]) {
        println!("skipped: strace is not there, or may not look at a process");
        return;
    }
    assert_eq!(client.call("BGREWRITEAOF"), "Background append only file rewriting started");
    server.wait_for_log("Background AOF rewrite finished successfully");
    let events = client.call("LATENCY LATEST");
    assert!(events.contains("aof-rename"), "{events}");
}

#[test]
fn a_value_that_fails_its_check_is_told_in_the_words_that_valkey_has_twice() {
    for name in ["listpack-overrun.rdb", "intset-order.rdb"] {
        let dir = folder_with(&corrupt(name));
        let mut child =
            program(dir.path()).args(["--port", "0", "--unixsocket", "s"]).spawn().expect("it starts");
        assert_eq!(wait_for(&mut child).code(), Some(1), "{name}");
        let log = fs::read_to_string(dir.path().join("stdout")).expect("the log");
        let told = log.lines().filter(|line| line.contains("integrity check failed")).count();
        assert_eq!(told, 2, "{name}: {log}");
    }
}
