//! What a power cut may leave of a directory whose every step was written down.
//!
//! Nothing the store does is synced, so all of it is at stake. The model is a journaling file system: steps that change
//! names and cut files off are kept in their order up to some point and lost from there on; bytes that were written may
//! be lost or torn wherever they are, also those of files whose later renaming was kept. So a blob may have its name
//! and be short, empty, zeroed or, as on file systems that promise less, full of other bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that reach the disk together or not at all, unless they are torn.
const PAGE: u64 = 4096;
/// A torn page ends at a multiple of this.
const SECTOR: usize = 512;

/// A file, whatever name it has.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct FileId(u64);

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Create(PathBuf),
    Write { file: FileId, offset: u64, bytes: Vec<u8> },
    SetLen { file: FileId, len: u64 },
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeDir(PathBuf),
    RemoveDir(PathBuf),
}

/// All steps since the directory was made.
#[derive(Clone, Default, Debug)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
    now: Names,
}

/// Which names there are, and for which files. The file that is made by entry n has number n + 1.
#[derive(Clone, Default, Debug)]
struct Names {
    files: BTreeMap<PathBuf, FileId>,
    dirs: BTreeSet<PathBuf>,
}

impl Names {
    fn apply(&mut self, number: usize, entry: &Entry) {
        match entry {
            Entry::Create(path) => {
                self.files.insert(path.clone(), FileId(number as u64 + 1));
            }
            Entry::Rename(from, to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Entry::Link(from, to) => {
                if let Some(file) = self.files.get(from) {
                    self.files.insert(to.clone(), *file);
                }
            }
            Entry::Remove(path) => {
                self.files.remove(path);
            }
            Entry::MakeDir(path) => self.dirs.extend(path.ancestors().map(Path::to_owned)),
            Entry::RemoveDir(path) => {
                let within = |other: &PathBuf| other.parent() == Some(path);
                if !self.files.keys().any(within) && !self.dirs.iter().any(within) {
                    self.dirs.remove(path);
                }
            }
            Entry::Write { .. } | Entry::SetLen { .. } => {}
        }
    }
}

impl Journal {
    pub(super) fn push(&mut self, entry: Entry) {
        self.now.apply(self.entries.len(), &entry);
        self.entries.push(entry);
    }

    pub(super) fn file(&self, path: &Path) -> Option<FileId> {
        self.now.files.get(path).copied()
    }

    /// How many steps there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is left in `dir` when power fails, made in `to`: names as after the first `kept` steps; of the bytes written
    /// in the first `done` steps so many percent are lost, and more of those whose file was made just then. `below(n)`
    /// is a random number below n.
    pub(crate) fn after_power_cut(
        &self,
        cut: PowerCut,
        below: &mut dyn FnMut(u64) -> u64,
        (dir, to): (&Path, &Path),
    ) {
        let mut names = Names::default();
        let mut files: BTreeMap<FileId, Vec<u8>> = BTreeMap::new();
        for (number, entry) in self.entries.iter().enumerate().take(cut.done) {
            if number < cut.kept {
                names.apply(number, entry);
            }
            match entry {
                Entry::Create(_) if number < cut.kept => {
                    files.insert(FileId(number as u64 + 1), Vec::new());
                }
                Entry::SetLen { file, len } if number < cut.kept => {
                    if let Some(content) = files.get_mut(file) {
                        content.resize(usize::try_from(*len).unwrap(), 0);
                    }
                }
                Entry::Write { file, offset, bytes } => {
                    if let Some(content) = files.get_mut(file) {
                        write(content, *offset, bytes, cut.lost_percent, below);
                    }
                }
                _ => {}
            }
        }
        let there = |path: &Path| to.join(path.strip_prefix(dir).unwrap());
        for path in names.dirs.iter().filter(|path| path.starts_with(dir)) {
            fs::create_dir_all(there(path)).unwrap();
        }
        for (path, file) in &names.files {
            fs::write(there(path), &files[file]).unwrap();
        }
    }
}

/// When power fails, and how much it takes along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PowerCut {
    /// Steps that were made before.
    pub(crate) done: usize,
    /// Of those, the ones whose changes of names are on disk.
    pub(crate) kept: usize,
    pub(crate) lost_percent: u64,
}

fn write(
    content: &mut Vec<u8>,
    offset: u64,
    bytes: &[u8],
    lost_percent: u64,
    below: &mut dyn FnMut(u64) -> u64,
) {
    let mut offset = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (page, more) = rest.split_at(rest.len().min((PAGE - offset % PAGE) as usize));
        let at = usize::try_from(offset).unwrap();
        let end = at + page.len();
        let lost = below(100) < lost_percent;
        // The length may be on disk though the bytes are not.
        if content.len() < end && (!lost || below(2) == 0) {
            content.resize(end, 0);
        }
        let landed = match below(4) {
            _ if !lost => page.len(),
            0 => (below(PAGE) as usize / SECTOR * SECTOR).min(page.len()),
            _ => 0,
        };
        let reach = content.len().saturating_sub(at).min(landed);
        if reach > 0 {
            content[at..at + reach].copy_from_slice(&page[..reach]);
        }
        if lost && below(8) == 0 {
            // Whatever was in that place on the disk before.
            for byte in content.iter_mut().take(end).skip(at + reach) {
                *byte = below(256) as u8;
            }
        }
        offset += page.len() as u64;
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::super::seam::{Fault, Faults};
    use super::super::*;
    use super::*;

    #[test]
    fn without_losses_everything_is_as_it_was_at_each_step() {
        let root = tempfile::tempdir().unwrap();
        let faults = Faults::journaling();
        let files = Files::behind(faults.clone());
        let dir = root.path().join("d");
        let mut seen = Vec::new();
        let mut see = || {
            let mut all: Vec<_> = fs::read_dir(&dir)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .map(|path| (path.clone(), fs::read(&path).ok()))
                .collect();
            all.sort();
            seen.push(all);
        };
        see();
        files.make_dir(&dir).unwrap();
        see();
        let file = files.create(&dir.join("a")).unwrap();
        see();
        file.write_all(&[vec![1; 5000], vec![2; 5000]], 100).unwrap();
        see();
        file.set_len(9000).unwrap();
        see();
        files.rename(&dir.join("a"), &dir.join("b")).unwrap();
        see();
        file.write_all(&[b"more"], 4).unwrap();
        see();
        files.create_new(&dir.join("a")).unwrap();
        see();
        files.link(&dir.join("b"), &dir.join("l")).unwrap();
        see();
        files.make_dir(&dir.join("c")).unwrap();
        see();
        files.remove(&dir.join("b")).unwrap();
        see();
        files.remove_dir(&dir.join("c")).unwrap();
        see();
        let journal = faults.journal().unwrap();
        assert_eq!(journal.len() + 1, seen.len());
        for (kept, expected) in seen.iter().enumerate() {
            let to = root.path().join(format!("to/{kept}"));
            let cut = PowerCut { done: kept, kept, lost_percent: 0 };
            journal.after_power_cut(cut, &mut |_| 0, (&dir, &to));
            for (path, content) in expected {
                let there = to.join(path.strip_prefix(&dir).unwrap());
                assert_eq!((fs::read(&there).ok(), there.exists()), (content.clone(), true), "step {kept}");
            }
            let count = fs::read_dir(&to).into_iter().flatten().count();
            assert_eq!(count, expected.len(), "step {kept}");
        }
    }

    #[test]
    fn after_a_stop_nothing_changes_any_more() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let faults = Faults::at(1, Fault::Tear(3));
        let files = Files::behind(faults.clone());
        let file = files.create(&path).unwrap();
        assert!(file.write_all(&[b"ab", b"cd"], 0).is_err());
        assert!(faults.is_stopped());
        assert!(file.write_all(&[b"xyz"], 0).is_err() && file.set_len(0).is_err());
        assert!(files.remove(&path).is_err() && files.rename(&path, &root.path().join("b")).is_err());
        assert!(files.create_new(&root.path().join("c")).is_err() && files.open(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!((fs::read_dir(root.path()).unwrap().count(), faults.steps()), (1, 2));
        let faults = Faults::at(0, Fault::Stop);
        assert!(Files::behind(faults.clone()).remove(&path).is_err() && faults.is_stopped());
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn a_full_disk_refuses_what_needs_room_for_a_while() {
        let root = tempfile::tempdir().unwrap();
        let full = Fault::Refuse { error: Errno::NOSPC, times: 3, landing: 1 };
        let faults = Faults::at(1, full);
        let files = Files::behind(faults.clone());
        let file = files.create(&root.path().join("a")).unwrap();
        let refused = file.write_all(&[b"ab"], 0).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        file.set_len(0).unwrap();
        assert!(files.make_dir(&root.path().join("d")).is_err());
        file.write_all(&[b"ab"], 0).unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"ab");
        let next = faults.reads();
        faults.fail_reads(next..next + 2);
        assert!(files.open(&root.path().join("a")).is_err() && file.len().is_err());
        assert_eq!(file.len().unwrap(), 2);
    }
}
