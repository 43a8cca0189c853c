//! What sorted set and geo commands tell besides their replies: changed keys, events, log.
//!
//! Witness: Valkey 9.1 with `notify-keyspace-events KEAn` and its stream to a replica.

use std::path::Path;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::effects::{Classes, Effect, Happened, Wants};
use cairn_engine::command::{self, Args};
use cairn_engine::engine::{Caller, Engine};
use cairn_engine::keyspace::{Laziness, LfuTuning};

use crate::fresh;

fn engine() -> Engine {
    let mut engine = Engine::new(fresh::config(Path::new("")), UnixMs(1));
    engine.tune(Laziness::ALL, LfuTuning::default());
    engine
}

/// Runs a line; answers what it did: events as `event key`, changed keys as `*key`, log lines as `> ...`,
/// or `waits`.
fn told(engine: &mut Engine, line: &str) -> String {
    engine.effects_mut().set_wants(Wants { keys: true, events: Classes::ALL.or(Classes::NEW), log: true });
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let name = line.split(' ').next().expect("a name").to_ascii_lowercase();
    let command = command::all().find(|c| c.spec.name == name).expect("a data command");
    let command = words.get(1).and_then(|word| command.subcommand(word)).unwrap_or(command);
    let caller = Caller { may_wait: true, ..Caller::new(0, UnixMs(1)) };
    let ran = engine.apply(command, Args(&words), caller, &mut Reply::new(Protocol::Resp2));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let effects = engine.effects_mut();
    let mut all: Vec<String> = Vec::new();
    let mut happened = effects.take_happened(Happened::default());
    for effect in happened.iter() {
        all.push(match effect {
            Effect::Changed { key, .. } => format!("*{}", text(key)),
            Effect::Woken { key, .. } => format!("!{}", text(key)),
            Effect::Event { name, key, .. } => format!("{name} {}", text(key)),
            other => format!("{other:?}"),
        });
    }
    for (_, logged) in effects.log() {
        let lines = text(logged);
        let words: Vec<&str> = lines.split("\r\n").skip(2).step_by(2).collect();
        all.push(format!("> {}", words.join(" ")));
    }
    effects.clear_log();
    happened.clear();
    effects.take_happened(happened);
    if ran.wait.is_some() {
        all.push("waits".to_owned());
    }
    all.join(", ")
}

/// Runs lines of `command => what it told`.
pub(super) fn check(lines: &str) {
    let mut engine = engine();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (call, want) = line.split_once(" =>").expect("an arrow");
        assert_eq!(told(&mut engine, call), want.trim(), "{call}");
    }
}

#[test]
fn adding_and_removing() {
    check(
        "ZADD z 1 a 2 b 3 c => new z, *z, zadd z, > ZADD z 1 a 2 b 3 c
         ZADD z 1 a =>
         ZADD z XX 5 none =>
         ZADD none XX 5 none =>
         ZADD z INCR 5 a => *z, zincr z, > ZADD z INCR 5 a
         ZADD z NX INCR 5 a =>
         ZINCRBY z 1.5 b => *z, zincr z, > ZINCRBY z 1.5 b
         ZINCRBY z 0 b =>
         ZREM z none =>
         ZREM z a none => zrem z, *z, > ZREM z a none
         ZREM z b c => zrem z, del z, *z, > ZREM z b c
         ZREM z b =>",
    );
}

#[test]
fn taking_from_an_end() {
    check(
        "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g => new z, *z, zadd z, > ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g
         ZPOPMIN z => zpopmin z, *z, > ZPOPMIN z
         ZPOPMAX z 0 =>
         ZPOPMAX z 1 => zpopmax z, *z, > ZPOPMAX z 1
         ZMPOP 2 none z MAX => zpopmax z, *z, > ZPOPMAX z 1
         BZPOPMIN none z 0 => zpopmin z, *z, > ZPOPMIN z
         BZPOPMAX z 0 => zpopmax z, *z, > ZPOPMAX z
         BZMPOP 0 1 z MIN COUNT 1 => zpopmin z, *z, > ZPOPMIN z 1
         ZMPOP 1 z MIN COUNT 10 => zpopmin z, del z, *z, > ZPOPMIN z 1
         ZMPOP 1 z MIN COUNT 10 =>
         BZPOPMIN z 0 => waits
         BZMPOP 5 1 z MIN => waits",
    );
}

#[test]
fn ranges_and_results() {
    check(
        "ZADD z 1 a 2 b 3 c 4 d 5 e => new z, *z, zadd z, > ZADD z 1 a 2 b 3 c 4 d 5 e
         ZREMRANGEBYSCORE z 9 10 =>
         ZREMRANGEBYSCORE z 5 5 => *z, zremrangebyscore z, > ZREMRANGEBYSCORE z 5 5
         ZREMRANGEBYRANK z -1 -1 => *z, zremrangebyrank z, > ZREMRANGEBYRANK z -1 -1
         ZREMRANGEBYLEX z [a [a => *z, zremrangebylex z, > ZREMRANGEBYLEX z [a [a
         ZRANGESTORE r z 0 0 => new r, *r, zrangestore r, > ZRANGESTORE r z 0 0
         ZRANGESTORE r z 0 1 => *r, zrangestore r, > ZRANGESTORE r z 0 1
         ZRANGESTORE r z 5 6 => *r, del r, > ZRANGESTORE r z 5 6
         ZRANGESTORE r z 5 6 =>
         ZUNIONSTORE r 1 z => new r, *r, zunionstore r, > ZUNIONSTORE r 1 z
         ZINTERSTORE r 1 z => *r, zinterstore r, > ZINTERSTORE r 1 z
         ZDIFFSTORE r 1 z => *r, zdiffstore r, > ZDIFFSTORE r 1 z
         ZDIFFSTORE r 2 z z => *r, del r, > ZDIFFSTORE r 2 z z
         ZINTERSTORE r 2 z none =>
         ZREMRANGEBYSCORE z -inf inf => *z, zremrangebyscore z, del z, > ZREMRANGEBYSCORE z -inf inf",
    );
}

#[test]
fn places() {
    check(
        "GEOADD g CH 1 1 a 2 2 b => new g, *g, zadd g, > ZADD g CH 3377822707026402 a 3378191666521995 b
         GEOADD g XX 1 1 a =>
         GEOSEARCHSTORE r g FROMMEMBER a BYRADIUS 1 km => new r, *r, geosearchstore r, > GEOSEARCHSTORE r g FROMMEMBER a BYRADIUS 1 km
         GEORADIUS g 1 1 1000 km STORE r => *r, georadiusstore r, > GEORADIUS g 1 1 1000 km STORE r
         GEORADIUS g 9 9 1 km STORE r => *r, del r, > GEORADIUS g 9 9 1 km STORE r
         GEORADIUS g 1 1 1000 km =>",
    );
}
