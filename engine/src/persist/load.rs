//! Loading an RDB file into an empty keyspace.
//!
//! A bad file is refused with the offset and the key; the file is never changed, and what was loaded
//! until then is not to be used. Expired keys are dropped, empty collections skipped and counted.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::time::UnixMs;
use crate::codec::rdb::{
    Decoder, Depth, Error, Failure, KeyHead, Options, ShortRun, Sink, State, Trailer, ValueEvent, Version,
};
use crate::keyspace::{Entry, Keyspace};
use crate::script::RELOAD_PATIENCE;
use crate::transcode::build::{BuildError, Builder, Built};
use crate::value::{Limits, Value, ValueRef};

use super::carried::Carried;
use super::storage::InputFile;
use window::{Twice, Window};

mod window;

/// Bytes asked of the disk at a time; also how often progress is told. What was read is decoded while
/// it is in the second-level cache.
const READ_BYTES: usize = 256 << 10;
/// What every file since version 5 ends with.
const CHECKSUM_BYTES: u64 = 8;
/// A record takes this many bytes at the least, so a file of n bytes has at most n of them.
const FEWEST_RECORD_BYTES: u64 = 3;

/// So much is told of the first line of a library.
const TOLD_LINE_BYTES: usize = 120;

/// An expiry that servers have always read as none.
const NO_EXPIRY: UnixMs = UnixMs(-1);

/// What a load has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Size of the file.
    pub bytes: u64,
    /// Its version.
    pub version: Option<Version>,
    /// Keys now in the keyspace.
    pub keys: u64,
    /// Keys left out because their time had passed.
    pub expired: u64,
    /// Hash fields left out because their time had passed.
    pub expired_fields: u64,
    /// Names of collections without elements, which were left out (the first few).
    pub empty_keys: Vec<Vec<u8>>,
    /// How many of them there were.
    pub empty: u64,
    /// True if the file was written without a checksum.
    pub unchecked: bool,
    /// Bytes after the end of the file's content.
    pub trailing_bytes: u64,
    /// Auxiliary fields.
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    /// Member times to live of KeyDB that have no place here.
    pub dropped_member_ttls: u64,
}

/// Empty collections that are named; more are only counted.
const NAMED_EMPTY_KEYS: usize = 16;

/// How far a load is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Keys loaded.
    pub keys: u64,
}

/// Why a file was refused.
#[derive(Debug)]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Box<LoadFault>,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum LoadFault {
    /// It could not be read.
    Io(io::Error),
    /// Its bytes are wrong, or its values cannot be.
    Format(Error),
    /// A key's value is wrong in a way that its layout does not show.
    Value {
        /// Offset of the record.
        at: u64,
        /// Its key.
        key: Vec<u8>,
        /// What is wrong.
        error: BuildError,
    },
    /// A key is there twice.
    DuplicateKey {
        /// Offset of the second record.
        at: u64,
        /// The key.
        key: Vec<u8>,
    },
    /// A database that this server does not have.
    NoSuchDb {
        /// Offset after the opcode.
        at: u64,
        /// The database.
        db: u64,
        /// Databases there are.
        databases: usize,
    },
    /// A file of a version without a checksum has room for one behind its end: its version bytes were
    /// damaged, and what it holds was never checked.
    UncheckedTail {
        /// Offset of the end.
        at: u64,
        /// The version that it claims.
        version: u16,
        /// Bytes behind the end.
        bytes: u64,
    },
    /// A function library cannot be loaded.
    Library {
        /// Offset of its record.
        at: u64,
        /// Its first line, which has its name, or the beginning of that.
        head: Vec<u8>,
        /// What is wrong.
        why: Vec<u8>,
    },
    /// The file holds commands (a forkless transfer of Valkey 9.2), which only a replica may take.
    Update {
        /// Offset.
        at: u64,
    },
}

impl LoadError {
    /// A file that could not be read.
    pub fn io(path: &Path, error: io::Error) -> LoadError {
        LoadError { path: path.to_owned(), fault: Box::new(LoadFault::Io(error)) }
    }
}

impl From<Twice> for LoadFault {
    fn from(Twice { at, entry }: Twice) -> LoadFault {
        LoadFault::DuplicateKey { at, key: entry.view().key().to_vec() }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &*self.fault {
            LoadFault::Io(error) => write!(f, "{error}"),
            LoadFault::Format(error) => write!(f, "{error}"),
            LoadFault::Value { at, key, error } => {
                write!(f, "offset {at}, key \"{}\": {error}", key.escape_ascii())
            }
            LoadFault::DuplicateKey { at, key } => {
                write!(f, "offset {at}, key \"{}\": the key is there twice", key.escape_ascii())
            }
            LoadFault::NoSuchDb { at, db, databases } => {
                write!(f, "offset {at}: database {db}, but the server has {databases}")
            }
            LoadFault::UncheckedTail { at, version, bytes } => write!(
                f,
                "offset {at}: {bytes} bytes behind the end of a file of version {version}, which has no \
                 checksum: its version bytes are damaged"
            ),
            LoadFault::Library { at, head, why } => write!(
                f,
                "offset {at}: the function library \"{}\" cannot be loaded: {}",
                head.escape_ascii(),
                String::from_utf8_lossy(why)
            ),
            LoadFault::Update { at } => {
                write!(f, "offset {at}: a command inside the file; only a replica may load it")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Where a load puts what it finds.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The keys.
    pub keyspace: &'a mut Keyspace,
    /// The rest.
    pub carried: &'a mut Carried,
    /// Thresholds for encodings.
    pub limits: &'a Limits,
    /// Keys whose time has passed at this time are left out; `None` keeps all.
    pub now: Option<UnixMs>,
}

/// Reads `input` to its end. `progress` hears how far it is, before the first piece and after each.
///
/// # Errors
/// `LoadFault`.
pub fn load(
    into: Destination<'_>,
    input: &mut dyn InputFile,
    options: Options,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadFault> {
    let (mut loaded, behind) = load_front(into, input, options, progress)?;
    let mut room = vec![0; READ_BYTES];
    loaded.trailing_bytes = behind.len() as u64;
    loop {
        match input.read(&mut room).map_err(LoadFault::Io)? {
            0 => break,
            n => loaded.trailing_bytes += n as u64,
        }
    }
    if let Some(version) = loaded.version.filter(|version| !version.has_checksum())
        && loaded.trailing_bytes >= CHECKSUM_BYTES
    {
        let (at, version) = (loaded.bytes, version.number);
        return Err(LoadFault::UncheckedTail { at, version, bytes: loaded.trailing_bytes });
    }
    Ok(loaded)
}

/// Reads the RDB file that `input` starts with. Also gives the bytes that have been read behind its end;
/// more may follow them.
///
/// # Errors
/// `LoadFault`.
pub(super) fn load_front(
    into: Destination<'_>,
    input: &mut dyn InputFile,
    options: Options,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(Loaded, Vec<u8>), LoadFault> {
    let total_bytes = input.bytes();
    progress(LoadProgress { total_bytes, ..LoadProgress::default() });
    let mut sink = Loader::new(into, total_bytes);
    let mut decoder = Decoder::new(options);
    let mut pieces = Pieces::default();
    let mut wanted: u64 = 0;
    let mut is_last = false;
    loop {
        while !is_last && (pieces.filled as u64) < wanted.max(READ_BYTES as u64) {
            is_last = pieces.read(input)? == 0;
        }
        let step = decoder.advance(pieces.bytes(), is_last, &mut sink).map_err(|failure| match failure {
            Failure::Format(error) => LoadFault::Format(error),
            Failure::Sink(fault) => fault,
        })?;
        progress(LoadProgress { bytes: decoder.offset(), total_bytes, keys: sink.loaded.keys });
        pieces.consume(step.consumed);
        match step.state {
            State::Done => {
                sink.loaded.bytes = decoder.offset();
                return Ok((sink.finish(), pieces.bytes().to_vec()));
            }
            State::More { at_least } => wanted = at_least,
        }
    }
}

/// What has been read and not been decoded. Its room is cleared once, not for each piece.
#[derive(Default)]
struct Pieces {
    room: Vec<u8>,
    filled: usize,
}

impl Pieces {
    fn bytes(&self) -> &[u8] {
        &self.room[..self.filled]
    }

    /// Reads one piece more; answers its length, 0 at the end.
    fn read(&mut self, input: &mut dyn InputFile) -> Result<usize, LoadFault> {
        let end = self.filled + READ_BYTES;
        if self.room.len() < end {
            self.room.resize(end, 0);
        }
        let n = input.read(&mut self.room[self.filled..end]).map_err(LoadFault::Io)?;
        self.filled += n;
        Ok(n)
    }

    /// Moves what is left to the front; a unit is seldom cut, so that is little.
    fn consume(&mut self, len: usize) {
        self.room.copy_within(len..self.filled, 0);
        self.filled -= len;
    }
}

/// The key whose value comes now.
#[derive(Debug, Default)]
struct Current {
    at: u64,
    key: Vec<u8>,
    expire_at: Option<UnixMs>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    /// Its time has passed: the value is read and dropped.
    expired: bool,
    /// Its value needed no builder.
    is_inserted: bool,
}

struct Loader<'a> {
    into: Destination<'a>,
    builder: Builder,
    db: usize,
    total_bytes: u64,
    current: Current,
    window: Window,
    /// KeyDB names a member in one auxiliary field and gives its expiry in the next.
    subkey: Option<Vec<u8>>,
    loaded: Loaded,
}

impl<'a> Loader<'a> {
    fn new(into: Destination<'a>, total_bytes: u64) -> Loader<'a> {
        let builder = Builder::new(into.limits.clone());
        Loader {
            into,
            builder,
            db: 0,
            total_bytes,
            current: Current::default(),
            window: Window::new(),
            subkey: None,
            loaded: Loaded::default(),
        }
    }

    fn finish(self) -> Loaded {
        self.loaded
    }

    fn fault(&self, error: BuildError) -> LoadFault {
        LoadFault::Value { at: self.current.at, key: self.current.key.clone(), error }
    }

    #[inline]
    fn insert(&mut self, entry: Entry) -> Result<(), LoadFault> {
        let clock = (self.current.idle_s, self.current.freq);
        let db = self.into.keyspace.db_mut(self.db);
        self.loaded.keys += 1;
        self.window.push(db, self.current.at, entry, clock).map_err(LoadFault::from)
    }

    /// Puts everything into the table that is still on its way there.
    fn settle(&mut self) -> Result<(), LoadFault> {
        self.window.drain(self.into.keyspace.db_mut(self.db)).map_err(LoadFault::from)
    }

    /// Takes out the fields of a hash whose time has passed. True if none is left because of that.
    fn drop_expired_fields(&mut self, value: &mut Value) -> bool {
        let (Value::Hash(hash), Some(now)) = (value, self.into.now) else { return false };
        let removed = hash.remove_expired(now, usize::MAX, |_| {});
        self.loaded.expired_fields += removed as u64;
        removed > 0 && hash.is_empty()
    }

    /// KeyDB writes a member's expiry behind its key as two auxiliary fields.
    fn keydb_subkey(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadFault> {
        match key {
            b"keydb-subexpire-key" => self.subkey = Some(value.to_vec()),
            _ => {
                let Some(member) = self.subkey.take() else { return Ok(()) };
                self.settle()?;
                let when = crate::base::num::parse_i64(value).map(UnixMs);
                let set = self.into.keyspace.db_mut(self.db).modify(&self.current.key, |owner| match owner {
                    // The time of the load does not matter: a field past its expiry goes later.
                    Value::Hash(hash) => hash.set_expiry(&member, when, UnixMs::MIN).is_some(),
                    _ => false,
                });
                if set != Some(true) {
                    self.loaded.dropped_member_ttls += 1;
                }
            }
        }
        Ok(())
    }
}

impl Sink for Loader<'_> {
    type Error = LoadFault;

    fn start(&mut self, version: Version) -> Result<(), LoadFault> {
        self.loaded.version = Some(version);
        self.builder.start(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), LoadFault> {
        if key == b"keydb-subexpire-key" || key == b"keydb-subexpire-when" {
            return self.keydb_subkey(key, value);
        }
        self.loaded.aux.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn select_db(&mut self, db: u64, end: u64) -> Result<(), LoadFault> {
        self.settle()?;
        let databases = self.into.keyspace.len();
        match usize::try_from(db) {
            Ok(index) if index < databases => {
                self.db = index;
                Ok(())
            }
            _ => Err(LoadFault::NoSuchDb { at: end, db, databases }),
        }
    }

    fn resize_db(&mut self, keys: u64, _expires: u64) -> Result<(), LoadFault> {
        let most = self.total_bytes / FEWEST_RECORD_BYTES;
        self.into.keyspace.db_mut(self.db).reserve(keys.min(most) as usize);
        Ok(())
    }

    fn function(&mut self, at: u64, code: &[u8]) -> Result<(), LoadFault> {
        let loaded = self.into.carried.functions.load(code, false, RELOAD_PATIENCE);
        loaded.map(drop).map_err(|why| {
            let line = code.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let head = line.iter().copied().take(TOLD_LINE_BYTES).collect();
            LoadFault::Library { at, head, why }
        })
    }

    fn module_aux(&mut self, _at: u64, _id: u64, payload: &[u8]) -> Result<(), LoadFault> {
        let carried = &mut *self.into.carried;
        let list = if self.loaded.keys == 0 && self.loaded.expired == 0 {
            &mut carried.module_aux_before
        } else {
            &mut carried.module_aux_after
        };
        list.push(payload.to_vec());
        Ok(())
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> Result<(), LoadFault> {
        Err(LoadFault::Update { at })
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, LoadFault> {
        let current = &mut self.current;
        current.at = head.at;
        current.key.clear();
        current.key.extend_from_slice(head.key);
        current.expire_at = head.expire_at.filter(|at| *at != NO_EXPIRY);
        current.idle_s = head.idle_s;
        current.freq = head.freq;
        current.expired =
            matches!((current.expire_at, self.into.now), (Some(at), Some(now)) if at.is_past(now));
        current.is_inserted = false;
        // An expired key's value is built too: a fault in it is a fault of the file.
        Ok(self.builder.begin(head.object, head.type_byte, head.meta))
    }

    /// `Zset::from_pack` does.
    fn checks_scores(&self) -> bool {
        true
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), LoadFault> {
        if let ValueEvent::String { bytes, .. } = event
            && !self.current.expired
        {
            // Without a builder: most keys are strings.
            self.current.is_inserted = true;
            return self.insert(Entry::string(&self.current.key, bytes, self.current.expire_at));
        }
        self.builder.event(event).map_err(|error| self.fault(error))
    }

    fn elements(&mut self, run: ShortRun<'_>) -> Result<(), LoadFault> {
        self.builder.elements(run).map_err(|error| self.fault(error))
    }

    fn fields(&mut self, run: ShortRun<'_>) -> Result<(), LoadFault> {
        self.builder.fields(run).map_err(|error| self.fault(error))
    }

    fn end_key(&mut self, _end: u64) -> Result<(), LoadFault> {
        if self.current.is_inserted {
            return Ok(());
        }
        let current = &self.current;
        let built = match self.builder.built() {
            Ok(built) => built,
            Err(error) => return Err(self.fault(error)),
        };
        let mut value = match built {
            Built::Nothing => return Ok(()),
            Built::Inline(tag, bytes) => {
                if !current.expired && !ValueRef::from_inline(tag, bytes).is_empty() {
                    let entry = Entry::inline(&current.key, tag, bytes, current.expire_at);
                    return self.insert(entry);
                }
                Value::from_inline(tag, bytes)
            }
            Built::Value(value) => value,
        };
        if self.drop_expired_fields(&mut value) || self.current.expired {
            self.loaded.expired += 1;
        } else if value.is_empty() {
            self.loaded.empty += 1;
            if self.loaded.empty_keys.len() < NAMED_EMPTY_KEYS {
                self.loaded.empty_keys.push(self.current.key.clone());
            }
        } else {
            self.insert(Entry::new(&self.current.key, value, self.current.expire_at))?;
        }
        Ok(())
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), LoadFault> {
        self.settle()?;
        self.loaded.unchecked = trailer == Trailer::Disabled;
        Ok(())
    }
}
