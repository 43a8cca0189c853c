//! Where lines go: to a writer, or from a thread of many to the one that writes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Jsonl, Options};
use crate::drive::Stop;
use crate::parallel::{self, Jobs, Outlet};
use crate::source::Source;

/// Takes text in large pieces.
pub trait Lines {
    /// Takes all of `text` and leaves an empty buffer.
    ///
    /// # Errors
    /// Whatever writing says.
    fn take(&mut self, text: &mut Vec<u8>) -> io::Result<()>;

    /// Nothing follows for now.
    ///
    /// # Errors
    /// Whatever writing says.
    fn flush(&mut self) -> io::Result<()>;
}

impl<W: Write> Lines for W {
    fn take(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        self.write_all(text)?;
        text.clear();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
}

/// Buffers that have been written and can be filled again.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// Hands text on to the thread that writes.
#[derive(Debug)]
pub struct Handover {
    outlet: Outlet<Vec<u8>>,
    pool: Pool,
}

impl Lines for Handover {
    fn take(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        let empty = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Ok(self.outlet.send(std::mem::replace(text, empty))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs workers that hand text on, and writes what they hand on in the order of the file. `make` makes the
/// sink of a worker, of where its text goes.
///
/// # Errors
/// What ended the reading, or the writing, early. All text of what comes before has been written.
pub fn write_in_parallel<S>(
    source: &mut Source,
    jobs: Jobs,
    out: &mut (impl Write + Send),
    make: impl Fn(Handover) -> S,
) -> Result<(), Stop<S::Error>>
where
    S: parallel::Worker + Send,
    S::Error: From<io::Error> + Send,
{
    let pool = Pool::default();
    let outcome = parallel::run_source(
        source,
        jobs,
        |outlet| make(Handover { outlet, pool: Arc::clone(&pool) }),
        |mut text| {
            out.write_all(&text)?;
            text.clear();
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            Ok(())
        },
    );
    let flushed = out.flush().map_err(|error| Stop::Sink(error.into()));
    outcome.result.and(flushed)
}

/// Writes what a source has as JSON lines, on as many threads as `jobs` says: one if
/// the lines are to be sorted.
///
/// # Errors
/// What ended the reading, or the writing, early. Every key before that has its line.
pub fn in_parallel(
    source: &mut Source,
    options: Options,
    jobs: Jobs,
    out: &mut (impl Write + Send),
) -> Result<(), Stop<io::Error>> {
    let jobs = if options.sorted { Jobs::ONE } else { jobs };
    write_in_parallel(source, jobs, out, |lines| Jsonl::new(lines, options))
}
