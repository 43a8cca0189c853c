//! Keys as lines of commands that redis-cli reads: words with blanks, quotes or bytes that are no text in
//! double quotes.

use std::io::{self, Write};

use cairn_engine::base::words::{needs_quotes, push_quoted};
use cairn_engine::transcode::commands::Word;

use crate::parallel::{Start, Worker};
use crate::write::commands::{Commands, Payload, Taker};

/// Writes commands as lines.
#[derive(Debug)]
pub struct CommandLines<W> {
    out: W,
    line: Vec<u8>,
    text: Vec<u8>,
}

impl<W: Write> CommandLines<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new(), text: Vec::new() }
    }

    /// What it has written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn push(&mut self, words: &[Word<'_>]) {
        for word in words {
            if !self.line.is_empty() {
                self.line.push(b' ');
            }
            self.text.clear();
            word.push_to(&mut self.text);
            match needs_quotes(&self.text) {
                true => push_quoted(&mut self.line, &self.text),
                false => self.line.extend_from_slice(&self.text),
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        self.line.clear();
        self.line.shrink_to(1 << 20);
        self.text.shrink_to(1 << 20);
        Ok(())
    }
}

impl<W: Write> Taker for CommandLines<W> {
    fn command(&mut self, words: &[Word<'_>]) -> io::Result<()> {
        self.push(words);
        self.end()
    }

    fn with_payload(
        &mut self,
        before: &[Word<'_>],
        payload: &mut Payload,
        after: &[Word<'_>],
    ) -> io::Result<()> {
        self.push(before);
        self.line.extend_from_slice(b" \"");
        self.out.write_all(&self.line)?;
        let mut quoted = Vec::new();
        payload.copy_to(&mut |bytes| {
            for piece in bytes.chunks(64 << 10) {
                quoted.clear();
                push_quoted(&mut quoted, piece);
                // The quotes stand around all of the payload.
                self.out.write_all(&quoted[1..quoted.len() - 1])?;
            }
            Ok(())
        })?;
        self.line.clear();
        self.line.push(b'"');
        self.push(after);
        self.end()
    }
}

impl<T: Taker> Worker for Commands<T> {
    fn begin(&mut self, start: &Start) -> io::Result<()> {
        use cairn_engine::codec::rdb::Sink;
        match start.version {
            Some(version) => self.start(version),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
