//! CLIENT PAUSE: commands that have to wait until an operator, or a time, lets them go on.
//!
//! A command that may not run is not run: its client is held, with what it sent kept unread.
//! Behaviour: valkey src/networking.c `pauseActions`.

use cairn_engine::base::time::UnixMs;

use crate::clients::Hold;
use crate::server::Server;

/// Which commands are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paused {
    /// Those that may change data, or that replicas would have to run.
    Writes,
    /// All.
    All,
}

/// A pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// What is held.
    pub(crate) what: Paused,
    /// Until when.
    pub(crate) until: UnixMs,
}

impl Server {
    /// Holds commands; a pause that is on already does not end sooner for that.
    pub(crate) fn pause_clients(&mut self, what: Paused, until: UnixMs) {
        let until = self.pause.map_or(until, |pause| pause.until.max(until));
        self.pause = Some(Pause { what, until });
    }

    /// The pause, if there is one and its time has not passed.
    #[inline]
    pub(crate) fn paused(&self) -> Option<Paused> {
        self.pause.filter(|pause| !pause.until.is_past(self.now)).map(|pause| pause.what)
    }

    /// Ends the pause and lets everybody go on.
    pub(crate) fn unpause_clients(&mut self) {
        self.pause = None;
        for index in std::mem::take(&mut self.held) {
            if let Some(client) = self.clients.get_mut(index)
                && client.session.hold == Hold::Paused
            {
                client.session.hold = Hold::No;
                self.resumed.push(index);
            }
        }
    }

    /// Ends the pause if its time has passed.
    pub(crate) fn end_pause_in_time(&mut self) {
        if self.pause.is_some_and(|pause| pause.until.is_past(self.now)) {
            self.unpause_clients();
        }
    }

    /// How many clients wait for the pause to end.
    pub(crate) fn held_clients(&self) -> usize {
        let is_held =
            |index: &&u32| self.clients.get(**index).is_some_and(|c| c.session.hold == Hold::Paused);
        self.held.iter().filter(is_held).count()
    }

    /// Has a client wait until the pause ends.
    pub(crate) fn hold(&mut self, index: u32) {
        if let Some(client) = self.clients.get_mut(index) {
            client.session.hold = Hold::Paused;
            self.held.push(index);
        }
    }
}
