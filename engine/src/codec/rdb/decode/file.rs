//! The frame of a file: its start, its opcodes, the heads of keys, its end.

use std::sync::Arc;

use crate::base::num;
use crate::base::slot::SLOTS;
use crate::base::time::UnixMs;

use super::module::Scan;
use super::{Decoder, Dialect, ObjectType, Prefix, Scratch, Value, Version};
use crate::codec::rdb::error::{Doing, Halt, Kind, Stop};
use crate::codec::rdb::event::{KeyHead, Sink, Trailer};
use crate::codec::rdb::read::Cursor;
use crate::codec::rdb::{is_as_old_as_unchecked_files, module_opcode, opcode};

/// `$EOF:`, the mark, CR LF.
const WRAPPING_START: &[u8] = b"$EOF:";
const WRAPPING_BYTES: usize = 47;
/// A command inside a file has no more arguments, and none is longer, than a client could send.
const MAX_UPDATE_ARGS: u64 = 1 << 20;

/// Where in the file the next unit stands.
#[derive(Debug)]
pub(super) enum Phase {
    Start,
    /// Between records.
    Record,
    Value(Value),
    KeyMeta {
        classes: Option<u64>,
        scan: Scan,
    },
    ModuleAux(Scan),
    Template {
        id: u64,
        left: u64,
        fields: Vec<Vec<u8>>,
    },
    Update {
        at: u64,
        left: u64,
        argv: Vec<Vec<u8>>,
    },
    SlotImport {
        job: Vec<u8>,
        left: u64,
        ranges: Vec<(u64, u64)>,
    },
    Checksum,
    EofMark,
    Done,
}

type Step<S> = Result<(), Halt<<S as Sink>::Error>>;

impl Decoder {
    /// Takes the wrapping of a diskless transfer off the start of `input`; answers its length.
    ///
    /// # Errors
    /// How long the input must be before that can be told.
    pub(super) fn unwrap_start(&mut self, input: &[u8]) -> Result<usize, u64> {
        if !matches!(self.phase, Phase::Start) || self.eof_mark.is_some() {
            return Ok(0);
        }
        let looked_at = input.len().min(WRAPPING_START.len());
        if input[..looked_at] != WRAPPING_START[..looked_at] {
            return Ok(0);
        }
        match input.get(..WRAPPING_BYTES) {
            Some(line) if line.ends_with(b"\r\n") => {
                let mut mark = [0; 40];
                mark.copy_from_slice(&line[WRAPPING_START.len()..WRAPPING_BYTES - 2]);
                self.eof_mark = Some(mark);
                Ok(WRAPPING_BYTES)
            }
            Some(_) => Ok(0),
            None if looked_at < WRAPPING_START.len() => Err(looked_at as u64 + 1),
            None => Err(WRAPPING_BYTES as u64),
        }
    }

    /// Reads units until one is not whole, or the phase changes.
    pub(super) fn step<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        match &mut self.phase {
            Phase::Start => self.start(cur, sink),
            Phase::Record => self.record(cur, sink),
            Phase::Value(_) => self.value(cur, sink),
            Phase::KeyMeta { .. } => Ok(self.key_meta(cur)?),
            Phase::ModuleAux(_) => self.module_aux(cur, sink),
            Phase::Template { .. } => self.template(cur, sink),
            Phase::Update { .. } => self.update(cur, sink),
            Phase::SlotImport { .. } => self.slot_import(cur, sink),
            Phase::Checksum => self.checksum(cur, sink),
            Phase::EofMark => self.end_mark(cur, sink),
            Phase::Done => Ok(()),
        }
    }

    fn start<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let magic = cur.take(9)?;
        let (dialect, digits) = if let Some(digits) = magic.strip_prefix(b"REDIS") {
            (Dialect::Redis, digits)
        } else if let Some(digits) = magic.strip_prefix(b"VALKEY") {
            (Dialect::Valkey, digits)
        } else if magic.starts_with(b"VCS") {
            return Err(Halt::Bad(0, Kind::CompressedEnvelope));
        } else {
            return Err(Halt::Bad(9, Kind::Signature));
        };
        // As atoi has it: digits up to the first other byte.
        let number = digits
            .iter()
            .map_while(|d| d.is_ascii_digit().then(|| u16::from(d - b'0')))
            .fold(0, |number, digit| number * 10 + digit);
        let version = Version { dialect, number };
        let is_read = version.is_known() || (self.options.relaxed_version && version.is_to_come());
        if !is_read || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Halt::Bad(9, Kind::Version(u32::from(number))));
        }
        cur.commit();
        self.version = Some(version);
        self.await_record();
        sink.start(version).map_err(Halt::Sink)
    }

    fn await_record(&mut self) {
        self.phase = Phase::Record;
        self.doing = Doing::ReadType;
    }

    /// Reads opcodes and keys, until a value or a longer record begins.
    fn record<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let has_checksum = self.dialect_of().has_checksum();
        while matches!(self.phase, Phase::Record) {
            self.doing = Doing::ReadType;
            self.object = None;
            let at = cur.offset();
            let byte = cur.byte()?;
            if !has_checksum && !is_as_old_as_unchecked_files(byte) {
                let version = self.dialect_of().number;
                return Err(Halt::Bad(at, Kind::NewerThanVersion { byte, version }));
            }
            if byte == opcode::ENTERPRISE_RAM_LRU {
                // How long ago the key was in memory: belongs to a product that keeps keys on disk.
                cur.len()?;
                cur.commit();
            } else if byte >= opcode::KEY_NOEVICT {
                self.opcode(byte, at, cur, sink)?;
            } else {
                self.key(byte, at, cur, sink)?;
            }
        }
        Ok(())
    }

    fn dialect_of(&self) -> Version {
        self.version.unwrap_or(Version { dialect: Dialect::Redis, number: 1 })
    }

    fn opcode<S: Sink>(&mut self, byte: u8, at: u64, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let Scratch { first, second } = &mut self.scratch;
        let version = self.version.unwrap_or(Version { dialect: Dialect::Redis, number: 1 });
        match byte {
            opcode::EXPIRE_MS => {
                self.doing = Doing::ReadExpire;
                self.prefix.expire_at = Some(UnixMs(cur.i64_le()?));
            }
            opcode::EXPIRE_S => {
                self.doing = Doing::ReadExpire;
                let seconds = i64::from(cur.u32_le()?.cast_signed());
                self.prefix.expire_at = Some(UnixMs(seconds * 1000));
            }
            opcode::FREQ => self.prefix.freq = Some(cur.byte()?),
            opcode::IDLE => self.prefix.idle_s = Some(cur.len()?),
            opcode::SELECT_DB => {
                self.doing = Doing::ReadLen;
                self.db = cur.len()?;
                cur.commit();
                sink.select_db(self.db, cur.offset()).map_err(Halt::Sink)?;
            }
            opcode::RESIZE_DB => {
                self.doing = Doing::ReadLen;
                let (keys, expires) = (cur.len()?, cur.len()?);
                cur.commit();
                sink.resize_db(keys, expires).map_err(Halt::Sink)?;
            }
            opcode::SLOT_INFO => {
                self.doing = Doing::ReadLen;
                let (slot, keys, expires) = (slot(cur)?, cur.len()?, cur.len()?);
                cur.commit();
                sink.slot_info(slot, keys, expires).map_err(Halt::Sink)?;
            }
            opcode::AUX => {
                self.doing = Doing::ReadAux;
                let (key, value) = (cur.str()?, cur.str()?);
                let (key, value) = (key.bytes(first)?, value.bytes(second)?);
                cur.commit();
                sink.aux(key, value, cur.offset()).map_err(Halt::Sink)?;
            }
            opcode::FUNCTION2 => {
                self.doing = Doing::ReadFunctions;
                let code = cur.str()?.bytes(first)?;
                cur.commit();
                sink.function(at, code).map_err(Halt::Sink)?;
            }
            opcode::FUNCTION_PRE_GA => {
                let what = "function data of a 7.0 release candidate";
                return Err(Halt::Bad(at, Kind::Refused { byte, what }));
            }
            opcode::MODULE_AUX => {
                self.doing = Doing::ReadModuleAux;
                self.phase = Phase::ModuleAux(Scan::default());
            }
            opcode::EOF => {
                self.doing = Doing::CheckSum;
                cur.commit();
                return self.end_of_records(cur.offset(), sink);
            }
            opcode::KEY_NOEVICT if version.is_redis_only() => self.prefix.no_evict = true,
            opcode::HASH_TEMPLATE if version.is_redis_only() => {
                let (id, left) = (cur.len()?, cur.len()?);
                if left == 0 {
                    return Err(Halt::Bad(at, Kind::EmptyTemplate));
                }
                if self.templates.contains_key(&id) {
                    return Err(Halt::Bad(at, Kind::TemplateTwice(id)));
                }
                self.phase = Phase::Template { id, left, fields: Vec::new() };
            }
            opcode::KEY_META if version.is_redis_only() => {
                self.phase = Phase::KeyMeta { classes: None, scan: Scan::default() };
            }
            opcode::UPDATE if version.is_valkey_only() && version.number >= 81 => {
                let Some(left) = resp_count(cur, b'*')? else {
                    return Err(Halt::Bad(at, Kind::Update("no argument count")));
                };
                if left == 0 || left > MAX_UPDATE_ARGS {
                    return Err(Halt::Bad(at, Kind::Update("argument count out of range")));
                }
                self.phase = Phase::Update { at, left, argv: Vec::new() };
            }
            opcode::SLOT_IMPORT if version.is_valkey_only() => {
                let (job, left) = (cur.str()?, cur.len()?);
                let job = job.bytes(first)?.to_vec();
                self.phase = Phase::SlotImport { job, left, ranges: Vec::new() };
            }
            _ => return Err(Halt::Bad(at, Kind::ObjectType(byte))),
        }
        cur.commit();
        Ok(())
    }

    fn key<S: Sink>(&mut self, byte: u8, at: u64, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let Some(object) = ObjectType::from_byte(byte, self.dialect_of()) else {
            return Err(Halt::Bad(at, unknown_type(byte)));
        };
        self.doing = Doing::ReadKey;
        let key = cur.str()?;
        let key = key.bytes(&mut self.scratch.first)?;
        self.key.clear();
        self.key.extend_from_slice(key);
        self.object = Some(byte);
        cur.commit();
        if object == ObjectType::ModulePreGa {
            return Err(Halt::Bad(at, refuse_pre_ga_module(byte)));
        }
        let prefix = std::mem::take(&mut self.prefix);
        let head = KeyHead {
            at,
            db: self.db,
            key: &self.key,
            object,
            type_byte: byte,
            expire_at: prefix.expire_at,
            idle_s: prefix.idle_s,
            freq: prefix.freq,
            meta: prefix.meta.as_deref(),
            no_evict: prefix.no_evict,
        };
        let depth = sink.key(&head).map_err(Halt::Sink)?;
        // Most values are there as a whole, and need no phase of their own.
        let mut value = Value::new(object, depth);
        self.doing = Doing::ReadObjectValue;
        match value.read(cur, &self.templates, self.options.deep, &mut self.scratch, sink) {
            Ok(()) => self.end_value(cur, sink),
            Err(halt) => {
                self.phase = Phase::Value(value);
                Err(halt)
            }
        }
    }

    fn value<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let Phase::Value(value) = &mut self.phase else { return Ok(()) };
        self.doing = Doing::ReadObjectValue;
        value.read(cur, &self.templates, self.options.deep, &mut self.scratch, sink)?;
        self.await_record();
        self.end_value(cur, sink)
    }

    #[inline(always)]
    fn end_value<S: Sink>(&mut self, cur: &Cursor<'_>, sink: &mut S) -> Step<S> {
        self.scratch.trim();
        sink.end_key(cur.offset()).map_err(Halt::Sink)?;
        self.object = None;
        Ok(())
    }

    fn key_meta(&mut self, cur: &mut Cursor<'_>) -> Result<(), Stop> {
        let Phase::KeyMeta { classes, scan } = &mut self.phase else { return Ok(()) };
        let unit = cur.pos;
        cur.pos += scan.done;
        let mut left = match *classes {
            Some(left) => left,
            None => cur.len()?,
        };
        loop {
            *classes = Some(left);
            scan.done = cur.pos - unit;
            if left == 0 {
                break;
            }
            if !scan.is_inside {
                cur.take(4)?;
                scan.is_inside = true;
                scan.done = cur.pos - unit;
            }
            scan.values(cur, unit)?;
            scan.is_inside = false;
            left -= 1;
        }
        self.prefix.meta = Some(cur.between(unit, cur.pos).to_vec());
        cur.commit();
        self.await_record();
        Ok(())
    }

    fn module_aux<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let Phase::ModuleAux(scan) = &mut self.phase else { return Ok(()) };
        let (unit, at) = (cur.pos, cur.offset() - 1);
        let id = cur.len()?;
        if !scan.is_inside {
            let start = cur.offset();
            if cur.len()? != module_opcode::UNSIGNED {
                return Err(Halt::Bad(start, Kind::ModuleWhen));
            }
            cur.len()?;
            scan.is_inside = true;
            scan.done = cur.pos - unit;
        }
        cur.pos = unit + scan.done;
        scan.values(cur, unit)?;
        let payload = cur.between(unit, cur.pos);
        cur.commit();
        self.await_record();
        sink.module_aux(at, id, payload).map_err(Halt::Sink)
    }

    fn template<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let Phase::Template { id, left, fields } = &mut self.phase else { return Ok(()) };
        while *left > 0 {
            let field = cur.str()?;
            fields.push(field.bytes(&mut self.scratch.first)?.to_vec());
            cur.commit();
            *left -= 1;
        }
        let (id, fields) = (*id, Arc::new(std::mem::take(fields)));
        Arc::make_mut(&mut self.templates).insert(id, Arc::clone(&fields));
        self.await_record();
        sink.template(id, &fields).map_err(Halt::Sink)
    }

    fn update<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let Phase::Update { at, left, argv } = &mut self.phase else { return Ok(()) };
        while *left > 0 {
            let at = cur.offset();
            let Some(len) = resp_count(cur, b'$')? else {
                return Err(Halt::Bad(at, Kind::Update("no argument length")));
            };
            let arg = cur.take(len)?;
            if cur.take(2)? != b"\r\n" {
                return Err(Halt::Bad(at, Kind::Update("argument does not end where it says")));
            }
            argv.push(arg.to_vec());
            cur.commit();
            *left -= 1;
        }
        let (at, argv) = (*at, std::mem::take(argv));
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        self.await_record();
        sink.update(at, &argv).map_err(Halt::Sink)
    }

    fn slot_import<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let Phase::SlotImport { job, left, ranges } = &mut self.phase else { return Ok(()) };
        while *left > 0 {
            ranges.push((slot(cur)?, slot(cur)?));
            cur.commit();
            *left -= 1;
        }
        let (job, ranges) = (std::mem::take(job), std::mem::take(ranges));
        self.await_record();
        sink.slot_import(&job, &ranges).map_err(Halt::Sink)
    }

    fn end_of_records<S: Sink>(&mut self, at: u64, sink: &mut S) -> Step<S> {
        self.prefix = Prefix::default();
        if self.dialect_of().has_checksum() {
            self.phase = Phase::Checksum;
            return Ok(());
        }
        if self.options.require_checksum {
            return Err(Halt::Bad(at, Kind::NoChecksum));
        }
        self.finish(Trailer::Absent, sink)
    }

    fn checksum<S: Sink>(&mut self, cur: &mut Cursor<'_>, sink: &mut S) -> Step<S> {
        let at = cur.offset();
        let stored = cur.u64_le()?;
        if stored == 0 {
            if self.options.require_checksum {
                return Err(Halt::Bad(at, Kind::NoChecksum));
            }
        } else if self.options.verify_checksum {
            let computed = self.crc.value();
            if stored != computed {
                return Err(Halt::Bad(at, Kind::Checksum { stored, computed }));
            }
        }
        let trailer = if stored == 0 { Trailer::Disabled } else { Trailer::Stored(stored) };
        // The phase first: the checksum's own bytes are not summed.
        self.phase = Phase::EofMark;
        cur.commit();
        self.finish(trailer, sink)
    }

    fn finish<S: Sink>(&mut self, trailer: Trailer, sink: &mut S) -> Step<S> {
        self.phase = if self.eof_mark.is_some() { Phase::EofMark } else { Phase::Done };
        sink.end(trailer).map_err(Halt::Sink)
    }

    fn end_mark<S: Sink>(&mut self, cur: &mut Cursor<'_>, _sink: &mut S) -> Step<S> {
        let at = cur.offset();
        let mark = cur.take(40)?;
        if self.eof_mark.is_some_and(|expected| mark != expected) {
            return Err(Halt::Bad(at, Kind::EofMark));
        }
        cur.commit();
        self.phase = Phase::Done;
        Ok(())
    }
}

/// Reads `*3\r\n` or `$3\r\n`; `None` if that is not what stands there.
fn resp_count(cur: &mut Cursor<'_>, sigil: u8) -> Result<Option<u64>, Stop> {
    if cur.byte()? != sigil {
        return Ok(None);
    }
    let from = cur.pos;
    for _ in 0..=num::MAX_INT_CHARS {
        if cur.byte()? == b'\r' {
            let digits = cur.between(from, cur.pos - 1);
            let count = num::parse_u64(digits).filter(|&count| count <= u64::from(u32::MAX));
            return Ok(if cur.byte()? == b'\n' { count } else { None });
        }
    }
    Ok(None)
}

/// Type bytes that other servers are known to write get their names.
pub(super) fn unknown_type(byte: u8) -> Kind {
    let what = match byte {
        33 => "Redis's rate limiter type (GCRA)",
        64 => "KeyDB's cron job type",
        100..=102 | 121 => "Redis Enterprise opcode",
        _ => return Kind::ObjectType(byte),
    };
    Kind::Refused { byte, what }
}

pub(super) fn refuse_pre_ga_module(byte: u8) -> Kind {
    Kind::Refused { byte, what: "module value of a 4.0 release candidate" }
}

/// A number of a slot: who keeps a table of slots goes by it.
fn slot(cur: &mut Cursor<'_>) -> Result<u64, Stop> {
    let at = cur.offset();
    let slot = cur.len()?;
    if slot < u64::from(SLOTS) { Ok(slot) } else { Err(Stop::Bad(at, Kind::Slot(slot))) }
}
