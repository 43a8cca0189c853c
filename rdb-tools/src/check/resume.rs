//! Checking on behind a fault of the frame, from the next place where records begin.

use std::sync::Arc;

use cairn_engine::codec::rdb::{Decoder, Error, Failure, Options, Place, State, Templates};
use memmap2::Mmap;

use super::distinct::Hasher;
use super::keys::Hashes;
use super::worker::{Checker, Halt};
use super::{Depths, Report};
use crate::parallel::{Start, Worker};
use crate::salvage::{Context, next_record};

/// Faults of the frame behind which a check goes on: a file of garbage could have any number.
const MOST_FAULTS: usize = 1000;
/// What the decoder gets at a time.
const WINDOW_BYTES: usize = 4 << 20;

/// What is known of the file that is being checked.
pub(super) struct Rest<'a> {
    pub(super) map: &'a Arc<Mmap>,
    /// Where offset 0 lies in the mapping.
    pub(super) origin: usize,
    pub(super) depths: Depths,
    pub(super) hasher: Hasher,
}

impl Rest<'_> {
    /// Checks what lies behind `error`, which is added to the report with all that comes after it. `templates` are those
    /// that were defined before. `keys` takes the hashes of keys.
    pub(super) fn check(
        &self,
        mut error: Error,
        mut templates: Arc<Templates>,
        report: &mut Report,
        mut keys: impl FnMut(&Hashes) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        for _ in 0..MOST_FAULTS {
            let next = report.version.and_then(|version| {
                let context = Context { version, db: error.db, templates: Arc::clone(&templates) };
                next_record(self.map, self.origin, &context, usize::try_from(error.at).ok()?)
            });
            report.add_error(&error, 0, None);
            let (Some(next), Some(version)) = (next, report.version) else { return Ok(()) };
            if let Some(finding) = report.findings.last_mut() {
                finding.what.push_str(&format!("; the check goes on at offset {next}"));
            }
            let map = Some(Arc::clone(self.map));
            let mut checker = Checker::new(self.depths, self.hasher, map, self.origin, None);
            let place = Place { version, offset: next as u64, db: error.db, templates };
            let result = self.read(&place, &mut checker);
            templates = Arc::clone(&checker.templates);
            keys(&checker.keys)?;
            // The end that was reached is not that of a file that could be read.
            checker.report.trailer = None;
            report.merge(std::mem::take(&mut checker.report));
            match result {
                Ok(()) | Err(Failure::Sink(Halt::Again | Halt::Closed)) => return Ok(()),
                Err(Failure::Sink(Halt::Spill(error))) => return Err(error),
                Err(Failure::Format(another)) => error = another,
            }
        }
        Ok(())
    }

    fn read(&self, place: &Place, checker: &mut Checker) -> Result<(), Failure<Halt>> {
        let start = Start {
            version: Some(place.version),
            offset: place.offset,
            db: place.db,
            templates: Arc::clone(&place.templates),
            ..Start::default()
        };
        checker.begin(&start).map_err(Failure::Sink)?;
        let mut decoder = Decoder::resume(Options::default(), place);
        let (mut at, mut window) = (self.origin + place.offset as usize, WINDOW_BYTES);
        let result = loop {
            let until = at.saturating_add(window).min(self.map.len());
            match decoder.advance(&self.map[at..until], until == self.map.len(), checker) {
                Err(failure) => break Err(failure),
                Ok(step) => {
                    crate::input::release(self.map, at..at + step.consumed);
                    at += step.consumed;
                    match step.state {
                        State::Done => break Ok(()),
                        State::More { at_least } => {
                            window = usize::try_from(at_least).unwrap_or(usize::MAX).max(WINDOW_BYTES);
                        }
                    }
                }
            }
        };
        checker.finish().map_err(Failure::Sink)?;
        result
    }
}
