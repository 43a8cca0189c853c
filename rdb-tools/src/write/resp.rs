//! Commands as the bytes that clients send and append only files have.

use std::io::{self, Write};

use cairn_engine::transcode::commands::Word;

use super::commands::{Payload, Taker};

/// Writes commands as RESP.
#[derive(Debug)]
pub struct Resp<W> {
    out: W,
    /// Bytes written.
    bytes: u64,
}

impl<W: Write> Resp<W> {
    /// A taker that writes to `out`, which should be buffered.
    pub fn new(out: W) -> Self {
        Self { out, bytes: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it has written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn length(&mut self, prefix: u8, len: u64) -> io::Result<()> {
        self.put(&[prefix])?;
        self.put(itoa::Buffer::new().format(len).as_bytes())?;
        self.put(b"\r\n")
    }

    fn word(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length(b'$', bytes.len() as u64)?;
        self.put(bytes)?;
        self.put(b"\r\n")
    }

    fn words(&mut self, words: &[Word<'_>]) -> io::Result<()> {
        let mut text = Vec::new();
        words.iter().try_for_each(|word| match word {
            Word::Bytes(bytes) => self.word(bytes),
            other => {
                text.clear();
                other.push_to(&mut text);
                self.word(&text)
            }
        })
    }
}

impl<W: Write> Taker for Resp<W> {
    fn command(&mut self, words: &[Word<'_>]) -> io::Result<()> {
        self.length(b'*', words.len() as u64)?;
        self.words(words)
    }

    fn with_payload(
        &mut self,
        before: &[Word<'_>],
        payload: &mut Payload,
        after: &[Word<'_>],
    ) -> io::Result<()> {
        self.length(b'*', (before.len() + 1 + after.len()) as u64)?;
        self.words(before)?;
        self.length(b'$', payload.len())?;
        payload.copy_to(&mut |bytes| self.put(bytes))?;
        self.put(b"\r\n")?;
        self.words(after)
    }
}
