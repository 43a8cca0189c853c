//! Files of the log that are gone while the server runs, and those of another log that have come in their place.
//!
//! Until fresh files are there, the folder must not look like one without data, or like one with less of them: a
//! manifest that names what is missing makes every server refuse to start on it. The files of another log are not
//! ours to replace.

use std::ffi::OsStr;
use std::io;

use super::log::{Aof, AofState};
use super::store::{self, StepError};
use crate::codec::aof::manifest::{Entry, Manifest};
use crate::persist::storage::{DirLock, dir_of};

impl Aof {
    /// Whether the manifest that is there is not ours, or, where there is none, a file with a name like a log's.
    /// What cannot be read is not ours; what cannot be looked at is, as far as can be said.
    #[must_use]
    pub fn has_other_log(&self) -> bool {
        match store::read_manifest(&*self.storage, &self.place()) {
            Ok(Some(Ok(manifest))) => !self.is_ours(&manifest),
            Ok(Some(Err(_))) => true,
            Ok(None) => self.has_foreign_names(),
            Err(_) => false,
        }
    }

    /// Whether the log is gone from a folder that is not the one which is locked.
    pub(super) fn is_home_elsewhere(&self, lock: Option<&dyn DirLock>) -> bool {
        let is_ours = |lock: &dyn DirLock| lock.covers(dir_of(&self.settings.dir)).unwrap_or(false);
        self.state == AofState::On
            && lock.is_some_and(|lock| !is_ours(lock))
            && store::has_manifest(&*self.storage, &self.place()).is_ok_and(|has| !has)
    }

    /// Before fresh files are made: sees to it that the manifest is there, durably, and says what is missing.
    ///
    /// # Errors
    /// What the disk said, and if another log is there: nothing is to be made then.
    pub(super) fn note_missing(&mut self) -> Result<(), StepError> {
        if self.has_other_log() {
            let text = "another AOF is there: put the former one back, or take it away";
            return Err(StepError::new("replace the files in", &self.settings.dir, io::Error::other(text)));
        }
        if self.is_missing_noted && store::has_manifest(&*self.storage, &self.place())? {
            return Ok(());
        }
        let text = self.settings.manifest_form().text(&self.with_strays());
        store::write_manifest(&*self.storage, &self.place(), &text)?;
        self.is_missing_noted = true;
        Ok(())
    }

    /// Whether a manifest names our files, and its base is as long as ours.
    fn is_ours(&self, manifest: &Manifest) -> bool {
        let has_our_bytes = |base: &Entry| {
            let ours = self.our_entries().find(|entry| entry.name == base.name);
            let path = self.place().of(&base.name);
            let found = self.storage.meta(&path).ok().flatten().map(|meta| meta.bytes);
            match (ours.and_then(|entry| entry.marks.size), found) {
                (Some(bytes), Some(found)) => bytes == found,
                _ => true,
            }
        };
        manifest.live().all(|(_, entry)| self.our_entries().any(|ours| ours.name == entry.name))
            && manifest.base.as_ref().is_none_or(has_our_bytes)
    }

    /// The files that our manifest names, and those that it may name.
    fn our_entries(&self) -> impl Iterator<Item = &Entry> {
        self.manifest.entries().map(|(_, entry)| entry).chain(&self.strays)
    }

    fn has_foreign_names(&self) -> bool {
        let Ok(paths) = self.storage.list(&self.settings.dir) else { return false };
        let names = paths.iter().filter_map(|path| path.file_name()).map(OsStr::as_encoded_bytes);
        let is_of_a_log = |name: &[u8]| {
            name.strip_prefix(self.settings.filename.as_bytes())
                .is_some_and(|rest| rest.ends_with(b".aof") || rest.ends_with(b".rdb"))
        };
        names.into_iter().any(|name| is_of_a_log(name) && !self.our_entries().any(|ours| ours.name == name))
    }
}
