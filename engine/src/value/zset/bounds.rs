//! Ranges of scores and of member bytes, as ZRANGE BYSCORE and BYLEX take them.
//!
//! Reading them from text belongs to the commands. Behaviour: valkey src/t_zset.c.

/// One end of a range of scores; infinities stand for no end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScoreBound {
    /// This score belongs to the range.
    Inclusive(f64),
    /// This score does not.
    Exclusive(f64),
}

/// A range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    /// The lower end.
    pub min: ScoreBound,
    /// The upper end.
    pub max: ScoreBound,
}

/// One end of a range of member bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'b> {
    /// Before all strings (`-`).
    Min,
    /// Behind all strings (`+`).
    Max,
    /// This string belongs to the range (`[`).
    Inclusive(&'b [u8]),
    /// This string does not (`(`).
    Exclusive(&'b [u8]),
}

/// A range of member bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexRange<'b> {
    /// The lower end.
    pub min: LexBound<'b>,
    /// The upper end.
    pub max: LexBound<'b>,
}

impl ScoreBound {
    fn parts(self) -> (f64, bool) {
        match self {
            Self::Inclusive(score) => (score, true),
            Self::Exclusive(score) => (score, false),
        }
    }
}

impl ScoreRange {
    /// All scores.
    pub const ALL: Self =
        Self { min: ScoreBound::Inclusive(f64::NEG_INFINITY), max: ScoreBound::Inclusive(f64::INFINITY) };

    /// Whether no score can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let ((min, with_min), (max, with_max)) = (self.min.parts(), self.max.parts());
        min > max || (min == max && !(with_min && with_max))
    }

    /// Whether `score` lies below it.
    #[inline]
    #[must_use]
    pub fn is_below(&self, score: f64) -> bool {
        match self.min {
            ScoreBound::Inclusive(min) => score < min,
            ScoreBound::Exclusive(min) => score <= min,
        }
    }

    /// Whether `score` lies above it.
    #[inline]
    #[must_use]
    pub fn is_above(&self, score: f64) -> bool {
        match self.max {
            ScoreBound::Inclusive(max) => score > max,
            ScoreBound::Exclusive(max) => score >= max,
        }
    }
}

impl LexRange<'_> {
    /// Whether no string can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        use LexBound::{Exclusive, Inclusive, Max, Min};
        match (self.min, self.max) {
            (Max, _) | (_, Min) => true,
            (Min, _) | (_, Max) => false,
            (Inclusive(min), Inclusive(max)) => min > max,
            (Inclusive(min) | Exclusive(min), Inclusive(max) | Exclusive(max)) => min >= max,
        }
    }

    /// Whether `member` lies below it.
    #[inline]
    #[must_use]
    pub fn is_below(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Inclusive(min) => member < min,
            LexBound::Exclusive(min) => member <= min,
        }
    }

    /// Whether `member` lies above it.
    #[inline]
    #[must_use]
    pub fn is_above(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Min => true,
            LexBound::Max => false,
            LexBound::Inclusive(max) => member > max,
            LexBound::Exclusive(max) => member >= max,
        }
    }
}
