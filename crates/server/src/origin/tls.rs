//! TLS towards origins: the system's roots and the configured ones; a certificate is verified always.
//!
//! No client certificate is ever shown. A connection over which one was asked for is not used, and none of its sessions is
//! resumed, since a resumed handshake would not ask again. An origin that asks only after the handshake (TLS 1.3) cannot
//! be told apart: rustls does not offer to be asked then, so that such an origin answers as it does anybody without one.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use larder_policy::{HttpDate, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, WebPkiServerVerifier,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{StartError, UpstreamError};

/// Servers whose sessions are kept for resumption.
const SESSIONS: usize = 1024;
/// Names in a certificate that are told when it is for none that was asked for.
const NAMES_TOLD: usize = 3;

/// Which protocols an origin may choose from (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// HTTP/2 if it is switched on, and HTTP/1.1.
    Any,
    /// HTTP/1.1 alone.
    Http1,
}

/// Makes TLS connections to origins.
#[derive(Clone)]
pub(crate) struct OriginTls {
    any: TlsConnector,
    http1: TlsConnector,
    sessions: Arc<ClientSessionMemoryCache>,
    /// Whether origins that ask for a client certificate are left to the clients, who may have one.
    leaves_to_clients: bool,
}

impl OriginTls {
    /// Trusts the system's roots and the certificates in these PEM files. `http2` tells whether HTTP/2 is offered.
    ///
    /// # Errors
    ///
    /// A configured file that cannot be read or holds no certificate. A system without roots is only worth a warning: plain
    /// HTTP still works.
    pub(crate) fn new(ca_files: &[PathBuf], http2: bool) -> Result<Self, StartError> {
        let roots = Arc::new(roots(ca_files)?);
        let broken = |error: String| StartError::Worker(io::Error::other(error));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(error.to_string()))?;
        // Without roots nothing can be verified, and no verifier can be made: every handshake fails then.
        let builder = if roots.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| broken(error.to_string()))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier(verifier)))
        };
        let mut config = builder.with_client_cert_resolver(Arc::new(NoCertificate));
        let sessions = Arc::new(ClientSessionMemoryCache::new(SESSIONS));
        config.resumption = Resumption::store(Arc::clone(&sessions) as Arc<dyn ClientSessionStore>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = TlsConnector::from(Arc::new(config.clone()));
        if http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        let any = TlsConnector::from(Arc::new(config));
        Ok(Self { any, http1, sessions, leaves_to_clients: false })
    }

    /// The same for a proxy that opens its clients' tunnels, or does not. Where it does, an origin that asks for a client
    /// certificate is no origin of the proxy's, as its client may have one; else it has nobody to ask but the proxy, which has none.
    pub(crate) fn leaving_to_clients(self, leaves_to_clients: bool) -> Self {
        Self { leaves_to_clients, ..self }
    }

    /// A handshake for `host` over a connection.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        tcp: TcpStream,
        offer: Offer,
    ) -> Result<TlsStream<TcpStream>, UpstreamError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| UpstreamError::Tls { host: host.to_owned(), reason: error.to_string() })?;
        let connector = if offer == Offer::Any { &self.any } else { &self.http1 };
        let mut connecting = connector.connect(name.clone(), tcp);
        let mut asked = false;
        let result = poll_fn(|context| {
            ASKED.set(false);
            let polled = Pin::new(&mut connecting).poll(context);
            asked |= ASKED.take();
            polled
        })
        .await;
        let result = result.map_err(|error| refusal(host, &error));
        match result {
            Err(error @ UpstreamError::Certificate { .. }) => Err(error),
            Ok(_) if asked && !self.leaves_to_clients => result,
            _ if asked => {
                self.forget(&name);
                Err(UpstreamError::ClientCertificate { host: host.to_owned() })
            }
            other => other,
        }
    }

    /// Forgets the sessions of a server.
    fn forget(&self, name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(name);
        while self.sessions.take_tls13_ticket(name).is_some() {}
    }
}

/// The certificates that are trusted.
fn roots(ca_files: &[PathBuf]) -> Result<RootCertStore, StartError> {
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
    Ok(roots)
}

thread_local! {
    /// Whether the handshake that this thread is at was asked for a client certificate. rustls asks within one poll of it,
    /// and tells not for which connection; a resolver for each connection would end resumption, which it compares.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Has no client certificate, and notes that one was asked for.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        ASKED.set(true);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Verifies as rustls does, and says of a certificate without a known issuer whether it is its own.
#[derive(Debug)]
struct Verifier(Arc<WebPkiServerVerifier>);

/// A certificate that nobody but its subject vouches for.
#[derive(Debug, thiserror::Error)]
#[error("it is self-signed")]
struct SelfSigned;

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now).map_err(|error| match error {
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            ) if is_self_signed(end_entity) => rustls::Error::InvalidCertificate(CertificateError::Other(
                rustls::OtherError(Arc::new(SelfSigned)),
            )),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}

/// A certificate that is not trusted is told apart from a handshake that failed.
fn refusal(host: &str, error: &io::Error) -> UpstreamError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (host, reason) = (host.to_owned(), tls.map_or_else(|| error.to_string(), ToString::to_string));
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let reason = certificate_fault(why, &host);
            UpstreamError::Certificate { host, reason }
        }
        _ => UpstreamError::Tls { host, reason },
    }
}

/// What is wrong with a certificate, in words for people.
fn certificate_fault(why: &CertificateError, host: &str) -> String {
    use CertificateError as Fault;
    match why {
        Fault::Expired => "it has expired".to_owned(),
        Fault::ExpiredContext { not_after, .. } => format!("it has expired, on {}", date(*not_after)),
        Fault::NotValidYet => "it is not valid yet".to_owned(),
        Fault::NotValidYetContext { not_before, .. } => {
            format!("it is not valid yet, but from {}", date(*not_before))
        }
        Fault::UnknownIssuer => "its issuer is not known here".to_owned(),
        Fault::NotValidForName => format!("it is for another name than {host}"),
        Fault::NotValidForNameContext { presented, .. } => {
            // rustls tells them as `DnsName("www.example")`.
            let name = |told: &String| told.split('"').nth(1).unwrap_or(told).to_owned();
            let mut names: Vec<String> = presented.iter().take(NAMES_TOLD).map(name).collect();
            if presented.len() > NAMES_TOLD {
                names.push("others".to_owned());
            }
            let whose = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            format!("it is for another name than {host}: for {whose}")
        }
        Fault::BadSignature => "its signature is not that of its issuer".to_owned(),
        Fault::Revoked => "it was revoked".to_owned(),
        Fault::Other(other) => other.0.to_string(),
        other => other.to_string(),
    }
}

fn date(time: UnixTime) -> HttpDate {
    HttpDate(Timestamp::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)))
}
