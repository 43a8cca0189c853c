//! Which commands count as a use of a key, so that OBJECT IDLETIME begins anew.
//!
//! Witness: Valkey 9.1, asked OBJECT IDLETIME after each of them on a key that was idle.

use std::path::Path;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::{self, Args};
use cairn_engine::engine::{Caller, Engine};

use crate::fresh;

const BEFORE: UnixMs = UnixMs(1_900_000_000_000);
const LATER: UnixMs = UnixMs(BEFORE.0 + 60_000);

fn run(engine: &mut Engine, line: &str, now: UnixMs) -> String {
    let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
    let name = line.split_ascii_whitespace().next().expect("a name").to_ascii_lowercase();
    let command = command::all().find(|c| c.spec.name == name).expect("a command");
    let command = command.subcommands.iter().find(|c| c.spec.name == "idletime").unwrap_or(command);
    let mut reply = Reply::new(Protocol::Resp2);
    engine.apply(command, Args(&words), Caller::new(0, now), &mut reply);
    String::from_utf8_lossy(reply.bytes()).into_owned()
}

/// Seconds that a key is idle after `line`, which comes a minute after `setup`.
fn idle_after(setup: &str, line: &str) -> String {
    let mut engine = Engine::new(fresh::config(Path::new("none.rdb")), BEFORE);
    run(&mut engine, setup, BEFORE);
    assert!(!run(&mut engine, line, LATER).starts_with('-'), "{line}");
    run(&mut engine, "OBJECT IDLETIME k", LATER)
}

#[test]
fn who_only_asks_about_a_key_does_not_use_it() {
    for line in ["TTL k", "PEXPIRETIME k", "TYPE k", "EXISTS k", "KEYS k", "SCAN 0"] {
        assert_eq!(idle_after("SET k v", line), ":60\r\n", "{line}");
    }
}

#[test]
fn who_would_have_written_a_key_uses_it() {
    for line in [
        "SETNX k v",
        "SET k v NX",
        "MSETNX k v",
        "MSETEX 1 k v NX",
        "EXPIRE k 100 XX",
        "PERSIST k",
        "TOUCH k",
        "GET k",
        "DUMP k",
        "SORT k",
    ] {
        let setup = if line.starts_with("SORT") { "RPUSH k 1" } else { "SET k v" };
        assert_eq!(idle_after(setup, line), ":0\r\n", "{line}");
    }
}
