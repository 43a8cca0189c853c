//! What a connection is: its protocol, its user, its name, its database.

use crate::client::Server;

#[test]
fn hello_switches_the_protocol() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let greeting = |proto: u8, id: u8| {
        format!("server redis version 7.4.2 proto {proto} id {id} mode standalone role master modules []")
    };
    assert_eq!(client.call("HELLO"), format!("[{}]", greeting(2, 1)));
    assert_eq!(client.call("HELLO 3"), format!("{{{}}}", greeting(3, 1)));
    assert_eq!(client.call("GET none"), "nil");
    assert_eq!(client.call("CONFIG GET port"), format!("{{port {}}}", server.port));
    assert_eq!(client.call("HELLO 2"), format!("[{}]", greeting(2, 1)));
    assert_eq!(client.call("HELLO 4"), "-NOPROTO unsupported protocol version");
    assert_eq!(client.call("HELLO x"), "-ERR Protocol version is not an integer or out of range");
    assert_eq!(client.call("HELLO 3 FOO"), "-ERR Syntax error in HELLO option 'FOO'");
    assert_eq!(client.call("HELLO 3 SETNAME bob"), format!("{{{}}}", greeting(3, 1)));
    assert_eq!(client.call("CLIENT GETNAME"), "bob");
    assert_eq!(client.call("RESET"), "RESET");
    assert_eq!(client.call("CLIENT GETNAME"), "nil");
    assert_eq!(client.call("CONFIG GET port"), format!("[port {}]", server.port));
}

#[test]
fn passwords() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.client();
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(client.call("PING"), "-NOAUTH Authentication required.");
    assert_eq!(client.call("foo"), "-NOAUTH Authentication required.");
    assert!(client.call("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(client.call("AUTH nope"), wrong);
    assert_eq!(client.call("AUTH bob secret"), wrong);
    assert_eq!(client.call("AUTH a b c"), "-ERR syntax error");
    assert_eq!(client.call("AUTH secret"), "OK");
    assert_eq!(client.call("PING"), "PONG");
    assert_eq!(client.call("RESET"), "RESET");
    assert_eq!(client.call("PING"), "-NOAUTH Authentication required.");
    assert!(client.call("HELLO 3 AUTH default secret SETNAME x").starts_with("{server redis"));
    // Taken away, those who are in stay in, and those who come need none.
    assert_eq!(client.call("CONFIG SET requirepass *"), "OK");
    assert_eq!(server.client().call("PING"), "-NOAUTH Authentication required.");
    assert_eq!(client.call_words(&[b"CONFIG", b"SET", b"requirepass", b""]), "OK");
    let mut other = server.client();
    assert_eq!(other.call("PING"), "PONG");
    assert!(other.call("AUTH x").starts_with("-ERR AUTH <password> called without any password configured"));
}

#[test]
fn databases_are_apart() {
    let server = Server::start(&["--databases", "4"]);
    let mut client = server.client();
    assert_eq!(client.call("SET k 0"), "OK");
    assert_eq!(client.call("SELECT 3"), "OK");
    assert_eq!(client.call("GET k"), "nil");
    assert_eq!(client.call("SELECT 4"), "-ERR DB index is out of range");
    assert_eq!(client.call("SELECT -1"), "-ERR DB index is out of range");
    assert_eq!(client.call("SELECT x"), "-ERR value is not an integer or out of range");
    assert_eq!(client.call("SET k 3"), "OK");
    assert!(client.call("INFO keyspace").contains("db3:keys=1,expires=0,avg_ttl=0"));
}

#[test]
fn clients_are_listed_and_killed() {
    let server = Server::start(&[]);
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!(one.call("CLIENT ID"), "1");
    assert_eq!(two.call("CLIENT ID"), "2");
    assert_eq!(two.call("CLIENT SETNAME a b"), "-ERR wrong number of arguments for 'client|setname' command");
    let bad = "-ERR Client names cannot contain spaces, newlines or special characters.";
    assert_eq!(two.call_words(&[b"CLIENT", b"SETNAME", b"a b"]), bad);
    assert_eq!(two.call("CLIENT SETNAME two"), "OK");
    assert_eq!(two.call("CLIENT SETINFO lib-name test"), "OK");
    assert_eq!(two.call("CLIENT SETINFO lib-x test"), "-ERR Unrecognized option 'lib-x'");
    let list = one.call("CLIENT LIST");
    let line = list.lines().find(|line| line.starts_with("id=2 ")).expect("the other's line");
    for part in [" name=two ", " cmd=client|setinfo ", " lib-name=test ", " resp=2 ", " flags=N ", " db=0 "] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(one.call("CLIENT LIST ID 2").lines().count(), 1);
    assert_eq!(one.call("CLIENT LIST TYPE pubsub"), "");
    assert_eq!(one.call("CLIENT LIST ID x"), "-ERR syntax error");
    assert_eq!(one.call("CLIENT LIST ID 1 2 3 NAME two DB 0 NOT-TYPE pubsub").lines().count(), 1);
    assert_eq!(one.call("CLIENT LIST NOT-NAME two").lines().count(), 1);
    assert_eq!(one.call("CLIENT LIST SKIPME yes IP 127.0.0.1").lines().count(), 1);
    assert_eq!(one.call("CLIENT LIST FLAGS Q"), "-ERR Unknown flags found in the provided filter: Q");
    assert_eq!(one.call("CLIENT KILL 1.2.3.4:5"), "-ERR No such client");
    assert_eq!(one.call("CLIENT KILL ID 0"), "-ERR client-id should be greater than 0");
    assert_eq!(one.call("CLIENT KILL ID 1"), "0", "not oneself");
    assert_eq!(one.call("CLIENT KILL ID 2 TYPE normal"), "1");
    assert_eq!(two.read_to_end(), "");
    assert_eq!(one.call("CLIENT KILL ID 1 SKIPME no"), "1");
    assert_eq!(one.read_to_end(), "");
}

#[test]
fn clients_are_listed_as_they_came() {
    let server = Server::start(&[]);
    let (mut first, gone, mut third) = (server.client(), server.client(), server.client());
    assert_eq!(third.call("CLIENT ID"), "3");
    drop(gone);
    while !first.call("CLIENT LIST ID 2").is_empty() {}
    // It takes the place of the one that has gone.
    let mut fourth = server.client();
    let list = fourth.call("CLIENT LIST ID 4 3 1");
    let ids: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, ["id=1", "id=3", "id=4"]);
}

#[test]
fn replies_can_be_switched_off() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send(b"CLIENT REPLY OFF\r\nPING\r\nfoo\r\nCLIENT REPLY ON\r\nPING\r\n");
    assert_eq!((client.read().as_str(), client.read().as_str()), ("OK", "PONG"));
    client.send(b"CLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n");
    assert_eq!(client.read(), "a");
}

#[test]
fn commands_tell_about_themselves() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let count: usize = client.call("COMMAND COUNT").parse().expect("a number");
    assert!(count > 100, "{count}");
    let info = client.call("COMMAND INFO get client|id nope");
    assert!(info.starts_with("[[get 2 [readonly fast] 1 1 1 [@read @string @fast] []"), "{info}");
    assert!(info.contains("[client|id 2 [") && info.ends_with(" nil]"), "{info}");
    let debug = client.call("COMMAND INFO debug");
    assert!(debug.contains(" [admin noscript loading stale] 0 0 0 [@admin @slow @dangerous] "), "{debug}");
    assert_eq!(client.call("COMMAND GETKEYS mset a 1 b 2"), "[a b]");
    assert_eq!(client.call("COMMAND GETKEYS ping"), "-ERR The command has no key arguments");
    let without_word = client.call("COMMAND GETKEYS XREADGROUP GROUP g c a b 0");
    assert_eq!(without_word, "-ERR Invalid arguments specified for command");
    assert_eq!(client.call("COMMAND GETKEYS foo"), "-ERR Invalid command specified");
    assert_eq!(client.call("COMMAND GETKEYS get"), "-ERR Invalid number of arguments specified for command");
    assert_eq!(client.call("COMMAND LIST FILTERBY PATTERN lastsav*"), "[lastsave]");
    assert!(client.call("COMMAND DOCS select").contains("[name index type integer display_text index]"));
    assert!(client.call("COMMAND DOCS scan").contains("history [[6.0.0 Option TYPE.]] arguments"));
    assert!(client.call("COMMAND").len() > 10_000);
    assert!(client.call("COMMAND DOCS").len() > 10_000);
}

#[test]
fn cluster_was_no_command_where_others_say_that_there_is_none() {
    const DISABLED: &str = "-ERR This instance has cluster support disabled";
    let server = Server::start(&[]);
    let mut client = server.client();
    let refused = [
        "CLUSTER INFO",
        "CLUSTER HELP",
        "CLUSTER MYID",
        "CLUSTER SLOTS",
        "CLUSTER ADDSLOTS x",
        "CLUSTER COUNTKEYSINSLOT 0",
        "CLUSTER RESET SOFT",
        "CLUSTERSCAN 0",
        "ASKING",
    ];
    for line in refused {
        assert_eq!(client.call(line), DISABLED, "{line}");
    }
    assert_eq!(client.call("CLUSTER KEYSLOT {user}.a"), client.call("CLUSTER KEYSLOT user"));
    assert_eq!(client.call("CLUSTER KEYSLOT user"), "5474");
    let read_only = "-ERR Write commands are not allowed from read-only scripts.";
    let script: &[&[u8]] = &[b"EVAL_RO", b"return redis.pcall('cluster', 'setslot', '1', 'stable')", b"0"];
    assert_eq!(client.call_tree(script).text(), read_only);
    assert_eq!(client.call("CLUSTER foo"), "-ERR unknown subcommand 'foo'. Try CLUSTER HELP.");
    assert_eq!(client.call("CLUSTER"), "-ERR wrong number of arguments for 'cluster' command");
    let arity = "-ERR wrong number of arguments for 'cluster|info' command";
    assert_eq!(client.call("CLUSTER INFO x"), arity);
    assert_eq!(client.call("MULTI"), "OK");
    assert_eq!(client.call("CLUSTER SHARDS"), "QUEUED");
    assert_eq!(client.call("EXEC"), format!("[{DISABLED}]"));
    // Without a cluster these two have nothing to change, and say so by OK.
    assert_eq!(client.call("READONLY"), "OK");
    assert_eq!(client.call("READWRITE"), "OK");
}

#[test]
fn info_counts() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.call("SET k v");
    client.call("GET k");
    client.call("GET none");
    client.call("GET");
    client.call("LPUSH k x");
    let stats = client.call("INFO stats commandstats errorstats");
    for line in [
        "keyspace_hits:1\r\n",
        "keyspace_misses:1\r\n",
        "total_connections_received:1\r\n",
        "cmdstat_get:calls=2,",
        ",rejected_calls=1,failed_calls=0\r\n",
        "errorstat_WRONGTYPE:count=1\r\n",
        "errorstat_ERR:count=1\r\n",
        "total_error_replies:2\r\n",
    ] {
        assert!(stats.contains(line), "{line}: {stats}");
    }
    assert_eq!(client.call("CONFIG RESETSTAT"), "OK");
    assert!(client.call("INFO stats").contains("total_error_replies:0\r\n"));
    for section in ["server", "clients", "memory", "persistence", "replication", "cpu", "cluster"] {
        assert!(client.call(&format!("INFO {section}")).starts_with("# "), "{section}");
    }
    assert_eq!(client.call("INFO nope"), "");
}

#[test]
fn a_subcommand_named_reset_ran_at_once_in_a_transaction() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.call("MULTI"), "OK");
    for line in ["LATENCY RESET", "SLOWLOG RESET", "COMMANDLOG RESET slow", "CLUSTER RESET"] {
        assert_eq!(client.call(line), "QUEUED", "{line}");
    }
    assert_eq!(client.call("EXEC"), "[0 OK OK -ERR This instance has cluster support disabled]");
    assert_eq!(client.call("MULTI"), "OK");
    assert_eq!(client.call("RESET"), "RESET");
    assert_eq!(client.call("EXEC"), "-ERR EXEC without MULTI");
}

#[test]
fn waitaof_told_of_replicas_that_are_no_number_in_other_words() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let positive = "-ERR value is out of range, must be positive";
    assert_eq!(client.call("WAITAOF 0 x -1"), positive);
    assert_eq!(client.call("WAITAOF 0 -1 x"), positive);
    assert_eq!(client.call("WAITAOF x -1 0"), "-ERR value is not an integer or out of range");
    assert_eq!(client.call("WAITAOF 2 x 0"), "-ERR value is out of range, value must between 0 and 1");
}

#[test]
fn info_did_not_know_the_modules_by_their_other_name() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert!(client.call("INFO module_list").starts_with("# Modules"));
    assert_eq!(client.call("INFO MODULE_LIST"), client.call("INFO modules"));
}

#[test]
fn a_skipped_command_that_waited_was_answered_afterwards() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for waits in ["BLPOP q 0.01", "BLMOVE q r LEFT LEFT 0.01", "XREAD BLOCK 10 STREAMS q 1", "WAIT 1 10"] {
        client.send(format!("CLIENT REPLY SKIP\r\n{waits}\r\nECHO a\r\nECHO b\r\n").as_bytes());
        assert_eq!((client.read(), client.read()), ("a".into(), "b".into()), "{waits}");
    }
    // And what came was taken.
    let mut waiting = server.client();
    waiting.send(b"CLIENT REPLY SKIP\r\nBLPOP q 0\r\nECHO a\r\n");
    let is_waiting = (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        client.call("INFO clients").contains("blocked_clients:1")
    });
    assert!(is_waiting, "{}", client.call("INFO clients"));
    assert_eq!(client.call("RPUSH q 1 2"), "2");
    assert_eq!((waiting.read(), client.call("LRANGE q 0 -1")), ("a".into(), "[2]".into()));
}

#[test]
fn a_skipped_reset_answers_nothing() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send(b"CLIENT REPLY SKIP\r\nRESET\r\nECHO a\r\n");
    assert_eq!(client.read(), "a");
    client.send(b"CLIENT REPLY OFF\r\nECHO a\r\nRESET\r\nECHO b\r\n");
    assert_eq!([client.read(), client.read()], ["RESET", "b"]);
}
