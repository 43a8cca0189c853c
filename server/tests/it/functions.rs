//! Libraries of functions over real sockets: called, saved, logged, restored, and ended.

use std::fs;
use std::time::{Duration, Instant};

use crate::client::{Client, Server, free_port, program, request, wait_for};

/// A library with one function.
fn library(name: &str, function: &str, body: &str) -> String {
    format!("#!lua name={name}\nredis.register_function('{function}', function(keys, args) {body} end)")
}

fn load(client: &mut Client, code: &str) -> String {
    client.call_words(&[b"FUNCTION", b"LOAD", code.as_bytes()])
}

/// What a library is listed as that [`library`] has made.
fn listed(name: &str, function: &str) -> String {
    format!("[library_name {name} engine LUA functions [[name {function} description nil flags []]]]")
}

#[test]
fn functions_are_loaded_called_and_listed() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let code = library("lib", "add", "return redis.call('incrby', keys[1], args[1])");
    assert_eq!(load(&mut client, &code), "lib");
    assert_eq!(client.call("FCALL add 1 n 5"), "5");
    assert_eq!(client.call("fcall ADD 1 n 5"), "10");
    assert_eq!(load(&mut client, &code), "-ERR Library 'lib' already exists");
    assert_eq!(load(&mut client, &library("other", "add", "")), "-ERR Function add already exists");
    assert_eq!(
        client.call("FCALL_RO add 1 n 5"),
        "-ERR Can not execute a script with write flag using *_ro command."
    );
    assert_eq!(client.call("FCALL what x"), "-ERR Function not found");
    assert_eq!(client.call("FCALL add x"), "-ERR Bad number of keys provided");
    assert_eq!(client.call("FCALL add 2 n"), "-ERR Number of keys can't be greater than number of args");
    assert_eq!(client.call("FCALL add -1 n"), "-ERR Number of keys can't be negative");
    assert_eq!(
        client.call("FCALL add 1 n x"),
        "-ERR value is not an integer or out of range script: on @user_function:2."
    );
    assert_eq!(client.call("FUNCTION LIST"), format!("[{}]", listed("lib", "add")));
    assert_eq!(client.call("FUNCTION LIST LIBRARYNAME x*"), "[]");
    assert_eq!(client.call("FUNCTION LIST LIBRARYNAME L*"), format!("[{}]", listed("lib", "add")));
    assert!(client.call("FUNCTION LIST WITHCODE").contains(&format!("library_code {code}")));
    assert_eq!(client.call("FUNCTION LIST what"), "-ERR Unknown argument what");
    assert_eq!(client.call("COMMAND GETKEYS FCALL add 2 a b c"), "[a b]");
    assert_eq!(
        client.call("FUNCTION STATS"),
        "[running_script nil engines [LUA [libraries_count 1 functions_count 1]]]"
    );
    let info = client.call("INFO memory");
    assert!(info.contains("number_of_functions:1\r\nnumber_of_libraries:1\r\n"), "{info}");
    assert_eq!(client.call("FLUSHALL"), "OK");
    let payload = client.call_bulk(&[b"FUNCTION", b"DUMP"]);
    assert_eq!(client.call("FUNCTION DELETE lib"), "OK");
    assert_eq!(client.call("FUNCTION DELETE lib"), "-ERR Library not found");
    assert_eq!(client.call_words(&[b"FUNCTION", b"RESTORE", &payload]), "OK");
    assert_eq!(client.call_words(&[b"FUNCTION", b"RESTORE", &payload]), "-ERR Library lib already exists");
    assert_eq!(client.call_words(&[b"FUNCTION", b"RESTORE", &payload, b"REPLACE"]), "OK");
    assert_eq!(
        client.call_words(&[b"FUNCTION", b"RESTORE", &payload[1..]]),
        "-ERR DUMP payload version or checksum are wrong"
    );
    assert_eq!(client.call("FCALL add 1 n 5"), "5");
    assert_eq!(client.call("FUNCTION FLUSH what"), "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    assert_eq!(client.call("FUNCTION FLUSH async"), "OK");
    assert_eq!(client.call("FUNCTION LIST"), "[]");
}

#[test]
fn what_a_function_says_about_itself_is_kept_to() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let code = "#!lua name=lib\n\
                redis.register_function{function_name='w', callback=function() return redis.call('set', 'k', 1) end}\n\
                redis.register_function{function_name='r', callback=function() return redis.call('set', 'k', 1) end,\n\
                flags={'no-writes'}}\n\
                redis.register_function{function_name='o', callback=function() return redis.call('set', 'k', 1) end,\n\
                flags={'allow-oom'}}";
    assert_eq!(load(&mut client, code), "lib");
    let read_only =
        "-ERR Write commands are not allowed from read-only scripts. script: on @user_function:3.";
    assert_eq!(client.call("FCALL r 0"), read_only);
    assert_eq!(client.call("FCALL_RO r 0"), read_only);
    assert_eq!(client.call("CONFIG SET maxmemory 1"), "OK");
    let full = "-OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(client.call("FCALL w 0"), full);
    assert_eq!(client.call("FCALL o 0"), "OK");
    assert_eq!(load(&mut client, code), full);
    assert_eq!(client.call("CONFIG SET maxmemory 0"), "OK");
    assert_eq!(client.call("FCALL w 0"), "OK");
}

#[test]
fn libraries_are_in_snapshots_and_in_logs() {
    for args in [
        &["--enable-debug-command", "yes"][..],
        &["--appendonly", "yes"],
        &["--appendonly", "yes", "--aof-use-rdb-preamble", "no"],
    ] {
        let has_log = args.contains(&"--appendonly");
        let folder = tempfile::tempdir().expect("a folder");
        let dir = ["--dir", folder.path().to_str().expect("plain")];
        let args: Vec<&str> = dir.iter().chain(args).copied().collect();
        let server = Server::start(&args);
        let mut client = server.client();
        load(&mut client, &library("one", "f", "return redis.call('incr', 'n')"));
        load(&mut client, &library("two", "g", "return 'two'"));
        load(&mut client, &library("three", "h", "return 'three'"));
        assert_eq!(client.call("FUNCTION DELETE two"), "OK");
        assert_eq!(client.call("FCALL f 0"), "1");
        let both = format!("[{} {}]", listed("one", "f"), listed("three", "h"));
        assert_eq!(client.call("FUNCTION LIST"), both);
        if has_log {
            drop(server);
            let server = Server::start(&args);
            let mut client = server.client();
            assert_eq!(client.call("FUNCTION LIST"), both);
            assert_eq!(client.call("FCALL f 0"), "2");
            assert!(client.call("BGREWRITEAOF").starts_with("Background"));
            let deadline = Instant::now() + Duration::from_secs(20);
            while !client.call("INFO persistence").contains("aof_rewrite_in_progress:0") {
                assert!(Instant::now() < deadline, "the rewrite does not end");
            }
            assert_eq!(client.call("FUNCTION DELETE three"), "OK");
        } else {
            assert_eq!(client.call("DEBUG RELOAD"), "OK");
            assert_eq!(client.call("FUNCTION LIST"), both);
            assert_eq!(client.call("FCALL f 0"), "2");
            assert_eq!(client.call("FUNCTION DELETE three"), "OK");
            assert_eq!(client.call("SAVE"), "OK");
            drop(server);
        }
        let server = Server::start(&args);
        let mut client = server.client();
        assert_eq!(client.call("FUNCTION LIST"), format!("[{}]", listed("one", "f")));
        assert_eq!(client.call("FCALL f 0"), "3");
    }
}

#[test]
fn a_library_that_cannot_be_loaded_is_a_reason_not_to_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let code = b"#!js name=lib\nsomething else";
    let mut file = b"REDIS0011\xf5".to_vec();
    file.push(u8::try_from(code.len()).expect("short"));
    file.extend_from_slice(code);
    file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let path = dir.path().join("dump.rdb");
    fs::write(&path, &file).expect("a file");
    let port = free_port().to_string();
    let mut child = program(dir.path()).args(["--port", &port]).spawn().expect("the server");
    assert!(!wait_for(&mut child).success());
    let log = fs::read_to_string(dir.path().join("stdout")).unwrap_or_default();
    let why = "offset 9: the function library \"#!js name=lib\" cannot be loaded: Engine 'js' not found";
    assert!(log.contains(why), "{log}");
    assert_eq!(fs::read(&path).expect("still there"), file);
}

#[test]
fn a_function_that_runs_for_long_is_busy_and_can_be_killed() {
    let server = Server::start(&["--busy-reply-threshold", "20"]);
    let mut other = server.client();
    load(&mut other, &library("lib", "f", "while true do end"));
    let mut slow = server.client();
    slow.send(&request(&[b"FCALL", b"f", b"1", b"key"]));
    let busy = "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
    let deadline = Instant::now() + Duration::from_secs(20);
    while other.call("GET k") != busy {
        assert!(Instant::now() < deadline, "nobody was told that a function runs");
    }
    let stats = other.call("FUNCTION STATS");
    assert!(stats.starts_with("[running_script [name f command [FCALL f 1 key] duration_ms "), "{stats}");
    assert_eq!(other.call("FUNCTION FLUSH"), busy);
    assert_eq!(other.call("SCRIPT KILL"), busy);
    assert_eq!(other.call("FUNCTION KILL"), "OK");
    assert_eq!(slow.read(), "-ERR Script killed by user with FUNCTION KILL. script: on @user_function:2.");
    assert_eq!(other.call("FUNCTION KILL"), "-NOTBUSY No scripts in execution right now.");
    slow.send(&request(&[b"EVAL", b"while true do end", b"0"]));
    let busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    while other.call("GET k") != busy {
        assert!(Instant::now() < deadline, "nobody was told that a script runs");
    }
    assert_eq!(other.call("FUNCTION STATS"), busy);
    assert_eq!(other.call("FUNCTION KILL"), busy);
    assert_eq!(other.call("SCRIPT KILL"), "OK");
    assert!(slow.read().starts_with("-ERR Script killed by user with SCRIPT KILL."));
}

#[test]
fn a_file_is_merged_with_what_is_in_memory() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    load(&mut client, &library("one", "f", "return 'one'"));
    assert_eq!(client.call("MSET a 1 b 1"), "OK");
    let failed = "-ERR Error trying to load the RDB dump, check server logs.";
    assert_eq!(client.call("DEBUG RELOAD NOFLUSH"), failed);
    assert_eq!(client.call("FUNCTION FLUSH"), "OK");
    load(&mut client, &library("two", "g", "return 'two'"));
    assert_eq!(client.call("MSET b 2 c 2"), "OK");
    assert_eq!(client.call("DEBUG RELOAD NOSAVE NOFLUSH"), failed);
    assert_eq!(client.call("MGET a b c"), "[1 2 2]");
    assert_eq!(client.call("DEBUG RELOAD NOSAVE NOFLUSH MERGE"), "OK");
    assert_eq!(client.call("MGET a b c"), "[1 1 2]");
    assert_eq!(client.call("FCALL f 0"), "one");
    assert_eq!(client.call("FCALL g 0"), "two");
    assert_eq!(client.call("DEBUG RELOAD NOFLUSH MERGE"), "OK");
    assert_eq!(client.call("DBSIZE"), "3");
}
