//! The command logs: commands that took long, that came large, that answered at length.
//!
//! Arguments are cut and secrets left out when an entry is made, so nothing that must not be seen is
//! kept. Knows no clock and no client. Behaviour: valkey src/commandlog.c.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::config::is_secret;

/// Arguments of an entry; the last says how many more there were.
const MAX_ARGS: usize = 32;

/// Bytes of an argument.
const MAX_ARG_BYTES: usize = 128;

/// What stands for a secret.
const REDACTED: &[u8] = b"(redacted)";

/// Why a command is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// It took long: microseconds.
    Slow,
    /// Its request was large: bytes.
    LargeRequest,
    /// Its reply was large: bytes.
    LargeReply,
}

impl LogKind {
    /// The kind of a word of COMMANDLOG, in any case.
    pub(crate) fn parse(word: &[u8]) -> Option<LogKind> {
        let kinds: [(&[u8], LogKind); 3] = [
            (b"slow", LogKind::Slow),
            (b"large-request", LogKind::LargeRequest),
            (b"large-reply", LogKind::LargeReply),
        ];
        kinds.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
    }
}

/// A command that was logged.
#[derive(Debug, Clone)]
pub(crate) struct LogEntry {
    /// Ever growing.
    pub(crate) id: u64,
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// Microseconds or bytes.
    pub(crate) value: u64,
    /// Its arguments, cut.
    pub(crate) args: Vec<Vec<u8>>,
    /// Where its client is.
    pub(crate) addr: String,
    /// What its client calls itself.
    pub(crate) name: Vec<u8>,
}

/// One of the logs.
#[derive(Debug, Default)]
pub(crate) struct CommandLog {
    entries: VecDeque<LogEntry>,
    next_id: u64,
    /// From this value on a command is logged; none is without.
    threshold: Option<u64>,
    max_len: usize,
}

impl CommandLog {
    /// Sets what the configuration says: a negative threshold, or no room, for no log.
    pub(crate) fn configure(&mut self, threshold: i64, max_len: i64) {
        self.max_len = usize::try_from(max_len).unwrap_or(0);
        self.threshold = u64::try_from(threshold).ok().filter(|_| self.max_len > 0);
        if self.threshold.is_some() {
            self.entries.truncate(self.max_len);
        }
    }

    /// The value from which on commands are logged; `None` if none is.
    pub(crate) fn threshold(&self) -> Option<u64> {
        self.threshold
    }

    /// Logs a command if its `value` asks for it; `describe` gives its client's address and name.
    pub(crate) fn note(
        &mut self,
        value: u64,
        time: i64,
        argv: &[&[u8]],
        describe: impl FnOnce() -> (String, Vec<u8>),
    ) {
        if self.threshold.is_none_or(|threshold| value < threshold) {
            return;
        }
        let (addr, name) = describe();
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(LogEntry { id, time, value, args: cut(argv), addr, name });
        self.entries.truncate(self.max_len);
    }

    /// The entries, newest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets the entries.
    pub(crate) fn reset(&mut self) {
        self.entries.clear();
    }
}

/// The arguments of a command, as many and as long as an entry keeps, and no secrets among them.
fn cut(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    let secrets = secret_args(argv);
    let kept = argv.len().min(MAX_ARGS);
    let mut args = Vec::with_capacity(kept);
    for (i, arg) in argv.iter().take(kept).enumerate() {
        args.push(if kept < argv.len() && i == kept - 1 {
            format!("... ({} more arguments)", argv.len() - kept + 1).into_bytes()
        } else if secrets.contains(&i) {
            REDACTED.to_vec()
        } else if arg.len() > MAX_ARG_BYTES {
            let more = format!("... ({} more bytes)", arg.len() - MAX_ARG_BYTES);
            [&arg[..MAX_ARG_BYTES], more.as_bytes()].concat()
        } else {
            arg.to_vec()
        });
    }
    args
}

/// Positions of a command's arguments that nobody else should see: passwords, and who they are of.
pub(crate) fn secret_args(argv: &[&[u8]]) -> SmallVec<[usize; 4]> {
    let is = |i: usize, word: &str| argv.get(i).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    if is(0, "auth") {
        return (1..argv.len()).collect();
    }
    if is(0, "config") && is(1, "set") {
        return (2..argv.len()).step_by(2).filter(|i| is_secret(argv[*i])).map(|i| i + 1).collect();
    }
    let (first, word) = match () {
        () if is(0, "hello") => (2, "auth"),
        () if is(0, "migrate") => (6, "auth2"),
        () => return SmallVec::new(),
    };
    let mut found = SmallVec::new();
    for i in first..argv.len() {
        if is(i, word) {
            found.extend([i + 1, i + 2]);
        } else if is(0, "migrate") && is(i, "auth") {
            found.push(i + 1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    fn shown(line: &str) -> String {
        String::from_utf8(cut(&argv(line)).join(&b' ')).expect("text")
    }

    #[test]
    fn arguments_are_cut() {
        let long = "A".repeat(129);
        assert_eq!(shown(&format!("set k {long}")), format!("set k {}... (1 more bytes)", &long[1..]));
        let many: Vec<String> = (0..33).map(|i| i.to_string()).collect();
        assert!(shown(&many.join(" ")).ends_with("30 ... (2 more arguments)"));
        assert!(shown(&many[..32].join(" ")).ends_with("30 31"));
    }

    #[test]
    fn secrets_are_left_out() {
        assert_eq!(shown("AUTH me secret"), "AUTH (redacted) (redacted)");
        assert_eq!(shown("hello 3 AUTH me secret SETNAME x"), "hello 3 AUTH (redacted) (redacted) SETNAME x");
        assert_eq!(
            shown("CONFIG SET maxclients 5 requirepass x masterauth y"),
            "CONFIG SET maxclients 5 requirepass (redacted) masterauth (redacted)"
        );
        assert_eq!(shown("migrate h p k 0 1 AUTH2 u s"), "migrate h p k 0 1 AUTH2 (redacted) (redacted)");
        assert_eq!(shown("migrate h p k 0 1 auth s copy"), "migrate h p k 0 1 auth (redacted) copy");
        assert_eq!(shown("config set requirepass"), "config set requirepass");
    }

    #[test]
    fn a_log_keeps_the_newest() {
        let mut log = CommandLog::default();
        let note = |log: &mut CommandLog, value| {
            log.note(value, 7, &argv("get k"), || ("1.2.3.4:5".into(), b"me".to_vec()));
        };
        note(&mut log, 100);
        assert_eq!(log.len(), 0, "it is not configured");
        log.configure(10, 2);
        for value in [9, 10, 11, 12] {
            note(&mut log, value);
        }
        let entries: Vec<(u64, u64)> = log.entries().map(|e| (e.id, e.value)).collect();
        assert_eq!(entries, [(2, 12), (1, 11)]);
        log.configure(10, 1);
        assert_eq!(log.len(), 1);
        log.configure(-1, 0);
        note(&mut log, 100);
        assert_eq!(log.len(), 1, "what was logged stays");
        log.reset();
        assert_eq!(log.len(), 0);
    }
}
