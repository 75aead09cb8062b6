//! Section 0: what all else stands on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::bench::stories;
use crate::support::{After, Origin, Proxy};

#[test]
fn a_miss_is_relayed_as_it_came() {
    stories(
        r#"
0.2 fields that steer caches
    GET
        <- 200 | Age: 30 | Cache-Control: max-age=60,  foo | Expires: junk | CDN-Cache-Control: max-age=1 | ETag: W/"a" | Pragma: x
        == Age: 30 | Cache-Control: max-age=60,  foo | Expires: junk | CDN-Cache-Control: max-age=1 | ETag: W/"a" | Pragma: x
0.2 lines stay lines
    GET
        <- 200 | Cache-Control: no-store | Set-Cookie: a=b | Set-Cookie: c=d | X-Unknown: 1 | x-unknown: 2
        == Set-Cookie: a=b / c=d | X-Unknown: 1 / 2
0.2 an Age that cannot be read
    GET
        <- 200 | Age: abc
        == Age: abc
"#,
    );
}

#[test]
fn nothing_that_a_client_may_send_is_refused_or_dropped() {
    stories(
        r#"
0.3 methods
    PUT | body hello
        -> method PUT | Content-Length: 5
        <- 201
    DELETE | body hello
        -> method DELETE | Content-Length: 5
        <- 200
    M-SEARCH
        -> method M-SEARCH
        <- 200
    PROPFIND | Depth: 1 | body x
        -> method PROPFIND | Depth: 1
        <- 207
0.3 fields
    GET | Authorization: Basic eA== | Cookie: a=b | Cache-Control: foo, bar=baz | Pragma: foo | X-Any: 1
        -> Authorization: Basic eA== | Cookie: a=b | Cache-Control: foo, bar=baz | Pragma: foo | X-Any: 1
        <- 200
"#,
    );
}

#[test]
fn any_final_status_is_relayed() {
    let table: String = (200..600)
        .map(|status| {
            let told = if status == 304 { "        == status 304\n" } else { "" };
            format!("0.3 {status}\n    GET\n        <- {status} | Cache-Control: no-store\n{told}")
        })
        .collect();
    stories(&table);
}

#[test]
fn an_origin_that_fails_before_its_answer_is_a_502() {
    stories(
        r#"
0.4 at once
    GET
        <- close
        == status 502
    PUT | body x
        <- close
        == status 502
    HEAD
        <- close
        == status 502
0.4 after an interim response
    GET
        <- 103 | Link: </style.css>
        <- close
        == status 502 | !Link
0.4 while a stored response is validated
    GET
        <- 200 | Cache-Control: max-age=10, must-revalidate | ETag: "a"
    +10 GET
        <- close
        == status 502 | !ETag
"#,
    );
}

#[test]
fn the_key_is_the_whole_target() {
    stories(
        r#"
0.5 queries never share
    GET ?a=1
        <- 200 | Cache-Control: max-age=60
    GET ?a=2
        <- 200 | Cache-Control: max-age=60
    GET
        <- 200 | Cache-Control: max-age=60
    GET ?
        <- 200 | Cache-Control: max-age=60
    GET ?a=1
        == hit | body answer 1
    GET ?a=2
        == hit | body answer 2
    GET
        == hit | body answer 3
    GET ?
        == hit | body answer 4
0.5 nor do paths that only look alike
    GET /a
        <- 200 | Cache-Control: max-age=60
    GET /%61
        <- 200 | Cache-Control: max-age=60
    GET /A
        <- 200 | Cache-Control: max-age=60
    GET //a
        <- 200 | Cache-Control: max-age=60
    GET /a/
        <- 200 | Cache-Control: max-age=60
    GET /a
        == hit | body answer 1
"#,
    );
}

/// 0.6: client and store get the declared length, and what follows it is nobody's answer.
#[test]
fn a_body_beyond_its_length_is_cut_there() {
    let origin = Origin::start(|_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello and more");
        After::Keep
    });
    let proxy = Proxy::start();
    let mut client = proxy.connect();
    for (path, hit) in [("/a", false), ("/a", true), ("/b", false)] {
        let answer = client.get(&origin.url(path), &[]);
        assert_eq!((answer.text().as_str(), answer.is_hit()), ("hello", hit), "{path}");
        assert_eq!(answer.field("content-length"), Some("5"));
    }
    let received = origin.received();
    assert_eq!(received.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 1]);
}

/// 0.7: a request that may not be repeated is not, whatever became of it.
#[test]
fn only_idempotent_requests_are_sent_again() {
    for (method, status, asked) in [("GET", 200, 3), ("DELETE", 200, 3), ("POST", 502, 2), ("FROB", 502, 2)] {
        let count = AtomicUsize::new(0);
        let origin = Origin::start(move |_, reply| {
            // The second request meets a connection that ends without an answer.
            if count.fetch_add(1, Ordering::SeqCst) == 1 {
                return After::Close;
            }
            reply.send(200, &["Cache-Control: no-store"], b"x")
        });
        let proxy = Proxy::with(|config, _| config.workers = 1);
        let mut client = proxy.connect();
        client.get(&origin.url("/first"), &[]);
        assert_eq!(client.call(method, &origin.url("/second"), &[], b"").status, status, "{method}");
        assert_eq!(origin.count(), asked, "{method}");
    }
}

/// 0.7: a connection that is new and dies is a failure, not a reason to ask twice.
#[test]
fn a_new_connection_that_ends_is_not_tried_again() {
    let origin = Origin::start(|_, _| After::Close);
    let proxy = Proxy::start();
    assert_eq!(proxy.get(&origin.url("/")).status, 502);
    assert_eq!(origin.count(), 1);
}
