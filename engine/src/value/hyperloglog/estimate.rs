//! From registers to a cardinality: the estimator of Otmar Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches", arXiv:1702.01284, which needs no tables of corrections.
//!
//! The order of the operations is that of valkey src/hyperloglog.c, `hllCount`, so that the last digit
//! agrees, too.

use super::{COUNTED_BITS, Corrupt, Encoding, HllRef, REGISTERS, Registers, sparse, spread};

/// How many registers have each value.
type Histogram = [u32; 64];

/// 0.5 / ln 2
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The cardinality that registers mean.
#[must_use]
pub fn cardinality(registers: &Registers) -> u64 {
    let mut histogram = [0; 64];
    registers.iter().for_each(|&register| histogram[usize::from(register & 63)] += 1);
    estimate(&histogram)
}

impl HllRef<'_> {
    /// The cardinality, counted anew.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn count(self) -> Result<u64, Corrupt> {
        let mut histogram = [0; 64];
        match self.encoding() {
            Encoding::Dense => {
                for six in self.payload().chunks_exact(6) {
                    spread(six).to_le_bytes().iter().for_each(|&r| histogram[usize::from(r & 63)] += 1);
                }
            }
            Encoding::Sparse => {
                let mut set = 0;
                sparse::for_each_value(self.payload(), |registers, value| {
                    histogram[usize::from(value)] += registers.len() as u32;
                    set += registers.len() as u32;
                })?;
                histogram[0] = REGISTERS as u32 - set;
            }
        }
        Ok(estimate(&histogram))
    }
}

fn estimate(histogram: &Histogram) -> u64 {
    let m = REGISTERS as f64;
    let full = f64::from(histogram[COUNTED_BITS as usize + 1]);
    let mut z = m * tau((m - full) / m);
    for &registers in histogram[1..=COUNTED_BITS as usize].iter().rev() {
        z += f64::from(registers);
        z *= 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    (ALPHA * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
