//! DEBUG.

use crate::client::Server;

fn server() -> Server {
    Server::start(&["--enable-debug-command", "yes"])
}

#[test]
fn facts_about_values() {
    let server = server();
    let mut client = server.client();
    assert_eq!(client.call("SET s 12"), "OK");
    let object = client.call("DEBUG OBJECT s");
    assert!(object.starts_with("Value at:0x0 refcount:1 encoding:int serializedlength:"), "{object}");
    assert!(object.contains(" lru_seconds_idle:0"), "{object}");
    assert_eq!(client.call("CONFIG SET list-max-listpack-size 2"), "OK");
    assert_eq!(client.call("RPUSH l a b c"), "3");
    let object = client.call("DEBUG OBJECT l");
    let facts = " ql_nodes:2 ql_avg_node:1.50 ql_listpack_max:2 ql_compressed:0 ql_uncompressed_size:";
    assert!(object.contains(facts), "{object}");
    assert!(!client.call("DEBUG OBJECT l FAST").contains("serializedlength"));
    assert_eq!(client.call("DEBUG OBJECT nothing"), "-ERR no such key");
    assert!(client.call("DEBUG HTSTATS 0").contains(" number of entries: 2\n"));
    assert_eq!(client.call("DEBUG HTSTATS 99"), "-ERR Out of range database");
    assert_eq!(
        client.call("DEBUG HTSTATS-KEY l"),
        "-ERR The value stored at the specified key is not represented using an hash table"
    );
}

#[test]
fn large_elements_get_nodes_of_their_own() {
    let server = server();
    let mut client = server.client();
    assert_eq!(client.call("CONFIG SET list-max-listpack-size 2"), "OK");
    assert_eq!(client.call("DEBUG QUICKLIST-PACKED-THRESHOLD 3b"), "OK");
    assert_eq!(client.call("RPUSH l a bbb c"), "3");
    assert!(client.call("DEBUG OBJECT l").contains(" ql_nodes:3 "));
    // Other settings leave it as it is.
    assert_eq!(client.call("CONFIG SET hz 11"), "OK");
    assert_eq!(client.call("RPUSH l ddd"), "4");
    assert!(client.call("DEBUG OBJECT l").contains(" ql_nodes:4 "));
    assert_eq!(client.call("LRANGE l 0 -1"), "[a bbb c ddd]");
    assert_eq!(client.call("DEBUG QUICKLIST-PACKED-THRESHOLD 0"), "OK");
    assert_eq!(
        client.call("DEBUG QUICKLIST-PACKED-THRESHOLD 4gb"),
        "-ERR argument must be a memory value bigger than 1 and smaller than 4gb"
    );
}

#[test]
fn errors_and_ends() {
    let mut server = server();
    let mut client = server.client();
    assert_eq!(client.call_words(&[b"DEBUG", b"ERROR", b"MY\r\nown"]), "-MY  own");
    assert_eq!(
        client.call("DEBUG RELOAD nope"),
        "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."
    );
    let text = "-ERR unknown subcommand or wrong number of arguments for 'NOPE'. Try DEBUG HELP.";
    assert_eq!(client.call("DEBUG NOPE"), text);
    client.send(b"DEBUG SEGFAULT\r\n");
    assert!(!server.wait().success());
}

#[test]
fn the_last_command_is_the_one_that_the_client_sent() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (server.client(), server.client());
    let last = |other: &mut crate::client::Client| {
        let list = other.call("CLIENT LIST");
        let line = list.lines().find(|line| line.starts_with("id=") && !line.contains("cmd=client|list"));
        let word = line.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("cmd=")));
        word.expect("the first client").to_owned()
    };
    client.call("MULTI");
    client.call("GET a");
    assert_eq!(last(&mut other), "get");
    client.call("EXEC");
    assert_eq!(last(&mut other), "exec");
    client.call("NOSUCH");
    assert_eq!(last(&mut other), "NULL");
}

#[test]
fn a_checksum_that_does_not_fit_can_be_overlooked() {
    let server = server();
    let mut client = server.client();
    // A string of one byte, RDB version 11, and no checksum.
    let payload = b"\x00\x01x\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let restore: [&[u8]; 4] = [b"RESTORE", b"k", b"0", payload];
    assert!(client.call_words(&restore).contains("DUMP payload version or checksum are wrong"));
    assert_eq!(client.call("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1"), "OK");
    assert_eq!(client.call_words(&restore), "OK");
    assert_eq!(client.call("GET k"), "x");
}
