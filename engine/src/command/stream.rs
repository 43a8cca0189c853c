//! Stream commands that no group is needed for. Groups are in `stream_group.rs`, XINFO in
//! `stream_info.rs`.
//!
//! A trim that stops where it likes is logged as the exact one that it was. What changes no entries
//! (groups, the last ID) touches nobody who watches the key. Behaviour: valkey src/t_stream.c.

use crate::base::stream_id::{IdSpec, StreamId};
use crate::codec::resp::Reply;
use crate::value::stream::{AppendError, Direction, Entry, Keep, References, SetIdError, Stream, Trim};
use crate::value::{Limits, Value};

use super::effects::Classes;
use super::spec::{DELETES, DENYOOM, FAST, Group, KeySpec, LOOKS, READONLY, READS, Spec, UPDATES, WRITE};
use super::stream_delete::references_argument;
use super::{Args, CommandError, Context, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID];

/// An id, or a group's last one, that is none.
pub(super) const INVALID_ID: CommandError =
    CommandError::text("ERR Invalid stream ID specified as stream command argument");

/// Argument `i` as an id of an entry; a missing sequence is 0.
///
/// # Errors
/// `INVALID_ID`, also for `-` and `+`.
pub(super) fn id_argument(args: Args<'_>, i: usize) -> Result<StreamId, CommandError> {
    StreamId::parse(args.at(i), 0).ok_or(INVALID_ID)
}

/// Arguments from `i` on as ids of entries.
///
/// # Errors
/// `INVALID_ID`.
pub(super) fn id_arguments(args: Args<'_>, i: usize) -> Result<Vec<StreamId>, CommandError> {
    (i..args.len()).map(|i| id_argument(args, i)).collect()
}

/// Argument `i` as the least id of a range; `(` leaves the id itself out.
///
/// # Errors
/// `INVALID_ID`, or that no id is above it.
pub(super) fn start_argument(args: Args<'_>, i: usize) -> Result<StreamId, CommandError> {
    match args.at(i) {
        [b'(', id @ ..] if !id.is_empty() => StreamId::parse(id, 0)
            .ok_or(INVALID_ID)?
            .next()
            .ok_or(CommandError::text("ERR invalid start ID for the interval")),
        id => StreamId::parse_bound(id, 0).ok_or(INVALID_ID),
    }
}

/// Argument `i` as the greatest id of a range; `(` leaves the id itself out.
///
/// # Errors
/// `INVALID_ID`, or that no id is below it.
pub(super) fn end_argument(args: Args<'_>, i: usize) -> Result<StreamId, CommandError> {
    match args.at(i) {
        [b'(', id @ ..] if !id.is_empty() => StreamId::parse(id, u64::MAX)
            .ok_or(INVALID_ID)?
            .prev()
            .ok_or(CommandError::text("ERR invalid end ID for the interval")),
        id => StreamId::parse_bound(id, u64::MAX).ok_or(INVALID_ID),
    }
}

/// An id as a word of a command.
pub(super) fn id_word(id: StreamId) -> Vec<u8> {
    let mut word = Vec::new();
    id.push_text(&mut word);
    word
}

/// Writes an id as a bulk string.
pub(super) fn reply_id(reply: &mut Reply, id: StreamId) {
    reply.bulk_with(|out| id.push_text(out));
}

/// Writes an entry: its id, and its fields and values in one array.
pub(super) fn reply_entry(reply: &mut Reply, entry: Entry<'_>) {
    reply.array(2);
    reply_entry_parts(reply, entry);
}

/// Writes the two parts of an entry, for an array that the caller has begun.
pub(super) fn reply_entry_parts(reply: &mut Reply, entry: Entry<'_>) {
    reply_id(reply, entry.id);
    reply.array(entry.fields.len() * 2);
    for (field, value) in entry.fields {
        reply_element(reply, field);
        reply_element(reply, value);
    }
}

/// Writes an array of entries.
pub(super) fn reply_entries<'a>(reply: &mut Reply, entries: impl Iterator<Item = Entry<'a>>) {
    let begun = reply.begin_array();
    let mut len = 0;
    for entry in entries {
        reply_entry(reply, entry);
        len += 1;
    }
    reply.end_array(begun, len);
}

/// What XADD and XTRIM are told besides key, id and fields.
#[derive(Debug, Default)]
struct TrimOptions {
    keep: Option<Keep>,
    /// Where the threshold is.
    keep_at: usize,
    is_approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
}

impl TrimOptions {
    /// Reads an option at `i` if there is one. Answers where the next argument is, `None` if there is
    /// no option of trimming at `i`.
    fn read(&mut self, args: Args<'_>, i: usize) -> Result<Option<usize>, CommandError> {
        if let Some(references) = references_argument(args, i).filter(|_| self.references.is_none()) {
            self.references = Some(references);
            return Ok(Some(i + 1));
        }
        if i + 1 >= args.len() {
            return Ok(None);
        }
        if args.is(i, "LIMIT") {
            let limit = args.int(i + 1)?;
            let negative = CommandError::text("ERR The LIMIT argument must be >= 0.");
            self.limit = Some(u64::try_from(limit).map_err(|_| negative)?);
            return Ok(Some(i + 2));
        }
        let by_length = args.is(i, "MAXLEN");
        if !by_length && !args.is(i, "MINID") {
            return Ok(None);
        }
        if self.keep.is_some() {
            return Err(CommandError::text(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let has_mark = i + 2 < args.len() && matches!(args.at(i + 1), b"~" | b"=");
        self.is_approximate = has_mark && args.at(i + 1) == b"~";
        let at = if has_mark { i + 2 } else { i + 1 };
        self.keep = Some(if by_length {
            let negative = CommandError::text("ERR The MAXLEN argument must be >= 0.");
            Keep::Newest(u64::try_from(args.int(at)?).map_err(|_| negative)?)
        } else {
            Keep::From(id_argument(args, at)?)
        });
        self.keep_at = at;
        Ok(Some(at + 1))
    }

    /// What to trim, if anything, after all options were read.
    fn finish(&self, limits: &Limits, must_obey: bool) -> Result<Option<(Keep, Trim)>, CommandError> {
        if self.keep.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        let how = match self.limit {
            // Logs have the limit beside an exact threshold, which already says how far it got.
            _ if must_obey && self.is_approximate => Trim::Nodes { limit: 0 },
            _ if must_obey => Trim::Exact,
            Some(limit) if self.is_approximate => Trim::Nodes { limit },
            None if self.is_approximate => Trim::about(limits),
            None => Trim::Exact,
            Some(_) if self.keep.is_none() => Trim::Exact,
            Some(_) => return Err(LIMIT_WITHOUT_APPROXIMATION),
        };
        Ok(self.keep.map(|keep| (keep, how)))
    }

    /// Trims; answers how many entries that removed, and with `is_logging` the exact threshold that has
    /// the same effect as an approximate one had.
    fn trim(&self, stream: &mut Stream, keep: Keep, how: Trim, is_logging: bool) -> (u64, Option<Vec<u8>>) {
        let references = self.references.unwrap_or_default();
        let done = stream.trim_minding(keep, how, references);
        let threshold = (is_logging && self.is_approximate).then(|| match keep {
            Keep::Newest(_) => stream.len().to_string().into_bytes(),
            // Entries that had to stay are no measure of how far it got.
            Keep::From(id) if references == References::Acked => {
                id_word(done.stopped_at.map_or(id, |at| at.min(id)))
            }
            // Nothing left is told as the greatest id.
            Keep::From(_) => id_word(stream.first_kept_id().unwrap_or(StreamId::MAX)),
        });
        (done.removed, threshold)
    }

    /// Logs the call with what was found out: the threshold, and the id (at its position).
    fn log(
        &self,
        ctx: &mut Context<'_>,
        args: Args<'_>,
        threshold: Option<&[u8]>,
        id: Option<(usize, &[u8])>,
    ) {
        let mut words: Vec<&[u8]> = args.0.to_vec();
        if let Some(threshold) = threshold {
            words[self.keep_at - 1] = b"=";
            words[self.keep_at] = threshold;
        }
        if let Some((at, id)) = id {
            words[at] = id;
        }
        ctx.data.log_as(&words);
    }
}

const LIMIT_WITHOUT_APPROXIMATION: CommandError =
    CommandError::text("ERR syntax error, LIMIT cannot be used without the special ~ option");

const XADD: DataCommand = DataCommand::new(
    Spec::new(
        "xadd",
        Group::Stream,
        "5.0.0",
        -5,
        "key [ NOMKSTREAM@6.2.0 ] condition@8.2.0=[ KEEPREF | DELREF | ACKED ] \
         trim=[ strategy=< MAXLEN | MINID@6.2.0 > operator=[ equal== | approximately=~ ] threshold \
         [ LIMIT count:int@6.2.0 ] ] id-selector=< auto-id=* | id > data=< field value >...",
    )
    .flags(WRITE.or(DENYOOM).or(FAST))
    .keys(&[KeySpec::one(1, UPDATES)])
    .complexity("O(1) to add an entry, O(N) in the entries trimmed")
    .summary("Adds an entry to a stream."),
    xadd,
);

fn xadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut options = TrimOptions::default();
    let (mut i, mut existing_only) = (2, false);
    let id = loop {
        // The arity leaves room for an id, but options may have taken it.
        let Some(arg) = args.get(i) else { return Err(arity("xadd")) };
        if arg == b"*" {
            break IdSpec::Auto;
        }
        if let Some(next) = options.read(args, i)? {
            i = next;
        } else if args.is(i, "NOMKSTREAM") {
            existing_only = true;
            i += 1;
        } else {
            break IdSpec::parse(arg).ok_or(INVALID_ID)?;
        }
    };
    let trim = options.finish(ctx.data.limits, ctx.data.must_obey)?;
    let fields = args.from(i + 1);
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(arity("xadd"));
    }
    if id == IdSpec::Exact(StreamId::MIN) {
        return Err(CommandError::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let now_ms = u64::try_from(ctx.data.now.0).unwrap_or(0);
    let is_logging = ctx.data.is_logging();
    let add = |stream: &mut Stream, limits: &Limits| {
        let id = stream.append(id, now_ms, fields, limits)?;
        let trimmed = trim.map_or((0, None), |(keep, how)| options.trim(stream, keep, how, is_logging));
        Ok((id, trimmed))
    };
    let key = args.at(1);
    let added = match ctx.data.edit_stream(key, |stream, limits| add(stream, limits))? {
        Some(added) => added,
        None if existing_only => {
            ctx.reply.null();
            return Ok(());
        }
        None => {
            let mut stream = Box::new(Stream::new());
            let added = add(&mut stream, ctx.data.limits);
            if added.is_ok() {
                ctx.data.set(key, Value::Stream(stream), None);
            }
            added
        }
    };
    let (added_id, (trimmed, threshold)) = added.map_err(append_error)?;
    ctx.data.dirty += 1;
    if ctx.data.effects.is_heard() {
        ctx.data.event(Classes::STREAM, "xadd", key);
        if trimmed > 0 {
            ctx.data.event(Classes::STREAM, "xtrim", key);
        }
        ctx.data.changed(key);
    }
    let is_exact = matches!(id, IdSpec::Exact(_));
    if is_logging && (threshold.is_some() || !is_exact) {
        let word = id_word(added_id);
        options.log(ctx, args, threshold.as_deref(), (!is_exact).then_some((i, &word)));
    }
    reply_id(ctx.reply, added_id);
    Ok(())
}

fn arity(name: &str) -> CommandError {
    CommandError::Arity(name.to_owned())
}

fn append_error(error: AppendError) -> CommandError {
    CommandError::text(match error {
        AppendError::NotAbove => {
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        }
        AppendError::Exhausted => {
            "ERR The stream has exhausted the last possible ID, unable to add more items"
        }
        AppendError::TooLarge => "ERR Elements are too large to be stored",
    })
}

const XLEN: DataCommand = DataCommand::new(
    Spec::new("xlen", Group::Stream, "5.0.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Counts the entries of a stream."),
    |ctx, args| {
        let len = ctx.data.stream(args.at(1))?.map_or(0, Stream::len);
        ctx.reply.uint(len);
        Ok(())
    },
);

const XRANGE: DataCommand = DataCommand::new(
    Spec::new("xrange", Group::Stream, "5.0.0", -4, "key start end [ COUNT count:int ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(log N + M), N nodes of the stream and M entries given")
        .summary("Gives the entries with ids in a range."),
    |ctx, args| range(ctx, args, 2, 3, Direction::Forward),
);

const XREVRANGE: DataCommand = DataCommand::new(
    Spec::new("xrevrange", Group::Stream, "5.0.0", -4, "key end start [ COUNT count:int ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(log N + M), N nodes of the stream and M entries given")
        .summary("Gives the entries with ids in a range, the newest first."),
    |ctx, args| range(ctx, args, 3, 2, Direction::Backward),
);

fn range(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    start_at: usize,
    end_at: usize,
    direction: Direction,
) -> Outcome {
    let start = start_argument(args, start_at)?;
    let end = end_argument(args, end_at)?;
    let mut count = None;
    let mut i = 4;
    while i < args.len() {
        if !args.is(i, "COUNT") || i + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        count = Some(usize::try_from(args.int(i + 1)?).unwrap_or(0));
        i += 2;
    }
    let Some(stream) = ctx.data.stream(args.at(1))? else {
        ctx.reply.array(0);
        return Ok(());
    };
    match count {
        Some(0) => ctx.reply.null_array(),
        count => {
            let entries = stream.range(start, end, direction);
            reply_entries(ctx.reply, entries.take(count.unwrap_or(usize::MAX)));
        }
    }
    Ok(())
}

const XDEL: DataCommand = DataCommand::new(
    Spec::new("xdel", Group::Stream, "5.0.0", -3, "key id...")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, DELETES)])
        .complexity("O(N) in the ids")
        .summary("Deletes entries of a stream."),
    xdel,
);

fn xdel(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    // Ids are not looked at when there is no stream.
    let deleted = ctx.data.edit_stream(args.at(1), |stream, _| {
        let ids = id_arguments(args, 2)?;
        Ok(ids.into_iter().map(|id| u64::from(stream.delete(id))).sum())
    })?;
    let deleted = deleted.unwrap_or(Ok(0))?;
    ctx.data.wrote_many(Classes::STREAM, "xdel", args.at(1), deleted);
    ctx.reply.uint(deleted);
    Ok(())
}

const XTRIM: DataCommand = DataCommand::new(
    Spec::new(
        "xtrim",
        Group::Stream,
        "5.0.0",
        -4,
        "key trim=< strategy=< MAXLEN | MINID@6.2.0 > operator=[ equal== | approximately=~ ] \
         threshold [ LIMIT count:int@6.2.0 ] > condition@8.2.0=[ KEEPREF | DELREF | ACKED ]",
    )
    .flags(WRITE)
    .keys(&[KeySpec::one(1, DELETES)])
    .complexity("O(N) in the entries removed")
    .summary("Removes the oldest entries of a stream."),
    xtrim,
);

fn xtrim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut options = TrimOptions::default();
    let mut i = 2;
    while i < args.len() {
        i = options.read(args, i)?.ok_or(CommandError::Syntax)?;
    }
    let (keep, how) = options
        .finish(ctx.data.limits, ctx.data.must_obey)?
        .ok_or(CommandError::text("ERR syntax error, XTRIM must be called with a trimming strategy"))?;
    let is_logging = ctx.data.is_logging();
    let trimmed =
        ctx.data.edit_stream(args.at(1), |stream, _| options.trim(stream, keep, how, is_logging))?;
    let (removed, threshold) = trimmed.unwrap_or((0, None));
    ctx.data.wrote_late(Classes::STREAM, "xtrim", args.at(1), removed);
    if removed > 0 && threshold.is_some() {
        options.log(ctx, args, threshold.as_deref(), None);
    }
    ctx.reply.uint(removed);
    Ok(())
}

const XSETID: DataCommand = DataCommand::new(
    Spec::new(
        "xsetid",
        Group::Stream,
        "5.0.0",
        -3,
        "key last-id [ ENTRIESADDED entries-added:int@7.0.0 ] [ MAXDELETEDID max-deleted-id@7.0.0 ]",
    )
    .flags(WRITE.or(DENYOOM).or(FAST))
    .keys(&[KeySpec::one(1, UPDATES)])
    .summary("Sets the numbers that a stream keeps of itself."),
    xsetid,
);

fn xsetid(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let last_id = id_argument(args, 2)?;
    let (mut entries_added, mut max_deleted_id) = (None, None);
    let mut i = 3;
    while i < args.len() {
        if i + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        if args.is(i, "ENTRIESADDED") {
            let negative = CommandError::text("ERR entries_added must be positive");
            entries_added = Some(u64::try_from(args.int(i + 1)?).map_err(|_| negative)?);
        } else if args.is(i, "MAXDELETEDID") {
            let id = id_argument(args, i + 1)?;
            if last_id < id {
                return Err(CommandError::text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            max_deleted_id = Some(id);
        } else {
            return Err(CommandError::Syntax);
        }
        i += 2;
    }
    ctx.data
        .edit_stream(args.at(1), |stream, _| stream.set_id(last_id, entries_added, max_deleted_id))?
        .ok_or(CommandError::NoSuchKey)?
        .map_err(|error| {
            CommandError::text(match error {
                SetIdError::BelowDeleted => {
                    "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
                }
                SetIdError::BelowTop => {
                    "ERR The ID specified in XSETID is smaller than the target stream top item"
                }
                SetIdError::AddedBelowLength => {
                    "ERR The entries_added specified in XSETID is smaller than the target stream length"
                }
            })
        })?;
    ctx.data.dirty += 1;
    ctx.data.event(Classes::STREAM, "xsetid", args.at(1));
    ctx.reply.ok();
    Ok(())
}
