//! Section 11: stale responses (RFC 9111, 4.2.4; RFC 5861).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bench::stories;
use crate::support::{After, Gate, Origin, Proxy, eventually};

#[test]
fn an_origin_that_is_gone_is_stood_in_for() {
    stories(
        r#"
11.1 with or without stale-if-error, with or without a validator
    GET
        <- 200 | Cache-Control: max-age=10
    +3600 GET
        <- close
        == hit 3600
11.1 with a validator
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a"
    +20 GET
        <- close
        == hit 20
11.1 HEAD too
    GET
        <- 200 | Cache-Control: max-age=10
    +20 HEAD
        <- close
        == hit 20
11.1 no Warning is made up
    GET
        <- 200 | Cache-Control: max-age=10
    +20 GET
        <- close
        == hit 20 | !Warning
"#,
    );
}

#[test]
fn some_responses_are_never_used_stale() {
    stories(
        r#"
11.2 must-revalidate
    GET
        <- 200 | Cache-Control: max-age=10, must-revalidate | ETag: "a" | X: 1
    +20 GET
        <- close
        == status 502 | !ETag | !X | !Age
11.2 proxy-revalidate
    GET
        <- 200 | Cache-Control: max-age=10, proxy-revalidate | X: 1
    +20 GET
        <- close
        == status 502 | !X | !Age
11.2 no-cache
    GET
        <- 200 | Cache-Control: max-age=10, no-cache | ETag: "a" | X: 1
    GET
        <- close
        == status 502 | !ETag | !X | !Age
11.2 s-maxage
    GET
        <- 200 | Cache-Control: s-maxage=10 | X: 1
    +20 GET
        <- close
        == status 502 | !X | !Age
11.2 not even within stale-if-error
    GET
        <- 200 | Cache-Control: s-maxage=10, stale-if-error=100 | X: 1
    +20 GET
        <- close
        == status 502 | !X | !Age
11.2 nor within stale-while-revalidate
    GET
        <- 200 | Cache-Control: max-age=10, must-revalidate, stale-while-revalidate=100 | ETag: "a"
    +20 GET
        -> If-None-Match: "a"
        <- 304
11.2 all of them while they are fresh
    GET
        <- 200 | Cache-Control: s-maxage=10, must-revalidate, proxy-revalidate
    +9 GET
        == hit 9
"#,
    );
}

#[test]
fn stale_if_error_hides_server_errors() {
    let mut table = String::new();
    for status in [500, 502, 503, 504] {
        table.push_str(&format!(
            "11.4 {status} within the window, and after it\n    GET\n        \
             <- 200 | Cache-Control: max-age=10, stale-if-error=60 | ETag: \"a\"\n    +69 GET\n        <- {status}\n        \
             == hit 69 | status 200 | body answer 1 | !Warning\n    +1 GET\n        <- {status}\n"
        ));
        table.push_str(&format!(
            "11.4 {status} without it\n    GET\n        <- 200 | Cache-Control: max-age=10 | ETag: \"a\"\n    +20 GET\n        \
             <- {status}\n"
        ));
    }
    for status in [404, 410, 501] {
        table.push_str(&format!(
            "11.4 {status} is an answer\n    GET\n        <- 200 | Cache-Control: max-age=10, stale-if-error=60 | ETag: \"a\"\n    \
             +20 GET\n        <- {status}\n"
        ));
    }
    stories(&table);
}

/// 11.4: without a validator too.
#[test]
fn stale_if_error_needs_no_validator() {
    stories(
        r#"
11.4 nothing to validate with
    GET
        <- 200 | Cache-Control: max-age=10, stale-if-error=60
    +20 GET
        <- 503
        == hit 20 | status 200 | body answer 1
"#,
    );
}

/// 11.3: whatever comes back takes the place of what was stale.
#[test]
fn what_a_refresh_brings_replaces_the_stale_response() {
    for (validator, fields, then_hit) in [
        ("X: no-validator", "Cache-Control: max-age=60", true),
        ("ETag: \"a\"", "Cache-Control: max-age=60", true),
        ("ETag: \"a\"", "Cache-Control: no-cache\r\nETag: \"b\"", false),
        ("ETag: \"a\"", "Cache-Control: no-store", false),
        ("X: no-validator", "Cache-Control: no-store", false),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let origin = Origin::start(move |_, reply| match counted.fetch_add(1, Ordering::SeqCst) {
            0 => reply.send(
                200,
                &["Cache-Control: max-age=10, stale-while-revalidate=60", "ETag: \"a\""],
                b"old",
            ),
            _ => reply.send(200, &[fields], b"new"),
        });
        let proxy = Proxy::start();
        let url = origin.url("/");
        proxy.get(&url);
        proxy.pass(20);
        let stale = proxy.get(&url);
        assert!(stale.is_hit());
        assert_eq!((stale.text().as_str(), stale.age()), ("old", Some(20)));
        origin.wait_for(2);
        eventually("the refresh replaces what was stale", || proxy.get(&url).text() == "new");
        assert_eq!(proxy.get(&url).is_hit(), then_hit, "{validator} {fields}");
    }
}

/// 11.3: the stale answer does not wait for the refresh, which is made once.
#[test]
fn within_the_window_nobody_waits_and_one_asks() {
    let (gate, count) = (Gate::default(), AtomicUsize::new(0));
    let held = gate.clone();
    let origin = Origin::start(move |_, reply| {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            held.wait();
        }
        reply.send(200, &["Cache-Control: max-age=10, stale-while-revalidate=60"], b"x")
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(69);
    for _ in 0..5 {
        assert!(proxy.get(&url).is_hit());
    }
    origin.wait_for(2);
    assert_eq!(origin.count(), 2);
    gate.open();
    eventually("it is fresh again", || proxy.get(&url).age() == Some(0));
}

/// 11.3: after the window the client waits for the origin.
#[test]
fn after_the_window_the_origin_is_asked_first() {
    stories(
        r#"
11.3 at its last moment, and one later
    GET
        <- 200 | Cache-Control: max-age=10, stale-while-revalidate=5 | ETag: "a"
    +15 GET
        -> If-None-Match: "a"
        <- 200 | Cache-Control: max-age=10
11.3 without a validator
    GET
        <- 200 | Cache-Control: max-age=10, stale-while-revalidate=5
    +15 GET
        <- 200 | Cache-Control: max-age=10
"#,
    );
}

/// 11.1: a port where nobody listens.
#[test]
fn a_refused_connection_is_stood_in_for_or_told() {
    let origin = Origin::start(|_, reply| {
        reply.send(200, &["Cache-Control: max-age=10"], b"kept");
        After::Close
    });
    let proxy = Proxy::start();
    let (url, other) = (origin.url("/"), origin.url("/other"));
    proxy.get(&url);
    drop(origin);
    proxy.pass(20);
    eventually("the origin is gone", || proxy.get(&other).status == 502);
    let stale = proxy.get(&url);
    assert!(stale.is_hit());
    assert_eq!((stale.text().as_str(), stale.age()), ("kept", Some(20)));
}
