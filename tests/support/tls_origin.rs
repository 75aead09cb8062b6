//! An origin over TLS whose certificate and handshake are the test's to choose, and proxies that trust its issuer.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use larder_server::config::Config;
use larder_storage::Options;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::Proxy;
use super::message::Head;
use super::tls::{Authority, authority};

/// Whether a server asks its clients for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    No,
    /// It does, and takes those that have none.
    Politely,
    /// It does, and refuses those that have none.
    Firmly,
}

/// A server with a certificate from `authority` for these parameters. `versions` are those of TLS.
pub fn server(
    authority: &Authority,
    params: &CertificateParams,
    asks: Asks,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap().der().clone();
    configured(certificate, &key, (authority, asks), versions)
}

/// A server with a certificate that it signed itself.
pub fn self_signed_server(params: CertificateParams) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    configured(certificate, &key, (&authority(), Asks::No), rustls::ALL_VERSIONS)
}

fn configured(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    (authority, asks): (&Authority, Asks),
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = match asks {
        Asks::No => builder.with_no_client_auth(),
        Asks::Politely => {
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
        Asks::Firmly => builder.with_client_cert_verifier(verifier.build().unwrap()),
    };
    builder
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap()
}

/// A server for `localhost` with the usual parameters.
pub fn plain_server(authority: &Authority) -> ServerConfig {
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    server(authority, &params, Asks::No, rustls::ALL_VERSIONS)
}

/// An origin over TLS on loopback.
pub struct HandshakeOrigin {
    pub address: SocketAddr,
    /// What was negotiated by ALPN on each connection.
    pub protocols: Arc<Mutex<Vec<String>>>,
    /// Requests so far.
    pub requests: Arc<AtomicUsize>,
}

/// What a TLS origin reads from and writes to.
pub type TlsStream = BufReader<StreamOwned<ServerConnection, std::net::TcpStream>>;

impl HandshakeOrigin {
    /// One that says hello to every request.
    pub fn hello(config: ServerConfig) -> Self {
        Self::start(config, |_, stream| {
            let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello";
            stream.get_mut().write_all(answer).is_ok()
        })
    }

    /// One that answers by `handler`, which says whether the connection goes on.
    pub fn start(
        config: ServerConfig,
        handler: impl Fn(Head, &mut TlsStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (protocols, requests) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let origin = Self { address, protocols: Arc::clone(&protocols), requests: Arc::clone(&requests) };
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (handler, protocols) = (Arc::clone(&handler), Arc::clone(&protocols));
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
                    let mut first = true;
                    while let Ok(Some(head)) = Head::read(&mut reader) {
                        if std::mem::take(&mut first) {
                            let chosen = reader.get_ref().conn.alpn_protocol().unwrap_or_default();
                            protocols.lock().unwrap().push(String::from_utf8_lossy(chosen).into_owned());
                        }
                        requests.fetch_add(1, Ordering::SeqCst);
                        if !handler(head, &mut reader) {
                            return;
                        }
                    }
                });
            }
        });
        origin
    }

    /// `https://localhost:port` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

/// A proxy that trusts `authority`.
pub fn trusting(authority: &Authority) -> Proxy {
    trusting_with(authority, |_, _| {})
}

/// A proxy that trusts `authority`, with settings changed.
pub fn trusting_with(
    authority: &Authority,
    settings: impl Fn(&mut Config, &mut Options) + Send + Sync + 'static,
) -> Proxy {
    let pem = authority.pem();
    Proxy::with(move |config, options| {
        let file = options.dir.with_file_name("authority.pem");
        std::fs::write(&file, &pem).unwrap();
        config.upstream.ca_files = vec![file];
        settings(config, options);
    })
}
