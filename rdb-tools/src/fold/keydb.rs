//! RESTORE as KeyDB logs it: behind the value its payload has a field of KeyDB's own, the version of the key.
//!
//! Redis and Valkey do not look behind the value; the engine refuses bytes there. The field says nothing of the
//! data, so it is taken out, and the payload gets the checksum of what stays. What else may stand there (when members expire) is not
//! touched: that command stays one that cannot be repeated. Witness: KeyDB src/cluster.cpp
//! `createDumpPayload`, and the logs of KeyDB 6.3.4.

use std::convert::Infallible;

use cairn_engine::base::crc64::crc64;
use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, Target, ValueEvent, opcode};

use crate::erased;

/// A payload ends with its version and a checksum.
const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;
/// The field, as far as it is always the same.
const FIELD: &[u8] = &[opcode::AUX, 11, b'm', b'v', b'c', b'c', b'-', b't', b's', b't', b'a', b'm', b'p'];

/// The payload of a RESTORE without KeyDB's field; `None` for any other command.
pub(super) fn plain_payload(argv: &[&[u8]]) -> Option<Vec<u8>> {
    let [name, _, _, payload, ..] = argv else { return None };
    if !name.eq_ignore_ascii_case(b"restore") {
        return None;
    }
    let (summed, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let (body, version_bytes) = summed.split_last_chunk::<VERSION_BYTES>()?;
    let version = Target::Redis62.version();
    if u16::from_le_bytes(*version_bytes) != version.number {
        return None;
    }
    let at = memchr::memmem::rfind(body, FIELD)?;
    let is_number = match body[at + FIELD.len()..].split_first() {
        Some((len, digits)) => usize::from(*len) == digits.len() && digits.iter().all(u8::is_ascii_digit),
        None => false,
    };
    if !is_number || crc64(summed) != u64::from_le_bytes(*checksum) {
        return None;
    }
    // The bytes might be the end of the value itself: it must be whole without them.
    let (object, value) = body[..at].split_first()?;
    let used = erased::decode_value(version, *object, value, Depth::Skip, &mut Nobody).ok()?;
    if used != value.len() {
        return None;
    }
    let kept = [&body[..at], version_bytes].concat();
    let sum = crc64(&kept).to_le_bytes();
    Some([&kept[..], &sum].concat())
}

/// Wants no events.
struct Nobody;

impl Sink for Nobody {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FIELD, plain_payload};
    use cairn_engine::base::crc64::crc64;

    fn sealed(body: &[u8]) -> Vec<u8> {
        let summed = [body, &[9, 0]].concat();
        [&summed[..], &crc64(&summed).to_le_bytes()].concat()
    }

    fn plain(payload: &[u8]) -> Option<Vec<u8>> {
        plain_payload(&[b"Restore", b"k", b"0", payload, b"ABSTTL"])
    }

    #[test]
    fn the_field_behind_the_value_goes_and_nothing_else() {
        let string = b"\x00\x05hello";
        let with = |more: &[u8]| sealed(&[string, FIELD, more].concat());
        let payload = with(b"\x0212");
        assert_eq!(plain(&payload), Some(sealed(string)));
        assert_eq!(plain_payload(&[b"SET", b"k", b"0", &payload]), None);
        assert_eq!(plain_payload(&[b"RESTORE", b"k", b"0"]), None);
        // No field, one that is no number, one with more behind it, one that is the value's own end.
        for other in [sealed(string), with(b"\x02x2"), with(b"\x02123"), with(b"")] {
            assert_eq!(plain(&other), None, "{other:?}");
        }
        let inside = [b"\x00\x10", FIELD, b"\x0212"].concat();
        assert_eq!(plain(&sealed(&inside)), None);
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            assert_eq!(plain(&changed), None, "{at}");
            assert_eq!(plain(&payload[..at]), None, "{at}");
        }
    }
}
