//! Histogram: how numbers are spread, in a fixed room whatever they are.
//!
//! Every doubling is divided into [`STEPS`] even steps, so that a percentile is at most 1/32 above the number
//! that it stands for. Count, sum, least and greatest are exact. Adding two histograms gives that of
//! all their numbers.

const STEP_BITS: u32 = 5;
/// Steps of a doubling.
pub const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS;

/// Numbers, counted.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// Grows up to the bucket of the greatest number.
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    least: u64,
    greatest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Vec::new(), count: 0, sum: 0, least: u64::MAX, greatest: 0 }
    }
}

#[inline]
fn bucket_of(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let octave = value.ilog2() - STEP_BITS;
    (octave as usize + 1) * STEPS + ((value >> octave) as usize & (STEPS - 1))
}

/// The greatest number of a bucket.
fn end_of(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let octave = (bucket / STEPS - 1) as u32;
    let first = ((STEPS + bucket % STEPS) as u64) << octave;
    first + ((1 << octave) - 1)
}

impl Histogram {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, value: u64) {
        let bucket = bucket_of(value);
        if bucket >= self.buckets.len() {
            self.grow(bucket);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }

    #[cold]
    fn grow(&mut self, bucket: usize) {
        debug_assert!(bucket < BUCKETS);
        self.buckets.resize(bucket + 1, 0);
    }

    /// Adds the numbers of another one.
    pub fn merge(&mut self, other: &Self) {
        if other.buckets.len() > self.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, more)| *own += more);
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// How many numbers there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them added up.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The mean; 0 if there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The least; 0 if there are none.
    #[must_use]
    pub fn least(&self) -> u64 {
        if self.count == 0 { 0 } else { self.least }
    }

    /// The greatest; 0 if there are none.
    #[must_use]
    pub fn greatest(&self) -> u64 {
        self.greatest
    }

    /// The number that so many percent of all do not exceed, or one that is at most 1/32 greater.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> u64 {
        let wanted = (u128::from(self.count) * u128::from(percent.min(100))).div_ceil(100) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return end_of(bucket).clamp(self.least, self.greatest);
            }
        }
        self.greatest
    }

    /// The counts by doublings: exclusive upper bound as a power of two's exponent, and count; those of
    /// the first are 0 alone.
    #[must_use]
    pub fn doublings(&self) -> Vec<u64> {
        let mut out = Vec::new();
        for (bucket, count) in self.buckets.iter().enumerate() {
            let doubling = (64 - end_of(bucket).leading_zeros()) as usize;
            if out.len() <= doubling {
                out.resize(doubling + 1, 0);
            }
            out[doubling] += count;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, bucket_of, end_of};

    #[test]
    fn buckets_cover_all_numbers_in_order() {
        let ends = (0..64).map(|bit| (1u64 << bit) - 1).chain([u64::MAX, 1 << 63]);
        for value in (0..10_000).chain(ends) {
            let bucket = bucket_of(value);
            assert!(end_of(bucket) >= value, "{value}");
            assert!(end_of(bucket) - value <= value / 32, "{value}");
        }
        assert!((0..10_000).map(bucket_of).is_sorted());
        assert!(bucket_of(u64::MAX) < super::BUCKETS);
    }

    #[test]
    fn percentiles_are_near_and_ends_exact() {
        let (mut all, mut even) = (Histogram::default(), Histogram::default());
        for value in 0..=100_000u64 {
            if value % 2 == 0 { &mut even } else { &mut all }.add(value);
        }
        all.merge(&even);
        assert_eq!((all.count(), all.least(), all.greatest()), (100_001, 0, 100_000));
        assert_eq!(all.sum(), 100_000 * 100_001 / 2);
        for percent in [1, 10, 50, 90, 99, 100] {
            let exact = 1000 * u64::from(percent);
            let found = all.percentile(percent);
            assert!(found >= exact && found <= exact + exact / 32, "{percent}: {found}");
        }
        assert_eq!(Histogram::default().percentile(50), 0);
        assert_eq!(all.doublings().iter().sum::<u64>(), 100_001);
    }
}
