//! What belongs to a data set and to no key: function libraries, auxiliary data of modules.
//!
//! Libraries are kept as their sources; nothing runs them. Behaviour: valkey src/functions.c.

use cairn_engine::base::crc64::crc64;
use cairn_engine::codec::rdb::{
    Decoder, Depth, Failure, KeyHead, Options, Sink, ValueEvent, Version, opcode,
};

/// Libraries and module data.
#[derive(Debug, Clone, Default)]
pub(super) struct Libraries {
    /// Sources of function libraries.
    pub(super) functions: Vec<Vec<u8>>,
    /// Module auxiliary records with the module's id, from before the keys.
    pub(super) aux_before: Vec<(u64, Vec<u8>)>,
    /// The same, from behind the keys.
    pub(super) aux_after: Vec<(u64, Vec<u8>)>,
}

impl Libraries {
    /// A file has this record of a module, before its keys or behind the first of them.
    pub(super) fn module_aux(&mut self, id: u64, payload: &[u8], has_keys: bool) {
        let list = if has_keys { &mut self.aux_after } else { &mut self.aux_before };
        list.push((id, payload.to_vec()));
    }

    /// What FUNCTION does to them.
    ///
    /// # Errors
    /// The error that a server answers with, or why the call cannot be repeated.
    pub(super) fn call(&mut self, argv: &[&[u8]]) -> Result<(), String> {
        let is =
            |i: usize, word: &str| argv.get(i).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        match argv.len() {
            2 | 3 if is(1, "flush") => self.functions.clear(),
            3 if is(1, "delete") => {
                let before = self.functions.len();
                self.functions.retain(|code| name_of(code) != argv.get(2).copied());
                if self.functions.len() == before {
                    return Err("the library is not there".to_owned());
                }
            }
            3 if is(1, "load") => self.load(argv[2], false)?,
            4 if is(1, "load") => self.load(argv[3], is(2, "replace"))?,
            3 | 4 if is(1, "restore") => self.restore(argv[2], argv.get(3).copied().unwrap_or(b"append"))?,
            2.. if is(1, "list") || is(1, "stats") || is(1, "dump") || is(1, "help") || is(1, "kill") => {}
            _ => return Err("this call of FUNCTION is not known".to_owned()),
        }
        Ok(())
    }

    fn load(&mut self, code: &[u8], replaces: bool) -> Result<(), String> {
        let name = name_of(code).ok_or("the library has no name")?;
        match self.functions.iter().position(|code| name_of(code) == Some(name)) {
            Some(at) if replaces => self.functions[at] = code.to_vec(),
            Some(_) => return Err(format!("the library '{}' is there already", name.escape_ascii())),
            None => self.functions.push(code.to_vec()),
        }
        Ok(())
    }

    fn restore(&mut self, payload: &[u8], policy: &[u8]) -> Result<(), String> {
        let codes = restored(payload)?;
        if policy.eq_ignore_ascii_case(b"flush") {
            self.functions.clear();
        }
        let replaces = policy.eq_ignore_ascii_case(b"replace");
        codes.iter().try_for_each(|code| self.load(code, replaces))
    }
}

/// The libraries in a payload of FUNCTION DUMP: records of libraries as a file has them, a version, a sum.
fn restored(payload: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    const FOOTER_BYTES: usize = 10;
    let wrong = || "payload version or checksum are wrong".to_owned();
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>().ok_or_else(wrong)?;
    let version = Version::of_dump(u16::from_le_bytes([footer[0], footer[1]])).ok_or_else(wrong)?;
    if crc64(&payload[..payload.len() - 8]).to_le_bytes() != footer[2..] {
        return Err(wrong());
    }
    // The body as a file: that is what it would be the content of.
    let file = [&version.magic(), body, &[opcode::EOF], &[0; 8]].concat();
    let mut found = Found(Vec::new());
    let decoded = Decoder::new(Options::default()).advance(&file, true, &mut found);
    match decoded {
        Ok(progress) if progress.consumed == file.len() => Ok(found.0),
        Ok(_) | Err(Failure::Sink(())) => Err("the payload holds more than libraries".to_owned()),
        Err(Failure::Format(error)) => Err(error.to_string()),
    }
}

/// Takes libraries and nothing else.
struct Found(Vec<Vec<u8>>);

impl Sink for Found {
    type Error = ();

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), ()> {
        self.0.push(code.to_vec());
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, ()> {
        Err(())
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), ()> {
        Err(())
    }
}

/// The library's name, from the line `#!<engine> name=<name>` that its source starts with.
fn name_of(code: &[u8]) -> Option<&[u8]> {
    let line = code.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
    line.split(u8::is_ascii_whitespace).find_map(|word| {
        let (key, name) = word.split_at_checked(b"name=".len())?;
        key.eq_ignore_ascii_case(b"name=").then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_loaded_replaced_restored_and_deleted() {
        let mut libraries = Libraries::default();
        let mut call = |words: &[&[u8]]| libraries.call(words).map(|()| libraries.functions.len());
        let (one, other) = (&b"#!lua name=one\nfirst"[..], &b"#!lua name=other\r\nsecond"[..]);
        assert_eq!(call(&[b"FUNCTION", b"LOAD", one]), Ok(1));
        assert_eq!(call(&[b"function", b"load", other]), Ok(2));
        assert!(call(&[b"function", b"load", one]).is_err());
        assert_eq!(call(&[b"function", b"load", b"replace", b"#!lua name=one\nnew"]), Ok(2));
        assert_eq!(call(&[b"function", b"delete", b"other"]), Ok(1));
        assert!(call(&[b"function", b"delete", b"other"]).is_err());
        assert!(call(&[b"function", b"load", b"no header"]).is_err());
        let mut payload = [&[opcode::FUNCTION2, other.len() as u8], other, &[11, 0]].concat();
        payload.extend_from_slice(&crc64(&payload).to_le_bytes());
        assert_eq!(call(&[b"function", b"restore", &payload]), Ok(2));
        assert!(call(&[b"function", b"restore", &payload]).is_err());
        assert_eq!(call(&[b"function", b"restore", &payload, b"replace"]), Ok(2));
        assert_eq!(call(&[b"function", b"restore", &payload, b"flush"]), Ok(1));
        payload[3] ^= 1;
        assert!(call(&[b"function", b"restore", &payload, b"replace"]).is_err());
        assert_eq!(call(&[b"function", b"flush", b"async"]), Ok(0));
        assert!(call(&[b"function", b"what"]).is_err());
    }
}
