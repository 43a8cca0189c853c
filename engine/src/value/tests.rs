//! What holds for values of every type: the inline form, names.

use super::list::End;
use super::{Hash, Limits, List, Opaque, OpaqueDialect, Set, StringValue, Value, ValueRef};
use crate::base::time::UnixMs;

fn same_after_inline(value: &Value) {
    let (tag, bytes) = value.inline_form().expect("a small encoding");
    let view = ValueRef::from_inline(tag, &bytes);
    assert_eq!(view.encoding_name(1, false), value.view().encoding_name(1, false));
    assert_eq!(view.type_name(), value.type_name());
    let back = Value::from_inline(tag, &bytes);
    assert_eq!(format!("{back:?}"), format!("{value:?}"));
    let mut room = Vec::with_capacity(500);
    let mut back = Value::from_inline_in(tag, &bytes, &mut room);
    assert_eq!(format!("{back:?}"), format!("{value:?}"));
    let is_packed = !matches!(value, Value::String(_));
    assert_eq!(room.capacity(), if is_packed { 0 } else { 500 });
    let room = back.clone().into_room().map(|own| own.to_vec());
    assert_eq!(room.as_deref(), is_packed.then_some(&*bytes));
    back.shrink();
    assert_eq!(back.into_room().map(|own| own.capacity()), is_packed.then_some(bytes.len()));
}

#[test]
fn strings_come_back_from_their_inline_form() {
    let mut appended = StringValue::new(b"1");
    appended.append(b"2");
    let strings = [StringValue::new(b"-300"), StringValue::new(b""), StringValue::new(&[7; 50]), appended];
    for s in strings {
        same_after_inline(&Value::String(s));
    }
}

#[test]
fn an_opaque_value_tells_its_own_name() {
    let value = Value::Opaque(Box::new(Opaque {
        dialect: OpaqueDialect::Redis,
        version: 12,
        type_byte: 7,
        payload: Box::from(*b"payload"),
        meta: None,
        type_name: "ReJSON-RL".into(),
    }));
    assert_eq!(value.type_name(), "ReJSON-RL");
    assert_eq!(value.view().encoding_name(1, false), "raw");
    assert!(value.inline_form().is_none());
    assert!(!value.is_empty());
}

#[test]
fn small_collections_come_back_from_their_inline_form() {
    let limits = Limits::DEFAULT;
    let mut list = List::new();
    list.push_all(End::Back, [&b"a"[..], b"1"].into_iter(), &limits);
    same_after_inline(&Value::List(list));
    let mut set = Set::new();
    set.add(b"7", &limits);
    same_after_inline(&Value::Set(set.clone()));
    set.add(b"x", &limits);
    same_after_inline(&Value::Set(set));
    let mut hash = Hash::new();
    hash.set(b"f", b"v", UnixMs(0), &limits);
    same_after_inline(&Value::Hash(hash.clone()));
    hash.set_expiry(b"f", Some(UnixMs(5)), UnixMs(0));
    same_after_inline(&Value::Hash(hash));
}

#[test]
fn large_collections_have_no_inline_form() {
    let limits = Limits::DEFAULT;
    let long = [b'x'; 9000];
    let mut list = List::new();
    list.push(End::Back, &long, &limits);
    let mut set = Set::new();
    set.add(&long, &limits);
    let mut hash = Hash::new();
    hash.set(b"f", &long, UnixMs(0), &limits);
    for value in [Value::List(list), Value::Set(set), Value::Hash(hash)] {
        assert!(value.inline_form().is_none(), "{}", value.view().encoding_name(1, false));
        assert!(!value.is_empty());
        assert!(value.memory_bytes() >= 9000);
        assert_eq!(
            value.view().to_owned().view().encoding_name(1, false),
            value.view().encoding_name(1, false)
        );
    }
}
