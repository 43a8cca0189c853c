//! Why a start is refused: the words of Redis where there are some, where exactly, and what to do.

use std::fmt;
use std::io;
use std::path::Path;

use crate::codec::rdb::{Error, Kind};
use crate::persist::load::{LoadError, LoadFault};

use super::RecoverOptions;
use super::file::{Bad, Failure};
use super::look::Part;

/// A start that is refused. No file was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, a line each; the first ones are Redis's words.
    pub lines: Vec<String>,
    /// What to do about it; may be empty.
    pub advice: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "\n{}", self.advice) }
    }
}

impl std::error::Error for Refusal {}

/// How an error of the disk is told: its words without Rust's number.
pub(super) fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
        None => error.to_string(),
    }
}

impl Refusal {
    pub(super) fn new(line: String, advice: String) -> Refusal {
        Refusal { lines: vec![line], advice }
    }

    pub(super) fn io(what: &str, path: &Path, error: &io::Error) -> Refusal {
        Refusal::new(format!("{what} {}: {}", path.display(), words(error)), String::new())
    }

    pub(super) fn dump(error: &LoadError) -> Refusal {
        // Valkey's tests look for these words in two lines.
        let what = match &*error.fault {
            LoadFault::Format(Error { kind: Kind::Packed { .. }, .. }) => ": integrity check failed",
            _ => "",
        };
        // The last line is the one that scripts look at.
        let last = format!("Fatal error loading the DB: {error}{what}. Exiting.");
        let mut lines = Vec::new();
        if !matches!(*error.fault, LoadFault::Io(_)) {
            lines.push(look_at_rdb(&error.path));
            lines.push("Terminating server after rdb file reading failure.".to_owned());
        }
        if let LoadFault::Format(error) = &*error.fault {
            lines.extend(in_known_words(error));
        }
        lines.push(last);
        Refusal { lines, advice: String::new() }
    }

    /// A file of the log that cannot be used at all.
    pub(super) fn file(part: &Part, failure: &Failure) -> Refusal {
        let (name, path) = (part.shown(), &part.source.path);
        match failure {
            Failure::Io(error) => Refusal::new(
                format!("Unrecoverable error reading the append only file {name}: {}", words(error)),
                String::new(),
            ),
            Failure::Rdb(error) => {
                let what = match part.is_single {
                    true => {
                        format!("Error reading the RDB preamble of the AOF file {name}, AOF loading aborted")
                    }
                    false => format!("Error reading the RDB base file {name}, AOF loading aborted"),
                };
                Refusal { lines: vec![what, error.to_string()], advice: look_at_rdb(path) }
            }
            Failure::Behind(bytes) => Refusal {
                lines: vec![
                    format!("Error reading the RDB base file {name}, AOF loading aborted"),
                    format!("{}: {bytes} bytes behind the end of the RDB file", path.display()),
                ],
                advice: look_at_rdb(path),
            },
            Failure::Command(stopped) => Refusal {
                lines: vec![
                    format!("Error reading the append only file {name}, error: {}", stopped.text),
                    format!("{}: offset {}", path.display(), stopped.at),
                ],
                advice: look_at_log(part),
            },
            Failure::Sum { found, expected } => Refusal {
                lines: vec![
                    format!(
                        "Bad file format reading the append only file {name}: its checksum does not match"
                    ),
                    format!(
                        "{}: the checksum of the file is {found:016x}, and the manifest says {expected:016x}",
                        path.display()
                    ),
                ],
                advice: look_at_log(part),
            },
        }
    }

    /// Commands have answered with errors, and that is not wanted.
    pub(super) fn strict(part: &Part, errors: u64) -> Refusal {
        let line = format!(
            "Error reading the append only file {}, error: {errors} of its commands answer with an error",
            part.shown()
        );
        Refusal::new(line, look_at_log(part))
    }

    /// Something is wrong in a file and may not be cut off.
    pub(super) fn bad(
        part: &Part,
        bad: &Bad,
        bytes: u64,
        is_last: bool,
        options: &RecoverOptions,
    ) -> Refusal {
        let (name, path) = (part.shown(), part.source.path.display());
        let detail = format!("{path}: {}", bad.what);
        let lines = match (bad.is_torn, is_last) {
            (true, false) => vec![detail, "Fatal error: the truncated file is not the last file".to_owned()],
            (true, true) => vec![
                format!(
                    "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF \
                     file, then use 'aof-tools repair --in-place {}'. 2) Alternatively you can set the 'aof-load-truncated' \
                     configuration option to yes and restart the server.",
                    part.manifest_path.display()
                ),
                detail,
            ],
            (false, _) => vec![
                format!(
                    "Bad file format reading the append only file {name}: make a backup of your AOF file"
                ),
                detail,
            ],
        };
        let mut advice = look_at_log(part);
        if !bad.is_torn && is_last && (1..bytes).contains(&options.corrupt_tail_max_bytes) {
            advice = format!("{bytes} bytes are more than aof-load-corrupt-tail-max-size allows. {advice}");
        }
        Refusal { lines, advice }
    }
}

/// What Valkey's log says of the same fault, where it has words of its own.
fn in_known_words(error: &Error) -> Option<String> {
    match (&error.kind, error.version) {
        (Kind::ObjectType(byte), Some(version)) if version.is_redis_only() => {
            let number = version.number;
            Some(format!("Can't handle foreign type or opcode {byte} in RDB with version {number}"))
        }
        (Kind::ObjectType(_), _) => {
            Some("Unknown type or opcode when loading DB. Unrecoverable error, aborting now.".to_owned())
        }
        (Kind::Packed { what, .. }, _) => {
            let at = error.at;
            Some(format!("Internal error in RDB reading offset {at} -> {what} integrity check failed."))
        }
        _ => None,
    }
}

fn look_at_rdb(path: &Path) -> String {
    let path = path.display();
    format!(
        "The file was not changed. Look at it with 'rdb-tools check {path}' before anything else; 'rdb-tools salvage \
         {path} -o NEW.rdb' gets what can be read out of it."
    )
}

/// What to do about the file of a log, its manifest or its folder.
pub(super) fn look_at(path: &Path) -> String {
    let path = path.display();
    format!(
        "No file was changed. Look at it with 'aof-tools check {path}'; 'aof-tools repair {path}' tells what can be \
         saved."
    )
}

fn look_at_log(part: &Part) -> String {
    look_at(&part.manifest_path)
}
