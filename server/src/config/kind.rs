//! What the values of directives look like: one type a kind, each reading text and writing it back.
//!
//! Error texts are those that CONFIG SET and a bad configuration file show in Redis. Knows no
//! directive. Behaviour: valkey src/config.c.

use std::fmt::Debug;

use cairn_engine::base::num;
use cairn_engine::codec::rdb::Target;

/// A kind of value: how it is read from a directive's arguments, and how CONFIG GET shows it.
pub(crate) trait Kind {
    /// What is kept.
    type Value;

    /// Reads the arguments. `Err` is the text for the user.
    fn parse(&self, args: &[&[u8]]) -> Result<Self::Value, String>;

    /// Text that `parse` gives the same value for.
    fn show(&self, value: &Self::Value) -> Vec<u8>;
}

/// The only argument; directives of one argument are checked by the caller.
fn only<'a>(args: &[&'a [u8]]) -> &'a [u8] {
    args.first().copied().unwrap_or_default()
}

fn between(min: impl std::fmt::Display, max: impl std::fmt::Display) -> String {
    format!("argument must be between {min} and {max} inclusive")
}

/// `yes` or `no`.
pub(crate) struct YesNo;

impl Kind for YesNo {
    type Value = bool;

    fn parse(&self, args: &[&[u8]]) -> Result<bool, String> {
        match only(args) {
            word if word.eq_ignore_ascii_case(b"yes") => Ok(true),
            word if word.eq_ignore_ascii_case(b"no") => Ok(false),
            _ => Err("argument must be 'yes' or 'no'".into()),
        }
    }

    fn show(&self, value: &bool) -> Vec<u8> {
        if *value { b"yes".to_vec() } else { b"no".to_vec() }
    }
}

/// An integer of a range, ends included.
pub(crate) struct Int {
    /// Least.
    pub(crate) min: i64,
    /// Greatest.
    pub(crate) max: i64,
}

impl Kind for Int {
    type Value = i64;

    fn parse(&self, args: &[&[u8]]) -> Result<i64, String> {
        let value = num::parse_i64(only(args)).ok_or("argument couldn't be parsed into an integer")?;
        if (self.min..=self.max).contains(&value) { Ok(value) } else { Err(between(self.min, self.max)) }
    }

    fn show(&self, value: &i64) -> Vec<u8> {
        value.to_string().into_bytes()
    }
}

/// Permissions of a file, in octal; 0 leaves them to the umask.
pub(crate) struct Octal;

impl Kind for Octal {
    type Value = u32;

    fn parse(&self, args: &[&[u8]]) -> Result<u32, String> {
        const GREATEST: u32 = 0o777;
        let text = std::str::from_utf8(only(args)).ok();
        let value = text.and_then(|text| u32::from_str_radix(text, 8).ok());
        let value = value.ok_or("argument couldn't be parsed as an octal number")?;
        if value <= GREATEST { Ok(value) } else { Err("argument must be between 0 and 777 inclusive".into()) }
    }

    fn show(&self, value: &u32) -> Vec<u8> {
        format!("{value:o}").into_bytes()
    }
}

/// Bytes, with units: `1k` is 1000, `1kb` 1024, and so on for m and g.
pub(crate) struct Memory {
    /// Least.
    pub(crate) min: u64,
    /// Greatest.
    pub(crate) max: u64,
}

impl Kind for Memory {
    type Value = u64;

    fn parse(&self, args: &[&[u8]]) -> Result<u64, String> {
        let value = parse_memory(only(args)).ok_or("argument must be a memory value")?;
        if (self.min..=self.max).contains(&value) { Ok(value) } else { Err(between(self.min, self.max)) }
    }

    fn show(&self, value: &u64) -> Vec<u8> {
        value.to_string().into_bytes()
    }
}

/// Reads a number of bytes with an optional unit.
pub(crate) fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    std::str::from_utf8(number).ok()?.parse::<u64>().ok()?.checked_mul(factor)
}

/// One of some words.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + Debug> Kind for Choice<T> {
    type Value = T;

    fn parse(&self, args: &[&[u8]]) -> Result<T, String> {
        let found = self.0.iter().find(|(word, _)| only(args).eq_ignore_ascii_case(word.as_bytes()));
        found.map(|(_, value)| *value).ok_or_else(|| self.no_such_word())
    }

    fn show(&self, value: &T) -> Vec<u8> {
        let found = self.0.iter().find(|(_, known)| known == value);
        found.map_or_else(Vec::new, |(word, _)| word.as_bytes().to_vec())
    }
}

impl<T> Choice<T> {
    fn no_such_word(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        format!("argument(s) must be one of the following: {}", words.join(", "))
    }
}

/// Any bytes.
pub(crate) struct Text;

impl Kind for Text {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        Ok(only(args).to_vec())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }
}

/// A file's name without a path.
pub(crate) struct FileName {
    /// Names the directive in errors.
    pub(crate) directive: &'static str,
}

impl Kind for FileName {
    type Value = Vec<u8>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<u8>, String> {
        let name = only(args);
        if name.is_empty() {
            return Err(format!("{} can't be empty", self.directive));
        }
        if name.contains(&b'/') {
            return Err(format!("{} can't be a path, just a filename", self.directive));
        }
        Ok(name.to_vec())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }
}

/// The version that snapshots are written in: `auto`, or a target's name.
pub(crate) struct RdbTarget;

impl Kind for RdbTarget {
    type Value = Option<Target>;

    fn parse(&self, args: &[&[u8]]) -> Result<Option<Target>, String> {
        let name = String::from_utf8_lossy(only(args)).to_ascii_lowercase();
        if name == "auto" {
            return Ok(None);
        }
        Target::parse(&name).map(Some).ok_or_else(|| {
            let names: Vec<&str> = Target::all().map(Target::name).collect();
            format!("argument(s) must be one of the following: auto, {}", names.join(", "))
        })
    }

    fn show(&self, value: &Option<Target>) -> Vec<u8> {
        value.map_or("auto", Target::name).as_bytes().to_vec()
    }
}

/// When to save by itself: after `seconds` with at least `changes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SaveRule {
    /// Seconds since the last save.
    pub(crate) seconds: i64,
    /// Changes since the last save.
    pub(crate) changes: i64,
}

/// Pairs of seconds and changes; none, or one empty word, for never.
pub(crate) struct SaveRules;

impl Kind for SaveRules {
    type Value = Vec<SaveRule>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<SaveRule>, String> {
        let args = if args == [b""] { &[] } else { args };
        let bad = || "Invalid save parameters".to_owned();
        if !args.len().is_multiple_of(2) {
            return Err(bad());
        }
        args.chunks_exact(2)
            .map(|pair| {
                let seconds = num::parse_i64(pair[0]).filter(|n| *n >= 1).ok_or_else(bad)?;
                let changes = num::parse_i64(pair[1]).filter(|n| *n >= 0).ok_or_else(bad)?;
                Ok(SaveRule { seconds, changes })
            })
            .collect()
    }

    fn show(&self, value: &Vec<SaveRule>) -> Vec<u8> {
        let pairs: Vec<String> =
            value.iter().map(|rule| format!("{} {}", rule.seconds, rule.changes)).collect();
        pairs.join(" ").into_bytes()
    }
}

/// Words parted by blanks.
pub(crate) struct Words {
    /// Greatest number of them.
    pub(crate) max: usize,
}

impl Kind for Words {
    type Value = Vec<String>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<String>, String> {
        if args.len() > self.max {
            return Err("Too many bind addresses specified.".into());
        }
        let args = if args == [b""] { &[] } else { args };
        Ok(args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect())
    }

    fn show(&self, value: &Vec<String>) -> Vec<u8> {
        value.join(" ").into_bytes()
    }
}

/// How much may wait to be sent to a client of a class before it is disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    /// At once; 0 for no limit.
    pub(crate) hard_bytes: u64,
    /// After `soft_seconds` above it; 0 for no limit.
    pub(crate) soft_bytes: u64,
    /// How long it may stay above `soft_bytes`.
    pub(crate) soft_seconds: i64,
}

/// The classes that output limits name, in the order that they are kept and shown.
const OUTPUT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// Limits of the classes normal, replica and pubsub.
pub(crate) struct OutputLimits;

/// The defaults of `client-output-buffer-limit`.
pub(crate) const DEFAULT_OUTPUT_LIMITS: [OutputLimit; 3] = [
    OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
    OutputLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
    OutputLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_seconds: 60 },
];

impl OutputLimits {
    /// Reads groups of class, hard, soft, seconds into `limits`; classes that are not named stay.
    pub(crate) fn update(limits: &mut [OutputLimit; 3], args: &[&[u8]]) -> Result<(), String> {
        if args.is_empty() || !args.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut new = *limits;
        for group in args.chunks_exact(4) {
            let is = |word: &str| group[0].eq_ignore_ascii_case(word.as_bytes());
            let class = OUTPUT_CLASSES.iter().position(|class| is(class)).or(is("replica").then_some(1));
            let class = class.ok_or("Invalid client class specified in buffer limit configuration.")?;
            let bad = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            new[class] = OutputLimit {
                hard_bytes: parse_memory(group[1]).ok_or(bad)?,
                soft_bytes: parse_memory(group[2]).ok_or(bad)?,
                soft_seconds: num::parse_i64(group[3]).filter(|n| *n >= 0).ok_or(bad)?,
            };
        }
        *limits = new;
        Ok(())
    }
}

impl Kind for OutputLimits {
    type Value = [OutputLimit; 3];

    fn parse(&self, args: &[&[u8]]) -> Result<[OutputLimit; 3], String> {
        let mut limits = DEFAULT_OUTPUT_LIMITS;
        OutputLimits::update(&mut limits, args)?;
        Ok(limits)
    }

    fn show(&self, value: &[OutputLimit; 3]) -> Vec<u8> {
        let classes: Vec<String> = OUTPUT_CLASSES
            .iter()
            .zip(value)
            .map(|(class, limit)| {
                format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
            })
            .collect();
        classes.join(" ").into_bytes()
    }
}

/// How a signal ends the server: words of `shutdown-on-sigterm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShutdownHow {
    /// Save even without save rules.
    pub(crate) save: bool,
    /// Do not save even with save rules.
    pub(crate) nosave: bool,
    /// Do not wait for replicas.
    pub(crate) now: bool,
    /// Go even if saving fails.
    pub(crate) force: bool,
}

/// `default`, or words of save, nosave, now, force.
pub(crate) struct ShutdownWords;

impl Kind for ShutdownWords {
    type Value = ShutdownHow;

    fn parse(&self, args: &[&[u8]]) -> Result<ShutdownHow, String> {
        let words =
            || "argument(s) must be one of the following: default, save, nosave, now, force".to_owned();
        if args.is_empty() {
            return Err(words());
        }
        let mut how = ShutdownHow::default();
        for arg in args {
            match arg.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"save" => how.save = true,
                b"nosave" => how.nosave = true,
                b"now" => how.now = true,
                b"force" => how.force = true,
                _ => return Err(words()),
            }
        }
        if how.save && how.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(how)
    }

    fn show(&self, value: &ShutdownHow) -> Vec<u8> {
        let all =
            [(value.save, "save"), (value.nosave, "nosave"), (value.now, "now"), (value.force, "force")];
        let words: Vec<&str> = all.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
        if words.is_empty() { b"default".to_vec() } else { words.join(" ").into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_units_of_1000_and_1024() {
        let all: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("10b", Some(10)),
            ("1k", Some(1000)),
            ("1Kb", Some(1024)),
            ("2mb", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("1GB", Some(1 << 30)),
            ("", None),
            ("-1", None),
            ("1tb", None),
            ("99999999999gb", None),
        ];
        for (text, expected) in all {
            assert_eq!(parse_memory(text.as_bytes()), *expected, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let how = ShutdownWords.parse(&[b"nosave", b"force"]).expect("two words that go together");
        assert_eq!(ShutdownWords.show(&how), b"nosave force");
        assert!(ShutdownWords.parse(&[b"save", b"nosave"]).is_err());
        let rules = SaveRules.parse(&[b"900", b"1", b"60", b"10000"]).expect("two pairs");
        assert_eq!(SaveRules.show(&rules), b"900 1 60 10000");
        assert_eq!(SaveRules.parse(&[b""]), Ok(vec![]));
        assert!(SaveRules.parse(&[b"900"]).is_err());
        let limits = OutputLimits.parse(&[b"replica", b"1mb", b"0", b"5"]).expect("one class");
        let text = "normal 0 0 0 slave 1048576 0 5 pubsub 33554432 8388608 60";
        assert_eq!(OutputLimits.show(&limits), text.as_bytes());
    }
}
