//! Libraries of functions by their names, and the functions in them.
//!
//! A library is its source; what it registers when it is run are its functions. Names of functions are one
//! for all libraries, in any case of letters. A change is made whole or not at all. Behaviour: valkey
//! src/functions.c.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::base::words;

use super::flags::Flags;
use super::register::Registered;
use super::vm::{Program, Purpose, Versions, Vm};

/// A library that a client loads takes no longer.
pub const LOAD_PATIENCE: Duration = Duration::from_millis(500);

/// One that was loaded before, and comes from a file or a payload, takes no longer.
pub const RELOAD_PATIENCE: Duration = Duration::from_secs(10);

/// What a library takes besides its source, about.
const LIBRARY_BYTES: usize = 200;
/// What a function takes, about.
const FUNCTION_BYTES: usize = 150;

const BAD_LIBRARY_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be \
                                at least one character long";
const BAD_FUNCTION_NAME: &str = "Function names can only contain letters, numbers, or underscores(_) and must \
                                 be at least one character long";

/// A function of a library.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: Vec<u8>,
    /// What its library says about it.
    pub description: Option<Vec<u8>>,
    /// What it does, as its library says.
    pub flags: Flags,
    /// What is run.
    pub program: Program,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    /// Its source, first line and all.
    pub code: Arc<[u8]>,
    /// Its functions, in the order in which it registers them.
    pub functions: Vec<Function>,
}

/// What becomes of libraries that are there when others are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// They stay; another of the same name is refused.
    Append,
    /// They stay, unless there is another of the same name.
    Replace,
    /// They go.
    Flush,
}

impl Restore {
    /// What a word of FUNCTION RESTORE means.
    #[must_use]
    pub fn of_word(word: &[u8]) -> Option<Restore> {
        let known = [("append", Restore::Append), ("replace", Restore::Replace), ("flush", Restore::Flush)];
        known.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, policy)| *policy)
    }
}

/// All libraries, and their interpreter.
pub struct Functions {
    versions: Versions,
    vm: Option<Rc<Vm>>,
    libraries: BTreeMap<Vec<u8>, Library>,
    /// The library of each function and its place there, by its name in lower case.
    by_name: HashMap<Vec<u8>, (Vec<u8>, usize)>,
    code_bytes: usize,
    /// Lines that libraries wanted to be logged while they were loaded.
    lines: Vec<(u8, Vec<u8>)>,
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.libraries.keys().map(|name| name.escape_ascii().to_string())).finish()
    }
}

/// The same sources under the same names.
impl PartialEq for Functions {
    fn eq(&self, other: &Functions) -> bool {
        self.sources().eq(other.sources())
    }
}

impl Eq for Functions {}

impl Functions {
    /// None. The interpreter is made when it is needed.
    #[must_use]
    pub fn new(versions: Versions) -> Functions {
        Functions {
            versions,
            vm: None,
            libraries: BTreeMap::new(),
            by_name: HashMap::new(),
            code_bytes: 0,
            lines: Vec::new(),
        }
    }

    /// The interpreter.
    pub fn vm(&mut self) -> Rc<Vm> {
        let versions = self.versions;
        Rc::clone(self.vm.get_or_insert_with(|| Rc::new(Vm::new(versions, Purpose::Functions))))
    }

    /// A function by its name, in any case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Function> {
        let (library, at) = self.by_name.get(&name.to_ascii_lowercase())?;
        self.libraries.get(library)?.functions.get(*at)
    }

    /// All libraries, by their names.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = (&[u8], &Library)> {
        self.libraries.iter().map(|(name, library)| (name.as_slice(), library))
    }

    /// The sources of all libraries, by their names.
    pub fn sources(&self) -> impl Iterator<Item = &[u8]> {
        self.libraries.values().map(|library| &*library.code)
    }

    /// How many libraries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.libraries.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty()
    }

    /// How many functions there are.
    #[must_use]
    pub fn function_count(&self) -> usize {
        self.libraries.values().map(|library| library.functions.len()).sum()
    }

    /// Loads a library and answers its name. It may take the place of one that has the same name if it
    /// `replaces`.
    ///
    /// # Errors
    /// The text of the error reply, without its code.
    pub fn load(&mut self, code: &[u8], replaces: bool, patience: Duration) -> Result<Vec<u8>, Vec<u8>> {
        let head = read_head(code)?;
        if !is_name(&head.name) {
            return Err(BAD_LIBRARY_NAME.into());
        }
        if !head.engine.eq_ignore_ascii_case(b"lua") {
            return Err([b"Engine '", head.engine.as_slice(), b"' not found"].concat());
        }
        if !replaces && self.libraries.contains_key(&head.name) {
            return Err([b"Library '", head.name.as_slice(), b"' already exists"].concat());
        }
        let library = self.compile(code, head.len, patience)?;
        let taken = self.taken(&library, |owner| owner == head.name);
        if let Some(name) = taken {
            self.forget(&library);
            return Err([b"Function ", name.as_slice(), b" already exists"].concat());
        }
        self.unlink(&head.name);
        self.link(head.name.clone(), library);
        Ok(head.name)
    }

    /// Runs the code of a library for its functions.
    fn compile(&mut self, code: &[u8], head_len: usize, patience: Duration) -> Result<Library, Vec<u8>> {
        let brought = self.vm().load_library(&code[head_len..], patience)?;
        self.lines.extend(brought.lines);
        let registered = brought.functions;
        let mut library = Library { code: code.into(), functions: Vec::with_capacity(registered.len()) };
        let (mut names, mut wrong) = (HashSet::new(), None);
        for Registered { name, description, flags, program } in registered {
            if !is_name(&name) {
                wrong = wrong.or(Some(BAD_FUNCTION_NAME));
            } else if !names.insert(name.clone()) {
                wrong = wrong.or(Some("Function already exists in the library"));
            }
            library.functions.push(Function { name, description, flags, program });
        }
        if library.functions.is_empty() {
            wrong = Some("No functions registered");
        }
        match wrong {
            None => Ok(library),
            Some(text) => {
                self.forget(&library);
                Err(text.into())
            }
        }
    }

    /// The first function of a library whose name another library has that does not go.
    fn taken(&self, library: &Library, goes: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let is_taken = |function: &&Function| {
            let owner = self.by_name.get(&function.name.to_ascii_lowercase());
            owner.is_some_and(|(owner, _)| !goes(owner))
        };
        library.functions.iter().find(is_taken).map(|function| function.name.clone())
    }

    fn link(&mut self, name: Vec<u8>, library: Library) {
        for (at, function) in library.functions.iter().enumerate() {
            // Of two functions of a library whose names differ in case the first is found.
            let found = self.by_name.entry(function.name.to_ascii_lowercase());
            found.or_insert_with(|| (name.clone(), at));
        }
        self.code_bytes += library.code.len();
        self.libraries.insert(name, library);
    }

    /// Takes a library out. False if there is none of this name.
    fn unlink(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.libraries.remove(name) else { return false };
        for function in &library.functions {
            self.by_name.remove(&function.name.to_ascii_lowercase());
        }
        self.code_bytes -= library.code.len();
        self.forget(&library);
        true
    }

    /// Frees what a library has in the interpreter.
    fn forget(&self, library: &Library) {
        if let Some(vm) = &self.vm {
            library.functions.iter().for_each(|function| vm.forget(function.program));
        }
    }

    /// Deletes a library. False if there is none of this name.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        self.unlink(name)
    }

    /// Deletes all libraries, and all that they have left in the interpreter.
    pub fn flush(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        *self = Functions { lines, ..Functions::new(self.versions) };
    }

    /// Loads several libraries: all of them, or none.
    ///
    /// # Errors
    /// The text of the error reply, without its code.
    pub fn restore(&mut self, codes: &[Vec<u8>], policy: Restore) -> Result<(), Vec<u8>> {
        let mut others = Functions { vm: Some(self.vm()), ..Functions::new(self.versions) };
        let loaded = codes.iter().try_for_each(|code| others.load(code, false, RELOAD_PATIENCE).map(drop));
        self.lines.append(&mut others.lines);
        if let Err(why) = loaded.and_then(|()| self.may_join(&others, policy)) {
            others.libraries.values().for_each(|library| self.forget(library));
            return Err(why);
        }
        if policy == Restore::Flush {
            let names: Vec<Vec<u8>> = self.libraries.keys().cloned().collect();
            for name in names {
                self.unlink(&name);
            }
        }
        for name in others.libraries.keys() {
            self.unlink(name);
        }
        for (name, library) in others.libraries {
            self.link(name, library);
        }
        Ok(())
    }

    /// Whether others can come beside these.
    fn may_join(&self, others: &Functions, policy: Restore) -> Result<(), Vec<u8>> {
        if policy == Restore::Flush {
            return Ok(());
        }
        let goes = |name: &[u8]| others.libraries.contains_key(name);
        if policy == Restore::Append
            && let Some(name) = self.libraries.keys().find(|name| goes(name))
        {
            return Err([b"Library ", name.as_slice(), b" already exists"].concat());
        }
        match others.libraries.values().find_map(|library| self.taken(library, goes)) {
            Some(name) => Err([b"Function ", name.as_slice(), b" already exists"].concat()),
            None => Ok(()),
        }
    }

    /// Lines that libraries wanted to be logged while they were loaded, with their levels.
    pub fn take_lines(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(&mut self.lines)
    }

    /// Bytes of the libraries' sources and of what finds them, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.code_bytes + self.libraries.len() * LIBRARY_BYTES + self.by_name.len() * FUNCTION_BYTES
    }

    /// Bytes of the interpreter.
    #[must_use]
    pub fn vm_bytes(&self) -> usize {
        self.vm.as_ref().map_or(0, |vm| vm.used_bytes())
    }
}

/// Whether a library or a function may have this name.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// A library's first line, read.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    engine: Vec<u8>,
    name: Vec<u8>,
    /// Bytes of the line, without its end.
    len: usize,
}

/// Reads `#!engine name=name`.
///
/// # Errors
/// The text of the error reply, without its code.
fn read_head(code: &[u8]) -> Result<Head, Vec<u8>> {
    const PREFIX: &[u8] = b"name=";
    let invalid = || b"Invalid library metadata".to_vec();
    if !code.starts_with(b"#!") {
        return Err(b"Missing library metadata".to_vec());
    }
    let end = memchr::memchr2(b'\n', 0, code).filter(|at| code[*at] == b'\n');
    let len = end.ok_or_else(invalid)?;
    let parts = words::split(&code[..len]).ok_or_else(invalid)?;
    let (engine, rest) = parts.split_first().ok_or_else(invalid)?;
    let mut name = None;
    for part in rest {
        let is_name = part.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        if !is_name {
            return Err([b"Invalid metadata value given: ", part.as_slice()].concat());
        }
        if name.replace(part[PREFIX.len()..].to_vec()).is_some() {
            return Err(b"Invalid metadata value, name argument was given multiple times".to_vec());
        }
    }
    let name = name.ok_or_else(|| b"Library name was not given".to_vec())?;
    Ok(Head { engine: engine.get(2..).unwrap_or_default().to_vec(), name, len })
}

#[cfg(test)]
mod tests;
