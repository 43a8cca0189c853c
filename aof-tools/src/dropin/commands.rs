//! Commands read as redis-check-aof reads them, with its words for what is wrong.

use cairn_engine::codec::aof::record::MAX_ANNOTATION_BYTES;

/// A line with a length is read into a buffer of this size, the last byte of which ends it.
const LENGTH_LINE_BYTES: usize = 127;

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// At the end of the file, or at a fault that [`Commands::error`] tells.
    Broken,
    /// At a byte that starts nothing.
    FormatError,
    /// At a `#TS:` without a number.
    BadTimestamp,
    /// At this offset, where the first timestamp above the wanted one stands.
    PastTimestamp(usize),
}

/// The commands of one file.
pub(super) struct Commands<'a> {
    bytes: &'a [u8],
    /// Where the next read starts.
    at: usize,
    /// Whether a read has come upon the end of the file.
    at_end: bool,
    /// Where the last read started: the offset in complaints.
    read_at: usize,
    /// What complaints call the file.
    name: &'a [u8],
    to_timestamp: i64,
    lines: i64,
    valid_up_to: usize,
    error: Option<Vec<u8>>,
}

/// The record cannot be read; what is wrong has been noted, if anything.
struct Broken;

impl<'a> Commands<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, name: &'a [u8], to_timestamp: i64) -> Self {
        Self {
            bytes,
            at,
            at_end: false,
            read_at: 0,
            name,
            to_timestamp,
            lines: 0,
            valid_up_to: at,
            error: None,
        }
    }

    pub(super) fn error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }

    pub(super) fn valid_up_to(&self) -> usize {
        self.valid_up_to
    }

    pub(super) fn lines(&self) -> i64 {
        self.lines
    }

    /// Reads to the end or the first fault; `lines` have been counted before.
    pub(super) fn run(&mut self, lines: i64) -> Ended {
        self.lines = lines;
        let mut open = 0i64;
        let ended = loop {
            if open == 0 {
                self.valid_up_to = self.at;
            }
            match self.bytes.get(self.at) {
                None => {
                    self.at_end = true;
                    break Ended::Broken;
                }
                Some(b'#') => {
                    if let Some(ended) = self.annotation() {
                        return ended;
                    }
                }
                Some(b'*') => {
                    if self.command(&mut open).is_err() {
                        break Ended::Broken;
                    }
                }
                Some(_) => break Ended::FormatError,
            }
        };
        if ended == Ended::Broken && self.at_end && open != 0 && self.error.is_none() {
            self.complain(b"Reached EOF before reading EXEC for MULTI");
        }
        ended
    }

    fn complain(&mut self, text: &[u8]) {
        // The text is built as a C string, so a NUL in it ends it.
        let text = c_string(text);
        self.error = Some([format!("0x{:16x}: ", self.read_at).as_bytes(), text].concat());
    }

    /// A line of at most `most` bytes, with its end; empty at the end of the file.
    fn line(&mut self, most: usize) -> &'a [u8] {
        self.read_at = self.at;
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(most)];
        let newline = memchr::memchr(b'\n', window);
        let line = &window[..newline.map_or(window.len(), |at| at + 1)];
        self.at_end = newline.is_none() && line.len() < most;
        self.at += line.len();
        line
    }

    fn newline(&mut self, bytes: [u8; 2]) -> Result<(), Broken> {
        if bytes == *b"\r\n" {
            self.lines += 1;
            return Ok(());
        }
        // Bytes above 0x7f are negative numbers there, and printed as such.
        let [first, second] = bytes.map(|b| i32::from(b.cast_signed()));
        self.complain(format!("Expected \\r\\n, got: {first:02x}{second:02x}").as_bytes());
        Err(Broken)
    }

    fn length(&mut self, prefix: u8) -> Result<i64, Broken> {
        let line = self.line(LENGTH_LINE_BYTES);
        let (Some(first), Some(rest)) = (line.first(), line.get(1..)) else { return Err(Broken) };
        if *first != prefix {
            self.complain(&[b"Expected prefix '", &[prefix][..], b"', got: '", &[*first], b"'"].concat());
            return Err(Broken);
        }
        let text = c_string(rest);
        let (number, behind) = leading_clamped(text);
        let next = |i: usize| behind.get(i).copied().unwrap_or(0);
        self.newline([next(0), next(1)])?;
        Ok(number)
    }

    fn string(&mut self) -> Result<&'a [u8], Broken> {
        let len = self.length(b'$')?;
        if !(0..=i64::MAX - 2).contains(&len) {
            let text = format!("Expected to read string of {len} bytes, which is not in the suitable range");
            self.complain(text.as_bytes());
            return Err(Broken);
        }
        self.read_at = self.at;
        let rest = &self.bytes[self.at..];
        let with_end = len + 2;
        let whole = usize::try_from(with_end).ok().and_then(|n| rest.get(..n));
        let Some(whole) = whole else {
            self.at = self.bytes.len();
            self.at_end = true;
            self.complain(format!("Expected to read {with_end} bytes, got {} bytes", rest.len()).as_bytes());
            return Err(Broken);
        };
        self.at += whole.len();
        let (string, end) = whole.split_last_chunk::<2>().expect("two bytes more than a length");
        self.newline(*end)?;
        Ok(string)
    }

    fn command(&mut self, open: &mut i64) -> Result<(), Broken> {
        let argc = self.length(b'*')?;
        for i in 0..argc {
            let arg = c_string(self.string()?);
            if i > 0 {
                continue;
            }
            let (name, is_paired) = if arg.eq_ignore_ascii_case(b"multi") {
                *open += 1;
                ("MULTI", *open == 1)
            } else if arg.eq_ignore_ascii_case(b"exec") {
                *open -= 1;
                ("EXEC", *open == 0)
            } else {
                continue;
            };
            if !is_paired {
                self.complain(&[b"Unexpected ", name.as_bytes(), b" in AOF ", self.name].concat());
                return Err(Broken);
            }
        }
        Ok(())
    }

    /// Reads an annotation; what ends the run, if it does.
    fn annotation(&mut self) -> Option<Ended> {
        let line = self.line(MAX_ANNOTATION_BYTES - 1);
        let text = c_string(line).strip_prefix(b"#TS:")?;
        if self.to_timestamp == 0 {
            return None;
        }
        match leading_long(text) {
            Some((seconds, [b'\r', ..])) if seconds <= self.to_timestamp => None,
            Some((_, [b'\r', ..])) => Some(Ended::PastTimestamp(self.read_at)),
            _ => Some(Ended::BadTimestamp),
        }
    }
}

fn c_string(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// A number as `strtol` reads it and what follows it; `None` if it does not fit.
///
/// Without digits the number is 0 and everything follows it.
pub(super) fn leading_long(text: &[u8]) -> Option<(i64, &[u8])> {
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let (sign, signs) = match text.get(blanks) {
        Some(b'-') => (-1, 1),
        Some(b'+') => (1, 1),
        _ => (1, 0),
    };
    let digits = &text[blanks + signs..];
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return Some((0, text));
    }
    let number = digits[..len].iter().try_fold(0i64, |number, digit| {
        number.checked_mul(10)?.checked_add(sign * i64::from(digit - b'0'))
    })?;
    Some((number, &digits[len..]))
}

/// The same where a number that does not fit becomes the nearest that does.
fn leading_clamped(text: &[u8]) -> (i64, &[u8]) {
    if let Some(read) = leading_long(text) {
        return read;
    }
    let (before, digits) = text.split_at(text.iter().position(u8::is_ascii_digit).unwrap_or(text.len()));
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    (if before.ends_with(b"-") { i64::MIN } else { i64::MAX }, &digits[len..])
}

#[cfg(test)]
mod tests {
    use super::{leading_clamped, leading_long};

    #[test]
    fn numbers_are_read_as_strtol_reads_them() {
        assert_eq!(leading_long(b" +12\r\n"), Some((12, &b"\r\n"[..])));
        assert_eq!(leading_long(b"-5x"), Some((-5, &b"x"[..])));
        assert_eq!(leading_long(b"x"), Some((0, &b"x"[..])));
        assert_eq!(leading_long(b"- 5"), Some((0, &b"- 5"[..])));
        assert_eq!(leading_long(b"-9223372036854775808"), Some((i64::MIN, &b""[..])));
        assert_eq!(leading_long(b"9223372036854775808"), None);
        assert_eq!(leading_clamped(b"-99999999999999999999\r\n"), (i64::MIN, &b"\r\n"[..]));
        assert_eq!(leading_clamped(b"99999999999999999999x"), (i64::MAX, &b"x"[..]));
    }
}
