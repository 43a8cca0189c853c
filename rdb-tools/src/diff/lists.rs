//! How one list becomes another: the shortest row of removals and insertions, while that is cheap to find.
//!
//! Eugene Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), between the common ends.

/// A step from one list to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The element at this index of A goes.
    Remove(usize),
    /// The element at this index of B comes.
    Insert(usize),
}

/// With more steps than this, all between the common ends is taken out and put in.
const MOST_STEPS: usize = 500;

/// Steps that make `b` of `a`, in the order of both.
#[must_use]
pub fn steps<T: PartialEq>(a: &[T], b: &[T]) -> Vec<Step> {
    let front = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let back = a[front..].iter().rev().zip(b[front..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[front..a.len() - back], &b[front..b.len() - back]);
    let steps = shortest(a, b)
        .unwrap_or_else(|| (0..a.len()).map(Step::Remove).chain((0..b.len()).map(Step::Insert)).collect());
    let shifted = |step| match step {
        Step::Remove(at) => Step::Remove(at + front),
        Step::Insert(at) => Step::Insert(at + front),
    };
    steps.into_iter().map(shifted).collect()
}

/// `None` if it takes too many.
fn shortest<T: PartialEq>(a: &[T], b: &[T]) -> Option<Vec<Step>> {
    let most = MOST_STEPS.min(a.len() + b.len());
    // For each number of steps, how far into A each diagonal came. Diagonal k is x - y = k.
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let mut furthest = vec![0usize; 2 * most + 3];
    let middle = most + 1;
    for d in 0..=most {
        rounds.push(furthest[middle - d..=middle + d].to_vec());
        for i in (0..=2 * d).step_by(2) {
            let at = middle + i - d;
            let goes_down = i == 0 || (i != 2 * d && furthest[at - 1] < furthest[at + 1]);
            let mut x = if goes_down { furthest[at + 1] } else { furthest[at - 1] + 1 };
            let mut y = x + d - i;
            while x < a.len() && y < b.len() && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            furthest[at] = x;
            if x >= a.len() && y >= b.len() {
                return Some(walk_back(&rounds, a.len(), b.len()));
            }
        }
    }
    None
}

/// `rounds[d]` has what diagonals -d to d had before round `d`.
fn walk_back(rounds: &[Vec<usize>], mut x: usize, mut y: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for (d, before) in rounds.iter().enumerate().skip(1).rev() {
        let i = x + d - y;
        let goes_down = i == 0 || (i != 2 * d && before[i - 1] < before[i + 1]);
        let (from_x, from_y) = if goes_down {
            let from = before[i + 1];
            (from, from + d - (i + 1))
        } else {
            let from = before[i - 1];
            (from, from + d - (i - 1))
        };
        steps.push(if goes_down { Step::Insert(from_y) } else { Step::Remove(from_x) });
        (x, y) = (from_x, from_y);
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MOST_STEPS, Step, steps};

    fn apply(a: &[u16], b: &[u16], steps: &[Step]) -> Vec<u16> {
        let mut out = Vec::new();
        let mut at = 0;
        for step in steps {
            match *step {
                Step::Remove(x) => {
                    out.extend_from_slice(&a[at..x]);
                    at = x + 1;
                }
                Step::Insert(y) => {
                    // What is kept before it is as long in both.
                    let kept = y - out.len();
                    out.extend_from_slice(&a[at..at + kept]);
                    at += kept;
                    out.push(b[y]);
                }
            }
        }
        out.extend_from_slice(&a[at..]);
        out
    }

    /// Removals and insertions of a longest common subsequence, the slow way.
    fn fewest(a: &[u16], b: &[u16]) -> usize {
        let mut row = vec![0usize; b.len() + 1];
        for x in a {
            let mut corner = 0;
            for (j, y) in b.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if x == y { corner + 1 } else { above.max(row[j]) };
                corner = above;
            }
        }
        a.len() + b.len() - 2 * row[b.len()]
    }

    proptest! {
        #[test]
        fn steps_make_one_list_of_the_other_and_are_few(
            a in proptest::collection::vec(0u16..4, 0..40), b in proptest::collection::vec(0u16..4, 0..40),
        ) {
            let steps = steps(&a, &b);
            prop_assert_eq!(apply(&a, &b, &steps), b.clone());
            prop_assert_eq!(steps.len(), fewest(&a, &b));
        }
    }

    #[test]
    fn lists_without_anything_in_common_are_replaced() {
        let n = MOST_STEPS as u16;
        let (a, b): (Vec<_>, Vec<_>) = ((0..n).collect(), (n..2 * n).collect());
        let steps = steps(&a, &b);
        assert_eq!(steps.len(), 2 * MOST_STEPS);
        assert_eq!(apply(&a, &b, &steps), b);
    }
}
