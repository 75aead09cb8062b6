//! Section 13.1: ranges of what is stored whole (RFC 9110, 14).

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
