//! Those around the process: systemd, `ps`, syslog's groups, readers of the log.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::client::{Server, free_port, program, wait_for};

#[test]
fn systemd_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("allowed");
    let port = free_port();
    let mut command = program(dir.path());
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    command.args([
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--supervised",
        "systemd",
        "--daemonize",
        "yes",
    ]);
    let child = command.spawn().expect("the program starts");
    let mut told = String::new();
    while !told.contains("READY=1") {
        let mut buf = [0; 256];
        let len = socket.recv(&mut buf).expect("a message");
        told.push_str(&String::from_utf8_lossy(&buf[..len]));
    }
    assert!(told.starts_with("STATUS=Loading the data set\n"), "{told}");
    let mut server = Server { child, dir, port };
    // It stays in the foreground, whatever `daemonize` says.
    assert!(server.client().call("INFO server").contains("process_supervised:systemd\r\n"));
    server.signal(Signal::SIGTERM);
    let mut buf = [0; 256];
    let len = socket.recv(&mut buf).expect("a message");
    assert_eq!(&buf[..len], b"STOPPING=1\n");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_title_can_be_chosen() {
    let server = Server::start(&["--proc-title-template", "TEST {title} {listen-addr} {port} {config-file}"]);
    let title = || {
        let cmdline = fs::read(format!("/proc/{}/cmdline", server.child.id())).expect("its title");
        String::from_utf8_lossy(&cmdline).trim_end_matches('\0').to_owned()
    };
    let port = server.port;
    let mut client = server.client();
    // The kernel may not let us; then the title is what was called.
    if title().contains('\0') {
        println!("skipped: this system does not let a process change its title");
        return;
    }
    assert!(title().ends_with(&format!("cairn-server 127.0.0.1:{port} {port} -")), "{}", title());
    assert!(title().starts_with("TEST /"), "{}", title());
    let long = "x".repeat(2000);
    assert_eq!(client.call(&format!("CONFIG SET proc-title-template {long}")), "OK");
    assert_eq!(title(), long);
    assert!(client.call("CONFIG SET proc-title-template {nobody}").contains("template format is invalid"));
}

#[test]
fn logs_in_other_formats() {
    let server = Server::start(&["--log-format", "json", "--log-timestamp-format", "milliseconds"]);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("Server initialized")).expect("it is there");
    let head = format!("{{\"pid\":{},\"role\":\"primary\",\"timestamp\":\"1", server.child.id());
    assert!(line.starts_with(&head), "{line}");
    assert!(line.ends_with("\",\"level\":\"notice\",\"message\":\"Server initialized\"}"), "{line}");
    let mut client = server.client();
    assert_eq!(client.call("CONFIG SET log-format logfmt"), "OK");
    assert_eq!(client.call("CONFIG SET maxclients 77 repl-timeout 5"), "OK");
    let log = server.log();
    assert!(log.contains(" level=warning message=\"WARNING: 'repl-timeout' is known, but"), "{log}");
}

#[test]
fn sockets_of_a_group() {
    let gid = fs::metadata("/proc/self").expect("it is there").gid().to_string();
    let server = Server::start(&["--unixsocket", "s.sock", "--unixsocketgroup", &gid]);
    assert_eq!(fs::metadata(server.path("s.sock")).expect("the socket").gid().to_string(), gid);
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = program(dir.path())
        .args(["--port", "0", "--unixsocket", "s.sock", "--unixsocketgroup", "nobody-has-this-name"])
        .spawn()
        .expect("the program starts");
    assert_eq!(wait_for(&mut child).code(), Some(1));
    let log = fs::read_to_string(dir.path().join("stdout")).expect("the log");
    assert!(log.contains("there is no group 'nobody-has-this-name'"), "{log}");
}

#[test]
fn clients_are_told_where_it_is() {
    let server = Server::start(&["--availability-zone", "us-1a"]);
    assert!(server.client().call("HELLO").ends_with(" availability_zone us-1a]"));
    assert!(server.client().call("INFO server").contains("availability_zone:us-1a\r\n"));
}

#[test]
fn scores_for_want_of_memory() {
    let score = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("its score");
        text.trim().parse::<i64>().expect("a number")
    };
    let options = ["--oom-score-adj", "relative", "--oom-score-adj-values", "5", "200", "80"];
    let server = Server::start(&[&options[..], &["--rdb-key-save-delay", "100000"]].concat());
    let base = score(std::process::id());
    assert_eq!(score(server.child.id()), base + 5);
    let mut client = server.client();
    assert_eq!(client.call_words(&[b"CONFIG", b"SET", b"oom-score-adj-values", b"7 200 81"]), "OK");
    assert_eq!(score(server.child.id()), base + 7);
    for i in 0..50 {
        assert_eq!(client.call(&format!("SET {i} v")), "OK");
    }
    assert_eq!(client.call("BGSAVE"), "Background saving started");
    let child = server
        .log()
        .lines()
        .find_map(|l| Some(l.split_once("Background saving started by pid ")?.1.to_owned()));
    assert_eq!(score(child.and_then(|pid| pid.parse().ok()).expect("a child")), base + 81);
    assert_eq!(client.call("BGSAVE CANCEL"), "Background saving cancelled");
    assert_eq!(client.call("CONFIG SET oom-score-adj no"), "OK");
    assert_eq!(score(server.child.id()), base);
}
