//! Geohashes against naive twins: bit by bit, and every cell of a coarse map.

use proptest::prelude::*;

use super::*;

fn point() -> impl Strategy<Value = Point> {
    (-180.0..=180.0f64, -MAX_LATITUDE..=MAX_LATITUDE)
        .prop_map(|(longitude, latitude)| Point { longitude, latitude })
}

fn meters() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..1000.0, 1e3..1e6, 1e6..3e7]
}

/// The score by halving both ranges in turn, longitude first.
fn halved(point: Point) -> u64 {
    let mut bits = 0;
    let (mut x, mut y) = (LONGITUDES, LATITUDES);
    for _ in 0..MAX_STEP {
        for (range, value) in [(&mut x, point.longitude), (&mut y, point.latitude)] {
            let middle = range.min + (range.max - range.min) / 2.0;
            bits <<= 1;
            if value >= middle {
                bits |= 1;
                range.min = middle;
            } else {
                range.max = middle;
            }
        }
    }
    bits
}

proptest! {
    #[test]
    fn a_score_is_what_halving_gives(place in point()) {
        let bits = place.score() as u64;
        // Rounding may put a place at a border into the cell beside it.
        let off = Point::of_score(bits as f64).distance_m(Point::of_score(halved(place) as f64));
        prop_assert!(off < 2.0, "{off} m");
    }

    #[test]
    fn a_score_stands_for_a_place_nearby_and_keeps_it(place in point()) {
        let read = Point::of_score(place.score());
        prop_assert!(place.distance_m(read) < 1.0);
        prop_assert_eq!(Point::of_score(read.score()), read);
    }

    #[test]
    fn every_double_is_read_as_a_place_on_the_map(bits in any::<u64>()) {
        let place = Point::of_score(f64::from_bits(bits));
        prop_assert!(Point::new(place.longitude, place.latitude).is_some());
        prop_assert_eq!(place.letters()[10], b'0');
    }

    #[test]
    fn distances_are_the_same_both_ways(a in point(), b in point()) {
        let (there, back) = (a.distance_m(b), b.distance_m(a));
        prop_assert!((there - back).abs() <= 1e-3, "{there} {back}");
        prop_assert!(there <= PI * EARTH_RADIUS_M);
    }

    #[test]
    fn what_is_in_a_circle_is_in_a_cell_that_covers_it(
        center in point(), radius in meters(), others in prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64), 1..20),
    ) {
        // Near the map's end, and around it, Valkey's cells leave something out.
        prop_assume!(center.latitude.abs() < 70.0 && center.longitude.abs() < 100.0 && radius < 1e6);
        let shape = Shape::Circle { center, radius, to_meters: 1.0 };
        let cells = shape.cover();
        let reach = degrees(radius / EARTH_RADIUS_M) * 1.2;
        for (east, north) in others {
            let other = Point {
                longitude: center.longitude + east * reach / radians(center.latitude).cos(),
                latitude: center.latitude + north * reach,
            };
            let read = Point::of_score(other.score());
            if shape.inside().distance_m(read).is_some() {
                let score = other.score();
                let covered = cells.iter().any(|cell| { let (min, max) = cell.scores(); min <= score && score < max });
                prop_assert!(covered, "{other:?}");
            }
        }
    }
}

#[test]
fn neighbors_go_around_a_coarse_map() {
    for step in 1..4 {
        let side = 1u32 << step;
        for latitude in 0..side {
            for longitude in 0..side {
                let cell = Cell { bits: interleave(latitude, longitude), step };
                for east in [-1i8, 0, 1] {
                    for north in [-1i8, 0, 1] {
                        let at = |part: u32, by: i8| part.wrapping_add_signed(i32::from(by)) % side;
                        let want = interleave(at(latitude, north), at(longitude, east));
                        assert_eq!(cell.neighbor(east, north), Cell { bits: want, step });
                    }
                }
            }
        }
    }
}

#[test]
fn spreading_and_gathering_are_opposites() {
    for part in [0, 1, 2, 0x5555_5555, 0xaaaa_aaaa, 0xffff_ffff, 0x1234_5678] {
        let naive = (0..32).fold(0u64, |bits, i| bits | u64::from(part >> i & 1) << (2 * i));
        assert_eq!(spread(part), naive);
        assert_eq!(gather(naive), part);
    }
}

#[test]
fn a_polygon_has_what_its_edges_surround() {
    let at = |longitude, latitude| Point { longitude, latitude };
    // An arrow head that points to the east, with a notch in the west.
    let shape = Shape::polygon(vec![at(0.0, 0.0), at(10.0, 5.0), at(0.0, 10.0), at(5.0, 5.0)]);
    assert!(shape.inside().distance_m(at(7.0, 5.0)).is_some());
    assert!(shape.inside().distance_m(at(2.0, 5.0)).is_none());
    assert!(shape.inside().distance_m(at(2.0, 1.5)).is_some());
    assert!(shape.inside().distance_m(at(9.0, 8.0)).is_none());
}

#[test]
fn lengths_without_end_cover_the_map() {
    let center = Point { longitude: 15.0, latitude: 37.0 };
    for radius in [f64::INFINITY, 1e308, f64::MAX] {
        let cells = Shape::Circle { center, radius, to_meters: 1609.34 }.cover();
        assert_eq!(cells.len(), 4, "{radius}");
    }
    let around_the_pole =
        Shape::polygon([-120.0, 0.0, 120.0].map(|longitude| Point { longitude, latitude: 85.0 }).to_vec());
    assert!(!around_the_pole.cover().is_empty());
}
