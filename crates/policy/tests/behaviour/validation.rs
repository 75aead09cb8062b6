//! Section 9: validation, freshening, and the client's own conditions.

use larder_policy::{
    Conditions, Decision, Exchange, Freshened, NotStored, PolicySettings, Precondition, RequestFacts,
    StoredResponse, freshen, not_modified_fields, precondition, reuse,
};

use crate::kit::{at, decide, lines, message, method, response_message, status, stored, target};

fn conditions(response: &StoredResponse, request: &str) -> Conditions {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    match reuse(&facts, &request.fields, [response], at(99_000)).decision {
        Decision::Validate { conditions, .. } => conditions,
        other => panic!("{other:?}"),
    }
}

/// 9.1: exactly the stored validators, and none of the client's.
#[test]
fn the_stored_validators_are_sent_byte_for_byte() {
    for (response, tag, date) in [
        ("200 | ETag: \"a\"", "\"a\"", "-"),
        (
            "200 | ETag: W/\"a\" | Last-Modified: Sat May 31 12:00:00 2025",
            "W/\"a\"",
            "Sat May 31 12:00:00 2025",
        ),
        ("200 | ETag: unquoted", "unquoted", "-"),
        ("200 | Last-Modified: {-60}", "-", "Sun, 01 Jun 2025 11:59:00 GMT"),
        ("200 | ETag: \"a\" | Last-Modified: lately", "\"a\"", "-"),
    ] {
        let conditions = conditions(&stored(&format!("{response} | Cache-Control: no-cache")), "GET");
        let mut request = message(
            "GET | If-None-Match: \"x\" | Range: bytes=0-1 | If-Range: \"x\" | if-modified-since: {+9} | Accept: a",
        )
        .fields;
        conditions.apply(&mut request);
        assert_eq!(lines(&request, "if-none-match"), tag, "{response}");
        assert_eq!(lines(&request, "if-modified-since"), date, "{response}");
        assert_eq!(lines(&request, "accept"), "a", "a nominated field stays");
        assert_eq!(request.len(), 1 + usize::from(tag != "-") + usize::from(date != "-"));
    }
}

/// RFC 9110, 13.2.1: an origin ignores conditions where the answer is no success.
#[test]
fn validators_of_an_error_are_not_used() {
    let response = stored("404 | ETag: \"a\" | Cache-Control: max-age=9");
    assert_eq!(decide(&[response], "GET", at(9000)), "forward stale");
}

fn freshened(before: &StoredResponse, request: &str, answer: &str) -> Option<Freshened> {
    let request = message(request);
    let answer = response_message(answer);
    let target = target();
    let exchange = Exchange {
        facts: &RequestFacts::of(&method(&request), &request.fields),
        target: &target,
        request: &request.fields,
        status: status(answer.first.parse().unwrap()),
        response: &answer.fields,
        request_time: at(60_000),
        response_time: at(60_000),
        framing_sound: true,
    };
    freshen(&PolicySettings::default(), before, &exchange, None)
}

/// 9.2: a 304 replaces what it brings, keeps what it leaves out, and restarts freshness.
#[test]
fn a_304_freshens() {
    let before = stored(
        "200 | Cache-Control: max-age=9 | ETag: \"a\" | X-A: 1 | x-a: 2 | X-B: 3 | Content-Length: 5 | \
         Content-Encoding: gzip | Content-Type: a/b | Set-Cookie: old",
    );
    let Freshened { response, keep } = freshened(
        &before,
        "GET",
        "304 | Date: {+60} | Cache-Control: max-age=20 | ETag: \"a\" | X-a: 7 | X-C: 4 | Content-Length: 0 | \
         Content-Encoding: br | Content-Range: bytes 0-1/2 | Content-Type: c/d | Content-Foo: e | Set-Cookie: new | \
         Connection: x-hop | X-Hop: 1 | Keep-Alive: x | Age: 3",
    )
    .unwrap();
    assert_eq!(keep, Ok(()));
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("cache-control", "max-age=20"),
        ("date", "Sun, 01 Jun 2025 12:01:00 GMT"),
        ("x-a", "7"),
        ("x-b", "3"),
        ("x-c", "4"),
        ("content-length", "5"),
        ("content-encoding", "gzip"),
        ("content-range", "-"),
        ("content-type", "c/d"),
        ("content-foo", "e"),
        ("set-cookie", "new"),
        ("x-hop", "-"),
        ("keep-alive", "-"),
        ("connection", "-"),
        ("age", "-"),
    ] {
        assert_eq!(lines(response.fields(), name), value, "{name}");
    }
    assert_eq!(decide(std::slice::from_ref(&response), "GET", at(76_900)), "hit 19");
    assert_eq!(decide(&[response], "GET", at(77_000)), "validate stale");
}

/// RFC 9110, 6.6.1: a 304 without Date is as old as its receipt.
#[test]
fn a_304_without_date_restarts_age() {
    let before = stored("200 | Cache-Control: max-age=9 | ETag: \"a\"");
    let after = freshened(&before, "GET", "304 | Date: none").unwrap().response;
    assert_eq!(decide(&[after], "GET", at(62_000)), "hit 2");
}

/// RFC 9111, 4.3.4: which 304 is about the stored response.
#[test]
fn a_304_selects_by_its_validators() {
    for (before, answer, selected) in [
        ("ETag: \"a\"", "ETag: \"a\"", true),
        ("ETag: \"a\"", "ETag: \"b\"", false),
        ("ETag: W/\"a\"", "ETag: \"a\"", false),
        ("ETag: W/\"a\"", "ETag: W/\"a\"", true),
        ("ETag: \"a\"", "ETag: W/\"a\"", true),
        ("ETag: \"a\"", "ETag: W/\"b\"", false),
        ("ETag: \"a\"", "X: y", true),
        ("Last-Modified: {-60}", "Last-Modified: {-60}", true),
        ("Last-Modified: {-60}", "Last-Modified: {-50}", false),
        ("ETag: \"a\" | Last-Modified: {-60}", "ETag: \"a\" | Last-Modified: {-50}", true),
    ] {
        let before = stored(&format!("200 | {before}"));
        let answer = format!("304 | {answer}");
        assert_eq!(freshened(&before, "GET", &answer).is_some(), selected, "{answer}");
    }
    assert_eq!(freshened(&stored("200 | ETag: \"a\""), "GET", "200 | ETag: \"a\""), None);
}

/// A 304 that forbids storing answers this request, and leaves what is stored as it is.
#[test]
fn a_304_that_may_not_be_stored_is_not_kept() {
    let before = stored("200 | Cache-Control: max-age=9 | ETag: \"a\" | Vary: foo");
    for (request, answer, why) in [
        ("GET", "304 | Cache-Control: no-store", NotStored::NoStore),
        ("GET", "304 | Cache-Control: private", NotStored::Private),
        ("GET | Cache-Control: no-store", "304", NotStored::RequestNoStore),
        ("GET | Authorization: a", "304", NotStored::Authorization),
        ("GET", "304 | Vary: *", NotStored::VaryStar),
    ] {
        assert_eq!(freshened(&before, request, answer).unwrap().keep, Err(why), "{answer}");
    }
    let heuristic = stored("200 | Last-Modified: {-60}");
    assert_eq!(freshened(&heuristic, "GET", "304 | Set-Cookie: a").unwrap().keep, Err(NotStored::SetCookie));
}

/// A 304 may nominate other fields; they are taken from the request that it answers.
#[test]
fn a_304_may_change_vary() {
    let before = stored("200 | Cache-Control: max-age=9 | ETag: \"a\"");
    let after = freshened(&before, "GET | Foo: 1", "304 | Vary: foo | Date: {+60}").unwrap().response;
    assert_eq!(decide(std::slice::from_ref(&after), "GET | Foo: 1", at(60_000)), "hit 0");
    assert_eq!(decide(&[after], "GET", at(60_000)), "forward vary-miss");
}

/// 9.8: a 200 to HEAD freshens if validators and length agree.
#[test]
fn a_head_freshens_if_it_describes_what_is_stored() {
    let before = stored("200 | Cache-Control: max-age=9 | ETag: \"a\" | Content-Length: 5");
    for (answer, agrees) in [
        ("200 | ETag: \"a\" | Content-Length: 5 | X: new", true),
        ("200 | X: new", true),
        ("200 | ETag: \"b\"", false),
        ("200 | Content-Length: 6", false),
        ("200 | ETag: \"a\" | Last-Modified: {-9}", false),
        ("404 | ETag: \"a\"", false),
    ] {
        let after = freshened(&before, "HEAD", answer).map(|after| after.response);
        assert_eq!(after.is_some(), agrees, "{answer}");
        if let Some(after) = after {
            assert_eq!(lines(after.fields(), "x"), "new");
            assert_eq!(lines(after.fields(), "content-length"), "5");
        }
    }
    assert_eq!(decide(&[before], "HEAD", at(9000)), "validate stale");
}

fn conditional(response: &str, request: &str) -> Precondition {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    precondition(&facts, &request.fields, &stored(response), at(0))
}

#[test]
fn the_clients_conditions_are_judged_by_the_cache() {
    const TAGGED: &str = "200 | Cache-Control: max-age=9 | ETag: \"a\" | Last-Modified: {-60}";
    const WEAK: &str = "200 | Cache-Control: max-age=9 | ETag: W/\"a\"";
    const BARE: &str = "200 | Cache-Control: max-age=9 | ETag: a";
    const DATED: &str = "200 | Cache-Control: max-age=9 | Date: {-5}";
    for (rule, response, request, not_modified) in [
        ("9.3", TAGGED, "GET | If-None-Match: \"a\"", true),
        ("9.3", TAGGED, "HEAD | If-None-Match: \"a\"", true),
        ("9.3", TAGGED, "GET | If-None-Match: W/\"a\"", true),
        ("9.3", WEAK, "GET | If-None-Match: \"a\"", true),
        ("9.3", WEAK, "GET | If-None-Match: W/\"a\"", true),
        ("9.3", TAGGED, "GET | If-None-Match: \"x\", \"a\"", true),
        ("9.3", TAGGED, "GET | If-None-Match: \"x\" | If-None-Match: \"y\",\"a\"", true),
        ("9.3", TAGGED, "GET | If-None-Match: *", true),
        ("9.3", TAGGED, "GET | If-None-Match: \"*\"", false),
        ("9.3", TAGGED, "GET | If-None-Match: \"b\"", false),
        ("9.3", DATED, "GET | If-None-Match: \"b\"", false),
        ("9.4", TAGGED, "GET | If-None-Match: \"b\" | If-Modified-Since: {+0}", false),
        ("9.4", TAGGED, "GET | If-None-Match: \"a\" | If-Modified-Since: {-90}", true),
        ("9.5", TAGGED, "GET | If-Modified-Since: {-60}", true),
        ("9.5", TAGGED, "GET | If-Modified-Since: {-59}", true),
        ("9.5", TAGGED, "GET | If-Modified-Since: {-61}", false),
        ("9.5", TAGGED, "GET | If-Modified-Since: Sunday, 01-Jun-25 11:59:00 GMT", true),
        ("9.5", TAGGED, "GET | If-Modified-Since: Sun Jun  1 11:59:00 2025", true),
        ("9.5", TAGGED, "GET | If-Modified-Since: lately", false),
        ("9.5", DATED, "GET | If-Modified-Since: {-5}", true),
        ("9.5", DATED, "GET | If-Modified-Since: {-6}", false),
        ("9.7", BARE, "GET | If-None-Match: a", true),
        ("9.7", BARE, "GET | If-None-Match: \"a\"", false),
        ("9.7", TAGGED, "GET | If-None-Match: a", false),
        ("9.7", TAGGED, "GET | If-None-Match: w/\"a\"", false),
        ("9.7", TAGGED, "GET | If-None-Match: W\\\"a\"", false),
        ("9", "404 | Cache-Control: max-age=9 | ETag: \"a\"", "GET | If-None-Match: \"a\"", false),
        ("9", TAGGED, "GET", false),
    ] {
        let expected = if not_modified { Precondition::NotModified } else { Precondition::Proceed };
        assert_eq!(conditional(response, request), expected, "{rule}: {request} on {response}");
    }
}

/// 9.3, RFC 9110, 15.4.5.
#[test]
fn a_304_carries_what_steers_caches() {
    let fields = message(
        "200 | ETag: \"a\" | Cache-Control: x | CDN-Cache-Control: y | Date: {+0} | Expires: {+9} | Vary: a | \
         Content-Location: /x | Last-Modified: {-9} | Content-Type: a/b | Content-Length: 5 | X: y",
    )
    .fields;
    let names: Vec<_> = not_modified_fields(&fields).iter().map(|(name, _)| name.to_owned()).collect();
    let carried =
        ["ETag", "Cache-Control", "CDN-Cache-Control", "Date", "Expires", "Vary", "Content-Location"];
    assert_eq!(names, carried);
    let untagged = not_modified_fields(&message("200 | Last-Modified: {-9}").fields);
    assert!(untagged.contains("last-modified"));
}
