//! LCS: the longest sequence of bytes that two strings have in common.
//!
//! The usual table, of which only two rows are held as numbers, and of the rest a bit a cell that says
//! which way the sequence came. Behaviour: valkey src/t_string.c, `lcsCommand`; the limit on the table
//! is the one that a table of whole numbers has there.

use crate::codec::resp::Reply;
use crate::value::{IntText, ValueRef};

use super::spec::{BeginSearch, FindKeys, Group, KeySpec, READONLY, READS, Spec};
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[LCS];

const LCS: DataCommand = DataCommand::new(
    Spec::new(
        "lcs",
        Group::String,
        "7.0.0",
        -3,
        "key1:key key2:key [ LEN ] [ IDX ] [ MINMATCHLEN min-match-len:int ] [ WITHMATCHLEN ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec {
        uses: READS,
        begin: BeginSearch::Index(1),
        find: FindKeys::Range { last: 1, step: 1, limit: 0 },
    }])
    .complexity("O(N*M) in the lengths of the two strings")
    .summary("Finds the longest sequence of bytes that the strings at two keys have in common."),
    lcs,
);

#[derive(Default)]
struct Options {
    length_only: bool,
    matches: bool,
    least_match: i64,
    with_length: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut i = 3;
        while i < args.len() {
            if args.is(i, "IDX") {
                options.matches = true;
            } else if args.is(i, "LEN") {
                options.length_only = true;
            } else if args.is(i, "WITHMATCHLEN") {
                options.with_length = true;
            } else if args.is(i, "MINMATCHLEN") && i + 1 < args.len() {
                options.least_match = args.int(i + 1)?;
                i += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        if options.length_only && options.matches {
            return Err(CommandError::text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

fn lcs(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let keys = [args.at(1), args.at(2)];
    // Both are looked up whatever the first one is: lookups are counted.
    let are_strings = keys.map(|key| matches!(ctx.data.view(key), None | Some(ValueRef::String(_))));
    if are_strings.contains(&false) {
        return Err(CommandError::text("ERR The specified keys must contain string values"));
    }
    let options = Options::parse(args)?;
    let mut int_texts = [IntText::new(), IntText::new()];
    let [a, b] = {
        let db = ctx.data.db_ref();
        let [first, second] = &mut int_texts;
        [(keys[0], first), (keys[1], second)].map(|(key, int_text)| match db.get(key) {
            Some(ValueRef::String(text)) => text.bytes(int_text),
            _ => b"",
        })
    };
    check_sizes(a.len(), b.len(), ctx.data.limits.max_string_bytes)?;
    let table = Table::build(a, b, !options.length_only);
    if options.length_only {
        ctx.reply.int(i64::from(table.len));
    } else if options.matches {
        write_matches(ctx.reply, &table, a, b, &options);
    } else {
        let mut common = Vec::with_capacity(table.len as usize);
        table.trace(a, b, |step| {
            if let Step::Match(i, _) = step {
                common.push(a[i]);
            }
        });
        common.reverse();
        ctx.reply.bulk(&common);
    }
    Ok(())
}

fn check_sizes(a: usize, b: usize, max_bytes: usize) -> Outcome {
    const LONGEST: usize = u32::MAX as usize - 1;
    const CELL_BYTES: u64 = 4;
    if a >= LONGEST || b >= LONGEST {
        return Err(CommandError::text("ERR String too long for LCS"));
    }
    let cells = (a as u64 + 1) * (b as u64 + 1);
    if cells.checked_mul(CELL_BYTES).is_none_or(|bytes| bytes > max_bytes as u64) {
        return Err(CommandError::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}

/// Which way the longest sequence came, for each pair of prefixes.
struct Table {
    len: u32,
    width: usize,
    /// Row by row: set where the sequence is longer without the last byte of `b`'s prefix kept fixed,
    /// that is, where leaving out the last byte of `a` loses nothing and that of `b` does.
    drops_a: Vec<u64>,
}

impl Table {
    fn build(a: &[u8], b: &[u8], with_ways: bool) -> Table {
        let words = b.len().div_ceil(64);
        let mut drops_a = vec![0; if with_ways { words * a.len() } else { 0 }];
        let mut above = vec![0_u32; b.len() + 1];
        let mut row = above.clone();
        for (i, byte) in a.iter().enumerate() {
            let mut left = 0;
            let ways = if with_ways { &mut drops_a[i * words..(i + 1) * words] } else { &mut [][..] };
            for (j, other) in b.iter().enumerate() {
                left = if byte == other {
                    above[j] + 1
                } else {
                    if above[j + 1] > left
                        && let Some(word) = ways.get_mut(j / 64)
                    {
                        *word |= 1 << (j % 64);
                    }
                    above[j + 1].max(left)
                };
                row[j + 1] = left;
            }
            std::mem::swap(&mut above, &mut row);
        }
        Table { len: above[b.len()], width: words, drops_a }
    }

    /// Walks back from the ends of both strings to a beginning, and tells each step.
    fn trace(&self, a: &[u8], b: &[u8], mut visit: impl FnMut(Step)) {
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                visit(Step::Match(i, j));
                continue;
            }
            let word = self.drops_a[(i - 1) * self.width + (j - 1) / 64];
            if word >> ((j - 1) % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
            visit(Step::Skip);
        }
    }
}

/// A step of the way back.
enum Step {
    /// These bytes are the same and in the sequence.
    Match(usize, usize),
    /// A byte of one string was left out.
    Skip,
}

/// Bytes that are in the sequence in a row: first and last place in each string.
#[derive(Clone, Copy)]
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

fn write_matches(reply: &mut Reply, table: &Table, a: &[u8], b: &[u8], options: &Options) {
    reply.map(2);
    reply.bulk(b"matches");
    let begun = reply.begin_array();
    let mut count = 0;
    let mut emit = |found: Match| {
        let len = (found.a.1 - found.a.0 + 1) as i64;
        if len < options.least_match {
            return;
        }
        count += 1;
        reply.array(2 + usize::from(options.with_length));
        for (first, last) in [found.a, found.b] {
            reply.array(2);
            reply.int(first as i64);
            reply.int(last as i64);
        }
        if options.with_length {
            reply.int(len);
        }
    };
    let mut open: Option<Match> = None;
    table.trace(a, b, |step| match step {
        Step::Skip => open.take().into_iter().for_each(&mut emit),
        Step::Match(i, j) => match &mut open {
            Some(found) => (found.a.0, found.b.0) = (i, j),
            None => open = Some(Match { a: (i, i), b: (j, j) }),
        },
    });
    open.into_iter().for_each(&mut emit);
    reply.end_array(begun, count);
    reply.bulk(b"len");
    reply.int(i64::from(table.len));
}
