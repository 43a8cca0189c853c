//! Micro benches of the codecs: RDB at each depth and back, LZF, CRC64, RESP requests and replies.
//!
//! The data is made here, from a fixed seed, so figures of two commits can be compared.

use std::hint::black_box;
use std::time::Duration;

use cairn_engine::base::crc64::crc64;
use cairn_engine::base::lzf;
use cairn_engine::base::rng::Rng;
use cairn_engine::codec::rdb::{
    Decoder, Depth, KeyHead, ObjectType, Options, Sink, State, Target, ValueEvent, Writer, WriterOptions,
};
use cairn_engine::codec::resp::{Parsed, Parser, Protocol, Reply, RequestLimits};
use cairn_engine::packed::listpack::ListpackBuf;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const KEYS: usize = 20_000;
/// Every so manieth key is a hash.
const HASH_EVERY: usize = 10;
const FIELDS: usize = 10;
const SEED: u64 = 20_261_120;

/// Words of a small vocabulary, as names and texts have.
fn text(rng: &mut Rng, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        out.extend_from_slice(format!("w{:x} ", rng.index(5000) * 3271).as_bytes());
    }
    out.truncate(bytes);
    out
}

fn write<D: cairn_engine::codec::rdb::Drain>(
    w: &mut Writer<D>,
    values: &[(Vec<u8>, Vec<u8>, bool)],
) -> Result<(), D::Error> {
    w.start(Target::default())?;
    w.select_db(0)?;
    w.resize_db(values.len() as u64, 0)?;
    for (key, value, is_hash) in values {
        if *is_hash {
            w.key(ObjectType::HashListpack, key)?;
            w.blob(value)?;
        } else {
            w.key(ObjectType::String, key)?;
            w.string(value)?;
        }
    }
    Ok(())
}

/// Keys with strings of 8 to 200 bytes and, here and there, a small hash.
fn values() -> Vec<(Vec<u8>, Vec<u8>, bool)> {
    let mut rng = Rng::new(SEED);
    let mut values = Vec::new();
    for i in 0..KEYS {
        let key = format!("user:{i:010}:profile").into_bytes();
        if i % HASH_EVERY == 0 {
            let mut pack = ListpackBuf::new();
            for field in 0..FIELDS {
                pack.push_back(format!("field:{field}").as_bytes());
                pack.push_back(&text(&mut rng, 12));
            }
            values.push((key, pack.into_bytes(), true));
        } else {
            let bytes = [8, 20, 60, 200][rng.index(4)];
            values.push((key, text(&mut rng, bytes), false));
        }
    }
    values
}

fn file(options: WriterOptions) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), options);
    let Ok(()) = write(&mut writer, &values());
    let Ok((bytes, _)) = writer.finish();
    bytes
}

/// Looks at what it is given and keeps nothing.
struct Counting {
    depth: Depth,
    events: usize,
}

impl Sink for Counting {
    type Error = std::convert::Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        Ok(self.depth)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        black_box(&event);
        self.events += 1;
        Ok(())
    }
}

fn decode(bytes: &[u8], depth: Depth, verify_checksum: bool) -> usize {
    let mut sink = Counting { depth, events: 0 };
    let mut decoder = Decoder::new(Options { verify_checksum, ..Options::default() });
    let progress = decoder.advance(bytes, true, &mut sink).expect("the file was written just now");
    assert_eq!(progress.state, State::Done);
    sink.events
}

fn rdb(c: &mut Criterion) {
    let mut group = c.benchmark_group("rdb");
    for (form, compress) in [("plain", false), ("lzf", true)] {
        let bytes = file(WriterOptions { compress, checksum: true });
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        for depth in [Depth::Skip, Depth::Packed, Depth::Item] {
            group.bench_function(BenchmarkId::new(format!("decode {form}"), format!("{depth:?}")), |b| {
                b.iter(|| decode(&bytes, depth, false));
            });
        }
        if !compress {
            group.bench_function("decode plain/Skip, checksum", |b| {
                b.iter(|| decode(&bytes, Depth::Skip, true));
            });
        }
        let values = values();
        group.bench_function(BenchmarkId::new("encode", form), |b| {
            b.iter(|| {
                let mut writer =
                    Writer::new(Vec::with_capacity(bytes.len()), WriterOptions { compress, checksum: true });
                let Ok(()) = write(&mut writer, &values);
                let Ok((bytes, checksum)) = writer.finish();
                (bytes.len(), checksum)
            });
        });
    }
    group.finish();
}

fn lzf_and_crc(c: &mut Criterion) {
    let mut rng = Rng::new(SEED);
    let mut group = c.benchmark_group("lzf");
    let random: Vec<u8> = (0..4096).map(|_| rng.index(256) as u8).collect();
    let mut inputs: Vec<(String, Vec<u8>)> = vec![("random 4096".to_owned(), random)];
    for bytes in [60, 200, 1000, 4096] {
        inputs.push((format!("text {bytes}"), text(&mut rng, bytes)));
    }
    for (name, input) in &inputs {
        group.throughput(Throughput::Bytes(input.len() as u64));
        let mut encoder = lzf::Encoder::new();
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::new("compress", name), |b| {
            b.iter(|| {
                out.clear();
                encoder.compress(black_box(input), &mut out)
            });
        });
        out.clear();
        if encoder.compress(input, &mut out).is_some() {
            let mut back = Vec::new();
            group.bench_function(BenchmarkId::new("decompress", name), |b| {
                b.iter(|| {
                    back.clear();
                    lzf::decompress(black_box(&out), input.len(), &mut back)
                });
            });
        }
    }
    group.finish();
    let mut group = c.benchmark_group("crc64");
    for bytes in [64, 4096, 256 << 10] {
        let data = text(&mut rng, bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| b.iter(|| crc64(black_box(&data))));
    }
    group.finish();
}

fn resp(c: &mut Criterion) {
    const COMMANDS: usize = 64;
    let mut group = c.benchmark_group("resp");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    let value = "x".repeat(100);
    let mut requests = Vec::new();
    for i in 0..COMMANDS {
        let key = format!("key:{i:012}");
        requests
            .extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n$100\r\n{value}\r\n").as_bytes());
    }
    let limits = RequestLimits { bulk_bytes: 512 << 20, args: i64::from(i32::MAX), is_authenticated: true };
    group.bench_function("parse 64 SET", |b| {
        let (mut parser, mut args) = (Parser::default(), Vec::new());
        b.iter(|| {
            let (mut at, mut found) = (0, 0);
            args.clear();
            while let Parsed::Command { end } = parser.next(&mut requests, at, &limits, &mut args) {
                at = end;
                found += 1;
            }
            assert_eq!(found, COMMANDS);
        });
    });
    group.bench_function("write 64 bulks of 100", |b| {
        let mut reply = Reply::new(Protocol::Resp2);
        b.iter(|| {
            reply.truncate(0);
            (0..COMMANDS).for_each(|_| reply.bulk(black_box(value.as_bytes())));
            reply.len()
        });
    });
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group! { name = codec; config = quick(); targets = rdb, lzf_and_crc, resp }
criterion_main!(codec);
