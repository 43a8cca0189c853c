//! Finding files, running binaries.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

/// Runs a program called `argv0` in `folder` with this standard input.
pub(crate) fn run(program: &Path, argv0: &str, folder: &Path, args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(program);
    std::os::unix::process::CommandExt::arg0(&mut command, argv0);
    let mut child = command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // The program may end without reading: that is its own affair.
    let _ = child.stdin.take().expect("is piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the program ends")
}

/// Runs the binary under its own name.
pub(crate) fn aof_tools(folder: &Path, args: &[&str]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_aof-tools")), "aof-tools", folder, args, "")
}

/// Runs the binary as the servers' tool.
pub(crate) fn check_aof(folder: &Path, args: &[&str], stdin: &str) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_aof-tools")), "redis-check-aof", folder, args, stdin)
}

/// Copies a folder with everything in it, writable.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::write(&target, std::fs::read(&path).expect("a file")).expect("a copy");
        }
    }
}
