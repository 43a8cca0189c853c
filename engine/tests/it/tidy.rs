//! The rules of ARCHITECTURE.md that a compiler does not check: which module may name which, where
//! `unsafe` may stand, what the lower layers must not reach for, that each file says what it is. That each
//! block has its SAFETY line is a lint (`undocumented_unsafe_blocks`); here stands only the word.
//!
//! Reads the sources as text, with comments and literals blanked out. It knows no macros beyond
//! their bodies being text, so a path that a macro builds escapes it.

use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the engine may name, besides itself: `codec::resp` allows that part only.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("packed", &["base"]),
    ("structure", &["base"]),
    ("os", &["base"]),
    ("codec", &["base", "packed"]),
    ("value", &["base", "packed", "structure"]),
    ("transcode", &["base", "packed", "codec", "value"]),
    ("keyspace", &["base", "value", "structure"]),
    ("command", &["base", "value", "keyspace", "transcode", "codec::resp"]),
    ("script", &["base", "codec::resp", "value", "keyspace", "command"]),
    ("persist", &["base", "codec", "value", "transcode", "keyspace", "command", "script", "os"]),
];

/// Formats, values, commands and scripts, and the facade, to run the commands of a log. Not what persists.
const TOOLS_MAY: &[&str] =
    &["base", "packed", "codec", "command", "value", "transcode", "keyspace", "script", "engine"];

/// What the other crates may name of the engine. The server is bound by what `lib.rs` makes public,
/// and by this: a session never sees an encoding.
const ENGINE_FOR: &[(&str, Rule)] = &[
    ("rdb-tools", Rule::Only(TOOLS_MAY)),
    ("aof-tools", Rule::Only(TOOLS_MAY)),
    ("server", Rule::Not(&["packed", "structure"])),
];

/// Where `unsafe` may stand: folders, or files by the start of their path in the workspace.
const UNSAFE_IN: &[&str] = &[
    "engine/src/os/",
    "engine/src/keyspace/entry",
    "engine/src/structure/record",
    "engine/src/structure/table",
    "engine/src/keyspace/entry",
    // Mapping a file is a promise about other processes, which no type can hold.
    "rdb-tools/src/input",
];

/// The layers that get clock, files, environment and randomness as arguments, and never log.
const PURE: &[&str] = &["base", "packed", "structure", "codec", "value", "transcode", "keyspace", "command"];

/// What no file of those layers names outside its tests.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "thread_local!",
    "static mut",
    "println!",
    "eprintln!",
    "libc::",
    "nix::",
];

const CRATES: &[&str] = &["engine", "rdb-tools", "aof-tools", "server", "benches"];

enum Rule {
    Only(&'static [&'static str]),
    Not(&'static [&'static str]),
}

/// One Rust file: its path in the workspace with `/`, its text, and the same with comments and
/// literals blanked.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    /// The part before the tests that stand in the file itself.
    fn shipped_code(&self) -> &str {
        let end = self.code.find("#[cfg(test)]\nmod tests {").unwrap_or(self.code.len());
        &self.code[..end]
    }

    fn is_test(&self) -> bool {
        let path = &self.path;
        path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
    }

    /// The module path below `crate`: `engine/src/codec/rdb/mod.rs` is `[codec, rdb]`.
    fn module(&self) -> Vec<&str> {
        let inside = self.path.split_once("/src/").map_or("", |(_, rest)| rest);
        let stem = inside.trim_end_matches(".rs");
        stem.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }
}

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for source in sources("engine/src") {
        let module = source.module();
        let Some(&home) = module.first().filter(|name| **name != "engine") else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == home) else {
            wrong.push(format!("{}: ARROWS has no row for `{home}`", source.path));
            continue;
        };
        for path in paths_from_root(&source.code, &module) {
            let may = path[0] == home || allowed.iter().any(|rule| starts_with(&path, rule));
            if !may {
                wrong.push(format!("{}: `{home}` names `crate::{}`", source.path, path.join("::")));
            }
        }
    }
    none(&wrong);
}

#[test]
fn arrows_are_those_of_the_page() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let block = page.split("## Allowed arrows").nth(1).and_then(|rest| rest.split("```").nth(1));
    let mut rows = Vec::new();
    for cell in
        block.expect("a fenced block under `Allowed arrows`").lines().flat_map(|line| line.split("  "))
    {
        let Some((from, to)) = cell.trim().split_once(" -> ") else { continue };
        let to: Vec<&str> = to.split(' ').filter(|word| *word != "nothing").collect();
        rows.extend(from.split(", ").map(|name| (name.to_owned(), to.clone())));
    }
    for (name, allowed) in ARROWS {
        let row = rows.iter().find(|(from, _)| from == name);
        assert_eq!(
            row.map(|(_, to)| to.as_slice()),
            Some(*allowed),
            "the row of `{name}` in ARCHITECTURE.md"
        );
    }
}

#[test]
fn other_crates_use_what_is_theirs() {
    let mut wrong = Vec::new();
    for (name, rule) in ENGINE_FOR {
        for source in sources(&format!("{name}/src")) {
            for path in paths_after(&source.code, "cairn_engine") {
                let may = match rule {
                    Rule::Only(allowed) => allowed.contains(&path[0].as_str()),
                    Rule::Not(forbidden) => !forbidden.contains(&path[0].as_str()),
                };
                if !may {
                    wrong.push(format!("{}: `cairn_engine::{}`", source.path, path.join("::")));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn pure_layers_get_the_world_as_arguments() {
    let mut wrong = Vec::new();
    for source in sources("engine/src").iter().filter(|source| !source.is_test()) {
        if !source.module().first().is_some_and(|home| PURE.contains(home)) {
            continue;
        }
        for word in IMPURE.iter().filter(|word| has_word(source.shipped_code(), word)) {
            wrong.push(format!("{}: `{word}`", source.path));
        }
    }
    none(&wrong);
}

#[test]
fn only_storage_and_os_touch_files() {
    let mut wrong = Vec::new();
    for source in sources("engine/src").iter().filter(|source| !source.is_test()) {
        let door = source.path.starts_with("engine/src/persist/storage")
            || source.path.starts_with("engine/src/os/");
        if !door
            && ["std::fs", "File::open", "File::create"].iter().any(|w| has_word(source.shipped_code(), w))
        {
            wrong.push(format!("{}: opens files", source.path));
        }
    }
    none(&wrong);
}

#[test]
fn unsafe_stays_where_it_is_allowed() {
    let mut wrong = Vec::new();
    for source in all_sources() {
        let allowed = UNSAFE_IN.iter().any(|start| source.path.starts_with(start));
        if !allowed && has_word(&source.code, "unsafe") {
            wrong.push(source.path);
        }
    }
    none(&wrong);
}

#[test]
fn every_file_says_what_it_is() {
    // The unit tests beside a file need no words of their own.
    let beside = |path: &str| path.ends_with("/tests.rs") || path.ends_with("_tests.rs");
    let silent: Vec<String> = all_sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! ") && !beside(&source.path))
        .map(|source| source.path)
        .collect();
    none(&silent);
}

#[test]
fn no_text_names_a_machine() {
    // Put together here, so that this file is no finding of its own.
    let folders = ["work", "root", "home", "farm"];
    let marks: Vec<String> =
        folders.iter().map(|name| format!("/{name}/")).chain([["..", "shared"].join("/")]).collect();
    let mut wrong = Vec::new();
    let mut files = Vec::new();
    walk(&root(), &mut files);
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_scanner_sees_what_it_should() {
    let code = blank(
        "use crate::{base::{glob, num::parse_i64 as p}, codec::rdb}; // crate::command\nlet s = \"crate::os\";",
    );
    let found: Vec<String> = paths_from_root(&code, &["value"]).iter().map(|p| p.join("::")).collect();
    assert_eq!(found, ["base::glob", "base::num::parse_i64", "codec::rdb"]);

    let climbing = paths_from_root("use super::super::codec::rdb; use super::sibling;", &["value", "set"]);
    assert_eq!(climbing, [["codec", "rdb"].map(String::from).to_vec()]);

    let tricky = blank(
        "let c = '\"'; let q = b'\\''; let r = r#\"unsafe \" \"#; /* unsafe /* nested */ */ fn f<'a>() {}",
    );
    assert!(!has_word(&tricky, "unsafe"), "{tricky}");
    assert!(tricky.contains("fn f<'a>() {}"), "{tricky}");
    assert!(has_word("x = unsafe { y }", "unsafe") && !has_word("allow(unsafe_code)", "unsafe"));
    assert!(starts_with(&["codec".into(), "resp".into(), "Reply".into()], "codec::resp"));
    assert!(!starts_with(&["codec".into(), "rdb".into()], "codec::resp"));
}

fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n  {}\n", findings.join("\n  "));
}

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine lies in a workspace").to_path_buf()
}

/// All files below `folder` but build output and version control, in no order.
fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("a readable folder")) {
        let (path, name) = (entry.path(), entry.file_name());
        let skip = ["target", ".git", "corpus", "artifacts", "node_modules"];
        if skip.iter().any(|s| name == *s) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, out);
        } else {
            out.push(path);
        }
    }
}

/// The Rust files below a folder of the workspace, sorted by path.
fn sources(folder: &str) -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    walk(&root.join(folder), &mut files);
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("Rust is UTF-8");
            let inside = path.strip_prefix(&root).expect("below the root");
            let path = inside.to_string_lossy().replace('\\', "/");
            Source { path, code: blank(&text), text }
        })
        .collect()
}

fn all_sources() -> Vec<Source> {
    let found: Vec<Source> = CRATES.iter().flat_map(|name| sources(name)).collect();
    assert!(found.len() > 20, "only {} files: is the folder right?", found.len());
    found
}

/// The text with comments and the insides of string and character literals replaced by blanks; line
/// ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8(out).expect("whole characters were replaced by blanks")
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let to = |n: Option<usize>| n.map_or(bytes.len(), |n| at + n);
    if rest.starts_with(b"//") {
        return to(rest.iter().position(|b| *b == b'\n'));
    }
    if rest.starts_with(b"/*") {
        return at + block_comment_len(rest);
    }
    let after_word = at > 0 && is_word(bytes[at - 1]);
    if !after_word || rest[0] == b'"' {
        let hashes = raw_string_hashes(rest);
        if let Some((start, hashes)) = hashes {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            return to(find(&rest[start..], &close).map(|n| start + n + close.len()));
        }
    }
    match rest[0] {
        b'"' => to(quoted_len(rest, b'"')),
        // A lifetime has no closing quote right behind its first character.
        b'\'' if rest.get(1) == Some(&b'\\') || char_literal(rest) => to(quoted_len(rest, b'\'')),
        _ => at,
    }
}

fn char_literal(rest: &[u8]) -> bool {
    let width = match rest.get(1) {
        Some(0..0x80) => 1,
        Some(0x80..0xe0) => 2,
        Some(0xe0..0xf0) => 3,
        _ => 4,
    };
    rest.get(1 + width) == Some(&b'\'')
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// (offset behind the opening quote, number of hashes) if a raw string starts here.
fn raw_string_hashes(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix = [b"br".as_slice(), b"cr", b"r"].into_iter().find(|p| rest.starts_with(p))?.len();
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    (rest.get(prefix + hashes) == Some(&b'"')).then_some((prefix + hashes + 1, hashes))
}

/// The length of a literal from its opening quote through its closing one; `None` if it never closes.
fn quoted_len(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `word` stands in `code` with no word character before it, nor after it if it ends in one.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| stands_alone(code, at, word))
}

fn stands_alone(code: &str, at: usize, word: &str) -> bool {
    let bytes = code.as_bytes();
    let before = at == 0 || !is_word(bytes[at - 1]);
    let ends_open = !word.ends_with(|c: char| c.is_ascii_alphanumeric());
    before && (ends_open || bytes.get(at + word.len()).is_none_or(|b| !is_word(*b)))
}

/// Whether the path begins with the segments of `rule`.
fn starts_with(path: &[String], rule: &str) -> bool {
    let mut segments = path.iter();
    rule.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
}

/// Every path that starts at the crate's root: by `crate::`, or by a chain of `super::` from `module`.
fn paths_from_root(code: &str, module: &[&str]) -> Vec<Vec<String>> {
    let mut out = paths_after(code, "crate");
    let climb = "super::".repeat(module.len());
    for (at, _) in code.match_indices(&climb) {
        let rest = &code[at + climb.len()..];
        let chain_starts = stands_alone(code, at, &climb) && !code[..at].ends_with("::");
        let first = &rest[..rest.bytes().take_while(|b| is_word(*b)).count()];
        // An inline module has one step more to climb; only the name of a layer is surely the root's.
        if chain_starts && ARROWS.iter().any(|(name, _)| *name == first) {
            expand(rest, &mut Vec::new(), &mut out);
        }
    }
    out
}

/// Every path that follows `start::`, groups in braces taken apart.
fn paths_after(code: &str, start: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let start = format!("{start}::");
    for (at, _) in code.match_indices(&start).filter(|(at, _)| stands_alone(code, *at, &start)) {
        expand(&code[at + start.len()..], &mut Vec::new(), &mut out);
    }
    out
}

/// Reads one path or one group from the front of `rest`, adds what it names to `out`, and answers how
/// many bytes it took.
fn expand(rest: &str, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) -> usize {
    let bytes = rest.as_bytes();
    let mut at = rest.len() - rest.trim_start().len();
    let depth = prefix.len();
    loop {
        if bytes.get(at) == Some(&b'{') {
            at += 1;
            while at < bytes.len() && bytes[at] != b'}' {
                at += if bytes[at] == b',' || bytes[at].is_ascii_whitespace() {
                    1
                } else {
                    expand(&rest[at..], prefix, out).max(1)
                };
            }
            at += 1;
            break;
        }
        let word = bytes[at..].iter().take_while(|b| is_word(**b)).count();
        if word > 0 {
            prefix.push(rest[at..at + word].to_owned());
            at += word;
        }
        if word > 0 && rest[at..].starts_with("::") {
            at += 2;
            continue;
        }
        if !prefix.is_empty() {
            out.push(prefix.iter().filter(|segment| *segment != "self").cloned().collect());
        }
        // `as name`, `*`, or whatever follows a path in an expression: up to the next comma or brace.
        at += bytes[at..].iter().take_while(|b| !matches!(**b, b',' | b'}' | b'{' | b';' | b'\n')).count();
        break;
    }
    prefix.truncate(depth);
    at
}
