//! Sections 6 and 7: what may be stored (RFC 9111, 3), heuristic freshness (4.2.2), and which fields (3.1).

use std::io::{BufReader, Write};
use std::net::TcpListener;

use super::bench::{Bench, lines, stories};
use super::story;
use crate::support::message::Head;
use crate::support::{After, Origin, Proxy, eventually};

#[test]
fn any_final_status_is_used_while_fresh_and_not_longer() {
    let mut table = String::new();
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        table.push_str(&format!("6.1 {status} | Cache-Control: max-age=10 => +9 hit 9 | status {status}\n"));
        table.push_str(&format!("6.1 {status} | Expires: {{+10}} => +9 hit 9 | status {status}\n"));
        table.push_str(&format!("6.1 {status} | Cache-Control: max-age=10 => +10 fetched\n"));
    }
    Bench::start().tell(&story::lines(&table));
}

#[test]
fn heuristic_freshness_is_a_tenth_for_the_statuses_that_allow_it() {
    let mut table = String::new();
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        table.push_str(&format!("6.2 {status} | Last-Modified: {{-1000}} => +99 hit 99 | status {status}\n"));
        table.push_str(&format!("6.2 {status} | Content-Type: a/b => fetched\n"));
    }
    for status in [201, 202, 302, 307, 403, 499, 502, 503, 504, 599] {
        table.push_str(&format!("6.3 {status} | Last-Modified: {{-1000}} => fetched\n"));
        table.push_str(&format!(
            "6.2 {status} | Last-Modified: {{-1000}} | Cache-Control: public => +99 hit 99\n"
        ));
    }
    Bench::start().tell(&story::lines(&table));
    lines(
        r#"
6.2 Last-Modified: {-1000} => +100 validated
6.2 Last-Modified: {-5} => +0.4 hit 0
6.2 Last-Modified: {-5} => +0.5 validated
6.2 Last-Modified: {-1000} | Date: {-500} => validated
6.2 Last-Modified: {+5} => validated
6.2 Last-Modified: nonsense => fetched
"#,
    );
}

#[test]
fn an_answer_to_post_that_names_its_target_serves_later_gets() {
    stories(
        r#"
6.4 stored, after what was stored before is gone
    GET
        <- 200 | Cache-Control: max-age=60
    POST | body x
        <- 200 | Cache-Control: max-age=60 | Content-Location: {path} | X: 1
    +5 GET
        == hit 5 | body answer 2 | X: 1
    HEAD
        == hit 5
6.4 a whole URL, Expires, and no content in the request
    POST ?a
        <- 200 | Expires: {+60} | Content-Location: {url}?a
    GET ?a
        == hit
6.4 a relative reference
    POST /b?a
        <- 200 | Cache-Control: max-age=60 | Content-Location: b?a
    GET /b?a
        == hit
6.4 the next POST is the origin's to answer
    POST | body x
        <- 200 | Cache-Control: max-age=60 | Content-Location: {path}
    POST | body x
        <- 200 | Cache-Control: max-age=60 | Content-Location: {path}
    GET
        == hit
6.4 not without Content-Location
    POST | body x
        <- 200 | Cache-Control: max-age=60
    GET
        <- 200
6.4 not for another target
    POST | body x
        <- 200 | Cache-Control: max-age=60 | Content-Location: {path}/other
    GET
        <- 200
    GET /other
        <- 200
6.4 not without explicit freshness
    POST | body x
        <- 200 | Last-Modified: {-1000} | Content-Location: {path}
    GET
        <- 200
6.4 not what may not be stored
    POST | body x
        <- 200 | Cache-Control: max-age=60, private | Content-Location: {path}
    GET
        <- 200
6.4 nor with another status
    POST | body x
        <- 201 | Cache-Control: max-age=60 | Content-Location: {path}
    GET
        <- 200
"#,
    );
}

#[test]
fn interim_responses_leave_no_trace() {
    stories(
        r#"
6.5 relayed, and none of their fields kept
    GET
        <- 102 | X-Early: 1
        <- 103 | Link: </style.css> | Cache-Control: max-age=9999
        <- 200 | Cache-Control: max-age=60 | X-Late: 1
        == !Link | !X-Early | X-Late: 1 | Cache-Control: max-age=60
    GET
        == hit | !Link | !X-Early | X-Late: 1 | Cache-Control: max-age=60
6.5 before a 304, which is the proxy's own
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a"
    +10 GET
        <- 103 | Link: </style.css> | X-Early: 1
        <- 304 | X-Late: 1
        == !Link | !X-Early | X-Late: 1
    GET
        == hit | !Link | !X-Early | X-Late: 1
"#,
    );
}

/// 6.6 (and 6.1, 6.2): a 204 is used as others are, and has nothing to give a length to.
#[test]
fn a_204_hit_is_empty_and_says_nothing_of_length() {
    for freshness in ["Cache-Control: max-age=100", "Last-Modified: Wed, 31 Dec 2025 00:00:00 GMT"] {
        for length in ["X: 1", "Content-Length: 0"] {
            let origin = Origin::start(move |_, reply| reply.send(204, &[freshness, length], b""));
            let proxy = Proxy::start();
            let url = origin.url("/");
            assert_eq!(proxy.get(&url).status, 204);
            eventually("it is stored", || proxy.get(&url).is_hit());
            proxy.pass(9);
            let hit = proxy.get(&url);
            assert_eq!((hit.status, hit.age(), hit.is_hit()), (204, Some(9), true), "{freshness}");
            assert_eq!(
                (hit.field("content-length"), hit.field("transfer-encoding")),
                (None, None),
                "{length}"
            );
            assert_eq!(origin.count(), 1);
        }
    }
}

#[test]
fn all_end_to_end_fields_are_stored_and_replayed() {
    stories(
        r#"
7.1 as received
    GET
        <- 200 | Cache-Control: max-age=10 | X-Custom: 1, 2 | Content-Encoding: x-none | Content-MD5: abc | Content-Location: /b
    GET
        == hit | X-Custom: 1, 2 | Content-Encoding: x-none | Content-MD5: abc | Content-Location: /b
7.1 a range on a 200 means nothing, and stays
    GET
        <- 200 | Cache-Control: max-age=10 | Content-Range: bytes 0-1/2 | Content-Type: a/b;c=d | ETag: "e" | Expires: junk
    GET
        == hit | Content-Range: bytes 0-1/2 | Content-Type: a/b;c=d | ETag: "e" | Expires: junk | Content-Length: 8
7.1 security, state and cookies
    GET
        <- 200 | Cache-Control: max-age=10 | Content-Security-Policy: x | Clear-Site-Data: "cache" | Public-Key-Pins: p
    GET
        == hit | Content-Security-Policy: x | Clear-Site-Data: "cache" | Public-Key-Pins: p
7.1 line by line
    GET
        <- 200 | Cache-Control: max-age=10,  foo | Set-Cookie: a=b | Set-Cookie2: c=d | X-Two: 1 | set-cookie: e=f | x-two: 2
    GET
        == hit | Cache-Control: max-age=10,  foo | Set-Cookie: a=b / e=f | Set-Cookie2: c=d | X-Two: 1 / 2
"#,
    );
}

#[test]
fn fields_of_the_connection_are_neither_stored_nor_in_the_way() {
    stories(
        r#"
7.2 what Connection names
    GET
        <- 200 | Cache-Control: max-age=10 | Connection: X-Hop, x-other | X-Hop: 1 | X-Other: 2 | X-End: 3
        == !X-Hop | !X-Other | X-End: 3
    GET
        == hit | !X-Hop | !X-Other | X-End: 3
7.2 the known ones
    GET
        <- 200 | Cache-Control: max-age=10 | Keep-Alive: timeout=5 | Proxy-Connection: x | Proxy-Authenticate: Basic | Proxy-Authentication-Info: x
        == !Keep-Alive | !Proxy-Connection | !Proxy-Authenticate | !Proxy-Authentication-Info
    GET
        == hit | !Keep-Alive | !Proxy-Connection | !Proxy-Authenticate | !Proxy-Authentication-Info
7.2 some that only requests have
    GET
        <- 200 | Cache-Control: max-age=10 | Proxy-Authorization: x | TE: gzip | Upgrade: h2c
        == !Proxy-Authorization | !TE | !Upgrade
    GET
        == hit | !Proxy-Authorization | !TE | !Upgrade
7.2 nonsense in them
    GET
        <- 200 | Cache-Control: max-age=10 | Connection: ,;=@ "x | Keep-Alive: ??? | TE: ,,; | Upgrade: ??? | X-End: 3
    GET
        == hit | X-End: 3
7.2 nor may Connection take away what frames and dates
    GET
        <- 200 | Connection: content-length, cache-control | Cache-Control: no-store
        == Content-Length: 8
    GET
        <- 200
"#,
    );
}

/// 7.3: a lone coding that is not known is passed on and stored as it is, up to the end of the connection.
#[test]
fn an_unknown_transfer_coding_is_relayed_and_stored_up_to_the_end() {
    let origin = Origin::start(|_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: x-own\r\nCache-Control: max-age=60\r\n\r\ncoded");
        After::Close
    });
    let proxy = Proxy::start();
    for hit in [false, true] {
        let answer = proxy.get(&origin.url("/"));
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (200, "coded", true));
        assert_eq!(answer.is_hit(), hit, "{}", answer.cache_status());
    }
    assert_eq!(origin.count(), 1);
}

/// 7.3 and 6.4: also where it answers a POST that names its target.
#[test]
fn an_unknown_transfer_coding_answers_later_gets_of_a_post() {
    let origin = Origin::start(|request, reply| {
        let target = request.target.clone();
        reply.raw(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: x-own\r\nCache-Control: max-age=60\r\nContent-Location: {target}\r\n\r\ncoded"
        ));
        After::Close
    });
    let proxy = Proxy::start();
    let url = origin.url("/form");
    assert_eq!(proxy.connect().call("POST", &url, &[], b"q").text(), "coded");
    let hit = proxy.get(&url);
    assert!(hit.is_hit() && hit.text() == "coded", "{}", hit.cache_status());
}

/// 7.3: after a reset it is cut, and not stored.
#[test]
fn an_unknown_transfer_coding_that_is_cut_is_not_stored() {
    let origin = Origin::start(|_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: x-own\r\nCache-Control: max-age=60\r\n\r\npart");
        After::Reset
    });
    let proxy = Proxy::start();
    for _ in 0..2 {
        let mut client = proxy.connect();
        client.request("GET", &origin.url("/"), &[]);
        // The reset may overtake the head: then it is a 502.
        let answer = client.response("GET");
        assert!(answer.status == 502 || !answer.complete, "{:?}", answer.text());
    }
    assert_eq!(origin.count(), 2, "fetched anew");
}

/// 7.3: the connection of such a response is not used again.
#[test]
fn a_connection_with_an_unknown_coding_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = std::thread::spawn(move || {
        for round in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            Head::read(&mut reader).unwrap().unwrap();
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: x-own\r\nCache-Control: no-store\r\n\r\n";
            stream.write_all(format!("{head}round {round}").as_bytes()).unwrap();
        }
    });
    let proxy = Proxy::with(|config, _| config.workers = 1);
    let mut client = proxy.connect();
    for round in 0..2 {
        assert_eq!(client.get(&format!("http://{address}/"), &[]).text(), format!("round {round}"));
    }
    connections.join().unwrap();
}

/// 7.3: a known coding in the wrong place is not guessed at.
#[test]
fn a_misused_transfer_coding_is_502() {
    for coding in
        ["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "x-own, chunked", "deflate", ""]
    {
        let origin = Origin::start(move |_, reply| {
            reply.raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n1\r\nx\r\n0\r\n\r\n"));
            After::Close
        });
        let proxy = Proxy::start();
        assert_eq!(proxy.get(&origin.url("/")).status, 502, "{coding:?}");
    }
}
/// 6.1: a response without content is a hit for whoever asks after it has come.
#[test]
fn a_response_without_content_is_stored_when_its_client_has_it() {
    for (status, length) in [(204, "X: 1"), (200, "Content-Length: 0"), (404, "Content-Length: 0")] {
        let origin = Origin::start(move |_, reply| {
            reply.raw(format!("HTTP/1.1 {status} X\r\nCache-Control: max-age=60\r\n{length}\r\n\r\n"));
            After::Keep
        });
        let proxy = Proxy::start();
        for number in 0..100 {
            let url = origin.url(&format!("/{number}"));
            proxy.get(&url);
            let hit = proxy.get(&url);
            assert!(hit.is_hit(), "{status}, number {number}: {}", hit.cache_status());
        }
    }
}
