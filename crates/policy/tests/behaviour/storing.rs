//! Sections 6, 7 and 0: what is stored, by status and method, and which of its fields.

use larder_policy::{
    Exchange, Fields, NotStored, PolicySettings, RequestFacts, Scheme, TargetUri, remove_hop_by_hop,
    storability,
};

use crate::kit::{
    Row, T0, decide, lines, message, method, response_message, run, status, store, stored, target,
};

#[test]
fn explicit_freshness_makes_any_final_status_a_hit_while_fresh() {
    for code in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        for freshness in ["Cache-Control: max-age=10", "Expires: {+10}"] {
            let response = [stored(&format!("{code} | {freshness}"))];
            assert_eq!(decide(&response, "GET", crate::kit::at(9000)), "hit 9", "6.1: {code}");
            assert_eq!(decide(&response, "GET", crate::kit::at(10_000)), "forward stale", "6.1: {code}");
        }
    }
}

#[test]
fn heuristic_freshness_by_status() {
    let settings = PolicySettings::default();
    let tenth = |code: u16, fields: &str| {
        let response = format!("{code} | Last-Modified: {{-1000}}{fields}");
        store(&settings, "GET", &response, None)
            .map(|stored| decide(&[stored], "GET", crate::kit::at(99_999)))
    };
    for code in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(tenth(code, ""), Ok("hit 99".into()), "6.2: {code}");
    }
    for code in [201, 202, 302, 307, 403, 502, 503, 504, 599] {
        assert_eq!(tenth(code, ""), Err(NotStored::NoFreshness), "6.3: {code}");
        assert_eq!(tenth(code, " | Cache-Control: public"), Ok("hit 99".into()), "6.2: {code} public");
    }
}

const HEURISTIC: &[Row] = &[
    Row("6.2", "GET", "200 | Last-Modified: {-1000}", 99.9, "GET", "hit 99"),
    Row("6.2", "GET", "200 | Last-Modified: {-1000}", 100.0, "GET", "validate stale"),
    Row("6.2", "GET", "200 | Last-Modified: {-5}", 0.4, "GET", "hit 0"),
    Row("6.2", "GET", "200 | Last-Modified: {-5}", 0.5, "GET", "validate stale"),
    Row("6.2", "GET", "200 | Last-Modified: {+5}", 0.0, "GET", "validate stale"),
    Row("6.2", "GET", "200 | Last-Modified: nonsense", 0.0, "GET", "not stored no-freshness"),
    Row("6.2", "GET", "200 | Last-Modified: {-99999999}", 604_799.0, "GET", "hit"),
    Row("6.2", "GET", "200 | Last-Modified: {-99999999}", 604_800.0, "GET", "validate stale"),
    Row("6.3", "GET", "201 | ETag: \"a\"", 0.0, "GET", "not stored no-freshness"),
];

#[test]
fn heuristic_freshness() {
    run(&PolicySettings::default(), HEURISTIC);
}

const METHODS: &[Row] = &[
    Row("6", "HEAD", "200 | Cache-Control: max-age=9", 0.0, "GET", "not stored method"),
    Row("6", "PUT", "200 | Cache-Control: max-age=9", 0.0, "GET", "not stored method"),
    Row("6", "OPTIONS", "200 | Cache-Control: max-age=9", 0.0, "GET", "not stored method"),
    Row("6.4", "POST", "200 | Cache-Control: max-age=9 | Content-Location: /a/b?c", 1.0, "GET", "hit"),
    Row("6.4", "POST", "200 | Cache-Control: max-age=9 | Content-Location: b?c", 1.0, "HEAD", "hit"),
    Row(
        "6.4",
        "POST",
        "200 | Cache-Control: max-age=9 | Content-Location: HTTP://example.com:80/a/b?c",
        1.0,
        "GET",
        "hit",
    ),
    Row("6.4", "POST | Content-Length: 3", "200 | Expires: {+9} | Content-Location: ?c", 1.0, "GET", "hit"),
    Row(
        "6.4",
        "POST",
        "200 | Cache-Control: max-age=9 | Content-Location: /a/b?c",
        1.0,
        "POST",
        "forward method",
    ),
    Row("6.4", "POST", "200 | Cache-Control: max-age=9", 1.0, "GET", "not stored method"),
    Row(
        "6.4",
        "POST",
        "200 | Cache-Control: max-age=9 | Content-Location: /other",
        1.0,
        "GET",
        "not stored method",
    ),
    Row(
        "6.4",
        "POST",
        "200 | Last-Modified: {-99} | Content-Location: /a/b?c",
        1.0,
        "GET",
        "not stored method",
    ),
    Row(
        "6.4",
        "POST",
        "201 | Cache-Control: max-age=9 | Content-Location: /a/b?c",
        1.0,
        "GET",
        "not stored method",
    ),
    Row(
        "6.4",
        "POST",
        "200 | Cache-Control: no-store | Content-Location: /a/b?c",
        1.0,
        "GET",
        "not stored no-store",
    ),
    Row("6.5", "GET", "103 | Cache-Control: max-age=9", 0.0, "GET", "not stored status"),
    Row("6.5", "GET", "101 | Cache-Control: max-age=9", 0.0, "GET", "not stored status"),
    Row(
        "13.2",
        "GET",
        "206 | Cache-Control: max-age=9 | Content-Range: bytes 0-1/2",
        0.0,
        "GET",
        "not stored partial",
    ),
    Row("9", "GET | If-None-Match: \"a\"", "304 | Cache-Control: max-age=9", 0.0, "GET", "not stored status"),
    Row("9", "GET | If-Match: \"a\"", "412 | Cache-Control: max-age=9", 0.0, "GET", "not stored status"),
    Row("13", "GET | Range: bytes=9-", "416 | Cache-Control: max-age=9", 0.0, "GET", "not stored status"),
    Row("14", "GET", "401 | Cache-Control: max-age=9", 0.0, "GET", "not stored status"),
    Row("14", "GET", "407 | Cache-Control: max-age=9", 0.0, "GET", "not stored status"),
    Row("13", "GET | Range: bytes=0-1", "200 | Cache-Control: max-age=9", 0.0, "GET", "hit"),
    Row("9", "GET | If-None-Match: \"a\"", "200 | Cache-Control: max-age=9", 0.0, "GET", "hit"),
    Row(
        "0.3",
        "GET | Content-Length: 1",
        "200 | Cache-Control: max-age=9",
        0.0,
        "GET",
        "not stored request-body",
    ),
    Row(
        "0.3",
        "GET | Transfer-Encoding: chunked",
        "200 | Cache-Control: max-age=9",
        0.0,
        "GET",
        "not stored request-body",
    ),
    Row("0.3", "get", "200 | Cache-Control: max-age=9", 0.0, "GET", "not stored method"),
];

#[test]
fn methods_and_statuses_that_are_not_stored() {
    run(&PolicySettings::default(), METHODS);
}

/// 7.3: a body whose end is unsure is not stored.
#[test]
fn unsound_framing_is_not_stored() {
    let request = message("GET");
    let response = response_message("200 | Cache-Control: max-age=9");
    let target = target();
    let exchange = Exchange {
        facts: &RequestFacts::of(&method(&request), &request.fields),
        target: &target,
        request: &request.fields,
        status: status(200),
        response: &response.fields,
        request_time: T0,
        response_time: T0,
        framing_sound: false,
    };
    assert_eq!(storability(&PolicySettings::default(), &exchange, None), Err(NotStored::Framing));
}

/// 6.6: a 204 has no Content-Length.
#[test]
fn no_content_has_no_length() {
    let response = stored("204 | Cache-Control: max-age=9 | Content-Length: 0 | Content-Type: a/b");
    assert_eq!(lines(response.fields(), "content-length"), "-");
    assert_eq!(lines(response.fields(), "content-type"), "a/b");
}

/// 7.1, 0.2: everything else is kept, in order and letter case, line by line.
#[test]
fn all_other_fields_are_stored_as_received() {
    const FIELDS: &[(&str, &str)] = &[
        ("date", "Sun, 01 Jun 2025 12:00:00 GMT"),
        ("CACHE-control", "max-age=9,  foo"),
        ("Content-Encoding", "gzip"),
        ("Content-MD5", "x"),
        ("Content-Location", "/x"),
        ("Content-Range", "bytes 0-1/2"),
        ("Content-Length", "10"),
        ("Content-Security-Policy", "default-src 'self'"),
        ("Clear-Site-Data", "\"cache\""),
        ("Public-Key-Pins", "a"),
        ("Set-Cookie", "a=b; Path=/"),
        ("set-cookie", "c=d"),
        ("Set-Cookie2", "e"),
        ("X-Test", "1"),
        ("ETag", "\"a\""),
        ("Expires", "Sun, 01 Jun 2025 12:10:00 GMT"),
        ("CDN-Cache-Control", "max-age=1"),
        ("Trailer", "X-Sum"),
        ("x-test", "2"),
        ("Unknown", "\u{e4}"),
    ];
    let mut response = Fields::new();
    for (name, value) in FIELDS {
        response.push(name, value.as_bytes()).unwrap();
    }
    let text: String = FIELDS.iter().map(|(name, value)| format!(" | {name}: {value}")).collect();
    assert_eq!(stored(&format!("200{text}")).fields().as_wire(), response.as_wire());
}

/// 7.2: what belongs to the connection goes, nonsense in it changes nothing.
#[test]
fn hop_by_hop_fields_are_not_stored() {
    let hop = "Connection: X-A, \"\u{7f};=, X-B | Keep-Alive: ??? | Proxy-Connection: x | Proxy-Authenticate: x | \
               Proxy-Authentication-Info: x | Proxy-Authorization: x | TE: ,,; | Transfer-Encoding: nonsense | \
               Upgrade: ??? | X-A: 1 | x-b: 2";
    let response = stored(&format!("200 | Cache-Control: max-age=9 | X-C: 3 | {hop}"));
    let names: Vec<_> = response.fields().iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["Cache-Control", "X-C", "Date"]);
}

/// Threats, C: Connection cannot take away what tells where a message goes and how long it is.
#[test]
fn connection_does_not_reach_host_and_framing() {
    let mut fields =
        message("GET | Connection: host, content-length, x | Host: a | Content-Length: 0 | X: 1").fields;
    remove_hop_by_hop(&mut fields);
    assert_eq!(fields.as_wire(), b"Host: a\r\nContent-Length: 0\r\n");
}

/// 0.5, threats, F: the whole target is the key.
#[test]
fn different_targets_have_different_keys() {
    let targets = [
        (Scheme::Http, "h", "/a"),
        (Scheme::Https, "h", "/a"),
        (Scheme::Http, "h:81", "/a"),
        (Scheme::Http, "h", "/a?"),
        (Scheme::Http, "h", "/a?b"),
        (Scheme::Http, "h", "/a%3fb"),
        (Scheme::Http, "ha", "/"),
        (Scheme::Http, "h", "//a"),
    ];
    let keys: std::collections::HashSet<_> = targets
        .iter()
        .map(|(scheme, authority, path)| {
            let target = TargetUri::from_parts(*scheme, authority.as_bytes(), path.as_bytes()).unwrap();
            larder_policy::CacheKey::of(&target).as_str().to_owned()
        })
        .collect();
    assert_eq!(keys.len(), targets.len());
}
