//! Scripts' place in the server: what their commands may do, and what others get done meanwhile.
//!
//! A script runs inside the command that calls it. Its commands are checked and run here, in the caller's
//! place; what they change is logged when the script has ended, as one transaction. If it runs for long,
//! other clients are answered from inside of it: that the server is busy, or what may run anyhow. Nothing of
//! what they do touches the data. Behaviour: valkey src/script.c, src/module.c `moduleCallCommandHelper`.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::resp::Reply;
use cairn_engine::command::CommandError;
use cairn_engine::command::effects::Wants;
use cairn_engine::command::spec::{
    DENYOOM, Flags, Group, MAY_REPLICATE, NO_MULTI, NOSCRIPT, PROTECTED, STALE, WRITE,
};
use cairn_engine::engine::Engine;
use cairn_engine::script::{self, Host, Loaded, May, Program, Replicate, Scripts, Sha, Versions, Vm};

use crate::batch::{Aside, Batch};
use crate::command::table::Entry;
use crate::dispatch::{self, NOREPLICAS};
use crate::memory::OOM;
use crate::server::Server;
use crate::version::REDIS_VERSION;

/// The answer to almost everybody while a script is busy.
const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
/// The same while a function is.
const BUSY_FUNCTION: &str =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
/// There is no script of that name.
pub(crate) const NOSCRIPT_ERROR: CommandError = CommandError::text("NOSCRIPT No matching script.");

const UNKNOWN: &str = "ERR Unknown command called from script";
const WRONG_ARITY: &str = "ERR Wrong number of args calling command from script";
const NOT_ALLOWED: &str = "ERR This Valkey command is not allowed from script";
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";

/// A script or a function that runs.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    /// It is a script.
    is_eval: bool,
    /// The command that has called it, once others are answered.
    argv: Vec<Vec<u8>>,
    began: Instant,
    /// The time that it sees, however long it runs.
    now: UnixMs,
    since_epoch: Duration,
    is_read_only: bool,
    /// Its commands need not ask for memory.
    may_use_memory: bool,
    /// Memory was short when it began.
    is_out_of_memory: bool,
    /// A command of it may have changed something.
    has_written: bool,
    /// Others are answered meanwhile.
    is_busy: bool,
    /// It is to end.
    is_killed: bool,
    /// One of its commands runs.
    is_calling: bool,
}

impl Running {
    /// The name of the function, or the SHA-1 of the script.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The command that has called it; empty until others are answered.
    pub(crate) fn argv(&self) -> &[Vec<u8>] {
        &self.argv
    }

    /// How long it has run.
    pub(crate) fn duration_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The command by which a user ends it.
    fn kill_command(&self) -> &'static str {
        if self.is_eval { "SCRIPT KILL" } else { "FUNCTION KILL" }
    }
}

/// What the server keeps about scripts.
pub(crate) struct Scripting {
    /// Those that are known.
    pub(crate) scripts: Scripts,
    /// The one that runs.
    pub(crate) running: Option<Box<Running>>,
    /// Memory was short before the command that runs.
    pub(crate) was_out_of_memory: bool,
    /// The error that is the reply was counted when it happened.
    pub(crate) is_error_counted: bool,
    /// Scripts have logged something since that was last looked at.
    pub(crate) has_written: bool,
    /// Scripts may run commands about the server that are denied to them, for tests.
    pub(crate) allows_denied: bool,
    /// The buffers of the batch that runs a command apart.
    pub(crate) aside: Aside,
    /// The buffers for answering others.
    batch: Option<Box<Batch>>,
}

impl Scripting {
    /// No scripts.
    pub(crate) fn new() -> Scripting {
        Scripting {
            scripts: Scripts::new(Versions::ours(REDIS_VERSION)),
            running: None,
            was_out_of_memory: false,
            is_error_counted: false,
            has_written: false,
            allows_denied: false,
            aside: Aside::default(),
            batch: None,
        }
    }

    /// True while a script runs.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// True while a script runs and others are answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_busy)
    }

    /// True while a command of a script runs.
    pub(crate) fn is_calling(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_calling)
    }

    /// The time since 1970 that the script which runs sees.
    pub(crate) fn since_epoch(&self) -> Option<Duration> {
        self.running.as_ref().filter(|running| running.is_calling).map(|running| running.since_epoch)
    }

    /// The answer to almost everybody while a script or a function runs.
    pub(crate) fn busy_error(&self) -> Option<&'static str> {
        self.running.as_ref().map(|running| if running.is_eval { BUSY } else { BUSY_FUNCTION })
    }

    /// True while a script runs, not a function.
    pub(crate) fn runs_eval(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_eval)
    }

    /// SCRIPT KILL, or FUNCTION KILL, which end only what is theirs.
    ///
    /// # Errors
    /// Why it goes on.
    pub(crate) fn kill(&mut self, is_eval: bool) -> Result<(), CommandError> {
        const IDLE: CommandError = CommandError::text("NOTBUSY No scripts in execution right now.");
        const HAS_WRITTEN: CommandError = CommandError::text(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
             script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        );
        let running = self.running.as_mut().ok_or(IDLE)?;
        if running.has_written {
            return Err(HAS_WRITTEN);
        }
        if running.is_eval != is_eval {
            return Err(CommandError::text(if running.is_eval { BUSY } else { BUSY_FUNCTION }));
        }
        running.is_killed = true;
        Ok(())
    }
}

/// A script or a function that is to run.
pub(crate) struct Callee {
    /// Its interpreter.
    pub(crate) vm: Rc<Vm>,
    /// It, compiled.
    pub(crate) program: Program,
    /// What it says about itself.
    pub(crate) flags: script::Flags,
    /// Its name.
    pub(crate) name: String,
    /// The name of a script.
    pub(crate) sha: Option<Sha>,
}

impl Callee {
    /// A script that is known.
    pub(crate) fn script(scripts: &mut Scripts, script: Loaded) -> Callee {
        let Loaded { sha, program, flags } = script;
        Callee { vm: scripts.vm(), program, flags, name: format!("{sha:?}"), sha: Some(sha) }
    }
}

/// What is to run, and with what.
pub(crate) struct Request<'a> {
    /// The script or the function.
    pub(crate) callee: Callee,
    /// The command that calls it.
    pub(crate) argv: &'a [&'a [u8]],
    /// Its keys.
    pub(crate) keys: &'a [&'a [u8]],
    /// Its other arguments.
    pub(crate) args: &'a [&'a [u8]],
    /// It was called by a command that only reads.
    pub(crate) is_read_only: bool,
}

impl Server {
    /// How long a script may run before others are told that the server is busy; `None` is for ever.
    pub(crate) fn busy_after(&self) -> Option<Duration> {
        let ms = u64::try_from(self.config.busy_reply_threshold_ms).unwrap_or(0);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// Flags of a call of a script: those that the script has said, if it has.
    #[cold]
    pub(crate) fn script_call_flags(&self, entry: &Entry, argv: &[&[u8]]) -> Flags {
        let flags = entry.spec.flags;
        let scripts = &self.scripting.scripts;
        let Some(word) = argv.get(1) else { return flags };
        let said = if entry.spec.name.starts_with("fcall") {
            let functions = self.engine.as_ref().map(Engine::functions);
            functions.and_then(|functions| functions.find(word)).map(|function| function.flags)
        } else if entry.spec.name.starts_with("evalsha") {
            Sha::read(word).and_then(|sha| scripts.find(sha)).map(|script| script.flags)
        } else if word.starts_with(b"#!") {
            scripts.flags_of(word)
        } else {
            None
        };
        let Some(said) = said.filter(|said| !said.has(script::Flags::UNDECLARED)) else { return flags };
        let mut flags = flags.without(STALE.or(DENYOOM).or(WRITE).or(MAY_REPLICATE));
        if !said.has(script::Flags::NO_WRITES) {
            flags = flags.or(WRITE);
            if !said.has(script::Flags::ALLOW_OOM) {
                flags = flags.or(DENYOOM);
            }
        }
        if said.has(script::Flags::ALLOW_STALE) {
            flags = flags.or(STALE);
        }
        flags
    }

    /// Runs a script for a client.
    ///
    /// # Errors
    /// Why it may not run.
    pub(crate) fn run_script(
        &mut self,
        client: u32,
        request: Request<'_>,
        reply: &mut Reply,
    ) -> Result<(), CommandError> {
        let Request { callee, argv, keys, args, is_read_only } = request;
        let said = callee.flags;
        let is_declared = !said.has(script::Flags::UNDECLARED);
        let no_writes = said.has(script::Flags::NO_WRITES);
        if is_declared {
            self.check_declared(said, is_read_only)?;
        }
        let Some(db) = self.clients.get(client).map(|client| client.session.db) else { return Ok(()) };
        self.scripting.running = Some(Box::new(Running {
            name: callee.name,
            is_eval: callee.sha.is_some(),
            argv: Vec::new(),
            began: Instant::now(),
            now: self.now,
            since_epoch: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            is_read_only: is_read_only || (is_declared && no_writes),
            may_use_memory: is_declared && said.has(script::Flags::ALLOW_OOM),
            is_out_of_memory: self.scripting.was_out_of_memory,
            has_written: false,
            is_busy: false,
            is_killed: false,
            is_calling: false,
        }));
        let mut caller = ScriptCaller { server: self, client, argv };
        let ended = callee.vm.run(callee.program, keys, args, &mut caller, reply);
        let running = self.scripting.running.take();
        if let Some(running) = running {
            self.scripting.has_written |= running.has_written;
            if running.is_busy {
                self.read_clock();
            }
        }
        self.scripting.is_error_counted = ended.is_counted;
        if let Some(client) = self.clients.get_mut(client) {
            client.session.db = db;
        }
        self.caller = Some(client);
        if let Some(sha) = callee.sha {
            self.scripting.scripts.used(sha);
        }
        Ok(())
    }

    /// True for a command that scripts may run only while DEBUG SET-DISABLE-DENY-SCRIPTS is on: one about the
    /// server or a connection. Scripts in scripts, transactions and what ends something stay denied.
    fn is_allowed_to_tests(&self, number: u16, client: u32) -> bool {
        const STAY_DENIED: [&str; 4] = ["monitor", "quit", "reset", "shutdown"];
        let Entry { spec, full_name, runs_scripts, .. } = self.commands.entry(number);
        self.scripting.allows_denied
            && matches!(spec.group, Group::Server | Group::Connection)
            && !runs_scripts
            && !spec.flags.has(NO_MULTI)
            && !STAY_DENIED.contains(&full_name.as_str())
            && (!spec.flags.has(PROTECTED) || self.is_allowed(self.config.enable_debug_command, client))
    }

    /// Writes a line that a script or a library wants to be logged.
    pub(crate) fn log_for_script(&self, level: u8, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        match level {
            0 => self.log.debug(format_args!("{text}")),
            1 => self.log.verbose(format_args!("{text}")),
            2 => self.log.notice(format_args!("{text}")),
            _ => self.log.warning(format_args!("{text}")),
        }
    }

    /// What is asked of a script that has said what it does.
    fn check_declared(&self, said: script::Flags, is_read_only: bool) -> Result<(), CommandError> {
        const READS: CommandError =
            CommandError::text("ERR Can not execute a script with write flag using *_ro command.");
        const FULL: CommandError = CommandError::text(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        );
        if !said.has(script::Flags::NO_WRITES) {
            if let Some(error) = self.disk_error() {
                return Err(CommandError::Text(error.to_owned().into()));
            }
            if is_read_only {
                return Err(READS);
            }
            if self.lacks_replicas() {
                return Err(CommandError::text(NOREPLICAS));
            }
            if self.scripting.was_out_of_memory && !said.has(script::Flags::ALLOW_OOM) {
                return Err(FULL);
            }
        }
        Ok(())
    }

    /// True if writes need replicas: there are none.
    pub(crate) fn lacks_replicas(&self) -> bool {
        self.config.min_replicas_to_write > 0 && self.config.min_replicas_max_lag > 0
    }

    /// Answers others from inside of a script, or of a load. Who runs it waits.
    pub(crate) fn serve_while_busy(&mut self) {
        let mut batch = self.scripting.batch.take().unwrap_or_else(|| Box::new(Batch::new()));
        let mut aside = std::mem::take(&mut self.scripting.aside);
        let client = batch.take_over(self, &mut aside);
        let mut readable = Vec::new();
        // If the poller is broken, the turn that follows the script will tell.
        let _ = self.look_for_events(client, &mut readable);
        batch.serve(self, &readable);
        self.close_marked_but(client);
        self.scripting.aside = aside;
        self.scripting.batch = Some(batch);
    }
}

/// Runs a script's commands for the client that called it.
struct ScriptCaller<'a> {
    server: &'a mut Server,
    client: u32,
    /// The command that has called the script.
    argv: &'a [&'a [u8]],
}

impl ScriptCaller<'_> {
    fn running(&mut self) -> &mut Running {
        self.server.scripting.running.as_mut().expect("it is there while the script runs")
    }

    /// The command that is meant, or why it may not run and whose refusal that is.
    fn admit(&mut self, argv: &[&[u8]]) -> Result<u16, (Option<u16>, String)> {
        let server = &*self.server;
        let word = argv.first().copied().unwrap_or_default();
        let Some(mut number) = server.commands.find(word) else { return Err((None, UNKNOWN.to_owned())) };
        let entry = server.commands.entry(number);
        if !entry.subcommands.is_empty() && argv.len() > 1 {
            let sub = server.commands.subcommand(number, argv[1]);
            let name = entry.spec.name;
            number = sub.ok_or_else(|| (None, dispatch::unknown_subcommand_text(name, argv[1])))?;
        }
        let spec = server.commands.entry(number).spec;
        let refuse = |text: &str| Err((Some(number), text.to_owned()));
        if !spec.accepts(argv.len()) {
            return refuse(WRONG_ARITY);
        }
        if spec.flags.has(NOSCRIPT) && !server.is_allowed_to_tests(number, self.client) {
            return refuse(NOT_ALLOWED);
        }
        let running = server.scripting.running.as_ref().expect("it is there while the script runs");
        let is_first_write = !running.has_written;
        if spec.flags.has(DENYOOM) && is_first_write && !running.may_use_memory && running.is_out_of_memory {
            return refuse(OOM);
        }
        if running.is_read_only && (spec.flags.has(WRITE) || spec.flags.has(MAY_REPLICATE)) {
            return refuse(READ_ONLY);
        }
        if spec.flags.has(WRITE) && is_first_write {
            if server.lacks_replicas() {
                return refuse(NOREPLICAS);
            }
            if let Some(error) = server.disk_error() {
                return refuse(error);
            }
            self.running().has_written = true;
        }
        Ok(number)
    }
}

impl Host for ScriptCaller<'_> {
    fn call(&mut self, argv: &[&[u8]], replicate: Replicate, reply: &mut Reply) {
        let number = match self.admit(argv) {
            Ok(number) => number,
            Err((number, text)) => {
                reply.error(&text);
                if let Some(number) = number {
                    self.server.stats.by_command[usize::from(number)].rejected += 1;
                }
                self.server.stats.count_error(reply.bytes());
                return;
            }
        };
        self.running().is_calling = true;
        let wants = self.server.engine.as_ref().map(|engine| engine.effects().wants());
        let silences = !replicate.log && wants.is_some_and(|wants| wants.log);
        if let (true, Some(engine), Some(wants)) = (silences, &mut self.server.engine, wants) {
            engine.effects_mut().set_wants(Wants { log: false, ..wants });
        }
        dispatch::run_inside(self.server, self.client, number, argv, false, reply);
        if let (true, Some(engine), Some(wants)) = (silences, &mut self.server.engine, wants) {
            engine.effects_mut().set_wants(wants);
        }
        self.running().is_calling = false;
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.server.log_for_script(level, text);
    }

    fn may(&mut self, argv: &[&[u8]]) -> May {
        let commands = &self.server.commands;
        let Some(number) = commands.find(argv.first().copied().unwrap_or_default()) else {
            return May::Unknown;
        };
        let is_container = !commands.entry(number).subcommands.is_empty() && argv.len() > 1;
        if is_container && commands.subcommand(number, argv[1]).is_none() {
            return May::Unknown;
        }
        // There are no users but the default one, who may do everything.
        May::Yes
    }

    fn interrupt(&mut self) -> bool {
        let argv = self.argv;
        let running = self.running();
        if !running.is_busy {
            running.is_busy = true;
            running.argv = argv.iter().map(|word| word.to_vec()).collect();
            let (elapsed, kill, name) = (running.duration_ms(), running.kill_command(), running.name.clone());
            self.server.log.warning(format_args!(
                "Slow script detected: still in execution after {elapsed} milliseconds. You can try killing the script \
                 using the {kill} command. Script name is: {name}."
            ));
        }
        let now = self.running().now;
        self.server.serve_while_busy();
        if let Some(status) = self.server.shutdown_status() {
            // What the script has changed so far is not logged, and will not be.
            self.server.finish();
            std::process::exit(status);
        }
        self.server.now = now;
        self.server.caller = Some(self.client);
        let (is_killed, kill) = (self.running().is_killed, self.running().kill_command());
        if is_killed {
            self.server.log.notice(format_args!("Script killed by user with {kill}."));
        }
        is_killed
    }

    fn patience(&self) -> Option<Duration> {
        self.server.busy_after()
    }
}
