//! `testdata/scenarios.md` has every scenario once, and the tests that it names are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const SCENARIOS: usize = 64;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Number and proof of each row.
fn rows() -> Vec<(usize, String)> {
    let text = fs::read_to_string(workspace().join("testdata/scenarios.md")).unwrap();
    let cells = text.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells.len() == 6).filter_map(|cells| {
        let number = cells[1].parse().ok()?;
        Some((number, cells[4].to_owned()))
    });
    rows.collect()
}

/// The names of all test functions under a folder of sources.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                if line.trim() == "#[test]" {
                    let name = lines.by_ref().find_map(|line| line.trim().strip_prefix("fn "));
                    found.extend(name.and_then(|name| name.split('(').next()).map(str::to_owned));
                }
            }
        }
    }
}

#[test]
fn every_scenario_has_a_row_and_its_tests_are_there() {
    let rows = rows();
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=SCENARIOS).collect::<Vec<_>>());
    let mut tests = BTreeSet::new();
    for folder in ["engine", "server", "rdb-tools", "aof-tools"] {
        tests_below(&workspace().join(folder).join("src"), &mut tests);
        tests_below(&workspace().join(folder).join("tests"), &mut tests);
    }
    for (number, proof) in &rows {
        let names: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() || proof == "-", "{number}: '{proof}' names no test");
        for name in names {
            assert!(tests.contains(name), "{number}: there is no test {name}");
        }
    }
}
