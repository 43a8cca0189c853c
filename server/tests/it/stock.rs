//! A stock server starts from the folder that ours has written with default settings, holds the same, and
//! ours goes on from what it leaves. Runs when `CAIRN_REFERENCE_SERVER` names a redis-server of 7.0 or later,
//! or a valkey-server.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Client, Server, free_port};

/// Scores are integers: Redis 7.0 puts others into a digest in a way of its own.
const CONTENTS: &str = "SET s text | SET n 42 | SET long 9223372036854775807 | SETBIT bits 70 1 | PFADD hll a b c
    RPUSH l a 1 -70000 b | RPUSH q x y | SADD ints 1 2 70000 | SADD few a b 7 -1 | SADD empty x | SREM empty x
    HSET h f v g 2 | ZADD z 1 a -5 b 3 c | SET gone soon PX 1 | SET later v EX 100000 | PEXPIREAT s 99999999999999
    XADD x 1-1 f v | XADD x 2-1 f w | XDEL x 2-1 | XGROUP CREATE x g 0 | XREADGROUP GROUP g me STREAMS x >
    SELECT 9 | SET s other | LPUSH l z | SELECT 0";
/// Behind the base of a log.
const MORE: &str =
    "APPEND s more | INCRBYFLOAT n 0.5 | SPOP few | SADD few c | LPOP l | HDEL h f | ZINCRBY z 2 a
    EXPIRE n 5000 | XADD x 3-* f v | XACK x g 1-1 | COPY h h2 | RENAME q r | SELECT 9 | DEL l | SELECT 0";

/// What makes one of each kind large: the encodings that are no bytes of a file.
fn fill(client: &mut Client) {
    for i in 0..600 {
        for (command, rest) in [
            ("SADD large:ints", format!("{}", i * 3)),
            ("SADD large:set", format!("member:{i}")),
            ("HSET large:hash", format!("field:{i} {i}")),
            ("ZADD large:zset", format!("{i} member:{i}")),
            ("RPUSH large:list", format!("element:{i}{}", "x".repeat(i))),
            ("XADD large:stream", format!("{}-1 field {i}", i + 1)),
        ] {
            let reply = client.call(&format!("{command} {rest}"));
            assert!(!reply.starts_with('-'), "{command} {rest}: {reply}");
        }
    }
}

fn run(client: &mut Client, lines: &str) {
    for line in lines.split(['|', '\n']).map(str::trim) {
        let reply = client.call(line);
        assert!(!reply.starts_with("ERR") && !reply.starts_with("WRONGTYPE"), "{line}: {reply}");
    }
}

fn wait_for(client: &mut Client, section: &str, fact: &str) {
    let begun = Instant::now();
    while !client.call(&format!("INFO {section}")).contains(fact) {
        assert!(begun.elapsed() < Duration::from_secs(20), "no {fact}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How a server comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    InOrder,
    /// Under `always` our file has a reserve behind its log then.
    Killed,
}

/// Ends a server; answers its folder.
fn end(mut server: Server, how: End) -> TempDir {
    match how {
        End::InOrder => {
            server.client().send(b"SHUTDOWN NOSAVE\r\n");
            assert!(server.wait().success(), "{}", server.log());
        }
        End::Killed => return server.killed(),
    }
    std::mem::replace(&mut server.dir, tempfile::tempdir().expect("a folder"))
}

fn start_stock(binary: &OsStr, dir: TempDir, options: &[&str]) -> Server {
    let port = free_port();
    let out = std::fs::File::create(dir.path().join("stdout")).expect("a file for output");
    let child = Command::new(binary)
        .current_dir(dir.path())
        .args(["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes"])
        .args(["--port", &port.to_string()])
        .args(options)
        .stdin(Stdio::null())
        .stdout(out)
        .spawn()
        .expect("CAIRN_REFERENCE_SERVER can be run");
    let mut server = Server { child, dir, port };
    server.wait_for_log("Ready to accept connections");
    server
}

fn check(binary: &OsStr, options: &[&str], how: End) {
    let debug = ["--enable-debug-command", "yes"];
    let server = Server::start(&[&debug[..], options].concat());
    let mut client = server.client();
    run(&mut client, CONTENTS);
    fill(&mut client);
    // A key that has expired and is there still would count in the digest, and not be loaded.
    wait_for(&mut client, "stats", "expired_keys:1");
    let has_log = options.contains(&"--appendonly");
    if has_log {
        assert_eq!(client.call("BGREWRITEAOF"), "Background append only file rewriting started");
        wait_for(&mut client, "persistence", "aof_rewrites:1");
        wait_for(&mut client, "persistence", "aof_rewrite_in_progress:0");
        run(&mut client, MORE);
    } else {
        assert_eq!(client.call("SAVE"), "OK");
    }
    let digest = client.call("DEBUG DIGEST");
    let dir = end(server, how);
    if how == End::Killed {
        let file = dir.path().join("appendonlydir/appendonly.aof.2.incr.aof");
        assert!(std::fs::read(file).expect("the log").ends_with(b"==\n"), "there is a reserve");
    }
    let stock = start_stock(binary, dir, options);
    let mut client = stock.client();
    assert_eq!(client.call("DEBUG DIGEST"), digest, "{options:?}: {}", stock.log());
    assert!(client.call("TTL later").parse::<i64>().is_ok_and(|left| left > 90_000));
    run(&mut client, "SET by another | SADD few z");
    if !has_log {
        assert_eq!(client.call("SAVE"), "OK");
    }
    let digest = client.call("DEBUG DIGEST");
    let server = Server::start_in(end(stock, how), &[&debug[..], options].concat());
    assert_eq!(server.client().call("DEBUG DIGEST"), digest, "{options:?}: {}", server.log());
}

#[test]
fn stock_servers_start_from_our_folder_and_we_from_theirs() {
    let Some(binary) = std::env::var_os("CAIRN_REFERENCE_SERVER") else {
        eprintln!("skipped: CAIRN_REFERENCE_SERVER does not name a redis-server or valkey-server");
        return;
    };
    check(&binary, &[], End::InOrder);
    check(&binary, &["--appendonly", "yes"], End::InOrder);
    check(&binary, &["--appendonly", "yes", "--aof-use-rdb-preamble", "no"], End::InOrder);
    check(&binary, &["--appendonly", "yes", "--appendfsync", "always"], End::Killed);
}
