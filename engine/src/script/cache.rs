//! Scripts by their SHA-1: those that were loaded stay, those that EVAL brought along make way for newer
//! ones. Behaviour: valkey src/eval.c.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::api::sha1_hex;
use super::flags::{Flags, read_head};
use super::vm::{Program, Purpose, Versions, Vm};

/// Scripts of EVAL that are kept.
const MAX_OF_EVAL: usize = 500;

/// How long a script may run at first before it is told of.
const SLOW: Duration = Duration::from_secs(5);

/// What a script takes besides its text, about: its entry, its name twice, its place in the order.
const ENTRY_BYTES: usize = 180;

/// A script's SHA-1, as lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha([u8; 40]);

impl Sha {
    /// That of a script.
    #[must_use]
    pub fn of(body: &[u8]) -> Sha {
        let mut sha = [0; 40];
        sha.copy_from_slice(sha1_hex(body).as_bytes());
        Sha(sha)
    }

    /// What a client has sent as one, in any case; `None` if it has not 40 digits.
    #[must_use]
    pub fn read(word: &[u8]) -> Option<Sha> {
        let mut sha: [u8; 40] = word.try_into().ok()?;
        sha.make_ascii_lowercase();
        Some(Sha(sha))
    }

    /// Its digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// How a script came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// With EVAL.
    Eval,
    /// With SCRIPT LOAD.
    Load,
}

/// A script that can be run.
#[derive(Debug, Clone, Copy)]
pub struct Loaded {
    /// Its name.
    pub sha: Sha,
    /// It, compiled.
    pub program: Program,
    /// What it says about itself.
    pub flags: Flags,
}

#[derive(Debug)]
struct Script {
    body: Vec<u8>,
    program: Program,
    flags: Flags,
    /// When it was used last, if it may go.
    used: Option<u64>,
}

/// All scripts, and their interpreter.
#[derive(Debug)]
pub struct Scripts {
    versions: Versions,
    vm: Option<Rc<Vm>>,
    scripts: HashMap<Sha, Script>,
    /// Those that may go, the one that goes first first.
    by_use: BTreeMap<u64, Sha>,
    uses: u64,
    evicted: u64,
    body_bytes: usize,
    /// How long one may run while a log is loaded before the text log is told; `None` is for ever.
    slow_after: Option<Duration>,
}

impl Scripts {
    /// None. The interpreter is made when it is needed.
    #[must_use]
    pub fn new(versions: Versions) -> Scripts {
        Scripts {
            versions,
            vm: None,
            scripts: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            evicted: 0,
            body_bytes: 0,
            slow_after: Some(SLOW),
        }
    }

    /// How long one may run while a log is loaded before the text log is told; `None` is for ever.
    #[must_use]
    pub fn slow_after(&self) -> Option<Duration> {
        self.slow_after
    }

    /// Changes [`Scripts::slow_after`], which is five seconds at first.
    pub fn set_slow_after(&mut self, time: Option<Duration>) {
        self.slow_after = time;
    }

    /// The interpreter.
    pub fn vm(&mut self) -> Rc<Vm> {
        let versions = self.versions;
        Rc::clone(self.vm.get_or_insert_with(|| Rc::new(Vm::new(versions, Purpose::Scripts))))
    }

    /// A script by its name.
    #[must_use]
    pub fn find(&self, sha: Sha) -> Option<Loaded> {
        self.scripts.get(&sha).map(|script| Loaded { sha, program: script.program, flags: script.flags })
    }

    /// What a script says about itself, without compiling it; `None` if it says something wrong.
    #[must_use]
    pub fn flags_of(&self, body: &[u8]) -> Option<Flags> {
        read_head(body).ok().map(|head| head.flags)
    }

    /// A script's text.
    #[must_use]
    pub fn body(&self, sha: Sha) -> Option<&[u8]> {
        self.scripts.get(&sha).map(|script| script.body.as_slice())
    }

    /// Compiles a script, if it is not there.
    ///
    /// # Errors
    /// The text of the error reply, without its code.
    pub fn load(&mut self, body: &[u8], origin: Origin) -> Result<Loaded, Vec<u8>> {
        let sha = Sha::of(body);
        if let Some(script) = self.scripts.get_mut(&sha) {
            if let Some(used) = script.used.take_if(|_| origin == Origin::Load) {
                self.by_use.remove(&used);
            }
            return Ok(Loaded { sha, program: script.program, flags: script.flags });
        }
        let head = read_head(body)?;
        if !head.engine.eq_ignore_ascii_case(b"lua") {
            return Err([b"Could not find scripting engine '", head.engine.as_slice(), b"'"].concat());
        }
        let compiled = self.vm().compile(&body[head.len..]);
        let program =
            compiled.map_err(|why| [b"Error compiling script (new function): ", why.as_slice()].concat())?;
        let used = (origin == Origin::Eval).then(|| self.next_use(sha));
        self.body_bytes += body.len();
        self.scripts.insert(sha, Script { body: body.to_vec(), program, flags: head.flags, used });
        Ok(Loaded { sha, program, flags: head.flags })
    }

    /// Notes a use of a script, for which another makes way if there are too many.
    fn next_use(&mut self, sha: Sha) -> u64 {
        while self.by_use.len() >= MAX_OF_EVAL
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            if let Some(script) = self.scripts.remove(&oldest) {
                self.body_bytes -= script.body.len();
                self.vm().forget(script.program);
            }
            self.evicted += 1;
        }
        self.uses += 1;
        self.by_use.insert(self.uses, sha);
        self.uses
    }

    /// A script has run: it goes later than all others.
    pub fn used(&mut self, sha: Sha) {
        let Some(before) = self.scripts.get(&sha).and_then(|script| script.used) else { return };
        self.by_use.remove(&before);
        let used = self.next_use(sha);
        if let Some(script) = self.scripts.get_mut(&sha) {
            script.used = Some(used);
        }
    }

    /// Forgets every script, and all that they have left in the interpreter.
    pub fn flush(&mut self) {
        let (evicted, slow_after) = (self.evicted, self.slow_after);
        *self = Scripts { evicted, slow_after, ..Scripts::new(self.versions) };
    }

    /// All of them; none are left.
    #[must_use]
    pub fn take(&mut self) -> Scripts {
        let none = Scripts::new(self.versions);
        std::mem::replace(self, none)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }

    /// How many have made way for others.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The count of those that have made way begins anew.
    pub fn reset_evicted(&mut self) {
        self.evicted = 0;
    }

    /// Bytes of the scripts' texts and of what finds them, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.body_bytes + self.scripts.len() * ENTRY_BYTES
    }

    /// Bytes of the interpreter.
    #[must_use]
    pub fn vm_bytes(&self) -> usize {
        self.vm.as_ref().map_or(0, |vm| vm.used_bytes())
    }
}
