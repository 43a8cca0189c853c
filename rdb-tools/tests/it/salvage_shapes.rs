//! Salvage of files of other versions and layouts, with one damaged byte and no checksum.

use cairn_engine::codec::rdb::encode::push_len;
use cairn_engine::codec::rdb::{Decoder, Target, opcode};
use rdb_tools::lossy::Lossy;
use rdb_tools::write::rdb::{Choice, Compress, Options, RdbWriter};

use crate::salvage::{Toll, lines, places, step, thousand};

/// The thousand keys as another server writes them, without a checksum.
fn written_for(target: Target, compress: Compress) -> Vec<u8> {
    let options = Options {
        target: Choice::Target(target),
        lossy: Lossy::Drop,
        compress,
        no_checksum: true,
        ..Options::default()
    };
    let mut writer = RdbWriter::new(Vec::new(), options);
    Decoder::new(Default::default()).advance(&thousand(), true, &mut writer).expect("a good file");
    writer.finish().expect("memory").0
}

/// The same records in four databases.
fn in_four_databases(file: &[u8]) -> Vec<u8> {
    let places = places(file);
    let first = *places.keys().next().expect("a key") as usize;
    let mut records: Vec<&[u8]> =
        places.iter().map(|(at, (end, _))| &file[*at as usize..*end as usize]).collect();
    let has_sizes = file[first] == opcode::RESIZE_DB;
    if has_sizes {
        // The first record has the sizes of its database before it: two lengths.
        let len_bytes = |at: usize| if file[at] >> 6 == 0 { 1 } else { 2 };
        let keys = len_bytes(first + 1);
        records[0] = &records[0][1 + keys + len_bytes(first + 1 + keys)..];
    }
    let select = file[..first].iter().rposition(|byte| *byte == opcode::SELECT_DB).expect("there is one");
    let mut out = file[..select].to_vec();
    for (db, part) in records.chunks(records.len() / 4).enumerate() {
        out.extend_from_slice(&[opcode::SELECT_DB, db as u8]);
        if has_sizes {
            out.push(opcode::RESIZE_DB);
            push_len(&mut out, part.len() as u64);
            push_len(&mut out, 0);
        }
        for record in part {
            out.extend_from_slice(record);
        }
    }
    out.push(opcode::EOF);
    out.extend_from_slice(&[0; 8]);
    out
}

#[test]
fn one_damaged_byte_costs_one_key_in_files_of_any_version() {
    let recent = written_for(Target::Redis72, Compress::Keep);
    let shapes = [
        ("redis-2.6", written_for(Target::Redis26, Compress::Keep)),
        ("redis-6.2", written_for(Target::Redis62, Compress::Keep)),
        ("redis-7.2", recent.clone()),
        ("redis-7.4, plain", written_for(Target::Redis74, Compress::Off)),
        ("valkey-9", written_for(Target::Valkey9, Compress::On)),
        ("four databases", in_four_databases(&recent)),
    ];
    for (name, file) in shapes {
        // Half a dozen files, so less of each.
        let toll = Toll::of(name, &file, 4 * step());
        println!("{name}: {} bytes, {toll:?}", file.len());
        assert_eq!((toll.unseen, toll.others_wrong), (0, 0), "{name}");
        assert!(toll.more_lost * 20 <= toll.tried, "{name}: {toll:?}");
    }
}

/// A length that was changed here ends where a later record does.
const SWALLOWER: usize = 1827;

#[test]
fn records_swallowed_by_a_damaged_length_come_out() {
    let mut file = thousand();
    let end = file.len() - 8;
    file[end..].fill(0);
    for bits in [0x01, 0x80, 0xff, 0x14] {
        let mut damaged = file.clone();
        damaged[SWALLOWER] ^= bits;
        let (found, report) = lines(&damaged, &Default::default());
        assert!(found.len() >= 999, "{bits:#x}: {} {:?}", found.len(), report.lost);
    }
}
