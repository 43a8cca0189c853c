//! Packed inputs: what comes out of whole ones, and what is said of cut and damaged ones.

use std::io::{self, Cursor, Read, Write};

use super::super::damage;
use super::{Form, unpack};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("into memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("level 3");
    encoder.include_checksum(true).expect("is an option");
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("into memory")
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut info = lz4_flex::frame::FrameInfo::new();
    info.content_checksum = true;
    info.block_checksums = true;
    info.block_size = lz4_flex::frame::BlockSize::Max64KB;
    info.block_mode = lz4_flex::frame::BlockMode::Linked;
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

fn envelope(codec: u8, frame: &[u8]) -> Vec<u8> {
    [&b"VCS\x01"[..], &[codec, 0, 1], frame].concat()
}

/// Everything that comes out, and the error that ended it.
fn unpacked(packed: &[u8]) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::new();
    let end = unpack(Box::new(Cursor::new(packed.to_vec()))).and_then(|(_, mut reader)| {
        let mut piece = [0; 777];
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(()),
                n => bytes.extend_from_slice(&piece[..n]),
            }
        }
    });
    (bytes, end.err())
}

fn content() -> Vec<u8> {
    (0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8 & 0x3f).collect()
}

/// A packed input and what it was made by.
type Packer = (&'static str, fn(&[u8]) -> Vec<u8>);

const PACKERS: [Packer; 3] = [("gzip", gzip), ("zstd", zstd), ("lz4", lz4)];

#[test]
fn what_was_packed_comes_out() {
    let content = content();
    for (name, pack) in PACKERS {
        for bytes in [&content[..], b"", b"x"] {
            let packed = pack(bytes);
            assert_eq!(Form::of(&packed).map(Form::name), Some(name));
            let (out, error) = unpacked(&packed);
            assert!(error.is_none() && out == bytes, "{name}: {error:?}");
            // Members and frames behind one another, empty ones among them.
            let (out, error) = unpacked(&[&packed[..], &pack(b""), &packed].concat());
            assert!(error.is_none() && out == [bytes, bytes].concat(), "{name}: {error:?}");
        }
        // Packed twice, by each of the others.
        for (outer, again) in PACKERS {
            let (out, error) = unpacked(&again(&pack(&content)));
            assert!(error.is_none() && out == content, "{name} in {outer}: {error:?}");
        }
    }
    let (out, error) = unpacked(&content);
    assert!(error.is_none() && out == content, "what is not packed is handed on");
    let mut deep = content;
    for _ in 0..6 {
        deep = gzip(&deep);
    }
    assert!(damage(&unpacked(&deep).1.expect("too deep")).is_some());
}

#[test]
fn an_envelope_ends_with_its_frame() {
    let content = content();
    for (codec, pack) in [(1, lz4 as fn(&[u8]) -> Vec<u8>), (2, zstd)] {
        let whole = envelope(codec, &pack(&content));
        let (out, error) = unpacked(&whole);
        assert!(error.is_none() && out == content, "{error:?}");
        // Commands behind a packed preamble are as they are, and so is another frame.
        let tail = [&b"*1\r\n$4\r\nPING\r\n"[..], &pack(b"not for us")].concat();
        let (out, error) = unpacked(&[&whole[..], &tail].concat());
        assert!(error.is_none() && out == [&content[..], &tail].concat(), "{error:?}");
        for (at, byte) in [(3, 2), (4, 0), (4, 3), (5, 1), (6, 0), (6, 2)] {
            let mut other = whole.clone();
            other[at] = byte;
            let (out, error) = unpacked(&other);
            let error = error.expect("is none that we know");
            assert!(out.is_empty() && damage(&error).is_some(), "byte {at} = {byte}: {error}");
        }
        for cut in 3..whole.len().min(200) {
            assert!(unpacked(&whole[..cut]).1.is_some_and(|e| damage(&e).is_some()), "cut at {cut}");
        }
    }
}

#[test]
fn a_cut_is_told_wherever_it_is() {
    let content = &content()[..3000];
    for (name, pack) in PACKERS {
        let packed = pack(content);
        // With less than its magic it is no packed input.
        for cut in 4..packed.len() {
            let (out, error) = unpacked(&packed[..cut]);
            let error = error.unwrap_or_else(|| panic!("{name} cut at {cut} went unnoticed"));
            let damage = damage(&error).unwrap_or_else(|| panic!("{name} cut at {cut}: {error}"));
            assert_eq!(damage.at, out.len() as u64, "{name} cut at {cut}");
            assert!(content.starts_with(&out), "{name} cut at {cut}");
        }
        // Behind a whole one.
        let two = [&packed[..], &packed].concat();
        for cut in packed.len() + 4..two.len() {
            assert!(unpacked(&two[..cut]).1.is_some(), "{name} cut at {cut} of two");
        }
    }
}

#[test]
fn a_changed_byte_never_gives_other_contents() {
    let content = &content()[..3000];
    for (name, pack) in PACKERS {
        let packed = pack(content);
        let mut told = 0;
        for at in 0..packed.len() {
            for bit in [1, 0x10, 0x80] {
                let mut bad = packed.clone();
                bad[at] ^= bit;
                match unpacked(&bad) {
                    (_, Some(error)) => {
                        assert!(damage(&error).is_some(), "{name} byte {at}: {error}");
                        told += 1;
                    }
                    // Time and system of gzip's header mean nothing; without its magic, it is not packed.
                    (out, None) => assert!(out == content || at < 4, "{name} byte {at}"),
                }
            }
        }
        assert!(told > packed.len() * 2, "{name}: {told} of {}", packed.len() * 3);
    }
}

#[test]
fn legacy_and_skippable_lz4_frames_are_read() {
    let content = &content()[..30_000];
    let block = lz4_flex::block::compress(content);
    let legacy = [&[0x02, 0x21, 0x4c, 0x18][..], &(block.len() as u32).to_le_bytes(), &block].concat();
    let (out, error) = unpacked(&legacy);
    assert!(error.is_none() && out == content, "{error:?}");
    for cut in 5..legacy.len() {
        assert!(unpacked(&legacy[..cut]).1.is_some(), "cut at {cut}");
    }
    let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
    let frame = lz4(content);
    let (out, error) = unpacked(&[&frame[..], &skipped, &frame].concat());
    assert!(error.is_none() && out == [content, content].concat(), "{error:?}");
    let cut = [&frame[..], &skipped[..10]].concat();
    assert!(unpacked(&cut).1.is_some());
    let (out, error) = unpacked(&[&skipped[..], &zstd(content), &skipped].concat());
    assert!(error.is_none() && out == content, "{error:?}");
}

#[test]
fn a_bomb_is_handed_out_in_pieces() {
    // A kilobyte a megabyte, and no end of it in sight.
    let zeros = vec![0; 8 << 20];
    for (name, pack) in PACKERS {
        let packed = pack(&zeros);
        assert!(packed.len() < zeros.len() / 100, "{name}");
        let (_, mut reader) = unpack(Box::new(Cursor::new(packed.repeat(8)))).expect("starts well");
        let mut piece = [1; 4096];
        let mut read = 0;
        loop {
            match reader.read(&mut piece).expect("is whole") {
                0 => break,
                n => read += n,
            }
        }
        assert_eq!(read, 8 * zeros.len(), "{name}");
    }
    // A zstd frame that asks for a window of 2 GiB gets none.
    let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 1, 0, 0];
    assert!(unpacked(&greedy).1.is_some_and(|e| damage(&e).is_some()));
}

#[test]
fn errors_of_the_system_are_not_the_inputs() {
    struct Broken(bool);
    impl Read for Broken {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::Error::from_raw_os_error(5));
            }
            buf[..12].copy_from_slice(&gzip(b"some text that is long enough to be cut")[..12]);
            Ok(12)
        }
    }
    let (_, mut reader) = unpack(Box::new(Broken(false))).expect("starts well");
    let error = reader.read(&mut [0; 100]).expect_err("the device is broken");
    assert!(damage(&error).is_none() && error.raw_os_error() == Some(5), "{error:?}");
}
