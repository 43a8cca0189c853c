//! Scripts against a host that knows a few commands: conversions, errors with their places, the sandbox,
//! and the limits.

use std::time::Duration;

use super::*;
use crate::codec::resp::Protocol;

/// A host that answers some words, and remembers what it was asked.
#[derive(Default)]
pub(super) struct Echo {
    log: Vec<String>,
    patience: Option<Duration>,
    interrupts: u32,
}

impl Host for Echo {
    fn call(&mut self, argv: &[&[u8]], replicate: Replicate, reply: &mut Reply) {
        self.log.push(format!("{} {}", replicate.log, argv.join(&b' ').escape_ascii()));
        match argv[0] {
            b"int" => reply.int(42),
            b"raw" => reply.raw(argv[1]),
            b"ok" => reply.ok(),
            b"null" => reply.null(),
            b"map" => {
                reply.map(1);
                reply.bulk(b"k");
                reply.double(1.5);
            }
            b"echo" => {
                reply.array(argv.len() - 1);
                argv[1..].iter().for_each(|word| reply.bulk(word));
            }
            _ => reply.error("WRONG it is"),
        }
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.log.push(format!("{level}: {}", text.escape_ascii()));
    }

    fn may(&mut self, argv: &[&[u8]]) -> May {
        if argv[0] == b"int" { May::Yes } else { May::Unknown }
    }

    fn interrupt(&mut self) -> bool {
        self.interrupts += 1;
        self.interrupts > 3
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }
}

const VERSIONS: Versions = Versions { server_name: "cairn", redis: "7.4.2", valkey: "9.1.0" };

/// Runs a script and gives its reply in RESP3.
fn run_with(host: &mut Echo, code: &str) -> String {
    let mut scripts = Scripts::new(VERSIONS);
    let loaded = match scripts.load(code.as_bytes(), Origin::Eval) {
        Ok(loaded) => loaded,
        Err(why) => return format!("-{}", String::from_utf8_lossy(&why)),
    };
    let mut reply = Reply::new(Protocol::Resp3);
    scripts.vm().run(loaded.program, &[b"key"], &[b"a", b"b"], host, &mut reply);
    String::from_utf8_lossy(reply.bytes()).replace("\r\n", "|")
}

fn run(code: &str) -> String {
    run_with(&mut Echo::default(), code)
}

#[track_caller]
fn check(code: &str, reply: &str) {
    assert_eq!(run(code), reply, "{code}");
}

#[test]
fn values_become_replies() {
    check("return 3.99", ":3|");
    check("return -3.99", ":-3|");
    check("return 1e300", ":-9223372036854775808|");
    check("return 'x'", "$1|x|");
    check("return true", ":1|");
    check("return false", "_|");
    check("return nil", "_|");
    check("redis.setresp(3) return {true,false}", "*2|#t|#f|");
    check("return {1,'2',{3},nil,5}", "*3|:1|$1|2|*1|:3|");
    check("return {ok='fine\\n'}", "+fine |");
    check("return {err='MY error'}", "-MY error|");
    check("return {double=1.5}", ",1.5|");
    check("return {big_number='123'}", "(123|");
    check("return {map={a=1}}", "%1|$1|a|:1|");
    check("return {set={a=true}}", "~1|$1|a|");
    check("return {verbatim_string={format='txt',string='x'}}", "=5|txt:x|");
    check("return {KEYS[1],ARGV[1],ARGV[2]}", "*3|$3|key|$1|a|$1|b|");
    check(
        "return print",
        "-ERR user_script:1: Script attempted to access nonexistent global variable 'print' script: on @user_script:1.|",
    );
}

#[test]
fn replies_become_values() {
    check("return redis.call('int')+1", ":43|");
    check("return redis.call('ok').ok", "$2|OK|");
    check("return redis.call('null') == false", ":1|");
    check("redis.setresp(3) return redis.call('null') == nil", "#t|");
    check("return redis.call('map')[2]", "$3|1.5|");
    check("redis.setresp(3) return redis.call('map').map.k.double", ":1|");
    check("return redis.call('echo', 1, 1e20, 0.1, 'x')", "*4|$1|1|$5|1e+20|$3|0.1|$1|x|");
    check(
        "redis.setresp(3) return redis.call('raw', '(12345678901234567890\\r\\n').big_number",
        "$20|12345678901234567890|",
    );
    check(
        "redis.setresp(3) return redis.call('raw', '=7\\r\\ntxt:abc\\r\\n').verbatim_string.string",
        "$3|abc|",
    );
}

#[test]
fn errors_of_what_stands_around_libraries_are_those_of_the_libraries() {
    let said = |code: &str| {
        let reply = run(code);
        reply.split(" script:").next().unwrap_or_default().to_owned()
    };
    for (code, text) in [
        ("for k in pairs(nil) do end", "bad argument #1 to 'pairs' (table expected, got nil)"),
        ("table.insert({}) return 1", "wrong number of arguments to 'insert'"),
        ("table.insert({}, 'x', 2) return 1", "bad argument #2 to 'insert' (number expected, got string)"),
        ("local x = setmetatable({})", "bad argument #2 to 'setmetatable' (nil or table expected)"),
        (
            "local x = setmetatable(setmetatable({}, {__metatable = 1}), {})",
            "cannot change a protected metatable",
        ),
        ("local x = coroutine.resume(1)", "bad argument #1 to 'resume' (coroutine expected)"),
        ("local x = string.gsub('a', 'b')", "bad argument #3 to 'gsub' (string/function/table expected)"),
        ("local x = string.find('a', '[')", "malformed pattern (missing ']')"),
        ("local x = ('a'):match('%')", "malformed pattern (ends with '%')"),
    ] {
        assert_eq!(said(code), format!("-ERR user_script:1: {text}"), "{code}");
    }
}

#[test]
fn errors_tell_where() {
    check("error('boom')", "-ERR user_script:1: boom script: on @user_script:1.|");
    check("\n\nerror('boom')", "-ERR user_script:3: boom script: on @user_script:3.|");
    check("error({err='MY boom'})", "-MY boom script: on @user_script:1.|");
    check("redis.call('bad')", "-WRONG it is script: on @user_script:1.|");
    check("return redis.call('bad')", "-WRONG it is script: on @user_script:1.|");
    check("return redis.pcall('bad')", "-WRONG it is|");
    check("return redis.pcall('bad').err", "$11|WRONG it is|");
    check("return {pcall(redis.call, 'bad')}", "*2|_|$11|WRONG it is|");
    check("local _, e = pcall(redis.call, 'bad') return e", "$11|WRONG it is|");
    check("local _, e = pcall(error, {err='E x', a=1}) return e", "$3|E x|");
    check(
        "redis.call()",
        "-ERR Please specify at least one argument for this call script: on @user_script:1.|",
    );
    check("redis.call({})", "-ERR Command arguments must be strings or integers script: on @user_script:1.|");
    check("return redis.error_reply('-X y')", "-X y|");
    check("return redis.error_reply('plain')", "-ERR plain|");
    check("return redis.status_reply(1)", "-ERR wrong number or type of arguments|");
    check("redis.log(9, 'x')", "-ERR Invalid log level. script: on @user_script:1.|");
    check("x = 1", "-ERR user_script:1: Attempt to modify a readonly table script: on @user_script:1.|");
    check("return a b", "-Error compiling script (new function): user_script:1: '<eof>' expected near 'b'");
}

#[test]
fn what_all_scripts_share_stays_as_it_is() {
    for code in [
        "_G.x = 1",
        "_G = {}",
        "redis.call = 1",
        "string.upper = 1",
        "setmetatable(_G, {})",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'x', 1)",
        "getmetatable(_G).__index = {}",
        "getmetatable('').__index = 1",
        "table.insert(_G, 1)",
        "cjson.encode = 1",
        "for k in pairs(math) do math[k] = nil end",
        "KEYS = 1",
    ] {
        let reply = run(code);
        assert!(reply.contains("Attempt to modify a readonly table"), "{code}: {reply}");
    }
    for name in [
        "print", "dofile", "loadfile", "require", "debug", "io", "package", "newproxy", "getfenv", "setfenv",
        "module",
    ] {
        let reply = run(&format!("return {name}"));
        assert!(reply.contains("nonexistent global variable"), "{name}: {reply}");
    }
    check("return loadstring(string.dump(function() end))", "_|");
    check("return loadstring('return KEYS[1]')()", "$3|key|");
    check("local n = 0 for k in pairs(os) do n = n + 1 end return n", ":1|");
    check("return next(redis) ~= nil", ":1|");
    check("return rawget(_G, 'redis') == redis", ":1|");
    check("return ('x'):rep(3)", "$3|xxx|");
}

#[test]
fn time_ends_scripts_that_catch_errors() {
    for code in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "local function f() while true do pcall(f) end end coroutine.resume(coroutine.create(f)) while true do end",
        "repeat local ok = coroutine.resume(coroutine.create(function() while true do end end)) until false",
    ] {
        let mut host = Echo { patience: Some(Duration::from_millis(5)), ..Echo::default() };
        let reply = run_with(&mut host, code);
        let is_ended = reply.starts_with("-ERR Script killed by user with SCRIPT KILL.")
            || reply.starts_with("-ERR stack overflow");
        assert!(is_ended, "{code}: {reply}");
    }
}

#[test]
fn nothing_takes_more_than_there_is() {
    // The stack of a server's thread, not that of a test's.
    let body = || {
        for code in [
            "local s = 'x' while true do s = s .. s end",
            "return string.rep('x', 2^31)",
            "return string.rep('x', 2^30 + 1)",
            "local function f() return f() + 1 end return f()",
            "local function f() return pcall(f) end return tostring(f())",
            "local function f() return coroutine.wrap(f)() end return f()",
            "local function f(s) return s:gsub('.', f) end return f('x')",
            "return string.find(string.rep('a', 5000), string.rep('a?', 50000))",
            "return cjson.decode(string.rep('[', 100000))",
            "local t = {} t.t = t return cjson.encode(t)",
            "return cmsgpack.unpack(string.rep('\\145', 100000))",
            "return unpack({}, 1, 1e8)",
            "return unpack({}, -2147483648, 2147483647)",
            "return unpack({}, 0, 1/0)",
            "return struct.pack('c4000000000', 'x')",
            "return struct.unpack('I33', 'x')",
            "return loadstring(string.rep('(', 10000))",
            "return string.format('%99999d', 1)",
            "return table.concat({}, 'x', 1, 2^31)",
            "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
            "return {redis.call('echo', unpack(ARGV, 1, 7000))}",
        ] {
            let reply = run(code);
            assert!(!reply.is_empty() && reply.len() < 1 << 20, "{code}");
        }
        check("local a = {} local b = {a} a[1] = b return a", &run("local a = {} a[1] = a return a"));
        check("local t = {} for i = 1, 7900 do t[i] = 'x' end return redis.call('int', unpack(t))", ":42|");
    };
    std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(body)
        .expect("a thread")
        .join()
        .expect("it went well");
}

#[test]
fn libraries_answer_as_elsewhere() {
    check(
        "return cjson.encode({1,{a='x/\"'},true,cjson.null,1.5})",
        "$31|[1,{\"a\":\"x\\/\\\"\"},true,null,1.5]|",
    );
    check("return cjson.encode({})", "$2|{}|");
    check("return cjson.decode('{\"a\":[1,2,{\"b\":null}]}').a[3].b == cjson.null", ":1|");
    check("return cjson.decode('\"\\\\u00e9\\\\ud83d\\\\ude00\"')", "$6|é😀|");
    check(
        "return cjson.decode('[1,')",
        "-ERR user_script:1: Expected value but found T_END at character 4 script: on @user_script:1.|",
    );
    check(
        "return cjson.encode(0/0)",
        "-ERR user_script:1: Cannot serialise number: must not be NaN or Inf script: on @user_script:1.|",
    );
    check("return cmsgpack.unpack(cmsgpack.pack({1,'x',{a=true}}))[3].a", ":1|");
    check("return {cmsgpack.unpack(cmsgpack.pack(1,-1,300,2^40))}", "*4|:1|:-1|:300|:1099511627776|");
    check(
        "return {struct.unpack('>I2<i4s', struct.pack('>I2<i4s', 258, -2, 'hi'))}",
        "*4|:258|:-2|$2|hi|:10|",
    );
    check("return bit.tohex(65535, -2147483648)", "$8|0000FFFF|");
    check("return bit.bxor(0xf0, 0xff)", ":15|");
    check("return redis.sha1hex('')", "$40|da39a3ee5e6b4b0d3255bfef95601890afd80709|");
}

#[test]
fn scripts_of_eval_make_way_for_newer_ones() {
    let mut scripts = Scripts::new(VERSIONS);
    let first = scripts.load(b"return 'first'", Origin::Eval).expect("sound").sha;
    let kept = scripts.load(b"return 'kept'", Origin::Load).expect("sound").sha;
    for i in 0..499 {
        scripts.load(format!("return {i}").as_bytes(), Origin::Eval).expect("sound");
    }
    assert_eq!((scripts.len(), scripts.evicted()), (501, 0));
    scripts.used(first);
    scripts.load(b"return 'one more'", Origin::Eval).expect("sound");
    assert!(scripts.find(first).is_some() && scripts.find(kept).is_some());
    assert!(scripts.find(Sha::of(b"return 0")).is_none());
    assert_eq!((scripts.len(), scripts.evicted()), (501, 1));
    scripts.flush();
    assert!(scripts.is_empty() && scripts.find(kept).is_none());
}

#[test]
fn the_host_hears_what_a_script_asks_for() {
    let mut host = Echo::default();
    let code = "redis.set_repl(redis.REPL_NONE) redis.call('int', 1) redis.set_repl(redis.REPL_ALL) \
                redis.call('int') redis.log(redis.LOG_WARNING, 'a', 1, 'b') return redis.acl_check_cmd('int')";
    assert_eq!(run_with(&mut host, code), ":1|");
    assert_eq!(host.log, ["false int 1", "true int", "3: a 1 b"]);
    check(
        "redis.acl_check_cmd('nope')",
        "-ERR Invalid command passed to server.acl_check_cmd() script: on @user_script:1.|",
    );
}
