//! What goes over the wire: requests whole and in pieces, and what is no request.

use crate::client::{Client, Server, request};

#[test]
fn inline_and_pipelined_commands() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send(b"PING\r\n\r\nECHO 'a b'\r\nSET k \"\\x41\\n\"\nGET k\r\n");
    assert_eq!((0..4).map(|_| client.read()).collect::<Vec<_>>(), ["PONG", "a b", "OK", "A\n"]);
    let many = request(&[b"INCR", b"n"]).repeat(5000);
    client.send(&many);
    for i in 1..=5000 {
        assert_eq!(client.read(), i.to_string());
    }
}

#[test]
fn a_command_may_be_cut_anywhere() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let bytes = [request(&[b"SET", b"key", b"a value\r\n"]), b"GET key\r\n".to_vec()].concat();
    for cut in 0..bytes.len() {
        client.send(&bytes[..cut]);
        // Another client's answer says that the first part has been read.
        assert_eq!(server.client().call("PING"), "PONG");
        client.send(&bytes[cut..]);
        assert_eq!((client.read().as_str(), client.read().as_str()), ("OK", "a value\r\n"), "cut at {cut}");
    }
}

#[test]
fn big_values_come_and_go() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let value: Vec<u8> = (0..20_000_000u32).map(|i| (i % 251) as u8).collect();
    let bytes = [request(&[b"SET", b"big", &value]), request(&[b"STRLEN", b"big"])].concat();
    for piece in bytes.chunks(300_000) {
        client.send(piece);
    }
    assert_eq!((client.read().as_str(), client.read().as_str()), ("OK", "20000000"));
    client.send(&request(&[b"GET", b"big"]).repeat(3));
    let mut other = server.client();
    assert_eq!(other.call("PING"), "PONG", "a client that does not read holds up nobody");
    for _ in 0..3 {
        assert_eq!(client.read(), String::from_utf8_lossy(&value));
    }
}

#[test]
fn who_breaks_the_protocol_is_told_and_let_go() {
    let server = Server::start(&[]);
    let end = |bytes: &[u8]| {
        let mut client: Client = server.client();
        client.send(bytes);
        client.read_to_end()
    };
    let error = |text: &str| format!("-ERR Protocol error: {text}\\r\\n");
    assert_eq!(end(b"*x\r\n"), error("invalid multibulk length"));
    assert_eq!(end(b"*3000000000\r\n"), error("invalid multibulk length"));
    assert_eq!(end(b"*1\r\nPING\r\n"), error("expected \\'$\\', got \\'P\\'"));
    assert_eq!(end(b"*1\r\n$-5\r\n"), error("invalid bulk length"));
    assert_eq!(end(b"*1\r\n$2000000000\r\n"), error("invalid bulk length"));
    assert_eq!(end(b"PING \"\r\n"), error("unbalanced quotes in request"));
    assert_eq!(end(&[b'a'; 70_000]), error("too big inline request"));
    let answered = end(b"PING\r\n*1\r\n$4\r\nPING\r\n*x\r\nPING\r\n");
    assert_eq!(answered, format!("+PONG\\r\\n+PONG\\r\\n{}", error("invalid multibulk length")));
    assert_eq!(end(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"), "", "a browser is not answered");
    assert!(server.log().contains("SECURITY ATTACK"));
}

#[test]
fn strangers_cannot_make_us_wait_for_much() {
    let server = Server::start(&["--requirepass", "secret"]);
    let end = |bytes: &[u8]| {
        let mut client = server.client();
        client.send(bytes);
        client.read_to_end()
    };
    assert_eq!(end(b"*11\r\n"), "-ERR Protocol error: unauthenticated multibulk length\\r\\n");
    assert_eq!(end(b"*1\r\n$16385\r\n"), "-ERR Protocol error: unauthenticated bulk length\\r\\n");
    // With the password in front, the same requests are fine.
    let mut client = server.client();
    client.send(&request(&[b"AUTH", b"secret"]));
    client.send(&request(&[b"DEL" as &[u8]].into_iter().chain([b"k" as &[u8]; 20]).collect::<Vec<_>>()));
    client.send(&request(&[b"ECHO", &[b'x'; 20_000]]));
    assert_eq!((client.read().as_str(), client.read().as_str()), ("OK", "0"));
    assert_eq!(client.read().len(), 20_000);
}

#[test]
fn unknown_commands_are_told_with_their_arguments() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.call("foo"), "-ERR unknown command 'foo', with args beginning with: ");
    assert_eq!(client.call("foo a b"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
    let long = "x".repeat(300);
    let cut = "x".repeat(128);
    assert_eq!(
        client.call(&format!("{long} {long} b")),
        format!("-ERR unknown command '{cut}', with args beginning with: '{cut}' ")
    );
    assert_eq!(client.call("get"), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(client.call("client"), "-ERR wrong number of arguments for 'client' command");
    assert_eq!(client.call("client setname"), "-ERR wrong number of arguments for 'client|setname' command");
    assert_eq!(client.call("client foo"), "-ERR unknown subcommand 'foo'. Try CLIENT HELP.");
    assert_eq!(client.call("a\r\nb"), "-ERR unknown command 'a  b', with args beginning with: ");
}

#[test]
fn errors_showed_words_past_their_first_nul() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut told = |words: &[&[u8]]| client.call_tree(words).text().to_owned();
    let args = "', with args beginning with: ";
    assert_eq!(told(&[b"fo\0o", b"a\0b", b"c"]), format!("-ERR unknown command 'fo{args}'a' 'c' "));
    assert_eq!(told(&[b"\0"]), format!("-ERR unknown command '{args}"));
    assert_eq!(told(&[b"client", b"fo\0o"]), "-ERR unknown subcommand 'fo'. Try CLIENT HELP.");
    assert_eq!(told(&[b"hello", b"3", b"x\0y"]), "-ERR Syntax error in HELLO option 'x'");
    assert_eq!(told(&[b"client", b"kill", b"type", b"a\0b"]), "-ERR Unknown client type 'a'");
    let unknown = "-ERR Unknown option or number of arguments for CONFIG SET - 'po'";
    assert_eq!(told(&[b"config", b"set", b"po\0rt", b"1"]), unknown);
    assert_eq!(told(&[b"client", b"setinfo", b"a\0b", b"x"]), "-ERR Unrecognized option 'a'");
}

#[test]
fn quit_answers_what_came_before() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send(b"PING\r\nQUIT\r\nPING\r\n");
    assert_eq!(client.read_to_end(), "+PONG\\r\\n+OK\\r\\n");
}
