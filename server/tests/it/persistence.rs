//! Snapshots: saved, loaded, refused, by rule and by hand.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Client, Server, program, wait_for};

/// Waits until a line of INFO says so.
fn wait_for_info(client: &mut Client, line: &str) {
    let begun = Instant::now();
    while !client.call("INFO persistence").contains(line) {
        assert!(begun.elapsed() < Duration::from_secs(20), "no {line}");
        sleep(Duration::from_millis(10));
    }
}

/// Ends the server the hard way and starts another in its folder.
fn restart(mut server: Server) -> Server {
    server.signal(Signal::SIGKILL);
    server.wait();
    let dir = std::mem::replace(&mut server.dir, tempfile::tempdir().expect("a folder"));
    Server::start_in(dir, &["--enable-debug-command", "yes"])
}

fn fill(client: &mut Client) {
    client.call("SET s v");
    client.call("RPUSH l a b c");
    client.call("HSET h f v");
    client.call("SADD set 1 2 x");
    client.call("ZADD z 1.5 a");
    client.call("SET t v EX 1000");
}

#[test]
fn saved_data_is_there_after_a_crash() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    fill(&mut client);
    let digest = client.call("DEBUG DIGEST");
    assert_ne!(digest, "0".repeat(40));
    assert_eq!(client.call("SAVE"), "OK");
    client.call("SET after the-save");
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(client.call("DEBUG DIGEST"), digest);
    assert_eq!(client.call("LRANGE l 0 -1"), "[a b c]");
    assert!(client.call("INFO persistence").contains("rdb_last_load_keys_loaded:6\r\n"));
    assert_eq!(client.call("DEBUG RELOAD"), "OK");
    assert_eq!(client.call("DEBUG DIGEST"), digest);
}

#[test]
fn background_saves() {
    let server = Server::start(&["--enable-debug-command", "local"]);
    let mut client = server.client();
    assert_eq!(client.call("DEBUG POPULATE 50000 key 100"), "OK");
    assert!(client.call("INFO persistence").contains("rdb_changes_since_last_save:50000\r\n"));
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    // It may be over by now; if not, another is refused.
    let second = client.call("BGSAVE");
    assert!(
        ["-ERR Background save already in progress", "Background saving started"].contains(&second.as_str())
    );
    wait_for_info(&mut client, "rdb_bgsave_in_progress:0");
    let info = client.call("INFO persistence");
    assert!(info.contains("rdb_last_bgsave_status:ok\r\n"), "{info}");
    assert!(info.contains("rdb_changes_since_last_save:0\r\n"), "{info}");
    assert!(server.log().contains("Background saving terminated with success"));
    let server = restart(server);
    assert_eq!(server.client().call("DBSIZE"), "50000");
}

#[test]
fn save_rules_save() {
    let server = Server::start(&["--save", "1 3"]);
    let mut client = server.client();
    client.call("MSET a 1 b 2 c 3");
    wait_for_info(&mut client, "rdb_saves:1");
    assert!(server.log().contains("3 changes in 1 seconds. Saving..."), "{}", server.log());
    assert!(server.path("dump.rdb").exists());
}

#[test]
fn a_signal_saves_if_there_are_rules() {
    let mut server = Server::start(&["--save", "900 1000"]);
    let mut client = server.client();
    fill(&mut client);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.path("dump.rdb").exists());
}

#[test]
fn a_bad_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("dump.rdb");
    let bytes = b"REDIS0011\xfa\x09redis-ver\x057.2.0\x00\x03key\x09cut off";
    fs::write(&path, bytes).expect("written");
    // Of a process that is gone; a start that succeeds would remove it.
    let left = dir.path().join("temp-99999999.rdb");
    fs::write(&left, b"left").expect("written");
    let mut child =
        program(dir.path()).args(["--port", "0", "--unixsocket", "s"]).spawn().expect("it starts");
    assert_eq!(wait_for(&mut child).code(), Some(1));
    assert_eq!(fs::read(&path).expect("still there"), bytes);
    assert!(left.exists());
    let log = fs::read_to_string(dir.path().join("stdout")).expect("the log");
    assert!(log.contains("Fatal error loading the DB") && log.contains("rdb-tools check"), "{log}");
    assert!(log.contains("Terminating server after rdb file reading failure."), "{log}");
    assert!(!log.contains("Ready to accept"), "{log}");
}

#[test]
fn files_of_versions_to_come_are_read_on_request() {
    let file = |record: &[u8]| [&b"VALKEY987"[..], record, b"\xff", &[0; 8]].concat();
    for (bytes, options, words) in [
        (file(b"\x00\x01k\x01v"), &[][..], "Can't handle RDB format version 987"),
        (
            file(b"\x96\x01k\x01v"),
            &["--rdb-version-check", "relaxed"],
            "Unknown type or opcode when loading DB. Unrecoverable error, aborting now.",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("dump.rdb"), bytes).expect("written");
        let mut start = program(dir.path());
        let mut child =
            start.args(["--port", "0", "--unixsocket", "s"]).args(options).spawn().expect("it starts");
        assert_eq!(wait_for(&mut child).code(), Some(1));
        let log = fs::read_to_string(dir.path().join("stdout")).expect("the log");
        assert!(log.contains(words), "{log}");
        assert!(log.trim_end().lines().last().is_some_and(|l| l.contains("Fatal error loading")), "{log}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("dump.rdb"), file(b"\x00\x01k\x01v")).expect("written");
    let server = Server::start_in(dir, &["--rdb-version-check", "relaxed"]);
    assert_eq!(server.client().call("GET k"), "v");
}

#[test]
fn a_reload_of_a_bad_file_keeps_the_data() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    fill(&mut client);
    assert_eq!(client.call("SAVE"), "OK");
    client.call("SET after the-save");
    let digest = client.call("DEBUG DIGEST");
    let path = server.dir.path().join("dump.rdb");
    let mut bytes = fs::read(&path).expect("a file");
    let good = bytes.clone();
    bytes.truncate(good.len() - 20);
    fs::write(&path, &bytes).expect("written");
    assert!(client.call("DEBUG RELOAD NOSAVE").starts_with("-ERR Error trying to load the RDB dump"));
    fs::remove_file(&path).expect("removed");
    assert!(client.call("DEBUG RELOAD NOSAVE").starts_with("-ERR Error trying to load the RDB dump"));
    assert_eq!(client.call("DEBUG DIGEST"), digest);
    fs::write(&path, &good).expect("written");
    assert_eq!(client.call("DEBUG RELOAD NOSAVE"), "OK");
    assert_eq!((client.call("GET s"), client.call("EXISTS after")), ("v".into(), "0".into()));
}

#[test]
fn writes_stop_when_snapshots_fail() {
    let server = Server::start(&["--save", "900 1"]);
    let mut client = server.client();
    client.call("SET k v");
    // A folder in the file's place: the snapshot cannot take its name.
    fs::create_dir_all(server.path("dump.rdb/full")).expect("a folder");
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    wait_for_info(&mut client, "rdb_last_bgsave_status:err");
    assert!(client.call("SET k w").starts_with("-MISCONF "));
    assert!(client.call("PING").starts_with("-MISCONF "));
    assert_eq!(client.call("GET k"), "v");
    assert_eq!(client.call("CONFIG SET stop-writes-on-bgsave-error no"), "OK");
    assert_eq!(client.call("SET k w"), "OK");
    assert_eq!(client.call("CONFIG SET stop-writes-on-bgsave-error yes"), "OK");
    fs::remove_dir_all(server.path("dump.rdb")).expect("gone");
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    wait_for_info(&mut client, "rdb_last_bgsave_status:ok");
    assert_eq!(client.call("SET k x"), "OK");
}

#[test]
fn a_failing_save_keeps_the_server() {
    let mut server = Server::start(&["--save", "900 1"]);
    let mut client = server.client();
    client.call("SET k v");
    fs::create_dir_all(server.path("dump.rdb/full")).expect("a folder");
    assert_eq!(client.call("SHUTDOWN"), "-ERR Errors trying to SHUTDOWN. Check logs.");
    server.signal(Signal::SIGTERM);
    server.wait_for_log("errors trying to shut down");
    assert_eq!(client.call("GET k"), "v");
    client.send(b"SHUTDOWN NOSAVE\r\n");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn keys_nobody_asks_for_expire() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    for i in 0..500 {
        client.call(&format!("SET k{i} v PX 50"));
    }
    client.call("SET stays v");
    let begun = Instant::now();
    while client.call("DBSIZE") != "1" {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", client.call("DBSIZE"));
        sleep(Duration::from_millis(20));
    }
    assert!(client.call("INFO stats").contains("expired_keys:500\r\n"));
    assert_eq!(client.call("DEBUG SET-ACTIVE-EXPIRE 0"), "OK");
    client.call("SET k v PX 1");
    sleep(Duration::from_millis(300));
    assert_eq!(client.call("DBSIZE"), "2");
    assert_eq!(client.call("GET k"), "nil");
    assert_eq!(client.call("DBSIZE"), "1");
}

/// Kills that the test makes; `CAIRN_KILLS` asks for more.
const KILLS: u64 = 8;

#[test]
fn killed_at_any_moment_of_a_background_save_a_whole_file_stays() {
    let kills = std::env::var("CAIRN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut server = Server::start(&["--enable-debug-command", "yes"]);
    assert_eq!(server.client().call("DEBUG POPULATE 60000 key 20"), "OK");
    assert_eq!(server.client().call("SET generation first"), "OK");
    assert_eq!(server.client().call("SAVE"), "OK");
    let mut on_disk = "first".to_owned();
    for kill in 0..kills {
        let mut client = server.client();
        // Only the next file has this: afterwards the disk has the old one or the new one, whole.
        assert_eq!(client.call(&format!("SET generation {kill}")), "OK");
        assert_eq!(client.call("BGSAVE"), "Background saving started");
        // A save of this size takes some tens of milliseconds: the kills are spread over them.
        sleep(Duration::from_millis(kill * 60 / kills));
        server = restart(server);
        let mut client = server.client();
        let found = client.call("GET generation");
        assert!(found == kill.to_string() || found == on_disk, "{found} after {on_disk}, kill {kill}");
        assert_eq!(client.call("DBSIZE"), "60001", "kill {kill}");
        on_disk = found;
    }
}

#[test]
fn a_server_killed_while_it_saves_has_its_old_file() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    fill(&mut client);
    assert_eq!(client.call("SAVE"), "OK");
    let digest = client.call("DEBUG DIGEST");
    client.call("DEBUG POPULATE 1000");
    // A second for the whole save: it is still at it when the server dies.
    assert_eq!(client.call("CONFIG SET rdb-key-save-delay 1000"), "OK");
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    assert_eq!(client.call("BGSAVE"), "-ERR Background save already in progress");
    assert_eq!(client.call("SAVE"), "-ERR Background save already in progress");
    wait_for_info(&mut client, "rdb_bgsave_in_progress:1");
    let has_temp = |server: &Server| {
        let names = fs::read_dir(server.dir.path()).expect("the folder");
        names.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("temp-"))
    };
    while !has_temp(&server) {
        sleep(Duration::from_millis(5));
    }
    let server = restart(server);
    let begun = Instant::now();
    while has_temp(&server) {
        assert!(begun.elapsed() < Duration::from_secs(10), "what was left is removed");
        sleep(Duration::from_millis(20));
    }
    assert_eq!(server.client().call("DEBUG DIGEST"), digest);
}

#[test]
fn a_save_can_be_called_off() {
    let server = Server::start(&["--enable-debug-command", "yes", "--rdb-key-save-delay", "10000"]);
    let mut client = server.client();
    client.call("DEBUG POPULATE 1000");
    assert_eq!(
        client.call("BGSAVE CANCEL"),
        "-ERR Background saving is currently not in progress or scheduled"
    );
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    assert_eq!(client.call("BGSAVE CANCEL"), "Background saving cancelled");
    assert!(client.call("INFO persistence").contains("rdb_bgsave_in_progress:0\r\n"));
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    assert_eq!(client.call("FLUSHALL"), "OK");
    assert!(client.call("INFO persistence").contains("rdb_bgsave_in_progress:0\r\n"));
    assert!(!server.path("dump.rdb").exists());
}

#[test]
fn clients_are_answered_while_it_loads() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.call("DEBUG POPULATE 1000 key 2000");
    assert_eq!(client.call("CONFIG SET rdbcompression no"), "OK");
    assert_eq!(client.call("SAVE"), "OK");
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(server.path("dump.rdb"), dir.path().join("dump.rdb")).expect("copied");
    let port = crate::client::free_port();
    let mut command = program(dir.path());
    command.args(["--port", &port.to_string(), "--save", "900 1", "--key-load-delay", "5000"]);
    let child = command.spawn().expect("the program starts");
    let mut server = Server { child, dir, port };
    server.wait_for_log("Server initialized");
    let mut client = server.client();
    assert_eq!(client.call("GET key:1"), "-LOADING Redis is loading the dataset in memory");
    assert_eq!(client.call("PING"), "-LOADING Redis is loading the dataset in memory");
    let info = client.call("INFO persistence");
    assert!(info.contains("loading:1\r\n") && info.contains("loading_total_bytes:2"), "{info}");
    assert_eq!(client.call("CONFIG GET port"), format!("[port {port}]"));
    let before = fs::read(server.path("dump.rdb")).expect("the file");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(fs::read(server.path("dump.rdb")).expect("the file"), before, "half a data set is not saved");
}

/// Clients that stand beside while `command` loads the data again.
#[track_caller]
fn check_while_it_loads_again(command: &str, is_new: &str) {
    const LOADING: &str = "-LOADING Redis is loading the dataset in memory";
    let options = ["--enable-debug-command", "yes", "--appendonly", "yes"];
    let mut server = Server::start(&options);
    let mut client = server.client();
    let (mut other, mut queued, mut watching) = (server.client(), server.client(), server.client());
    let mut waiting = server.client();
    waiting.send(b"BLPOP list 0\r\n");
    client.call("DEBUG POPULATE 1000 key 2000");
    assert_eq!(client.call("CONFIG SET rdbcompression no appendonly no"), "OK");
    assert_eq!(client.call("CONFIG SET appendonly yes"), "OK");
    server.wait_for_log("Background AOF rewrite finished successfully");
    assert_eq!(client.call("SET x 1"), "OK");
    assert_eq!((queued.call("MULTI"), queued.call("GET x")), ("OK".into(), "QUEUED".into()));
    assert_eq!(watching.call("WATCH x"), "OK");
    assert_eq!(client.call("CONFIG SET key-load-delay 1500"), "OK");
    let save = if command.contains("NOSAVE") { client.call("SAVE") } else { "OK".into() };
    assert_eq!(save, "OK");
    client.send(format!("SET x 2\r\n{command}\r\nGET x\r\n").as_bytes());
    assert_eq!(client.read(), "OK");
    let begun = Instant::now();
    while other.call("GET x") != LOADING {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not load");
    }
    for refused in ["PING", "DBSIZE", "SET x 3", "DEBUG RELOAD", "DEBUG LOADAOF", "CONFIG SET appendonly no"]
    {
        assert_eq!(other.call(refused), LOADING, "{refused}");
    }
    let info = other.call("INFO persistence");
    assert!(info.contains("loading:1\r\n") && info.contains("loading_total_bytes:2"), "{info}");
    assert_eq!(other.call("CONFIG SET maxmemory 1gb"), "OK");
    let expected =
        "-EXECABORT Transaction discarded because of: LOADING Redis is loading the dataset in memory";
    assert_eq!(queued.call("EXEC"), expected);
    assert_eq!((queued.call("MULTI"), queued.call("EXEC")), ("OK".into(), "[]".into()));
    assert_eq!(queued.call("QUIT"), "OK");
    assert_eq!(queued.read_to_end(), "", "it does not wait for the end of the load");
    assert_eq!(server.client().call("GET x"), LOADING, "that took too long");
    assert_eq!(client.read(), "OK");
    assert_eq!(client.read(), is_new);
    assert!(other.call("INFO persistence").contains("loading:0\r\n"));
    assert_eq!(other.call("DBSIZE"), "1001");
    watching.call("MULTI");
    watching.call("GET x");
    assert_eq!(watching.call("EXEC"), "nil");
    assert_eq!(other.call("LPUSH list v"), "1");
    assert_eq!(waiting.read(), "[list v]");
    // Who ends the process meanwhile loses nothing that was logged.
    client.send(format!("SET x 4\r\n{command}\r\n").as_bytes());
    assert_eq!(client.read(), "OK");
    while other.call("GET x") != LOADING {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not load");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let Server { dir, .. } = &mut server;
    let dir = std::mem::replace(dir, tempfile::tempdir().expect("a folder"));
    let server = Server::start_in(dir, &options);
    assert_eq!(server.client().call("GET x"), "4");
    assert_eq!(server.client().call("DBSIZE"), "1001");
}

#[test]
fn clients_are_answered_while_it_reloads() {
    check_while_it_loads_again("DEBUG RELOAD", "2");
}

#[test]
fn clients_are_answered_while_it_reloads_what_was_saved() {
    check_while_it_loads_again("DEBUG RELOAD NOSAVE", "1");
}

#[test]
fn clients_are_answered_while_it_loads_the_log_again() {
    check_while_it_loads_again("DEBUG LOADAOF", "2");
}

#[test]
fn a_file_without_a_checksum_is_refused_by_who_wants_one() {
    let mut server = Server::start(&["--rdbchecksum", "no"]);
    let mut client = server.client();
    client.call("SET k v");
    assert_eq!(client.call("CONFIG SET rdb-save-incremental-fsync no"), "OK");
    assert_eq!(client.call("SAVE"), "OK");
    server.signal(Signal::SIGKILL);
    server.wait();
    let mut command = program(server.dir.path());
    command.args(["--port", "0", "--unixsocket", "s", "--rdb-require-checksum", "yes"]);
    let mut child = command.spawn().expect("it starts");
    assert_eq!(wait_for(&mut child).code(), Some(1));
    let log = fs::read_to_string(server.path("stdout")).expect("the log");
    assert!(log.contains("dump.rdb") && log.contains("checksum"), "{log}");
    let dir = std::mem::replace(&mut server.dir, tempfile::tempdir().expect("a folder"));
    assert_eq!(Server::start_in(dir, &[]).client().call("GET k"), "v");
}
