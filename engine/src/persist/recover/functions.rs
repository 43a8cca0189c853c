//! Function libraries that a log loads and deletes. They are carried from file to file; nothing here runs
//! them. Behaviour: valkey src/functions.c.

use crate::persist::carried::Carried;

/// What FUNCTION does to the libraries.
///
/// # Errors
/// The error that the command answers with.
pub(super) fn run(carried: &mut Carried, argv: &[&[u8]]) -> Result<(), String> {
    let is = |i: usize, word: &str| argv.get(i).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    if is(1, "flush") {
        carried.functions.clear();
    } else if is(1, "delete") {
        let before = carried.functions.len();
        carried.functions.retain(|code| name_of(code) != argv.get(2).copied());
        if carried.functions.len() == before {
            return Err("ERR Library not found".to_owned());
        }
    } else if let Some(code) = argv.last() {
        let name = name_of(code).ok_or("ERR Missing library metadata")?;
        let old = carried.functions.iter().position(|code| name_of(code) == Some(name));
        match old {
            Some(at) if is(2, "replace") => carried.functions[at] = code.to_vec(),
            Some(_) => return Err(format!("ERR Library '{}' already exists", name.escape_ascii())),
            None => carried.functions.push(code.to_vec()),
        }
    }
    Ok(())
}

/// Whether a log may have this call of FUNCTION: the ones that change libraries and need no engine.
pub(super) fn is_known(argv: &[&[u8]]) -> bool {
    let is = |word: &str| argv.get(1).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    match argv.len() {
        2 | 3 if is("flush") => true,
        3 => is("delete") || is("load"),
        4 => is("load"),
        _ => false,
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
    fn libraries_are_loaded_replaced_and_deleted() {
        let mut carried = Carried::default();
        let mut call = |words: &[&str]| {
            let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            assert!(is_known(&argv), "{words:?}");
            run(&mut carried, &argv).map(|()| carried.functions.len())
        };
        let (one, other) = ("#!lua name=one\nfirst", "#!lua name=other\r\nsecond");
        assert_eq!(call(&["FUNCTION", "LOAD", one]), Ok(1));
        assert_eq!(call(&["function", "load", other]), Ok(2));
        assert!(call(&["function", "load", one]).is_err());
        assert_eq!(call(&["function", "load", "replace", "#!lua name=one\nnew"]), Ok(2));
        assert_eq!(call(&["function", "delete", "other"]), Ok(1));
        assert!(call(&["function", "delete", "other"]).is_err());
        assert!(call(&["function", "load", "no header"]).is_err());
        assert_eq!(call(&["function", "flush", "async"]), Ok(0));
        assert!(!is_known(&[b"function", b"restore", b"payload"]));
    }
}
