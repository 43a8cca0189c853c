//! Cluster slots: CRC-16/XMODEM of the key, or of its hash tag, modulo 16384.
//!
//! The rule is in the Redis cluster specification, "Key distribution model" and "Hash tags".

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

const POLYNOMIAL: u16 = 0x1021;

/// Bytes that are taken at once.
const STRIDE: usize = 8;

/// `TABLES[n]` is what a byte comes to with `n` bytes of zero behind it.
const TABLES: [[u16; 256]; STRIDE] = {
    let mut tables = [[0u16; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < STRIDE * 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
            if bit % 8 == 0 {
                tables[bit / 8 - 1][byte] = crc;
            }
        }
        byte += 1;
    }
    tables
};

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected.
///
/// Byte by byte each look into a table would wait for the one before it; here eight of them go at once.
#[must_use]
pub fn crc16(b: &[u8]) -> u16 {
    let (strides, rest) = b.as_chunks::<STRIDE>();
    let crc = strides.iter().fold(0u16, |crc, bytes| {
        let [high, low] = crc.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = *bytes;
        [a ^ high, b ^ low, c, d, e, f, g, h]
            .into_iter()
            .zip(TABLES.iter().rev())
            .fold(0, |crc, (byte, table)| crc ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &byte| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
}

/// The part of `key` that is hashed: what stands between the first `{` and the next `}` when that
/// is not empty, else the whole key.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let inside = &key[open + 1..];
    match memchr::memchr(b'}', inside) {
        Some(close) if close > 0 => &inside[..close],
        _ => key,
    }
}

/// The slot of `key`, below [`SLOTS`].
#[must_use]
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::{crc16, hash_tag, key_slot};

    /// Bit by bit, from the definition.
    fn naive(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                if crc & 0x8000 != 0 { (crc << 1) ^ super::POLYNOMIAL } else { crc << 1 }
            })
        })
    }

    #[test]
    fn crc16_is_the_definition_at_every_length() {
        let bytes: Vec<u8> = (0..300u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..len]), naive(&bytes[..len]), "{len}");
            assert_eq!(crc16(&bytes[len..]), naive(&bytes[len..]), "{len}");
        }
    }

    #[test]
    fn crc16_gives_the_check_value_of_xmodem() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn slots_are_those_of_cluster_keyslot() {
        // Answers of CLUSTER KEYSLOT on redis-server 7.0.15.
        for (key, slot) in [
            (&b"foo"[..], 12182),
            (b"bar", 5061),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"", 0),
        ] {
            assert_eq!(key_slot(key), slot, "{key:?}");
        }
    }

    #[test]
    fn a_hash_tag_is_the_first_non_empty_pair_or_nothing() {
        assert_eq!(hash_tag(b"a{b}c{d}"), b"b");
        assert_eq!(hash_tag(b"a{}c{d}"), b"a{}c{d}");
        assert_eq!(hash_tag(b"a{bc"), b"a{bc");
        assert_eq!(hash_tag(b"}a{b}"), b"b");
        assert_eq!(hash_tag(b"{{b}"), b"{b");
    }
}
