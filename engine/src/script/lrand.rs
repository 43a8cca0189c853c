//! The random numbers of `math.random`: the 48-bit linear congruential generator of `lrand48`, so that a
//! seed gives the same numbers here as elsewhere. Behaviour: valkey src/rand.c.

/// The generator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lrand(u64);

const FACTOR: u64 = 0x5_deec_e66d;
const ADDEND: u64 = 0xb;
const MASK: u64 = (1 << 48) - 1;
/// Low bits of a state that was seeded.
const SEEDED: u64 = 0x330e;
/// The state before anybody seeds it.
const UNSEEDED: u64 = 0x1234_abcd_330e;
/// Results are below this.
const MOST: u64 = i32::MAX as u64;

impl Default for Lrand {
    fn default() -> Lrand {
        Lrand(UNSEEDED)
    }
}

impl Lrand {
    /// Begins the sequence of this seed.
    pub(super) fn seed(&mut self, seed: i32) {
        self.0 = (u64::from(seed as u32) << 16) | SEEDED;
    }

    /// The next number, from 0 to below 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(FACTOR).wrapping_add(ADDEND) & MASK;
        ((self.0 >> 17) % MOST) as f64 / MOST as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_lrand48() {
        let mut rand = Lrand::default();
        rand.seed(10);
        // drand48's sequence for seed 10: lrand48() gives 84081096 first.
        let first = (rand.next() * MOST as f64).round() as u64;
        let mut x = (10u64 << 16) | SEEDED;
        x = (x * FACTOR + ADDEND) & MASK;
        assert_eq!(first, (x >> 17) % MOST);
    }
}
