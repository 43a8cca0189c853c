//! BITFIELD: integers of any width between the bits of a string.
//!
//! The whole of a call is parsed before anything is read or written. Behaviour: valkey src/bitops.c,
//! `bitfieldGeneric`.

use crate::base::num;
use crate::codec::resp::Reply;
use crate::value::IntText;
use crate::value::bitmap::{self, FieldType, Overflow};

use super::bitmap::bit_offset;
use super::effects::Classes;
use super::spec::{DENYOOM, FAST, Group, KeySpec, READONLY, READS, READS_AND_MAY_UPDATE, Spec, WRITE};
use super::{Args, CommandError, Context, DataCommand, Outcome, finders};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[BITFIELD, BITFIELD_RO];

const BITFIELD: DataCommand = DataCommand::new(
    Spec::new(
        "bitfield",
        Group::Bitmap,
        "3.2.0",
        -2,
        "key operation=[ get-block=< GET: encoding offset:int > \
         | write=< overflow-block=[ OVERFLOW: < WRAP | SAT | FAIL > ] \
         write-operation=< set-block=< SET: encoding offset:int value:int > \
         | incrby-block=< INCRBY: encoding offset:int increment:int > > > ]...",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, READS_AND_MAY_UPDATE)])
    .finder(finders::bitfield)
    .complexity("O(1) for each operation")
    .summary("Reads, writes and adds to integers of any width in the string at a key."),
    |ctx, args| bitfield(ctx, args, false),
);

const BITFIELD_RO: DataCommand = DataCommand::new(
    Spec::new("bitfield_ro", Group::Bitmap, "6.0.0", -2, "key get-block=[ GET: encoding offset:int ]...")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(1) for each operation")
        .summary("Reads integers of any width from the string at a key."),
    |ctx, args| bitfield(ctx, args, true),
);

/// What is done with a field.
#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// One operation of a call.
#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    kind: FieldType,
    offset: u64,
    overflow: Overflow,
}

fn field_type(text: &[u8]) -> Result<FieldType, CommandError> {
    const BAD_TYPE: CommandError = CommandError::text(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    );
    let (is_signed, most, digits) = match text {
        [b'i', digits @ ..] => (true, 64, digits),
        [b'u', digits @ ..] => (false, 63, digits),
        _ => return Err(BAD_TYPE),
    };
    let bits = num::parse_i64(digits).filter(|bits| (1..=most).contains(bits)).ok_or(BAD_TYPE)?;
    Ok(FieldType { is_signed, bits: bits as u32 })
}

/// A place, in bits or, after a `#`, in fields of this type.
fn field_offset(text: &[u8], kind: FieldType, max_bytes: usize) -> Result<u64, CommandError> {
    match text {
        [b'#', digits @ ..] => bit_offset(digits, i64::from(kind.bits), max_bytes),
        _ => bit_offset(text, 1, max_bytes),
    }
}

fn parse(args: Args<'_>, max_bytes: usize) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut i = 2;
    while i < args.len() {
        let left = args.len() - i - 1;
        if args.is(i, "OVERFLOW") && left >= 1 {
            overflow = if args.is(i + 1, "WRAP") {
                Overflow::Wrap
            } else if args.is(i + 1, "SAT") {
                Overflow::Saturate
            } else if args.is(i + 1, "FAIL") {
                Overflow::Fail
            } else {
                return Err(CommandError::text("ERR Invalid OVERFLOW type specified"));
            };
            i += 2;
            continue;
        }
        let is_get = args.is(i, "GET") && left >= 2;
        let is_set = args.is(i, "SET") && left >= 3;
        let is_add = args.is(i, "INCRBY") && left >= 3;
        if !(is_get || is_set || is_add) {
            return Err(CommandError::Syntax);
        }
        let kind = field_type(args.at(i + 1))?;
        let offset = field_offset(args.at(i + 2), kind, max_bytes)?;
        let action = if is_get {
            Action::Get
        } else if is_set {
            Action::Set(args.int(i + 3)?)
        } else {
            Action::Add(args.int(i + 3)?)
        };
        operations.push(Operation { action, kind, offset, overflow });
        i += if is_get { 3 } else { 4 };
    }
    Ok(operations)
}

impl Operation {
    /// The number that is in the field.
    fn read(self, bytes: &[u8]) -> i64 {
        self.kind.number(bitmap::field(bytes, self.offset, self.kind.bits))
    }

    /// Does it and writes its reply; answers whether the field has another number now, or `None` if
    /// nothing was written.
    fn run(self, bytes: &mut [u8], reply: &mut Reply) -> Option<bool> {
        let old = self.read(bytes);
        // An unsigned field is set to the number of the same bits, so -1 is far too large for it.
        let unsigned_wish = |n: i64| if self.kind.is_signed { i128::from(n) } else { i128::from(n as u64) };
        let (wish, gives_old) = match self.action {
            Action::Get => {
                reply.int(old);
                return None;
            }
            Action::Set(number) => (unsigned_wish(number), true),
            Action::Add(by) => (i128::from(old) + i128::from(by), false),
        };
        let Some(new) = self.kind.fit(wish, self.overflow) else {
            reply.null();
            return None;
        };
        bitmap::set_field(bytes, self.offset, self.kind.bits, new as u64);
        reply.int(if gives_old { old } else { new });
        Some(new != old)
    }
}

fn bitfield(ctx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> Outcome {
    let key = args.at(1);
    let operations = parse(args, ctx.data.max_string_bytes())?;
    let writes = operations.iter().filter(|op| !matches!(op.action, Action::Get));
    let Some(last_bit) = writes.map(|op| op.offset + u64::from(op.kind.bits) - 1).max() else {
        ctx.data.counts_reads = true;
        let mut text = IntText::new();
        let bytes = ctx.data.string(key)?.map_or(&b""[..], |old| old.bytes(&mut text));
        ctx.reply.array(operations.len());
        for operation in &operations {
            ctx.reply.int(operation.read(bytes));
        }
        return Ok(());
    };
    if read_only {
        return Err(CommandError::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let len = (last_bit / 8) as usize + 1;
    let Context { data, reply, .. } = ctx;
    reply.array(operations.len());
    let changes = data.edit_bytes(
        key,
        |old| old.max(len),
        |bytes, old| {
            let has_grown = old < len;
            let changed = |op: &Operation| op.run(bytes, reply).is_some_and(|other| other || has_grown);
            let changes = operations.iter().map(changed).filter(|changed| *changed).count() as u64;
            // A string that only grew, because everything written to it overflowed, has changed as well.
            changes.max(u64::from(has_grown))
        },
    )?;
    data.wrote_many(Classes::STRING, "setbit", key, changes);
    Ok(())
}
