//! One value on its own: the payload of DUMP, and values that were kept undecoded.

use super::file::unknown_type;
use super::module::Scan;
use super::value::Value;
use super::{Dialect, ObjectType, Options, Scratch, Templates, Version};
use crate::base::crc64::crc64;
use crate::codec::rdb::error::{Doing, DumpError, Error, Failure, Halt, Kind, LibrariesError, Stop};
use crate::codec::rdb::event::{Depth, Sink};
use crate::codec::rdb::read::Cursor;
use crate::codec::rdb::{FIRST_WITH_BLANK_DUMP_CHECKSUM, opcode};

/// Version and checksum at the end.
const FOOTER_BYTES: usize = 10;

/// A DUMP payload taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpPayload<'a> {
    /// Whose bytes they are.
    pub version: Version,
    /// The type of the value.
    pub object: ObjectType,
    /// Its type byte.
    pub type_byte: u8,
    /// Key metadata (Redis 8.6): what follows opcode 243.
    pub meta: Option<&'a [u8]>,
    /// The value, as it stands in a file behind the key.
    pub payload: &'a [u8],
}

/// Takes a DUMP payload apart: checks its footer, and reads what comes before the value.
///
/// Of `options` count `verify_checksum` and `relaxed_version`. A checksum of zero is accepted of those
/// versions of Redis that may write it.
///
/// # Errors
/// [`DumpError`]; the value itself is not looked at.
pub fn split_dump(bytes: &[u8], options: Options) -> Result<DumpPayload<'_>, DumpError> {
    let too_short = DumpError::TooShort(bytes.len());
    let (version, body) = split_footer(bytes, options)?;
    let mut cur = Cursor::new(body, 0);
    let mut meta = None;
    let type_byte = loop {
        match cur.byte() {
            Ok(opcode::KEY_META) if version.is_redis_only() => {
                let from = cur.pos;
                skip_meta(&mut cur).map_err(|stop| match stop {
                    Stop::Short(_) => DumpError::Prefix(Kind::UnexpectedEof),
                    Stop::Bad(_, kind) => DumpError::Prefix(kind),
                })?;
                meta = Some(cur.between(from, cur.pos));
            }
            Ok(opcode::KEY_NOEVICT) if version.is_redis_only() => {}
            Ok(byte) => break byte,
            Err(_) => return Err(too_short),
        }
    };
    let object = ObjectType::from_byte(type_byte, version).ok_or(DumpError::ObjectType(type_byte))?;
    let payload = cur.between(cur.pos, body.len());
    Ok(DumpPayload { version, object, type_byte, meta, payload })
}

/// Checks the version and the checksum at the end; gives the version and what stands before it.
fn split_footer(bytes: &[u8], options: Options) -> Result<(Version, &[u8]), DumpError> {
    let (body, footer) = bytes.split_last_chunk::<FOOTER_BYTES>().ok_or(DumpError::TooShort(bytes.len()))?;
    let number = u16::from_le_bytes([footer[0], footer[1]]);
    let version = Version::of_any_dump(number);
    if !(version.is_known() || (options.relaxed_version && version.is_to_come())) {
        return Err(DumpError::Version(number));
    }
    let mut stored = [0; 8];
    stored.copy_from_slice(&footer[2..]);
    let stored = u64::from_le_bytes(stored);
    let may_be_blank = version.dialect == Dialect::Redis && number >= FIRST_WITH_BLANK_DUMP_CHECKSUM;
    if options.verify_checksum && !(stored == 0 && may_be_blank) && stored != crc64(&bytes[..bytes.len() - 8])
    {
        return Err(DumpError::Checksum);
    }
    Ok((version, body))
}

/// The sources in a payload of FUNCTION DUMP. Its checksum is treated as that of [`split_dump`].
///
/// # Errors
/// [`LibrariesError`].
pub fn split_libraries(bytes: &[u8], options: Options) -> Result<Vec<Vec<u8>>, LibrariesError> {
    let (_, body) = split_footer(bytes, options).map_err(LibrariesError::Footer)?;
    let mut cur = Cursor::new(body, 0);
    let (mut sources, mut scratch) = (Vec::new(), Vec::new());
    let broken = |_: Stop| LibrariesError::Broken;
    while !cur.rest().is_empty() {
        match cur.byte().map_err(broken)? {
            opcode::FUNCTION2 => {}
            opcode::FUNCTION_PRE_GA => return Err(LibrariesError::PreGa),
            _ => return Err(LibrariesError::NoLibrary),
        }
        let source = cur.str().and_then(|source| source.bytes(&mut scratch).map(<[u8]>::to_vec));
        sources.push(source.map_err(broken)?);
    }
    Ok(sources)
}

fn skip_meta(cur: &mut Cursor<'_>) -> Result<(), Stop> {
    for _ in 0..cur.len()? {
        cur.take(4)?;
        Scan::default().values(cur, 0)?;
    }
    Ok(())
}

/// Decodes the value of one key, all of which is in `payload`, and answers how long it is.
///
/// Only `Sink::value` is called, at the `depth` given. Offsets in errors count from the payload's
/// first byte. A reference to a hash template of a file cannot be resolved here.
///
/// # Errors
/// [`Failure::Format`] for a fault, a payload that ends too early, and a type that does not exist;
/// or what the sink answered.
pub fn decode_value<S: Sink>(
    version: Version,
    type_byte: u8,
    payload: &[u8],
    depth: Depth,
    sink: &mut S,
) -> Result<usize, Failure<S::Error>> {
    let fault = |at, kind| {
        let object = Some(type_byte);
        let doing = Doing::ReadObjectValue;
        Failure::Format(Error { at, kind, doing, version: Some(version), db: 0, key: None, object })
    };
    let object = match ObjectType::from_byte(type_byte, version) {
        None => return Err(fault(0, unknown_type(type_byte))),
        Some(ObjectType::ModulePreGa) => {
            return Err(fault(0, super::file::refuse_pre_ga_module(type_byte)));
        }
        Some(object) => object,
    };
    let mut cur = Cursor::new(payload, 0);
    let mut scratch = Scratch::default();
    let deep = Options::default().deep;
    let mut value = Value::new(object, depth);
    match value.read(&mut cur, &Templates::new(), deep, &mut scratch, sink) {
        Ok(()) => Ok(cur.unit),
        Err(Halt::Short(_)) => Err(fault(payload.len() as u64, Kind::UnexpectedEof)),
        Err(Halt::Bad(at, kind)) => Err(fault(at, kind)),
        Err(Halt::Sink(error)) => Err(Failure::Sink(error)),
    }
}
