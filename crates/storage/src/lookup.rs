//! From nominated places to stored responses: read, prove, compare the key.
//!
//! What is in the page cache is read at once on the caller's thread, the rest on a blocking one. A record that
//! was copied elsewhere meanwhile is looked up again; one that is damaged or dead is dropped and told to the
//! writer.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use larder_policy::{CacheKey, StoredResponse};
use smallvec::SmallVec;

use crate::blob::{Hint, Reading, has_tree};
use crate::directory::{Fingerprint, Place, VariantTag};
use crate::error::ReadError;
use crate::files::StoreFile;
use crate::metadata;
use crate::options::Verify;
use crate::record::{Head, Record, RecordFault};
use crate::shared::{Shared, TOUCH_EVERY};
use crate::stats::IndexState;
use crate::stored::{Core, Stored, Tier, Variants};

/// Lookups that come before the index is open wait for it, but not longer.
const OPENING_PATIENCE: Duration = Duration::from_millis(200);
/// Just after the store was opened they wait up to then, also for what a rebuild finds: a small store is whole again by then,
/// so that what a killed process had stored last is a hit at once.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// How often a record may move while it is being looked up.
const ATTEMPTS: usize = 4;

/// One lookup of a key on disk.
pub(crate) struct Lookup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: CacheKey,
    pub(crate) fingerprint: Fingerprint,
}

/// Places to look at.
type Places = SmallVec<[(VariantTag, Place); 2]>;

/// What a lookup found of a key.
#[derive(Default)]
struct Found {
    cores: Vec<Arc<Core>>,
    /// These are all variants that are stored: none is unknown yet, could not be read or is about to be dropped.
    complete: bool,
}

/// What became of one place.
enum Outcome {
    Hit(Arc<Core>),
    /// For another key.
    None,
    /// It cannot be used: dropped, or not readable just now.
    Unusable,
    /// The record is not where it was.
    Moved,
    /// It cannot be read without blocking.
    Blocks,
}

impl Lookup {
    pub(crate) async fn run(self) -> Variants {
        let generation = self.shared.memory.generation(&self.key);
        let Found { cores, complete } = self.find().await;
        if cores.is_empty() {
            self.shared.counters.misses.add(1);
            return Variants::default();
        }
        self.shared.counters.disk_hits.add(1);
        if let Some(first) = cores.first() {
            self.shared.shadows.hit(first);
        }
        // What is in memory hides what is not: a variant that was left out would not be looked at again.
        if complete && cores.iter().all(|core| core.partial.is_none()) {
            self.shared.memory.insert(&self.key, &cores, generation);
        }
        cores.into_iter().map(|core| Stored::new(core, Tier::Disk)).collect()
    }

    async fn find(&self) -> Found {
        // Asked first: the directory may become complete just after it was looked at.
        let mut state = *self.shared.state.borrow();
        let places = self.nominated();
        let starting = START_PATIENCE.saturating_sub(self.shared.opened.elapsed());
        let patience = match state {
            IndexState::Opening => starting.max(OPENING_PATIENCE),
            IndexState::Rebuilding => starting,
            IndexState::Loading | IndexState::Ready => Duration::ZERO,
        };
        if places.is_empty() && !patience.is_zero() {
            let mut changes = self.shared.state.subscribe();
            let known = changes.wait_for(|state| matches!(state, IndexState::Loading | IndexState::Ready));
            let _ = tokio::time::timeout(patience, known).await;
            state = *self.shared.state.borrow();
        }
        if state == IndexState::Ready || state == IndexState::Rebuilding {
            // The directory may have been filled while this waited.
            let places = if places.is_empty() { self.nominated() } else { places };
            if places.is_empty() {
                return Found::default();
            }
            if let Some(mut found) = self.resident(&places) {
                found.complete &= state == IndexState::Ready;
                return found;
            }
        }
        let this = Self { shared: self.shared.clone(), key: self.key.clone(), fingerprint: self.fingerprint };
        tokio::task::spawn_blocking(move || this.blocking()).await.unwrap_or_default()
    }

    fn nominated(&self) -> Places {
        let shared = &self.shared;
        let nominees = shared.directory.find(self.fingerprint);
        for nominee in &nominees {
            if shared.directory.touch(nominee.id, shared.now(), TOUCH_EVERY) {
                shared.blobs.hint(Hint::Touch(nominee.fingerprint, nominee.variant));
            }
        }
        nominees.into_iter().map(|nominee| (nominee.variant, nominee.place)).collect()
    }

    /// Everything from the page cache; `None` when something is not there.
    fn resident(&self, places: &[(VariantTag, Place)]) -> Option<Found> {
        let mut found = Found { cores: Vec::with_capacity(places.len()), complete: true };
        for (_, place) in places {
            match self.read(*place, Reading::Resident) {
                Outcome::Hit(core) => found.cores.push(core),
                Outcome::None => {}
                Outcome::Unusable => found.complete = false,
                Outcome::Moved | Outcome::Blocks => return None,
            }
        }
        found.cores = in_order(found.cores);
        Some(found)
    }

    fn blocking(&self) -> Found {
        let mut found = Found::default();
        for _ in 0..ATTEMPTS {
            let (places, all) = self.all_places();
            found = Found { cores: Vec::new(), complete: all };
            let mut moved = false;
            for (_, place) in places {
                match self.read(place, Reading::Blocking) {
                    Outcome::Hit(core) => found.cores.push(core),
                    Outcome::Moved => moved = true,
                    Outcome::Unusable => found.complete = false,
                    Outcome::None | Outcome::Blocks => {}
                }
            }
            if !moved {
                break;
            }
            found.complete = false;
        }
        found.cores = in_order(found.cores);
        found
    }

    /// What the directory nominates, and what only the index knows yet; and whether that is all there is.
    fn all_places(&self) -> (Places, bool) {
        // Asked first: the directory may become complete just after it was looked at.
        let state = *self.shared.state.borrow();
        let mut places = self.nominated();
        if state == IndexState::Ready {
            return (places, true);
        }
        let indexed = self.shared.index.get(self.fingerprint);
        let all = state == IndexState::Loading && indexed.is_some();
        for entry in indexed.unwrap_or_default() {
            if places.iter().all(|(_, place)| *place != entry.place) {
                places.push((entry.variant, entry.place));
            }
        }
        (places, all)
    }

    fn read(&self, place: Place, reading: Reading) -> Outcome {
        match self.try_read(place, reading) {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.lost(place, None),
            Err(error) => {
                self.shared.read_failed("read a record", &error);
                Outcome::Unusable
            }
        }
    }

    /// There is no such record at this place: it has moved, or it is gone or damaged.
    fn lost(&self, place: Place, damage: Option<RecordFault>) -> Outcome {
        let nominated = self.shared.directory.find_place(self.fingerprint, place).is_some();
        let ready = self.shared.is_ready();
        if nominated || !ready {
            self.shared.blobs.hint(Hint::BadRecord(self.fingerprint, place, damage));
        }
        // While records are still being found, the one that was nominated may have given way to a newer one just now.
        if nominated { Outcome::Unusable } else { Outcome::Moved }
    }

    fn try_read(&self, place: Place, reading: Reading) -> io::Result<Outcome> {
        let segments = &self.shared.segments;
        let file = match reading {
            Reading::Blocking => segments.open(place.segment)?,
            Reading::Resident => match segments.open_resident(place.segment)? {
                Some(file) => file,
                None => return Ok(Outcome::Blocks),
            },
        };
        let Some(bytes) = record_bytes(&file, place, reading)? else { return Ok(Outcome::Blocks) };
        let decoded = match self.shared.options.verify {
            Verify::FirstRead | Verify::Always => Record::decode(&bytes),
            Verify::ScrubOnly => Record::decode_unproved(&bytes),
        };
        let record = match decoded {
            Ok(record) => record,
            Err(fault) => return Ok(self.lost(place, Some(fault))),
        };
        if record.front.key != self.key.as_str() {
            return Ok(Outcome::None);
        }
        if !record.head.live || self.is_removed(&record.head) {
            return Ok(self.lost(place, None));
        }
        if record.head.file().is_some_and(|file| self.shared.blobs.condemned.contains(&file.name)) {
            return Ok(Outcome::Unusable);
        }
        let Some(response) = metadata::decode(record.front.metadata) else {
            return Ok(self.lost(place, None));
        };
        if record.head.partial {
            return self.with_partial(&record.head, reading, place, response);
        }
        let core = |inline| self.core(&record.head, response, inline);
        if !record.head.blob {
            return Ok(Outcome::Hit(core(Some(Bytes::copy_from_slice(record.body)))));
        }
        self.with_blob(&record.head, reading, place, core)
    }

    fn with_blob(
        &self,
        head: &Head,
        reading: Reading,
        place: Place,
        core: impl FnOnce(Option<Bytes>) -> Arc<Core>,
    ) -> io::Result<Outcome> {
        let blobs = &self.shared.blobs;
        let found = if has_tree(head.body_len) {
            blobs.open(&head.digest, head.body_len, reading).map(|open| open.map(|_| None))
        } else {
            blobs.read_whole(&head.digest, head.body_len, reading).map(|body| body.map(Some))
        };
        let gone = match found {
            Ok(Some(inline)) => return Ok(Outcome::Hit(core(inline))),
            Ok(None) => return Ok(Outcome::Blocks),
            Err(ReadError::Unreadable { kind: io::ErrorKind::NotFound, .. }) => None,
            Err(ReadError::Unreadable { kind, .. }) => return Err(kind.into()),
            Err(error) => Some(error),
        };
        if let Some(error) = gone {
            blobs.report(&core(None), &error);
            return Ok(Outcome::Unusable);
        }
        // The blob may have left with its record just now, which is no damage.
        Ok(self.lost(place, None))
    }

    fn with_partial(
        &self,
        head: &Head,
        reading: Reading,
        place: Place,
        response: StoredResponse,
    ) -> io::Result<Outcome> {
        let partials = &self.shared.partials;
        let opened = match partials.cached(&head.digest) {
            Some(partial) => Ok(partial),
            None if reading == Reading::Resident => return Ok(Outcome::Blocks),
            None => partials.open(&head.digest),
        };
        match opened {
            Ok(partial) if !partial.runs().is_empty() => {
                let mut core = self.core(head, response, None);
                if let Some(core) = Arc::get_mut(&mut core) {
                    core.partial = Some(partial);
                }
                Ok(Outcome::Hit(core))
            }
            Err(ReadError::Unreadable { kind, .. }) if kind != io::ErrorKind::NotFound => Err(kind.into()),
            // Its map is gone or damaged from the start; or it left with its record just now.
            Err(ReadError::Unreadable { .. }) => Ok(self.lost(place, None)),
            Ok(_) | Err(_) => Ok(self.lost(place, Some(RecordFault::Body))),
        }
    }

    fn is_removed(&self, head: &Head) -> bool {
        self.shared.removed.below(self.fingerprint).is_some_and(|below| head.sequence < below)
    }

    fn core(&self, head: &Head, response: StoredResponse, inline: Option<Bytes>) -> Arc<Core> {
        Arc::new(Core {
            key: self.key.clone(),
            response,
            fingerprint: self.fingerprint,
            variant: head.variant,
            digest: head.digest,
            len: head.body_len,
            inline,
            partial: None,
            sequence: AtomicU64::new(head.sequence),
            touched: AtomicU32::new(self.shared.now()),
            prepared: OnceLock::new(),
            blobs: self.shared.blobs.clone(),
        })
    }
}

/// The bytes of a record; `None` when that would block and must not.
fn record_bytes(file: &StoreFile, place: Place, reading: Reading) -> io::Result<Option<Vec<u8>>> {
    let offset = u64::from(place.offset);
    let mut bytes = vec![0; place.length as usize];
    let read = match reading {
        Reading::Resident => file.read_resident(&mut bytes, offset),
        Reading::Blocking => file.read_full(&mut bytes, offset)?,
    };
    if read < bytes.len() && reading == Reading::Resident {
        return Ok(None);
    }
    // What is missing at the end makes it a damaged record.
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// The one stored last first, and of each variant only that one.
fn in_order(mut cores: Vec<Arc<Core>>) -> Vec<Arc<Core>> {
    if cores.len() > 1 {
        cores.sort_by_key(|core| std::cmp::Reverse(core.sequence()));
        let mut seen = HashMap::new();
        cores.retain(|core| seen.insert(core.variant, ()).is_none());
    }
    cores
}
