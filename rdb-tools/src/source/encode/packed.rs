//! Packed encodings that servers read and no longer write: ziplists, zipmaps; and intsets, as a whole.

use cairn_engine::base::num;

/// What a ziplist starts with: its size, where its last entry is, how many there are.
const ZIPLIST_HEADER: usize = 10;
/// Lengths from here on take four bytes behind a mark.
const LONG: usize = 254;
const MARK: u8 = 254;
const END: u8 = 255;
/// A count that says to go and see.
const UNCOUNTED: u16 = u16::MAX;
const UNCOUNTED_FIELDS: usize = 254;

fn push_size(out: &mut Vec<u8>, len: usize) -> Result<(), String> {
    match u8::try_from(len) {
        Ok(byte) if len < LONG => out.push(byte),
        _ => {
            out.push(MARK);
            let len = u32::try_from(len).map_err(|_| too_long(len))?;
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    Ok(())
}

fn too_long(len: usize) -> String {
    format!("{len} bytes are too many for a packed encoding")
}

/// A ziplist of strings.
pub(super) fn ziplist(items: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut out = vec![0; ZIPLIST_HEADER];
    let mut last = ZIPLIST_HEADER;
    let mut previous = 0;
    for item in items {
        last = out.len();
        push_size(&mut out, previous)?;
        match item.len() {
            len @ 0..64 => out.push(len as u8),
            len @ 64..16384 => out.extend_from_slice(&(0x4000 | len as u16).to_be_bytes()),
            len => {
                out.push(0x80);
                let len = u32::try_from(len).map_err(|_| too_long(len))?;
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        out.extend_from_slice(item);
        previous = out.len() - last;
    }
    out.push(END);
    let size = u32::try_from(out.len()).map_err(|_| too_long(out.len()))?;
    out[..4].copy_from_slice(&size.to_le_bytes());
    // It is smaller than the size.
    out[4..8].copy_from_slice(&(last as u32).to_le_bytes());
    let count = u16::try_from(items.len()).unwrap_or(UNCOUNTED);
    out[8..10].copy_from_slice(&count.to_le_bytes());
    Ok(out)
}

/// A zipmap of fields and values in turn.
pub(super) fn zipmap(items: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut out = vec![(items.len() / 2).min(UNCOUNTED_FIELDS) as u8];
    for pair in items.chunks_exact(2) {
        push_size(&mut out, pair[0].len())?;
        out.extend_from_slice(&pair[0]);
        push_size(&mut out, pair[1].len())?;
        // No room is left behind the value.
        out.push(0);
        out.extend_from_slice(&pair[1]);
    }
    out.push(END);
    Ok(out)
}

/// An intset of the members, which may be in any order.
pub(super) fn intset(members: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut numbers = Vec::with_capacity(members.len());
    for member in members {
        let number = num::parse_i64(member);
        numbers.push(number.ok_or("a set of record type 11 holds integers only")?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let all_fit = |fits: fn(i64) -> bool| numbers.iter().all(|number| fits(*number));
    let width = if all_fit(|n| i16::try_from(n).is_ok()) {
        2
    } else if all_fit(|n| i32::try_from(n).is_ok()) {
        4
    } else {
        8
    };
    let mut out = vec![width, 0, 0, 0];
    let count = u32::try_from(numbers.len()).map_err(|_| too_long(numbers.len()))?;
    out.extend_from_slice(&count.to_le_bytes());
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes()[..usize::from(width)]);
    }
    Ok(out)
}
