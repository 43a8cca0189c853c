//! WAIT and WAITAOF: acknowledgement by replicas and by the disk. There are no replicas yet, so what
//! is asked of them comes only with the end of the time.
//!
//! Behaviour: valkey src/replication.c `waitCommand`, `waitaofCommand`.

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::command::spec::{BLOCKING, Group, Spec};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::blocked::{TimeoutReply, Waiting};

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
    let replicas = args.int(2)?;
    if replicas < 0 {
        return Err(CommandError::MustBePositive);
    }
    let deadline = deadline_ms(args, 3, call.server.now)?;
    if local > 0 {
        return Err(CommandError::text(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    if replicas == 0 || !call.may_wait {
        call.reply.array(2);
        call.reply.int(0);
        call.reply.int(0);
        return Ok(());
    }
    block(call, args, deadline, TimeoutReply::Fsynced)
}

fn block(call: &mut Call<'_>, args: Args<'_>, deadline: Option<UnixMs>, on_timeout: TimeoutReply) -> Outcome {
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
