//! Logs as a server under `always` leaves them when it is killed: with a reserve behind them.
//!
//! The images are judged by a start of the engine, too: tools and starts must agree.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::aof::manifest::Manifest;
use cairn_engine::codec::aof::reserve;
use cairn_engine::codec::rdb::{Dialect, Options};
use cairn_engine::engine::{Engine, EngineConfig};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::load::LoadProgress;
use cairn_engine::persist::recover::{Listener, Note, Outside, RecoverOptions};
use cairn_engine::persist::snapshot::{Settings, TargetChoice};
use cairn_engine::script::{Scripts, Versions};
use cairn_engine::value::Limits;

use crate::blocks::{self, INCR, MANIFEST, command};
use crate::support::{self, aof_tools, check_aof, copy_folder};

/// A log and the reserve behind it, up to this offset.
fn with_reserve(log: &[u8], to: u64) -> Vec<u8> {
    let mut file = log.to_vec();
    reserve::push(&mut file, log.len() as u64..to, true);
    file
}

/// Two blocks, the second one of more than a sector; where that starts.
fn log() -> (Vec<u8>, usize) {
    let first = command(&["SET", "a", "1"]);
    let mut second = b"#TS:100\r\n".to_vec();
    for i in 0..20 {
        second.extend(command(&["SET", "b", &format!("value number {i}")]));
    }
    second.extend_from_slice(b"#TS:200\r\n");
    second.extend(command(&["SET", "c", "3"]));
    (blocks::blocks(&[first.clone(), second]), blocks::blocks(&[first]).len())
}

/// A folder with this last increment, of which the manifest says that it was whole up to `end`.
fn folder(last: &[u8], end: Option<u64>) -> tempfile::TempDir {
    let (folder, _) = blocks::folder();
    let path = folder.path().join(MANIFEST);
    let mut manifest = Manifest::parse(&fs::read(&path).expect("a file")).expect("a manifest");
    manifest.incr[1].marks.end = end;
    fs::write(&path, manifest.format_checked()).expect("a manifest");
    fs::write(folder.path().join(INCR), last).expect("a file");
    folder
}

fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = aof_tools(folder, args);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

#[track_caller]
fn runs(folder: &Path, args: &[&str], code: i32, parts: &[&str]) -> String {
    let (got, text) = run(folder, args);
    assert_eq!(got, Some(code), "{args:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{args:?}: no {part:?} in {text}");
    }
    text
}

#[track_caller]
fn json(folder: &Path, args: &[&str], code: i32) -> serde_json::Value {
    serde_json::from_str(&runs(folder, args, code, &[])).expect("is JSON")
}

struct Deaf;

impl Listener for Deaf {
    fn progress(&mut self, _progress: LoadProgress) {}
    fn note(&mut self, _note: Note) {}
    fn outside(&mut self, _argv: &[&[u8]]) -> Outside {
        Outside::Skip
    }
}

/// What a start makes of a copy of the log: where a torn end begins, if there is one, and the digest of the data.
fn start(folder: &Path) -> Result<(Option<u64>, [u8; 20]), String> {
    let home = tempfile::tempdir().expect("a folder");
    copy_folder(folder, &home.path().join("appendonlydir"));
    let rdb_path = home.path().join("dump.rdb");
    let config = EngineConfig {
        databases: 16,
        seed: [5, 6],
        limits: Limits::DEFAULT,
        rdb_path: rdb_path.clone(),
        settings: Settings {
            target: TargetChoice::Auto(Dialect::Redis),
            compress: true,
            checksum: true,
            incremental_sync: true,
            key_delay_us: 0,
        },
        redis_version: "7.4.2",
        apart: Apart::ForkAndThreads,
    };
    let options = RecoverOptions {
        enabled: true,
        rdb_path,
        aof_dir: home.path().join("appendonlydir"),
        filename: "a.aof".to_owned(),
        load_truncated: true,
        corrupt_tail_max_bytes: 0,
        checksum: true,
        strict: false,
        rdb: Options::default(),
    };
    let now = UnixMs(1_800_000_000_000);
    let mut engine = Engine::new(config, now);
    let mut scripts = Scripts::new(Versions { server_name: "cairn", redis: "7.4.2", valkey: "9.1.0" });
    let recovered =
        engine.recover(now, &options, &mut scripts, &mut Deaf).map_err(|error| error.to_string())?;
    Ok((recovered.torn.map(|torn| torn.at), engine.digest()))
}

/// What a check, a conversion, a repair and the servers' tool make of it, compared with a start.
#[track_caller]
fn judged_alike(last: &[u8], end: Option<u64>, what: &str) {
    let folder = folder(last, end);
    let folder = folder.path();
    let started = start(folder);
    let (code, report) = run(folder, &["check", "--json", MANIFEST]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("is JSON");
    let first = &report["findings"][0];
    let (_, converted) = run(folder, &["convert", MANIFEST, "-o", "out.rdb"]);
    let has_converted = fs::remove_file(folder.join("out.rdb")).is_ok();
    let fixed = check_aof(folder, &[MANIFEST], "").status.code();
    match &started {
        Ok((None, _)) => {
            assert_eq!((code, fixed), (Some(0), Some(0)), "{what}: {report}");
            assert!(has_converted && !converted.contains("left out"), "{what}: {converted}");
        }
        Ok((Some(at), _)) => {
            assert_eq!((code, fixed), (Some(1), Some(1)), "{what}: {report}");
            assert_eq!(
                (first["server"].as_str(), first["offset"].as_u64()),
                (Some("truncates"), Some(*at)),
                "{what}"
            );
            assert!(
                has_converted && converted.contains(&format!("offset {at}: the last")),
                "{what}: {converted}"
            );
        }
        Err(why) => {
            assert_eq!((code, fixed), (Some(1), Some(1)), "{what}: {why}");
            assert_eq!(first["server"], "damaged", "{what}: {why}: {report}");
            assert!(!has_converted, "{what}: {why}");
        }
    }
    let args = ["repair", MANIFEST, "-o", "new", "--without-missing"];
    runs(folder, &args, 0, &[]);
    let repaired = start(&folder.join("new")).expect("what is repaired is right");
    if let Ok((_, data)) = started {
        assert_eq!(repaired, (None, data), "{what}");
    }
    let last = fs::read(folder.join("new").join(INCR)).expect("a file");
    assert!(!last.windows(2).any(|pair| pair == b"##" || pair == b"=="), "{what}: a reserve is copied");
    // The same in place, which leaves what nothing is wrong with.
    runs(folder, &["repair", MANIFEST, "--in-place", "--yes", "--without-missing"], 0, &[]);
    assert_eq!(start(folder).expect("what is repaired is right"), repaired, "{what}");
    runs(folder, &["check", MANIFEST], 0, &[]);
}

#[test]
fn a_reserve_is_told_and_nothing_is_wrong() {
    let (log, _) = log();
    let (len, size) = (log.len() as u64, 8192);
    let last = with_reserve(&log, size);
    for end in [None, Some(len)] {
        judged_alike(&last, end, "as a killed server leaves it");
        let folder = folder(&last, end);
        let folder = folder.path();
        let told = format!("in 2 checked blocks, {} bytes of reserve", size - len);
        for more in [&[][..], &["--no-mmap"], &["--replay"], &["--jobs", "2"]] {
            runs(folder, &[&["check", MANIFEST], more].concat(), 0, &[&told, ": ok"]);
        }
        let report = json(folder, &["check", "--json", MANIFEST], 0);
        let file = &report["files"][2];
        assert_eq!((file["bytes"].as_u64(), file["reserve"].as_u64()), (Some(size), Some(size - len)));
        assert_eq!((file["commands"].as_u64(), file["last_time"].as_i64()), (Some(22), Some(200)));
        runs(folder, &["info", MANIFEST], 0, &[&format!("reserve: {}", size - len), "(200)"]);
        let facts = json(folder, &["info", "--json", MANIFEST], 0);
        let file = &facts["files"][2];
        assert_eq!((file["reserve"].as_u64(), file["last_time"].as_i64()), (Some(size - len), Some(200)));
        runs(folder, &["repair", MANIFEST], 0, &["nothing has to be repaired"]);
        let report = json(folder, &["repair", "--json", MANIFEST], 0);
        assert_eq!(
            (&report["dropped_bytes"], &report["files"][2]["reserve"]),
            (&0.into(), &(size - len).into())
        );
        assert_eq!(runs(folder, &["log", MANIFEST], 0, &[]).lines().count(), 2 + 22);
    }
    // What other servers' tool says of it: every line of it is one of a comment.
    let one = tempfile::tempdir().expect("a folder");
    fs::write(one.path().join("x.aof"), &last).expect("a file");
    let checked = check_aof(one.path(), &["x.aof"], "");
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains(&format!("ok_up_to={size}, ")), "{text}");
    assert!(text.contains("diff=0\nAOF x.aof is valid"), "{text}");
    runs(one.path(), &["check", "x.aof"], 0, &["bytes of reserve", "x.aof: ok"]);
}

#[test]
fn blocks_that_are_missing_in_front_of_a_reserve_are_missed() {
    let (log, first) = log();
    let last = with_reserve(&log[..first], 4096);
    judged_alike(&last, Some(log.len() as u64), "a block is missing");
    let folder = folder(&last, Some(log.len() as u64));
    let folder = folder.path();
    let says = format!("{first} bytes and a reserve, and the manifest says at least {}", log.len());
    runs(folder, &["check", MANIFEST], 1, &[&says, "Cairn refuses"]);
    runs(folder, &["repair", MANIFEST], 1, &[&says, "--without-missing"]);
    runs(folder, &["compact", MANIFEST, "-o", "new"], 2, &["and the manifest says"]);
}

#[test]
fn a_block_that_is_not_all_over_a_reserve_is_a_torn_end() {
    let (log, first) = log();
    for size in [4096, 8192] {
        let old = with_reserve(&log[..first], size);
        let mut new = old.clone();
        new[..log.len()].copy_from_slice(&log);
        if reserve::ends_line(log.len() as u64) {
            new[log.len()] = b'#';
        }
        for cut in (first..log.len()).step_by(149).chain([log.len() - 1, log.len() - 2]) {
            let image = [&new[..cut], &old[cut..]].concat();
            judged_alike(&image, Some(first as u64), &format!("written up to {cut} of {}", log.len()));
        }
        // Sectors of a disk are written or not, each.
        let sectors = log.len().div_ceil(512);
        for mask in 0..1 << sectors {
            let mut image = old.clone();
            for sector in (0..sectors).filter(|sector| mask >> sector & 1 == 1) {
                let range = sector * 512..(sector + 1) * 512;
                image[range.clone()].copy_from_slice(&new[range]);
            }
            judged_alike(&image, None, &format!("sectors {mask:b}"));
        }
        let torn = [&new[..first + 700], &old[first + 700..]].concat();
        let folder = folder(&torn, None);
        let report = json(folder.path(), &["repair", "--json", MANIFEST], 1);
        let dropped = report["dropped_bytes"].as_u64().expect("a number");
        assert!((699..=764).contains(&dropped), "no more than was written: {report}");
        let report = json(folder.path(), &["check", "--json", MANIFEST], 1);
        assert_eq!(report["files"][2]["reserve"].as_u64(), Some(size - first as u64 - dropped));
    }
}

#[test]
fn a_reserve_behind_a_torn_end_is_no_loss_in_a_pipe_either() {
    let (log, first) = log();
    let old = with_reserve(&log[..first], 8192);
    let torn = [&log[..first + 700], &old[first + 700..]].concat();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("log.aof"), &torn).expect("a file");
    let program = Path::new(env!("CARGO_BIN_EXE_aof-tools"));
    let text = std::str::from_utf8(&torn).expect("text");
    let told = |name: &str| {
        let output = support::run(program, "aof-tools", folder.path(), &["check", "--json", name], text);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
        let what = report["findings"][0]["what"].as_str().expect("a text").to_owned();
        (report["files"][0]["reserve"].as_u64(), what)
    };
    let (reserve, what) = told("-");
    let lost = torn.len() as u64 - first as u64 - reserve.expect("a number");
    assert!(
        (699..=764).contains(&lost) && what.ends_with(&format!("{lost} bytes from here on are lost")),
        "{what}"
    );
    assert_eq!(told("log.aof").0, reserve);
}

#[test]
fn damage_in_front_of_a_reserve_is_damage() {
    let (log, first) = log();
    let whole = with_reserve(&log, 8192);
    for at in (4..log.len()).step_by(131).chain([first, first + 5]) {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        judged_alike(&bad, None, &format!("a flipped bit at {at}"));
    }
    // Behind the log nothing is lost.
    for at in [log.len() + 1, log.len() + 100, 8000] {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        judged_alike(&bad, Some(log.len() as u64), &format!("a flipped bit at {at} of the reserve"));
    }
    for tail in [&[0; 5000][..], b"garbage", b"#", b"##"] {
        judged_alike(&[&whole[..], tail].concat(), None, "something behind the reserve");
    }
    for cut in [log.len() + 1, log.len() + 2, log.len() + 64, 8191] {
        judged_alike(&whole[..cut], None, "half a reserve");
    }
}

#[test]
fn what_another_server_appended_behind_a_reserve_counts() {
    let (log, _) = log();
    let whole = with_reserve(&log, 8192);
    let theirs = [b"#TS:300\r\n".to_vec(), command(&["SELECT", "0"]), command(&["SET", "d", "4"])].concat();
    let both = [&whole[..], &theirs].concat();
    judged_alike(&both, Some(log.len() as u64), "commands behind a reserve");
    judged_alike(&[&whole[..], &theirs[9..]].concat(), None, "without a time");
    let folder = folder(&both, None);
    let folder = folder.path();
    let told = format!("24 commands in 2 checked blocks, {} bytes of reserve", 8192 - log.len());
    runs(folder, &["check", MANIFEST], 0, &[&told]);
    runs(folder, &["info", MANIFEST], 0, &["(300)"]);
    runs(folder, &["log", MANIFEST], 0, &["db0 SET d 4"]);
    runs(folder, &["replay", MANIFEST, "--until", "250", "-o", "new"], 0, &[]);
    runs(folder, &["replay", MANIFEST, "-o", "all"], 0, &[]);
    for (output, expected) in [("new", log.clone()), ("all", [&log[..], &theirs].concat())] {
        let copied = fs::read(folder.join(output).join(INCR)).expect("a file");
        assert!(copied == expected, "{}", copied.escape_ascii());
    }
    assert_eq!(start(&folder.join("all")), start(folder));
}

#[test]
fn no_output_has_a_reserve() {
    let (log, _) = log();
    let (plain, with) = (folder(&log, None), folder(&with_reserve(&log, 8192), None));
    for args in [
        &["compact", MANIFEST, "-o", "new", "--base-format", "commands"][..],
        &["convert", MANIFEST, "-o", "new.aof"],
        &["replay", MANIFEST, "-o", "all", "--until", "999"],
        &["replay", MANIFEST, "-o", "cut", "--until", "150"],
        &["replay", MANIFEST, "-o", "place", "--until", &format!("{INCR}:{}", log.len())],
        &["replay", MANIFEST, "-o", "single.aof", "--until", "before SET b* #last"],
        &["replay", MANIFEST, "-o", "without", "--exclude", "SET b"],
        &["repair", MANIFEST, "-o", "repaired"],
    ] {
        let texts = [&plain, &with].map(|folder| runs(folder.path(), args, 0, &[]));
        assert_eq!(texts[0], texts[1]);
        let output = args[args.iter().position(|arg| *arg == "-o").expect("an output") + 1];
        let contents = [&plain, &with].map(|folder| {
            let path = folder.path().join(output);
            let mut files: Vec<_> = match path.is_dir() {
                true => fs::read_dir(&path)
                    .expect("a folder")
                    .map(|entry| entry.expect("an entry").path())
                    .collect(),
                false => vec![path],
            };
            files.sort();
            files.iter().map(|file| fs::read(file).expect("a file")).collect::<Vec<_>>()
        });
        assert_eq!(contents[0], contents[1], "{args:?}");
    }
    let other = with.path().join(MANIFEST);
    runs(plain.path(), &["diff", MANIFEST, other.to_str().expect("is UTF-8")], 0, &[]);
    // The servers' tool cuts the file itself.
    for (seconds, is_cut) in [("999", false), ("150", true)] {
        let cut = check_aof(with.path(), &["--truncate-to-timestamp", seconds, MANIFEST], "");
        assert!(cut.status.success());
        let len = fs::metadata(with.path().join(INCR)).expect("a file").len();
        assert_eq!(len < log.len() as u64, is_cut, "{seconds}");
    }
    runs(with.path(), &["check", MANIFEST], 0, &[]);
}

#[test]
fn a_manifest_made_anew_knows_where_the_log_ends() {
    let (log, first) = log();
    let old = with_reserve(&log[..first], 8192);
    let torn = [&log[..first + 700], &old[first + 700..]].concat();
    let theirs = [with_reserve(&log, 8192), command(&["SET", "d", "4"])].concat();
    for last in [with_reserve(&log, 8192), torn, theirs, with_reserve(b"", 8192)] {
        let folder = folder(&last, None);
        let folder = folder.path();
        let (_, data) = start(folder).expect("is right or torn");
        // The one before it was left so by a server that knows no reserves.
        let closed = folder.join("a.aof.1.incr.aof");
        let before = with_reserve(&fs::read(&closed).expect("a file"), 4096);
        fs::write(&closed, before).expect("a file");
        fs::remove_file(folder.join(MANIFEST)).expect("a file");
        runs(folder, &["repair", ".", "-o", "new"], 0, &[]);
        assert_eq!(start(&folder.join("new")), Ok((None, data)));
        runs(folder, &["repair", ".", "--in-place", "--yes"], 0, &[]);
        assert_eq!(start(folder), Ok((None, data)));
        for folder in [folder, &folder.join("new")] {
            runs(folder, &["check", MANIFEST], 0, &[]);
            let facts = json(folder, &["info", "--json", MANIFEST], 0);
            for file in facts["files"].as_array().expect("files") {
                assert_eq!(file["reserve"], 0, "{facts}");
            }
            assert_eq!(facts["checked_manifest"], true);
        }
    }
}

#[test]
fn a_file_in_the_middle_may_have_one() {
    let (log, _) = log();
    let folder = folder(&log, None);
    let folder = folder.path();
    let closed = folder.join("a.aof.1.incr.aof");
    let before = with_reserve(&fs::read(&closed).expect("a file"), 4096);
    fs::write(&closed, &before).expect("a file");
    let path = folder.join(MANIFEST);
    let mut manifest = Manifest::parse(&fs::read(&path).expect("a file")).expect("a manifest");
    manifest.incr[0].marks.size = Some(before.len() as u64);
    manifest.incr[0].marks.crc64 = Some(cairn_engine::base::crc64::crc64(&before));
    fs::write(&path, manifest.format_checked()).expect("a manifest");
    let (_, data) = start(folder).expect("is right");
    assert!(check_aof(folder, &[MANIFEST], "").status.success());
    runs(folder, &["check", MANIFEST], 0, &["bytes of reserve"]);
    runs(folder, &["repair", MANIFEST], 0, &["nothing has to be repaired"]);
    for args in [["repair", MANIFEST, "-o", "new"], ["replay", MANIFEST, "-o", "all"]] {
        runs(folder, &args, 0, &[]);
        assert_eq!(start(&folder.join(args[3])), Ok((None, data)));
        runs(&folder.join(args[3]), &["check", MANIFEST], 0, &[]);
        let facts = json(&folder.join(args[3]), &["info", "--json", MANIFEST], 0);
        assert_eq!(facts["files"][1]["reserve"], 0);
    }
}

#[test]
fn a_log_is_followed_over_its_reserve() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.aof.1.incr.aof");
    let set = |value: &str| command(&["SET", "a", value]);
    let bodies = [set("1"), set(&"2".repeat(1000)), set("3"), set("4")];
    let log = blocks::blocks(&bodies);
    let ends = [1, 2, 3, 4].map(|n| blocks::blocks(&bodies[..n]).len());
    let over = |file: &mut Vec<u8>, range: std::ops::Range<usize>| {
        file[range.clone()].copy_from_slice(&log[range.clone()]);
        if reserve::ends_line(range.end as u64) {
            file[range.end] = b'#';
        }
    };
    let mut file = with_reserve(b"", 4096);
    fs::write(&path, &file).expect("write");
    let mut child = Command::new(env!("CARGO_BIN_EXE_aof-tools"))
        .args(["log", "--follow", "--limit", "5"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let (sender, lines) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().expect("is piped"));
    std::thread::spawn(move || {
        for line in out.lines() {
            let _ = sender.send(line.expect("text"));
        }
    });
    let name = "a.aof.1.incr.aof";
    let next = || lines.recv_timeout(Duration::from_secs(30)).expect("a line comes");
    let write = |file: &[u8]| {
        // In its place, as a server writes.
        let mut out = fs::OpenOptions::new().write(true).open(&path).expect("open");
        out.write_all(file).expect("write");
    };
    std::thread::sleep(Duration::from_millis(250));
    over(&mut file, 0..ends[0]);
    write(&file);
    assert_eq!(next(), format!("{name}:{} - db0 SET a 1", ends[0] - set("1").len()));
    // Half of it is on its way.
    let mut half = file.clone();
    half[ends[0]..ends[0] + 600].copy_from_slice(&log[ends[0]..ends[0] + 600]);
    write(&half);
    std::thread::sleep(Duration::from_millis(250));
    assert!(lines.try_recv().is_err());
    over(&mut file, ends[0]..ends[1]);
    write(&file);
    assert!(next().contains(" SET a 2222"));
    // The reserve is cut off, and something is appended.
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open")
        .set_len(ends[1] as u64)
        .expect("a shorter file");
    std::thread::sleep(Duration::from_millis(250));
    write(&log[..ends[2]]);
    assert!(next().ends_with("SET a 3"));
    // A new one, which another server goes on behind.
    write(&with_reserve(&log, 8192));
    assert!(next().ends_with("SET a 4"));
    std::thread::sleep(Duration::from_millis(250));
    write(&[with_reserve(&log, 8192), set("5")].concat());
    assert_eq!(next(), format!("{name}:8192 - db0 SET a 5"));
    let ended = child.wait_with_output().expect("it ends after five");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}
