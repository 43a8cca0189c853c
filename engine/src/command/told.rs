//! What the walk of active expiry removes, told as commands tell what they do: events, keys that have
//! changed, deletions for the log.
//!
//! Fields of one hash go by one event and one HDEL. Behaviour: valkey src/db.c
//! `dbReclaimExpiredFields`, `deleteExpiredKeyAndPropagate`.

use crate::keyspace::expire::Gone;
use crate::keyspace::lazy::removal;

use super::effects::{Classes, Effects};

/// Writes down what goes. What is still held back is written when it is dropped.
#[derive(Debug)]
pub struct Told<'a> {
    effects: &'a mut Effects,
    is_lazy: bool,
    /// False if nobody wants to hear.
    is_heard: bool,
    /// A hash and its fields that have gone; nothing if there are none.
    db: usize,
    key: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl<'a> Told<'a> {
    /// Nothing yet. `is_lazy` says how keys are removed whose time has passed.
    pub fn new(effects: &'a mut Effects, is_lazy: bool) -> Told<'a> {
        let wants = effects.wants();
        let is_heard = wants.keys || wants.log || wants.events != Classes::NONE;
        Told { effects, is_lazy, is_heard, db: 0, key: Vec::new(), fields: Vec::new() }
    }

    /// Something goes.
    pub fn tell(&mut self, gone: Gone<'_>) {
        if !self.is_heard {
            return;
        }
        match gone {
            Gone::Key { db, key } => {
                self.end_fields();
                self.effects.push_log(db, &[removal(self.is_lazy), key]);
                self.effects.event(db, Classes::EXPIRED, "expired", key);
                self.effects.changed(db, key);
            }
            Gone::Field { db, key, field } => {
                if self.db != db || self.key != key {
                    self.end_fields();
                    self.db = db;
                    self.key = key.to_vec();
                }
                self.fields.push(field.to_vec());
            }
            Gone::Emptied { db, key } => {
                self.end_fields();
                self.effects.push_log(db, &[removal(self.is_lazy), key]);
                self.effects.event(db, Classes::GENERIC, "del", key);
            }
        }
    }

    fn end_fields(&mut self) {
        if self.fields.is_empty() {
            return;
        }
        let mut words: Vec<&[u8]> = vec![b"HDEL", &self.key];
        words.extend(self.fields.iter().map(Vec::as_slice));
        self.effects.push_log(self.db, &words);
        self.effects.event(self.db, Classes::EXPIRED, "hexpired", &self.key);
        self.effects.changed(self.db, &self.key);
        self.fields.clear();
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.end_fields();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::effects::{Effect, Wants};

    #[test]
    fn fields_of_a_hash_go_together() {
        let mut effects = Effects::new();
        effects.set_wants(Wants { keys: true, events: Classes::ALL, log: true });
        let mut told = Told::new(&mut effects, true);
        told.tell(Gone::Field { db: 1, key: b"h", field: b"a" });
        told.tell(Gone::Field { db: 1, key: b"h", field: b"b" });
        told.tell(Gone::Emptied { db: 1, key: b"h" });
        told.tell(Gone::Key { db: 0, key: b"k" });
        told.tell(Gone::Field { db: 0, key: b"g", field: b"c" });
        drop(told);
        let log: Vec<String> =
            effects.log().map(|(db, bytes)| format!("{db} {}", bytes.escape_ascii())).collect();
        assert_eq!(
            log,
            [
                r"1 *4\r\n$4\r\nHDEL\r\n$1\r\nh\r\n$1\r\na\r\n$1\r\nb\r\n",
                r"1 *2\r\n$6\r\nUNLINK\r\n$1\r\nh\r\n",
                r"0 *2\r\n$6\r\nUNLINK\r\n$1\r\nk\r\n",
                r"0 *3\r\n$4\r\nHDEL\r\n$1\r\ng\r\n$1\r\nc\r\n",
            ]
        );
        let happened: Vec<Effect<'_>> = effects.happened().iter().collect();
        assert_eq!(
            happened,
            [
                Effect::Event { db: 1, class: Classes::EXPIRED, name: "hexpired", key: b"h" },
                Effect::Changed { db: 1, key: b"h" },
                Effect::Event { db: 1, class: Classes::GENERIC, name: "del", key: b"h" },
                Effect::Event { db: 0, class: Classes::EXPIRED, name: "expired", key: b"k" },
                Effect::Changed { db: 0, key: b"k" },
                Effect::Event { db: 0, class: Classes::EXPIRED, name: "hexpired", key: b"g" },
                Effect::Changed { db: 0, key: b"g" },
            ]
        );
    }
}
