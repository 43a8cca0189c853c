//! Pipelined SET and GET: how many a second, and what each costs the server in CPU time.
//!
//! Requests are made before the clock runs and all have one length, so a batch is a slice. The
//! connections take turns: each sends its next batch as soon as the replies to its last have come, so
//! all but one always have a batch under way.

use std::io;
use std::time::{Duration, Instant};

use crate::process::Server;
use crate::resp::{Client, push_command};

/// Digits of a key's number.
const KEY_DIGITS: usize = 12;
/// A request of each kind is made for so many random keys; then they come again.
const DISTINCT_REQUESTS: usize = 1 << 18;
/// Commands a batch when keys are filled in before the reading begins.
const FILL_BATCH: usize = 500;
/// Of the time that batches took every so manieth is kept.
const SAMPLE_EVERY: u64 = 8;

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SET of a random key to a value of the plan's size.
    Set,
    /// GET of a random key; all are there.
    Get,
}

/// One measurement: a kind and a pipeline depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// What is sent.
    pub kind: Kind,
    /// Requests under way on each connection.
    pub pipeline: usize,
}

impl std::str::FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, depth) = text.split_once("_p").ok_or("write set_p16 or get_p1")?;
        let kind = match kind {
            "set" => Kind::Set,
            "get" => Kind::Get,
            other => return Err(format!("{other} is neither set nor get")),
        };
        let pipeline = depth.parse().ok().filter(|n| (1..=1024).contains(n));
        Ok(Scenario { kind, pipeline: pipeline.ok_or("the pipeline is 1 to 1024 deep")? })
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == Kind::Set { "set" } else { "get" };
        write!(f, "{kind}_p{}", self.pipeline)
    }
}

/// What all scenarios share.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Connections.
    pub clients: usize,
    /// Keys in all.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How long each measurement takes.
    pub time: Duration,
}

/// What a measurement gave.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Operations a second.
    pub ops_per_s: f64,
    /// CPU time of the server for one operation.
    pub server_ns_per_op: f64,
    /// From a batch's first byte to its last reply, half of the batches were faster.
    pub p50_us: f64,
    /// The same for 99 of 100.
    pub p99_us: f64,
}

/// Requests of one kind, all of one length, for random keys.
struct Requests {
    bytes: Vec<u8>,
    len: usize,
}

impl Requests {
    fn new(kind: Kind, plan: &Plan) -> Requests {
        let mut bytes = Vec::new();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..DISTINCT_REQUESTS {
            // xorshift: any spread over the keys will do.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            push(&mut bytes, kind, random % plan.keys, plan.value_bytes);
        }
        let len = bytes.len() / DISTINCT_REQUESTS;
        Requests { bytes, len }
    }

    fn batch(&self, number: usize, pipeline: usize) -> &[u8] {
        let from = (number * pipeline) % (DISTINCT_REQUESTS - pipeline);
        &self.bytes[from * self.len..(from + pipeline) * self.len]
    }
}

fn push(out: &mut Vec<u8>, kind: Kind, key: u64, value_bytes: usize) {
    let name = format!("key:{key:0width$}", width = KEY_DIGITS);
    match kind {
        Kind::Get => push_command(out, &[b"GET", name.as_bytes()]),
        Kind::Set => push_command(out, &[b"SET", name.as_bytes(), &vec![b'x'; value_bytes]]),
    }
}

/// Sets every key, so that each GET finds one.
///
/// # Errors
/// What the socket or the server said.
pub fn fill(server: &Server, plan: &Plan) -> io::Result<()> {
    let mut client = server.connect()?;
    let mut batch = Vec::new();
    let mut key = 0;
    while key < plan.keys {
        let end = plan.keys.min(key + FILL_BATCH as u64);
        batch.clear();
        (key..end).for_each(|key| push(&mut batch, Kind::Set, key, plan.value_bytes));
        client.send(&batch)?;
        client.wait(end - key)?;
        key = end;
    }
    Ok(())
}

/// Runs one scenario on one server.
///
/// # Errors
/// What the socket said, or the first error reply.
pub fn run(server: &Server, scenario: Scenario, plan: &Plan) -> io::Result<Figures> {
    let requests = Requests::new(scenario.kind, plan);
    let mut clients = Vec::with_capacity(plan.clients);
    for _ in 0..plan.clients {
        clients.push((server.connect()?, Instant::now()));
    }
    let pipeline = scenario.pipeline as u64;
    let mut sent = 0;
    let mut send = |client: &mut Client| {
        sent += 1;
        client.send(requests.batch(sent, scenario.pipeline))
    };
    let cpu = server.usage().cpu_ns;
    let begun = Instant::now();
    for (client, since) in &mut clients {
        *since = Instant::now();
        send(client)?;
    }
    let mut done = 0u64;
    let mut times: Vec<u32> = Vec::new();
    while begun.elapsed() < plan.time {
        for (client, since) in &mut clients {
            client.wait(pipeline)?;
            done += 1;
            if done.is_multiple_of(SAMPLE_EVERY) {
                times.push(u32::try_from(since.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            *since = Instant::now();
            send(client)?;
        }
    }
    for (client, _) in &mut clients {
        client.wait(pipeline)?;
        done += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = server.usage().cpu_ns - cpu;
    let ops = (done * pipeline) as f64;
    times.sort_unstable();
    let share = |part: f64| {
        times.get((times.len() as f64 * part) as usize).map_or(f64::NAN, |&ns| f64::from(ns) / 1e3)
    };
    Ok(Figures {
        ops_per_s: ops / seconds,
        server_ns_per_op: used as f64 / ops,
        p50_us: share(0.5),
        p99_us: share(0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Plan, Requests, Scenario};
    use std::time::Duration;

    #[test]
    fn scenarios_have_names() {
        for name in ["set_p1", "get_p64"] {
            assert_eq!(name.parse::<Scenario>().expect("a scenario").to_string(), name);
        }
        assert!("del_p1".parse::<Scenario>().is_err());
        assert!("set_p0".parse::<Scenario>().is_err());
    }

    #[test]
    fn batches_are_whole_requests() {
        let plan = Plan { clients: 1, keys: 1000, value_bytes: 10, time: Duration::ZERO };
        for kind in [Kind::Set, Kind::Get] {
            let requests = Requests::new(kind, &plan);
            for number in [0, 1, 77_777, usize::MAX / 4096] {
                let batch = requests.batch(number, 16);
                let starts = batch.windows(2).filter(|pair| *pair == b"*2" || *pair == b"*3").count();
                assert_eq!(starts, 16);
                assert!(batch.starts_with(b"*"));
            }
        }
    }
}
