//! Messages: who gets them, in which shape and order; key-space events; MONITOR.

use crate::client::{Client, Server};

fn pair(server: &Server, protocol: u8) -> (Client, Client) {
    let (mut one, mut two) = (server.client(), server.client());
    for client in [&mut one, &mut two] {
        client.call(&format!("HELLO {protocol}"));
    }
    (one, two)
}

#[test]
fn messages_reach_those_who_listen() {
    let server = Server::start(&[]);
    for protocol in [2, 3] {
        let (mut one, mut two) = pair(&server, protocol);
        one.send(b"SUBSCRIBE a b a\r\nPSUBSCRIBE a*\r\nSSUBSCRIBE a\r\n");
        let confirmed = [
            "[subscribe a 1]",
            "[subscribe b 2]",
            "[subscribe a 2]",
            "[psubscribe a* 3]",
            "[ssubscribe a 1]",
        ];
        assert_eq!(confirmed.map(|_| one.read()), confirmed);
        assert_eq!(two.call("PUBLISH a hello"), "2");
        assert_eq!(two.call("PUBLISH b x"), "1");
        assert_eq!(two.call("SPUBLISH a shard"), "1");
        assert_eq!(two.call("PUBLISH c x"), "0");
        let received = ["[message a hello]", "[pmessage a* a hello]", "[message b x]", "[smessage a shard]"];
        assert_eq!(received.map(|_| one.read()), received);
        assert_eq!(two.call("PUBSUB NUMSUB a b c"), "[a 1 b 1 c 0]");
        assert_eq!(two.call("PUBSUB NUMPAT"), "1");
        assert_eq!(two.call("PUBSUB CHANNELS b*"), "[b]");
        assert_eq!(two.call("PUBSUB SHARDCHANNELS"), "[a]");
        assert_eq!(two.call("PUBSUB SHARDNUMSUB a"), "[a 1]");
        assert!(two.call("INFO clients").contains("pubsub_clients:1\r\n"));
        one.send(
            b"UNSUBSCRIBE b none\r\nUNSUBSCRIBE\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nSUNSUBSCRIBE a\r\nPING\r\n",
        );
        let confirmed = [
            "[unsubscribe b 2]",
            "[unsubscribe none 2]",
            "[unsubscribe a 1]",
            "[unsubscribe nil 1]",
            "[punsubscribe a* 0]",
            "[sunsubscribe a 0]",
            "PONG",
        ];
        assert_eq!(confirmed.map(|_| one.read()), confirmed);
    }
}

#[test]
fn who_listens_in_resp2_does_little_else() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.call("SUBSCRIBE a"), "[subscribe a 1]");
    assert_eq!(client.call("PING"), "[pong ]");
    assert_eq!(client.call("PING x"), "[pong x]");
    let only = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    assert_eq!(client.call("GET k"), format!("-ERR Can't execute 'get': {only}"));
    assert_eq!(client.call("CLIENT ID"), format!("-ERR Can't execute 'client|id': {only}"));
    assert_eq!(client.call("GET"), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(client.call("RESET"), "RESET");
    assert_eq!(client.call("GET k"), "nil");
    assert_eq!(server.client().call("PUBSUB NUMSUB a"), "[a 0]");
    // In RESP3 everything goes, and one's own message comes behind the reply.
    client.call("HELLO 3");
    assert_eq!(client.call("SUBSCRIBE a"), "[subscribe a 1]");
    assert_eq!(client.call("PING"), "PONG");
    assert_eq!(client.call("PUBLISH a me"), "1");
    assert_eq!(client.read(), "[message a me]");
    client.send(b"MULTI\r\nPUBLISH a 1\r\nPING\r\nEXEC\r\n");
    let expected = ["OK", "QUEUED", "QUEUED", "[1 PONG]", "[message a 1]"];
    assert_eq!(expected.map(|_| client.read()), expected);
}

#[test]
fn messages_come_though_replies_are_off() {
    let server = Server::start(&[]);
    let (mut one, mut two) = pair(&server, 3);
    one.send(b"CLIENT REPLY OFF\r\nSUBSCRIBE a\r\nPING\r\n");
    assert_eq!(one.read(), "[subscribe a 1]");
    assert_eq!(two.call("PUBLISH a x"), "1");
    assert_eq!(one.read(), "[message a x]");
    assert_eq!(one.call("CLIENT REPLY ON"), "OK");
}

#[test]
fn many_messages_keep_their_order() {
    let server = Server::start(&[]);
    let mut listeners: Vec<Client> = (0..20)
        .map(|i| {
            let mut client = server.client();
            client.call(if i % 2 == 0 { "HELLO 2" } else { "HELLO 3" });
            client.call("SUBSCRIBE a");
            client.call("PSUBSCRIBE ?");
            client
        })
        .collect();
    let mut publisher = server.client();
    let requests: String = (0..500).map(|i| format!("PUBLISH a {i}\r\n")).collect();
    publisher.send(requests.as_bytes());
    for _ in 0..500 {
        assert_eq!(publisher.read(), "40");
    }
    for client in &mut listeners {
        for i in 0..500 {
            assert_eq!(client.read(), format!("[message a {i}]"));
            assert_eq!(client.read(), format!("[pmessage ? a {i}]"));
        }
    }
}

#[test]
fn events_of_keys_are_published() {
    let server = Server::start(&["--notify-keyspace-events", "KEA"]);
    let (mut one, mut two) = pair(&server, 2);
    one.send(b"PSUBSCRIBE __key*\r\n");
    one.read();
    assert_eq!(two.call("SET k v PX 30"), "OK");
    let expected = [
        "[pmessage __key* __keyspace@0__:k set]",
        "[pmessage __key* __keyevent@0__:set k]",
        "[pmessage __key* __keyspace@0__:k expire]",
        "[pmessage __key* __keyevent@0__:expire k]",
    ];
    assert_eq!(expected.map(|_| one.read()), expected);
    assert_eq!(one.read(), "[pmessage __key* __keyspace@0__:k expired]");
    assert_eq!(one.read(), "[pmessage __key* __keyevent@0__:expired k]");
    assert_eq!(two.call("CONFIG SET notify-keyspace-events Eg"), "OK");
    assert_eq!(two.call("SELECT 3"), "OK");
    assert_eq!(two.call("SET k v"), "OK");
    assert_eq!(two.call("DEL k"), "1");
    assert_eq!(one.read(), "[pmessage __key* __keyevent@3__:del k]");
    let refused = two.call("CONFIG SET notify-keyspace-events KEX");
    assert!(refused.ends_with("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."), "{refused}");
}

#[test]
fn monitors_see_commands_but_no_secrets() {
    let server = Server::start(&["--requirepass", "secret"]);
    let (mut one, mut two) = (server.client(), server.client());
    for client in [&mut one, &mut two] {
        assert_eq!(client.call("AUTH secret"), "OK");
    }
    assert_eq!(one.call("MONITOR"), "OK");
    two.send(b"SELECT 9\r\nSET k \"a\\\"\\x00\"\r\nCONFIG GET port\r\nAUTH secret\r\nMULTI\r\nGET k\r\nEXEC\r\nGET\r\n");
    let shown = [
        "\"SELECT\" \"9\"",
        "\"SET\" \"k\" \"a\\\"\\x00\"",
        "\"AUTH\" \"(redacted)\"",
        "\"MULTI\"",
        "\"GET\" \"k\"",
        "\"EXEC\"",
    ];
    for expected in shown {
        let line = one.read();
        let (head, command) = line.split_once("] ").expect("a line of MONITOR");
        assert_eq!(command, expected);
        assert!(head.contains(" [9 127.0.0.1:"), "{head}");
    }
    assert_eq!(one.call("GET k"), "-ERR Replica can't interact with the keyspace");
    assert_eq!(one.call("RESET"), "RESET");
    assert_eq!(one.call("AUTH secret"), "OK");
    assert_eq!(one.call("SELECT 9"), "OK");
    assert!(one.call("GET k").starts_with("a\""));
}
