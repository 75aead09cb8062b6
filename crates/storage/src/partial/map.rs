//! Which bytes of a partial body are here, and what proves each of them.
//!
//! ```text
//! groups   |0       |1       |2       |3       |4    (64 KiB each, counted from byte 0 of the representation)
//! bytes        [####|########|###]  [#]     [##]
//! pieces       ragged  whole  ragged .. ragged  ragged
//! ```
//!
//! A group that is here as a whole has its chaining value, the very one that the tree of the finished blob needs. What is here
//! of any other group is ragged pieces, each with a BLAKE3 hash of its own. Every byte is in one piece, and no piece crosses
//! the border of a group. Nothing here reads or writes a file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use blake3::hazmat::ChainingValue;
use larder_policy::Runs;

use crate::digest::{GROUP_BYTES, chaining_value};

/// Bytes that are proved together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) range: Range<u64>,
    pub(crate) proof: Proof,
}

/// What proves a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// The chaining value of a whole group.
    Group(ChainingValue),
    /// The hash of a ragged piece.
    Ragged([u8; 32]),
}

impl Piece {
    /// The piece that these bytes, from `start` on, are. They must not cross the border of a group.
    pub(crate) fn of(start: u64, bytes: &[u8]) -> Self {
        let range = start..start + bytes.len() as u64;
        let proof = if is_group(&range) {
            Proof::Group(chaining_value(start, bytes))
        } else {
            Proof::Ragged(*blake3::hash(bytes).as_bytes())
        };
        Self { range, proof }
    }

    /// Whether these bytes are what it was.
    pub(crate) fn proves(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.range.end - self.range.start && Self::of(self.range.start, bytes) == *self
    }

    pub(crate) const fn group(&self) -> u64 {
        self.range.start / GROUP_BYTES
    }

    /// Whether there can be such a piece.
    pub(crate) fn is_sound(&self) -> bool {
        let within = self.range.end.saturating_sub(1) / GROUP_BYTES == self.group();
        let whole = matches!(self.proof, Proof::Group(_));
        self.range.start < self.range.end && within && whole == is_group(&self.range)
    }
}

const fn is_group(range: &Range<u64>) -> bool {
    range.start.is_multiple_of(GROUP_BYTES) && range.end - range.start == GROUP_BYTES
}

/// The bytes of a group.
pub(crate) const fn group_range(group: u64) -> Range<u64> {
    let start = group.saturating_mul(GROUP_BYTES);
    start..start.saturating_add(GROUP_BYTES)
}

/// Cuts a range at the borders of groups.
pub(crate) fn by_group(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let end = group_range(at / GROUP_BYTES).end.min(range.end);
        let part = at..end;
        at = end;
        (!part.is_empty()).then_some(part)
    })
}

/// The interval map. See the module.
#[derive(Debug, Default)]
pub(crate) struct Map {
    groups: BTreeMap<u64, ChainingValue>,
    /// By first byte; with length and hash.
    ragged: BTreeMap<u64, (u64, [u8; 32])>,
    runs: Arc<Runs>,
}

impl Map {
    /// Adds a piece. A whole group takes the place of what was ragged of it; anything else that is here already, or that is no
    /// sound piece, is refused.
    pub(crate) fn add(&mut self, piece: &Piece) -> bool {
        if !piece.is_sound() {
            return false;
        }
        let group = piece.group();
        match piece.proof {
            Proof::Group(value) => {
                if self.groups.insert(group, value).is_some_and(|known| known != value) {
                    return false;
                }
                for start in self.ragged_of(group).map(|piece| piece.range.start).collect::<Vec<_>>() {
                    self.ragged.remove(&start);
                }
            }
            Proof::Ragged(hash) => {
                if self.runs.meets(&piece.range) {
                    return false;
                }
                self.ragged.insert(piece.range.start, (piece.range.end - piece.range.start, hash));
            }
        }
        Arc::make_mut(&mut self.runs).insert(piece.range.clone());
        true
    }

    /// What is here.
    pub(crate) fn runs(&self) -> &Arc<Runs> {
        &self.runs
    }

    /// The piece that holds this byte.
    pub(crate) fn piece_at(&self, at: u64) -> Option<Piece> {
        let group = at / GROUP_BYTES;
        if let Some(value) = self.groups.get(&group) {
            return Some(Piece { range: group_range(group), proof: Proof::Group(*value) });
        }
        let (start, (len, hash)) = self.ragged.range(..=at).next_back()?;
        let range = *start..start + len;
        range.contains(&at).then_some(Piece { range, proof: Proof::Ragged(*hash) })
    }

    /// The pieces one behind the other that hold the bytes of `range`, as far as they are here and as there are at most `most`
    /// of them.
    pub(crate) fn pieces(&self, range: Range<u64>, most: usize) -> Vec<Piece> {
        let mut at = range.start;
        let next = || {
            let piece = (at < range.end).then(|| self.piece_at(at))??;
            at = piece.range.end;
            Some(piece)
        };
        std::iter::from_fn(next).take(most).collect()
    }

    /// The ragged pieces of a group, in order.
    pub(crate) fn ragged_of(&self, group: u64) -> impl Iterator<Item = Piece> + '_ {
        let pieces = self.ragged.range(group_range(group));
        pieces.map(|(start, (len, hash))| Piece { range: *start..start + len, proof: Proof::Ragged(*hash) })
    }

    /// The chaining value of a group that is here as a whole.
    pub(crate) fn value(&self, group: u64) -> Option<ChainingValue> {
        self.groups.get(&group).copied()
    }

    /// How many ragged pieces there are.
    pub(crate) fn ragged(&self) -> usize {
        self.ragged.len()
    }

    /// Bytes of memory that it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.groups.len() * 48 + self.ragged.len() * 80 + self.runs.len() * 16
    }

    /// All pieces.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = Piece> + '_ {
        let whole = self.groups.iter();
        let whole =
            whole.map(|(group, value)| Piece { range: group_range(*group), proof: Proof::Group(*value) });
        let ragged = self.ragged.iter();
        whole.chain(
            ragged.map(|(start, (len, hash))| Piece {
                range: *start..start + len,
                proof: Proof::Ragged(*hash),
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: usize = 5 * GROUP_BYTES as usize + 1000;

    fn byte(at: usize) -> u8 {
        (at * 31 + at / 251) as u8
    }

    #[test]
    fn a_range_is_cut_at_the_borders_of_groups() {
        let cut = |range| by_group(range).collect::<Vec<_>>();
        assert_eq!(cut(5..5), []);
        assert_eq!(cut(65_530..131_080), [65_530..65_536, 65_536..131_072, 131_072..131_080]);
        assert_eq!(cut(0..131_072), [0..65_536, 65_536..131_072]);
    }

    #[test]
    fn junk_is_no_piece() {
        let mut map = Map::default();
        for (range, proof) in [
            (5..5, Proof::Ragged([0; 32])),
            (0..65_536, Proof::Ragged([0; 32])),
            (65_535..65_537, Proof::Ragged([0; 32])),
            (1..65_537, Proof::Group([0; 32])),
            (0..10, Proof::Group([0; 32])),
            (u64::MAX - 3..u64::MAX, Proof::Group([0; 32])),
        ] {
            assert!(!map.add(&Piece { range, proof }));
        }
        assert!(map.runs().is_empty());
        assert!(map.add(&Piece { range: 0..10, proof: Proof::Ragged([1; 32]) }));
        assert!(!map.add(&Piece { range: 9..12, proof: Proof::Ragged([1; 32]) }), "it is here already");
        assert!(map.add(&Piece { range: 0..65_536, proof: Proof::Group([1; 32]) }));
        assert!(!map.add(&Piece { range: 0..65_536, proof: Proof::Group([2; 32]) }), "two values");
        assert_eq!(map.ragged(), 0);
    }

    proptest! {
        #[test]
        fn every_byte_that_was_added_is_in_one_piece_that_proves_it(
            ranges in proptest::collection::vec((0..SIZE, 0..2 * GROUP_BYTES as usize), 1..12),
            probe in 0..SIZE,
        ) {
            let body: Vec<u8> = (0..SIZE).map(byte).collect();
            let (mut map, mut here) = (Map::default(), vec![false; SIZE]);
            for (start, len) in ranges {
                let range = start as u64..(start + len).min(SIZE) as u64;
                for gap in map.runs().missing(range) {
                    for part in by_group(gap) {
                        let bytes = &body[part.start as usize..part.end as usize];
                        here[part.start as usize..part.end as usize].fill(true);
                        prop_assert!(map.add(&Piece::of(part.start, bytes)));
                    }
                }
            }
            prop_assert_eq!(map.piece_at(probe as u64).is_some(), here[probe]);
            prop_assert_eq!(map.all().map(|piece| piece.range.end - piece.range.start).sum::<u64>(), map.runs().bytes());
            prop_assert_eq!(map.runs().bytes(), here.iter().filter(|here| **here).count() as u64);
            for run in map.runs().iter() {
                let pieces = map.pieces(run.clone(), usize::MAX);
                prop_assert!(pieces.first().unwrap().range.start <= run.start);
                prop_assert_eq!(pieces.last().unwrap().range.end, run.end);
                for piece in pieces {
                    let mut bytes = body[piece.range.start as usize..piece.range.end as usize].to_vec();
                    prop_assert!(piece.proves(&bytes));
                    let at = probe % bytes.len();
                    bytes[at] ^= 8;
                    prop_assert!(!piece.proves(&bytes));
                    prop_assert!(!piece.proves(&bytes[1..]));
                }
            }
        }
    }
}
