//! WAIT and WAITAOF: acknowledgement by replicas and by the disk. There are no replicas yet, so what
//! is asked of them comes only with the end of the time. What WAITAOF tells of the disk is what was synced,
//! never what was only written.
//!
//! Behaviour: valkey src/replication.c `waitCommand`, `waitaofCommand`.

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::command::spec::{BLOCKING, Group, Spec};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::blocked::{TimeoutReply, Waiting};

/// To who waits for a log that is not there.
pub(crate) const WAITAOF_OFF: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[WAIT, WAITAOF];

const WAIT: SessionCommand = SessionCommand::new(
    Spec::new("wait", Group::Generic, "3.0.0", 3, "numreplicas:int timeout:int")
        .flags(BLOCKING)
        .categories(&["connection"])
        .summary("Waits until so many replicas have all that the connection has written."),
    wait,
);

fn wait(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let replicas = args.int(1)?;
    let deadline = deadline_ms(args, 2, call.server.now)?;
    if replicas <= 0 || !call.may_wait {
        call.reply.int(0);
        return Ok(());
    }
    block(call, args, deadline, TimeoutReply::Replicas)
}

const WAITAOF: SessionCommand = SessionCommand::new(
    Spec::new("waitaof", Group::Generic, "7.2.0", 4, "numlocal:int numreplicas:int timeout:int")
        .flags(BLOCKING)
        .categories(&["connection"])
        .summary("Waits until the disk of this server and of so many replicas has all that the connection has written."),
    waitaof,
);

fn waitaof(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let local = args.int(1)?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::text("ERR value is out of range, value must between 0 and 1"));
    }
    // What is no integer is told in the same words as a negative one, as in Valkey.
    let replicas = args.int(2).ok().filter(|n| *n >= 0).ok_or(CommandError::MustBePositive)?;
    let deadline = deadline_ms(args, 3, call.server.now)?;
    if local > 0 && !call.server.config.appendonly {
        return Err(CommandError::text(WAITAOF_OFF));
    }
    let position = call.session().written_to;
    let has_local = i64::from(call.server.synced_position().is_some_and(|synced| synced >= position));
    if (replicas == 0 && has_local >= local) || !call.may_wait {
        call.reply.array(2);
        call.reply.int(has_local);
        call.reply.int(0);
        return Ok(());
    }
    call.server.aof.has_sync_waiters = true;
    block(call, args, deadline, TimeoutReply::Fsynced { position, local: local > 0, replicas: replicas > 0 })
}

/// Has the calling client wait, for no key, until `deadline`.
pub(super) fn block(
    call: &mut Call<'_>,
    args: Args<'_>,
    deadline: Option<UnixMs>,
    on_timeout: TimeoutReply,
) -> Outcome {
    let Some(number) = call.session().last_command else { return Ok(()) };
    let argv = args.0.iter().map(|word| word.to_vec()).collect();
    let waiting = Waiting::new(number, argv, call.session().db, Vec::new(), None, deadline, on_timeout);
    call.server.block(call.client, waiting);
    Ok(())
}

/// Argument `i` as a time in milliseconds from now: when it ends, `None` for 0.
///
/// # Errors
/// That it is no number, negative, or too far.
pub(super) fn deadline_ms(args: Args<'_>, i: usize, now: UnixMs) -> Result<Option<UnixMs>, CommandError> {
    let ms = num::parse_i64(args.at(i))
        .ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    match ms {
        i64::MIN..0 => Err(CommandError::TimeoutNegative),
        0 => Ok(None),
        _ => now.checked_add_ms(ms).map(Some).ok_or(CommandError::text("ERR timeout is out of range")),
    }
}
