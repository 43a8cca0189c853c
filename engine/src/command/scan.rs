//! What SCAN, HSCAN, SSCAN and ZSCAN share: options and the cursor's form.

use crate::base::{glob, num};
use crate::codec::resp::Reply;

use super::{Args, CommandError};

/// Elements looked at in a call that does not say how many.
const DEFAULT_COUNT: usize = 10;

/// The options after a cursor.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    /// About how many elements to look at.
    pub(super) count: usize,
    /// Type of keys to list (SCAN only).
    pub(super) type_name: Option<&'a [u8]>,
    /// Leave the values out (HSCAN NOVALUES, ZSCAN NOSCORES).
    pub(super) names_only: bool,
}

impl<'a> ScanOptions<'a> {
    /// Parses the arguments from `i` on; of the words that not all of the family take, only `extra`.
    ///
    /// # Errors
    /// `Syntax`, or `NotInteger` for the count.
    pub(super) fn parse(
        args: Args<'a>,
        mut i: usize,
        extra: &[&str],
    ) -> Result<ScanOptions<'a>, CommandError> {
        let mut options =
            ScanOptions { pattern: None, count: DEFAULT_COUNT, type_name: None, names_only: false };
        while i < args.len() {
            let has_value = i + 1 < args.len();
            let takes = |word: &str| extra.contains(&word) && args.is(i, word);
            if args.is(i, "COUNT") && has_value {
                let count = args.int(i + 1)?;
                if count < 1 {
                    return Err(CommandError::Syntax);
                }
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
                i += 1;
            } else if args.is(i, "MATCH") && has_value {
                // A lone star takes everything: no need to match it.
                options.pattern = Some(args.at(i + 1)).filter(|p| *p != b"*");
                i += 1;
            } else if takes("TYPE") && has_value {
                options.type_name = Some(type_argument(args.at(i + 1))?);
                i += 1;
            } else if takes("NOVALUES") || takes("NOSCORES") {
                options.names_only = true;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }

    /// True if the pattern, if there is one, takes this name.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }
}

/// The types of ours, and what modules may call theirs.
fn may_be_type(name: &[u8]) -> bool {
    const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];
    const MODULE_TYPE_CHARS: usize = 9;
    name.len() == MODULE_TYPE_CHARS || TYPES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn type_argument(name: &[u8]) -> Result<&[u8], CommandError> {
    if may_be_type(name) {
        return Ok(name);
    }
    Err(CommandError::naming("ERR unknown type name '", name, "'"))
}

/// Argument `i` as a cursor.
///
/// # Errors
/// `InvalidCursor`.
pub(super) fn cursor_argument(args: Args<'_>, i: usize) -> Result<u64, CommandError> {
    let text = args.at(i);
    num::parse_u64(text).or_else(|| lenient(text)).ok_or(CommandError::InvalidCursor)
}

/// Leading white space, a sign and leading zeros pass, as C's `strtoull` lets them; nothing below zero.
fn lenient(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    let value =
        if zeros == digits.len() { (zeros > 0).then_some(0) } else { num::parse_u64(&digits[zeros..]) };
    value.filter(|value| !is_negative || *value == 0)
}

/// Writes a cursor: decimal text.
pub(super) fn write_cursor(reply: &mut Reply, cursor: u64) {
    reply.bulk_display(cursor);
}
