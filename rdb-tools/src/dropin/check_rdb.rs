//! `redis-check-rdb` and `valkey-check-rdb`: one file, the same lines, exit code 0 or 1.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use cairn_engine::base::crc64::crc64;
use cairn_engine::codec::rdb::{Dialect, Doing, ObjectType, Version, module_opcode, opcode};

use super::reader::{Fault, Reader, c_string};
use super::stats::{Counted, Format, Stats};
use super::value::{Templates, module_values, value};
use super::{basename, log_line, now_ms};
use crate::input::{Access, Input};
use crate::jsonl::module_name;
use crate::output::stdout;

/// Whose tool it is called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Redis,
    Valkey,
}

/// What the arguments ask for.
#[derive(Debug)]
struct Asked {
    file: OsString,
    stats: bool,
    format: Format,
    output: Option<OsString>,
}

impl Asked {
    /// `None` if they are not understood.
    fn parse(flavour: Flavour, args: &[OsString]) -> Option<Self> {
        let (file, options) = args.split_first()?;
        let mut asked = Self { file: file.clone(), stats: false, format: Format::default(), output: None };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.to_str() {
                _ if flavour == Flavour::Redis => return None,
                Some("--stats") => asked.stats = true,
                Some("--output") => asked.output = Some(options.next()?.clone()),
                Some("--format") => asked.format = Format::parse(options.next()?)?,
                _ => return None,
            }
        }
        Some(asked)
    }
}

/// Runs the tool with its arguments (without `argv[0]`) and answers its exit code.
///
/// # Errors
/// What keeps it from writing.
pub fn main(argv0: &str, args: &[OsString]) -> anyhow::Result<u8> {
    let flavour = if basename(argv0).contains("valkey") { Flavour::Valkey } else { Flavour::Redis };
    let mut out = stdout();
    if args.first().is_some_and(|arg| arg == "-v" || arg == "--version") {
        writeln!(out, "{} {}", basename(argv0), env!("CARGO_PKG_VERSION"))?;
        out.flush()?;
        return Ok(0);
    }
    let Some(asked) = Asked::parse(flavour, args) else {
        let options = match flavour {
            Flavour::Redis => "",
            Flavour::Valkey => " [--format table|info|csv] [--stats] [--output <file>]",
        };
        writeln!(io::stderr(), "Usage: {argv0} <rdb-file-name>{options}")?;
        return Ok(1);
    };
    let figures = match &asked.output {
        Some(path) if asked.stats => {
            match File::options().write(true).create(true).truncate(false).open(path) {
                Ok(file) => Some(file),
                Err(error) => {
                    let error = error.to_string();
                    let error = error.split(" (os error").next().unwrap_or_default();
                    writeln!(io::stderr(), "Cannot open output file: '{}': {error}", path.to_string_lossy())?;
                    return Ok(1);
                }
            }
        }
        _ => None,
    };
    let name = asked.file.as_encoded_bytes();
    // A pipe or a file that cannot be read to its end is cut there, as it is for the servers.
    let opened = match Input::open_as_it_is(Path::new(&asked.file), Access::Map) {
        Ok(input) => Some(input),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            Some(Input::from_reader(Path::new(&asked.file), Box::new(io::empty()))?)
        }
        Err(_) => None,
    };
    let mut content = None;
    match opened {
        Some(mut input) => {
            if let Ok(bytes) = input.rest() {
                let mut checker = Checker::new(&bytes, flavour);
                checker.stats = asked.stats.then(Stats::default);
                checker.format = asked.format;
                checker.figures = figures;
                content = checker.run(name, &mut out)?;
            }
        }
        None => {
            start(&mut out, name)?;
            if flavour == Flavour::Valkey {
                writeln!(out, "[offset 0] {}", returned(false))?;
            }
        }
    }
    out.flush()?;
    Ok(u8::from(content.is_none()))
}

/// Valkey's line about the end.
fn returned(is_good: bool) -> String {
    format!("Check RDB returned error code {} (0 means success)", u8::from(!is_good))
}

/// Checks the RDB file at the start of `bytes`, which is called `name`, and answers its length if
/// nothing is wrong with it.
///
/// # Errors
/// Whatever writing says.
pub fn check(bytes: &[u8], name: &[u8], out: &mut dyn Write) -> io::Result<Verdict> {
    let mut checker = Checker::new(bytes, Flavour::Redis);
    match checker.run(name, out)? {
        Some(len) => Ok(Verdict::Good { len }),
        None if checker.has_exited => Ok(Verdict::Exited),
        None => Ok(Verdict::Bad),
    }
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Good {
        /// Length of the RDB file.
        len: usize,
    },
    /// Something is, and the caller goes on.
    Bad,
    /// Something is, inside a value: the servers' tools end the process there.
    Exited,
}

fn start(out: &mut dyn Write, name: &[u8]) -> io::Result<()> {
    out.write_all(b"[offset 0] Checking RDB file ")?;
    out.write_all(name)?;
    out.write_all(b"\n")
}

/// Versions that Valkey takes for those of others, and its newest.
const FOREIGN: std::ops::RangeInclusive<u16> = 12..=79;
const NEWEST: u16 = 80;

/// A line and the offset that it starts with.
type Said = (usize, Vec<u8>);

struct Checker<'a> {
    reader: Reader<'a>,
    version: Version,
    /// The number in the file's magic.
    number: u16,
    doing: Doing,
    key: Option<Vec<u8>>,
    /// The servers' tools start with 0, so that faults before the first key speak of strings.
    key_type: Option<u8>,
    keys: u64,
    expires: u64,
    already_expired: u64,
    has_exited: bool,
    templates: Templates,
    flavour: Flavour,
    functions: u64,
    scripts: u64,
    db: u64,
    stats: Option<Stats>,
    format: Format,
    /// Where the figures go, if not where all else goes.
    figures: Option<File>,
}

impl<'a> Checker<'a> {
    fn new(bytes: &'a [u8], flavour: Flavour) -> Self {
        Self {
            reader: Reader::new(bytes),
            version: Version { dialect: Dialect::Redis, number: 0 },
            number: 0,
            doing: Doing::Start,
            key: None,
            key_type: if flavour == Flavour::Redis { Some(0) } else { None },
            keys: 0,
            expires: 0,
            already_expired: 0,
            has_exited: false,
            templates: Templates::new(),
            flavour,
            functions: 0,
            scripts: 0,
            db: 0,
            stats: None,
            format: Format::default(),
            figures: None,
        }
    }

    fn run(&mut self, name: &[u8], out: &mut dyn Write) -> io::Result<Option<usize>> {
        start(out, name)?;
        match self.file(out)? {
            Ok(()) => {
                if self.flavour == Flavour::Valkey {
                    self.info(out, returned(true).as_bytes())?;
                }
                let needs_relaxing = self.flavour == Flavour::Valkey && self.is_foreign_or_future();
                self.info(
                    out,
                    match needs_relaxing {
                        true => b"\\o/ RDB looks OK, but loading requires config 'rdb-version-check relaxed'",
                        false => b"\\o/ RDB looks OK! \\o/",
                    },
                )?;
                self.totals(out)?;
                Ok(Some(self.reader.offset()))
            }
            Err(fault) => {
                self.fault(out, &fault)?;
                if self.flavour == Flavour::Valkey && !self.has_exited {
                    self.info(out, returned(false).as_bytes())?;
                }
                Ok(None)
            }
        }
    }

    fn info(&self, out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
        self.info_at(self.reader.offset(), out, text)
    }

    fn info_at(&self, offset: usize, out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
        // The servers' tools build the text in a buffer of this size.
        const MAX_TEXT: usize = 1023;
        write!(out, "[offset {offset}] ")?;
        out.write_all(&text[..text.len().min(MAX_TEXT)])?;
        out.write_all(b"\n")
    }

    fn totals(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "[info] {} keys read", self.keys)?;
        writeln!(out, "[info] {} expires", self.expires)?;
        writeln!(out, "[info] {} already expired", self.already_expired)?;
        if self.flavour == Flavour::Valkey {
            writeln!(out, "[info] {} functions", self.functions)?;
            if self.scripts > 0 {
                writeln!(out, "[info] {} lua scripts read", self.scripts)?;
            }
        }
        match (&self.stats, &self.figures) {
            (Some(stats), Some(file)) => stats.print(self.format, &mut io::BufWriter::new(file)),
            (Some(stats), None) => stats.print(self.format, out),
            (None, _) => Ok(()),
        }
    }

    /// Whether the version is one that Valkey reads only if it is told to.
    fn is_foreign_or_future(&self) -> bool {
        FOREIGN.contains(&self.number) || self.number > NEWEST
    }

    fn fault(&mut self, out: &mut dyn Write, fault: &Fault) -> io::Result<()> {
        let text = match fault {
            Fault::Eof => "Unexpected EOF reading RDB file".to_owned(),
            Fault::Checker(text) => text.clone(),
            Fault::Internal(line, text) => {
                format!("Internal error in RDB reading offset 0, function at rdb.c:{line} -> {text}")
            }
        };
        out.write_all(b"--- RDB ERROR DETECTED ---\n")?;
        self.info(out, text.as_bytes())?;
        writeln!(out, "[additional info] While doing: {}", self.doing.name())?;
        if let Some(key) = &self.key {
            out.write_all(b"[additional info] Reading key '")?;
            out.write_all(c_string(key))?;
            out.write_all(b"'\n")?;
        }
        if let Some(byte) = self.key_type {
            let name = ObjectType::from_byte(byte, self.version).map_or("unknown", ObjectType::name);
            writeln!(out, "[additional info] Reading type {byte} ({name})")?;
        }
        self.totals(out)?;
        if matches!(fault, Fault::Internal(..)) {
            self.has_exited = true;
            log_line(out, b"Terminating server after rdb file reading failure.")?;
        }
        Ok(())
    }

    /// Reads the file; the outer result is about writing.
    fn file(&mut self, out: &mut dyn Write) -> io::Result<Result<(), Fault>> {
        if let Err(fault) = self.magic() {
            return Ok(Err(fault));
        }
        if self.flavour == Flavour::Valkey && self.is_foreign_or_future() {
            let kind = if self.number > NEWEST { "Future" } else { "Foreign" };
            self.info(out, format!("{kind} RDB version {} detected", self.number).as_bytes())?;
        }
        let now = now_ms();
        let mut expire_at = None;
        loop {
            let mut said = None;
            let result = self.record(now, &mut expire_at, &mut said);
            if let Some((offset, text)) = said {
                self.info_at(offset, out, &text)?;
            }
            match result {
                Ok(true) => break,
                Ok(false) => {}
                Err(fault) => return Ok(Err(fault)),
            }
        }
        if !self.version.has_checksum() {
            return Ok(Ok(()));
        }
        self.doing = Doing::CheckSum;
        let computed = crc64(self.reader.consumed());
        let stored = match self.reader.array() {
            Ok(bytes) => u64::from_le_bytes(bytes),
            Err(fault) => return Ok(Err(fault)),
        };
        match stored {
            0 => self.info(out, b"RDB file was saved with checksum disabled: no check performed.")?,
            stored if stored != computed => return Ok(Err(Fault::Checker("RDB CRC error".to_owned()))),
            _ => self.info(out, b"Checksum OK")?,
        }
        Ok(Ok(()))
    }

    fn magic(&mut self) -> Result<(), Fault> {
        let magic: [u8; 9] = self.reader.array()?;
        let (dialect, digits) = match &magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (Dialect::Redis, &digits[..]),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (Dialect::Valkey, &digits[..]),
            _ => return Err(Fault::Checker("Wrong signature trying to load DB from file".to_owned())),
        };
        let number =
            digits.iter().take_while(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + u16::from(b - b'0'));
        self.number = number;
        if self.flavour == Flavour::Valkey {
            return self.valkey_version(dialect, &magic);
        }
        self.version = Version { dialect, number };
        if !self.version.is_known() {
            return Err(Fault::Checker(format!("Can't handle RDB format version {number}")));
        }
        Ok(())
    }

    /// Which versions Valkey's tool goes on with: those of its own magic, foreign ones, and of these what it knows.
    fn valkey_version(&mut self, dialect: Dialect, magic: &[u8; 9]) -> Result<(), Fault> {
        if dialect == Dialect::Redis && magic[5] != b'0' {
            return Err(Fault::Checker("Wrong signature trying to load DB from file".to_owned()));
        }
        let number = self.number;
        let is_refused = match dialect {
            Dialect::Redis => number > *FOREIGN.end(),
            Dialect::Valkey => number < *FOREIGN.start(),
        };
        if number < 1 || is_refused {
            return Err(Fault::Checker(format!("Can't handle RDB format version {number}")));
        }
        // Of what others define it knows what was common to all.
        self.version = match number {
            0..=11 => Version { dialect: Dialect::Redis, number },
            _ if FOREIGN.contains(&number) => Version { dialect: Dialect::Redis, number: 11 },
            _ => Version { dialect: Dialect::Valkey, number: NEWEST },
        };
        Ok(())
    }

    /// What Valkey says of a type that it does not know.
    fn unknown_type(&self, byte: u8) -> Fault {
        let number = self.number;
        Fault::Checker(match self.flavour {
            Flavour::Valkey if FOREIGN.contains(&number) => {
                format!("Unknown object type {byte} in RDB file with foreign version {number}")
            }
            Flavour::Valkey if number > NEWEST => {
                format!("Unknown object type {byte} in RDB file with future version {number}")
            }
            _ => format!("Invalid object type: {byte}"),
        })
    }

    /// Reads an opcode or a key; true at the end of the records. `said` is the line about it, and its
    /// offset.
    fn record(
        &mut self,
        now: i64,
        expire_at: &mut Option<i64>,
        said: &mut Option<Said>,
    ) -> Result<bool, Fault> {
        self.doing = Doing::ReadType;
        let byte = self.reader.byte()?;
        match byte {
            opcode::EXPIRE_S => {
                self.doing = Doing::ReadExpire;
                let seconds = i32::from_le_bytes(self.reader.array()?);
                *expire_at = Some(i64::from(seconds) * 1000);
            }
            opcode::EXPIRE_MS => {
                self.doing = Doing::ReadExpire;
                *expire_at = Some(self.reader.i64_le()?);
            }
            opcode::FREQ => drop(self.reader.byte()?),
            opcode::IDLE => drop(self.reader.len()?),
            opcode::EOF => return Ok(true),
            opcode::SELECT_DB => {
                self.doing = Doing::ReadLen;
                let db = self.reader.len()?;
                self.db = db;
                if let Some(stats) = &mut self.stats {
                    stats.select(db);
                }
                *said = Some((self.reader.offset(), format!("Selecting DB ID {db}").into_bytes()));
            }
            opcode::RESIZE_DB => {
                self.doing = Doing::ReadLen;
                self.reader.len()?;
                self.reader.len()?;
            }
            opcode::AUX => {
                self.doing = Doing::ReadAux;
                let (key, value) = (self.reader.string()?, self.reader.string()?);
                self.scripts += u64::from(c_string(&key).eq_ignore_ascii_case(b"lua"));
                let text = [b"AUX FIELD ", c_string(&key), b" = '", c_string(&value), b"'"].concat();
                *said = Some((self.reader.offset(), text));
            }
            opcode::MODULE_AUX => return self.module_aux(said).map(|()| false),
            opcode::FUNCTION_PRE_GA => {
                let number = self.version.number;
                return Err(Fault::Checker(format!("Pre-release function format not supported {number}")));
            }
            opcode::FUNCTION2 => {
                self.doing = Doing::ReadFunctions;
                self.reader.string().map_err(|fault| match fault {
                    Fault::Eof => {
                        Fault::Checker("Failed loading library, Failed loading library payload".to_owned())
                    }
                    other => other,
                })?;
                self.functions += 1;
            }
            _ if self.newer_opcode(byte)? => {}
            _ => self.key(byte, now, expire_at)?,
        }
        Ok(false)
    }

    fn module_aux(&mut self, said: &mut Option<Said>) -> Result<(), Fault> {
        self.doing = Doing::ReadModuleAux;
        let (id, when_opcode, _when) = (self.reader.len()?, self.reader.len()?, self.reader.len()?);
        if when_opcode != module_opcode::UNSIGNED {
            return Err(Fault::Checker("bad when_opcode".to_owned()));
        }
        *said = Some((self.reader.offset(), [b"MODULE AUX for: ", &module_name(id)[..]].concat()));
        module_values(&mut self.reader, id)
    }

    /// Steps over the opcodes that came after 7.0.15; false if `byte` is none of them.
    fn newer_opcode(&mut self, byte: u8) -> Result<bool, Fault> {
        let reader = &mut self.reader;
        match byte {
            opcode::SLOT_INFO => {
                self.doing = Doing::ReadLen;
                for _ in 0..3 {
                    reader.len()?;
                }
            }
            opcode::SLOT_IMPORT if self.version.is_valkey_only() => {
                reader.string()?;
                for _ in 0..reader.len()? {
                    reader.len()?;
                    reader.len()?;
                }
            }
            opcode::KEY_META if self.version.is_redis_only() => {
                for _ in 0..reader.len()? {
                    reader.take(4)?;
                    module_values(reader, 0)?;
                }
            }
            opcode::HASH_TEMPLATE if self.version.is_redis_only() => {
                let (id, fields) = (reader.len()?, reader.len()?);
                for _ in 0..fields {
                    reader.string()?;
                }
                self.templates.insert(id, fields);
            }
            opcode::KEY_NOEVICT if self.version.is_redis_only() => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn key(&mut self, byte: u8, now: i64, expire_at: &mut Option<i64>) -> Result<(), Fault> {
        let Some(object) = ObjectType::from_byte(byte, self.version) else {
            return Err(self.unknown_type(byte));
        };
        self.key_type = Some(byte);
        self.doing = Doing::ReadKey;
        let key = self.reader.string()?;
        self.key = Some(key.into_owned());
        self.keys += 1;
        self.doing = Doing::ReadObjectValue;
        let rest = self.reader.rest();
        value(&mut self.reader, object, self.version, &self.templates)?;
        // -1 is how the servers say that there is none.
        let expire_at = expire_at.take().filter(|at| *at != -1);
        let has_expired = expire_at.is_some_and(|at| at < now);
        self.expires += u64::from(expire_at.is_some());
        self.already_expired += u64::from(has_expired);
        if let (Some(stats), Some(key)) = (&mut self.stats, &self.key) {
            let payload = &rest[..rest.len() - self.reader.rest().len()];
            let (db, version, expires) = (self.db, self.version, expire_at.is_some());
            stats.add(&Counted { db, key, expires, has_expired, object, version, payload });
        }
        self.key = None;
        self.key_type = None;
        Ok(())
    }
}
