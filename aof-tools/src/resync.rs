//! Where a file goes on behind damage: the next place at which a command, or a checked block, must start.
//!
//! A value may hold the text of commands, so one command is not enough: it must be one that servers know,
//! with a right number of arguments, and be followed by more of the kind, or by the end of the file. In a
//! file of checked blocks only a block whose sum fits counts: the sum is over the block's place, too, so
//! nothing else fits there. Memory is bounded by [`MOST_AHEAD`].

use std::io;

use cairn_engine::codec::aof::block::{self, Reader};
use cairn_engine::codec::aof::record::{self, Content, Parser, Step};

use crate::feed::Feed;
use crate::vocabulary::{Vocabulary, is_of_module};

/// So many commands in a row show that they are some. More would cost what is good between two damages.
const CHAIN: usize = 2;
/// A record or a block behind damage that is longer is not found.
const MOST_AHEAD: u64 = 32 << 20;
/// What is looked at at a time.
const WINDOW: u64 = 1 << 20;
/// Bytes that may be added to sums of blocks for each byte that is searched, and at the least: text that
/// looks like blocks must not take for ever.
const MOST_SUMMED: (u64, u64) = (16, 64 << 20);

/// Whether commands start somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plausible {
    Yes,
    No,
    /// So many bytes must be at hand to tell.
    More(u64),
}

/// Whether commands start with the first of these bytes.
pub(crate) fn plausible(vocabulary: &Vocabulary, bytes: &[u8], is_last: bool) -> Plausible {
    let mut parser = Parser::new(0, None);
    let (mut at, mut commands) = (0, 0);
    while commands < CHAIN {
        let record = match parser.next(&bytes[at..], is_last) {
            Ok(Step::Record(record)) => record,
            Ok(Step::More { at_least }) => return Plausible::More((at as u64).saturating_add(at_least)),
            Ok(Step::Done) if commands > 0 => return Plausible::Yes,
            Ok(Step::Done) => return Plausible::No,
            Err(error) if commands > 0 && error.is_truncation() => return Plausible::Yes,
            Err(_) => return Plausible::No,
        };
        let is_right = match record.content {
            Content::Command(argv) => {
                commands += 1;
                match vocabulary.find(argv.name()) {
                    Some(known) => known.fault(argv.len() as u64, argv.get(1)).is_none(),
                    None => is_of_module(argv.name()),
                }
            }
            Content::Annotation(text) => record::timestamp(text).is_some() || text.starts_with(b"CK:"),
        };
        if !is_right {
            return Plausible::No;
        }
        at = record.end as usize;
    }
    Plausible::Yes
}

/// Goes on to the next place where a file can be read on, at least `1` byte ahead: a block if `in_blocks`,
/// else a command, a timestamp or a block. False if there is none; the feed is at its end then.
///
/// # Errors
/// What the system says.
pub(crate) fn resync(vocabulary: &Vocabulary, feed: &mut impl Feed, in_blocks: bool) -> io::Result<bool> {
    let from = feed.at();
    let mut summed = 0u64;
    feed.fill(WINDOW)?;
    if feed.bytes().is_empty() {
        return Ok(false);
    }
    feed.consume(1);
    loop {
        feed.fill(WINDOW)?;
        let bytes = feed.bytes();
        let found = match in_blocks {
            true => memchr::memchr(b'#', bytes),
            false => memchr::memchr2(b'*', b'#', bytes),
        };
        let Some(at) = found else {
            let n = bytes.len();
            if feed.is_last() {
                feed.consume(n);
                return Ok(false);
            }
            feed.consume(n);
            continue;
        };
        feed.consume(at);
        let verdict = loop {
            let (bytes, is_last) = (feed.bytes(), feed.is_last());
            let verdict = match block::is_line(bytes) {
                true => block_at(feed, &mut summed, from),
                false if in_blocks && (bytes.len() >= block::PREFIX.len() || is_last) => Plausible::No,
                false if in_blocks => Plausible::More(block::PREFIX.len() as u64),
                false => plausible(vocabulary, bytes, is_last),
            };
            match verdict {
                Plausible::More(at_least) if at_least <= MOST_AHEAD && !is_last => {
                    // At least one byte more, or this would never end.
                    feed.fill(at_least.max(bytes.len() as u64 + 1))?;
                }
                verdict => break verdict,
            }
        };
        if verdict == Plausible::Yes {
            return Ok(true);
        }
        feed.consume(1);
    }
}

/// Whether a right block starts at the feed's place.
fn block_at(feed: &impl Feed, summed: &mut u64, from: u64) -> Plausible {
    let (per_byte, least) = MOST_SUMMED;
    if *summed > (feed.at() - from).saturating_mul(per_byte).saturating_add(least) {
        return Plausible::No;
    }
    match Reader::new(feed.at(), feed.end()).next(feed.bytes(), feed.is_last()) {
        Ok(block::Step::Block(block)) => {
            *summed += block.end - block.at;
            Plausible::Yes
        }
        Ok(block::Step::More { at_least }) => Plausible::More(at_least),
        Err(fault) => {
            if let block::Kind::Sum { .. } = fault.kind {
                *summed += feed.bytes().len().min(MOST_AHEAD as usize) as u64;
            }
            Plausible::No
        }
        Ok(_) => Plausible::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::InPlace;
    use cairn_engine::codec::aof::record::push_command;
    use std::io::Write;

    fn command(words: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        push_command(&mut out, words.iter().map(|word| word.as_bytes()));
        out
    }

    #[track_caller]
    fn check(bytes: &[u8], in_blocks: bool, expected: Option<usize>) {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("write");
        let mut feed = InPlace::new(&file, 0, bytes.len() as u64);
        let found = resync(&Vocabulary::new(), &mut feed, in_blocks).expect("read");
        assert_eq!(found.then_some(feed.at() as usize), expected);
        assert!(found || feed.at() == bytes.len() as u64);
    }

    #[test]
    fn commands_behind_damage_are_found() {
        let set = command(&["SET", "k", "v"]);
        let junk = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\nv\r\n";
        check(&[&junk[..], &set, &set].concat(), false, Some(junk.len()));
        check(&[&junk[..], &set].concat(), false, Some(junk.len()));
        check(&[&junk[..], &set, &set[..7]].concat(), false, Some(junk.len()));
        check(&[&[0; 5000][..], b"#TS:12\r\n", &set].concat(), false, Some(5000));
        check(junk, false, None);
        check(b"", false, None);
        // Neither a wrong name nor a wrong number of arguments is a beginning, nor what they are followed by.
        let wrong = [command(&["SETT", "k", "v"]), command(&["GET", "k", "v"])].concat();
        check(&[&junk[..], &wrong].concat(), false, None);
        check(&[&junk[..], &set, &wrong].concat(), false, None);
    }

    #[test]
    fn only_a_block_counts_among_blocks() {
        let set = command(&["SET", "k", "v"]);
        let junk = [b"#CK:12:0:0000000000000000\r\n".to_vec(), set.clone(), set.clone()].concat();
        let mut bytes = junk.clone();
        block::push_line(&mut bytes, junk.len() as u64, None, &set);
        bytes.extend_from_slice(&set);
        check(&bytes, true, Some(junk.len()));
        // The same block at another place is none.
        bytes.insert(0, b'x');
        check(&bytes, true, None);
        check(&bytes, false, Some(1 + 27));
    }
}
