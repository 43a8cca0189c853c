//! SORT: the elements of a list, a set or a sorted set in another order, or what they name.
//!
//! Behaviour: valkey src/sort.c. Texts are compared byte by byte, as in the C locale.

use std::cmp::Ordering;
use std::ops::Range;

use crate::base::num;
use crate::value::list::{End, List};
use crate::value::zset::{Zset, ZsetRef};
use crate::value::{Element, IntText, Value, ValueRef};

use super::effects::Classes;
use super::spec::{DENYOOM, Group, KeySpec, OVERWRITES, READONLY, READS, Spec, WRITE};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, finders};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[SORT, SORT_RO];

/// Keys that patterns name: nobody can tell which.
const BY_PATTERN: KeySpec = KeySpec::somewhere(READS);

const SORT: DataCommand = DataCommand::new(
    Spec::new(
        "sort",
        Group::Generic,
        "1.0.0",
        -2,
        "key [ BY by-pattern~pattern:pattern#1 ] limit=[ LIMIT: offset:int count:int ] \
         [ GET get-pattern~pattern:pattern#1 ]... order=[ ASC | DESC ] [ sorting=ALPHA ] \
         [ STORE destination:key#2 ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, READS), BY_PATTERN, KeySpec::somewhere(OVERWRITES)])
    .finder(finders::sort)
    .categories(&["list", "set", "sortedset", "dangerous"])
    .complexity("O(N+M*log(M)) for N elements of which M are given; O(N) without sorting")
    .summary("Gives or stores the elements of a list, a set or a sorted set in order."),
    |ctx, args| sort(ctx, args, false),
);

const SORT_RO: DataCommand = DataCommand::new(
    Spec::new(
        "sort_ro",
        Group::Generic,
        "7.0.0",
        -2,
        "key [ BY by-pattern~pattern:pattern#1 ] limit=[ LIMIT: offset:int count:int ] \
         [ GET get-pattern~pattern:pattern#1 ]... order=[ ASC | DESC ] [ sorting=ALPHA ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS), BY_PATTERN])
    .categories(&["list", "set", "sortedset", "dangerous"])
    .complexity("O(N+M*log(M)) for N elements of which M are given; O(N) without sorting")
    .summary("Gives the elements of a list, a set or a sorted set in order."),
    |ctx, args| sort(ctx, args, true),
);

/// How to sort and what to give.
struct Options<'a> {
    descending: bool,
    alpha: bool,
    offset: i64,
    count: i64,
    by: Option<&'a [u8]>,
    sorts: bool,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, read_only: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            descending: false,
            alpha: false,
            offset: 0,
            count: -1,
            by: None,
            sorts: true,
            get: Vec::new(),
            store: None,
        };
        let mut i = 2;
        while i < args.len() {
            let left = args.len() - i - 1;
            if args.is(i, "ASC") {
                options.descending = false;
            } else if args.is(i, "DESC") {
                options.descending = true;
            } else if args.is(i, "ALPHA") {
                options.alpha = true;
            } else if args.is(i, "LIMIT") && left >= 2 {
                (options.offset, options.count) = (args.int(i + 1)?, args.int(i + 2)?);
                i += 2;
            } else if args.is(i, "STORE") && left >= 1 && !read_only {
                options.store = Some(args.at(i + 1));
                i += 1;
            } else if args.is(i, "BY") && left >= 1 {
                options.by = Some(args.at(i + 1));
                // A pattern that names the same key for all elements orders nothing, and one such
                // BY is enough, whatever another says.
                options.sorts &= args.at(i + 1).contains(&b'*');
                i += 1;
            } else if args.is(i, "GET") && left >= 1 {
                options.get.push(args.at(i + 1));
                i += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }

    /// The places that LIMIT means, among so many.
    fn range(&self, len: usize) -> Range<usize> {
        let len_signed = len as i64;
        let start = self.offset.clamp(0, len_signed);
        let end = if self.count < 0 { len_signed } else { start + self.count.min(len_signed - start) };
        start as usize..end as usize
    }
}

/// Elements as text, one behind the other.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Elements {
    fn push(&mut self, element: Element<'_>) {
        match element {
            Element::Int(n) => num::push_i64(&mut self.bytes, n),
            Element::Bytes(bytes) => self.bytes.extend_from_slice(bytes),
        }
        self.ends.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn at(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }
}

/// The elements of a value, in its own order, and whether that order means something.
fn elements(value: Option<ValueRef<'_>>) -> Result<(Elements, bool), CommandError> {
    let mut all = Elements::default();
    match value {
        None => {}
        Some(ValueRef::List(list)) => list.iter().for_each(|element| all.push(element)),
        Some(ValueRef::Zset(zset)) => zset.iter().for_each(|(element, _)| all.push(element)),
        Some(ValueRef::Set(set)) => {
            set.iter().for_each(|element| all.push(element));
            return Ok((all, false));
        }
        Some(_) => return Err(CommandError::WrongType),
    }
    Ok((all, true))
}

fn sort(ctx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> Outcome {
    let mut options = Options::parse(args, read_only)?;
    ctx.data.counts_reads = true;
    let (all, is_ordered) = elements(ctx.data.view(args.at(1)))?;
    make_large(&mut ctx.data, args.at(1), &all);
    if !options.sorts && !is_ordered && (options.store.is_some() || ctx.data.for_script) {
        // What is stored must be the same wherever the command runs, and so must what a script makes of it.
        (options.sorts, options.alpha, options.by) = (true, true, None);
    }
    let order = if options.sorts {
        sorted(&mut ctx.data, &all, is_ordered, &options)?
    } else if options.descending && is_ordered {
        (0..all.len()).rev().collect()
    } else {
        (0..all.len()).collect::<Vec<_>>()
    };
    let order = &order[options.range(order.len())];
    let get: Vec<Pattern<'_>> = options.get.iter().map(|text| Pattern::new(text)).collect();
    match options.store {
        Some(key) => store(ctx, key, &all, order, &get),
        None => {
            let mut name = Vec::new();
            ctx.reply.array(order.len() * get.len().max(1));
            for &i in order {
                if get.is_empty() {
                    ctx.reply.bulk(all.at(i));
                }
                for pattern in &get {
                    let reply = &mut *ctx.reply;
                    pattern.with(&mut ctx.data, all.at(i), &mut name, |found| match found {
                        Some(text) => reply.bulk(text),
                        None => reply.null(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// Changes a small sorted set to the large form, as Redis does to walk through it: OBJECT ENCODING tells. No
/// data change, so nobody is told of it.
fn make_large(data: &mut Data<'_>, key: &[u8], all: &Elements) {
    if all.len() > 0 && matches!(data.db_ref().get(key), Some(ValueRef::Zset(ZsetRef::Listpack(_)))) {
        // It is there, and it is of this type.
        let _ = data.edit_zset(key, Zset::grow);
    }
}

fn store(ctx: &mut Context<'_>, key: &[u8], all: &Elements, order: &[usize], get: &[Pattern<'_>]) {
    let (mut list, limits, mut name) = (List::new(), ctx.data.limits, Vec::new());
    for &i in order {
        if get.is_empty() {
            list.push(End::Back, all.at(i), limits);
        }
        for pattern in get {
            pattern.with(&mut ctx.data, all.at(i), &mut name, |found| {
                list.push(End::Back, found.unwrap_or_default(), limits);
            });
        }
    }
    let len = list.len();
    if len > 0 {
        ctx.data.set(key, Value::List(list), None);
        ctx.data.wrote_many(Classes::LIST, "sortstore", key, len as u64);
    } else if ctx.data.remove(key) {
        ctx.data.wrote(Classes::GENERIC, "del", key);
    }
    ctx.reply.int(len as i64);
}

/// The places of the elements in the order that is asked for.
fn sorted(
    data: &mut Data<'_>,
    all: &Elements,
    is_ordered: bool,
    options: &Options<'_>,
) -> Result<Vec<usize>, CommandError> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    let direction = |ordering: Ordering| if options.descending { ordering.reverse() } else { ordering };
    if !options.alpha {
        let scores = scores(data, all, options.by)?;
        order.sort_by(|&a, &b| {
            let by_score = scores[a].partial_cmp(&scores[b]).unwrap_or(Ordering::Equal);
            direction(by_score.then_with(|| all.at(a).cmp(all.at(b))))
        });
    } else if let Some(pattern) = options.by {
        let (pattern, mut name) = (Pattern::new(pattern), Vec::new());
        let mut weight =
            |i| pattern.with(data, all.at(i), &mut name, |found: Option<&[u8]>| found.map(<[u8]>::to_vec));
        let weights: Vec<Option<Vec<u8>>> = (0..all.len()).map(&mut weight).collect();
        order.sort_by(|&a, &b| {
            // How a set happens to be laid out must not be seen; the order of a list is kept.
            let tie = || if is_ordered { Ordering::Equal } else { all.at(a).cmp(all.at(b)) };
            direction(weights[a].cmp(&weights[b]).then_with(tie))
        });
    } else {
        order.sort_by(|&a, &b| direction(all.at(a).cmp(all.at(b))));
    }
    Ok(order)
}

fn scores(data: &mut Data<'_>, all: &Elements, by: Option<&[u8]>) -> Result<Vec<f64>, CommandError> {
    let (by, mut name) = (by.map(Pattern::new), Vec::new());
    let score = |i: usize| match &by {
        None => score_of(all.at(i)),
        // What names nothing weighs nothing.
        Some(pattern) => pattern.with(data, all.at(i), &mut name, |found| found.map_or(Some(0.0), score_of)),
    };
    // Every weight is looked up, even behind a bad one, as lookups are counted.
    let scores: Vec<Option<f64>> = (0..all.len()).map(score).collect();
    let scores: Option<Vec<f64>> = scores.into_iter().collect();
    scores.ok_or(CommandError::text("ERR One or more scores can't be converted into double"))
}

/// A weight; hexadecimal numbers are none here.
fn score_of(text: &[u8]) -> Option<f64> {
    if text.contains(&b'x') || text.contains(&b'X') { None } else { num::parse_f64(text) }
}

/// A pattern of BY or GET, taken apart.
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// The string at the key that has the element between these, or the field of the hash there.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
    /// The same key for every element is none.
    Nothing,
}

impl<'a> Pattern<'a> {
    fn new(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|&byte| byte == b'*') else { return Pattern::Nothing };
        let (before, after) = (&text[..star], &text[star + 1..]);
        let arrow = after.windows(2).position(|two| two == b"->").filter(|at| at + 2 < after.len());
        let (after, field) = match arrow {
            Some(at) => (&after[..at], Some(&after[at + 2..])),
            None => (after, None),
        };
        Pattern::Key { before, after, field }
    }

    /// Shows `look` what the pattern names for an element; `key` is room to write names in.
    fn with<R>(
        &self,
        data: &mut Data<'_>,
        element: &[u8],
        key: &mut Vec<u8>,
        look: impl FnOnce(Option<&[u8]>) -> R,
    ) -> R {
        let (before, after, field) = match self {
            Pattern::Element => return look(Some(element)),
            Pattern::Nothing => return look(None),
            Pattern::Key { before, after, field } => (before, after, field),
        };
        key.clear();
        [before, element, after].iter().for_each(|part| key.extend_from_slice(part));
        let (now, mut int_text) = (data.expiry_time(), IntText::new());
        match (data.view(key), field) {
            (Some(ValueRef::String(text)), None) => look(Some(text.bytes(&mut int_text))),
            (Some(ValueRef::Hash(hash)), Some(field)) => match hash.get(field, now) {
                Some(value) => look(Some(value.text(&mut int_text))),
                None => look(None),
            },
            _ => look(None),
        }
    }
}
