//! One folder, one server.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Client, Server, free_port, program, wait_for};

/// Starts a server whose data is in `dir`, and its output in `out`.
fn start_there(out: &Path, dir: &Path, options: &[&str]) -> (Child, u16) {
    let port = free_port();
    let mut command = program(out);
    command.args(["--port", &port.to_string(), "--save", "", "--dir"]).arg(dir).args(options);
    (command.spawn().expect("it starts"), port)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_second_server_is_refused_and_changes_nothing() {
    let server = Server::start(&["--pidfile", "a.pid"]);
    assert_eq!(server.client().call("SET k v"), "OK");
    assert_eq!(server.client().call("SAVE"), "OK");
    let pid = fs::read(server.path("a.pid")).expect("written");
    let (before, out) = (names(server.dir.path()), tempfile::tempdir().expect("a folder"));
    let (mut second, _) = start_there(out.path(), server.dir.path(), &["--pidfile", "a.pid"]);
    assert_eq!(wait_for(&mut second).code(), Some(1));
    let log = fs::read_to_string(out.path().join("stdout")).expect("the log");
    assert!(log.contains("Another server uses the folder") && !log.contains("initialized"), "{log}");
    assert_eq!(names(server.dir.path()), before);
    assert_eq!(fs::read(server.path("a.pid")).expect("still there"), pid);
    assert_eq!(server.client().call("GET k"), "v");
}

#[test]
fn who_comes_too_early_waits_for_the_one_that_ends() {
    let mut server = Server::start(&[]);
    assert_eq!(server.client().call("SET k v"), "OK");
    let out = tempfile::tempdir().expect("a folder");
    let (child, port) = start_there(out.path(), server.dir.path(), &[]);
    let mut second = Server { child, dir: out, port };
    second.wait_for_log("just started");
    sleep(Duration::from_millis(500));
    assert!(!second.log().contains("initialized"), "{}", second.log());
    assert_eq!(server.client().call("SAVE"), "OK");
    server.signal(Signal::SIGKILL);
    server.wait();
    second.wait_for_log("Ready to accept connections");
    assert_eq!(second.client().call("GET k"), "v");
}

#[test]
fn a_server_moves_only_to_a_folder_that_nobody_has() {
    let options = ["--enable-protected-configs", "yes"];
    let (one, two) = (Server::start(&options), Server::start(&options));
    let (mut client, theirs) = (one.client(), two.dir.path().display().to_string());
    let dir = |client: &mut Client| client.call("CONFIG GET dir");
    let before = dir(&mut client);
    let refused =
        "-ERR CONFIG SET failed (possibly related to argument 'dir') - Another server uses this folder";
    assert_eq!(client.call(&format!("CONFIG SET dir {theirs}")), refused);
    assert_eq!(dir(&mut client), before);
    assert_eq!(client.call("CONFIG SET dir ."), "OK", "it has this one");
    assert_eq!(dir(&mut client), before);
    let missing = client.call("CONFIG SET dir nowhere");
    assert!(missing.contains("No such file or directory"), "{missing}");
    assert_eq!(client.call("SAVE"), "OK");
    assert!(one.path("dump.rdb").exists());
    let free = tempfile::tempdir().expect("a folder");
    assert_eq!(client.call(&format!("CONFIG SET dir {}", free.path().display())), "OK");
    assert_eq!(client.call("SAVE"), "OK");
    assert!(free.path().join("dump.rdb").exists());
    // It has left its first one, and another may come there; where it is now, none may.
    let mut other = two.client();
    let taken = other.call(&format!("CONFIG SET dir {}", free.path().display()));
    assert_eq!(taken, refused);
    assert_eq!(other.call(&format!("CONFIG SET dir {}", one.dir.path().display())), "OK");
}

#[test]
fn whoever_must_can_share_a_folder() {
    let server = Server::start(&[]);
    let out = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let options = ["--dir-lock", "no", "--dbfilename", "other.rdb"];
    let (child, port) = start_there(out.path(), server.dir.path(), &options);
    let mut second = Server { child, dir: out, port };
    second.wait_for_log("Ready to accept connections");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(second.client().call("SAVE"), "OK");
    assert_eq!(server.client().call("SAVE"), "OK");
    assert!(server.path("other.rdb").exists() && server.path("dump.rdb").exists());
}

#[test]
fn a_dying_child_keeps_the_next_server_out() {
    let mut server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.call("SET generation old"), "OK");
    assert_eq!(client.call("SAVE"), "OK");
    assert_eq!(client.call("DEBUG POPULATE 1000"), "OK");
    assert_eq!(client.call("SET generation new"), "OK");
    assert_eq!(client.call("CONFIG SET rdb-key-save-delay 200"), "OK");
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    server.signal(Signal::SIGKILL);
    server.wait();
    // The child dies with its server: when the next one has the folder, nobody writes there any more.
    let out = tempfile::tempdir().expect("a folder");
    let (child, port) = start_there(out.path(), server.dir.path(), &[]);
    let mut next = Server { child, dir: out, port };
    next.wait_for_log("Ready to accept connections");
    assert_eq!(next.client().call("GET generation"), "old");
    assert_eq!(next.client().call("SET generation newer"), "OK");
    assert_eq!(next.client().call("SAVE"), "OK");
    sleep(Duration::from_millis(400));
    next.signal(Signal::SIGKILL);
    next.wait();
    let out = tempfile::tempdir().expect("a folder");
    let (child, port) = start_there(out.path(), server.dir.path(), &[]);
    let mut last = Server { child, dir: out, port };
    last.wait_for_log("Ready to accept connections");
    assert_eq!(last.client().call("GET generation"), "newer");
}

/// Waits until a write is answered like this.
fn wait_for_write(client: &mut Client, expected: &str) {
    let begun = Instant::now();
    loop {
        let reply = client.call("SET probe 1");
        if reply.contains(expected) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{reply}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_folder_that_is_moved_away_is_missed_and_an_empty_one_is_moved_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let (data, away) = (dir.path().join("data"), dir.path().join("away"));
    fs::create_dir(&data).expect("a folder");
    let options = ["--dir", "data", "--appendonly", "yes", "--appendfsync", "always"];
    let server = Server::start_in(dir, &options);
    let mut client = server.client();
    assert_eq!(client.call("SET before 1"), "OK");
    fs::rename(&data, &away).expect("renamed");
    wait_for_write(&mut client, "-MISCONF The data folder ");
    assert_eq!(client.call("GET before"), "1");
    fs::rename(&away, &data).expect("renamed");
    wait_for_write(&mut client, "OK");
    assert_eq!(client.call("SET again 1"), "OK");
    // Somebody else's data are not written over.
    fs::rename(&data, &away).expect("renamed");
    fs::create_dir(&data).expect("a folder");
    fs::write(data.join("dump.rdb"), "precious").expect("a file");
    wait_for_write(&mut client, "-MISCONF Another folder is at ");
    sleep(Duration::from_secs(1));
    assert_eq!(fs::read(data.join("dump.rdb")).expect("the file"), b"precious");
    assert_eq!(fs::read_dir(&data).expect("the folder").count(), 1);
    fs::remove_file(data.join("dump.rdb")).expect("removed");
    wait_for_write(&mut client, "OK");
    assert_eq!(client.call("SET after 1"), "OK");
    let server = Server::start_in(server.killed(), &options);
    assert_eq!(server.client().call("MGET before again after probe"), "[1 1 1 1]");
    assert!(server.path("away/appendonlydir").exists(), "what was moved away is left alone");
}

#[test]
fn a_folder_that_is_removed_under_writes_and_made_anew_is_moved_to() {
    for policy in ["always", "everysec"] {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let options = ["--dir", "data", "--appendonly", "yes", "--appendfsync", policy];
        let server = Server::start_in(dir, &options);
        let mut client = server.client();
        assert_eq!(client.call("SET before 1"), "OK");
        // The write is what notices first that the log has no name.
        sleep(Duration::from_millis(20));
        fs::remove_dir_all(&data).expect("removed");
        fs::create_dir(&data).expect("a folder");
        client.call("SET during 1");
        wait_for_write(&mut client, "OK");
        let server = Server::start_in(server.killed(), &options);
        assert_eq!(server.client().call("MGET before probe"), "[1 1]", "{policy}");
    }
}

#[test]
fn snapshots_go_where_an_empty_folder_has_come() {
    let dir = tempfile::tempdir().expect("a folder");
    let (data, away) = (dir.path().join("data"), dir.path().join("away"));
    fs::create_dir(&data).expect("a folder");
    let server = Server::start_in(dir, &["--dir", "data", "--save", "900 1"]);
    let mut client = server.client();
    assert_eq!(client.call("SET k v"), "OK");
    fs::rename(&data, &away).expect("renamed");
    fs::create_dir(&data).expect("a folder");
    let begun = Instant::now();
    while !data.join("dump.rdb").exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", server.log());
        sleep(Duration::from_millis(20));
    }
    wait_for_write(&mut client, "OK");
    assert!(!away.join("dump.rdb").exists());
}

/// What a server says that does not start on this folder.
fn refusal(dir: &Path, options: &[&str]) -> String {
    let out = tempfile::tempdir().expect("a folder");
    let (mut child, _) = start_there(out.path(), dir, options);
    assert_eq!(wait_for(&mut child).code(), Some(1));
    fs::read_to_string(out.path().join("stdout")).expect("the log")
}

#[test]
fn who_is_killed_while_the_data_go_to_an_empty_folder_does_not_start_empty() {
    let aof = &["--appendonly", "yes"][..];
    for options in [aof, &["--save", "900 1"]] {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, away) = (dir.path().join("data"), dir.path().join("away"));
        fs::create_dir(&data).expect("a folder");
        let all = [&["--dir", "data", "--enable-debug-command", "yes"], options].concat();
        let mut server = Server::start_in(dir, &all);
        let mut client = server.client();
        assert_eq!(client.call("DEBUG POPULATE 100"), "OK");
        assert_eq!(client.call("CONFIG SET rdb-key-save-delay 1000000"), "OK");
        fs::rename(&data, &away).expect("renamed");
        fs::create_dir(&data).expect("a folder");
        server.wait_for_log(if options == aof { "rewriting started" } else { "Background saving started" });
        server.signal(Signal::SIGKILL);
        server.wait();
        let before = names(&data);
        let said = refusal(&data, options);
        assert!(said.contains("No such file or directory") || said.contains("Unexpected EOF"), "{said}");
        let left = |name: &String| !name.starts_with("temp-");
        let (before, after) = (before.into_iter().filter(left), names(&data).into_iter().filter(left));
        assert_eq!(before.collect::<Vec<_>>(), after.collect::<Vec<_>>());
    }
}

#[test]
fn who_is_killed_while_a_log_that_was_removed_is_made_anew_does_not_start_empty() {
    let options = ["--appendonly", "yes", "--enable-debug-command", "yes"];
    let mut server = Server::start(&options);
    let mut client = server.client();
    assert_eq!(client.call("SET k v"), "OK");
    assert_eq!(client.call("DEBUG POPULATE 100"), "OK");
    assert_eq!(client.call("CONFIG SET rdb-key-save-delay 1000000"), "OK");
    fs::remove_dir_all(server.path("appendonlydir")).expect("removed");
    server.wait_for_log("rewriting started");
    server.signal(Signal::SIGKILL);
    server.wait();
    let said = refusal(server.dir.path(), &options);
    assert!(said.contains("No such file or directory"), "{said}");
}

fn info(client: &mut Client, name: &str) -> String {
    let info = client.call("INFO persistence");
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("the field").to_owned()
}

#[test]
fn log_files_that_are_moved_away_or_removed_are_missed_and_written_anew() {
    let options = ["--appendonly", "yes"];
    let mut dir = tempfile::tempdir().expect("a folder");
    for what in ["folder", "base", "incr", "manifest"] {
        let server = Server::start_in(dir, &options);
        let mut client = server.client();
        assert_eq!(client.call(&format!("SET before:{what} 1")), "OK");
        let log = server.path("appendonlydir");
        // Removing what was replaced writes the manifest once more.
        let begun = Instant::now();
        while names(&log).len() != 3 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {}", server.log());
            sleep(Duration::from_millis(20));
        }
        let rewrites = info(&mut client, "aof_rewrites");
        match what {
            "folder" => fs::rename(&log, server.path("away")).expect("renamed"),
            _ => {
                let name = names(&log).into_iter().find(|name| name.contains(what)).expect("a file");
                fs::remove_file(log.join(name)).expect("removed");
            }
        }
        let begun = Instant::now();
        while info(&mut client, "aof_rewrites") == rewrites || !info(&mut client, "aof_last_error").is_empty()
        {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {}", server.log());
            sleep(Duration::from_millis(20));
        }
        assert!(server.log().contains("is gone. Writes are refused until"), "{}", server.log());
        wait_for_write(&mut client, "OK");
        assert_eq!(client.call(&format!("SET after:{what} 1")), "OK");
        dir = server.killed();
    }
    let server = Server::start_in(dir, &options);
    assert_eq!(server.client().call("DBSIZE"), "9");
    assert!(server.path("away/appendonly.aof.manifest").exists(), "what was moved away is left alone");
}

#[test]
fn another_log_that_comes_in_the_place_of_ours_is_not_written_over() {
    let options = ["--appendonly", "yes"];
    let server = Server::start(&options);
    let mut client = server.client();
    let (log, away) = (server.path("appendonlydir"), server.path("away"));
    assert_eq!(client.call("SET before 1"), "OK");
    sleep(Duration::from_millis(700));
    let next = server.path("next");
    fs::create_dir(&next).expect("a folder");
    for name in names(&log) {
        fs::copy(log.join(&name), next.join(&name)).expect("copied");
    }
    fs::write(next.join("appendonly.aof.1.incr.aof"), "").expect("a file");
    fs::rename(&log, &away).expect("renamed");
    fs::rename(&next, &log).expect("renamed");
    let incr = log.join("appendonly.aof.1.incr.aof");
    wait_for_write(&mut client, "-MISCONF Another AOF is in ");
    sleep(Duration::from_secs(1));
    assert_eq!(fs::read(&incr).expect("a file"), b"");
    assert_eq!(client.call("GET before"), "1");
    fs::rename(&log, server.path("theirs")).expect("renamed");
    fs::rename(&away, &log).expect("renamed");
    wait_for_write(&mut client, "OK");
    // The same with names that are not ours.
    fs::rename(&log, &away).expect("renamed");
    fs::create_dir(&log).expect("a folder");
    fs::write(log.join("appendonly.aof.7.incr.aof"), "precious").expect("a file");
    wait_for_write(&mut client, "-MISCONF Another AOF is in ");
    fs::remove_dir_all(&log).expect("removed");
    wait_for_write(&mut client, "OK");
    assert_eq!(client.call("SET after 1"), "OK");
    let server = Server::start_in(server.killed(), &options);
    assert_eq!(server.client().call("MGET before probe after"), "[1 1 1]");
}

#[test]
fn a_log_file_that_a_copy_has_replaced_takes_no_acknowledged_write_with_it() {
    for policy in ["always", "everysec", "no"] {
        let options = ["--appendonly", "yes", "--appendfsync", policy];
        let server = Server::start(&options);
        let mut client = server.client();
        assert_eq!(client.call("SET before 1"), "OK");
        let incr = server.path("appendonlydir/appendonly.aof.1.incr.aof");
        let copy = server.path("copy");
        fs::copy(&incr, &copy).expect("copied");
        // Only the file that goes has it.
        assert_eq!(client.call("SET late 1"), "OK");
        let copied = fs::read(&copy).expect("the copy");
        fs::rename(&copy, &incr).expect("renamed");
        // So often it is looked at least.
        sleep(Duration::from_millis(15));
        wait_for_write(&mut client, "OK");
        let dir = server.killed();
        let aside = dir.path().join("appendonlydir/appendonly.aof.1.incr.aof.foreign");
        assert_eq!(fs::read(aside).expect("it is kept"), copied, "{policy}");
        let server = Server::start_in(dir, &options);
        assert_eq!(server.client().call("MGET before late probe"), "[1 1 1]", "{policy}");
    }
}

#[test]
fn a_copy_of_a_log_file_takes_no_acknowledged_write_though_a_link_keeps_the_former_one() {
    // With a reserve the copy stays as long as the file.
    for policy in ["always", "everysec"] {
        let options = ["--appendonly", "yes", "--appendfsync", policy];
        let mut server = Server::start(&options);
        let mut client = server.client();
        assert_eq!(client.call("SET before 1"), "OK");
        let incr = server.path("appendonlydir/appendonly.aof.1.incr.aof");
        let (link, copy) = (server.path("link"), server.path("copy"));
        fs::hard_link(&incr, &link).expect("a link");
        // It is looked twice a second what is there.
        sleep(Duration::from_millis(1200));
        fs::copy(&incr, &copy).expect("copied");
        fs::rename(&copy, &incr).expect("renamed");
        server.wait_for_log("is another file now");
        wait_for_write(&mut client, "OK");
        let server = Server::start_in(server.killed(), &options);
        assert_eq!(server.client().call("MGET before probe"), "[1 1]", "{policy}");
    }
}

/// All that there is below a folder.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    names(dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).expect("a file"))).collect()
}

#[test]
fn a_log_that_was_removed_is_not_written_over_the_one_in_its_place() {
    let options = ["--appendonly", "yes", "--enable-debug-command", "yes"];
    let theirs = Server::start(&options);
    assert_eq!(theirs.client().call("DEBUG POPULATE 100"), "OK");
    assert_eq!(theirs.client().call("BGREWRITEAOF"), "Background append only file rewriting started");
    let begun = Instant::now();
    while names(&theirs.path("appendonlydir")).len() != 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", theirs.log());
        sleep(Duration::from_millis(20));
    }
    let theirs = contents(&theirs.path("appendonlydir"));
    let server = Server::start(&options);
    let mut client = server.client();
    let log = server.path("appendonlydir");
    assert_eq!(client.call("SET before 1"), "OK");
    fs::remove_dir_all(&log).expect("removed");
    fs::create_dir(&log).expect("a folder");
    theirs.iter().for_each(|(name, bytes)| fs::write(log.join(name), bytes).expect("written"));
    wait_for_write(&mut client, "-MISCONF");
    sleep(Duration::from_millis(1500));
    let kept = |name: &str| !name.ends_with(".foreign") && !name.starts_with("temp-");
    let left: Vec<_> = contents(&log).into_iter().filter(|(name, _)| kept(name)).collect();
    assert_eq!(left, theirs);
    wait_for_write(&mut client, "-MISCONF");
    fs::remove_dir_all(&log).expect("removed");
    wait_for_write(&mut client, "OK");
}
