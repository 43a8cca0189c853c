//! When memory is full: eviction, refusals, clients that take too much, and what is freed elsewhere.

use std::time::{Duration, Instant};

use crate::client::{Client, Server, request};

/// A field of INFO.
fn info(client: &mut Client, name: &str) -> u64 {
    let text = client.call("INFO everything");
    let line = text.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no number {name}"))
}

/// Waits until `is` holds for a field of INFO.
fn wait_until(client: &mut Client, name: &str, is: impl Fn(u64) -> bool) -> u64 {
    let begun = Instant::now();
    loop {
        let value = info(client, name);
        if is(value) {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{name} stays {value}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn fill(client: &mut Client, keys: std::ops::Range<usize>) -> usize {
    let value = vec![b'x'; 1000];
    let ok = |i: usize| client.call_words(&[b"SET", format!("key:{i}").as_bytes(), &value]) == "OK";
    keys.map(ok).filter(|ok| *ok).count()
}

#[test]
fn without_eviction_what_needs_memory_is_refused() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let limit = info(&mut client, "used_memory") + 200_000;
    assert_eq!(client.call(&format!("CONFIG SET maxmemory {limit}")), "OK");
    assert!(fill(&mut client, 0..400) < 400);
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(client.call("SET k v"), oom);
    assert_eq!(client.call("MULTI"), "OK");
    assert_eq!(client.call("SET k v"), oom);
    assert_eq!(client.call("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(client.call("STRLEN key:0"), "1000");
    assert!(info(&mut client, "current_eviction_exceeded_time") <= 20_000);
    for i in 0..100 {
        assert_eq!(client.call(&format!("DEL key:{i}")), "1");
    }
    assert_eq!(client.call("SET k v"), "OK");
    assert_eq!(info(&mut client, "evicted_keys"), 0);
}

#[test]
fn a_policy_keeps_memory_within_the_limit() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        let server = Server::start(&["--maxmemory-policy", policy]);
        let mut client = server.client();
        let limit = info(&mut client, "used_memory") + 300_000;
        assert_eq!(client.call(&format!("CONFIG SET maxmemory {limit}")), "OK");
        assert_eq!(fill(&mut client, 0..1000), 1000);
        assert!(info(&mut client, "used_memory") <= limit + 20_000, "{policy}");
        let keys: u64 = client.call("DBSIZE").parse().expect("a number");
        // The first call of a command takes some memory, too.
        let all = keys + info(&mut client, "evicted_keys");
        assert!((1000..1100).contains(&all), "{policy}: {all}");
        assert!(keys > 100, "{policy}: {keys}");
    }
}

#[test]
fn a_lower_limit_takes_effect_without_a_command() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-random"]);
    let mut client = server.client();
    let empty = info(&mut client, "used_memory");
    assert_eq!(fill(&mut client, 0..2000), 2000);
    assert_eq!(client.call(&format!("CONFIG SET maxmemory {}", empty + 100_000)), "OK");
    std::thread::sleep(Duration::from_millis(300));
    assert!(client.call("DBSIZE").parse::<u64>().expect("a number") < 300);
}

#[test]
fn big_values_are_freed_elsewhere() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let members: Vec<String> = (0..1000).map(|i| format!("member {i}")).collect();
    let add = |client: &mut Client, key: &str| {
        let mut words: Vec<&[u8]> = vec![b"SADD", key.as_bytes()];
        words.extend(members.iter().map(String::as_bytes));
        assert_eq!(client.call_words(&words), "1000");
    };
    for (command, freed) in [("UNLINK s", 1), ("DEL s", 2), ("SET s v", 3), ("FLUSHALL ASYNC", 4)] {
        add(&mut client, "s");
        client.call(command);
        wait_until(&mut client, "lazyfree_pending_objects", |pending| pending == 0);
        assert_eq!(info(&mut client, "lazyfreed_objects"), freed, "{command}");
        client.call("DEL s");
    }
    add(&mut client, "s");
    assert_eq!(client.call("CONFIG SET lazyfree-lazy-user-del no"), "OK");
    assert_eq!(client.call("DEL s"), "1");
    add(&mut client, "s");
    assert_eq!(client.call("FLUSHALL SYNC"), "OK");
    assert_eq!(info(&mut client, "lazyfreed_objects"), 4);
}

#[test]
fn clients_that_take_too_much_go_the_largest_first() {
    let server = Server::start(&[]);
    let mut control = server.client();
    assert_eq!(control.call("CLIENT NO-EVICT ON"), "OK");
    let half = |bytes: usize| {
        let mut client = server.client();
        client.send(format!("*2\r\n${}\r\n", bytes).as_bytes());
        client.send(&vec![b'v'; bytes]);
        client
    };
    let (_small, _large) = (half(200_000), half(900_000));
    wait_until(&mut control, "mem_clients_normal", |bytes| bytes >= 1_100_000);
    assert_eq!(control.call("CONFIG SET maxmemory-clients 600kb"), "OK");
    wait_until(&mut control, "evicted_clients", |gone| gone == 1);
    assert_eq!(info(&mut control, "connected_clients"), 2);
    assert!(control.call("CLIENT LIST").contains("qbuf=2000"), "the small one is left");
}

/// Also before the bytes come, for which there is no room yet.
#[test]
fn clients_that_announce_much_go_as_if_it_were_there() {
    let server = Server::start(&["--maxmemory-clients", "600kb"]);
    let mut control = server.client();
    assert_eq!(control.call("CLIENT NO-EVICT ON"), "OK");
    let mut client = server.client();
    client.send(b"*2\r\n$3\r\nGET\r\n$400000\r\nv");
    wait_until(&mut control, "total_net_input_bytes", |bytes| bytes > 100);
    let listed = control.call("CLIENT LIST");
    let listed = listed.rsplit("tot-mem=").next().and_then(|text| text.split(' ').next());
    assert!(listed.and_then(|number| number.parse().ok()).is_some_and(|bytes: u64| bytes > 400_000));
    assert!(info(&mut control, "mem_clients_normal") < 200_000, "nothing of it is there");
    let mut client = server.client();
    client.send(b"*2\r\n$3\r\nGET\r\n$400000\r\nv");
    wait_until(&mut control, "evicted_clients", |gone| gone == 1);
    assert_eq!(info(&mut control, "connected_clients"), 2);
}

/// Not at once when they come: nothing would be gained by it.
#[test]
fn clients_go_only_after_the_first_answer_when_others_take_too_much() {
    let server = Server::start(&["--maxmemory-clients", "200kb"]);
    let mut control = server.client();
    assert_eq!(control.call("CLIENT NO-EVICT ON"), "OK");
    let mut large = server.client();
    assert_eq!(large.call("CLIENT NO-EVICT ON"), "OK");
    large.send(b"*2\r\n$3\r\nGET\r\n$400000\r\n");
    large.send(&vec![b'v'; 300_000]);
    wait_until(&mut control, "mem_clients_normal", |bytes| bytes >= 300_000);
    for gone in 1..=3 {
        let mut client = server.client();
        // Turns go by in which it has sent nothing.
        assert_eq!(control.call("PING"), "PONG");
        assert_eq!(info(&mut control, "evicted_clients"), gone - 1);
        assert_eq!(client.call("PING"), "PONG");
        wait_until(&mut control, "evicted_clients", |count| count == gone);
    }
}

#[test]
fn nobody_goes_for_the_memory_of_one_who_goes() {
    let server = Server::start(&[]);
    let mut control = server.client();
    assert_eq!(control.call("CLIENT NO-EVICT ON"), "OK");
    let mut large = server.client();
    assert_eq!(large.call("CLIENT NO-EVICT ON"), "OK");
    let id = large.call("CLIENT ID");
    large.send(b"*2\r\n$3\r\nGET\r\n$4000000\r\n");
    large.send(&vec![b'v'; 3_000_000]);
    wait_until(&mut control, "mem_clients_normal", |bytes| bytes >= 3_000_000);
    let mut small = server.client();
    assert_eq!(small.call("PING"), "PONG");
    // Both in one turn, at whose end the large one is gone and the others are counted.
    let limit = request(&[b"CONFIG", b"SET", b"maxmemory-clients", b"2mb"]);
    control.send(&[request(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]), limit].concat());
    assert_eq!((control.read(), control.read()), ("1".to_owned(), "OK".to_owned()));
    assert_eq!(small.call("PING"), "PONG");
    assert_eq!(info(&mut control, "evicted_clients"), 0);
    assert_eq!(info(&mut control, "connected_clients"), 2);
}

#[test]
fn a_reply_beyond_its_limit_leaves_no_memory() {
    let server = Server::start(&["--client-output-buffer-limit", "normal", "100000", "0", "0"]);
    let mut control = server.client();
    for _ in 0..150 {
        control.call_words(&[b"RPUSH", b"l", &[b'x'; 1000]]);
    }
    // What the first of each takes stays.
    control.call("LRANGE l 0 0");
    info(&mut control, "used_memory");
    let before = info(&mut control, "used_memory");
    let mut client = server.client();
    client.send(b"LRANGE l 0 -1\r\n");
    assert_eq!(client.read_to_end(), "");
    wait_until(&mut control, "used_memory", |bytes| bytes < before + 10_000);
}

#[test]
fn what_has_expired_goes_by_itself() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    // A key that is seen with a millisecond left would count for the mean time to live.
    assert_eq!(client.call("DEBUG SET-ACTIVE-EXPIRE 0"), "OK");
    for i in 0..500 {
        assert_eq!(client.call(&format!("SET k{i} v PX 1")), "OK");
    }
    assert_eq!(client.call("SET later v EX 1000"), "OK");
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(client.call("DEBUG SET-ACTIVE-EXPIRE 1"), "OK");
    wait_until(&mut client, "expired_keys", |gone| gone == 500);
    assert_eq!(client.call("DBSIZE"), "1");
    let keyspace = client.call("INFO keyspace");
    assert!(keyspace.contains("keys=1,expires=1,avg_ttl=99"), "{keyspace}");
}

#[test]
fn telling_what_goes_does_not_make_more_go() {
    let options = ["--maxmemory-policy", "allkeys-lru", "--maxmemory-eviction-tenacity", "100"];
    let server = Server::start(&[&options[..], &["--notify-keyspace-events", "KEA"]].concat());
    let mut client = server.client();
    for i in 0..300 {
        let key = format!("{i}{}", "x".repeat(1000));
        assert_eq!(client.call_words(&[b"SET", key.as_bytes(), b"v"]), "OK");
    }
    client.call("DBSIZE");
    let limit = info(&mut client, "used_memory") - 40_000;
    assert_eq!(client.call(&format!("CONFIG SET maxmemory {limit}")), "OK");
    let gone = wait_until(&mut client, "evicted_keys", |gone| gone > 0);
    let left: u64 = client.call("DBSIZE").parse().expect("a number");
    assert!((10..150).contains(&gone) && left > 150, "{gone} have gone, {left} are left");
}

#[test]
fn what_a_log_has_brought_counts_as_much_as_it_did_before() {
    const KEYS: usize = 40_000;
    let mut server = Server::start(&["--appendonly", "yes"]);
    let mut client = server.client();
    let value = vec![b'x'; 300];
    for i in 0..KEYS {
        client.send(&request(&[b"SET", format!("key:{i}").as_bytes(), &value]));
        if i % 1000 == 999 {
            (0..1000).for_each(|_| assert_eq!(client.read(), "OK"));
        }
    }
    let before = info(&mut client, "used_memory");
    server.signal(nix::sys::signal::Signal::SIGKILL);
    server.wait();
    let dir = std::mem::replace(&mut server.dir, tempfile::tempdir().expect("a folder"));
    let server = Server::start_in(dir, &["--appendonly", "yes"]);
    let mut client = server.client();
    assert_eq!(client.call("DBSIZE"), KEYS.to_string());
    let after = info(&mut client, "used_memory");
    assert!(after.abs_diff(before) < before / 4, "{before} before, {after} after");
}
