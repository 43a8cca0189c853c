//! How long a command takes, as counts of durations: log-linear, two significant digits, from a
//! nanosecond to a second.
//!
//! The buckets are those of an HDR histogram for 1 to 10^9 with two digits, so that percentiles and
//! distributions come out as other servers print them. Knows no clock and no commands.

/// Values of a bucket are told apart by so many steps, half of which the bucket below has already.
const STEPS: u64 = 256;
const HALF_STEPS: u64 = STEPS / 2;
const HALF_STEPS_LOG: u32 = HALF_STEPS.trailing_zeros();

/// Longer durations count as this long.
const GREATEST: u64 = 1_000_000_000;

/// Doublings from the first bucket until it holds `GREATEST`.
const BUCKETS: u64 = 23;
const COUNTS: usize = ((BUCKETS + 1) * HALF_STEPS) as usize;

/// Distributions begin with what is below this, and double from there.
const FIRST_LEVEL: u64 = 1024;

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64; COUNTS]>,
    total: u64,
}

/// A place among the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u16);

impl Place {
    /// Where a duration is counted.
    #[inline]
    pub(crate) fn of(nanos: u64) -> Place {
        let value = nanos.clamp(1, GREATEST);
        let bucket = u64::BITS - (value | (STEPS - 1)).leading_zeros() - STEPS.trailing_zeros();
        let step = value >> bucket;
        let place = (u64::from(bucket + 1) << HALF_STEPS_LOG) + step - HALF_STEPS;
        Place(u16::try_from(place).expect("COUNTS is below 2^16"))
    }
}

/// The least duration that is counted at a place, and how many are counted together there.
fn range(place: usize) -> (u64, u64) {
    let place = place as u64;
    let (mut bucket, mut step) = (place >> HALF_STEPS_LOG, (place & (HALF_STEPS - 1)) + HALF_STEPS);
    if bucket == 0 {
        step -= HALF_STEPS;
    } else {
        bucket -= 1;
    }
    (step << bucket, 1 << bucket)
}

/// The greatest duration that is counted at a place.
fn greatest(place: usize) -> u64 {
    let (least, width) = range(place);
    least + width - 1
}

impl Histogram {
    /// No durations.
    pub(crate) fn new() -> Histogram {
        let counts = vec![0; COUNTS].into_boxed_slice().try_into();
        Histogram { counts: counts.expect("it is as long as it says"), total: 0 }
    }

    /// Counts `times` durations at a place.
    #[inline]
    pub(crate) fn add(&mut self, place: Place, times: u64) {
        self.counts[usize::from(place.0)] += times;
        self.total += times;
    }

    /// Number of durations.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The duration in nanoseconds that `percent` of all do not pass. O(buckets).
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        // The float is not negative, and rounding it down is what is meant.
        let wanted = ((percent.min(100.0) / 100.0 * self.total as f64) + 0.5) as u64;
        let mut sum = 0;
        for (place, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted.max(1) {
                return if percent == 0.0 { range(place).0 } else { greatest(place) };
            }
        }
        0
    }

    /// Microseconds, doubling from step to step, and how many durations are up to so long. Steps that
    /// add nothing are left out. O(buckets).
    pub(crate) fn distribution(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let (mut sum, mut told, mut level) = (0, 0, FIRST_LEVEL);
        for (place, count) in self.counts.iter().enumerate() {
            sum += count;
            // A step ends with the first place that begins where its level lies, or is the last of all.
            if range(place).0 < level && place < COUNTS - 1 {
                continue;
            }
            if sum > told {
                steps.push((greatest(place) / 1000, sum));
                told = sum;
            }
            level *= 2;
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_hold_what_is_counted_there() {
        let mut last = Place::of(0).0;
        for nanos in (1..5000).chain([10_000, 99_999, 1_000_000, 123_456_789, GREATEST, u64::MAX]) {
            let place = Place::of(nanos).0;
            assert!(place >= last, "{nanos}");
            last = place;
            let value = nanos.min(GREATEST);
            let (least, width) = range(usize::from(place));
            assert!((least..least + width).contains(&value), "{nanos}: {least} {width}");
            // Two significant digits.
            assert!(width * 100 <= value.max(100), "{nanos}: {width}");
        }
    }

    #[test]
    fn percentiles_of_known_durations() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(50.0), 0);
        for nanos in 1..=100 {
            histogram.add(Place::of(nanos * 1000), 1);
        }
        assert_eq!(histogram.total(), 100);
        // The values that an HDR histogram of the same range and digits gives.
        assert_eq!(histogram.percentile(0.0), 1000);
        assert_eq!(histogram.percentile(50.0), 50_175);
        assert_eq!(histogram.percentile(99.0), 99_327);
        assert_eq!(histogram.percentile(100.0), 100_351);
    }
    /// What HdrHistogram's C library, as Valkey 9.1 builds it, says of the same durations.
    #[test]
    fn distributions_are_those_of_an_hdr_histogram() {
        let steps = |durations: &[u64]| {
            let mut histogram = Histogram::new();
            durations.iter().for_each(|nanos| histogram.add(Place::of(*nanos), 1));
            let steps = histogram.distribution();
            steps.iter().map(|(us, n)| format!("{us}:{n}")).collect::<Vec<_>>().join(" ")
        };
        let thousands: Vec<u64> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!(steps(&thousands), "1:1 2:2 4:4 8:8 16:16 33:33 66:66 132:100");
        assert_eq!(steps(&[1]), "1:1");
        assert_eq!(steps(&[500, 1023, 1024, 1030, 2048, 2055, 2100]), "1:4 2:6 4:7");
        assert_eq!(steps(&[1_000_000_000]), "1073741:1");
        assert_eq!(steps(&[123_456_789, 3000]), "4:1 135266:2");
        assert_eq!(steps(&[536_870_912, 600_000_000]), "541065:1 1073741:2");
        let mut x = 88_172_645_463_325_252_u64;
        let random: Vec<u64> = (0..1000)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 34) >> (x % 29)
            })
            .collect();
        assert_eq!(
            steps(&random),
            "1:371 2:406 4:437 8:473 16:496 33:529 66:565 132:599 264:633 528:660 1056:691 2113:727 4227:751 \
             8454:792 16908:823 33816:847 67633:886 135266:928 270532:963 541065:987 1073741:1000"
        );
    }
}
