//! A decoder of replies, for clients and tests: bytes to a flat list of nodes, never recursive.
//!
//! Knows every RESP2 and RESP3 type, attributes and streamed (`?`) lengths aside, which no server of
//! ours sends. Behaviour: the RESP3 specification.

use memchr::memchr;

use crate::base::num;

/// A reply. Bytes are borrowed from what was decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// `+`
    Simple(&'a [u8]),
    /// `-`, and RESP3's `!`
    Error(&'a [u8]),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(&'a [u8]),
    /// `$-1`, `*-1`, `_`
    Null,
    /// `*`: so many replies follow.
    Array(usize),
    /// `%`: twice as many replies follow.
    Map(usize),
    /// `~`
    Set(usize),
    /// `>`
    Push(usize),
    /// `,` as it was written.
    Double(&'a [u8]),
    /// `#`
    Bool(bool),
    /// `(`
    BigNumber(&'a [u8]),
    /// `=`: the text without its three-letter kind.
    Verbatim(&'a [u8]),
}

impl Node<'_> {
    /// How many replies belong to this one and follow it.
    fn children(&self) -> usize {
        match self {
            Node::Array(n) | Node::Set(n) | Node::Push(n) => *n,
            Node::Map(n) => n.saturating_mul(2),
            _ => 0,
        }
    }
}

/// What [`decode`] has found.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded<'a> {
    /// One whole reply: its nodes in the order they were written, and its bytes.
    Reply(Vec<Node<'a>>, usize),
    /// The bytes end inside it.
    NeedMore,
    /// It is no RESP, from this offset on.
    Bad(usize),
}

/// Decodes the first reply of `bytes`. O(its bytes); memory is O(nodes that are there).
#[must_use]
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    let mut nodes = Vec::new();
    let mut at = 0;
    let mut left = 1usize;
    while left > 0 {
        match node(bytes, at) {
            Some(Ok((node, end))) => {
                let Some(more) = (left - 1).checked_add(node.children()) else { return Decoded::Bad(at) };
                left = more;
                at = end;
                nodes.push(node);
            }
            Some(Err(())) => return Decoded::Bad(at),
            None => return Decoded::NeedMore,
        }
    }
    Decoded::Reply(nodes, at)
}

/// The node at `at` and where it ends. `None` if it is not all there.
fn node(bytes: &[u8], at: usize) -> Option<Result<(Node<'_>, usize), ()>> {
    let rest = &bytes[at..];
    let line_end = memchr(b'\n', rest)?;
    let line = &rest[..line_end];
    let Some((line, b'\r')) = line.split_last().map(|(last, line)| (line, *last)) else {
        return Some(Err(()));
    };
    let Some((kind, text)) = line.split_first() else { return Some(Err(())) };
    let end = at + line_end + 1;
    let simple = |node| Some(Ok((node, end)));
    let counted = |make: fn(usize) -> Node<'static>| match length(text) {
        Some(Some(n)) => Some(Ok((make(n), end))),
        Some(None) => Some(Ok((Node::Null, end))),
        None => Some(Err(())),
    };
    match kind {
        b'+' => simple(Node::Simple(text)),
        b'-' => simple(Node::Error(text)),
        b':' => Some(num::parse_i64(text).map(|n| (Node::Int(n), end)).ok_or(())),
        b'_' if text.is_empty() => simple(Node::Null),
        b',' => simple(Node::Double(text)),
        b'(' => simple(Node::BigNumber(text)),
        b'#' if text == b"t" || text == b"f" => simple(Node::Bool(text == b"t")),
        b'*' => counted(Node::Array),
        b'%' => counted(Node::Map),
        b'~' => counted(Node::Set),
        b'>' => counted(Node::Push),
        b'$' | b'=' | b'!' => blob(bytes, end, *kind, text),
        _ => Some(Err(())),
    }
}

/// A length; `Some(None)` for the null's -1.
fn length(text: &[u8]) -> Option<Option<usize>> {
    match num::parse_i64(text)? {
        -1 => Some(None),
        n => usize::try_from(n).ok().map(Some),
    }
}

fn blob<'a>(bytes: &'a [u8], at: usize, kind: u8, text: &[u8]) -> Option<Result<(Node<'a>, usize), ()>> {
    let len = match length(text) {
        Some(Some(len)) => len,
        Some(None) => return Some(Ok((Node::Null, at))),
        None => return Some(Err(())),
    };
    let Some(end) = at.checked_add(len).and_then(|end| end.checked_add(2)) else { return Some(Err(())) };
    let body = bytes.get(at..end)?;
    let Some(body) = body.strip_suffix(b"\r\n") else { return Some(Err(())) };
    let node = match kind {
        b'$' => Node::Bulk(body),
        b'!' => Node::Error(body),
        _ => match body.get(4..) {
            Some(text) if body[3] == b':' => Node::Verbatim(text),
            _ => return Some(Err(())),
        },
    };
    Some(Ok((node, end)))
}

#[cfg(test)]
mod tests;
