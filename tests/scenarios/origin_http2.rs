//! Origins that choose HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use larder_server::config::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, Notify};

use crate::support::http2::{Http2Origin, Manners, map, send};
use crate::support::tls::{Authority, authority};
use crate::support::tls_origin::{HandshakeOrigin, plain_server, trusting, trusting_with};
use crate::support::{PATIENCE, Proxy, bytes, eventually};

const FRESH: (&str, &str) = ("cache-control", "max-age=3600");
const NO_STORE: (&str, &str) = ("cache-control", "no-store");

/// A proxy of one worker, so that all requests share its connections.
fn one_worker(authority: &Authority) -> Proxy {
    trusting_with(authority, |config, _| config.workers = 1)
}

#[test]
fn a_request_becomes_http2_and_its_answer_is_stored() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        let request = &call.request;
        let mut text = format!("{} {}", request.method(), request.uri());
        for (name, value) in request.headers() {
            text.push_str(&format!("|{name}: {}", value.to_str().unwrap()));
        }
        call.answer(200, &[FRESH, ("x-one", "1"), ("x-one", "2"), ("set-cookie", "a=b")], text).await;
    });
    let proxy = trusting(&authority);
    let url = origin.url("/a?b=%20");
    let fields = ["X-Mixed: Case", "Connection: X-Hop", "X-Hop: 1", "Cookie: a=1; b=2", "HTTP2-Settings: AA"];
    let miss = proxy.get_with(&url, &fields);
    let text = miss.text();
    let (head, via) = text.split_once("|via: 1.1 larder-").unwrap();
    assert_eq!(head, format!("GET {url}|x-mixed: Case|cookie: a=1; b=2"));
    assert!(!via.contains('|'), "{via}");
    assert_eq!((miss.status, miss.head.all("x-one")), (200, vec!["1", "2"]));
    assert_eq!(miss.head.line, "HTTP/1.1 200 OK");
    assert_eq!(miss.head.all("connection").len() + miss.head.all("transfer-encoding").len(), 1);
    let hit = proxy.get_with(&url, &fields);
    assert!(hit.is_hit() && hit.body == miss.body, "{}", hit.cache_status());
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn any_method_any_status_and_any_body_pass() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| async move {
        let status = call.path().trim_start_matches('/').parse().unwrap();
        let content = call.content().await.unwrap();
        let length = call.request.headers().get("content-length").cloned();
        let body = format!("{}:{}:{length:?}", call.request.method(), content.len());
        let body = if matches!(status, 204 | 304) || call.request.method() == "HEAD" { "" } else { &body };
        call.answer(status, &[], body.to_owned()).await;
    });
    let proxy = one_worker(&authority);
    let mut client = proxy.connect();
    for (method, status, content, expected) in [
        ("GET", 599, "", "GET:0:None"),
        ("PUT", 201, "content", "PUT:7:Some(\"7\")"),
        ("M-SEARCH", 200, "", "M-SEARCH:0:None"),
        ("DELETE", 204, "content", ""),
        ("POST", 500, "", "POST:0:None"),
        ("HEAD", 200, "", ""),
        ("GET", 304, "", ""),
    ] {
        let answer = client.call(method, &origin.url(&format!("/{status}")), &[], content.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (status, expected), "{method}");
        assert!(answer.complete);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn interim_responses_and_trailers_pass() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| async move {
        call.interim(103, &[("link", "</style.css>")]);
        let mut stream = call.head(200, &[NO_STORE]);
        assert!(send(&mut stream, Bytes::from_static(b"body")).await);
        let trailers = map(&[("x-sum", "9"), ("content-length", "3"), ("set-cookie", "a=b")]);
        stream.send_trailers(trailers).unwrap();
    });
    let proxy = trusting(&authority);
    let answer = proxy.get_with(&origin.url("/"), &["TE: trailers", "Connection: TE"]);
    assert_eq!(answer.interim[0].field("link"), Some("</style.css>"));
    assert_eq!((answer.text().as_str(), answer.complete), ("body", true));
    assert_eq!(answer.field("trailer:x-sum"), Some("9"));
    assert_eq!((answer.field("trailer:content-length"), answer.field("trailer:set-cookie")), (None, None));
    assert_eq!(proxy.get(&origin.url("/2")).field("trailer:x-sum"), None);
}

#[test]
fn a_thousand_requests_at_once_share_few_connections() {
    const REQUESTS: usize = 1000;
    let authority = authority();
    let all = Arc::new(Barrier::new(REQUESTS));
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), move |call| {
        let all = Arc::clone(&all);
        async move {
            if call.path() != "/first" {
                // Nobody is answered before all are here.
                all.wait().await;
            }
            let path = call.path().to_owned();
            call.answer(200, &[NO_STORE], path).await;
        }
    });
    let proxy = one_worker(&authority);
    assert_eq!(proxy.get(&origin.url("/first")).status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..REQUESTS {
            let (address, url) = (proxy.address(), origin.url(&format!("/{number}")));
            clients.spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let head = format!("GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                let answer = String::from_utf8(answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                assert!(answer.contains(&format!("/{number}")), "{answer}");
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    });
    assert!((10..=12).contains(&origin.connections()), "{}", origin.connections());
}

#[test]
fn requests_wait_for_a_place_where_connections_are_bounded() {
    let authority = authority();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
    let manners = Manners { streams: 3, ..Manners::default() };
    let origin = Http2Origin::start(plain_server(&authority), manners, move |call| {
        let (now, most) = (Arc::clone(&counted), Arc::clone(&peak));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            call.answer(200, &[NO_STORE], "x").await;
        }
    });
    let proxy = trusting_with(&authority, |config, _| {
        config.workers = 1;
        config.limits.http2_connections = 2;
    });
    assert_eq!(proxy.get(&origin.url("/first")).status, 200);
    std::thread::scope(|scope| {
        for number in 0..40 {
            let (proxy, url) = (&proxy, origin.url(&format!("/{number}")));
            scope.spawn(move || assert_eq!(proxy.get(&url).status, 200));
        }
    });
    assert_eq!(origin.received().len(), 41);
    assert!(origin.connections() <= 2, "{}", origin.connections());
    assert!(most.load(Ordering::SeqCst) <= 6);
}

#[test]
fn a_goaway_in_between_costs_nothing() {
    let authority = authority();
    let manners = Manners { goes_after: 10, ..Manners::default() };
    let origin = Http2Origin::start(plain_server(&authority), manners, |call| async move {
        let path = call.path().to_owned();
        call.answer(200, &[NO_STORE], path).await;
    });
    let proxy = one_worker(&authority);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (proxy, origin) = (&proxy, &origin);
            scope.spawn(move || {
                let mut connection = proxy.connect();
                for number in 0..25 {
                    let path = format!("/{client}/{number}");
                    let answer = connection.get(&origin.url(&path), &[]);
                    assert_eq!((answer.status, answer.text()), (200, path));
                }
            });
        }
    });
    let mut received = origin.received();
    received.sort();
    received.dedup();
    assert_eq!((received.len(), origin.received().len()), (100, 100), "each came once");
    assert!(origin.connections() > 4, "{}", origin.connections());
}

#[test]
fn what_the_origin_did_not_take_goes_out_again() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| {
        static REFUSED: AtomicUsize = AtomicUsize::new(0);
        async move {
            if REFUSED.fetch_add(1, Ordering::SeqCst) == 0 {
                call.respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                call.answer(200, &[NO_STORE], "taken").await;
            }
        }
    });
    let proxy = trusting(&authority);
    // Not idempotent: it may go out twice only since it was refused.
    let answer = proxy.connect().call("POST", &origin.url("/"), &[], b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "taken"));
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn a_stream_that_is_reset_before_its_head_is_502_and_sent_once() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| async move {
        if call.path() == "/first" {
            return call.answer(200, &[NO_STORE], "x").await;
        }
        call.respond.send_reset(Reason::INTERNAL_ERROR);
    });
    let proxy = one_worker(&authority);
    assert_eq!(proxy.get(&origin.url("/first")).status, 200);
    // The connection lives, so that not even a GET goes out again.
    let answer = proxy.get(&origin.url("/reset"));
    assert_eq!(
        (answer.status, answer.field("proxy-status")),
        (502, Some("larder; error=http_response_incomplete"))
    );
    assert_eq!(origin.received(), ["/first", "/reset"]);
}

#[test]
fn a_burst_for_a_known_origin_waits_for_one_handshake() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        let (path, cut) = (call.path().to_owned(), Arc::clone(&call.cut));
        if path == "/cut" {
            cut.notify_one();
            std::future::pending::<()>().await;
        }
        call.answer(200, &[NO_STORE], path).await;
    });
    let proxy = one_worker(&authority);
    assert_eq!(proxy.get(&origin.url("/first")).status, 200);
    // A POST is not sent again: its end is that of the only connection.
    assert_eq!(proxy.connect().call("POST", &origin.url("/cut"), &[], b"").status, 502);
    std::thread::scope(|scope| {
        for number in 0..50 {
            let (proxy, url) = (&proxy, origin.url(&format!("/{number}")));
            scope.spawn(move || assert_eq!(proxy.get(&url).status, 200));
        }
    });
    assert_eq!(origin.connections(), 2);
}

#[test]
fn those_who_wait_for_a_handshake_share_its_failure() {
    const REQUESTS: usize = 20;
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        call.answer(200, &[NO_STORE], "x").await;
    });
    let proxy = trusting_with(&authority, |config, _| {
        config.workers = 1;
        config.limits.connect_timeout = PATIENCE;
        config.limits.pool_idle_timeout = Duration::ZERO;
    });
    assert_eq!(proxy.get(&origin.url("/")).status, 200);
    origin.fall_deaf();
    let mut clients: Vec<_> = (0..REQUESTS).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.request("POST", &origin.url("/"), &[]);
    }
    // Whoever has been accepted has been heard by the only worker, which then waits for the origin.
    eventually("all have come", || {
        proxy.figures().client_connections.open >= REQUESTS as u64 && origin.deaf() > 0
    });
    std::thread::scope(|scope| {
        let answers: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(|| client.response("POST").status)).collect();
        // One that came too late to share the first failure shares the next.
        eventually("all are answered", || {
            origin.hang_up();
            answers.iter().all(|answer| answer.is_finished())
        });
        for answer in answers {
            assert_eq!(answer.join().unwrap(), 502);
        }
    });
    assert!((1..REQUESTS).contains(&origin.deaf()), "{}", origin.deaf());
}

#[test]
fn an_idle_connection_is_closed() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        call.answer(200, &[NO_STORE], "x").await;
    });
    let proxy = trusting_with(&authority, |config, _| {
        config.workers = 1;
        config.limits.pool_idle_timeout = Duration::ZERO;
    });
    for number in 1..=3 {
        assert_eq!(proxy.get(&origin.url("/")).status, 200);
        assert_eq!(origin.connections(), number);
    }
    eventually("the first two are closed", || origin.closed() >= 2);
}

#[test]
fn a_connection_that_died_costs_a_get_nothing() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        let (path, cut) = (call.path().to_owned(), Arc::clone(&call.cut));
        if path == "/cut" && call.connection == 0 {
            // All that is left of the connection is its end.
            cut.notify_one();
            std::future::pending::<()>().await;
        }
        call.answer(200, &[NO_STORE], path).await;
    });
    let proxy = one_worker(&authority);
    for path in ["/1", "/cut", "/2"] {
        let answer = proxy.get(&origin.url(path));
        assert_eq!((answer.status, answer.text().as_str()), (200, path));
    }
    assert_eq!((origin.connections(), origin.received().len()), (2, 4));
}

#[test]
fn an_answer_that_is_cut_is_cut_visibly_and_never_stored() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| async move {
        let length: &[(&str, &str)] = match call.path() {
            "/reset" | "/cut" => &[FRESH],
            _ => &[FRESH, ("content-length", "10")],
        };
        let (path, cut) = (call.path().to_owned(), Arc::clone(&call.cut));
        let mut stream = call.head(200, length);
        assert!(send(&mut stream, Bytes::from_static(b"half ")).await);
        match path.as_str() {
            "/reset" | "/reset-length" => stream.send_reset(Reason::NO_ERROR),
            "/short" => stream.send_data(Bytes::new(), true).unwrap(),
            "/long" => stream.send_data(Bytes::from_static(b"and too much"), true).unwrap(),
            _ => {
                cut.notify_one();
                std::future::pending::<()>().await;
            }
        }
    });
    let proxy = one_worker(&authority);
    for path in ["/reset", "/reset-length", "/short", "/long", "/cut", "/cut-length"] {
        for times in 1..=2 {
            let answer = proxy.get(&origin.url(path));
            // Where the end comes before the head has gone out, it is a whole 502.
            let told = answer.status == 502 || (answer.status == 200 && !answer.complete);
            assert!(told && !answer.is_hit(), "{path}: {answer:?}");
            let seen = origin.received().iter().filter(|received| *received == path).count();
            assert!(seen >= times, "{path} was stored");
        }
    }
}

#[test]
fn uploads_of_any_framing_arrive_whole() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| async move {
        let content = call.content().await.unwrap();
        call.answer(200, &[NO_STORE], content).await;
    });
    let proxy = trusting(&authority);
    let body = bytes(31, 8_000_000);
    let answer = proxy.connect().call("POST", &origin.url("/"), &[], &body);
    assert!(answer.complete && answer.body == body);
    let mut client = proxy.connect();
    client.request("PUT", &origin.url("/"), &["Transfer-Encoding: chunked"]);
    client.send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.response("PUT").text(), "hello world");
    client.request("PUT", &origin.url("/"), &["Content-Length: 5", "Expect: 100-continue"]);
    let interim = crate::support::message::Head::read(&mut client.reader).unwrap().unwrap();
    assert!(interim.line.starts_with("HTTP/1.1 100"));
    client.send("later");
    assert_eq!(client.response("PUT").text(), "later");
}

#[test]
fn an_upload_that_is_cut_never_looks_complete() {
    let authority = authority();
    let (whole, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&whole), Arc::clone(&cut));
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), move |mut call| {
        let (whole, cut) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
        async move {
            let count = if call.content().await.is_some() { whole } else { cut };
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let proxy = trusting(&authority);
    let mut client = proxy.connect();
    client.request("POST", &origin.url("/"), &["Transfer-Encoding: chunked"]);
    client.send("5\r\nhello\r\n");
    eventually("the request came", || !origin.received().is_empty());
    drop(client);
    eventually("its end came", || whole.load(Ordering::SeqCst) + cut.load(Ordering::SeqCst) > 0);
    assert_eq!((whole.load(Ordering::SeqCst), cut.load(Ordering::SeqCst)), (0, 1));
}

#[test]
fn an_answer_may_come_before_the_upload_has_ended() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| async move {
        if call.path() == "/refuse" {
            let mut stream = call.head(413, &[("content-length", "8")]);
            stream.send_data(Bytes::from_static(b"too much"), true).unwrap();
            // The rest is not wanted: h2 says so by a reset behind the answer (RFC 9113, 8.1).
            return;
        }
        let mut stream = call.head(200, &[NO_STORE]);
        // What comes goes back at once.
        while let Some(data) = call.request.body_mut().data().await {
            let data = data.unwrap();
            call.request.body_mut().flow_control().release_capacity(data.len()).unwrap();
            assert!(send(&mut stream, data).await);
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let proxy = trusting(&authority);
    let mut client = proxy.connect();
    client.request("POST", &origin.url("/"), &["Content-Length: 10"]);
    client.send("first");
    let mut start = Vec::new();
    while !start.ends_with(b"first") {
        let mut byte = [0_u8; 1];
        std::io::Read::read_exact(&mut client.reader, &mut byte).unwrap();
        start.extend_from_slice(&byte);
    }
    client.send("later");
    assert!(String::from_utf8_lossy(&client.rest()).contains("later"));

    let mut client = proxy.connect();
    client.request("POST", &origin.url("/refuse"), &["Content-Length: 100000000"]);
    client.send(vec![b'x'; 1000]);
    let answer = client.response("POST");
    assert_eq!((answer.status, answer.text().as_str(), answer.complete), (413, "too much", true));
}

#[test]
fn a_client_that_takes_nothing_holds_up_its_own_answer_alone() {
    const WHOLE: usize = 256 * 1024 * 1024;
    const SLOW: usize = 4;
    let authority = authority();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), move |mut call| {
        let count = Arc::clone(&count);
        async move {
            if call.path() != "/large" {
                return call.answer(200, &[NO_STORE], "small").await;
            }
            let mut stream = call.head(200, &[NO_STORE]);
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            for _ in 0..WHOLE / piece.len() {
                if !send(&mut stream, piece.clone()).await {
                    return;
                }
                count.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        }
    });
    let proxy = one_worker(&authority);
    let mut slow: Vec<_> = (0..SLOW).map(|_| proxy.connect()).collect();
    for client in &mut slow {
        client.request("GET", &origin.url("/large"), &[]);
    }
    eventually("a window of each has come", || {
        sent.load(Ordering::SeqCst) >= (SLOW * Limits::default().http2_window as usize) as u64
    });
    // Others on the same connection are served all the while, and in time nothing more comes of the large answer.
    let mut client = proxy.connect();
    let (mut before, mut number) = (u64::MAX, 0);
    while sent.load(Ordering::SeqCst) != before {
        before = sent.load(Ordering::SeqCst);
        for _ in 0..20 {
            number += 1;
            assert_eq!(client.get(&origin.url(&format!("/{number}")), &[]).text(), "small");
        }
    }
    // What the sockets between hold is the system's; a window is the proxy's, and there is one unit test that counts it.
    assert!(before < SLOW as u64 * (socket_bytes() + 1024 * 1024), "{before}");
    assert_eq!(origin.connections(), 1);
}

/// What the two sockets between a proxy and its client hold at most.
fn socket_bytes() -> u64 {
    let most = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        text.split_whitespace().last().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(8 * 1024 * 1024)
    };
    most("tcp_wmem") + most("tcp_rmem")
}

#[test]
fn a_client_that_leaves_ends_its_stream_alone() {
    let authority = authority();
    let ended = Arc::new(Notify::new());
    let (told, waited) = (Arc::clone(&ended), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&waited);
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), move |mut call| {
        let (told, count) = (Arc::clone(&told), Arc::clone(&count));
        async move {
            if call.path() != "/endless" {
                return call.answer(200, &[NO_STORE], "small").await;
            }
            let mut stream = call.head(200, &[NO_STORE]);
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            while send(&mut stream, piece.clone()).await {}
            count.fetch_add(1, Ordering::SeqCst);
            told.notify_one();
        }
    });
    let proxy = one_worker(&authority);
    let mut client = proxy.connect();
    client.request("GET", &origin.url("/endless"), &[]);
    eventually("it has begun", || client.reader.get_ref().peek(&mut [0]).is_ok_and(|read| read > 0));
    drop(client);
    eventually("the stream has ended", || waited.load(Ordering::SeqCst) == 1);
    assert_eq!(proxy.get(&origin.url("/")).text(), "small");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_head_beyond_its_limits_is_502() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        let value = "x".repeat(call.path().trim_start_matches('/').parse().unwrap());
        let fields = vec![("x-long", value.as_str()); 40];
        call.answer(200, &fields, "x").await;
    });
    let proxy = trusting_with(&authority, |config, _| config.limits.head_bytes = 16 * 1024);
    assert_eq!(proxy.get(&origin.url("/100")).status, 200);
    let over = proxy.get(&origin.url("/500"));
    assert_eq!(
        (over.status, over.field("proxy-status")),
        (502, Some("larder; error=http_response_header_section_size"))
    );
    assert_eq!(proxy.get(&origin.url("/10000")).status, 502);
}

#[test]
fn a_silent_origin_is_504_in_time_and_its_connection_gets_no_more() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        if call.path() == "/silent" {
            std::future::pending::<()>().await;
        }
        let connection = call.connection.to_string();
        call.answer(200, &[NO_STORE], connection).await;
    });
    let proxy = trusting_with(&authority, |config, _| {
        config.workers = 1;
        config.limits.first_byte_timeout = Duration::from_millis(200);
    });
    let silent = proxy.get(&origin.url("/silent"));
    assert_eq!(
        (silent.status, silent.field("proxy-status")),
        (504, Some("larder; error=http_response_timeout"))
    );
    // On a busy machine the answers come too late as well; the first that is in time comes over another connection.
    eventually("another connection answers", || {
        let answer = proxy.get(&origin.url("/"));
        assert!(answer.status != 200 || answer.text() != "0", "over the one that was given up");
        answer.status == 200
    });
}

#[test]
fn a_connection_that_was_lost_costs_a_get_nothing_but_time() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |call| async move {
        if call.connection == 0 && call.path() != "/first" {
            call.silence.notify_one();
            return std::future::pending().await;
        }
        let path = call.path().to_owned();
        call.answer(200, &[NO_STORE], path).await;
    });
    let proxy = trusting_with(&authority, |config, _| {
        config.workers = 1;
        config.limits.http2_ping_after = Duration::from_millis(50);
        config.limits.http2_ping_timeout = Duration::from_millis(500);
        // It is not this that ends the wait.
        config.limits.first_byte_timeout = 10 * PATIENCE;
    });
    assert_eq!(proxy.get(&origin.url("/first")).text(), "/first");
    std::thread::scope(|scope| {
        for path in ["/1", "/2", "/3"] {
            let (proxy, url) = (&proxy, origin.url(path));
            scope.spawn(move || assert_eq!(proxy.get(&url).text(), path));
        }
        let post = scope.spawn(|| proxy.connect().call("POST", &origin.url("/post"), &[], b"x"));
        // Sent once: over the connection that is lost, or over the new one.
        assert!(matches!(post.join().unwrap().status, 504 | 200));
    });
    let posts = origin.received().iter().filter(|path| *path == "/post").count();
    assert!(posts <= 1, "{:?}", origin.received());
}

#[test]
fn a_flood_of_interim_responses_ends_although_the_client_takes_none() {
    const FLOOD: usize = 4000;
    let authority = authority();
    let (reset, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, begun) = (Arc::clone(&reset), Arc::clone(&told));
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), move |mut call| {
        let (count, begun) = (Arc::clone(&count), Arc::clone(&begun));
        async move {
            let value = "x".repeat(15_000);
            for _ in 0..FLOOD {
                let mut response = http::Response::new(());
                *response.status_mut() = http::StatusCode::EARLY_HINTS;
                *response.headers_mut() = map(&[("link", &value)]);
                if call.respond.send_informational(response).is_err() {
                    break;
                }
                begun.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            // More than the sockets between hold; the proxy says that it wants no more.
            let _ = std::future::poll_fn(|context| call.respond.poll_reset(context)).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let proxy = trusting_with(&authority, |config, _| {
        config.workers = 1;
        config.limits.interim_responses = 1000;
        config.limits.client_write_timeout = 10 * PATIENCE;
        config.limits.first_byte_timeout = 10 * PATIENCE;
    });
    for method in ["GET", "POST"] {
        let (before, sent) = (reset.load(Ordering::SeqCst), told.load(Ordering::SeqCst));
        let mut slow = proxy.connect();
        slow.request(method, &origin.url("/"), &["Content-Length: 1"]);
        slow.send("x");
        eventually("the flood is ended", || reset.load(Ordering::SeqCst) > before);
        assert!(told.load(Ordering::SeqCst) > sent);
    }
}

#[test]
fn http2_can_be_switched_off_and_an_origin_that_wants_http1_gets_it() {
    let authority = authority();
    let mut config = plain_server(&authority);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let origin = HandshakeOrigin::hello(config);
    let without = trusting_with(&authority, |config, _| config.upstream.http2 = false);
    assert_eq!(without.get(&origin.url("/")).text(), "hello");
    assert_eq!(*origin.protocols.lock().unwrap(), ["http/1.1"]);

    let mut config = plain_server(&authority);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let origin = HandshakeOrigin::hello(config);
    assert_eq!(trusting(&authority).get(&origin.url("/")).text(), "hello");
    assert_eq!(*origin.protocols.lock().unwrap(), ["http/1.1"]);
}

#[test]
fn an_origin_that_asks_for_http1_by_a_reset_gets_it() {
    let authority = authority();
    let origin = Http2Origin::start(plain_server(&authority), Manners::default(), |mut call| async move {
        call.respond.send_reset(Reason::HTTP_1_1_REQUIRED);
    });
    // The kit's origin speaks nothing else, so that the second attempt ends with the connection.
    let answer = one_worker(&authority).get(&origin.url("/"));
    assert_eq!(answer.status, 502);
    assert_eq!((origin.received().len(), origin.http1()), (1, 1));
}
