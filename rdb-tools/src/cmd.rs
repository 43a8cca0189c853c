//! The subcommands: arguments in, exit code out.

pub mod check;
pub mod convert;
pub mod diff;
pub mod digest;
pub mod dump;
pub mod get;
pub mod index;
pub mod info;
pub mod merge;
pub mod salvage;
pub mod shell;
pub mod sort;
pub mod split;
pub mod stats;

use std::path::Path;

use clap::Args;

use crate::input::{Access, Input};
use crate::progress::{Progress, Wanted};

/// How input files are read; options that every subcommand has.
#[derive(Debug, Clone, Copy, Args)]
pub struct Reading {
    /// Read through a buffer instead of mapping the file into memory
    ///
    /// A mapped file must not get shorter while it is read, or the tool is killed. Use this option
    /// for files that another process may truncate. Pipes and standard input are never mapped.
    #[arg(long)]
    pub no_mmap: bool,

    /// Show no progress bar, not even on a terminal
    #[arg(long)]
    pub no_progress: bool,
}

impl Reading {
    /// Opens an input.
    ///
    /// # Errors
    /// The path with what the system says.
    pub fn open(self, path: &Path) -> anyhow::Result<Input> {
        let access = if self.no_mmap { Access::Buffer } else { Access::Map };
        Input::open(path, access)
            .map_err(|error| anyhow::Error::new(error).context(path.display().to_string()))
    }

    /// A bar for an input, if one is wanted.
    #[must_use]
    pub fn progress(self, input: &Input) -> Progress {
        let wanted = if self.no_progress { Wanted::Never } else { Wanted::OnTerminal };
        let name = input.path().file_name().unwrap_or(input.path().as_os_str());
        Progress::new(wanted, name.to_string_lossy().into_owned(), input.len())
    }
}
