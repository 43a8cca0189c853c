//! FUNCTION in a log: libraries that are loaded, restored and deleted. Behaviour: valkey src/functions.c.

use crate::codec::rdb::{Options, split_libraries};
use crate::script::{Functions, RELOAD_PATIENCE, Restore};

/// Why a call did not do what it did when it was logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// A library would be missing.
    Lost(String),
    /// It answers with this error.
    Told(String),
}

/// Runs a call of FUNCTION. Those that only look do nothing.
///
/// # Errors
/// [`Failed`].
pub(super) fn run(functions: &mut Functions, argv: &[&[u8]]) -> Result<(), Failed> {
    let is = |i: usize, word: &str| argv.get(i).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let lost = |what: &str, why: &[u8]| {
        Failed::Lost(format!("the function {what} cannot be loaded: {}", String::from_utf8_lossy(why)))
    };
    let lost_all = |why: &[u8]| lost("libraries of FUNCTION RESTORE", why);
    match argv {
        [_, _] | [_, _, _] if is(1, "flush") => functions.flush(),
        [_, _, name] if is(1, "delete") => {
            if !functions.delete(name) {
                return Err(Failed::Told("ERR Library not found".to_owned()));
            }
        }
        [_, _, code] | [_, _, _, code] if is(1, "load") && (argv.len() == 3 || is(2, "replace")) => {
            let head = code.split(|byte| *byte == b'\n').next().unwrap_or_default();
            functions
                .load(code, argv.len() == 4, RELOAD_PATIENCE)
                .map_err(|why| lost(&format!("library \"{}\"", head.escape_ascii()), &why))?;
        }
        [_, _, payload] | [_, _, payload, _] if is(1, "restore") => {
            let policy = match argv.get(3) {
                None => Some(Restore::Append),
                Some(word) => Restore::of_word(word),
            };
            let policy = policy.ok_or_else(|| lost_all(b"the policy of FUNCTION RESTORE is not known"))?;
            let codes = split_libraries(payload, Options::default());
            let codes = codes.map_err(|why| lost_all(why.to_string().as_bytes()))?;
            functions.restore(&codes, policy).map_err(|why| lost_all(&why))?;
        }
        _ if ["list", "stats", "dump", "help", "kill"].iter().any(|word| is(1, word)) => {}
        _ => return Err(Failed::Lost("this call of FUNCTION is not known".to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Versions;
    use crate::transcode::libraries;

    #[test]
    fn libraries_are_loaded_replaced_restored_and_deleted() {
        let mut functions = Functions::new(Versions::ours("7.4.2"));
        let mut call = |words: &[&[u8]]| run(&mut functions, words).map(|()| functions.len());
        let code = |library: &str, function: &str| {
            format!("#!lua name={library}\nredis.register_function('{function}', function() end)")
                .into_bytes()
        };
        let (one, other) = (code("one", "f"), code("other", "g"));
        assert_eq!(call(&[b"FUNCTION", b"LOAD", &one]), Ok(1));
        assert_eq!(call(&[b"function", b"load", &other]), Ok(2));
        let lost = |why: &str| Err(Failed::Lost(why.to_owned()));
        assert_eq!(
            call(&[b"function", b"load", &one]),
            lost("the function library \"#!lua name=one\" cannot be loaded: Library 'one' already exists")
        );
        assert_eq!(call(&[b"function", b"load", b"replace", &code("one", "h")]), Ok(2));
        assert!(call(&[b"function", b"load", b"replace", &code("one", "g")]).is_err());
        assert_eq!(call(&[b"function", b"delete", b"other"]), Ok(1));
        let told = Err(Failed::Told("ERR Library not found".to_owned()));
        assert_eq!(call(&[b"function", b"delete", b"other"]), told);
        assert!(call(&[b"function", b"load", b"no header"]).is_err());
        let payload = libraries::dump([one.as_slice(), &other].into_iter());
        assert!(call(&[b"function", b"restore", &payload]).is_err());
        assert_eq!(call(&[b"function", b"restore", &payload, b"replace"]), Ok(2));
        assert_eq!(call(&[b"function", b"restore", &payload, b"FLUSH"]), Ok(2));
        assert!(call(&[b"function", b"restore", &payload, b"what"]).is_err());
        assert!(call(&[b"function", b"restore", &payload[1..]]).is_err());
        assert_eq!(call(&[b"function", b"list"]), Ok(2));
        assert_eq!(call(&[b"function", b"flush", b"async"]), Ok(0));
        assert!(call(&[b"function", b"what"]).is_err());
    }
}
