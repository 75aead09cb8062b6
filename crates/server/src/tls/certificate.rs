//! The certificate of a CA: what everybody may know of it.

use std::fmt::Write as _;

use larder_policy::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::names::{LeafName, NameConstraints, Subtree};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificate of a CA, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
    pem: String,
    common_name: String,
    not_before: Timestamp,
    not_after: Timestamp,
    names: NameConstraints,
    public_key: Vec<u8>,
}

impl CaCertificate {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    ///
    /// Why it is not the certificate of a CA, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pem = first_block(text).ok_or("it holds no PEM certificate")?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, read) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        if !read.is_ca() {
            return Err("it is not the certificate of a CA".to_owned());
        }
        let stated = read.name_constraints().map_err(|error| error.to_string())?;
        let names = stated.map(|stated| NameConstraints::of(stated.value)).transpose()?.unwrap_or_default();
        let common_name = read.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let validity = read.validity();
        Ok(Self {
            common_name: common_name.unwrap_or("a CA without a name").to_owned(),
            not_before: Timestamp::from_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_secs(validity.not_after.timestamp()),
            names,
            public_key: read.public_key().subject_public_key.data.to_vec(),
            pem,
            der,
        })
    }

    /// As a PEM block that ends with a newline.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// In DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 over DER, as pairs of upper-case digits with colons between: what browsers and `openssl x509` show.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = String::with_capacity(95);
        for byte in Sha256::digest(&self.der) {
            let colon = if text.is_empty() { "" } else { ":" };
            // Writing into a string cannot fail.
            let _ = write!(text, "{colon}{byte:02X}");
        }
        text
    }

    /// The common name of its subject.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The first instant at which it is valid.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second in which it is valid.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The instants between which it is valid, as RFC 3339 writes them.
    #[must_use]
    pub fn validity(&self) -> [String; 2] {
        [self.not_before, self.not_after].map(|at| {
            // Years of more than four digits have no place in a certificate.
            OffsetDateTime::from_unix_timestamp(at.as_secs()).map_or_else(
                |_| "?".to_owned(),
                |at| format!("{}T{:02}:{:02}:{:02}Z", at.date(), at.hour(), at.minute(), at.second()),
            )
        })
    }

    /// The domains and networks that it is constrained to; none where it may sign for every name.
    #[must_use]
    pub fn only(&self) -> &[Subtree] {
        self.names.permitted()
    }

    /// Whether it is valid at an instant (RFC 5280, 4.1.2.5: both ends included).
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now.as_secs() <= self.not_after.as_secs()
    }

    pub(super) fn permits(&self, name: &LeafName) -> bool {
        self.names.permit(name)
    }

    /// Whether a key's public half, as it stands in a certificate, is this certificate's.
    pub(super) fn is_for(&self, public_key: &[u8]) -> bool {
        self.public_key == public_key
    }
}

/// The first block of a text that may have others, or remarks, around it.
fn first_block(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body = body.trim().replace('\r', "");
    Some(format!("{BEGIN}\n{body}\n{END}\n"))
}
