use super::matches;
use proptest::prelude::*;

/// The textbook recursion over tokens, every way of a star tried: the twin to compare with.
fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    fn go(tokens: &[Token], text: &[u8]) -> bool {
        match tokens {
            [] => text.is_empty(),
            [Token::Star, rest @ ..] => (0..=text.len()).any(|cut| go(rest, &text[cut..])),
            [Token::One(set), rest @ ..] => {
                !text.is_empty() && set[usize::from(text[0])] && go(rest, &text[1..])
            }
        }
    }
    if text.is_empty() {
        return pattern.is_empty();
    }
    go(&tokens(pattern, nocase), text)
}

enum Token {
    Star,
    One(Box<[bool; 256]>),
}

/// Reads the pattern by an index and a count left, the way the C code walks it.
fn tokens(pattern: &[u8], nocase: bool) -> Vec<Token> {
    let byte_at = |i: usize| pattern.get(i).copied().unwrap_or(0);
    let fold = |b: u8| if nocase { b.to_ascii_lowercase() } else { b };
    let only = |f: &dyn Fn(u8) -> bool| Token::One(Box::new(std::array::from_fn(|b| f(b as u8))));
    let mut out = Vec::new();
    let mut i = 0;
    while i < pattern.len() {
        match pattern[i] {
            b'*' => out.push(Token::Star),
            b'?' => out.push(only(&|_| true)),
            b'[' => {
                i += 1;
                let not = byte_at(i) == b'^';
                if not {
                    i += 1;
                }
                let mut set = [false; 256];
                loop {
                    let left = pattern.len().saturating_sub(i);
                    if byte_at(i) == b'\\' && left >= 2 {
                        i += 1;
                        set[usize::from(byte_at(i))] = true;
                    } else if left == 0 {
                        i -= 1;
                        break;
                    } else if byte_at(i) == b']' {
                        break;
                    } else if left >= 3 && byte_at(i + 1) == b'-' {
                        let (mut low, mut high) = (byte_at(i) as i8, byte_at(i + 2) as i8);
                        if low > high {
                            (low, high) = (high, low);
                        }
                        let (low, high) = (fold(low as u8) as i8, fold(high as u8) as i8);
                        for b in 0..=255u8 {
                            set[usize::from(b)] |= fold(b) as i8 >= low && fold(b) as i8 <= high;
                        }
                        i += 2;
                    } else {
                        for b in 0..=255u8 {
                            set[usize::from(b)] |= fold(b) == fold(byte_at(i));
                        }
                    }
                    i += 1;
                }
                out.push(only(&|b| set[usize::from(b)] != not));
            }
            _ => {
                if pattern[i] == b'\\' && i + 1 < pattern.len() {
                    i += 1;
                }
                let literal = pattern[i];
                out.push(only(&|b| fold(b) == fold(literal)));
            }
        }
        i += 1;
    }
    out
}

#[track_caller]
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    for text in yes {
        assert!(matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern:?} should match {text:?}");
    }
    for text in no {
        assert!(
            !matches(pattern.as_bytes(), text.as_bytes(), false),
            "{pattern:?} should not match {text:?}"
        );
    }
}

#[test]
fn the_documented_patterns() {
    check("h?llo", &["hello", "hallo", "hxllo"], &["hllo", "heello"]);
    check("h*llo", &["hllo", "heeeello"], &["hllx", "xhllo"]);
    check("h[ae]llo", &["hello", "hallo"], &["hillo"]);
    check("h[^e]llo", &["hallo", "hbllo"], &["hello", "hllo"]);
    check("h[a-b]llo", &["hallo", "hbllo"], &["hcllo"]);
    check("h\\?llo", &["h?llo"], &["hello", "h\\?llo"]);
    check("", &[""], &["a"]);
    check("a*b*c", &["abc", "axxbxxc", "abbcc", "abcbc"], &["ab", "acb", "abcd"]);
}

#[test]
fn corners_of_valkey() {
    check("*", &["a", "ab"], &[""]);
    check("**", &["a"], &[""]);
    check("a**", &["a", "ab"], &["b"]);
    // A class that is never closed, an empty one, a closing bracket first.
    check("[", &[], &["[", "a"]);
    check("[^", &["a", "["], &["", "ab"]);
    check("[abc", &["a", "c"], &["[", "d"]);
    check("[]a", &[], &["]a", "a"]);
    check("[a-", &["a", "-"], &["b"]);
    check("[a-]", &["]", "_", "a"], &["-", "b"]);
    check("[z-a]", &["a", "m", "z"], &["A"]);
    check("[\\a-z]", &["a", "-", "z"], &["b"]);
    check("[\\]]", &["]"], &["\\"]);
    check("a\\", &["a\\"], &["a"]);
}

#[test]
fn case_folds_outside_an_escape_in_a_class() {
    assert!(matches(b"HeL*", b"hElLO", true));
    assert!(matches(b"[A-C]x", b"bX", true));
    assert!(matches(b"[ab]", b"A", true));
    assert!(matches(b"\\A", b"a", true));
    assert!(!matches(b"[\\A]", b"a", true));
    assert!(!matches(b"[Z-a]", b"z", true));
}

#[test]
fn ranges_compare_signed_bytes() {
    // As C's char 0xff is -1, so the range runs from -1 to 'a'.
    assert!(matches(b"[a-\xff]", b"A", false));
    assert!(!matches(b"[a-\xff]", b"b", false));
    assert!(!matches(b"[a-\xff]", b"\xfe", false));
}

#[test]
fn every_short_pattern_agrees_with_the_twin() {
    const PATTERN: &[u8] = b"*?[]^-\\ab";
    const TEXT: &[u8] = b"ab]-";
    let words = |alphabet: &[u8], max: usize| -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = vec![vec![]];
        let mut from = 0;
        for _ in 0..max {
            let end = all.len();
            for i in from..end {
                for &b in alphabet {
                    let mut w = all[i].clone();
                    w.push(b);
                    all.push(w);
                }
            }
            from = end;
        }
        all
    };
    let texts = words(TEXT, 3);
    for pattern in words(PATTERN, 4) {
        for text in &texts {
            assert_eq!(
                matches(&pattern, text, false),
                naive(&pattern, text, false),
                "{:?} on {:?}",
                String::from_utf8_lossy(&pattern),
                String::from_utf8_lossy(text)
            );
        }
    }
}

#[test]
fn the_thousandth_star_is_the_last() {
    let text = vec![b'a'; 5000];
    assert!(matches(&b"*?".repeat(1000), &text, false));
    assert!(!matches(&b"*?".repeat(1001), &text, false));
    // Stars in a row are one, and one at the end has nothing behind it.
    assert!(matches(&b"**?".repeat(1000), &text, false));
    assert!(matches(&[b"*?".repeat(1000), b"*".to_vec()].concat(), &text, false));
}

#[test]
fn hostile_patterns_end_soon() {
    let text = vec![b'a'; 1 << 20];
    assert!(!matches(&b"*?".repeat(1 << 19), &text, false), "Valkey gives up, too");
    assert!(!matches(&[b"*?".repeat(1 << 19), b"b".to_vec()].concat(), &text, false));
    assert!(!matches(&[b"*a".repeat(1000), b"b".to_vec()].concat(), &text, false));
    assert!(matches(&vec![b'*'; 1 << 20], &text, true));
    assert!(!matches(&vec![b'['; 1 << 20], &text, true));
    let text = &text[..1 << 18];
    let half = vec![b'a'; 1 << 17];
    assert!(!matches(&[b"*".to_vec(), half.clone(), b"b*".to_vec()].concat(), text, false));
    assert!(!matches(&[b"*[".to_vec(), vec![b'b'; 1 << 18], b"]".to_vec()].concat(), text, false));
    assert!(matches(&[b"*".to_vec(), half, b"*".to_vec()].concat(), text, false));
    // Each of many short names would read all of the class for each of its bytes.
    let class = |b: u8| [b"*[".to_vec(), vec![b'b'; 1 << 20], vec![b, b']', b'*']].concat();
    assert!(!matches(&class(b'a'), b"aaaaaaaaaaaaaaaaaaaa", false), "the a is too far behind");
    assert!(matches(&[b"*[".to_vec(), vec![b'b'; 4000], b"a]*".to_vec()].concat(), &text[..20], false));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_the_twin(
        pattern in proptest::collection::vec(prop_oneof![
            4 => proptest::sample::select(&b"*?[]^-\\"[..]),
            4 => proptest::sample::select(&b"abABz"[..]),
            1 => any::<u8>(),
        ], 0..14),
        text in proptest::collection::vec(prop_oneof![
            8 => proptest::sample::select(&b"abABz]-"[..]),
            1 => any::<u8>(),
        ], 0..12),
        nocase in any::<bool>(),
    ) {
        prop_assert_eq!(matches(&pattern, &text, nocase), naive(&pattern, &text, nocase));
    }
}
