//! The cache directory: who may use it, what format it has, and where things are in it.
//!
//! ```text
//! lock        held by the owning process for as long as it lives; holds its process id
//! format      version and the store's random hash key; written once, never overwritten
//! segments/   00000001.seg, ...
//! blobs/      ab/cd/<hex>, <hex>.tree
//! partials/   <hex>, <hex>.map: bodies of which some ranges are here
//! temp/       bodies being written; emptied at start
//! totals      a few numbers that help the next start
//! order       in which order objects were going to leave
//! removals    what was removed before all records were known; only until they are
//! index/      sled's files; index.corrupt-<millis> are those set aside
//! quarantine/ damaged blobs, for somebody to look at
//! scrub       how far the scrub has come
//! *.new       a note that is being written
//! ```
//!
//! No path is ever made from a URL.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::digest::BlobDigest;
use crate::error::OpenError;
use crate::files::{Files, StoreFile};

const FORMAT: u32 = 1;
const FORMAT_NAME: &str = "larder-store";
/// Names that may stand in a directory that is about to become a store.
const HARMLESS: [&str; 5] = ["lock", "lost+found", "control.sock", "run.log", "format.new"];

/// Paths within an owned cache directory.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    /// Keyed hashes of cache keys take this; random per store, so that nobody outside can make two URLs share
    /// a fingerprint.
    pub(crate) hash_key: [u8; 32],
    files: Files,
    temp_count: AtomicU64,
    /// What tests say the file system has.
    #[cfg(test)]
    pub(crate) pretended_space: std::sync::Mutex<Option<(u64, u64)>>,
}

/// The lock on a cache directory; it lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl Layout {
    /// Takes the directory over: owner, lock, format, and an empty `temp`.
    pub(crate) fn open_on(dir: &Path, files: Files) -> Result<(Self, DirLock), OpenError> {
        files.make_dir(dir).map_err(OpenError::io("create", dir))?;
        let found = fs::metadata(dir).map_err(OpenError::io("look at", dir))?;
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user {
            return Err(OpenError::Owner { dir: dir.to_owned(), owner: found.uid(), user });
        }
        refuse_strangers(dir)?;
        let lock = lock(dir)?;
        let hash_key = read_or_make_format(dir)?;
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(dir, Permissions::from_mode(0o700))
                .map_err(OpenError::io("set the permissions of", dir))?;
        }
        let layout = Self {
            dir: dir.to_owned(),
            hash_key,
            files,
            temp_count: AtomicU64::new(0),
            #[cfg(test)]
            pretended_space: std::sync::Mutex::default(),
        };
        for path in [layout.segments(), layout.blobs(), layout.partials(), layout.temp()] {
            layout.files.make_dir(&path).map_err(OpenError::io("create", &path))?;
        }
        layout.sweep_unfinished()?;
        Ok((layout, lock))
    }

    #[cfg(test)]
    pub(crate) fn open(dir: &Path) -> Result<(Self, DirLock), OpenError> {
        Self::open_on(dir, Files::default())
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.dir.join("segments")
    }

    pub(crate) fn segment(&self, id: u32) -> PathBuf {
        self.dir.join(format!("segments/{id:08x}.seg"))
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    pub(crate) fn blob(&self, digest: &BlobDigest) -> PathBuf {
        let hex = digest.to_string();
        let (first, rest) = hex.split_at(2);
        let (second, _) = rest.split_at(2);
        self.dir.join(format!("blobs/{first}/{second}/{hex}"))
    }

    pub(crate) fn tree(&self, digest: &BlobDigest) -> PathBuf {
        let mut path = self.blob(digest).into_os_string();
        path.push(".tree");
        path.into()
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.dir.join("partials")
    }

    pub(crate) fn partial(&self, name: &BlobDigest) -> PathBuf {
        self.dir.join(format!("partials/{name}"))
    }

    pub(crate) fn partial_map(&self, name: &BlobDigest) -> PathBuf {
        self.dir.join(format!("partials/{name}.map"))
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    /// A few numbers for the next start, see `recovery`.
    pub(crate) fn totals(&self) -> PathBuf {
        self.dir.join("totals")
    }

    /// The eviction order for the next start, see `order`.
    pub(crate) fn order(&self) -> PathBuf {
        self.dir.join("order")
    }

    /// Its name while it is written.
    pub(crate) fn order_new(&self) -> PathBuf {
        self.dir.join("order.new")
    }

    /// Damaged blobs.
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }

    /// How far the scrub has come.
    pub(crate) fn scrub(&self) -> PathBuf {
        self.dir.join("scrub")
    }

    /// The file system: its size, and what is free of it for this user, in bytes. `None` when it does not tell.
    pub(crate) fn space(&self) -> Option<(u64, u64)> {
        #[cfg(test)]
        if let Some(space) = *self.pretended_space.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Some(space);
        }
        let figures = rustix::fs::statvfs(&self.dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
        Some((bytes(figures.f_blocks), bytes(figures.f_bavail)))
    }

    /// Allocated bytes of the directory itself and of what is right in it: directories without their content, and notes. Not
    /// what belongs to the index or to the eviction order, which are counted elsewhere.
    pub(crate) fn own_bytes(&self) -> u64 {
        let blocks = |path: &Path| fs::symlink_metadata(path).map_or(0, |found| found.blocks());
        let inside = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = inside.filter(|entry| {
            let name = entry.file_name();
            !["index", "order"].iter().any(|elsewhere| name.to_string_lossy().starts_with(elsewhere))
        });
        (blocks(&self.dir) + names.map(|entry| blocks(&entry.path())).sum::<u64>()) * 512
    }

    /// Removals that are not done yet, see `removals`.
    pub(crate) fn removals(&self) -> PathBuf {
        self.dir.join("removals")
    }

    pub(crate) fn temp(&self) -> PathBuf {
        self.dir.join("temp")
    }

    /// A new file for a body; removed when dropped, unless it was renamed away.
    pub(crate) fn temp_file(&self) -> io::Result<(TempFile, StoreFile)> {
        let number = self.temp_count.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("temp/{number:x}"));
        let file = self.files.create(&path)?;
        Ok((TempFile { files: self.files.clone(), path: Some(path) }, file))
    }

    /// A second name for a file that has one already. On a file system that has no second names the file is taken from its
    /// first one.
    pub(crate) fn temp_name_of(&self, path: PathBuf) -> io::Result<TempFile> {
        let number = self.temp_count.fetch_add(1, Ordering::Relaxed);
        let temp = self.dir.join(format!("temp/{number:x}"));
        let path = match self.files.link(&path, &temp) {
            Ok(()) => temp,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
            {
                path
            }
            Err(error) => return Err(error),
        };
        Ok(TempFile { files: self.files.clone(), path: Some(path) })
    }

    /// Writes a note under another name, `NAME.new`, and puts it in the place of the last one: half a note is never read.
    pub(crate) fn replace(&self, note: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = note.with_extension("new");
        self.files.create(&new)?.write_all(&[bytes], 0)?;
        self.files.rename(&new, note)
    }

    /// Removes what a killed process left half written: unfinished bodies and notes.
    fn sweep_unfinished(&self) -> Result<(), OpenError> {
        self.sweep_temp()?;
        for entry in fs::read_dir(&self.dir).map_err(OpenError::io("list", &self.dir))? {
            let path = entry.map_err(OpenError::io("list", &self.dir))?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                self.files.remove(&path).map_err(OpenError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn sweep_temp(&self) -> Result<(), OpenError> {
        let temp = self.temp();
        for entry in fs::read_dir(&temp).map_err(OpenError::io("list", &temp))? {
            let path = entry.map_err(OpenError::io("list", &temp))?.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { self.files.remove(&path) };
            removed.map_err(OpenError::io("remove", &path))?;
        }
        Ok(())
    }
}

/// A file that nobody else refers to yet; unlinked when dropped.
#[derive(Debug)]
pub(crate) struct TempFile {
    files: Files,
    path: Option<PathBuf>,
}

impl TempFile {
    /// Gives the file its final name, replacing what has it.
    pub(crate) fn rename(mut self, to: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.files.rename(path, to)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays is swept at the next start.
            let _ = self.files.remove(path);
        }
    }
}

fn lock(dir: &Path) -> Result<DirLock, OpenError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(OpenError::io("open", &path))?;
    let own = std::process::id();
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let pid = text.trim().parse::<u32>().ok();
                // A store of this very process that was just let go still flushes on its own threads.
                if pid != Some(own) || Instant::now() >= until {
                    return Err(OpenError::Locked { dir: dir.to_owned(), pid });
                }
                std::thread::sleep(Duration::from_millis(5));
                file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path)
                    .map_err(OpenError::io("open", &path))?;
            }
            Err(error) => return Err(OpenError::io("lock", &path)(error.into())),
        }
    }
    let written = file.set_len(0).and_then(|()| file.write_all(format!("{own}\n").as_bytes()));
    match written {
        // The id is for people; a full disk must not keep a cache from serving.
        Ok(()) => {}
        Err(error) => tracing::debug!(path = %path.display(), %error, "cannot write the process id"),
    }
    Ok(DirLock { _file: file })
}

/// ```text
/// larder-store 1
/// key <64 hexadecimal digits>
/// check <8 hexadecimal digits: crc32c of the two lines before>
/// ```
fn read_or_make_format(dir: &Path) -> Result<[u8; 32], OpenError> {
    match read_format(dir)? {
        Some(key) => Ok(key),
        None => make_format(dir),
    }
}

/// A directory of somebody else's stays untouched: it is refused before a lock is put into it. Where there is a lock it is a
/// store, or about to become one by another process, and is judged by whoever holds that.
fn refuse_strangers(dir: &Path) -> Result<(), OpenError> {
    let judged = || match read_format(dir)? {
        Some(_) => Ok(()),
        None => only_harmless(dir),
    };
    // A store in the making has its lock before anything else.
    judged().or_else(|refused| if dir.join("lock").exists() { Ok(()) } else { Err(refused) })
}

/// The key of a store that is there; `None` where there is none.
fn read_format(dir: &Path) -> Result<Option<[u8; 32]>, OpenError> {
    let path = dir.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => "(not text)".to_owned(),
        Err(error) => return Err(OpenError::io("read", &path)(error)),
    };
    let version = text.lines().next().and_then(|line| line.strip_prefix(FORMAT_NAME)).map(str::trim);
    let unknown = |found: &str| OpenError::Version {
        dir: dir.to_owned(),
        found: found.chars().filter(|c| !c.is_control()).take(40).collect(),
        known: FORMAT,
    };
    if version != Some(FORMAT.to_string().as_str()) {
        return Err(unknown(version.unwrap_or("(unreadable)")));
    }
    parse_key(&text).map(Some).ok_or_else(|| unknown("1 with a damaged format file"))
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let (body, check) = text.trim_end().rsplit_once("\ncheck ")?;
    let check = u32::from_str_radix(check, 16).ok()?;
    if crc32c::crc32c(body.as_bytes()) != check {
        return None;
    }
    let hex = body.lines().find_map(|line| line.strip_prefix("key "))?;
    BlobDigest::from_hex(hex).map(|key| *key.as_bytes())
}

/// Refuses a directory with other things in it.
fn only_harmless(dir: &Path) -> Result<(), OpenError> {
    for entry in fs::read_dir(dir).map_err(OpenError::io("list", dir))? {
        let name = entry.map_err(OpenError::io("list", dir))?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            let found = name.to_string_lossy().into_owned();
            return Err(OpenError::NotAStore { dir: dir.to_owned(), found });
        }
    }
    Ok(())
}

fn make_format(dir: &Path) -> Result<[u8; 32], OpenError> {
    only_harmless(dir)?;
    let path = dir.join("format");
    let mut key = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut key))
        .map_err(OpenError::io("read", Path::new("/dev/urandom")))?;
    let body = format!("{FORMAT_NAME} {FORMAT}\nkey {}", BlobDigest::from_bytes(key));
    let text = format!("{body}\ncheck {:08x}\n", crc32c::crc32c(body.as_bytes()));
    // A crash in between leaves a name that is overwritten at the next start.
    let new = dir.join("format.new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(OpenError::io("write", &path))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_becomes_a_private_store_and_keeps_its_key() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let key = {
            let (layout, _lock) = Layout::open(&dir).unwrap();
            layout.hash_key
        };
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(Layout::open(&dir).unwrap().0.hash_key, key);
    }

    #[test]
    fn a_second_owner_is_refused_and_told_the_first() {
        let root = tempfile::tempdir().unwrap();
        let _held = Layout::open(root.path()).unwrap();
        fs::write(root.path().join("lock"), "4242\n").unwrap();
        let refused = Layout::open(root.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Locked { pid: Some(4242), .. }), "{refused}");
        assert!(refused.to_string().contains("4242"));
    }

    #[test]
    fn an_unknown_version_is_refused_and_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        drop(Layout::open(root.path()).unwrap());
        for text in ["larder-store 2\nkey ?\n", "", "something else", "larder-store 1\nkey 00\ncheck 0\n"] {
            fs::write(root.path().join("format"), text).unwrap();
            let refused = Layout::open(root.path()).unwrap_err();
            assert!(matches!(refused, OpenError::Version { .. }), "{refused}");
            assert!(refused.to_string().contains("move the directory away"));
            assert_eq!(fs::read_to_string(root.path().join("format")).unwrap(), text);
        }
    }

    #[test]
    fn a_directory_with_other_things_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.tex"), "precious").unwrap();
        let refused = Layout::open(root.path()).unwrap_err();
        assert!(refused.to_string().contains("thesis.tex"), "{refused}");
    }

    #[test]
    fn a_directory_that_is_refused_is_left_untouched() {
        for (name, text) in
            [("thesis.tex", "precious"), ("format", "of a disk"), ("format", "larder-store 2\n")]
        {
            let root = tempfile::tempdir().unwrap();
            fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
            fs::write(root.path().join(name), text).unwrap();
            Layout::open(root.path()).unwrap_err();
            let names = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert_eq!(names.collect::<Vec<_>>(), [name]);
            assert_eq!(fs::read_to_string(root.path().join(name)).unwrap(), text);
            assert_eq!(fs::metadata(root.path()).unwrap().mode() & 0o777, 0o755);
        }
    }

    #[test]
    fn another_users_directory_is_refused_with_a_way_out() {
        let refused = OpenError::Owner { dir: "/var/cache/larder".into(), owner: 33, user: 1000 };
        let text = refused.to_string();
        assert!(text.contains("user 33") && text.contains("chown"), "{text}");
        if rustix::process::geteuid().is_root() {
            let root = tempfile::tempdir().unwrap();
            std::os::unix::fs::chown(root.path(), Some(12345), None).unwrap();
            let refused = Layout::open(root.path()).unwrap_err();
            assert!(matches!(refused, OpenError::Owner { owner: 12345, .. }), "{refused}");
        }
    }

    #[test]
    fn temp_files_are_swept_at_start() {
        let root = tempfile::tempdir().unwrap();
        drop(Layout::open(root.path()).unwrap());
        fs::write(root.path().join("temp/left"), "x").unwrap();
        let (layout, _lock) = Layout::open(root.path()).unwrap();
        assert_eq!(fs::read_dir(layout.temp()).unwrap().count(), 0);
    }
}
