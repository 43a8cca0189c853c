//! The lines that MONITOR shows: when, where and by whom a command was run, and its arguments.
//!
//! Pure: who gets the lines is decided where commands run. Behaviour: valkey src/replication.c
//! `replicationFeedMonitors`.

use std::io::Write;
use std::time::Duration;

use cairn_engine::base::words;
use cairn_engine::command::Args;

/// What stands in place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// Appends a line: `since_epoch` is when the command ran, `source` the address of its client.
pub(crate) fn write_line(
    out: &mut Vec<u8>,
    since_epoch: Duration,
    db: usize,
    source: &str,
    args: Args<'_>,
    is_secret: impl Fn(usize) -> bool,
) {
    let (seconds, micros) = (since_epoch.as_secs(), since_epoch.subsec_micros());
    // Writing into memory does not fail.
    let _ = write!(out, "+{seconds}.{micros:06} [{db} {source}]");
    for (i, arg) in args.0.iter().enumerate() {
        out.push(b' ');
        words::push_quoted(out, if is_secret(i) { REDACTED } else { arg });
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::commandlog::secret_args;

    fn line(args: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let args = Args(args);
        let when = Duration::new(1_700_000_000, 42_000);
        let secrets = secret_args(args.0);
        write_line(&mut out, when, 9, "127.0.0.1:5", args, |i| secrets.contains(&i));
        String::from_utf8(out).expect("it is escaped")
    }

    #[test]
    fn arguments_are_escaped() {
        assert_eq!(
            line(&[b"set", b"a\"\\b", b"\x00\n\r\t\x07\x08\x7f\xff ~"]),
            "+1700000000.000042 [9 127.0.0.1:5] \"set\" \"a\\\"\\\\b\" \"\\x00\\n\\r\\t\\a\\b\\x7f\\xff ~\"\r\n"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let end = |line: String| line.split_once("] ").expect("a line").1.trim_end().to_owned();
        assert_eq!(end(line(&[b"AUTH", b"x"])), r#""AUTH" "(redacted)""#);
        assert_eq!(end(line(&[b"AUTH", b"u", b"x"])), r#""AUTH" "(redacted)" "(redacted)""#);
        assert_eq!(
            end(line(&[b"HELLO", b"3", b"AUTH", b"u", b"x", b"SETNAME", b"n"])),
            r#""HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "n""#
        );
    }
}
