//! Words and quotes: a table of lines, and the round trip of any bytes.

use super::{needs_quotes, push_quoted, split};
use proptest::prelude::*;

#[track_caller]
fn check(line: &[u8], words: Option<&[&[u8]]>) {
    let found = split(line);
    let expected = words.map(|w| w.iter().map(|w| w.to_vec()).collect::<Vec<_>>());
    assert_eq!(found, expected, "{}", line.escape_ascii());
}

#[test]
fn lines_part_into_words() {
    check(b"", Some(&[]));
    check(b"  \t\r\n", Some(&[]));
    check(b"set foo  bar", Some(&[b"set", b"foo", b"bar"]));
    check(b"a \"b c\" d", Some(&[b"a", b"b c", b"d"]));
    check(br#""\x41\n\r\t\b\a\\\"\q\xg""#, Some(&[b"A\n\r\t\x08\x07\\\"qxg"]));
    check(br"'it\'s' '\n'", Some(&[b"it's", br"\n"]));
    check(br#"ab"cd" e"#, Some(&[b"abcd", b"e"]));
    check(b"\"\" ''", Some(&[b"", b""]));
    check(b"one\0two", Some(&[b"one"]));
    check(b"a\x0bb", Some(&[b"a\x0bb"]));
}

#[test]
fn open_quotes_are_refused() {
    for line in [&b"\"abc"[..], b"'abc", b"\"a\"b'", b"'a'b\"", b"\"a\\", b"\"a\\\""] {
        check(line, None);
    }
}

#[test]
fn quotes_may_stand_anywhere_in_a_word() {
    check(br#""""tes"t-'k'e"y" "test"'-'value"#, Some(&[b"test-key", b"test-value"]));
    check(br#"x "a""b""#, Some(&[b"x", b"ab"]));
}

proptest! {
    #[test]
    fn quoted_words_come_back(words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6)) {
        let mut line = Vec::new();
        for word in &words {
            push_quoted(&mut line, word);
            line.push(b' ');
        }
        prop_assert_eq!(split(&line), Some(words));
    }

    #[test]
    fn bare_words_come_back(word in proptest::collection::vec(0x1fu8..0x81, 0..6)) {
        let bare = split(&word) == Some(vec![word.clone()]);
        // Never bare and wrong; quoted without need only where a quote sign would matter elsewhere.
        prop_assert!(needs_quotes(&word) || bare);
        prop_assert!(!needs_quotes(&word) || !bare || !word.iter().all(u8::is_ascii_alphanumeric));
    }
}
