//! XDELEX and XACKDEL: removing entries with a view to the groups that have them.
//!
//! Behaviour: redis src/t_stream.c since 8.2, and its tests in tests/unit/type/stream*.tcl.

use crate::base::stream_id::StreamId;
use crate::codec::resp::Reply;
use crate::value::stream::{References, Removed, Stream};

use super::effects::Classes;
use super::spec::{DELETES, FAST, Group, KeySpec, KeyUse, Spec, WRITE};
use super::stream::id_argument;
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[XDELEX, XACKDEL];

/// Argument `i` as what a removal does about groups.
pub(super) fn references_argument(args: Args<'_>, i: usize) -> Option<References> {
    if args.is(i, "KEEPREF") {
        Some(References::Keep)
    } else if args.is(i, "DELREF") {
        Some(References::Delete)
    } else {
        args.is(i, "ACKED").then_some(References::Acked)
    }
}

/// What both commands are told: how, and where the ids are.
#[derive(Debug)]
struct Removal {
    references: References,
    ids: std::ops::Range<usize>,
}

impl Removal {
    fn parse(args: Args<'_>, from: usize) -> Result<Removal, CommandError> {
        let (mut references, mut ids) = (None, None);
        let mut i = from;
        while i < args.len() {
            if let Some(how) = references_argument(args, i).filter(|_| references.is_none()) {
                references = Some(how);
                i += 1;
            } else if args.is(i, "IDS") && i + 1 < args.len() {
                let count = args.int(i + 1).ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
                let count =
                    count.ok_or(CommandError::text("ERR Number of IDs must be a positive integer"))?;
                if count > args.len() - i - 2 {
                    return Err(CommandError::text(
                        "ERR The `numids` parameter must match the number of arguments",
                    ));
                }
                ids = Some(i + 2..i + 2 + count);
                i += 2 + count;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let ids = ids.ok_or(CommandError::text("ERR IDS option is required"))?;
        Ok(Removal { references: references.unwrap_or_default(), ids })
    }

    /// Nothing is there, or nothing to acknowledge.
    fn answer_none(&self, reply: &mut Reply) {
        reply.array(self.ids.len());
        self.ids.clone().for_each(|_| reply.int(NOT_THERE));
    }
}

/// The replies for one id.
const NOT_THERE: i64 = -1;
const DONE: i64 = 1;
const REFERENCED: i64 = 2;

/// What a call has done to a stream.
#[derive(Debug, Default)]
struct Done {
    deleted: u64,
    changes: u64,
}

const XDELEX: DataCommand = DataCommand::new(
    Spec::new(
        "xdelex",
        Group::Stream,
        "8.2.0",
        -5,
        "key [ KEEPREF | DELREF | ACKED ] < IDS numids:int id... >",
    )
    .flags(WRITE.or(FAST))
    .keys(&[KeySpec::one(1, DELETES)])
    .complexity("O(N) in the ids, times the groups unless KEEPREF")
    .summary("Deletes entries of a stream, minding what groups have of them."),
    |ctx, args| {
        ctx.data.edit_stream(args.at(1), |_, _| ())?;
        let removal = Removal::parse(args, 2)?;
        run(ctx, args, &removal, |stream, id, done| {
            let (removed, has_changed) = stream.remove(id, removal.references);
            done.deleted += u64::from(removed == Removed::Yes);
            done.changes += u64::from(has_changed);
            match removed {
                Removed::Yes => DONE,
                Removed::NotThere => NOT_THERE,
                Removed::Referenced => REFERENCED,
            }
        })
    },
);

const XACKDEL: DataCommand = DataCommand::new(
    Spec::new(
        "xackdel",
        Group::Stream,
        "8.2.0",
        -6,
        "key group [ KEEPREF | DELREF | ACKED ] < IDS numids:int id... >",
    )
    .flags(WRITE.or(FAST))
    .keys(&[KeySpec::one(1, UPDATES_AND_DELETES)])
    .complexity("O(N) in the ids, times the groups unless KEEPREF")
    .summary("Acknowledges entries and deletes them, minding what other groups have of them."),
    |ctx, args| {
        let group = args.at(2);
        let is_known = ctx.data.edit_stream(args.at(1), |stream, _| stream.group(group).is_some())?;
        let removal = Removal::parse(args, 3)?;
        if is_known != Some(true) {
            removal.answer_none(ctx.reply);
            return Ok(());
        }
        run(ctx, args, &removal, |stream, id, done| {
            if stream.ack(group, &[id]) == 0 {
                return NOT_THERE;
            }
            let (removed, _) = stream.remove(id, removal.references);
            done.deleted += u64::from(removed == Removed::Yes);
            done.changes += 1 + u64::from(removed == Removed::Yes);
            // One that is gone already counts as done: it was acknowledged.
            if removed == Removed::Referenced { REFERENCED } else { DONE }
        })
    },
);

/// Acknowledges and takes away.
const UPDATES_AND_DELETES: KeyUse = KeyUse { mode: "RW", effects: &["update", "delete"] };

/// Runs `remove` on each id, which answers the reply for it.
fn run(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    removal: &Removal,
    mut remove: impl FnMut(&mut Stream, StreamId, &mut Done) -> i64,
) -> Outcome {
    let key = args.at(1);
    let reply = &mut *ctx.reply;
    let done = ctx.data.edit_stream(key, |stream, _| {
        let ids = removal.ids.clone().map(|i| id_argument(args, i)).collect::<Result<Vec<_>, _>>()?;
        let mut done = Done::default();
        reply.array(ids.len());
        for id in ids {
            let answer = remove(stream, id, &mut done);
            reply.int(answer);
        }
        Ok(done)
    })?;
    let Some(done) = done.transpose()? else {
        removal.answer_none(ctx.reply);
        return Ok(());
    };
    ctx.data.dirty += done.changes;
    if done.deleted > 0 {
        ctx.data.changed(key);
        ctx.data.event(Classes::STREAM, "xdel", key);
    }
    Ok(())
}
