//! Scripts over real sockets: what they may do, what is logged of them, and what others get done meanwhile.

use std::time::{Duration, Instant};

use crate::client::{Server, request};

fn eval(client: &mut crate::client::Client, code: &str) -> String {
    client.call_words(&[b"EVAL", code.as_bytes(), b"0"])
}

#[test]
fn scripts_run_commands_and_are_known_by_their_names() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let code =
        "redis.call('set', KEYS[1], ARGV[1]) return {redis.call('get', KEYS[1]), redis.call('incr', 'n')}";
    assert_eq!(client.call_words(&[b"EVAL", code.as_bytes(), b"1", b"k", b"v"]), "[v 1]");
    let sha = client.call_words(&[b"SCRIPT", b"LOAD", code.as_bytes()]);
    assert_eq!(sha.len(), 40);
    assert_eq!(client.call(&format!("EVALSHA {} 1 k w", sha.to_uppercase())), "[w 2]");
    assert_eq!(client.call(&format!("SCRIPT EXISTS {sha} 1234")), "[1 0]");
    assert_eq!(client.call(&format!("SCRIPT SHOW {sha}")), code);
    assert_eq!(client.call("SCRIPT FLUSH"), "OK");
    assert_eq!(client.call(&format!("EVALSHA {sha} 1 k w")), "-NOSCRIPT No matching script.");
    assert_eq!(client.call("SCRIPT KILL"), "-NOTBUSY No scripts in execution right now.");
    assert_eq!(client.call("EVAL x 2 k"), "-ERR Number of keys can't be greater than number of args");
    assert_eq!(client.call("EVAL x -1"), "-ERR Number of keys can't be negative");
    assert_eq!(
        eval(&mut client, "return redis.call('eval', 'x', 0)"),
        "-ERR This Valkey command is not allowed from script script: on @user_script:1."
    );
    assert_eq!(
        client.call_words(&[b"EVAL_RO", b"return redis.call('set', 'a', 1)", b"0"]),
        "-ERR Write commands are not allowed from read-only scripts. script: on @user_script:1."
    );
    assert_eq!(
        eval(
            &mut client,
            "redis.call('select', 3) redis.call('set', 'there', 1) return redis.call('dbsize')"
        ),
        "1"
    );
    assert_eq!(client.call("EXISTS there"), "0");
    assert_eq!(eval(&mut client, "return redis.call('blpop', 'none', 0)"), "nil");
    assert_eq!(
        eval(&mut client, "#!lua flags=no-writes\nreturn redis.call('del', 'k')"),
        "-ERR Write commands are not allowed from read-only scripts. script: on @user_script:2."
    );
    assert_eq!(client.call("MULTI"), "OK");
    assert_eq!(eval(&mut client, "return redis.call('get', 'k')"), "QUEUED");
    assert_eq!(client.call("EXEC"), "[w]");
}

#[test]
fn a_script_that_runs_for_long_is_busy_and_can_be_killed() {
    let server = Server::start(&["--busy-reply-threshold", "20"]);
    let mut slow = server.client();
    slow.send(&request(&[b"EVAL", b"while true do end", b"0"]));
    let busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    let mut other = server.client();
    let deadline = Instant::now() + Duration::from_secs(20);
    while other.call("GET k") != busy {
        assert!(Instant::now() < deadline, "nobody was told that a script runs");
    }
    assert_eq!(other.call("EVAL x 0"), busy);
    assert_eq!(other.call("SHUTDOWN"), busy);
    assert_eq!(other.call("MULTI"), "OK");
    assert_eq!(other.call("SET k v"), busy);
    assert_eq!(other.call("DISCARD"), "OK");
    assert_eq!(other.call("SCRIPT KILL"), "OK");
    assert_eq!(slow.read(), "-ERR Script killed by user with SCRIPT KILL. script: on @user_script:1.");
    assert_eq!(other.call("SET k v"), "OK");
    slow.send(&request(&[b"EVAL", b"redis.call('set', 'k', 'w') while true do end", b"0"]));
    while other.call("GET k") != busy {
        assert!(Instant::now() < deadline, "nobody was told that a script runs");
    }
    assert!(other.call("SCRIPT KILL").starts_with("-UNKILLABLE"));
}

#[test]
fn what_a_script_changes_is_in_the_log_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["--appendonly", "yes", "--dir", folder.path().to_str().expect("plain")];
    let server = Server::start(&args);
    let mut client = server.client();
    let code = "redis.call('set', 'a', redis.call('time')[1]) redis.set_repl(redis.REPL_NONE) redis.call('set', 'b', 1) \
                redis.set_repl(redis.REPL_ALL) return redis.call('rpush', 'l', 1, 2)";
    assert_eq!(eval(&mut client, code), "2");
    let a = client.call("GET a");
    drop(server);
    let server = Server::start(&args);
    let mut client = server.client();
    assert_eq!(client.call("GET a"), a);
    assert_eq!(client.call("EXISTS b"), "0");
    assert_eq!(client.call("LRANGE l 0 -1"), "[1 2]");
}
