//! Fields of hashes whose time has passed between the log and the start: what the log did with them while
//! they were there is done again, and then they go as they would have gone.

use cairn_engine::base::time::UnixMs;
use cairn_engine::value::ValueRef;

use super::support::{Home, NOW, commands};

/// The fields of a hash after a start from this log, expired ones marked, and after they have gone.
fn fields(log: &str) -> (String, String) {
    let home = Home::with_log(&[("appendonly.aof.1.incr.aof", &commands(log))]);
    let mut engine = home.start().unwrap_or_else(|refusal| panic!("{refusal}")).engine;
    let show = |engine: &cairn_engine::engine::Engine| {
        let Some(entry) = engine.keyspace().db(0).entry(b"h") else { return "gone".to_owned() };
        let ValueRef::Hash(hash) = entry.view() else { panic!("{:?}", entry.view()) };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let mut all: Vec<String> = hash
            .iter()
            .map(|field| {
                let mark = match field.expire_at {
                    Some(at) if at <= NOW => "!",
                    Some(_) => "?",
                    None => "",
                };
                format!("{}={}{mark}", text(field.field.to_vec()), text(field.value.to_vec()))
            })
            .collect();
        all.sort();
        all.join(" ")
    };
    let loaded = show(&engine);
    for _ in 0..10 {
        engine.expire_step(NOW, 1000);
    }
    (loaded, show(&engine))
}

#[test]
fn a_field_is_there_until_the_log_or_time_takes_it() {
    let past = NOW.0 - 1000;
    let future = NOW.0 + 100_000;
    assert!(UnixMs(past) < NOW);
    let expire = format!("hset h f 1 g 2|hpexpireat h {past} fields 1 f");
    for (more, loaded, later) in [
        ("", "f=1! g=2", "g=2"),
        // Not a field that begins at 0 and stays for good.
        ("|hincrby h f 5", "f=6! g=2", "g=2"),
        ("|hset h f 7", "f=7 g=2", "f=7 g=2"),
        ("|hsetnx h f 9", "f=1! g=2", "g=2"),
        ("|hpersist h fields 1 f", "f=1 g=2", "f=1 g=2"),
        (&format!("|hpexpireat h {future} fields 1 f"), "f=1? g=2", "f=1? g=2"),
        (&format!("|hpexpireat h {past} fields 1 g"), "f=1! g=2!", "gone"),
        ("|hdel h f g|hset h k 1", "k=1", "k=1"),
        (&format!("|hsetex h pxat {past} fields 1 g 3|hincrby h g 1"), "f=1! g=4!", "gone"),
        ("|hsetex h keepttl fields 1 f 3", "f=3! g=2", "g=2"),
        ("|hdel h g|hdel h f|hset h n 1", "n=1", "n=1"),
    ] {
        let log = format!("{expire}{more}");
        assert_eq!(fields(&log), (loaded.to_owned(), later.to_owned()), "{log}");
    }
}
