//! Origins over TLS: trusted, or 502 with what is wrong.

use std::sync::atomic::Ordering;

use rcgen::{BasicConstraints, CertificateParams, IsCa, date_time_ymd};
use rustls::version::{TLS12, TLS13};

use crate::support::tls::authority;
use crate::support::tls_origin::{
    Asks, HandshakeOrigin, plain_server, self_signed_server, server, trusting, trusting_with,
};

fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

#[test]
fn a_trusted_origin_is_fetched_and_cached() {
    let authority = authority();
    let origin = HandshakeOrigin::hello(plain_server(&authority));
    let proxy = trusting(&authority);
    let miss = proxy.get(&origin.url("/"));
    assert_eq!((miss.status, miss.text().as_str()), (200, "hello"), "{}", miss.text());
    assert!(proxy.get(&origin.url("/")).is_hit());
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (known, unknown) = (authority(), authority());
    let mut expired = named("localhost");
    (expired.not_before, expired.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let mut early = named("localhost");
    early.not_before = date_time_ymd(4000, 1, 1);
    let mut authority_itself = named("localhost");
    authority_itself.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = |signer, params: &CertificateParams| server(signer, params, Asks::No, rustls::ALL_VERSIONS);
    let proxy = trusting(&known);
    for (config, reason) in [
        (signed(&unknown, &named("localhost")), "its issuer is not known here"),
        (
            signed(&known, &named("elsewhere.example")),
            "it is for another name than localhost: for elsewhere.example",
        ),
        (signed(&known, &expired), "it has expired, on Tue, 01 Jan 2002 00:00:00 GMT"),
        (signed(&known, &early), "it is not valid yet, but from Sat, 01 Jan 4000 00:00:00 GMT"),
        (self_signed_server(named("localhost")), "it is self-signed"),
        (self_signed_server(authority_itself), "it is self-signed"),
    ] {
        let origin = HandshakeOrigin::hello(config);
        let answer = proxy.get(&origin.url("/"));
        assert_eq!(
            (answer.status, answer.field("proxy-status")),
            (502, Some("larder; error=tls_certificate_error"))
        );
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
        assert_eq!(origin.requests.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn an_origin_that_insists_on_a_client_certificate_gets_no_request() {
    let authority = authority();
    for versions in [&[&TLS12][..], &[&TLS13][..]] {
        let origin = HandshakeOrigin::hello(server(&authority, &named("localhost"), Asks::Firmly, versions));
        // One thread, so that a session of the first handshake would serve the next ones.
        let proxy = trusting_with(&authority, |config, _| config.workers = 1);
        for _ in 0..3 {
            let answer = proxy.get(&origin.url("/"));
            assert_eq!(
                (answer.status, answer.field("proxy-status")),
                (502, Some("larder; error=tls_protocol_error"))
            );
            assert!(answer.text().contains("asks for a client certificate"), "{}", answer.text());
        }
        assert_eq!(origin.requests.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn one_that_only_asks_is_asked_without_unless_its_client_could_have_one() {
    let authority = authority();
    let config = server(&authority, &named("localhost"), Asks::Politely, rustls::ALL_VERSIONS);
    let origin = HandshakeOrigin::hello(config);
    assert_eq!(trusting(&authority).get(&origin.url("/")).status, 200);
}

#[test]
fn a_bad_certificate_is_told_before_the_wish_for_the_clients() {
    let (known, unknown) = (authority(), authority());
    let origin =
        HandshakeOrigin::hello(server(&unknown, &named("localhost"), Asks::Firmly, rustls::ALL_VERSIONS));
    let answer = trusting(&known).get(&origin.url("/"));
    assert_eq!(answer.field("proxy-status"), Some("larder; error=tls_certificate_error"));
}

#[test]
fn sessions_are_resumed_where_no_certificate_was_asked_for() {
    let authority = authority();
    let resumed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&resumed);
    let origin = HandshakeOrigin::start(plain_server(&authority), move |_, stream| {
        if stream.get_ref().conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        let answer =
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n";
        std::io::Write::write_all(stream.get_mut(), answer).unwrap();
        stream.get_mut().conn.send_close_notify();
        let _ = std::io::Write::flush(stream.get_mut());
        false
    });
    let proxy = trusting(&authority);
    for path in ["/1", "/2", "/3"] {
        assert_eq!(proxy.get(&origin.url(path)).status, 200);
    }
    assert_eq!(resumed.load(Ordering::SeqCst), 2);
}

#[test]
fn a_reverse_proxy_asks_a_tls_origin_under_its_own_name() {
    let authority = authority();
    let origin = HandshakeOrigin::hello(plain_server(&authority));
    let url = larder_policy::TargetUri::parse(origin.url("/").as_bytes()).unwrap();
    let proxy = trusting_with(&authority, move |config, _| {
        config.listeners[0].kind = larder_server::config::ListenerKind::Reverse { origin: url.clone() };
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
