use super::{Decoded, Node, decode};

#[test]
fn every_type_decodes() {
    let all: &[(&[u8], Node<'_>)] = &[
        (b"+OK\r\n", Node::Simple(b"OK")),
        (b"-ERR no\r\n", Node::Error(b"ERR no")),
        (b"!5\r\nERR x\r\n", Node::Error(b"ERR x")),
        (b":-7\r\n", Node::Int(-7)),
        (b"$3\r\na\r\n\r\n", Node::Bulk(b"a\r\n")),
        (b"$-1\r\n", Node::Null),
        (b"*-1\r\n", Node::Null),
        (b"_\r\n", Node::Null),
        (b",1.5\r\n", Node::Double(b"1.5")),
        (b"#t\r\n", Node::Bool(true)),
        (b"(123\r\n", Node::BigNumber(b"123")),
        (b"=7\r\ntxt:abc\r\n", Node::Verbatim(b"abc")),
        (b"*0\r\n", Node::Array(0)),
    ];
    for (bytes, node) in all {
        assert_eq!(decode(bytes), Decoded::Reply(vec![node.clone()], bytes.len()));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Decoded::NeedMore, "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn nesting_costs_no_stack() {
    let mut deep = b"*1\r\n".repeat(1_000_000);
    assert_eq!(decode(&deep), Decoded::NeedMore);
    deep.extend_from_slice(b":1\r\n");
    let Decoded::Reply(nodes, len) = decode(&deep) else { panic!("a whole reply") };
    assert_eq!((nodes.len(), len), (1_000_001, deep.len()));
}

#[test]
fn what_is_no_resp_is_refused_where_it_stands() {
    assert_eq!(decode(b"*2\r\n:1\r\n:x\r\n"), Decoded::Bad(8));
    assert_eq!(decode(b"$3\r\nabcde\r\n"), Decoded::Bad(0));
    assert_eq!(decode(b"$-2\r\n"), Decoded::Bad(0));
    assert_eq!(decode(b"OK\n"), Decoded::Bad(0));
    assert_eq!(decode(b"\r\n"), Decoded::Bad(0));
    assert_eq!(decode(b"%9223372036854775807\r\n"), Decoded::NeedMore);
}
