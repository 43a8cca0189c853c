//! What is one value and what are two, by both digests.

use std::convert::Infallible;

use cairn_engine::codec::rdb::{Depth, Dialect, Family, KeyHead, ObjectType, Sink, ValueEvent, Version};
use proptest::prelude::*;

use super::{Canon, Content, Keyed, Parts, Rules, Section, Stable, library_name, push_framed, take_framed};
use crate::source::emit;
use crate::spill::Spill;

/// Events of one value, through a record.
struct Both<'a> {
    canon: Canon,
    keyed: Keyed,
    stable: &'a mut Stable,
}

impl Sink for Both<'_> {
    type Error = Infallible;

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        let Self { canon, keyed, stable } = self;
        let Ok(()) = canon.begin(head, &mut Pair { keyed, stable });
        Ok(Depth::Item)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        let Self { canon, keyed, stable } = self;
        canon.event(&event, &mut Pair { keyed, stable })
    }
}

struct Pair<'a> {
    keyed: &'a mut Keyed,
    stable: &'a mut Stable,
}

impl Parts for Pair<'_> {
    type Error = Infallible;

    fn part(&mut self, section: Section, identity: &[u8], content: &[u8]) -> Result<(), Infallible> {
        let Ok(()) = self.keyed.part(section, identity, content);
        self.stable.part(section, identity, content).expect("no spilling");
        Ok(())
    }
}

const REDIS: Version = Version { dialect: Dialect::Redis, number: 12 };
const VALKEY: Version = Version { dialect: Dialect::Valkey, number: 80 };

fn digests(
    keyed: Keyed,
    rules: Rules,
    version: Version,
    object: ObjectType,
    payload: &[u8],
) -> (Content, [u8; 32]) {
    let mut stable = Stable::new(&Spill::default());
    let mut both = Both { canon: Canon::new(rules), keyed, stable: &mut stable };
    let head = KeyHead {
        at: 0,
        db: 0,
        key: b"k",
        object,
        type_byte: object.byte(),
        expire_at: None,
        idle_s: None,
        freq: None,
        meta: None,
        no_evict: false,
    };
    emit(&mut both, version, &head, payload).expect("a good record");
    let content = both.keyed.take();
    (content, stable.take(object.family()).expect("no spilling"))
}

fn same(a: (Version, ObjectType, &[u8]), b: (Version, ObjectType, &[u8]), rules: Rules) -> bool {
    let keyed = Keyed::new();
    let a = digests(keyed, rules, a.0, a.1, a.2);
    let b = digests(keyed, rules, b.0, b.1, b.2);
    assert_eq!((a.0.sum, a.0.ttl_sum) == (b.0.sum, b.0.ttl_sum), a.1 == b.1, "both digests say the same");
    a.1 == b.1
}

#[test]
fn encodings_and_dialects_are_the_same_value() {
    use ObjectType as T;
    let rules = Rules::default();
    let list: (_, _, &[u8]) = (REDIS, T::List, b"\x02\x01a\xc0\x07");
    let quicklist: (_, _, &[u8]) = (REDIS, T::ListQuicklist2, b"\x02\x01\x01a\x01\x017");
    assert!(same(list, quicklist, rules));
    let swapped: (_, _, &[u8]) = (REDIS, T::List, b"\x02\xc0\x07\x01a");
    assert!(!same(list, swapped, rules));
    assert!(same(list, swapped, Rules { ignore_order: true, ..rules }));
    let thrice: (_, _, &[u8]) = (REDIS, T::List, b"\x03\xc0\x07\x01a\x01a");
    assert!(!same(list, thrice, Rules { ignore_order: true, ..rules }));
    let set: (_, _, &[u8]) = (REDIS, T::Set, b"\x02\x012\x011");
    let intset: (_, _, &[u8]) = (REDIS, T::SetIntset, b"\x0c\x02\0\0\0\x02\0\0\0\x01\0\x02\0");
    assert!(same(set, intset, rules));
    assert!(!same(set, (REDIS, T::List, b"\x02\x012\x011"), rules), "a list is no set");
    // Field f is v and expires at 5.
    let at = 5u64.to_le_bytes();
    let redis = [&at[..], b"\x01\x01\x01f\x01v"].concat();
    let valkey = [&b"\x01\x01f\x01v"[..], &at].concat();
    let plain: (_, _, &[u8]) = (REDIS, T::Hash, b"\x01\x01f\x01v");
    assert!(same((REDIS, T::HashMetadata, &redis), (VALKEY, T::HashExpiry, &valkey), rules));
    assert!(!same((REDIS, T::HashMetadata, &redis), plain, rules));
    let no_field_ttl = Rules { ignore_field_ttl: true, ..rules };
    assert!(same((REDIS, T::HashMetadata, &redis), plain, no_field_ttl));
    let zset = |score: f64| [&b"\x01\x01m"[..], &score.to_le_bytes()].concat();
    assert!(same((REDIS, T::Zset, &zset(0.0)), (REDIS, T::Zset, &zset(-0.0)), rules));
    assert!(same((REDIS, T::Zset, &zset(f64::INFINITY)), (REDIS, T::ZsetText, b"\x01\x01m\xfe"), rules));
    assert!(!same((REDIS, T::Zset, &zset(1.0)), (REDIS, T::Zset, &zset(1.0 + f64::EPSILON)), rules));
    // What is a field's and what a value's.
    assert!(!same((REDIS, T::Hash, b"\x01\x02fv\x01v"), (REDIS, T::Hash, b"\x01\x01f\x02vv"), rules));
}

proptest! {
    #[test]
    fn parts_in_any_order_are_one_value_and_any_change_is_another(
        mut parts in proptest::collection::btree_map(
            (0u8..3, proptest::collection::vec(0u8..3, 0..4)), proptest::collection::vec(0u8..3, 0..4), 1..20),
        seed in any::<u64>(),
    ) {
        let sections = [Section::Member, Section::Field, Section::Pending];
        let mut keyed = Keyed::new();
        let mut stable = Stable::new(&Spill::default());
        let mut digest = |parts: &mut dyn Iterator<Item = ((u8, Vec<u8>), Vec<u8>)>| {
            for ((section, identity), content) in parts {
                let section = sections[usize::from(section)];
                let Ok(()) = keyed.part(section, &identity, &content);
                stable.part(section, &identity, &content).expect("no spilling");
            }
            (keyed.take(), stable.take(Family::Hash).expect("no spilling"))
        };
        let before = digest(&mut parts.clone().into_iter());
        prop_assert_eq!(digest(&mut parts.clone().into_iter().rev()), before);
        let which = (seed % parts.len() as u64) as usize;
        let key = parts.keys().nth(which).expect("is there").clone();
        let content = parts.remove(&key).expect("is there");
        let without = digest(&mut parts.clone().into_iter());
        prop_assert!(without.0.sum != before.0.sum && without.1 != before.1);
        // A byte moves from content to identity, or appears.
        let (section, mut identity) = key;
        identity.extend(content.first().copied().or(Some(9)));
        parts.insert((section, identity), content.get(1..).unwrap_or_default().to_vec());
        let moved = digest(&mut parts.into_iter());
        prop_assert!(moved.0.sum != before.0.sum && moved.1 != before.1);
    }
}

#[test]
fn a_value_too_large_for_memory_has_the_same_digest() {
    let mut one = Stable::new(&Spill { memory: 1 << 20, tmp_dir: None });
    let mut other = Stable::new(&Spill { memory: 1 << 30, tmp_dir: None });
    let n = 200_000u32;
    for i in 0..n {
        one.part(Section::Member, &i.to_be_bytes(), b"").expect("spill");
        other.part(Section::Member, &(n - 1 - i).to_be_bytes(), b"").expect("spill");
    }
    let digest = one.take(Family::Set).expect("spill");
    assert_eq!(digest, other.take(Family::Set).expect("spill"));
    // And it starts anew.
    one.part(Section::Member, b"x", b"").expect("spill");
    other.part(Section::Member, b"x", b"").expect("spill");
    assert_eq!(one.take(Family::Set).expect("spill"), other.take(Family::Set).expect("spill"));
}

#[test]
fn frames_and_names() {
    let mut framed = Vec::new();
    push_framed(&mut framed, b"ab");
    push_framed(&mut framed, b"");
    let mut rest = &framed[..];
    assert_eq!(take_framed(&mut rest), Some(&b"ab"[..]));
    assert_eq!(take_framed(&mut rest), Some(&b""[..]));
    assert_eq!(take_framed(&mut rest), None);
    assert_eq!(library_name(b"#!lua name=lib\ncode"), b"lib");
    assert_eq!(library_name(b"no header"), b"no header");
    for section in Section::ALL {
        assert_eq!(Section::from_byte(section as u8), Some(section));
    }
}
