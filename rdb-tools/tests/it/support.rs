//! Finding files, running binaries.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository's own test data.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// The folder of the large fixtures, where the environment names it.
pub(crate) fn fixtures(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CAIRN_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        println!("{test}: skipped, CAIRN_FIXTURES is not set");
    }
    folder
}

/// Runs the binary.
pub(crate) fn rdb_tools<I: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = I>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rdb-tools")).args(args).output().expect("the binary runs")
}

/// Files of a folder with this extension, sorted, folders inside left out.
pub(crate) fn files_with(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a folder can be read to its end").path())
        .filter(|path| path.is_file() && path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}
