//! What holds for values of every type: the inline form, names.

use super::{Opaque, OpaqueDialect, StringValue, Value, ValueRef};

fn same_after_inline(value: &Value) {
    let (tag, bytes) = value.inline_form().expect("a small encoding");
    let view = ValueRef::from_inline(tag, &bytes);
    assert_eq!(view.encoding_name(), value.encoding_name());
    assert_eq!(view.type_name(), value.type_name());
    let back = Value::from_inline(tag, &bytes);
    assert_eq!(format!("{back:?}"), format!("{value:?}"));
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
    assert_eq!(value.encoding_name(), "raw");
    assert!(value.inline_form().is_none());
    assert!(!value.is_empty());
}
