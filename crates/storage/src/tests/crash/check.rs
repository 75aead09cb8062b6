//! What must hold of a directory after it was opened again, whatever happened to it before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{body, eventually, key, panics, read};
use super::script::{KEYS, PARTS};
use super::world::World;
use crate::blob::{BLOCK, file_blocks, has_tree};
use crate::files::seam::Faults;
use crate::purge::barrier;
use crate::record::FileKind;
use crate::segment::{self, Found, Scan};
use crate::{BlobDigest, Repair, Store};

/// What happened before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    /// The process was stopped: everything it had said holds.
    Stop,
    /// Power failed, or the disk did: what was stored may be gone or older, but it is right.
    Loss,
}

impl World {
    /// Opens the directory with the system as it is, checks everything, closes it, and does so once more, which may
    /// change nothing. Then what was found is what must be found from now on.
    pub(super) async fn check(&mut self, after: After, why: &str) {
        assert_eq!(panics(), 0, "{why}: a panic in the store");
        self.faults = Faults::none();
        let first = self.check_once(after, why).await;
        let before = picture(&self.dir);
        // What was found is all that is there now.
        self.allowed = first.clone().into_iter().map(|(slot, version)| (slot, vec![Some(version)])).collect();
        let second = self.check_once(After::Stop, why).await;
        assert_eq!(first, second, "{why}: a second start finds something else");
        // What is dropped as damaged may leave a segment empty, which goes at the next start.
        if after == After::Stop && !self.has_moved {
            let now = picture(&self.dir);
            let changed: Vec<_> =
                now.iter().filter(|(path, content)| before.get(*path) != Some(content)).collect();
            let gone: Vec<_> = before.keys().filter(|path| !now.contains_key(*path)).collect();
            let names: Vec<_> = changed.iter().map(|(path, _)| path).collect();
            assert!(names.is_empty() && gone.is_empty(), "{why}: changed {names:?}, gone {gone:?}");
        }
    }

    async fn check_once(&mut self, after: After, why: &str) -> HashMap<(u64, u64), usize> {
        assert!(self.open().await, "{why}");
        let mut found = HashMap::new();
        for name in 0..KEYS {
            self.look(name, after, why, &mut found).await;
        }
        let parts = self.look_at_parts(after, why).await;
        for (slot, allowed) in &self.allowed {
            let found = found.get(slot).copied();
            let fine = after == After::Loss || allowed.contains(&found);
            assert!(fine, "{why}: {slot:?} is {found:?}, not one of {allowed:?}");
        }
        // Nothing that was never stored is found.
        let known = found.keys().all(|slot| after == After::Loss || self.allowed.contains_key(slot));
        assert!(known, "{why}: {found:?} but only {:?} were stored", self.allowed.keys());
        let store = self.store();
        let count = found.len() as u64 + parts;
        // A record that was found to have no body while it was being copied elsewhere goes at a later look.
        let began = std::time::Instant::now();
        while after == After::Loss && store.stats().objects != count && began.elapsed().as_secs() < 10 {
            for name in (0..KEYS).chain(PARTS.map(|(name, _)| name)) {
                let _ = store.lookup(&key(name)).await;
            }
            barrier(store.sender()).await.unwrap();
        }
        let objects = || format!("{why}: {} objects, {found:?} and {parts} parts", store.stats().objects);
        eventually(|| store.stats().objects == count, objects).await;
        self.accounts_agree(why).await;
        barrier(store.sender()).await.unwrap();
        let report = store.verify(Repair::No, |_| true).await.unwrap();
        assert_eq!((report.damaged_bodies, report.missing_bodies), (0, 0), "{why}: {report:?}");
        assert_eq!(report.records, count, "{why}");
        let stats = store.stats();
        assert!(stats.disk_bytes <= stats.disk_limit, "{why}: {stats:?}");
        if after == After::Stop {
            assert_eq!((stats.damaged, stats.read_errors), (0, 0), "{why}: {stats:?}");
        }
        assert_eq!(stats.write_errors, 0, "{why}: {stats:?}");
        self.has_moved = stats.compacted > 0 || stats.evicted > 0;
        self.close().await;
        found
    }

    /// The sweep after a start and compaction go on beside this, so it may take a few looks.
    async fn accounts_agree(&self, why: &str) {
        let began = std::time::Instant::now();
        while let Err(fault) = accounts(self.store(), &self.dir) {
            assert!(began.elapsed() < std::time::Duration::from_secs(60), "{why}: {fault}");
            barrier(self.store().sender()).await.unwrap();
            // Leaves the processor to those who are waited for.
            tokio::time::sleep(std::time::Duration::from_micros(300)).await;
        }
    }

    async fn look(&self, name: u64, after: After, why: &str, found: &mut HashMap<(u64, u64), usize>) {
        // After a loss the first look may find damage, and the second may not.
        for attempt in 0..2 {
            let mut sound = true;
            for stored in self.store().lookup(&key(name)).await.iter() {
                let version = self.version(stored);
                let (slot, sent) = self.sent(version);
                let right = body(sent.seed, sent.len);
                match read(stored.body(0..u64::MAX)).await {
                    Ok(bytes) => {
                        assert!(bytes == right, "{why}: {slot:?} has wrong bytes");
                        found.insert(slot, version);
                    }
                    Err(error) => {
                        assert!(after == After::Loss && attempt == 0, "{why}: {slot:?} {error}");
                        sound = false;
                        let digest = stored.digest();
                        let gone = || !self.store().shared().layout.blob(&digest).exists();
                        eventually(gone, || format!("{why}: a damaged blob stays")).await;
                    }
                }
            }
            if sound {
                return;
            }
        }
    }
}

/// Whether counts and sizes agree with the directory's real content, and nothing is there without an owner.
fn accounts(store: &Store, dir: &Path) -> Result<(), String> {
    let stats = store.stats();
    let layout = &store.shared().layout;
    let temp = files(&layout.temp());
    ensure(temp.is_empty(), || format!("temp has {temp:?}"))?;
    let mut named = BTreeMap::new();
    let (mut live, mut size, mut segment_bytes) = (0, 0, 0);
    for (id, len) in segment::list(layout).map_err(|error| error.to_string())? {
        segment_bytes += file_blocks(len) * BLOCK;
        size += len.saturating_sub(segment::FIRST_RECORD);
        let file = store.shared().segments.open(id).map_err(|error| error.to_string())?;
        let mut scan = Scan::new(id, file, 0, len);
        while let Some(found) = scan.next().map_err(|error| error.to_string())? {
            let Found::Record { place, head, front } = found else { continue };
            let print = store.shared().keys.fingerprint(front.key);
            if !head.live {
                continue;
            }
            if store.shared().directory.find_place(print, place).is_none() {
                // An index that went on after the stop knows that it was removed, though its mark is missing.
                ensure(store.shared().options.index_on_disk(), || {
                    format!("{place:?} is live and not in the directory")
                })?;
                continue;
            }
            live += head.record_bytes();
            if let Some(file) = head.file() {
                named.insert(file.name, file);
            }
        }
    }
    let mut expected = BTreeSet::new();
    let mut blob_bytes = 0;
    for (name, file) in &named {
        let mut bytes = u64::from(file.blocks()) * BLOCK;
        if file.kind == FileKind::Partial {
            // What a fill left in it without a record counts, too.
            bytes = bytes.max(allocated(&layout.partial(name)) + allocated(&layout.partial_map(name)));
        }
        blob_bytes += bytes;
        match file.kind {
            FileKind::Blob => {
                expected.insert(layout.blob(name));
                if has_tree(file.len) {
                    expected.insert(layout.tree(name));
                }
            }
            FileKind::Partial => expected.extend([layout.partial(name), layout.partial_map(name)]),
        }
    }
    let mut there: BTreeSet<PathBuf> = files(&layout.blobs()).into_iter().collect();
    there.extend(files(&layout.partials()));
    ensure(there == expected, || format!("blobs {there:?}, named {expected:?}"))?;
    for path in there.iter().filter(|path| path.starts_with(layout.blobs())) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let digest = BlobDigest::from_hex(name.trim_end_matches(".tree")).unwrap();
        let len = fs::metadata(path).map_err(|error| error.to_string())?.len();
        ensure(name.ends_with(".tree") || len == named[&digest].len, || format!("{name} has {len} bytes"))?;
    }
    let directories = directories(&layout.blobs());
    same("segment_bytes", stats.segment_bytes, segment_bytes)?;
    same("dead_bytes", stats.dead_bytes, size - live)?;
    same("blob_bytes", stats.blob_bytes, blob_bytes + directories * BLOCK)?;
    same("temp_bytes", stats.temp_bytes, 0)?;
    let names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !NAMES.contains(&name.as_str()))
        .collect();
    ensure(names.is_empty(), || format!("{names:?} do not belong here"))
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| (found.blocks() * 512).next_multiple_of(BLOCK))
}

/// Everything that belongs into a directory.
const NAMES: [&str; 11] = [
    "format",
    "lock",
    "segments",
    "blobs",
    "partials",
    "temp",
    "totals",
    "order",
    "index",
    "quarantine",
    "scrub",
];

fn ensure(fine: bool, else_say: impl FnOnce() -> String) -> Result<(), String> {
    if fine { Ok(()) } else { Err(else_say()) }
}

fn same(what: &str, said: u64, is: u64) -> Result<(), String> {
    ensure(said == is, || format!("{what} is {is}, not {said}"))
}

/// All files below a directory, while others may come and go.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn directories(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).map(|path| 1 + directories(&path)).sum()
}

/// All files that say what is stored, with their content.
fn picture(dir: &Path) -> BTreeMap<PathBuf, BlobDigest> {
    let mut all = files(&dir.join("segments"));
    all.extend(files(&dir.join("blobs")));
    all.into_iter().map(|path| (path.clone(), BlobDigest::of(&fs::read(path).unwrap()))).collect()
}
