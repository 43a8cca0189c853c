//! Scripts that a log has as they were sent, run on the keys that are being loaded. What that takes is in
//! `script/again.rs`.

use crate::base::time::UnixMs;
use crate::codec::resp::Reply;
use crate::command::{Args, CommandError, DataCommand};
use crate::keyspace::Keyspace;
use crate::persist::load::{LoadProgress, Loaded};
use crate::script::again::{Failed, Ground};
use crate::value::Limits;

use super::build::Caller;
use super::parse::Stopped;
use super::replay::{Destination, Replayer};
use super::{Level, Listener, Note};
use crate::base::rng::Rng;

impl Replayer<'_> {
    /// Takes notice of who has written the RDB file that a log begins with.
    pub(super) fn note_origin(&mut self, loaded: &Loaded) {
        if let Some((_, version)) = loaded.aux.iter().find(|(name, _)| name == b"redis-ver") {
            self.again.get_or_insert_default().note_version(version);
        }
    }

    /// EVAL, EVALSHA and SCRIPT, at this offset.
    ///
    /// # Errors
    /// It cannot be repeated: it is none, or names a script that nobody has.
    pub(super) fn script(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), Stopped> {
        let mut again = self.again.take().unwrap_or_default();
        let Destination { keyspace, scripts, limits, rng, now, .. } = &mut self.into;
        let mut keys = Keys {
            keyspace,
            around: (limits, *now, rng),
            caller: &mut self.caller,
            listener: &mut *self.listener,
            progress: self.progress,
        };
        let ran = again.run(scripts, &mut keys, (self.db, at), argv);
        self.again = Some(again);
        self.commands += u64::from(!Args(argv).is(0, "script"));
        match ran {
            Ok(()) => Ok(()),
            Err(Failed::Never(text)) => Err(Stopped { at, text }),
            Err(Failed::Answers(text)) => {
                let name = argv.first().copied().unwrap_or_default().to_ascii_lowercase();
                self.tell_error(&text, &String::from_utf8_lossy(&name));
                Ok(())
            }
        }
    }
}

/// The keys that are being loaded, and who hears of it.
struct Keys<'k> {
    keyspace: &'k mut Keyspace,
    around: (&'k Limits, UnixMs, &'k mut Rng),
    caller: &'k mut Caller,
    listener: &'k mut dyn Listener,
    progress: LoadProgress,
}

impl Ground for Keys<'_> {
    fn now(&self) -> UnixMs {
        self.around.1
    }

    fn has_db(&mut self, db: usize) -> bool {
        db < self.keyspace.len()
    }

    fn apply(
        &mut self,
        db: usize,
        command: &'static DataCommand,
        argv: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<(), CommandError> {
        let (limits, now, rng) = &mut self.around;
        let around = (*limits, *now, &mut **rng);
        let outcome = self.caller.call_for_script(self.keyspace, db, around, command, argv, reply);
        if self.keyspace.has_garbage(db) {
            self.keyspace.take_garbage().for_each(drop);
        }
        outcome
    }

    fn log(&mut self, level: u8, text: String) {
        let level = match level {
            0 | 1 => return,
            2 => Level::Notice,
            _ => Level::Warning,
        };
        self.listener.note(Note { level, text });
    }

    fn meanwhile(&mut self) {
        self.listener.progress(self.progress);
    }
}
