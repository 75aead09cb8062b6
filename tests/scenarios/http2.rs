//! Clients' HTTP/2, on a port that speaks TLS and inside tunnels that are opened.

use std::io::{Read, Write};
use std::net::TcpListener;

use http::Request;
use larder_server::config::PortCertificate;

use crate::scenarios::intercept::opening;
use crate::support::tls::{TlsOrigin, authority, certificate, client_config};
use crate::support::{After, Gate, Origin, Proxy, bytes};

/// A forward proxy whose port speaks TLS as `localhost`, and the PEM that its clients trust.
fn over_tls() -> (Proxy, String) {
    let known = authority();
    let (certificate, key) = certificate(&known, "localhost");
    let proxy = Proxy::with(move |config, options| {
        let files = PortCertificate {
            certificate: options.dir.with_file_name("port.pem"),
            key: options.dir.with_file_name("port.key"),
        };
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        config.listeners[0].tls = Some(files);
        config.access.connect_ports = (1..=u16::MAX).collect();
    });
    (proxy, known.pem())
}

#[test]
fn a_port_speaks_http_1_and_2_over_tls() {
    let origin = Origin::start(|_, reply| reply.fresh("hello"));
    let (proxy, trusted) = over_tls();
    let mut first = proxy.connect().tls("localhost", client_config(&trusted, &["http/1.1"])).unwrap();
    assert_eq!(first.get(&origin.url("/a"), &[]).text(), "hello");
    let second = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    let hit = second.get(&origin.url("/a")).unwrap();
    assert!(hit.is_hit() && hit.text() == "hello", "{hit:?}");
    assert_eq!(hit.field("content-length"), Some("5"));
    let miss = second.get(&origin.url("/b")).unwrap();
    assert_eq!((miss.status, miss.text().as_str(), miss.is_hit()), (200, "hello", false));
    assert!(origin.received()[1].field("via").unwrap().starts_with("2.0 larder"));
    let own = second.get("https://localhost/").unwrap();
    assert!(own.text().contains("This is larder"), "{own:?}");
}

#[test]
fn many_streams_share_a_connection_and_a_fetch() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, reply| {
        held.wait();
        reply.fresh(bytes(3, 200_000))
    });
    let (proxy, trusted) = over_tls();
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    let requests = (0..50).map(|_| Request::get(origin.url("/")).body(Default::default()).unwrap()).collect();
    gate.open();
    for answer in client.send_all(requests) {
        let answer = answer.unwrap();
        assert!(answer.status == 200 && answer.body[..] == bytes(3, 200_000));
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_body_that_breaks_off_resets_its_stream_and_no_other() {
    let origin = Origin::start(|request, reply| {
        if request.target == "/cut" {
            reply.raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            reply.raw([b'x'; 5000]);
            return After::Close;
        }
        reply.fresh("whole")
    });
    let (proxy, trusted) = over_tls();
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    assert!(client.get(&origin.url("/cut")).is_err());
    assert_eq!(client.get(&origin.url("/whole")).unwrap().text(), "whole");
}

#[test]
fn uploads_conditions_ranges_and_head_are_as_in_http_1() {
    let origin = Origin::start(|request, reply| match request.method.as_str() {
        "POST" => reply.fresh(format!("{} bytes", request.body.len())),
        _ => reply.fresh("0123456789"),
    });
    let (proxy, trusted) = over_tls();
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    let large = bytes(5, 3_000_000);
    let upload = Request::post(origin.url("/up")).body(large.into()).unwrap();
    assert_eq!(client.send(upload).unwrap().text(), "3000000 bytes");
    let url = origin.url("/x");
    assert_eq!(client.get(&url).unwrap().text(), "0123456789");
    let range = Request::get(&url).header("range", "bytes=2-4").body(Default::default()).unwrap();
    let part = client.send(range).unwrap();
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    let head = client.send(Request::head(&url).body(Default::default()).unwrap()).unwrap();
    assert_eq!((head.field("content-length"), head.body.len()), (Some("10"), 0));
    assert!(head.is_hit());
}

#[test]
fn trailers_come_at_the_end_of_a_stream() {
    let origin = Origin::start(|_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n");
        reply.raw("5\r\nhello\r\n0\r\nX-End: yes\r\n\r\n");
        After::Keep
    });
    let (proxy, trusted) = over_tls();
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    let request = Request::get(origin.url("/")).header("te", "trailers").body(Default::default()).unwrap();
    let answer = client.send(request).unwrap();
    assert_eq!(answer.text(), "hello");
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers.get("x-end").unwrap(), "yes");
}

#[test]
fn connect_works_over_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).unwrap();
        assert_eq!(asked, b"up");
        stream.write_all(b"down").unwrap();
    });
    let (proxy, trusted) = over_tls();
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    assert_eq!(client.tunnel(&to, b"up").unwrap(), b"down");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_eq!(client.tunnel(&closed, b"up"), Err(502));
}

#[test]
fn inside_an_opened_tunnel_it_is_offered_and_only_for_the_tunnels_authority() {
    let known = authority();
    let origin = TlsOrigin::start(&known, "localhost");
    let (proxy, trusted) = opening(&known, |_| {});
    let to = origin.authority();
    let client = proxy.connect().tunnel(&to).h2("localhost", client_config(&trusted, &["h2"]));
    let miss = client.get(&format!("https://{to}/a")).unwrap();
    assert_eq!((miss.status, miss.text().as_str()), (200, "hello"));
    assert!(client.get(&format!("https://{to}/a")).unwrap().is_hit());
    assert_eq!(client.get("https://elsewhere.example/a").unwrap().status, 421);
    assert_eq!(origin.count(), 1);
}
