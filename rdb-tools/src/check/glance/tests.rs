//! What a glance passes, decoder and inspector pass; and of what they pass, it passes all that is plain.

use cairn_engine::codec::rdb::records::{Passing, Records, Stored};
use cairn_engine::codec::rdb::{
    Dialect, KeyHead, ObjectType, Place, Version, Writer, WriterOptions, decode_value,
};
use cairn_engine::packed::intset::IntsetBuf;
use cairn_engine::packed::listpack::ListpackBuf;
use proptest::prelude::*;

use super::super::distinct::Hasher;
use super::super::value::Inspector;
use super::Glance;

const VERSION: Version = Version { dialect: Dialect::Redis, number: 11 };
const TYPES: [ObjectType; 9] = [
    ObjectType::String,
    ObjectType::Set,
    ObjectType::Hash,
    ObjectType::Zset,
    ObjectType::SetIntset,
    ObjectType::SetListpack,
    ObjectType::HashListpack,
    ObjectType::ZsetListpack,
    ObjectType::ListQuicklist2,
];

/// The record of a key with a value of these items.
fn record(object: ObjectType, items: &[Vec<u8>], compress: bool) -> Vec<u8> {
    use ObjectType as T;
    let mut out = Writer::new(Vec::new(), WriterOptions { compress, checksum: false });
    let Ok(()) = out.key(object, b"key");
    let mut pack = ListpackBuf::new();
    let pairs = items.chunks_exact(2);
    match object {
        T::String => {
            let Ok(()) = out.string(items.first().map_or(b"", Vec::as_slice));
        }
        T::Set => {
            let Ok(()) = out.len(items.len() as u64);
            for item in items {
                let Ok(()) = out.string(item);
            }
        }
        T::Hash => {
            let Ok(()) = out.len(items.len() as u64 / 2);
            for item in pairs.flatten() {
                let Ok(()) = out.string(item);
            }
        }
        T::Zset => {
            let Ok(()) = out.len(items.len() as u64);
            for (i, item) in items.iter().enumerate() {
                let Ok(()) = out.string(item);
                let Ok(()) = out.raw(&(i as f64).to_le_bytes());
            }
        }
        T::SetIntset => {
            let mut set = IntsetBuf::new();
            for item in items {
                set.insert(item.len() as i64 * 1000);
            }
            let Ok(()) = out.string(set.as_bytes());
        }
        T::ZsetListpack => {
            for (i, item) in items.iter().enumerate() {
                pack.push_back(item);
                pack.push_back(format!("{}.{}", 1000 + i / 2, (i % 2) * 12_345_678).as_bytes());
            }
            let Ok(()) = out.string(pack.as_bytes());
        }
        T::ListQuicklist2 => {
            let Ok(()) = out.len(2);
            items.iter().for_each(|item| pack.push_back(item));
            let Ok(()) = out.len(2);
            let Ok(()) = out.string(pack.as_bytes());
            let Ok(()) = out.len(1);
            let Ok(()) = out.string(b"a plain node");
        }
        _ => {
            items.iter().for_each(|item| pack.push_back(item));
            let Ok(()) = out.string(pack.as_bytes());
        }
    }
    let Ok(bytes) = out.into_drain();
    bytes
}

/// What a glance and its twin say of the first record: how long its value is, if all is well.
struct Both {
    glance: Glance,
    inspector: Inspector,
    said: Option<(Option<usize>, Option<usize>)>,
}

impl Passing for Both {
    fn record(&mut self, head: &KeyHead<'_>, value: &mut Stored<'_>) -> bool {
        let bytes = value.rest();
        let glance = self.glance.value(head.object, value).map(|()| bytes.len() - value.rest().len());
        self.inspector.begin(head.object);
        let depth = self.inspector.depth();
        let twin = decode_value(VERSION, head.type_byte, bytes, depth, &mut self.inspector).ok();
        let is_well = self.inspector.end().is_none() && self.inspector.problems.is_empty();
        self.said = Some((glance, twin.filter(|_| is_well)));
        false
    }
}

fn said(bytes: &[u8]) -> Option<(Option<usize>, Option<usize>)> {
    let hasher = Hasher::random();
    let mut both = Both { glance: Glance::new(hasher), inspector: Inspector::new(hasher), said: None };
    let place = Place { version: VERSION, offset: 0, db: 0, templates: Default::default() };
    Records::new(bytes, &place).pass(&mut both);
    both.said
}

/// What the glance passes, its twin passes, and takes to be as long.
#[track_caller]
fn check_damaged(bytes: &[u8]) {
    if let Some((Some(glance), twin)) = said(bytes) {
        assert_eq!(twin, Some(glance), "{}", bytes.escape_ascii());
    }
}

fn items() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let item = prop_oneof![
        4 => "[a-f]{1,5}",
        3 => "-?[0-9]{1,4}",
        1 => "[0-9]{18,20}",
        2 => "(ab){0,40}",
        1 => "[0-9]{1,3}\\.[0-9]{1,3}",
        1 => "x{60,70}",
    ];
    prop::collection::vec(item.prop_map(String::into_bytes), 0..12)
}

proptest! {
    #[test]
    fn what_is_passed_is_well(items in items(), kind in 0..TYPES.len(), compress in any::<bool>()) {
        let bytes = record(TYPES[kind], &items, compress);
        let (glance, twin) = said(&bytes).expect("a plain record");
        prop_assert_eq!(glance, twin, "{}", bytes.escape_ascii());
    }

    #[test]
    fn damage_is_not_passed(
        items in items(),
        kind in 0..TYPES.len(),
        compress in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        bit in 0u8..8,
    ) {
        let good = record(TYPES[kind], &items, compress);
        let at = at.index(good.len());
        let mut bytes = good.clone();
        bytes[at] = byte;
        check_damaged(&bytes);
        bytes[at] = good[at] ^ (1u8 << bit);
        check_damaged(&bytes);
        check_damaged(&good[..at]);
    }
}

#[test]
fn every_byte_of_small_values_is_looked_at() {
    let items = ["a", "1", "b", "-70000", "12", "abababababababababababababababab"];
    let items = items.map(|item| item.as_bytes().to_vec());
    for object in TYPES {
        for compress in [false, true] {
            let bytes = record(object, &items, compress);
            let (glance, twin) = said(&bytes).expect("a plain record");
            assert!(glance.is_some() && glance == twin, "{object:?}");
            for at in 0..bytes.len() {
                for byte in 0..=255 {
                    let mut bytes = bytes.clone();
                    bytes[at] = byte;
                    check_damaged(&bytes);
                }
            }
        }
    }
}

#[test]
fn an_integer_and_its_text_are_the_same_part() {
    // The writer stores "12" as an integer; by hand it is stored as text, too.
    let mut bytes = record(ObjectType::Set, &[b"12".to_vec(), b"13".to_vec()], false);
    assert_eq!(bytes[5..], *b"\x02\xc0\x0c\xc0\x0d");
    bytes.truncate(8);
    bytes.extend_from_slice(b"\x0213");
    assert!(said(&bytes).is_some_and(|(glance, twin)| glance.is_some() && glance == twin));
    bytes.truncate(8);
    bytes.extend_from_slice(b"\x0212");
    assert_eq!(said(&bytes), Some((None, None)));
}
