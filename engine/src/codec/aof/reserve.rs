//! The reserve: lines without a meaning behind the end of a log's file, which its next blocks are written over.
//!
//! A sync of a file that has grown has to bring its new size to the disk as well, and with it what the file
//! system keeps of its own. A file whose bytes were there before is spared that. Each line is 64 bytes at an
//! offset that 64 divides: `#` and a newline, to every server since Redis 7.0 an annotation, which it skips. The
//! last line has `=` instead, so that what another server appends behind it is told from the end of a block whose
//! beginning never reached the disk. The first line begins where the log ends, wherever that is.
//!
//! Only files of checked blocks have one: without checksums nobody could tell what was written over it.

use std::ops::Range;

/// Bytes of a line, its end counted.
pub const LINE_BYTES: u64 = 64;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// Appends the reserve for these offsets, the last line at its end. `range.end` must be a multiple of
/// [`LINE_BYTES`]; `is_first` if a log ends at `range.start`.
pub fn push(out: &mut Vec<u8>, range: Range<u64>, is_first: bool) {
    let (first, end) = (out.len(), range.end);
    push_part(out, range, end);
    if is_first && let Some(byte) = out.get_mut(first) {
        *byte = b'#';
    }
}

/// Appends what a reserve that goes up to `end` has at these offsets.
pub fn push_part(out: &mut Vec<u8>, range: Range<u64>, end: u64) {
    const LINE: [u8; LINE_BYTES as usize] = {
        let mut line = [b'#'; LINE_BYTES as usize];
        line[LINE_BYTES as usize - 1] = b'\n';
        line
    };
    let (first, mut at) = (out.len(), range.start);
    while at < range.end {
        let in_line = at % LINE_BYTES;
        let n = (LINE_BYTES - in_line).min(range.end - at);
        out.extend_from_slice(&LINE[in_line as usize..(in_line + n) as usize]);
        at += n;
    }
    let offset = |at: u64| first + (at.clamp(range.start, range.end) - range.start) as usize;
    let last_line = offset(end.saturating_sub(LINE_BYTES) + 1)..offset(end.saturating_sub(1));
    out[last_line].fill(b'=');
}

/// Whether a log that ends at this offset needs a `#` behind it: the byte that is there ends a line.
#[must_use]
pub fn ends_line(offset: u64) -> bool {
    byte_at(offset) == b'\n'
}

fn byte_at(offset: u64) -> u8 {
    if offset % LINE_BYTES == LINE_BYTES - 1 { b'\n' } else { b'#' }
}

/// Whether what starts at offset `at` is a reserve of two bytes at least. The end of a line comes first if
/// the write of a log's end was interrupted in front of the byte that goes in its place.
pub(super) fn starts(input: &[u8], at: u64) -> bool {
    match input {
        [b'#', b'#' | b'=' | b'\n', ..] => true,
        [b'\n', b'#', b'#' | b'=', ..] => ends_line(at),
        _ => false,
    }
}

/// Whether a reserve may have this byte at this offset.
fn fits(byte: u8, offset: u64) -> bool {
    match offset % LINE_BYTES {
        0 => byte == b'#',
        place if place == LINE_BYTES - 1 => byte == b'\n',
        _ => matches!(byte, b'#' | b'='),
    }
}

/// How many bytes at the front of `input`, which starts at offset `at`, are those of a reserve. The first
/// of a line does not count alone, unless nothing follows it.
pub(super) fn matching(input: &[u8], at: u64, is_last: bool) -> usize {
    let n = (at..).zip(input).take_while(|(offset, byte)| fits(**byte, *offset)).count();
    let is_alone = n > 0 && (at + n as u64) % LINE_BYTES == 1 && !(is_last && n == input.len());
    n - usize::from(is_alone)
}

/// How many bytes of `file` a reserve leaves at its front that goes up to its end; `at` is the offset of the
/// first. It may be one more: then that byte is what the reserve would have there, too.
#[must_use]
pub fn before(file: &[u8], at: u64) -> usize {
    let mut offsets = (at..at + file.len() as u64).rev().zip(file.iter().rev());
    let len = offsets.by_ref().take_while(|(offset, byte)| fits(**byte, *offset)).count();
    let start = file.len() - len;
    // The first byte takes the place of the end of a line.
    let is_merged = start > 0 && file[start - 1] == b'#' && ends_line(at + start as u64 - 1);
    start - usize::from(is_merged)
}

/// Looks for the reserve at the end of bytes that are given from front to back.
#[derive(Debug)]
pub struct Ending {
    at: u64,
    start: u64,
    last: [u8; 2],
}

impl Ending {
    /// The first bytes will be those at offset `at`.
    #[must_use]
    pub fn new(at: u64) -> Ending {
        Ending { at, start: at, last: [0; 2] }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let left = before(bytes, self.at) as u64;
        if left > 0 {
            self.start = self.at + left;
        }
        self.at += bytes.len() as u64;
        for byte in &bytes[bytes.len().saturating_sub(2)..] {
            self.last = [self.last[1], *byte];
        }
    }

    /// Where the reserve starts that goes up to the end of what was given, its last line whole; the end, if there
    /// is none. It may be a byte more than [`before`] would leave.
    #[must_use]
    pub fn start(&self) -> u64 {
        let is_whole = is_last_line(self.last) && ends_line(self.at.wrapping_sub(1));
        if is_whole { self.start } else { self.at }
    }
}

/// Whether a line that ends so is the last.
pub(super) fn is_last_line(end: [u8; 2]) -> bool {
    end == *b"=\n"
}

/// Whether the reserve shows within a block: some of it was not written.
///
/// It does where the block's end is the reserve's, as its commands end otherwise, and where a sector of the
/// disk is the reserve's from end to end.
#[derive(Debug)]
pub(super) struct Holes {
    at: u64,
    end: u64,
    sector_fits: bool,
    last: [u8; 2],
    pub(super) found: bool,
}

impl Holes {
    /// Of a block at these offsets.
    pub(super) fn new(block: Range<u64>) -> Holes {
        Holes { at: block.start, end: block.end, sector_fits: true, last: [0; 2], found: false }
    }

    /// Takes the next bytes; those behind the block do not count.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.at >= self.end || self.found {
                return;
            }
            if self.at.is_multiple_of(SECTOR_BYTES) {
                self.sector_fits = true;
            }
            self.sector_fits &= *byte == byte_at(self.at);
            self.last = [self.last[1], *byte];
            self.at += 1;
            let is_sector = self.at.is_multiple_of(SECTOR_BYTES) && self.sector_fits;
            let is_end = self.at == self.end && matches!(self.last, [_, b'#'] | [b'#', b'\n']);
            self.found = is_sector || is_end;
        }
    }
}

/// Whether a block's line, with which `input` starts at offset `at`, goes over into a reserve before it ends.
pub(super) fn cuts_line(input: &[u8], at: u64, longest: usize) -> bool {
    let window = &input[..input.len().min(longest + LINE_BYTES as usize)];
    let Some(newline) = memchr::memchr(b'\n', window) else { return false };
    // Commands never follow a block's line like that.
    let goes_on = matches!(window[newline + 1..], [b'#', b'#' | b'=', ..]);
    newline > 0 && (window[newline - 1] == b'#' || goes_on) && ends_line(at + newline as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_start_where_64_divides_and_the_last_is_marked() {
        let mut bytes = Vec::new();
        push(&mut bytes, 60..192, true);
        assert_eq!(&bytes[..8], b"###\n####");
        assert_eq!(&bytes[66..70], b"#\n#=");
        assert!(bytes.ends_with(b"==\n"));
        assert_eq!(matching(&bytes, 60, true), bytes.len());
        assert_eq!(matching(&bytes[1..], 60, true), 2, "it is in its place or not there");
        assert_eq!(
            (matching(b"#", 64, true), matching(b"#", 64, false), matching(b"#T", 64, true)),
            (1, 0, 0)
        );
        let mut at_end = Vec::new();
        push(&mut at_end, 63..192, true);
        assert_eq!(&at_end[..3], b"###", "never an empty line");
        assert!(starts(&at_end, 63) && starts(b"\n##", 63) && !starts(b"\n##", 64));
        assert!(!starts(b"#", 63) && !starts(b"#CK:", 63) && !starts(b"*1", 63));
    }

    #[test]
    fn the_end_in_front_of_a_reserve_is_found() {
        for end in 60..70 {
            for log in [&b"ab"[..], b"a\n", b"ab\r\n"] {
                let mut file = log.to_vec();
                push(&mut file, end..192, true);
                let before = before(&file, end - log.len() as u64);
                let is_either = ends_line(end - 1) && log.ends_with(b"\n");
                assert_eq!(before, log.len() - usize::from(is_either), "{end}");
            }
        }
    }

    #[test]
    fn holes_are_whole_sectors_and_ends() {
        let found = |block: Range<u64>, written: Range<u64>| {
            let mut bytes = Vec::new();
            push(&mut bytes, 0..8192, false);
            let (from, to) = (written.start as usize, written.end as usize);
            bytes[from..to].fill(b'a');
            bytes[to - 2..to].copy_from_slice(b"\r\n");
            let mut holes = Holes::new(block.clone());
            bytes[block.start as usize..].chunks(100).for_each(|piece| holes.push(piece));
            holes.found
        };
        assert!(!found(100..3000, 100..3000));
        for cut in 102..3000 {
            // Where only the newline of a line is left, it is what was to be written there.
            let is_same = cut == 2999 && ends_line(2999);
            assert_eq!(found(100..3000, 100..cut), !is_same, "{cut}");
        }
        assert!(found(100..3000, 512..3000) && found(100..3000, 1024..3000));
        assert!(!found(100..3000, 101..3000), "less than a sector is not how disks tear");
    }

    #[test]
    fn a_line_may_be_cut_by_a_reserve() {
        let mut bytes = Vec::new();
        push(&mut bytes, 0..256, false);
        let line = b"#CK:200:100:0123456789abcdef\r\n*1";
        for start in 0..64 {
            for cut in 1..line.len() - 3 {
                let mut torn = bytes[start..].to_vec();
                torn[..cut].copy_from_slice(&line[..cut]);
                assert!(cuts_line(&torn, start as u64, 70), "{start} {cut}");
            }
            let mut whole = bytes[start..].to_vec();
            whole[..line.len()].copy_from_slice(line);
            assert!(!cuts_line(&whole, start as u64, 70));
        }
    }
}
