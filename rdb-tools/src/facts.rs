//! What is to be known of a key besides its name: elements, encoding, module, expiries of fields.
//!
//! Gathered from the events of its value at depth `Packed`, while they come. Used by filters and by the
//! forms of output that have a row a key.

use cairn_engine::codec::rdb::{Family, KeyHead, ObjectType, ValueEvent, Version, module_name};
use cairn_engine::packed::listpack::Listpack;

use crate::encoding;

/// What is known so far of the value of a key.
#[derive(Debug, Clone)]
pub struct Facts {
    version: Version,
    object: ObjectType,
    key_bytes: usize,
    expires: bool,
    /// Elements that have been seen; exact once the value has ended.
    elements: u64,
    /// Modules do not say how many elements they have.
    has_elements: bool,
    encoding: Option<&'static str>,
    packed_nodes: u64,
    plain_nodes: u64,
    module: Option<u64>,
    /// Integers of a module value seen before anything else, as many as its head may have.
    module_head: u8,
    has_field_ttl: bool,
    has_ended: bool,
}

impl Facts {
    /// Of a key, before its value.
    #[must_use]
    pub fn of(head: &KeyHead<'_>, version: Version) -> Self {
        Self {
            version,
            object: head.object,
            key_bytes: head.key.len(),
            expires: head.expire_at.is_some(),
            elements: 0,
            has_elements: head.object.family() != Family::Module,
            encoding: encoding::of_type(head.object, version),
            packed_nodes: 0,
            plain_nodes: 0,
            module: None,
            module_head: 0,
            has_field_ttl: false,
            has_ended: false,
        }
    }

    /// Takes in an event of depth `Packed`.
    pub fn see(&mut self, event: &ValueEvent<'_>) {
        match *event {
            ValueEvent::String { bytes, .. } => {
                self.elements = 1;
                self.encoding = Some(encoding::of_string(bytes, self.key_bytes, self.expires, self.version));
            }
            // As many elements follow, or the value ends in an error.
            ValueEvent::Begin { declared } | ValueEvent::BeginArray { declared, .. } => {
                self.elements = declared;
            }
            ValueEvent::Field { expire_at, .. } => self.has_field_ttl |= expire_at.is_some(),
            ValueEvent::Listpack(pack) => self.see_listpack(pack),
            ValueEvent::Intset(set) => self.elements = set.len() as u64,
            ValueEvent::Ziplist(list) => {
                let unit = if self.object.family() == Family::List { 1 } else { 2 };
                self.elements = list.iter().count() as u64 / unit;
            }
            ValueEvent::Zipmap(map) => self.elements = map.iter().count() as u64,
            ValueEvent::ListNode(node) => {
                self.packed_nodes += 1;
                self.elements += node.len() as u64;
            }
            ValueEvent::OldListNode(node) => self.elements += node.iter().count() as u64,
            ValueEvent::PlainListNode(_) => {
                self.plain_nodes += 1;
                self.elements += 1;
            }
            ValueEvent::StreamNode { entries, .. } => {
                let live = entries.first().and_then(|count| count.as_i64()).unwrap_or(0);
                self.elements = self.elements.saturating_add(live.max(0).unsigned_abs());
            }
            ValueEvent::StreamTotals(totals) => self.elements = totals.length,
            ValueEvent::BeginModule { id } => self.module = Some(id),
            ValueEvent::ModuleUnsigned(value) => {
                /// Of a vector set: the dimension, then how many there are.
                const COUNT_AT: u8 = 1;
                if self.module_head == COUNT_AT && self.module_name() == Some(*b"vectorset") {
                    self.elements = value;
                    self.has_elements = true;
                }
                self.module_head = self.module_head.saturating_add(1);
            }
            _ => {}
        }
    }

    fn see_listpack(&mut self, pack: Listpack<'_>) {
        let unit = match self.object {
            ObjectType::SetListpack | ObjectType::ListQuicklist2 => 1,
            ObjectType::HashListpackEx | ObjectType::HashListpackExPreGa => {
                let mut entries = pack.iter();
                while let Some(expiry) = entries.nth(2) {
                    self.has_field_ttl |= expiry.as_i64() != Some(0);
                }
                3
            }
            _ => 2,
        };
        self.elements = (pack.len() / unit) as u64;
    }

    /// The value has ended.
    pub fn end(&mut self) {
        self.has_ended = true;
        if self.encoding.is_none() {
            self.encoding = Some(encoding::of_list(self.packed_nodes, self.plain_nodes, self.version));
        }
    }

    /// Whether the whole value was seen.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.has_ended
    }

    /// Elements of a collection, entries of a stream, 1 for a string; as many as have been seen so far, if the
    /// value has not ended. `None` for values that only their module can count.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.has_elements.then_some(self.elements)
    }

    /// What OBJECT ENCODING answers, once that is known.
    #[must_use]
    pub fn encoding(&self) -> Option<&'static str> {
        // A second node, or a plain one, settles it before the end.
        let is_quicklist = self.packed_nodes > 1 || self.plain_nodes > 0;
        self.encoding.or(is_quicklist.then_some("quicklist"))
    }

    /// Whether a field with an expiry of its own was seen.
    #[must_use]
    pub fn has_field_ttl(&self) -> bool {
        self.has_field_ttl
    }

    /// The name of the module's type, of a value of a module that has begun.
    #[must_use]
    pub fn module_name(&self) -> Option<[u8; 9]> {
        self.module.map(|id| module_name(id).0)
    }

    /// What TYPE answers; `module` before the value of a module has begun.
    #[must_use]
    pub fn type_name(&self) -> String {
        match self.module_name() {
            Some(name) => String::from_utf8_lossy(&name).into_owned(),
            None => self.object.family().name().to_owned(),
        }
    }
}
