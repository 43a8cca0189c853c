//! Libraries: what they may do while they are loaded, and what becomes of the others.

use super::super::tests::Echo;
use super::*;
use crate::codec::resp::{Protocol, Reply};

fn none() -> Functions {
    Functions::new(Versions::ours("7.4.2"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn load(functions: &mut Functions, code: &str) -> String {
    match functions.load(code.as_bytes(), true, LOAD_PATIENCE) {
        Ok(name) => text(&name),
        Err(why) => format!("-{}", text(&why)),
    }
}

#[track_caller]
fn call(functions: &mut Functions, name: &str) -> String {
    let program = functions.find(name.as_bytes()).expect("it is there").program;
    let mut reply = Reply::new(Protocol::Resp2);
    functions.vm().run(program, &[b"key"], &[b"a", b"b"], &mut Echo::default(), &mut reply);
    text(reply.bytes()).replace("\r\n", "|")
}

#[test]
fn functions_get_their_arguments_and_share_what_their_library_has() {
    let mut functions = none();
    let code = "#!lua name=lib\nlocal n = 0\nlocal function more() n = n + 1 return n end\n\
                redis.register_function('f', function(keys, args) return {more(), keys[1], args[2], #args} end)\n\
                server.register_function{function_name='g', callback=function() return redis.call('int') end,\n\
                description='what it does', flags={'no-writes', 'ALLOW-OOM'}}";
    assert_eq!(load(&mut functions, code), "lib");
    assert_eq!(call(&mut functions, "f"), "*4|:1|$3|key|$1|b|:2|");
    assert_eq!(call(&mut functions, "F"), "*4|:2|$3|key|$1|b|:2|");
    assert_eq!(call(&mut functions, "g"), ":42|");
    let g = functions.find(b"G").expect("in any case");
    assert_eq!(g.description.as_deref(), Some(&b"what it does"[..]));
    assert_eq!(g.flags, Flags::NO_WRITES.or(Flags::ALLOW_OOM));
    assert_eq!((functions.len(), functions.function_count()), (1, 2));
}

#[test]
fn a_library_finds_little_while_it_is_loaded() {
    let global = |name: &str| {
        format!("user_function:2: Script attempted to access nonexistent global variable '{name}'")
    };
    for (body, why) in [
        ("math.random()", global("math")),
        ("redis.call('ping')", global("call")),
        ("redis.setresp(3)", global("setresp")),
        ("return _G", global("_G")),
        ("pcall(1)", global("pcall")),
        ("x = 1", "user_function:2: Attempt to modify a readonly table".to_owned()),
        ("redis.x = 1", "user_function:2: Attempt to modify a readonly table".to_owned()),
        ("redis.register_function()", "wrong number of arguments to server.register_function".to_owned()),
        (
            "redis.register_function('f')",
            "calling server.register_function with a single argument is only applicable to Lua table \
             (representing named arguments)."
                .to_owned(),
        ),
        (
            "redis.register_function{function_name='f', callback=function() end, flags={'what'}}",
            "unknown flag given".to_owned(),
        ),
        ("redis.log(9, 'x')", "Invalid log level.".to_owned()),
        ("while true do end", "FUNCTION LOAD timeout".to_owned()),
        ("local function f() return 1 + f() end f()", "user_function:2: stack overflow".to_owned()),
    ] {
        let code = format!("#!lua name=lib\n{body}");
        let loaded = none().load(code.as_bytes(), false, Duration::from_millis(20));
        let expected = format!("Error registering functions: ERR {why}");
        assert_eq!(loaded.map_err(|why| text(&why)), Err(expected), "{body}");
    }
}

#[test]
fn what_a_library_keeps_of_its_load_is_of_no_use_later() {
    let mut functions = none();
    let code = "#!lua name=lib\nlocal lib = redis\n\
                lib.register_function('f', function() lib.math = math end)\n\
                lib.register_function('g', function() lib.register_function('h', function() end) end)\n\
                lib.register_function('i', function() redis.register_function('h', function() end) end)\n\
                lib.register_function('k', function() x = 1 end)\n\
                lib.register_function('l', function() return redis.breakpoint end)\n\
                lib.register_function('m', function() return KEYS end)";
    assert_eq!(load(&mut functions, code), "lib");
    for (name, reply) in [
        ("f", "-ERR user_function:3: Attempt to modify a readonly table script: on @user_function:3.|"),
        (
            "g",
            "-ERR server.register_function can only be called on FUNCTION LOAD command script: on @user_function:4.|",
        ),
        (
            "i",
            "-ERR user_function:5: attempt to call field 'register_function' (a nil value) script: on @user_function:5.|",
        ),
        ("k", "-ERR user_function:6: Attempt to modify a readonly table script: on @user_function:6.|"),
        ("l", "$-1|"),
        (
            "m",
            "-ERR user_function:8: Script attempted to access nonexistent global variable 'KEYS' script: on @user_function:8.|",
        ),
    ] {
        assert_eq!(call(&mut functions, name), reply, "{name}");
    }
}

#[test]
fn a_library_that_cannot_be_loaded_changes_nothing() {
    let mut functions = none();
    let first = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    assert_eq!(load(&mut functions, first), "lib");
    for (code, why) in [
        ("", "Missing library metadata"),
        ("#!lua name=lib", "Invalid library metadata"),
        ("#!lua 'name=lib\n", "Invalid library metadata"),
        ("#!lua\n", "Library name was not given"),
        ("#!lua name=a name=b\n", "Invalid metadata value, name argument was given multiple times"),
        ("#!lua name=a b=c\n", "Invalid metadata value given: b=c"),
        ("#!js name=a\n", "Engine 'js' not found"),
        ("#! name=a\n", "Engine '' not found"),
        ("#!lua name=a-b\n", BAD_LIBRARY_NAME),
        ("#!lua name=lib\n", "No functions registered"),
        ("#!lua name=lib\n\0redis.register_function('f', function() end)", "No functions registered"),
        ("#!lua name=lib\nbad code", "Error compiling function: user_function:2: '=' expected near 'code'"),
        ("#!lua name=other\nredis.register_function('F', function() end)", "Function F already exists"),
        ("#!lua name=lib\nredis.register_function('', function() end)", BAD_FUNCTION_NAME),
        (
            "#!lua name=lib\nredis.register_function('a', function() end) \
             redis.register_function('a', function() end)",
            "Function already exists in the library",
        ),
    ] {
        assert_eq!(load(&mut functions, code), format!("-{why}"), "{code}");
        assert_eq!(call(&mut functions, "f"), ":1|");
    }
    let again = functions.load(first.as_bytes(), false, LOAD_PATIENCE);
    assert_eq!(again.map_err(|why| text(&why)), Err("Library 'lib' already exists".to_owned()));
    let second = "#!LUA NAME='lib'\nredis.register_function('g', function() return 2 end)";
    assert_eq!(load(&mut functions, second), "lib");
    assert!(functions.find(b"f").is_none());
    assert_eq!(call(&mut functions, "g"), ":2|");
    assert!(functions.delete(b"lib") && !functions.delete(b"lib"));
    assert_eq!((functions.len(), functions.function_count(), functions.memory_bytes()), (0, 0, 0));
}

#[test]
fn libraries_are_restored_all_or_none() {
    let code = |library: &str, function: &str| {
        format!(
            "#!lua name={library}\nredis.register_function('{function}', function() return '{library}' end)"
        )
        .into_bytes()
    };
    let mut functions = none();
    functions.restore(&[code("one", "f"), code("two", "g")], Restore::Append).expect("nothing is there");
    let mut check = |codes: &[Vec<u8>], policy, why: &str| {
        let before: Vec<Vec<u8>> = functions.sources().map(<[u8]>::to_vec).collect();
        let restored = functions.restore(codes, policy);
        assert_eq!(restored.map_err(|why| text(&why)), Err(why.to_owned()));
        assert!(functions.sources().eq(before.iter().map(Vec::as_slice)));
        assert_eq!(call(&mut functions, "f"), "$3|one|");
    };
    check(&[code("three", "h"), code("one", "f")], Restore::Append, "Library one already exists");
    check(&[code("one", "h"), code("three", "g")], Restore::Replace, "Function g already exists");
    check(&[code("three", "h"), code("three", "i")], Restore::Flush, "Library 'three' already exists");
    check(&[b"x".to_vec()], Restore::Flush, "Missing library metadata");
    functions.restore(&[code("one", "g"), code("two", "f")], Restore::Replace).expect("both change places");
    assert_eq!((call(&mut functions, "f"), call(&mut functions, "g")), ("$3|two|".into(), "$3|one|".into()));
    functions.restore(&[code("three", "f")], Restore::Flush).expect("nothing is in its way");
    assert_eq!((functions.len(), call(&mut functions, "f")), (1, "$5|three|".into()));
    functions.flush();
    assert!(functions.is_empty() && functions.find(b"f").is_none());
}
