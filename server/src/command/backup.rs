//! BACKUP: a set of files that is the data set as it was at one moment, made while the server serves.
//!
//! Facts, states and error texts: Redis 8.10.

use std::os::unix::ffi::OsStrExt;

use cairn_engine::command::spec::{ADMIN, Flags, Group, LOADING, NOSCRIPT, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome, help};
use cairn_engine::engine::Engine;
use cairn_engine::persist::backup::{Backup, BackupRefused};

use super::{Call, SessionCommand, SessionFn};
use crate::dispatch::LOADING_ERROR;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[BACKUP];

const CHANGES: Flags = ADMIN.or(NOSCRIPT);
const TELLS: Flags = ADMIN.or(STALE);

const BACKUP: SessionCommand = SessionCommand::new(
    Spec::new("backup", Group::Server, "8.10.0", 2, "")
        .complexity("Depends on the subcommand")
        .summary("Online backups."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("abort", CHANGES, "Ends a backup that is not sealed yet, and removes its files.", |call, _| {
        answered(call, |call| call.server.abort_backup("aborted by user"))
    }),
    sub("cleanup", CHANGES, "Removes the files of a backup that is sealed or has failed.", |call, _| {
        answered(call, |call| match &mut call.server.engine {
            Some(engine) => {
                engine.clean_up_backup()?;
                call.server.tell_backup_events();
                Ok(())
            }
            None => Ok(()),
        })
    }),
    sub("help", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &BACKUP);
        Ok(())
    }),
    sub("list", TELLS, "Lists the files of a backup that do not change any more.", list),
    sub("seal", CHANGES, "Ends a backup: its files are the data set of this moment.", |call, _| {
        let is_in_transaction = !call.may_wait;
        answered(call, |call| call.server.seal_backup(is_in_transaction))
    }),
    sub("start", CHANGES, "Begins a backup in the folder that backupdirname names.", |call, _| {
        let is_in_transaction = !call.may_wait;
        answered(call, |call| call.server.start_backup(is_in_transaction))
    }),
    sub("status", TELLS, "Tells how far a backup is.", status),
]);

const fn sub(name: &'static str, flags: Flags, summary: &'static str, run: SessionFn) -> SessionCommand {
    let spec = Spec::new(name, Group::Server, "8.10.0", 2, "").parent("backup");
    SessionCommand::new(spec.flags(flags).summary(summary), run)
}

fn answered(call: &mut Call<'_>, run: impl FnOnce(&mut Call<'_>) -> Result<(), BackupRefused>) -> Outcome {
    if call.server.is_loading() {
        return Err(CommandError::text(LOADING_ERROR));
    }
    run(call).map_err(|refused| CommandError::Text(format!("ERR {refused}").into()))?;
    call.reply.ok();
    Ok(())
}

fn list(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let files = call.server.engine.as_ref().map(|engine| engine.backup().files()).unwrap_or_default();
    call.reply.array(files.len());
    for file in files {
        call.reply.bulk(file.as_os_str().as_bytes());
    }
    Ok(())
}

fn status(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let state = call.server.backup_state().name();
    let backup = call.server.engine.as_ref().map(Engine::backup);
    let error = backup.map(Backup::error).unwrap_or_default();
    let (started, ended) = backup.map(Backup::times).unwrap_or_default();
    let seconds = [started, ended].map(|time| time.secs().to_string());
    call.reply.map(4);
    for (name, value) in
        [("state", state), ("error", error), ("start_time", &seconds[0]), ("end_time", &seconds[1])]
    {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(())
}
