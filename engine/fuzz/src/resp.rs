//! Any bytes as a client's requests and as a server's replies: no panic, and requests that come in
//! pieces are the requests that come at once.

use cairn_engine::codec::resp::replies::{Decoded, decode};
use cairn_engine::codec::resp::{Parsed, Parser, ProtocolError, RequestLimits};

/// All commands in `data`, given in pieces of `step` bytes, and what stopped the parser.
fn requests(data: &[u8], step: usize, limits: &RequestLimits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut parser = Parser::default();
    let (mut commands, mut args) = (Vec::new(), Vec::new());
    let mut buf = Vec::new();
    let (mut start, mut taken) = (0, 0);
    loop {
        args.clear();
        match parser.next(&mut buf, start, limits, &mut args) {
            Parsed::Command { end } => {
                assert!(end > start && end <= buf.len());
                commands.push(args.iter().map(|arg| arg.of(&buf).to_vec()).collect());
                start = end;
            }
            Parsed::NeedMore { missing } => {
                assert!(missing > 0 && args.is_empty());
                if taken == data.len() {
                    return (commands, None);
                }
                // What was parsed may go, as a connection lets it go.
                buf.drain(..start);
                start = 0;
                let end = (taken + step).min(data.len());
                buf.extend_from_slice(&data[taken..end]);
                taken = end;
            }
            Parsed::Error(error) => return (commands, Some(error)),
        }
    }
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let Some((data, [flags, step])) = data.split_last_chunk::<2>() else { return };
    let limits = RequestLimits {
        bulk_bytes: if flags & 1 == 0 { 512 << 20 } else { 64 },
        args: if flags & 2 == 0 { 1 << 20 } else { 8 },
        is_authenticated: flags & 4 == 0,
    };
    let step = usize::from(*step).max(1) + data.len() / 256;
    assert_eq!(requests(data, data.len().max(1), &limits), requests(data, step, &limits));

    let mut rest = data;
    while let Decoded::Reply(nodes, len) = decode(rest) {
        assert!(len > 0 && len <= rest.len() && !nodes.is_empty());
        assert!(!matches!(decode(&rest[..len - 1]), Decoded::Reply(..)), "a reply that ends before its end");
        rest = &rest[len..];
    }
}
