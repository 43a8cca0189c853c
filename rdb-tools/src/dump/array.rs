//! JSON lines on their way into one JSON array.

use std::io::{self, Write};

/// Takes lines, and writes them as the members of an array, each in a line of its own.
#[derive(Debug)]
pub struct Array<W> {
    out: W,
    has_members: bool,
    is_at_start: bool,
}

impl<W: Write> Array<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, has_members: false, is_at_start: true }
    }

    /// Ends the array.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(if self.has_members { b"\n]\n" } else { b"[]\n" })?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Array<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // JSON has no line end inside of a line.
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            if self.is_at_start {
                self.out.write_all(if self.has_members { b",\n" } else { b"[\n" })?;
                self.has_members = true;
            }
            let line = piece.strip_suffix(b"\n");
            self.is_at_start = line.is_some();
            self.out.write_all(line.unwrap_or(piece))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Array, Write};

    #[test]
    fn lines_become_members_however_they_come() {
        let made = |pieces: &[&str]| {
            let mut array = Array::new(Vec::new());
            pieces.iter().for_each(|piece| array.write_all(piece.as_bytes()).expect("memory"));
            String::from_utf8(array.finish().expect("memory")).expect("is text")
        };
        assert_eq!(made(&[]), "[]\n");
        assert_eq!(made(&["{}\n"]), "[\n{}\n]\n");
        assert_eq!(made(&["{", "}\n{}\n", "{\"a\":1", "}\n"]), "[\n{},\n{},\n{\"a\":1}\n]\n");
    }
}
