//! What is done to a store until it stops: a small language, fixed scripts for exhaustive runs and random ones.

use super::super::Random;

/// A body, made from a seed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Body {
    pub(super) seed: u64,
    pub(super) len: usize,
}

/// What to remove at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    All,
    /// Everything that carries the tag of this key's parity.
    Tag(u64),
}

/// One thing that is done to a store. Keys and variants are small numbers, so that they meet again and again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Store {
        key: u64,
        variant: u64,
        body: Body,
    },
    /// Two bodies that arrive at once, the second before the first has ended.
    StoreTwo {
        keys: [u64; 2],
        bodies: [Body; 2],
    },
    /// New metadata for the variant of a key that was stored last.
    Freshen {
        key: u64,
    },
    Remove {
        key: u64,
    },
    RemoveWhere(Which),
    /// A body of which some bytes arrive, and then no more.
    Abandon {
        key: u64,
        body: Body,
    },
    /// Some bytes of a representation that is larger, under a key of its own.
    Part {
        key: u64,
        range: (usize, usize),
    },
    /// Read from disk what is there, so that it comes into memory and files are held open.
    Look {
        key: u64,
    },
    /// Let compaction that is under way come to its end.
    Settle,
    /// Close the store and open it again.
    Reopen,
}

/// Keys from here on are for parts, and the length of the representation under each: one that fits into a segment, one
/// that is a blob without a tree, one with.
pub(super) const PARTS: [(u64, usize); 3] = [(100, 30_000), (101, 200_000), (102, 400_000)];

pub(super) const KEYS: u64 = 6;
pub(super) const VARIANTS: u64 = 2;

/// Both sides of every size at which something changes: nothing, in the segment, a blob, a blob with a tree.
const SIZES: [usize; 11] = [0, 1, 700, 5_000, 40_000, 65_536, 65_537, 90_000, 262_144, 262_145, 330_000];

impl Op {
    pub(super) fn random(random: &mut Random) -> Self {
        let key = random.below(KEYS);
        match random.below(100) {
            0..=49 => Self::Store { key, variant: random.below(VARIANTS), body: Body::random(random) },
            50..=57 => {
                let other = (key + 1 + random.below(KEYS - 1)) % KEYS;
                let bodies = [Body::random(random), Body::random(random)];
                Self::StoreTwo { keys: [key, other], bodies }
            }
            58..=67 => Self::Freshen { key },
            68..=77 => Self::Remove { key },
            78 => Self::RemoveWhere(Which::All),
            79..=80 => Self::RemoveWhere(Which::Tag(random.below(2))),
            81..=84 => Self::Abandon { key, body: Body::random(random) },
            85..=88 => {
                let (key, len) = PARTS[random.below(3) as usize];
                let from = random.below(len as u64) as usize;
                let to = from + 1 + random.below((len - from) as u64) as usize;
                // Whole ones must come about, too.
                Self::Part { key, range: if random.below(2) == 0 { (0, to) } else { (from, len) } }
            }
            89 => Self::Remove { key: PARTS[random.below(3) as usize].0 },
            90..=91 => Self::Look { key },
            92..=95 => Self::Settle,
            _ => Self::Reopen,
        }
    }
}

impl Body {
    fn random(random: &mut Random) -> Self {
        // Large ones cost the most time, so they are not too many.
        let at = random.below(SIZES.len() as u64).min(random.below(SIZES.len() as u64 + 4));
        let len = SIZES[at as usize];
        // A third of the bodies are the same as others of their size.
        let seed = if random.below(3) == 0 { 1 } else { random.below(u64::MAX) };
        Self { seed, len }
    }
}

const fn of(seed: u64, len: usize) -> Body {
    Body { seed, len }
}

const fn store(key: u64, variant: u64, body: Body) -> Op {
    Op::Store { key, variant, body }
}

const fn part(key: u64, from: usize, to: usize) -> Op {
    Op::Part { key, range: (from, to) }
}

/// Short scripts, each with one thing in view, to be stopped after every one of their steps.
pub(super) fn fixed() -> Vec<(&'static str, Vec<Op>)> {
    let (small, blob, tree) = (of(1, 900), of(2, 70_000), of(3, 300_000));
    let fresh = |key| Op::Freshen { key };
    let churn = |from: u64| (from..from + 14).map(|n| store(n % 2, 0, of(n, 60_000)));
    let mut compaction: Vec<Op> = vec![store(2, 0, small), store(3, 0, blob)];
    compaction.extend(churn(10));
    compaction.extend([Op::Settle, store(4, 0, small), Op::Settle]);
    let mut reopened: Vec<Op> = Vec::new();
    for n in 0..11 {
        reopened.extend([store(n % KEYS, n % 2, of(n, 800)), Op::Reopen]);
    }
    reopened.push(Op::Settle);
    vec![
        ("store", vec![store(0, 0, small), store(1, 0, blob), store(2, 0, tree)]),
        ("replace", vec![store(0, 0, small), store(0, 0, blob), store(0, 0, tree), store(0, 0, of(4, 20))]),
        ("variants", vec![store(0, 0, small), store(0, 1, blob), store(0, 0, tree), Op::Remove { key: 0 }]),
        (
            "shared body",
            vec![
                store(0, 0, tree),
                store(1, 0, tree),
                store(2, 0, blob),
                store(2, 1, blob),
                Op::Remove { key: 0 },
                Op::Remove { key: 2 },
                store(0, 0, tree),
                Op::Remove { key: 1 },
                Op::Remove { key: 0 },
            ],
        ),
        (
            "freshen",
            vec![
                store(0, 0, small),
                fresh(0),
                store(1, 0, tree),
                fresh(1),
                fresh(1),
                Op::Reopen,
                fresh(0),
                fresh(1),
                Op::Remove { key: 1 },
            ],
        ),
        (
            "abandon",
            vec![Op::Abandon { key: 0, body: tree }, store(0, 0, tree), Op::Abandon { key: 0, body: blob }],
        ),
        (
            "two at once",
            vec![
                Op::StoreTwo { keys: [0, 1], bodies: [tree, blob] },
                Op::StoreTwo { keys: [1, 0], bodies: [tree, tree] },
                Op::Remove { key: 0 },
            ],
        ),
        (
            "parts",
            vec![
                part(102, 300_000, 400_000),
                part(102, 10, 70_000),
                part(101, 0, 70_000),
                Op::Reopen,
                part(102, 50_000, 320_000),
                part(102, 0, 400_000),
                part(101, 60_000, 200_000),
                part(100, 0, 10_000),
                Op::Remove { key: 100 },
            ],
        ),
        (
            "remove many",
            vec![
                store(0, 0, tree),
                store(1, 0, blob),
                store(2, 1, small),
                Op::RemoveWhere(Which::Tag(0)),
                store(3, 0, tree),
                Op::RemoveWhere(Which::All),
            ],
        ),
        (
            "remove after a start",
            vec![store(0, 0, tree), store(1, 0, small), Op::Reopen, Op::Remove { key: 0 }],
        ),
        ("compaction", compaction),
        ("many small segments", reopened),
    ]
}
