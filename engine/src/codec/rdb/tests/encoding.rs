//! What the writer writes, the decoder reads.

use super::support::{Outcome, decode, decode_in_pieces};
use crate::base::time::UnixMs;
use crate::codec::rdb::encode::dump_footer;
use crate::codec::rdb::{
    Depth, Dialect, DumpError, ObjectType, Options, Target, Version, Writer, WriterOptions, split_dump,
};

fn written(
    options: WriterOptions,
    write: impl FnOnce(&mut Writer<Vec<u8>>) -> Result<(), std::convert::Infallible>,
) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), options);
    let Ok(()) = writer.start(Target::Redis72);
    let Ok(()) = write(&mut writer);
    let Ok((bytes, _)) = writer.finish();
    bytes
}

/// The value lines that come out of string records.
fn strings(values: &[Vec<u8>], options: WriterOptions) -> Vec<String> {
    let bytes = written(options, |w| {
        for value in values {
            w.key(ObjectType::String, b"k")?;
            w.string(value)?;
        }
        Ok(())
    });
    let Outcome { log, end } = decode(&bytes, Depth::Item);
    assert_eq!(end, Ok(bytes.len()));
    let is_value = |line: &String| {
        ["Raw ", "Int8 ", "Int16 ", "Int32 ", "Lzf "].iter().any(|form| line.starts_with(form))
    };
    log.into_iter().filter(is_value).collect()
}

#[test]
fn small_integers_get_their_special_forms() {
    let texts = [
        "0",
        "-1",
        "127",
        "128",
        "-128",
        "-129",
        "32767",
        "32768",
        "-32768",
        "-32769",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "",
        "+1",
        "01",
        "-0",
        "1 ",
    ];
    let values: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    let forms = [
        "Int8", "Int8", "Int8", "Int16", "Int8", "Int16", "Int16", "Int32", "Int16", "Int32", "Int32", "Raw",
        "Int32", "Raw", "Raw", "Raw", "Raw", "Raw", "Raw",
    ];
    let expected: Vec<String> = forms.iter().zip(texts).map(|(f, t)| format!("{f} {t}")).collect();
    assert_eq!(strings(&values, WriterOptions::default()), expected);
}

#[test]
fn int_string_is_the_string_of_its_text() {
    for value in [0, -1, 127, 128, i64::from(i32::MIN), i64::from(i32::MAX) + 1, i64::MIN] {
        let by_text = written(WriterOptions::default(), |w| w.string(value.to_string().as_bytes()));
        let by_value = written(WriterOptions::default(), |w| w.int_string(value));
        assert_eq!(by_text, by_value, "{value}");
    }
}

#[test]
fn strings_of_all_sizes_come_back() {
    let sizes = [19, 20, 21, 63, 64, 16_383, 16_384, 65_535, 65_536, 262_144, 300_001, 1 << 20];
    let mut seed = 1u64;
    let mut values = Vec::new();
    for size in sizes {
        values.push(vec![b'a'; size]);
        values.push(
            (0..size)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b'a' + (seed >> 33) as u8 % 26
                })
                .collect(),
        );
    }
    for compress in [true, false] {
        let options = WriterOptions { compress, checksum: true };
        let lines = strings(&values, options);
        for (value, line) in values.iter().zip(&lines) {
            let (form, text) = line.split_once(' ').unwrap();
            assert_eq!(text.as_bytes(), value.as_slice());
            let is_even = value.iter().all(|&c| c == b'a');
            if is_even || !compress || value.len() < 100 {
                let expected = compress && is_even && value.len() > 20;
                assert_eq!(form == "Lzf", expected, "{} bytes", value.len());
            }
        }
        assert_eq!(lines.len(), values.len());
    }
}

#[test]
fn lengths_of_all_widths_come_back() {
    let lens = [0, 63, 64, 16_383, 16_384, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX];
    let bytes = written(WriterOptions::default(), |w| {
        for len in lens {
            w.resize_db(len, len)?;
        }
        Ok(())
    });
    let outcome = decode(&bytes, Depth::Item);
    let expected: Vec<String> = lens.iter().map(|len| format!("resize {len} {len}")).collect();
    assert_eq!(outcome.log[1..=lens.len()], expected);
}

#[test]
fn records_around_keys_come_back() {
    let bytes = written(WriterOptions::default(), |w| {
        w.aux(b"redis-ver", b"7.2.0")?;
        w.function(b"#!lua name=l\n")?;
        w.module_aux(&[0x05, 0x02, 0x02, 0x00])?;
        w.select_db(3)?;
        w.slot_info(1, 2, 3)?;
        w.expire_ms(UnixMs(-5))?;
        w.idle(70_000)?;
        w.freq(200)?;
        w.key(ObjectType::String, b"k")?;
        w.string(b"v")
    });
    for piece in [1, 7, bytes.len()] {
        let outcome = decode_in_pieces(&bytes, Depth::Item, Options::default(), piece);
        assert_eq!(outcome.end, Ok(bytes.len()));
        assert_eq!(
            outcome.log,
            [
                "Version { dialect: Redis, number: 11 }",
                "aux redis-ver 7.2.0 26",
                "function 26 #!lua name=l\\n",
                "module aux 41 5 [5, 2, 2, 0]",
                "db 3 48",
                "slot 1 2 3",
                "KeyHead { at: 69, db: 3, key: [107], object: String, type_byte: 0, \
                 expire_at: Some(UnixMs(-5)), idle_s: Some(70000), freq: Some(200), meta: None, \
                 no_evict: false }",
                "Raw v",
                "end of key 74",
                &outcome.log[9],
            ]
        );
        assert!(outcome.log[9].starts_with("Stored("), "{}", outcome.log[9]);
    }
}

#[test]
fn a_writer_without_checksum_says_so() {
    let options = WriterOptions { compress: true, checksum: false };
    let bytes = written(options, |w| w.select_db(0));
    assert!(bytes.ends_with(&[255, 0, 0, 0, 0, 0, 0, 0, 0]));
    let outcome = decode(&bytes, Depth::Item);
    assert_eq!(outcome.log.last().map(String::as_str), Some("Disabled"));
    let options = Options { require_checksum: true, ..Options::default() };
    let error = decode_in_pieces(&bytes, Depth::Item, options, 100).end.unwrap_err();
    assert_eq!(error.to_string(), "offset 12: the file has no checksum, and one is required");
}

#[test]
fn a_dump_payload_is_taken_apart_again() {
    for target in Target::all() {
        let mut payload = b"\x00\x01v".to_vec();
        dump_footer(target, &mut payload);
        let parts = split_dump(&payload, Options::default()).unwrap();
        assert_eq!(parts.version, target.version());
        assert_eq!((parts.object, parts.payload), (ObjectType::String, &b"\x01v"[..]));
        for at in 0..payload.len() {
            let mut bad = payload.clone();
            bad[at] ^= 0x20;
            assert!(split_dump(&bad, Options::default()).is_err(), "byte {at}");
        }
        for len in 0..payload.len() {
            assert!(split_dump(&payload[..len], Options::default()).is_err(), "{len} bytes");
        }
    }
    assert_eq!(split_dump(b"short", Options::default()), Err(DumpError::TooShort(5)));
}

#[test]
fn only_newest_redis_may_leave_out_the_checksum_of_a_dump() {
    let blank = |version: u16| {
        let mut payload = b"\x00\x01v".to_vec();
        payload.extend_from_slice(&version.to_le_bytes());
        payload.extend_from_slice(&[0; 8]);
        payload
    };
    assert!(split_dump(&blank(15), Options::default()).is_ok());
    assert_eq!(split_dump(&blank(14), Options::default()), Err(DumpError::Checksum));
    assert_eq!(split_dump(&blank(80), Options::default()), Err(DumpError::Checksum));
    let unverified = Options { verify_checksum: false, ..Options::default() };
    assert!(split_dump(&blank(80), unverified).is_ok(), "who does not ask is not told");
    assert_eq!(split_dump(&blank(17), Options::default()), Err(DumpError::Version(17)));
    assert_eq!(split_dump(&blank(79), Options::default()), Err(DumpError::Version(79)));
    let relaxed = Options { relaxed_version: true, ..unverified };
    for (number, is_taken) in [(0, false), (17, true), (79, true), (80, true), (222, true)] {
        assert_eq!(split_dump(&blank(number), relaxed).is_ok(), is_taken, "{number}");
    }
}

#[test]
fn targets_are_found_by_their_names() {
    for target in Target::all() {
        assert_eq!(Target::parse(target.name()), Some(target));
        let Version { number, .. } = target.version();
        assert_eq!(Version::of_dump(number), Some(target.version()));
    }
    assert_eq!(Target::parse("valkey-8"), Some(Target::Redis72));
    assert_eq!(Target::parse("valkey-9.1"), Some(Target::Valkey9));
    assert_eq!(Target::parse("redis-8.4"), Some(Target::Redis74));
    for target in Target::all() {
        assert_eq!(Target::of_version(target.version()), Some(target));
        assert!(target.other_names().iter().all(|name| Target::parse(name) == Some(target)));
    }
    assert_eq!(Target::of_version(Version { number: 3, dialect: Dialect::Redis }), Some(Target::Redis26));
    assert_eq!(Target::of_version(Version { number: 17, dialect: Dialect::Redis }), None);
    assert!(Target::of_snapshots().all(|target| target.stream().is_some()));
    assert_eq!(Target::parse("redis-1"), None);
    assert_eq!(Target::default(), Target::Redis72);
    assert_eq!(&Target::Valkey9.version().magic(), b"VALKEY080");
    assert_eq!(&Target::Redis810.version().magic(), b"REDIS0015");
}

#[test]
fn a_target_holds_what_its_servers_read() {
    use ObjectType as T;
    assert_eq!(Target::Redis62.hash_listpack(), None);
    assert_eq!(Target::Redis70.set_listpack(), None);
    assert_eq!(Target::Redis72.hash_with_field_ttl(), None);
    assert_eq!(Target::Redis74.hash_with_field_ttl(), Some(T::HashMetadata));
    assert_eq!(Target::Valkey9.hash_with_field_ttl(), Some(T::HashExpiry));
    assert_eq!(Target::Valkey9.hash_listpack_with_field_ttl(), None);
    assert_eq!(Target::Redis62.stream(), Some(T::StreamListpacks));
    assert_eq!(Target::Redis70.stream(), Some(T::StreamListpacks2));
    assert_eq!(Target::Valkey9.stream(), Some(T::StreamListpacks3));
    assert_eq!(Target::Redis86.stream(), Some(T::StreamListpacks4));
    assert_eq!(Target::Redis810.stream(), Some(T::StreamListpacks5));
    assert_eq!(Target::Redis40.stream(), None);
    assert_eq!(Target::Redis40.zset(), T::Zset);
    assert_eq!(Target::Redis32.zset(), T::ZsetText);
    assert!(Target::Redis32.can_hold(T::ListQuicklist) && !Target::Redis26.can_hold(T::ListQuicklist));
    assert!(Target::Redis40.can_hold(T::Module) && !Target::Redis32.can_hold(T::Module));
    assert!(Target::Valkey92.can_hold(T::PathHash) && !Target::Valkey9.can_hold(T::PathHash));
    assert!(Target::Redis812.has_no_evict() && !Target::Valkey92.has_no_evict());
    assert!(Target::Redis32.has_aux() && !Target::Redis26.has_aux());
    assert_eq!(Target::Redis86.array(), None);
    assert_eq!(Target::Redis88.array(), Some(T::Array));
}

#[test]
fn every_type_byte_reads_as_the_type_it_was() {
    for target in Target::all() {
        let version = target.version();
        for byte in 0..=255 {
            if let Some(object) = ObjectType::from_byte(byte, version) {
                assert_eq!(object.byte(), byte);
            }
        }
    }
    let valkey9 = Target::Valkey9.version();
    assert_eq!(ObjectType::from_byte(22, valkey9), Some(ObjectType::HashExpiry));
    assert_eq!(ObjectType::from_byte(23, valkey9), None);
    assert_eq!(ObjectType::from_byte(24, valkey9), None);
    let redis74 = Target::Redis74.version();
    assert_eq!(ObjectType::from_byte(22, redis74), Some(ObjectType::HashMetadataPreGa));
    assert_eq!(ObjectType::from_byte(32, redis74), Some(ObjectType::HashTemplateArrayRef));
    assert_eq!(ObjectType::from_byte(33, redis74), None);
    assert_eq!(ObjectType::from_byte(8, redis74), None);
    assert_eq!(ObjectType::from_byte(22, Target::Redis72.version()), None);
}
