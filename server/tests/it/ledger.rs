//! The ledger: writers note every acknowledgement, the server is killed (SIGKILL) at a random moment, starts
//! again on its files, and must have everything that was acknowledged, in order, without a hole and without
//! half a transaction. Under every policy: a killed process loses nothing, whatever the disk has synced.
//!
//! `CAIRN_KILLS` asks for more rounds, `CAIRN_SEED` for other ones, and `CAIRN_LEDGER_SERVER` names another
//! server's program, to see what the ledger finds there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use cairn_engine::base::rng::Rng;
use cairn_engine::codec::resp::replies::{Decoded, Node, decode};

use crate::client::{Client, free_port, request};

/// Kills that the test makes; `CAIRN_KILLS` asks for more.
const KILLS: u64 = 12;

/// Connections that write at the same time.
const WRITERS: u64 = 4;

/// Commands that a writer sends before it reads the replies, at the most.
const DEPTH: u64 = 8;

/// Every so manyth operation of a writer is a transaction.
const TRANSACTION_EVERY: u64 = 3;

/// Keys of so many rounds are kept; those before are deleted, so that the files stay small.
const KEPT_ROUNDS: u64 = 3;

/// What one writer knows of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    sent: u64,
    acknowledged: u64,
}

/// The settings of a round.
fn options(round: u64) -> [&'static str; 8] {
    let policy = ["always", "everysec", "no"][usize::try_from(round % 3).expect("small")];
    let preamble = ["yes", "no"][usize::try_from(round / 3 % 2).expect("small")];
    ["--appendonly", "yes", "--appendfsync", policy, "--aof-use-rdb-preamble", preamble, "--save", ""]
}

/// Starts the server that is looked at, and waits until it serves.
fn start(dir: &Path, port: u16, round: u64) -> Child {
    let mut child = spawn(&[], dir, port, round);
    assert!(is_ready(&mut child, dir, port), "round {round}: the server refuses its own files: {}", log(dir));
    child
}

/// Starts it, through another program that runs it in its own place if one is given.
fn spawn(tracer: &[&str], dir: &Path, port: u16, round: u64) -> Child {
    let file = |name: &str| std::fs::File::create(dir.join(name)).expect("a file for output");
    let program =
        std::env::var_os("CAIRN_LEDGER_SERVER").unwrap_or(env!("CARGO_BIN_EXE_cairn-server").into());
    let mut command = match tracer {
        [] => Command::new(program),
        [tracer, words @ ..] => {
            let mut command = Command::new(tracer);
            command.args(words).arg(program);
            command
        }
    };
    command.current_dir(dir).stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
    command.args(["--port", &port.to_string()]).args(options(round));
    command.spawn().expect("the program starts")
}

/// Waits until the server serves, whatever it has logged: that may be among the calls that fail. False if it
/// has ended.
fn is_ready(child: &mut Child, dir: &Path, port: u16) -> bool {
    let begun = Instant::now();
    while !serves(port) {
        if child.try_wait().expect("its state").is_some() {
            return false;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not ready: {}", log(dir));
        sleep(Duration::from_millis(2));
    }
    true
}

/// Whether a server answers, and has loaded its data.
fn serves(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
    let mut reply = [0; 7];
    stream.write_all(&request(&[b"PING"])).is_ok()
        && stream.read_exact(&mut reply).is_ok()
        && reply == *b"+PONG\r\n"
}

/// What the server has logged since it was started.
fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("stdout")).unwrap_or_default()
}

/// Writes until told to stop, until a command fails, or until the server is gone; returns what was sent and acknowledged.
fn write(port: u16, round: u64, writer: u64, (seed, depth): (u64, u64), stop: &AtomicBool) -> Account {
    let mut account = Account::default();
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return account };
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
    let mut rng = Rng::new(seed);
    let (all, count) = (format!("all:{round}"), format!("count:{round}:{writer}"));
    let (mut unread, mut piece) = (Vec::new(), vec![0; 16 << 10]);
    while !stop.load(Ordering::Relaxed) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..=rng.below(depth) {
            account.sent += 1;
            let name = format!("{writer}:{}", account.sent);
            let push: [&[u8]; 3] = [b"RPUSH", all.as_bytes(), name.as_bytes()];
            if account.sent.is_multiple_of(TRANSACTION_EVERY) {
                bytes.extend(request(&[b"MULTI"]));
                bytes.extend(request(&push));
                bytes.extend(request(&[b"INCR", count.as_bytes()]));
                bytes.extend(request(&[b"EXEC"]));
                expected.push(4);
            } else {
                // One that goes by itself, so that the log holds removals that nobody asked for.
                bytes.extend(request(&[b"SET", format!("gone:{writer}").as_bytes(), b"x", b"PX", b"3"]));
                bytes.extend(request(&push));
                expected.push(2);
            }
        }
        if stream.write_all(&bytes).is_err() {
            return account;
        }
        for replies in expected {
            let mut left = replies;
            while left > 0 {
                match decode(&unread) {
                    Decoded::Reply(nodes, len) => {
                        if matches!(nodes[0], Node::Error(_)) {
                            return account;
                        }
                        unread.drain(..len);
                        left -= 1;
                    }
                    Decoded::Bad(at) => panic!("no RESP at {at}: {}", unread.escape_ascii()),
                    Decoded::NeedMore => match stream.read(&mut piece) {
                        Ok(read) if read > 0 => unread.extend_from_slice(&piece[..read]),
                        _ => return account,
                    },
                }
            }
            account.acknowledged += 1;
        }
    }
    account
}

/// Compares what the server has with what was acknowledged in a round.
fn check(client: &mut Client, round: u64, accounts: &[Account]) {
    let found = client.call(&format!("LRANGE all:{round} 0 -1"));
    let mut last = vec![0; accounts.len()];
    for name in found.trim_matches(['[', ']']).split(' ').filter(|name| !name.is_empty()) {
        let (writer, number) = name.split_once(':').expect("a writer and a number");
        let writer: usize = writer.parse().expect("a number");
        let number: u64 = number.parse().expect("a number");
        assert_eq!(number, last[writer] + 1, "round {round}: a hole in what writer {writer} wrote");
        last[writer] = number;
    }
    for (writer, (account, last)) in accounts.iter().zip(last).enumerate() {
        assert!(
            last >= account.acknowledged,
            "round {round} ({}): writer {writer} was told that {} are safe, {last} are there",
            options(round).join(" "),
            account.acknowledged
        );
        assert!(last <= account.sent, "round {round}: {last} of writer {writer} of {} sent", account.sent);
        let transactions = client.call(&format!("GET count:{round}:{writer}"));
        let transactions: u64 =
            if transactions == "nil" { 0 } else { transactions.parse().expect("a number") };
        assert_eq!(transactions, last / TRANSACTION_EVERY, "round {round}: half a transaction of {writer}");
    }
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let kills = number("CAIRN_KILLS").unwrap_or(KILLS);
    let seed = number("CAIRN_SEED").unwrap_or(1);
    println!("CAIRN_KILLS={kills} CAIRN_SEED={seed}");
    let mut rng = Rng::new(seed);
    let dir = tempfile::tempdir().expect("a folder");
    let mut rounds: Vec<Vec<Account>> = Vec::new();
    let mut acknowledged = 0;
    for round in 0..kills {
        let port = free_port();
        let mut child = start(dir.path(), port, round);
        let mut client = Client::connect(port);
        let first_kept = round.saturating_sub(KEPT_ROUNDS);
        for (accounts, past) in rounds.iter().zip(0..).skip(usize::try_from(first_kept).expect("small")) {
            check(&mut client, past, accounts);
        }
        if let Some(old) = round.checked_sub(KEPT_ROUNDS) {
            let keys: Vec<String> = (0..WRITERS).map(|writer| format!("count:{old}:{writer}")).collect();
            client.call(&format!("UNLINK all:{old} {}", keys.join(" ")));
        }
        let stop = AtomicBool::new(false);
        let moment = Duration::from_micros(2_000 + rng.below(60_000));
        let (rewrites, saves) = (rng.below(3) > 0, rng.below(4) == 0);
        let rewrite_at = Duration::from_micros(rng.below(40_000));
        let seeds: Vec<u64> = (0..WRITERS).map(|_| rng.below(u64::MAX)).collect();
        let accounts: Vec<Account> = thread::scope(|scope| {
            let stop = &stop;
            let writers: Vec<_> = seeds
                .iter()
                .zip(0..)
                .map(|(&seed, writer)| scope.spawn(move || write(port, round, writer, (seed, DEPTH), stop)))
                .collect();
            let begun = Instant::now();
            if rewrites {
                sleep(rewrite_at.min(moment));
                client.send(&request(&[b"BGREWRITEAOF"]));
            }
            if saves {
                client.send(&request(&[b"BGSAVE"]));
            }
            sleep(moment.saturating_sub(begun.elapsed()));
            child.kill().expect("it is there");
            child.wait().expect("it ends");
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("a writer's account")).collect()
        });
        acknowledged += accounts.iter().map(|account| account.acknowledged).sum::<u64>();
        rounds.push(accounts);
    }
    let port = free_port();
    let mut child = start(dir.path(), port, kills);
    check(&mut Client::connect(port), kills - 1, &rounds[rounds.len() - 1]);
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    println!("{kills} kills, {acknowledged} operations acknowledged, none lost");
    assert!(acknowledged > 0, "nothing was written");
}

/// Calls of the system that are made to fail, each with how often it is made in a round.
const CALLS: [(&str, u64); 10] = [
    ("write", 400),
    ("pwrite64", 200),
    ("fdatasync", 20),
    ("fsync", 12),
    ("rename", 6),
    ("unlink", 4),
    ("openat", 60),
    ("ftruncate", 3),
    ("mkdir", 2),
    ("clone3", 4),
];

/// What becomes of them.
const FATES: [&str; 4] = ["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR"];

/// Calls that are made to fail in the test; `CAIRN_INJECTIONS` asks for more.
const INJECTIONS: u64 = 8;

/// The server is killed, or gets an error, at some call of the system while it logs and rewrites. It must
/// stay up after an error, and lose nothing that it acknowledged.
#[test]
fn a_failing_call_loses_nothing_that_was_acknowledged() {
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: there is no strace here");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let injections = number("CAIRN_INJECTIONS").unwrap_or(INJECTIONS);
    let seed = number("CAIRN_SEED").unwrap_or(1);
    println!("CAIRN_INJECTIONS={injections} CAIRN_SEED={seed}");
    let is_ours = std::env::var_os("CAIRN_LEDGER_SERVER").is_none();
    let mut rng = Rng::new(seed);
    let (mut acknowledged, mut killed) = (0, 0);
    for round in 0..injections {
        let dir = tempfile::tempdir().expect("a folder");
        let (call, most) = CALLS[rng.index(CALLS.len())];
        let fate = FATES[rng.index(FATES.len())];
        let inject = format!("inject={call}:{fate}:when={}", 1 + rng.below(most));
        let what = format!("round {round}: {inject} {}", options(round).join(" "));
        let trace = format!("trace={call}");
        // Its own place: the server is our child, and strace looks on from outside.
        let tracer = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let port = free_port();
        let mut child = spawn(&tracer, dir.path(), port, round);
        let is_up = is_ready(&mut child, dir.path(), port);
        let (stop, moment) = (AtomicBool::new(false), Duration::from_millis(30 + rng.below(120)));
        let rewrite_at = Duration::from_millis(rng.below(30));
        let seeds = [rng.next_u64(), rng.next_u64()];
        let accounts: Vec<Account> = thread::scope(|scope| {
            let stop = &stop;
            let writers: Vec<_> = seeds
                .iter()
                .zip(0..)
                .map(|(&seed, writer)| scope.spawn(move || write(port, round, writer, (seed, 1), stop)))
                .collect();
            if is_up && let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                sleep(rewrite_at);
                // Whether it is taken or not is the server's affair.
                let _ = stream.write_all(&request(&[b"BGREWRITEAOF"]));
                sleep(moment);
            }
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("a writer's account")).collect()
        });
        let ended = child.try_wait().expect("its state");
        if is_ours && is_up && !fate.contains("KILL") {
            assert!(ended.is_none(), "{what}: the server has ended: {}", log(dir.path()));
            assert_eq!(Client::connect(port).call("LLEN nothing"), "0", "{what}: it does not answer");
        }
        killed += u64::from(ended.is_some());
        let _ = child.kill();
        child.wait().expect("it ends");
        acknowledged += accounts.iter().map(|account| account.acknowledged).sum::<u64>();
        println!("{what}: {accounts:?}, {}", if ended.is_some() { "ended" } else { "lives" });
        let mut child = start(dir.path(), port, round);
        check(&mut Client::connect(port), round, &accounts);
        child.kill().expect("it is there");
        child.wait().expect("it ends");
    }
    println!(
        "{injections} injections, {killed} deaths of them, {acknowledged} operations acknowledged, none lost"
    );
}
