//! Output: a broken pipe is success, bytes from files never reach a terminal raw.
//!
//! `head` closing the pipe means that the reader has seen enough, so a tool then ends quietly and
//! with success. Keys and values may hold anything, escape sequences included, so whatever is shown
//! to a person goes through [`Shown`]. The drop-in modes print bytes as the servers' tools do.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::input;

/// The exit codes of every tool's own commands.
pub mod exit {
    /// All is well.
    pub const CLEAN: u8 = 0;
    /// The input was read, and something is wrong with it.
    pub const FINDINGS: u8 = 1;
    /// The work could not be done: wrong arguments, no such file, no space.
    pub const TROUBLE: u8 = 2;
}

/// The program that runs, once its `main` has said so.
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// Says which program this is, before anything else is done. Only the first word counts.
pub fn set_program(name: &'static str) {
    // Tests may run two of them in one process; what they are called matters to none.
    let _ = PROGRAM.set(name);
}

/// What messages begin with: the program's name.
#[must_use]
pub fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or("rdb-tools")
}

/// Standard output, buffered.
#[must_use]
pub fn stdout() -> BufWriter<io::StdoutLock<'static>> {
    const BUFFER_BYTES: usize = 256 << 10;
    BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock())
}

/// Standard output, buffered, for another thread to write to.
#[must_use]
pub fn shared_stdout() -> BufWriter<io::Stdout> {
    // What comes here comes in large pieces.
    BufWriter::with_capacity(64 << 10, io::stdout())
}

/// Whether an error says that nobody reads our output any more.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

/// The exit code of a command that ended with `result`, having told trouble on standard error as
/// `tool: cause: cause`.
#[must_use]
pub fn finish(tool: &str, result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(error) if is_broken_pipe(&error) => exit::CLEAN.into(),
        Err(error) => {
            // Nothing is left to be done when even this cannot be written.
            let _ = writeln!(io::stderr(), "{tool}: {}", clean_lines(&format!("{error:#}")));
            // What a packed input has inside is the input's fault.
            let is_damage = |cause: &io::Error| input::damage(cause).is_some();
            match error.chain().filter_map(|cause| cause.downcast_ref()).any(is_damage) {
                true => exit::FINDINGS.into(),
                false => exit::TROUBLE.into(),
            }
        }
    }
}

/// Bytes as a person may see them: printable ASCII and valid UTF-8 letters as they are, the rest, the
/// backslash and the double quote escaped; what is very long is cut in the middle.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST_BYTES: usize = 256;
        const KEPT_BYTES: usize = 120;
        if self.0.len() <= MOST_BYTES {
            return write_escaped(f, self.0);
        }
        write_escaped(f, &self.0[..KEPT_BYTES])?;
        write!(f, "...({} bytes)...", self.0.len() - 2 * KEPT_BYTES)?;
        write_escaped(f, &self.0[self.0.len() - KEPT_BYTES..])
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '"' => write!(f, "\\{c}")?,
                ' '..='~' => write!(f, "{c}")?,
                '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default())?,
                // Letters and digits of any script; not marks that turn or hide text.
                c if c.is_alphanumeric() => write!(f, "{c}")?,
                c => {
                    let mut utf8 = [0; 4];
                    write!(f, "{}", c.encode_utf8(&mut utf8).as_bytes().escape_ascii())?;
                }
            }
        }
        write!(f, "{}", chunk.invalid().escape_ascii())?;
    }
    Ok(())
}

/// Text that may have bytes of a file in it, with control characters and marks that turn or hide
/// text escaped.
#[must_use]
pub fn clean(text: &str) -> String {
    let is_harmless = |c: char| matches!(c, ' '..='~') || c.is_alphanumeric();
    let escaped =
        text.chars().map(|c| if is_harmless(c) { c.to_string() } else { c.escape_default().to_string() });
    escaped.collect()
}

/// The same, of several lines.
fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Shown, clean, is_broken_pipe};
    use anyhow::Context;

    #[test]
    fn nothing_raw_reaches_a_terminal() {
        let shown = |bytes: &[u8]| Shown(bytes).to_string();
        assert_eq!(shown(b"plain key:1"), "plain key:1");
        assert_eq!(shown(b"\x1b[31m\"\\\r\n\x00\xff"), r#"\x1b[31m\"\\\r\n\x00\xff"#);
        assert_eq!(shown("za\u{17c}\u{f3}\u{142}\u{107} \u{65e5}\u{672c}".as_bytes()), "zażółć 日本");
        assert_eq!(shown("a\u{202e}b\u{9b}".as_bytes()), r"a\xe2\x80\xaeb\xc2\x9b");
        let long = shown(&[b'x'; 1000]);
        assert!(long.contains("...(760 bytes)...") && long.len() < 300);
    }

    #[test]
    fn messages_are_cleaned() {
        assert_eq!(clean("score \u{1b}[2J is \"bad\""), "score \\u{1b}[2J is \"bad\"");
    }

    #[test]
    fn broken_pipes_are_seen_through_context() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&Err::<(), _>(pipe).context("writing").expect_err("is one")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
