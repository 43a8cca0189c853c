use super::{Protocol, Reply};

/// What `write` gives in RESP2 and in RESP3.
fn both(write: impl Fn(&mut Reply)) -> (String, String) {
    let text = |protocol| {
        let mut reply = Reply::new(protocol);
        write(&mut reply);
        String::from_utf8(reply.take()).expect("the tests write text")
    };
    (text(Protocol::Resp2), text(Protocol::Resp3))
}

fn check(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
    assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
}

#[test]
fn each_type_in_both_protocols() {
    check(Reply::ok, "+OK\r\n", "+OK\r\n");
    check(|r| r.int(-12), ":-12\r\n", ":-12\r\n");
    check(|r| r.int(7), ":7\r\n", ":7\r\n");
    check(|r| r.int(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
    check(|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
    check(|r| r.bulk(&[b'x'; 12]), "$12\r\nxxxxxxxxxxxx\r\n", "$12\r\nxxxxxxxxxxxx\r\n");
    check(|r| r.bulk_int(-5), "$2\r\n-5\r\n", "$2\r\n-5\r\n");
    check(|r| r.bulk_display("0123456789ab"), "$12\r\n0123456789ab\r\n", "$12\r\n0123456789ab\r\n");
    check(|r| r.bulk_parts(&[b"a", b"bc"]), "$3\r\nabc\r\n", "$3\r\nabc\r\n");
    check(Reply::null, "$-1\r\n", "_\r\n");
    check(Reply::null_array, "*-1\r\n", "_\r\n");
    check(|r| r.map(2), "*4\r\n", "%2\r\n");
    check(|r| r.set(100), "*100\r\n", "~100\r\n");
    check(|r| r.push(3), "*3\r\n", ">3\r\n");
    check(|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    check(|r| r.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    check(|r| r.bool(true), ":1\r\n", "#t\r\n");
    check(
        |r| r.big_number("123456789012345678901"),
        "$21\r\n123456789012345678901\r\n",
        "(123456789012345678901\r\n",
    );
    check(|r| r.verbatim(b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
}

#[test]
fn an_error_stays_on_its_line() {
    check(|r| r.error("ERR a\r\n+OK"), "-ERR a  +OK\r\n", "-ERR a  +OK\r\n");
}

#[test]
fn deferred_lengths_of_any_size() {
    for len in [0usize, 9, 10, 11, 99, 100, 12345] {
        let mut reply = Reply::new(Protocol::Resp3);
        reply.ok();
        let outer = reply.begin_array();
        let inner = reply.begin_array();
        for i in 0..len {
            reply.int(i as i64);
        }
        reply.end_set(inner, len);
        reply.end_array(outer, 1);
        let items: String = (0..len).map(|i| format!(":{i}\r\n")).collect();
        let expected = format!("+OK\r\n*1\r\n~{len}\r\n{items}");
        assert_eq!(reply.bytes(), expected.as_bytes());
    }
}

#[test]
fn a_deferred_map_counts_pairs() {
    let write = |r: &mut Reply| {
        let map = r.begin_array();
        r.bulk(b"a");
        r.int(1);
        r.end_map(map, 1);
    };
    check(write, "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n");
}
