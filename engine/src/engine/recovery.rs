//! The start of an engine: finding the data and loading them.

use super::Engine;
use crate::base::time::UnixMs;
use crate::persist::recover::{
    self, Destination, Listener, Preload, RecoverOptions, Recovered, Refusal, Source,
};
use crate::persist::snapshot::TargetChoice;
use crate::persist::storage::Storage;
use crate::script::{Restore, Scripts};

impl Engine {
    /// Finds the data that the options tell of, loads them into the engine, which must be empty, and puts
    /// the files in order. Nothing of it counts as a change, and nothing is recorded in `effects`. Scripts
    /// that a log has run or loaded are in `scripts` then.
    ///
    /// # Errors
    /// `Refusal`: no file was changed. The engine holds a part of the data and must not be used.
    pub fn recover(
        &mut self,
        now: UnixMs,
        options: &RecoverOptions,
        scripts: &mut Scripts,
        listener: &mut dyn Listener,
    ) -> Result<Recovered, Refusal> {
        self.load_by(now, scripts, |storage, into| recover::recover(storage, into, options, listener))
    }

    /// The same with files that are elsewhere, which are left as they are, and so is all else on the disk.
    ///
    /// # Errors
    /// `Refusal`. The engine must not be used.
    pub fn preload(
        &mut self,
        what: &Preload,
        now: UnixMs,
        options: &RecoverOptions,
        scripts: &mut Scripts,
        listener: &mut dyn Listener,
    ) -> Result<Recovered, Refusal> {
        self.load_by(now, scripts, |storage, into| recover::preload(storage, what, into, options, listener))
    }

    fn load_by(
        &mut self,
        now: UnixMs,
        scripts: &mut Scripts,
        load: impl FnOnce(&dyn Storage, Destination<'_>) -> Result<Recovered, Refusal>,
    ) -> Result<Recovered, Refusal> {
        self.keyspace.tick(now);
        let into = Destination {
            keyspace: &mut self.keyspace,
            carried: &mut self.carried,
            limits: &self.limits,
            rng: &mut self.rng,
            scripts,
            now,
            apart: self.apart,
        };
        let recovered = load(self.storage.as_ref(), into)?;
        self.last_stamp = self.last_stamp.max(recovered.stamp.unwrap_or(UnixMs(0)));
        let file = match &recovered.source {
            Source::Dump(loaded) => Some(loaded),
            _ => recovered.base.as_ref(),
        };
        if let (TargetChoice::Auto(family), Some(version)) =
            (&mut self.settings.target, file.and_then(|loaded| loaded.version))
        {
            // A file that not everybody reads goes back to the family of servers it came from.
            *family = version.dialect;
        }
        Ok(recovered)
    }

    /// Takes the data of another engine of the same settings in the place of its own. They count as saved.
    pub fn take_data_of(&mut self, other: Engine) {
        let Engine { keyspace, carried, settings, .. } = other;
        (self.keyspace, self.carried) = (keyspace, carried);
        self.settings.target = settings.target;
        self.snapshot_stats.dirty = 0;
    }

    /// Adds the data of another engine of the same settings to its own. What is there twice is taken from
    /// the other if it `replaces`.
    ///
    /// # Errors
    /// What is there twice, if it does not; or a function that two libraries have. Nothing has changed then.
    pub fn merge_data_of(&mut self, mut other: Engine, replaces: bool) -> Result<(), String> {
        let databases = self.keyspace.len().min(other.keyspace.len());
        let mut keys: Vec<Vec<Vec<u8>>> = Vec::with_capacity(databases);
        for index in 0..databases {
            let db = self.keyspace.db(index);
            let names: Vec<Vec<u8>> =
                other.keyspace.db(index).iter().map(|entry| entry.key().to_vec()).collect();
            if let Some(key) = names.iter().find(|key| !replaces && db.contains(key)) {
                return Err(format!("the key \"{}\" is there already", key.escape_ascii()));
            }
            keys.push(names);
        }
        let sources: Vec<Vec<u8>> = other.carried.functions.sources().map(<[u8]>::to_vec).collect();
        let policy = if replaces { Restore::Replace } else { Restore::Append };
        let restored = self.carried.functions.restore(&sources, policy);
        restored.map_err(|why| String::from_utf8_lossy(&why).into_owned())?;
        for (index, names) in keys.iter().enumerate() {
            let (from, into) = (other.keyspace.db_mut(index), self.keyspace.db_mut(index));
            for entry in names.iter().filter_map(|key| from.remove_entry(key)) {
                into.put(entry);
                self.snapshot_stats.dirty += 1;
            }
        }
        Ok(())
    }
}
