//! How many directories the blobs lie in; each takes a block of the disk.
//!
//! The sweep after a start sees them one by one while others are made and removed beside it, so what was done since it
//! began counts more than what it saw. Until it is through, those that blobs with an owner need are counted.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The directories below `blobs`.
#[derive(Debug, Default)]
pub(super) struct Directories {
    count: u64,
    /// While the sweep runs: what was made (true) or removed since it began.
    since: Option<HashMap<PathBuf, bool>>,
}

impl Directories {
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// All blobs are known, and they lie in so many.
    pub(super) fn sweep_begins(&mut self, needed: u64) {
        self.count = needed;
        self.since = Some(HashMap::new());
    }

    pub(super) fn made(&mut self, path: &Path) {
        self.count += 1;
        self.changed(path, true);
    }

    pub(super) fn removed(&mut self, path: &Path) {
        self.count = self.count.saturating_sub(1);
        self.changed(path, false);
    }

    /// The sweep saw these.
    pub(super) fn sweep_ended(&mut self, mut seen: HashSet<PathBuf>) {
        for (path, made) in self.since.take().unwrap_or_default() {
            if made {
                seen.insert(path);
            } else {
                seen.remove(&path);
            }
        }
        self.count = seen.len() as u64;
    }

    fn changed(&mut self, path: &Path, made: bool) {
        if let Some(since) = &mut self.since {
            since.insert(path.to_owned(), made);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_while_the_sweep_looked_counts() {
        let mut directories = Directories::default();
        directories.sweep_begins(3);
        assert_eq!(directories.count(), 3);
        directories.removed(Path::new("a/b"));
        directories.made(Path::new("c"));
        directories.made(Path::new("d"));
        directories.removed(Path::new("d"));
        let seen = ["a", "a/b", "c", "d", "e"].map(PathBuf::from);
        directories.sweep_ended(seen.into_iter().collect());
        assert_eq!(directories.count(), 3);
        directories.removed(Path::new("e"));
        assert_eq!(directories.count(), 2);
    }
}
