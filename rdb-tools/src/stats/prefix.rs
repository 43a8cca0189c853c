//! What is below each prefix of the keys, in a table that does not grow beyond a bound.
//!
//! A prefix ends with a separator: of `user:42:cart` with `:`, `user:` has depth 1 and `user:42:` depth 2.
//! As long as all prefixes of a file fit into the table every row is exact. When they do not, the rows with the least
//! memory go, and what they had is only known of the row above them; a prefix that comes again
//! starts anew. [`Prefixes::missing`] bounds what a row may lack for that reason: so a row that has much more is
//! surely there and right but for that much.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Rows that a table keeps at least when it forgets.
const KEPT_ROWS: usize = 4096;
/// Rows at which it forgets.
const MOST_ROWS: usize = 2 * KEPT_ROWS;
/// A longer prefix is not one: nobody names things like that, and it would take room.
const LONGEST_BYTES: usize = 256;

/// How keys are cut into prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cutting {
    /// What ends a prefix; none at all cuts nothing.
    pub separator: Vec<u8>,
    /// How many prefixes of a key count at most.
    pub depth: usize,
}

/// What is below a prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Below {
    /// Keys.
    pub keys: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Keys that expire.
    pub expiring: u64,
    /// Elements.
    pub elements: u64,
}

impl Below {
    fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.memory += other.memory;
        self.expiring += other.expiring;
        self.elements += other.elements;
    }
}

/// A prefix. Most are short and have no allocation of their own: of a file with many, rows come and go all the time.
#[derive(Debug, Clone)]
enum Name {
    Short { len: u8, bytes: [u8; Name::SHORT] },
    Long(Box<[u8]>),
}

impl Name {
    const SHORT: usize = 30;

    fn of(name: &[u8]) -> Self {
        let mut bytes = [0; Self::SHORT];
        match bytes.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name);
                Self::Short { len: name.len() as u8, bytes }
            }
            None => Self::Long(name.into()),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

/// As those of its bytes, which a row is looked for by.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Name {}

/// The table.
#[derive(Debug, Clone)]
pub struct Prefixes {
    cutting: Cutting,
    rows: HashMap<Name, Below, Seeded>,
    /// Keys that have no prefix.
    without: Below,
    missing: u64,
}

impl Prefixes {
    /// An empty table.
    #[must_use]
    pub fn new(cutting: Cutting) -> Self {
        Self { cutting, rows: HashMap::with_hasher(Seeded::new()), without: Below::default(), missing: 0 }
    }

    /// How keys are cut.
    #[must_use]
    pub fn cutting(&self) -> &Cutting {
        &self.cutting
    }

    /// Adds a key.
    pub fn add(&mut self, key: &[u8], below: Below) {
        let mut has_prefix = false;
        for end in ends(key, &self.cutting) {
            has_prefix = true;
            match self.rows.get_mut(&key[..end]) {
                Some(row) => row.add(below),
                None => {
                    self.rows.insert(Name::of(&key[..end]), below);
                }
            }
        }
        if !has_prefix {
            self.without.add(below);
        }
        if self.rows.len() > MOST_ROWS {
            self.forget();
        }
    }

    /// Leaves the rows with the most memory.
    #[cold]
    fn forget(&mut self) {
        if self.rows.len() <= KEPT_ROWS {
            return;
        }
        let mut sizes: Vec<u64> = self.rows.values().map(|below| below.memory).collect();
        let cut = sizes.len() - KEPT_ROWS;
        let (_, &mut least, _) = sizes.select_nth_unstable(cut);
        // Ties go too, or a table of equal rows would never become smaller.
        let is_flat = self.rows.values().all(|below| below.memory == least);
        let mut greatest = 0;
        let mut to_go = cut;
        self.rows.retain(|_, below| {
            let goes = if is_flat {
                to_go > 0
            } else {
                below.memory < least || (below.memory == least && to_go > 0)
            };
            if goes && (is_flat || below.memory == least) {
                to_go -= 1;
            }
            if goes {
                greatest = greatest.max(below.memory);
            }
            !goes
        });
        self.missing += greatest;
    }

    /// Adds the rows of a table with the same cutting.
    pub fn merge(&mut self, other: Self) {
        for (prefix, below) in other.rows {
            self.rows.entry(prefix).or_default().add(below);
        }
        self.without.add(other.without);
        self.missing += other.missing;
        if self.rows.len() > MOST_ROWS {
            self.forget();
        }
    }

    /// Bytes of memory that any row may lack, and any prefix that is not there may have; 0 if all are
    /// exact.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Keys that have no prefix.
    #[must_use]
    pub fn without(&self) -> Below {
        self.without
    }

    /// The prefixes and what is below them, those with the most memory first; one that is longer than another comes
    /// behind it.
    #[must_use]
    pub fn rows(&self) -> Vec<(&[u8], Below)> {
        let mut rows: Vec<(&[u8], Below)> =
            self.rows.iter().map(|(prefix, below)| (prefix.bytes(), *below)).collect();
        rows.sort_unstable_by(|a, b| b.1.memory.cmp(&a.1.memory).then_with(|| a.0.cmp(b.0)));
        rows
    }

    /// Depth of a prefix: how many separators it has.
    #[must_use]
    pub fn depth_of(&self, prefix: &[u8]) -> usize {
        ends(prefix, &Cutting { depth: usize::MAX, ..self.cutting.clone() }).count()
    }
}

/// Hashes with a seed that nobody can know, so that nobody can prepare prefixes that collide.
#[derive(Debug, Clone)]
struct Seeded(u64);

impl Seeded {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seeded {
    type Hasher = Hashed;

    fn build_hasher(&self) -> Hashed {
        Hashed(self.0)
    }
}

struct Hashed(u64);

impl Hasher for Hashed {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.0 = self.0.rotate_left(5) ^ number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where the prefixes of a key end.
fn ends<'k>(key: &'k [u8], cutting: &'k Cutting) -> impl Iterator<Item = usize> + 'k {
    let separator = &cutting.separator[..];
    let mut at = 0;
    let next = move || {
        if separator.is_empty() {
            return None;
        }
        let found = match separator {
            [byte] => memchr::memchr(*byte, &key[at..]),
            _ => memchr::memmem::find(&key[at..], separator),
        };
        at += found? + separator.len();
        (at <= LONGEST_BYTES).then_some(at)
    };
    std::iter::from_fn(next).take(cutting.depth)
}

#[cfg(test)]
mod tests {
    use super::{Below, Cutting, KEPT_ROWS, Prefixes};

    fn cutting(separator: &str, depth: usize) -> Cutting {
        Cutting { separator: separator.into(), depth }
    }

    fn one(memory: u64) -> Below {
        Below { keys: 1, memory, expiring: 0, elements: 1 }
    }

    #[test]
    fn keys_count_for_each_of_their_prefixes() {
        let mut table = Prefixes::new(cutting(":", 2));
        for (key, memory) in [("a:b:c:d", 10), ("a:b:x", 20), ("a:z", 5), ("plain", 1), (":", 3), ("", 2)] {
            table.add(key.as_bytes(), one(memory));
        }
        let rows: Vec<_> =
            table.rows().into_iter().map(|(p, b)| (p.escape_ascii().to_string(), b.keys, b.memory)).collect();
        let expected = [("a:", 3, 35), ("a:b:", 2, 30), (":", 1, 3)];
        assert_eq!(rows, expected.map(|(p, k, m)| (p.to_owned(), k, m)));
        assert_eq!((table.without().keys, table.without().memory, table.missing()), (2, 3, 0));
        assert_eq!((table.depth_of(b"a:b:"), table.depth_of(b":")), (2, 1));
        let mut long = Prefixes::new(cutting("::", 9));
        long.add(b"a::b:c::d", one(1));
        assert_eq!(long.rows().len(), 2);
        let mut none = Prefixes::new(cutting("", 9));
        none.add(b"a:b", one(1));
        assert!(none.rows().is_empty());
    }

    #[test]
    fn prefixes_of_any_length_have_rows() {
        let mut table = Prefixes::new(cutting(":", 1));
        for round in 1..3 {
            for len in 0..100usize {
                table.add(format!("{}:{round}", "x".repeat(len)).as_bytes(), one(1000 - len as u64));
            }
        }
        let lens: Vec<_> =
            table.rows().into_iter().map(|(prefix, below)| (prefix.len(), below.keys)).collect();
        assert_eq!(lens, (1..=100).map(|len| (len, 2)).collect::<Vec<_>>());
    }

    #[test]
    fn the_table_stays_small_and_says_what_it_may_lack() {
        let mut parts = [Prefixes::new(cutting(":", 3)), Prefixes::new(cutting(":", 3))];
        let total = 300_000u64;
        for i in 0..total {
            let table = &mut parts[i as usize % 2];
            table.add(format!("user:{i}:name").as_bytes(), one(100));
            if i % 10 == 0 {
                table.add(b"big:one:key", one(1000));
            }
            assert!(table.rows.len() <= super::MOST_ROWS);
        }
        let [mut table, other] = parts;
        table.merge(other);
        let rows = table.rows();
        assert!(rows.len() <= super::MOST_ROWS && rows.len() >= KEPT_ROWS);
        let find = |prefix: &[u8]| rows.iter().find(|row| row.0 == prefix).expect("a heavy prefix stays").1;
        assert_eq!(find(b"user:"), Below { keys: total, memory: total * 100, expiring: 0, elements: total });
        assert_eq!(find(b"big:one:").memory, total / 10 * 1000);
        assert!(table.missing() > 0 && table.missing() < total);
    }
}
