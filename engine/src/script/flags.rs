//! The first line of a script, `#!lua flags=...`: which engine runs it, and what it says about itself.
//! Behaviour: valkey src/eval.c `evalExtractShebangFlags`, src/script.c.

use crate::base::words;

/// What a script has said about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// It changes nothing.
    pub const NO_WRITES: Flags = Flags(1);
    /// It may run while memory is short.
    pub const ALLOW_OOM: Flags = Flags(1 << 1);
    /// It may run on a replica that has lost its primary.
    pub const ALLOW_STALE: Flags = Flags(1 << 2);
    /// It may not run in a cluster.
    pub const NO_CLUSTER: Flags = Flags(1 << 3);
    /// It may use keys of several slots.
    pub const ALLOW_CROSS_SLOT: Flags = Flags(1 << 4);
    /// It has no such line: its commands are looked at one by one.
    pub const UNDECLARED: Flags = Flags(1 << 5);

    /// Names in the order in which they are told.
    pub const NAMES: [(Flags, &'static str); 5] = [
        (Flags::NO_WRITES, "no-writes"),
        (Flags::ALLOW_OOM, "allow-oom"),
        (Flags::ALLOW_STALE, "allow-stale"),
        (Flags::NO_CLUSTER, "no-cluster"),
        (Flags::ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    /// True if all flags of `other` are in.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The flag of a name.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Option<Flags> {
        Flags::NAMES.iter().find(|(_, known)| known.as_bytes() == name).map(|(flag, _)| *flag)
    }
}

/// A script's first line, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The engine's name.
    pub(super) engine: Vec<u8>,
    pub(super) flags: Flags,
    /// Bytes of the line, without its end.
    pub(super) len: usize,
}

/// Reads the first line of a script.
///
/// # Errors
/// The text of the error reply, without its code.
pub(super) fn read_head(body: &[u8]) -> Result<Head, Vec<u8>> {
    if !body.starts_with(b"#!") {
        return Ok(Head { engine: b"lua".to_vec(), flags: Flags::UNDECLARED, len: 0 });
    }
    let end = memchr::memchr2(b'\n', 0, body).filter(|at| body[*at] == b'\n');
    let len = end.ok_or_else(|| b"Invalid script shebang".to_vec())?;
    let invalid = || b"Invalid engine in script shebang".to_vec();
    let parts = words::split(&body[..len]).ok_or_else(invalid)?;
    let (first, rest) = parts.split_first().ok_or_else(invalid)?;
    let engine = first.get(2..).ok_or_else(invalid)?.to_vec();
    let mut flags = Flags::default();
    for part in rest {
        let Some(names) = part.strip_prefix(b"flags=") else {
            return Err([b"Unknown lua shebang option: ", part.as_slice()].concat());
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            let flag = Flags::of_name(name);
            let flag = flag.ok_or_else(|| [b"Unexpected flag in script shebang: ", name].concat())?;
            flags = flags.or(flag);
        }
    }
    Ok(Head { engine, flags, len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_read_as_they_are_written() {
        let read = |text: &str| read_head(text.as_bytes());
        let text = |text: &str| Err(text.as_bytes().to_vec());
        let head = read("#!lua flags=no-writes,allow-oom\nreturn 1").expect("sound");
        assert_eq!((head.flags, head.len), (Flags::NO_WRITES.or(Flags::ALLOW_OOM), 31));
        assert_eq!(read("return 1").expect("none").flags, Flags::UNDECLARED);
        assert_eq!(read("#!lua\n").expect("no flags").flags, Flags::default());
        assert_eq!(read("#!lua"), text("Invalid script shebang"));
        assert_eq!(read("#!\n").expect("named later").engine, b"");
        assert_eq!(read("#!lua bad=x\n"), text("Unknown lua shebang option: bad=x"));
        assert_eq!(read("#!lua flags=bad\n"), text("Unexpected flag in script shebang: bad"));
        assert_eq!(read("#!lua 'flags\n"), text("Invalid engine in script shebang"));
    }
}
