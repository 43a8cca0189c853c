//! Arrays (Redis 8.8): indexes, tags, values. An element is given as the text that ARGET answers.

use super::value::{Room, Step};
use crate::base::num;
use crate::codec::rdb::array_tag as tag;
use crate::codec::rdb::error::{Halt, Kind};
use crate::codec::rdb::event::{Sink, ValueEvent};
use crate::codec::rdb::read::Cursor;

pub(super) fn begin<S: Sink>(
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<Step, Halt<S::Error>> {
    let declared = cur.len()?;
    let at = cur.offset();
    let insert_index = match cur.len()? {
        0 => None,
        1 => Some(cur.len()?),
        other => return Err(Halt::Bad(at, Kind::ArrayInsertFlag(other))),
    };
    cur.commit();
    if room.emit {
        let event = ValueEvent::BeginArray { declared, insert_index };
        sink.value(event).map_err(Halt::Sink)?;
    }
    Ok(Step::Array { left: declared })
}

pub(super) fn elements<S: Sink>(
    left: &mut u64,
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    while *left > 0 {
        let index = cur.len()?;
        let at = cur.offset();
        let scratch = &mut room.scratch.first;
        let value = match cur.len()? {
            tag::STRING | tag::SMALL_STRING if !room.look => {
                cur.skip_str()?;
                &[]
            }
            tag::STRING | tag::SMALL_STRING => cur.str()?.bytes(scratch)?,
            tag::INT => {
                let value = cur.i64_le()?;
                scratch.clear();
                num::push_i64(scratch, value);
                scratch.as_slice()
            }
            tag::DOUBLE => {
                let value = cur.f64_le()?;
                scratch.clear();
                push_double(scratch, value);
                scratch.as_slice()
            }
            other => return Err(Halt::Bad(at, Kind::ArrayTag(other))),
        };
        cur.commit();
        *left -= 1;
        if room.emit {
            sink.value(ValueEvent::ArrayElement { index, value }).map_err(Halt::Sink)?;
        }
    }
    Ok(())
}

/// As the server prints it: the shortest digits, with `.0` behind what would look like an integer.
fn push_double(out: &mut Vec<u8>, value: f64) {
    num::push_f64_shortest(out, value);
    if out.iter().all(|c| c.is_ascii_digit() || *c == b'-') {
        out.extend_from_slice(b".0");
    }
}
