//! Logs of old servers, which have scripts as they were sent.

use std::time::{Duration, Instant};

use cairn_engine::codec::aof::record;
use cairn_engine::script::Sha;

use super::support::Home;

const INCR: &str = "appendonly.aof.1.incr.aof";

/// A log of commands; words are apart by `;`.
fn log(commands: &[&str]) -> Vec<u8> {
    let mut log = Vec::new();
    for command in commands {
        let words: Vec<&[u8]> = command.split(';').map(str::as_bytes).collect();
        record::push_command(&mut log, words.iter().copied());
    }
    log
}

fn home(commands: &[&str]) -> Home {
    Home::with_log(&[(INCR, &log(commands))])
}

#[test]
fn scripts_of_a_log_have_the_effect_that_they_had() {
    let sha = Sha::of(b"return redis.call('incr', KEYS[1])");
    let evalsha = format!("evalsha;{};1;n", String::from_utf8_lossy(sha.as_bytes()));
    let started = home(&[
        "SADD;s;b;c;a;10;9",
        "EVAL;redis.call('set', KEYS[1], redis.call('smembers', KEYS[2])[1]);2;first;s",
        "EVAL;redis.call('set', KEYS[1], ARGV[1] + 0.1);1;sum;0.2",
        "SCRIPT;LOAD;return redis.call('incr', KEYS[1])",
        &evalsha,
        "MULTI",
        &evalsha,
        "EVAL;redis.call('select', 1) redis.call('set', 'there', 1);0",
        "SET;here;1",
        "EXEC",
    ])
    .loads("first=10 here=1 n=2 s sum=0.30000000000000004");
    assert_eq!(started.keys(1), "there=1");
    assert_eq!((started.recovered.commands, started.recovered.errors), (7, 0));
    started.is_calm();
}

#[test]
fn errors_of_scripts_are_told_and_what_they_did_before_stays() {
    let started = home(&[
        "EVAL;redis.call('set', 'a', 1) redis.call('lpush', 'a', 1) redis.call('set', 'a', 2);0",
        "EVAL;redis.call('set', 'b', 1) redis.call('time') redis.call('set', 'b', 2);0",
        "EVAL;#!lua\nredis.call('set', 'c', redis.call('randomkey') and 1);0",
        "EVAL;redis.call('set', 'd', #redis.pcall('fcall', 'f', 0).err > 0 and 1 or 0);0",
        "EVAL_RO;redis.call('set', 'e', 1);0",
        "EVAL;this is no script;0",
        "EVAL;return 1;x",
        "SET;f;1",
    ])
    .loads("a=1 b=1 c=1 d=1 f=1");
    assert_eq!(started.recovered.errors, 5);
    started.says("'WRONGTYPE Operation against a key holding the wrong kind of value");
    started.says("after processing the command 'eval'");
    started.says("Write commands not allowed after non deterministic commands");
    started.says("Error compiling script");
    started.says("after processing the command 'eval_ro'");
}

#[test]
fn a_script_that_the_log_does_not_have_is_refused() {
    let sha = "f".repeat(40);
    home(&["SET;a;1", &format!("EVALSHA;{sha};0")]).refuses(&["offset 27", &sha, "SCRIPT LOAD"]);
    let known = String::from_utf8_lossy(Sha::of(b"return 1").as_bytes()).into_owned();
    home(&["SCRIPT;LOAD;return 1", "SCRIPT;FLUSH", &format!("EVALSHA;{known};0")]).refuses(&[&known]);
    home(&["EVAL;return 1"]).refuses(&["wrong number of arguments for 'eval' command"]);
}

#[test]
fn an_unfinished_transaction_runs_none_of_its_scripts() {
    home(&["SET;a;1", "MULTI", "EVAL;redis.call('set', 'a', 2);0"]).loads("a=1");
}

#[test]
fn a_script_is_known_however_many_follow() {
    let first = Sha::of(b"return redis.call('incr', 'n')");
    let mut commands = vec!["EVAL;return redis.call('incr', 'n');0".to_owned()];
    commands.extend((0..700).map(|i| format!("EVAL;return {i};0")));
    commands.push(format!("EVALSHA;{};0", String::from_utf8_lossy(first.as_bytes())));
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    home(&commands).loads("n=2").is_calm();
}

#[test]
fn others_are_answered_while_a_script_of_a_log_runs() {
    let started = home(&["EVAL;local t = os.clock() while os.clock() < t + 0.4 do end;0"]).loads("");
    assert!(started.progress.len() > 10, "{} times", started.progress.len());
}

#[test]
fn what_a_script_takes_is_bounded() {
    let begun = Instant::now();
    let started = home(&[
        "EVAL;local s = 'x' while true do s = s .. s end;0",
        "EVAL;local function f() return 1 + f() end return f();0",
        "SET;a;1",
    ])
    .loads("a=1");
    assert_eq!(started.recovered.errors, 2);
    started.says("not enough memory");
    started.says("stack overflow");
    assert!(begun.elapsed() < Duration::from_secs(60));
}
