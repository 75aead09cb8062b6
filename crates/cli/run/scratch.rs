//! A directory of one run's own, for the certificates that its command is to trust; gone when it is dropped. What a run that
//! was killed has left behind, the next one removes.
//!
//! A run holds a lock on a file in its directory. Nothing else tells that it lives: its number may be another's by now, or
//! belong to a container that shares the directory of temporary files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::process::geteuid;
use tempfile::TempDir;

/// What the names begin with.
const PREFIX: &str = "larder-run-";

/// The file that is locked.
const LOCK: &str = "lock";

/// A younger directory may be one whose lock has not been taken yet.
const SETTLED: Duration = Duration::from_secs(60);

/// The directory of a run, until it is dropped.
pub(super) struct Scratch {
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one among the system's temporary files, and sweeps there.
    pub(super) fn new() -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        Self::within(&parent).context("cannot make a directory for the certificates of this run")
    }

    fn within(parent: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::create(directory.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { directory, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes what runs of this user have left behind. What cannot be looked at or removed stays.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        if is_left_behind(&entry.path()).unwrap_or(false) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Others cannot write into a directory of ours, so that its lock is what a run has made.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    let ours = found.is_dir() && found.uid() == geteuid().as_raw();
    // A clock that was set back makes it young.
    let settled = found.modified()?.elapsed().is_ok_and(|age| age > SETTLED);
    Ok(ours && settled && File::open(path.join(LOCK))?.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn age(path: &Path) {
        File::open(path).unwrap().set_modified(SystemTime::now() - 2 * SETTLED).unwrap();
    }

    #[test]
    fn what_a_dead_run_has_left_is_swept_and_what_a_living_one_has_stays() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::within(parent.path()).unwrap();
        let Scratch { directory, _lock } = Scratch::within(parent.path()).unwrap();
        let dead = directory.keep();
        fs::write(dead.join("ca.pem"), "").unwrap();
        drop(_lock);
        let other = parent.path().join("larder-other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(LOCK), "").unwrap();
        sweep(parent.path());
        assert!(dead.exists(), "it may be about to take its lock");
        for path in [living.path(), &dead, &other] {
            age(path);
        }
        sweep(parent.path());
        assert!(!dead.exists() && living.path().join(LOCK).exists() && other.exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
