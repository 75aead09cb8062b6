//! Tunnels that are opened: what is inside goes the way of any request, and what must not be opened is not.

use std::io::{Read, Write};
use std::net::TcpListener;

use larder_policy::{HostPattern, Timestamp};
use larder_server::Config;
use larder_server::tls::{Authorities, Authority as ProxyAuthority, CaOptions, Subtree};

use crate::support::message::Head;
use crate::support::proxy::START;
use crate::support::tls::{Authority, TlsOrigin, authority, client_config};
use crate::support::tls_origin::{Asks, HandshakeOrigin, plain_server, server, trusting_with};
use crate::support::{Proxy, eventually};

/// A CA of the proxy's own, and what a client needs to trust it.
fn own_authority(only: &[&str]) -> (Authorities, String) {
    let only = only.iter().map(|name| Subtree::Domain((*name).to_owned())).collect();
    let options = CaOptions { host: "test".to_owned(), only, days: 30 };
    let authorities =
        Authorities::from(ProxyAuthority::create(&options, Timestamp::from_secs(START)).unwrap());
    let pem = authorities.bundle_pem();
    (authorities, pem)
}

/// A proxy that opens tunnels and trusts the origins of `authority`, and the PEM that its clients trust.
pub fn opening(
    authority: &Authority,
    change: impl Fn(&mut Config) + Send + Sync + 'static,
) -> (Proxy, String) {
    let (authorities, trusted) = own_authority(&[]);
    (opening_with(authorities, authority, change), trusted)
}

fn opening_with(
    authorities: Authorities,
    authority: &Authority,
    change: impl Fn(&mut Config) + Send + Sync + 'static,
) -> Proxy {
    trusting_with(authority, move |config, _| {
        config.access.connect_ports = (1..=u16::MAX).collect();
        config.listeners[0].intercept = true;
        config.intercept.authorities = Some(authorities.clone());
        change(config);
    })
}

fn hosts(names: &[&str]) -> Vec<HostPattern> {
    names.iter().map(|name| HostPattern::parse(name).unwrap()).collect()
}

#[test]
fn what_is_inside_is_cached_and_a_hit_needs_no_origin() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let (proxy, trusted) = opening(&known, |_| {});
    let to = origin.authority();
    let ask = || {
        let tunnel = proxy.connect().tunnel(&to);
        let mut inside = tunnel.tls("localhost", client_config(&trusted, &["http/1.1"])).unwrap();
        inside.ask(&to, "/a", &[])
    };
    let miss = ask();
    assert_eq!((miss.status, miss.text().as_str(), miss.is_hit()), (200, "hello", false));
    let connections = origin.connections();
    let hit = ask();
    assert!(hit.is_hit() && hit.text() == "hello", "{}", hit.cache_status());
    assert_eq!((origin.count(), origin.connections()), (1, connections));
    // The same object as by its whole URI.
    assert!(proxy.get(&format!("https://{to}/a")).is_hit());
}

#[test]
fn one_tunnel_carries_many_requests_and_only_for_its_own_authority() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let (proxy, trusted) = opening(&known, |_| {});
    let to = origin.authority();
    let mut inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).unwrap();
    for path in ["/a", "/b"] {
        assert_eq!(inside.ask(&to, path, &[]).text(), "hello");
    }
    let misdirected = inside.ask("elsewhere.example", "/a", &[]);
    assert_eq!(misdirected.status, 421, "{}", misdirected.text());
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_is_wrong_with_an_origins_certificate_is_said_inside() {
    let (known, unknown) = (authority(), authority());
    let (proxy, trusted) = opening(&known, |_| {});
    for (origin, reason) in [
        (TlsOrigin::start(&unknown, "localhost"), "issuer"),
        (TlsOrigin::start(&known, "elsewhere.example"), "another name"),
        (TlsOrigin::expired(&known, "localhost"), "expired"),
    ] {
        let to = origin.authority();
        let mut inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).unwrap();
        let answer = inside.ask(&to, "/", &[]);
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains(reason), "{}", answer.text());
        assert_eq!(origin.count(), 0);
    }
}

#[test]
fn another_name_in_tls_than_in_connect_is_refused() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let (proxy, trusted) = opening(&known, |_| {});
    let tunnel = proxy.connect().tunnel(&origin.authority());
    let refused = tunnel.tls("elsewhere.example", client_config(&trusted, &[])).err().unwrap();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn without_a_name_in_tls_the_one_of_connect_counts() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let (proxy, trusted) = opening(&known, |_| {});
    let to = origin.authority();
    let mut config = client_config(&trusted, &[]);
    config.enable_sni = false;
    let mut inside = proxy.connect().tunnel(&to).tls("localhost", config).unwrap();
    assert_eq!(inside.ask(&to, "/", &[]).text(), "hello");
}

#[test]
fn addresses_are_opened_only_where_that_is_said() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "127.0.0.1");
    let to = origin.address.to_string();
    let (plain, _) = opening(&known, |_| {});
    let mut tunnel = plain.connect().tunnel(&to).tls("127.0.0.1", client_config(&known.pem(), &[])).unwrap();
    assert!(tunnel.ask(&to, "/", &[]).field("via").is_none());
    let (opened, trusted) = opening(&known, |config| config.intercept.addresses = true);
    let mut inside = opened.connect().tunnel(&to).tls("127.0.0.1", client_config(&trusted, &[])).unwrap();
    assert!(inside.ask(&to, "/", &[]).field("via").is_some());
}

#[test]
fn the_lists_say_what_is_opened() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let to = origin.authority();
    let is_opened = |change: fn(&mut Config)| {
        let (proxy, trusted) = opening(&known, change);
        let both = format!("{trusted}{}", known.pem());
        let mut inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&both, &[])).unwrap();
        inside.ask(&to, "/", &[]).field("via").is_some()
    };
    assert!(is_opened(|_| {}));
    assert!(!is_opened(|config| config.intercept.bypass = hosts(&["localhost"])));
    assert!(!is_opened(|config| config.intercept.only = hosts(&["*.example.com"])));
    assert!(is_opened(|config| config.intercept.only = hosts(&["localhost"])));
    assert!(is_opened(|config| {
        config.intercept.only = hosts(&["*.example.com"]);
        config.intercept.required = hosts(&["localhost"]);
    }));
    assert!(!is_opened(|config| config.listeners[0].intercept = false));
}

#[test]
fn names_outside_the_cas_constraints_are_tunnelled() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let to = origin.authority();
    let (authorities, _) = own_authority(&["example.com"]);
    let proxy = opening_with(authorities.clone(), &known, |_| {});
    let mut tunnel = proxy.connect().tunnel(&to).tls("localhost", client_config(&known.pem(), &[])).unwrap();
    assert!(tunnel.ask(&to, "/", &[]).field("via").is_none());
    let strict =
        opening_with(authorities, &known, |config| config.intercept.required = hosts(&["localhost"]));
    let mut client = strict.connect();
    client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    let denied = client.response("CONNECT");
    assert_eq!(denied.status, 403, "{}", denied.text());
}

#[test]
fn a_client_that_rejects_the_certificate_is_tunnelled_from_then_on() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let to = origin.authority();
    let (proxy, trusted) = opening(&known, |_| {});
    let pinned = client_config(&known.pem(), &[]);
    let rejected = proxy.connect().tunnel(&to).tls("localhost", pinned.clone());
    assert!(rejected.is_err());
    eventually("the lesson", || {
        let tunnel = proxy.connect().tunnel(&to).tls("localhost", pinned.clone());
        tunnel.is_ok_and(|mut tunnel| tunnel.ask(&to, "/", &[]).text() == "hello")
    });
    // By client and host: one that would have trusted it has the same address here, and goes by unseen, too.
    assert!(proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).is_err());
    proxy.pass(24 * 60 * 60);
    let mut inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).unwrap();
    assert_eq!(inside.ask(&to, "/", &[]).text(), "hello");
}

#[test]
fn what_is_required_is_never_learned_to_be_left_alone() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let to = origin.authority();
    let (proxy, _) = opening(&known, |config| config.intercept.required = hosts(&["localhost"]));
    for _ in 0..3 {
        assert!(proxy.connect().tunnel(&to).tls("localhost", client_config(&known.pem(), &[])).is_err());
    }
    assert_eq!(origin.connections(), 0);
    // Nor may anything else than TLS pass.
    let mut client = proxy.connect().tunnel(&to);
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert!(client.is_closed());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_client_that_trusts_nothing_teaches_nothing() {
    let known = authority();
    let origins: Vec<_> = (0..6).map(|_| TlsOrigin::start(&known, "localhost")).collect();
    let (proxy, trusted) = opening(&known, |_| {});
    for origin in &origins {
        let distrustful = client_config(&known.pem(), &[]);
        assert!(proxy.connect().tunnel(&origin.authority()).tls("localhost", distrustful).is_err());
    }
    // Some were learned, or would have been.
    eventually("all is opened again", || {
        origins.iter().all(|origin| {
            let to = origin.authority();
            let inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[]));
            inside.is_ok_and(|mut inside| inside.ask(&to, "/", &[]).field("via").is_some())
        })
    });
}

#[test]
fn what_is_no_tls_goes_through_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 5];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"hello");
        stream.write_all(b"there").unwrap();
    });
    let (proxy, _) = opening(&authority(), |_| {});
    let mut client = proxy.connect().tunnel(&to);
    client.send("hello");
    assert_eq!(client.rest(), b"there");
}

#[test]
fn a_server_that_speaks_first_is_heard_after_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 hello\r\n").unwrap();
    });
    let (proxy, _) = opening(&authority(), |config| {
        config.limits.handshake_timeout = std::time::Duration::from_millis(50);
    });
    assert_eq!(proxy.connect().tunnel(&to).rest(), b"220 hello\r\n");
}

#[test]
fn the_proxys_own_name_shows_the_ca_and_whether_it_is_trusted() {
    let (proxy, trusted) = opening(&authority(), |_| {});
    let page = proxy.get("http://larder.internal/");
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(
        text.contains("coming through the proxy") && text.contains("SHA-256") && text.contains("/ca.pem")
    );
    assert_eq!(proxy.get("http://larder.internal/ca.pem").text(), trusted);
    let der = proxy.get("http://larder.internal/ca.der");
    assert_eq!(der.field("content-type"), Some("application/x-x509-ca-cert"));
    assert_eq!(der.body[..2], [0x30, 0x82]);
    let to = "larder.internal:443";
    let mut inside = proxy.connect().tunnel(to).tls("larder.internal", client_config(&trusted, &[])).unwrap();
    let script = inside.ask("larder.internal", "/trust.js", &[]);
    assert_eq!((script.status, script.field("cache-control")), (200, Some("no-store")));
    let mut straight = proxy.connect();
    let address = proxy.address().to_string();
    let page = straight.ask(&address, "/", &[]);
    assert!(page.text().contains("came here directly"), "{}", page.text());
    for path in ["/ca.key", "/../ca.key", "/ca"] {
        assert_eq!(proxy.get(&format!("http://larder.internal{path}")).status, 404, "{path}");
    }
    let all = [page.text(), text, trusted].concat();
    assert!(!all.contains("PRIVATE"));
}

#[test]
fn an_upload_goes_through_an_opened_tunnel() {
    let known = authority();
    let origin = TlsOrigin::answering(&known, "localhost", |head: &Head| {
        let length = head.field("content-length").unwrap_or("none").to_owned();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{length}", length.len())
            .into_bytes()
    });
    let to = origin.authority();
    let (proxy, trusted) = opening(&known, |_| {});
    let mut inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).unwrap();
    inside.send(format!("POST /x HTTP/1.1\r\nHost: {to}\r\nContent-Length: 3\r\n\r\nabc"));
    assert_eq!(inside.response("POST").text(), "3");
}

#[test]
fn a_listener_that_is_to_open_tunnels_needs_a_ca() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        larder_storage::Store::open(larder_storage::Options::new(directory.path().join("cache"))).unwrap();
    let mut config = Config::default();
    config.listeners[0].address = "127.0.0.1:0".parse().unwrap();
    config.listeners[0].intercept = true;
    let refused = larder_server::Server::start(config, store, larder_server::Clock::system());
    assert!(matches!(refused, Err(larder_server::StartError::NoAuthority)));
}

#[test]
fn an_origin_that_asks_for_a_client_certificate_is_tunnelled_to_after_one_page() {
    let known = authority();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let origin = HandshakeOrigin::hello(server(&known, &params, Asks::Politely, rustls::ALL_VERSIONS));
    let (proxy, trusted) = opening(&known, |_| {});
    let to = format!("localhost:{}", origin.address.port());
    let mut inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).unwrap();
    let page = inside.ask(&to, "/", &[]);
    assert_eq!(page.status, 502);
    assert!(page.text().contains("asks for a client certificate"), "{}", page.text());
    // The next one sees the origin's own certificate.
    let mut through = proxy.connect().tunnel(&to).tls("localhost", client_config(&known.pem(), &[])).unwrap();
    assert_eq!(through.ask(&to, "/", &[]).text(), "hello");
}

#[test]
fn a_websocket_passes_inside_an_opened_tunnel() {
    let known = authority();
    let origin = HandshakeOrigin::start(plain_server(&known), |head, stream| {
        assert_eq!(head.field("upgrade"), Some("websocket"));
        let answer = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.get_mut().write_all(&said).unwrap();
        false
    });
    let (proxy, trusted) = opening(&known, |_| {});
    let to = format!("localhost:{}", origin.address.port());
    let mut inside = proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).unwrap();
    inside.send(format!(
        "GET /chat HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ));
    let head = Head::read(&mut inside.reader).unwrap().unwrap();
    assert!(head.line.starts_with("HTTP/1.1 101 "), "{}", head.line);
    let mut bytes = [0; 5];
    inside.reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    inside.send("again");
    inside.reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"again");
}

#[test]
fn a_name_that_ends_with_a_dot_is_no_other_name() {
    let known = authority();
    let (proxy, trusted) = opening(&known, |config| config.intercept.required = hosts(&["localhost"]));
    let to = format!("localhost.:{}", TlsOrigin::start(&known, "localhost").address.port());
    // No other than TLS passes.
    let mut client = proxy.connect().tunnel(&to);
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert!(client.is_closed());
    assert!(proxy.connect().tunnel(&to).tls("localhost", client_config(&trusted, &[])).is_ok());
    let (proxy, _) = opening(&known, |config| config.intercept.bypass = hosts(&["nowhere.invalid"]));
    let mut client = proxy.connect();
    client.send("CONNECT nowhere.invalid.:443 HTTP/1.1\r\nHost: nowhere.invalid.:443\r\n\r\n");
    // A tunnel is connected at once, one that is opened is not.
    assert_eq!(client.response("CONNECT").status, 502);
}

#[test]
fn when_the_ca_has_ended_nothing_is_tunnelled_that_is_to_be_opened() {
    let (proxy, _) = opening(&authority(), |_| {});
    proxy.pass(31 * 24 * 60 * 60);
    let mut client = proxy.connect();
    client.send("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n");
    let denied = client.response("CONNECT");
    assert_eq!(denied.status, 403);
    assert!(denied.text().contains("not valid now"), "{}", denied.text());
}

#[test]
fn a_ca_that_is_constrained_signs_for_the_proxys_own_name_too() {
    let (authorities, trusted) = own_authority(&["example.com"]);
    let proxy = opening_with(authorities, &authority(), |_| {});
    let to = "larder.internal:443";
    let mut inside = proxy.connect().tunnel(to).tls("larder.internal", client_config(&trusted, &[])).unwrap();
    assert_eq!(inside.ask("larder.internal", "/trust.js", &[]).status, 200);
}

#[test]
fn a_tunnel_that_is_cut_at_the_stop_has_its_line_in_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || listener.accept().unwrap().0);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let path = log.clone();
    let (proxy, _) = opening(&authority(), move |config| {
        config.access_log = Some(larder_server::config::AccessLogSettings {
            target: larder_server::config::AccessLogTarget::File(path.clone()),
            format: larder_server::config::AccessLogFormat::Squid,
        });
    });
    let mut client = proxy.connect().tunnel(&to);
    let mut server = server.join().unwrap();
    client.send("up");
    server.read_exact(&mut [0; 2]).unwrap();
    proxy.server().stop();
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(lines.contains("TCP_TUNNEL_ABORTED/200") && lines.contains(&to), "{lines}");
}
