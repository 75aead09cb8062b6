//! What proves a body: its BLAKE3 digest, and for large bodies the chaining values of 64 KiB groups.
//!
//! The digest of a large body is made in one pass together with one chaining value per group. They merge
//! into exactly the plain BLAKE3 hash of the body, so that any one group can be proved on its own against a
//! digest that `b3sum` prints too. Nothing here reads or writes a file.

use std::fmt;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes that are proved together: a power of two of BLAKE3 chunks, as a subtree must be.
pub(crate) const GROUP_BYTES: u64 = 64 * 1024;
const GROUP: usize = GROUP_BYTES as usize;

/// The BLAKE3 hash of a whole body, and the name of its blob. Displays as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobDigest([u8; 32]);

impl BlobDigest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(*blake3::hash(body).as_bytes())
    }

    /// A digest read back from a record.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lower-case hexadecimal digits, as in a blob's file name.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        if hex.len() != 64 || hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        blake3::Hash::from_hex(hex).ok().map(|hash| Self(*hash.as_bytes()))
    }

    /// The first eight bytes as a number: enough to count owners and to find orphans.
    pub(crate) fn prefix(&self) -> u64 {
        let (head, _) = self.0.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        u64::from_le_bytes(*head)
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobDigest({self})")
    }
}

/// Hashes a body in one pass into its digest and the chaining values of its groups.
#[derive(Debug)]
pub(crate) struct Digester {
    /// The group being filled. It is closed only when more bytes come, because the only group of a short
    /// body ends as a root.
    group: blake3::Hasher,
    filled: usize,
    closed: Vec<ChainingValue>,
    len: u64,
}

impl Digester {
    pub(crate) fn new() -> Self {
        Self { group: blake3::Hasher::new(), filled: 0, closed: Vec::new(), len: 0 }
    }

    pub(crate) fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.filled == GROUP {
                self.closed.push(self.group.finalize_non_root());
                self.group = blake3::Hasher::new();
                self.group.set_input_offset(self.len);
                self.filled = 0;
            }
            let take = data.len().min(GROUP - self.filled);
            let (now, later) = data.split_at(take);
            self.group.update(now);
            self.filled += take;
            self.len += take as u64;
            data = later;
        }
    }

    /// Chaining values of the groups from `index` on, the last possibly of a group that is not full yet.
    pub(crate) fn values_from(&self, index: usize) -> Vec<ChainingValue> {
        let mut values = self.closed.get(index..).unwrap_or(&[]).to_vec();
        if self.filled > 0 && index <= self.closed.len() {
            values.push(self.group.finalize_non_root());
        }
        values
    }

    /// The digest, and one chaining value per group.
    pub(crate) fn finish(mut self) -> (BlobDigest, Vec<ChainingValue>) {
        if self.closed.is_empty() {
            let values = self.values_from(0);
            return (BlobDigest(*self.group.finalize().as_bytes()), values);
        }
        self.closed.push(self.group.finalize_non_root());
        let digest = root_of(&self.closed).unwrap_or_else(|| BlobDigest(*self.group.finalize().as_bytes()));
        (digest, self.closed)
    }
}

/// The chaining value of the group that begins at `offset`, as a part of a body of more than one.
pub(crate) fn chaining_value(offset: u64, bytes: &[u8]) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// The digest that two or more groups merge into; `None` for fewer.
pub(crate) fn root_of(values: &[ChainingValue]) -> Option<BlobDigest> {
    if values.len() < 2 {
        return None;
    }
    let (left, right) = values.split_at(left_groups(values.len()));
    let root = merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
    Some(BlobDigest(*root.as_bytes()))
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [] => [0; 32],
        [one] => *one,
        more => {
            let (left, right) = more.split_at(left_groups(more.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// The left subtree holds the largest power of two that leaves something for the right one.
fn left_groups(groups: usize) -> usize {
    groups.div_ceil(2).next_power_of_two()
}

/// How many groups a body of this length has.
pub(crate) fn group_count(len: u64) -> u64 {
    len.div_ceil(GROUP_BYTES)
}

/// The chaining values of one open file, and which groups have been proved since it was opened.
///
/// It grows while the file is being written.
#[derive(Debug, Default)]
pub(crate) struct Groups(RwLock<Vec<Group>>);

#[derive(Debug)]
struct Group {
    value: ChainingValue,
    proved: AtomicBool,
}

impl Groups {
    pub(crate) fn new(values: impl IntoIterator<Item = ChainingValue>) -> Self {
        let groups = Self::default();
        groups.extend(values);
        groups
    }

    pub(crate) fn extend(&self, values: impl IntoIterator<Item = ChainingValue>) {
        let mut groups = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        groups.extend(values.into_iter().map(|value| Group { value, proved: AtomicBool::new(false) }));
    }

    /// Whether all of `first..last` have been proved.
    pub(crate) fn all_proved(&self, first: usize, last: usize) -> bool {
        let groups = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        groups
            .get(first..last)
            .is_some_and(|groups| groups.iter().all(|group| group.proved.load(Ordering::Relaxed)))
    }

    /// Proves the groups whose bytes are `data`, beginning with group `first`; those proved before are not
    /// hashed again. `Err` holds the offset of the first wrong group.
    pub(crate) fn prove(&self, first: usize, data: &[u8]) -> Result<(), u64> {
        for (index, bytes) in (first..).zip(data.chunks(GROUP)) {
            let offset = index as u64 * GROUP_BYTES;
            let (value, proved) = {
                let groups = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                let group = groups.get(index).ok_or(offset)?;
                (group.value, group.proved.load(Ordering::Relaxed))
            };
            if proved {
                continue;
            }
            if chaining_value(offset, bytes) != value {
                return Err(offset);
            }
            let groups = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(group) = groups.get(index) {
                group.proved.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }

    /// Bytes of memory that the values take.
    pub(crate) fn weight(&self) -> usize {
        self.len() * size_of::<Group>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn groups_merge_into_the_plain_hash() {
        for len in [0, 1, 1024, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 3 * GROUP, 5 * GROUP + 7, 9 * GROUP] {
            let body = body(len);
            let mut digester = Digester::new();
            for piece in body.chunks(7777) {
                digester.update(piece);
            }
            let (digest, values) = digester.finish();
            assert_eq!(digest, BlobDigest::of(&body), "length {len}");
            assert_eq!(values.len() as u64, group_count(len as u64));
            if values.len() > 1 {
                assert_eq!(root_of(&values), Some(digest));
            }
        }
    }

    #[test]
    fn a_group_is_proved_alone_and_a_flipped_bit_is_found() {
        let mut body = body(3 * GROUP + 100);
        let mut digester = Digester::new();
        digester.update(&body);
        let groups = Groups::new(digester.finish().1);
        assert!(!groups.all_proved(1, 3));
        assert_eq!(groups.prove(1, &body[GROUP..3 * GROUP]), Ok(()));
        assert!(groups.all_proved(1, 3));
        body[3 * GROUP + 50] ^= 4;
        assert_eq!(groups.prove(2, &body[2 * GROUP..]), Err(3 * GROUP_BYTES));
        assert!(!groups.all_proved(3, 4));
    }

    #[test]
    fn values_of_a_growing_body_are_those_of_the_whole() {
        let body = body(4 * GROUP);
        let mut digester = Digester::new();
        let mut seen = Vec::new();
        for piece in body.chunks(GROUP) {
            digester.update(piece);
            seen.extend(digester.values_from(seen.len()));
        }
        assert_eq!(seen, digester.finish().1);
    }

    #[test]
    fn hex_is_read_back_and_nothing_else() {
        let digest = BlobDigest::of(b"x");
        assert_eq!(BlobDigest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(BlobDigest::from_hex(&digest.to_string().to_uppercase()), None);
        assert_eq!(BlobDigest::from_hex("abc"), None);
    }
}
