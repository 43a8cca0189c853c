//! Geo commands that look for members in an area: GEOSEARCH, GEORADIUS and their kin.
//!
//! The area is covered by up to nine cells, each a range of scores. Behaviour: valkey src/geo.c,
//! `georadiusGeneric`, whose order of checks and of results this keeps.

use std::cmp::Ordering;

use crate::base::geo::{Point, Shape, truncated};
use crate::value::Element;
use crate::value::zset::{ScoreBound, ScoreRange, Zset, ZsetRef};

use super::geo::{point, reply_distance, reply_point, unit};
use super::spec::{
    BeginSearch, DENYOOM, FindKeys, Group, KeySpec, MAY_OVERWRITE, OVERWRITES, READONLY, READS, Spec, WRITE,
};
use super::zset_range::store;
use super::{Args, CommandError, Context, DataCommand, Outcome, finders, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUS_RO, GEORADIUSBYMEMBER, GEORADIUSBYMEMBER_RO];

/// Which command it is: what its first arguments are, and which options it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Search,
    SearchStore,
    Radius,
    RadiusReadOnly,
    RadiusByMember,
    RadiusByMemberReadOnly,
}

impl Variant {
    fn is_search(self) -> bool {
        matches!(self, Variant::Search | Variant::SearchStore)
    }

    /// Takes STORE and STOREDIST with a key.
    fn may_store(self) -> bool {
        matches!(self, Variant::Radius | Variant::RadiusByMember)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

/// The shape, as far as the arguments have told.
#[derive(Debug)]
enum Outline {
    Circle { radius: f64, to_meters: f64 },
    Box { width: f64, height: f64, to_meters: f64 },
    Polygon(Vec<Point>),
}

/// The middle, as far as the arguments have told.
#[derive(Debug, Clone, Copy)]
enum Center {
    At(Point),
    /// A member of a set that is not there: nothing will be found.
    Nowhere,
}

/// The options of a call.
#[derive(Debug, Default)]
struct Asked<'a> {
    center: Option<Center>,
    /// Which of FROMMEMBER and FROMLONLAT has come.
    from_member: bool,
    from_place: bool,
    outline: Option<Outline>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    order: Option<Order>,
    any: bool,
    count: Option<i64>,
    store_in: Option<&'a [u8]>,
    /// Distances are stored as scores.
    stores_distances: bool,
}

/// The distance at argument `i`, with its unit after it.
fn radius(args: Args<'_>, i: usize) -> Result<Outline, CommandError> {
    let not_a_number = |_| CommandError::text("ERR need numeric radius");
    let radius = args.float(i).map_err(not_a_number)?;
    if radius < 0.0 {
        return Err(CommandError::text("ERR radius cannot be negative"));
    }
    Ok(Outline::Circle { radius, to_meters: unit(args, i + 1)? })
}

/// The width and height at argument `i`, with their unit after them.
fn sides(args: Args<'_>, i: usize) -> Result<Outline, CommandError> {
    let width = args.float(i).map_err(|_| CommandError::text("ERR need numeric width"))?;
    let height = args.float(i + 1).map_err(|_| CommandError::text("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::text("ERR height or width cannot be negative"));
    }
    Ok(Outline::Box { width, height, to_meters: unit(args, i + 2)? })
}

/// The number of vertices at argument `i`, with the vertices after it.
fn vertices(args: Args<'_>, i: usize) -> Result<Vec<Point>, CommandError> {
    const LEAST: usize = 3;
    let not_a_number = CommandError::text("ERR invalid number of vertices");
    let count = args.int(i).ok().and_then(|n| i32::try_from(n).ok()).ok_or(not_a_number)?;
    let there = args.from(i + 1).len() / 2;
    let count = usize::try_from(count).ok().filter(|n| (LEAST..=there).contains(n));
    let count = count.ok_or(CommandError::text("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"))?;
    (0..count).map(|n| point(args, i + 1 + 2 * n)).collect()
}

/// The place of a member.
fn place_of(zset: ZsetRef<'_>, member: &[u8]) -> Result<Point, CommandError> {
    zset.score(member).map(Point::of_score).ok_or_else(|| {
        // The text ends where C would see the name end.
        let name = member.split(|b| *b == 0).next().unwrap_or_default();
        CommandError::Bytes([b"ERR member ", name, b" does not exist"].concat())
    })
}

impl<'a> Asked<'a> {
    fn parse(zset: Option<ZsetRef<'_>>, args: Args<'a>, variant: Variant) -> Result<Asked<'a>, CommandError> {
        let mut asked = Asked::default();
        let options_at = match variant {
            Variant::Search => 2,
            Variant::SearchStore => {
                asked.store_in = Some(args.at(1));
                3
            }
            Variant::Radius | Variant::RadiusReadOnly => {
                asked.center = Some(Center::At(point(args, 2)?));
                asked.outline = Some(radius(args, 4)?);
                6
            }
            Variant::RadiusByMember | Variant::RadiusByMemberReadOnly => {
                // Without a set, not even the radius is looked at.
                if let Some(zset) = zset {
                    asked.center = Some(Center::At(place_of(zset, args.at(2))?));
                    asked.outline = Some(radius(args, 3)?);
                }
                5
            }
        };
        let mut i = options_at;
        while i < args.len() {
            i = asked.take(zset, args, i, variant)?;
        }
        asked.check(args, variant)?;
        Ok(asked)
    }

    /// Takes the option at `i`; answers where the next one is.
    fn take(
        &mut self,
        zset: Option<ZsetRef<'_>>,
        args: Args<'a>,
        i: usize,
        variant: Variant,
    ) -> Result<usize, CommandError> {
        let values = args.len() - i - 1;
        match () {
            () if args.is(i, "WITHDIST") => self.with_distance = true,
            () if args.is(i, "WITHHASH") => self.with_hash = true,
            () if args.is(i, "WITHCOORD") => self.with_place = true,
            () if args.is(i, "ANY") => self.any = true,
            () if args.is(i, "ASC") => self.order = Some(Order::Nearest),
            () if args.is(i, "DESC") => self.order = Some(Order::Farthest),
            () if args.is(i, "COUNT") && values >= 1 => {
                let count = args.int(i + 1)?;
                if count <= 0 {
                    return Err(CommandError::text("ERR COUNT must be > 0"));
                }
                self.count = Some(count);
                return Ok(i + 2);
            }
            () if variant == Variant::SearchStore && args.is(i, "STOREDIST") => self.stores_distances = true,
            () if variant.may_store() && values >= 1 && (args.is(i, "STORE") || args.is(i, "STOREDIST")) => {
                self.store_in = Some(args.at(i + 1));
                self.stores_distances = args.is(i, "STOREDIST");
                return Ok(i + 2);
            }
            () if variant.is_search() => return self.take_area(zset, args, i),
            () => return Err(CommandError::Syntax),
        }
        Ok(i + 1)
    }

    /// Takes an option about the area, which only GEOSEARCH and GEOSEARCHSTORE have.
    fn take_area(
        &mut self,
        zset: Option<ZsetRef<'_>>,
        args: Args<'a>,
        i: usize,
    ) -> Result<usize, CommandError> {
        let values = args.len() - i - 1;
        let is_circle = matches!(self.outline, Some(Outline::Circle { .. }));
        let is_box = matches!(self.outline, Some(Outline::Box { .. }));
        let is_polygon = matches!(self.outline, Some(Outline::Polygon(_)));
        if args.is(i, "FROMMEMBER") && values >= 1 && !self.from_place && !is_polygon {
            self.center = Some(match zset {
                Some(zset) => Center::At(place_of(zset, args.at(i + 1))?),
                None => Center::Nowhere,
            });
            self.from_member = true;
            Ok(i + 2)
        } else if args.is(i, "FROMLONLAT") && values >= 2 && !self.from_member && !is_polygon {
            self.center = Some(Center::At(point(args, i + 1)?));
            self.from_place = true;
            Ok(i + 3)
        } else if args.is(i, "BYRADIUS") && values >= 2 && !is_box && !is_polygon {
            self.outline = Some(radius(args, i + 1)?);
            Ok(i + 3)
        } else if args.is(i, "BYBOX") && values >= 3 && !is_circle && !is_polygon {
            self.outline = Some(sides(args, i + 1)?);
            Ok(i + 4)
        } else if args.is(i, "BYPOLYGON")
            && values >= 2
            && !is_circle
            && !is_box
            && !self.from_member
            && !self.from_place
        {
            let vertices = vertices(args, i + 1)?;
            let next = i + 2 + 2 * vertices.len();
            self.outline = Some(Outline::Polygon(vertices));
            Ok(next)
        } else {
            Err(CommandError::Syntax)
        }
    }

    fn check(&self, args: Args<'_>, variant: Variant) -> Outcome {
        if self.store_in.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            return Err(CommandError::text(if variant == Variant::SearchStore {
                "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            } else {
                "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            }));
        }
        let lacks = |text: &str| Err(CommandError::Bytes([text.as_bytes(), args.at(0)].concat()));
        let is_polygon = matches!(self.outline, Some(Outline::Polygon(_)));
        if variant.is_search() && self.center.is_none() && !is_polygon {
            return lacks("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ");
        }
        if variant.is_search() && self.outline.is_none() {
            return lacks("ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for ");
        }
        if self.any && self.count.is_none() {
            return Err(CommandError::text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The shape; `None` if it is around a member of a set that is not there.
    fn shape(&mut self) -> Option<Shape> {
        let outline = self.outline.take()?;
        if let Outline::Polygon(vertices) = outline {
            return Some(Shape::polygon(vertices));
        }
        let Some(Center::At(center)) = self.center else { return None };
        Some(match outline {
            Outline::Circle { radius, to_meters } => Shape::Circle { center, radius, to_meters },
            Outline::Box { width, height, to_meters } => Shape::Box { center, width, height, to_meters },
            Outline::Polygon(_) => return None,
        })
    }
}

/// A member in the area.
#[derive(Debug, Clone, Copy)]
struct Hit<'d> {
    member: Element<'d>,
    score: f64,
    place: Point,
    distance_m: f64,
}

/// The members in a shape, cell by cell; `most` at most.
fn hits<'d>(zset: ZsetRef<'d>, shape: &Shape, most: usize) -> Vec<Hit<'d>> {
    let mut found = Vec::new();
    let inside = shape.inside();
    for cell in shape.cover() {
        let (min, max) = cell.scores();
        let range = ScoreRange { min: ScoreBound::Inclusive(min), max: ScoreBound::Exclusive(max) };
        for (member, score) in zset.range(zset.score_ranks(&range)) {
            let place = Point::of_score(score);
            if let Some(distance_m) = inside.distance_m(place) {
                found.push(Hit { member, score, place, distance_m });
                if found.len() >= most {
                    return found;
                }
            }
        }
    }
    found
}

fn search(ctx: &mut Context<'_>, args: Args<'_>, variant: Variant) -> Outcome {
    ctx.data.counts_reads = true;
    let limits = ctx.data.limits;
    let key = args.at(if variant == Variant::SearchStore { 2 } else { 1 });
    let zset = ctx.data.zset(key)?;
    let mut asked = Asked::parse(zset, args, variant)?;
    let shape = asked.shape();
    let count = asked.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let to_meters = shape.as_ref().map_or(1.0, Shape::to_meters);
    let mut found = match (zset, &shape) {
        (Some(zset), Some(shape)) => hits(zset, shape, if asked.any { count } else { usize::MAX }),
        _ => Vec::new(),
    };
    // The first ones of no order would be of no use.
    let counts_nearest = asked.count.is_some() && !asked.any;
    if let Some(order) = asked.order.or(counts_nearest.then_some(Order::Nearest)) {
        let by_distance = |a: &Hit<'_>, b: &Hit<'_>| {
            let nearest = a.distance_m.partial_cmp(&b.distance_m).unwrap_or(Ordering::Equal);
            if order == Order::Nearest { nearest } else { nearest.reverse() }
        };
        found.sort_by(by_distance);
    }
    found.truncate(count);
    if let Some(destination) = asked.store_in {
        let event = if variant.is_search() { "geosearchstore" } else { "georadiusstore" };
        let changes = found.len() as u64;
        let mut stored = Zset::with_hint(found.len(), 0, limits);
        for hit in &found {
            let score = if asked.stores_distances { hit.distance_m / to_meters } else { hit.score };
            hit.member.with_bytes(|member| stored.insert(member, score, limits));
        }
        store(&mut ctx.data, destination, stored, event, changes);
        ctx.reply.int(changes as i64);
        return Ok(());
    }
    let extras = [asked.with_distance, asked.with_hash, asked.with_place].into_iter().filter(|e| *e).count();
    ctx.reply.array(found.len());
    for hit in found {
        if extras > 0 {
            ctx.reply.array(1 + extras);
        }
        reply_element(ctx.reply, hit.member);
        if asked.with_distance {
            reply_distance(ctx.reply, hit.distance_m / to_meters);
        }
        if asked.with_hash {
            ctx.reply.int(truncated(hit.score));
        }
        if asked.with_place {
            reply_point(ctx.reply, hit.place);
        }
    }
    Ok(())
}

const COST: &str = "O(N + log M), N members in the cells that cover the area, M in the set";

const GEOSEARCH: DataCommand = DataCommand::new(
    Spec::new(
        "geosearch",
        Group::Geo,
        "6.2.0",
        -7,
        "key from=[ FROMMEMBER member | fromlonlat=< FROMLONLAT: longitude:double latitude:double > ] \
         by=< circle=< BYRADIUS radius:double unit=< M | KM | FT | MI > > \
         | box=< BYBOX width:double height:double unit=< M | KM | FT | MI > > \
         | polygon@9.0.0=< BYPOLYGON num-vertices:int \
         vertices=< longitude:double latitude:double >... > > order=[ ASC | DESC ] \
         count-block=[ COUNT count:int [ ANY ] ] [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity(COST)
    .summary("Gives the members in a circle, a box or a polygon."),
    |ctx, args| search(ctx, args, Variant::Search),
);

const GEOSEARCHSTORE: DataCommand = DataCommand::new(
    Spec::new(
        "geosearchstore",
        Group::Geo,
        "6.2.0",
        -8,
        "destination:key source:key \
         from=[ FROMMEMBER member | fromlonlat=< FROMLONLAT: longitude:double latitude:double > ] \
         by=< circle=< BYRADIUS radius:double unit=< M | KM | FT | MI > > \
         | box=< BYBOX width:double height:double unit=< M | KM | FT | MI > > \
         | polygon@9.0.0=< BYPOLYGON num-vertices:int \
         vertices=< longitude:double latitude:double >... > > order=[ ASC | DESC ] \
         count-block=[ COUNT count:int [ ANY ] ] [ STOREDIST ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, OVERWRITES), KeySpec::one(2, READS)])
    .complexity(COST)
    .summary("Stores the members in a circle, a box or a polygon."),
    |ctx, args| search(ctx, args, Variant::SearchStore),
);

/// The keys of a search with STORE or STOREDIST, looked for from `from` on.
const fn storing_keys(from: i32) -> [KeySpec; 3] {
    const fn after(word: &'static str, from: i32) -> KeySpec {
        KeySpec {
            uses: MAY_OVERWRITE,
            begin: BeginSearch::Keyword(word, from),
            find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        }
    }
    [KeySpec::one(1, READS), after("STORE", from), after("STOREDIST", from)]
}

const GEORADIUS: DataCommand = DataCommand::new(
    Spec::new(
        "georadius",
        Group::Geo,
        "3.2.0",
        -6,
        "key longitude:double latitude:double radius:double unit=< M | KM | FT | MI > [ WITHCOORD ] \
         [ WITHDIST ] [ WITHHASH ] count-block=[ COUNT count:int [ ANY@6.2.0 ] ] order=[ ASC | DESC ] \
         store=[ STORE storekey~key | STOREDIST storedistkey~key ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&storing_keys(6))
    .finder(finders::georadius)
    .complexity(COST)
    .summary("Gives or stores the members in a circle around a place."),
    |ctx, args| search(ctx, args, Variant::Radius),
);

const GEORADIUS_RO: DataCommand = DataCommand::new(
    Spec::new(
        "georadius_ro",
        Group::Geo,
        "3.2.10",
        -6,
        "key longitude:double latitude:double radius:double unit=< M | KM | FT | MI > [ WITHCOORD ] \
         [ WITHDIST ] [ WITHHASH ] count-block=[ COUNT count:int [ ANY@6.2.0 ] ] order=[ ASC | DESC ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity(COST)
    .summary("Gives the members in a circle around a place."),
    |ctx, args| search(ctx, args, Variant::RadiusReadOnly),
);

const GEORADIUSBYMEMBER: DataCommand = DataCommand::new(
    Spec::new(
        "georadiusbymember",
        Group::Geo,
        "3.2.0",
        -5,
        "key member radius:double unit=< M | KM | FT | MI > [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ] \
         count-block=[ COUNT count:int [ ANY ] ] order=[ ASC | DESC ] \
         store=[ STORE storekey~key | STOREDIST storedistkey~key ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&storing_keys(5))
    .finder(finders::georadius)
    .complexity(COST)
    .summary("Gives or stores the members in a circle around a member."),
    |ctx, args| search(ctx, args, Variant::RadiusByMember),
);

const GEORADIUSBYMEMBER_RO: DataCommand = DataCommand::new(
    Spec::new(
        "georadiusbymember_ro",
        Group::Geo,
        "3.2.10",
        -5,
        "key member radius:double unit=< M | KM | FT | MI > [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ] \
         count-block=[ COUNT count:int [ ANY ] ] order=[ ASC | DESC ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity(COST)
    .summary("Gives the members in a circle around a member."),
    |ctx, args| search(ctx, args, Variant::RadiusByMemberReadOnly),
);
