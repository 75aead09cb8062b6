//! Section 5: response directives (RFC 9111, 5.2.2; RFC 8246).

use super::bench::{lines, stories};

#[test]
fn what_may_not_be_stored_is_not() {
    lines(
        r#"
5.1 Cache-Control: private => fetched
5.1 Cache-Control: private, max-age=100 => fetched
5.1 Cache-Control: private | Expires: {+100} | ETag: "a" => fetched
5.1 Cache-Control: no-store => fetched
5.1 Cache-Control: no-store, max-age=100 => fetched
5.1 Cache-Control: no-store | Expires: {+100} | ETag: "a" => fetched
5.1 Cache-Control: max-age=100, no-store="x" => fetched
"#,
    );
}

#[test]
fn a_later_no_store_does_not_end_what_is_fresh() {
    stories(
        r#"
5.2 the fresh response stays in use, the later one is not stored
    GET
        <- 200 | Cache-Control: max-age=100
    GET | Cache-Control: no-cache
        <- 200 | Cache-Control: no-store
    GET
        == hit | body answer 1 | status 200
5.2 nor where it came in place of a 304
    GET
        <- 200 | Cache-Control: max-age=100 | ETag: "a"
    GET | Cache-Control: no-cache
        -> If-None-Match: "a"
        <- 200 | Cache-Control: no-store
    GET
        == hit | body answer 1 | status 200
5.2 once stale, nothing but the newer one is to be had
    GET
        <- 200 | Cache-Control: max-age=10
    +10 GET
        <- 200 | Cache-Control: no-store
    GET
        <- 200 | Cache-Control: max-age=100
"#,
    );
}

#[test]
fn no_cache_is_validated_before_each_use() {
    lines(
        r#"
5.3 Cache-Control: no-cache => fetched
5.3 Cache-Control: no-cache, max-age=100 => fetched
5.3 Cache-Control: no-cache | ETag: "a" => validated
5.3 Cache-Control: no-cache, max-age=100 | ETag: "a" => validated
5.3 Cache-Control: no-cache, s-maxage=100 | Last-Modified: {-9} => validated
5.3 Cache-Control: no-cache | Expires: {+100} | Last-Modified: {-9} => validated
"#,
    );
    stories(
        r#"
5.3 each use, and not only the first
    GET
        <- 200 | Cache-Control: no-cache, max-age=100 | ETag: "a"
    GET
        -> If-None-Match: "a"
        <- 304
    GET
        -> If-None-Match: "a"
        <- 304
    GET
        -> If-None-Match: "a"
        <- 200 | Cache-Control: max-age=100
    GET
        == hit
"#,
    );
}

#[test]
fn listed_fields_are_left_out_and_the_rest_is_used() {
    lines(
        r#"
5.4 Cache-Control: max-age=100, no-cache="a, B" | A: 1 | b: 2 | c: 3 => hit | !a | !b | c: 3
5.4 Cache-Control: max-age=100, private="a" | A: 1 | b: 2 => hit | !a | b: 2
5.4 Cache-Control: max-age=100, no-cache="Set-Cookie" | Set-Cookie: a=b => hit | !Set-Cookie
5.4 Cache-Control: max-age=100, private="a", private => fetched
5.4 Cache-Control: max-age=100, private="cache-control, x" => fetched
5.4 Cache-Control: max-age=100, no-cache="a", no-cache | ETag: "a" => validated
5.4 Cache-Control: max-age=100, no-cache=a | ETag: "a" => validated
"#,
    );
}

#[test]
fn must_revalidate_matters_once_stale() {
    lines(
        r#"
5.5 Cache-Control: max-age=10, must-revalidate => +9 hit 9
5.5 Cache-Control: max-age=10, must-revalidate | ETag: "a" => +10 validated
5.5 Cache-Control: max-age=10, proxy-revalidate => +9 hit 9
5.5 Cache-Control: max-age=10, must-revalidate => +10 GET | Cache-Control: max-stale => fetched
"#,
    );
}

#[test]
fn must_understand_asks_for_a_known_status() {
    lines(
        r#"
5.6 Cache-Control: max-age=100, must-understand => hit
5.6 Cache-Control: max-age=100, no-store, must-understand => hit
5.6 404 | Cache-Control: max-age=100, no-store, must-understand => hit
5.6 499 | Cache-Control: max-age=100, must-understand => fetched
5.6 499 | Cache-Control: max-age=100, no-store, must-understand => fetched
5.6 599 | Cache-Control: max-age=100, must-understand => fetched
"#,
    );
}

#[test]
fn immutable_changes_nothing_here() {
    lines(
        r#"
5.7 Cache-Control: max-age=10, immutable => +9 hit 9
5.7 Cache-Control: max-age=10, immutable | ETag: "a" => +10 validated
5.7 Cache-Control: immutable | ETag: "a" => validated
5.7 Cache-Control: max-age=10, immutable | ETag: "a" => GET | Cache-Control: no-cache => validated
"#,
    );
}

#[test]
fn cookies_do_not_stop_explicit_freshness() {
    lines(
        r#"
5.8 Cache-Control: max-age=100 | Set-Cookie: a=b; Path=/ => hit | Set-Cookie: a=b; Path=/
5.8 Cache-Control: max-age=100 | Set-Cookie: a=b | Set-Cookie: c=d => hit | Set-Cookie: a=b / c=d
5.8 Expires: {+100} | Set-Cookie: a=b => GET | Cookie: a=b => hit
5.8 Cache-Control: max-age=100 => GET | Cookie: a=b => hit
5.8 Cache-Control: max-age=100 | Content-Disposition: attachment => hit
# Without explicit freshness a cookie is one client's own.
5.8 Last-Modified: {-1000} | Set-Cookie: a=b => fetched
"#,
    );
    stories(
        r#"
5.8 a request with a cookie is answered for all
    GET | Cookie: a=b
        -> Cookie: a=b
        <- 200 | Cache-Control: max-age=100
    GET
        == hit
    GET | Cookie: c=d
        == hit
"#,
    );
}
