//! Parts of representations: what must be here of them, and what may.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use larder_policy::{Held, Runs, StoredResponse};

use super::super::{body, key, read, response_to};
use super::check::After;
use super::script::PARTS;
use super::world::{World, tag};
use crate::Store;

/// What is known of the part under one key.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// These ranges are here, unless all is gone.
    sure: Runs,
    may_be_there: bool,
    may_be_gone: bool,
}

impl Default for Part {
    fn default() -> Self {
        Self { sure: Runs::of(0..0), may_be_there: false, may_be_gone: false }
    }
}

pub(super) type Parts = HashMap<u64, Part>;

/// Any of them may be here.
pub(super) fn unknown() -> Parts {
    let unknown = Part { may_be_there: true, may_be_gone: true, ..Part::default() };
    PARTS.iter().map(|(name, _)| (*name, unknown.clone())).collect()
}

impl World {
    /// Has a range arrive.
    pub(super) async fn fill_part(&mut self, name: u64, (from, to): (usize, usize)) {
        let len = len_of(name);
        let content = body(name, len);
        let wanted = from as u64..to as u64;
        let complete = Some(len as u64);
        let variants = self.store().lookup(&key(name)).await;
        let fill = match variants.first().map(|stored| (stored, stored.held())) {
            Some((_, Held::Body(_))) => return,
            Some((stored, Held::Runs(runs))) => {
                let mut union = Arc::unwrap_or_clone(runs);
                union.insert(wanted.clone());
                let response = stored.response().holding(&union, complete).unwrap();
                self.store().begin_into(stored, response, wanted.clone(), complete, None)
            }
            None => {
                let all = wanted == (0..len as u64);
                let part = || whole(name).holding(&Runs::of(wanted.clone()), complete).unwrap();
                let response = if all { whole(name) } else { part() };
                Some(self.store().begin(key(name), response, Some(wanted.end - wanted.start), None))
            }
        };
        self.parts.entry(name).or_default().may_be_there = true;
        let Some(mut fill) = fill else { return };
        for piece in content.slice(from..to).chunks(50_000) {
            if fill.write(Bytes::copy_from_slice(piece)).await.is_err() {
                return;
            }
        }
        let stored = fill.finish().await;
        if stored.is_some() && !self.faults.is_stopped() {
            let part = self.parts.entry(name).or_default();
            part.sure.insert(wanted);
        }
    }

    /// It was asked to be removed.
    pub(super) fn part_removed(&mut self, name: u64, done: bool) {
        let part = self.parts.entry(name).or_default();
        if done && !self.faults.is_stopped() {
            *part = Part::default();
        } else {
            part.may_be_gone = true;
        }
    }

    pub(super) fn part_may_be_gone(&mut self, name: u64) {
        self.parts.entry(name).or_default().may_be_gone = true;
    }

    /// Looks at all parts, and takes what is there for what is known from now on. Returns how many there are.
    pub(super) async fn look_at_parts(&mut self, after: After, why: &str) -> u64 {
        let mut there = 0;
        for (name, _) in PARTS {
            let known = self.parts.remove(&name).unwrap_or_default();
            let found = held(self.store(), name, after, why).await;
            let fine = match &found {
                Some(found) => {
                    let surely = known.sure.iter().all(|run| found.covers(&run));
                    known.may_be_there && (surely || known.may_be_gone)
                }
                None => known.sure.is_empty() || known.may_be_gone,
            };
            assert!(after == After::Loss || fine, "{why}: of {name} {found:?} is here, not {known:?}");
            there += u64::from(found.is_some());
            let may_be_there = found.is_some();
            let sure = found.unwrap_or_else(|| Part::default().sure);
            self.parts.insert(name, Part { sure, may_be_there, may_be_gone: false });
        }
        there
    }
}

/// What is here, every byte of it compared.
async fn held(store: &Store, name: u64, after: After, why: &str) -> Option<Runs> {
    let right = body(name, len_of(name));
    // After a loss damage may be found, which drops something each time.
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_secs(60) {
        let variants = store.lookup(&key(name)).await;
        let stored = variants.first()?;
        let tags =
            |response: &StoredResponse| response.fields().all("etag").map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(tags(stored.response()), tags(&whole(name)), "{why}: not what was sent");
        let runs = match stored.held() {
            Held::Body(_) => {
                assert_eq!(stored.body_len(), right.len() as u64, "{why}: {name} is not whole");
                Runs::of(0..right.len() as u64)
            }
            Held::Runs(runs) => Arc::unwrap_or_clone(runs),
        };
        let mut sound = true;
        for run in runs.iter() {
            match read(stored.body(run.clone())).await {
                Ok(bytes) => {
                    let right = &right[run.start as usize..run.end as usize];
                    assert!(bytes == right, "{why}: {name} has wrong bytes in {run:?}");
                }
                Err(error) => {
                    assert!(after == After::Loss, "{why}: {name} {run:?} {error}");
                    sound = false;
                }
            }
        }
        if sound {
            return Some(runs);
        }
        crate::purge::barrier(store.sender()).await.unwrap();
        tokio::task::yield_now().await;
    }
    panic!("{why}: {name} stays damaged");
}

fn whole(name: u64) -> StoredResponse {
    response_to(&[], &[("ETag", &format!("\"part-{name}\"")), ("Cache-Tag", &tag(name % 2))])
}

fn len_of(name: u64) -> usize {
    PARTS.iter().find(|(key, _)| *key == name).unwrap().1
}
