//! What an RDB decoder tells its sink: the events of a file, of a key, of a value.
//!
//! A sink picks a depth per key and gets only what it asked for. Slices borrow the decoder's input
//! or its scratch space and are gone after the call. Nothing here reads bytes; the layouts are in
//! `mod.rs`. Counts that a file declares are hints: no sink may size an allocation by them alone.

pub use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;
use crate::packed::{IntText, intset::Intset, listpack::Listpack, ziplist::Ziplist, zipmap::Zipmap};

use super::{ObjectType, ShortRun, Version};

/// How much of a key's value a sink wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Only `end_key`. The value is stepped over by its lengths; nothing in it is validated.
    Skip,
    /// The payload as RESTORE takes it (without the type byte), as `Value::Raw` pieces in order.
    Raw,
    /// Whole packed encodings as validated views; plain encodings element by element.
    Packed,
    /// Every value element by element, whatever its encoding.
    Item,
}

/// What is known of a key before its value.
#[derive(Debug, Clone, Copy)]
pub struct KeyHead<'a> {
    /// Offset of the key's type byte in the (unwrapped) file.
    pub at: u64,
    /// The database that the last SELECTDB named, 0 before the first.
    pub db: u64,
    /// The key's bytes, any bytes at all.
    pub key: &'a [u8],
    /// The record type, already told apart by dialect.
    pub object: ObjectType,
    /// The type byte itself.
    pub type_byte: u8,
    /// Absolute expiry as the record has it; `None` if it has none. Servers take -1 for none as
    /// well, and any other negative instant for one that has passed.
    pub expire_at: Option<UnixMs>,
    /// Idle time in seconds (opcode IDLE).
    pub idle_s: Option<u64>,
    /// LFU counter (opcode FREQ).
    pub freq: Option<u8>,
    /// Redis 8.6 key metadata: the bytes after opcode 243, undecoded.
    pub meta: Option<&'a [u8]>,
    /// Redis 8.12 KEY_NOEVICT prefix was there.
    pub no_evict: bool,
}

/// How a string was stored in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringForm {
    /// Length and bytes.
    Raw,
    /// Encoded as an 8-bit integer.
    Int8,
    /// Encoded as a 16-bit integer.
    Int16,
    /// Encoded as a 32-bit integer.
    Int32,
    /// LZF compressed.
    Lzf,
}

/// The numbers that follow a stream's nodes. Fields that the record's version lacks are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamTotals {
    /// Live entries.
    pub length: u64,
    /// The last id ever added.
    pub last_id: StreamId,
    /// First live id (type 19 on).
    pub first_id: Option<StreamId>,
    /// Greatest deleted id (type 19 on).
    pub max_deleted_id: Option<StreamId>,
    /// Entries ever added (type 19 on).
    pub entries_added: Option<u64>,
}

/// One step of a value, in file order.
#[derive(Debug)]
pub enum ValueEvent<'a> {
    /// A piece of the undecoded payload (depth `Raw`).
    Raw(&'a [u8]),
    /// The value of a string key, decompressed.
    String {
        /// The value.
        bytes: &'a [u8],
        /// How it was stored.
        form: StringForm,
    },
    /// A collection starts that has declared this many elements (pairs for hash and sorted set).
    /// Comes before elements at `Item`, and before plain encodings at `Packed`. Of a quicklist or
    /// a stream only the nodes are declared.
    Begin {
        /// Declared by the file: a hint.
        declared: u64,
    },
    /// A list element or a set member.
    Element(&'a [u8]),
    /// A hash field.
    Field {
        /// Field name.
        field: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// Its own expiry.
        expire_at: Option<UnixMs>,
    },
    /// A sorted set member.
    Member {
        /// Member name.
        member: &'a [u8],
        /// Its score, never NaN.
        score: f64,
    },
    /// A whole listpack: set, hash (field, value), sorted set (member, score); with
    /// `ObjectType::HashListpackEx` triples (field, value, expiry ms, 0 for none).
    Listpack(Listpack<'a>),
    /// A whole intset.
    Intset(Intset<'a>),
    /// A whole ziplist: list, hash, sorted set.
    Ziplist(Ziplist<'a>),
    /// A whole zipmap: hash.
    Zipmap(Zipmap<'a>),
    /// A quicklist or stream starts with this many nodes declared (depth `Packed`).
    BeginNodes {
        /// Declared by the file: a hint.
        declared: u64,
    },
    /// A packed quicklist node of a current file.
    ListNode(Listpack<'a>),
    /// A packed quicklist node of an old file.
    OldListNode(Ziplist<'a>),
    /// A plain quicklist node: one large element.
    PlainListNode(&'a [u8]),
    /// A stream node (depth `Packed`): master id and its validated listpack.
    StreamNode {
        /// The id that the entries' ids are relative to.
        master: StreamId,
        /// The entries, in the layout of `value/stream`.
        entries: Listpack<'a>,
    },
    /// A live stream entry (depth `Item`). `fields` holds field, value, field, value...
    StreamEntry {
        /// Its id.
        id: StreamId,
        /// Field, value, field, value...
        fields: &'a [&'a [u8]],
    },
    /// The numbers after a stream's nodes.
    StreamTotals(StreamTotals),
    /// A consumer group starts; its PEL, nacks and consumers follow.
    StreamGroup {
        /// Group name.
        name: &'a [u8],
        /// Last delivered id.
        last_id: StreamId,
        /// Entries read counter (type 19 on); -1 in the file is `None` too.
        entries_read: Option<u64>,
    },
    /// An entry of the group's PEL.
    StreamPending {
        /// Entry id.
        id: StreamId,
        /// Unix time of the last delivery, ms.
        delivered_at: UnixMs,
        /// Times delivered.
        deliveries: u64,
    },
    /// A released entry of the group (Redis 8.8 XNACK), in file order. It has a `StreamPending` too.
    StreamNacked(StreamId),
    /// A consumer starts; the ids of its PEL follow.
    StreamConsumer {
        /// Consumer name.
        name: &'a [u8],
        /// Last time it tried anything.
        seen_at: UnixMs,
        /// Last time it got something (type 21 on; `None` for the file's -1 too).
        active_at: Option<UnixMs>,
    },
    /// An id in the PEL of the consumer; the group's PEL has it too.
    StreamConsumerPending(StreamId),
    /// Idempotent production settings of the stream (Redis 8.6 on): duration in seconds, most entries
    /// a producer, ids added, duplicates seen. Producers come before this as file order has it.
    StreamIdmp {
        /// Seconds an idempotent id is remembered.
        duration_s: u64,
        /// Most ids remembered for one producer.
        max_entries: u64,
        /// Ids ever added.
        added: u64,
        /// Duplicates ever refused.
        duplicates: u64,
    },
    /// An idempotent id of a producer.
    StreamIdmpEntry {
        /// Producer id.
        producer: &'a [u8],
        /// Idempotent id.
        iid: &'a [u8],
        /// The entry it made.
        id: StreamId,
    },
    /// A path of a path hash (Valkey 9.2) starts; its fields follow as `Field`.
    Path {
        /// The path, any bytes, also none.
        path: &'a [u8],
        /// Declared fields.
        declared: u64,
    },
    /// An array (Redis 8.8) starts.
    BeginArray {
        /// Declared elements.
        declared: u64,
        /// The index that the last ARINSERT used, if the file has one.
        insert_index: Option<u64>,
    },
    /// An element of an array, as text.
    ArrayElement {
        /// Its index.
        index: u64,
        /// Its value as the server prints it.
        value: &'a [u8],
    },
    /// A module value starts.
    BeginModule {
        /// Type id: nine 6-bit characters and a 10-bit encoding version.
        id: u64,
    },
    /// An integer of a module value.
    ModuleSigned(i64),
    /// An integer of a module value.
    ModuleUnsigned(u64),
    /// A 32-bit float of a module value.
    ModuleFloat(f32),
    /// A double of a module value.
    ModuleDouble(f64),
    /// A string of a module value.
    ModuleString(&'a [u8]),
}

/// What the end of a file says about its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailer {
    /// Versions below 5 have none.
    Absent,
    /// Stored as zero: the writer had checksums switched off.
    Disabled,
    /// It was there and compared (a mismatch is an error, so it matched), or not compared on request.
    Stored(u64),
}

/// Receives what a decoder finds. An `Err` stops the decoder, which hands it through.
///
/// Offsets (`at`) are of the first byte of the thing, counted in the unwrapped file.
pub trait Sink {
    /// What can go wrong in the sink.
    type Error;

    /// The magic and version were read.
    fn start(&mut self, _version: Version) -> Result<(), Self::Error> {
        Ok(())
    }
    /// An auxiliary field of the file. `end` is the offset after it.
    ///
    /// Some servers write fields of their own among the keys: KeyDB's `keydb-subexpire-key` and
    /// `keydb-subexpire-when` belong to the key before them, `mvcc-tstamp` to the one behind it;
    /// Valkey's `slot-info` announces the keys of a slot. Unknown fields mean nothing.
    fn aux(&mut self, _key: &[u8], _value: &[u8], _end: u64) -> Result<(), Self::Error> {
        Ok(())
    }
    /// The database changes. `end` is the offset after the opcode.
    fn select_db(&mut self, _db: u64, _end: u64) -> Result<(), Self::Error> {
        Ok(())
    }
    /// Size hints of the current database.
    fn resize_db(&mut self, _keys: u64, _expires: u64) -> Result<(), Self::Error> {
        Ok(())
    }
    /// Slot sizes (Redis opcode 244).
    fn slot_info(&mut self, _slot: u64, _keys: u64, _expires: u64) -> Result<(), Self::Error> {
        Ok(())
    }
    /// A slot import under way (Valkey opcode 243): job name and slot ranges, both ends included.
    fn slot_import(&mut self, _job: &[u8], _ranges: &[(u64, u64)]) -> Result<(), Self::Error> {
        Ok(())
    }
    /// A function library's source.
    fn function(&mut self, _at: u64, _code: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }
    /// Module auxiliary data. `payload` is everything after the opcode byte, to be written back as it is.
    fn module_aux(&mut self, _at: u64, _id: u64, _payload: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }
    /// A hash template (Redis opcode 242) was defined; the decoder resolves references to it by itself
    /// at `Item` and `Packed`.
    fn template(&mut self, _id: u64, _fields: &[Vec<u8>]) -> Result<(), Self::Error> {
        Ok(())
    }
    /// A command inside the file (Valkey 9.2 opcode 242).
    fn update(&mut self, _at: u64, _argv: &[&[u8]]) -> Result<(), Self::Error> {
        Ok(())
    }
    /// A key starts. Says how much of its value to send.
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error>;
    /// Whether the sink reads every score of a packed sorted set that it is given whole, and refuses what is
    /// no number: the decoder need not, then.
    fn checks_scores(&self) -> bool {
        false
    }
    /// A step of the value.
    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error>;
    /// Elements of a list or set, at depth `Packed`: for each `ValueEvent::Element`, unless the sink knows
    /// better.
    fn elements(&mut self, mut run: ShortRun<'_>) -> Result<(), Self::Error> {
        let mut text = IntText::new();
        run.try_for_each(|element| self.value(ValueEvent::Element(element.text(&mut text))))
    }
    /// Fields and values of a hash by turns, at depth `Packed`: for each pair `ValueEvent::Field`, unless the
    /// sink knows better.
    fn fields(&mut self, mut run: ShortRun<'_>) -> Result<(), Self::Error> {
        let (mut first, mut second) = (IntText::new(), IntText::new());
        while let (Some(field), Some(value)) = (run.next(), run.next()) {
            let (field, value) = (field.text(&mut first), value.text(&mut second));
            self.value(ValueEvent::Field { field, value, expire_at: None })?;
        }
        Ok(())
    }
    /// The value ended before offset `end`.
    fn end_key(&mut self, _end: u64) -> Result<(), Self::Error> {
        Ok(())
    }
    /// The file ended.
    fn end(&mut self, _trailer: Trailer) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A sink that is lent is one.
impl<S: Sink + ?Sized> Sink for &mut S {
    type Error = S::Error;

    fn start(&mut self, version: Version) -> Result<(), Self::Error> {
        (**self).start(version)
    }
    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), Self::Error> {
        (**self).aux(key, value, end)
    }
    fn select_db(&mut self, db: u64, end: u64) -> Result<(), Self::Error> {
        (**self).select_db(db, end)
    }
    fn resize_db(&mut self, keys: u64, expires: u64) -> Result<(), Self::Error> {
        (**self).resize_db(keys, expires)
    }
    fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> Result<(), Self::Error> {
        (**self).slot_info(slot, keys, expires)
    }
    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Result<(), Self::Error> {
        (**self).slot_import(job, ranges)
    }
    fn function(&mut self, at: u64, code: &[u8]) -> Result<(), Self::Error> {
        (**self).function(at, code)
    }
    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> Result<(), Self::Error> {
        (**self).module_aux(at, id, payload)
    }
    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Self::Error> {
        (**self).template(id, fields)
    }
    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), Self::Error> {
        (**self).update(at, argv)
    }
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        (**self).key(head)
    }
    fn checks_scores(&self) -> bool {
        (**self).checks_scores()
    }
    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        (**self).value(event)
    }
    fn elements(&mut self, run: ShortRun<'_>) -> Result<(), Self::Error> {
        (**self).elements(run)
    }
    fn fields(&mut self, run: ShortRun<'_>) -> Result<(), Self::Error> {
        (**self).fields(run)
    }
    fn end_key(&mut self, end: u64) -> Result<(), Self::Error> {
        (**self).end_key(end)
    }
    fn end(&mut self, trailer: Trailer) -> Result<(), Self::Error> {
        (**self).end(trailer)
    }
}
