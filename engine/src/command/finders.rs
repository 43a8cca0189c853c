//! Keys that cannot be found by position alone: options decide where they are, or what is done to them.
//!
//! Each function takes the whole of a command's arguments and answers positions with uses. `None` for
//! arguments that cannot be the command's. Behaviour: valkey src/db.c, the functions `...GetKeys`.

use super::spec::{KeyUse, OVERWRITES, READS, READS_AND_DELETES, READS_AND_UPDATES, UNKNOWN};

/// Positions of keys, each with its use.
pub type Found = Vec<(usize, KeyUse)>;

/// Finds the keys among a command's arguments.
pub type KeyFinder = fn(&[&[u8]]) -> Option<Found>;

fn is(argv: &[&[u8]], at: usize, word: &str) -> bool {
    argv[at].eq_ignore_ascii_case(word.as_bytes())
}

/// SET: with GET it reads what it overwrites.
pub fn set(argv: &[&[u8]]) -> Option<Found> {
    let reads = (3..argv.len()).any(|at| is(argv, at, "get"));
    Some(vec![(1, if reads { READS_AND_UPDATES } else { OVERWRITES })])
}

/// BITFIELD: with nothing but GET it only reads.
pub fn bitfield(argv: &[&[u8]]) -> Option<Found> {
    let mut at = 2;
    while at < argv.len() {
        let left = argv.len() - at - 1;
        at += match () {
            () if is(argv, at, "get") && left >= 2 => 3,
            () if is(argv, at, "overflow") && left >= 1 => 2,
            () => return Some(vec![(1, READS_AND_UPDATES)]),
        };
    }
    Some(vec![(1, READS)])
}

/// GEORADIUS and GEORADIUSBYMEMBER: of several keys to store at the last one counts.
pub fn georadius(argv: &[&[u8]]) -> Option<Found> {
    let mut found = vec![(1, READS)];
    let mut stored = None;
    let mut at = 5;
    while at + 1 < argv.len() {
        if is(argv, at, "store") || is(argv, at, "storedist") {
            at += 1;
            stored = Some((at, OVERWRITES));
        }
        at += 1;
    }
    found.extend(stored);
    Some(found)
}

/// SORT: of several keys to store at the last one counts; the patterns of BY and GET are no keys.
pub fn sort(argv: &[&[u8]]) -> Option<Found> {
    let mut found = vec![(1, READS)];
    let mut stored = None;
    let mut at = 2;
    while at < argv.len() {
        if is(argv, at, "limit") {
            at += 2;
        } else if is(argv, at, "get") || is(argv, at, "by") {
            at += 1;
        } else if is(argv, at, "store") && at + 1 < argv.len() {
            stored = Some((at + 1, OVERWRITES));
        }
        at += 1;
    }
    found.extend(stored);
    Some(found)
}

/// MIGRATE: one key, or an empty one and several behind KEYS, which is not the last word.
pub fn migrate(argv: &[&[u8]]) -> Option<Found> {
    let mut at = 6;
    if !(2..argv.len() - 1).any(|at| is(argv, at, "keys")) {
        return Some(vec![(3, READS_AND_DELETES)]);
    }
    while at < argv.len() {
        if is(argv, at, "keys") {
            let keys = (at + 1..argv.len()).map(|key| (key, READS_AND_DELETES));
            return argv[3].is_empty().then(|| keys.collect());
        }
        at += match () {
            () if is(argv, at, "auth") => 2,
            () if is(argv, at, "auth2") => 3,
            () => 1,
        };
    }
    Some(vec![(3, READS_AND_DELETES)])
}

/// What a command is left with whose counts or places of keys cannot be those that its specs describe. Nothing
/// is known of the uses then.
///
/// A count is read up to where it is no number any more, so `3.5` counts three.
#[must_use]
pub fn in_doubt(full_name: &str, argv: &[&[u8]]) -> Option<Found> {
    match full_name {
        "lmpop" | "zmpop" | "sintercard" | "zdiff" | "zinter" | "zintercard" | "zunion" => counted(argv, 1),
        "eval" | "eval_ro" | "evalsha" | "evalsha_ro" | "fcall" | "fcall_ro" | "blmpop" | "bzmpop" => {
            counted(argv, 2)
        }
        "zdiffstore" | "zinterstore" | "zunionstore" => {
            let mut found = counted(argv, 2)?;
            found.push((1, UNKNOWN));
            Some(found)
        }
        "xread" | "xreadgroup" => streams(argv),
        _ => None,
    }
}

/// As many keys as the argument at `at` says, behind it.
fn counted(argv: &[&[u8]], at: usize) -> Option<Found> {
    let text = argv.get(at)?.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    // As the C library reads it: the greatest number for what is beyond it, of which the lower half counts.
    let count: i64 = std::str::from_utf8(&text[..digits]).ok()?.parse().unwrap_or(i64::MAX);
    let count = usize::try_from(count as i32).ok()?;
    let first = at + 1;
    (1..=argv.len() - first)
        .contains(&count)
        .then(|| (first..first + count).map(|at| (at, UNKNOWN)).collect())
}

/// XREAD and XREADGROUP: the first half of what stands behind STREAMS, which may be a group's name as well.
fn streams(argv: &[&[u8]]) -> Option<Found> {
    let mut at = 1;
    while at < argv.len() {
        at += match () {
            () if is(argv, at, "block") || is(argv, at, "count") => 2,
            () if is(argv, at, "group") => 3,
            () if is(argv, at, "noack") => 1,
            () if is(argv, at, "streams") => {
                let words = argv.len() - at - 1;
                let keys = (at + 1..at + 1 + words / 2).map(|key| (key, UNKNOWN));
                return (words > 0 && words.is_multiple_of(2)).then(|| keys.collect());
            }
            () => return None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(find: KeyFinder, line: &str) -> String {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let shown = |(at, uses): &(usize, KeyUse)| {
            format!("{}={}{}", String::from_utf8_lossy(argv[*at]), uses.mode, uses.effects.len())
        };
        find(&argv).map_or("-".into(), |keys| keys.iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_count_that_is_none_counts_up_to_where_it_is_a_number() {
        let places = |line: &str| {
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let found = in_doubt(&line[..line.find(' ').expect("words")], &argv)?;
            Some(found.iter().map(|(at, _)| *at).collect::<Vec<_>>())
        };
        assert_eq!(places("zunion 2.5 a b"), Some(vec![2, 3]));
        assert_eq!(places("zunionstore d 2x a b"), Some(vec![3, 4, 1]));
        assert_eq!(places("blmpop 0 +1x a LEFT"), Some(vec![3]));
        assert_eq!(places("eval x 3.5 a b"), None);
        assert_eq!(places("eval x -1 a b"), None);
        assert_eq!(places("eval x 99999999999999999999 a b"), None);
        assert_eq!(places("eval x 4294967297 a b"), Some(vec![3]));
        assert_eq!(places("xread COUNT streams streams k 0"), Some(vec![4]));
        assert_eq!(places("xread streams k 0 x"), None);
        assert_eq!(places("xread block"), None);
        assert_eq!(places("get 1 a"), None);
    }

    #[test]
    fn options_decide() {
        assert_eq!(found(set, "set k get"), "k=OW1");
        assert_eq!(found(set, "set k v EX 1 Get"), "k=RW2");
        assert_eq!(found(bitfield, "bitfield k get u8 0 overflow wrap"), "k=RO1");
        assert_eq!(found(bitfield, "bitfield k get u8 0 set u8 0 1"), "k=RW2");
        assert_eq!(found(bitfield, "bitfield k get u8"), "k=RW2");
        assert_eq!(found(georadius, "georadius k 1 2 3 m"), "k=RO1");
        assert_eq!(found(georadius, "georadius k 1 2 3 m store a storedist b"), "k=RO1 b=OW1");
        assert_eq!(found(georadius, "georadius k 1 2 3 m store"), "k=RO1");
        assert_eq!(found(sort, "sort k by store limit 0 store get store store a store b"), "k=RO1 b=OW1");
        assert_eq!(found(sort, "sort k limit store"), "k=RO1");
        assert_eq!(found(migrate, "migrate h 1 k 0 10 copy"), "k=RW2");
        assert_eq!(found(migrate, "migrate h 1  0 10 auth keys keys a b"), "a=RW2 b=RW2");
        assert_eq!(found(migrate, "migrate h 1 k 0 10 keys a"), "-");
        assert_eq!(found(migrate, "migrate h 1 k 0 10 keys"), "k=RW2");
    }
}
