//! TLS on both sides of a proxy: origins with certificates of a CA made here, clients that trust whom they are told to.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::client::Client;
use super::message::Head;
use super::proxy::START;

pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// A CA for origins, of a name that no other has.
pub fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a TLS origin answers to a request: all of the response, framing included.
type Answering = dyn Fn(&Head) -> Vec<u8> + Send + Sync;

/// An origin over TLS on loopback.
pub struct TlsOrigin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl TlsOrigin {
    /// With a certificate for `name`; it says hello, fresh for a minute, to every request.
    pub fn start(authority: &Authority, name: &str) -> Self {
        Self::answering(authority, name, hello)
    }

    /// The same with a certificate that has expired.
    pub fn expired(authority: &Authority, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        Self::with(server_config(authority, params), Arc::new(hello))
    }

    /// One that answers as told.
    pub fn answering(
        authority: &Authority,
        name: &str,
        answering: impl Fn(&Head) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Self::with(server_config(authority, params), Arc::new(answering))
    }

    fn with(config: ServerConfig, answering: Arc<Answering>) -> Self {
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (connected, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connected.fetch_add(1, Ordering::SeqCst);
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (answering, asked) = (Arc::clone(&answering), Arc::clone(&asked));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
                    while let Ok(Some(head)) = Head::read(&mut reader) {
                        asked.fetch_add(1, Ordering::SeqCst);
                        if reader.get_mut().write_all(&answering(&head)).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, connections, requests }
    }

    /// `localhost:port`, as a client names it.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn hello(_: &Head) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello".to_vec()
}

/// A certificate and its key, both PEM.
pub fn certificate(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn server_config(authority: &Authority, params: CertificateParams) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate: CertificateDer<'static> = params.signed_by(&key, authority).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap()
}

/// A client's settings that trust the certificates of a PEM text, and offer these protocols.
pub fn client_config(trusted_pem: &str, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trusted_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Of the same time as the proxy's clock, by which its certificates are made.
    config.time_provider = Arc::new(AtStart);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

#[derive(Debug)]
struct AtStart;

impl TimeProvider for AtStart {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(START as u64)))
    }
}

/// A client whose bytes go through TLS.
pub type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

impl Client {
    /// A handshake over the connection, or over the tunnel that it has become, to the end of it.
    pub fn tls(self, name: &str, config: ClientConfig) -> io::Result<TlsClient> {
        assert!(self.reader.buffer().is_empty());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = self.reader.into_inner();
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut stream) {
                // What is to be said of it has been written by now, or cannot be.
                let _ = connection.write_tls(&mut stream);
                return Err(error);
            }
        }
        Ok(Client { reader: BufReader::new(StreamOwned::new(connection, stream)) })
    }
}
