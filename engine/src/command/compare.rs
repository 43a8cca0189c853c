//! Conditions on the string at a key: that it equals another, or that its digest does.
//!
//! Behaviour: DELIFEQ and SET IFEQ as valkey src/t_string.c; IFNE, IFDEQ, IFDNE, DELEX and DIGEST as
//! Redis 8.4 documents them. The digest is XXH3 with 64 bits, in sixteen hexadecimal digits.

use xxhash_rust::xxh3::xxh3_64;

use crate::value::{IntText, StrRef, ValueRef};

use super::effects::Classes;
use super::spec::{DELETES, FAST, Group, KeySpec, READONLY, READS, REMOVES, Spec, WRITE};
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[DELIFEQ, DELEX, DIGEST];

/// What a string is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison<'a> {
    Equal(&'a [u8]),
    NotEqual(&'a [u8]),
    DigestEqual(u64),
    DigestNotEqual(u64),
}

impl<'a> Comparison<'a> {
    /// The words that introduce one.
    pub(super) const WORDS: [&'static str; 4] = ["IFEQ", "IFNE", "IFDEQ", "IFDNE"];

    /// Reads the word at `i` and what follows it; `None` if it is no such word, or nothing follows.
    ///
    /// # Errors
    /// The text about a digest that is none.
    pub(super) fn parse(args: Args<'a>, i: usize) -> Result<Option<Comparison<'a>>, CommandError> {
        let Some(operand) = args.get(i + 1) else { return Ok(None) };
        Ok(match Self::WORDS.iter().position(|word| args.is(i, word)) {
            Some(0) => Some(Comparison::Equal(operand)),
            Some(1) => Some(Comparison::NotEqual(operand)),
            Some(2) => Some(Comparison::DigestEqual(parse_digest(operand)?)),
            Some(_) => Some(Comparison::DigestNotEqual(parse_digest(operand)?)),
            None => None,
        })
    }

    /// True if the string at a key (`None` if there is none) is as wanted.
    pub(super) fn holds(self, text: Option<StrRef<'_>>) -> bool {
        let mut int_text = IntText::new();
        let bytes = text.map(|text| text.bytes(&mut int_text));
        match self {
            Comparison::Equal(wanted) => bytes == Some(wanted),
            Comparison::NotEqual(other) => bytes != Some(other),
            Comparison::DigestEqual(digest) => bytes.map(xxh3_64) == Some(digest),
            Comparison::DigestNotEqual(digest) => bytes.map(xxh3_64) != Some(digest),
        }
    }
}

/// A digest as DIGEST gives it, in letters of either case.
fn parse_digest(text: &[u8]) -> Result<u64, CommandError> {
    const DIGITS: usize = 16;
    const BAD_DIGEST: CommandError = CommandError::text("ERR must be exactly 16 hexadecimal characters");
    if text.len() != DIGITS {
        return Err(BAD_DIGEST);
    }
    let digits = text.iter().map(|byte| char::from(*byte).to_digit(16).map(u64::from));
    digits.into_iter().try_fold(0, |sum, digit| Some(sum << 4 | digit?)).ok_or(BAD_DIGEST)
}

const DELIFEQ: DataCommand = DataCommand::new(
    Spec::new("delifeq", Group::String, "9.0.0", 3, "key value")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, REMOVES)])
        .summary("Removes a key if it holds this string."),
    delifeq,
);

fn delifeq(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let found = ctx.data.string(key)?;
    let removes = Comparison::Equal(args.at(2)).holds(found);
    if removes {
        remove(ctx, key);
    }
    ctx.reply.int(i64::from(removes));
    Ok(())
}

fn remove(ctx: &mut Context<'_>, key: &[u8]) {
    ctx.data.remove(key);
    ctx.data.wrote(Classes::GENERIC, "del", key);
    ctx.data.log_as(&[b"DEL", key]);
}

const DELEX: DataCommand = DataCommand::new(
    Spec::new(
        "delex",
        Group::String,
        "8.4.0",
        -2,
        "key [ IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest ]",
    )
    .flags(WRITE.or(FAST))
    .keys(&[KeySpec::one(1, DELETES)])
    .complexity("O(1), and O(N) in the bytes of the string for a digest")
    .summary("Removes a key if its string, or the digest of it, is as wanted."),
    delex,
);

fn delex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const NOT_A_STRING: CommandError =
        CommandError::text("ERR Key should be of string type if conditions are specified");
    const NO_CONDITION: CommandError =
        CommandError::text("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
    let key = args.at(1);
    if args.len() != 2 && args.len() != 4 {
        return Err(CommandError::Arity("delex".to_owned()));
    }
    let removes = match ctx.data.peek(key) {
        None => false,
        Some(_) if args.len() == 2 => true,
        Some(ValueRef::String(text)) => Comparison::parse(args, 2)?.ok_or(NO_CONDITION)?.holds(Some(text)),
        Some(_) => return Err(NOT_A_STRING),
    };
    if removes {
        remove(ctx, key);
    }
    ctx.reply.int(i64::from(removes));
    Ok(())
}

const DIGEST: DataCommand = DataCommand::new(
    Spec::new("digest", Group::String, "8.4.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the bytes of the string")
        .summary("Gives the digest of the string at a key, in hexadecimal digits."),
    digest,
);

fn digest(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.string(args.at(1))? {
        None => ctx.reply.null(),
        Some(text) => {
            let digest = xxh3_64(text.bytes(&mut IntText::new()));
            ctx.reply.bulk(format!("{digest:016x}").as_bytes());
        }
    }
    Ok(())
}
