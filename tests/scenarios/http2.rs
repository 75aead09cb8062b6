//! Clients' HTTP/2, on a port that speaks TLS and inside tunnels that are opened.

use std::io::{Read, Write};
use std::net::TcpListener;

use http::Request;
use larder_server::config::{ListenerKind, PortCertificate};

use crate::scenarios::intercept::opening;
use crate::support::h2::H2Response;
use crate::support::tls::{TlsOrigin, authority, certificate, client_config};
use crate::support::{After, Gate, Origin, Proxy, bytes, eventually};

type Change = dyn Fn(&mut larder_server::Config, &mut larder_storage::Options) + Send + Sync;

/// A forward proxy whose port speaks TLS as `localhost`, and the PEM that its clients trust.
fn over_tls() -> (Proxy, String) {
    let (change, trusted) = tls_settings();
    (Proxy::with(move |config, options| change(config, options)), trusted)
}

fn tls_settings() -> (Box<Change>, String) {
    let known = authority();
    let (certificate, key) = certificate(&known, "localhost");
    let change = move |config: &mut larder_server::Config, options: &mut larder_storage::Options| {
        let files = PortCertificate {
            certificate: options.dir.with_file_name("port.pem"),
            key: options.dir.with_file_name("port.key"),
        };
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        config.listeners[0].tls = Some(files);
        config.access.connect_ports = (1..=u16::MAX).collect();
    };
    (Box::new(change), known.pem())
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
fn a_hit_is_the_same_whichever_way_it_took() {
    let origin = Origin::start(|request, reply| match request.target.as_str() {
        "/vary" => reply.send(200, &["Cache-Control: max-age=60", "Vary: Cookie"], b"vary"),
        "/empty" => reply.send(200, &["Cache-Control: max-age=60"], b""),
        "/lost" => reply.send(404, &["Cache-Control: max-age=60", "Age: 3", "ETag: \"a\""], b"lost"),
        _ => reply.fresh(bytes(5, 30_000)),
    });
    let (tls, trusted) = tls_settings();
    let before = larder_policy::TargetUri::parse(origin.url("/").as_bytes()).unwrap();
    let proxy = Proxy::with(move |config, options| {
        tls(config, options);
        config.listeners[0].kind = ListenerKind::Reverse { origin: before.clone() };
    });
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    let ask = |path: &str, fields: &[(&str, &str)]| {
        let request = Request::get(format!("https://localhost{path}"));
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        client.send(request.body(Default::default()).unwrap()).unwrap()
    };
    let none: &[(&str, &str)] = &[];
    let all = [
        none,
        &[("cookie", "a=b")],
        &[("cookie", "a=b"), ("cookie", "c=d")],
        &[("x-odd", "1"), ("user-agent", "u")],
        &[("if-none-match", "\"a\"")],
        &[("range", "bytes=1-2")],
        &[("cache-control", "no-cache")],
    ];
    for path in ["/vary", "/empty", "/lost", "/long"] {
        for fields in all {
            ask(path, fields);
        }
        for fields in all {
            let short = ask(path, fields);
            let long = ask(path, &[fields, &[("via", "2.0 elsewhere")]].concat());
            if short.is_hit() {
                let seen = |answer: &H2Response| (answer.status, answer.fields.clone(), answer.body.clone());
                assert_eq!(seen(&short), seen(&long), "{path} {fields:?}");
            } else {
                assert_eq!(fields, all[6], "{path}");
            }
        }
    }
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
    let answers = client.send_all(requests, || {
        origin.wait_for(1);
        gate.open();
    });
    for answer in answers {
        let answer = answer.unwrap();
        assert!(answer.status == 200 && answer.body[..] == bytes(3, 200_000));
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_was_begun_for_streams_that_are_reset_counts_until_it_is_over() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, reply| {
        held.wait();
        reply.send(200, &["Cache-Control: no-store"], b"late")
    });
    let (change, trusted) = tls_settings();
    let proxy = Proxy::with(move |config, options| {
        change(config, options);
        config.limits.http2_streams = 5;
    });
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    for n in 0..5 {
        client.reset_before_the_answer(&origin.url(&format!("/{n}")), || origin.wait_for(n + 1));
    }
    assert!(client.get(&origin.url("/x")).is_err(), "there are as many as there may be");
    assert_eq!(origin.count(), 5);
    gate.open();
    eventually("they are over", || client.get(&origin.url("/x")).is_ok_and(|answer| answer.text() == "late"));
    eventually("each has its line", || proxy.figures().client_aborts == 5);
}

#[test]
fn crumbs_of_a_cookie_are_one_field_and_a_get_without_content_is_none() {
    let origin = Origin::start(|_, reply| reply.fresh("hello"));
    let (proxy, trusted) = over_tls();
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    let crumbs = Request::get(origin.url("/c")).header("cookie", "a=1").header("cookie", "b=2");
    client.send(crumbs.body(Default::default()).unwrap()).unwrap();
    assert_eq!(origin.received()[0].field("cookie"), Some("a=1; b=2"));
    client.get_with_an_empty_frame(&origin.url("/e")).unwrap();
    assert_eq!(origin.received()[1].field("transfer-encoding"), None);
    assert!(client.get_with_an_empty_frame(&origin.url("/e")).unwrap().is_hit());
}

#[test]
fn heads_are_judged_as_strictly_as_those_of_http_1() {
    let origin = Origin::start(|_, reply| reply.fresh("hello"));
    let (proxy, trusted) = over_tls();
    let client = proxy.connect().h2("localhost", client_config(&trusted, &["h2"]));
    let status = |change: fn(http::request::Builder) -> http::request::Builder| {
        client.send(change(Request::get(origin.url("/"))).body(Default::default()).unwrap()).unwrap().status
    };
    assert_eq!(status(|request| request), 200);
    assert_eq!(status(|request| request.header("host", "evil.example")), 400);
    assert_eq!(status(|request| (0..101).fold(request, |all, n| all.header(format!("x-{n}"), "1"))), 431);
    // What is asked for under another name than the port's own is no page of the proxy's.
    let elsewhere = client.get("https://elsewhere.invalid/").unwrap();
    assert_eq!(elsewhere.status, 502, "{}", elsewhere.text());
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let (certified, trusted) = tls_settings();
    let proxy = Proxy::with(move |config, options| {
        certified(config, options);
        config.limits.keep_alive_timeout = std::time::Duration::from_millis(50);
    });
    let silent = proxy.connect().tls("localhost", client_config(&trusted, &["h2"])).unwrap();
    let mut silent = silent;
    // Settings and a farewell, perhaps, and then the end.
    silent.rest();
    eventually("it is gone", || proxy.figures().client_connections.open == 0);
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
    assert_eq!(client.tunnel("nowhere.invalid:443", b"up"), Err(502));
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
