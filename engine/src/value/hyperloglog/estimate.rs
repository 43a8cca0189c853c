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
    let words = registers.chunks_exact(8);
    estimate(&histogram_of(words.map(|eight| u64::from_le_bytes(eight.try_into().expect("chunks of eight")))))
}

impl HllRef<'_> {
    /// The cardinality, counted anew.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn count(self) -> Result<u64, Corrupt> {
        let histogram = match self.encoding() {
            Encoding::Dense => histogram_of(self.payload().chunks_exact(6).map(spread)),
            Encoding::Sparse => {
                let (mut histogram, mut set) = ([0; 64], 0);
                sparse::for_each_value(self.payload(), |registers, value| {
                    histogram[usize::from(value)] += registers.len() as u32;
                    set += registers.len() as u32;
                })?;
                histogram[0] = REGISTERS as u32 - set;
                histogram
            }
        };
        Ok(estimate(&histogram))
    }
}

/// Counts registers that come as bytes of words.
fn histogram_of(words: impl Iterator<Item = u64>) -> Histogram {
    // Several tables by turns: neighbours are often equal, and would wait for one another.
    const TABLES: usize = 4;
    let mut tables = [[0_u32; 64]; TABLES];
    for word in words {
        for (i, register) in word.to_le_bytes().into_iter().enumerate() {
            let count = &mut tables[i % TABLES][usize::from(register & 63)];
            *count = count.wrapping_add(1);
        }
    }
    std::array::from_fn(|value| tables.iter().map(|table| table[value]).sum())
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
