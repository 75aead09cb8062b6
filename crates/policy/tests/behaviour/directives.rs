//! Sections 5, 12, 14 and 15: response directives, targeted fields, Authorization, request directives.

use larder_policy::PolicySettings;

use crate::kit::{Row, lines, run, store, stored};

const RESPONSE: &[Row] = &[
    Row("5.1", "GET", "200 | Cache-Control: private, max-age=9", 0.0, "GET", "not stored private"),
    Row("5.1", "GET", "200 | Cache-Control: no-store", 0.0, "GET", "not stored no-store"),
    Row(
        "5.1",
        "GET",
        "200 | Cache-Control: no-store, max-age=9 | Expires: {+9}",
        0.0,
        "GET",
        "not stored no-store",
    ),
    Row("5.3", "GET", "200 | Cache-Control: no-cache | ETag: \"a\"", 0.0, "GET", "validate stale"),
    Row("5.3", "GET", "200 | Cache-Control: no-cache, max-age=9 | ETag: \"a\"", 0.0, "GET", "validate stale"),
    Row(
        "5.3",
        "GET",
        "200 | Cache-Control: no-cache | Expires: {+9} | Last-Modified: {-9}",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("5.3", "GET", "200 | Cache-Control: no-cache, max-age=9", 0.0, "GET", "not stored no-freshness"),
    Row("5.4", "GET", "200 | Cache-Control: max-age=9, no-cache=\"a, b\"", 0.0, "GET", "hit"),
    Row(
        "5.4",
        "GET",
        "200 | Cache-Control: max-age=9, no-cache=a | ETag: \"a\"",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("5.4", "GET", "200 | Cache-Control: max-age=9, private=\"a, b\"", 0.0, "GET", "hit"),
    Row(
        "5.4",
        "GET",
        "200 | Cache-Control: max-age=9, private=\"a\", private",
        0.0,
        "GET",
        "not stored private",
    ),
    Row("5.5", "GET", "200 | Cache-Control: max-age=9, must-revalidate", 1.0, "GET", "hit"),
    Row(
        "5.5",
        "GET",
        "200 | Cache-Control: max-age=9, must-revalidate | ETag: \"a\"",
        10.0,
        "GET",
        "validate stale",
    ),
    Row("5.6", "GET", "200 | Cache-Control: max-age=9, must-understand", 0.0, "GET", "hit"),
    Row(
        "5.6",
        "GET",
        "499 | Cache-Control: max-age=9, must-understand",
        0.0,
        "GET",
        "not stored must-understand",
    ),
    Row("5.6", "GET", "200 | Cache-Control: max-age=9, no-store, must-understand", 0.0, "GET", "hit"),
    Row(
        "5.6",
        "GET",
        "499 | Cache-Control: max-age=9, no-store, must-understand",
        0.0,
        "GET",
        "not stored must-understand",
    ),
    Row("5.7", "GET", "200 | Cache-Control: max-age=9, immutable", 0.0, "GET", "hit"),
    Row(
        "5.7",
        "GET",
        "200 | Cache-Control: max-age=9, immutable | ETag: \"a\"",
        9.0,
        "GET",
        "validate stale",
    ),
    Row("5.8", "GET", "200 | Cache-Control: max-age=9 | Set-Cookie: a=b", 0.0, "GET", "hit"),
    Row("5.8", "GET | Cookie: a=b", "200 | Cache-Control: max-age=9", 0.0, "GET | Cookie: c=d", "hit"),
    Row("5.8", "GET", "200 | Last-Modified: {-9999} | Set-Cookie: a=b", 0.0, "GET", "not stored set-cookie"),
    Row("5.8", "GET", "200 | ETag: \"a\" | Set-Cookie: a=b", 0.0, "GET", "not stored set-cookie"),
    Row("5.8", "GET", "200 | Cache-Control: max-age=9 | Content-Disposition: attachment", 0.0, "GET", "hit"),
    Row("15", "GET", "200 | Cache-Control: max-age=9 | Pragma: no-cache", 0.0, "GET", "hit"),
];

#[test]
fn response_directives() {
    run(&PolicySettings::default(), RESPONSE);
}

/// 5.4: the listed fields are not stored; all others are.
#[test]
fn restricted_fields_are_left_out() {
    let response =
        stored("200 | Cache-Control: max-age=9, no-cache=\"A\", private=\"b\" | a: 1 | B: 2 | c: 3");
    assert_eq!(lines(response.fields(), "a"), "-");
    assert_eq!(lines(response.fields(), "b"), "-");
    assert_eq!(lines(response.fields(), "c"), "3");
}

const TARGETED: &[Row] = &[
    Row("12.1", "GET", "200 | CDN-Cache-Control: max-age=9 | Cache-Control: no-store", 1.0, "GET", "hit"),
    Row("12.1", "GET", "200 | CDN-Cache-Control: max-age=9", 1.0, "GET", "hit"),
    Row(
        "12.1",
        "GET",
        "200 | CDN-Cache-Control: max-age=5 | Cache-Control: max-age=99",
        6.0,
        "GET",
        "forward stale",
    ),
    Row("12.1", "GET", "200 | CDN-Cache-Control: max-age=5 | Expires: {+99}", 6.0, "GET", "forward stale"),
    Row(
        "12.1",
        "GET",
        "200 | CDN-Cache-Control: max-age=0 | Expires: {+99} | ETag: \"a\"",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "12.1",
        "GET",
        "200 | CDN-Cache-Control: foo | Expires: {+99}",
        0.0,
        "GET",
        "not stored no-freshness",
    ),
    Row(
        "12.1",
        "GET",
        "200 | CDN-Cache-Control: max-age=9 | Age: 10 | ETag: \"a\"",
        0.0,
        "GET",
        "validate stale",
    ),
    Row(
        "12.1",
        "GET",
        "200 | CDN-Cache-Control: private | Cache-Control: max-age=9",
        0.0,
        "GET",
        "not stored private",
    ),
    Row(
        "12.1",
        "GET",
        "200 | CDN-Cache-Control: no-store | Cache-Control: max-age=9",
        0.0,
        "GET",
        "not stored no-store",
    ),
    Row(
        "12.1",
        "GET",
        "200 | CDN-Cache-Control: no-cache | Cache-Control: max-age=9 | ETag: \"a\"",
        0.0,
        "GET",
        "validate stale",
    ),
    Row("12.1", "GET", "200 | CDN-Cache-Control: max-age=9, foo=bar, x;y=1", 1.0, "GET", "hit"),
    Row("12.1", "GET", "200 | CDN-Cache-Control: max-age=99999999999", 1.0, "GET", "hit"),
    Row(
        "12.2",
        "GET",
        "200 | CDN-Cache-Control: max-age=10000, &&&&& | Cache-Control: no-store",
        0.0,
        "GET",
        "not stored no-store",
    ),
    Row(
        "12.2",
        "GET",
        "200 | CDN-Cache-Control: max-age=10000, &&&&& | Cache-Control: max-age=9",
        1.0,
        "GET",
        "hit",
    ),
    Row(
        "12.2",
        "GET",
        "200 | CDN-Cache-Control: max-age=\"10000\" | Cache-Control: no-store",
        0.0,
        "GET",
        "not stored no-store",
    ),
    Row(
        "12.2",
        "GET",
        "200 | CDN-Cache-Control: MaX-aGe=99 | Cache-Control: max-age=5",
        6.0,
        "GET",
        "forward stale",
    ),
    Row(
        "12.2",
        "GET",
        "200 | CDN-Cache-Control: max-age =99 | Cache-Control: max-age=5",
        6.0,
        "GET",
        "forward stale",
    ),
    Row("12.2", "GET", "200 | CDN-Cache-Control: | Cache-Control: max-age=5", 1.0, "GET", "hit"),
];

#[test]
fn targeted_field_when_on() {
    let settings =
        PolicySettings { targeted_fields: vec!["CDN-Cache-Control".into()], ..PolicySettings::default() };
    run(&settings, TARGETED);
    let response =
        store(&settings, "GET", "200 | CDN-Cache-Control: max-age=9 | Cache-Control: no-store", None);
    assert_eq!(lines(response.unwrap().fields(), "cdn-cache-control"), "max-age=9", "12.2: relayed");
}

#[test]
fn targeted_field_is_an_unknown_one_when_off() {
    let off = PolicySettings::default();
    let outcome = "not stored no-store";
    run(
        &off,
        &[Row(
            "12",
            "GET",
            "200 | CDN-Cache-Control: max-age=9 | Cache-Control: no-store",
            0.0,
            "GET",
            outcome,
        )],
    );
}

const AUTHORIZATION: &[Row] = &[
    Row(
        "14.1",
        "GET | Authorization: a",
        "200 | Cache-Control: max-age=9",
        0.0,
        "GET",
        "not stored authorization",
    ),
    Row("14.1", "GET | Authorization: a", "200 | Expires: {+9}", 0.0, "GET", "not stored authorization"),
    Row(
        "14.1",
        "GET | Authorization: a",
        "200 | Cache-Control: max-age=9, public",
        0.0,
        "GET | Authorization: b",
        "hit",
    ),
    Row("14.1", "GET | Authorization: a", "200 | Cache-Control: max-age=9, public", 0.0, "GET", "hit"),
    Row(
        "14.1",
        "GET | Authorization: a",
        "200 | Cache-Control: max-age=9, must-revalidate",
        0.0,
        "GET",
        "hit",
    ),
    Row("14.1", "GET | Authorization: a", "200 | Cache-Control: s-maxage=9", 0.0, "GET", "hit"),
    Row(
        "14.1",
        "GET | Authorization: a",
        "200 | Cache-Control: s-maxage=x, max-age=9",
        0.0,
        "GET",
        "not stored authorization",
    ),
    Row(
        "14.1",
        "GET | Authorization: a | Connection: authorization",
        "200 | Cache-Control: max-age=9",
        0.0,
        "GET",
        "not stored authorization",
    ),
];

#[test]
fn authorization() {
    run(&PolicySettings::default(), AUTHORIZATION);
}

const REQUEST: &[Row] = &[
    Row("15", "GET", "200 | Cache-Control: max-age=99", 5.0, "GET | Cache-Control: max-age=5", "hit"),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=99",
        6.0,
        "GET | Cache-Control: max-age=5",
        "forward request",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=99 | ETag: \"a\"",
        6.0,
        "GET | Cache-Control: max-age=5",
        "validate request",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=99 | ETag: \"a\"",
        0.0,
        "GET | Cache-Control: max-age=0",
        "validate request",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=99 | ETag: \"a\"",
        0.0,
        "GET | Cache-Control: max-age=x",
        "validate request",
    ),
    Row("15", "GET", "200 | Cache-Control: max-age=10", 5.0, "GET | Cache-Control: min-fresh=5", "hit"),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        6.0,
        "GET | Cache-Control: min-fresh=5",
        "forward request",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        12.0,
        "GET | Cache-Control: max-stale=2",
        "stale max-stale 12",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        13.0,
        "GET | Cache-Control: max-stale=2",
        "forward stale",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        9999.0,
        "GET | Cache-Control: max-stale",
        "stale max-stale",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        12.0,
        "GET | Cache-Control: max-stale=x",
        "forward stale",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10, must-revalidate",
        12.0,
        "GET | Cache-Control: max-stale",
        "forward stale",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10, proxy-revalidate",
        12.0,
        "GET | Cache-Control: max-stale",
        "forward stale",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: s-maxage=10",
        12.0,
        "GET | Cache-Control: max-stale",
        "forward stale",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: no-cache | ETag: \"a\"",
        1.0,
        "GET | Cache-Control: max-stale",
        "validate stale",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10 | ETag: \"a\"",
        1.0,
        "GET | Cache-Control: no-cache",
        "validate request",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        1.0,
        "GET | Cache-Control: no-cache",
        "forward request",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        1.0,
        "GET | Cache-Control: no-store",
        "forward request",
    ),
    Row(
        "15",
        "GET | Cache-Control: no-store",
        "200 | Cache-Control: max-age=10",
        1.0,
        "GET",
        "not stored request-no-store",
    ),
    Row("15", "GET", "200 | Cache-Control: max-age=10", 1.0, "GET | Cache-Control: only-if-cached", "hit"),
    Row("15", "GET", "200 | Cache-Control: max-age=10", 11.0, "GET | Cache-Control: only-if-cached", "504"),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        1.0,
        "GET | Cache-Control: only-if-cached, no-cache",
        "504",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        11.0,
        "GET | Cache-Control: only-if-cached, max-stale",
        "stale max-stale",
    ),
    Row("15", "GET", "200 | Cache-Control: max-age=10", 1.0, "POST | Cache-Control: only-if-cached", "504"),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10 | ETag: \"a\"",
        1.0,
        "GET | Pragma: no-cache",
        "validate request",
    ),
    Row(
        "15",
        "GET",
        "200 | Cache-Control: max-age=10",
        1.0,
        "GET | Pragma: no-cache | Cache-Control: foo",
        "hit",
    ),
    Row("15", "GET", "200 | Cache-Control: max-age=10", 1.0, "GET | Pragma: foo", "hit"),
    Row("15", "GET", "200 | Cache-Control: max-age=10", 1.0, "GET | Cache-Control: foo, bar=baz", "hit"),
    Row("0.3", "GET", "200 | Cache-Control: max-age=10", 1.0, "PUT", "forward method"),
    Row("0.3", "GET", "200 | Cache-Control: max-age=10", 1.0, "M-SEARCH", "forward method"),
    Row("0.3", "GET", "200 | Cache-Control: max-age=10", 1.0, "GET | Content-Length: 3", "forward bypass"),
    Row("0.3", "GET", "200 | Cache-Control: max-age=10", 1.0, "HEAD", "hit"),
    Row(
        "9",
        "GET",
        "200 | Cache-Control: max-age=10 | ETag: \"a\"",
        1.0,
        "GET | If-Match: \"b\"",
        "forward request",
    ),
    Row(
        "9",
        "GET",
        "200 | Cache-Control: max-age=10",
        1.0,
        "GET | If-Unmodified-Since: {-9}",
        "forward request",
    ),
];

#[test]
fn request_directives() {
    run(&PolicySettings::default(), REQUEST);
}
