//! Logs that are split and run part by part come to the same as logs that are run in memory: random
//! commands, many of them on several keys, with whole databases emptied and exchanged.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cairn_engine::codec::rdb::{
    Depth, KeyHead, Sink, Target, Trailer, ValueEvent, Version, Writer, WriterOptions,
};
use rdb_tools::cmd::Reading;
use rdb_tools::fold::{Log, OnBad, Options, fold};
use rdb_tools::jsonl::{self, Jsonl};
use rdb_tools::spill::Spill;

const READING: Reading = Reading { no_mmap: false, no_progress: true };

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Appends a command whose words blanks divide.
fn push(out: &mut Vec<u8>, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    cairn_engine::codec::aof::record::push_command(out, words);
}

/// A random command. `F`, `S` and so on stand for keys of a few names each, so that types seldom clash.
fn command(dice: &mut Dice, whole: bool) -> String {
    const PLAIN: &[&str] = &[
        "SET S n",
        "SET S n",
        "SET S n PX 4000000000000",
        "APPEND S n",
        "INCRBY I n",
        "DEL S L H",
        "UNLINK Z S",
        "MSET S n S n S n",
        "MSETNX S n S n",
        "RENAME S S",
        "RENAME L L",
        "RENAMENX H H",
        "COPY S S REPLACE",
        "COPY L L DB D",
        "MOVE S D",
        "MOVE H D",
        "RPUSH L n n",
        "LPUSH L n",
        "LMOVE L L LEFT RIGHT",
        "RPOPLPUSH L L",
        "LTRIM L 0 5",
        "SADD T n n n",
        "SREM T n",
        "SMOVE T T n",
        "SUNIONSTORE T T T",
        "SINTERSTORE T T T",
        "SDIFFSTORE T T T",
        "HSET H n n",
        "HDEL H n",
        "HINCRBY H c 3",
        "ZADD Z n m",
        "ZADD Z n x n y",
        "ZUNIONSTORE Z 2 Z Z WEIGHTS 2 1",
        "ZRANGESTORE Z Z 0 2",
        "ZINCRBY Z 2 x",
        "PFADD P n",
        "PFADD P a b n",
        "PFMERGE P P P",
        "SETRANGE S 3 n",
        "BITOP OR S S S",
        "XADD X * f n",
        "XTRIM X MAXLEN 3",
        "PEXPIREAT L 4000000000000",
        "PERSIST S",
        "SORT L ALPHA STORE L",
        "GETDEL S",
        "SETEX S 4000000 n",
        "LINSERT L BEFORE n n",
        "GEOADD G 13.3 38.1 n",
        "GEORADIUS G 15 37 200 km STORE Z",
        "HPEXPIREAT H 4000000000000 FIELDS 1 n",
        "SELECT D",
        "SELECT D",
        "PFCOUNT P P",
        "GET S",
        "LPUSH H n",
    ];
    const WHOLE: &[&str] = &["SWAPDB D D", "FLUSHDB", "SWAPDB D D", "FLUSHDB ASYNC"];
    let template = if whole && dice.below(60) == 0 { dice.pick(WHOLE) } else { dice.pick(PLAIN) };
    let mut line = String::new();
    for (i, word) in template.split(' ').enumerate() {
        let gap = if i == 0 { "" } else { " " };
        match word {
            "n" => write!(line, "{gap}{}", dice.below(30)),
            "D" => write!(line, "{gap}{}", dice.below(4)),
            // A few keys are everybody's; the others have neighbours of their own.
            "S" | "L" | "H" | "T" | "Z" | "I" | "P" | "X" | "G" if i > 0 => {
                write!(line, "{gap}{}{}", word.to_lowercase(), dice.below(40))
            }
            word => write!(line, "{gap}{word}"),
        }
        .expect("strings take all");
    }
    line
}

fn commands(dice: &mut Dice, count: usize, whole: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut open = false;
    for i in 0..count {
        if dice.below(25) == 0 {
            push(&mut out, if open { "EXEC" } else { "MULTI" });
            open = !open;
        }
        let line = command(dice, whole).replace("XADD X", "XADD x").replace('*', &format!("{}-1", i + 1));
        push(&mut out, &line);
    }
    // Now and then a transaction is left without its end, which is dropped.
    if open && dice.below(2) == 0 {
        push(&mut out, "EXEC");
    }
    out
}

/// A file with the keys as they come.
struct Plain(Option<Writer<Vec<u8>>>);

impl Plain {
    fn w(&mut self) -> &mut Writer<Vec<u8>> {
        self.0.as_mut().expect("is there up to the end")
    }
}

impl Sink for Plain {
    type Error = std::convert::Infallible;

    fn start(&mut self, version: Version) -> Result<(), Self::Error> {
        let target = Target::all().find(|target| target.version() == version).expect("one to write");
        self.w().start(target)
    }

    fn select_db(&mut self, db: u64, _end: u64) -> Result<(), Self::Error> {
        self.w().select_db(db)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        if let Some(at) = head.expire_at {
            self.w().expire_ms(at)?;
        }
        self.w().key(head.object, head.key)?;
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        let ValueEvent::Raw(piece) = event else { unreachable!("raw was asked for") };
        self.w().raw(piece)
    }

    fn end(&mut self, _trailer: Trailer) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn options(memory: u64) -> Options {
    let spill = Spill { memory, tmp_dir: None };
    Options { on_bad: OnBad::Skip, spill, ..Options::new(READING) }
}

/// The keys of a log in order, with how many commands were left out.
fn folded(path: &Path, memory: u64) -> String {
    let log = Log::open(path).expect("a log");
    let mut out = Vec::new();
    let mut sink = Jsonl::new(&mut out, jsonl::Options { raw_modules: false, sorted: true });
    let mut options = options(memory);
    options.now = cairn_engine::base::time::UnixMs(1_700_000_000_000);
    let summary = fold(&log, &options, &mut sink).unwrap_or_else(|stop| panic!("{stop:?}"));
    drop(sink);
    // Keys that go straight through keep the form that they have in the base.
    let text = String::from_utf8(out).expect("a dump is ASCII");
    let text = text.replace(",\"string_form\":\"lzf\"", "").replace(",\"string_form\":\"raw\"", "");
    // What stands before the last FLUSHALL is not run, so errors there are not seen.
    let has_errors =
        !fs::read(path.join("l.2.incr.aof")).expect("is there").windows(8).any(|w| w == b"FLUSHALL");
    let skips = if has_errors { summary.skips } else { 0 };
    format!("{text}{skips} of {} left out, {} keys\n", summary.commands, summary.keys)
}

/// Makes a log in parts: a base out of other commands, two increments.
fn make(folder: &Path, seed: u64, whole: bool) {
    let mut dice = Dice(seed);
    let before = folder.join("before.aof");
    fs::write(&before, commands(&mut dice, 400, false)).expect("written");
    let mut sink = Plain(Some(Writer::new(Vec::new(), WriterOptions::default())));
    let log = Log::open(&before).expect("a log");
    fold(&log, &options(1 << 30), &mut sink).unwrap_or_else(|stop| panic!("{stop:?}"));
    let Ok((base, _)) = sink.0.expect("a writer").finish();
    fs::remove_file(before).expect("it was there");
    fs::write(folder.join("l.1.base.rdb"), base).expect("written");
    let mut first = commands(&mut dice, 400, whole);
    let mut second = commands(&mut dice, 400, whole);
    if dice.below(3) == 0 {
        push(&mut second, "EXEC");
        push(&mut second, "FLUSHALL");
        second.extend(commands(&mut dice, 100, whole));
    }
    // Only the last file may end inside a transaction; one more EXEC is an error that is left out.
    push(&mut first, "EXEC");
    fs::write(folder.join("l.1.incr.aof"), first).expect("written");
    fs::write(folder.join("l.2.incr.aof"), second).expect("written");
    let manifest =
        "file l.1.base.rdb seq 1 type b\nfile l.1.incr.aof seq 1 type i\nfile l.2.incr.aof seq 2 type i\n";
    fs::write(folder.join("l.manifest"), manifest).expect("written");
}

fn first_difference(one: &str, other: &str) -> String {
    let pair = one.lines().zip(other.lines()).find(|(a, b)| a != b);
    pair.map_or_else(|| "one is longer".into(), |(a, b)| format!("{a}\n  and\n{b}"))
}

#[test]
fn split_logs_come_to_the_same() {
    for seed in 0..9 {
        let folder = tempfile::tempdir().expect("a folder");
        make(folder.path(), seed, seed % 3 > 0);
        let whole = folded(folder.path(), 1 << 30);
        for memory in [0, 60_000] {
            let split = folded(folder.path(), memory);
            assert!(whole == split, "seed {seed}: {}", first_difference(&whole, &split));
        }
    }
}
