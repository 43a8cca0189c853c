//! What a server does for EVAL, SCRIPT, FCALL, FUNCTION and their like, as far as conversations need it. What a script's
//! commands may do is checked where sessions are, in the server; here they are only run.

use std::rc::Rc;
use std::time::Duration;

use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{NOSCRIPT, WRITE};
use cairn_engine::script::{Flags, Host, LOAD_PATIENCE, Loaded, May, Origin, Program, Replicate, Sha, Vm};

use super::{Local, meant};

const NO_SCRIPT: &str = "NOSCRIPT No matching script.";

/// Answers a request if it is about scripts.
pub(super) fn answer(local: &mut Local, words: &[&[u8]], reply: &mut Reply) -> bool {
    let name = String::from_utf8_lossy(words[0]).to_ascii_lowercase();
    match (name.as_str(), words) {
        ("script", [_, sub, rest @ ..]) => about(local, &sub.to_ascii_lowercase(), rest, reply),
        ("eval" | "eval_ro" | "evalsha" | "evalsha_ro", [_, script, count, rest @ ..]) => {
            let count = String::from_utf8_lossy(count).parse().expect("a number of keys");
            let loaded = match name.starts_with("evalsha") {
                true => local.scripts.find(Sha::read(script).expect("a name")).ok_or(NO_SCRIPT.into()),
                false => local.scripts.load(script, Origin::Eval).map_err(|why| [b"ERR ", &*why].concat()),
            };
            match loaded {
                Ok(loaded) => run(local, loaded, rest.split_at(count), name.ends_with("_ro"), reply),
                Err(why) => reply.error_bytes(&why),
            }
        }
        ("function", [_, sub, rest @ ..]) => about_functions(local, &sub.to_ascii_lowercase(), rest, reply),
        ("fcall" | "fcall_ro", [_, function, count, rest @ ..]) => {
            let count = String::from_utf8_lossy(count).parse().expect("a number of keys");
            let Some(function) = local.engine.functions().find(function).cloned() else {
                reply.error("ERR Function not found");
                return true;
            };
            let vm = local.engine.functions_mut().vm();
            let callee = (vm, function.program, function.flags.has(Flags::NO_WRITES));
            if name.ends_with("_ro") && !callee.2 {
                reply.error("ERR Can not execute a script with write flag using *_ro command.");
            } else {
                run_program(local, callee, rest.split_at(count), reply);
            }
        }
        _ => return false,
    }
    true
}

fn about_functions(local: &mut Local, sub: &[u8], rest: &[&[u8]], reply: &mut Reply) {
    let functions = local.engine.functions_mut();
    let changed = match (sub, rest) {
        (b"load", [code]) => functions.load(code, false, LOAD_PATIENCE).map(Some),
        (b"load", [_, code]) => functions.load(code, true, LOAD_PATIENCE).map(Some),
        (b"delete", [name]) if functions.delete(name) => Ok(None),
        (b"delete", _) => Err(b"Library not found".to_vec()),
        (b"flush", _) => {
            functions.flush();
            Ok(None)
        }
        _ => panic!("FUNCTION of a conversation"),
    };
    match changed {
        Ok(Some(name)) => reply.bulk(&name),
        Ok(None) => reply.ok(),
        Err(why) => reply.error_bytes(&[b"ERR ", &*why].concat()),
    }
    local.reload();
}

fn about(local: &mut Local, sub: &[u8], rest: &[&[u8]], reply: &mut Reply) {
    match (sub, rest) {
        (b"load", [body]) => match local.scripts.load(body, Origin::Load) {
            Ok(loaded) => reply.bulk(loaded.sha.as_bytes()),
            Err(why) => reply.error_bytes(&[b"ERR ", &*why].concat()),
        },
        (b"exists", names) => {
            reply.array(names.len());
            for name in names {
                let found = Sha::read(name).and_then(|sha| local.scripts.find(sha));
                reply.int(i64::from(found.is_some()));
            }
        }
        (b"show", [name]) => {
            match Sha::read(name).and_then(|sha| local.scripts.body(sha)) {
                Some(body) => reply.bulk(body),
                None => reply.error(NO_SCRIPT),
            };
        }
        (b"flush", _) => {
            local.scripts.flush();
            reply.ok();
        }
        _ => panic!("SCRIPT of a conversation"),
    }
}

fn run(
    local: &mut Local,
    loaded: Loaded,
    (keys, args): (&[&[u8]], &[&[u8]]),
    only_reads: bool,
    reply: &mut Reply,
) {
    let callee = (local.scripts.vm(), loaded.program, only_reads || loaded.flags.has(Flags::NO_WRITES));
    run_program(local, callee, (keys, args), reply);
    local.scripts.used(loaded.sha);
}

fn run_program(
    local: &mut Local,
    (vm, program, is_read_only): (Rc<Vm>, Program, bool),
    (keys, args): (&[&[u8]], &[&[u8]]),
    reply: &mut Reply,
) {
    let db = local.db;
    local.is_in_script = true;
    vm.run(program, keys, args, &mut Caller { local, is_read_only }, reply);
    local.is_in_script = false;
    local.db = db;
}

/// Runs the commands of a script.
struct Caller<'a> {
    local: &'a mut Local,
    is_read_only: bool,
}

impl Host for Caller<'_> {
    fn call(&mut self, argv: &[&[u8]], _: Replicate, reply: &mut Reply) {
        let is = |name: &str| argv[0].eq_ignore_ascii_case(name.as_bytes());
        if is("ping") {
            return reply.simple("PONG");
        }
        if is("select") {
            return self.local.answer(argv, reply);
        }
        if self.may(argv) == May::Unknown {
            return reply.error("ERR Unknown command called from script");
        }
        let error = match meant(argv) {
            Err(_) => "ERR Wrong number of args calling command from script",
            Ok((command, _)) if command.spec.flags.has(NOSCRIPT) => {
                "ERR This Valkey command is not allowed from script"
            }
            Ok((command, _)) if self.is_read_only && command.spec.flags.has(WRITE) => {
                "ERR Write commands are not allowed from read-only scripts."
            }
            Ok(_) => return self.local.answer(argv, reply),
        };
        reply.error(error);
    }

    fn log(&mut self, _: u8, _: &[u8]) {}

    fn may(&mut self, argv: &[&[u8]]) -> May {
        let is_known = cairn_engine::command::all()
            .any(|command| command.spec.name.as_bytes().eq_ignore_ascii_case(argv[0]));
        if is_known { May::Yes } else { May::Unknown }
    }

    fn interrupt(&mut self) -> bool {
        true
    }

    fn patience(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }
}
