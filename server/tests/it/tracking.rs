//! CLIENT TRACKING: who hears of which changes, and when.

use crate::client::{Client, Server};

fn resp3(server: &Server, command: &str) -> Client {
    let mut client = server.client();
    client.call("HELLO 3");
    assert_eq!(client.call(command), "OK");
    client
}

#[test]
fn readers_hear_of_changes_once() {
    let server = Server::start(&[]);
    let (mut reader, mut writer) = (resp3(&server, "CLIENT TRACKING ON"), server.client());
    assert_eq!(reader.call("MGET a b"), "[nil nil]");
    assert!(writer.call("INFO stats").contains("tracking_total_items:2\r\n"));
    assert_eq!(writer.call("SET a 1"), "OK");
    assert_eq!(writer.call("SET a 2"), "OK");
    assert_eq!(writer.call("DEL b"), "0");
    assert_eq!(reader.read(), "[invalidate [a]]");
    // One's own changes come behind the reply, or not at all.
    assert_eq!(reader.call("SET b 1"), "OK");
    assert_eq!(reader.read(), "[invalidate [b]]");
    reader.send(b"MULTI\r\nGET a\r\nSET a 3\r\nGET a\r\nEXEC\r\nPING\r\n");
    let expected = ["OK", "QUEUED", "QUEUED", "QUEUED", "[2 OK 3]", "[invalidate [a]]", "PONG"];
    assert_eq!(expected.map(|_| reader.read()), expected);
    assert_eq!(reader.call("CLIENT TRACKING ON NOLOOP"), "OK");
    assert_eq!(reader.call("SET a 4"), "OK");
    assert_eq!(reader.call("PING"), "PONG");
    assert_eq!(writer.call("FLUSHALL"), "OK");
    assert_eq!(reader.read(), "[invalidate nil]");
    assert_eq!(reader.call("CLIENT TRACKING OFF"), "OK");
    assert_eq!(writer.call("SET a 1"), "OK");
    assert_eq!(reader.call("PING"), "PONG");
}

#[test]
fn announced_reads_only() {
    let server = Server::start(&[]);
    let (mut reader, mut writer) = (resp3(&server, "CLIENT TRACKING ON OPTIN"), server.client());
    reader.send(b"GET a\r\nCLIENT CACHING YES\r\nGET b\r\nGET c\r\nCLIENT CACHING YES\r\nMULTI\r\nGET d\r\nGET e\r\nEXEC\r\n");
    (0..9).for_each(|_| drop(reader.read()));
    assert_eq!(writer.call("MSET a 1 b 1 c 1 d 1 e 1"), "OK");
    for key in ["b", "d", "e"] {
        assert_eq!(reader.read(), format!("[invalidate [{key}]]"));
    }
    assert_eq!(reader.call("CLIENT TRACKINGINFO"), "{flags [on optin] redirect 0 prefixes []}");
    // What it says about itself in between does not use an announcement up.
    assert_eq!(reader.call("CLIENT CACHING YES"), "OK");
    assert_eq!(reader.call("CLIENT TRACKINGINFO"), "{flags [on optin caching-yes] redirect 0 prefixes []}");
    assert_eq!(reader.call("GET a"), "1");
    assert_eq!(reader.call("GET b"), "1");
    assert_eq!(writer.call("MSET b 2 a 2"), "OK");
    assert_eq!(reader.read(), "[invalidate [a]]");
    assert!(reader.call("CLIENT CACHING NO").starts_with("-ERR CLIENT CACHING NO is only valid"));
    assert!(reader.call("CLIENT TRACKING ON OPTOUT").starts_with("-ERR You can't switch OPTIN/OPTOUT mode"));
    assert!(reader.call("CLIENT TRACKING ON BCAST").starts_with("-ERR You can't switch BCAST mode on/off"));
}

#[test]
fn a_reader_that_finds_a_key_expired_hears_of_the_next_one() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut reader, mut writer) = (resp3(&server, "CLIENT TRACKING ON"), server.client());
    assert_eq!(writer.call("DEBUG SET-ACTIVE-EXPIRE 0"), "OK");
    assert_eq!(reader.call("GET a"), "nil");
    assert_eq!(writer.call("SET a 1 PX 30"), "OK");
    assert_eq!(reader.read(), "[invalidate [a]]");
    // The last of these removes it.
    let mut was_there = false;
    while reader.call("GET a") == "1" {
        was_there = true;
    }
    if was_there {
        assert_eq!(reader.read(), "[invalidate [a]]");
    }
    assert_eq!(writer.call("SET a 2"), "OK");
    assert_eq!(reader.read(), "[invalidate [a]]");
    // So it is with the count that PFCOUNT keeps in a key.
    assert_eq!(writer.call("PFADD p x"), "1");
    assert_eq!(reader.call("PFCOUNT p"), "1");
    assert_eq!(writer.call("PFADD p y"), "1");
    assert_eq!(reader.read(), "[invalidate [p]]");
}

#[test]
fn who_waits_no_longer_goes_on_before_the_turn_is_told() {
    let server = Server::start(&[]);
    let mut reader = resp3(&server, "CLIENT TRACKING ON BCAST");
    let (mut waiter, mut other, mut writer) = (server.client(), server.client(), server.client());
    waiter.send(b"BLPOP list 0\r\nRPUSH other x\r\nSET a 1\r\nBLPOP list 0\r\nSET b 1\r\nGET");
    other.send(b"BLPOP other 0\r\nSET c 1\r\n");
    let begun = std::time::Instant::now();
    while !writer.call("INFO clients").contains("blocked_clients:2\r\n") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "nobody waits");
    }
    assert_eq!(writer.call("RPUSH list v"), "1");
    assert_eq!(reader.read(), "[invalidate [a c list other]]");
    assert_eq!([(); 3].map(|()| waiter.read()), ["[list v]", "1", "OK"]);
    assert_eq!([(); 2].map(|()| other.read()), ["[other x]", "OK"]);
    // Those that wait for something in the same read as what they wait for.
    writer.send(b"RPUSH list w\r\nBLPOP none 0\r\nSET d 1\r\n");
    assert_eq!(writer.read(), "1");
    assert_eq!([(); 2].map(|()| waiter.read()), ["[list w]", "OK"]);
    assert_eq!(reader.read(), "[invalidate [b list]]");
    waiter.send(b" b\r\nRPUSH none x\r\n");
    assert_eq!([(); 2].map(|()| waiter.read()), ["1", "1"]);
    assert_eq!([(); 2].map(|()| writer.read()), ["[none x]", "OK"]);
    assert_eq!(reader.read(), "[invalidate [d none]]");
}

#[test]
fn prefixes_are_told_of_everything_below_them() {
    let server = Server::start(&[]);
    let mut reader = resp3(&server, "CLIENT TRACKING ON BCAST PREFIX a: PREFIX b: NOLOOP");
    let mut writer = server.client();
    assert_eq!(
        reader.call("CLIENT TRACKING ON BCAST PREFIX a:b NOLOOP"),
        "-ERR Prefix 'a:b' overlaps with an existing prefix 'a:'. Prefixes for a single client must not overlap."
    );
    writer.send(b"SET a:1 x\r\nSET b:1 x\r\nSET c:1 x\r\nSET a:2 x\r\n");
    (0..4).for_each(|_| drop(writer.read()));
    let mut keys: Vec<String> = Vec::new();
    while keys.len() < 3 {
        let message = reader.read();
        let inner = message.trim_start_matches("[invalidate [").trim_end_matches(']');
        keys.extend(inner.split(' ').map(str::to_owned));
    }
    keys.sort();
    assert_eq!(keys, ["a:1", "a:2", "b:1"]);
    assert_eq!(reader.call("SET a:1 mine"), "OK");
    assert_eq!(reader.call("PING"), "PONG");
    assert_eq!(reader.call("CLIENT TRACKINGINFO"), "{flags [on bcast noloop] redirect 0 prefixes [a: b:]}");
}

#[test]
fn another_connection_may_be_told() {
    let server = Server::start(&[]);
    let (mut told, mut reader, mut writer) = (server.client(), server.client(), server.client());
    let id = told.call("CLIENT ID");
    assert_eq!(told.call("SUBSCRIBE __redis__:invalidate"), "[subscribe __redis__:invalidate 1]");
    assert_eq!(
        reader.call("CLIENT TRACKING ON REDIRECT 999"),
        "-ERR The client ID you want redirect to does not exist"
    );
    assert_eq!(reader.call(&format!("CLIENT TRACKING ON REDIRECT {id}")), "OK");
    assert_eq!(reader.call("CLIENT GETREDIR"), id);
    reader.call("GET a");
    writer.call("SET a 1");
    assert_eq!(told.read(), "[message __redis__:invalidate [a]]");
    reader.call("HELLO 3");
    reader.call("GET a");
    assert_eq!(writer.call(&format!("CLIENT KILL ID {id}")), "1");
    writer.call("SET a 2");
    assert_eq!(reader.read(), format!("[tracking-redir-broken {id}]"));
    assert_eq!(
        reader.call("CLIENT TRACKINGINFO"),
        format!("{{flags [on broken_redirect] redirect {id} prefixes []}}")
    );
}

#[test]
fn the_table_has_a_limit() {
    let server = Server::start(&["--tracking-table-max-keys", "10"]);
    let mut reader = resp3(&server, "CLIENT TRACKING ON");
    for i in 0..50 {
        assert_eq!(reader.call(&format!("GET {i}")), "nil");
        if i >= 10 {
            assert!(reader.read().starts_with("[invalidate ["));
        }
    }
    assert!(server.client().call("INFO stats").contains("tracking_total_keys:10\r\n"));
}

#[test]
fn a_flush_forgets_what_gone_clients_have_read() {
    let server = Server::start(&[]);
    let (mut reader, mut other) = (server.client(), server.client());
    reader.call("HELLO 3");
    reader.call("CLIENT TRACKING ON");
    reader.call("GET a");
    let keys = |client: &mut Client, count: usize| {
        assert!(
            client.call("INFO stats").contains(&format!("tracking_total_keys:{count}\r\n")),
            "not {count} keys"
        );
    };
    keys(&mut other, 1);
    reader.call("CLIENT TRACKING OFF");
    keys(&mut other, 1);
    other.call("FLUSHALL");
    keys(&mut other, 0);
}

#[test]
fn own_changes_are_told_behind_the_events_of_a_command() {
    let server = Server::start(&["--notify-keyspace-events", "KA"]);
    let mut client = server.client();
    client.call("HELLO 3");
    client.call("CLIENT TRACKING ON");
    client.call("PSUBSCRIBE __key*");
    let invalidated = "[invalidate [k]]";
    assert_eq!(client.call("EXISTS k"), "0");
    assert_eq!(client.call("XADD k 1-1 f v"), "1-1");
    assert_eq!([client.read(), client.read()], ["[pmessage __key* __keyspace@0__:k xadd]", invalidated]);
    // Of a transaction behind all of it.
    client.call("EXISTS k");
    client.call("MULTI");
    client.call("DEL k");
    client.call("SET k 1");
    assert_eq!(client.call("EXEC"), "[1 OK]");
    assert_eq!(client.read(), "[pmessage __key* __keyspace@0__:k del]");
    assert_eq!([client.read(), client.read()], ["[pmessage __key* __keyspace@0__:k set]", invalidated]);
}

#[test]
fn who_does_not_want_to_hear_of_his_own_changes_hears_of_his_scripts() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.call("HELLO 3");
    client.call("CLIENT TRACKING ON BCAST NOLOOP");
    assert_eq!(client.call("SET k 1"), "OK");
    assert_eq!(client.call_words(&[b"EVAL", b"return redis.call('incr', 'n')", b"0"]), "1");
    assert_eq!(client.read(), "[invalidate [n]]");
}

#[test]
fn exec_that_may_not_run_says_that_the_transaction_is_gone() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.call("SUBSCRIBE c");
    let why = "Can't execute 'exec': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    assert_eq!(client.call("EXEC"), format!("-EXECABORT Transaction discarded because of: {why}"));
}
