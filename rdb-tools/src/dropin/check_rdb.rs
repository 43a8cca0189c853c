//! `redis-check-rdb` and `valkey-check-rdb`: one file, the same lines, exit code 0 or 1.

use std::io::{self, Write};
use std::path::Path;

use cairn_engine::base::crc64::crc64;
use cairn_engine::codec::rdb::{Dialect, Doing, ObjectType, Version, module_opcode, opcode};

use super::reader::{Fault, Reader, c_string};
use super::value::{Templates, module_values, value};
use super::{basename, log_line, now_ms};
use crate::input::{Access, Input};
use crate::jsonl::module_name;
use crate::output::stdout;

/// Runs the tool with its arguments (without `argv[0]`) and answers its exit code.
///
/// # Errors
/// What keeps it from writing.
pub fn main(argv0: &str, args: &[std::ffi::OsString]) -> anyhow::Result<u8> {
    let [file] = args else {
        writeln!(io::stderr(), "Usage: {argv0} <rdb-file-name>")?;
        return Ok(1);
    };
    let mut out = stdout();
    if file == "-v" || file == "--version" {
        writeln!(out, "{} {}", basename(argv0), env!("CARGO_PKG_VERSION"))?;
        out.flush()?;
        return Ok(0);
    }
    let name = file.as_encoded_bytes();
    let content = match Input::open_as_it_is(Path::new(file), Access::Map) {
        // A pipe or a file that cannot be read to its end is cut there, as it is for the servers.
        Ok(mut input) => input.rest().map_or(Ok(None), |bytes| Checker::new(&bytes).run(name, &mut out))?,
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Checker::new(&[]).run(name, &mut out)?,
        Err(_) => {
            start(&mut out, name)?;
            None
        }
    };
    out.flush()?;
    Ok(u8::from(content.is_none()))
}

/// Checks the RDB file at the start of `bytes`, which is called `name`, and answers its length if
/// nothing is wrong with it.
///
/// # Errors
/// Whatever writing says.
pub fn check(bytes: &[u8], name: &[u8], out: &mut dyn Write) -> io::Result<Verdict> {
    let mut checker = Checker::new(bytes);
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

/// A line and the offset that it starts with.
type Said = (usize, Vec<u8>);

struct Checker<'a> {
    reader: Reader<'a>,
    version: Version,
    doing: Doing,
    key: Option<Vec<u8>>,
    /// The servers' tools start with 0, so that faults before the first key speak of strings.
    key_type: Option<u8>,
    keys: u64,
    expires: u64,
    already_expired: u64,
    has_exited: bool,
    templates: Templates,
}

impl<'a> Checker<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            version: Version { dialect: Dialect::Redis, number: 0 },
            doing: Doing::Start,
            key: None,
            key_type: Some(0),
            keys: 0,
            expires: 0,
            already_expired: 0,
            has_exited: false,
            templates: Templates::new(),
        }
    }

    fn run(&mut self, name: &[u8], out: &mut dyn Write) -> io::Result<Option<usize>> {
        start(out, name)?;
        match self.file(out)? {
            Ok(()) => {
                self.info(out, b"\\o/ RDB looks OK! \\o/")?;
                self.totals(out)?;
                Ok(Some(self.reader.offset()))
            }
            Err(fault) => {
                self.fault(out, &fault)?;
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
        writeln!(out, "[info] {} already expired", self.already_expired)
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
        self.version = Version { dialect, number };
        if !self.version.is_known() {
            return Err(Fault::Checker(format!("Can't handle RDB format version {number}")));
        }
        Ok(())
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
            return Err(Fault::Checker(format!("Invalid object type: {byte}")));
        };
        self.key_type = Some(byte);
        self.doing = Doing::ReadKey;
        let key = self.reader.string()?;
        self.key = Some(key.into_owned());
        self.keys += 1;
        self.doing = Doing::ReadObjectValue;
        value(&mut self.reader, object, self.version, &self.templates)?;
        // -1 is how the servers say that there is none.
        if let Some(at) = expire_at.take().filter(|at| *at != -1) {
            self.expires += 1;
            self.already_expired += u64::from(at < now);
        }
        self.key = None;
        self.key_type = None;
        Ok(())
    }
}
