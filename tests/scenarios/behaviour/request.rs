//! Section 15: what the client asks of the cache (RFC 9111, 5.2.1 and 5.4), and what it is told (RFC 9211).

use super::bench::{lines, stories};

#[test]
fn max_age_and_min_fresh_bound_what_is_taken() {
    lines(
        r#"
15.1 Cache-Control: max-age=100 => +5 GET | Cache-Control: max-age=5 => hit 5
15.1 Cache-Control: max-age=100 => +6 GET | Cache-Control: max-age=5 => fetched
15.1 Cache-Control: max-age=100 | ETag: "a" => +6 GET | Cache-Control: max-age=5 => validated
15.1 Cache-Control: max-age=100 | ETag: "a" => GET | Cache-Control: max-age=0 => validated
15.1 Cache-Control: max-age=100 | Age: 50 | ETag: "a" => GET | Cache-Control: max-age=40 => validated
15.1 Cache-Control: max-age=100 => +5 GET | Cache-Control: max-age=200 => hit 5
15.2 Cache-Control: max-age=10 => +5 GET | Cache-Control: min-fresh=5 => hit 5
15.2 Cache-Control: max-age=10 => +6 GET | Cache-Control: min-fresh=5 => fetched
15.2 Cache-Control: max-age=10 | ETag: "a" => +6 GET | Cache-Control: min-fresh=5 => validated
"#,
    );
}

#[test]
fn max_stale_takes_what_the_origin_allows_to_be_stale() {
    lines(
        r#"
15.3 Cache-Control: max-age=10 => +12 GET | Cache-Control: max-stale=2 => hit 12
15.3 Cache-Control: max-age=10 => +13 GET | Cache-Control: max-stale=2 => fetched
15.3 Cache-Control: max-age=10 => +9999 GET | Cache-Control: max-stale => hit 9999
15.3 Cache-Control: max-age=10 => +12 GET | Cache-Control: max-stale=x => fetched
15.3 Cache-Control: max-age=10, must-revalidate => +12 GET | Cache-Control: max-stale => fetched
15.3 Cache-Control: max-age=10, proxy-revalidate => +12 GET | Cache-Control: max-stale => fetched
15.3 Cache-Control: s-maxage=10 => +12 GET | Cache-Control: max-stale => fetched
15.3 Cache-Control: no-cache | ETag: "a" => GET | Cache-Control: max-stale => validated
"#,
    );
}

#[test]
fn no_cache_and_no_store_reach_the_origin() {
    lines(
        r#"
15.4 Cache-Control: max-age=10 | ETag: "a" => GET | Cache-Control: no-cache => validated
15.4 Cache-Control: max-age=10 | Last-Modified: {-9} => GET | Cache-Control: NO-CACHE => validated
15.4 Cache-Control: max-age=10 => GET | Cache-Control: no-cache => fetched
15.5 Cache-Control: max-age=10 => GET | Cache-Control: no-store => fetched
"#,
    );
    stories(
        r#"
15.4 what comes is stored
    GET
        <- 200 | Cache-Control: max-age=60
    GET | Cache-Control: no-cache
        -> Cache-Control: no-cache
        <- 200 | Cache-Control: max-age=60
    GET
        == hit
15.5 what comes is not stored, and what was stored stays
    GET | Cache-Control: no-store
        -> Cache-Control: no-store
        <- 200 | Cache-Control: max-age=60
    GET
        <- 200 | Cache-Control: max-age=60
    GET | Cache-Control: no-store
        <- 200 | Cache-Control: max-age=60
    GET
        == hit | body answer 2
"#,
    );
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    stories(
        r#"
15.6 nothing stored
    GET | Cache-Control: only-if-cached
        == status 504
15.6 fresh, then stale
    GET
        <- 200 | Cache-Control: max-age=10
    GET | Cache-Control: only-if-cached
        == hit
    +10 GET | Cache-Control: only-if-cached
        == status 504
    GET | Cache-Control: only-if-cached, max-stale
        == hit 10 | status 200
    GET | Cache-Control: only-if-cached, no-cache
        == status 504
"#,
    );
}

#[test]
fn pragma_counts_only_without_cache_control() {
    lines(
        r#"
15.7 Cache-Control: max-age=10 | ETag: "a" => GET | Pragma: no-cache => validated
15.7 Cache-Control: max-age=10 => GET | Pragma: no-cache | Cache-Control: foo => hit
15.7 Cache-Control: max-age=10 => GET | Pragma: no-cache | Cache-Control: max-age=5 => hit
15.7 Cache-Control: max-age=10 => GET | Pragma: foo => hit
15.7 Cache-Control: max-age=10 | Pragma: no-cache => hit | Pragma: no-cache
"#,
    );
}

#[test]
fn cache_status_tells_what_was_done() {
    stories(
        r#"
15.8 a miss, a hit, a validation
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a"
        == Cache-Status: larder; fwd=uri-miss; fwd-status=200; stored
    GET
        == hit | Cache-Status: larder; hit
    +10 GET
        <- 304
        == Cache-Status: larder; fwd=stale; fwd-status=304; stored
    GET | Cache-Control: no-cache
        <- 200
        == Cache-Status: larder; fwd=request; fwd-status=200; detail=no-freshness
15.8 another variant, and a method that the origin answers
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=10 | Vary: Foo
    GET | Foo: 2
        <- 404
        == Cache-Status: larder; fwd=vary-miss; fwd-status=404; detail=no-freshness
    DELETE
        <- 204
        == Cache-Status: larder; fwd=method; fwd-status=204
15.8 appended to what other caches said, on a line of its own
    GET
        <- 200 | Cache-Control: max-age=10 | Cache-Status: other; hit | cache-status: third; fwd=miss
        == Cache-Status: other; hit / third; fwd=miss / larder; fwd=uri-miss; fwd-status=200; stored
    GET
        == Cache-Status: other; hit / third; fwd=miss / larder; hit
"#,
    );
}
