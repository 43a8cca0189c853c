//! Where an output goes: standard output, a device, or a file that gets its name when it is whole.
//!
//! A file is written beside its goal under a name of its own, synced, and then renamed, and the folder is
//! synced too: whoever looks finds the old file or the new one, whenever the power goes.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Stdout, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use crate::output::shared_stdout;

/// An output that is being written.
#[derive(Debug)]
pub struct Output(Kind);

#[derive(Debug)]
enum Kind {
    Stdout(BufWriter<Stdout>),
    /// A device or a pipe: it cannot be replaced.
    Device(File, PathBuf),
    File {
        temp: NamedTempFile,
        goal: PathBuf,
        force: bool,
    },
}

/// How a finished output can be spoken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It went to standard output.
    Stdout,
    /// It is at this path.
    At(PathBuf),
}

impl Output {
    /// Begins an output; `-` is standard output. A file that is there is replaced only with `force`.
    ///
    /// # Errors
    /// What is in the way, with the path.
    pub fn create(path: &Path, force: bool) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self(Kind::Stdout(shared_stdout())));
        }
        let at = || path.display().to_string();
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => bail!("{}: is a folder", at()),
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(path).with_context(at)?;
                return Ok(Self(Kind::Device(file, path.to_owned())));
            }
            Ok(_) if !force => bail!("{}: is there already; --force replaces it", at()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(at),
        }
        let mut prefix = OsString::from(".");
        prefix.push(path.file_name().with_context(|| format!("{}: has no file name", at()))?);
        prefix.push(".");
        let folder = folder_of(path);
        if !folder.exists() {
            bail!("{}: there is no folder {}", at(), folder.display());
        }
        // What the user's mask leaves of it, as with any file.
        let temp = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".tmp")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(bare)
            .with_context(at)?;
        Ok(Self(Kind::File { temp, goal: path.to_owned(), force }))
    }

    /// Whether what is written can be taken back: nobody sees it before [`Output::commit`].
    #[must_use]
    pub fn is_revocable(&self) -> bool {
        matches!(self.0, Kind::File { .. })
    }

    /// The output is whole: gives it its name. Dropping an output instead leaves nothing behind.
    ///
    /// # Errors
    /// What syncing and renaming say, and a file that has come to be there meanwhile.
    pub fn commit(self) -> anyhow::Result<Placed> {
        match self.0 {
            Kind::Stdout(mut out) => {
                out.flush()?;
                Ok(Placed::Stdout)
            }
            Kind::Device(mut file, _) => {
                file.flush()?;
                Ok(Placed::Stdout)
            }
            Kind::File { temp, goal, force } => {
                let at = || goal.display().to_string();
                temp.as_file().sync_all().with_context(at)?;
                let placed = if force { temp.persist(&goal) } else { temp.persist_noclobber(&goal) };
                placed.map_err(|error| error.error).with_context(at)?;
                sync_folder(folder_of(&goal)).with_context(at)?;
                Ok(Placed::At(goal))
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Stdout(out) => out.write(bytes),
            Kind::Device(file, path) => file.write(bytes).map_err(|error| of(path, &error)),
            Kind::File { temp, goal, .. } => {
                temp.as_file_mut().write(bytes).map_err(|error| of(goal, &error))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Stdout(out) => out.flush(),
            Kind::Device(file, path) => file.flush().map_err(|error| of(path, &error)),
            Kind::File { temp, goal, .. } => temp.as_file_mut().flush().map_err(|error| of(goal, &error)),
        }
    }
}

/// An error of the system as such, without the name of a temporary file that nobody has heard of.
pub(super) fn bare(error: io::Error) -> io::Error {
    let code = error.get_ref().and_then(|inner| inner.source()?.downcast_ref::<io::Error>()?.raw_os_error());
    code.map_or(error, io::Error::from_raw_os_error)
}

/// An error of writing that says which file it is about: whoever writes knows only that it is an output.
pub(super) fn of(goal: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", goal.display()))
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder last.
///
/// # Errors
/// What the system says.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Refuses to write over what is read.
///
/// # Errors
/// Says so, if the two are one file by whatever names.
pub fn refuse_same(input: &Path, output: &Path) -> anyhow::Result<()> {
    let (Ok(read), Ok(written)) = (fs::metadata(input), fs::metadata(output)) else { return Ok(()) };
    if (read.is_file() || read.is_dir()) && (read.dev(), read.ino()) == (written.dev(), written.ino()) {
        bail!("{}: is what is read; an input is never changed", output.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Output, refuse_same};
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_file_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let goal = folder.path().join("out.rdb");
        let names = || fs::read_dir(folder.path()).expect("it is there").count();
        let mut output = Output::create(&goal, false).expect("nothing is in the way");
        output.write_all(b"half").expect("write");
        assert!(!goal.exists() && output.is_revocable());
        drop(output);
        assert_eq!(names(), 0);
        let mut output = Output::create(&goal, false).expect("nothing is in the way");
        output.write_all(b"whole").expect("write");
        output.commit().expect("a name");
        assert_eq!(fs::read(&goal).expect("it is there"), b"whole");
        let refused = Output::create(&goal, false).expect_err("it is there").to_string();
        assert!(refused.ends_with("out.rdb: is there already; --force replaces it"), "{refused}");
        let mut output = Output::create(&goal, true).expect("it may go");
        output.write_all(b"new").expect("write");
        output.commit().expect("a name");
        assert_eq!((fs::read(&goal).expect("it is there"), names()), (b"new".to_vec(), 1));
        refuse_same(&goal, &folder.path().join("../").join(folder.path()).join("out.rdb"))
            .expect_err("they are one");
        refuse_same(&goal, &folder.path().join("other")).expect("it is not there");
    }

    #[test]
    fn what_came_meanwhile_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let goal = folder.path().join("out.rdb");
        let output = Output::create(&goal, false).expect("nothing is in the way");
        fs::write(&goal, b"theirs").expect("write");
        output.commit().expect_err("it is there now");
        assert_eq!(fs::read(&goal).expect("it is there"), b"theirs");
        assert!(Output::create(folder.path(), true).is_err());
    }
}
