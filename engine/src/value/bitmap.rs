//! Bits of byte strings: counting, finding, combining, and integers of any width between them.
//!
//! Bit 0 is the top bit of byte 0. Everything here works on plain bytes, word by word where there are
//! many, and knows no strings, keys or limits. Behaviour: valkey src/bitops.c.

use std::ops::RangeInclusive;

/// Words side by side in each step of the counter: as many as the vector units of any machine take.
const LANES: usize = 4;
/// Steps of one round of the counter.
const STEPS: usize = 16;
const ROUND_BYTES: usize = LANES * STEPS * size_of::<u64>();

#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"))
}

/// Adds three bits of weight one in each place: what is left, and what is carried.
#[inline(always)]
fn add(a: u64, b: u64, c: u64) -> (u64, u64) {
    let half = a ^ b;
    (half ^ c, (a & b) | (half & c))
}

fn ones(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// How many bits are set.
///
/// Sixteen words are summed bit by bit before any bit is counted (Harley and Seal), four of these sums
/// side by side: no population count of the machine is needed. 37 GB/s where counting words takes 8.
#[must_use]
pub fn count(bytes: &[u8]) -> u64 {
    let [mut one, mut two, mut four, mut eight] = [[0; LANES]; 4];
    let mut total = 0;
    let mut rounds = bytes.chunks_exact(ROUND_BYTES);
    for round in &mut rounds {
        let mut sixteen = [0; LANES];
        for lane in 0..LANES {
            // Written out, because only so the compiler works on all lanes at once: a loop over the two
            // halves is four times slower.
            let at = |step: usize| word(&round[(step * LANES + lane) * 8..(step * LANES + lane) * 8 + 8]);
            let (a, two_a) = add(one[lane], at(0), at(1));
            let (a, two_b) = add(a, at(2), at(3));
            let (b, four_a) = add(two[lane], two_a, two_b);
            let (a, two_a) = add(a, at(4), at(5));
            let (a, two_b) = add(a, at(6), at(7));
            let (b, four_b) = add(b, two_a, two_b);
            let (c, eight_a) = add(four[lane], four_a, four_b);
            let (a, two_a) = add(a, at(8), at(9));
            let (a, two_b) = add(a, at(10), at(11));
            let (b, four_a) = add(b, two_a, two_b);
            let (a, two_a) = add(a, at(12), at(13));
            let (a, two_b) = add(a, at(14), at(15));
            let (b, four_b) = add(b, two_a, two_b);
            let (c, eight_b) = add(c, four_a, four_b);
            (one[lane], two[lane], four[lane]) = (a, b, c);
            (eight[lane], sixteen[lane]) = add(eight[lane], eight_a, eight_b);
        }
        total += 16 * ones(&sixteen);
    }
    total += 8 * ones(&eight) + 4 * ones(&four) + 2 * ones(&two) + ones(&one);
    let mut words = rounds.remainder().chunks_exact(8);
    total += (&mut words).map(|chunk| u64::from(word(chunk).count_ones())).sum::<u64>();
    total + words.remainder().iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The bytes that hold these bits, and for the first and the last of them the bits outside the range.
fn edges(bits: &RangeInclusive<u64>) -> (usize, usize, u8, u8) {
    let (start, end) = (*bits.start(), *bits.end());
    let before = !(0xff_u8 >> (start % 8));
    let after = 0xff_u8.checked_shr((end % 8) as u32 + 1).unwrap_or(0);
    ((start / 8) as usize, (end / 8) as usize, before, after)
}

/// How many of these bits are set. The range is not empty and inside of the bytes.
#[must_use]
pub fn count_within(bytes: &[u8], bits: RangeInclusive<u64>) -> u64 {
    let (first, last, before, after) = edges(&bits);
    let outside = (bytes[first] & before).count_ones() + (bytes[last] & after).count_ones();
    count(&bytes[first..=last]) - u64::from(outside)
}

/// The first of these bits that is as wanted. The range is not empty and inside of the bytes.
#[must_use]
pub fn first(bytes: &[u8], wanted: bool, bits: RangeInclusive<u64>) -> Option<u64> {
    let (first, last, before, after) = edges(&bits);
    // What is looked for becomes a one, everywhere.
    let flip = if wanted { 0 } else { 0xff };
    let found = |at: usize, byte: u8| (byte != 0).then(|| at as u64 * 8 + u64::from(byte.leading_zeros()));
    let mut head = (bytes[first] ^ flip) & !before;
    if first == last {
        head &= !after;
    }
    if head != 0 || first == last {
        return found(first, head);
    }
    let middle = &bytes[first + 1..last];
    let dull = if wanted { 0 } else { u64::MAX };
    let skipped = middle.chunks_exact(8).take_while(|chunk| word(chunk) == dull).count() * 8;
    let hit = middle[skipped..].iter().position(|byte| byte ^ flip != 0);
    if let Some(hit) = hit {
        let at = skipped + hit;
        return found(first + 1 + at, middle[at] ^ flip);
    }
    found(last, (bytes[last] ^ flip) & !after)
}

/// How BITOP combines strings, bit by bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Set in all.
    And,
    /// Set in any.
    Or,
    /// Set in an odd number.
    Xor,
    /// Not set in the only one.
    Not,
    /// Set in the first and in no other.
    Diff,
    /// Set in any other and not in the first.
    Diff1,
    /// Set in the first and in any other.
    AndOr,
    /// Set in exactly one.
    One,
}

/// Bytes that are combined before the next are looked at: they and a source's stay in the cache.
const BLOCK: usize = 8 * 1024;

/// Combines strings; the shorter ones count as if zero bytes followed. The result is as long as the
/// longest. O(bytes of all).
#[must_use]
pub fn combine(how: Combine, sources: &[&[u8]]) -> Vec<u8> {
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut out = vec![0; len];
    let mut twice = [0; BLOCK];
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let (start, end) = (block * BLOCK, block * BLOCK + out.len());
        let part = |i: usize| {
            let source: &[u8] = sources.get(i).copied().unwrap_or_default();
            &source[start.min(source.len())..end.min(source.len())]
        };
        combine_block(how, sources.len(), part, out, &mut twice);
    }
    out
}

fn combine_block<'a>(
    how: Combine,
    sources: usize,
    part: impl Fn(usize) -> &'a [u8],
    out: &mut [u8],
    twice: &mut [u8; BLOCK],
) {
    let set = |out: &mut [u8], bytes: &[u8]| out[..bytes.len()].copy_from_slice(bytes);
    match how {
        Combine::And => {
            set(out, part(0));
            for i in 1..sources {
                and(out, part(i));
            }
        }
        Combine::Or => (0..sources).for_each(|i| or(out, part(i))),
        Combine::Xor => (0..sources).for_each(|i| xor(out, part(i))),
        Combine::Not => {
            set(out, part(0));
            out.iter_mut().for_each(|byte| *byte = !*byte);
        }
        Combine::Diff | Combine::Diff1 | Combine::AndOr => {
            (1..sources).for_each(|i| or(out, part(i)));
            let first = part(0);
            match how {
                Combine::AndOr => and(out, first),
                Combine::Diff1 => out.iter_mut().zip(first).for_each(|(out, x)| *out &= !x),
                _ => {
                    out.iter_mut().zip(first).for_each(|(out, x)| *out = x & !*out);
                    out[first.len()..].fill(0);
                }
            }
        }
        Combine::One => {
            let twice = &mut twice[..out.len()];
            twice.fill(0);
            for i in 0..sources {
                for ((out, twice), x) in out.iter_mut().zip(twice.iter_mut()).zip(part(i)) {
                    *twice |= *out & x;
                    *out |= x;
                }
            }
            out.iter_mut().zip(twice).for_each(|(out, twice)| *out &= !*twice);
        }
    }
}

fn and(out: &mut [u8], with: &[u8]) {
    out.iter_mut().zip(with).for_each(|(out, x)| *out &= x);
    out[with.len()..].fill(0);
}

fn or(out: &mut [u8], with: &[u8]) {
    out.iter_mut().zip(with).for_each(|(out, x)| *out |= x);
}

fn xor(out: &mut [u8], with: &[u8]) {
    out.iter_mut().zip(with).for_each(|(out, x)| *out ^= x);
}

/// The bit at this place; clear beyond the end.
#[must_use]
pub fn bit(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte & (0x80 >> (offset % 8)) != 0)
}

/// Sets or clears a bit that is inside of the bytes; answers what it was.
pub fn set_bit(bytes: &mut [u8], offset: u64, on: bool) -> bool {
    let byte = &mut bytes[(offset / 8) as usize];
    let mask = 0x80 >> (offset % 8);
    let was = *byte & mask != 0;
    if on {
        *byte |= mask;
    } else {
        *byte &= !mask;
    }
    was
}

/// Bytes that a field of 64 bits may touch.
const FIELD_BYTES: usize = 9;

/// The bytes around a field as one number, and how far up the field stands in it.
fn around(bytes: &[u8], offset: u64, bits: u32) -> (usize, u128, u32) {
    let first = usize::try_from(offset / 8).unwrap_or(usize::MAX);
    let mut number = 0;
    for i in 0..FIELD_BYTES {
        let byte = first.checked_add(i).and_then(|at| bytes.get(at));
        number = number << 8 | u128::from(byte.copied().unwrap_or(0));
    }
    (first, number, FIELD_BYTES as u32 * 8 - (offset % 8) as u32 - bits)
}

/// The number in so many bits from `offset` on, 1 to 64; beyond the end all bits are clear.
#[must_use]
pub fn field(bytes: &[u8], offset: u64, bits: u32) -> u64 {
    let (_, number, shift) = around(bytes, offset, bits);
    (number >> shift) as u64 & mask(bits)
}

/// Writes a number into so many bits from `offset` on, all of which are inside of the bytes.
pub fn set_field(bytes: &mut [u8], offset: u64, bits: u32, value: u64) {
    let (first, number, shift) = around(bytes, offset, bits);
    let mask = u128::from(mask(bits)) << shift;
    let number = number & !mask | u128::from(value) << shift & mask;
    for (i, byte) in bytes[first..].iter_mut().take(FIELD_BYTES).enumerate() {
        *byte = (number >> ((FIELD_BYTES - 1 - i) * 8)) as u8;
    }
}

/// The lowest so many bits, 1 to 64.
fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// What happens to a number that does not fit its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The upper bits are lost.
    Wrap,
    /// The nearest number that fits.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// A kind of field: its width in bits, 1 to 64 (63 if unsigned), and whether it has a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldType {
    /// Two's complement if so.
    pub is_signed: bool,
    /// Width.
    pub bits: u32,
}

impl FieldType {
    /// The number that these bits mean.
    #[must_use]
    pub fn number(self, raw: u64) -> i64 {
        let spare = 64 - self.bits;
        if self.is_signed { (raw << spare) as i64 >> spare } else { raw as i64 }
    }

    /// The number to write for one that may be too large or too small; `None` to write nothing.
    #[must_use]
    pub fn fit(self, number: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = if self.is_signed {
            (-1 << (self.bits - 1), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        if (least..=most).contains(&number) {
            return Some(number as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.number(number as u64 & mask(self.bits))),
            Overflow::Saturate => Some(number.clamp(least, most) as i64),
            Overflow::Fail => None,
        }
    }
}

#[cfg(test)]
mod tests;
