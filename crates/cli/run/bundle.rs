//! The certificates that clients are to trust: the system's roots, those that variables named before, and larder's own
//! authorities, in one PEM file. Nothing that a client trusted before is taken from it.

use std::fs;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use larder_server::tls::CaCertificates;
use pem::{EncodeConfig, LineEnding, Pem};

use super::environment::{CERTIFICATES, Surroundings};

/// The variable that puts a file in place of the system's roots.
const ROOTS_FILE: &str = "SSL_CERT_FILE";

/// The variable that adds directories to them. It keeps its value in the command, and so is none of those that are set.
const ROOTS_DIRECTORIES: &str = "SSL_CERT_DIR";

/// The label of a certificate in PEM form.
const LABEL: &str = "CERTIFICATE";

/// Certificates, each once, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bundle {
    certificates: Vec<Vec<u8>>,
    notes: Vec<String>,
}

impl Bundle {
    /// The roots that this system trusts, or those that `SSL_CERT_FILE` has put in their place. A file that is not there
    /// takes no root away, and neither does `SSL_CERT_DIR`, as OpenSSL and Go have it.
    pub(crate) fn of_system(surroundings: &Surroundings) -> Self {
        let file = surroundings.get(ROOTS_FILE);
        let replaced = file.is_some_and(|file| Path::new(file).exists());
        let certificates = if replaced || file.or(surroundings.get(ROOTS_DIRECTORIES)).is_none() {
            rustls_native_certs::load_native_certs().certs
        } else {
            let places = openssl_probe::probe();
            let load = |file, directory| rustls_native_certs::load_certs_from_paths(file, directory).certs;
            let mut certificates = load(places.cert_file.as_deref(), None);
            places.cert_dir.iter().for_each(|one| certificates.extend(load(None, Some(one.as_path()))));
            certificates
        };
        let mut bundle = Self::default();
        certificates.iter().for_each(|root| bundle.add(root.to_vec()));
        bundle
    }

    /// Those in the files and directories that variables name.
    pub(crate) fn named(surroundings: &Surroundings) -> Self {
        let mut bundle = Self::default();
        let mut seen: Vec<PathBuf> = Vec::new();
        let directories = surroundings.get(ROOTS_DIRECTORIES).map(std::env::split_paths);
        let directories = directories.into_iter().flatten().filter(|path| !path.as_os_str().is_empty());
        let directories = directories.map(|path| (ROOTS_DIRECTORIES, path));
        let files =
            CERTIFICATES.iter().filter_map(|name| Some((*name, PathBuf::from(surroundings.get(name)?))));
        for (name, path) in files.chain(directories) {
            // conda's variable may say `true`, and git's an empty path.
            if seen.contains(&path) || name == "CONDA_SSL_VERIFY" && !path.is_absolute() {
                continue;
            }
            match read(&path) {
                Ok(certificates) => certificates.into_iter().for_each(|one| bundle.add(one)),
                Err(error) => {
                    let instead =
                        if name == ROOTS_FILE { "; the system's roots stay trusted instead" } else { "" };
                    let path = path.display();
                    bundle.notes.push(format!("{name} names {path}, which cannot be read: {error}{instead}"));
                }
            }
            seen.push(path);
        }
        bundle
    }

    /// Those of a CA that clients are to trust.
    pub(crate) fn of_authority(authority: &CaCertificates) -> Self {
        let mut bundle = Self::default();
        authority.trusted().for_each(|one| bundle.add(one.der().to_vec()));
        bundle
    }

    /// These and others.
    pub(crate) fn and(mut self, others: Self) -> Self {
        others.certificates.into_iter().for_each(|one| self.add(one));
        self.notes.extend(others.notes);
        self
    }

    /// The certificates, as DER.
    pub(crate) fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// A bundle of each.
    pub(crate) fn one_by_one(&self) -> impl Iterator<Item = Self> {
        self.certificates.iter().map(|one| Self { certificates: vec![one.clone()], notes: Vec::new() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// What could not be read.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes the file: whole, or not at all.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let blocks: Vec<Pem> = self.certificates.iter().map(|one| Pem::new(LABEL, one.as_slice())).collect();
        let text = pem::encode_many_config(&blocks, EncodeConfig::new().set_line_ending(LineEnding::LF));
        let directory = path.parent().unwrap_or(Path::new("."));
        let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            // Certificates are no secret, and the command may act as another user.
            file.as_file().set_permissions(Permissions::from_mode(0o644))?;
            file.persist(path).map_err(|error| error.error)
        });
        written.map(drop).with_context(|| format!("cannot write {}", path.display()))
    }

    fn add(&mut self, certificate: Vec<u8>) {
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
    }
}

/// The certificates in a file, or in all files of a directory.
fn read(path: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    if !path.is_dir() {
        return fs::read(path).map(|text| certificates_in(&text));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let files = files.into_iter().filter(|file| file.is_file());
    Ok(files.filter_map(|file| fs::read(file).ok()).flat_map(|text| certificates_in(&text)).collect())
}

/// What is no certificate is left out, as clients do.
fn certificates_in(text: &[u8]) -> Vec<Vec<u8>> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    CertificateDer::pem_slice_iter(text).flatten().map(|one| one.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_all_variables_join_once_and_a_lost_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let office = crate::golden::directory().join("office-ca.pem");
        let lost = dir.path().join("lost.pem");
        let kept = std::env::join_paths([dir.path().join("none"), dir.path().join("kept")]).unwrap();
        fs::create_dir_all(dir.path().join("none")).unwrap();
        fs::create_dir_all(dir.path().join("kept")).unwrap();
        let other = Bundle { certificates: vec![b"other".to_vec()], notes: Vec::new() };
        other.write(&dir.path().join("kept/other.0")).unwrap();
        let pairs = [
            ("SSL_CERT_FILE", office.as_os_str()),
            ("PIP_CERT", office.as_os_str()),
            ("CURL_CA_BUNDLE", lost.as_os_str()),
            ("SSL_CERT_DIR", kept.as_os_str()),
            ("CONDA_SSL_VERIFY", "true".as_ref()),
        ];
        let named = Bundle::named(&pairs.into_iter().collect());
        assert_eq!(named.certificates.len(), 2);
        assert_eq!(named.notes().len(), 1);
        assert!(named.notes()[0].starts_with("CURL_CA_BUNDLE names "), "{:?}", named.notes());
        let path = dir.path().join("ca.pem");
        named.clone().and(named.clone()).write(&path).unwrap();
        assert_eq!(read(&path).unwrap(), named.certificates);
        let of_directory = read(dir.path()).unwrap();
        assert_eq!(of_directory, named.certificates);
    }
}
