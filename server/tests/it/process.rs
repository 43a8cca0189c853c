//! The process: what it says when it starts, and how it ends.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Server, program, wait_for};

#[test]
fn starting_scripts_see_what_they_wait_for() {
    let server = Server::start(&[]);
    let log = server.log();
    let pid = format!(" PID: {}", server.child.id());
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
    assert!(at(&pid) < at("Server initialized"));
    assert!(at("Server initialized") < at("Ready to accept connections tcp"));
    let line = log.lines().next().expect("a line");
    let begin = format!("{}:M ", server.child.id());
    assert!(line.starts_with(&begin) && line.contains(" * oO0OoO0OoO0Oo"), "{line}");
}

#[test]
fn a_port_that_is_taken_is_said() {
    let server = Server::start(&[]);
    let dir = tempfile::tempdir().expect("a folder");
    let mut child =
        program(dir.path()).args(["--port", &server.port.to_string()]).spawn().expect("the program starts");
    assert_eq!(wait_for(&mut child).code(), Some(1));
    let log = std::fs::read_to_string(dir.path().join("stdout")).expect("the log");
    assert!(log.contains(&format!("Failed listening on port {}", server.port)), "{log}");
}

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(&["--pidfile", "a.pid"]);
        assert!(server.path("a.pid").exists());
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(server.log().contains("ready to exit, bye bye"), "{}", server.log());
        assert!(!server.path("a.pid").exists());
        assert!(!server.path("dump.rdb").exists(), "there were no save rules");
    }
}

#[test]
fn who_insists_need_not_wait_for_the_save() {
    let options = ["--save", "900 1", "--rdb-key-save-delay", "100000", "--enable-debug-command", "yes"];
    let mut server = Server::start(&options);
    assert_eq!(server.client().call("DEBUG POPULATE 1000"), "OK");
    server.signal(Signal::SIGINT);
    server.wait_for_log("Saving the final RDB snapshot");
    let temp = server.path(&format!("temp-{}.rdb", server.child.id()));
    let begun = Instant::now();
    while !temp.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the save does not begin");
        sleep(Duration::from_millis(5));
    }
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait().code(), Some(1));
    assert!(!temp.exists());
    assert!(!server.path("dump.rdb").exists());
}

#[test]
fn a_client_ends_it() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.call("SHUTDOWN SAVE NOSAVE"), "-ERR syntax error");
    assert_eq!(client.call("SHUTDOWN foo"), "-ERR syntax error");
    assert_eq!(client.call("SHUTDOWN SAFE ABORT"), "-ERR syntax error");
    assert_eq!(client.call("SHUTDOWN FAILOVER"), "-ERR SHUTDOWN FAILOVER is only supported in cluster mode.");
    assert_eq!(client.call("SHUTDOWN ABORT"), "-ERR No shutdown in progress.");
    client.send(b"SET k v\r\nSHUTDOWN SAVE\r\nPING\r\n");
    assert_eq!(client.read_to_end(), "+OK\\r\\n");
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.path("dump.rdb").exists());
}

#[test]
fn too_many_clients_are_told() {
    let server = Server::start(&["--maxclients", "2"]);
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!((one.call("PING").as_str(), two.call("PING").as_str()), ("PONG", "PONG"));
    assert_eq!(server.client().read_to_end(), "-ERR max number of clients reached\\r\\n");
    drop(two);
    let begun = Instant::now();
    while server.client().read_or_ping() != "PONG" {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn idle_clients_go() {
    let server = Server::start(&["--timeout", "1"]);
    let (mut listener, mut monitor, mut waiter) = (server.client(), server.client(), server.client());
    assert_eq!(listener.call("SUBSCRIBE a"), "[subscribe a 1]");
    assert_eq!(monitor.call("MONITOR"), "OK");
    waiter.send(b"BLPOP list 0\r\n");
    let mut client = server.client();
    assert_eq!(client.call("PING"), "PONG");
    let begun = Instant::now();
    assert_eq!(client.read_to_end(), "");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // Those have nothing to say.
    assert_eq!(listener.call("PING"), "[pong ]");
    assert_eq!(server.client().call("RPUSH list x"), "1");
    assert_eq!(waiter.read(), "[list x]");
    assert_eq!(monitor.call("RESET").split(' ').next_back(), Some("\"0\""));
}

#[test]
fn who_does_not_read_is_let_go() {
    let server = Server::start(&["--client-output-buffer-limit", "normal", "1mb", "0", "0"]);
    let mut client = server.client();
    let value = vec![b'x'; 500_000];
    assert_eq!(client.call_words(&[b"SET", b"k", &value]), "OK");
    client.send(&b"GET k\r\n".repeat(100));
    // The server closes with the unread replies thrown away.
    let received = client.read_to_end();
    assert!(received.len() < 100 * value.len());
    assert!(server.log().contains("overcoming of output buffer limits"));
    assert_eq!(server.client().call("PING"), "PONG");
}
