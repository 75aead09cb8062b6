//! The interception CA: a certificate, the key that is its own, and the signing of leaves.
//!
//! The key is ECDSA P-256 when larder makes it. Its bytes are in memory to sign with and to be written once by
//! `directory`; they are overwritten when they are dropped, and no text of this crate shows them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use larder_policy::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey,
};
use rustls::crypto::SecureRandom;
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use super::certificate::CaCertificate;
use crate::pages::OWN_NAME;

use super::names::{LeafName, NameConstraints, Subtree};

/// Certificates are valid from this long before they are made, since the clocks of clients may be behind.
pub(super) const BACK_DATED: Duration = Duration::from_secs(48 * 60 * 60);

/// A common name has at most so many characters (RFC 5280, A.1).
const COMMON_NAME_MAX: usize = 64;

const DAY_SECS: u64 = 24 * 60 * 60;

/// What a new CA is to be.
#[derive(Debug, Clone)]
pub struct CaOptions {
    /// The machine's name, so that people can tell one CA from another.
    pub host: String,
    /// The domains and networks that it may sign for, and nothing else; none for every name.
    pub only: Vec<Subtree>,
    /// How long it lasts.
    pub days: u32,
}

impl CaOptions {
    /// How long a CA lasts unless something else is asked for: three years.
    pub const DAYS: u32 = 3 * 365;
    /// The longest that one may last: ten years.
    pub const DAYS_MAX: u32 = 10 * 365;
}

/// A CA that is constrained signs for the proxy's own name, too: by it a client finds out whether it trusts the CA.
fn with_own_name(only: &[Subtree]) -> Vec<Subtree> {
    let own = Subtree::Domain(OWN_NAME.to_owned());
    let mut only = only.to_vec();
    if !only.is_empty() && !only.contains(&own) {
        only.push(own);
    }
    only
}

/// A CA that can sign.
pub struct Authority {
    certificate: CaCertificate,
    issuer: Issuer<'static, Secret>,
    random: &'static dyn SecureRandom,
}

impl Authority {
    /// Makes a new key and certificate. Nothing is written.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give, or the dates are none.
    pub fn create(options: &CaOptions, now: Timestamp) -> Result<Self, CaError> {
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        let mut params = CertificateParams::default();
        let lasts = Duration::from_secs(u64::from(options.days) * DAY_SECS);
        params.not_before = date_time(earlier(now, BACK_DATED))?;
        params.not_after = date_time(now.saturating_add(lasts))?;
        params.serial_number = Some(serial_number(random)?);
        params.distinguished_name = named(&common_name(&options.host, random)?);
        // It signs leaves and no other CA, and these are servers' alone.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = NameConstraints::only(&with_own_name(&options.only)).to_rcgen();
        let key = Secret(KeyPair::generate().map_err(mint)?);
        let pem = params.self_signed(&key).map_err(mint)?.pem();
        Self::assemble(CaCertificate::parse(&pem).map_err(CaError::Mint)?, key)
    }

    /// One that was read. None when the key is another certificate's; an error when it is no key.
    pub(super) fn of(certificate: CaCertificate, key_pem: &str) -> Result<Option<Self>, CaError> {
        // What the parser says of a key is kept out of the message.
        let key = KeyPair::from_pem(key_pem).map_err(|_| CaError::Mint("it is no private key".to_owned()))?;
        let key = Secret(key);
        if !certificate.is_for(key.der_bytes()) {
            return Ok(None);
        }
        Self::assemble(certificate, key).map(Some)
    }

    fn assemble(certificate: CaCertificate, key: Secret) -> Result<Self, CaError> {
        let issuer = Issuer::from_ca_cert_der(certificate.der(), key).map_err(mint)?;
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        Ok(Self { certificate, issuer, random })
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    /// Its key as PEM, to be written to disk.
    pub(super) fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().0.serialize_pem())
    }

    /// Signs a certificate for one name of a server, valid between these instants.
    pub(super) fn sign_leaf(
        &self,
        name: &LeafName,
        key: &impl PublicKeyData,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<CertificateDer<'static>, CaError> {
        let mut params = CertificateParams::default();
        params.not_before = date_time(not_before)?;
        params.not_after = date_time(not_after)?;
        // All leaves share a key, and some clients refuse two certificates of one issuer with one number.
        params.serial_number = Some(serial_number(self.random)?);
        // OpenSSL judges a common name that looks like a host by the constraints on DNS names; an address would fail.
        let shown = match name {
            LeafName::Dns(name) if name.len() <= COMMON_NAME_MAX => name,
            LeafName::Dns(_) | LeafName::Ip(_) => "larder",
        };
        params.distinguished_name = named(shown);
        params.subject_alt_names = vec![match name {
            LeafName::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(mint)?),
            LeafName::Ip(address) => SanType::IpAddress(*address),
        }];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer).map_err(mint)?.into())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate.common_name())
            .finish_non_exhaustive()
    }
}

/// A private key, overwritten when it is dropped.
struct Secret(KeyPair);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Secret {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Secret {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// An instant that much earlier.
pub(super) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

fn date_time(at: Timestamp) -> Result<OffsetDateTime, CaError> {
    OffsetDateTime::from_unix_timestamp(at.as_secs()).map_err(|error| CaError::Mint(error.to_string()))
}

/// 16 random bytes, positive and never zero (RFC 5280, 4.1.2.2).
fn serial_number(random: &dyn SecureRandom) -> Result<SerialNumber, CaError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| no_randomness())?;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// `larder CA office 5f3a9c1d`: whose it is, and which of several.
fn common_name(host: &str, random: &dyn SecureRandom) -> Result<String, CaError> {
    let mut bytes = [0; 4];
    random.fill(&mut bytes).map_err(|_| no_randomness())?;
    let number = u32::from_be_bytes(bytes);
    let room = COMMON_NAME_MAX - "larder CA  12345678".len();
    let host: String = host.chars().filter(char::is_ascii_graphic).take(room).collect();
    let host = if host.is_empty() { "localhost" } else { &host };
    Ok(format!("larder CA {host} {number:08x}"))
}

fn no_randomness() -> CaError {
    CaError::Mint("the system gives no randomness".to_owned())
}

fn mint(error: rcgen::Error) -> CaError {
    CaError::Mint(error.to_string())
}

/// What is wrong with a CA, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The directory holds none.
    #[error("there is no CA in {}; `larder ca create` makes one", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The file would be overwritten.
    #[error("{} is there already, and a CA is never overwritten; to have another one, take the old one out of the trust stores (`larder ca untrust`), then remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is a next CA already.
    #[error("there is a next CA in {} already; `larder ca rotate --activate` lets it take over", dir.display())]
    NextExists {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no next CA that could take over.
    #[error("there is no next CA in {}; `larder ca rotate` makes one", dir.display())]
    NoNext {
        /// The directory.
        dir: PathBuf,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner can read a key.
    #[error("{0} can be read by others than its owner (mode {mode:04o}); `chmod 600 {0}`, and make a new CA if somebody may have read it", path.display())]
    Exposed {
        /// The key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others than the owner could put another CA into the directory.
    #[error("{0} can be written by others than its owner (mode {mode:04o}); `chmod 700 {0}`", path.display())]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file holds something else than it should.
    #[error("cannot use {}: {reason}; if it is beyond repair, remove the CA's files and make a new one with `larder ca create`", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not belong together.
    #[error("{} is not the key of {}; put the right one beside it, or remove both and make a new CA with `larder ca create`", key.display(), certificate.display())]
    Mismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// It has ended.
    #[error("`{common_name}` in {} has expired; `larder ca rotate` and `larder ca rotate --activate` make a new CA, which clients have to trust", dir.display())]
    Expired {
        /// The directory.
        dir: PathBuf,
        /// Its name.
        common_name: String,
    },
    /// It has not begun.
    #[error("`{common_name}` in {} is not valid yet; set this machine's clock right", dir.display())]
    NotYetValid {
        /// The directory.
        dir: PathBuf,
        /// Its name.
        common_name: String,
    },
    /// A key or certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Mint(String),
}
