//! The tasks of the README, with the output that it shows.

use std::fs;
use std::path::Path;

use crate::support::testdata;

/// Copies a folder with what is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let goal = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &goal);
        } else {
            fs::copy(&path, &goal).expect("copied");
        }
    }
}

#[test]
fn the_cookbook_is_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let readme = folder.path().join("README.md");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a README");
    assert!(text.matches("```console").count() >= 5, "the cookbook has gone");
    fs::write(&readme, text).expect("written");
    // Where the commands run, so that what they write goes with the folder.
    copy(&testdata().join("cookbook"), &folder.path().join("README.in"));
    trycmd::TestCases::new().case(readme);
}
