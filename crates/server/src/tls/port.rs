//! TLS towards clients: what is common to the proxy's own port and to tunnels that are opened.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsAcceptor;

use crate::config::PortCertificate;
use crate::error::StartError;
use crate::http2;

/// TLS 1.2 and 1.3, HTTP/2 preferred; sessions are resumed by tickets that only this process can read.
pub(crate) fn server_config(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, StartError> {
    let broken = |error: rustls::Error| StartError::Worker(std::io::Error::other(error));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![http2::ALPN.to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(broken)?;
    Ok(config)
}

/// TLS with the certificate of a port.
pub(crate) fn port_tls(files: &PortCertificate) -> Result<TlsAcceptor, StartError> {
    let broken = |path: &Path, reason: String| StartError::PortCertificate { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| broken(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(broken(&files.certificate, "it holds no PEM certificate".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| broken(&files.key, error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| broken(&files.key, error.to_string()))?;
    let config = server_config(Arc::new(SingleCertAndKey::from(key)))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
