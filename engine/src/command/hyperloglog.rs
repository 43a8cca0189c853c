//! HyperLogLog commands: PFADD, PFCOUNT, PFMERGE, and the two for those who debug them.
//!
//! Behaviour: valkey src/hyperloglog.c. The bytes and the estimate are `value/hyperloglog.rs`.

use crate::value::hyperloglog::{self as hll, Corrupt, Encoding, HllRef, REGISTERS, Run};
use crate::value::{StrRef, StringValue};

use super::effects::Classes;
use super::spec::{
    ADMIN, DENYOOM, FAST, Group, INSERTS, KeySpec, KeyUse, MAY_REPLICATE, READONLY, READS, Spec, WRITE,
};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST];

/// PFCOUNT may write what it has counted into the string.
const READS_AND_KEEPS: KeyUse = KeyUse { mode: "RW", effects: &["access"] };
const READS_AND_INSERTS: KeyUse = KeyUse { mode: "RW", effects: &["access", "insert"] };

fn corrupt(_: Corrupt) -> CommandError {
    CommandError::text("INVALIDOBJ Corrupted HLL object detected")
}

/// Looks at a string as a HyperLogLog.
fn looked_at(text: StrRef<'_>) -> Result<HllRef<'_>, CommandError> {
    let bytes = match text {
        StrRef::Text(bytes) | StrRef::Edited(bytes) => bytes,
        StrRef::Int(_) => b"",
    };
    hll::view(bytes).ok_or(CommandError::text("WRONGTYPE Key is not a valid HyperLogLog string value."))
}

/// The HyperLogLog at a key.
fn find<'a>(data: &'a mut Data<'_>, key: &[u8]) -> Result<Option<HllRef<'a>>, CommandError> {
    data.string(key)?.map(looked_at).transpose()
}

const PFADD: DataCommand = DataCommand::new(
    Spec::new("pfadd", Group::Hyperloglog, "2.8.9", -2, "key [ element ]...")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, INSERTS)])
        .complexity("O(1) for each element")
        .summary("Adds elements to the HyperLogLog at a key."),
    pfadd,
);

fn pfadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let is_new = find(&mut ctx.data, key)?.is_none();
    let mut changes = u64::from(is_new);
    let added = ctx.data.upsert_string(
        key,
        |_| StringValue::edited(hll::empty()),
        |text, limits| {
            let bytes = text.edit();
            for element in args.from(2) {
                changes += u64::from(hll::add(bytes, element, limits.hll_sparse_max_bytes)?);
            }
            if changes > 0 {
                hll::invalidate(bytes);
            }
            Ok(())
        },
    )?;
    ctx.data.wrote_many(Classes::STRING, "pfadd", key, changes);
    added.map_err(corrupt)?;
    ctx.reply.int(i64::from(changes > 0));
    Ok(())
}

const PFCOUNT: DataCommand = DataCommand::new(
    Spec::new("pfcount", Group::Hyperloglog, "2.8.9", -2, "key...")
        .flags(READONLY.or(MAY_REPLICATE))
        .keys(&[KeySpec::rest(1, 1, READS_AND_KEEPS)])
        .complexity("O(1) for one key that has not changed since; else O(N) in the number of keys")
        .summary("Counts about how many different elements were added, to one key or to any of several."),
    pfcount,
);

fn pfcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        let card = union_of(&mut ctx.data, args.from(1))?.count();
        ctx.reply.int(card as i64);
        return Ok(());
    }
    let key = args.at(1);
    let card = match find(&mut ctx.data, key)? {
        None => 0,
        Some(found) => match found.cached() {
            Some(card) => card,
            None => {
                let card = found.count().map_err(corrupt)?;
                ctx.data.edit_string(key, |text, _| hll::keep_cardinality(text.edit(), card))?;
                // A change without an event: the elements are the same.
                ctx.data.changed(key);
                ctx.data.dirty += 1;
                card
            }
        },
    };
    ctx.reply.int(card as i64);
    Ok(())
}

/// The union of the HyperLogLogs at several keys.
fn union_of(data: &mut Data<'_>, keys: &[&[u8]]) -> Result<hll::Union, CommandError> {
    let mut union = hll::Union::default();
    for key in keys {
        if let Some(found) = find(data, key)? {
            union.add(found).map_err(corrupt)?;
        }
    }
    Ok(union)
}

const PFMERGE: DataCommand = DataCommand::new(
    Spec::new("pfmerge", Group::Hyperloglog, "2.8.9", -2, "destkey [ sourcekey:key ]...")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(1, READS_AND_INSERTS), KeySpec::rest(2, 1, READS)])
        .complexity("O(N) in the number of keys")
        .summary("Adds the elements of several HyperLogLogs to one."),
    pfmerge,
);

fn pfmerge(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    ctx.data.counts_reads = true;
    let union = union_of(&mut ctx.data, args.from(1))?;
    let raised = ctx.data.upsert_string(
        key,
        |_| StringValue::edited(hll::empty()),
        |text, limits| {
            let bytes = text.edit();
            hll::raise_all(bytes, &union, limits.hll_sparse_max_bytes)?;
            hll::invalidate(bytes);
            Ok(())
        },
    )?;
    raised.map_err(corrupt)?;
    // Clients that listen are told of additions: that is what a merge comes to.
    ctx.data.wrote(Classes::STRING, "pfadd", key);
    ctx.reply.ok();
    Ok(())
}

const PFDEBUG: DataCommand = DataCommand::new(
    Spec::new("pfdebug", Group::Hyperloglog, "2.8.9", 3, "subcommand key")
        .flags(WRITE.or(DENYOOM).or(ADMIN))
        .keys(&[KeySpec::one(2, READS_AND_KEEPS)])
        .complexity("O(N) in the registers")
        .summary("Tells how a HyperLogLog is kept, or makes it dense."),
    pfdebug,
);

fn pfdebug(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(2);
    if args.is(1, "SIMD") {
        if !args.is(2, "ON") && !args.is(2, "OFF") {
            return Err(CommandError::text("ERR Argument must be ON or OFF"));
        }
        // Registers are merged by vectors everywhere: there is nothing to switch.
        ctx.reply.simple("disabled");
        return Ok(());
    }
    let found =
        find(&mut ctx.data, key)?.ok_or(CommandError::text("ERR The specified key does not exist"))?;
    if args.is(1, "GETREG") {
        let registers = found.registers().map_err(corrupt)?;
        make_dense(&mut ctx.data, key)?;
        ctx.reply.array(REGISTERS);
        registers.iter().for_each(|&register| ctx.reply.int(i64::from(register)));
    } else if args.is(1, "DECODE") {
        if found.encoding() == Encoding::Dense {
            return Err(CommandError::text("ERR HLL encoding is not sparse"));
        }
        let runs: Vec<String> = found.runs().map(shown).collect();
        ctx.reply.bulk(runs.join(" ").as_bytes());
    } else if args.is(1, "ENCODING") {
        let is_dense = found.encoding() == Encoding::Dense;
        ctx.reply.simple(if is_dense { "dense" } else { "sparse" });
    } else if args.is(1, "TODENSE") {
        let changed = make_dense(&mut ctx.data, key)?;
        ctx.reply.int(i64::from(changed));
    } else {
        return Err(CommandError::naming("ERR Unknown PFDEBUG subcommand '", args.at(1), "'"));
    }
    Ok(())
}

fn make_dense(data: &mut Data<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let changed = data.edit_string(key, |text, _| hll::make_dense(text.edit()))?;
    let changed = changed.transpose().map_err(corrupt)?.unwrap_or(false);
    if changed {
        data.changed(key);
        data.dirty += 1;
    }
    Ok(changed)
}

fn shown(run: Run) -> String {
    match run {
        Run::Zeros(times) => format!("z:{times}"),
        Run::ManyZeros(times) => format!("Z:{times}"),
        Run::Values { value, times } => format!("v:{value},{times}"),
    }
}

const PFSELFTEST: DataCommand = DataCommand::new(
    Spec::new("pfselftest", Group::Hyperloglog, "2.8.9", 1, "")
        .flags(ADMIN)
        .complexity("O(N) in the elements tried")
        .summary("Tries whether sparse and dense HyperLogLogs agree and count well."),
    pfselftest,
);

fn pfselftest(ctx: &mut Context<'_>, _args: Args<'_>) -> Outcome {
    // Enough to fill most registers, and not so much that other clients would notice.
    const ELEMENTS: u64 = 100_000;
    let seed = ctx.rng.next_u64();
    let limit = ctx.data.limits.hll_sparse_max_bytes;
    let (mut sparse, mut dense) = (hll::empty(), hll::empty());
    hll::make_dense(&mut dense).map_err(corrupt)?;
    let mut checkpoint = 1;
    for n in 1..=ELEMENTS {
        let element = (n ^ seed).to_le_bytes();
        hll::add(&mut sparse, &element, limit).map_err(corrupt)?;
        hll::add(&mut dense, &element, limit).map_err(corrupt)?;
        if n != checkpoint {
            continue;
        }
        checkpoint *= 10;
        let (a, b) = (hll::view(&sparse), hll::view(&dense));
        let (Some(a), Some(b)) = (a, b) else {
            return Err(CommandError::text("TESTFAILED not a HyperLogLog any more"));
        };
        if n < limit as u64 / 2 && a.encoding() != Encoding::Sparse {
            return Err(CommandError::text("TESTFAILED sparse encoding not used"));
        }
        let counted = b.count().map_err(corrupt)?;
        if a.count().map_err(corrupt)? != counted {
            return Err(CommandError::text("TESTFAILED dense/sparse disagree"));
        }
        let standard_error = 1.04 / (REGISTERS as f64).sqrt();
        // Of ten elements two may well share a register.
        let most = if n == 10 { 1 } else { (standard_error * 6.0 * n as f64).ceil() as u64 };
        let error = counted.abs_diff(n);
        if error > most {
            let text = format!("TESTFAILED Too big error. card:{n} abserr:{error}");
            return Err(CommandError::Text(text.into()));
        }
    }
    ctx.reply.ok();
    Ok(())
}
