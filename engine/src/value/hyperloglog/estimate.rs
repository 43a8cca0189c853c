//! From registers to a cardinality: the estimator of Otmar Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches", arXiv:1702.01284, which needs no tables of corrections.
//!
//! The order of the operations is that of valkey src/hyperloglog.c, `hllCount`, so that the last digit
//! agrees, too.

use super::{COUNTED_BITS, Corrupt, Encoding, HllRef, REGISTER_BITS, REGISTERS, Registers, Union, sparse};

/// Values of a register.
const VALUES: usize = 1 << REGISTER_BITS;

/// How many registers have each value.
type Histogram = [u32; VALUES];

impl HllRef<'_> {
    /// The cardinality, counted anew.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn count(self) -> Result<u64, Corrupt> {
        let histogram = match self.encoding() {
            Encoding::Dense => histogram_of_packed(self.payload()),
            Encoding::Sparse => {
                let (mut histogram, mut set) = ([0; VALUES], 0);
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

impl Union {
    /// How many different elements those that were added have together.
    #[must_use]
    pub fn count(&self) -> u64 {
        match (self.packed(), self.sparse()) {
            (Some(payload), _) => estimate(&histogram_of_packed(&payload[..])),
            (None, Some(registers)) => estimate(&histogram_of(registers)),
            (None, None) => 0,
        }
    }
}

/// 0.5 / ln 2
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// Counts the registers of a dense payload by value.
fn histogram_of_packed(payload: &[u8]) -> Histogram {
    // Counted by twos, half as often, as two registers are twelve bits that lie together; in several tables
    // by turns, because neighbours are often equal and would wait for one another.
    const TABLES: usize = 2;
    const PAIRS: usize = VALUES * VALUES;
    let mut tables = [[0_u16; PAIRS]; TABLES];
    for six in payload.as_chunks::<6>().0 {
        let mut eight = [0; 8];
        eight[..6].copy_from_slice(six);
        let word = u64::from_le_bytes(eight);
        for i in 0..4 {
            let pair = (word >> (12 * i)) as usize & (PAIRS - 1);
            let count = &mut tables[i % TABLES][pair];
            *count = count.wrapping_add(1);
        }
    }
    let [one, two] = &tables;
    let mut histogram = [0; VALUES];
    for (second, rows) in one.chunks_exact(VALUES).zip(two.chunks_exact(VALUES)).enumerate() {
        let mut of_second = 0_u32;
        for (first, (a, b)) in histogram.iter_mut().zip(rows.0.iter().zip(rows.1)) {
            let times = u32::from(*a).wrapping_add(u32::from(*b));
            *first = u32::wrapping_add(*first, times);
            of_second = of_second.wrapping_add(times);
        }
        histogram[second] = u32::wrapping_add(histogram[second], of_second);
    }
    histogram
}

/// Counts registers by value, most of which are 0.
fn histogram_of(registers: &Registers) -> Histogram {
    // By turns, as above.
    const TABLES: usize = 4;
    let mut tables = [[0_u32; VALUES]; TABLES];
    let mut zeros = 0_u32;
    for eight in registers.as_chunks::<8>().0 {
        if *eight == [0; 8] {
            zeros = zeros.wrapping_add(8);
            continue;
        }
        for (i, value) in eight.iter().enumerate() {
            let count = &mut tables[i % TABLES][usize::from(*value) & (VALUES - 1)];
            *count = count.wrapping_add(1);
        }
    }
    let mut histogram = [0; VALUES];
    histogram[0] = zeros;
    for table in &tables {
        histogram.iter_mut().zip(table).for_each(|(all, some)| *all = u32::wrapping_add(*all, *some));
    }
    histogram
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
