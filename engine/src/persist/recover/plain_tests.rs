//! What is made at once against what the same commands make one after the other.

use proptest::prelude::*;

use super::super::batch::Batch;
use super::super::build::{Builder, ahead};
use super::super::replay::Destination;
use super::*;
use crate::base::rng::Rng;
use crate::command;
use crate::keyspace::Keyspace;
use crate::keyspace::digest::digest_value;
use crate::persist::apart::Apart;
use crate::persist::carried::Carried;
use crate::script::{Scripts, Versions};

/// Small enough that a few elements are too many.
const LIMITS: Limits = Limits {
    set_max_intset_entries: 6,
    set_max_listpack_entries: 8,
    set_max_listpack_value: 9,
    hash_max_listpack_entries: 5,
    hash_max_listpack_value: 9,
    zset_max_listpack_entries: 6,
    zset_max_listpack_value: 9,
    list_max_listpack_size: 4,
    ..Limits::DEFAULT
};

/// Commands of one key, as a batch has them.
fn batch(commands: &[Vec<String>]) -> Batch {
    let mut batch = Batch::default();
    for words in commands {
        let name = words[0].to_ascii_lowercase();
        let command = command::all().find(|command| command.spec.name == name).expect("a command");
        let call = Call::Data { command, key_at: 1, ahead: ahead(command.spec.name) };
        batch.items.push(Item { call, first: batch.words.len(), len: words.len(), at: 0 });
        for word in words {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(word.as_bytes());
            batch.words.push(start..batch.bytes.len());
        }
    }
    batch
}

fn commands(text: &str) -> Vec<Vec<String>> {
    text.split('|').map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Encoding, expiry and digest.
type Told = (String, Option<UnixMs>, [u8; 20]);

/// What is to be told of what `make` makes, and of what the commands make by themselves.
fn both(commands: &[Vec<String>]) -> [Option<Told>; 2] {
    let batch = batch(commands);
    let words = Words::new(&batch.bytes, &batch.words);
    let told = |entry: Entry| {
        let view = entry.view();
        let (encoding, at) = (view.view().encoding_name(1, false).to_owned(), view.expire_at());
        (encoding, at, digest_value(Some(view)))
    };
    let mut keyspace = Keyspace::new(1, [1, 2]);
    let (mut carried, mut rng) = (Carried::new(Versions::ours("7.4.2")), Rng::new(1));
    let mut scripts = Scripts::new(Versions { server_name: "", redis: "", valkey: "" });
    let into = Destination {
        keyspace: &mut keyspace,
        carried: &mut carried,
        limits: &LIMITS,
        rng: &mut rng,
        scripts: &mut scripts,
        now: UnixMs(1_000_000),
        apart: Apart::Here,
    };
    let run = Builder::of(&into).run(&batch.items, words, b"k");
    [make(&batch.items, words, &LIMITS).map(told), run.map(told)]
}

#[test]
fn what_is_plain_is_made_and_the_rest_is_left_to_the_commands() {
    for text in [
        "SET k v",
        "SET k 12",
        "SET k v|PEXPIREAT k 1",
        "set k v|pexpireat k 4102444800000",
        "RPUSH k a b|RPUSH k c d e f g 1 2 3",
        "SADD k 1 2 3|SADD k 4 5 6",
        "SADD k 3 1 2",
        "SADD k 1 2 3|SADD k 4 5 6 7 8 9",
        "SADD k 1 a|SADD k 2 b|PEXPIREAT k 7",
        "SADD k a b c d e f g h i",
        "SADD k 1 2 muchtoolong",
        "HSET k f 1 g 2|HSET k h 3",
        "HSET k a 1 b 2 c 3|HSET k d 1 e 2 f 3",
        "HSET k f muchtoolong",
        "ZADD k 1 a 2 b|ZADD k -1.5 c|PEXPIREAT k 5",
        "ZADD k 5 a 4 b 3 c 2 d 1 e inf f -inf g -0 h",
        "ZADD k 1 muchtoolong",
    ] {
        let [made, run] = both(&commands(text));
        assert!(made.is_some(), "{text}");
        assert_eq!(made, run, "{text}");
    }
    for text in [
        "SET k v EX 100",
        "SET k v|SET k w",
        "SET k v|APPEND k w",
        "PEXPIREAT k 4102444800000",
        "SET k v|PEXPIREAT k 0",
        "SET k v|PEXPIREAT k x",
        "SET k v|PEXPIREAT k 1 NX",
        "SET k v|PEXPIREAT k 1|PEXPIREAT k 2",
        "RPUSH k a|LPUSH k b",
        "SADD k a|SADD k a",
        "SADD k 1|SADD k 1",
        "HSET k f 1|HSET k f 2",
        "HSET k f 1|HSET k g",
        "ZADD k 1 a|ZADD k 2 a",
        "ZADD k NX 1 a",
        "ZADD k nan a",
        "ZADD k 1 a|ZADD k x b",
        "SADD k a|HSET k f v",
    ] {
        assert_eq!(both(&commands(text))[0], None, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_is_made_is_what_the_commands_make(
        name in prop_oneof![Just("RPUSH"), Just("SADD"), Just("HSET"), Just("ZADD")],
        pieces in proptest::collection::vec(
            proptest::collection::vec(("[a-c]{0,3}|[0-9]{1,3}|[a-z]{8,11}", -3..3i32), 1..5), 1..4),
        expiry in proptest::option::of(1..i64::MAX),
    ) {
        let mut commands: Vec<Vec<String>> = Vec::new();
        for piece in pieces {
            let mut words = vec![name.to_owned(), "k".to_owned()];
            for (text, number) in piece {
                words.extend(match name {
                    "ZADD" => vec![format!("{}", f64::from(number) / 2.0), text],
                    "HSET" => vec![text, number.to_string()],
                    _ => vec![text],
                });
            }
            commands.push(words);
        }
        if let Some(at) = expiry {
            commands.push(vec!["PEXPIREAT".to_owned(), "k".to_owned(), at.to_string()]);
        }
        let [made, run] = both(&commands);
        if made.is_some() {
            prop_assert_eq!(made, run);
        } else {
            prop_assert!(name != "RPUSH" && run.is_some());
        }
    }
}
