//! Which strings are worth an attempt at compressing.
//!
//! An attempt in vain costs as much as all else that is done for a short string: two fifths of the time that a
//! snapshot of random values of 100 bytes takes. So where many of about one size did not shrink, only some of the
//! next are tried, until one does. Of strings among which one in ten shrinks, one in a hundred of these is
//! missed; the fewer shrink, the larger the part that is missed, but never more than about one of a hundred
//! strings. What has been written before decides, so the same data in the same order give the same bytes.

/// After so many in a row that did not shrink
const ENOUGH: u8 = 64;
/// one of so many is tried.
const EVERY: u8 = 8;
/// Strings from this size on are always tried: there is much to save, and the encoder is quick with them if not.
const LARGE_BYTES: usize = 2048;
/// Powers of two below that.
const CLASSES: usize = LARGE_BYTES.ilog2() as usize;

/// What came of the attempts so far, by size.
#[derive(Debug, Default)]
pub(super) struct Chances {
    /// Attempts in vain since the last that was not, up to [`ENOUGH`].
    failed: [u8; CLASSES],
    /// Strings since the last attempt.
    untried: [u8; CLASSES],
}

impl Chances {
    /// Whether a string of so many bytes, at least one, is to be tried.
    pub(super) fn is_worth(&mut self, len: usize) -> bool {
        let class = len.ilog2() as usize;
        let (Some(failed), Some(untried)) = (self.failed.get(class), self.untried.get_mut(class)) else {
            return true;
        };
        *untried += 1;
        let is_tried = *failed < ENOUGH || *untried >= EVERY;
        if is_tried {
            *untried = 0;
        }
        is_tried
    }

    /// Notes what came of an attempt.
    pub(super) fn note(&mut self, len: usize, has_shrunk: bool) {
        if let Some(failed) = self.failed.get_mut(len.ilog2() as usize) {
            *failed = if has_shrunk { 0 } else { (*failed + 1).min(ENOUGH) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    /// Of so many strings, one in `one_in` of which shrinks: how many are tried, and how many that shrink are
    /// missed.
    fn tried_and_missed(len: usize, count: usize, one_in: usize) -> (usize, usize) {
        let (mut chances, mut rng) = (Chances::default(), Rng::new(1));
        let (mut tried, mut missed) = (0, 0);
        for _ in 0..count {
            let shrinks = rng.index(one_in) == 0;
            if chances.is_worth(len) {
                tried += 1;
                chances.note(len, shrinks);
            } else {
                missed += usize::from(shrinks);
            }
        }
        (tried, missed)
    }

    #[test]
    fn what_never_shrinks_is_hardly_tried_and_little_that_does_is_missed() {
        assert_eq!(tried_and_missed(100, 8_064, usize::MAX), (64 + 1_000, 0));
        assert_eq!(tried_and_missed(100, 10_000, 1), (10_000, 0));
        let (_, missed) = tried_and_missed(100, 100_000, 10);
        assert!(missed < 150, "{missed} of some 10,000");
        for one_in in [20, 50, 100, 1000] {
            let (_, missed) = tried_and_missed(100, 100_000, one_in);
            assert!(missed < 1_400, "{missed} of 100,000");
        }
        assert_eq!(tried_and_missed(LARGE_BYTES, 10_000, usize::MAX).0, 10_000);
    }

    #[test]
    fn strings_of_other_sizes_do_not_count() {
        let mut chances = Chances::default();
        (0..1000).for_each(|_| chances.note(100, false));
        assert!(chances.is_worth(200) && chances.is_worth(1) && !chances.is_worth(127));
        // One that shrinks, and all are tried again.
        assert!((0..8).any(|_| chances.is_worth(64)));
        chances.note(64, true);
        assert!((0..100).all(|_| chances.is_worth(64)));
    }
}
