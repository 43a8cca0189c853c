//! The text of a configuration: lines of redis.conf, of standard input, of the command line.
//!
//! Later lines win over earlier ones; `save` and `client-output-buffer-limit` add to what stands in
//! the same text. Reading a file named by `include` is the only thing done to the disk.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cairn_engine::base::{glob, words};

use super::table::{Config, Row};
use super::{Directive, find};

/// Files may include files so deep: more is a circle.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Directives that Redis itself still accepts and no longer acts on, and the one of Redis 6.0 that it has
/// forgotten.
const FORGOTTEN: [&str; 6] = [
    "gopher-enabled",
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "io-threads-do-reads",
    "events-per-io-thread",
];

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The line and its number, from 1.
    pub(crate) line: Option<(usize, String)>,
    /// What is wrong.
    pub(crate) text: String,
}

/// What is known while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    has_saves: bool,
}

impl Reading {
    /// Sets `config` from the lines of `text`.
    ///
    /// # Errors
    /// The first line that cannot be used. `config` keeps what came before it.
    pub(crate) fn read(&mut self, config: &mut Config, text: &[u8]) -> Result<(), ConfigError> {
        self.read_at(config, text, 0)
    }

    fn read_at(&mut self, config: &mut Config, text: &[u8], depth: usize) -> Result<(), ConfigError> {
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            self.line(config, line, depth).map_err(|error| match error {
                Failed::Here(text) => {
                    ConfigError { line: Some((i + 1, String::from_utf8_lossy(line).into_owned())), text }
                }
                Failed::Inside(error) => error,
            })?;
        }
        Ok(())
    }

    fn line(&mut self, config: &mut Config, line: &[u8], depth: usize) -> Result<(), Failed> {
        let words = words::split(line).ok_or("Unbalanced quotes in configuration line")?;
        let Some((name, args)) = words.split_first() else { return Ok(()) };
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        match find(name) {
            Some(Directive::Row(row)) => return Ok(self.row(config, row, &args)?),
            Some(Directive::Stock(i)) => return Ok(config.set_stock(i, &args)?),
            None => {}
        }
        match name.to_ascii_lowercase().as_slice() {
            b"include" if args.len() == 1 => self.include(config, args[0], depth),
            b"rename-command" if args.len() == 2 => {
                config.renames.push((args[0].to_vec(), args[1].to_vec()));
                Ok(())
            }
            b"user" | b"loadmodule" => Err(format!(
                "this server cannot do what '{}' asks for yet, and will not run as if it did",
                String::from_utf8_lossy(name)
            )
            .into()),
            name if args.len() == 1 && FORGOTTEN.iter().any(|word| word.as_bytes() == name) => Ok(()),
            _ => Err("Bad directive or wrong number of arguments".into()),
        }
    }

    fn row(&mut self, config: &mut Config, row: &Row, args: &[&[u8]]) -> Result<(), String> {
        if row.name != "save" {
            return config.set_row(row, args);
        }
        // The first `save` replaces the defaults, the others add; an empty one forgets them all.
        let before = std::mem::take(&mut config.save);
        if let Err(why) = config.set_row(row, args) {
            config.save = before;
            return Err(why);
        }
        if self.has_saves && !config.save.is_empty() {
            let added = std::mem::replace(&mut config.save, before);
            config.save.extend(added);
        }
        self.has_saves = true;
        Ok(())
    }

    fn include(&mut self, config: &mut Config, pattern: &[u8], depth: usize) -> Result<(), Failed> {
        if depth >= MAX_INCLUDE_DEPTH {
            return Err("include goes too deep: do the files include one another?".into());
        }
        for path in matching_files(pattern) {
            let text =
                fs::read(&path).map_err(|e| format!("Can't open config file '{}': {e}", path.display()))?;
            self.read_at(config, &text, depth + 1).map_err(Failed::Inside)?;
        }
        Ok(())
    }
}

/// Where an error lies: in the line at hand, or in a file that the line includes.
enum Failed {
    Here(String),
    Inside(ConfigError),
}

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Failed::Here(text)
    }
}

impl From<&str> for Failed {
    fn from(text: &str) -> Self {
        Failed::Here(text.to_owned())
    }
}

/// The files that a path with a pattern in its last part names, in order; the path itself if it has none.
fn matching_files(pattern: &[u8]) -> Vec<PathBuf> {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(pattern));
    if !pattern.iter().any(|b| matches!(b, b'*' | b'?' | b'[')) {
        return vec![path];
    }
    let Some(name) = path.file_name() else { return vec![path] };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| glob::matches(name.as_bytes(), entry.file_name().as_bytes(), false))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Config, Vec<&'static str>), ConfigError> {
        let mut config = Config::default();
        let mut reading = Reading::default();
        reading.read(&mut config, text.as_bytes())?;
        let ignored = config.not_acted_on().collect();
        Ok((config, ignored))
    }

    fn error(text: &str) -> (usize, String) {
        let error = read(text).expect_err("a text with a mistake");
        (error.line.map_or(0, |(number, _)| number), error.text)
    }

    #[test]
    fn lines_quotes_comments() {
        let text = "# a comment\n\n port 7000 \r\nPIDFILE \"/tmp/a b\"\nbind 127.0.0.1 ::1\ntimeout '5'\n";
        let (config, ignored) = read(text).expect("a sound text");
        assert_eq!(config.port, 7000);
        assert_eq!(config.pidfile, b"/tmp/a b");
        assert_eq!(config.bind, ["127.0.0.1", "::1"]);
        assert_eq!(config.timeout_seconds, 5);
        assert!(ignored.is_empty());
    }

    #[test]
    fn mistakes_name_their_line() {
        assert_eq!(error("port 1\nfoo bar\n"), (2, "Bad directive or wrong number of arguments".into()));
        assert_eq!(error("port 1 2\n"), (1, "wrong number of arguments".into()));
        assert_eq!(error("port \"1\n"), (1, "Unbalanced quotes in configuration line".into()));
        assert_eq!(error("port 70000\n"), (1, "argument must be between 0 and 65535 inclusive".into()));
        let words = "argument(s) must be one of the following: debug, verbose, notice, warning, nothing";
        assert_eq!(error("loglevel high"), (1, words.into()));
    }

    #[test]
    fn saves_add_up() {
        let saves = |text: &str| {
            let (config, _) = read(text).expect("a sound text");
            config.save.iter().map(|rule| (rule.seconds, rule.changes)).collect::<Vec<_>>()
        };
        assert_eq!(saves("save 900 1\nsave 300 10 60 5\n"), [(900, 1), (300, 10), (60, 5)]);
        assert_eq!(saves("save \"900 1 300 10\"\n"), [(900, 1), (300, 10)]);
        assert_eq!(saves("save 900 1\nsave \"\"\n"), []);
        assert_eq!(saves(""), [(3600, 1), (300, 100), (60, 10_000)]);
    }

    #[test]
    fn what_is_not_acted_on_is_named_or_refused() {
        let (_, ignored) =
            read("repl-timeout 7\nappendonly no\nauto-aof-rewrite-min-size 64mb\n").expect("known names");
        assert_eq!(ignored, ["repl-timeout"]);
        assert_eq!(error("cluster-enabled yes\n").0, 1);
        assert_eq!(error("user bob on\n").0, 1);
    }

    #[test]
    fn includes_are_read_where_they_stand() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a.conf"), "port 1\ntimeout 1\n").expect("written");
        fs::write(path("b.conf"), format!("include {}/b.conf\n", dir.path().display())).expect("written");
        let (config, _) =
            read(&format!("port 2\ninclude {}/a*.conf\ntimeout 3\n", dir.path().display())).expect("sound");
        assert_eq!((config.port, config.timeout_seconds), (1, 3));
        assert!(error(&format!("include {}/b.conf\n", dir.path().display())).1.contains("too deep"));
        assert!(error("include /no/such/file\n").1.contains("Can't open config file"));
    }
}
