//! What can be wrong with a log, and how a fold that does not end well says it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Something that is wrong in a file of a log.
#[derive(Debug)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// Where in it, if it is at one place.
    pub at: Option<u64>,
    /// What it is; what may stand in the file is escaped.
    pub what: String,
    /// Whether the system failed, and not the file.
    pub is_trouble: bool,
}

impl Fault {
    /// Wrong bytes at an offset.
    pub(super) fn new(file: &Path, at: u64, what: impl Into<String>) -> Fault {
        Fault { file: file.to_owned(), at: Some(at), what: what.into(), is_trouble: false }
    }

    /// What the system said.
    pub(super) fn io(file: &Path, error: &io::Error) -> Fault {
        Fault { file: file.to_owned(), at: None, what: error.to_string(), is_trouble: true }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if let Some(at) = self.at {
            write!(f, "offset {at}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

/// Why a fold has not come to its end.
#[derive(Debug)]
pub enum Stop<E> {
    /// A file is wrong, or cannot be read.
    Fault(Fault),
    /// The sink did not want to go on.
    Sink(E),
}

impl<E> From<Fault> for Stop<E> {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}
