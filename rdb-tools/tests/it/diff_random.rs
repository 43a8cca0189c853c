//! One random change to random data, written in other encodings and another order: `diff` names it, and nothing else.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;

use cairn_engine::packed::listpack::ListpackBuf;

use crate::support::rdb_tools;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(BTreeMap<Vec<u8>, ()>),
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>),
    Zset(BTreeMap<Vec<u8>, i64>),
}

#[derive(Debug, Clone, PartialEq)]
struct Key {
    value: Value,
    expires: Option<u64>,
}

type Data = BTreeMap<(u8, Vec<u8>), Key>;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => self.below(300).to_string().into_bytes(),
            1 => (0..self.below(4)).map(|_| self.below(256) as u8).collect(),
            _ => format!("w{}", self.below(30)).into_bytes(),
        }
    }

    fn value(&mut self) -> Value {
        let n = 1 + self.below(12);
        match self.below(5) {
            0 => Value::Text(self.bytes()),
            1 => Value::List((0..n).map(|_| self.bytes()).collect()),
            2 => Value::Set((0..n).map(|_| (self.bytes(), ())).collect()),
            3 => Value::Hash((0..n).map(|_| (self.bytes(), (self.bytes(), self.expiry()))).collect()),
            _ => Value::Zset((0..n).map(|_| (self.bytes(), self.below(100) as i64 - 50)).collect()),
        }
    }

    fn expiry(&mut self) -> Option<u64> {
        (self.below(4) == 0).then(|| 4_000_000_000_000 + self.below(1000) as u64)
    }

    fn data(&mut self) -> Data {
        let mut data = Data::new();
        for _ in 0..5 + self.below(60) {
            let (db, key) = (self.below(3) as u8, self.bytes());
            data.insert((db, key), Key { value: self.value(), expires: self.expiry() });
        }
        data
    }
}

fn push_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&[0x80]);
    out.extend_from_slice(&(len as u32).to_be_bytes());
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn packed(elements: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut pack = ListpackBuf::new();
    elements.for_each(|element| pack.push_back(&element));
    pack.into_bytes()
}

/// Type byte and value, in one of the ways in which servers write it.
fn push_value(rng: &mut Rng, out: &mut Vec<u8>, key: &[u8], value: &Value) {
    let mut body = Vec::new();
    let is_packed = rng.below(2) == 0;
    let byte = match value {
        Value::Text(bytes) => {
            push_bytes(&mut body, bytes);
            0
        }
        Value::List(elements) if is_packed => {
            let nodes: Vec<_> = elements.chunks(1 + rng.below(5)).collect();
            push_len(&mut body, nodes.len());
            for node in nodes {
                push_len(&mut body, 2);
                push_bytes(&mut body, &packed(node.iter().cloned()));
            }
            18
        }
        Value::List(elements) => {
            push_len(&mut body, elements.len());
            elements.iter().for_each(|element| push_bytes(&mut body, element));
            1
        }
        Value::Set(members) if is_packed => {
            push_bytes(&mut body, &packed(members.keys().rev().cloned()));
            20
        }
        Value::Set(members) => {
            push_len(&mut body, members.len());
            members.keys().for_each(|member| push_bytes(&mut body, member));
            2
        }
        Value::Hash(fields) if fields.values().any(|(_, expires)| expires.is_some()) => {
            let least = fields.values().filter_map(|(_, expires)| *expires).min().expect("one expires");
            body.extend_from_slice(&least.to_le_bytes());
            push_len(&mut body, fields.len());
            for (field, (value, expires)) in fields {
                push_len(&mut body, expires.map_or(0, |at| (at - least) as usize + 1));
                push_bytes(&mut body, field);
                push_bytes(&mut body, value);
            }
            24
        }
        Value::Hash(fields) if is_packed => {
            push_bytes(
                &mut body,
                &packed(fields.iter().flat_map(|(field, (value, _))| [field.clone(), value.clone()])),
            );
            16
        }
        Value::Hash(fields) => {
            push_len(&mut body, fields.len());
            for (field, (value, _)) in fields.iter().rev() {
                push_bytes(&mut body, field);
                push_bytes(&mut body, value);
            }
            4
        }
        Value::Zset(members) if is_packed => {
            let mut sorted: Vec<_> = members.iter().map(|(member, score)| (*score, member)).collect();
            sorted.sort();
            let elements =
                sorted.iter().flat_map(|(score, member)| [(*member).clone(), score.to_string().into_bytes()]);
            push_bytes(&mut body, &packed(elements));
            17
        }
        Value::Zset(members) => {
            push_len(&mut body, members.len());
            for (member, score) in members {
                push_bytes(&mut body, member);
                body.extend_from_slice(&(*score as f64).to_le_bytes());
            }
            5
        }
    };
    out.push(byte);
    push_bytes(out, key);
    out.extend_from_slice(&body);
}

fn write(rng: &mut Rng, data: &Data) -> tempfile::NamedTempFile {
    let mut keys: Vec<_> = data.iter().collect();
    for i in (1..keys.len()).rev() {
        keys.swap(i, rng.below(i + 1));
    }
    let mut bytes = b"REDIS0012".to_vec();
    for ((db, key), what) in keys {
        bytes.extend_from_slice(&[0xfe, *db]);
        if let Some(at) = what.expires {
            bytes.push(0xfc);
            bytes.extend_from_slice(&at.to_le_bytes());
        }
        push_value(rng, &mut bytes, key, &what.value);
    }
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("write");
    file
}

/// Changes one thing. Answers which key, and what diff is to call it.
fn mutate(rng: &mut Rng, data: &mut Data) -> ((u8, Vec<u8>), &'static str) {
    let at = data.keys().nth(rng.below(data.len())).expect("there are keys").clone();
    let key = data.get_mut(&at).expect("is there");
    let kind = rng.below(4);
    let what = match kind {
        0 => {
            data.remove(&at);
            "removed"
        }
        1 => {
            let new = (at.0, [&at.1[..], b"\0new"].concat());
            data.insert(new.clone(), Key { value: rng.value(), expires: None });
            return (new, "added");
        }
        2 => {
            key.expires = match key.expires {
                Some(at) => Some(at + 1).filter(|_| at % 2 == 0),
                None => Some(4_000_000_000_000),
            };
            "expiry"
        }
        _ => {
            let which = |rng: &mut Rng, n: usize| rng.below(n);
            match &mut key.value {
                Value::Text(bytes) => match bytes.is_empty() {
                    true => bytes.push(0),
                    false => {
                        let i = which(rng, bytes.len());
                        bytes[i] ^= 1 << rng.below(8);
                    }
                },
                Value::List(elements) => {
                    let i = which(rng, elements.len());
                    match rng.below(3) {
                        0 if elements.len() > 1 => drop(elements.remove(i)),
                        1 => elements.insert(i, b"inserted".to_vec()),
                        _ => elements[i].push(7),
                    }
                }
                Value::Set(members) => {
                    let member = members.keys().nth(which(rng, members.len())).expect("one").clone();
                    if members.len() > 1 {
                        members.remove(&member);
                    }
                    if members.len() < 2 || rng.below(2) == 0 {
                        members.insert([&member[..], b"!"].concat(), ());
                    }
                }
                Value::Hash(fields) => {
                    let field = fields.keys().nth(which(rng, fields.len())).expect("one").clone();
                    let (value, expires) = fields.get_mut(&field).expect("is there");
                    match rng.below(2) {
                        0 => value.push(b'!'),
                        _ => *expires = Some(expires.map_or(4_000_000_000_000, |at| at + 1)),
                    }
                }
                Value::Zset(members) => {
                    let member = members.keys().nth(which(rng, members.len())).expect("one").clone();
                    *members.get_mut(&member).expect("is there") += 1;
                }
            }
            "changed"
        }
    };
    (at, what)
}

/// A string of the data as JSON has it.
fn json_bytes(value: &serde_json::Value) -> Vec<u8> {
    use base64::Engine as _;
    match value.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let text = value["b64"].as_str().expect("bytes");
            base64::engine::general_purpose::STANDARD.decode(text).expect("is base64")
        }
    }
}

#[test]
fn every_single_change_is_named_and_nothing_else() {
    for seed in 1..=60u64 {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut data = rng.data();
        let a = write(&mut rng, &data);
        let same = write(&mut rng, &data);
        let (key, what) = mutate(&mut rng, &mut data);
        let b = write(&mut rng, &data);
        let diff = |b: &tempfile::NamedTempFile| {
            let options = ["diff", "--json"].map(OsStr::new);
            rdb_tools(options.into_iter().chain([a.path().as_os_str(), b.path().as_os_str()]))
        };
        let output = diff(&same);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "seed {seed}: {shown}");
        let output = diff(&b);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "seed {seed}, {what} {key:?}: {shown}");
        let lines: Vec<serde_json::Value> =
            shown.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
        assert_eq!(lines.len(), 2, "seed {seed}: {shown}");
        assert_eq!(lines[0]["change"], what, "seed {seed}: {shown}");
        assert_eq!((lines[0]["db"].as_u64(), json_bytes(&lines[0]["key"])), (Some(key.0.into()), key.1));
        assert_eq!(lines[1][what], 1, "{shown}");
    }
}
