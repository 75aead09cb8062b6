//! Origins over TLS: trusted, or 502 with what is wrong.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Proxy, message::Head};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// An origin over TLS on loopback, with a certificate for `name` from `authority`, that says hello to every request.
fn tls_origin(authority: &Authority, name: &str, expired: bool) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
    let certificate: CertificateDer<'static> = params.signed_by(&key, authority).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut reader = BufReader::new(StreamOwned::new(connection, stream));
            while let Ok(Some(_)) = Head::read(&mut reader) {
                let answer =
                    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello";
                if reader.get_mut().write_all(answer).is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// A proxy that trusts `authority`.
fn trusting(authority: &Authority) -> Proxy {
    let pem = authority.pem();
    Proxy::with(move |config, options| {
        let file = options.dir.with_file_name("authority.pem");
        std::fs::write(&file, &pem).unwrap();
        config.upstream.ca_files = vec![file];
    })
}

#[test]
fn a_trusted_origin_is_fetched_and_cached() {
    let authority = authority();
    let origin = tls_origin(&authority, "localhost", false);
    let proxy = trusting(&authority);
    let url = format!("https://localhost:{}/", origin.port());
    let miss = proxy.get(&url);
    assert_eq!((miss.status, miss.text().as_str()), (200, "hello"), "{}", miss.text());
    assert!(proxy.get(&url).is_hit());
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (known, unknown) = (authority(), authority());
    let proxy = trusting(&known);
    for (signer, name, expired, reason) in [
        (&unknown, "localhost", false, "issuer"),
        (&known, "elsewhere.example", false, "another name"),
        (&known, "localhost", true, "expired"),
    ] {
        let origin = tls_origin(signer, name, expired);
        let answer = proxy.get(&format!("https://localhost:{}/", origin.port()));
        assert_eq!(
            (answer.status, answer.field("proxy-status")),
            (502, Some("larder; error=tls_certificate_error"))
        );
        assert!(answer.text().contains(reason), "{}", answer.text());
    }
}

#[test]
fn a_reverse_proxy_asks_a_tls_origin_under_its_own_name() {
    let authority = authority();
    let origin = tls_origin(&authority, "localhost", false);
    let pem = authority.pem();
    let proxy = Proxy::with(move |config, options| {
        let file = options.dir.with_file_name("authority.pem");
        std::fs::write(&file, &pem).unwrap();
        config.upstream.ca_files = vec![file];
        let origin = format!("https://localhost:{}/", origin.port());
        let origin = larder_policy::TargetUri::parse(origin.as_bytes()).unwrap();
        config.listeners[0].kind = larder_server::config::ListenerKind::Reverse { origin };
    });
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: www.example\r\n\r\n");
    assert_eq!(client.response("GET").text(), "hello");
}

#[test]
fn a_file_without_certificates_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("empty.pem");
    std::fs::write(&file, "nothing here").unwrap();
    let store =
        larder_storage::Store::open(larder_storage::Options::new(directory.path().join("cache"))).unwrap();
    let mut config = larder_server::Config::default();
    config.listeners[0].address = "127.0.0.1:0".parse().unwrap();
    config.upstream.ca_files = vec![file];
    let refused = larder_server::Server::start(config, store, larder_server::Clock::system());
    assert!(matches!(refused, Err(larder_server::StartError::UpstreamCa { .. })));
}
