//! The interpreter: made with its limits and its sandbox, and the runs of scripts in it.
//!
//! Limits: memory in bytes; time, looked at every few thousand instructions, in coroutines too; the
//! process's stack, wherever a coroutine runs another. Text alone is compiled, and only while the collector
//! rests: the parser of Lua 5.1 holds strings that nothing else does. A script that is to end cannot catch
//! that: the wrappers of `pcall` and its like raise it again.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::chunk::ChunkMode;
use mlua::{Error, Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, Variadic, VmState};

use smallvec::SmallVec;

use crate::codec::resp::{Protocol, Reply};

use super::api::{self, Raised, Word};
use super::lrand::Lrand;
use super::register::{self, Brought, Loading, Registered};
use super::{Host, Replicate, from_reply, library, to_reply};

/// Bytes that all that scripts hold may take.
const MEMORY_BYTES: usize = 1 << 30;

/// The clock is read after so many instructions.
const HOOK_INSTRUCTIONS: u32 = 10_000;

/// An interrupted script goes on for so long before it is interrupted again.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of the process's stack that a script may have taken before it runs one more coroutine.
const STACK_BYTES: usize = 3 << 20;

/// The collector makes a step after so many runs.
const RUNS_PER_STEP: u32 = 50;

/// A reply buffer keeps this much room between runs.
const KEEP_REPLY_BYTES: usize = 64 * 1024;

/// Commands with so many words are run without allocating a list of them.
const INLINE_WORDS: usize = 24;

/// Longer texts are not compiled: the lexer counts in 32 bits.
const MAX_CODE_BYTES: usize = 256 << 20;

/// The name of our own code, by which frames of it are told.
pub(super) const OWN_SOURCE: &str = "=cairn";

/// A compiled script or a function: its place among those of its interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Program(u64);

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The reply is an error that was counted already, when the command that it comes from ran.
    pub is_counted: bool,
}

/// What an interpreter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Scripts, which find their arguments among the globals.
    Scripts,
    /// Libraries of functions, which are given theirs.
    Functions,
}

/// What runs and hooks share.
#[derive(Debug)]
pub(super) struct Shared {
    /// When the script is interrupted next.
    check_at: Cell<Option<Instant>>,
    /// Whether it is to end.
    pub(super) end: Cell<End>,
    /// When a library that is being loaded has to end.
    deadline: Cell<Option<Instant>>,
    /// What the library has registered that is being loaded.
    pub(super) loading: RefCell<Option<Loading>>,
    /// What the host is asked through.
    host: RefCell<Option<Function>>,
    purpose: Purpose,
    /// The protocol in which it gets replies, as it has chosen.
    pub(super) resp: Cell<u8>,
    /// What becomes of its changes, as it has chosen.
    pub(super) replicate: Cell<Replicate>,
    /// About where the process's stack was when it began.
    stack_base: Cell<usize>,
    pub(super) rand: RefCell<Lrand>,
    /// Whether it runs again as an old server has logged it.
    pub(super) is_verbatim: Cell<bool>,
}

/// About where the process's stack is.
fn stack_place() -> usize {
    let here = 0u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

/// Why a script is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is not.
    No,
    /// A user wants it.
    Killed,
    /// It has run for long, so deep that nobody else can be served from inside of it.
    TooDeep,
    /// It is a library that takes too long to load.
    LoadedTooLong,
}

impl Shared {
    /// What it ends with.
    pub(super) fn end_text(&self) -> &'static str {
        match (self.end.get(), self.purpose) {
            (End::TooDeep, _) => "stack overflow",
            (End::LoadedTooLong, _) => "FUNCTION LOAD timeout",
            (_, Purpose::Scripts) => "Script killed by user with SCRIPT KILL.",
            (_, Purpose::Functions) => "Script killed by user with FUNCTION KILL.",
        }
    }

    /// True if there is too little of the process's stack left for one more coroutine.
    pub(super) fn is_deep(&self) -> bool {
        self.stack_base.get().abs_diff(stack_place()) > STACK_BYTES
    }
}

/// An interpreter.
pub struct Vm {
    pub(super) lua: Lua,
    shared: Rc<Shared>,
    /// What stands behind the globals of scripts.
    globals: Table,
    /// The globals as scripts see them.
    env: Table,
    /// What stands behind `redis` and `server`.
    server: Table,
    /// What the prelude shares with us.
    cell: Table,
    programs: Table,
    next_program: Cell<u64>,
    /// Runs a program.
    run: Function,
    /// Runs the code of a library.
    load: Function,
    runs: Cell<u32>,
    reply: RefCell<Reply>,
    /// `next` as it is.
    next: Function,
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("used_bytes", &self.used_bytes()).finish_non_exhaustive()
    }
}

/// The version of Valkey that scripts take a server for.
const VALKEY_VERSION: &str = "9.1.0";

/// The versions that scripts are told.
#[derive(Debug, Clone, Copy)]
pub struct Versions {
    /// `SERVER_NAME`.
    pub server_name: &'static str,
    /// `REDIS_VERSION`, and as a number in `REDIS_VERSION_NUM`.
    pub redis: &'static str,
    /// `VALKEY_VERSION`, and as a number in `VALKEY_VERSION_NUM`.
    pub valkey: &'static str,
}

impl Versions {
    /// Ours, with this version of Redis.
    #[must_use]
    pub const fn ours(redis: &'static str) -> Versions {
        Versions { server_name: "cairn", redis, valkey: VALKEY_VERSION }
    }
}

impl Vm {
    /// A new interpreter.
    ///
    /// # Panics
    /// If there is no memory for it, or our own code does not compile.
    #[must_use]
    pub(super) fn new(versions: Versions, purpose: Purpose) -> Vm {
        Vm::build(versions, purpose).expect("our own code runs in a new interpreter")
    }

    fn build(versions: Versions, purpose: Purpose) -> mlua::Result<Vm> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libs, LuaOptions::new())?;
        let shared = Rc::new(Shared {
            check_at: Cell::new(None),
            end: Cell::new(End::No),
            deadline: Cell::new(None),
            loading: RefCell::default(),
            host: RefCell::default(),
            purpose,
            resp: Cell::new(2),
            replicate: Cell::new(Replicate::ALL),
            stack_base: Cell::new(stack_place()),
            rand: RefCell::default(),
            is_verbatim: Cell::new(false),
        });
        let (globals, cell, server) = (lua.create_table()?, lua.create_table()?, lua.create_table()?);
        let env_place = Rc::new(OnceCell::new());
        let native = api::native(&lua, &shared, &env_place)?;
        api::fill_server(&lua, &shared, &cell, &server, versions)?;
        let library_server = match purpose {
            Purpose::Scripts => {
                api::fill_for_scripts(&lua, &shared, &server)?;
                Value::Nil
            }
            Purpose::Functions => Value::Table(register::api(&lua, &shared, versions)?),
        };
        let maths = api::maths(&lua, &shared)?;
        let libraries = library::all(&lua)?;
        let next: Function = lua.globals().raw_get("next")?;
        let prelude = lua
            .load(include_str!("prelude.lua"))
            .set_name(OWN_SOURCE)
            .set_mode(ChunkMode::Text)
            .into_function()?;
        let (env, run, load): (Table, Function, Function) =
            prelude.call((&native, &globals, &cell, &server, maths, libraries, library_server))?;
        // Nobody has set it before.
        let _ = env_place.set(env.clone());
        let programs = lua.create_table()?;
        let vm = Vm {
            shared: Rc::clone(&shared),
            globals,
            env: env.clone(),
            server,
            cell,
            programs,
            next_program: Cell::new(1),
            run,
            load,
            runs: Cell::new(0),
            reply: RefCell::default(),
            next,
            lua,
        };
        let triggers = HookTriggers::new().every_nth_instruction(HOOK_INSTRUCTIONS);
        vm.lua.set_global_hook(triggers, move |_, _| hook(&shared))?;
        vm.lua.set_memory_limit(MEMORY_BYTES)?;
        vm.lua.gc_collect()?;
        Ok(vm)
    }

    /// Compiles a script.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&self, code: &[u8]) -> Result<Program, Vec<u8>> {
        let function = compile(&self.lua, code, "@user_script", &self.env)?;
        self.keep(function).map_err(|_| b"not enough memory".to_vec())
    }

    /// Keeps a function to be run.
    fn keep(&self, function: Function) -> mlua::Result<Program> {
        let program = Program(self.next_program.get());
        self.programs.raw_set(program.0, function)?;
        self.next_program.set(program.0 + 1);
        Ok(program)
    }

    /// Compiles the code of a library and runs it, for the functions that it registers. It ends after
    /// `patience`. Beside the functions, in their order, the lines that it wanted to be logged are given.
    ///
    /// # Errors
    /// The text of the error reply, without its code. Nothing is kept then.
    pub(super) fn load_library(&self, code: &[u8], patience: Duration) -> Result<Brought, Vec<u8>> {
        let code = compile(&self.lua, api::c_string(code), "@user_function", &self.env)
            .map_err(|why| [b"Error compiling function: ", why.as_slice()].concat())?;
        let shared = &*self.shared;
        shared.end.set(End::No);
        shared.stack_base.set(stack_place());
        shared.deadline.set(Instant::now().checked_add(patience));
        shared.loading.replace(Some(Loading::default()));
        let ran = self.load.call::<(bool, Value)>(code);
        shared.deadline.set(None);
        let loading = shared.loading.take().unwrap_or_default();
        let failure = match ran {
            Ok((true, _)) => None,
            Ok((false, problem)) => Some(api::failure_text(&self.lua, &problem, shared)),
            Err(problem) => Some(root(&problem).to_string().into_bytes()),
        };
        self.finish();
        if let Some(text) = failure {
            return Err([b"Error registering functions: ", text.as_slice()].concat());
        }
        let mut functions: Vec<Registered> = Vec::with_capacity(loading.functions.len());
        for (function, callback) in loading.functions {
            let Ok(program) = self.keep(callback) else {
                functions.iter().for_each(|function| self.forget(function.program));
                return Err(b"not enough memory".to_vec());
            };
            functions.push(Registered { program, ..function });
        }
        Ok(Brought { functions, lines: loading.lines })
    }

    /// Forgets a script.
    pub fn forget(&self, program: Program) {
        // To write nothing where something is needs no memory.
        let _ = self.programs.raw_set(program.0, Value::Nil);
    }

    /// Bytes in use.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Runs a script, and writes its reply.
    pub fn run(
        &self,
        program: Program,
        keys: &[&[u8]],
        args: &[&[u8]],
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> Ended {
        let start = reply.len();
        let ended = self.run_checked(program, keys, args, host, reply);
        self.finish();
        ended.unwrap_or_else(|problem| {
            reply.truncate(start);
            let text = format!("ERR Error running script, {}", root(&problem));
            reply.error(&text);
            Ended { is_counted: false }
        })
    }

    fn run_checked(
        &self,
        program: Program,
        keys: &[&[u8]],
        args: &[&[u8]],
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> mlua::Result<Ended> {
        let shared = &*self.shared;
        let function: Function = self.programs.raw_get(program.0)?;
        shared.end.set(End::No);
        shared.resp.set(2);
        shared.replicate.set(Replicate::ALL);
        shared.stack_base.set(stack_place());
        shared.check_at.set(host.patience().map(|patience| Instant::now() + patience));
        self.set_verbatim(host.is_verbatim())?;
        let strings = |words: &[&[u8]]| -> mlua::Result<Table> {
            let table = self.lua.create_table_with_capacity(words.len(), 0)?;
            for word in words {
                table.raw_push(self.lua.create_string(word)?)?;
            }
            Ok(table)
        };
        let (keys, args) = (strings(keys)?, strings(args)?);
        if shared.purpose == Purpose::Scripts {
            self.globals.raw_set("KEYS", &keys)?;
            self.globals.raw_set("ARGV", &args)?;
        }
        let host = RefCell::new(host);
        let (is_good, result) = self.lua.scope(|scope| {
            let call = scope.create_function(|lua, words: Variadic<Word>| {
                self.call(lua, &host, &words)?.map_err(Error::from)
            })?;
            let pcall = scope.create_function(|lua, words: Variadic<Word>| {
                self.call(lua, &host, &words)?.or_else(|raised| api::value_of(lua, &raised))
            })?;
            let other = scope.create_function(|_, words: Variadic<Word>| api::other(&host, &words))?;
            self.server.raw_set("call", call)?;
            self.server.raw_set("pcall", pcall)?;
            self.cell.raw_set("host", &other)?;
            shared.host.replace(Some(other));
            self.run.call::<(bool, Value)>((function, keys, args))
        })?;
        // Scripts may have stopped the collector.
        self.lua.gc_restart();
        if is_good {
            let is_counted = api::is_counted(&result)?;
            to_reply::write(&self.next, result, shared.resp.get(), reply);
            return Ok(Ended { is_counted });
        }
        api::write_failure(&self.lua, &result, shared, reply)
    }

    /// Has the script find what scripts found in servers that logged them as they were sent, or not.
    fn set_verbatim(&self, is_verbatim: bool) -> mlua::Result<()> {
        let shared = &*self.shared;
        if is_verbatim {
            // There each run had the same random numbers, so that they were the same wherever it ran.
            shared.rand.borrow_mut().seed(0);
        }
        if shared.is_verbatim.replace(is_verbatim) == is_verbatim {
            return Ok(());
        }
        let print = match is_verbatim {
            true => Value::Function(self.lua.create_function(|_, _: Variadic<Value>| Ok(()))?),
            false => Value::Nil,
        };
        self.globals.raw_set("print", print)
    }

    /// `redis.call` and `redis.pcall`: the reply, or the error that it is.
    fn call(
        &self,
        lua: &Lua,
        host: &RefCell<&mut dyn Host>,
        words: &[Word],
    ) -> mlua::Result<Result<Value, Raised>> {
        let argv = match api::words_of(words, self.shared.is_verbatim.get()) {
            Ok(argv) => argv,
            Err(raised) => return Ok(Err(raised)),
        };
        let argv: SmallVec<[&[u8]; INLINE_WORDS]> = argv.iter().map(|word| &**word).collect();
        let mut reply = self.reply.take();
        reply.set_protocol(if self.shared.resp.get() == 3 { Protocol::Resp3 } else { Protocol::Resp2 });
        host.borrow_mut().call(&argv, self.shared.replicate.get(), &mut reply);
        let answer = match reply.bytes().split_first() {
            Some((b'-', text)) => {
                let end = memchr::memchr(b'\r', text).unwrap_or(text.len());
                Ok(Err(Raised::Table(api::with_code(&text[..end]), true)))
            }
            _ => from_reply::read(lua, reply.bytes()).map(Ok),
        };
        reply.clear(KEEP_REPLY_BYTES);
        self.reply.replace(reply);
        answer
    }

    /// What follows from a run.
    fn finish(&self) {
        self.shared.check_at.set(None);
        self.shared.end.set(End::No);
        self.shared.host.replace(None);
        self.runs.set(self.runs.get() + 1);
        if self.runs.get() >= RUNS_PER_STEP {
            self.runs.set(0);
            // Without finalizers of scripts there is nothing in it that fails.
            let _ = self.lua.gc_step();
        }
    }
}

/// Looks whether a script has run for long.
fn hook(shared: &Shared) -> mlua::Result<VmState> {
    if shared.end.get() != End::No {
        return Err(api::killed());
    }
    if shared.deadline.get().is_some_and(|at| Instant::now() >= at) {
        shared.end.set(End::LoadedTooLong);
        return Err(api::killed());
    }
    let is_due = shared.check_at.get().is_some_and(|at| Instant::now() >= at);
    let Some(host) = shared.host.borrow().clone().filter(|_| is_due) else { return Ok(VmState::Continue) };
    match host.call::<bool>(api::INTERRUPT) {
        Ok(false) => {
            shared.check_at.set(Some(Instant::now() + INTERRUPT_PAUSE));
            Ok(VmState::Continue)
        }
        Ok(true) => {
            shared.end.set(End::Killed);
            Err(api::killed())
        }
        Err(_) => {
            // So many calls of native functions are open that not one more is possible.
            shared.end.set(End::TooDeep);
            Err(api::killed())
        }
    }
}

/// Compiles text, with nothing collected meanwhile.
pub(super) fn compile(lua: &Lua, code: &[u8], name: &str, env: &Table) -> Result<Function, Vec<u8>> {
    if code.len() > MAX_CODE_BYTES {
        return Err(b"chunk is too long".to_vec());
    }
    lua.gc_stop();
    let chunk = lua.load(code).set_name(name).set_mode(ChunkMode::Text).set_environment(env.clone());
    let function = chunk.into_function();
    lua.gc_restart();
    function.map_err(|problem| match root(&problem) {
        Error::SyntaxError { message, .. } => message.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    })
}

/// What an error comes from.
pub(super) fn root(mut problem: &Error) -> &Error {
    while let Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } = problem {
        problem = cause;
    }
    problem
}
