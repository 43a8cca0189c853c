//! One element of a listpack or ziplist: bytes, or an integer that stands for its decimal text.

use crate::base::num;

/// An element as it is stored. Equality of the enum is equality of the form: `Int(1)` is not
/// `Bytes(b"1")`; compare contents with [`Element::eq_bytes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element<'a> {
    /// A string, stored as it is.
    Bytes(&'a [u8]),
    /// A string that is the decimal text of an integer.
    Int(i64),
}

/// Room for the decimal text of any integer, for [`Element::text`].
#[derive(Clone, Default)]
pub struct IntText(itoa::Buffer);

impl std::fmt::Debug for IntText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntText")
    }
}

impl IntText {
    /// Room for one text.
    #[must_use]
    pub fn new() -> Self {
        Self(itoa::Buffer::new())
    }

    /// Writes `v` and answers its text.
    pub fn format(&mut self, v: i64) -> &[u8] {
        self.0.format(v).as_bytes()
    }
}

impl<'a> Element<'a> {
    /// The form in which `s` is stored: an integer when it is the exact decimal text of one.
    #[inline]
    #[must_use]
    pub fn of(s: &'a [u8]) -> Self {
        num::parse_i64(s).map_or(Self::Bytes(s), Self::Int)
    }

    /// Appends the text.
    #[inline]
    pub fn push_to(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Bytes(s) => out.extend_from_slice(s),
            Self::Int(v) => num::push_i64(out, v),
        }
    }

    /// The text in a vector of its own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.push_to(&mut out);
        out
    }

    /// The text without an allocation: an integer's is written into `buf`.
    #[inline]
    pub fn text<'b>(&self, buf: &'b mut IntText) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Bytes(s) => s,
            Self::Int(v) => buf.format(v),
        }
    }

    /// Hands the text to `f`, without an allocation.
    #[inline]
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self.text(&mut IntText::new()))
    }

    /// Whether the text is `s`.
    #[inline]
    #[must_use]
    pub fn eq_bytes(&self, s: &[u8]) -> bool {
        match *self {
            Self::Bytes(own) => own == s,
            Self::Int(v) => num::parse_i64(s) == Some(v),
        }
    }

    /// The integer that the text is the exact decimal form of, however it is stored.
    #[inline]
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Bytes(s) => num::parse_i64(s),
            Self::Int(v) => Some(v),
        }
    }

    /// The double that the text is read as, by [`num::parse_f64`].
    #[inline]
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Bytes(s) => num::parse_f64(s),
            Self::Int(v) => Some(v as f64),
        }
    }

    /// The double that the text is read as, or one near it; `None` if that costs more than `as_f64` or is none.
    #[inline]
    #[must_use]
    pub fn near_f64(&self) -> Option<num::Near> {
        match *self {
            Self::Bytes(s) => num::parse_near(s),
            Self::Int(v) => Some(num::Near { value: v as f64, is_exact: true }),
        }
    }

    /// Length of the text in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match *self {
            Self::Bytes(s) => s.len(),
            Self::Int(v) => num::i64_chars(v),
        }
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes([]))
    }
}

#[cfg(test)]
mod tests {
    use super::{Element, IntText};

    #[test]
    fn an_integer_and_its_text_are_the_same_content() {
        for (element, text) in [
            (Element::Int(-12), "-12"),
            (Element::Int(i64::MIN), "-9223372036854775808"),
            (Element::Bytes(b"-12"), "-12"),
            (Element::Bytes(b""), ""),
            (Element::Bytes(b"012"), "012"),
        ] {
            assert_eq!(element.to_vec(), text.as_bytes());
            assert_eq!(element.text(&mut IntText::new()), text.as_bytes());
            assert_eq!(element.with_bytes(<[u8]>::len), text.len());
            assert_eq!(element.len(), text.len());
            assert_eq!(element.is_empty(), text.is_empty());
            assert!(element.eq_bytes(text.as_bytes()));
            assert!(!element.eq_bytes(b"12"));
        }
        assert_eq!(Element::Bytes(b"12").as_i64(), Some(12));
        assert_eq!(Element::Bytes(b"012").as_i64(), None);
        assert_eq!(Element::Bytes(b"1.5").as_f64(), Some(1.5));
        assert_eq!(Element::of(b"7"), Element::Int(7));
        assert_eq!(Element::of(b"+7"), Element::Bytes(b"+7"));
    }
}
