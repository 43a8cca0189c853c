//! JSON lines: pieces that no file at hand has.

use super::module::module_name;

#[test]
fn module_names_are_unpacked() {
    assert_eq!(&module_name(13_108_621_717_924_590_593), b"test___dt");
    assert_eq!(&module_name(0), b"AAAAAAAAA");
}
