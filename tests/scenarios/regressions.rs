//! What went wrong once, named after it.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use larder_server::config::{Listener, ListenerKind};

use crate::support::{After, Client, Gate, Origin, Proxy, bytes, eventually};

/// An origin whose first answer is `first` and whose later ones are `later`.
fn first_then(
    first: impl Fn(&mut crate::support::origin::Reply<'_>) -> After + Send + Sync + 'static,
    later: impl Fn(&crate::support::origin::Received, &mut crate::support::origin::Reply<'_>) -> After
    + Send
    + Sync
    + 'static,
) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |request, reply| match count.fetch_add(1, Ordering::SeqCst) {
        0 => first(reply),
        _ => later(request, reply),
    })
}

#[test]
fn a_stream_ends_at_its_origin_when_its_client_has_left() {
    let ended = Gate::default();
    let told = ended.clone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        crate::support::message::Head::read(&mut reader).unwrap();
        let mut stream = stream;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nCache-Control: no-store\r\n\r\n";
        std::io::Write::write_all(&mut stream, head).unwrap();
        // Small events, until the proxy closes.
        while std::io::Write::write_all(&mut stream, b"7\r\nevent!\n\r\n").is_ok() {}
        told.open();
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.request("GET", &format!("http://{address}/"), &[]);
    assert!(!client.reader.fill_buf().unwrap().is_empty());
    drop(client);
    ended.wait();
    server.join().unwrap();
}

#[test]
fn a_reverse_listener_cannot_put_words_into_another_origins_mouth() {
    let behind = Origin::start(|_, reply| reply.fresh("from behind"));
    let real = Origin::start(|_, reply| reply.fresh("the real one"));
    let origin = larder_policy::TargetUri::parse(behind.url("/").as_bytes()).unwrap();
    let proxy = Proxy::with(move |config, _| {
        let kind = ListenerKind::Reverse { origin: origin.clone() };
        config.listeners.push(Listener {
            address: "127.0.0.1:0".parse().unwrap(),
            kind,
            ..Listener::default()
        });
    });
    let mut reverse = Client::connect(proxy.server().addresses()[1]);
    reverse.send(format!("GET /p HTTP/1.1\r\nHost: {}\r\n\r\n", real.address));
    assert_eq!(reverse.response("GET").text(), "from behind");
    assert_eq!(proxy.get(&real.url("/p")).text(), "the real one");
    reverse.send(format!("GET /p HTTP/1.1\r\nHost: {}\r\n\r\n", real.address));
    assert!(reverse.response("GET").is_hit());
}

#[test]
fn a_304_for_a_body_that_is_gone_is_fetched_again() {
    let body = bytes(30, 300_000);
    let sent = body.clone();
    let origin = Origin::start(move |request, reply| match request.field("if-none-match") {
        Some(_) => reply.send(304, &["ETag: \"v\"", "Cache-Control: max-age=10"], b""),
        None => reply.send(200, &["ETag: \"v\"", "Cache-Control: max-age=10"], &sent),
    });
    let proxy = Proxy::with(|_, options| options.memory_limit = 0);
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(11);
    std::fs::remove_dir_all(proxy.cache_dir().join("blobs")).unwrap();
    let answer = proxy.get(&url);
    assert!(answer.complete && answer.body == body, "{}", answer.cache_status());
    let other = origin.url("/other");
    proxy.get(&other);
    assert!(proxy.get(&other).is_hit(), "storing goes on");
}

#[test]
fn a_hit_whose_body_is_gone_or_damaged_is_a_miss_not_a_cut() {
    let body = bytes(31, 1_000_000);
    let sent = body.clone();
    let origin = Origin::start(move |_, reply| reply.fresh(&sent));
    let proxy = Proxy::with(|_, options| options.memory_limit = 0);
    let url = origin.url("/");
    proxy.get(&url);
    for round in 0..2 {
        for path in super::caching::files_under(&proxy.cache_dir().join("blobs")) {
            match round {
                0 => std::fs::remove_file(&path).unwrap(),
                _ => std::fs::write(&path, b"not what it was").unwrap(),
            }
        }
        let answer = proxy.get(&url);
        assert!(answer.complete && answer.body == body, "{round}: {}", answer.cache_status());
        assert!(proxy.get(&url).is_hit(), "{round}: it is stored again");
    }
}

#[test]
fn a_304_to_the_clients_own_condition_freshens_nothing() {
    let origin = first_then(
        |reply| reply.send(200, &["Cache-Control: max-age=10", "ETag: \"1\""], b"v1"),
        |request, reply| match (request.method.as_str(), request.field("if-modified-since")) {
            ("HEAD", Some(_)) => reply.send(304, &["Cache-Control: max-age=1000"], b""),
            _ => reply.send(200, &["Cache-Control: max-age=10", "ETag: \"2\""], b"v2"),
        },
    );
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(11);
    let condition = "If-Modified-Since: Thu, 31 Dec 2099 00:00:00 GMT";
    assert_eq!(proxy.connect().call("HEAD", &url, &[condition], b"").status, 304);
    assert_eq!(proxy.get(&url).text(), "v2");
}

#[test]
fn a_stale_response_without_a_validator_stands_in_as_well() {
    for (control, status) in [("max-age=1, stale-if-error=100", 503), ("max-age=1", 0)] {
        let control = format!("Cache-Control: {control}");
        let origin = first_then(
            move |reply| reply.send(200, &[&control], b"kept"),
            move |_, reply| match status {
                0 => After::Close,
                status => reply.send(status, &[], b"down"),
            },
        );
        let proxy = Proxy::start();
        let url = origin.url("/");
        proxy.get(&url);
        proxy.pass(5);
        let answer = proxy.get(&url);
        assert_eq!((answer.status, answer.text().as_str()), (200, "kept"), "{status}");
    }
}

#[test]
fn a_background_refresh_asks_as_anybody_might() {
    let origin = first_then(
        |reply| reply.send(200, &["Cache-Control: max-age=10, stale-while-revalidate=100"], b"0123456789"),
        |request, reply| {
            assert_eq!(
                (request.method.as_str(), request.field("range"), request.field("if-none-match")),
                ("GET", None, None)
            );
            reply.send(200, &["Cache-Control: max-age=10, stale-while-revalidate=100"], b"abcdefghij")
        },
    );
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(20);
    let part = proxy.get_with(&url, &["Range: bytes=0-1", "If-None-Match: \"x\""]);
    assert_eq!((part.status, part.text().as_str()), (206, "01"));
    origin.wait_for(2);
    eventually("the refreshed response is stored", || proxy.get(&url).text() == "abcdefghij");
    proxy.pass(20);
    // The fetch before may not have been put away yet; then this one does not start.
    eventually("a HEAD refreshes, too", || {
        assert!(proxy.connect().call("HEAD", &url, &[], b"").is_hit());
        origin.count() >= 3
    });
    eventually("it is fresh again", || proxy.get(&url).age() == Some(0));
}

#[test]
fn a_refresh_that_may_not_be_stored_outdates_what_was_stale() {
    let origin = first_then(
        |reply| reply.send(200, &["Cache-Control: max-age=10, stale-while-revalidate=1000"], b"old"),
        |_, reply| reply.send(200, &["Cache-Control: no-store"], b"new"),
    );
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(20);
    assert_eq!(proxy.get(&url).text(), "old");
    eventually("the stale one is gone", || proxy.get(&url).text() == "new");
}

#[test]
fn a_slow_old_answer_does_not_displace_a_newer_one() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = first_then(
        move |reply| {
            reply.raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 3\r\n\r\nO");
            held.wait();
            reply.raw("LD");
            After::Keep
        },
        |_, reply| reply.fresh("NEW"),
    );
    let proxy = Proxy::start();
    let url = origin.url("/");
    let mut slow = proxy.connect();
    slow.request("GET", &url, &[]);
    assert!(!slow.reader.fill_buf().unwrap().is_empty());
    proxy.pass(1);
    assert_eq!(proxy.get_with(&url, &["Cache-Control: no-cache"]).text(), "NEW");
    gate.open();
    assert_eq!(slow.response("GET").text(), "OLD");
    assert_eq!(proxy.get(&url).text(), "NEW");
}

#[test]
fn followers_of_a_silent_origin_do_not_wait_in_series() {
    let (gate, patience) = (Gate::default(), std::time::Duration::from_millis(300));
    let held = gate.clone();
    let origin = Origin::start(move |_, _| {
        held.wait();
        After::Close
    });
    let proxy = Proxy::with(move |config, _| config.limits.first_byte_timeout = patience);
    let (url, address) = (origin.url("/"), proxy.address());
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.request("GET", &url, &[]);
    }
    for client in &mut clients {
        assert_eq!(client.response("GET").status, 504);
    }
    assert!(origin.count() < 20, "{} asked an origin that does not answer", origin.count());
    gate.open();
}

#[test]
fn an_error_that_stale_if_error_hides_is_asked_for_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = first_then(
        |reply| reply.send(200, &["Cache-Control: max-age=10, stale-if-error=100", "ETag: \"v\""], b"kept"),
        move |_, reply| {
            held.wait();
            reply.send(503, &[], b"down")
        },
    );
    let proxy = Proxy::start();
    let (url, address) = (origin.url("/"), proxy.address());
    proxy.get(&url);
    proxy.pass(11);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.request("GET", &url, &[]);
    }
    origin.wait_for(2);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "kept");
    }
}

#[test]
fn one_clients_error_does_not_wipe_what_others_use() {
    let origin = Origin::start(|request, reply| match request.field("x-bad") {
        Some(_) => reply.send(400, &[], b"bad"),
        None => reply.send(200, &["Cache-Control: max-age=60", "Vary: Accept-Encoding"], b"good"),
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    for coding in ["gzip", "br"] {
        proxy.get_with(&url, &[&format!("Accept-Encoding: {coding}")]);
    }
    assert_eq!(
        proxy.get_with(&url, &["Accept-Encoding: gzip", "Cache-Control: no-cache", "X-Bad: 1"]).status,
        400
    );
    for coding in ["gzip", "br"] {
        assert!(proxy.get_with(&url, &[&format!("Accept-Encoding: {coding}")]).is_hit(), "{coding}");
    }
}

#[test]
fn a_malformed_upload_is_400_and_an_early_answer_says_that_it_closes() {
    let origin = Origin::start(|_, reply| reply.fresh("x"));
    let proxy = Proxy::start();
    let (url, host) = (origin.url("/"), origin.address);
    let mut client = proxy.connect();
    client.send(format!("POST {url} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"));
    assert_eq!(client.response("POST").status, 400);
    // An origin that answers as soon as it has the head.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let early = listener.local_addr().unwrap();
    let done = Arc::new(Gate::default());
    let finished = Arc::clone(&done);
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        crate::support::message::Head::read(&mut reader).unwrap();
        std::io::Write::write_all(&mut &stream, b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        finished.wait();
    });
    let mut client = proxy.connect();
    client.send(format!(
        "POST http://{early}/ HTTP/1.1\r\nHost: {early}\r\nContent-Length: 100000000\r\n\r\nstart"
    ));
    let answer = client.response("POST");
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
    done.open();
}

#[test]
fn a_rejected_head_request_gets_a_head_without_content() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send("HEAD http://user@host/ HTTP/1.1\r\nHost: host\r\n\r\n");
    let answer = client.response("HEAD");
    assert_eq!(answer.status, 400);
    client.finish_sending();
    assert!(client.is_closed());
}
