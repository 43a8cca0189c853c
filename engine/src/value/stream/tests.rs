//! Streams against a map of entries and plain maps of what is pending, with nodes and chunks so small
//! that they come and go; the layout of nodes; the stories of XINFO, XAUTOCLAIM and trimming.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::Limits;
use super::node::Node;
use super::*;
use crate::base::stream_id::IdSpec;
use crate::packed::Element;
use crate::packed::listpack::{Listpack, ListpackBuf};

type Fieldset = Vec<(Vec<u8>, Vec<u8>)>;

fn limits(entries: usize) -> Limits {
    Limits { stream_node_max_entries: entries, ..Limits::DEFAULT }
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn flat(fields: &[(&str, &str)]) -> Vec<Vec<u8>> {
    fields.iter().flat_map(|(f, v)| [f.as_bytes().to_vec(), v.as_bytes().to_vec()]).collect()
}

/// A stream with entries 1-0, 2-0, ... in nodes of so many.
fn counted(entries: u64, per_node: usize) -> Stream {
    let mut stream = Stream::new();
    for ms in 1..=entries {
        let fields = flat(&[("n", &ms.to_string())]);
        stream.append(IdSpec::Exact(id(ms, 0)), 0, &fields, &limits(per_node)).expect("ids go up");
    }
    stream
}

fn ids<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<u64> {
    entries.map(|e| e.id.ms).collect()
}

fn all(stream: &Stream) -> Vec<u64> {
    ids(stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward))
}

fn owned(entry: Entry<'_>) -> (StreamId, Fieldset) {
    (entry.id, entry.fields.map(|(f, v)| (f.to_vec(), v.to_vec())).collect())
}

fn reload(stream: &Stream) -> Stream {
    let mut loader = StreamLoader::new(StreamForm::ActiveTimes);
    for (master, pack) in stream.nodes() {
        let pack = Listpack::new(pack.as_bytes()).expect("a sound listpack");
        loader.node(master, pack).expect("a node");
    }
    let totals = stream.totals();
    let loaded = LoadTotals {
        length: totals.length,
        last_id: totals.last_id,
        first_id: Some(totals.first_id),
        max_deleted_id: Some(totals.max_deleted_id),
        entries_added: Some(totals.entries_added),
    };
    loader.totals(&loaded).expect("they fit");
    for (name, group) in stream.groups() {
        loader.group(name, group.last_id(), group.entries_read()).expect("a group");
        for pending in group.pending(StreamId::MIN, StreamId::MAX) {
            loader.pending(pending.id, pending.delivered_at, pending.deliveries).expect("pending");
        }
        for &nacked in group.nacked() {
            loader.nacked(nacked).expect("pending");
        }
        for consumer in group.consumers() {
            loader.consumer(consumer.name(), consumer.seen_at, consumer.active_at).expect("a consumer");
            consumer.pending_ids().for_each(|id| loader.consumer_pending(id).expect("pending"));
        }
    }
    loader.finish().expect("whole")
}

// ---- the model ----

#[derive(Debug, Clone, Default)]
struct ModelGroup {
    last_id: StreamId,
    /// Owner, delivery time, deliveries.
    pel: BTreeMap<StreamId, (String, i64, u64)>,
    consumers: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    entries: BTreeMap<StreamId, Fieldset>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
    groups: BTreeMap<String, ModelGroup>,
}

#[derive(Debug, Clone)]
enum Op {
    Add(u8, Fieldset),
    Delete(usize),
    TrimExact(usize),
    TrimNodes(usize, u64),
    TrimFrom(usize),
    Create(String, usize),
    Destroy(String),
    DeleteConsumer(String, String),
    Read(String, String, u64, bool),
    Again(String, String, usize),
    Ack(String, usize),
    Claim(String, String, usize, bool, i64),
    AutoClaim(String, String, usize, u64, i64),
    Idle(String, i64, u64),
    Remove(usize, References),
    TrimMinding(usize, bool, References),
}

fn name(prefix: &'static str) -> impl Strategy<Value = String> {
    (0..3u8).prop_map(move |n| format!("{prefix}{n}"))
}

fn references() -> impl Strategy<Value = References> {
    prop::sample::select(vec![References::Keep, References::Delete, References::Acked])
}

fn op() -> impl Strategy<Value = Op> {
    let field = prop::sample::select(vec!["a", "b", "12", "longer name"]);
    let value = prop::sample::select(vec!["", "1", "-70000", "some text that is not short at all"]);
    let pair = (field, value).prop_map(|(f, v)| (f.as_bytes().to_vec(), v.as_bytes().to_vec()));
    let fields = prop_oneof![Just(vec![(b"a".to_vec(), b"1".to_vec())]), prop::collection::vec(pair, 1..4),];
    prop_oneof![
        20 => (0..3u8, fields).prop_map(|(ms, f)| Op::Add(ms, f)),
        4 => any::<usize>().prop_map(Op::Delete),
        1 => any::<usize>().prop_map(Op::TrimExact),
        1 => (any::<usize>(), 0..12u64).prop_map(|(n, limit)| Op::TrimNodes(n, limit)),
        1 => any::<usize>().prop_map(Op::TrimFrom),
        3 => (name("g"), any::<usize>()).prop_map(|(g, n)| Op::Create(g, n)),
        1 => name("g").prop_map(Op::Destroy),
        1 => (name("g"), name("c")).prop_map(|(g, c)| Op::DeleteConsumer(g, c)),
        8 => (name("g"), name("c"), 0..5u64, prop::bool::weighted(0.2)).prop_map(|(g, c, n, noack)| Op::Read(g, c, n, noack)),
        2 => (name("g"), name("c"), any::<usize>()).prop_map(|(g, c, n)| Op::Again(g, c, n)),
        4 => (name("g"), any::<usize>()).prop_map(|(g, n)| Op::Ack(g, n)),
        4 => (name("g"), name("c"), any::<usize>(), any::<bool>(), 0..8i64)
            .prop_map(|(g, c, n, force, idle)| Op::Claim(g, c, n, force, idle)),
        2 => (name("g"), name("c"), any::<usize>(), 1..4u64, 0..8i64)
            .prop_map(|(g, c, n, count, idle)| Op::AutoClaim(g, c, n, count, idle)),
        3 => (name("g"), 0..8i64, 0..4u64).prop_map(|(g, idle, limit)| Op::Idle(g, idle, limit)),
        2 => (any::<usize>(), references()).prop_map(|(n, how)| Op::Remove(n, how)),
        1 => (0..12usize, any::<bool>(), references()).prop_map(|(max, exact, how)| Op::TrimMinding(max, exact, how)),
    ]
}

/// An id that is, or was, in the stream, or near it.
fn some_id(model: &Model, n: usize) -> StreamId {
    let ids: Vec<_> = model.groups.values().flat_map(|g| g.pel.keys()).chain(model.entries.keys()).collect();
    match ids.get(n % (ids.len() + 1)) {
        Some(&&id) => id,
        None => StreamId::new(n as u64 % 20, n as u64 % 3),
    }
}

fn apply(stream: &mut Stream, model: &mut Model, op: Op, limits: &Limits, now: i64) {
    let now_at = UnixMs(now);
    fn reader<'a>(group: &'a str, consumer: &'a str, now: UnixMs) -> Reader<'a> {
        Reader { group: group.as_bytes(), consumer: consumer.as_bytes(), now }
    }
    match op {
        Op::Add(ms, fields) => {
            let new = if ms == 0 {
                model.last_id.next().expect("far from the end")
            } else {
                id(model.last_id.ms + u64::from(ms), 0)
            };
            let list: Vec<_> = fields.iter().flat_map(|(f, v)| [f.clone(), v.clone()]).collect();
            assert_eq!(stream.append(IdSpec::Exact(new), 0, &list, limits), Ok(new));
            assert_eq!(stream.append(IdSpec::Exact(new), 0, &list, limits), Err(AppendError::NotAbove));
            model.entries.insert(new, fields);
            model.last_id = new;
            model.added += 1;
        }
        Op::Delete(n) => {
            let id = some_id(model, n);
            let there = model.entries.remove(&id).is_some();
            assert_eq!(stream.delete(id), there);
            if there {
                model.max_deleted_id = model.max_deleted_id.max(id);
            }
        }
        Op::TrimExact(n) => {
            let max = n % (model.entries.len() + 2);
            let gone = model.entries.len().saturating_sub(max);
            assert_eq!(stream.trim(Keep::Newest(max as u64), Trim::Exact), gone as u64);
            (0..gone).for_each(|_| drop(model.entries.pop_first()));
        }
        Op::TrimNodes(n, limit) => {
            let max = n % (model.entries.len() + 2);
            let gone = stream.trim(Keep::Newest(max as u64), Trim::Nodes { limit });
            assert!(limit == 0 || gone <= limit);
            (0..gone).for_each(|_| drop(model.entries.pop_first()));
            assert!(gone == 0 || model.entries.len() >= max);
        }
        Op::TrimFrom(n) => {
            let id = some_id(model, n);
            let kept = model.entries.split_off(&id);
            assert_eq!(stream.trim(Keep::From(id), Trim::Exact), model.entries.len() as u64);
            model.entries = kept;
        }
        Op::Create(group, n) => {
            let last_id = some_id(model, n);
            let is_new = !model.groups.contains_key(&group);
            assert_eq!(stream.create_group(group.as_bytes(), last_id, None), is_new);
            model.groups.entry(group).or_insert(ModelGroup { last_id, ..ModelGroup::default() });
        }
        Op::Destroy(group) => {
            assert_eq!(stream.destroy_group(group.as_bytes()), model.groups.remove(&group).is_some());
        }
        Op::DeleteConsumer(group, consumer) => {
            let outcome = stream.delete_consumer(group.as_bytes(), consumer.as_bytes());
            let Some(g) = model.groups.get_mut(&group) else {
                assert_eq!(outcome, Err(NoGroup));
                return;
            };
            let before = g.pel.len();
            g.pel.retain(|_, (owner, ..)| *owner != consumer);
            let was_there = g.consumers.remove(&consumer);
            assert_eq!(outcome, Ok(was_there.then_some((before - g.pel.len()) as u64)));
        }
        Op::Read(group, consumer, limit, noack) => {
            let who = reader(&group, &consumer, now_at);
            let Some(g) = model.groups.get_mut(&group) else {
                assert_eq!(stream.see_consumer(who), Err(NoGroup));
                return;
            };
            assert_eq!(stream.see_consumer(who), Ok(g.consumers.insert(consumer.clone())));
            let news: Vec<_> = model.entries.iter().filter(|(id, _)| **id > g.last_id).collect();
            assert_eq!(stream.has_news(group.as_bytes()), !news.is_empty());
            let take = if limit == 0 { news.len() } else { limit as usize };
            let want: Vec<_> = news.into_iter().take(take).map(|(id, f)| (*id, f.clone())).collect();
            let mut got = Vec::new();
            let acks = if noack { Acks::Unwanted } else { Acks::Wanted };
            assert_eq!(stream.deliver_new(who, limit, acks, |e| got.push(owned(e))), Ok(want.len() as u64));
            assert_eq!(got, want);
            for (id, _) in want {
                g.last_id = id;
                if !noack {
                    g.pel.insert(id, (consumer.clone(), now, 1));
                }
            }
        }
        Op::Again(group, consumer, n) => {
            let start = some_id(model, n);
            let who = reader(&group, &consumer, now_at);
            let Some(g) = model.groups.get_mut(&group).filter(|g| g.consumers.contains(&consumer)) else {
                assert_eq!(stream.deliver_again(who, start, 0, |_, _| {}), Err(NoGroup));
                return;
            };
            let mut want = Vec::new();
            for (id, nack) in g.pel.range_mut(start..).filter(|(_, nack)| nack.0 == consumer).take(3) {
                let entry = model.entries.get(id);
                want.push((*id, entry.cloned()));
                if entry.is_some() {
                    (nack.1, nack.2) = (now, nack.2 + 1);
                }
            }
            let mut got = Vec::new();
            let count = stream.deliver_again(who, start, 3, |id, e| got.push((id, e.map(|e| owned(e).1))));
            assert_eq!(count, Ok(want.len() as u64));
            assert_eq!(got, want);
        }
        Op::Ack(group, n) => {
            let id = some_id(model, n);
            let pel = model.groups.get_mut(&group).and_then(|g| g.pel.remove(&id));
            assert_eq!(stream.ack(group.as_bytes(), &[id, id]), u64::from(pel.is_some()));
        }
        Op::Claim(group, consumer, n, force, min_idle_ms) => {
            let id = some_id(model, n);
            let who = reader(&group, &consumer, now_at);
            let Some(g) = model.groups.get_mut(&group) else { return };
            assert_eq!(stream.see_consumer(who), Ok(g.consumers.insert(consumer.clone())));
            let claim =
                Claim { min_idle_ms, delivered_at: UnixMs(now - 1), deliveries: Deliveries::Count, force };
            let want = if !model.entries.contains_key(&id) {
                Claimed::Gone(g.pel.remove(&id).map(unclaimed))
            } else {
                match g.pel.get(&id) {
                    Some((_, at, _)) if now - at < min_idle_ms => Claimed::No,
                    None if !force => Claimed::No,
                    old => {
                        let deliveries = old.map_or(1, |o| o.2) + 1;
                        g.pel.insert(id, (consumer.clone(), now - 1, deliveries));
                        Claimed::Yes { deliveries }
                    }
                }
            };
            assert_eq!(stream.claim(who, id, &claim), Ok(want));
        }
        Op::AutoClaim(group, consumer, n, count, min_idle_ms) => {
            let start = some_id(model, n);
            let who = reader(&group, &consumer, now_at);
            let Some(g) = model.groups.get_mut(&group) else { return };
            assert_eq!(stream.see_consumer(who), Ok(g.consumers.insert(consumer.clone())));
            let mut want = AutoClaimed::default();
            let pending: Vec<_> = g.pel.range(start..).map(|(id, nack)| (*id, nack.clone())).collect();
            for (looked, (id, nack)) in pending.into_iter().enumerate() {
                if looked as u64 == count * 10 || want.found.len() as u64 == count {
                    want.next = id;
                    break;
                }
                if !model.entries.contains_key(&id) {
                    want.found.push((id, Claimed::Gone(g.pel.remove(&id).map(unclaimed))));
                } else if now - nack.1 >= min_idle_ms {
                    want.found.push((id, Claimed::Yes { deliveries: nack.2 }));
                    g.pel.insert(id, (consumer.clone(), now, nack.2));
                }
            }
            assert_eq!(stream.auto_claim(who, min_idle_ms, start, count, Deliveries::Keep), Ok(want));
        }
        Op::Idle(group, min_idle_ms, limit) => {
            let Some(g) = model.groups.get(&group) else { return };
            let there = g.pel.iter().filter(|(id, _)| model.entries.contains_key(id));
            let mut by_time: Vec<_> = there.map(|(id, nack)| (nack.1, *id, nack.2)).collect();
            by_time.sort_unstable();
            let idle = by_time.iter().filter(|(at, ..)| now - at >= min_idle_ms);
            let most = if limit == 0 { usize::MAX } else { limit as usize };
            let entries: Vec<_> = idle.map(|(at, id, count)| (*id, now - at, *count)).take(most).collect();
            let next = by_time.get(entries.len()).filter(|_| entries.len() < most);
            let next_at = next.map(|(at, ..)| UnixMs(at + min_idle_ms));
            assert_eq!(
                stream.idle_pending(group.as_bytes(), now_at, min_idle_ms, limit),
                Ok(Idle { entries, next_at })
            );
        }
        Op::Remove(n, references) => {
            let id = some_id(model, n);
            let refused = references == References::Acked && model.is_referenced(id);
            let gone = model.remove(id, references);
            if gone {
                model.max_deleted_id = model.max_deleted_id.max(id);
            }
            let want = match (refused, gone) {
                (true, _) => Removed::Referenced,
                (_, true) => Removed::Yes,
                _ => Removed::NotThere,
            };
            assert_eq!(stream.remove(id, references).0, want);
        }
        Op::TrimMinding(max, exact, references) => {
            let how = if exact { Trim::Exact } else { Trim::Nodes { limit: 0 } };
            let before: Vec<StreamId> = model.entries.keys().copied().collect();
            let done = stream.trim_minding(Keep::Newest(max as u64), how, references);
            let mut removed = 0;
            for id in before {
                // Which of the oldest go is exact; how many, only if the trim is.
                if (exact && model.entries.len() <= max) || (!exact && removed == done.removed) {
                    break;
                }
                removed += u64::from(model.remove(id, references));
            }
            assert_eq!(done.removed, removed);
            assert!(removed == 0 || model.entries.len() >= max);
        }
    }
}

impl Model {
    /// Whether a group has yet to read an entry, or a consumer to acknowledge it.
    fn is_referenced(&self, id: StreamId) -> bool {
        self.groups.values().any(|g| id > g.last_id || g.pel.contains_key(&id))
    }

    /// Removes an entry if that is allowed; answers whether it is gone from the model.
    fn remove(&mut self, id: StreamId, references: References) -> bool {
        if references == References::Acked && self.is_referenced(id) {
            return false;
        }
        if references == References::Delete {
            self.groups.values_mut().for_each(|g| drop(g.pel.remove(&id)));
        }
        self.entries.remove(&id).is_some()
    }
}

/// A pending entry of the model that is gone.
fn unclaimed((consumer, at, deliveries): (String, i64, u64)) -> Unclaimed {
    let consumer = Some(consumer.into_bytes().into_boxed_slice());
    Unclaimed { consumer, delivered_at: UnixMs(at), deliveries }
}

fn compare(stream: &Stream, model: &Model) {
    let entries: Vec<_> = model.entries.iter().map(|(id, f)| (*id, f.clone())).collect();
    let got: Vec<_> = stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward).map(owned).collect();
    assert_eq!(got, entries);
    let mut back: Vec<_> =
        stream.range(StreamId::MIN, StreamId::MAX, Direction::Backward).map(owned).collect();
    back.reverse();
    assert_eq!(back, entries);
    let want = Totals {
        length: entries.len() as u64,
        last_id: model.last_id,
        first_id: entries.first().map_or(StreamId::MIN, |e| e.0),
        max_deleted_id: model.max_deleted_id,
        entries_added: model.added,
    };
    assert_eq!(*stream.totals(), want);
    for (i, (start, _)) in entries.iter().enumerate().step_by(3) {
        assert_eq!(stream.entry(*start).map(owned), Some(entries[i].clone()));
        for (j, (end, _)) in entries.iter().enumerate().skip(i).step_by(4) {
            let got: Vec<_> = stream.range(*start, *end, Direction::Forward).map(owned).collect();
            assert_eq!(got, entries[i..=j]);
            let got: Vec<_> = stream.range(*start, *end, Direction::Backward).map(|e| e.id).collect();
            assert!(got.iter().eq(entries[i..=j].iter().rev().map(|(id, _)| id)));
        }
    }
    let names: Vec<_> = stream.groups().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert!(names.iter().eq(model.groups.keys()));
    for (name, want) in &model.groups {
        let group = stream.group(name.as_bytes()).expect("there");
        assert_eq!(group.last_id(), want.last_id);
        let pending: Vec<_> = group
            .pending(StreamId::MIN, StreamId::MAX)
            .map(|p| {
                let owner = String::from_utf8_lossy(p.consumer.expect("owned")).into_owned();
                (p.id, (owner, p.delivered_at.0, p.deliveries))
            })
            .collect();
        assert_eq!(pending, want.pel.clone().into_iter().collect::<Vec<_>>());
        let consumers: Vec<_> =
            group.consumers().map(|c| String::from_utf8_lossy(c.name()).into_owned()).collect();
        assert!(consumers.iter().eq(&want.consumers));
        for consumer in group.consumers() {
            let name = String::from_utf8_lossy(consumer.name());
            let own: Vec<_> = want.pel.iter().filter(|(_, n)| n.0 == name).map(|(id, _)| *id).collect();
            assert!(consumer.pending_ids().eq(own.iter().copied()));
            assert_eq!(consumer.pending_len(), own.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn streams_match_plain_maps(ops in prop::collection::vec(op(), 0..250), per_node in 1..6usize) {
        let limits = limits(per_node);
        let mut stream = Stream::new();
        let mut model = Model::default();
        for (now, op) in ops.into_iter().enumerate() {
            apply(&mut stream, &mut model, op, &limits, now as i64);
            if now % 40 == 0 {
                compare(&stream, &model);
            }
        }
        compare(&stream, &model);
        compare(&reload(&stream), &model);
    }

    #[test]
    fn damaged_nodes_never_panic(edits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let stream = counted(6, 100);
        let (master, pack) = stream.nodes().next().expect("one node");
        let mut bytes = pack.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(pack) = Listpack::new(&bytes) {
            let mut loader = StreamLoader::new(StreamForm::First);
            if loader.node(master, pack).is_ok() {
                let live = Node::from_listpack(master, pack).expect("checked").view().live();
                let totals = LoadTotals { length: live, ..LoadTotals::default() };
                loader.totals(&totals).expect("counted");
                let mut stream = loader.finish().expect("whole");
                let found: Vec<_> = stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward).map(owned).collect();
                stream.trim(Keep::Newest(2), Trim::Exact);
                for (id, _) in &found {
                    stream.delete(*id);
                }
            }
        }
    }
}

// ---- stories ----

#[test]
fn a_node_has_the_layout_of_redis() {
    let mut stream = Stream::new();
    for (at, fields) in [
        (id(5, 7), &[("f", "1"), ("g", "x")][..]),
        (id(5, 9), &[("f", "2"), ("g", "y")]),
        (id(8, 0), &[("f", "3")]),
    ] {
        stream.append(IdSpec::Exact(at), 0, &flat(fields), &Limits::DEFAULT).expect("ids go up");
    }
    stream.delete(id(5, 9));
    let (master, pack) = stream.nodes().next().expect("one node");
    assert_eq!(master, id(5, 7));
    let int = Element::Int;
    let text = |s: &'static str| Element::Bytes(s.as_bytes());
    #[rustfmt::skip]
    let want = [
        int(2), int(1), int(2), text("f"), text("g"), int(0),
        int(2), int(0), int(0), int(1), text("x"), int(5),
        int(3), int(0), int(2), int(2), text("y"), int(5),
        int(0), int(3), int(-7), int(1), text("f"), int(3), int(6),
    ];
    assert!(pack.view().iter().eq(want));
}

#[test]
fn nodes_end_at_their_limits() {
    assert_eq!(counted(10, 3).nodes_len(), 4);
    assert_eq!(counted(250, 100).nodes_len(), 3);
    let mut stream = Stream::new();
    let limits = Limits { stream_node_max_bytes: 100, ..Limits::DEFAULT };
    for _ in 0..4 {
        stream.append(IdSpec::Auto, 1, &["field", &"v".repeat(60)], &limits).expect("ids go up");
    }
    assert_eq!(stream.nodes_len(), 4);
    let endless = Limits { stream_node_max_entries: 0, stream_node_max_bytes: 0, ..Limits::DEFAULT };
    let mut stream = Stream::new();
    for _ in 0..1000 {
        stream.append(IdSpec::Auto, 1, &["field", "value"], &endless).expect("ids go up");
    }
    assert_eq!(stream.nodes_len(), 1);
}

#[test]
fn ids_are_made_as_asked() {
    let mut stream = Stream::new();
    let mut add = |spec, now| stream.append(spec, now, &["f", "v"], &Limits::DEFAULT);
    assert_eq!(add(IdSpec::Exact(StreamId::MIN), 0), Err(AppendError::NotAbove));
    assert_eq!(add(IdSpec::AutoSeq(0), 0), Ok(id(0, 1)));
    assert_eq!(add(IdSpec::Auto, 10), Ok(id(10, 0)));
    assert_eq!(add(IdSpec::Auto, 10), Ok(id(10, 1)));
    assert_eq!(add(IdSpec::Auto, 3), Ok(id(10, 2)), "time never goes back");
    assert_eq!(add(IdSpec::AutoSeq(10), 3), Ok(id(10, 3)));
    assert_eq!(add(IdSpec::AutoSeq(9), 3), Err(AppendError::NotAbove));
    assert_eq!(add(IdSpec::AutoSeq(12), 3), Ok(id(12, 0)));
    assert_eq!(add(IdSpec::Exact(id(12, u64::MAX)), 3), Ok(id(12, u64::MAX)));
    assert_eq!(add(IdSpec::AutoSeq(12), 3), Err(AppendError::NotAbove));
    assert_eq!(add(IdSpec::Auto, 3), Ok(id(13, 0)));
    assert_eq!(add(IdSpec::Exact(StreamId::MAX), 3), Ok(StreamId::MAX));
    assert_eq!(add(IdSpec::Auto, u64::MAX), Err(AppendError::Exhausted));
}

#[test]
fn an_approximate_trim_takes_whole_nodes() {
    let mut stream = counted(10, 3);
    assert_eq!(stream.trim(Keep::Newest(5), Trim::Nodes { limit: 5 }), 3);
    assert_eq!(stream.trim(Keep::Newest(4), Trim::Nodes { limit: 0 }), 3);
    assert_eq!(all(&stream), [7, 8, 9, 10]);
    assert_eq!(stream.trim(Keep::From(id(9, 0)), Trim::Nodes { limit: 0 }), 0);
    assert_eq!(stream.trim(Keep::From(id(9, 5)), Trim::Exact), 3);
    assert_eq!((all(&stream), stream.first_kept_id()), (vec![10], Some(id(10, 0))));
    assert_eq!(stream.trim(Keep::Newest(0), Trim::Exact), 1);
    assert_eq!(stream.totals().first_id, StreamId::MIN);
    assert_eq!((stream.nodes_len(), stream.totals().entries_added), (0, 10));
}

#[test]
fn an_exact_trim_leaves_tombstones() {
    let mut stream = counted(10, 4);
    assert_eq!(stream.trim(Keep::Newest(5), Trim::Exact), 5);
    assert_eq!(all(&stream), [6, 7, 8, 9, 10]);
    assert_eq!(stream.totals().first_id, id(6, 0));
    assert_eq!(stream.first_kept_id(), Some(id(5, 0)));
    assert_eq!(stream.totals().max_deleted_id, StreamId::MIN, "trimming is no deletion");
}

#[test]
fn the_limit_of_an_approximate_trim_follows_the_node_size() {
    assert_eq!(Trim::about(&limits(100)), Trim::Nodes { limit: 10_000 });
    assert_eq!(Trim::about(&limits(7)), Trim::Nodes { limit: 700 });
    assert_eq!(Trim::about(&limits(0)), Trim::Nodes { limit: 10_000 });
    assert_eq!(Trim::about(&limits(1 << 40)), Trim::Nodes { limit: 1_000_000 });
}

#[test]
fn lag_is_known_while_nothing_ahead_was_deleted() {
    let mut stream = counted(5, 100);
    let reader = Reader { group: b"g", consumer: b"c", now: UnixMs(1) };
    stream.create_group(b"g", StreamId::MIN, None);
    stream.see_consumer(reader).expect("there is a group");
    let lag = |stream: &Stream| stream.lag(stream.group(b"g").expect("there"));
    let reads = |stream: &Stream| stream.group(b"g").expect("there").entries_read();
    assert_eq!((lag(&stream), reads(&stream)), (Some(5), None));
    stream.deliver_new(reader, 1, Acks::Wanted, |_| {}).expect("there is a group");
    assert_eq!((lag(&stream), reads(&stream)), (Some(4), Some(1)));
    stream.deliver_new(reader, 1, Acks::Wanted, |_| {}).expect("there is a group");
    assert_eq!((lag(&stream), reads(&stream)), (Some(3), Some(2)));
    stream.delete(id(4, 0));
    assert_eq!(lag(&stream), None, "the group does not know that 4 is gone");
    stream.deliver_new(reader, 0, Acks::Unwanted, |_| {}).expect("there is a group");
    assert_eq!((lag(&stream), reads(&stream)), (Some(0), Some(5)));
    assert_eq!(stream.group(b"g").expect("there").pending_len(), 2);
}

#[test]
fn setting_the_id_keeps_ids_going_up() {
    let mut stream = counted(3, 100);
    stream.delete(id(3, 0));
    assert_eq!(stream.set_id(id(2, 0), None, None), Err(SetIdError::BelowDeleted));
    assert_eq!(stream.set_id(id(9, 0), Some(1), None), Err(SetIdError::AddedBelowLength));
    assert_eq!(stream.set_id(id(9, 0), Some(20), Some(id(4, 0))), Ok(()));
    let totals = stream.totals();
    assert_eq!((totals.last_id, totals.entries_added, totals.max_deleted_id), (id(9, 0), 20, id(4, 0)));
    let mut stream = counted(3, 100);
    assert_eq!(stream.set_id(id(2, 0), None, None), Err(SetIdError::BelowTop));
}

#[test]
fn radix_tree_nodes_are_counted_without_a_radix_tree() {
    assert_eq!(Stream::new().radix_nodes(), 1);
    assert_eq!(counted(1, 1).radix_nodes(), 2);
    // Seven shared bytes, a branching, and for each of two a run of eight and an end.
    assert_eq!(counted(2, 1).radix_nodes(), 6);
}

#[test]
fn old_records_get_what_they_lack() {
    let stream = counted(4, 2);
    let load = |form| {
        let mut loader = StreamLoader::new(form);
        stream.nodes().for_each(|(master, pack)| loader.node(master, pack.view()).expect("a node"));
        loader
            .totals(&LoadTotals { length: 4, last_id: id(4, 0), ..LoadTotals::default() })
            .expect("they fit");
        loader.group(b"g", id(1, 0), None).expect("a group");
        loader.consumer(b"c", UnixMs(7), None).expect("a consumer");
        loader.finish().expect("whole")
    };
    let old = load(StreamForm::First);
    assert_eq!((old.totals().first_id, old.totals().entries_added), (id(1, 0), 4));
    let group = old.group(b"g").expect("there");
    assert_eq!(group.entries_read(), Some(1));
    assert_eq!(group.consumer(b"c").expect("there").active_at, Some(UnixMs(7)));
    let new = load(StreamForm::ActiveTimes);
    let group = new.group(b"g").expect("there");
    assert_eq!((group.entries_read(), group.consumer(b"c").expect("there").active_at), (None, None));
}

#[test]
fn bad_records_are_told_apart() {
    let stream = counted(4, 2);
    let nodes: Vec<_> = stream.nodes().collect();
    let whole = || {
        let mut loader = StreamLoader::new(StreamForm::Counters);
        nodes.iter().for_each(|(master, pack)| loader.node(*master, pack.view()).expect("a node"));
        loader
    };
    let with_group = || {
        let mut loader = whole();
        loader.totals(&LoadTotals { length: 4, ..LoadTotals::default() }).expect("they fit");
        loader.group(b"g", id(1, 0), None).expect("a group");
        loader.pending(id(1, 0), UnixMs(1), 1).expect("pending");
        loader
    };
    let master = nodes[0].0;
    assert_eq!(whole().node(master, nodes[0].1.view()), Err(BadStream::DuplicateNode { master }));
    let empty = ListpackBuf::new();
    assert_eq!(whole().node(id(9, 9), empty.view()), Err(BadStream::Node { master: id(9, 9) }));
    let five = LoadTotals { length: 5, ..LoadTotals::default() };
    let miscounted = || {
        let mut loader = whole();
        loader.totals(&five).expect("the nodes count");
        loader.finish().expect("a stream")
    };
    assert_eq!(miscounted().len(), 4);
    let without_nodes = StreamLoader::new(StreamForm::First).totals(&five);
    assert_eq!(without_nodes, Err(BadStream::Length { declared: 5, counted: 0 }));
    // One entry, deleted, of one field: nothing is there of the five.
    let mut tombstones = ListpackBuf::new();
    [0, 1, 1].into_iter().for_each(|v| tombstones.push_back_int(v));
    tombstones.push_back(b"f");
    [0, 3, 0, 0].into_iter().for_each(|v| tombstones.push_back_int(v));
    tombstones.push_back(b"v");
    tombstones.push_back_int(4);
    let mut loader = StreamLoader::new(StreamForm::First);
    loader.node(id(1, 0), tombstones.view()).expect("a node");
    assert_eq!(loader.totals(&five), Err(BadStream::Length { declared: 5, counted: 0 }));
    assert_eq!(whole().finish().map(|_| ()), Err(BadStream::Length { declared: 0, counted: 4 }));
    assert_eq!(whole().pending(id(1, 0), UnixMs(0), 1), Err(BadStream::Order));
    let again = with_group().pending(id(1, 0), UnixMs(0), 1);
    assert_eq!(again, Err(BadStream::DuplicatePending { id: id(1, 0) }));
    assert_eq!(with_group().finish().map(|_| ()), Err(BadStream::NoOwner));
    let mut given_back = with_group();
    given_back.nacked(id(1, 0)).expect("pending");
    let stream = given_back.finish().expect("nobody has to own it");
    let group = stream.group(b"g").expect("there");
    assert_eq!(group.pending_at(id(1, 0)).expect("pending").consumer, None);
    let mut loader = with_group();
    loader.consumer(b"c", UnixMs(0), None).expect("a consumer");
    assert_eq!(loader.consumer_pending(id(2, 0)), Err(BadStream::NotPending { id: id(2, 0) }));
    loader.consumer_pending(id(1, 0)).expect("pending");
    assert_eq!(loader.consumer(b"c", UnixMs(0), None), Err(BadStream::DuplicateConsumer));
    loader.consumer(b"d", UnixMs(0), None).expect("a consumer");
    assert_eq!(loader.consumer_pending(id(1, 0)), Err(BadStream::NotPending { id: id(1, 0) }));
    loader.group(b"h", id(1, 0), None).expect("a group");
    assert_eq!(loader.group(b"g", id(1, 0), None), Err(BadStream::DuplicateGroup));
}

#[test]
fn what_was_given_back_can_be_claimed() {
    let stream = counted(2, 2);
    let mut loader = StreamLoader::new(StreamForm::ActiveTimes);
    stream.nodes().for_each(|(master, pack)| loader.node(master, pack.view()).expect("a node"));
    loader.totals(&LoadTotals { length: 2, last_id: id(2, 0), ..LoadTotals::default() }).expect("they fit");
    loader.group(b"g", id(2, 0), None).expect("a group");
    loader.pending(id(1, 0), UnixMs(5), 3).expect("pending");
    loader.nacked(id(1, 0)).expect("pending");
    loader.idempotence(100, 10, 2, 1);
    loader.idempotent_id(b"p", b"i", id(1, 0));
    let mut stream = loader.finish().expect("whole");
    assert_eq!(stream.idempotence().expect("loaded").producers.len(), 1);
    let reader = Reader { group: b"g", consumer: b"c", now: UnixMs(6) };
    stream.see_consumer(reader).expect("there is a group");
    let done =
        stream.auto_claim(reader, 1000, StreamId::MIN, 5, Deliveries::Count).expect("there is a group");
    assert_eq!(done.claimed().collect::<Vec<_>>(), [id(1, 0)]);
    let group = stream.group(b"g").expect("there");
    assert!(group.nacked().is_empty());
    assert_eq!(group.pending_at(id(1, 0)).expect("pending").deliveries, 4);
    assert_eq!(reload(&stream).group(b"g").expect("there").pending_len(), 1);
}
