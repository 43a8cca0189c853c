//! What a library finds while it is loaded: `redis.register_function`, a log, the versions.
//!
//! What it registers is collected, and belongs to nobody until the whole library has been run. Behaviour:
//! valkey src/modules/lua/function_lua.c.

use std::rc::Rc;

use mlua::{FromLua as _, Function, Lua, Table, Value, Variadic};

use super::api::{self, Word, fault};
use super::flags::Flags;
use super::vm::{Program, Shared, Versions};

/// A function as its library describes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Registered {
    pub(super) name: Vec<u8>,
    pub(super) description: Option<Vec<u8>>,
    pub(super) flags: Flags,
    pub(super) program: Program,
}

/// What a library has done so far.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// The functions that it has registered, which have no programs yet, and what they run.
    pub(super) functions: Vec<(Registered, Function)>,
    /// Lines for the log, with their levels.
    pub(super) lines: Vec<(u8, Vec<u8>)>,
}

/// What a library has brought.
#[derive(Debug)]
pub(super) struct Brought {
    /// Its functions.
    pub(super) functions: Vec<Registered>,
    /// Lines for the log, with their levels.
    pub(super) lines: Vec<(u8, Vec<u8>)>,
}

/// The table `redis` of libraries.
pub(super) fn api(lua: &Lua, shared: &Rc<Shared>, versions: Versions) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let known = Rc::clone(shared);
    table.raw_set(
        "register_function",
        lua.create_function(move |lua, values: Variadic<Value>| {
            const LATE: &str = "server.register_function can only be called on FUNCTION LOAD command";
            if known.loading.borrow().is_none() {
                return Err(fault(LATE));
            }
            let registered = read(lua, &values)?;
            if let Some(loading) = &mut *known.loading.borrow_mut() {
                loading.functions.push(registered);
            }
            Ok(())
        })?,
    )?;
    let known = Rc::clone(shared);
    table.raw_set(
        "log",
        lua.create_function(move |_, words: Variadic<Word>| {
            api::check_log_line(&words)?;
            if let Some(loading) = &mut *known.loading.borrow_mut() {
                loading.lines.push(api::log_line(&words));
            }
            Ok(())
        })?,
    )?;
    api::fill_constants(&table, versions)?;
    Ok(table)
}

/// The function that the arguments describe, in one of two forms.
fn read(lua: &Lua, values: &[Value]) -> mlua::Result<(Registered, Function)> {
    const COUNT: &str = "wrong number of arguments to server.register_function";
    const NO_TABLE: &str = "calling server.register_function with a single argument is only applicable to Lua \
                            table (representing named arguments).";
    const NAME: &str = "first argument to server.register_function must be a string";
    const CALLBACK: &str = "second argument to server.register_function must be a function";
    match values {
        [Value::Table(named)] => read_named(lua, named),
        [_] => Err(fault(NO_TABLE)),
        [name, callback] => {
            let name = text_of(lua, name).ok_or_else(|| fault(NAME))?;
            let Value::Function(callback) = callback else { return Err(fault(CALLBACK)) };
            Ok((Registered { name, ..Registered::default() }, callback.clone()))
        }
        _ => Err(fault(COUNT)),
    }
}

fn read_named(lua: &Lua, named: &Table) -> mlua::Result<(Registered, Function)> {
    let (mut registered, mut name, mut callback) = (Registered::default(), None, None);
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = text_of(lua, &key)
            .ok_or_else(|| fault("named argument key given to server.register_function is not a string"))?;
        let is = |known: &str| api::c_string(&key).eq_ignore_ascii_case(known.as_bytes());
        if is("function_name") {
            let text = text_of(lua, &value);
            name = Some(text.ok_or_else(|| must_be("function_name", "a string"))?);
        } else if is("description") {
            let text = text_of(lua, &value);
            registered.description = Some(text.ok_or_else(|| must_be("description", "a string"))?);
        } else if is("callback") {
            let Value::Function(function) = value else { return Err(must_be("callback", "a function")) };
            callback = Some(function);
        } else if is("flags") {
            const NO_TABLE: &str =
                "flags argument to server.register_function must be a table representing function flags";
            let Value::Table(names) = value else { return Err(fault(NO_TABLE)) };
            registered.flags = read_flags(lua, &names)?;
        } else {
            return Err(fault("unknown argument given to server.register_function"));
        }
    }
    registered.name =
        name.ok_or_else(|| fault("server.register_function must get a function name argument"))?;
    let callback = callback.ok_or_else(|| fault("server.register_function must get a callback argument"))?;
    Ok((registered, callback))
}

fn must_be(name: &str, what: &str) -> mlua::Error {
    fault(&format!("{name} argument given to server.register_function must be {what}"))
}

fn read_flags(lua: &Lua, names: &Table) -> mlua::Result<Flags> {
    let mut flags = Flags::default();
    for at in 1i64.. {
        let name: Value = names.get(at)?;
        if name.is_nil() {
            break;
        }
        let name = text_of(lua, &name).map(|name| api::c_string(&name).to_ascii_lowercase());
        let flag = name.and_then(|name| Flags::of_name(&name));
        flags = flags.or(flag.ok_or_else(|| fault("unknown flag given"))?);
    }
    Ok(flags)
}

/// A value as Lua makes a text of it, if it is one or a number.
fn text_of(lua: &Lua, value: &Value) -> Option<Vec<u8>> {
    Word::from_lua(value.clone(), lua).ok()?.text()
}
