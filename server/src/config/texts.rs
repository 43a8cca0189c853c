//! Kinds of directives whose values are texts: any, or those that look like what they name.
//!
//! Error texts are those of Redis. Knows no directive. Behaviour: valkey src/config.c.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::kind::{Kind, only, quoted};

/// Any bytes; empty ones mean that nothing is set.
pub(crate) struct Text;

impl Kind for Text {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        Ok(only(args).to_vec())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }

    fn lines(&self, value: &Vec<u8>) -> Vec<Vec<u8>> {
        if value.is_empty() { Vec::new() } else { vec![quoted(value)] }
    }
}

/// Any bytes; empty ones are a value like others.
pub(crate) struct Word;

impl Kind for Word {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        Ok(only(args).to_vec())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }

    fn lines(&self, value: &Vec<u8>) -> Vec<Vec<u8>> {
        vec![quoted(value)]
    }
}

/// A text that must look like what it names; empty for none.
pub(crate) struct Checked {
    /// What is wrong with a text.
    pub(crate) check: fn(&[u8]) -> Result<(), &'static str>,
}

impl Kind for Checked {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        (self.check)(only(args))?;
        Ok(only(args).to_vec())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }

    fn lines(&self, value: &Vec<u8>) -> Vec<Vec<u8>> {
        Text.lines(value)
    }
}

/// An address of IP version 4.
pub(crate) const IPV4: Checked =
    Checked { check: |text| is_address::<Ipv4Addr>(text).then_some(()).ok_or("Invalid IPv4 address") };

/// An address of IP version 6.
pub(crate) const IPV6: Checked =
    Checked { check: |text| is_address::<Ipv6Addr>(text).then_some(()).ok_or("Invalid IPv6 address") };

fn is_address<A: std::str::FromStr>(text: &[u8]) -> bool {
    text.is_empty() || std::str::from_utf8(text).is_ok_and(|text| text.parse::<A>().is_ok())
}

/// A host's name.
pub(crate) const HOSTNAME: Checked = Checked {
    check: |text| {
        const MAX_BYTES: usize = 256;
        if text.len() >= MAX_BYTES {
            return Err("Hostnames must be less than 256 characters");
        }
        let is_fit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        text.iter()
            .all(is_fit)
            .then_some(())
            .ok_or("Hostnames may only contain alphanumeric characters, hyphens or dots")
    },
};

/// What a node of a cluster says of where it is.
pub(crate) const NODE_ADDRESS: Checked = Checked {
    check: |text| {
        const MAX_BYTES: usize = 46;
        if text.len() >= MAX_BYTES {
            return Err("cluster-announce-ip is too long");
        }
        is_node_text(text).then_some(()).ok_or("cluster-announce-ip contains invalid character")
    },
};

/// What a node of a cluster calls itself.
pub(crate) const NODE_NAME: Checked = Checked {
    check: |text| {
        is_node_text(text).then_some(()).ok_or("Announced human node name contained invalid character")
    },
};

/// What may stand in the line of a node without breaking it: nothing up to the comma, no marks that have
/// a meaning there.
fn is_node_text(text: &[u8]) -> bool {
    const MARKS: &[u8] = b";<=>?@[]^{|}~\\\x7f";
    text.iter().all(|b| *b > b',' && !MARKS.contains(b))
}

/// A folder that is to be entered.
pub(crate) struct Folder;

impl Kind for Folder {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        if only(args).is_empty() { Err("dir can't be empty".into()) } else { Ok(only(args).to_vec()) }
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }

    fn lines(&self, value: &Vec<u8>) -> Vec<Vec<u8>> {
        vec![quoted(value)]
    }
}

/// Pieces of a process title, which `Config` checks.
pub(crate) struct TitleTemplate;

impl Kind for TitleTemplate {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        Ok(only(args).to_vec())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }

    fn lines(&self, value: &Vec<u8>) -> Vec<Vec<u8>> {
        vec![quoted(value)]
    }
}

/// A file's name without a path.
pub(crate) struct FileName {
    /// Names the directive in errors.
    pub(crate) directive: &'static str,
    /// What it is.
    pub(crate) what: &'static str,
}

impl Kind for FileName {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        let name = only(args);
        if name.is_empty() {
            return Err(format!("{} can't be empty", self.directive));
        }
        // Manifests, which tell names of files, take backslashes for those of paths, too.
        if name.contains(&b'/') || name.contains(&b'\\') {
            return Err(format!("{} can't be a path, just a {}", self.directive, self.what));
        }
        Ok(name.to_vec())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }

    fn lines(&self, value: &Vec<u8>) -> Vec<Vec<u8>> {
        vec![quoted(value)]
    }
}

/// A file to load at the start: `rdb:` or `aof:`, and an absolute path.
pub(crate) const PRELOAD: Checked = Checked {
    check: |text| {
        if text.is_empty() {
            return Ok(());
        }
        let Some(path) = text.strip_prefix(b"aof:").or(text.strip_prefix(b"rdb:")) else {
            return Err("argument must be in the format '[aof|rdb]:[filename]'");
        };
        let Some(path) = path.strip_prefix(b"/") else {
            return Err("argument must be in the format '[aof|rdb]:[filename]'");
        };
        if path.split(|b| *b == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
            return Err("preload-file path must be a normalized absolute file path");
        }
        match path.iter().rposition(|b| *b == b'.') {
            Some(at) if at + 1 < path.len() => Ok(()),
            _ => Err("preload-file must end with an extension"),
        }
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_look_like_what_they_name() {
        let is_fit = |kind: Checked, text: &str| kind.parse(&[text.as_bytes()]).is_ok();
        assert!(is_fit(IPV4, "1.2.3.4") && is_fit(IPV4, "") && !is_fit(IPV4, "1.2.3"));
        assert!(is_fit(IPV6, "::1") && !is_fit(IPV6, "1.2.3.4"));
        assert!(is_fit(HOSTNAME, "a-b.c") && !is_fit(HOSTNAME, "a_b"));
        assert!(is_fit(NODE_NAME, "a_b/c:d") && !is_fit(NODE_NAME, "a b") && !is_fit(NODE_NAME, "a,b"));
        assert!(is_fit(NODE_ADDRESS, "::1") && !is_fit(NODE_ADDRESS, &"1".repeat(46)));
    }
}
