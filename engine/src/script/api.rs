//! What scripts call that is not Lua: `redis.*`, and the native part of the sandbox.
//!
//! Errors leave native functions as a [`Raised`], which the interpreter carries as an object of its own;
//! whatever hands an error to a script (`pcall`, `xpcall`, a coroutine's end, the handler) makes the text or
//! the table of it that Valkey's scripts see. Behaviour: valkey src/modules/lua/script_lua.c.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;

use mlua::{Error, FromLua, Function, IntoLua, Lua, LuaString, Table, Value, Variadic};
use sha1::{Digest as _, Sha1};

use crate::base::num;
use crate::codec::resp::Reply;

use super::to_reply::{error_text, truncated};
use super::vm::{End, Ended, OWN_SOURCE, Shared, Versions, compile, root};
use super::{Host, May, Replicate};

/// What the function behind `redis.log` and the hook is asked for.
pub(super) const INTERRUPT: u8 = 0;
const LOG: u8 = 1;
const MAY: u8 = 2;

/// An error on its way to a script.
#[derive(Debug)]
pub(super) enum Raised {
    /// A table with the field `err`, and whether it was counted already.
    Table(Vec<u8>, bool),
    /// A text.
    Text(Vec<u8>),
    /// The script is to end.
    Killed,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raised::Table(text, _) | Raised::Text(text) => write!(f, "{}", String::from_utf8_lossy(text)),
            Raised::Killed => write!(f, "the script was ended"),
        }
    }
}

impl std::error::Error for Raised {}

impl From<Raised> for Error {
    fn from(raised: Raised) -> Error {
        Error::external(raised)
    }
}

/// The error by which a script ends that was killed.
pub(super) fn killed() -> Error {
    Raised::Killed.into()
}

/// Raises `{err = 'ERR ' .. text}`.
pub(super) fn fault(text: &str) -> Error {
    Raised::Table([b"ERR ", text.as_bytes()].concat(), false).into()
}

/// Raises a text with the place of the function that called.
pub(super) fn text_error(lua: &Lua, text: &str) -> Error {
    let mut line = place_of_caller(lua).into_bytes();
    line.extend_from_slice(text.as_bytes());
    Raised::Text(line).into()
}

/// `file:line: ` of what called the native function that runs; empty if it is native, too.
fn place_of_caller(lua: &Lua) -> String {
    for level in 1.. {
        let frame = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let is_own = source.source.as_deref() == Some(OWN_SOURCE);
            let name = source.short_src.as_deref().unwrap_or("?").to_owned();
            (is_own, name, frame.current_line())
        });
        match frame {
            Some((true, ..)) => {}
            Some((false, name, Some(line))) => return format!("{name}:{line}: "),
            _ => break,
        }
    }
    String::new()
}

/// The bytes of a C string: up to the first zero.
pub(super) fn c_string(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// A text of an error as `-CODE text` gives it: a code of its own if it has one.
pub(super) fn with_code(text: &[u8]) -> Vec<u8> {
    let text = c_string(text);
    let Some(at) = memchr::memchr(b' ', text) else { return [b"ERR ", text].concat() };
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let rest = &text[at + 1..];
    let start = rest.iter().position(|byte| !is_end(byte)).unwrap_or(rest.len());
    let end = rest.iter().rposition(|byte| !is_end(byte)).map_or(start, |at| at + 1);
    [&text[..=at], &rest[start..end]].concat()
}

/// `{err = text}`, marked if the error was counted already.
pub(super) fn error_table(lua: &Lua, text: &[u8], is_counted: bool) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    if is_counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// An argument of a native function.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Bytes(Vec<u8>),
    Number(f64),
    Other(&'static str),
}

impl FromLua for Word {
    fn from_lua(value: Value, _: &Lua) -> mlua::Result<Word> {
        Ok(match value {
            Value::String(text) => Word::Bytes(text.as_bytes().to_vec()),
            Value::Integer(n) => Word::Number(n as f64),
            Value::Number(n) => Word::Number(n),
            other => Word::Other(other.type_name()),
        })
    }
}

impl IntoLua for Word {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        Ok(match self {
            Word::Bytes(text) => Value::String(lua.create_string(text)?),
            Word::Number(n) => Value::Number(n),
            Word::Other(_) => Value::Nil,
        })
    }
}

impl Word {
    /// As Lua makes a text of it.
    pub(super) fn text(&self) -> Option<Vec<u8>> {
        match self {
            Word::Bytes(text) => Some(text.clone()),
            Word::Number(n) => Some(lua_number_text(*n)),
            Word::Other(_) => None,
        }
    }

    /// As Lua makes a number of it.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Word::Number(n) => Some(*n),
            Word::Bytes(text) => text_number(text),
            Word::Other(_) => None,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Word::Bytes(_) => "string",
            Word::Number(_) => "number",
            Word::Other(name) => name,
        }
    }
}

/// A text as a number, as Lua reads it: blanks around it, hexadecimal ones too.
pub(super) fn text_number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    if text.is_empty() || text.iter().any(|byte| matches!(byte, b'_')) {
        return None;
    }
    num::parse_f64_or_hex(text).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
}

/// A number as Lua prints it, `%.14g`.
pub(super) fn lua_number_text(n: f64) -> Vec<u8> {
    let mut out = Vec::new();
    num::push_f64_14g(&mut out, n);
    out
}

/// A number as an argument of a command: without exponent where that is possible, or as old servers had it.
fn argument_text(n: f64, is_verbatim: bool) -> Vec<u8> {
    const MOST: f64 = (i64::MAX / 2) as f64;
    let mut out = Vec::new();
    if is_verbatim {
        num::push_f64_17g(&mut out, n);
    } else if (-MOST..=MOST).contains(&n) && (n as i64) as f64 == n {
        num::push_i64(&mut out, n as i64);
    } else {
        num::push_f64_shortest(&mut out, n);
    }
    out
}

/// A word of a command; `None` if it cannot be one.
fn argument(word: &Word, is_verbatim: bool) -> Option<Cow<'_, [u8]>> {
    match word {
        Word::Bytes(text) => Some(Cow::Borrowed(text.as_slice())),
        Word::Number(n) => Some(Cow::Owned(argument_text(*n, is_verbatim))),
        Word::Other(_) => None,
    }
}

const NO_WORDS: &str = "Please specify at least one argument for this call";
const BAD_WORDS: &str = "Command arguments must be strings or integers";

/// The words of a command that a script calls.
///
/// # Errors
/// The error that it raises, or gets from `pcall`.
pub(super) fn words_of(words: &[Word], is_verbatim: bool) -> Result<Vec<Cow<'_, [u8]>>, Raised> {
    let wrong = |text: &str| Raised::Table([b"ERR ", text.as_bytes()].concat(), false);
    if words.is_empty() {
        return Err(wrong(NO_WORDS));
    }
    let argv: Option<Vec<Cow<'_, [u8]>>> = words.iter().map(|word| argument(word, is_verbatim)).collect();
    argv.ok_or_else(|| wrong(BAD_WORDS))
}

/// What scripts ask the host for besides commands, and what the hook asks.
pub(super) fn other(host: &RefCell<&mut dyn Host>, words: &[Word]) -> mlua::Result<Value> {
    let Some((Word::Number(op), words)) = words.split_first() else { return Ok(Value::Nil) };
    match *op as u8 {
        INTERRUPT => Ok(Value::Boolean(host.borrow_mut().interrupt())),
        LOG => {
            let (level, text) = log_line(words);
            host.borrow_mut().log(level, &text);
            Ok(Value::Nil)
        }
        _ => {
            let words = words_of(words, false)?;
            let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
            match host.borrow_mut().may(&words) {
                May::Unknown => Err(fault("Invalid command passed to server.acl_check_cmd()")),
                May::Yes => Ok(Value::Boolean(true)),
                May::No => Ok(Value::Boolean(false)),
            }
        }
    }
}

/// The value that an error of a native function stands for.
fn plain(lua: &Lua, problem: &Error, shared: &Shared) -> mlua::Result<Value> {
    let text = match root(problem) {
        Error::ExternalError(raised) => match raised.downcast_ref::<Raised>() {
            Some(Raised::Table(text, is_counted)) => {
                return Ok(Value::Table(error_table(lua, text, *is_counted)?));
            }
            Some(Raised::Text(text)) => return Ok(Value::String(lua.create_string(text)?)),
            Some(Raised::Killed) => {
                let text = [b"ERR ", shared.end_text().as_bytes()].concat();
                return Ok(Value::Table(error_table(lua, &text, false)?));
            }
            None => raised.to_string(),
        },
        Error::MemoryError(_) => "not enough memory".to_owned(),
        Error::StackError => "stack overflow".to_owned(),
        other => other.to_string(),
    };
    Ok(Value::String(lua.create_string(text)?))
}

/// What is wrong with a library, from what running it has raised.
pub(super) fn failure_text(lua: &Lua, problem: &Value, shared: &Shared) -> Vec<u8> {
    let mut problem = problem.clone();
    if let Value::Error(error) = &problem {
        problem = plain(lua, error, shared).unwrap_or(Value::Nil);
    }
    let text = match &problem {
        Value::Table(table) => table.raw_get::<Option<LuaString>>("err").ok().flatten(),
        Value::String(text) => return [b"ERR ", c_string(&text.as_bytes())].concat(),
        _ => None,
    };
    text.map_or_else(|| b"ERR unknown error".to_vec(), |text| c_string(&text.as_bytes()).to_vec())
}

/// True for the table of an error that was counted when it happened.
pub(super) fn is_counted(value: &Value) -> mlua::Result<bool> {
    match value {
        Value::Table(table) => table.raw_get("ignore_error_stats_update"),
        _ => Ok(false),
    }
}

/// What `redis.pcall` answers for an error.
pub(super) fn value_of(lua: &Lua, raised: &Raised) -> mlua::Result<Value> {
    match raised {
        Raised::Table(text, is_counted) => Ok(Value::Table(error_table(lua, text, *is_counted)?)),
        Raised::Text(text) => Ok(Value::String(lua.create_string(text)?)),
        Raised::Killed => Err(killed()),
    }
}

/// Where an error came from: the function that raised it, or, if that is native, what called it.
fn place_of_error(lua: &Lua) -> Option<(String, i64)> {
    let mut level = 1;
    let mut has_seen_native = false;
    loop {
        let frame = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let name = source.source.as_deref().unwrap_or("=?").to_owned();
            let line = frame.current_line().map_or(-1, |line| i64::try_from(line).unwrap_or(-1));
            (name, line, source.what == "C")
        });
        let (name, line, is_native) = frame?;
        level += 1;
        if name == OWN_SOURCE {
            continue;
        }
        if is_native && !has_seen_native {
            has_seen_native = true;
            continue;
        }
        return Some((name, line));
    }
}

/// An error that a function of the interpreter has raised where our own code calls it, with the place in the
/// script in front, if there is one, and not ours.
fn with_place_of_script<'a>(lua: &Lua, text: &'a [u8]) -> Cow<'a, [u8]> {
    let own = text.strip_prefix(b"cairn:".as_slice()).and_then(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest[digits..].strip_prefix(b": ").filter(|_| digits > 0)
    });
    match own {
        Some(rest) => {
            let place = place_of_error(lua).filter(|(_, line)| *line > 0);
            let place = place.map(|(name, line)| format!("{}:{line}: ", name.trim_start_matches('@')));
            [place.unwrap_or_default().as_bytes(), rest].concat().into()
        }
        None => text.into(),
    }
}

/// The handler of errors that no script has caught: a table with the text and the place.
fn handle(lua: &Lua, problem: Value, shared: &Shared) -> mlua::Result<Value> {
    let problem = match problem {
        Value::Error(problem) => plain(lua, &problem, shared)?,
        other => other,
    };
    let table = match problem {
        Value::Table(table) => table,
        other => {
            let text = match &other {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Integer(n) => lua_number_text(*n as f64),
                Value::Number(n) => lua_number_text(*n),
                other => other.to_string()?.into_bytes(),
            };
            let text = with_place_of_script(lua, &text);
            error_table(lua, &[b"ERR ", &*text].concat(), false)?
        }
    };
    if let Some((source, line)) = place_of_error(lua) {
        table.raw_set("source", source)?;
        table.raw_set("line", line)?;
    }
    Ok(Value::Table(table))
}

/// Writes the reply of a script that has failed.
pub(super) fn write_failure(
    lua: &Lua,
    problem: &Value,
    shared: &Shared,
    reply: &mut Reply,
) -> mlua::Result<Ended> {
    let mut problem = problem.clone();
    if let Value::Error(error) = &problem {
        problem = plain(lua, error, shared)?;
    }
    let Value::Table(table) = &problem else {
        let text = match &problem {
            Value::String(text) => text.as_bytes().iter().copied().take(100).collect(),
            _ => b"execution failure".to_vec(),
        };
        reply.error_bytes(&[b"ERR Error running script, ", c_string(&text)].concat());
        return Ok(Ended { is_counted: false });
    };
    let field = |name: &str| -> mlua::Result<Option<Vec<u8>>> {
        Ok(match table.raw_get(name)? {
            Value::String(text) => Some(c_string(&text.as_bytes()).to_vec()),
            Value::Integer(n) => Some(lua_number_text(n as f64)),
            Value::Number(n) => Some(lua_number_text(n)),
            _ => None,
        })
    };
    let mut text = field("err")?.unwrap_or_else(|| b"ERR unknown error".to_vec());
    if let (Some(source), Some(line)) = (field("source")?, field("line")?) {
        for part in [b" script: on ", source.as_slice(), b":", &line, b"."] {
            text.extend_from_slice(part);
        }
    }
    reply.error_bytes(&error_text(&text));
    Ok(Ended { is_counted: table.raw_get("ignore_error_stats_update")? })
}

/// An integer as Lua's C functions read it, 32 bits of it.
fn int(n: f64) -> i32 {
    truncated(n) as i32
}

/// An argument that has to be a number.
fn int_argument(lua: &Lua, words: &[Word], at: usize, name: &str) -> mlua::Result<i32> {
    let word = words.get(at);
    word.and_then(Word::number).map(int).ok_or_else(|| bad_argument(lua, word, at, name, "number"))
}

/// `bad argument #1 to 'name' (number expected, got nil)`.
pub(super) fn bad_argument(lua: &Lua, word: Option<&Word>, at: usize, name: &str, expected: &str) -> Error {
    let got = word.map_or("no value", Word::type_name);
    text_error(lua, &format!("bad argument #{} to '{name}' ({expected} expected, got {got})", at + 1))
}

/// Most parts of a pattern that may match more or less: for each, matching calls itself.
const MAX_PATTERN_PARTS: usize = 2000;

/// Most bytes of what `string.rep` makes.
const MAX_REPEATED_BYTES: usize = 1 << 30;

/// What the prelude needs that Lua cannot do.
pub(super) fn native(lua: &Lua, shared: &Rc<Shared>, env: &Rc<OnceCell<Table>>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let known = Rc::clone(shared);
    table.raw_set(
        "plain",
        lua.create_function(move |lua, problem: Value| match problem {
            _ if known.end.get() != End::No => Err(killed()),
            Value::Error(problem) => plain(lua, &problem, &known),
            other => Ok(other),
        })?,
    )?;
    let known = Rc::clone(shared);
    table.raw_set("is_over", lua.create_function(move |_, ()| Ok(known.end.get() != End::No))?)?;
    let known = Rc::clone(shared);
    table
        .raw_set("handler", lua.create_function(move |lua, problem: Value| handle(lua, problem, &known))?)?;
    let known = Rc::clone(shared);
    table.raw_set("is_deep", lua.create_function(move |_, ()| Ok(known.is_deep()))?)?;
    table.raw_set(
        "is_complex",
        lua.create_function(|_, pattern: LuaString| {
            let parts = pattern.as_bytes().iter().filter(|byte| b"*+-?()".contains(byte)).count();
            Ok(parts > MAX_PATTERN_PARTS)
        })?,
    )?;
    table.raw_set("rep", lua.create_function(|lua, words: Variadic<Word>| repeat(lua, &words))?)?;
    let known = Rc::clone(env);
    table.raw_set(
        "compile",
        lua.create_function(move |lua, (code, name): (LuaString, LuaString)| {
            compiled(lua, &known, &code.as_bytes(), &name.as_bytes())
        })?,
    )?;
    let known = Rc::clone(env);
    table.raw_set(
        "loadstring",
        lua.create_function(move |lua, words: Variadic<Word>| {
            let code = words.first().and_then(Word::text);
            let code = code.ok_or_else(|| bad_argument(lua, words.first(), 0, "loadstring", "string"))?;
            let name = words.get(1).and_then(Word::text);
            compiled(lua, &known, &code, name.as_ref().unwrap_or(&code))
        })?,
    )?;
    Ok(table)
}

fn repeat(lua: &Lua, words: &[Word]) -> mlua::Result<LuaString> {
    let text = words.first().and_then(Word::text);
    let text = text.ok_or_else(|| bad_argument(lua, words.first(), 0, "rep", "string"))?;
    let times = usize::try_from(int_argument(lua, words, 1, "rep")?).unwrap_or(0);
    match text.len().checked_mul(times) {
        Some(len) if len <= MAX_REPEATED_BYTES => lua.create_string(text.repeat(times)),
        _ => Err(Raised::Text(b"not enough memory".to_vec()).into()),
    }
}

/// What `loadstring` answers: a function, or nothing and why.
fn compiled(lua: &Lua, env: &OnceCell<Table>, code: &[u8], name: &[u8]) -> mlua::Result<(Value, Value)> {
    let Some(env) = env.get() else { return Ok((Value::Nil, Value::Nil)) };
    let name = String::from_utf8_lossy(c_string(name));
    match compile(lua, code, &name, env) {
        Ok(function) => Ok((Value::Function(function), Value::Nil)),
        Err(problem) => Ok((Value::Nil, Value::String(lua.create_string(problem)?))),
    }
}

/// `math.random` and `math.randomseed`.
pub(super) fn maths(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let known = Rc::clone(shared);
    table.raw_set(
        "random",
        lua.create_function(move |lua, words: Variadic<Word>| {
            let r = known.rand.borrow_mut().next();
            let empty = |at| text_error(lua, &format!("bad argument #{at} to 'random' (interval is empty)"));
            match words.len() {
                0 => Ok(r),
                1 => {
                    let upper = int_argument(lua, &words, 0, "random")?;
                    if upper < 1 { Err(empty(1)) } else { Ok((r * f64::from(upper)).floor() + 1.0) }
                }
                2 => {
                    let low = int_argument(lua, &words, 0, "random")?;
                    let high = int_argument(lua, &words, 1, "random")?;
                    if low > high {
                        return Err(empty(2));
                    }
                    let count = high.wrapping_sub(low).wrapping_add(1);
                    Ok((r * f64::from(count)).floor() + f64::from(low))
                }
                _ => Err(text_error(lua, "wrong number of arguments")),
            }
        })?,
    )?;
    let known = Rc::clone(shared);
    table.raw_set(
        "randomseed",
        lua.create_function(move |lua, words: Variadic<Word>| {
            known.rand.borrow_mut().seed(int_argument(lua, &words, 0, "randomseed")?);
            Ok(())
        })?,
    )?;
    Ok(table)
}

/// A version as a number: a byte for each part.
fn version_number(version: &str) -> u32 {
    version.split('.').take(3).fold(0, |number, part| number << 8 | (part.parse::<u32>().unwrap_or(0) & 0xff))
}

/// One of the two functions that make a reply of a text.
fn reply_of_text(
    lua: &Lua,
    make: impl Fn(&Lua, &[u8]) -> mlua::Result<Table> + 'static,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, words: Variadic<Word>| match &words[..] {
        [Word::Bytes(text)] => make(lua, text),
        _ => error_table(lua, b"ERR wrong number or type of arguments", false),
    })
}

/// Puts everything into `redis` that needs no host to run commands.
pub(super) fn fill_server(
    lua: &Lua,
    shared: &Rc<Shared>,
    cell: &Table,
    server: &Table,
    versions: Versions,
) -> mlua::Result<()> {
    server.raw_set(
        "error_reply",
        reply_of_text(lua, |lua, text| {
            let text = c_string(text);
            error_table(lua, &with_code(text.strip_prefix(b"-").unwrap_or(text)), false)
        })?,
    )?;
    server.raw_set(
        "status_reply",
        reply_of_text(lua, |lua, text| {
            let table = lua.create_table_with_capacity(0, 1)?;
            table.raw_set("ok", lua.create_string(text)?)?;
            Ok(table)
        })?,
    )?;
    server.raw_set(
        "sha1hex",
        lua.create_function(|_, words: Variadic<Word>| match &words[..] {
            [word] => Ok(sha1_hex(&word.text().unwrap_or_default())),
            _ => Err(fault("wrong number of arguments")),
        })?,
    )?;
    let known = Rc::clone(shared);
    server.raw_set(
        "set_repl",
        lua.create_function(move |lua, words: Variadic<Word>| {
            if known.is_verbatim.get() {
                // Whoever had called replicate_commands in time was not logged as sent.
                return Err(text_error(
                    lua,
                    "You can set the replication behavior only after turning on single commands replication with \
                     redis.replicate_commands().",
                ));
            }
            let [flags] = &words[..] else { return Err(fault("server.set_repl() requires one argument.")) };
            let flags = int(flags.number().unwrap_or(0.0));
            if flags & !3 != 0 {
                return Err(fault(
                    "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
                ));
            }
            known.replicate.set(Replicate { log: flags & 1 != 0, replicas: flags & 2 != 0 });
            Ok(())
        })?,
    )?;
    let known = Rc::clone(shared);
    server.raw_set(
        "setresp",
        lua.create_function(move |_, words: Variadic<Word>| {
            let [version] = &words[..] else { return Err(fault("server.setresp() requires one argument.")) };
            match int(version.number().unwrap_or(0.0)) {
                version @ (2 | 3) => known.resp.set(version as u8),
                _ => return Err(fault("RESP version must be 2 or 3.")),
            }
            Ok(())
        })?,
    )?;
    let known = cell.clone();
    server.raw_set(
        "log",
        lua.create_function(move |_, words: Variadic<Word>| {
            check_log_line(&words)?;
            ask(&known, LOG, &words).map(|_: Value| ())
        })?,
    )?;
    let known = cell.clone();
    server.raw_set(
        "acl_check_cmd",
        lua.create_function(move |_, words: Variadic<Word>| ask::<Value>(&known, MAY, &words))?,
    )?;
    let numbers =
        [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)];
    for (name, number) in numbers {
        server.raw_set(name, number)?;
    }
    fill_constants(server, versions)
}

/// Puts that into `redis` which only scripts find there.
pub(super) fn fill_for_scripts(lua: &Lua, shared: &Rc<Shared>, server: &Table) -> mlua::Result<()> {
    server.raw_set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
    server.raw_set("debug", lua.create_function(|_, ()| Ok(()))?)?;
    let known = Rc::clone(shared);
    server.raw_set("replicate_commands", lua.create_function(move |_, ()| Ok(!known.is_verbatim.get()))?)
}

/// Puts the versions and the levels of the log into `redis`.
pub(super) fn fill_constants(server: &Table, versions: Versions) -> mlua::Result<()> {
    let numbers = [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REDIS_VERSION_NUM", version_number(versions.redis)),
        ("VALKEY_VERSION_NUM", version_number(versions.valkey)),
    ];
    for (name, number) in numbers {
        server.raw_set(name, number)?;
    }
    server.raw_set("REDIS_VERSION", versions.redis)?;
    server.raw_set("VALKEY_VERSION", versions.valkey)?;
    server.raw_set("SERVER_NAME", versions.server_name)
}

/// Checks the arguments of `redis.log`.
///
/// # Errors
/// The error that it raises.
pub(super) fn check_log_line(words: &[Word]) -> mlua::Result<()> {
    if words.len() < 2 {
        return Err(fault("server.log() requires two arguments or more."));
    }
    match words[0].number() {
        None => Err(fault("First argument must be a number (log level).")),
        Some(level) if !(0..=3).contains(&int(level)) => Err(fault("Invalid log level.")),
        Some(_) => Ok(()),
    }
}

/// The level and the text of a line for the log, from arguments that were checked.
pub(super) fn log_line(words: &[Word]) -> (u8, Vec<u8>) {
    let level = words.first().and_then(Word::number).unwrap_or(0.0) as u8;
    let texts: Vec<Vec<u8>> = words.iter().skip(1).filter_map(Word::text).collect();
    let texts: Vec<&[u8]> = texts.iter().map(|text| c_string(text)).collect();
    (level, texts.join(&b' '))
}

/// Asks the host, if a script runs.
fn ask<R: mlua::FromLuaMulti>(cell: &Table, op: u8, words: &[Word]) -> mlua::Result<R> {
    let host: Function = cell.raw_get("host")?;
    let words: Variadic<Word> =
        std::iter::once(Word::Number(f64::from(op))).chain(words.iter().cloned()).collect();
    host.call(words)
}

/// A SHA-1 as 40 hexadecimal digits.
pub(super) fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().fold(String::with_capacity(40), |mut hex, byte| {
        use fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
