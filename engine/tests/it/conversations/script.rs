//! Reads conversations from files.
//!
//! A file is TOML of one shape only: tables `[[conversation]]` with a `name = "..."`, an `only = "..."` if
//! it is not for everyone, and `lines = '''...'''`. A line is `(who) WORD WORD => REPLY`; replies are written as `expect.rs` tells.
//! `(who)` is missing for everyone, or `7.2` (servers from that version on), `7.4/9.0` (Redis and Valkey
//! from these on), `valkey 9.0`, `redis 7.4`, `ours`, `live` or `live 7.2` (not true after save and load), `small` (not true with thresholds that forbid small encodings). `wait N` lets N
//! milliseconds pass. A word is as in a shell, `"..."` with the escapes \r \n \t \" \\ \xNN, or
//! `{abc*20}` (text repeated), `{1..9:f#,v}` (words for each number), `{s+9}` and `{ms+9}` (Unix time from
//! now), `$name` (what an earlier reply captured).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use cairn_engine::base::time::UnixMs;

use super::expect::Expected;

/// What replies captured.
pub(super) type Variables = HashMap<String, Vec<u8>>;

/// Lines that belong together, on an empty data set.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) file: String,
    pub(super) only: Only,
    pub(super) lines: Vec<Line>,
}

/// One step, and where it stands.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) only: Only,
    pub(super) step: Step,
}

/// For whom a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Only {
    Everyone,
    /// Redis, and Valkey, from these versions on.
    From(Version, Version),
    Redis(Version),
    Valkey(Version),
    Ours,
    /// Servers from this version on, as long as nothing is saved and loaded.
    Live(Version),
    /// As `From`, as long as small values have their small encodings.
    Small(Version),
}

/// Major and minor.
pub(crate) type Version = (u32, u32);

#[derive(Debug)]
pub(super) enum Step {
    Wait(u64),
    Ask(Vec<Word>, Expected),
}

/// A word of a request, before it is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Text(Vec<u8>),
    /// Patterns in which `#` stands for each number of the range.
    Each(u32, u32, Vec<String>),
    Repeat(String, usize),
    /// Unix time so far from now, in units of so many milliseconds.
    FromNow(i64, i64),
    Variable(String),
}

impl Word {
    /// The words that it stands for.
    pub(super) fn expand(&self, variables: &Variables, now: UnixMs) -> Vec<Vec<u8>> {
        match self {
            Word::Text(text) => vec![text.clone()],
            Word::Repeat(text, times) => vec![text.repeat(*times).into_bytes()],
            Word::FromNow(unit, by) => vec![(now.0 / unit + by).to_string().into_bytes()],
            Word::Variable(name) => vec![variables.get(name).expect("captured before").clone()],
            Word::Each(first, last, patterns) => (*first..=*last)
                .flat_map(|i| patterns.iter().map(move |p| p.replace('#', &i.to_string()).into_bytes()))
                .collect(),
        }
    }
}

impl Conversation {
    /// The full names of the commands that occur.
    pub(super) fn commands(&self) -> Vec<String> {
        let mut names = Vec::new();
        for line in &self.lines {
            let Step::Ask(words, _) = &line.step else { continue };
            let word = |i| match words.get(i) {
                Some(Word::Text(text)) => String::from_utf8_lossy(text).to_ascii_lowercase(),
                _ => String::new(),
            };
            names.push(word(0));
            names.push(format!("{}|{}", word(0), word(1)));
        }
        names
    }
}

/// Every conversation there is.
pub(super) fn all() -> Vec<Conversation> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/commands");
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    let found: Vec<_> = files.iter().flat_map(|path| read(path)).collect();
    assert!(found.len() > 10, "no conversations in {}", dir.display());
    found
}

fn read(path: &Path) -> Vec<Conversation> {
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let mut found: Vec<Conversation> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line)) {
        let fail = |why: &str| -> ! { panic!("{file}:{number}: {why}: {line}") };
        if inside {
            inside = line != "'''";
            if inside {
                let parsed = parse_line(number, line).unwrap_or_else(|why| fail(&why));
                found.last_mut().expect("lines belong to a conversation").lines.push(parsed);
            }
        } else if line == "[[conversation]]" {
            found.push(Conversation { file: file.clone(), only: Only::Everyone, lines: Vec::new() });
        } else if let Some(who) = line.strip_prefix("only = \"") {
            let only = parse_only(who.trim_end_matches('"')).unwrap_or_else(|| fail("nobody is called that"));
            found.last_mut().expect("inside of a conversation").only = only;
        } else if line == "lines = '''" {
            inside = true;
        } else if !(line.is_empty() || line.starts_with('#') || line.starts_with("name = \"")) {
            fail("not the shape of a conversation");
        }
    }
    found
}

fn parse_line(number: usize, text: &str) -> Result<Line, String> {
    let (only, rest) = match text.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((who, rest)) => (parse_only(who).ok_or("nobody is called that")?, rest),
        None => (Only::Everyone, text),
    };
    let step = match rest.strip_prefix("wait ") {
        Some(ms) => Step::Wait(ms.parse().map_err(|_| "wait for a number of milliseconds")?),
        None => {
            let (words, reply) = rest.rsplit_once(" => ").ok_or("no reply is given")?;
            let (words, reply) = rest.split_once(" => ").unwrap_or((words, reply));
            Step::Ask(parse_words(words)?, Expected::parse(reply)?)
        }
    };
    Ok(Line { number, text: text.to_owned(), only, step })
}

fn parse_only(who: &str) -> Option<Only> {
    Some(match who.split_once(' ') {
        Some(("valkey", from)) => Only::Valkey(parse_version(from)?),
        Some(("live", from)) => Only::Live(parse_version(from)?),
        Some(("small", from)) => Only::Small(parse_version(from)?),
        Some(("redis", from)) => Only::Redis(parse_version(from)?),
        Some(_) => return None,
        None if who == "ours" => Only::Ours,
        None if who == "small" => Only::Small((0, 0)),
        None if who == "live" => Only::Live((0, 0)),
        None => {
            let (redis, valkey) = who.split_once('/').unwrap_or((who, who));
            Only::From(parse_version(redis)?, parse_version(valkey)?)
        }
    })
}

/// Reads `MAJOR.MINOR`, and what may come behind it.
pub(super) fn parse_version(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn parse_words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (bytes, behind) = unquote(quoted)?;
            words.push(Word::Text(bytes));
            rest = behind.trim_start();
        } else {
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            words.push(parse_word(word));
            rest = behind.trim_start();
        }
    }
    if words.is_empty() { Err("no command".to_owned()) } else { Ok(words) }
}

fn parse_word(word: &str) -> Word {
    let text = || Word::Text(word.as_bytes().to_vec());
    if let Some(name) = word.strip_prefix('$').filter(|name| !name.is_empty()) {
        return Word::Variable(name.to_owned());
    }
    let Some(inner) = word.strip_prefix('{').and_then(|w| w.strip_suffix('}')) else { return text() };
    parse_template(inner).unwrap_or_else(text)
}

/// What is between braces.
pub(super) fn parse_template(inner: &str) -> Option<Word> {
    if let Some(by) = inner.strip_prefix("ms+") {
        return Some(Word::FromNow(1, by.parse().ok()?));
    }
    if let Some(by) = inner.strip_prefix("s+") {
        return Some(Word::FromNow(1000, by.parse().ok()?));
    }
    if let Some((first, rest)) = inner.split_once("..") {
        let (last, patterns) = rest.split_once(':').unwrap_or((rest, "#"));
        let patterns = patterns.split(',').map(str::to_owned).collect();
        return Some(Word::Each(first.parse().ok()?, last.parse().ok()?, patterns));
    }
    let (what, times) = inner.rsplit_once('*')?;
    Some(Word::Repeat(what.to_owned(), times.parse().ok()?))
}

/// Reads up to the closing quote; the bytes, and what is behind it.
pub(super) fn unquote(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((bytes, &text[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('x') => {
                    let hex = text.get(at + 2..at + 4).ok_or("two digits behind \\x")?;
                    bytes.push(u8::from_str_radix(hex, 16).map_err(|_| "two digits behind \\x")?);
                    chars.nth(1);
                }
                Some(c @ ('"' | '\\')) => bytes.push(c as u8),
                _ => return Err("an escape that is none".to_owned()),
            },
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err("a quote is not closed".to_owned())
}
