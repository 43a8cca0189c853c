//! Scripts over real sockets: what they may do, what is logged of them, and what others get done meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use cairn_engine::script::Sha;
use nix::sys::signal::Signal;

use crate::client::{Server, program, request};

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

/// Starts a server on a log that has an endless script, and gives it when it answers.
fn start_on_an_endless_script() -> Server {
    let dir = tempfile::tempdir().expect("a folder");
    let log = [request(&[b"SET", b"a", b"1"]), request(&[b"EVAL", b"while true do end", b"0"])].concat();
    fs::write(dir.path().join("appendonly.aof"), &log).expect("a log");
    let port = crate::client::free_port();
    let mut command = program(dir.path());
    command.args(["--port", &port.to_string(), "--appendonly", "yes"]);
    let child = command.spawn().expect("the program starts");
    let mut server = Server { child, dir, port };
    server.wait_for_log("Server initialized");
    server
}

#[test]
fn an_endless_script_in_a_log_can_be_ended_with_the_server() {
    let mut server = start_on_an_endless_script();
    let mut client = server.client();
    assert_eq!(client.call("GET a"), "-LOADING Redis is loading the dataset in memory");
    assert!(client.call("SCRIPT KILL").starts_with("-LOADING"));
    assert!(client.call("INFO persistence").contains("loading:1\r\n"));
    let before = fs::read(server.path("appendonly.aof")).expect("the log");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(fs::read(server.path("appendonly.aof")).expect("the log"), before);
    let mut server = start_on_an_endless_script();
    server.client().send(&request(&[b"SHUTDOWN", b"NOSAVE"]));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn scripts_of_a_log_are_known_when_it_is_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = [
        request(&[b"EVAL", b"return redis.call('incr', KEYS[1])", b"1", b"n"]),
        request(&[b"SCRIPT", b"LOAD", b"return 7"]),
    ];
    fs::write(folder.path().join("appendonly.aof"), log.concat()).expect("a log");
    let dir = folder.path().to_str().expect("plain");
    let server = Server::start(&["--appendonly", "yes", "--dir", dir, "--enable-debug-command", "yes"]);
    let mut client = server.client();
    let seven = Sha::of(b"return 7");
    let seven = String::from_utf8_lossy(seven.as_bytes());
    assert_eq!(client.call(&format!("EVALSHA {seven} 0")), "7");
    assert_eq!(client.call_words(&[b"EVAL", b"return redis.call('incr', KEYS[1])", b"1", b"n"]), "2");
    assert_eq!(client.call("DEBUG LOADAOF"), "OK");
    assert_eq!(client.call("GET n"), "2");
    assert_eq!(client.call(&format!("EVALSHA {seven} 0")), "7");
}

#[test]
fn commands_of_scripts_count_like_others() {
    let server = Server::start(&["--slowlog-log-slower-than", "-1"]);
    let mut client = server.client();
    client.call("CONFIG RESETSTAT");
    client.call("CONFIG SET slowlog-log-slower-than 0");
    eval(
        &mut client,
        "redis.call('ping') redis.pcall('incr', 'x', 'y') redis.pcall('lpush', 'l') redis.call('set', 'k', 1)",
    );
    client.call("CONFIG SET slowlog-log-slower-than -1");
    let slow = client.call("SLOWLOG GET 10");
    let (eval_at, set_at, ping_at) = (slow.find("EVAL"), slow.find("[set k 1]"), slow.find("[ping]"));
    assert!(eval_at < set_at && set_at < ping_at && eval_at.is_some(), "{slow}");
    let info = client.call("INFO commandstats");
    assert!(info.contains("cmdstat_ping:calls=1,") && info.contains("cmdstat_set:calls=1,"), "{info}");
    assert!(info.contains("cmdstat_incr:calls=0,") && info.contains("rejected_calls=1"), "{info}");
    let cmds = |client: &mut crate::client::Client| -> u64 {
        let info = client.call("CLIENT INFO");
        let at = info.find("tot-cmds=").expect("a field") + "tot-cmds=".len();
        info[at..].split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
    };
    let before = cmds(&mut client);
    eval(&mut client, "redis.call('ping')");
    assert_eq!(cmds(&mut client), before + 3);
}

#[test]
fn codes_of_errors_that_scripts_make_up_are_limited() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for i in 0..140 {
        eval(&mut client, &format!("return redis.error_reply('{i} mine')"));
    }
    client.call("SET a b c");
    let info = client.call("INFO errorstats");
    assert!(info.contains("errorstat_127:count=1\r\n") && !info.contains("errorstat_128:"), "{info}");
    assert!(info.contains("errorstat_ERRORSTATS_OVERFLOW:count=12\r\n"), "{info}");
    assert!(info.contains("errorstat_ERR:count=1\r\n"), "{info}");
}

#[test]
fn who_stands_behind_a_slow_script_in_a_batch_is_told_that_it_runs() {
    const BUSY: &str =
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    let server = Server::start(&["--busy-reply-threshold", "20", "--enable-debug-command", "yes"]);
    let (mut sleeper, mut slow) = (server.client(), server.client());
    let (mut others, mut last) = ((0..3).map(|_| server.client()).collect::<Vec<_>>(), server.client());
    let endless = request(&[b"EVAL", b"while true do end", b"0"]);
    let ping = request(&[b"PING"]);
    // What is sent while the server sleeps comes in one batch.
    sleeper.send(&request(&[b"DEBUG", b"SLEEP", b"0.3"]));
    std::thread::sleep(Duration::from_millis(100));
    slow.send(&[ping.clone(), endless.clone(), ping.clone()].concat());
    for other in &mut others {
        // Scripts, commands behind them, one that is in two pieces, and one that is none.
        other.send(&[endless.clone(), b"get k\r\n".to_vec(), ping.clone(), ping[..9].to_vec()].concat());
    }
    last.send(&[ping.clone(), b"*1\r\nx\r\n".to_vec()].concat());
    assert_eq!(sleeper.read(), "OK");
    for other in &mut others {
        assert_eq!([other.read(), other.read()], [BUSY, BUSY]);
        assert_eq!(other.read(), BUSY);
        other.send(&ping[9..]);
        assert_eq!(other.read(), BUSY);
    }
    assert_eq!([last.read(), last.read()], [BUSY, "-ERR Protocol error: expected '$', got 'x'"]);
    assert_eq!(slow.read(), "PONG");
    assert_eq!(others[0].call("SCRIPT KILL"), "OK");
    assert!(slow.read().starts_with("-ERR Script killed by user"));
    assert_eq!(slow.read(), "PONG");
    for other in &mut others {
        assert_eq!(other.call("PING"), "PONG");
    }
}

#[test]
fn tests_may_let_scripts_run_commands_about_the_server() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    let denied = "-ERR This Valkey command is not allowed from script script: on @user_script:1.";
    let code = "return redis.call('debug', 'protocol', 'integer')";
    assert_eq!(eval(&mut client, code), denied);
    assert_eq!(client.call("DEBUG SET-DISABLE-DENY-SCRIPTS 1"), "OK");
    assert_eq!(eval(&mut client, code), "12345");
    for command in
        ["'multi'", "'eval', 'return 1', 0", "'subscribe', 'c'", "'shutdown'", "'reset'", "'monitor'"]
    {
        assert_eq!(eval(&mut client, &format!("return redis.call({command})")), denied);
    }
    assert_eq!(client.call("DEBUG SET-DISABLE-DENY-SCRIPTS 0"), "OK");
    assert_eq!(eval(&mut client, code), denied);
}

#[test]
fn resetting_the_counters_forgets_scripts_that_have_made_way() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for i in 0..502 {
        eval(&mut client, &format!("return {i}"));
    }
    assert!(client.call("INFO stats").contains("evicted_scripts:2\r\n"));
    client.call("CONFIG RESETSTAT");
    assert!(client.call("INFO stats").contains("evicted_scripts:0\r\n"));
}
