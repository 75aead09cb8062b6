//! Section 9: validation, and the client's own conditions (RFC 9111, 4.3; RFC 9110, 13).

use super::bench::{lines, stories};

#[test]
fn a_stale_response_is_validated_with_its_own_validators() {
    stories(
        r#"
9.1 the tag, byte for byte
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: W/"x"
    +10 GET
        -> If-None-Match: W/"x" | !If-Modified-Since
        <- 304
9.1 the date, byte for byte
    GET
        <- 200 | Cache-Control: max-age=10 | Last-Modified: Wed Dec 31 20:00:00 2025
    +10 GET
        -> If-Modified-Since: Wed Dec 31 20:00:00 2025 | !If-None-Match
        <- 304
9.1 both, and none of the client's
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | Last-Modified: {-60}
    +10 GET | If-None-Match: "b", "c" | If-Modified-Since: {-90} | If-Range: "b" | Range: bytes=0-1
        -> If-None-Match: "a" | If-Modified-Since: {-60} | !If-Range | !Range
        <- 304
        == status 200 | body answer 1
9.1 with the fields that Vary nominates
    GET | Foo: 1 | Bar: 2
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | Vary: Foo
    +10 GET | Foo: 1 | Bar: 3
        -> If-None-Match: "a" | Foo: 1
        <- 304
9.1 nothing to validate with
    GET
        <- 200 | Cache-Control: max-age=10
    +10 GET
        -> !If-None-Match | !If-Modified-Since
        <- 200
"#,
    );
}

#[test]
fn a_304_brings_the_stored_response_up_to_date() {
    stories(
        r#"
9.2 what it names is replaced, what it omits stays, freshness begins anew
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | X-Old: kept | X-Both: 1 | X-Both: 2 | Content-Foo: a
    +10 GET
        -> If-None-Match: "a"
        <- 304 | Cache-Control: max-age=100 | X-Both: 3 | X-New: 4 | Content-Foo: b | Expires: {+500}
        == X-Old: kept | X-Both: 3 | X-New: 4 | Content-Foo: b | Cache-Control: max-age=100
    +99 GET
        == hit 99 | X-Old: kept | X-Both: 3 | X-New: 4 | Content-Foo: b | Expires: {+500}
    +1 GET
        -> If-None-Match: "a"
        <- 304
9.2 without a lifetime of its own the old one begins anew
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a"
    +10 GET
        <- 304
    +9 GET
        == hit 9
9.2 neither length, nor coding, nor range, nor what belongs to the connection
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | Content-Encoding: x-none
    +10 GET
        <- 304 | Content-Length: 3 | Content-Encoding: gzip | Content-Range: bytes 0-1/2 | Connection: x-hop | X-Hop: 1 | Keep-Alive: x
        == Content-Length: 8 | Content-Encoding: x-none | !Content-Range | !X-Hop | !Keep-Alive
    GET
        == hit | Content-Length: 8 | Content-Encoding: x-none | !Content-Range | !X-Hop | !Keep-Alive
9.2 type, location, cookies and security may change
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | Content-Type: a/b | Set-Cookie: a=1 | Content-Security-Policy: a
    +10 GET
        <- 304 | Content-Type: c/d | Content-Location: /x | Set-Cookie: a=2 | Content-Security-Policy: b
    GET
        == hit | Content-Type: c/d | Content-Location: /x | Set-Cookie: a=2 | Content-Security-Policy: b
9.2 the client gets a 304 where its own condition holds
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a"
    +10 GET | If-None-Match: "a"
        -> If-None-Match: "a"
        <- 304
        == status 304 | ETag: "a"
    GET
        == hit | status 200 | body answer 1
9.2 a 200 takes the place of what was stored
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | X-Old: 1
    +10 GET
        -> If-None-Match: "a"
        <- 200 | Cache-Control: max-age=10 | ETag: "b"
        == !X-Old
    GET
        == hit | ETag: "b" | !X-Old
"#,
    );
}

#[test]
fn a_fresh_response_answers_if_none_match() {
    lines(
        r#"
9.3 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: "a" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: "a" => HEAD | If-None-Match: "a" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: W/"a" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: W/"a" => GET | If-None-Match: "a" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: W/"a" => GET | If-None-Match: W/"a" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: "x", "a", "y" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: "x" | If-None-Match: "y","a" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: "a, b" => GET | If-None-Match: "x", "a, b" => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: * => hit | status 304
9.3 Cache-Control: max-age=10 => GET | If-None-Match: * => hit | status 304
9.3 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: "b" => hit | status 200
9.3 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: "*" => hit | status 200
9.3 Cache-Control: max-age=10 => GET | If-None-Match: "a" => hit | status 200
"#,
    );
    stories(
        r#"
9.3 its 304 carries what steers caches
    GET | Foo: 1
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | Expires: {+9} | Date: {-1} | Vary: Foo | Content-Location: /x | Content-Type: a/b
    GET | Foo: 1 | If-None-Match: "a"
        == hit 1 | status 304 | ETag: "a" | Cache-Control: max-age=10 | Expires: {+9} | Date: {-1} | Vary: Foo | Content-Location: /x | !Content-Type | !Content-Length
"#,
    );
}

#[test]
fn if_none_match_goes_before_if_modified_since() {
    lines(
        r#"
9.4 Cache-Control: max-age=10 | ETag: "a" | Last-Modified: {-60} => GET | If-None-Match: "b" | If-Modified-Since: {+0} => hit | status 200
9.4 Cache-Control: max-age=10 | ETag: "a" | Last-Modified: {-60} => GET | If-None-Match: "a" | If-Modified-Since: {-90} => hit | status 304
"#,
    );
}

#[test]
fn a_fresh_response_answers_if_modified_since() {
    lines(
        r#"
9.5 Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: {-60} => hit | status 304 | Last-Modified: {-60}
9.5 Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: {-59} => hit | status 304
9.5 Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: {-61} => hit | status 200
9.5 Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: Friday, 01-Jan-99 00:00:00 GMT => hit | status 200
9.5 Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: Wednesday, 01-Jan-31 12:05:00 GMT => hit | status 304
9.5 Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: Wed Jan  1 12:05:00 2031 => hit | status 304
9.5 Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: lately => hit | status 200
9.5 Cache-Control: max-age=10 | Date: {-5} => GET | If-Modified-Since: {-5} => hit | status 304
9.5 Cache-Control: max-age=10 | Date: {-5} => GET | If-Modified-Since: {-6} => hit | status 200
9.5 404 | Cache-Control: max-age=10 | Last-Modified: {-60} => GET | If-Modified-Since: {-60} => hit | status 404
"#,
    );
}

#[test]
fn a_stale_response_is_validated_before_a_304() {
    stories(
        r#"
9.6 unmodified
    GET
        <- 200 | Cache-Control: max-age=10 | Last-Modified: {-60}
    +10 GET | If-Modified-Since: {-60}
        -> If-Modified-Since: {-60}
        <- 304
        == status 304
9.6 unmodified, though the client's date is another
    GET
        <- 200 | Cache-Control: max-age=10 | Last-Modified: {-60}
    +10 GET | If-Modified-Since: {-30}
        -> If-Modified-Since: {-60}
        <- 304
        == status 304
9.6 modified
    GET
        <- 200 | Cache-Control: max-age=10 | Last-Modified: {-60}
    +10 GET | If-Modified-Since: {-60}
        -> If-Modified-Since: {-60}
        <- 200 | Cache-Control: max-age=10 | Last-Modified: {-1}
"#,
    );
}

#[test]
fn malformed_tags_are_relayed_and_equal_only_themselves() {
    lines(
        r#"
9.7 Cache-Control: max-age=10 | ETag: a => GET | If-None-Match: a => hit | status 304 | ETag: a
9.7 Cache-Control: max-age=10 | ETag: a => GET | If-None-Match: "a" => hit | status 200 | ETag: a
9.7 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: a => hit | status 200
9.7 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: w/"a" => hit | status 200
9.7 Cache-Control: max-age=10 | ETag: "a" => GET | If-None-Match: W\"a" => hit | status 200
9.7 Cache-Control: max-age=10 | ETag: w/"a" => GET | If-None-Match: "a" => hit | status 200 | ETag: w/"a"
9.7 Cache-Control: max-age=10 | ETag: W/a => +10 validated | ETag: W/a
"#,
    );
    stories(
        r#"
9.7 sent back as it came
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: unquoted
    +10 GET
        -> If-None-Match: unquoted
        <- 304
9.7 with nothing stored the client's condition passes, right or wrong
    GET | If-None-Match: "a", W\"b", c
        -> If-None-Match: "a", W\"b", c
        <- 304 | ETag: "a"
        == status 304
    GET
        -> !If-None-Match
        <- 200
"#,
    );
}

#[test]
fn a_head_goes_up_as_head_and_freshens_what_agrees() {
    stories(
        r#"
9.8 it agrees
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a" | X: old
    +10 HEAD
        -> method HEAD
        <- 200 | Cache-Control: max-age=100 | ETag: "a" | X: new
        == status 200 | X: new | Content-Length: 8
    +50 GET
        == hit 50 | status 200 | body answer 1 | X: new
9.8 the length is another
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a"
    +10 HEAD
        -> method HEAD
        <- 200 | Cache-Control: max-age=100 | ETag: "a" | Content-Length: 9
        == status 200 | Content-Length: 9
    GET
        <- 200
9.8 the tag is another
    GET
        <- 200 | Cache-Control: max-age=10 | ETag: "a"
    +10 HEAD
        <- 200 | Cache-Control: max-age=100 | ETag: "b"
    GET
        <- 200
9.8 a HEAD alone stores nothing
    HEAD
        -> method HEAD
        <- 200 | Cache-Control: max-age=100
    GET
        <- 200
"#,
    );
}
