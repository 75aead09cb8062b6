//! What is kept of each response that was ever stored: its facts, and what became of it.
//!
//! The body and most of the head are not kept: a response is put together anew, from its facts and validators, when the policy
//! wants to see it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use larder_policy::{
    CacheKey, Fields, HttpDate, Nominated, ReuseFacts, StoredParts, StoredResponse, Timestamp,
    parse_http_date,
};

use super::answer::{Answer, ETag};

/// No other variant.
const NONE: u32 = u32::MAX;

/// Most variants under one key, as the store has it by default.
const VARIANTS_MAX: usize = 32;

/// About what a response takes in memory while a log is simulated, the orders of both tiers included: two tiers of 20 bytes, the
/// time of its last hint, its place in the table of keys with that table's spare room.
pub const BYTES_PER_RESPONSE: usize = size_of::<Object>() + 2 * 20 + 8 + 2 * 17;

/// What became of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It comes for the first time.
    New,
    /// It is stored.
    Held,
    /// It had to leave for others.
    Evicted,
    /// It was not taken in for the sake of others.
    Refused,
    /// It was larger than the cache.
    TooLarge,
    /// It was removed for being obsolete.
    Invalidated,
}

/// One variant of one key.
#[derive(Debug)]
struct Object {
    facts: ReuseFacts,
    response_time: Timestamp,
    last_modified: Option<Timestamp>,
    /// The representation, as far as the log tells versions apart.
    version: u64,
    /// Bytes of the body.
    size: u64,
    fingerprint: u64,
    /// `None` for what does not vary.
    nominated: Option<Box<Nominated>>,
    /// The next variant of the key.
    next: u32,
    status: u16,
    etag: ETag,
    /// Whether it says how long it is.
    has_length: bool,
    fate: Fate,
}

/// All responses, by numbers in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Objects {
    keys: HashMap<u64, u32>,
    objects: Vec<Object>,
}

impl Objects {
    /// The numbers of all variants that were ever stored under a key, the latest first.
    pub(super) fn variants(&self, key: &CacheKey) -> Vec<u32> {
        let mut variants = Vec::new();
        let mut next = self.keys.get(&fingerprint(key)).copied().unwrap_or(NONE);
        while let Some(object) = self.get(next) {
            variants.push(next);
            next = object.next;
        }
        variants
    }

    /// Takes an answer in, as its variant, and says what had become of that. `None` when there are four billion others, or too
    /// many variants of the key.
    pub(super) fn store(
        &mut self,
        key: &CacheKey,
        response: &StoredResponse,
        answer: &Answer,
    ) -> Option<(u32, Fate)> {
        let variants = self.variants(key);
        let nominated = Some(response.nominated()).filter(|nominated| nominated.names().next().is_some());
        let same = |id: &u32| self.get(*id).is_some_and(|object| object.nominated.as_deref() == nominated);
        let known = variants.iter().copied().find(same);
        let fingerprint = fingerprint(key);
        let (id, fate) = match known {
            Some(id) => (id, self.get(id)?.fate),
            None if variants.len() >= VARIANTS_MAX => return None,
            None => (u32::try_from(self.objects.len()).ok().filter(|id| *id != NONE)?, Fate::New),
        };
        let before = known.and_then(|id| self.get(id));
        let object = Object {
            facts: *response.facts(),
            response_time: response.response_time(),
            last_modified: last_modified(response),
            version: answer.version.or(before.map(|before| before.version)).unwrap_or_default(),
            // Of a transfer that broke off the size is not known.
            size: before.filter(|_| !answer.whole).map_or(answer.size, |before| before.size.max(answer.size)),
            fingerprint: spread(fingerprint, id),
            nominated: nominated.cloned().map(Box::new),
            next: match before {
                Some(before) => before.next,
                None => self.keys.get(&fingerprint).copied().unwrap_or(NONE),
            },
            status: response.status().as_u16(),
            etag: answer.etag,
            has_length: answer.fields.contains("content-length"),
            fate,
        };
        match self.objects.get_mut(id as usize) {
            Some(place) => *place = object,
            None => {
                self.objects.push(object);
                self.keys.insert(fingerprint, id);
            }
        }
        Some((id, fate))
    }

    /// Brings a response's facts up to date.
    pub(super) fn freshen(&mut self, id: u32, response: &StoredResponse) {
        if let Some(object) = self.objects.get_mut(id as usize) {
            object.facts = *response.facts();
            object.response_time = response.response_time();
            object.last_modified = last_modified(response);
        }
    }

    /// The response, as far as the policy needs it.
    pub(super) fn response(&self, id: u32) -> Option<StoredResponse> {
        let object = self.get(id)?;
        let mut fields = Fields::new();
        if let Some(tag) = object.etag.value(object.version) {
            let _ = fields.push("ETag", tag.as_bytes());
        }
        if let Some(modified) = object.last_modified {
            let _ = fields.push("Last-Modified", HttpDate(modified).to_string().as_bytes());
        }
        if object.has_length {
            let _ = fields.push("Content-Length", object.size.to_string().as_bytes());
        }
        Some(StoredResponse::from_parts(StoredParts {
            status: http::StatusCode::from_u16(object.status).ok()?,
            fields,
            nominated: object.nominated.as_deref().cloned().unwrap_or_default(),
            request_time: object.response_time,
            response_time: object.response_time,
            facts: object.facts,
        }))
    }

    pub(super) fn is_held(&self, id: u32) -> bool {
        self.get(id).is_some_and(|object| object.fate == Fate::Held)
    }

    pub(super) fn set_fate(&mut self, id: u32, fate: Fate) {
        if let Some(object) = self.objects.get_mut(id as usize) {
            object.fate = fate;
        }
    }

    pub(super) fn version(&self, id: u32) -> u64 {
        self.get(id).map_or(0, |object| object.version)
    }

    pub(super) fn size(&self, id: u32) -> u64 {
        self.get(id).map_or(0, |object| object.size)
    }

    pub(super) fn fingerprint(&self, id: u32) -> u64 {
        self.get(id).map_or(0, |object| object.fingerprint)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.objects.capacity() * size_of::<Object>() + self.keys.capacity() * 17
    }

    fn get(&self, id: u32) -> Option<&Object> {
        self.objects.get(id as usize)
    }
}

fn last_modified(response: &StoredResponse) -> Option<Timestamp> {
    let value = response.fields().first("last-modified")?;
    parse_http_date(value, response.response_time())
}

/// The same for the same key in every run, so that the same log gives the same figures.
fn fingerprint(key: &CacheKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.as_str().hash(&mut hasher);
    hasher.finish()
}

/// Another for each variant.
fn spread(fingerprint: u64, id: u32) -> u64 {
    (fingerprint ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
