//! What the values of directives look like: one type a kind, each reading text and writing it back.
//!
//! Error texts are those that CONFIG SET and a bad configuration file show in Redis. Knows no
//! directive. Behaviour: valkey src/config.c.

use std::fmt::Debug;

use cairn_engine::base::{num, words};
use cairn_engine::codec::rdb::Target;

/// A kind of value: how it is read from a directive's arguments, and how CONFIG GET shows it.
pub(crate) trait Kind {
    /// What is kept.
    type Value;

    /// Reads the arguments. `Err` is the text for the user.
    fn parse(&self, args: &[&[u8]]) -> Result<Self::Value, String>;

    /// Text that `parse` gives the same value for.
    fn show(&self, value: &Self::Value) -> Vec<u8>;

    /// The arguments of each line that CONFIG REWRITE writes for the value; none if there is to be none.
    fn lines(&self, value: &Self::Value) -> Vec<Vec<u8>> {
        vec![self.show(value)]
    }
}

/// A value as one argument of a line.
pub(super) fn quoted(value: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    words::push_quoted(&mut line, value);
    line
}

/// The only argument; directives of one argument are checked by the caller.
pub(super) fn only<'a>(args: &[&'a [u8]]) -> &'a [u8] {
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

/// How often a second periodic steps are due; what is out of reach becomes what is nearest.
pub(crate) struct Hz;

impl Kind for Hz {
    type Value = i64;

    fn parse(&self, args: &[&[u8]]) -> Result<i64, String> {
        const GREATEST: i64 = 500;
        let any = Int { min: 0, max: i64::from(i32::MAX) };
        Ok(any.parse(args)?.clamp(1, GREATEST))
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

    fn lines(&self, value: &u64) -> Vec<Vec<u8>> {
        vec![memory_text(*value).into_bytes()]
    }
}

/// Bytes in the greatest unit that they are a whole number of.
fn memory_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    match UNITS.iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

/// Bytes, or a negative number that means something else.
pub(crate) struct SignedMemory {
    /// Least.
    pub(crate) min: i64,
}

impl Kind for SignedMemory {
    type Value = i64;

    fn parse(&self, args: &[&[u8]]) -> Result<i64, String> {
        let text = only(args);
        let bytes = parse_memory(text).and_then(|bytes| i64::try_from(bytes).ok());
        let value = bytes.or_else(|| num::parse_i64(text)).ok_or("argument must be a memory value")?;
        if value >= self.min { Ok(value) } else { Err(between(self.min, i64::MAX)) }
    }

    fn show(&self, value: &i64) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn lines(&self, value: &i64) -> Vec<Vec<u8>> {
        let bytes = u64::try_from(*value);
        vec![bytes.map_or_else(|_| value.to_string(), memory_text).into_bytes()]
    }
}

/// Bytes, or a part of `maxmemory` in percent, which is kept as a negative number.
pub(crate) struct MemoryOrPercent;

impl Kind for MemoryOrPercent {
    type Value = i64;

    fn parse(&self, args: &[&[u8]]) -> Result<i64, String> {
        const WHOLE: i64 = 100;
        let text = only(args);
        if let Some(bytes) = parse_memory(text) {
            return i64::try_from(bytes).map_err(|_| between(-WHOLE, i64::MAX));
        }
        let percent = text.strip_suffix(b"%").and_then(num::parse_i64).filter(|percent| *percent >= 0);
        match percent.ok_or("argument must be a memory or percent value")? {
            percent if percent <= WHOLE => Ok(-percent),
            _ => Err(format!("percentage argument must be less or equal to {WHOLE}")),
        }
    }

    fn show(&self, value: &i64) -> Vec<u8> {
        if *value < 0 { format!("{}%", -value) } else { value.to_string() }.into_bytes()
    }

    fn lines(&self, value: &i64) -> Vec<Vec<u8>> {
        match u64::try_from(*value) {
            Ok(bytes) => vec![memory_text(bytes).into_bytes()],
            Err(_) => vec![self.show(value)],
        }
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
    // No digits at all are a zero, as they are for C's strtoull.
    let number = if number.is_empty() { "0" } else { std::str::from_utf8(number).ok()? };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// One of some words.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + Debug> Kind for Choice<T> {
    type Value = T;

    fn parse(&self, args: &[&[u8]]) -> Result<T, String> {
        let found = self.0.iter().find(|(word, _)| only(args).eq_ignore_ascii_case(word.as_bytes()));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
            no_such_word(&words)
        })
    }

    fn show(&self, value: &T) -> Vec<u8> {
        let found = self.0.iter().find(|(_, known)| known == value);
        found.map_or_else(Vec::new, |(word, _)| word.as_bytes().to_vec())
    }
}

/// One of some words, which is all there is to know about it.
pub(crate) struct OneOf(pub(crate) &'static [&'static str]);

impl Kind for OneOf {
    type Value = &'static str;

    fn parse(&self, args: &[&[u8]]) -> Result<&'static str, String> {
        let found = self.0.iter().find(|word| only(args).eq_ignore_ascii_case(word.as_bytes()));
        found.copied().ok_or_else(|| no_such_word(self.0))
    }

    fn show(&self, value: &&'static str) -> Vec<u8> {
        value.as_bytes().to_vec()
    }
}

fn no_such_word(words: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

/// Numbers from 0 to 100; none, or one empty word, for none.
pub(crate) struct Percentiles;

impl Kind for Percentiles {
    type Value = Vec<f64>;

    fn parse(&self, args: &[&[u8]]) -> Result<Vec<f64>, String> {
        let args = if args == [b""] { &[] } else { args };
        let percentile = |arg: &&[u8]| {
            let value = num::parse_f64(arg).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if (0.0..=100.0).contains(&value) {
                Ok(value)
            } else {
                Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned())
            }
        };
        args.iter().map(percentile).collect()
    }

    fn show(&self, value: &Vec<f64>) -> Vec<u8> {
        let texts: Vec<String> = value.iter().map(|n| percentile_text(*n)).collect();
        texts.join(" ").into_bytes()
    }

    fn lines(&self, value: &Vec<f64>) -> Vec<Vec<u8>> {
        if value.is_empty() { vec![b"\"\"".to_vec()] } else { vec![self.show(value)] }
    }
}

/// A percentile with six digits behind the point at the most.
pub(crate) fn percentile_text(value: f64) -> String {
    format!("{value:.6}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What the values of `oom-score-adj-values` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OomHow {
    /// Nothing.
    No,
    /// They add to what the process had.
    Relative,
    /// They are the scores.
    Absolute,
}

/// How likely the system is to end the process for want of memory: as primary, as replica, as child.
pub(crate) struct OomScores;

impl Kind for OomScores {
    type Value = [i64; 3];

    fn parse(&self, args: &[&[u8]]) -> Result<[i64; 3], String> {
        const GREATEST: i64 = 2000;
        let scores: &[&[u8]; 3] = args.try_into().map_err(|_| "wrong number of arguments")?;
        let mut values = [0; 3];
        for (value, text) in values.iter_mut().zip(scores) {
            *value = num::parse_i64(text)
                .filter(|n| (-GREATEST..=GREATEST).contains(n))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        Ok(values)
    }

    fn show(&self, value: &[i64; 3]) -> Vec<u8> {
        value.map(|n| n.to_string()).join(" ").into_bytes()
    }
}

/// Host and port of a primary; empty for none.
pub(crate) struct Primary;

impl Kind for Primary {
    type Value = String;

    fn parse(&self, args: &[&[u8]]) -> Result<String, String> {
        let (host, port) = match args {
            [] | [b""] => return Ok(String::new()),
            [host, port] => (host, port),
            _ => return Err("wrong number of arguments".into()),
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            return Ok(String::new());
        }
        let port = num::parse_i64(port).and_then(|n| u16::try_from(n).ok()).ok_or("Invalid primary port")?;
        Ok(format!("{} {port}", String::from_utf8_lossy(host)))
    }

    fn show(&self, value: &String) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    fn lines(&self, value: &String) -> Vec<Vec<u8>> {
        if value.is_empty() { Vec::new() } else { vec![value.as_bytes().to_vec()] }
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
        let target = Target::parse(&name).filter(|target| Target::of_snapshots().any(|one| one == *target));
        target.map(Some).ok_or_else(|| {
            let names: Vec<&str> = Target::of_snapshots().map(Target::name).collect();
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

    fn lines(&self, value: &Vec<SaveRule>) -> Vec<Vec<u8>> {
        if value.is_empty() { vec![b"\"\"".to_vec()] } else { vec![self.show(value)] }
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

    fn lines(&self, value: &Vec<String>) -> Vec<Vec<u8>> {
        if value.is_empty() { vec![b"\"\"".to_vec()] } else { vec![self.show(value)] }
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
        let args = if args == [b""] { &[] } else { args };
        if !args.len().is_multiple_of(4) {
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

    fn lines(&self, value: &[OutputLimit; 3]) -> Vec<Vec<u8>> {
        let line = |(class, limit): (&str, &OutputLimit)| {
            let (hard, soft) = (memory_text(limit.hard_bytes), memory_text(limit.soft_bytes));
            format!("{class} {hard} {soft} {}", limit.soft_seconds).into_bytes()
        };
        ["normal", "replica", "pubsub"].into_iter().zip(value).map(line).collect()
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
    /// Do not leave a cluster without a primary that has votes; there is no cluster.
    pub(crate) safe: bool,
    /// Hand over to a replica; there is none.
    pub(crate) failover: bool,
}

/// `default`, or words of save, nosave, now, force.
pub(crate) struct ShutdownWords;

impl Kind for ShutdownWords {
    type Value = ShutdownHow;

    fn parse(&self, args: &[&[u8]]) -> Result<ShutdownHow, String> {
        let words = || {
            "argument(s) must be one of the following: default, save, nosave, now, force, safe, failover"
                .to_owned()
        };
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
                b"safe" => how.safe = true,
                b"failover" => how.failover = true,
                _ => return Err(words()),
            }
        }
        if how.save && how.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(how)
    }

    fn show(&self, value: &ShutdownHow) -> Vec<u8> {
        let all = [
            (value.save, "save"),
            (value.nosave, "nosave"),
            (value.now, "now"),
            (value.force, "force"),
            (value.safe, "safe"),
            (value.failover, "failover"),
        ];
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
            ("", Some(0)),
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
