//! Section 13: ranges of what is stored, whole or in part (RFC 9110, 14; RFC 9111, 3.3 and 3.4).

use super::bench::stories;

#[test]
fn a_stored_response_answers_ranges_with_its_other_fields() {
    stories(
        r#"
13.1 both ends, an open end, the last bytes
    GET
        <- 200 | Cache-Control: max-age=60 | ETag: "a" | Content-Type: a/b | X: 1 | Expires: {+9} | body 0123456789
    +3 GET | Range: bytes=2-4
        == hit 3 | status 206 | body 234 | Content-Range: bytes 2-4/10 | Content-Length: 3 | ETag: "a" | Content-Type: a/b | X: 1 | Expires: {+9} | Date: {+0}
    GET | Range: bytes=7-
        == hit | status 206 | body 789 | Content-Range: bytes 7-9/10 | Content-Length: 3 | X: 1
    GET | Range: bytes=-2
        == hit | status 206 | body 89 | Content-Range: bytes 8-9/10 | Content-Length: 2 | X: 1
    GET | Range: bytes=5-999
        == hit | status 206 | body 56789 | Content-Range: bytes 5-9/10
    GET | Range: bytes=10-
        == hit | status 416 | Content-Range: bytes */10
    GET | Range: lines=1-2
        == hit | status 200 | body 0123456789 | !Content-Range
    HEAD | Range: bytes=2-4
        == hit | status 200 | Content-Length: 10 | !Content-Range
13.1 a condition goes first
    GET
        <- 200 | Cache-Control: max-age=60 | ETag: "a" | body 0123456789
    GET | Range: bytes=2-4 | If-None-Match: "a"
        == hit | status 304
    GET | Range: bytes=2-4 | If-Range: "a"
        == hit | status 206 | body 234
    GET | Range: bytes=2-4 | If-Range: "b"
        == hit | status 200 | body 0123456789
13.1 once stale, the range is cut from what was validated
    GET
        <- 200 | Cache-Control: max-age=60 | ETag: "a" | body 0123456789
    +60 GET | Range: bytes=2-4
        -> If-None-Match: "a" | !Range
        <- 304
        == status 206 | body 234 | Content-Range: bytes 2-4/10
"#,
    );
}

#[test]
fn a_part_answers_what_it_holds() {
    stories(
        r#"
13.2 the same range, smaller ones, and nothing without Range
    GET | Range: bytes=2-6
        -> Range: bytes=2-6
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 2-6/10 | ETag: W/"a" | X: 1 | body 23456
    +3 GET | Range: bytes=2-6
        == hit 3 | status 206 | body 23456 | Content-Range: bytes 2-6/10 | Content-Length: 5 | X: 1
    GET | Range: bytes=3-4
        == hit | status 206 | body 34 | Content-Range: bytes 3-4/10 | Content-Length: 2 | X: 1
    GET | Range: bytes=6-6
        == hit | status 206 | body 6 | Content-Range: bytes 6-6/10
    GET
        -> !Range
        <- 200 | Cache-Control: no-store | body 0123456789
13.2 a part at the end answers open ends and last bytes
    GET | Range: bytes=5-
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 5-9/10 | body 56789
    GET | Range: bytes=5-
        == hit | status 206 | body 56789 | Content-Range: bytes 5-9/10
    GET | Range: bytes=7-
        == hit | status 206 | body 789 | Content-Range: bytes 7-9/10
    GET | Range: bytes=-2
        == hit | status 206 | body 89 | Content-Range: bytes 8-9/10
13.2 its end is the end of what came, whatever was announced
    GET | Range: bytes=5-
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 5-9/10 | body 567
    GET | Range: bytes=6-
        == hit | status 206 | body 67
    GET | Range: bytes=-2
        == hit | status 206 | body 67
13.2 a heuristic does where a strong validator ties the part to the whole
    GET | Range: bytes=0-4
        <- 206 | Last-Modified: {-1000} | Content-Range: bytes 0-4/10 | body 01234
    GET | Range: bytes=1-2
        == hit | status 206 | body 12
13.2 not without freshness, nor with a guess and a weak validator, and not once stale
    GET | Range: bytes=0-4
        <- 206 | ETag: "a" | Content-Range: bytes 0-4/10 | body 01234
    GET | Range: bytes=0-4
        <- 206 | ETag: W/"a" | Last-Modified: {-1000} | Content-Range: bytes 0-4/10 | body 01234
    GET | Range: bytes=0-4
        <- 206 | Cache-Control: max-age=10 | Content-Range: bytes 0-4/10 | body 01234
    +10 GET | Range: bytes=0-4
        <- 206 | Cache-Control: max-age=10 | Content-Range: bytes 0-4/10 | body 01234
"#,
    );
}

#[test]
fn a_part_is_completed_under_a_strong_validator_only() {
    stories(
        r#"
13.3 the rest is asked for, and both are one
    GET | Range: bytes=0-4
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 0-4/10 | ETag: "a" | body 01234
    GET
        -> Range: bytes=5- | If-Range: "a"
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 5-9/10 | ETag: "a" | body 56789
        == status 200 | body 0123456789 | Content-Length: 10 | !Content-Range
    GET
        == hit | status 200 | body 0123456789 | !Content-Range
    GET | Range: bytes=4-5
        == hit | status 206 | body 45
13.3 what has changed comes whole
    GET | Range: bytes=0-4
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 0-4/10 | ETag: "a" | body 01234
    GET
        -> Range: bytes=5- | If-Range: "a"
        <- 200 | Cache-Control: max-age=60 | ETag: "b" | body abcdefghij
    GET
        == hit | ETag: "b"
13.3 without a strong validator a 206 is not joined: all is fetched again
    GET | Range: bytes=0-4
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 0-4/10 | ETag: W/"a" | body 01234
    GET
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 5-9/10 | ETag: W/"a" | body 56789
        -> !Range | !If-Range
        <- 200 | Cache-Control: max-age=60 | ETag: W/"a" | body 0123456789
    GET
        == hit
13.3 and a 200 is the answer
    GET | Range: bytes=0-4
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 0-4/10 | body 01234
    GET
        -> Range: bytes=5- | !If-Range
        <- 200 | Cache-Control: max-age=60 | body abcdefghij
    GET
        == hit
13.3 a 206 of another representation is not joined either
    GET | Range: bytes=0-4
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 0-4/10 | ETag: "a" | body 01234
    GET
        <- 206 | Cache-Control: max-age=60 | Content-Range: bytes 5-9/10 | ETag: "b" | body 56789
        -> !Range | !If-Range
        <- 200 | Cache-Control: max-age=60 | ETag: "b" | body abcdefghij
    GET
        == hit | ETag: "b"
"#,
    );
}
