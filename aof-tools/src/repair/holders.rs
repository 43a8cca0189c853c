//! Which processes have files open to write to them, as far as the system tells.
//!
//! Linux tells in /proc: a link for each open file, whose own permissions say how it was opened. Those of other
//! users are not shown to everybody, and containers see their own processes only. Who only reads is let be.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that has a file open to write to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// What the process is called.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What could not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unseen {
    Nothing,
    /// So many processes.
    Processes(usize),
    /// All: there is no /proc.
    Everything,
}

/// What a search has come to.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) found: Vec<Holder>,
    pub(crate) unseen: Unseen,
}

/// The permission of a link in /proc that says that its file can be written to.
const OWNER_WRITES: u32 = 0o200;

/// Processes but this one that have some of `files` open for writing.
pub(crate) fn of(files: &[&Path]) -> Search {
    search(Path::new("/proc"), files, std::process::id())
}

fn search(proc: &Path, files: &[&Path], me: u32) -> Search {
    let mut search = Search { found: Vec::new(), unseen: Unseen::Everything };
    let identity = |of: &Metadata| (of.dev(), of.ino());
    let wanted: Vec<_> =
        files.iter().filter_map(|path| Some((identity(&fs::metadata(path).ok()?), *path))).collect();
    let Ok(entries) = fs::read_dir(proc) else { return search };
    let (mut seen, mut hidden) = (0_usize, 0);
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        seen += 1;
        if pid == me {
            continue;
        }
        let open = match fs::read_dir(entry.path().join("fd")) {
            Ok(open) => open,
            // It has ended meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(_) => {
                hidden += 1;
                continue;
            }
        };
        for link in open.flatten().map(|link| link.path()) {
            let writes = fs::symlink_metadata(&link).is_ok_and(|link| link.mode() & OWNER_WRITES != 0);
            let Some(this) = fs::metadata(&link).ok().filter(|_| writes) else { continue };
            if let Some((_, path)) = wanted.iter().find(|(file, _)| *file == identity(&this)) {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                search.found.push(Holder { pid, name: name.trim_end().to_owned(), path: path.to_path_buf() });
            }
        }
    }
    search.unseen = match (seen, hidden) {
        (0, _) => Unseen::Everything,
        (_, 0) => Unseen::Nothing,
        (_, hidden) => Unseen::Processes(hidden),
    };
    search
}

#[cfg(test)]
mod tests {
    use super::{Unseen, search};
    use std::fs::File;
    use std::path::Path;

    #[test]
    fn who_writes_is_found_and_who_reads_is_not() {
        let file = tempfile::NamedTempFile::new().expect("create");
        let other = tempfile::NamedTempFile::new().expect("create");
        let reader = File::open(other.path()).expect("open");
        // This very process holds them: as if it were another one.
        let found = search(Path::new("/proc"), &[file.path()], 0);
        if found.unseen == Unseen::Everything {
            eprintln!("skipped: there is no /proc");
            return;
        }
        let holders: Vec<_> = found.found.iter().map(|holder| (holder.pid, holder.path.as_path())).collect();
        assert_eq!(holders, [(std::process::id(), file.path())]);
        let path = other.into_temp_path();
        assert!(search(Path::new("/proc"), &[&path], 0).found.is_empty(), "read only");
        assert!(
            search(Path::new("/proc"), &[file.path()], std::process::id()).found.is_empty(),
            "this process"
        );
        drop(reader);
    }

    #[test]
    fn without_proc_nothing_is_known() {
        let folder = tempfile::tempdir().expect("create");
        assert_eq!(search(folder.path(), &[], 0).unseen, Unseen::Everything);
        assert_eq!(search(&folder.path().join("none"), &[], 0).unseen, Unseen::Everything);
    }
}
