//! The bytes of commands against the plain encoder of records, whatever the lengths of words.

use std::convert::Infallible;

use super::{Batches, Word};
use crate::base::rng::Rng;
use crate::base::stream_id::StreamId;
use crate::codec::aof::record::{Content, Parser, Step, push_command};

/// Gathers commands; answers each batch, and the number of its pieces.
fn gathered(commands: &[Vec<Word<'_>>]) -> Vec<(Vec<u8>, usize)> {
    let mut all = Vec::new();
    let mut out = |pieces: &[&[u8]]| -> Result<(), Infallible> {
        all.push((pieces.concat(), pieces.len()));
        Ok(())
    };
    let mut batches = Batches::new(&mut out);
    for words in commands {
        let Ok(()) = batches.command(words);
    }
    let Ok(()) = batches.end();
    all
}

fn plainly(commands: &[Vec<Word<'_>>]) -> Vec<u8> {
    let mut out = Vec::new();
    for words in commands {
        let texts: Vec<Vec<u8>> = words.iter().map(Word::to_vec).collect();
        push_command(&mut out, texts.iter().map(Vec::as_slice));
    }
    out
}

/// Every batch is whole commands.
fn is_whole(batch: &[u8]) -> bool {
    let mut parser = Parser::new(0, Some(batch.len() as u64));
    loop {
        match parser.next(&batch[parser.at() as usize..], true) {
            Ok(Step::Record(record)) => assert!(matches!(record.content, Content::Command(_))),
            Ok(Step::Done) => return true,
            Ok(Step::More { .. }) | Err(_) => return false,
        }
    }
}

#[test]
fn batches_are_the_commands_one_after_the_other() {
    let bytes = vec![b'x'; 300_000];
    let joined: [&[u8]; 4] = [b"head", b"", &bytes[..70_000], b"\r\n"];
    let mut rng = Rng::new(7);
    for _ in 0..50 {
        let lengths = [0, 1, 9, 10, 99, 100, 999, 1000, 1001, 16_383, 16_384, 16_385, 200_000, 300_000];
        let commands: Vec<Vec<Word<'_>>> = (0..1 + rng.index(40))
            .map(|_| {
                let words = (0..1 + rng.index(140)).map(|_| match rng.index(60) {
                    0 => Word::Bytes(&bytes[..lengths[rng.index(lengths.len())]]),
                    1 => Word::Joined(&joined[rng.index(2)..2 + rng.index(3)]),
                    2..6 => Word::Int([0, -1, i64::MIN, i64::MAX][rng.index(4)]),
                    6..9 => Word::Score([0.1, -0.0, f64::NEG_INFINITY, 5e-324, f64::MAX][rng.index(5)]),
                    9 => Word::Id(StreamId::MAX),
                    _ => Word::Bytes(&bytes[..rng.index(30)]),
                });
                words.collect()
            })
            .collect();
        let batches = gathered(&commands);
        assert!(batches.iter().all(|(batch, _)| is_whole(batch)));
        assert!(
            batches.iter().map(|(batch, _)| batch.as_slice()).collect::<Vec<_>>().concat()
                == plainly(&commands)
        );
    }
}

#[test]
fn a_long_word_is_not_copied() {
    let long = vec![b'x'; 1 << 20];
    let set = vec![Word::Bytes(b"SET"), Word::Bytes(b"k"), Word::Bytes(&long)];
    let ping = vec![Word::Bytes(b"PING")];
    let batches = gathered(&[ping.clone(), set.clone(), ping]);
    let pieces: Vec<usize> = batches.iter().map(|(_, pieces)| *pieces).collect();
    // What was gathered, head and word and tail, what came after.
    assert_eq!(pieces, [1, 3, 1]);
    assert_eq!(batches[1].0, plainly(&[set]));
}
