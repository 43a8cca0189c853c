//! Keys made at once of the plain commands that rewritten logs consist of: SET, RPUSH, SADD, HSET, ZADD
//! without options, in as many pieces as one likes, and PEXPIREAT behind them.
//!
//! Together they say what the key holds, so that is made in one go: a sorted set of a thousand members from
//! a thousand pairs, and not by sixteen commands that each look for their members. What is not as plain as
//! that (an option, a member that comes twice, another command in between) is left to the commands
//! themselves. Knows no keys but the one at hand.

use smallvec::SmallVec;

use crate::base::num;
use crate::base::time::UnixMs;
use crate::keyspace::Entry;
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::set::Set;
use crate::value::zset::Zset;
use crate::value::{Limits, Value};

use super::batch::{Ahead, Call, Item, Plain, Words};

/// A longer string is SET's business: it knows what a string may be.
const LONGEST_STRING: usize = 1 << 16;

/// Elements of a command and its likes.
type Elements<'a> = SmallVec<[&'a [u8]; 128]>;

/// The entry that these commands, all on one key, make where it is not there. `None` if they are not plain.
pub(super) fn make(items: &[Item], words: Words<'_>, limits: &Limits) -> Option<Entry> {
    let (first, _) = items.split_first()?;
    let kind = plain(first)?;
    let (expire_at, body) = expiry(items, words)?;
    let key = words.get(first.first + 1);
    if kind == Plain::String {
        let [set] = body else { return None };
        let text = words.get(set.first + 2);
        let is_plain = set.len == 3 && text.len() <= LONGEST_STRING.min(limits.max_string_bytes);
        return is_plain.then(|| Entry::string(key, text, expire_at));
    }
    if !body.iter().all(|item| plain(item) == Some(kind)) {
        return None;
    }
    let elements = || body.iter().flat_map(|item| words.range(item.first + 2..item.first + item.len));
    let are_pairs = || body.iter().all(|item| item.len.is_multiple_of(2));
    let mut value = match kind {
        Plain::List => {
            let mut list = List::new();
            list.push_all(End::Back, elements(), limits);
            Value::List(list)
        }
        Plain::Set => Value::Set(Set::from_members(&elements().collect::<Elements<'_>>(), limits)?),
        Plain::Hash if are_pairs() => {
            Value::Hash(Hash::from_pairs(&elements().collect::<Elements<'_>>(), limits)?)
        }
        Plain::Zset if are_pairs() => Value::Zset(zset(elements(), limits)?),
        _ => return None,
    };
    value.shrink();
    Some(Entry::new(key, value, expire_at))
}

fn plain(item: &Item) -> Option<Plain> {
    match item.call {
        Call::Data { ahead: Ahead::Plain(plain), .. } => Some(plain),
        _ => None,
    }
}

/// The expiry that the last of these commands gives, and the commands in front of it. `None` if that is not
/// a plain one.
fn expiry<'i>(items: &'i [Item], words: Words<'_>) -> Option<(Option<UnixMs>, &'i [Item])> {
    let (last, before) = items.split_last()?;
    if plain(last) != Some(Plain::Expiry) {
        return Some((None, items));
    }
    let at = num::parse_i64(words.get(last.first + 2)).filter(|at| *at > 0 && last.len == 3)?;
    (!before.is_empty()).then_some((Some(UnixMs(at)), before))
}

/// `None` if a score is none, which an option is not either, or a member comes twice.
fn zset<'a>(mut words: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Option<Zset> {
    let mut pairs: SmallVec<[(&[u8], f64); 64]> = SmallVec::new();
    while let (Some(score), Some(member)) = (words.next(), words.next()) {
        pairs.push((member, num::parse_f64(score)?));
    }
    Zset::from_pairs(&mut pairs, limits)
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
