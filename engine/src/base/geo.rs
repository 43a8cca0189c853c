//! Positions on the earth as 52-bit geohashes, distances, and the cells that cover an area.
//!
//! A geohash halves longitude and latitude in turn; `step` is how often each was halved. A sorted set
//! keeps hashes of `MAX_STEP` as scores, so the members of a cell are those in a range of scores. Pure
//! arithmetic: knows no sorted sets. Every operation is done in the order in which Valkey does it,
//! because what is printed are all digits of the doubles. Behaviour: valkey src/geohash.c,
//! src/geohash_helper.c.

use std::f64::consts::PI;

/// Longitudes go from minus this to this.
pub const MAX_LONGITUDE: f64 = 180.0;

/// Latitudes go from minus this to this: where a web map ends.
pub const MAX_LATITUDE: f64 = 85.05112878;

/// Halvings of each coordinate in a score.
pub const MAX_STEP: u32 = 26;

const EARTH_RADIUS_M: f64 = 6_372_797.560856;
/// Half of the length of the equator on the map.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
const RADIANS_PER_DEGREE: f64 = PI / 180.0;

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

/// A range of degrees.
#[derive(Debug, Clone, Copy)]
struct Degrees {
    min: f64,
    max: f64,
}

const LONGITUDES: Degrees = Degrees { min: -MAX_LONGITUDE, max: MAX_LONGITUDE };
const LATITUDES: Degrees = Degrees { min: -MAX_LATITUDE, max: MAX_LATITUDE };
/// The latitudes of a geohash as the rest of the world writes it.
const ALL_LATITUDES: Degrees = Degrees { min: -90.0, max: 90.0 };

impl Degrees {
    /// Where `value` is, in units of 1 / 2^step of the range.
    fn part(self, value: f64, step: u32) -> u32 {
        let offset = (value - self.min) / (self.max - self.min);
        (offset * f64::from(1u32 << step)) as u32
    }

    /// The degrees at the beginning of a part.
    fn at(self, part: u32, step: u32) -> f64 {
        self.min + (f64::from(part) / f64::from(1u32 << step)) * (self.max - self.min)
    }

    fn of_part(self, part: u32, step: u32) -> Degrees {
        Degrees { min: self.at(part, step), max: self.at(part.wrapping_add(1), step) }
    }

    fn middle(self, limits: Degrees) -> f64 {
        let middle = (self.min + self.max) / 2.0;
        // Not `clamp`: the order of the tests decides what comes of a NaN.
        let middle = if middle > limits.max { limits.max } else { middle };
        if middle < limits.min { limits.min } else { middle }
    }
}

impl Point {
    /// The place, if it is on the map.
    #[must_use]
    pub fn new(longitude: f64, latitude: f64) -> Option<Point> {
        let on_map = (LONGITUDES.min..=LONGITUDES.max).contains(&longitude)
            && (LATITUDES.min..=LATITUDES.max).contains(&latitude);
        on_map.then_some(Point { longitude, latitude })
    }

    /// The score that stands for the place in a sorted set.
    #[must_use]
    pub fn score(self) -> f64 {
        Cell::of(self, MAX_STEP).bits as f64
    }

    /// The place that a score stands for: the middle of its cell. Every score stands for one.
    #[must_use]
    pub fn of_score(score: f64) -> Point {
        let cell = Cell { bits: score_bits(score), step: MAX_STEP };
        let (longitude, latitude) = cell.area();
        Point { longitude: longitude.middle(LONGITUDES), latitude: latitude.middle(LATITUDES) }
    }

    /// The geohash in letters, eleven of them, the last one always `0`: 52 bits are ten letters.
    #[must_use]
    pub fn letters(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = interleave(
            ALL_LATITUDES.part(self.latitude, MAX_STEP),
            LONGITUDES.part(self.longitude, MAX_STEP),
        );
        let mut letters = [b'0'; 11];
        for (i, letter) in letters[..10].iter_mut().enumerate() {
            *letter = ALPHABET[(bits >> (47 - 5 * i)) as usize & 31];
        }
        letters
    }

    /// The way to another place along a great circle, in meters (haversine).
    #[must_use]
    pub fn distance_m(self, other: Point) -> f64 {
        Radians::of(self).distance_m(Radians::of(other))
    }
}

/// A place in radians, with what distances from it need.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Radians {
    longitude: f64,
    latitude: f64,
    cos_latitude: f64,
}

impl Radians {
    fn of(point: Point) -> Radians {
        let latitude = radians(point.latitude);
        Radians { longitude: radians(point.longitude), latitude, cos_latitude: latitude.cos() }
    }

    fn distance_m(self, other: Radians) -> f64 {
        /// Below this, longitudes count as the same: some nanometers on the ground.
        const SAME: f64 = 1e-15;
        let v = ((other.longitude - self.longitude) / 2.0).sin();
        if v.abs() <= SAME {
            return self.latitude_distance_m(other);
        }
        let u = ((other.latitude - self.latitude) / 2.0).sin();
        let a = u * u + self.cos_latitude * other.cos_latitude * v * v;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }

    fn latitude_distance_m(self, other: Radians) -> f64 {
        EARTH_RADIUS_M * (other.latitude - self.latitude).abs()
    }
}

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// The bits of a score, and of any double what an x86-64 makes of it when it converts it.
fn score_bits(score: f64) -> u64 {
    const TOP: f64 = 9_223_372_036_854_775_808.0;
    if score < TOP { truncated(score) as u64 } else { truncated(score - TOP) as u64 ^ (1 << 63) }
}

/// A double without its fraction; the least integer if it is none of 64 bits.
#[must_use]
pub fn truncated(value: f64) -> i64 {
    const TOP: f64 = 9_223_372_036_854_775_808.0;
    if (-TOP..TOP).contains(&value) { value as i64 } else { i64::MIN }
}

/// A square of the map in degrees: all places whose hashes begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    bits: u64,
    step: u32,
}

/// The bits of latitudes; those of longitudes are the others.
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;

fn spread(part: u32) -> u64 {
    let mut x = u64::from(part);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ] {
        x = (x | x << shift) & mask;
    }
    x
}

fn gather(bits: u64) -> u32 {
    let mut x = bits & LATITUDE_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff_u64),
    ] {
        x = (x | x >> shift) & mask;
    }
    x as u32
}

fn interleave(latitude: u32, longitude: u32) -> u64 {
    spread(latitude) | spread(longitude) << 1
}

impl Cell {
    /// The cell that a place is in.
    fn of(point: Point, step: u32) -> Cell {
        let bits = interleave(LATITUDES.part(point.latitude, step), LONGITUDES.part(point.longitude, step));
        Cell { bits, step }
    }

    /// Longitudes and latitudes.
    fn area(self) -> (Degrees, Degrees) {
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        (LONGITUDES.of_part(longitude, self.step), LATITUDES.of_part(latitude, self.step))
    }

    /// The scores of its members: from the first one up to, but not with, the second.
    #[must_use]
    pub fn scores(self) -> (f64, f64) {
        let shift = 2 * (MAX_STEP - self.step);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }

    /// The cell `east` and `north` of this one, each -1, 0 or 1; around the map at its ends.
    fn neighbor(self, east: i8, north: i8) -> Cell {
        let unused = 64 - 2 * self.step;
        // One coordinate's bits are counted up or down with the other's out of the way: all ones so
        // that a carry passes, all zeros so that a borrow does.
        let moved = |own: u64, others: u64, by: i8| {
            let own_bits = self.bits & own;
            let others = others >> unused;
            let sum = match by {
                0 => return own_bits,
                1 => own_bits.wrapping_add(others + 1),
                _ => (own_bits | others).wrapping_sub(others + 1),
            };
            sum & (own >> unused)
        };
        let longitude = moved(!LATITUDE_BITS, LATITUDE_BITS, east);
        let latitude = moved(LATITUDE_BITS, !LATITUDE_BITS, north);
        Cell { bits: longitude | latitude, step: self.step }
    }
}

/// What places are looked for in. Lengths are in units of `to_meters`.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A circle.
    Circle {
        /// Its middle.
        center: Point,
        /// Its radius.
        radius: f64,
        /// Meters in a unit.
        to_meters: f64,
    },
    /// A box along the axes.
    Box {
        /// Its middle.
        center: Point,
        /// Its extent from west to east.
        width: f64,
        /// Its extent from south to north.
        height: f64,
        /// Meters in a unit.
        to_meters: f64,
    },
    /// A polygon of at least three vertices; distances are from its middle.
    Polygon {
        /// The vertices in order.
        vertices: Vec<Point>,
        /// Its middle: see [`Shape::polygon`].
        center: Point,
    },
}

/// The ends of an area.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    longitude: Degrees,
    latitude: Degrees,
}

impl Shape {
    /// A polygon; its middle is where the sum of its vertices, as arrows from the center of the earth,
    /// points to.
    #[must_use]
    pub fn polygon(vertices: Vec<Point>) -> Shape {
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for vertex in &vertices {
            let (longitude, latitude) = (radians(vertex.longitude), radians(vertex.latitude));
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        let longitude = degrees(y.atan2(x));
        let latitude = degrees(z.atan2((x * x + y * y).sqrt()));
        Shape::Polygon { vertices, center: Point { longitude, latitude } }
    }

    /// Meters in the unit of its lengths, which is that of the distances in a reply, too.
    #[must_use]
    pub fn to_meters(&self) -> f64 {
        match self {
            Shape::Circle { to_meters, .. } | Shape::Box { to_meters, .. } => *to_meters,
            Shape::Polygon { .. } => 1.0,
        }
    }

    fn center(&self) -> Point {
        match self {
            Shape::Circle { center, .. } | Shape::Box { center, .. } | Shape::Polygon { center, .. } => {
                *center
            }
        }
    }

    /// The test for places inside.
    #[must_use]
    pub fn inside(&self) -> Inside<'_> {
        Inside { shape: self, center: Radians::of(self.center()) }
    }

    fn bounds(&self) -> Bounds {
        let around = |center: Point, width_m: f64, height_m: f64| {
            let Point { longitude, latitude } = center;
            let up = degrees(height_m / EARTH_RADIUS_M);
            // A degree of longitude is shorter nearer to the pole.
            let edge = if latitude < 0.0 { latitude - up } else { latitude + up };
            let aside = degrees(width_m / EARTH_RADIUS_M / radians(edge).cos());
            Bounds {
                longitude: Degrees { min: longitude - aside, max: longitude + aside },
                latitude: Degrees { min: latitude - up, max: latitude + up },
            }
        };
        match self {
            Shape::Circle { center, radius, to_meters } => {
                around(*center, to_meters * radius, to_meters * radius)
            }
            Shape::Box { center, width, height, to_meters } => {
                around(*center, to_meters * width / 2.0, to_meters * height / 2.0)
            }
            Shape::Polygon { vertices, .. } => {
                let range = |of: fn(&Point) -> f64| Degrees {
                    min: vertices.iter().map(of).fold(f64::INFINITY, f64::min),
                    max: vertices.iter().map(of).fold(f64::NEG_INFINITY, f64::max),
                };
                Bounds { longitude: range(|p| p.longitude), latitude: range(|p| p.latitude) }
            }
        }
    }

    /// How far from the middle there may be places inside.
    fn reach_m(&self, bounds: Bounds) -> f64 {
        match self {
            Shape::Circle { radius, to_meters, .. } => radius * to_meters,
            Shape::Box { width, height, to_meters, .. } => {
                let (width, height) = (width / 2.0, height / 2.0);
                (width * width + height * height).sqrt() * to_meters
            }
            Shape::Polygon { center, .. } => {
                let Bounds { longitude, latitude } = bounds;
                [latitude.max, latitude.min]
                    .into_iter()
                    .flat_map(|latitude| {
                        [longitude.min, longitude.max].map(|l| Point { longitude: l, latitude })
                    })
                    .map(|corner| center.distance_m(corner))
                    .fold(0.0, |far, distance| if distance > far { distance } else { far })
            }
        }
    }

    /// The cells that cover the shape, in the order in which Valkey looks into them; none twice.
    #[must_use]
    pub fn cover(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let center = self.center();
        if center.latitude.abs() > MAX_LATITUDE {
            // The middle of a polygon around a pole is off the map: all of it is looked through.
            return (0..4).map(|bits| Cell { bits, step: 1 }).collect();
        }
        let mut step = step_for(self.reach_m(bounds), center.latitude);
        let mut cell = Cell::of(center, step);
        let latitude_of = |north| cell.neighbor(0, north).area().1;
        let longitude_of = |east| cell.neighbor(east, 0).area().0;
        let too_small = latitude_of(1).max < bounds.latitude.max
            || latitude_of(-1).min > bounds.latitude.min
            || longitude_of(1).max < bounds.longitude.max
            || longitude_of(-1).min > bounds.longitude.min;
        if step > 1 && too_small {
            step -= 1;
            cell = Cell::of(center, step);
        }
        let (longitude, latitude) = cell.area();
        // Neighbors on a side that the shape does not reach; of four cells, all are looked into.
        let knows_sides = step >= 2;
        let skips_south = knows_sides && latitude.min < bounds.latitude.min;
        let skips_north = knows_sides && latitude.max > bounds.latitude.max;
        let skips_west = knows_sides && longitude.min < bounds.longitude.min;
        let skips_east = knows_sides && longitude.max > bounds.longitude.max;
        let sides =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)].into_iter();
        let mut cells: Vec<Cell> = Vec::with_capacity(9);
        for (east, north) in sides {
            let skipped = (north < 0 && skips_south)
                || (north > 0 && skips_north)
                || (east < 0 && skips_west)
                || (east > 0 && skips_east);
            let next = cell.neighbor(east, north);
            // On a coarse map a neighbor may be met twice, going around.
            if !skipped && !cells.contains(&next) {
                cells.push(next);
            }
        }
        cells
    }
}

/// Tells for place after place if it is in a shape.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'s> {
    shape: &'s Shape,
    center: Radians,
}

impl Inside<'_> {
    /// How far a place is from the middle, in meters, if it is inside.
    #[must_use]
    pub fn distance_m(&self, point: Point) -> Option<f64> {
        let center = self.center;
        match self.shape {
            Shape::Circle { radius, to_meters, .. } => {
                let radius_m = radius * to_meters;
                // No place is nearer than its latitude is; a little more, so that no rounding counts.
                let apart = EARTH_RADIUS_M * (radians(point.latitude) - center.latitude).abs();
                if apart > radius_m * 1.000_001 + 0.001 {
                    return None;
                }
                let distance = center.distance_m(Radians::of(point));
                let outside = distance > radius_m;
                (!outside).then_some(distance)
            }
            Shape::Box { width, height, to_meters, .. } => {
                let apart = EARTH_RADIUS_M * (center.latitude - radians(point.latitude)).abs();
                if apart > height * to_meters / 2.0 {
                    return None;
                }
                let place = Radians::of(point);
                let along = Radians { longitude: center.longitude, ..place };
                let outside = place.distance_m(along) > width * to_meters / 2.0;
                (!outside).then(|| center.distance_m(place))
            }
            Shape::Polygon { vertices, .. } => {
                surrounds(vertices, point).then(|| center.distance_m(Radians::of(point)))
            }
        }
    }
}

/// How often to halve so that a cell and its neighbors reach so far.
fn step_for(reach_m: f64, latitude: f64) -> u32 {
    if reach_m == 0.0 {
        return MAX_STEP;
    }
    let mut step = 1i32;
    let mut reach_m = reach_m;
    while reach_m < MERCATOR_MAX_M {
        reach_m *= 2.0;
        step += 1;
    }
    step -= 2;
    // Cells get narrower towards the poles.
    step -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    step.clamp(1, MAX_STEP as i32) as u32
}

/// Whether a ray from the point to the east crosses an odd number of edges.
fn surrounds(vertices: &[Point], point: Point) -> bool {
    let mut inside = false;
    let mut before = vertices.len().wrapping_sub(1);
    for (i, a) in vertices.iter().enumerate() {
        let b = vertices[before];
        before = i;
        let straddles = (a.latitude > point.latitude) != (b.latitude > point.latitude);
        if straddles {
            let slope = (b.longitude - a.longitude) * (point.latitude - a.latitude);
            inside ^= point.longitude < slope / (b.latitude - a.latitude) + a.longitude;
        }
    }
    inside
}

#[cfg(test)]
mod tests;
