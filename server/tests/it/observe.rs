//! Logs of commands, slow events, durations.

use crate::client::Server;

#[test]
fn slow_commands_are_logged() {
    let server = Server::start(&["--enable-debug-command", "yes", "--slowlog-log-slower-than", "50000"]);
    let mut client = server.client();
    assert_eq!(client.call("CLIENT SETNAME me"), "OK");
    assert_eq!(client.call("DEBUG SLEEP 0.1"), "OK");
    assert_eq!(client.call("PING"), "PONG");
    assert_eq!(client.call("SLOWLOG LEN"), "1");
    let entries = client.call("SLOWLOG GET");
    assert!(entries.starts_with("[[0 ") && entries.contains(" [DEBUG SLEEP 0.1] 127.0.0.1:"), "{entries}");
    assert!(entries.ends_with(" me]]"), "{entries}");
    assert_eq!(client.call("SLOWLOG GET -2"), "-ERR count should be greater than or equal to -1");
    assert_eq!(
        client.call("SLOWLOG GET 1 2"),
        "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."
    );
    assert_eq!(client.call("COMMANDLOG LEN slow"), "1");
    assert_eq!(
        client.call("COMMANDLOG LEN fast"),
        "-ERR type should be one of the following: slow, large-request, large-reply"
    );
    // With a threshold below a millisecond, fast commands are measured one by one.
    assert_eq!(client.call("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3"), "OK");
    client.send(b"SET k v\r\nGET k\r\nCONFIG SET requirepass \"\"\r\nAUTH x\r\n");
    for _ in 0..4 {
        client.read();
    }
    let entries = client.call("SLOWLOG GET");
    assert!(entries.contains("[AUTH (redacted)]"), "{entries}");
    assert!(entries.contains("[CONFIG SET requirepass (redacted)]"), "{entries}");
    assert!(entries.contains("[GET k]") && !entries.contains("[SET k v]"), "{entries}");
    assert_eq!(client.call("CONFIG SET slowlog-log-slower-than -1"), "OK");
    assert_eq!(client.call("SLOWLOG RESET"), "OK");
    assert_eq!(client.call("SLOWLOG GET"), "[]");
}

#[test]
fn large_requests_and_replies_are_logged() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let big = vec![b'x'; 2 << 20];
    assert_eq!(client.call_words(&[b"SET", b"k", &big]), "OK");
    assert_eq!(client.call_words(&[b"GET", b"k"]).len(), big.len());
    let head = "[SET k xxx";
    let entries = client.call("COMMANDLOG GET -1 large-request");
    assert!(entries.starts_with("[[0 ") && entries.contains(head), "{entries}");
    assert!(entries.contains("... (2097024 more bytes)] 127.0.0.1:"), "{entries}");
    let entries = client.call("COMMANDLOG GET -1 large-reply");
    // The reply with its length and line ends.
    assert!(entries.contains(" 2097164 [GET k] "), "{entries}");
    assert_eq!(client.call("CONFIG SET commandlog-request-larger-than 39"), "OK");
    assert_eq!(client.call("SET key 0123456789"), "OK");
    assert_eq!(client.call("GET key"), "0123456789");
    assert_eq!(client.call("COMMANDLOG LEN large-request"), "3");
}

#[test]
fn slow_events_are_sampled() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.call("DEBUG SLEEP 0.05"), "OK");
    assert_eq!(client.call("LATENCY LATEST"), "[]");
    assert!(client.call("LATENCY DOCTOR").contains("monitor is off"));
    assert_eq!(client.call("CONFIG SET latency-monitor-threshold 40"), "OK");
    assert_eq!(client.call("DEBUG SLEEP 0.05"), "OK");
    let latest = client.call("LATENCY LATEST");
    assert!(latest.starts_with("[[command ") && latest.ends_with(" 1]]"), "{latest}");
    assert!(client.call("LATENCY HISTORY command").starts_with("[["));
    assert_eq!(client.call("LATENCY HISTORY nothing"), "[]");
    assert!(client.call("LATENCY GRAPH command").starts_with("command - high "));
    assert_eq!(client.call("LATENCY GRAPH nothing"), "-ERR No samples available for event 'nothing'");
    assert!(client.call("LATENCY DOCTOR").contains("1. command: 1 spikes"));
    assert_eq!(client.call("LATENCY RESET fork"), "0");
    assert_eq!(client.call("LATENCY RESET"), "1");
    assert_eq!(client.call("LATENCY LATEST"), "[]");
}

#[test]
fn durations_of_commands_are_counted() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.call("CONFIG RESETSTAT"), "OK");
    client.send(b"SET a b\r\nSET c d\r\nCLIENT ID\r\n");
    for _ in 0..3 {
        client.read();
    }
    let histogram = client.call("LATENCY HISTOGRAM set nothing client|id");
    assert!(histogram.starts_with("[set [calls 2 histogram_usec ["), "{histogram}");
    assert!(histogram.contains("] client|id [calls 1 histogram_usec ["), "{histogram}");
    assert!(client.call("LATENCY HISTOGRAM").contains("config|resetstat [calls 1 "));
    assert!(client.call("LATENCY HISTOGRAM client").starts_with("[client|id [calls 1 "));
    assert_eq!(client.call("DEBUG SLEEP 0.02"), "OK");
    let info = client.call("INFO latencystats");
    assert!(info.contains("latency_percentiles_usec_set:p50="), "{info}");
    let debug = info.lines().find_map(|l| l.strip_prefix("latency_percentiles_usec_debug:p50="));
    let micros: f64 = debug.and_then(|l| l.split(',').next()).and_then(|n| n.parse().ok()).expect("a number");
    assert!((20_000.0..2_000_000.0).contains(&micros), "{micros}");
    assert_eq!(client.call("CONFIG SET latency-tracking no"), "OK");
    assert_eq!(client.call("SET a b"), "OK");
    assert!(!client.call("INFO latencystats").contains("usec_set"));
    assert_eq!(client.call("LATENCY HISTOGRAM"), "[]");
}

#[test]
fn memory_of_keys_and_server() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.call("MEMORY USAGE nothing"), "nil");
    assert_eq!(client.call("SET k v"), "OK");
    let small: i64 = client.call("MEMORY USAGE k").parse().expect("a number");
    assert!((16..100).contains(&small), "{small}");
    assert_eq!(client.call("DEBUG POPULATE 1000 key 1000"), "OK");
    assert_eq!(client.call_words(&[b"SET", b"big", &vec![b'x'; 100_000]]), "OK");
    let big: i64 = client.call("MEMORY USAGE big SAMPLES 0").parse().expect("a number");
    assert!((100_000..130_000).contains(&big), "{big}");
    assert_eq!(client.call("MEMORY USAGE k SAMPLES"), "-ERR syntax error");
    assert_eq!(client.call("MEMORY USAGE k SAMPLES -1"), "-ERR syntax error");
    assert_eq!(client.call("MEMORY USAGE k SAMPLES x"), "-ERR value is not an integer or out of range");
    let stats = client.call("MEMORY STATS");
    assert!(stats.contains(" keys.count 1002 ") && stats.contains(" db.0 ["), "{stats}");
    assert!(client.call("MEMORY DOCTOR").starts_with("There is hardly any data"));
    assert!(client.call("MEMORY MALLOC-STATS").contains("jemalloc"));
    assert_eq!(client.call("MEMORY PURGE"), "OK");
    assert_eq!(client.call("MODULE LIST"), "[]");
    assert!(client.call("LOLWUT VERSION 5 1").contains("Redis ver. "));
    assert_eq!(client.call("LOLWUT VERSION x"), "-ERR value is not an integer or out of range");
}

#[test]
fn commands_of_transactions_and_those_that_waited_are_logged_by_themselves() {
    let server = Server::start(&["--slowlog-log-slower-than", "0"]);
    let mut client = server.client();
    client.send(b"SLOWLOG RESET\r\nMULTI\r\nSET k v\r\nEXEC\r\n");
    for _ in 0..4 {
        client.read();
    }
    let entries = client.call("SLOWLOG GET 2");
    assert!(entries.contains("[SET k v]") && entries.contains("[MULTI]"), "{entries}");
    assert!(!entries.contains("EXEC"), "{entries}");
    let mut waiter = server.client();
    waiter.send(b"BLPOP l 0\r\n");
    while !client.call("INFO clients").contains("blocked_clients:1") {
        std::thread::yield_now();
    }
    assert!(!client.call("SLOWLOG GET -1").contains("BLPOP"));
    assert!(!client.call("INFO commandstats").contains("cmdstat_blpop"));
    assert_eq!(client.call("RPUSH l a"), "1");
    assert_eq!(waiter.read(), "[l a]");
    assert!(client.call("SLOWLOG GET -1").contains("[BLPOP l 0]"));
    assert!(client.call("INFO commandstats").contains("cmdstat_blpop:calls=1,"));
}

#[test]
fn info_has_what_valkey_has_in_its_order() {
    let server = Server::start(&["--appendonly", "yes"]);
    let text = server.client().call("INFO everything");
    let mut section = "";
    let mut ours = Vec::new();
    for line in text.lines() {
        match line.split_once(':') {
            Some((name, _)) => ours.push((section, name)),
            None => section = line.strip_prefix("# ").unwrap_or(section),
        }
    }
    let mut places = ours.iter();
    for line in
        include_str!("../../../testdata/info-fields.tsv").lines().filter(|line| !line.starts_with('#'))
    {
        let wanted = line.split_once('\t').expect("a section and a field");
        assert!(ours.contains(&wanted), "{wanted:?} is not there");
        assert!(places.any(|place| *place == wanted), "{wanted:?} is not in its place");
    }
    let asked = server.client().call("INFO debug");
    assert!(asked.contains("io_threaded_writes_pending:0\r\n"), "{asked}");
    assert!(!server.client().call("INFO").contains("# TLS"), "that is for those who want all");
    server.client().call("CONFIG SET min-replicas-to-write 1");
    assert!(server.client().call("INFO replication").contains("min_slaves_good_slaves:0\r\n"));
}
