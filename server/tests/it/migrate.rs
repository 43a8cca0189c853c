//! MIGRATE, between two servers.

use crate::client::Server;

#[test]
fn keys_move_to_another_server() {
    let (here, there) = (Server::start(&[]), Server::start(&[]));
    let (mut a, mut b) = (here.client(), there.client());
    let to = format!("MIGRATE 127.0.0.1 {}", there.port);
    a.call("SET k v PX 60000");
    a.call("RPUSH l 1 2");
    assert_eq!(a.call(&format!("{to} nothing 0 1000")), "NOKEY");
    assert_eq!(a.call(&format!("{to} k 3 1000 COPY")), "OK");
    assert_eq!(a.call("EXISTS k"), "1");
    b.call("SELECT 3");
    assert_eq!(b.call("GET k"), "v");
    assert!(b.call("PTTL k").parse::<i64>().unwrap() > 1000);
    assert_eq!(
        a.call(&format!("{to} k 3 1000")),
        "-ERR Target instance replied with error: BUSYKEY Target key name already exists."
    );
    assert_eq!(a.call("GET k"), "v");
    assert_eq!(a.call_words(&migrate(there.port, &[b"REPLACE", b"KEYS", b"k", b"l", b"nothing"])), "OK");
    assert_eq!(a.call("EXISTS k l"), "0");
    assert_eq!(b.call("LRANGE l 0 -1"), "[1 2]");
    assert!(a.call("INFO stats").contains("migrate_cached_sockets:1\r\n"));
}

/// The form with many keys, to database 3.
fn migrate<'a>(port: u16, more: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let port: &'a [u8] = port.to_string().into_bytes().leak();
    let mut words: Vec<&[u8]> = vec![b"MIGRATE", b"127.0.0.1", port, b"", b"3", b"1000"];
    words.extend(more);
    words
}

#[test]
fn who_is_not_there_or_does_not_answer() {
    let server = Server::start(&["--requirepass", "secret"]);
    let from = Server::start(&[]);
    let mut client = from.client();
    client.call("SET k v");
    assert_eq!(
        client.call("MIGRATE 127.0.0.1 1 k 0 1000"),
        "-IOERR error or timeout connecting to the client"
    );
    let to = format!("MIGRATE 127.0.0.1 {}", server.port);
    assert_eq!(
        client.call(&format!("{to} k 0 1000")),
        "-ERR Target instance replied with error: NOAUTH Authentication required."
    );
    assert!(client.call(&format!("{to} k 0 1000 AUTH wrong")).contains("replied with error: WRONGPASS"));
    assert_eq!(client.call(&format!("{to} k 0 1000 AUTH")), "-ERR syntax error");
    assert_eq!(client.call(&format!("{to} k 0 1000 AUTH2 default")), "-ERR syntax error");
    assert_eq!(client.call(&format!("{to} k 0 x")), "-ERR value is not an integer or out of range");
    assert_eq!(client.call("EXISTS k"), "1");
    assert_eq!(client.call(&format!("{to} k 0 {} AUTH2 default secret", i64::MAX)), "OK");
    assert_eq!(client.call("EXISTS k"), "0");
    // A listener that never accepts a request.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    client.call("SET k v");
    let port = silent.local_addr().unwrap().port();
    assert_eq!(
        client.call(&format!("MIGRATE 127.0.0.1 {port} k 0 100")),
        "-IOERR error or timeout reading to target instance"
    );
    let text = "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string";
    assert_eq!(client.call("MIGRATE 127.0.0.1 1 k 0 100 KEYS a"), text);
}
