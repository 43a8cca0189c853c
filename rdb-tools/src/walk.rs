//! Keys one by one, from any source, with as many threads as it can use.
//!
//! A [`Visit`] sees heads, values, libraries, and what KeyDB says about a key behind its value. What it makes of
//! them is handed to one taker in the order of the source. Commands inside a file (a forkless save of Valkey
//! 9.2) change keys that were there before, so who looks at keys one by one refuses such files.

use std::io;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, Trailer, ValueEvent, Version};

use crate::canon::{SubExpiry, library_name};
use crate::drive::Stop;
use crate::parallel::{self, Jobs, Start, Worker};
use crate::select::{Chosen, Halted, Selected, through};
use crate::source::Source;

/// Looks at one key after the other.
pub trait Visit {
    /// What it makes of some keys.
    type Item: Send;

    /// The version is known.
    fn start(&mut self, _version: Version) {}

    /// A key starts. Says how much of its value to send.
    ///
    /// # Errors
    /// What keeps it from going on.
    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth>;

    /// A step of the value.
    ///
    /// # Errors
    /// What keeps it from going on.
    fn value(&mut self, event: &ValueEvent<'_>) -> io::Result<()>;

    /// A member of the key whose value has been there expires.
    ///
    /// # Errors
    /// What keeps it from going on.
    fn member_expiry(&mut self, member: &[u8], at: UnixMs) -> io::Result<()>;

    /// Nothing more comes of the key.
    ///
    /// # Errors
    /// What keeps it from going on.
    fn end_key(&mut self) -> io::Result<()>;

    /// A function library.
    ///
    /// # Errors
    /// What keeps it from going on.
    fn library(&mut self, _at: u64, _name: &[u8], _code: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Data of a module that belong to no key: its type's id, and all after the opcode.
    ///
    /// # Errors
    /// What keeps it from going on.
    fn module_aux(&mut self, _at: u64, _id: u64, _payload: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// What it has made since the last call: `all` of it, or `None` while it is better to collect more.
    fn take(&mut self, all: bool) -> Option<Self::Item>;
}

/// Reads a source once, from front to back: `make` makes a visitor for each thread, `take` gets what they made
/// in the order of the source.
///
/// # Errors
/// [`Stop`]: what is wrong with the source, or what a visitor or the taker said.
pub fn read<V: Visit + Send>(
    source: &mut Source,
    chosen: &Chosen,
    jobs: Jobs,
    make: impl Fn() -> V,
    mut take: impl FnMut(V::Item) -> io::Result<()>,
) -> Result<(), Stop<io::Error>> {
    let reading = source.reading();
    if let Some(input) = source.rdb_input() {
        let progress = reading.progress(input);
        let worker = |outlet: parallel::Outlet<V::Item>| {
            let walker = Walker::new(make(), move |item| outlet.send(item).map_err(io::Error::from));
            Selected::new(chosen, walker)
        };
        let take = |item| take(item).map_err(Halted::Sink);
        return parallel::run(input, jobs, &progress, worker, take).result.map_err(through);
    }
    let mut walker = Walker::new(make(), &mut take);
    source.read(&mut Selected::new(chosen, &mut walker)).map_err(through)?;
    walker.finish().map_err(Stop::Sink)
}

/// What is said of a command inside a file.
#[must_use]
pub fn refused_update(at: u64) -> io::Error {
    let text = format!("offset {at}: a command is inside the file, which only a server can apply");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// A sink that shows keys to a visitor.
#[derive(Debug)]
pub struct Walker<V, E> {
    visit: V,
    emit: E,
    is_open: bool,
    sub: SubExpiry,
}

impl<V: Visit, E: FnMut(V::Item) -> io::Result<()>> Walker<V, E> {
    /// A walker that hands on to `emit`.
    pub fn new(visit: V, emit: E) -> Self {
        Self { visit, emit, is_open: false, sub: SubExpiry::default() }
    }

    /// The visitor back.
    pub fn into_visit(self) -> V {
        self.visit
    }

    fn close(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_open) {
            self.visit.end_key()?;
            self.hand_on(false)?;
        }
        Ok(())
    }

    fn hand_on(&mut self, all: bool) -> io::Result<()> {
        match self.visit.take(all) {
            Some(item) => (self.emit)(item),
            None => Ok(()),
        }
    }

    /// All has been read: closes the last key and hands on what is left.
    ///
    /// # Errors
    /// Those of visitor and taker.
    pub fn finish(&mut self) -> io::Result<()> {
        self.close()?;
        self.hand_on(true)
    }
}

impl<V: Visit, E: FnMut(V::Item) -> io::Result<()>> Sink for Walker<V, E> {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.visit.start(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> io::Result<()> {
        if !SubExpiry::is_one(key) {
            return Ok(());
        }
        match self.sub.aux(key, value) {
            Some((member, at)) if self.is_open => self.visit.member_expiry(&member, at),
            _ => Ok(()),
        }
    }

    fn function(&mut self, at: u64, code: &[u8]) -> io::Result<()> {
        self.close()?;
        self.visit.library(at, library_name(code), code)
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        self.close()?;
        self.visit.module_aux(at, id, payload)
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> io::Result<()> {
        Err(refused_update(at))
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.close()?;
        self.sub = SubExpiry::default();
        self.is_open = true;
        self.visit.key(head)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        self.visit.value(&event)
    }

    fn end(&mut self, _trailer: Trailer) -> io::Result<()> {
        self.close()
    }
}

impl<V: Visit, E: FnMut(V::Item) -> io::Result<()>> Worker for Walker<V, E> {
    fn begin(&mut self, start: &Start) -> io::Result<()> {
        if let Some(version) = start.version {
            self.visit.start(version);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Walker::finish(self)
    }
}
