//! A sink that writes an RDB file for a target, whatever its events come from.
//!
//! Records whose bytes the target can hold are copied; the others are written anew (`transcode`), and what
//! the target cannot hold is taken down in [`Losses`]. Memory does not grow with keys or values. The file
//! is whole only after [`RdbWriter::finish`], which writes its end and checksum. Several inputs can go
//! into one file: then only the first `start` counts.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Depth, Drain, KeyHead, ObjectType, Sink, Target, ValueEvent, Version, Writer, WriterOptions, opcode,
};
use clap::ValueEnum;

use super::transcode::{Encoding, Plan, Transcoder, module_is_read, plan, plan_anew};
use crate::jsonl::function_name;
use crate::lossy::{Feature, Loss, Losses, Lossy};

/// Which format is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// That of the (first) input; versions that nothing writes any more become 6.
    #[default]
    Same,
    /// This one.
    Target(Target),
}

/// What becomes of compressed strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Compress {
    /// Leave values as they are where their bytes are copied, and compress what is written anew
    #[default]
    Keep,
    /// Compress every string that gets shorter
    On,
    /// Compress nothing
    Off,
}

/// Which auxiliary fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aux {
    /// All that the input has, but for hints that only servers of the input's family understand.
    #[default]
    Keep,
    /// Not those that say which state of which replication stream the file is, and no sizes of databases and
    /// slots: the file holds other keys or values than its input.
    Edited,
    /// None that come with the events: the caller writes its own.
    None,
}

/// What a writer does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The format.
    pub target: Choice,
    /// What happens to what the format cannot hold. The writer leaves it out and counts it in any case,
    /// but does not finish a file that lost something which this refuses to lose.
    pub lossy: Lossy,
    /// What becomes of compressed strings.
    pub compress: Compress,
    /// Whether no checksum is computed: the file then says that there is none.
    pub no_checksum: bool,
    /// Which auxiliary fields are written.
    pub aux: Aux,
    /// Whether the file is the base of a log, which its servers want to be told.
    pub is_aof_base: bool,
    /// Whether hashes whose fields expire are never copied: the events say other instants than the input.
    pub field_ttls_anew: bool,
    /// Whether fields of any hash may be told to expire behind it, as KeyDB does it, though the version is
    /// not that of KeyDB's files: what such a file was made into may have passed it on.
    pub members_may_expire: bool,
}

/// Fields that say which state of which replication stream a file is.
const REPLICATION_AUX: [&[u8]; 3] = [b"repl-stream-db", b"repl-id", b"repl-offset"];
/// KeyDB's fields among the keys: the version of the next key, and expiries of members of the last one.
const KEYDB_VERSION: &[u8] = b"mvcc-tstamp";
const KEYDB_MEMBER: &[u8] = b"keydb-subexpire-key";
const KEYDB_WHEN: &[u8] = b"keydb-subexpire-when";
/// Valkey's sizes of the slot that follows.
const VALKEY_SLOT_INFO: &[u8] = b"slot-info";

/// Writes an RDB file.
pub struct RdbWriter<W: Write> {
    out: Writer<IntoWrite<W>>,
    options: Options,
    target: Option<Target>,
    /// The version of the input that is being read.
    version: Option<Version>,
    /// The database of the keys that the file has now.
    db: Option<u64>,
    /// The database that the input has named last.
    named_db: u64,
    head: Head,
    now: Now,
    transcoder: Transcoder,
    losses: Losses,
    /// What the templates look like that the file defines.
    templates: HashMap<u64, u64>,
    /// Whether two inputs mean different templates by one id: then no more references are copied.
    templates_differ: bool,
    /// What KeyDB has named of the last key.
    member: Vec<u8>,
    /// Keys written, by all databases.
    keys: u64,
}

/// What becomes of the key whose events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// Its bytes are copied.
    Copy,
    /// It is a module's, and the first bytes will tell whether it is copied.
    Module,
    /// It is written anew.
    Encode,
    /// Its value is whole, but KeyDB may still tell when fields of it expire.
    Late,
    /// It is left out; also between keys.
    Skip,
}

/// A key whose record has not begun, because its type is not known yet.
#[derive(Debug, Default)]
struct Head {
    db: u64,
    key: Vec<u8>,
    expire_at: Option<UnixMs>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    meta: Option<Vec<u8>>,
    no_evict: bool,
}

/// A `Write` as the encoder's drain.
struct IntoWrite<W>(W);

impl<W: Write> Drain for IntoWrite<W> {
    type Error = io::Error;
    fn drain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

impl<W: Write> std::fmt::Debug for RdbWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RdbWriter")
            .field("target", &self.target)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl<W: Write> RdbWriter<W> {
    /// A writer that has written nothing. `out` need not be buffered.
    pub fn new(out: W, options: Options) -> Self {
        let compress = options.compress != Compress::Off;
        let own = WriterOptions { compress, checksum: !options.no_checksum };
        let target = match options.target {
            Choice::Same => None,
            Choice::Target(target) => Some(target),
        };
        Self {
            out: Writer::new(IntoWrite(out), own),
            options,
            target,
            version: None,
            db: None,
            named_db: 0,
            head: Head::default(),
            now: Now::Skip,
            transcoder: Transcoder::new(compress),
            losses: Losses::default(),
            templates: HashMap::new(),
            templates_differ: false,
            member: Vec::new(),
            keys: 0,
        }
    }

    /// The format, once it is known.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// What the target could not hold, so far.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The same, to have them reported as they come.
    pub fn losses_mut(&mut self) -> &mut Losses {
        &mut self.losses
    }

    /// Keys written so far.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.out.offset()
    }

    /// Writes an auxiliary field of the caller's, where the format has any.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write_aux(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.format().has_aux() { self.out.aux(key, value) } else { Ok(()) }
    }

    /// Ends the file, unless something was lost that must not be ([`Lossy::refuses`]): then it stays without
    /// its end, and no server takes it. Answers the output and what was lost.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<(W, Losses)> {
        self.settle()?;
        self.begin_file(self.format())?;
        self.losses.finish()?;
        let out = match self.options.lossy.refuses_any(&self.losses) {
            true => self.out.into_drain()?,
            false => self.out.finish()?.0,
        };
        Ok((out.0, self.losses))
    }

    /// The format; if it should be that of an input and there was none, the common one.
    fn format(&self) -> Target {
        self.target.unwrap_or_default()
    }

    fn begin_file(&mut self, target: Target) -> io::Result<()> {
        self.target = Some(target);
        if self.out.offset() > 0 {
            return Ok(());
        }
        self.out.start(target)?;
        match self.options.is_aof_base {
            true if target >= Target::Redis70 => self.write_aux(b"aof-base", b"1"),
            true => self.write_aux(b"aof-preamble", b"1"),
            false => Ok(()),
        }
    }

    fn enter_db(&mut self, db: u64) -> io::Result<()> {
        if self.db != Some(db) {
            self.db = Some(db);
            self.out.select_db(db)?;
        }
        Ok(())
    }

    /// Takes down what belongs to no key.
    fn lose(&mut self, feature: Feature, name: &[u8]) -> io::Result<()> {
        self.losses.add(Loss { feature, db: None, key: name.to_vec(), count: 1 })
    }

    /// Takes down what the key lost whose events come.
    fn lose_of_key(&mut self, feature: Feature, count: u64) -> io::Result<()> {
        self.losses.add(Loss { feature, db: Some(self.head.db), key: self.head.key.clone(), count })
    }

    fn plan(&self, object: ObjectType) -> Plan {
        let is_reference =
            matches!(object, ObjectType::HashTemplateListpackRef | ObjectType::HashTemplateArrayRef);
        let target = self.format();
        if is_reference && self.templates_differ {
            // What a target without templates would get.
            return plan(object, Target::Redis72);
        }
        let expires =
            matches!(object, ObjectType::HashMetadata | ObjectType::HashListpackEx | ObjectType::HashExpiry);
        if self.is_late_hash(object) || (expires && self.options.field_ttls_anew) {
            let to = target.hash_with_field_ttl().unwrap_or(ObjectType::Hash);
            return Plan::Encode(Encoding { from: object, to, depth: Depth::Item });
        }
        match self.options.compress {
            Compress::Keep => plan(object, target),
            Compress::On | Compress::Off => plan_anew(object, target),
        }
    }

    /// Whether it may be told behind a value that fields of it expire. Nothing in a file tells ahead that
    /// KeyDB wrote it.
    fn members_may_expire(&self) -> bool {
        self.version == Some(Target::Redis62.version()) || self.options.members_may_expire
    }

    /// Whether such a value is a hash of that type, and the target can say it.
    fn is_late_hash(&self, object: ObjectType) -> bool {
        // KeyDB writes no others.
        let is_keydbs = matches!(object, ObjectType::Hash | ObjectType::HashZipmap | ObjectType::HashZiplist);
        is_keydbs && self.members_may_expire() && self.format().hash_with_field_ttl().is_some()
    }

    /// Writes the hash that waited for what KeyDB says behind it.
    fn settle(&mut self) -> io::Result<()> {
        if self.now != Now::Late {
            return Ok(());
        }
        self.now = Now::Skip;
        self.write_anew()
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let object = self.transcoder.end()?;
        for (feature, count) in self.transcoder.lost().to_vec() {
            self.lose_of_key(feature, count)?;
        }
        self.begin_record(object)?;
        self.transcoder.write_to(&mut self.out)
    }

    /// KeyDB tells when a field or member of the last key expires, in two fields one after the other.
    fn member_expires(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key == KEYDB_MEMBER {
            self.member.clear();
            self.member.extend_from_slice(value);
            return match self.now {
                Now::Late => Ok(()),
                _ => self.lose_of_key(Feature::MemberTtl, 1),
            };
        }
        if self.now == Now::Late
            && let Some(at) = num::parse_u64(value)
        {
            self.transcoder.expire_late(&self.member, at);
        }
        Ok(())
    }

    /// Keeps what stands before the key, as far as the target has it.
    fn keep_head(&mut self, head: &KeyHead<'_>) {
        let kept = &mut self.head;
        kept.key.clear();
        kept.key.extend_from_slice(head.key);
        kept.db = head.db;
        kept.expire_at = head.expire_at;
        kept.idle_s = head.idle_s;
        kept.freq = head.freq;
        kept.no_evict = head.no_evict;
        kept.meta = head.meta.map(<[u8]>::to_vec);
    }

    /// Takes down what of the key's head the target does not have.
    fn lose_of_head(&mut self) -> io::Result<()> {
        let target = self.format();
        if !target.has_idle_and_freq() {
            if self.head.idle_s.take().is_some() {
                self.lose_of_key(Feature::IdleTime, 1)?;
            }
            if self.head.freq.take().is_some() {
                self.lose_of_key(Feature::AccessCounter, 1)?;
            }
        }
        if !target.has_key_meta() && self.head.meta.take().is_some() {
            self.lose_of_key(Feature::KeyMeta, 1)?;
        }
        if !target.has_no_evict() && std::mem::take(&mut self.head.no_evict) {
            self.lose_of_key(Feature::NoEvict, 1)?;
        }
        Ok(())
    }

    /// Begins the record of the key that was kept.
    fn begin_record(&mut self, object: ObjectType) -> io::Result<()> {
        self.lose_of_head()?;
        self.enter_db(self.head.db)?;
        let Head { key, expire_at, idle_s, freq, meta, no_evict, .. } = &self.head;
        if let Some(at) = *expire_at {
            self.out.expire_ms(at)?;
        }
        if let Some(seconds) = *idle_s {
            self.out.idle(seconds)?;
        }
        if let Some(counter) = *freq {
            self.out.freq(counter)?;
        }
        if let Some(meta) = meta {
            self.out.key_meta(meta)?;
        }
        if *no_evict {
            self.out.byte(opcode::KEY_NOEVICT)?;
        }
        self.keys += 1;
        self.out.key(object, key)
    }

    /// The first bytes of a module's value.
    fn begin_module(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The id is read as a unit of its own: it is whole.
        if module_id(bytes).is_none_or(|id| module_is_read(self.format(), id)) {
            self.now = Now::Copy;
            return self.begin_record(ObjectType::Module);
        }
        self.now = Now::Skip;
        self.lose_of_key(Feature::ModuleVersion, 1)
    }
}

/// The length that a module's value begins with.
pub(super) fn module_id(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [0x81, rest @ ..] => rest.first_chunk().map(|id| u64::from_be_bytes(*id)),
        [0x80, rest @ ..] => rest.first_chunk().map(|id| u64::from(u32::from_be_bytes(*id))),
        _ => None,
    }
}

impl<W: Write> Sink for RdbWriter<W> {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.settle()?;
        self.version = Some(version);
        let target = self.target.or_else(|| Target::of_version(version)).unwrap_or_default();
        self.begin_file(target)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> io::Result<()> {
        let target = self.format();
        let is_keydb = [KEYDB_VERSION, KEYDB_MEMBER, KEYDB_WHEN].contains(&key);
        let is_edited = self.options.aux == Aux::Edited;
        let is_wanted = match key {
            // KeyDB reads this version and nothing else does.
            _ if is_keydb => target == Target::Redis62,
            _ if self.options.aux == Aux::None => false,
            b"aof-base" | b"aof-preamble" => !self.options.is_aof_base,
            VALKEY_SLOT_INFO => !is_edited && target >= Target::Redis72 && !target.has_slot_info(),
            _ => !(is_edited && REPLICATION_AUX.contains(&key)),
        };
        if is_keydb && key != KEYDB_VERSION && !is_wanted {
            return self.member_expires(key, value);
        }
        self.settle()?;
        if is_wanted { self.write_aux(key, value) } else { Ok(()) }
    }

    fn select_db(&mut self, db: u64, _end: u64) -> io::Result<()> {
        self.named_db = db;
        Ok(())
    }

    fn resize_db(&mut self, keys: u64, expires: u64) -> io::Result<()> {
        if self.options.aux != Aux::Keep || !self.format().has_aux() {
            return Ok(());
        }
        self.settle()?;
        self.enter_db(self.named_db)?;
        self.out.resize_db(keys, expires)
    }

    fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> io::Result<()> {
        if self.options.aux != Aux::Keep || !self.format().has_slot_info() {
            return Ok(());
        }
        self.settle()?;
        self.enter_db(self.named_db)?;
        self.out.slot_info(slot, keys, expires)
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
        if !self.format().has_slot_import() {
            return self.lose(Feature::SlotImport, job);
        }
        self.out.byte(opcode::SLOT_IMPORT)?;
        self.out.string(job)?;
        self.out.len(ranges.len() as u64)?;
        ranges.iter().try_for_each(|(first, last)| {
            self.out.len(*first)?;
            self.out.len(*last)
        })
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> io::Result<()> {
        self.settle()?;
        if self.format().has_functions() {
            return self.out.function(code);
        }
        self.lose(Feature::Functions, function_name(code))
    }

    fn module_aux(&mut self, _at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        self.settle()?;
        if self.format().has_module_aux() {
            return self.out.module_aux(payload);
        }
        self.lose(Feature::ModuleAux, &cairn_engine::codec::rdb::module_name(id).0)
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> io::Result<()> {
        if !self.format().has_templates() {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        fields.hash(&mut hasher);
        match self.templates.insert(id, hasher.finish()) {
            Some(other) => {
                self.templates_differ |= other != hasher.finish();
                return Ok(());
            }
            None if self.templates_differ => return Ok(()),
            None => {}
        }
        self.out.byte(opcode::HASH_TEMPLATE)?;
        self.out.len(id)?;
        self.out.len(fields.len() as u64)?;
        fields.iter().try_for_each(|field| self.out.string(field))
    }

    fn update(&mut self, _at: u64, argv: &[&[u8]]) -> io::Result<()> {
        if !self.format().has_updates() {
            return self.lose(Feature::Updates, argv.first().copied().unwrap_or_default());
        }
        self.out.byte(opcode::UPDATE)?;
        self.out.raw(format!("*{}\r\n", argv.len()).as_bytes())?;
        argv.iter().try_for_each(|arg| {
            self.out.raw(format!("${}\r\n", arg.len()).as_bytes())?;
            self.out.raw(arg)?;
            self.out.raw(b"\r\n")
        })
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.settle()?;
        self.keep_head(head);
        match self.plan(head.object) {
            Plan::Copy if head.object == ObjectType::Module => {
                self.now = Now::Module;
                Ok(Depth::Raw)
            }
            Plan::Copy => {
                self.now = Now::Copy;
                self.begin_record(head.object)?;
                Ok(Depth::Raw)
            }
            Plan::Encode(encoding) => {
                self.now = Now::Encode;
                self.transcoder.begin(encoding)?;
                Ok(encoding.depth)
            }
            Plan::LeaveOut(feature) => {
                self.now = Now::Skip;
                self.lose_of_key(feature, 1)?;
                Ok(Depth::Skip)
            }
        }
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        match (self.now, &event) {
            (Now::Module, ValueEvent::Raw(bytes)) => {
                self.begin_module(bytes)?;
                self.value(event)
            }
            (Now::Copy, ValueEvent::Raw(bytes)) => self.out.raw(bytes),
            (Now::Encode, _) => self.transcoder.event(&event),
            _ => Ok(()),
        }
    }

    fn end_key(&mut self, _end: u64) -> io::Result<()> {
        if std::mem::replace(&mut self.now, Now::Skip) != Now::Encode {
            return Ok(());
        }
        if self.transcoder.may_expire_late() && self.members_may_expire() {
            self.now = Now::Late;
            return Ok(());
        }
        self.write_anew()
    }
}

#[cfg(test)]
mod tests;
