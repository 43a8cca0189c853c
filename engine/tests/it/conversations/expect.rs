//! Replies: how conversations write them, and whether one that came is meant.
//!
//! `OK` and `+text` a simple string; `-text` an error, to the end of the line; `7`, `5..9` an integer,
//! exact or in a range; `"text"`, `{x*9}` a bulk string; `nil` and `nil*` the null, which in RESP2 is a
//! bulk string or an array; `,1.5` a double, a bulk string in RESP2; `[a, b]` an array, `?[a, b]` one in
//! any order, `~[a, b]` a set, an array in RESP2; `{a: b}` a map, a flat array in RESP2; `^{a: b}`
//! a map in order, pairs in an array in RESP2; `^[[a, b]]` arrays in an array, flat in RESP2; `*` anything; `$name` a bulk string to be remembered.

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::resp::Protocol;
use cairn_engine::codec::resp::replies::{Decoded, Node, decode};

use super::script::{Variables, Word, parse_template, unquote};

/// A reply as a tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Double(Vec<u8>),
    Null,
    Array(Vec<Tree>),
    Set(Vec<Tree>),
    /// Keys and values by turns.
    Map(Vec<Tree>),
    /// Nothing that a data command answers.
    Other,
}

impl Tree {
    /// Decodes one whole reply. `None` if it is none, or not all of the bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Tree> {
        let Decoded::Reply(nodes, len) = decode(bytes) else { return None };
        let mut nodes = nodes.into_iter();
        let tree = Tree::build(&mut nodes)?;
        (len == bytes.len() && nodes.next().is_none()).then_some(tree)
    }

    fn build<'a>(nodes: &mut impl Iterator<Item = Node<'a>>) -> Option<Tree> {
        let many = |n: usize, nodes: &mut _| (0..n).map(|_| Tree::build(nodes)).collect::<Option<_>>();
        Some(match nodes.next()? {
            Node::Simple(text) => Tree::Simple(text.to_vec()),
            Node::Error(text) => Tree::Error(text.to_vec()),
            Node::Int(n) => Tree::Int(n),
            Node::Bulk(text) => Tree::Bulk(text.to_vec()),
            Node::Double(text) => Tree::Double(text.to_vec()),
            Node::Null => Tree::Null,
            Node::Array(n) => Tree::Array(many(n, nodes)?),
            Node::Set(n) => Tree::Set(many(n, nodes)?),
            Node::Map(n) => Tree::Map(many(n * 2, nodes)?),
            Node::Push(_) | Node::Bool(_) | Node::BigNumber(_) | Node::Verbatim(_) => Tree::Other,
        })
    }
}

/// A reply that is hoped for.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    Anything,
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64, i64),
    Bulk(Vec<u8>),
    Double(Vec<u8>),
    Null,
    NullArray,
    Array(Vec<Expected>),
    AnyOrder(Vec<Expected>),
    Set(Vec<Expected>),
    Map(Vec<(Expected, Expected)>),
    Pairs(Vec<(Expected, Expected)>),
    Nested(Vec<Expected>),
    Capture(String),
}

impl Expected {
    /// Reads the notation, the whole of `text`.
    pub(super) fn parse(text: &str) -> Result<Expected, String> {
        if let Some(error) =
            text.strip_prefix('-').filter(|t| t.starts_with(|c: char| c.is_ascii_uppercase()))
        {
            return Ok(Expected::Error(error.as_bytes().to_vec()));
        }
        let mut rest = text;
        let expected = parse_one(&mut rest)?;
        if rest.is_empty() { Ok(expected) } else { Err(format!("behind the reply: {rest}")) }
    }

    /// The name under which the reply is to be remembered.
    pub(super) fn capture(&self) -> Option<&str> {
        match self {
            Expected::Capture(name) => Some(name),
            _ => None,
        }
    }

    /// Whether this reply is meant.
    pub(super) fn matches(&self, tree: &Tree, protocol: Protocol) -> bool {
        let is_resp3 = protocol == Protocol::Resp3;
        match (self, tree) {
            (Expected::Anything, _) | (Expected::Null | Expected::NullArray, Tree::Null) => true,
            (Expected::Simple(a), Tree::Simple(b))
            | (Expected::Error(a), Tree::Error(b))
            | (Expected::Bulk(a), Tree::Bulk(b)) => a == b,
            (Expected::Int(least, most), Tree::Int(n)) => (least..=most).contains(&n),
            (Expected::Double(a), Tree::Double(b)) => is_resp3 && a == b,
            (Expected::Double(a), Tree::Bulk(b)) => !is_resp3 && a == b,
            (Expected::Array(a), Tree::Array(b)) => in_order(a, b, protocol),
            (Expected::AnyOrder(a), Tree::Array(b)) => in_any_order(a, b, protocol),
            (Expected::Set(a), Tree::Set(b)) => is_resp3 && in_any_order(a, b, protocol),
            (Expected::Set(a), Tree::Array(b)) => !is_resp3 && in_any_order(a, b, protocol),
            (Expected::Map(a), Tree::Map(b)) => is_resp3 && same_pairs(a, b, protocol),
            (Expected::Map(a), Tree::Array(b)) => !is_resp3 && same_pairs(a, b, protocol),
            (Expected::Pairs(a), Tree::Map(b)) => is_resp3 && are_pairs(a, b.chunks(2), protocol),
            (Expected::Pairs(a), Tree::Array(b)) => {
                let pairs = b.iter().map(|pair| match pair {
                    Tree::Array(pair) => pair.as_slice(),
                    _ => &[],
                });
                !is_resp3 && are_pairs(a, pairs, protocol)
            }
            (Expected::Nested(a), Tree::Array(b)) if is_resp3 => in_order(a, b, protocol),
            (Expected::Nested(a), Tree::Array(b)) => {
                let flat: Vec<Expected> = a.iter().flat_map(Expected::items).cloned().collect();
                in_order(&flat, b, protocol)
            }
            _ => false,
        }
    }

    /// Whether a null at the top has the form that it should have: RESP2 has two.
    pub(super) fn null_form_fits(&self, bytes: &[u8], protocol: Protocol) -> bool {
        match self {
            Expected::Null if protocol == Protocol::Resp2 => bytes == b"$-1\r\n",
            Expected::NullArray if protocol == Protocol::Resp2 => bytes == b"*-1\r\n",
            _ => true,
        }
    }

    fn items(&self) -> &[Expected] {
        match self {
            Expected::Array(items) => items,
            _ => &[],
        }
    }
}

fn in_order(expected: &[Expected], trees: &[Tree], protocol: Protocol) -> bool {
    expected.len() == trees.len() && expected.iter().zip(trees).all(|(e, t)| e.matches(t, protocol))
}

fn in_any_order(expected: &[Expected], trees: &[Tree], protocol: Protocol) -> bool {
    let mut left: Vec<&Tree> = trees.iter().collect();
    let mut take = |e: &Expected| {
        let at = left.iter().position(|t| e.matches(t, protocol));
        at.map(|at| left.swap_remove(at)).is_some()
    };
    expected.len() == trees.len() && expected.iter().all(&mut take)
}

fn same_pairs(expected: &[(Expected, Expected)], trees: &[Tree], protocol: Protocol) -> bool {
    let mut left: Vec<&[Tree]> = trees.chunks(2).collect();
    let mut take = |(key, value): &(Expected, Expected)| {
        let is_it = |pair: &&[Tree]| {
            pair.len() == 2 && key.matches(&pair[0], protocol) && value.matches(&pair[1], protocol)
        };
        let at = left.iter().position(is_it);
        at.map(|at| left.swap_remove(at)).is_some()
    };
    expected.len() * 2 == trees.len() && expected.iter().all(&mut take)
}

fn are_pairs<'a>(
    expected: &[(Expected, Expected)],
    pairs: impl ExactSizeIterator<Item = &'a [Tree]>,
    protocol: Protocol,
) -> bool {
    expected.len() == pairs.len()
        && expected.iter().zip(pairs).all(|((key, value), pair)| {
            pair.len() == 2 && key.matches(&pair[0], protocol) && value.matches(&pair[1], protocol)
        })
}

fn parse_one(rest: &mut &str) -> Result<Expected, String> {
    let text = *rest;
    if let Some(quoted) = text.strip_prefix('"') {
        let (bytes, behind) = unquote(quoted)?;
        *rest = behind;
        return Ok(Expected::Bulk(bytes));
    }
    for (open, make) in LISTS {
        if let Some(inner) = text.strip_prefix(open) {
            *rest = inner;
            return Ok(make(parse_list(rest, ']')?));
        }
    }
    if let Some(inner) = text.strip_prefix("^{") {
        *rest = inner;
        return Ok(Expected::Pairs(parse_pairs(rest)?));
    }
    if let Some(inner) = text.strip_prefix('{') {
        if let Some((template, behind)) = inner.split_once('}')
            && let Some(word @ Word::Repeat(..)) = parse_template(template)
        {
            *rest = behind;
            return Ok(Expected::Bulk(word.expand(&Variables::new(), UnixMs(0)).concat()));
        }
        *rest = inner;
        return Ok(Expected::Map(parse_pairs(rest)?));
    }
    // The comma that a double begins with does not end it.
    let end = text.char_indices().skip(1).find(|(_, c)| matches!(c, ',' | ']' | '}' | ':'));
    let end = end.map_or(text.len(), |(at, _)| at);
    let (word, behind) = text.split_at(end);
    *rest = behind;
    parse_scalar(word)
}

type MakeList = fn(Vec<Expected>) -> Expected;

const LISTS: [(&str, MakeList); 4] =
    [("[", Expected::Array), ("?[", Expected::AnyOrder), ("~[", Expected::Set), ("^[", Expected::Nested)];

fn parse_scalar(word: &str) -> Result<Expected, String> {
    let bad = || format!("{word} is no reply");
    let bytes = |text: &str| text.as_bytes().to_vec();
    Ok(match word {
        "OK" => Expected::Simple(bytes(word)),
        "nil" => Expected::Null,
        "nil*" => Expected::NullArray,
        "*" => Expected::Anything,
        _ => {
            if let Some(text) = word.strip_prefix('+') {
                Expected::Simple(bytes(text))
            } else if let Some(text) = word.strip_prefix(',') {
                Expected::Double(bytes(text))
            } else if let Some(name) = word.strip_prefix('$') {
                Expected::Capture(name.to_owned())
            } else {
                let (least, most) = word.split_once("..").unwrap_or((word, word));
                Expected::Int(least.parse().map_err(|_| bad())?, most.parse().map_err(|_| bad())?)
            }
        }
    })
}

fn parse_list(rest: &mut &str, close: char) -> Result<Vec<Expected>, String> {
    let mut items = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix(close) {
            *rest = behind;
            return Ok(items);
        }
        if rest.is_empty() {
            return Err("a bracket is not closed".to_owned());
        }
        items.push(parse_one(rest)?);
        *rest = rest.trim_start();
        *rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn parse_pairs(rest: &mut &str) -> Result<Vec<(Expected, Expected)>, String> {
    let mut pairs = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix('}') {
            *rest = behind;
            return Ok(pairs);
        }
        let key = parse_one(rest)?;
        *rest = rest.trim_start().strip_prefix(':').ok_or("a key without value")?.trim_start();
        let value = parse_one(rest)?;
        pairs.push((key, value));
        *rest = rest.trim_start();
        *rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[test]
fn the_notation_tells_replies_apart() {
    let check = |notation: &str, resp2: &[u8], resp3: &[u8]| {
        let expected = Expected::parse(notation).unwrap();
        for (protocol, right, wrong) in [(Protocol::Resp2, resp2, resp3), (Protocol::Resp3, resp3, resp2)] {
            let fits = |bytes| {
                let tree = Tree::decode(bytes).unwrap();
                expected.matches(&tree, protocol) && expected.null_form_fits(bytes, protocol)
            };
            assert!(fits(right), "{notation}");
            assert!(right == wrong || !fits(wrong), "{notation} takes the other protocol's");
        }
    };
    check("OK", b"+OK\r\n", b"+OK\r\n");
    check("-ERR no, [x]", b"-ERR no, [x]\r\n", b"-ERR no, [x]\r\n");
    check("-5..7", b":7\r\n", b":7\r\n");
    check("[1, \"a]\", ,1.5]", b"*3\r\n:1\r\n$2\r\na]\r\n$3\r\n1.5\r\n", b"*3\r\n:1\r\n$2\r\na]\r\n,1.5\r\n");
    check("~[\"a\", \"b\"]", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n", b"~2\r\n$1\r\na\r\n$1\r\nb\r\n");
    check(
        "{\"a\": 1, \"b\": nil}",
        b"*4\r\n$1\r\nb\r\n$-1\r\n$1\r\na\r\n:1\r\n",
        b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n",
    );
    check("^[[\"a\", ,2]]", b"*2\r\n$1\r\na\r\n$1\r\n2\r\n", b"*1\r\n*2\r\n$1\r\na\r\n,2\r\n");
    check("^{\"a\": 1}", b"*1\r\n*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n");
    check("{x*3}", b"$3\r\nxxx\r\n", b"$3\r\nxxx\r\n");
    assert!(!Expected::parse("nil").unwrap().null_form_fits(b"*-1\r\n", Protocol::Resp2));
    assert!(
        !Expected::parse("?[1, 1]")
            .unwrap()
            .matches(&Tree::Array(vec![Tree::Int(1), Tree::Int(2)]), Protocol::Resp2)
    );
    for bad in ["[1", "{\"a\"}", "1 2", "\"a", "what"] {
        assert!(Expected::parse(bad).is_err(), "{bad}");
    }
}
