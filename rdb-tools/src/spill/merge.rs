//! Merges sorted runs: neighbours first where there are more than are merged at a time.

use std::io;

use super::run::{BLOCK_BYTES, Extent, RunFile, RunReader};
use super::{Record, Spill, prefix_of};

/// Fewer runs than this are never merged at a time, whatever the budget.
const LEAST_FAN_IN: usize = 8;
/// More than this are not either: a heap of them would be out of the cache.
const MOST_FAN_IN: usize = 512;

/// Runs that are being merged, standing on the smallest record.
#[derive(Debug)]
pub(super) struct Merge {
    /// A heap, smallest first: first bytes of the key at hand, and the run.
    heap: Vec<(u64, usize)>,
    runs: Vec<RunReader>,
}

impl Merge {
    /// Merges until the rest can be merged at a time, and stands on the first record.
    pub(super) fn new(
        spill: &Spill,
        mut file: RunFile,
        mut runs: Vec<Extent>,
        memory: usize,
    ) -> io::Result<Self> {
        let fan_in = (memory / (2 * BLOCK_BYTES)).clamp(LEAST_FAN_IN, MOST_FAN_IN);
        while runs.len() > fan_in {
            let mut next_file = RunFile::create(spill)?;
            let mut next_runs = Vec::with_capacity(runs.len().div_ceil(fan_in));
            // Neighbours, so that equal keys stay in order.
            for group in runs.chunks(fan_in) {
                let mut merge = Self::of(&file, group)?;
                let mut run = next_file.start_run();
                while let Some(record) = merge.current() {
                    run.push(record)?;
                    merge.advance()?;
                }
                next_runs.push(run.end()?);
            }
            (file, runs) = (next_file, next_runs);
        }
        Self::of(&file, &runs)
    }

    fn of(file: &RunFile, extents: &[Extent]) -> io::Result<Self> {
        let runs = extents.iter().map(|extent| file.read(*extent)).collect::<io::Result<Vec<_>>>()?;
        let heads = runs.iter().enumerate();
        let heap = heads.filter_map(|(i, run)| Some((prefix_of(run.current()?.key), i))).collect();
        let mut merge = Self { heap, runs };
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(at);
        }
        Ok(merge)
    }

    pub(super) fn current(&self) -> Option<Record<'_>> {
        self.runs[self.heap.first()?.1].current()
    }

    pub(super) fn advance(&mut self) -> io::Result<()> {
        let Some(top) = self.heap.first_mut() else { return Ok(()) };
        let run = &mut self.runs[top.1];
        run.advance()?;
        match run.current() {
            Some(record) => top.0 = prefix_of(record.key),
            None => {
                self.heap.swap_remove(0);
            }
        }
        self.sift_down(0);
        Ok(())
    }

    fn is_less(&self, a: (u64, usize), b: (u64, usize)) -> bool {
        if a.0 != b.0 {
            return a.0 < b.0;
        }
        let key = |run: usize| self.runs[run].current().map(|record| record.key);
        (key(a.1), a.1) < (key(b.1), b.1)
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.is_less(self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}
