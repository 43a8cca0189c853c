//! The meter: events of a value in, bytes in a server's memory out.

use cairn_engine::codec::rdb::{Family, KeyHead, ObjectType, StreamId, ValueEvent};
use cairn_engine::packed::Element;

use super::rax::RaxMeter;
use super::seen::{Seen, entry_bytes, score_bytes, widen};
use super::{Encoding, Server, Target, cairn, limits, redis, valkey};

use ObjectType as T;

/// What a server makes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Bytes of key and value together, as `MEMORY USAGE key SAMPLES 0` counts them.
    pub bytes: u64,
    /// Bytes that `MEMORY USAGE` counts though nobody has allocated them.
    pub overcounted: u64,
    /// How the value is held.
    pub encoding: Encoding,
    /// Elements, pairs or entries; 1 for a string.
    pub elements: u64,
    /// Bytes of the longest element, field, value or member; of a string, its length.
    pub longest: u64,
    /// Hash fields with an expiry of their own.
    pub expiring_fields: u64,
}

/// A key as far as its size depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Key {
    pub(super) bytes: u64,
    pub(super) expires: bool,
}

/// The parts of a stream that are counted.
#[derive(Debug, Clone)]
pub(super) struct StreamSeen {
    /// Nodes by their master ids.
    pub(super) nodes: RaxMeter,
    /// Allocations of the nodes' listpacks, and their bytes.
    pub(super) packs: u64,
    pub(super) pack_bytes: u64,
    /// Their entries.
    pub(super) pack_entries: u64,
    /// Names of groups and consumers.
    pub(super) names_bytes: u64,
    pub(super) length: u64,
    pub(super) groups: u64,
    /// Bytes of groups and consumers, trees left out.
    pub(super) groups_bytes: u64,
    /// Trees of pending entries that are complete: how many, their keys, nodes, bytes.
    pub(super) trees: Trees,
    /// The tree being read.
    tree: RaxMeter,
    in_group: bool,
    in_consumer: bool,
}

/// Sums over radix trees.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trees {
    pub(super) count: u64,
    pub(super) keys: u64,
    pub(super) nodes: u64,
    pub(super) bytes: u64,
    /// Bytes as Cairn keeps them.
    pub(super) cairn: u64,
    /// Keys of the groups' own trees: each has an allocation, which consumers share.
    pub(super) pending: u64,
}

impl StreamSeen {
    fn clear(&mut self) {
        self.nodes.clear();
        self.tree.clear();
        (self.packs, self.pack_bytes, self.names_bytes, self.length) = (0, 0, 0, 0);
        (self.groups, self.groups_bytes, self.pack_entries) = (0, 0, 0);
        (self.trees, self.in_group, self.in_consumer) = (Trees::default(), false, false);
    }

    fn end_tree(&mut self) {
        self.trees = self.finished_trees();
        self.tree.clear();
    }

    /// The trees with the one being read among them.
    pub(super) fn finished_trees(&self) -> Trees {
        let mut trees = self.trees;
        if self.in_group {
            let (nodes, bytes) = self.tree.totals();
            trees.count += 1;
            trees.keys += self.tree.len();
            trees.nodes += nodes;
            trees.bytes += bytes;
            trees.cairn += cairn::pending(self.tree.len(), !self.in_consumer);
        }
        trees
    }
}

/// Measures one key after the other.
#[derive(Debug, Clone)]
pub struct Meter {
    target: Target,
    levels: redis::Levels,
    object: ObjectType,
    key: Key,
    seen: Seen,
    text: Option<(u64, Option<i64>)>,
    stream: StreamSeen,
}

impl Meter {
    /// A meter for that server.
    #[must_use]
    pub fn new(target: Target) -> Self {
        let tree = || RaxMeter::new(target.allocator);
        Self {
            target,
            levels: redis::Levels::new(target.allocator),
            object: T::String,
            key: Key::default(),
            seen: Seen::default(),
            text: None,
            stream: StreamSeen {
                nodes: tree(),
                packs: 0,
                pack_bytes: 0,
                pack_entries: 0,
                names_bytes: 0,
                length: 0,
                groups: 0,
                groups_bytes: 0,
                trees: Trees::default(),
                tree: tree(),
                in_group: false,
                in_consumer: false,
            },
        }
    }

    /// What is measured for.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// A key begins. Its events are to come at depth `Packed`; those of modules may be left out, and those
    /// of strings may come at depth `Raw`, as their lengths can be read without unpacking them.
    pub fn begin(&mut self, head: &KeyHead<'_>) {
        self.object = head.object;
        self.key = Key { bytes: head.key.len() as u64, expires: head.expire_at.is_some() };
        self.text = None;
        if head.object != T::String {
            self.seen = Seen::default();
        }
        if head.object.family() == Family::Stream {
            self.stream.clear();
        }
    }

    /// A step of the value. `visit` is told the length of each element, field, value and member, and `expire` the
    /// expiry (Unix time in ms) of each field that has one.
    pub fn event(&mut self, event: &ValueEvent<'_>, mut visit: impl FnMut(u64), mut expire: impl FnMut(i64)) {
        match *event {
            ValueEvent::String { bytes, .. } => {
                let len = bytes.len() as u64;
                visit(len);
                self.text = Some((len, int_of(bytes)));
            }
            // Only asked for where the value is a string.
            ValueEvent::Raw(piece) if self.text.is_none() => {
                if let Some((len, int)) = string_in(piece) {
                    visit(len);
                    self.text = Some((len, int));
                }
            }
            ValueEvent::Element(bytes) => self.element(Element::of(bytes), &mut visit),
            ValueEvent::Field { field, value, expire_at } => {
                if let Some(at) = expire_at {
                    expire(at.0);
                }
                self.pair(Element::of(field), Element::of(value), expire_at.map(|at| at.0), &mut visit);
            }
            ValueEvent::Member { member, score } => {
                self.seen.score(score);
                self.len(member.len() as u64, &mut visit);
                self.seen.apart += self.scored(member.len() as u64);
                let seen = &mut self.seen;
                seen.elements += 1;
                if seen.elements <= limits::ZSET {
                    seen.entries += entry_bytes(&Element::of(member)) + score_bytes(score);
                }
            }
            ValueEvent::Listpack(pack) => {
                self.seen.packed = Some(pack.as_bytes().len() as u64);
                self.packed(pack.iter(), &mut visit, &mut expire);
            }
            ValueEvent::Ziplist(old) => {
                self.seen.packed = Some(old.as_bytes().len() as u64);
                self.seen.is_old = true;
                self.packed(old.iter(), &mut visit, &mut expire);
            }
            ValueEvent::Zipmap(old) => {
                self.seen.is_old = true;
                for (field, value) in &old {
                    self.pair(Element::of(field), Element::of(value), None, &mut visit);
                }
            }
            ValueEvent::Intset(ints) => {
                self.seen.packed = Some(ints.as_bytes().len() as u64);
                for value in &ints {
                    self.element(Element::Int(value), &mut visit);
                }
            }
            ValueEvent::ListNode(pack) => {
                self.seen.list.node(pack.as_bytes().len() as u64, false, self.target.allocator);
                if self.target.server == Server::Cairn {
                    self.seen.list.seal(pack.iter());
                }
                self.node(pack.iter(), &mut visit);
            }
            ValueEvent::OldListNode(old) => {
                let entries: u64 = old.iter().map(|element| entry_bytes(&element)).sum();
                self.seen.list.node(entries + 7, false, self.target.allocator);
                if self.target.server == Server::Cairn {
                    self.seen.list.seal(old.iter());
                }
                self.node(old.iter(), &mut visit);
            }
            ValueEvent::PlainListNode(bytes) => {
                self.seen.list.node(bytes.len() as u64, true, self.target.allocator);
                self.node(std::iter::once(Element::Bytes(bytes)), &mut visit);
            }
            ValueEvent::Path { path, .. } => self.len(path.len() as u64, &mut visit),
            ValueEvent::ArrayElement { value, .. } => {
                self.len(value.len() as u64, &mut visit);
                self.seen.elements += 1;
            }
            _ => self.stream_event(event, &mut visit),
        }
    }

    /// The key ended; its record takes `record_bytes` in the file.
    #[must_use]
    pub fn end(&mut self, record_bytes: u64) -> Measured {
        let seen = &self.seen;
        let (bytes, encoding) = match (self.object.family(), self.text) {
            (Family::String, Some((len, int))) => {
                let (bytes, encoding) = match self.target.server {
                    Server::Redis70 | Server::Redis72 | Server::Redis8 => {
                        redis::string(self.target, self.key, len, int.is_some())
                    }
                    Server::Valkey8 | Server::Valkey9 => {
                        valkey::string(self.target, self.key, len, int.is_some())
                    }
                    Server::Cairn => cairn::string(self.key, len, int),
                };
                return Measured {
                    bytes,
                    overcounted: 0,
                    encoding,
                    elements: 1,
                    longest: len,
                    expiring_fields: 0,
                };
            }
            (Family::Stream, _) => {
                let bytes = match self.target.server {
                    Server::Redis70 | Server::Redis72 | Server::Redis8 => {
                        redis::stream(self.target, self.key, &self.stream)
                    }
                    Server::Valkey8 | Server::Valkey9 => valkey::stream(self.target, self.key, &self.stream),
                    Server::Cairn => cairn::stream(self.key, &self.stream),
                };
                (bytes, Encoding::Stream)
            }
            (Family::List | Family::Set | Family::Hash | Family::Zset, _) => match self.target.server {
                Server::Redis70 | Server::Redis72 | Server::Redis8 => {
                    redis::collection(self.target, self.key, self.object, seen)
                }
                Server::Valkey8 | Server::Valkey9 => {
                    valkey::collection(self.target, self.key, self.object, seen)
                }
                Server::Cairn => cairn::collection(self.key, self.object, seen),
            },
            (Family::String | Family::Module | Family::Array | Family::PathHash, _) => {
                (self.opaque(record_bytes), Encoding::Opaque)
            }
        };
        let elements = match self.object.family() {
            Family::Stream => self.stream.length,
            _ => self.seen.elements,
        };
        let (longest, expiring_fields) = (self.seen.longest, self.seen.expiring);
        let overcounted = match (self.target.server, encoding) {
            (Server::Redis70 | Server::Redis72 | Server::Redis8, Encoding::Stream) => {
                redis::overcounted_trees(&self.stream)
            }
            (Server::Redis72 | Server::Redis8, Encoding::Hashtable)
                if self.object.family() == Family::Set =>
            {
                redis::overcounted_entries(self.seen.elements)
            }
            _ => 0,
        };
        Measured { bytes, overcounted, encoding, elements, longest, expiring_fields }
    }

    /// A value whose form in memory is not known: as long as in the file, with the key around it.
    fn opaque(&self, record_bytes: u64) -> u64 {
        let value = record_bytes.saturating_sub(self.key.bytes);
        let around = match self.target.server {
            Server::Redis70 | Server::Redis72 | Server::Redis8 => redis::around(self.target, self.key),
            Server::Valkey8 | Server::Valkey9 => valkey::object(self.target, self.key),
            Server::Cairn => cairn::boxed(self.key),
        };
        around + self.target.allocator.class(value)
    }

    #[inline]
    fn len(&mut self, len: u64, visit: &mut impl FnMut(u64)) {
        visit(len);
        self.seen.longest = self.seen.longest.max(len);
        self.seen.content += len;
    }

    /// An element of a list or a set.
    fn element(&mut self, element: Element<'_>, visit: &mut impl FnMut(u64)) {
        let len = element.len() as u64;
        self.len(len, visit);
        self.seen.elements += 1;
        if self.object.family() == Family::List {
            let has_plain = self.target.server != Server::Redis70;
            self.seen.list.append(&element, has_plain, self.target.allocator);
            return;
        }
        if self.seen.elements <= limits::INTSET {
            self.seen.entries += entry_bytes(&element);
            self.seen.member(&element);
        }
        self.seen.apart += match self.target.server {
            Server::Redis70 | Server::Redis72 | Server::Redis8 => redis::member(self.target.allocator, len),
            Server::Valkey8 | Server::Valkey9 => self.target.allocator.roomy_sds(len),
            Server::Cairn => cairn::member(len),
        };
    }

    /// A field of a hash.
    fn pair(
        &mut self,
        field: Element<'_>,
        value: Element<'_>,
        expire_at: Option<i64>,
        visit: &mut impl FnMut(u64),
    ) {
        let expires = expire_at.is_some();
        let lens = (field.len() as u64, value.len() as u64);
        self.len(lens.0, visit);
        self.len(lens.1, visit);
        let seen = &mut self.seen;
        seen.elements += 1;
        if seen.long_at.is_none() && lens.0.max(lens.1) > limits::ELEMENT {
            seen.long_at = Some(seen.elements);
        }
        if let Some(at) = expire_at {
            seen.expiring += 1;
            widen(&mut seen.times, at);
        }
        if seen.elements <= limits::HASH {
            seen.entries += entry_bytes(&field) + entry_bytes(&value);
        }
        seen.apart += match self.target.server {
            Server::Redis70 | Server::Redis72 => redis::field(self.target.allocator, lens),
            Server::Redis8 => redis::field_with_meta(self.target.allocator, lens, expires),
            Server::Valkey8 => valkey::field(self.target.allocator, lens, false),
            Server::Valkey9 => valkey::field(self.target.allocator, lens, expires),
            Server::Cairn => cairn::field(lens, expires),
        };
    }

    fn scored(&self, len: u64) -> u64 {
        match self.target.server {
            Server::Redis70 | Server::Redis72 | Server::Redis8 => self.levels.redis(len),
            Server::Valkey8 => self.levels.valkey8(len),
            Server::Valkey9 => self.levels.valkey9(len),
            Server::Cairn => cairn::scored(len),
        }
    }

    /// The entries of a packed collection.
    fn packed<'a>(
        &mut self,
        mut entries: impl Iterator<Item = Element<'a>>,
        visit: &mut impl FnMut(u64),
        expire: &mut impl FnMut(i64),
    ) {
        match self.object {
            T::ZsetListpack | T::ZsetZiplist => {
                while let (Some(member), Some(score)) = (entries.next(), entries.next()) {
                    let len = member.len() as u64;
                    self.len(len, visit);
                    // Only needed where a packed value has to become a tree.
                    if self.target.server == Server::Cairn
                        && let Some(score) = score.as_f64()
                    {
                        self.seen.score(score);
                    }
                    self.seen.elements += 1;
                    self.seen.entries += entry_bytes(&member) + entry_bytes(&score);
                    self.seen.apart += self.scored(len);
                }
            }
            T::SetListpack | T::ListZiplist => entries.for_each(|element| self.element(element, visit)),
            T::HashListpackEx | T::HashListpackExPreGa => {
                while let (Some(field), Some(value), Some(expiry)) =
                    (entries.next(), entries.next(), entries.next())
                {
                    let at = expiry.as_i64().filter(|at| *at > 0);
                    at.iter().for_each(|at| expire(*at));
                    self.pair(field, value, at, visit);
                }
            }
            _ => {
                while let (Some(field), Some(value)) = (entries.next(), entries.next()) {
                    self.pair(field, value, None, visit);
                }
            }
        }
    }

    /// The elements of a list's node.
    fn node<'a>(&mut self, elements: impl Iterator<Item = Element<'a>>, visit: &mut impl FnMut(u64)) {
        for element in elements {
            self.len(element.len() as u64, visit);
            self.seen.elements += 1;
        }
    }

    fn stream_event(&mut self, event: &ValueEvent<'_>, visit: &mut impl FnMut(u64)) {
        let stream = &mut self.stream;
        let tree = |stream: &mut StreamSeen, id: StreamId| stream.tree.add(id.to_bytes());
        match *event {
            ValueEvent::StreamNode { master, entries } => {
                let len = entries.as_bytes().len() as u64;
                stream.nodes.add(master.to_bytes());
                stream.packs += self.target.allocator.class(len);
                stream.pack_bytes += len;
                stream.pack_entries += entries.len() as u64;
                self.len(len, visit);
            }
            ValueEvent::StreamTotals(totals) => stream.length = totals.length,
            ValueEvent::StreamGroup { name, .. } => {
                stream.end_tree();
                (stream.in_group, stream.in_consumer) = (true, false);
                stream.names_bytes += name.len() as u64;
                stream.groups += 1;
                stream.groups_bytes += redis::GROUP_BYTES;
            }
            ValueEvent::StreamPending { id, .. } => {
                stream.trees.pending += 1;
                tree(stream, id);
            }
            ValueEvent::StreamConsumer { name, .. } => {
                stream.end_tree();
                stream.in_consumer = true;
                stream.names_bytes += name.len() as u64;
                stream.groups_bytes += redis::consumer(self.target.server) + name.len() as u64;
            }
            ValueEvent::StreamConsumerPending(id) => tree(stream, id),
            _ => {}
        }
    }
}

/// The integer that a server holds instead of these bytes, if they are the text of one.
fn int_of(bytes: &[u8]) -> Option<i64> {
    const LONGEST: usize = 20;
    if bytes.len() > LONGEST { None } else { Element::of(bytes).as_i64() }
}

/// Length and integer of the string that a payload begins with, unpacked or not.
fn string_in(payload: &[u8]) -> Option<(u64, Option<i64>)> {
    let plain = |header: usize, len: u64| {
        let text = payload.get(header..)?;
        let whole = usize::try_from(len).ok().and_then(|len| text.get(..len));
        Some((len, whole.and_then(int_of)))
    };
    let int = |value: i64| Some((Element::Int(value).len() as u64, Some(value)));
    match *payload {
        [first @ 0x00..=0x3f, ..] => plain(1, first.into()),
        [first @ 0x40..=0x7f, low, ..] => plain(2, u64::from(first & 0x3f) << 8 | u64::from(low)),
        [0x80, a, b, c, d, ..] => plain(5, u32::from_be_bytes([a, b, c, d]).into()),
        [0x81, a, b, c, d, e, f, g, h, ..] => plain(9, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        [0xc0, a, ..] => int((a as i8).into()),
        [0xc1, a, b, ..] => int(i16::from_le_bytes([a, b]).into()),
        [0xc2, a, b, c, d, ..] => int(i32::from_le_bytes([a, b, c, d]).into()),
        // What was worth packing is too long for an integer.
        [0xc3, ref lengths @ ..] => {
            let (_, lengths) = length_in(lengths)?;
            Some((length_in(lengths)?.0, None))
        }
        _ => None,
    }
}

/// A length, and what follows it.
fn length_in(bytes: &[u8]) -> Option<(u64, &[u8])> {
    Some(match bytes {
        [first @ 0x00..=0x3f, rest @ ..] => (u64::from(*first), rest),
        [first @ 0x40..=0x7f, low, rest @ ..] => (u64::from(first & 0x3f) << 8 | u64::from(*low), rest),
        [0x80, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*len).into(), rest)
        }
        [0x81, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len), rest)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::string_in;

    #[test]
    fn strings_are_measured_without_unpacking() {
        let long = [&[0x44, 0x00][..], &[b'7'; 1024]].concat();
        type Found = Option<(u64, Option<i64>)>;
        let cases: [(&[u8], Found); 11] = [
            (b"\x00", Some((0, None))),
            (b"\x02ab", Some((2, None))),
            (b"\x0342x", Some((3, None))),
            (b"\x03-42", Some((3, Some(-42)))),
            (&long, Some((1024, None))),
            (b"\x80\0\0\0\x0142", Some((1, Some(4)))),
            (b"\xc0\xff", Some((2, Some(-1)))),
            (b"\xc1\x10\x27", Some((5, Some(10_000)))),
            (b"\xc2\0\0\0\x80", Some((11, Some(-2_147_483_648)))),
            (b"\xc3\x05\x44\x01zzzzz", Some((1025, None))),
            (b"\xc3\x05", None),
        ];
        for (payload, expected) in cases {
            assert_eq!(string_in(payload), expected, "{}", payload.escape_ascii());
        }
    }
}
