//! Digests that Valkey 9.1.2 and Redis 8.0.6 gave for the same data (DEBUG DIGEST, DIGEST-VALUE).

use super::{Style, digest, digest_in, digest_value, digest_value_in};
use crate::base::rng::Rng;
use crate::base::stream_id::{IdSpec, StreamId};
use crate::base::time::UnixMs;
use crate::keyspace::Keyspace;
use crate::value::hash::{FieldTtl, Hash};
use crate::value::list::{End, List};
use crate::value::set::Set;
use crate::value::zset::Zset;
use crate::value::{Limits, Stream, Value};

const NOW: UnixMs = UnixMs(0);
const FAR: UnixMs = UnixMs(9_999_999_999_999);

fn zset(members: impl IntoIterator<Item = (String, f64)>) -> Value {
    let mut zset = Zset::new();
    for (member, score) in members {
        zset.insert(member.as_bytes(), score, &Limits::DEFAULT);
    }
    Value::Zset(zset)
}

fn set(members: &[&str]) -> Value {
    let mut set = Set::new();
    for member in members {
        set.add(member.as_bytes(), &Limits::DEFAULT);
    }
    Value::Set(set)
}

fn hash(fields: &[(&str, &str, FieldTtl)]) -> Value {
    let mut hash = Hash::new();
    for (field, value, ttl) in fields {
        hash.set_with(field.as_bytes(), value.as_bytes(), *ttl, NOW, &Limits::DEFAULT);
    }
    Value::Hash(hash)
}

/// What both servers were given.
fn data() -> Keyspace {
    let mut keyspace = Keyspace::new(16, [1, 2]);
    let db = keyspace.db_mut(0);
    db.set_str(b"text", b"hello", None);
    db.set_str(b"int", b"-12345", None);
    db.set_str(b"empty", b"", None);
    db.set_str(b"expiring", b"x", Some(FAR));
    let mut list = List::new();
    for item in [&b"a"[..], b"1", b"b", b"-70000", b"c"] {
        list.push(End::Back, item, &Limits::DEFAULT);
    }
    db.set(b"list", Value::List(list), None);
    db.set(b"set", set(&["x", "12", "y"]), None);
    db.set(b"ints", set(&["1", "2", "70000"]), None);
    db.set(b"hash", hash(&[("f", "v", FieldTtl::Clear), ("n", "42", FieldTtl::Clear)]), None);
    let scores = [
        ("a", 1.0),
        ("b", 2.5),
        ("c", f64::NEG_INFINITY),
        ("7", 1e10),
        ("e", 0.1),
        ("f", 100_000.0),
        ("g", 12_345_678_901.0),
    ];
    db.set(b"zset", zset(scores.map(|(member, score)| (member.to_owned(), score))), None);
    let fields = [("f", "v", FieldTtl::At(FAR)), ("g", "w", FieldTtl::Clear)];
    db.set(b"ttl", hash(&fields), None);
    let mut rng = Rng::new(42);
    let doubles = std::iter::repeat_with(|| f64::from_bits(rng.next_u64())).filter(|v| v.is_finite());
    let named = |scores: &mut dyn Iterator<Item = f64>| {
        zset(scores.take(3000).enumerate().map(|(i, score)| (format!("m{i}"), score)))
    };
    db.set(b"doubles", named(&mut { doubles }), None);
    let mut rng = Rng::new(43);
    db.set(b"plain", named(&mut std::iter::repeat_with(|| rng.unit_f64() * 1000.0)), None);
    keyspace.db_mut(3).set_str(b"other", b"db", None);
    keyspace
}

fn hex(digest: [u8; 20]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn digests_are_those_of_real_servers() {
    let keyspace = data();
    let both = [
        ("text", "36b23a1456b2dce2c3ed252c456761301dba8060"),
        ("int", "9364d007acb0ba24016c9866e6283671e674924f"),
        ("empty", "8b3447c33a834b810e3e181b6fd6a2ee1020921c"),
        ("expiring", "0745672cb1bf060476eedeb8a28f5ffe1ff5a2be"),
        ("list", "2c0e73bfd658110944ecfe9ffef88369813088f0"),
        ("set", "4dd66f11f6066141cbaaab167ff96bcb8c2c5b8a"),
        ("ints", "a987c6ebdc9d549d1b48972961620e22c2294133"),
        ("hash", "c9bfe8cee47511ea0f1e13d7eb852ba9d3a95784"),
        ("zset", "757d2eec39500a645c35c54251594de438ea8d8e"),
        ("doubles", "00ee1682c63279e629f9dbe5ffabab17952a502c"),
        ("plain", "78a885f67ea8e0b66af1bfd4c331288416aaa0c4"),
        ("missing", "0000000000000000000000000000000000000000"),
    ];
    let styles = [
        (
            Style::Redis,
            "355879033a5e790f0e021f3025ccea7312d9d282",
            "73d34554731d67204a85cbcf7ea92bc36842ed93",
        ),
        (
            Style::Valkey,
            "d127864ed50239662bf61bafc9bda63c17da5b37",
            "2cf9c2520c50a6609806cf86bc2e739f239c3a5e",
        ),
    ];
    for (style, ttl, all) in styles {
        for (key, expected) in both.into_iter().chain([("ttl", ttl)]) {
            let entry = keyspace.db(0).entry(key.as_bytes());
            assert_eq!(hex(digest_value_in(entry, style)), expected, "{key} {style:?}");
        }
        assert_eq!(hex(digest_in(&keyspace, style)), all, "{style:?}");
    }
}

#[test]
fn a_streams_digest_is_that_of_its_live_entries() {
    let mut stream = Stream::new();
    let entries: [(u64, u64, &[&str]); 4] =
        [(1, 1, &["f", "v"]), (1, 2, &["f", "v2"]), (5, 0, &["g", "w", "n", "42"]), (6, 0, &["x", "y"])];
    for (ms, seq, fields) in entries {
        let id = IdSpec::Exact(StreamId::new(ms, seq));
        stream.append(id, 0, fields, &Limits::DEFAULT).expect("the ids grow");
    }
    stream.delete(StreamId::new(6, 0));
    let mut keyspace = Keyspace::new(1, [1, 2]);
    keyspace.db_mut(0).set(b"s", Value::Stream(Box::new(stream)), None);
    assert_eq!(hex(digest_value(keyspace.db(0).entry(b"s"))), "0074dd558660878a266b56996c7f61e0e5946d2d");
    assert_eq!(hex(digest(&keyspace)), "db6bcddfc5803e324f7a2e925a832cdf25a2ca4b");
}
