//! What DUMP answers and RESTORE takes, gathered piece by piece, in memory while it is small.

use std::io;

use cairn_engine::base::crc64::Crc64;
use cairn_engine::codec::rdb::{Drain, ObjectType, Target, Writer, WriterOptions, opcode};

use super::super::spool::{Piece, Spool};
use super::super::transcode::Transcoder;

/// A payload: what comes before the value, the value, version and checksum.
#[derive(Debug, Default)]
pub struct Payload {
    header: Vec<u8>,
    value: Spool,
    footer: Vec<u8>,
}

impl Payload {
    /// Bytes of all of it.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.header.len() + self.footer.len()) as u64 + self.value.len()
    }

    /// Whether nothing has been gathered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn clear(&mut self) {
        self.header.clear();
        self.value.clear();
        self.footer.clear();
    }

    /// More of the value.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.value.drain(bytes)
    }

    /// Takes over a value that was written anew.
    pub(super) fn take_from(&mut self, transcoder: &mut Transcoder) -> io::Result<()> {
        let mut w = Writer::new(&mut self.value, WriterOptions { compress: true, checksum: false });
        transcoder.write_to(&mut w)?;
        w.into_drain().map(|_| ())
    }

    pub(super) fn set_header(&mut self, meta: Option<&[u8]>, object: ObjectType) {
        self.header.clear();
        if let Some(meta) = meta {
            self.header.push(opcode::KEY_META);
            self.header.extend_from_slice(meta);
        }
        self.header.push(object.byte());
    }

    /// Appends version and checksum.
    pub(super) fn end(&mut self, target: Target) -> io::Result<()> {
        self.footer.clear();
        self.footer.extend_from_slice(&target.version().number.to_le_bytes());
        let mut crc = Crc64::new();
        self.copy_to(&mut |bytes| {
            crc.update(bytes);
            Ok(())
        })?;
        self.footer.extend_from_slice(&crc.value().to_le_bytes());
        Ok(())
    }

    /// Hands on all of it in pieces. It can be read again.
    ///
    /// # Errors
    /// Those of the disk and of `out`.
    pub fn copy_to(&mut self, out: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        out(&self.header)?;
        self.value.read(|piece| match piece {
            Piece::Bytes(bytes) => out(bytes),
            Piece::Count(_) => Ok(()),
        })?;
        out(&self.footer)
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn to_vec(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.copy_to(&mut |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(all)
    }

    /// The value alone, in memory.
    pub(super) fn value_to_vec(&mut self) -> io::Result<Vec<u8>> {
        let mut all = self.to_vec()?;
        all.truncate(all.len() - self.footer.len());
        all.drain(..self.header.len());
        Ok(all)
    }
}
