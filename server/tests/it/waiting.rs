//! Transactions, and clients that wait: for keys, for a time, for an operator.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{Client, Server, request};

/// Waits until so many clients wait.
fn until_blocked(client: &mut Client, count: usize) {
    let begun = Instant::now();
    while !client.call("INFO clients").contains(&format!("blocked_clients:{count}\r\n")) {
        assert!(begun.elapsed() < Duration::from_secs(10), "never {count} blocked clients");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_transaction_runs_whole_or_not_at_all() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    assert_eq!(a.call("EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(a.call("MULTI"), "OK");
    assert_eq!(a.call("SET k 1"), "QUEUED");
    assert_eq!(b.call("EXISTS k"), "0");
    assert_eq!(a.call("LPUSH k x"), "QUEUED");
    assert!(a.call("EXEC").starts_with("[OK -WRONGTYPE"));
    // A command that is refused spoils the transaction.
    a.call("MULTI");
    assert!(a.call("nosuch").starts_with("-ERR unknown command"));
    assert_eq!(a.call("SET k 2"), "QUEUED");
    assert_eq!(a.call("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(b.call("GET k"), "1");
    // A blocking command answers as if its time had passed.
    a.call("MULTI");
    a.call("BZPOPMIN none 0");
    assert_eq!(a.call("EXEC"), "[nil]");
}

#[test]
fn a_watched_key_that_changes_stops_the_transaction() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    let mut run = |by_b: &[&str]| {
        assert_eq!(a.call("WATCH k other"), "OK");
        by_b.iter().for_each(|command| drop(b.call(command)));
        a.call("MULTI");
        a.call("PING");
        a.call("EXEC")
    };
    let (stopped, ran) = ("nil", "[PONG]");
    assert_eq!(run(&["GET k"]), ran);
    assert_eq!(run(&["SET k 1"]), stopped);
    assert_eq!(run(&["SET unrelated 1"]), ran);
    assert_eq!(run(&["INCR k", "DECR k"]), stopped);
    assert_eq!(run(&["DEL nothing"]), ran);
    assert_eq!(run(&["DEL k"]), stopped);
    assert_eq!(run(&["FLUSHALL"]), ran);
    assert_eq!(run(&["SET k 1", "FLUSHDB"]), stopped);
    assert_eq!(run(&["SELECT 1", "SET k 1", "SELECT 0"]), ran);
    assert_eq!(run(&["SWAPDB 0 0"]), ran);
    assert_eq!(run(&["SWAPDB 0 1"]), stopped);
    assert_eq!(run(&["RENAME k other"]), stopped);
    assert_eq!(run(&["EXPIRE other 100"]), stopped);
    // Watching ends with EXEC, and with UNWATCH.
    a.call("WATCH k");
    a.call("UNWATCH");
    b.call("SET k 5");
    a.call("MULTI");
    assert_eq!(a.call("EXEC"), "[]");
    assert!(b.call("INFO clients").contains("total_watched_keys:0\r\n"));
}

#[test]
fn a_watched_key_that_expires_stops_the_transaction() {
    let server = Server::start(&[]);
    let mut a = server.client();
    a.call("SET k v PX 20");
    a.call("WATCH k");
    sleep(Duration::from_millis(60));
    a.call("MULTI");
    a.call("PING");
    assert_eq!(a.call("EXEC"), "nil");
}

#[test]
fn who_waits_first_is_served_first() {
    let server = Server::start(&[]);
    let mut writer = server.client();
    let mut waiters: Vec<Client> = (0..5).map(|_| server.client()).collect();
    for (i, waiter) in waiters.iter_mut().enumerate() {
        waiter.send(b"BZPOPMIN a z 0\r\n");
        until_blocked(&mut writer, i + 1);
    }
    // One key for each, some at once, in a transaction, and by another name.
    writer.call("ZADD z 1 first 2 second");
    writer.call("MULTI");
    writer.call("ZADD z 3 third");
    writer.call("ZADD z 4 fourth");
    writer.call("EXEC");
    writer.call("ZADD elsewhere 5 fifth");
    writer.call("RENAME elsewhere z");
    for (waiter, member) in waiters.iter_mut().zip(["first", "second", "third", "fourth", "fifth"]) {
        assert!(waiter.read().contains(member), "{member}");
    }
    assert_eq!(writer.call("EXISTS z"), "0");
    until_blocked(&mut writer, 0);
}

#[test]
fn what_comes_behind_a_waiting_command_runs_after_it() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    a.send(b"BZPOPMIN z 0\r\nSET after 1\r\n*2\r\n$3\r\nGET\r\n$5\r\naft");
    until_blocked(&mut b, 1);
    a.send(b"er\r\nPING\r\n");
    assert_eq!(b.call("EXISTS after"), "0");
    b.call("ZADD z 1 m");
    assert!(a.read().contains('m'));
    assert_eq!([a.read(), a.read(), a.read()], ["OK", "1", "PONG"]);
}

#[test]
fn waiting_ends_in_time_or_when_an_operator_says_so() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    let begun = Instant::now();
    assert_eq!(a.call("BZPOPMIN z 0.05"), "nil");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(50), "{took:?}");
    let id = a.call("CLIENT ID").trim_start_matches(':').to_owned();
    for (reason, reply) in [("", "nil"), (" TIMEOUT", "nil"), (" ERROR", "-UNBLOCKED")] {
        a.send(b"BZPOPMIN z 0\r\n");
        until_blocked(&mut b, 1);
        assert_eq!(b.call(&format!("CLIENT UNBLOCK {id}{reason}")), "1");
        assert!(a.read().starts_with(reply));
        assert_eq!(b.call(&format!("CLIENT UNBLOCK {id}")), "0");
    }
    // Who waited and is gone takes nothing.
    a.send(b"BZPOPMIN z 0\r\n");
    until_blocked(&mut b, 1);
    drop(a);
    until_blocked(&mut b, 0);
    b.call("ZADD z 1 m");
    assert_eq!(b.call("ZCARD z"), "1");
}

#[test]
fn a_key_of_another_type_serves_nobody() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    a.send(b"BZPOPMIN z 0\r\n");
    until_blocked(&mut b, 1);
    b.call("SET z string");
    b.call("MULTI");
    b.call("DEL z");
    b.call("ZADD z 1 gone");
    b.call("ZREM z gone");
    b.call("EXEC");
    until_blocked(&mut b, 1);
    b.call("ZADD z 1 m");
    assert!(a.read().contains('m'));
}

#[test]
fn nothing_expires_in_a_pause() {
    let server = Server::start(&[]);
    let mut a = server.client();
    a.call("MULTI");
    a.call("SET k v PX 5");
    a.call("CLIENT PAUSE 60000 WRITE");
    a.call("EXEC");
    sleep(Duration::from_millis(30));
    let unseen = [
        ("GET k", "nil"),
        ("EXISTS k", "0"),
        ("TTL k", "-2"),
        ("OBJECT ENCODING k", "nil"),
        ("KEYS *", "[]"),
    ];
    for (line, answer) in unseen {
        assert_eq!(a.call(line), answer, "{line}");
    }
    assert_eq!(a.call("DBSIZE"), "1");
    // It has to name one, and there is no other.
    assert_eq!(a.call("RANDOMKEY"), "k");
    assert!(a.call("INFO stats").contains("expired_keys:0\r\n"));
    assert_eq!(a.call("CLIENT UNPAUSE"), "OK");
    assert_eq!(a.call("GET k"), "nil");
    assert_eq!(a.call("DBSIZE"), "0");
}

#[test]
fn who_imports_sees_what_has_expired() {
    let server = Server::start(&[]);
    let (mut a, mut importer) = (server.client(), server.client());
    assert_eq!(importer.call("CLIENT IMPORT-SOURCE ON"), "-ERR Server is not in import mode");
    assert_eq!(importer.call("CLIENT IMPORT-SOURCE OFF"), "OK");
    a.call("CONFIG SET import-mode yes");
    assert_eq!(importer.call("CLIENT IMPORT-SOURCE nope"), "-ERR syntax error");
    assert_eq!(importer.call("CLIENT IMPORT-SOURCE ON"), "OK");
    assert!(importer.call("CLIENT INFO").contains(" flags=I "));
    importer.call("SET k 1 PX 1");
    importer.call("SET gone 1");
    assert_eq!(importer.call("EXPIREAT gone 1"), "1");
    sleep(Duration::from_millis(20));
    for (line, answer) in [("GET k", "nil"), ("TTL k", "-2"), ("SCAN 0", "[0 []]"), ("DBSIZE", "2")] {
        assert_eq!(a.call(line), answer, "{line}");
    }
    for (line, answer) in
        [("GET k", "1"), ("TTL k", "0"), ("INCR k", "2"), ("DEL gone", "1"), ("KEYS *", "[k]")]
    {
        assert_eq!(importer.call(line), answer, "{line}");
    }
    // Others write as always: what has expired goes.
    assert_eq!(a.call("APPEND k x"), "1");
    importer.call("SET k 1 PX 1");
    assert_eq!(importer.call("RESET"), "RESET");
    sleep(Duration::from_millis(5));
    assert_eq!(importer.call("GET k"), "nil");
    assert_eq!(importer.call("DBSIZE"), "1");
    a.call("CONFIG SET import-mode no");
    assert_eq!(a.call("GET k"), "nil");
    assert_eq!(a.call("DBSIZE"), "0");
}

#[test]
fn a_pause_holds_writes_and_lets_them_go() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    a.call("SET k 1");
    assert_eq!(b.call("CLIENT PAUSE 60000 WRITE"), "OK");
    assert_eq!(a.call("GET k"), "1");
    a.send(b"INCR k\r\nGET k\r\n");
    sleep(Duration::from_millis(50));
    assert_eq!(b.call("GET k"), "1");
    assert_eq!(b.call("CLIENT UNPAUSE"), "OK");
    assert_eq!([a.read(), a.read()], ["2", "2"]);
    b.call("CLIENT PAUSE 50 ALL");
    let begun = Instant::now();
    assert_eq!(a.call("PING"), "PONG");
    assert!(begun.elapsed() >= Duration::from_millis(45));
}

#[test]
fn inline_commands_behind_one_that_waits_run_as_they_were_sent() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    let blpop = request(&[b"BLPOP", b"l", b"0"]);
    a.send(&[blpop, request(&[b"ECHO", b"x"]), b"set  k v\r\nget k\r\n".to_vec()].concat());
    until_blocked(&mut b, 1);
    b.call("RPUSH l e");
    assert_eq!([a.read(), a.read(), a.read(), a.read()], ["[l e]", "x", "OK", "v"]);
}

#[test]
fn a_server_survives_members_and_an_inline_command_behind_one_that_waits() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (server.client(), server.client());
    let add = |n: i32| request(&[b"SADD", b"s", format!("member:{n}").as_bytes()]);
    // What is looked up ahead goes by groups of commands: most of these are of a later one than the first.
    // What comes before moves them far, once they wait.
    let echo = request(&[b"ECHO", &[b'x'; 4000]]);
    let members: Vec<u8> = (0..100).flat_map(add).collect();
    a.send(&[&echo, &request(&[b"BLPOP", b"l", b"0"])[..], &members, b"SCARD s\r\n"].concat());
    until_blocked(&mut b, 1);
    assert_eq!(b.call("SCARD s"), "0");
    assert_eq!(b.call("RPUSH l e"), "1");
    assert_eq!(a.read().len(), 4000);
    assert_eq!(a.read(), "[l e]");
    (0..100).for_each(|_| assert_eq!(a.read(), "1"));
    assert_eq!(a.read(), "100");
}

#[test]
fn a_group_that_goes_breaks_no_transaction() {
    let server = Server::start(&[]);
    let (mut a, mut b, mut c) = (server.client(), server.client(), server.client());
    a.call("XGROUP CREATE s g $ MKSTREAM");
    a.call("WATCH s");
    c.send(b"XREADGROUP GROUP g me BLOCK 0 STREAMS s >\r\n");
    until_blocked(&mut b, 1);
    assert_eq!(b.call("XGROUP DESTROY s g"), "1");
    assert!(c.read().starts_with("-NOGROUP"));
    a.call("MULTI");
    a.call("PING");
    assert_eq!(a.call("EXEC"), "[PONG]");
}
