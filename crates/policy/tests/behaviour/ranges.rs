//! Section 13: ranges of a stored 200.

use larder_policy::{RangePlan, RequestFacts, range_plan};

use crate::kit::{message, method, stored};

const STORED: &str = "200 | Cache-Control: max-age=9 | ETag: \"a\" | Last-Modified: {-60}";

fn plan(response: &str, request: &str, length: u64) -> String {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    match range_plan(&facts, &request.fields, &stored(response), length) {
        RangePlan::Whole => "whole".to_owned(),
        RangePlan::Single(range) => format!("{}..{}", range.start, range.end),
        RangePlan::Multiple(ranges) => {
            let ranges: Vec<_> =
                ranges.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
            ranges.join(" ")
        }
        RangePlan::Unsatisfiable => "unsatisfiable".to_owned(),
    }
}

#[test]
fn byte_ranges() {
    for (range, expected) in [
        ("bytes=0-4", "0..5"),
        ("bytes=5-", "5..10"),
        ("bytes=-3", "7..10"),
        ("bytes=-30", "0..10"),
        ("bytes=9-99", "9..10"),
        ("bytes=0-0", "0..1"),
        ("Bytes=2-3", "2..4"),
        ("bytes=0-1, 4-5", "0..2 4..6"),
        ("bytes=4-5,-1,0-1", "4..6 9..10 0..2"),
        ("bytes=0-1,99-", "0..2"),
        ("bytes=10-", "unsatisfiable"),
        ("bytes=-0", "unsatisfiable"),
        ("bytes=10-12, 99-", "unsatisfiable"),
        ("bytes=99999999999999999999999-", "unsatisfiable"),
        ("bytes=0-99999999999999999999999", "0..10"),
        ("bytes=0-4,4-5", "whole"),
        ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,99-", "whole"),
        ("bytes=4-3", "whole"),
        ("bytes=0-1,4-3", "whole"),
        ("bytes=", "whole"),
        ("bytes=-", "whole"),
        ("bytes=a-b", "whole"),
        ("bytes=+1-2", "whole"),
        ("bytes=0 - 1", "whole"),
        ("bytes 0-1", "whole"),
        ("chars=0-1", "whole"),
        ("bytes=0-1-2", "whole"),
    ] {
        assert_eq!(plan(STORED, &format!("GET | Range: {range}"), 10), expected, "13.1: {range}");
    }
}

#[test]
fn an_empty_body_has_no_range() {
    assert_eq!(plan(STORED, "GET | Range: bytes=0-", 0), "unsatisfiable");
    assert_eq!(plan(STORED, "GET | Range: bytes=-1", 0), "whole");
}

/// RFC 9110, 14.2.
#[test]
fn range_is_for_a_get_that_a_200_answers() {
    assert_eq!(plan(STORED, "HEAD | Range: bytes=0-1", 10), "whole");
    assert_eq!(plan(STORED, "GET", 10), "whole");
    assert_eq!(plan("404 | Cache-Control: max-age=9", "GET | Range: bytes=0-1", 10), "whole");
    assert_eq!(plan(STORED, "GET | Range: bytes=0-1 | Range: bytes=2-3", 10), "whole");
}

/// RFC 9110, 13.1.5.
#[test]
fn if_range_needs_a_strong_validator() {
    for (response, condition, honoured) in [
        (STORED, "\"a\"", true),
        (STORED, "\"b\"", false),
        (STORED, "W/\"a\"", false),
        ("200 | ETag: W/\"a\"", "W/\"a\"", false),
        (STORED, "{-60}", true),
        (STORED, "{-59}", false),
        (STORED, "{-61}", false),
        ("200 | Last-Modified: {+0}", "{+0}", false),
        ("200 | Cache-Control: max-age=9", "{-60}", false),
        ("200 | Cache-Control: max-age=9", "\"a\"", false),
    ] {
        let expected = if honoured { "0..2" } else { "whole" };
        let request = format!("GET | Range: bytes=0-1 | If-Range: {condition}");
        assert_eq!(plan(response, &request, 10), expected, "{condition} on {response}");
    }
}
