//! Making an index: a pass over the heads of the keys, a sort, and the blocks.

use std::fs::File;
use std::io::{self, Write};

use cairn_engine::codec::rdb::{Depth, Dialect, KeyHead, Sink, Trailer, ValueEvent, Version};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{BLOCK_BYTES, BLOCK_ENTRIES, ENTRY_BYTES, FORM, MAGIC, Stamp, hash};
use crate::drive::{Fault, Stop};
use crate::source::Source;
use crate::spill::{Sorter, Spill};

/// What an index came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// Keys in it.
    pub keys: u64,
    /// Its size.
    pub bytes: u64,
}

/// Writes the index of `source`, which is the RDB file that was opened as `file`, to `out`.
///
/// # Errors
/// As [`Source::read`], if the file is changed meanwhile, and what writing says.
pub fn build(
    source: &mut Source,
    file: &File,
    spill: &Spill,
    out: &mut impl Write,
) -> Result<Built, Stop<io::Error>> {
    let before = Stamp::of(file).map_err(Stop::Read)?;
    let mut places = Places::new(spill);
    source.read(&mut places)?;
    if Stamp::of(file).map_err(Stop::Read)? != before {
        return Err(Stop::Other(Fault::of_access("the file was changed while it was read")));
    }
    let mut start = [0; 5];
    let is_wrapped = {
        use std::os::unix::fs::FileExt;
        file.read_exact_at(&mut start, 0).map_err(Stop::Read)?;
        start == *b"$EOF:"
    };
    places.write(before, is_wrapped, out).map_err(Stop::Sink)
}

/// What stands in front of an RDB file in a diskless transfer.
const WRAPPING_BYTES: u64 = 47;

/// A slot import with the place behind which it was told.
type Import = (u64, Vec<(u64, u64)>);

/// Takes note of where keys are.
struct Places {
    version: Option<Version>,
    sorter: Sorter,
    /// The last end of something.
    place: u64,
    imports: Vec<Import>,
    templates: Vec<(u64, u64, Vec<Vec<u8>>)>,
}

impl Places {
    fn new(spill: &Spill) -> Self {
        Self {
            version: None,
            sorter: Sorter::new(spill),
            place: 0,
            imports: Vec::new(),
            templates: Vec::new(),
        }
    }

    fn head(&self, stamp: Stamp, is_wrapped: bool) -> Vec<u8> {
        let mut head = Vec::new();
        let mut number = |number: u64| head.extend_from_slice(&number.to_le_bytes());
        number(stamp.bytes);
        number(stamp.mtime_ns.cast_unsigned());
        number(stamp.sum);
        number(if is_wrapped { WRAPPING_BYTES } else { 0 });
        let version = self.version.expect("a file that was read has one");
        head.push(u8::from(version.dialect == Dialect::Valkey));
        head.extend_from_slice(&version.number.to_le_bytes());
        push(&mut head, self.sorter.len());
        push(&mut head, self.imports.len() as u64);
        for (place, ranges) in &self.imports {
            push(&mut head, *place);
            push(&mut head, ranges.len() as u64);
            for (first, last) in ranges {
                push(&mut head, *first);
                push(&mut head, *last);
            }
        }
        push(&mut head, self.templates.len() as u64);
        for (place, id, fields) in &self.templates {
            push(&mut head, *place);
            push(&mut head, *id);
            push(&mut head, fields.len() as u64);
            for field in fields {
                push(&mut head, field.len() as u64);
                head.extend_from_slice(field);
            }
        }
        // Magic, form and length in front, the sum behind.
        let bytes = (MAGIC.len() + 4 + 4 + head.len() + 8) as u32;
        let mut all = MAGIC.to_vec();
        all.extend_from_slice(&FORM.to_le_bytes());
        all.extend_from_slice(&bytes.to_le_bytes());
        all.extend_from_slice(&head);
        let sum = xxh3_64(&all);
        push(&mut all, sum);
        all
    }

    fn write(self, stamp: Stamp, is_wrapped: bool, out: &mut impl Write) -> io::Result<Built> {
        let head = self.head(stamp, is_wrapped);
        out.write_all(&head)?;
        let keys = self.sorter.len();
        let mut bytes = head.len() as u64;
        let mut sorted = self.sorter.finish()?;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let mut blocks = 0;
        while let Some(record) = sorted.current() {
            let (numbers, _) = record.key.as_chunks::<8>();
            // They are sorted as bytes, so they are big-endian there.
            numbers.iter().for_each(|number| push(&mut block, u64::from_be_bytes(*number)));
            sorted.advance()?;
            if block.len() == BLOCK_ENTRIES * ENTRY_BYTES || sorted.current().is_none() {
                block.resize(BLOCK_BYTES - 8, 0);
                let sum = xxh3_64_with_seed(&block, blocks);
                push(&mut block, sum);
                out.write_all(&block)?;
                bytes += BLOCK_BYTES as u64;
                blocks += 1;
                block.clear();
            }
        }
        Ok(Built { keys, bytes })
    }
}

fn push(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

impl Sink for Places {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.version = Some(version);
        self.place = version.magic().len() as u64;
        Ok(())
    }

    fn aux(&mut self, _key: &[u8], _value: &[u8], end: u64) -> io::Result<()> {
        self.place = end;
        Ok(())
    }

    fn select_db(&mut self, _db: u64, end: u64) -> io::Result<()> {
        self.place = end;
        Ok(())
    }

    fn slot_import(&mut self, _job: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
        self.imports.push((self.place, ranges.to_vec()));
        Ok(())
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> io::Result<()> {
        self.templates.push((self.place, id, fields.to_vec()));
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        let mut key = [0; ENTRY_BYTES];
        let (numbers, _) = key.as_chunks_mut::<8>();
        for (room, number) in numbers.iter_mut().zip([hash(head.key), self.place, head.db]) {
            *room = number.to_be_bytes();
        }
        self.sorter.push(&key, &[])?;
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> io::Result<()> {
        Ok(())
    }

    fn end_key(&mut self, end: u64) -> io::Result<()> {
        self.place = end;
        Ok(())
    }

    fn end(&mut self, _trailer: Trailer) -> io::Result<()> {
        Ok(())
    }
}
