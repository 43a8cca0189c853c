//! Geo commands on single members: adding, places, distances, hashes. Searches are in `geo_search.rs`.
//!
//! A geo set is a sorted set whose scores are geohashes; the arithmetic is in `base/geo.rs`. Behaviour:
//! valkey src/geo.c.

use std::io::Write;

use smallvec::SmallVec;

use crate::base::geo::{MAX_LATITUDE, MAX_LONGITUDE, Point};
use crate::base::num;
use crate::codec::resp::Reply;

use super::spec::{DENYOOM, Group, KeySpec, READONLY, READS, Spec, UPDATES, WRITE};
use super::zset::{AddOptions, put_scored};
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[GEOADD, GEOPOS, GEODIST, GEOHASH];

/// Arguments `i` and `i + 1` as longitude and latitude.
///
/// # Errors
/// `NotFloat`, or a text with both numbers if they are not on the map.
pub(super) fn point(args: Args<'_>, i: usize) -> Result<Point, CommandError> {
    let (longitude, latitude) = (args.float(i)?, args.float(i + 1)?);
    Point::new(longitude, latitude).ok_or_else(|| {
        debug_assert!(longitude.abs() > MAX_LONGITUDE || latitude.abs() > MAX_LATITUDE);
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        CommandError::Text(text.into())
    })
}

/// Argument `i` as a unit of length: meters in it.
///
/// # Errors
/// A text that names the units.
pub(super) fn unit(args: Args<'_>, i: usize) -> Result<f64, CommandError> {
    match () {
        () if args.is(i, "m") => Ok(1.0),
        () if args.is(i, "km") => Ok(1000.0),
        () if args.is(i, "ft") => Ok(0.3048),
        () if args.is(i, "mi") => Ok(1609.34),
        () => Err(CommandError::text("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// Writes a distance with four decimals: text in both protocols.
pub(super) fn reply_distance(reply: &mut Reply, distance: f64) {
    // Scaled first and rounded then, as Valkey does: the other way some last digits differ.
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    reply.bulk_with(|out| {
        let sign = if scaled < 0 { "-" } else { "" };
        let scaled = scaled.unsigned_abs();
        let _ = write!(out, "{sign}{}.{:04}", scaled / 10_000, scaled % 10_000);
    });
}

/// Writes a place as longitude and latitude.
pub(super) fn reply_point(reply: &mut Reply, point: Point) {
    reply.array(2);
    reply_coordinate(reply, point.longitude);
    reply_coordinate(reply, point.latitude);
}

fn reply_coordinate(reply: &mut Reply, degrees: f64) {
    let mut room = [0; COORDINATE_CHARS];
    let text = coordinate_text(&mut room, degrees);
    if reply.is_resp3() {
        reply.raw(b",");
        reply.raw(text);
        reply.raw(b"\r\n");
    } else {
        reply.bulk(text);
    }
}

/// Sign, three digits, the point, seventeen decimals, and room to spare.
const COORDINATE_CHARS: usize = 32;

/// Seventeen decimals, less the zeros at the end.
fn coordinate_text(room: &mut [u8; COORDINATE_CHARS], degrees: f64) -> &[u8] {
    let mut rest = room.as_mut_slice();
    write!(rest, "{degrees:.17}").expect("degrees have at most three digits before the point");
    let unused = rest.len();
    let text = &room[..COORDINATE_CHARS - unused];
    let zeros = text.iter().rev().take_while(|b| **b == b'0').count();
    let text = &text[..text.len() - zeros];
    match text.strip_suffix(b".").unwrap_or(text) {
        b"-0" => b"0",
        text => text,
    }
}

const GEOADD: DataCommand = DataCommand::new(
    Spec::new(
        "geoadd",
        Group::Geo,
        "3.2.0",
        -5,
        "key condition@6.2.0=[ NX | XX ] [ change=CH@6.2.0 ] \
         data=< longitude:double latitude:double member >...",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, UPDATES)])
    .complexity("O(log N) for each member, N members in the set")
    .summary("Adds members with their places to a geo set, or moves them."),
    geoadd,
);

fn geoadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut options = AddOptions::default();
    let mut first = 2;
    while first < args.len() {
        let option = match () {
            () if args.is(first, "NX") => &mut options.new_only,
            () if args.is(first, "XX") => &mut options.existing_only,
            () if args.is(first, "CH") => &mut options.count_changes,
            () => break,
        };
        *option = true;
        first += 1;
    }
    let items = args.from(first);
    if !items.len().is_multiple_of(3) || (options.new_only && options.existing_only) {
        return Err(CommandError::Syntax);
    }
    let places = (first..args.len()).step_by(3);
    let scores: SmallVec<[f64; 4]> = places.map(|i| Ok(point(args, i)?.score())).collect::<Result<_, _>>()?;
    if scores.is_empty() {
        return Err(CommandError::Syntax);
    }
    put_scored(ctx, args.at(1), &scores, |i| items[3 * i + 2], options)?;
    if ctx.data.dirty > 0 && ctx.data.is_logging() {
        log_as_zadd(ctx, args, first, &scores);
    }
    Ok(())
}

/// Logs the scores that were computed: another machine need not compute them again.
fn log_as_zadd(ctx: &mut Context<'_>, args: Args<'_>, first: usize, scores: &[f64]) {
    let texts: Vec<Vec<u8>> = scores
        .iter()
        .map(|score| {
            let mut text = Vec::new();
            num::push_i64(&mut text, *score as i64);
            text
        })
        .collect();
    let mut words: Vec<&[u8]> = vec![b"ZADD"];
    words.extend_from_slice(&args.0[1..first]);
    for (text, item) in texts.iter().zip(args.from(first).chunks(3)) {
        words.extend([text.as_slice(), item[2]]);
    }
    ctx.data.log_as(&words);
}

const GEOPOS: DataCommand = DataCommand::new(
    Spec::new("geopos", Group::Geo, "3.2.0", -2, "key [ member... ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(1) for each member")
        .summary("Gives the places of members."),
    |ctx, args| {
        let zset = ctx.data.zset(args.at(1))?;
        ctx.reply.array(args.len() - 2);
        for member in args.from(2) {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => reply_point(ctx.reply, Point::of_score(score)),
                None => ctx.reply.null_array(),
            }
        }
        Ok(())
    },
);

const GEODIST: DataCommand = DataCommand::new(
    Spec::new("geodist", Group::Geo, "3.2.0", -4, "key member1 member2 unit=[ M | KM | FT | MI ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .summary("Gives the distance between two members."),
    |ctx, args| {
        let to_meters = match args.len() {
            4 => 1.0,
            5 => unit(args, 4)?,
            _ => return Err(CommandError::Syntax),
        };
        let zset = ctx.data.zset(args.at(1))?;
        let place = |i: usize| zset?.score(args.at(i)).map(Point::of_score);
        match (place(2), place(3)) {
            (Some(a), Some(b)) => reply_distance(ctx.reply, a.distance_m(b) / to_meters),
            _ => ctx.reply.null(),
        }
        Ok(())
    },
);

const GEOHASH: DataCommand = DataCommand::new(
    Spec::new("geohash", Group::Geo, "3.2.0", -2, "key [ member... ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(1) for each member")
        .summary("Gives the geohashes of members in letters."),
    |ctx, args| {
        let zset = ctx.data.zset(args.at(1))?;
        ctx.reply.array(args.len() - 2);
        for member in args.from(2) {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => ctx.reply.bulk(&Point::of_score(score).letters()),
                None => ctx.reply.null(),
            }
        }
        Ok(())
    },
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_have_up_to_seventeen_decimals() {
        let check = |degrees: f64, text: &str| {
            let mut room = [0; COORDINATE_CHARS];
            assert_eq!(coordinate_text(&mut room, degrees).escape_ascii().to_string(), text);
        };
        check(13.361_389_338_970_184, "13.36138933897018433");
        check(180.0, "180");
        check(-0.0, "0");
        check(-1.5, "-1.5");
        // Exactly halfway between two texts: to the even one.
        check(0.5f64.powi(18), "0.00000381469726562");
        check(3.0 * 0.5f64.powi(18), "0.00001144409179688");
    }
}
