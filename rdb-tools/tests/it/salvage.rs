//! Salvage: of a file with a thousand keys and one damaged byte, all but the damaged one come out.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, ValueEvent};
use rdb_tools::salvage::{Form, Options, Report, salvage_slice};

use crate::support::{rdb_tools, testdata};

/// A file that a server wrote: a thousand keys of all types, with and without expiry.
pub(crate) fn thousand() -> Vec<u8> {
    fs::read(testdata().join("salvage/redis-7.0.15-thousand.rdb")).expect("testdata")
}

/// What comes out, by key, and the report.
pub(crate) fn lines(file: &[u8], options: &Options) -> (HashMap<String, String>, Report) {
    let (report, out) = salvage_slice(file, options, Form::Jsonl, || Ok(Vec::new())).expect("memory");
    let text = String::from_utf8(out).expect("JSON");
    let by_key = text.lines().map(|line| {
        let mut json: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let key = json["key"].to_string();
        // Which database it is in hangs on other bytes than its own.
        json["db"] = 0.into();
        (key, json.to_string())
    });
    (by_key.collect(), report)
}

/// Where every key's record lies.
#[derive(Default)]
struct Places {
    last: u64,
    key: String,
    places: BTreeMap<u64, (u64, String)>,
}

impl Sink for Places {
    type Error = std::convert::Infallible;
    fn aux(&mut self, _key: &[u8], _value: &[u8], end: u64) -> Result<(), Self::Error> {
        self.last = end;
        Ok(())
    }
    fn select_db(&mut self, _db: u64, end: u64) -> Result<(), Self::Error> {
        self.last = end;
        Ok(())
    }
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        self.key = String::from_utf8_lossy(head.key).into_owned();
        Ok(Depth::Skip)
    }
    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn end_key(&mut self, end: u64) -> Result<(), Self::Error> {
        self.places.insert(self.last, (end, self.key.clone()));
        self.last = end;
        Ok(())
    }
}

pub(crate) fn places(file: &[u8]) -> BTreeMap<u64, (u64, String)> {
    let mut sink = Places::default();
    let mut decoder = cairn_engine::codec::rdb::Decoder::new(Default::default());
    decoder.advance(file, true, &mut sink).expect("a good file");
    sink.places
}

/// How many offsets are tried: one in this many. `CAIRN_SALVAGE_STEP=1` is the large dose.
pub(crate) fn step() -> usize {
    std::env::var("CAIRN_SALVAGE_STEP").ok().and_then(|n| n.parse().ok()).unwrap_or(4001)
}

#[test]
fn with_a_checksum_a_damaged_byte_costs_nothing() {
    let file = thousand();
    let (all, report) = lines(&file, &Options::default());
    assert_eq!((all.len(), report.is_whole(), report.keys), (1000, true, 1000));
    for at in (0..file.len()).step_by(step()) {
        for bits in [0x01, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= bits;
            let (found, report) = lines(&damaged, &Options::default());
            assert_eq!(found, all, "{at}");
            assert!(report.is_whole(), "{at}: {report:?}");
            if at < file.len() - 8 {
                assert_eq!(report.repaired, [(at as u64, damaged[at], file[at])]);
            }
        }
    }
}

#[test]
fn without_a_checksum_a_damaged_byte_costs_one_key_and_no_value_is_wrong_unseen() {
    let mut file = thousand();
    let end = file.len() - 8;
    // As a server with `rdbchecksum no` writes it.
    file[end..].fill(0);
    let toll = Toll::of("redis-7.0", &file, step());
    println!("{toll:?}");
    assert_eq!((toll.unseen, toll.others_wrong), (0, 0));
    assert!(toll.more_lost * 20 <= toll.tried, "{toll:?}");
}

/// What damaged bytes have cost, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    pub(crate) tried: usize,
    /// Of these cost no more than one key.
    pub(crate) one_lost: usize,
    pub(crate) more_lost: usize,
    /// The most that one has cost.
    pub(crate) most: usize,
    /// Wrong values under the names of keys whose records were not damaged.
    pub(crate) others_wrong: usize,
    /// More was lost or wrong than the damaged record, and the report says that all is well.
    pub(crate) unseen: usize,
}

impl Toll {
    /// Damages one byte in `step` of a good file, in each of some ways. With `CAIRN_SHOW` it says what has cost more
    /// than its key.
    pub(crate) fn of(name: &str, file: &[u8], step: usize) -> Self {
        let end = file.len() - if file.starts_with(b"REDIS0004") { 0 } else { 8 };
        let places = places(file);
        let (all, _) = lines(file, &Options::default());
        let verbose = std::env::var_os("CAIRN_SHOW").is_some();
        let mut toll = Self::default();
        for at in (9..end).step_by(step) {
            for bits in [0x01, 0x80, 0xff, 0x14] {
                let mut damaged = file.to_vec();
                damaged[at] ^= bits;
                let (found, report) = lines(&damaged, &Options::default());
                let missing = all.keys().filter(|key| !found.contains_key(*key)).count();
                let wrong: Vec<_> = found.iter().filter(|(key, line)| all.get(*key) != Some(line)).collect();
                // A record, or what stands before all records.
                let record = places.range(..=at as u64).next_back().filter(|(_, (end, _))| *end > at as u64);
                let own = record.map(|(_, (_, key))| serde_json::Value::from(key.as_str()).to_string());
                // The damaged record itself may come out with the byte that was changed: as another value, or under
                // another name.
                // Under the name of a key that comes later, that one is told as a duplicate.
                let is_told = |key: &String| {
                    report.lost.iter().filter_map(|lost| lost.key.as_ref()).any(|(_, name)| {
                        let name = serde_json::Value::from(String::from_utf8_lossy(name)).to_string();
                        name == *key
                    })
                };
                let is_own =
                    |key: &String| own.as_ref() == Some(key) || !all.contains_key(key) || is_told(key);
                let others_wrong = wrong.iter().filter(|(key, _)| !is_own(key)).count();
                let lost = missing.max(wrong.len());
                let is_told = !report.is_whole();
                toll.tried += 1;
                toll.one_lost += usize::from(lost <= 1 && others_wrong == 0);
                toll.more_lost += usize::from(lost > 1);
                toll.most = toll.most.max(lost);
                toll.others_wrong += others_wrong;
                toll.unseen += usize::from((lost > 1 || others_wrong > 0) && !is_told);
                if verbose && (lost > 1 || others_wrong > 0) {
                    println!(
                        "{name}: {at} ^ {bits:#x} in {own:?}: {missing} missing, {} wrong {:?}, told {is_told}",
                        wrong.len(),
                        wrong.iter().map(|(key, _)| key).collect::<Vec<_>>()
                    );
                    for lost in report.lost.iter().take(6) {
                        println!("    {lost}");
                    }
                    println!("    declared {:?}", report.declared);
                }
            }
        }
        toll
    }
}

#[test]
fn the_command_writes_a_file_that_is_right_and_a_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut file = thousand();
    let middle = file.len() / 2;
    // More than the checksum can tell.
    for at in [middle, middle + 700] {
        file[at..at + 40].fill(0xaa);
    }
    fs::write(path("bad.rdb"), &file).expect("write");
    let output = rdb_tools([
        "salvage".as_ref(),
        path("bad.rdb").as_os_str(),
        "-o".as_ref(),
        path("good.rdb").as_os_str(),
        "--report".as_ref(),
        path("report.json").as_os_str(),
        "--quarantine".as_ref(),
        path("bad").as_os_str(),
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(fs::read(path("bad.rdb")).expect("it is there"), file);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(path("report.json")).expect("it is there")).expect("JSON");
    let keys = report["keys"].as_u64().expect("a number");
    assert!((980..1000).contains(&keys), "{told}");
    assert_eq!(report["checksum"], "wrong");
    assert_eq!(report["may_hide_damage"], true);
    let quarantined = fs::read_dir(path("bad")).expect("it is there").count();
    assert_eq!(quarantined as u64, report["lost"].as_u64().expect("a number"));
    let check = rdb_tools(["check".as_ref(), path("good.rdb").as_os_str()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
    assert!(String::from_utf8_lossy(&check.stdout).contains(&format!("{keys} keys")));
    // A good file comes out as it is, and nothing is replaced without being told to.
    let again = rdb_tools([
        "salvage".as_ref(),
        path("good.rdb").as_os_str(),
        "-o".as_ref(),
        path("good.rdb").as_os_str(),
    ]);
    assert_eq!(again.status.code(), Some(2));
    let again = rdb_tools([
        "salvage".as_ref(),
        path("good.rdb").as_os_str(),
        "-o".as_ref(),
        path("2.jsonl").as_os_str(),
    ]);
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn a_cut_file_gives_what_is_there() {
    let file = thousand();
    let (all, _) = lines(&file, &Options::default());
    for cut in [file.len() - 1, file.len() - 9, file.len() - 10, file.len() * 2 / 3, 500, 9, 5, 0] {
        let (found, report) = lines(&file[..cut], &Options::default());
        assert!(found.iter().all(|(key, line)| all.get(key) == Some(line)), "{cut}");
        let whole = places(&file).values().filter(|(end, _)| *end <= cut as u64).count();
        assert!(found.len() + 1 >= whole, "{cut}: {} of {whole}", found.len());
        assert!(!report.is_whole(), "{cut}");
    }
}

#[test]
fn a_damaged_head_is_guessed_or_told() {
    let file = thousand();
    let options = Options { no_repair: true, ..Options::default() };
    for (at, byte) in [(0, b'X'), (4, 0), (6, b'9'), (8, b'1'), (5, b'9')] {
        let mut damaged = file.clone();
        damaged[at] = byte;
        let (found, report) = lines(&damaged, &options);
        assert!(found.len() >= 999, "{at}: {} {report:?}", found.len());
    }
}

#[test]
fn a_part_with_a_field_twice_does_not_come_out() {
    let mut file = b"REDIS0010\xfe\x00\x04\x01k\x02\x01f\x01v\x01f\x01v\xff".to_vec();
    file.extend_from_slice(&[0; 8]);
    let (found, report) = lines(&file, &Options { partial: true, ..Options::default() });
    assert_eq!((found.len(), report.keys, report.lost_count), (0, 0, 1), "{report:?}");
}

/// Files of `testdata/rdb` with a few changed bytes, made as small as they could be: reading went back to a place
/// before the fault, from there to the fault, and so on for ever.
#[test]
fn damage_that_leads_back_to_itself_comes_to_an_end() {
    let files = crate::support::files_with(&testdata().join("salvage/endless"), "rdb");
    assert!(!files.is_empty());
    for path in files {
        let file = fs::read(&path).expect("testdata");
        for no_repair in [false, true] {
            let (_, report) = lines(&file, &Options { no_repair, ..Options::default() });
            assert!(!report.is_whole(), "{}", path.display());
            assert!(report.lost.iter().all(|lost| lost.from <= lost.to), "{:?}", report.lost);
        }
    }
}

#[test]
fn many_changes_in_small_files_come_to_an_end() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let files = crate::support::files_with(&testdata().join("rdb"), "rdb");
    let small: Vec<_> = files.iter().map(|path| fs::read(path).expect("testdata")).collect();
    let small: Vec<_> = small.into_iter().filter(|file| file.len() < 3000).collect();
    assert!(!small.is_empty());
    for _ in 0..400 {
        let mut file = small[random(small.len())].clone();
        for _ in 0..=random(6) {
            let (at, to) = (random(file.len()), random(file.len()));
            match random(4) {
                0 => file[at] = random(256) as u8,
                1 => drop(file.drain(at..(at + 1 + random(8)).min(file.len()))),
                2 => drop(file.splice(at..at, (0..8u8).collect::<Vec<_>>())),
                _ => drop(file.splice(at..at, file[to..(to + 40).min(file.len())].to_vec())),
            }
        }
        let (_, report) = lines(&file, &Options { no_repair: true, ..Options::default() });
        assert!(report.lost.iter().all(|lost| lost.from <= lost.to), "{:?}", report.lost);
    }
}
