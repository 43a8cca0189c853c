//! Patches, applied by a real server: A with the commands of `diff --resp A B` is B.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::server::{Reply, Server, binary};
use crate::support::{fixtures, rdb_tools};

/// Numbers from a seed: the same run again.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn word(&mut self) -> String {
        let n = self.below(12);
        match self.below(5) {
            0 => n.to_string(),
            1 => format!("word \"{n}\"\r\n\u{1}"),
            2 => "x".repeat(90 + n as usize),
            _ => format!("w{n}"),
        }
    }
}

/// A random command on a few keys of each type.
fn command(rng: &mut Rng) -> Vec<String> {
    let n = rng.below(5);
    let (w, v, number) = (rng.word(), rng.word(), (rng.below(2000) as i64 - 1000).to_string());
    let far = (4_000_000_000_000 + rng.below(1000)).to_string();
    let (s, l, e, h, z, x) = (
        format!("s{n}"),
        format!("l{n}"),
        format!("e{n}"),
        format!("h{n}"),
        format!("z{n}"),
        format!("x{n}"),
    );
    let any = [&s, &l, &e, &h, &z, &x][rng.below(6) as usize].clone();
    let id = format!("{}-{}", rng.below(40), rng.below(2));
    let words: Vec<&str> = match rng.below(34) {
        0 | 1 => vec!["SET", &s, &v],
        2 => vec!["APPEND", &s, &v],
        3 => vec!["SETRANGE", &s, "3", &v],
        4 | 5 => vec!["RPUSH", &l, &v],
        6 => vec!["LPUSH", &l, &v, &w],
        7 => vec!["LPOP", &l],
        8 => vec!["LSET", &l, "0", &w],
        9 => vec!["LREM", &l, "1", &v],
        10 => vec!["LINSERT", &l, "BEFORE", &w, &v],
        11 | 12 => vec!["SADD", &e, &v, &number],
        13 => vec!["SREM", &e, &v],
        14 | 15 => vec!["HSET", &h, &w, &v, &number, &w],
        16 => vec!["HDEL", &h, &w],
        17 => vec!["HPEXPIREAT", &h, &far, "FIELDS", "1", &w],
        18 => vec!["HPERSIST", &h, "FIELDS", "1", &w],
        19 | 20 => vec!["ZADD", &z, &number, &w],
        21 => {
            vec!["ZADD", &z, ["inf", "-inf", "0.1", "1e300", "3.0000000000000004"][n as usize], &v]
        }
        22 => vec!["ZREM", &z, &w],
        23 | 24 => vec!["XADD", &x, "*", &w, &v],
        25 => vec!["XADD", &x, &id, &w, &v, "f", "1"],
        26 => vec!["XDEL", &x, &id],
        27 => vec!["XGROUP", "CREATE", &x, "g", "0", "MKSTREAM"],
        28 => vec!["XREADGROUP", "GROUP", "g", &w, "COUNT", "2", "STREAMS", &x, ">"],
        29 => vec!["XTRIM", &x, "MAXLEN", "3"],
        30 => vec!["PEXPIREAT", &any, &far],
        31 => vec!["PERSIST", &any],
        32 => vec!["DEL", &any],
        _ => vec!["RENAME", &s, &any],
    };
    words.into_iter().map(str::to_owned).collect()
}

fn diff(a: &Path, b: &Path, options: &[&str]) -> Output {
    rdb_tools(["diff"].iter().chain(options).map(OsStr::new).chain([a.as_os_str(), b.as_os_str()]))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Starts a server with A, applies the patch, and compares it with B: its digest, and all that a diff sees.
fn check(server: &Path, a: &Path, b: &Path, expected: Option<&str>, what: &str) {
    let patch = diff(a, b, &["--resp"]);
    let mut patched = Server::start(server, Some(a));
    for reply in patched.pipe(&patch.stdout) {
        assert!(!matches!(reply, Reply::Error(_)), "{what}: {reply:?}");
    }
    let c = patched.save();
    let left = diff(&c, b, &[]);
    assert_eq!(left.status.code(), Some(0), "{what}: {}", text(&left));
    if let Some(expected) = expected {
        assert_eq!(patched.digest(), expected, "{what}");
    }
}

#[test]
fn a_patched_server_has_the_data_of_the_other_side() {
    let Some(server) = binary("a_patched_server_has_the_data_of_the_other_side") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = |file: &Path, name: &str| {
        let to = folder.path().join(name);
        fs::copy(file, &to).expect("copy");
        to
    };
    for seed in 1..=8u64 {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut live = Server::start(&server, None);
        for _ in 0..400 {
            live.call(&command(&mut rng));
        }
        let a = copy(&live.save(), "a.rdb");
        let digest_a = live.digest();
        let changes = 1 + seed * seed * 4;
        for _ in 0..changes {
            if rng.below(6) == 0 {
                live.call(&["SELECT", &rng.below(3).to_string()]);
            }
            live.call(&command(&mut rng));
        }
        let b = copy(&live.save(), "b.rdb");
        check(&server, &a, &b, Some(&live.digest()), &format!("seed {seed}"));
        check(&server, &b, &a, Some(&digest_a), &format!("seed {seed}, back"));
        // From nothing, and to nothing.
        let nothing = copy(&Server::start(&server, None).save(), "nothing.rdb");
        check(&server, &nothing, &b, Some(&live.digest()), &format!("seed {seed}, all"));
        check(&server, &b, &nothing, Some(&"0".repeat(40)), &format!("seed {seed}, none"));
    }
}

#[test]
fn a_server_is_patched_to_the_data_of_an_older_one() {
    let test = "a_server_is_patched_to_the_data_of_an_older_one";
    let (Some(server), Some(fixtures)) = (binary(test), fixtures(test)) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nothing = folder.path().join("nothing.rdb");
    fs::copy(Server::start(&server, None).save(), &nothing).expect("copy");
    for made in ["redis-6.2.16", "redis-7.0.15"] {
        let b = fixtures.join("made").join(made).join("all-types.rdb");
        // These files have scores of -0, which ZADD cannot put into a small sorted set, and digests see.
        check(&server, &nothing, &b, None, made);
    }
}
