//! `rdb-tools info`: what the head of a file says, without reading the file.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cairn_engine::codec::rdb::{Decoder, Depth, Dialect, KeyHead, Options, Sink, ValueEvent, Version};
use clap::Args;

use super::Reading;
use crate::check::producer_of;
use crate::drive::{Stop, drive};
use crate::input::Input;
use crate::json;
use crate::jsonl::module_name;
use crate::output::{Shown, clean, exit, stdout};
use crate::progress::{Progress, Wanted};

/// Show what the head of an RDB file says
///
/// Version, dialect, producer, auxiliary fields, and the number of keys that the first database
/// declares. Reads up to the first key only, so it takes milliseconds whatever the size; `check` reads
/// everything.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if the head could be read, 1 if it is damaged, 2 for other trouble.")]
pub struct Info {
    /// RDB file; - for standard input
    pub file: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// What stands before the first key.
#[derive(Debug, Default)]
struct Head {
    version: Option<Version>,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    functions: u64,
    modules: Vec<[u8; 9]>,
    templates: u64,
    db: Option<u64>,
    /// Of the database that `db` names: keys and keys that expire.
    declared: Option<(u64, u64)>,
    slots: u64,
    imports: u64,
    has_no_keys: bool,
}

/// The first key was reached.
struct Reached;

impl Sink for Head {
    type Error = Reached;

    fn start(&mut self, version: Version) -> Result<(), Reached> {
        self.version = Some(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), Reached> {
        self.aux.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn select_db(&mut self, db: u64, _end: u64) -> Result<(), Reached> {
        self.db = Some(db);
        Ok(())
    }

    fn resize_db(&mut self, keys: u64, expires: u64) -> Result<(), Reached> {
        self.declared = Some((keys, expires));
        Ok(())
    }

    fn slot_info(&mut self, _slot: u64, _keys: u64, _expires: u64) -> Result<(), Reached> {
        self.slots += 1;
        Ok(())
    }

    fn slot_import(&mut self, _job: &[u8], _ranges: &[(u64, u64)]) -> Result<(), Reached> {
        self.imports += 1;
        Ok(())
    }

    fn function(&mut self, _at: u64, _code: &[u8]) -> Result<(), Reached> {
        self.functions += 1;
        Ok(())
    }

    fn module_aux(&mut self, _at: u64, id: u64, _payload: &[u8]) -> Result<(), Reached> {
        self.modules.push(module_name(id));
        Ok(())
    }

    fn template(&mut self, _id: u64, _fields: &[Vec<u8>]) -> Result<(), Reached> {
        self.templates += 1;
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Reached> {
        Err(Reached)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Reached> {
        Ok(())
    }

    fn end(&mut self, _trailer: cairn_engine::codec::rdb::Trailer) -> Result<(), Reached> {
        self.has_no_keys = true;
        Ok(())
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Info) -> anyhow::Result<u8> {
    let mut input = args.reading.open(&args.file)?;
    let (text, is_damaged) = describe(&mut input, &args.file, args.json)?;
    let mut out = stdout();
    out.write_all(&text).and_then(|()| out.flush()).context("writing")?;
    Ok(if is_damaged { exit::FINDINGS } else { exit::CLEAN })
}

/// What the head of the RDB file at the input's position says, as lines or as one line of JSON, and whether
/// it is damaged. `file` is what it is called.
///
/// # Errors
/// What keeps it from being read.
pub fn describe(input: &mut Input, file: &Path, as_one_object: bool) -> anyhow::Result<(Vec<u8>, bool)> {
    let mut head = Head::default();
    let progress = Progress::new(Wanted::Never, String::new(), None);
    // The checksum is at the other end.
    let options = Options { verify_checksum: false, ..Options::default() };
    let result = drive(input, &mut Decoder::new(options), &progress, &mut head);
    let fault = match result {
        Ok(()) | Err(Stop::Sink(Reached)) => None,
        Err(Stop::Format(error)) => Some(clean(&error.to_string())),
        Err(Stop::Read(error)) => return Err(error).with_context(|| file.display().to_string()),
        Err(Stop::Other(fault)) => return Err(fault).with_context(|| file.display().to_string()),
    };
    let facts = facts(input, &head);
    let text = match as_one_object {
        true => as_json(file, &head, &facts, fault.as_deref()),
        false => as_text(file, &head, &facts, fault.as_deref()),
    };
    Ok((text, fault.is_some()))
}

/// A fact: its name for people, its name in JSON, and its value.
struct Fact(&'static str, &'static str, Value);

enum Value {
    Text(String),
    Number(u64),
}

fn facts(input: &Input, head: &Head) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut text = |name, json, value: String| facts.push(Fact(name, json, Value::Text(value)));
    if let Some(version) = head.version {
        text("magic", "magic", String::from_utf8_lossy(&version.magic()).into_owned());
        let dialect = match (version.dialect, version.is_redis_only()) {
            (Dialect::Valkey, _) => "valkey",
            (Dialect::Redis, true) => "redis",
            (Dialect::Redis, false) => "common to redis and valkey",
        };
        text("dialect", "dialect", dialect.to_owned());
    }
    let producer = head.aux.iter().find_map(|(key, value)| Some((producer_of(key)?, value)));
    if let Some((name, version)) = producer {
        text("producer", "producer", format!("{name} {}", Shown(version)));
    }
    if let Some(version) = head.version {
        let checksum = match (version.has_checksum(), stored_checksum(input)) {
            (false, _) => "none in this version".to_owned(),
            (true, Some(0)) => "switched off by the writer".to_owned(),
            (true, Some(stored)) => format!("{stored:016x}, not compared"),
            (true, None) => "not looked at".to_owned(),
        };
        text("checksum", "checksum", checksum);
    }
    let mut number = |name, json, value: u64| facts.push(Fact(name, json, Value::Number(value)));
    if let Some(len) = input.len() {
        number("bytes", "bytes", len);
    }
    for (name, json, value) in [
        ("function libraries", "functions", head.functions),
        ("hash templates", "templates", head.templates),
        ("slots", "slots", head.slots),
        ("slot imports", "slot_imports", head.imports),
    ] {
        if value > 0 {
            number(name, json, value);
        }
    }
    if let (Some(db), Some((keys, expires))) = (head.db, head.declared) {
        number("first database", "first_db", db);
        number("its keys", "declared_keys", keys);
        number("of them expiring", "declared_expires", expires);
    } else if head.has_no_keys {
        number("keys", "declared_keys", 0);
    }
    facts
}

/// The last eight bytes, where they are at hand.
fn stored_checksum(input: &Input) -> Option<u64> {
    Some(u64::from_le_bytes(*input.mapped()?.last_chunk()?))
}

fn as_text(file: &Path, head: &Head, facts: &[Fact], fault: Option<&str>) -> Vec<u8> {
    let mut out = format!("{}\n", file.display());
    for Fact(name, _, value) in facts {
        match value {
            Value::Text(text) => out.push_str(&format!("  {name}: {text}\n")),
            Value::Number(number) => out.push_str(&format!("  {name}: {number}\n")),
        }
    }
    for module in &head.modules {
        out.push_str(&format!("  module data: {}\n", Shown(module)));
    }
    // Of fields that come over and over (slots of a cluster, scripts) the first few will do.
    const SHOWN: usize = 3;
    let mut times: HashMap<&[u8], usize> = HashMap::new();
    for (key, value) in &head.aux {
        let seen = times.entry(key).or_default();
        *seen += 1;
        if *seen <= SHOWN {
            out.push_str(&format!("  aux {}: {}\n", Shown(key), Shown(value)));
        }
    }
    let mut hidden: Vec<_> = times.into_iter().filter(|(_, times)| *times > SHOWN).collect();
    hidden.sort_unstable();
    for (key, times) in hidden {
        out.push_str(&format!("  aux {}: and {} more\n", Shown(key), times - SHOWN));
    }
    if let Some(fault) = fault {
        out.push_str(&format!("  damaged: {fault}\n"));
    }
    out.into_bytes()
}

fn as_json(file: &Path, head: &Head, facts: &[Fact], fault: Option<&str>) -> Vec<u8> {
    let mut out = b"{".to_vec();
    json::push_name(&mut out, "file");
    json::push_text(&mut out, &file.to_string_lossy());
    for Fact(_, name, value) in facts {
        json::push_name(&mut out, name);
        match value {
            Value::Text(text) => json::push_text(&mut out, text),
            Value::Number(number) => json::push_u64(&mut out, *number),
        }
    }
    json::push_name(&mut out, "modules");
    json::push_array(&mut out, &head.modules, |out, module| json::push_bytes(out, module));
    json::push_name(&mut out, "aux");
    json::push_array(&mut out, &head.aux, |out, (key, value)| {
        json::push_array(out, [key, value], |out, bytes| json::push_bytes(out, bytes));
    });
    if let Some(fault) = fault {
        json::push_name(&mut out, "damaged");
        json::push_text(&mut out, fault);
    }
    out.extend_from_slice(b"}\n");
    out
}
