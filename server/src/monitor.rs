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

/// True if the argument at `i` of a command of this full name is a secret: nobody but the server may
/// see it.
pub(crate) fn is_secret(full_name: &str, args: Args<'_>, i: usize) -> bool {
    match full_name {
        "auth" => i > 0,
        "hello" => {
            let after_auth = |back: usize| i >= back && i - back >= 2 && args.is(i - back, "AUTH");
            after_auth(1) || after_auth(2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, args: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let args = Args(args);
        let when = Duration::new(1_700_000_000, 42_000);
        write_line(&mut out, when, 9, "127.0.0.1:5", args, |i| is_secret(name, args, i));
        String::from_utf8(out).expect("it is escaped")
    }

    #[test]
    fn arguments_are_escaped() {
        assert_eq!(
            line("set", &[b"set", b"a\"\\b", b"\x00\n\r\t\x07\x08\x7f\xff ~"]),
            "+1700000000.000042 [9 127.0.0.1:5] \"set\" \"a\\\"\\\\b\" \"\\x00\\n\\r\\t\\a\\b\\x7f\\xff ~\"\r\n"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let end = |line: String| line.split_once("] ").expect("a line").1.trim_end().to_owned();
        assert_eq!(end(line("auth", &[b"AUTH", b"x"])), r#""AUTH" "(redacted)""#);
        assert_eq!(end(line("auth", &[b"AUTH", b"u", b"x"])), r#""AUTH" "(redacted)" "(redacted)""#);
        assert_eq!(
            end(line("hello", &[b"HELLO", b"3", b"AUTH", b"u", b"x", b"SETNAME", b"n"])),
            r#""HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "n""#
        );
    }
}
