//! Clients that mean no good: what they cost, and that others do not notice.

use std::time::{Duration, Instant};

use crate::client::{Client, Server, request};

/// The longest that another client may wait for an answer. Generous: tests run side by side.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory that the server takes, in kilobytes.
fn resident_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line for memory");
    line.split_ascii_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
}

/// Has 50 clients send this, and looks at what that costs. Gives the clients.
fn attack(server: &Server, bytes: &[u8], most_kb: u64) -> Vec<Client> {
    const CLIENTS: usize = 50;
    let mut other = server.client();
    assert_eq!(other.call("PING"), "PONG");
    let before = resident_kb(server);
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = server.client();
            client.send_some(bytes);
            client
        })
        .collect();
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(other.call("PING"), "PONG");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
    let grown = resident_kb(server).saturating_sub(before);
    assert!(grown < most_kb, "{grown} kB for {}", bytes[..bytes.len().min(40)].escape_ascii());
    clients
}

#[test]
fn what_is_announced_and_does_not_come_takes_nothing() {
    let server = Server::start(&[]);
    let mut kept = Vec::new();
    for bytes in [
        &b"*3\r\n$3\r\nSET\r\n$5\r\nhel"[..],
        b"*1000000000\r\n",
        b"*1000000000\r\n$3\r\nSET\r\n",
        b"*2\r\n$3\r\nGET\r\n$536870912\r\n",
        b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc",
        b"GET half an inline comman",
        b"*",
    ] {
        kept.extend(attack(&server, bytes, 16 * 1024));
    }
    assert!(
        server.client().call("INFO clients").contains(&format!("connected_clients:{}\r\n", kept.len() + 1))
    );
}

#[test]
fn who_asks_for_much_and_reads_nothing_is_let_go() {
    let server = Server::start(&["--client-output-buffer-limit", "normal", "100kb", "0", "0"]);
    let mut client = server.client();
    assert_eq!(client.call_words(&[b"SET", b"big", &vec![b'x'; 20_000]]), "OK");
    drop(attack(&server, &request(&[b"GET", b"big"]).repeat(500), 128 * 1024));
    assert!(client.call("INFO stats").contains("client_output_buffer_limit_disconnections:5"));
    client.call("SADD set member");
    drop(attack(&server, b"SRANDMEMBER set -9000000000\r\n", 128 * 1024));
    assert_eq!(client.call("PING"), "PONG");
}

#[test]
fn long_messages_to_many_who_do_not_read_are_there_once() {
    const CLIENTS: usize = 50;
    const MESSAGES: u8 = 100;
    let long = |number: u8| vec![b'a' + number % 26; 100_000 + usize::from(number)];
    let server = Server::start(&["--client-output-buffer-limit", "pubsub", "0", "0", "0"]);
    let mut listeners: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    for listener in &mut listeners {
        assert_eq!(listener.call("SUBSCRIBE c"), "[subscribe c 1]");
    }
    let mut other = server.client();
    let before = resident_kb(&server);
    for number in 0..MESSAGES {
        assert_eq!(other.call_words(&[b"PUBLISH", b"c", &long(number)]), "50");
        assert_eq!(other.call("PUBLISH c short"), "50");
    }
    let grown = resident_kb(&server).saturating_sub(before);
    assert!(grown < 128 * 1024, "{grown} kB, and {} kB were published", u64::from(MESSAGES) * 100);
    for listener in [0, CLIENTS / 2, CLIENTS - 1] {
        for number in 0..MESSAGES {
            let long = String::from_utf8(long(number)).expect("letters");
            assert_eq!(listeners[listener].read(), format!("[message c {long}]"), "{listener}: {number}");
            assert_eq!(listeners[listener].read(), "[message c short]");
        }
    }
}

#[test]
fn who_sends_without_end_is_let_go() {
    let mut server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut flood = b"*1000000\r\n".to_vec();
    flood.extend_from_slice(&b"$10\r\nabcdefghij\r\n".repeat(200_000));
    drop(attack(&server, &flood, 192 * 1024));
    server.wait_for_log("max query buffer length");
}

#[test]
fn slow_commands_of_one_do_not_hold_up_another() {
    const COMMANDS: usize = 400;
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut slow, mut other) = (server.client(), server.client());
    assert_eq!(other.call("PING"), "PONG");
    // Of both forms: those in one line are changed by being parsed, and have to wait all the same.
    let pipeline: Vec<u8> = (0..COMMANDS)
        .flat_map(|i| {
            let number = i.to_string();
            let echo = match i % 2 {
                0 => format!("ECHO \"{number}\"\r\n").into_bytes(),
                _ => request(&[b"ECHO", number.as_bytes()]),
            };
            [b"DEBUG SLEEP 0.004\r\n".to_vec(), echo].concat()
        })
        .collect();
    slow.send(&pipeline);
    let begun = Instant::now();
    let mut answers = 0;
    while begun.elapsed() < Duration::from_millis(800) {
        assert_eq!(other.call("PING"), "PONG");
        answers += 1;
    }
    // Two turns each at the most, were the machine ours.
    assert!(answers > 8, "{answers} answers while all that was sent at once took {:?}", begun.elapsed());
    for i in 0..COMMANDS {
        assert_eq!(slow.read(), "OK");
        assert_eq!(slow.read(), i.to_string());
    }
    assert_eq!(slow.call("PING"), "PONG");
}

#[test]
fn patterns_of_a_megabyte_end_soon() {
    let server = Server::start(&[]);
    let (mut one, mut two) = (server.client(), server.client());
    let long = vec![b'a'; 1 << 20];
    assert_eq!(one.call_words(&[b"SET", &long, b"v"]), "OK");
    for i in 0..1000 {
        one.call(&format!("SET key:{i} v"));
    }
    let patterns = [
        b"*?".repeat(1 << 19),
        [b"*".to_vec(), vec![b'a'; 1 << 19], b"b*".to_vec()].concat(),
        // One by one these would take minutes.
        [vec![b'*'; 6 << 20], b"b".to_vec()].concat(),
    ];
    for pattern in &patterns {
        let begun = Instant::now();
        one.call_words(&[b"KEYS", pattern]);
        one.call_words(&[b"SCAN", b"0", b"MATCH", pattern, b"COUNT", b"2000"]);
        assert!(one.call_words(&[b"PSUBSCRIBE", pattern]).starts_with("[psubscribe "));
        assert_eq!(two.call_words(&[b"PUBLISH", &long, b"x"]), "0");
        assert!(one.call_words(&[b"PUNSUBSCRIBE", pattern]).starts_with("[punsubscribe "));
        assert!(begun.elapsed() < 6 * PATIENCE, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_thousand_idle_connections_take_little() {
    let server = Server::start(&[]);
    let before = resident_kb(&server);
    let mut clients: Vec<Client> = (0..1000).map(|_| server.client()).collect();
    assert_eq!(clients[999].call("PING"), "PONG");
    let grown = resident_kb(&server).saturating_sub(before);
    assert!(grown < 4096, "{grown} kB");
}
