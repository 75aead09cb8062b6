//! Going through everything that is stored, one record after the other, while the store goes on.
//!
//! ```text
//! segments, in the order of their numbers, each from end to end  ->  what the directory has and was not met there
//! ```
//!
//! Nothing is gathered and nothing is held up. Compaction may copy a record ahead of the walk or behind it, but its entry
//! in the directory stays the same one: what has been met is remembered by one bit for each entry, so that nothing is met
//! twice, and the second part meets what the first has missed. So everything that is there all the while is met once;
//! what comes, goes or is replaced meanwhile may or may not be.

use std::io;
use std::sync::Arc;

use larder_policy::{CacheKey, StoredResponse};

use crate::directory::{EntryId, Fingerprint, Nominee, Place};
use crate::error::Error;
use crate::filter::Filter;
use crate::metadata;
use crate::record::{Front, Head, RecordFault};
use crate::segment::{self, Found, Scan};
use crate::shared::Shared;

/// How often one key's records may move while they are read.
const ATTEMPTS: usize = 4;

/// A record that counts: the directory has it, and it proves itself.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) id: EntryId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) place: Place,
    pub(crate) head: Head,
    pub(crate) key: CacheKey,
    /// `None` when the metadata is of another version, or none.
    pub(crate) response: Option<StoredResponse>,
}

/// What a walk comes upon.
#[derive(Debug)]
pub(crate) enum Met {
    Record(Box<Walked>),
    /// A record that is dead, not meant by the filter, or met before.
    Passed,
    /// A live record that the directory does not have: it was removed or copied just now, or it is unknown.
    Stray(Fingerprint, Place),
    /// Where the directory has a record is none: it went just now, or it is damaged.
    Absent(Nominee),
    Damage(Damage),
}

/// Bytes of a segment that are no records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Damage {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// They begin like a record and end with the segment: a write that was cut off.
    pub(crate) torn: bool,
    /// Bytes that are known to have been, or to have been meant, behind the end of the segment.
    pub(crate) missing: u64,
}

/// A walk under way. See the module.
#[derive(Debug)]
pub(crate) struct Walk {
    shared: Arc<Shared>,
    filter: Filter,
    segments: std::vec::IntoIter<u32>,
    scan: Option<(u32, u64, Scan)>,
    /// Entries for the second part, once that has begun.
    unmet: Option<std::ops::Range<EntryId>>,
    seen: Seen,
}

impl Walk {
    /// Begins one. Only what the filter matches is met as a record.
    pub(crate) fn new(shared: &Arc<Shared>, filter: Filter) -> Result<Self, Error> {
        let listed = segment::list(&shared.layout)
            .map_err(|source| Error::Io { path: shared.layout.segments(), source })?;
        let segments: Vec<u32> = listed.into_iter().map(|(id, _)| id).collect();
        let (shared, segments) = (shared.clone(), segments.into_iter());
        Ok(Self { shared, filter, segments, scan: None, unmet: None, seen: Seen::default() })
    }

    /// The next thing; `None` at the end. Blocks while it reads.
    pub(crate) fn next(&mut self) -> Result<Option<Met>, Error> {
        if self.shared.is_closing() {
            return Err(Error::Closed);
        }
        if let Some(met) = self.in_segments()? {
            return Ok(Some(met));
        }
        let directory = &self.shared.directory;
        let unmet = self.unmet.get_or_insert_with(|| 0..directory.bound());
        let seen = &self.seen;
        let unmet = unmet.filter(|id| !seen.has(*id)).find_map(|id| directory.get(id));
        Ok(unmet.map(|nominee| self.at_its_place(nominee)))
    }

    fn in_segments(&mut self) -> Result<Option<Met>, Error> {
        loop {
            let Some((id, end, scan)) = &mut self.scan else {
                let Some(id) = self.segments.next() else { return Ok(None) };
                self.begin(id)?;
                continue;
            };
            let (id, end) = (*id, *end);
            let damage = match scan.next() {
                Ok(Some(Found::Record { place, head, front })) if head.live => {
                    return Ok(Some(meet(&self.shared, &self.filter, &mut self.seen, place, head, front)));
                }
                Ok(Some(Found::Record { .. })) => return Ok(Some(Met::Passed)),
                Ok(Some(Found::Damage { offset, bytes, fault, missing })) => {
                    let torn = offset + bytes >= end && fault == RecordFault::Cut;
                    Damage { segment: id, offset, bytes, torn, missing: if torn { missing } else { 0 } }
                }
                Ok(None) => {
                    self.scan = None;
                    continue;
                }
                Err(error) => {
                    self.shared.counters.read_errors.add(1);
                    tracing::warn!(segment = id, %error, "a segment cannot be read to its end");
                    let offset = scan.offset();
                    self.scan = None;
                    Damage { segment: id, offset, bytes: end.saturating_sub(offset), torn: false, missing: 0 }
                }
            };
            return Ok(Some(Met::Damage(damage)));
        }
    }

    fn begin(&mut self, id: u32) -> Result<(), Error> {
        let opened = self.shared.segments.open(id).and_then(|file| Ok((file.len()?, file)));
        match opened {
            Ok((end, file)) => self.scan = Some((id, end, Scan::new(id, file, 0, end))),
            // Compacted since it was listed: its records are met by their entries.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { path: self.shared.layout.segment(id), source }),
        }
        Ok(())
    }

    /// What is where the directory has a record, after however many moves.
    fn at_its_place(&mut self, nominee: Nominee) -> Met {
        let mut nominee = nominee;
        for _ in 0..ATTEMPTS {
            match record_at(&self.shared, &self.filter, nominee.place) {
                // It moved between two looks.
                None | Some(Met::Stray(..)) => {}
                Some(met) => return met,
            }
            match self.shared.directory.get(nominee.id) {
                Some(now) if now.place != nominee.place => nominee = now,
                Some(_) => return Met::Absent(nominee),
                None => break,
            }
        }
        Met::Passed
    }
}

fn meet(
    shared: &Shared,
    filter: &Filter,
    seen: &mut Seen,
    place: Place,
    head: Head,
    front: Front<'_>,
) -> Met {
    let fingerprint = shared.keys.fingerprint(front.key);
    let Some(nominee) = shared.directory.find_place(fingerprint, place) else {
        return Met::Stray(fingerprint, place);
    };
    if !seen.add(nominee.id) {
        return Met::Passed;
    }
    let Ok(key) = CacheKey::from_stored(front.key) else { return Met::Passed };
    let response = std::cell::OnceCell::new();
    let decode = || response.get_or_init(|| metadata::decode(front.metadata)).as_ref();
    if !filter.matches(&key, head.body_len, decode) {
        return Met::Passed;
    }
    decode();
    let response = response.into_inner().flatten();
    Met::Record(Box::new(Walked { id: nominee.id, fingerprint, place, head, key, response }))
}

/// The records under one key that a filter matches, read where the directory says.
pub(crate) fn under_key(shared: &Shared, filter: &Filter, key: &CacheKey) -> Vec<Walked> {
    let fingerprint = shared.keys.fingerprint(key.as_str());
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let nominees = shared.directory.find(fingerprint);
        let read = |nominee: &Nominee| record_at(shared, filter, nominee.place);
        let records: Vec<_> = nominees.iter().filter_map(read).collect();
        // What has moved meanwhile is read again.
        let still =
            nominees.iter().all(|one| shared.directory.get(one.id).is_none_or(|now| now.place == one.place));
        found = records
            .into_iter()
            .filter_map(|met| match met {
                Met::Record(record) if record.key == *key => Some(*record),
                _ => None,
            })
            .collect();
        if still {
            break;
        }
    }
    found
}

/// What a place holds: `None` if that is no live record, damage included.
pub(crate) fn record_at(shared: &Shared, filter: &Filter, place: Place) -> Option<Met> {
    let file = shared.segments.open(place.segment).ok()?;
    let (from, end) = (u64::from(place.offset), u64::from(place.offset) + u64::from(place.length));
    let mut scan = Scan::new(place.segment, file, from, end);
    match scan.next().ok()?? {
        Found::Record { place: at, head, front } if head.live && at == place => {
            Some(meet(shared, filter, &mut Seen::default(), at, head, front))
        }
        _ => None,
    }
}

/// A set of directory entries, one bit each.
#[derive(Debug, Default)]
struct Seen(Vec<u64>);

impl Seen {
    /// False when it was there already.
    fn add(&mut self, id: EntryId) -> bool {
        let (word, bit) = (id as usize / 64, 1_u64 << (id % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let Some(word) = self.0.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn has(&self, id: EntryId) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }
}
