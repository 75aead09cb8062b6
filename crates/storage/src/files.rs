//! Every operation on the store's own files: segments, blobs, trees, unfinished bodies and notes.
//!
//! All of them pass through here, so that one place knows what the disk is asked to do and in which order. Nothing here
//! decides anything, and nothing is retried but what a signal interrupted. Not here: sled's files, which it handles
//! itself, and what is done before a directory is a store (see `layout`).
//!
//! Each call asks the seam first. In the product that is nothing (`files/seam.rs`); in tests it counts the steps, stops
//! or fails any of them, and writes down what a power cut could lose (`files/faults.rs`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, CWD, FallocateFlags, Mode, OFlags, ResolveFlags, fadvise, fallocate, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev};

#[cfg(test)]
pub(crate) mod power;
#[cfg_attr(test, path = "files/faults.rs")]
pub(crate) mod seam;

use seam::{FileSeam, Seam, Step};

/// In such units a file system says what a file takes.
const SECTOR: u64 = 512;

/// The file system, as the store uses it. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    seam: Seam,
}

/// A file that the store has open.
#[derive(Debug)]
pub(crate) struct StoreFile {
    file: File,
    seam: FileSeam,
}

impl Files {
    /// The file system behind a seam that counts and fails its steps.
    #[cfg(test)]
    pub(crate) fn behind(faults: std::sync::Arc<seam::Faults>) -> Self {
        Self { seam: Seam::of(faults) }
    }

    /// Makes a file that only its owner can read; one that is there is an error.
    pub(crate) fn create_new(&self, path: &Path) -> io::Result<StoreFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = {
            let _passed = self.seam.step(Step::Create(path))?;
            options.open(path)?
        };
        Ok(StoreFile { file, seam: self.seam.file(path) })
    }

    /// Makes a file, or empties the one that is there.
    pub(crate) fn create(&self, path: &Path) -> io::Result<StoreFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = {
            let _passed = self.seam.step(Step::Create(path))?;
            options.open(path)?
        };
        Ok(StoreFile { file, seam: self.seam.file(path) })
    }

    /// Opens a file for reading.
    pub(crate) fn open(&self, path: &Path) -> io::Result<StoreFile> {
        self.seam.read()?;
        Ok(StoreFile { file: File::open(path)?, seam: self.seam.file(path) })
    }

    /// Opens a file for reading, if its name can be found without touching the disk; `None` when it cannot.
    pub(crate) fn open_resident(&self, path: &Path) -> io::Result<Option<StoreFile>> {
        self.resident(path, OFlags::RDONLY)
    }

    /// Likewise, for reading and writing.
    pub(crate) fn open_resident_to_write(&self, path: &Path) -> io::Result<Option<StoreFile>> {
        self.resident(path, OFlags::RDWR)
    }

    /// Opens a file for reading and writing.
    pub(crate) fn open_to_write(&self, path: &Path) -> io::Result<StoreFile> {
        self.seam.read()?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(StoreFile { file, seam: self.seam.file(path) })
    }

    fn resident(&self, path: &Path, access: OFlags) -> io::Result<Option<StoreFile>> {
        self.seam.read()?;
        match openat2(CWD, path, access | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED) {
            Ok(file) => Ok(Some(StoreFile { file: file.into(), seam: self.seam.file(path) })),
            Err(Errno::NOENT) => Err(io::ErrorKind::NotFound.into()),
            // Not in memory, or a kernel or a sandbox that does not know the question.
            Err(_) => Ok(None),
        }
    }

    /// Length of the file of this name in bytes.
    pub(crate) fn len(&self, path: &Path) -> io::Result<u64> {
        self.seam.read()?;
        Ok(fs::metadata(path)?.len())
    }

    /// Bytes that the file of this name takes on disk.
    pub(crate) fn allocated(&self, path: &Path) -> io::Result<u64> {
        self.seam.read()?;
        Ok(fs::metadata(path)?.blocks() * SECTOR)
    }

    /// Whether something has this name.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    /// The whole content of a file that is known to be small.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.seam.read()?;
        fs::read(path)
    }

    /// Gives a file another name, replacing what has it.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _passed = self.seam.step(Step::Rename(from, to))?;
        fs::rename(from, to)
    }

    /// Gives a file a second name, which nothing may have yet.
    pub(crate) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _passed = self.seam.step(Step::Link(from, to))?;
        fs::hard_link(from, to)
    }

    /// Unlinks a file; whoever has it open keeps it.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let _passed = self.seam.step(Step::Remove(path))?;
        fs::remove_file(path)
    }

    /// Makes a directory that only its owner can enter, and those above it; fine when it is there.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        let _passed = self.seam.step(Step::MakeDir(path))?;
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Removes a directory that is empty.
    pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let _passed = self.seam.step(Step::RemoveDir(path))?;
        fs::remove_dir(path)
    }
}

impl StoreFile {
    /// Length in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.seam.read()?;
        Ok(self.file.metadata()?.len())
    }

    /// Bytes that it takes on disk.
    pub(crate) fn allocated(&self) -> io::Result<u64> {
        self.seam.read()?;
        Ok(self.file.metadata()?.blocks() * SECTOR)
    }

    /// Writes all of the chunks from `offset` on, one behind the other.
    pub(crate) fn write_all(&self, chunks: &[impl AsRef<[u8]>], mut offset: u64) -> io::Result<()> {
        /// The kernel takes 1024 at once.
        const AT_ONCE: usize = 512;
        let _passed = self.seam.write(&self.file, chunks, offset)?;
        for chunks in chunks.chunks(AT_ONCE) {
            let mut parts: Vec<io::IoSlice<'_>> =
                chunks.iter().map(|chunk| io::IoSlice::new(chunk.as_ref())).collect();
            let mut left = parts.as_mut_slice();
            while left.iter().any(|part| !part.is_empty()) {
                match pwritev(&self.file, left, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        offset += written as u64;
                        io::IoSlice::advance_slices(&mut left, written);
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Cuts the file off, or makes it longer by a hole.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        let _passed = self.seam.set_len(len)?;
        self.file.set_len(len)
    }

    /// Takes the blocks for `len` bytes without changing the length, where the file system can: a full disk is found before
    /// the first byte, not in the middle.
    pub(crate) fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let _passed = self.seam.allocate()?;
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads until the buffer is full or the file ends. Returns how many bytes that were. May block.
    pub(crate) fn read_full(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.seam.read()?;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Reads exactly as many bytes as the buffer has.
    pub(crate) fn read_exact(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_full(buffer, offset)? {
            read if read == buffer.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads what is in the page cache, without blocking. Returns how many bytes that were.
    pub(crate) fn read_resident(&self, buffer: &mut [u8], offset: u64) -> usize {
        /// Set once a file system says that it cannot read without blocking.
        static CANNOT_TELL: AtomicBool = AtomicBool::new(false);
        if CANNOT_TELL.load(Ordering::Relaxed) {
            return 0;
        }
        if self.seam.read().is_err() {
            return 0;
        }
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let mut parts = [io::IoSliceMut::new(rest)];
            match preadv2(&self.file, &mut parts, offset + done as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    CANNOT_TELL.store(true, Ordering::Relaxed);
                    break;
                }
                Err(_) => break,
            }
        }
        done
    }

    /// Says that these bytes will not be read again soon.
    pub(crate) fn dont_need(&self, offset: u64, len: u64) {
        let _ = fadvise(&self.file, offset, NonZeroU64::new(len), Advice::DontNeed);
    }

    /// Says that these bytes will be read soon.
    pub(crate) fn will_need(&self, offset: u64, len: u64) {
        // Only advice: without it the read takes longer.
        let _ = fadvise(&self.file, offset, NonZeroU64::new(len), Advice::WillNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_written_one_behind_the_other() {
        let root = tempfile::tempdir().unwrap();
        let file = Files::default().create_new(&root.path().join("f")).unwrap();
        let chunks: Vec<Vec<u8>> =
            (0..1500_u32).map(|n| n.to_le_bytes()[..n as usize % 4].to_vec()).collect();
        file.write_all(&chunks, 10).unwrap();
        let all = chunks.concat();
        assert_eq!(file.len().unwrap(), 10 + all.len() as u64);
        let mut read = vec![0; all.len()];
        file.read_exact(&mut read, 10).unwrap();
        assert_eq!(read, all);
        assert_eq!(file.read_full(&mut read, 20).unwrap(), all.len() - 10);
        let short = file.read_exact(&mut read, 20).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_that_is_there_is_not_made_again() {
        let root = tempfile::tempdir().unwrap();
        let (files, path) = (Files::default(), root.path().join("f"));
        files.create_new(&path).unwrap().write_all(&[b"x"], 0).unwrap();
        assert_eq!(files.create_new(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(files.create(&path).unwrap().len().unwrap(), 0);
    }

    #[test]
    fn blocks_are_taken_without_changing_the_length() {
        let root = tempfile::tempdir().unwrap();
        let file = Files::default().create(&root.path().join("f")).unwrap();
        file.allocate(0).unwrap();
        file.allocate(100_000).unwrap();
        assert_eq!(file.len().unwrap(), 0);
    }
}
