//! Where a CA is kept: a directory of mode 0700 with up to five files.
//!
//! ```text
//! ca.pem        the certificate that signs
//! ca.key        its key, mode 0600 from its first byte on
//! next.pem      the one that comes after it: trusted from now on, signs later
//! next.key
//! previous.pem  the one that came before: here to be taken out of trust stores
//! ```
//!
//! To hand over: `ca.pem` is copied to `previous.pem`, then `next.key` takes the place of `ca.key`, then `next.pem` that of
//! `ca.pem`. Stopped after the second step, `ca.key` is the key of `next.pem`: then that one is the CA.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder_policy::Timestamp;
use zeroize::Zeroizing;

use super::authority::{Authority, CaError};
use super::certificate::CaCertificate;

/// The next CA signs in the place of one that has no more than this left.
const HANDOVER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// No key or certificate is longer.
const FILE_MAX_BYTES: u64 = 256 * 1024;

const CURRENT: Pair = Pair { certificate: "ca.pem", key: "ca.key" };
const NEXT: Pair = Pair { certificate: "next.pem", key: "next.key" };
const PREVIOUS: &str = "previous.pem";

struct Pair {
    certificate: &'static str,
    key: &'static str,
}

/// A directory that a CA is kept in, or will be.
#[derive(Debug, Clone)]
pub struct CaDirectory(PathBuf);

/// The certificates of a directory. Reading them needs no key.
#[derive(Debug, Clone)]
pub struct CaCertificates {
    /// The one that signs.
    pub current: CaCertificate,
    /// The one that comes after it.
    pub next: Option<CaCertificate>,
    /// The one that came before it.
    pub previous: Option<CaCertificate>,
}

impl CaCertificates {
    /// Those that clients are to trust: the one that signs, and the next one.
    pub fn trusted(&self) -> impl Iterator<Item = &CaCertificate> {
        std::iter::once(&self.current).chain(&self.next)
    }
}

/// The CAs of a directory, ready to sign.
#[derive(Debug, Clone)]
pub struct Authorities {
    current: Arc<Authority>,
    next: Option<Arc<Authority>>,
}

impl Authorities {
    /// The one that signs at an instant: the next one as soon as the current one is about to end.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> &Arc<Authority> {
        let ending = self.current.certificate().not_after().saturating_since(now) <= HANDOVER;
        match &self.next {
            Some(next) if ending && next.certificate().is_valid(now) => next,
            _ => &self.current,
        }
    }

    /// The certificates that clients are to trust: the current one first.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = &CaCertificate> {
        std::iter::once(&self.current).chain(&self.next).map(|authority| authority.certificate())
    }

    /// The same as PEM.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        std::iter::once(&self.current).chain(&self.next).map(|one| one.certificate().pem()).collect()
    }
}

impl From<Authority> for Authorities {
    fn from(authority: Authority) -> Self {
        Self { current: Arc::new(authority), next: None }
    }
}

impl CaDirectory {
    /// A directory, which need not be there yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The user that the directory belongs to, who decides what is in it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn owner(&self) -> Result<u32, CaError> {
        Ok(self.0.metadata().map_err(failed("read", &self.0))?.uid())
    }

    /// Writes a new CA into it.
    ///
    /// # Errors
    ///
    /// There is one already, or something cannot be written.
    pub fn create(&self, authority: &Authority) -> Result<(), CaError> {
        self.write(&CURRENT, authority)
    }

    /// Writes the CA that is to come after the present one.
    ///
    /// # Errors
    ///
    /// There is no present one, there is a next one already, or something cannot be written.
    pub fn create_next(&self, authority: &Authority) -> Result<(), CaError> {
        self.certificates()?;
        if self.0.join(NEXT.certificate).exists() {
            return Err(CaError::NextExists { dir: self.0.clone() });
        }
        self.write(&NEXT, authority)
    }

    /// Lets the next CA take over. The key of the one that ends is removed, its certificate stays as `previous.pem`.
    ///
    /// # Errors
    ///
    /// There is no next one, or something cannot be written.
    pub fn activate(&self) -> Result<(), CaError> {
        let CaCertificates { current, next, .. } = self.certificates()?;
        let next_pem = self.0.join(NEXT.certificate);
        // Half done before: `current` is what `next.pem` holds, and only the last step is left.
        let done = next.is_none() && next_pem.exists();
        if !done {
            next.ok_or_else(|| CaError::NoNext { dir: self.0.clone() })?;
            self.load_pair(&NEXT)?;
            self.replace(PREVIOUS, current.pem())?;
            self.rename(NEXT.key, CURRENT.key)?;
        }
        self.rename(NEXT.certificate, CURRENT.certificate)
    }

    /// Reads the certificates.
    ///
    /// # Errors
    ///
    /// There is none, one cannot be read, or others than its owner can write into the directory.
    pub fn certificates(&self) -> Result<CaCertificates, CaError> {
        if self.0.exists() {
            self.check_directory()?;
        }
        let read = |name: &str| self.certificate(name);
        let missing = || CaError::Missing { dir: self.0.clone() };
        let (current, next) = (read(CURRENT.certificate)?.ok_or_else(missing)?, read(NEXT.certificate)?);
        let previous = read(PREVIOUS)?;
        if next.is_some() && !self.0.join(NEXT.key).exists() {
            // The hand-over was stopped before its last step.
            return Ok(CaCertificates { current: next.unwrap_or(current), next: None, previous });
        }
        Ok(CaCertificates { current, next, previous })
    }

    /// Reads certificates and keys.
    ///
    /// # Errors
    ///
    /// There is no CA, it is not valid now, a key can be read by others than its owner or belongs to another certificate, or
    /// something cannot be read.
    pub fn load(&self, now: Timestamp) -> Result<Authorities, CaError> {
        let half = self.0.join(NEXT.certificate).exists() && !self.0.join(NEXT.key).exists();
        let current = if half {
            self.load_pair(&Pair { certificate: NEXT.certificate, key: CURRENT.key })?
        } else {
            self.load_pair(&CURRENT)?
        };
        let next =
            if !half && self.0.join(NEXT.certificate).exists() { Some(self.load_pair(&NEXT)?) } else { None };
        let authorities = Authorities { current: Arc::new(current), next: next.map(Arc::new) };
        let signing = authorities.signing(now).certificate();
        if signing.is_valid(now) {
            return Ok(authorities);
        }
        let (dir, common_name) = (self.0.clone(), signing.common_name().to_owned());
        Err(if now < signing.not_before() {
            CaError::NotYetValid { dir, common_name }
        } else {
            CaError::Expired { dir, common_name }
        })
    }

    fn load_pair(&self, pair: &Pair) -> Result<Authority, CaError> {
        let (certificate_path, key_path) = (self.0.join(pair.certificate), self.0.join(pair.key));
        let certificate =
            self.certificate(pair.certificate)?.ok_or_else(|| CaError::Missing { dir: self.0.clone() })?;
        self.check_directory()?;
        let key = self.key(&key_path)?;
        match Authority::of(certificate, &key) {
            Ok(Some(authority)) => Ok(authority),
            Ok(None) => Err(CaError::Mismatch { key: key_path, certificate: certificate_path }),
            Err(CaError::Mint(reason)) => Err(CaError::Unusable { path: key_path, reason }),
            Err(error) => Err(error),
        }
    }

    fn certificate(&self, name: &str) -> Result<Option<CaCertificate>, CaError> {
        let path = self.0.join(name);
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(FILE_MAX_BYTES).read_to_string(&mut text)) {
            Ok(_) => {
                CaCertificate::parse(&text).map(Some).map_err(|reason| CaError::Unusable { path, reason })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CaError::Io { act: "read", path, source }),
        }
    }

    /// Whoever can write into the directory can have another CA used.
    fn check_directory(&self) -> Result<(), CaError> {
        let metadata = self.0.metadata().map_err(failed("read", &self.0))?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 == 0 { Ok(()) } else { Err(CaError::OpenDirectory { path: self.0.clone(), mode }) }
    }

    /// The mode is that of the file that is read: asked of the open file, so that none can be exchanged in between.
    fn key(&self, path: &Path) -> Result<Zeroizing<String>, CaError> {
        let file = File::open(path).map_err(failed("read", path))?;
        let metadata = file.metadata().map_err(failed("read", path))?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(CaError::Exposed { path: path.to_owned(), mode });
        }
        // As long as it will be, so that no outgrown copy is left behind.
        let capacity = usize::try_from(metadata.len().min(FILE_MAX_BYTES)).unwrap_or_default() + 1;
        let mut text = Zeroizing::new(String::with_capacity(capacity));
        file.take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(failed("read", path))?;
        Ok(text)
    }

    /// The key first: a certificate is never here without one.
    fn write(&self, pair: &Pair, authority: &Authority) -> Result<(), CaError> {
        self.make()?;
        let (certificate, key) = (self.0.join(pair.certificate), self.0.join(pair.key));
        if certificate.exists() {
            return Err(CaError::Exists { path: certificate });
        }
        write_new(&key, 0o600, authority.key_pem().as_bytes())?;
        let written = write_new(&certificate, 0o644, authority.certificate().pem().as_bytes());
        if written.is_err() {
            // Without its certificate the key is of no use, and in the way of another attempt.
            let _ = std::fs::remove_file(&key);
        }
        written.and_then(|()| self.sync())
    }

    /// The directory itself is for its owner alone; those above it are made as usual.
    fn make(&self) -> Result<(), CaError> {
        if self.0.is_dir() {
            return self.check_directory();
        }
        if let Some(parent) = self.0.parent() {
            std::fs::create_dir_all(parent).map_err(failed("create", parent))?;
        }
        DirBuilder::new().mode(0o700).create(&self.0).map_err(failed("create", &self.0))
    }

    /// Puts a text in the place of a file at once.
    fn replace(&self, name: &str, text: &str) -> Result<(), CaError> {
        let unfinished = format!("{name}.new");
        let path = self.0.join(&unfinished);
        let _ = std::fs::remove_file(&path);
        write_new(&path, 0o644, text.as_bytes())?;
        self.rename(&unfinished, name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), CaError> {
        let from = self.0.join(from);
        std::fs::rename(&from, self.0.join(to)).map_err(failed("rename", &from))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), CaError> {
        File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(failed("write", &self.0))
    }
}

/// Writes a file that must not be there yet, with its mode from the start, and to the disk.
fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), CaError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CaError::Exists { path: path.to_owned() },
        _ => failed("write", path)(error),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file would be in the way of another attempt.
        let _ = std::fs::remove_file(path);
    }
    written.map_err(failed("write", path))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path = path.to_owned();
    move |source| CaError::Io { act, path, source }
}
