//! Module values: tagged with their kinds, so they can be carried and shown without the module.

use super::value::Room;
use crate::codec::rdb::error::{Halt, Kind, Stop};
use crate::codec::rdb::event::{Sink, ValueEvent};
use crate::codec::rdb::module_opcode as op;
use crate::codec::rdb::read::{Cursor, Str};

/// One tagged value.
enum Tagged<'a> {
    End,
    Signed(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    String(Str<'a>),
}

fn tagged<'a>(cur: &mut Cursor<'a>) -> Result<Tagged<'a>, Stop> {
    let at = cur.offset();
    Ok(match cur.len()? {
        op::EOF => Tagged::End,
        op::SIGNED => Tagged::Signed(cur.len()?.cast_signed()),
        op::UNSIGNED => Tagged::Unsigned(cur.len()?),
        op::FLOAT => Tagged::Float(f32::from_bits(cur.u32_le()?)),
        op::DOUBLE => Tagged::Double(cur.f64_le()?),
        op::STRING => Tagged::String(cur.str()?),
        other => return Err(Stop::Bad(at, Kind::ModuleOpcode(other))),
    })
}

/// How far a run of tagged values, of which all must be there at once, has been looked through.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes from the start of the unit; what lies before is whole and need not be read again.
    pub(super) done: usize,
    /// Whether `done` stands among values.
    pub(super) is_inside: bool,
}

impl Scan {
    /// Steps over values up to and with the closing opcode.
    pub(super) fn values(&mut self, cur: &mut Cursor<'_>, unit: usize) -> Result<(), Stop> {
        while !matches!(tagged(cur)?, Tagged::End) {
            self.done = cur.pos - unit;
        }
        Ok(())
    }
}

pub(super) fn begin<S: Sink>(
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    let id = cur.len()?;
    cur.commit();
    if room.emit {
        sink.value(ValueEvent::BeginModule { id }).map_err(Halt::Sink)?;
    }
    Ok(())
}

pub(super) fn values<S: Sink>(
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    loop {
        let event = match tagged(cur)? {
            Tagged::End => {
                cur.commit();
                return Ok(());
            }
            Tagged::Signed(value) => ValueEvent::ModuleSigned(value),
            Tagged::Unsigned(value) => ValueEvent::ModuleUnsigned(value),
            Tagged::Float(value) => ValueEvent::ModuleFloat(value),
            Tagged::Double(value) => ValueEvent::ModuleDouble(value),
            Tagged::String(_) if !room.look => {
                cur.commit();
                continue;
            }
            Tagged::String(stored) => ValueEvent::ModuleString(stored.bytes(&mut room.scratch.first)?),
        };
        cur.commit();
        if room.emit {
            sink.value(event).map_err(Halt::Sink)?;
        }
    }
}
