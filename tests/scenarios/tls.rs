//! Origins over TLS: trusted, or 502 with what is wrong.

use crate::support::Proxy;
use crate::support::tls::{Authority, TlsOrigin, authority};

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
    let origin = TlsOrigin::start(&authority, "localhost");
    let proxy = trusting(&authority);
    let url = format!("https://localhost:{}/", origin.address.port());
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
        let origin = if expired { TlsOrigin::expired(signer, name) } else { TlsOrigin::start(signer, name) };
        let answer = proxy.get(&format!("https://localhost:{}/", origin.address.port()));
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
    let origin = TlsOrigin::start(&authority, "localhost");
    let pem = authority.pem();
    let proxy = Proxy::with(move |config, options| {
        let file = options.dir.with_file_name("authority.pem");
        std::fs::write(&file, &pem).unwrap();
        config.upstream.ca_files = vec![file];
        let origin = format!("https://localhost:{}/", origin.address.port());
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
