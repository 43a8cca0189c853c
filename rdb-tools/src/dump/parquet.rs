//! Rows as Parquet, for DuckDB, Spark, ClickHouse: the schemas are [`KEYS`] and [`ELEMENTS`].
//!
//! Columns are flat and gathered in memory until there are `GROUP_BYTES` of them, which then become a row
//! group: that bounds memory, whatever the file. Names and values are byte arrays without a claim to be text. Pages are
//! compressed with zstd. Knows no RDB. The format: parquet.apache.org.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::elements::{ElementRow, TakeElements};
use super::rows::{KeyRow, TakeKeys};

/// A row a key.
pub const KEYS: &str = "message keys {
    required int64 db;
    required binary key;
    required binary type (STRING);
    optional binary encoding (STRING);
    required binary record (STRING);
    optional int64 elements;
    required int64 bytes;
    optional int64 expire_at (TIMESTAMP(MILLIS,true));
    optional int64 idle;
    optional int32 freq;
    optional int32 slot;
    required boolean field_ttl;
}";

/// A row an element.
pub const ELEMENTS: &str = "message elements {
    required int64 db;
    required binary key;
    required binary type (STRING);
    required int64 index (INTEGER(64,false));
    optional binary id (STRING);
    optional binary path;
    optional binary field;
    optional binary value;
    optional double score;
    optional int64 expire_at (TIMESTAMP(MILLIS,true));
}";

/// A row group is written when its columns have grown to this size in memory.
const GROUP_BYTES: usize = 12 << 20;
/// What a value takes besides its own bytes.
const VALUE_BYTES: usize = 10;
/// How many values of bytes are on their way to the writer at a time.
const BATCH: usize = 1024;

/// The values of a column, and which rows have one.
#[derive(Debug)]
struct Column<T> {
    values: Vec<T>,
    /// 1 where there is a value, 0 where there is none. Empty if all rows must have one.
    levels: Vec<i16>,
    is_optional: bool,
}

impl<T> Column<T> {
    fn new(is_optional: bool) -> Self {
        Self { values: Vec::new(), levels: Vec::new(), is_optional }
    }

    fn push(&mut self, value: Option<T>) {
        if self.is_optional {
            self.levels.push(i16::from(value.is_some()));
        }
        self.values.extend(value);
    }

    fn levels(&self) -> Option<&[i16]> {
        self.is_optional.then_some(&self.levels)
    }

    fn clear(&mut self) {
        self.values.clear();
        self.levels.clear();
    }
}

/// A column of bytes, one behind the other.
#[derive(Debug)]
struct Bytes {
    arena: Vec<u8>,
    /// Where each value ends.
    ends: Column<usize>,
}

impl Bytes {
    fn new(is_optional: bool) -> Self {
        Self { arena: Vec::new(), ends: Column::new(is_optional) }
    }

    fn push(&mut self, value: Option<&[u8]>) {
        let end = value.map(|value| {
            self.arena.extend_from_slice(value);
            self.arena.len()
        });
        self.ends.push(end);
    }

    fn clear(&mut self) {
        // A value of unusual size is not kept room for.
        self.arena.clear();
        self.arena.shrink_to(2 * GROUP_BYTES);
        self.ends.clear();
    }
}

type Group<'g, W> = SerializedRowGroupWriter<'g, W>;

fn write_column<W: Write + Send, T: DataType>(
    group: &mut Group<'_, W>,
    column: &Column<T::T>,
) -> Result<(), ParquetError> {
    let mut writer =
        group.next_column()?.ok_or_else(|| ParquetError::General("no such column".to_owned()))?;
    writer.typed::<T>().write_batch(&column.values, column.levels(), None)?;
    writer.close()
}

fn write_bytes<W: Write + Send>(group: &mut Group<'_, W>, column: &Bytes) -> Result<(), ParquetError> {
    let mut writer =
        group.next_column()?.ok_or_else(|| ParquetError::General("no such column".to_owned()))?;
    let typed = writer.typed::<ByteArrayType>();
    let mut from = 0;
    let mut values: Vec<ByteArray> = Vec::with_capacity(BATCH);
    let mut ends = column.ends.values.iter();
    let rows = column.ends.levels.chunks(BATCH);
    // Rows that must have a value have no levels: as many as there are values then.
    let all_there: Vec<usize> = match column.ends.is_optional {
        true => rows.clone().map(|levels| levels.iter().filter(|level| **level == 1).count()).collect(),
        false => column.ends.values.chunks(BATCH).map(<[usize]>::len).collect(),
    };
    let mut levels = rows;
    for count in all_there {
        values.clear();
        for end in ends.by_ref().take(count) {
            values.push(ByteArray::from(column.arena[from..*end].to_vec()));
            from = *end;
        }
        let levels = if column.ends.is_optional { levels.next() } else { None };
        typed.write_batch(&values, levels, None)?;
    }
    writer.close()
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            // Its kind tells whether anybody still listens.
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

/// A file of row groups.
struct Out<W: Write + Send>(SerializedFileWriter<W>);

impl<W: Write + Send> Out<W> {
    fn new(out: W, schema: &str) -> io::Result<Self> {
        const ZSTD_LEVEL: i32 = 3;
        const PAGE_BYTES: usize = 256 << 10;
        let schema = Arc::new(parse_message_type(schema).map_err(failed)?);
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_created_by(format!("rdb-tools {}", env!("CARGO_PKG_VERSION")))
            .set_compression(Compression::ZSTD(level))
            .set_data_page_size_limit(PAGE_BYTES)
            .set_dictionary_page_size_limit(PAGE_BYTES)
            // What is kept of each group until the end is kept small: there may be thousands.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_statistics_truncate_length(Some(32))
            .set_offset_index_disabled(true)
            .build();
        SerializedFileWriter::new(out, schema, Arc::new(properties)).map(Self).map_err(failed)
    }

    fn group(&mut self, write: impl FnOnce(&mut Group<'_, W>) -> Result<(), ParquetError>) -> io::Result<()> {
        let mut group = self.0.next_row_group().map_err(failed)?;
        write(&mut group).map_err(failed)?;
        group.close().map_err(failed)?;
        Ok(())
    }
}

/// Writes rows of keys.
pub struct Keys<W: Write + Send> {
    out: Out<W>,
    bytes: usize,
    db: Column<i64>,
    key: Bytes,
    type_name: Bytes,
    encoding: Bytes,
    record: Bytes,
    elements: Column<i64>,
    size: Column<i64>,
    expire_at: Column<i64>,
    idle: Column<i64>,
    freq: Column<i32>,
    slot: Column<i32>,
    field_ttl: Column<bool>,
}

impl<W: Write + Send> Keys<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn new(out: W) -> io::Result<Self> {
        Ok(Self {
            out: Out::new(out, KEYS)?,
            bytes: 0,
            db: Column::new(false),
            key: Bytes::new(false),
            type_name: Bytes::new(false),
            encoding: Bytes::new(true),
            record: Bytes::new(false),
            elements: Column::new(true),
            size: Column::new(false),
            expire_at: Column::new(true),
            idle: Column::new(true),
            freq: Column::new(true),
            slot: Column::new(true),
            field_ttl: Column::new(false),
        })
    }

    fn write_group(&mut self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.bytes = 0;
        self.out.group(|group| {
            write_column::<_, Int64Type>(group, &self.db)?;
            write_bytes(group, &self.key)?;
            write_bytes(group, &self.type_name)?;
            write_bytes(group, &self.encoding)?;
            write_bytes(group, &self.record)?;
            write_column::<_, Int64Type>(group, &self.elements)?;
            write_column::<_, Int64Type>(group, &self.size)?;
            write_column::<_, Int64Type>(group, &self.expire_at)?;
            write_column::<_, Int64Type>(group, &self.idle)?;
            write_column::<_, Int32Type>(group, &self.freq)?;
            write_column::<_, Int32Type>(group, &self.slot)?;
            write_column::<_, BoolType>(group, &self.field_ttl)
        })?;
        for column in [&mut self.db, &mut self.elements, &mut self.size, &mut self.expire_at, &mut self.idle]
        {
            column.clear();
        }
        for column in [&mut self.key, &mut self.type_name, &mut self.encoding, &mut self.record] {
            column.clear();
        }
        self.freq.clear();
        self.slot.clear();
        self.field_ttl.clear();
        Ok(())
    }

    /// Writes what is left, and the end of the file, without which it cannot be read.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn finish(mut self) -> io::Result<()> {
        self.write_group()?;
        self.out.0.close().map_err(failed).map(|_| ())
    }
}

/// A count as Parquet's signed integers have it; what is larger than these is none that a file can have.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl<W: Write + Send> TakeKeys for Keys<W> {
    fn take(&mut self, row: &KeyRow<'_>) -> io::Result<()> {
        const COLUMNS: usize = 12;
        self.db.push(Some(row.db));
        self.key.push(Some(row.key));
        self.type_name.push(Some(row.type_name.as_bytes()));
        self.encoding.push(row.encoding.map(str::as_bytes));
        self.record.push(Some(row.record.as_bytes()));
        self.elements.push(row.elements.map(signed));
        self.size.push(Some(signed(row.bytes)));
        self.expire_at.push(row.expire_at.map(|at| at.0));
        self.idle.push(row.idle_s.map(signed));
        self.freq.push(row.freq.map(i32::from));
        self.slot.push(row.slot.map(i32::from));
        self.field_ttl.push(Some(row.has_field_ttl));
        let names = row.type_name.len() + row.record.len() + row.encoding.map_or(0, str::len);
        self.bytes += COLUMNS * VALUE_BYTES + row.key.len() + names;
        if self.bytes >= GROUP_BYTES { self.write_group() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes rows of elements.
pub struct Elements<W: Write + Send> {
    out: Out<W>,
    bytes: usize,
    text: Vec<u8>,
    db: Column<i64>,
    key: Bytes,
    type_name: Bytes,
    index: Column<i64>,
    id: Bytes,
    path: Bytes,
    field: Bytes,
    value: Bytes,
    score: Column<f64>,
    expire_at: Column<i64>,
}

impl<W: Write + Send> Elements<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn new(out: W) -> io::Result<Self> {
        Ok(Self {
            out: Out::new(out, ELEMENTS)?,
            bytes: 0,
            text: Vec::new(),
            db: Column::new(false),
            key: Bytes::new(false),
            type_name: Bytes::new(false),
            index: Column::new(false),
            id: Bytes::new(true),
            path: Bytes::new(true),
            field: Bytes::new(true),
            value: Bytes::new(true),
            score: Column::new(true),
            expire_at: Column::new(true),
        })
    }

    fn write_group(&mut self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.bytes = 0;
        self.out.group(|group| {
            write_column::<_, Int64Type>(group, &self.db)?;
            write_bytes(group, &self.key)?;
            write_bytes(group, &self.type_name)?;
            write_column::<_, Int64Type>(group, &self.index)?;
            write_bytes(group, &self.id)?;
            write_bytes(group, &self.path)?;
            write_bytes(group, &self.field)?;
            write_bytes(group, &self.value)?;
            write_column::<_, DoubleType>(group, &self.score)?;
            write_column::<_, Int64Type>(group, &self.expire_at)
        })?;
        for column in [&mut self.db, &mut self.index, &mut self.expire_at] {
            column.clear();
        }
        let names = [&mut self.key, &mut self.type_name, &mut self.id];
        for column in names.into_iter().chain([&mut self.path, &mut self.field, &mut self.value]) {
            column.clear();
        }
        self.score.clear();
        Ok(())
    }

    /// Writes what is left, and the end of the file, without which it cannot be read.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn finish(mut self) -> io::Result<()> {
        self.write_group()?;
        self.out.0.close().map_err(failed).map(|_| ())
    }
}

impl<W: Write + Send> TakeElements for Elements<W> {
    fn take(&mut self, row: &ElementRow<'_>) -> io::Result<()> {
        const COLUMNS: usize = 10;
        self.db.push(Some(row.db));
        self.key.push(Some(row.key));
        self.type_name.push(Some(row.type_name.as_bytes()));
        // The column is unsigned: the same bits.
        self.index.push(Some(row.index.cast_signed()));
        self.text.clear();
        if let Some(id) = row.id {
            id.push_text(&mut self.text);
        }
        self.id.push(row.id.map(|_| &self.text[..]));
        self.path.push(row.path);
        self.field.push(row.field);
        self.value.push(row.value);
        self.score.push(row.score);
        self.expire_at.push(row.expire_at.map(|at| at.0));
        let strings = [row.path, row.field, row.value].into_iter().flatten().map(<[u8]>::len);
        self.bytes += COLUMNS * VALUE_BYTES + row.key.len() + row.type_name.len() + self.text.len();
        self.bytes += strings.sum::<usize>();
        if self.bytes >= GROUP_BYTES { self.write_group() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
