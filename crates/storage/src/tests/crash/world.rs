//! A store, what was done to it, and what it must answer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::{MIB, body, key, put_response, read, response_to};
use super::parts::{self, Parts};
use super::script::{Body, KEYS, Op, PARTS, VARIANTS, Which};
use crate::files::Files;
use crate::files::seam::Faults;
use crate::purge::barrier;
use crate::store::Ground;
use crate::{Filter, Options, Store, Stored};

/// Each response that was ever sent has a number, which it carries as its entity tag.
pub(super) type Version = usize;

/// One variant of one key.
type Slot = (u64, u64);

/// What a lookup of each slot may find.
pub(super) type Allowed = HashMap<Slot, Vec<Option<Version>>>;

/// A directory and what is known about it. It outlives the stores that are opened on it.
pub(super) struct World {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) faults: Arc<Faults>,
    pub(super) store: Option<Store>,
    sent: Vec<(Slot, Body)>,
    /// What a lookup may find: `None` is nothing. Not listed is nothing, too.
    pub(super) allowed: Allowed,
    pub(super) parts: Parts,
    /// Something was copied or evicted since the start, so that files changed.
    pub(super) has_moved: bool,
    /// What was allowed when so many steps were written down.
    history: Vec<(usize, Allowed)>,
}

/// How much room a store has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// Nothing needs to be evicted.
    Enough,
    /// Not for everything.
    Tight,
    /// Enough, with sled as index.
    Index,
}

impl World {
    pub(super) fn new(dir: &Path, room: Room, faults: Arc<Faults>) -> Self {
        let mut options = Options::new(dir);
        options.disk_limit = match room {
            Room::Enough => 32 * MIB,
            Room::Tight => 2 * MIB,
            Room::Index => 64 * MIB,
        };
        options.segment_bytes = MIB / 4;
        options.memory_limit = MIB;
        Self {
            dir: dir.to_owned(),
            options,
            faults,
            store: None,
            sent: Vec::new(),
            allowed: HashMap::new(),
            parts: Parts::new(),
            has_moved: false,
            history: Vec::new(),
        }
    }

    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// False when the process died on the way.
    pub(super) async fn open(&mut self) -> bool {
        for attempt in 0.. {
            let ground = Ground { files: Files::behind(self.faults.clone()), ..Ground::default() };
            match Store::open_on(self.options.clone(), ground) {
                Ok(store) => {
                    store.ready().await;
                    self.store = Some(store);
                    break;
                }
                // A disk that refuses to make directories is an error that a person sees.
                Err(error) => assert!(self.faults.is_stopped() || attempt < 20, "{error}"),
            }
            if self.faults.is_stopped() {
                break;
            }
        }
        !self.faults.is_stopped()
    }

    pub(super) async fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().await;
        }
    }

    /// Does all of it, or what comes before a stop and what is on its way then. Afterwards the store is closed, which
    /// changes nothing any more if it was stopped.
    pub(super) async fn run(&mut self, ops: &[Op]) {
        if self.open().await {
            for op in ops {
                self.act(*op).await;
                self.note();
                if self.faults.is_stopped() {
                    break;
                }
            }
        }
        self.count_evicted();
        self.close().await;
    }

    /// The same history in another directory.
    pub(super) fn elsewhere(&self, dir: &Path) -> Self {
        let mut options = self.options.clone();
        options.dir = dir.to_owned();
        Self {
            dir: dir.to_owned(),
            options,
            faults: Faults::none(),
            store: None,
            sent: self.sent.clone(),
            allowed: HashMap::new(),
            parts: parts::unknown(),
            has_moved: false,
            history: Vec::new(),
        }
    }

    /// What may be found when a kill comes after so many steps: what was known before the operation that was on its
    /// way then, or after it.
    pub(super) fn allowed_at(&self, steps: usize) -> Allowed {
        let ended = self.history.partition_point(|(len, _)| *len <= steps);
        let mut all = ended.checked_sub(1).map(|last| self.history[last].1.clone()).unwrap_or_default();
        if let Some((_, next)) = self.history.get(ended) {
            for (slot, versions) in next {
                let known = all.entry(*slot).or_insert_with(|| vec![None]);
                known.extend(versions);
            }
        }
        all
    }

    /// The journal's place in time, for power cuts.
    fn note(&mut self) {
        if let Some(store) = &self.store {
            // A disk that refused is tried again after a while, which has passed now.
            let shared = store.shared();
            if store.stats().write_errors > 0 {
                shared.tick(shared.now() + 11);
            }
        }
        if let Some(journal) = self.faults.journal() {
            self.history.push((journal.len(), self.allowed.clone()));
        }
    }

    /// What may have been evicted may be gone; what the store still nominates may not.
    pub(super) fn count_evicted(&mut self) {
        let Some(store) = &self.store else { return };
        if store.stats().evicted == 0 {
            return;
        }
        for (name, _) in PARTS {
            self.part_may_be_gone(name);
        }
        let Some(store) = &self.store else { return };
        for ((name, variant), allowed) in &mut self.allowed {
            let response = response_to(&[("Accept", &accept(*variant))], &[("Vary", "Accept")]);
            let shared = store.shared();
            let (print, tag) = shared.keys.tags(&key(name), response.nominated());
            if shared.directory.find_variant(print, tag).is_none() && !allowed.contains(&None) {
                allowed.push(None);
            }
        }
    }

    async fn act(&mut self, op: Op) {
        match op {
            Op::Store { key: name, variant, body: sent } => {
                let version = self.send((name, variant), sent);
                let response = self.response(version);
                let content = body(sent.seed, sent.len);
                let stored = put_response(self.store(), &key(name), response, &content).await;
                self.outcome((name, variant), Some(version), stored.is_some());
            }
            Op::StoreTwo { keys, bodies } => {
                let versions = [self.send((keys[0], 0), bodies[0]), self.send((keys[1], 0), bodies[1])];
                let store = self.store().clone();
                let fills = [0, 1].map(|n| {
                    let (response, content) =
                        (self.response(versions[n]), body(bodies[n].seed, bodies[n].len));
                    let fill = store.begin(key(keys[n]), response, None, None);
                    (fill, content)
                });
                let [(mut first, one), (mut second, two)] = fills;
                let half = one.len() / 2;
                let begun = first.write(one.slice(..half)).await.is_ok();
                let whole = second.write(two).await.is_ok();
                let second = if whole { second.finish().await } else { None };
                let ended = begun && first.write(one.slice(half..)).await.is_ok();
                let first = if ended { first.finish().await } else { None };
                self.outcome((keys[0], 0), Some(versions[0]), first.is_some());
                self.outcome((keys[1], 0), Some(versions[1]), second.is_some());
            }
            Op::Freshen { key: name } => {
                let found = self.store().lookup(&key(name)).await;
                let Some(stored) = found.first() else { return };
                let old = self.version(stored);
                let (slot, sent) = self.sent[old];
                let version = self.send(slot, sent);
                let response = self.response(version);
                self.store().freshen(stored, response).await;
                // It does not say whether the disk took it; when nothing was evicted, it did.
                let sure = !self.faults.is_stopped() && self.store().stats().evicted == 0;
                self.outcome(slot, Some(version), sure && self.store().stats().write_errors == 0);
            }
            Op::Part { key, range } => self.fill_part(key, range).await,
            Op::Remove { key: name } => {
                self.store().remove(&key(name)).await;
                if PARTS.iter().any(|(part, _)| *part == name) {
                    return self.part_removed(name, true);
                }
                for variant in 0..VARIANTS {
                    self.outcome((name, variant), None, true);
                }
            }
            Op::RemoveWhere(which) => {
                let filter = match which {
                    Which::All => Filter::default(),
                    Which::Tag(parity) => Filter { tag: Some(tag(parity)), ..Filter::default() },
                };
                let removed = self.store().remove_where(filter).await;
                for slot in (0..KEYS).flat_map(|key| (0..VARIANTS).map(move |variant| (key, variant))) {
                    let hit = match which {
                        Which::All => true,
                        Which::Tag(parity) => slot.0 % 2 == parity,
                    };
                    if hit {
                        self.outcome(slot, None, removed.is_ok());
                    }
                }
                for (name, _) in PARTS {
                    if which == Which::All || which == Which::Tag(name % 2) {
                        self.part_removed(name, removed.is_ok());
                    }
                }
            }
            Op::Abandon { key: name, body: sent } => {
                let version = self.send((name, 0), sent);
                let response = self.response(version);
                let mut fill = self.store().begin(key(name), response, None, None);
                let _ = fill.write(body(sent.seed, sent.len)).await;
            }
            Op::Look { key: name } => {
                for stored in self.store().lookup(&key(name)).await.iter() {
                    let sent = self.sent[self.version(stored)].1;
                    if let Ok(found) = read(stored.body(0..u64::MAX)).await {
                        assert!(found == body(sent.seed, sent.len), "wrong bytes before a stop");
                    }
                }
            }
            Op::Settle => {
                for _ in 0..3 {
                    barrier(self.store().sender()).await.unwrap();
                }
            }
            Op::Reopen => {
                self.count_evicted();
                self.close().await;
                if !self.faults.is_stopped() {
                    self.open().await;
                }
            }
        }
    }

    fn send(&mut self, slot: Slot, body: Body) -> Version {
        self.sent.push((slot, body));
        self.sent.len() - 1
    }

    fn response(&self, version: Version) -> larder_policy::StoredResponse {
        let ((name, variant), _) = self.sent[version];
        response_to(
            &[("Accept", &accept(variant))],
            &[("Vary", "Accept"), ("ETag", &format!("\"{version}\"")), ("Cache-Tag", &tag(name % 2))],
        )
    }

    /// Which response this is.
    pub(super) fn version(&self, stored: &Stored) -> Version {
        let tag = stored.response().fields().all("etag").next().unwrap();
        let version: Version = std::str::from_utf8(tag).unwrap().trim_matches('"').parse().unwrap();
        assert!(*stored.response() == self.response(version), "not what was sent");
        assert!(*stored.key() == key(self.sent[version].0.0), "under another key");
        version
    }

    pub(super) fn sent(&self, version: Version) -> (Slot, Body) {
        self.sent[version]
    }

    /// An operation on a slot has ended. While the process lives its word counts; if it died, both may be.
    fn outcome(&mut self, slot: Slot, now: Option<Version>, done: bool) {
        let allowed = self.allowed.entry(slot).or_insert_with(|| vec![None]);
        if done && !self.faults.is_stopped() {
            allowed.clear();
        }
        if !allowed.contains(&now) {
            allowed.push(now);
        }
    }
}

fn accept(variant: u64) -> String {
    format!("type/{variant}")
}

pub(super) fn tag(parity: u64) -> String {
    format!("parity-{parity}")
}
