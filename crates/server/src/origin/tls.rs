//! TLS towards origins: the system's roots and the configured ones; a certificate is verified always.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{StartError, UpstreamError};

/// Makes TLS connections to origins.
#[derive(Clone)]
pub(crate) struct OriginTls(TlsConnector);

impl OriginTls {
    /// Trusts the system's roots and the certificates in these PEM files.
    ///
    /// # Errors
    ///
    /// A configured file that cannot be read or holds no certificate. A system without roots is only worth a warning: plain
    /// HTTP still works.
    pub(crate) fn new(ca_files: &[PathBuf]) -> Result<Self, StartError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!("system certificates: {error}");
        }
        roots.add_parsable_certificates(system.certs);
        for path in ca_files {
            let broken = |reason: String| StartError::UpstreamCa { path: path.clone(), reason };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| broken(error.to_string()))?;
            if certificates.is_empty() {
                return Err(broken("it holds no PEM certificate".to_owned()));
            }
            // A file of many may have some that are too old to be used; clients leave them out, too.
            let (usable, _) = roots.add_parsable_certificates(certificates);
            if usable == 0 {
                return Err(broken("none of its certificates can be used".to_owned()));
            }
        }
        if roots.is_empty() {
            tracing::warn!(
                "no trusted certificates found: https origins cannot be reached; install the system's CA certificates or give --upstream-ca"
            );
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StartError::Worker(io::Error::other(error)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// A handshake for `host` over a connection.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, UpstreamError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| UpstreamError::Tls { host: host.to_owned(), reason: error.to_string() })?;
        self.0.connect(name, tcp).await.map_err(|error| refusal(host, &error))
    }
}

/// A certificate that is not trusted is told apart from a handshake that failed.
fn refusal(host: &str, error: &io::Error) -> UpstreamError {
    let host = host.to_owned();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            UpstreamError::Certificate { host, reason: certificate_fault(why) }
        }
        Some(other) => UpstreamError::Tls { host, reason: other.to_string() },
        None => UpstreamError::Tls { host, reason: error.to_string() },
    }
}

/// What is wrong with a certificate, in words for people.
fn certificate_fault(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Fault;
    match why {
        Fault::Expired | Fault::ExpiredContext { .. } => "it has expired".to_owned(),
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        Fault::UnknownIssuer => "its issuer is not known here".to_owned(),
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => "it is for another name".to_owned(),
        Fault::Revoked => "it was revoked".to_owned(),
        other => other.to_string(),
    }
}
