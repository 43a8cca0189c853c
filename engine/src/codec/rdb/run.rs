//! Runs of short strings: what most small collections of the plain types consist of.
//!
//! A decoder looks how far such a run goes, and gives it to the sink at once: an event for each string
//! costs more than what is done with it. A string of a run stands in the window as it is, in fewer than 64
//! bytes, or as an integer; neither a longer nor a compressed one belongs to a run.

use super::string_form;
use crate::packed::listpack::Short;

const INT8: u8 = 0xc0 | string_form::INT8;
const INT16: u8 = 0xc0 | string_form::INT16;
const INT32: u8 = 0xc0 | string_form::INT32;

/// Strings that stand one behind the other.
#[derive(Debug, Clone)]
pub struct ShortRun<'a> {
    /// They, and all that is in the window behind them.
    rest: &'a [u8],
    left: usize,
    bytes: usize,
}

impl<'a> ShortRun<'a> {
    /// The longest run with which `input` begins, of at most `most` groups of `group` strings each.
    #[inline]
    pub(super) fn of(input: &'a [u8], most: u64, group: usize) -> ShortRun<'a> {
        let mut bytes = 0;
        let mut groups = 0;
        'groups: while (groups as u64) < most {
            let mut at = bytes;
            for _ in 0..group {
                let Some(&first) = input.get(at) else { break 'groups };
                let len = match first {
                    0..0x40 => 1 + usize::from(first),
                    INT8 => 2,
                    INT16 => 3,
                    INT32 => 5,
                    _ => break 'groups,
                };
                if len > input.len() - at {
                    break 'groups;
                }
                at += len;
            }
            bytes = at;
            groups += 1;
        }
        ShortRun { rest: input, left: groups * group, bytes }
    }

    /// How many strings are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The bytes of all of them in the file, those that are not left any more included. In a listpack each
    /// takes one byte more at the most.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes
    }
}

impl<'a> Iterator for ShortRun<'a> {
    type Item = Short<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Short<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (&first, rest) = self.rest.split_first()?;
        if first < 0x40 {
            let len = usize::from(first);
            self.rest = rest.get(len..)?;
            return Some(Short::Text { from: rest, len });
        }
        let (value, rest) = match first {
            INT8 => rest.split_first_chunk().map(|(v, rest)| (i64::from(i8::from_le_bytes(*v)), rest)),
            INT16 => rest.split_first_chunk().map(|(v, rest)| (i64::from(i16::from_le_bytes(*v)), rest)),
            _ => rest.split_first_chunk().map(|(v, rest)| (i64::from(i32::from_le_bytes(*v)), rest)),
        }?;
        self.rest = rest;
        Some(Short::Int(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ShortRun;
    use crate::codec::rdb::read::Cursor;
    use crate::packed::IntText;

    /// What a cursor reads, string by string, as long as that is what a run may consist of.
    fn by_cursor(input: &[u8], most: usize) -> (Vec<Vec<u8>>, usize) {
        let mut cursor = Cursor::new(input, 0);
        let mut strings = Vec::new();
        let mut end = 0;
        while strings.len() < most
            && input.get(end).is_some_and(|first| matches!(first, 0..0x40 | 0xc0..=0xc2))
        {
            let mut scratch = Vec::new();
            let Ok(string) = cursor.str() else { break };
            strings.push(string.bytes(&mut scratch).expect("nothing is compressed").to_vec());
            end = cursor.pos;
        }
        (strings, end)
    }

    fn string() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (0u8..64).prop_map(|len| [vec![len], vec![b'a'; usize::from(len)]].concat()),
            1 => any::<u8>().prop_map(|v| vec![0xc0, v]),
            1 => any::<[u8; 2]>().prop_map(|v| [&[0xc1][..], &v].concat()),
            1 => any::<[u8; 4]>().prop_map(|v| [&[0xc2][..], &v].concat()),
        ]
    }

    proptest! {
        #[test]
        fn a_run_is_what_is_read_one_by_one(
            strings in prop::collection::vec(string(), 0..12),
            behind in prop::collection::vec(any::<u8>(), 0..12),
            cut in any::<prop::sample::Index>(),
            most in 0u64..14,
            group in 1usize..3,
        ) {
            let mut input = [strings.concat(), behind].concat();
            input.truncate(cut.index(input.len() + 1));
            let run = ShortRun::of(&input, most, group);
            let whole = by_cursor(&input, most as usize * group).0.len() / group * group;
            let (expected, end) = by_cursor(&input, whole);
            prop_assert_eq!((run.len(), run.is_empty()), (whole, whole == 0));
            prop_assert_eq!(run.byte_len(), end);
            let got: Vec<Vec<u8>> = run.map(|string| string.text(&mut IntText::new()).to_vec()).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
