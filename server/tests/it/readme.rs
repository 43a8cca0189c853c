//! The README's list of commands is what the server says of itself.

use std::collections::BTreeSet;
use std::path::Path;

use crate::client::Server;

#[test]
fn the_readme_lists_every_command_and_no_other() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, section) = readme.split_once("## Commands").expect("the README lists commands");
    let listed: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .flat_map(|(_, names)| names.split_ascii_whitespace())
        .filter(|word| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .map(str::to_ascii_lowercase)
        .collect();
    let answer = Server::start(&[]).client().call("COMMAND LIST");
    let known: BTreeSet<String> = answer
        .trim_matches(['[', ']'])
        .split_ascii_whitespace()
        .filter(|name| !name.contains('|'))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = known.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}; no such command: {unknown:?}");
}
