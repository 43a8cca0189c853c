//! The runs of a sparse HyperLogLog: walked with every bound checked, and split in place.
//!
//! Behaviour: valkey src/hyperloglog.c, `hllSparseSet`; which runs are joined afterwards is part of the
//! format, because replicas and tests compare bytes.

use std::ops::Range;

use super::{Corrupt, REGISTERS, Registers};

const ZERO_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
/// Runs that are looked at for joining after a change.
const JOIN_RUNS: usize = 5;

/// Registers of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Zeros, up to 64 of them, in a byte.
    Zeros(usize),
    /// Zeros, up to 16384 of them, in two bytes.
    ManyZeros(usize),
    /// A value from 1 to 32, up to four times, in a byte.
    Values {
        /// The value.
        value: u8,
        /// How often.
        times: usize,
    },
}

impl Run {
    fn registers(self) -> usize {
        match self {
            Run::Zeros(times) | Run::ManyZeros(times) | Run::Values { times, .. } => times,
        }
    }

    fn bytes(self) -> usize {
        if matches!(self, Run::ManyZeros(_)) { 2 } else { 1 }
    }

    /// The run at this place. The second byte of a run may be missing: it counts as zero then.
    fn at(payload: &[u8], at: usize) -> Option<Run> {
        let byte = *payload.get(at)?;
        let low = usize::from(byte & 0x3f);
        Some(match byte >> 6 {
            0 => Run::Zeros(low + 1),
            1 => Run::ManyZeros((low << 8 | usize::from(payload.get(at + 1).copied().unwrap_or(0))) + 1),
            _ => Run::Values { value: (byte >> 2 & 0x1f) + 1, times: usize::from(byte & 3) + 1 },
        })
    }

    fn push(self, out: &mut Vec<u8>) {
        match self {
            Run::Zeros(times) => out.push(times as u8 - 1),
            Run::ManyZeros(times) => {
                out.extend_from_slice(&[((times - 1) >> 8) as u8 | 0x40, (times - 1) as u8]);
            }
            Run::Values { value, times } => out.push(value_byte(value, times)),
        }
    }
}

fn value_byte(value: u8, times: usize) -> u8 {
    0x80 | (value - 1) << 2 | (times as u8 - 1)
}

/// Adds so many zeros, at most all registers.
pub(super) fn push_zeros(out: &mut Vec<u8>, times: usize) {
    let run = if times > ZERO_MAX { Run::ManyZeros(times) } else { Run::Zeros(times) };
    if times > 0 {
        run.push(out);
    }
}

/// The runs of a payload, whatever they add up to.
pub fn runs(payload: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = Run::at(payload, at)?;
        at += run.bytes();
        Some(run)
    })
}

/// Visits the registers that are not zero.
pub(super) fn for_each_value(payload: &[u8], mut visit: impl FnMut(Range<usize>, u8)) -> Result<(), Corrupt> {
    let mut index = 0;
    for run in runs(payload) {
        let end = index + run.registers();
        if end > REGISTERS {
            return Err(Corrupt);
        }
        if let Run::Values { value, .. } = run {
            visit(index..end, value);
        }
        index = end;
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// Raises registers to those of a payload.
pub(super) fn raise_registers(payload: &[u8], into: &mut Registers) -> Result<(), Corrupt> {
    for_each_value(payload, |registers, value| {
        into[registers].iter_mut().for_each(|register| *register = value.max(*register));
    })
}

/// What came of raising a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was high enough.
    No,
    /// It is higher now.
    Yes,
    /// That cannot be told sparsely; nothing has changed.
    DoesNotFit,
}

/// Raises a register of the sparse string whose runs begin at `start`.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    start: usize,
    index: usize,
    count: u8,
    max_bytes: usize,
) -> Result<Raised, Corrupt> {
    if count > VALUE_MAX {
        return Ok(Raised::DoesNotFit);
    }
    let (mut at, mut first, mut previous) = (start, 0, None);
    loop {
        // The kind of run is not taken apart on the way: this is where the time of PFADD goes.
        let byte = *bytes.get(at).ok_or(Corrupt)?;
        let (registers, len) = match byte >> 6 {
            0 => (usize::from(byte) + 1, 1),
            1 => (Run::at(bytes, at).map_or(0, Run::registers), 2),
            _ => (usize::from(byte & 3) + 1, 1),
        };
        if index < first + registers {
            break;
        }
        previous = Some(at);
        first += registers;
        at += len;
    }
    let run = Run::at(bytes, at).ok_or(Corrupt)?;
    if matches!(run, Run::Values { value, .. } if value >= count) {
        return Ok(Raised::No);
    }
    let end = at + run.bytes();
    if end > bytes.len() {
        return Err(Corrupt);
    }
    let mut split = Vec::with_capacity(5);
    let (before, after) = (index - first, first + run.registers() - 1 - index);
    let rest = |split: &mut Vec<u8>, times: usize| match run {
        Run::Values { value, .. } if times > 0 => split.push(value_byte(value, times)),
        Run::Values { .. } => {}
        Run::Zeros(_) | Run::ManyZeros(_) => push_zeros(split, times),
    };
    rest(&mut split, before);
    split.push(value_byte(count, 1));
    rest(&mut split, after);
    if split.len() > run.bytes() && bytes.len() + split.len() - run.bytes() > max_bytes {
        return Ok(Raised::DoesNotFit);
    }
    bytes.splice(at..end, split);
    join(bytes, previous.unwrap_or(start));
    Ok(Raised::Yes)
}

/// Joins neighbours of one value as far as a run may go, in the few runs from `at` on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_RUNS {
        let Some(run) = Run::at(bytes, at) else { break };
        if let (Run::Values { value, times }, Some(Run::Values { value: next, times: more })) =
            (run, Run::at(bytes, at + 1))
            && value == next
            && times + more <= VALUE_RUN_MAX
        {
            bytes[at] = value_byte(value, times + more);
            bytes.remove(at + 1);
            continue;
        }
        at += run.bytes();
    }
}
