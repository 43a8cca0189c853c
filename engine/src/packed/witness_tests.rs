//! Packed bytes that real servers wrote: the samples in `testdata/packed`, and, when
//! `CAIRN_FIXTURES` names the folder of fixtures, every packed value in the RDB files made there.

use super::Element;
use super::intset::{Intset, IntsetBuf};
use super::listpack::{Listpack, ListpackBuf};
use super::ziplist::Ziplist;
use super::zipmap::Zipmap;
use crate::base::lzf;
use std::fs;
use std::path::{Path, PathBuf};

fn repack<'a>(elements: impl Iterator<Item = Element<'a>>) -> Vec<u8> {
    let mut out = ListpackBuf::new();
    for element in elements {
        out.push_back(&element.to_vec());
    }
    out.into_bytes()
}

/// The elements of a sample, and a check that our editor writes the very same bytes.
fn elements(kind: &str, bytes: &[u8]) -> Vec<Vec<u8>> {
    match kind {
        "listpack" => {
            let view = Listpack::new(bytes).unwrap();
            assert_eq!(repack(view.iter()), bytes, "a listpack of the same elements");
            assert_eq!(view.iter().rev().count(), view.len());
            view.iter().map(|e| e.to_vec()).collect()
        }
        "intset" => {
            let view = Intset::new(bytes).unwrap();
            assert_eq!(view.iter().collect::<IntsetBuf>().as_bytes(), bytes, "an intset of the same members");
            view.iter().map(|v| v.to_string().into_bytes()).collect()
        }
        "ziplist" => {
            let view = Ziplist::new(bytes).unwrap();
            assert_eq!(view.to_listpack().as_bytes(), repack(view.iter()));
            view.iter().map(|e| e.to_vec()).collect()
        }
        "zipmap" => Zipmap::new(bytes).unwrap().iter().flat_map(|(f, v)| [f.to_vec(), v.to_vec()]).collect(),
        other => panic!("a folder of unknown packed bytes: {other}"),
    }
}

/// A JSON array of strings and of `{"b64": "..."}`.
fn expected(json: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = json.trim().strip_prefix('[').expect("an array");
    loop {
        rest = rest.trim_start_matches([',', ' ', '\n']);
        if rest.starts_with(']') {
            return out;
        }
        let is_base64 = rest.starts_with('{');
        if is_base64 {
            rest = rest[1..].trim_start().strip_prefix("\"b64\"").expect("the only member").trim_start();
            rest = rest.strip_prefix(':').expect("a member has a value").trim_start();
        }
        let (text, tail) = json_string(rest);
        rest = tail;
        if is_base64 {
            rest = rest.trim_start().strip_prefix('}').expect("one member only");
            out.push(base64(&text));
        } else {
            out.push(text);
        }
    }
}

fn json_string(s: &str) -> (Vec<u8>, &str) {
    let mut out = Vec::new();
    let bytes = s.as_bytes();
    assert_eq!(bytes[0], b'"');
    let mut i = 1;
    loop {
        match bytes[i] {
            b'"' => return (out, &s[i + 1..]),
            b'\\' => {
                assert!(matches!(bytes[i + 1], b'"' | b'\\' | b'/'), "printable ASCII needs no other escape");
                out.push(bytes[i + 1]);
                i += 2;
            }
            byte => {
                out.push(byte);
                i += 1;
            }
        }
    }
}

fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for &b in text.iter().filter(|&&b| b != b'=') {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

#[test]
fn samples_of_real_servers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/packed");
    let samples = files_below(&root, ".bin");
    assert!(samples.len() >= 20, "{} samples", samples.len());
    for path in samples {
        let kind = path.parent().and_then(Path::file_name).unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        let want = expected(&fs::read_to_string(path.with_extension("expected.json")).unwrap());
        assert_eq!(elements(&kind, &bytes), want, "{}", path.display());
    }
}

/// Just enough of the RDB format to find packed values.
struct Rdb<'a>(&'a [u8]);

/// The walker met something it does not know; what comes behind cannot be found.
struct Unknown;

impl<'a> Rdb<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Unknown> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Unknown)?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Unknown> {
        Ok(self.take(1)?[0])
    }

    /// A length, or the kind of a specially encoded string.
    fn len(&mut self) -> Result<Result<usize, u8>, Unknown> {
        let first = self.byte()?;
        let low = usize::from(first & 0x3f);
        Ok(match first >> 6 {
            0 => Ok(low),
            1 => Ok(low << 8 | usize::from(self.byte()?)),
            2 => {
                let width = if first == 0x81 { 8 } else { 4 };
                Ok(self.take(width)?.iter().fold(0, |v, &b| v << 8 | usize::from(b)))
            }
            _ => Err(first & 0x3f),
        })
    }

    fn plain_len(&mut self) -> Result<usize, Unknown> {
        self.len()?.map_err(|_| Unknown)
    }

    fn string(&mut self) -> Result<Vec<u8>, Unknown> {
        match self.len()? {
            Ok(len) => Ok(self.take(len)?.to_vec()),
            Err(kind @ 0..=2) => Ok(self.take(1 << kind)?.to_vec()),
            Err(_) => {
                let packed = self.plain_len()?;
                let raw = self.plain_len()?;
                let mut out = Vec::new();
                lzf::decompress(self.take(packed)?, raw, &mut out).expect("a real server's LZF");
                Ok(out)
            }
        }
    }

    fn strings(&mut self, count: usize) -> Result<(), Unknown> {
        (0..count).try_for_each(|_| self.string().map(|_| ()))
    }

    /// Hands every packed value to `found`.
    fn walk(&mut self, found: &mut dyn FnMut(&str, &[u8])) -> Result<(), Unknown> {
        self.take(9)?;
        loop {
            match self.byte()? {
                255 => return Ok(()),
                250 => self.strings(2)?,
                251 => drop((self.plain_len()?, self.plain_len()?)),
                254 | 248 => drop(self.plain_len()?),
                253 => drop(self.take(4)?),
                252 => drop(self.take(8)?),
                249 => drop(self.byte()?),
                245 => self.strings(1)?,
                kind => {
                    self.string()?;
                    self.value(kind, found)?;
                }
            }
        }
    }

    fn value(&mut self, kind: u8, found: &mut dyn FnMut(&str, &[u8])) -> Result<(), Unknown> {
        match kind {
            0 => self.strings(1)?,
            1 | 2 => {
                let count = self.plain_len()?;
                self.strings(count)?;
            }
            3 | 5 => {
                for _ in 0..self.plain_len()? {
                    self.string()?;
                    let width = match kind {
                        5 => 8,
                        _ => usize::from(Some(self.byte()?).filter(|&len| len < 253).unwrap_or(0)),
                    };
                    self.take(width)?;
                }
            }
            4 => {
                let count = self.plain_len()?;
                self.strings(2 * count)?;
            }
            9 => found("zipmap", &self.string()?),
            10 | 12 | 13 => found("ziplist", &self.string()?),
            11 => found("intset", &self.string()?),
            14 => {
                for _ in 0..self.plain_len()? {
                    found("ziplist", &self.string()?);
                }
            }
            16 | 17 | 20 => found("listpack", &self.string()?),
            18 => {
                for _ in 0..self.plain_len()? {
                    let container = self.plain_len()?;
                    let node = self.string()?;
                    if container == 2 {
                        found("listpack", &node);
                    }
                }
            }
            _ => return Err(Unknown),
        }
        Ok(())
    }
}

#[test]
fn packed_values_of_real_dumps() {
    let Some(root) = std::env::var_os("CAIRN_FIXTURES") else {
        println!("skipped: CAIRN_FIXTURES is not set");
        return;
    };
    let mut counts = std::collections::BTreeMap::new();
    for path in files_below(&Path::new(&root).join("made"), ".rdb") {
        let bytes = fs::read(&path).unwrap();
        println!("{}", path.display());
        let mut found = |kind: &str, packed: &[u8]| {
            elements(kind, packed);
            *counts.entry(kind.to_owned()).or_insert(0) += 1;
        };
        // A file is walked up to the first stream or module; the counts say that enough was seen.
        let _ = Rdb(&bytes).walk(&mut found);
    }
    println!("{counts:?}");
    for kind in ["listpack", "intset", "ziplist", "zipmap"] {
        assert!(counts.get(kind).is_some_and(|&n| n > 0), "no {kind} in {counts:?}");
    }
}
