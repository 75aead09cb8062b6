//! Malformed and ambiguous messages, from both sides.

use crate::support::{After, Origin, Proxy};

#[test]
fn a_request_with_two_readings_is_400_and_the_connection_ends() {
    let origin = Origin::start(|_, reply| reply.fresh("x"));
    let proxy = Proxy::start();
    let host = origin.address;
    for raw in [
        "POST http://H/ HTTP/1.1\r\nHost: H\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST http://H/ HTTP/1.1\r\nHost: H\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST http://H/ HTTP/1.1\r\nHost: H\r\nContent-Length: +3\r\n\r\nabc",
        "POST http://H/ HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST http://H/ HTTP/1.0\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET http://H/ HTTP/1.1\r\nHost : H\r\n\r\n",
        "GET http://H/ HTTP/1.1\r\nHost: H\r\n folded\r\n\r\n",
        "GET http://H/ HTTP/1.1\nHost: H\n\n",
        "GET http://H/ HTTP/1.1\r\nHost: H\r\nX: a\rb\r\n\r\n",
        "GET http://H/ HTTP/1.1\r\n\r\n",
        "GET http://H/ HTTP/1.1\r\nHost: H\r\nHost: H\r\n\r\n",
        "GET http://u@H/ HTTP/1.1\r\nHost: H\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(
            raw.replace('H', &host.to_string())
                .replace(&format!("{host}ost"), "Host")
                .replace(&format!("{host}TTP"), "HTTP"),
        );
        let answer = client.response("GET");
        assert_eq!(answer.status, 400, "{raw:?}: {}", answer.text());
        assert_eq!(answer.field("connection"), Some("close"));
        client.finish_sending();
        assert!(client.is_closed(), "{raw:?}");
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(proxy.get(&origin.url("/")).status, 200, "the proxy lives on");
}

#[test]
fn heads_beyond_the_limits_have_their_own_statuses() {
    let proxy = Proxy::start();
    let long = "x".repeat(70_000);
    let many: String = (0..150).map(|number| format!("X-{number}: 1\r\n")).collect();
    for (raw, status) in [
        (format!("GET http://a/ HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        (format!("GET http://a/{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        ("GET http://a/ HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
    ] {
        let mut client = proxy.connect();
        client.send(&raw);
        assert_eq!(client.response("GET").status, status, "{:?}", &raw[..40]);
    }
}

#[test]
fn a_body_that_a_hit_leaves_unread_is_not_the_next_request() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let proxy = Proxy::start();
    let (url, host) = (origin.url("/a"), origin.address);
    proxy.get(&url);
    let smuggled = format!("GET http://{host}/smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut client = proxy.connect();
    client.send(format!(
        "GET {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    ));
    assert_eq!(client.response("GET").text(), "/a");
    assert_eq!(client.get(&origin.url("/b"), &[]).text(), "/b");
    assert!(origin.received().iter().all(|request| request.target != "/smuggled"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    for number in 0..10 {
        client.request("GET", &origin.url(&format!("/{number}")), &[]);
    }
    for number in 0..10 {
        assert_eq!(client.response("GET").text(), format!("/{number}"));
    }
}

#[test]
fn a_malformed_answer_is_502_with_a_reason() {
    for (raw, error) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabcd", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabcd", "http_protocol_error"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "http_protocol_error",
        ),
        ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "http_protocol_error"),
        ("garbage\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nX: ", "http_response_incomplete"),
        ("", "connection_terminated"),
    ] {
        let origin = Origin::start(move |_, reply| {
            reply.raw(raw);
            After::Close
        });
        let proxy = Proxy::start();
        let answer = proxy.get(&origin.url("/"));
        assert_eq!(answer.status, 502, "{raw:?}");
        assert_eq!(answer.field("proxy-status"), Some(format!("larder; error={error}").as_str()), "{raw:?}");
        assert!(answer.text().starts_with("larder: "), "{raw:?}");
        assert!(answer.complete);
    }
}

#[test]
fn bytes_after_the_end_of_an_answer_poison_nothing() {
    let origin = Origin::start(|request, reply| {
        let body = request.target.clone();
        reply.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", body.len()));
        After::Keep
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.get(&origin.url(path), &[]).text(), path);
    }
    let connections: std::collections::HashSet<usize> =
        origin.received().iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 3, "none was used again");
}

#[test]
fn an_endless_flood_of_interim_responses_is_502() {
    let origin = Origin::start(|_, reply| {
        for _ in 0..200 {
            reply.raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
        reply.fresh("late")
    });
    let proxy = Proxy::start();
    assert_eq!(proxy.get(&origin.url("/")).status, 502);
}
