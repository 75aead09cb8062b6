//! The index as a sled tree. No other module names sled.
//!
//! sled panics on damaged files, also while reading, so every call into it is caught and becomes an error.
//! Keys are the three bytes of a bucket; keys of other lengths are about the tree itself.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::value::{self, Bucket, Entry, Keyed};
use super::{Change, Index, Watermark, guard};
use crate::directory::Fingerprint;

const SCHEMA_KEY: &[u8] = b"larder schema";
const SCHEMA: &[u8] = b"2";
const WATERMARK_KEY: &[u8] = b"larder watermark";
/// A database that was closed a moment ago may still hold its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// An open sled database.
pub(super) struct Tree(sled::Db);

impl Tree {
    /// Opens or makes the database. Fails on damage, and on a schema that is not ours.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> io::Result<Self> {
        let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
        let until = Instant::now() + LOCK_PATIENCE;
        let db = loop {
            match caught(|| config.open()) {
                Err(error) if is_locked(&error) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => break other?,
            }
        };
        let tree = Self(db);
        match caught(|| tree.0.get(SCHEMA_KEY))? {
            Some(schema) if schema.as_ref() == SCHEMA => {}
            None if caught(|| Ok(tree.0.is_empty()))? => {
                caught(|| tree.0.insert(SCHEMA_KEY, SCHEMA))?;
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown schema")),
        }
        Ok(tree)
    }

    /// What is in a bucket; what cannot be decoded is nothing.
    fn bucket(&self, bucket: Bucket) -> io::Result<Vec<Keyed>> {
        let found = caught(|| self.0.get(bucket.key()))?;
        Ok(found.and_then(|bytes| value::decode(bucket, &bytes)).unwrap_or_default())
    }
}

impl Index for Tree {
    fn get(&self, fingerprint: Fingerprint) -> io::Result<Vec<Entry>> {
        let entries = self.bucket(Bucket::of(fingerprint))?;
        Ok(entries.into_iter().filter(|(print, _)| *print == fingerprint).map(|(_, entry)| entry).collect())
    }

    fn apply(&self, changes: &[Change], watermark: Option<Watermark>) -> io::Result<()> {
        let mut changed: HashMap<Bucket, Vec<Keyed>> = HashMap::new();
        for change in changes {
            let bucket = Bucket::of(change.fingerprint);
            let entries = match changed.entry(bucket) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => new.insert(self.bucket(bucket)?),
            };
            let gone = |place| Some(place) == change.drop || Some(place) == change.add.map(|add| add.place);
            entries.retain(|(print, entry)| *print != change.fingerprint || !gone(entry.place));
            entries.extend(change.add.map(|add| (change.fingerprint, add)));
        }
        let mut batch = sled::Batch::default();
        for (bucket, entries) in changed {
            let key = bucket.key();
            if entries.is_empty() {
                batch.remove(&key);
            } else {
                batch.insert(&key, value::encode(&entries));
            }
        }
        if let Some(Watermark { segment, offset }) = watermark {
            let mut bytes = [0; 8];
            let (left, right) = bytes.split_at_mut(4);
            left.copy_from_slice(&segment.to_le_bytes());
            right.copy_from_slice(&offset.to_le_bytes());
            batch.insert(WATERMARK_KEY, &bytes);
        }
        caught(|| self.0.apply_batch(batch))
    }

    fn watermark(&self) -> io::Result<Option<Watermark>> {
        let found = caught(|| self.0.get(WATERMARK_KEY))?;
        Ok(found.and_then(|bytes| {
            let (segment, rest) = bytes.split_first_chunk::<4>()?;
            let offset = rest.first_chunk::<4>()?;
            Some(Watermark { segment: u32::from_le_bytes(*segment), offset: u32::from_le_bytes(*offset) })
        }))
    }

    fn scan(&self, visit: &mut dyn FnMut(Fingerprint, Entry) -> bool) -> io::Result<()> {
        caught(|| {
            for item in self.0.iter() {
                let (key, bytes) = item?;
                let Some(bucket) = Bucket::from_key(&key) else { continue };
                for (fingerprint, entry) in value::decode(bucket, &bytes).unwrap_or_default() {
                    if !visit(fingerprint, entry) {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    fn flush(&self) -> io::Result<()> {
        caught(|| self.0.flush().map(drop))
    }
}

/// sled tells it by the text alone.
fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().starts_with("could not acquire lock")
}

/// Calls into sled; a panic becomes an error.
fn caught<T>(call: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    guard::caught(|| match call() {
        Ok(value) => Ok(value),
        Err(sled::Error::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Place, VariantTag};

    fn entry(n: u32) -> Entry {
        let place = Place { segment: 1, offset: n * 8, length: 80 };
        Entry { variant: VariantTag(n), place, file: None }
    }

    fn change(print: u64, drop: Option<u32>, add: Option<u32>) -> Change {
        Change { fingerprint: Fingerprint(print), drop: drop.map(|n| entry(n).place), add: add.map(entry) }
    }

    #[test]
    fn changes_of_one_batch_build_on_each_other() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::open(root.path(), 1 << 20).unwrap();
        assert_eq!(tree.watermark().unwrap(), None);
        let mark = Watermark { segment: 3, offset: 400 };
        let changes = [change(1, None, Some(1)), change(1, None, Some(2)), change(2, None, Some(3))];
        tree.apply(&changes, Some(mark)).unwrap();
        tree.apply(&[change(1, Some(1), Some(4)), change(2, Some(3), None)], None).unwrap();
        assert_eq!(tree.get(Fingerprint(1)).unwrap(), [entry(2), entry(4)]);
        assert_eq!(tree.get(Fingerprint(2)).unwrap(), []);
        assert_eq!(tree.watermark().unwrap(), Some(mark));
        let mut seen = Vec::new();
        tree.scan(&mut |print, found| {
            seen.push((print.0, found == entry(2) || found == entry(4)));
            true
        })
        .unwrap();
        assert_eq!(seen, [(1, true), (1, true)]);
    }

    #[test]
    fn a_database_that_is_being_let_go_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let held = Tree::open(root.path(), 1 << 20).unwrap();
        let locked = sled::Config::new().path(root.path()).open().unwrap_err();
        assert!(is_locked(&io::Error::other(locked.to_string().trim_start_matches("IO error: ").to_owned())));
        let path = root.path().to_owned();
        let (opening, opens) = std::sync::mpsc::channel();
        let second = std::thread::spawn(move || {
            opening.send(()).unwrap();
            Tree::open(&path, 1 << 20).map(drop)
        });
        opens.recv().unwrap();
        drop(held);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn an_unknown_schema_is_refused() {
        let root = tempfile::tempdir().unwrap();
        {
            let tree = Tree::open(root.path(), 1 << 20).unwrap();
            tree.0.insert(SCHEMA_KEY, b"3").unwrap();
            tree.flush().unwrap();
        }
        assert!(Tree::open(root.path(), 1 << 20).is_err());
    }
}
