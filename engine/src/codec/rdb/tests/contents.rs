//! Files of real servers hold what those servers said of them: every key, value, expiry and form,
//! against the `expected.jsonl` beside each file.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::Value as Json;

use super::fixtures::{files_below, fixtures};
use super::support::feed;
use crate::base::stream_id::StreamId;
use crate::codec::rdb::{
    Depth, Family, KeyHead, ObjectType, Options, Sink, StreamTotals, StringForm, ValueEvent,
};

type Bytes = Vec<u8>;

/// Expiries before this had passed when the files were made; all others are after the year 2096.
const LONG_AGO_MS: i64 = 4_000_000_000_000;

/// A key as the file has it.
struct Key {
    object: ObjectType,
    type_byte: u8,
    expire_at: i64,
    idle_s: Option<u64>,
    freq: Option<u8>,
    form: Option<StringForm>,
    /// The string, list elements, set members.
    elements: Vec<Bytes>,
    fields: Vec<(Bytes, Bytes, Option<i64>)>,
    members: Vec<(Bytes, f64)>,
    cells: Vec<(u64, Bytes)>,
    stream: Stream,
}

#[derive(Default)]
struct Stream {
    entries: Vec<(StreamId, Vec<Bytes>)>,
    totals: StreamTotals,
    groups: Vec<Group>,
    idmp: Option<[u64; 4]>,
    producers: BTreeMap<Bytes, Vec<(Bytes, StreamId)>>,
}

struct Group {
    name: Bytes,
    last_id: StreamId,
    entries_read: Option<u64>,
    pending: BTreeMap<StreamId, (Bytes, i64, u64)>,
    consumers: Vec<(Bytes, i64, Option<i64>, Vec<StreamId>)>,
    nacked: Vec<StreamId>,
}

#[derive(Default)]
struct Contents {
    keys: BTreeMap<(i64, Bytes), Key>,
    functions: Vec<Bytes>,
    current: (i64, Bytes),
}

impl Contents {
    fn key_mut(&mut self) -> &mut Key {
        self.keys.get_mut(&self.current).expect("a value belongs to a key")
    }

    fn group_mut(&mut self) -> &mut Group {
        self.key_mut().stream.groups.last_mut().expect("after its group")
    }
}

impl Sink for Contents {
    type Error = Infallible;

    fn function(&mut self, _: u64, code: &[u8]) -> Result<(), Infallible> {
        self.functions.push(code.to_vec());
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.current = (head.db as i64, head.key.to_vec());
        let key = Key {
            object: head.object,
            type_byte: head.type_byte,
            expire_at: head.expire_at.map_or(-1, |at| at.0),
            idle_s: head.idle_s,
            freq: head.freq,
            form: None,
            elements: Vec::new(),
            fields: Vec::new(),
            members: Vec::new(),
            cells: Vec::new(),
            stream: Stream::default(),
        };
        assert!(self.keys.insert(self.current.clone(), key).is_none(), "a key twice");
        Ok(Depth::Item)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        let key = self.key_mut();
        match event {
            ValueEvent::String { bytes, form } => {
                key.elements.push(bytes.to_vec());
                key.form = Some(form);
            }
            ValueEvent::Element(element) => key.elements.push(element.to_vec()),
            ValueEvent::Field { field, value, expire_at } => {
                key.fields.push((field.to_vec(), value.to_vec(), expire_at.map(|at| at.0)));
            }
            ValueEvent::Member { member, score } => key.members.push((member.to_vec(), score)),
            ValueEvent::ArrayElement { index, value } => key.cells.push((index, value.to_vec())),
            ValueEvent::StreamEntry { id, fields } => {
                key.stream.entries.push((id, fields.iter().map(|f| f.to_vec()).collect()));
            }
            ValueEvent::StreamTotals(totals) => key.stream.totals = totals,
            ValueEvent::StreamGroup { name, last_id, entries_read } => {
                key.stream.groups.push(Group {
                    name: name.to_vec(),
                    last_id,
                    entries_read,
                    pending: BTreeMap::new(),
                    consumers: Vec::new(),
                    nacked: Vec::new(),
                });
            }
            ValueEvent::StreamPending { id, delivered_at, deliveries } => {
                let entry = (Vec::new(), delivered_at.0, deliveries);
                assert!(self.group_mut().pending.insert(id, entry).is_none());
            }
            ValueEvent::StreamNacked(id) => self.group_mut().nacked.push(id),
            ValueEvent::StreamConsumer { name, seen_at, active_at } => {
                let active_at = active_at.map(|at| at.0);
                let consumer = (name.to_vec(), seen_at.0, active_at, Vec::new());
                self.group_mut().consumers.push(consumer);
            }
            ValueEvent::StreamConsumerPending(id) => {
                let group = self.group_mut();
                let consumer = group.consumers.last_mut().expect("after its consumer");
                consumer.3.push(id);
                group.pending.get_mut(&id).expect("the group has it too").0 = consumer.0.clone();
            }
            ValueEvent::StreamIdmpEntry { producer, iid, id } => {
                let ids = key.stream.producers.entry(producer.to_vec()).or_default();
                ids.push((iid.to_vec(), id));
            }
            ValueEvent::StreamIdmp { duration_s, max_entries, added, duplicates } => {
                key.stream.idmp = Some([duration_s, max_entries, added, duplicates]);
            }
            _ => {}
        }
        Ok(())
    }
}

fn bytes_of(json: &Json) -> Bytes {
    match json {
        Json::String(text) => text.clone().into_bytes(),
        other => {
            let text = other["b64"].as_str().expect("a string");
            base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
        }
    }
}

/// Whether `json` stands for `bytes`, if only by length and hash.
fn is(json: &Json, bytes: &[u8]) -> bool {
    use sha1::{Digest, Sha1};
    match json["sha1"].as_str() {
        Some(expected) => {
            let hash: String = Sha1::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
            json["len"] == bytes.len() && hash == expected
        }
        None => bytes_of(json) == bytes,
    }
}

fn id_of(json: &Json) -> StreamId {
    StreamId::parse(json.as_str().expect("an id").as_bytes(), 0).expect("an id")
}

fn list<'j>(json: &'j Json, what: &str) -> &'j Vec<Json> {
    json.as_array().unwrap_or_else(|| panic!("{what}: no list in {json}"))
}

/// Compares in the order of the bytes, which hashes and sets have none of in a file.
fn check_value(key: &mut Key, expected: &Json, what: &str) {
    match key.object.family() {
        Family::String => assert!(is(expected, &key.elements[0]), "{what}"),
        Family::List | Family::Set => {
            if key.object.family() == Family::Set {
                key.elements.sort();
            }
            let expected = list(expected, what);
            assert_eq!(key.elements.len(), expected.len(), "{what}");
            for (element, expected) in key.elements.iter().zip(expected) {
                assert!(is(expected, element), "{what}: {expected}");
            }
        }
        Family::Hash => {
            key.fields.sort();
            let expected = list(expected, what);
            assert_eq!(key.fields.len(), expected.len(), "{what}");
            for ((field, value, _), expected) in key.fields.iter().zip(expected) {
                assert!(is(&expected[0], field) && is(&expected[1], value), "{what}: {expected}");
            }
        }
        Family::Zset => {
            key.members.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
            let expected = list(expected, what);
            assert_eq!(key.members.len(), expected.len(), "{what}");
            for ((member, score), expected) in key.members.iter().zip(expected) {
                let expected_score: f64 = expected[1].as_str().unwrap().parse().unwrap();
                assert!(is(&expected[0], member) && *score == expected_score, "{what}: {expected}");
            }
        }
        Family::Array => {
            let expected = list(&expected["elements"], what);
            assert_eq!(key.cells.len(), expected.len(), "{what}");
            for ((index, value), expected) in key.cells.iter().zip(expected) {
                assert!(expected[0] == *index && is(&expected[1], value), "{what}: {expected}");
            }
        }
        Family::Stream => check_stream(&mut key.stream, expected, what),
        Family::Module | Family::PathHash => {}
    }
}

fn check_stream(stream: &mut Stream, expected: &Json, what: &str) {
    let entries = list(&expected["entries"], what);
    assert_eq!(stream.entries.len(), entries.len(), "{what}");
    for ((id, fields), expected) in stream.entries.iter().zip(entries) {
        assert_eq!(*id, id_of(&expected[0]), "{what}");
        let expected = list(&expected[1], what);
        assert_eq!(fields.len(), expected.len(), "{what} {id:?}");
        assert!(fields.iter().zip(expected).all(|(f, e)| is(e, f)), "{what} {id:?}");
    }
    let totals = stream.totals;
    assert_eq!(expected["length"], totals.length, "{what}");
    assert_eq!(id_of(&expected["last_id"]), totals.last_id, "{what}");
    if let (Some(added), Some(deleted)) = (totals.entries_added, totals.max_deleted_id) {
        assert_eq!(expected["entries_added"], added, "{what}");
        assert_eq!(id_of(&expected["max_deleted_id"]), deleted, "{what}");
    }
    let groups = list(&expected["groups"], what);
    assert_eq!(stream.groups.len(), groups.len(), "{what}");
    stream.groups.sort_by(|a, b| a.name.cmp(&b.name));
    for (group, expected) in stream.groups.iter_mut().zip(groups) {
        check_group(group, expected, what);
    }
    if let Some([duration, max, added, duplicates]) = stream.idmp {
        let idmp = &expected["idmp"];
        assert_eq!(idmp["duration"], duration, "{what}");
        assert_eq!(idmp["maxsize"], max, "{what}");
        assert_eq!(idmp["added"], added, "{what}");
        assert_eq!(idmp["duplicates"], duplicates, "{what}");
        let producers = list(&idmp["producers"], what);
        assert_eq!(stream.producers.len(), producers.len(), "{what}");
        for ((name, ids), expected) in stream.producers.iter_mut().zip(producers) {
            assert!(is(&expected[0], name), "{what}");
            ids.sort();
            let mut expected: Vec<(Bytes, StreamId)> =
                list(&expected[1], what).iter().map(|pair| (bytes_of(&pair[0]), id_of(&pair[1]))).collect();
            expected.sort();
            assert_eq!(*ids, expected, "{what}");
        }
    }
}

fn check_group(group: &mut Group, expected: &Json, what: &str) {
    assert!(is(&expected["name"], &group.name), "{what}");
    assert_eq!(id_of(&expected["last_id"]), group.last_id, "{what}");
    if let Some(read) = group.entries_read {
        assert_eq!(expected["entries_read"], read, "{what}");
    }
    let pending = list(&expected["pel"], what);
    assert_eq!(group.pending.len(), pending.len(), "{what}");
    for ((id, (consumer, time, count)), expected) in group.pending.iter().zip(pending) {
        assert_eq!(*id, id_of(&expected[0]), "{what}");
        assert!(is(&expected[1], consumer), "{what}");
        assert!(expected[2] == *time && expected[3] == *count, "{what}: {expected}");
    }
    group.consumers.sort_by(|a, b| a.0.cmp(&b.0));
    let consumers = list(&expected["consumers"], what);
    assert_eq!(group.consumers.len(), consumers.len(), "{what}");
    for ((name, seen, active, owned), expected) in group.consumers.iter_mut().zip(consumers) {
        assert!(is(&expected["name"], name), "{what}");
        assert_eq!(expected["seen_time"], *seen, "{what}");
        if let (Some(active), Some(expected)) = (active, expected["active_time"].as_i64()) {
            assert_eq!(expected, *active, "{what}");
        }
        owned.sort();
        let expected: Vec<StreamId> = list(&expected["pel"], what).iter().map(id_of).collect();
        assert_eq!(*owned, expected, "{what}");
    }
    if let Some(expected) = expected["nacked"].as_array() {
        let expected: Vec<StreamId> = expected.iter().map(id_of).collect();
        assert_eq!(group.nacked, expected, "{what}");
    }
}

fn check_expiries(key: &Key, expected: &Json, what: &str) {
    let mut found: Vec<(&Bytes, i64)> =
        key.fields.iter().filter_map(|(field, _, at)| Some((field, (*at)?))).collect();
    found.sort();
    let expected = expected.as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(found.len(), expected.len(), "{what}");
    for ((field, at), expected) in found.iter().zip(expected) {
        assert!(is(&expected[0], field) && expected[1] == *at, "{what}: {expected}");
    }
}

fn check_line(contents: &mut Contents, row: &Json, what: &str) {
    let db = row["db"].as_i64().unwrap();
    if db < 0 {
        assert!(contents.functions.iter().any(|code| is(&row["value"], code)), "{what}");
        return;
    }
    let name = bytes_of(&row["key"]);
    let what = format!("{what}: key \"{}\"", name.escape_ascii());
    let key = contents.keys.get_mut(&(db, name)).unwrap_or_else(|| panic!("{what}: missing"));
    assert_eq!(row["rdb_type"], key.type_byte, "{what}");
    assert_eq!(row["pexpireat"], key.expire_at, "{what}");
    if let Some(idle) = row["idle"].as_u64() {
        assert_eq!(Some(idle), key.idle_s, "{what}");
    }
    if let Some(freq) = row["freq"].as_u64() {
        assert_eq!(Some(freq), key.freq.map(u64::from), "{what}");
    }
    if let Some(form) = row["string_form"].as_str() {
        let found = key.form.map(|form| format!("{form:?}").to_lowercase());
        assert_eq!(found.as_deref(), Some(form), "{what}");
    }
    // A key that had expired when the server looked: what was in it is not known.
    if row["type"].is_null() {
        return;
    }
    // Fields that have expired since are in the file, and no more in the server.
    key.fields.retain(|(_, _, at)| at.is_none_or(|at| at > LONG_AGO_MS));
    check_value(key, &row["value"], &what);
    // KeyDB keeps expiries of fields in aux records of its own.
    if !what.contains("keydb") {
        check_expiries(key, &row["field_pexpireat"], &what);
    }
}

fn check_file(rdb: &Path, expected: &Path) {
    let what = rdb.display().to_string();
    let bytes = fs::read(rdb).unwrap();
    let mut contents = Contents::default();
    if let Err(error) = feed(&bytes, &mut contents, Options::default(), bytes.len()) {
        panic!("{what}: {error}");
    }
    let rows = fs::read_to_string(expected).unwrap();
    let rows: Vec<Json> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let keys = rows.iter().filter(|row| row["db"] != -1).count();
    assert_eq!(contents.keys.len(), keys, "{what}: keys");
    assert_eq!(contents.functions.len(), rows.len() - keys, "{what}: functions");
    for row in &rows {
        check_line(&mut contents, row, &what);
    }
}

/// The description beside `rdb`; that of the compressed file for the one that is not.
fn expected_of(rdb: &Path) -> Option<PathBuf> {
    let path = rdb.with_extension("expected.jsonl");
    path.exists().then_some(path)
}

fn check_folder(folder: &Path) -> usize {
    let mut files = Vec::new();
    files_below(folder, "rdb", &mut files);
    let mut checked = 0;
    for rdb in files {
        let name = rdb.file_name().unwrap().to_string_lossy().into_owned();
        // Refused by name; see the other tests.
        if name.contains("prega") || name.contains("keydb-cron") || rdb.ends_with("redis-4.0-rc1/modules.rdb")
        {
            continue;
        }
        if let Some(expected) = expected_of(&rdb) {
            check_file(&rdb, &expected);
            checked += 1;
        }
    }
    checked
}

#[test]
fn testdata_holds_what_its_servers_said() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb");
    assert!(check_folder(&folder) > 30);
}

#[test]
fn fixtures_hold_what_their_servers_said() {
    let Some(folder) = fixtures("fixtures_hold_what_their_servers_said") else { return };
    assert!(check_folder(&folder.join("made")) > 100);
}
