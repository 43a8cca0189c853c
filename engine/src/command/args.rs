//! The arguments of one call, and the readers that every command shares.

use crate::base::num;

use super::CommandError;

/// The arguments of one call. `argv[0]` is the command's own name as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a>(pub &'a [&'a [u8]]);

impl<'a> Args<'a> {
    /// Number of arguments, the command's name counted.
    #[allow(clippy::len_without_is_empty, reason = "there is always a name")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Argument `i`. The arity check has made sure that it is there.
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.0[i]
    }

    /// Argument `i`, if there is one.
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.0.get(i).copied()
    }

    /// Arguments from `i` on.
    pub fn from(&self, i: usize) -> &'a [&'a [u8]] {
        self.0.get(i..).unwrap_or_default()
    }

    /// True if argument `i` is this word, in any case.
    pub fn is(&self, i: usize, word: &str) -> bool {
        self.0.get(i).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Argument `i` as a 64-bit integer.
    ///
    /// # Errors
    /// `NotInteger`; `Syntax` if there is no such argument.
    pub fn int(&self, i: usize) -> Result<i64, CommandError> {
        let arg = self.get(i).ok_or(CommandError::Syntax)?;
        num::parse_i64(arg).ok_or(CommandError::NotInteger)
    }

    /// Argument `i` as a 32-bit integer: the index of a database.
    ///
    /// # Errors
    /// `NotInteger`, a text about the range; `Syntax` if there is no such argument.
    pub fn int32(&self, i: usize) -> Result<i32, CommandError> {
        const OUT_OF_RANGE: CommandError =
            CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647");
        i32::try_from(self.int(i)?).map_err(|_| OUT_OF_RANGE)
    }

    /// The `COUNT n` that LMPOP and ZMPOP may end with, at `i`: 1 if it is not there.
    ///
    /// # Errors
    /// `Syntax`, or the text about a count that is not above zero.
    pub fn count_option(&self, i: usize) -> Result<usize, CommandError> {
        const BAD_COUNT: CommandError = CommandError::text("ERR count should be greater than 0");
        if i >= self.len() {
            return Ok(1);
        }
        if !self.is(i, "COUNT") || i + 1 >= self.len() {
            return Err(CommandError::Syntax);
        }
        let count = self.int(i + 1).ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let count = count.ok_or(BAD_COUNT)?;
        if i + 2 < self.len() { Err(CommandError::Syntax) } else { Ok(count) }
    }

    /// Argument `i` as a double.
    ///
    /// # Errors
    /// `NotFloat`; `Syntax` if there is no such argument.
    pub fn float(&self, i: usize) -> Result<f64, CommandError> {
        let arg = self.get(i).ok_or(CommandError::Syntax)?;
        num::parse_f64(arg).ok_or(CommandError::NotFloat)
    }
}
