//! What passes through, and what does not.

use std::io::Write;

use crate::support::{After, Gate, Origin, Proxy, bytes};

#[test]
fn end_to_end_fields_pass_untouched_and_hop_by_hop_ones_stay() {
    let origin = Origin::start(|_, reply| {
        let fields = [
            "X-One: 1",
            "Connection: X-Hop, keep-alive",
            "X-Hop: gone",
            "Keep-Alive: timeout=5",
            "Age: 30",
            "Expires: junk",
            "Proxy-Authenticate: Basic",
            "x-two:  2 ",
            "Upgrade: h2c",
        ];
        reply.send(200, &fields, b"x")
    });
    let proxy = Proxy::start();
    let fields = [
        "X-End: 1",
        "Connection: X-Hop",
        "X-Hop: 1",
        "Proxy-Authorization: Basic eA==",
        "TE: gzip",
        "Upgrade: h2c",
        "x-End: 2",
    ];
    let answer = proxy.get_with(&origin.url("/"), &fields);
    let names: Vec<&str> = answer.head.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..4], ["X-One", "Age", "Expires", "x-two"]);
    assert_eq!(
        (answer.field("age"), answer.field("x-two"), answer.field("expires")),
        (Some("30"), Some("2"), Some("junk"))
    );
    let received = &origin.received()[0];
    let names: Vec<&str> = received.head.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "X-End", "x-End", "Via"]);
    assert!(received.field("via").unwrap().starts_with("1.1 larder-"));
    assert!(answer.field("via").unwrap().starts_with("1.1 larder-"));
}

#[test]
fn any_method_any_status_and_any_body_pass() {
    let origin = Origin::start(|request, reply| {
        let status = request.target.trim_start_matches('/').parse().unwrap();
        let body =
            if request.body.is_empty() { request.method.clone().into_bytes() } else { request.body.clone() };
        reply.send(status, &[], if status == 204 || status == 304 { b"" } else { &body })
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    for (method, status) in
        [("GET", 599), ("PUT", 201), ("M-SEARCH", 200), ("DELETE", 204), ("PATCH", 299), ("POST", 500)]
    {
        let body = if method == "PUT" || method == "DELETE" { &b"content"[..] } else { b"" };
        let answer = client.call(method, &origin.url(&format!("/{status}")), &[], body);
        assert_eq!(answer.status, status, "{method}");
        match (status, method) {
            (204, _) => assert!(answer.body.is_empty()),
            (_, "PUT") => assert_eq!(answer.text(), "content"),
            _ => assert_eq!(answer.text(), method),
        }
    }
    assert_eq!(origin.received()[3].body, b"content");
}

#[test]
fn interim_responses_are_relayed_at_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_, reply| {
        reply.raw("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
        held.wait();
        reply.fresh("done")
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    let mut client = proxy.connect();
    client.request("GET", &url, &[]);
    // Both have come although the origin has not answered yet.
    let mut early = Vec::new();
    for _ in 0..2 {
        early.push(crate::support::message::Head::read(&mut client.reader).unwrap().unwrap());
    }
    assert!(early[0].line.starts_with("HTTP/1.1 102") && early[1].field("link") == Some("</style.css>"));
    gate.open();
    let answer = client.response("GET");
    assert_eq!((answer.text().as_str(), answer.field("link")), ("done", None));
    let hit = client.get(&url, &[]);
    assert!(hit.is_hit() && hit.interim.is_empty() && hit.field("link").is_none());
}

#[test]
fn large_uploads_and_downloads_stream() {
    let origin = Origin::start(|request, reply| reply.send(200, &["Cache-Control: no-store"], &request.body));
    let proxy = Proxy::start();
    let body = bytes(9, 8_000_000);
    let answer = proxy.connect().call("POST", &origin.url("/echo"), &[], &body);
    assert!(answer.complete && answer.body == body);
}

#[test]
fn a_chunked_upload_arrives_whole_and_a_cut_one_never_looks_complete() {
    let origin = Origin::start(|request, reply| reply.send(200, &[], &request.body));
    let proxy = Proxy::start();
    let (url, host) = (origin.url("/"), origin.address);
    let head = format!("POST {url} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut client = proxy.connect();
    client.send(format!("{head}5;ext=\"a;b\"\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"));
    assert_eq!(client.response("POST").text(), "hello world");
    assert_eq!(origin.count(), 1);
    let mut cut = proxy.connect();
    cut.send(format!("{head}5\r\nhello\r\n"));
    cut.finish_sending();
    assert!(cut.rest().is_empty() || origin.count() == 1);
    assert_eq!(origin.count(), 1, "the origin saw no whole request");
}

#[test]
fn an_answer_may_begin_before_the_request_has_ended() {
    let origin = Origin::start(|_, reply| reply.fresh("unused"));
    drop(origin);
    // An origin that answers as it reads: each half of the upload comes back at once.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        crate::support::message::Head::read(&mut reader).unwrap().unwrap();
        let mut writer = stream;
        writer
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: no-store\r\n\r\n")
            .unwrap();
        let mut half = [0_u8; 5];
        for _ in 0..2 {
            std::io::Read::read_exact(&mut reader, &mut half).unwrap();
            writer.write_all(&half).unwrap();
        }
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(format!(
        "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 10\r\n\r\nfirst"
    ));
    let mut start = vec![0_u8; 0];
    while !start.ends_with(b"first") {
        let mut byte = [0_u8; 1];
        std::io::Read::read_exact(&mut client.reader, &mut byte).unwrap();
        start.extend_from_slice(&byte);
    }
    client.send("later");
    let mut rest = [0_u8; 5];
    std::io::Read::read_exact(&mut client.reader, &mut rest).unwrap();
    assert_eq!(&rest, b"later");
}

#[test]
fn expect_100_continue_waits_for_the_origin() {
    let origin = Origin::start(|request, reply| reply.send(200, &[], &request.body));
    let proxy = Proxy::start();
    let url = origin.url("/");
    let mut client = proxy.connect();
    client.request("PUT", &url, &["Content-Length: 5", "Expect: 100-continue"]);
    let interim = crate::support::message::Head::read(&mut client.reader).unwrap().unwrap();
    assert!(interim.line.starts_with("HTTP/1.1 100"));
    client.send("hello");
    assert_eq!(client.response("PUT").text(), "hello");
}

#[test]
fn trailers_reach_a_client_that_asked_for_them() {
    let origin = Origin::start(|_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: no-store\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 9\r\n\r\n");
        After::Keep
    });
    let proxy = Proxy::start();
    let asked = proxy.get_with(&origin.url("/"), &["TE: trailers", "Connection: TE"]);
    assert_eq!(asked.field("trailer:X-Sum"), Some("9"));
    assert_eq!(proxy.get(&origin.url("/")).field("trailer:X-Sum"), None);
}

#[test]
fn a_dead_kept_connection_costs_a_get_nothing() {
    let origin = Origin::start(|request, reply| {
        reply.send(200, &[], request.target.as_bytes());
        // Says that it keeps the connection, and does not.
        After::Close
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    for path in ["/1", "/2", "/3", "/4"] {
        let answer = client.get(&origin.url(path), &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, path));
    }
    assert_eq!(origin.count(), 4);
}

#[test]
fn a_live_connection_is_used_again() {
    let origin = Origin::start(|request, reply| reply.send(200, &[], request.target.as_bytes()));
    let proxy = Proxy::with(|config, _| config.workers = 1);
    let mut client = proxy.connect();
    for path in ["/1", "/2", "/3", "/4"] {
        client.get(&origin.url(path), &[]);
    }
    assert!(origin.received().iter().all(|request| request.connection == 0));
}

#[test]
fn the_proxys_own_page_tells_how_to_use_it() {
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address()));
    let page = client.response("GET");
    assert_eq!(page.status, 200);
    assert!(page.text().contains(&format!("http_proxy=http://{}", proxy.address())));
    client.send(format!("GET /nothing HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address()));
    assert_eq!(client.response("GET").status, 404);
}

#[test]
fn a_request_that_comes_round_again_is_508() {
    let origin =
        Origin::start(|request, reply| reply.send(200, &[], request.field("via").unwrap().as_bytes()));
    let proxy = Proxy::start();
    let via = proxy.get(&origin.url("/")).text();
    assert_eq!(proxy.get_with(&origin.url("/"), &[&format!("Via: {via}")]).status, 508);
    assert_eq!(origin.count(), 1);
}
