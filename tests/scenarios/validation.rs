//! Stale responses: validated, replaced, or used when the origin cannot be asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{After, Origin, Proxy};

#[test]
fn a_304_freshens_the_stored_response() {
    let origin = Origin::start(|request, reply| {
        if request.field("if-none-match") == Some("\"v1\"") {
            return reply.send(304, &["Cache-Control: max-age=100", "ETag: \"v1\"", "X-New: yes"], b"");
        }
        reply.send(200, &["Cache-Control: max-age=10", "ETag: \"v1\"", "X-Old: kept"], b"body")
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(11);
    let validated = proxy.get(&url);
    assert_eq!((validated.status, validated.text().as_str()), (200, "body"));
    assert_eq!(validated.cache_status(), "larder; fwd=stale; fwd-status=304; stored");
    assert_eq!((validated.field("x-new"), validated.field("x-old")), (Some("yes"), Some("kept")));
    proxy.pass(50);
    let hit = proxy.get(&url);
    assert!(hit.is_hit());
    assert_eq!((hit.age(), hit.field("x-new")), (Some(50), Some("yes")));
    let proxy = proxy.restart();
    assert!(proxy.get(&url).is_hit(), "what was freshened is kept");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_200_to_a_validation_replaces_the_stored_response() {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |_, reply| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let tag = format!("ETag: \"v{number}\"");
        reply.send(200, &["Cache-Control: max-age=10", &tag], format!("body {number}").as_bytes())
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(11);
    assert_eq!(proxy.get(&url).text(), "body 1");
    let hit = proxy.get(&url);
    assert!(hit.is_hit());
    assert_eq!(hit.text(), "body 1");
}

#[test]
fn a_304_for_another_response_makes_a_second_unconditional_request() {
    let origin = Origin::start(|request, reply| {
        if request.field("if-none-match").is_some() {
            return reply.send(304, &["ETag: \"other\""], b"");
        }
        reply.send(200, &["Cache-Control: max-age=10", "ETag: \"v1\""], b"body")
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(11);
    let again = proxy.get(&url);
    assert_eq!((again.status, again.text().as_str()), (200, "body"));
    assert_eq!(origin.count(), 3);
}

#[test]
fn the_clients_own_conditions_are_answered_from_the_store() {
    let origin = Origin::start(|_, reply| {
        let fields =
            ["Cache-Control: max-age=60", "ETag: \"v1\"", "Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT"];
        reply.send(200, &fields, b"body")
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    for (field, status) in [
        ("If-None-Match: \"v1\"", 304),
        ("If-None-Match: W/\"v1\", \"x\"", 304),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"v2\"", 200),
        ("If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT", 304),
        ("If-Modified-Since: Wed, 31 Dec 2014 00:00:00 GMT", 200),
    ] {
        let answer = proxy.get_with(&url, &[field]);
        assert_eq!(answer.status, status, "{field}");
        assert!(answer.is_hit(), "{field}: {}", answer.cache_status());
        if status == 304 {
            assert_eq!((answer.field("etag"), answer.field("content-length")), (Some("\"v1\""), None));
        }
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn with_nothing_stored_the_clients_condition_goes_through() {
    let origin = Origin::start(|request, reply| {
        assert_eq!(request.field("if-none-match"), Some("\"mine\""));
        reply.send(304, &["ETag: \"mine\""], b"")
    });
    let proxy = Proxy::start();
    let answer = proxy.get_with(&origin.url("/"), &["If-None-Match: \"mine\""]);
    assert_eq!(answer.status, 304);
}

#[test]
fn an_unreachable_origin_gives_a_stale_answer_unless_that_is_forbidden() {
    for (control, expected) in
        [("max-age=10", 200), ("max-age=10, must-revalidate", 502), ("s-maxage=10", 502)]
    {
        let gone = Arc::new(AtomicUsize::new(0));
        let switch = Arc::clone(&gone);
        let origin = Origin::start(move |_, reply| {
            if switch.load(Ordering::SeqCst) == 1 {
                return After::Close;
            }
            reply.send(200, &[&format!("Cache-Control: {control}"), "ETag: \"v\""], b"kept")
        });
        let proxy = Proxy::start();
        let url = origin.url("/");
        proxy.get(&url);
        proxy.pass(11);
        gone.store(1, Ordering::SeqCst);
        let answer = proxy.get(&url);
        assert_eq!(answer.status, expected, "{control}: {}", answer.text());
        if expected == 200 {
            assert_eq!((answer.text().as_str(), answer.age()), ("kept", Some(11)));
        } else {
            assert_eq!(answer.field("etag"), None);
        }
    }
}

#[test]
fn stale_while_revalidate_answers_at_once_and_refreshes_behind() {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |_, reply| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let tag = format!("ETag: \"v{number}\"");
        let fields = ["Cache-Control: max-age=10, stale-while-revalidate=60", tag.as_str()];
        reply.send(200, &fields, format!("{number}").as_bytes())
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    proxy.pass(20);
    let stale = proxy.get(&url);
    assert!(stale.is_hit());
    assert_eq!((stale.text().as_str(), stale.age()), ("0", Some(20)));
    origin.wait_for(2);
    crate::support::eventually("the refreshed response is stored", || proxy.get(&url).text() == "1");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_503_is_passed_on_without_stale_if_error_and_hidden_with_it() {
    for (control, expected) in [("max-age=10", 503), ("max-age=10, stale-if-error=100", 200)] {
        let count = AtomicUsize::new(0);
        let origin = Origin::start(move |_, reply| match count.fetch_add(1, Ordering::SeqCst) {
            0 => reply.send(200, &[&format!("Cache-Control: {control}"), "ETag: \"v\""], b"kept"),
            _ => reply.send(503, &[], b"down"),
        });
        let proxy = Proxy::start();
        let url = origin.url("/");
        proxy.get(&url);
        proxy.pass(11);
        assert_eq!(proxy.get(&url).status, expected, "{control}");
    }
}

#[test]
fn no_cache_of_the_client_asks_the_origin_and_keeps_what_comes() {
    let origin = Origin::start(|request, reply| match request.field("if-none-match") {
        Some(_) => reply.send(304, &["ETag: \"v\""], b""),
        None => reply.send(200, &["Cache-Control: max-age=60", "ETag: \"v\""], b"x"),
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    let reloaded = proxy.get_with(&url, &["Cache-Control: no-cache"]);
    assert_eq!((reloaded.status, reloaded.text().as_str()), (200, "x"));
    assert_eq!(reloaded.cache_status(), "larder; fwd=request; fwd-status=304; stored");
    assert_eq!(origin.count(), 2);
    assert!(proxy.get(&url).is_hit());
}
