//! BACKUP, and starting from what it made.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Client, Server, free_port, program, request, wait_for};

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

fn start(options: &[&str]) -> Server {
    Server::start(&[&DEBUG[..], options].concat())
}

fn field(client: &mut Client, name: &str) -> String {
    let status = client.call("BACKUP STATUS");
    let words: Vec<&str> = status.trim_matches(['[', ']']).split(' ').collect();
    let at = words.iter().position(|word| *word == name).expect("a field");
    words.get(at + 1).copied().unwrap_or_default().to_owned()
}

fn wait_for_state(client: &mut Client, state: &str) {
    let begun = Instant::now();
    while field(client, "state") != state {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", client.call("BACKUP STATUS"));
        sleep(Duration::from_millis(5));
    }
}

fn files(client: &mut Client) -> Vec<PathBuf> {
    let list = client.call("BACKUP LIST");
    list.trim_matches(['[', ']']).split(' ').filter(|word| !word.is_empty()).map(PathBuf::from).collect()
}

fn names(client: &mut Client) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files(client).into_iter().map(name).collect()
}

/// A backup with writes before, meanwhile and after. Its manifest, and the digest of the moment of the seal.
fn back_up(client: &mut Client) -> (String, String) {
    client.call("DEBUG POPULATE 2000 before 20");
    assert_eq!(client.call("BACKUP START"), "OK");
    assert!(client.call("INFO persistence").contains("backup_in_progress:1"));
    for i in 0..50 {
        client.call(&format!("RPUSH l {i}"));
    }
    wait_for_state(client, "incrementing");
    assert_eq!(names(client), ["appendonly.aof.1.base.rdb"]);
    // Sent at once, they take the short way through the server.
    let pipeline: Vec<u8> = (0..50u8).flat_map(|i| request(&[b"SET", &[b'p', i], &[i]])).collect();
    client.send(&pipeline);
    (0..50).for_each(|_| assert_eq!(client.read(), "OK"));
    client.call("MULTI");
    client.call("INCR n");
    client.call("DEL before:0");
    client.call("EXEC");
    client.call("SET gone v PX 1");
    let digest = client.call("DEBUG DIGEST");
    assert_eq!(client.call("BACKUP SEAL"), "OK");
    client.call("INCR n");
    assert!(client.call("INFO persistence").contains("backup_in_progress:0"));
    let expected = ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"];
    assert_eq!(names(client), expected);
    (files(client)[2].to_string_lossy().into_owned(), digest)
}

#[test]
fn a_backup_is_the_data_of_the_seal_and_a_start_can_load_it() {
    for own_log in ["no", "yes"] {
        let server = start(&["--appendonly", own_log]);
        let mut client = server.client();
        client.call("SET gone v");
        let (manifest, _) = back_up(&mut client);
        assert!(manifest.starts_with('/'), "{manifest}");
        sleep(Duration::from_millis(5));
        client.call("DEL gone");
        client.call("INCRBY n -1");
        let digest = client.call("DEBUG DIGEST");
        for appendonly in ["no", "yes"] {
            let preload = ["--appendonly", appendonly, "--preload-file", &format!("aof:{manifest}")];
            let mut restored = start(&preload);
            let mut other = restored.client();
            other.call("EXISTS gone");
            assert_eq!(other.call("DEBUG DIGEST"), digest);
            other.call("SET more 1");
            let digest = other.call("DEBUG DIGEST");
            if appendonly == "yes" {
                // What was loaded is its own now.
                restored.signal(Signal::SIGKILL);
                restored.wait();
                let dir = std::mem::replace(&mut restored.dir, tempfile::tempdir().expect("a folder"));
                let again = Server::start_in(dir, &[&DEBUG[..], &["--appendonly", "yes"]].concat());
                assert_eq!(again.client().call("DEBUG DIGEST"), digest);
            }
        }
        assert_eq!(client.call("BACKUP CLEANUP"), "OK");
        assert_eq!(field(&mut client, "state"), "idle");
        assert_eq!(fs::read_dir(server.path("backupdir")).unwrap().count(), 0);
    }
}

#[test]
fn states_and_errors_are_those_of_redis() {
    let server = start(&["--rdb-key-save-delay", "100"]);
    let mut client = server.client();
    assert_eq!(client.call("BACKUP STATUS"), "[state idle error  start_time 0 end_time 0]");
    assert_eq!(client.call("BACKUP"), "-ERR wrong number of arguments for 'backup' command");
    assert_eq!(client.call("BACKUP LIST"), "[]");
    assert_eq!(client.call("BACKUP ABORT"), "-ERR No backup in progress");
    assert_eq!(client.call("BACKUP CLEANUP"), "OK");
    let not_ready = "-ERR No backup ready to seal (must be in the incrementing state)";
    assert_eq!(client.call("BACKUP SEAL"), not_ready);
    assert!(client.call("BACKUP HELP").contains("SEAL"));
    // A child of another kind first.
    client.call("DEBUG POPULATE 2000");
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    assert_eq!(client.call("BACKUP START"), "OK");
    assert_eq!(field(&mut client, "state"), "pending");
    assert_eq!(client.call("BACKUP SEAL"), not_ready);
    wait_for_state(&mut client, "snapshotting");
    assert_eq!(client.call("BACKUP CLEANUP"), "-ERR Backup is in progress");
    assert!(client.call("BACKUP START").starts_with("-ERR A backup is already in progress"));
    assert!(client.call("BGSAVE").starts_with("-ERR Another child process is active"));
    assert!(client.call("BGREWRITEAOF").contains("scheduled"));
    assert_eq!(client.call("BACKUP ABORT"), "OK");
    assert_eq!(field(&mut client, "state"), "failed");
    assert!(client.call("BACKUP STATUS").contains("error aborted by user start_time"));
    assert_eq!(fs::read_dir(server.path("backupdir")).unwrap().count(), 0);
    client.call("CONFIG SET rdb-key-save-delay 0");
    assert_eq!(client.call("MULTI"), "OK");
    client.call("SET in-transaction 1");
    client.call("BACKUP START");
    client.call("SET in-transaction 2");
    assert_eq!(client.call("EXEC"), "[OK OK OK]");
    wait_for_state(&mut client, "incrementing");
    assert_eq!(client.call("BACKUP SEAL"), "OK");
    assert!(client.call("BACKUP START").starts_with("-ERR A sealed backup exists"));
    assert_eq!(client.call("CONFIG SET backup-sealed-ttl 1"), "OK");
    wait_for_state(&mut client, "idle");
    assert_eq!(fs::read_dir(server.path("backupdir")).unwrap().count(), 0);
    fs::write(server.path("backupdir/mine"), "").unwrap();
    assert!(client.call("BACKUP START").ends_with("is not empty"));
}

#[test]
fn killed_during_a_backup_the_server_has_its_own_data() {
    let options = [&DEBUG[..], &["--appendonly", "yes", "--rdb-key-save-delay", "20"]].concat();
    let mut server = Server::start(&options);
    for (round, delay_ms) in [0, 5, 20, 50, 90].into_iter().enumerate() {
        let mut client = server.client();
        let pairs: Vec<String> = (0..500).map(|i| format!("k{round}:{i} {i}")).collect();
        client.call(&format!("MSET {}", pairs.join(" ")));
        client.call("BACKUP START");
        let begun = Instant::now();
        let mut n = 0;
        while begun.elapsed() < Duration::from_millis(delay_ms) || n == 0 {
            client.call(&format!("INCR n{round}"));
            n += 1;
        }
        client.call("BACKUP SEAL");
        let digest = client.call("DEBUG DIGEST");
        server.signal(Signal::SIGKILL);
        server.wait();
        let dir = std::mem::replace(&mut server.dir, tempfile::tempdir().expect("a folder"));
        // What is left of a backup is the operator's.
        fs::remove_dir_all(dir.path().join("backupdir")).unwrap();
        server = Server::start_in(dir, &options);
        assert_eq!(server.client().call("DEBUG DIGEST"), digest, "round {round}");
        assert_eq!(field(&mut server.client(), "state"), "idle");
    }
}

#[test]
fn a_start_loads_the_named_file_in_the_place_of_its_own() {
    let source = start(&[]);
    let mut client = source.client();
    client.call("SADD set one two");
    assert_eq!(client.call("SAVE"), "OK");
    let rdb = source.path("dump.rdb").canonicalize().unwrap();
    let rdb = format!("rdb:{}", rdb.display());
    for appendonly in ["no", "yes"] {
        let own = start(&["--appendonly", "yes"]);
        own.client().call("SET own 1");
        let mut own = own;
        own.signal(Signal::SIGTERM);
        own.wait();
        let dir = std::mem::replace(&mut own.dir, tempfile::tempdir().expect("a folder"));
        let options = ["--appendonly", appendonly, "--preload-file", &rdb];
        let server = Server::start_in(dir, &[&DEBUG[..], &options].concat());
        let mut client = server.client();
        assert_eq!(client.call("EXISTS own set"), "1");
        assert_eq!(client.call("CONFIG GET preload-file"), format!("[preload-file {rdb}]"));
        assert!(client.call("CONFIG SET preload-file x").contains("immutable"));
    }
}

/// What a server says that does not start.
fn refusal(options: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        program(dir.path()).args(["--port", &free_port().to_string()]).args(options).spawn().unwrap();
    assert!(!wait_for(&mut child).success());
    ["stdout", "stderr"].map(|name| fs::read_to_string(dir.path().join(name)).unwrap()).concat()
}

#[test]
fn a_bad_preload_file_or_folder_is_refused() {
    for (options, said) in [
        (["--preload-file", "aof:/tmp/foo"], "preload-file must end with an extension"),
        (["--preload-file", "rdb:/tmp/foo"], "preload-file must end with an extension"),
        (["--preload-file", "other:/tmp/foo.rdb"], "argument must be in the format"),
        (["--preload-file", "rdb:/tmp/../foo.rdb"], "normalized absolute"),
        (["--preload-file", "rdb:/tmp/cairn-no-such-file.rdb"], "No such file"),
        (["--preload-file", "aof:/tmp/cairn-none/appendonly.aof.manifest"], "No such file"),
        (["--backupdirname", "a/b"], "backupdirname can't be a path"),
        (["--appendfilename", "a\\\\b"], "appendfilename can't be a path"),
        (["--appenddirname", "'a\\b'"], "appenddirname can't be a path"),
    ] {
        let text = refusal(&options);
        assert!(text.to_lowercase().contains(&said.to_lowercase()), "{options:?}: {text}");
    }
}
