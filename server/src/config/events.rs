//! The value of `notify-keyspace-events`: letters for classes of events and for the channels that
//! they are published on.
//!
//! Behaviour: valkey src/notify.c.

use cairn_engine::base::words;
use cairn_engine::command::effects::Classes;

use super::kind::Kind;

/// Which key-space events are published, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Notify {
    /// Which events.
    pub(crate) classes: Classes,
    /// On the channels of keys (`K`).
    pub(crate) by_key: bool,
    /// On the channels of events (`E`).
    pub(crate) by_event: bool,
}

/// Letters of the classes that `A` stands for, in the order in which they are shown.
const LETTERS: &[(u8, Classes)] = &[
    (b'g', Classes::GENERIC),
    (b'$', Classes::STRING),
    (b'l', Classes::LIST),
    (b's', Classes::SET),
    (b'h', Classes::HASH),
    (b'z', Classes::ZSET),
    (b'x', Classes::EXPIRED),
    (b'e', Classes::EVICTED),
    (b't', Classes::STREAM),
    (b'd', Classes::MODULE),
];

/// The letters of `notify-keyspace-events`.
pub(crate) struct EventLetters;

impl Kind for EventLetters {
    type Value = Notify;

    fn parse(&self, args: &[&[u8]]) -> Result<Notify, String> {
        let mut notify = Notify::default();
        for letter in args.first().copied().unwrap_or_default() {
            let class = match letter {
                b'K' => {
                    notify.by_key = true;
                    continue;
                }
                b'E' => {
                    notify.by_event = true;
                    continue;
                }
                b'A' => Classes::ALL,
                b'm' => Classes::KEY_MISS,
                b'n' => Classes::NEW,
                _ => {
                    let known = LETTERS.iter().find(|(known, _)| known == letter);
                    known.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?.1
                }
            };
            notify.classes = notify.classes | class;
        }
        Ok(notify)
    }

    fn show(&self, value: &Notify) -> Vec<u8> {
        let mut text = Vec::new();
        if value.classes.has(Classes::ALL) {
            // Valkey does not show `n` beside `A`.
            text.push(b'A');
        } else {
            let news = (b'n', Classes::NEW);
            let set = LETTERS.iter().chain([&news]).filter(|(_, class)| value.classes.has(*class));
            text.extend(set.map(|(letter, _)| letter));
        }
        let rest =
            [(value.by_key, b'K'), (value.by_event, b'E'), (value.classes.has(Classes::KEY_MISS), b'm')];
        text.extend(rest.iter().filter(|(set, _)| *set).map(|(_, letter)| letter));
        text
    }

    fn lines(&self, value: &Notify) -> Vec<Vec<u8>> {
        let mut line = Vec::new();
        words::push_quoted(&mut line, &self.show(value));
        vec![line]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let value = EventLetters.parse(&[text.as_bytes()])?;
        Ok(String::from_utf8(EventLetters.show(&value)).expect("letters"))
    }

    #[test]
    fn letters_are_shown_in_one_order() {
        for (given, expected) in [
            ("", ""),
            ("KEA", "AKE"),
            ("EKA", "AKE"),
            ("KEmA", "AKEm"),
            ("KEmnA", "AKEm"),
            ("ndtexzhsl$g", "A"),
            ("ntKexzhsl$gE", "g$lshzxetnKE"),
            ("mK$x", "$xKm"),
        ] {
            assert_eq!(shown(given).as_deref(), Ok(expected), "{given}");
        }
        assert!(shown("KEX").is_err_and(|e| e.starts_with("Invalid event class character")));
    }
}
