//! Which part a key belongs to, and what the parts are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, bail};
use cairn_engine::base::slot::key_slot;
use cairn_engine::codec::rdb::KeyHead;

use super::{Split, parse_slots};

/// A part.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// Its name in files and its name as it is.
    file: String,
    what: Vec<u8>,
    keys: u64,
    bytes: u64,
}

impl Part {
    fn new(file: String, what: Vec<u8>) -> Self {
        Self { file, what, ..Self::default() }
    }

    pub(super) fn what(&self) -> &[u8] {
        &self.what
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// How keys are told apart.
#[derive(Debug)]
enum By {
    /// The part of each slot; [`NO_PART`] for the rest.
    Slots(Vec<u32>),
    Db(BTreeMap<u64, usize>),
    Prefix {
        separator: Vec<u8>,
        parts: BTreeMap<Vec<u8>, usize>,
    },
    Count {
        parts: u64,
        keys: u64,
        next: u64,
    },
}

const NO_PART: u32 = u32::MAX;
const SLOTS: usize = 16_384;

/// The parts that keys are cut into. Keys are counted first; then parts have numbers.
#[derive(Debug)]
pub(super) struct Cut {
    by: By,
    parts: Vec<Part>,
    /// Keys of no part.
    rest: u64,
}

impl Cut {
    pub(super) fn of(args: &Split) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        let by = if let Some(path) = &args.nodes_conf {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let nodes = nodes_with_slots(&text).with_context(|| path.display().to_string())?;
            by_slots(nodes, &mut parts)?
        } else if !args.by_slots.is_empty() {
            let named = |text: &String| {
                let ranges = parse_slots(text)?;
                Ok((format!("slots-{}", text.replace(',', "_").replace(' ', "")), ranges))
            };
            by_slots(args.by_slots.iter().map(named).collect::<anyhow::Result<_>>()?, &mut parts)?
        } else if let Some(separator) = &args.by_prefix {
            if separator.is_empty() {
                bail!("--by-prefix: the separator is empty");
            }
            By::Prefix { separator: separator.clone().into_bytes(), parts: BTreeMap::new() }
        } else if let Some(count) = args.count {
            for i in 1..=count {
                parts.push(Part::new(
                    format!("part-{i:0width$}", width = count.to_string().len()),
                    Vec::new(),
                ));
            }
            By::Count { parts: count, keys: 0, next: 0 }
        } else {
            By::Db(BTreeMap::new())
        };
        for part in &mut parts {
            if part.what.is_empty() {
                part.what = part.file.clone().into_bytes();
            }
        }
        Ok(Self { by, parts, rest: 0 })
    }

    /// How many parts there are so far.
    pub(super) fn parts(&self) -> usize {
        match &self.by {
            By::Db(parts) => parts.len(),
            By::Prefix { parts, .. } => parts.len(),
            _ => self.parts.len(),
        }
    }

    /// Counts a key in the first pass.
    pub(super) fn count(&mut self, head: &KeyHead<'_>) {
        match &mut self.by {
            By::Slots(of) => match of[usize::from(key_slot(head.key)) % SLOTS] {
                NO_PART => self.rest += 1,
                part => self.parts[part as usize].keys += 1,
            },
            By::Db(parts) => {
                let next = parts.len();
                let part = *parts.entry(head.db).or_insert(next);
                if part == self.parts.len() {
                    self.parts.push(Part::new(format!("db-{}", head.db), head.db.to_string().into_bytes()));
                }
                self.parts[part].keys += 1;
            }
            By::Prefix { separator, parts } => match prefix_of(head.key, separator) {
                None => self.rest += 1,
                Some(prefix) => {
                    if !parts.contains_key(prefix) {
                        parts.insert(prefix.to_vec(), self.parts.len());
                        self.parts.push(Part::new(format!("prefix-{}", file_name(prefix)), prefix.to_vec()));
                    }
                    self.parts[parts[prefix]].keys += 1;
                }
            },
            By::Count { keys, .. } => *keys += 1,
        }
    }

    /// All keys have been counted.
    pub(super) fn end_census(&mut self) {
        if let By::Count { parts, keys, .. } = self.by {
            for (i, part) in self.parts.iter_mut().enumerate() {
                let until =
                    |part: u64| (u128::from(keys) * u128::from(part)).div_ceil(u128::from(parts)) as u64;
                part.keys = until(i as u64 + 1) - until(i as u64);
            }
        }
        if self.rest > 0 {
            let rest = Part { keys: self.rest, ..Part::new("rest".to_owned(), b"rest".to_vec()) };
            self.parts.push(rest);
        }
    }

    /// The input is read again from its start.
    pub(super) fn start_pass(&mut self) {
        if let By::Count { next, .. } = &mut self.by {
            *next = 0;
        }
    }

    /// The number of the part of a key; each key is asked for once a pass, in order.
    pub(super) fn part_of(&mut self, head: &KeyHead<'_>) -> usize {
        let rest = self.parts.len().wrapping_sub(1);
        match &mut self.by {
            By::Slots(of) => match of[usize::from(key_slot(head.key)) % SLOTS] {
                NO_PART => rest,
                part => part as usize,
            },
            By::Db(parts) => parts.get(&head.db).copied().unwrap_or(rest),
            By::Prefix { separator, parts } => {
                prefix_of(head.key, separator).and_then(|prefix| parts.get(prefix).copied()).unwrap_or(rest)
            }
            By::Count { parts, keys, next } => {
                let ordinal = *next;
                *next += 1;
                (u128::from(ordinal) * u128::from(*parts) / u128::from((*keys).max(1))) as usize
            }
        }
    }

    /// Names of files, each once also where letters are not told apart.
    pub(super) fn file_names(&self) -> Vec<String> {
        let mut taken = BTreeSet::new();
        let mut names = Vec::new();
        for part in &self.parts {
            let mut name = part.file.clone();
            let mut n = 2;
            while !taken.insert(name.to_lowercase()) {
                name = format!("{}-{n}", part.file);
                n += 1;
            }
            names.push(name);
        }
        names
    }

    pub(super) fn set_bytes(&mut self, part: usize, bytes: u64) {
        if let Some(part) = self.parts.get_mut(part) {
            part.bytes = bytes;
        }
    }

    pub(super) fn list(&self) -> &[Part] {
        &self.parts
    }
}

fn prefix_of<'k>(key: &'k [u8], separator: &[u8]) -> Option<&'k [u8]> {
    memchr::memmem::find(key, separator).map(|at| &key[..at])
}

/// Bytes as a part of a file's name.
fn file_name(bytes: &[u8]) -> String {
    const MOST_BYTES: usize = 80;
    let mut name = String::new();
    for byte in bytes.iter().take(MOST_BYTES) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(char::from(*byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// Ranges of slots with a name.
type Named = (String, Vec<(u16, u16)>);

fn by_slots(named: Vec<Named>, parts: &mut Vec<Part>) -> anyhow::Result<By> {
    let mut of = vec![NO_PART; SLOTS];
    for (i, (name, ranges)) in named.into_iter().enumerate() {
        for slot in ranges.iter().flat_map(|(first, last)| *first..=*last) {
            if of[usize::from(slot)] != NO_PART {
                bail!("slot {slot} is in two parts");
            }
            of[usize::from(slot)] = i as u32;
        }
        parts.push(Part::new(name, Vec::new()));
    }
    Ok(By::Slots(of))
}

/// The nodes of a nodes.conf that own slots: `id address flags master ping pong epoch link slots...`.
fn nodes_with_slots(text: &str) -> anyhow::Result<Vec<Named>> {
    const FIRST_SLOTS: usize = 8;
    let mut nodes = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("vars ") && !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Slots on their way are in brackets, and still their owner's.
        let slots: Vec<&str> =
            words.iter().skip(FIRST_SLOTS).copied().filter(|word| !word.starts_with('[')).collect();
        if slots.is_empty() {
            continue;
        }
        nodes.push((format!("node-{}", file_name(words[0].as_bytes())), parse_slots(&slots.join(","))?));
    }
    if nodes.is_empty() {
        bail!("no node has slots there");
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::nodes_with_slots;

    #[test]
    fn nodes_and_their_slots() {
        let text = "\
07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426238317239 4 connected
67ed 127.0.0.1:30002@31002 master - 0 1426238316232 2 connected 5461-10922 16000
e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460 [93->-292f8b]
vars currentEpoch 6 lastVoteEpoch 0
";
        let nodes = nodes_with_slots(text).expect("is right");
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[0], ("node-67ed".to_owned(), vec![(5461, 10922), (16000, 16000)]));
        assert_eq!(nodes[1].1, [(0, 5460)]);
        assert!(nodes_with_slots("vars x\n").is_err());
        assert!(nodes_with_slots("a b c d e f g h 5-x\n").is_err());
    }
}
