//! Section 13: stored parts and what comes to them: what may be put together, and what it is then.

use std::sync::Arc;

use larder_policy::{
    Combination, Exchange, Held, NotStored, Part, RequestFacts, ReuseFacts, Runs, StoredResponse, combine,
    displaces, freshen, missing_for,
};

use crate::kit::{at, decide, lines, message, method, response_message, store, target};
use crate::parts::{facts, part, runs, settings};

/// What comes of a stored part and a response to a GET for what is missing, or to another GET.
fn combined(stored: &StoredResponse, response: &str) -> Option<Combination> {
    let part = stored.facts().part().unwrap();
    combined_with(stored, &Runs::of(part.first()..part.last() + 1), None, response)
}

fn combined_with(
    stored: &StoredResponse,
    runs: &Runs,
    missing_of: Option<&str>,
    response: &str,
) -> Option<Combination> {
    let (request, facts) = facts(missing_of.unwrap_or("GET"));
    let missing = missing_of
        .map(|_| missing_for(&facts, &request, stored, &Held::Runs(Arc::new(runs.clone()))).unwrap());
    let response = response_message(response);
    let target = target();
    combine(
        &settings(),
        stored,
        runs,
        missing.as_ref(),
        &Exchange {
            facts: &facts,
            target: &target,
            request: &request,
            status: response.first.parse().unwrap(),
            response: &response.fields,
            request_time: at(5000),
            response_time: at(5000),
            framing_sound: true,
        },
        None,
    )
}

/// As `STATUS LENGTH CONTENT-RANGE: range`.
fn told(combination: Option<Combination>) -> String {
    let Some(combination) = combination else { return "-".to_owned() };
    let response = &combination.response;
    format!(
        "{} {} {}: {}..{}",
        response.status().as_u16(),
        lines(response.fields(), "content-length"),
        lines(response.fields(), "content-range"),
        combination.range.start,
        combination.range.end
    )
}

#[test]
fn parts_of_one_representation_become_one() {
    for (stored, received, expected) in [
        ("0-4/10", "5-9/10", "200 10 -: 5..10"),
        ("5-9/10", "0-4/10", "200 10 -: 0..5"),
        ("0-4/*", "5-9/10", "200 10 -: 5..10"),
        ("0-4/10", "5-9/*", "200 10 -: 5..10"),
        ("0-4/*", "5-9/*", "206 - bytes 0-9/*: 5..10"),
        ("0-4/20", "5-9/20", "206 - bytes 0-9/20: 5..10"),
        ("0-4/20", "3-9/20", "206 - bytes 0-9/20: 3..10"),
        ("4-9/20", "2-5/20", "206 - bytes 2-9/20: 2..6"),
        ("3-5/10", "0-9/10", "200 10 -: 0..10"),
        // Far apart, they are kept together all the same.
        ("0-4/20", "6-9/20", "206 - bytes 0-9/20: 6..10"),
        ("6-9/20", "0-4/20", "206 - bytes 0-9/20: 0..5"),
        ("0-4/10", "5-9/11", "-"),
        ("6-9/*", "0-4/8", "-"),
    ] {
        let stored = part(stored, " | ETag: \"a\"");
        let response = format!("206 | ETag: \"a\" | Content-Range: bytes {received}");
        assert_eq!(told(combined(&stored, &response)), expected, "9110 15.3.7.3: {stored:?} and {received}");
    }
}

/// The client gets what it wants once the gaps are filled, of which this is the answer for the first.
#[test]
fn what_is_missing_and_what_is_here_are_what_is_wanted() {
    const FAR: &str = "0-99999 200000-299999";
    for (request, received, expected) in [
        ("GET", "100000-199999/400000", "200 400000 -: 0..400000"),
        ("GET", "90000-99999/400000", "-"),
        ("GET", "200000-299999/400000", "-"),
        ("GET", "100000-150000/400000", "200 400000 -: 0..400000"),
        (
            "GET | Range: bytes=50000-149999",
            "100000-149999/400000",
            "206 - bytes 0-299999/400000: 50000..150000",
        ),
        ("GET | Range: bytes=50000-", "100000-149999/400000", "200 400000 -: 50000..400000"),
    ] {
        let stored = part("0-299999/400000", " | ETag: \"a\"");
        let response = format!("206 | ETag: \"a\" | Content-Range: bytes {received}");
        let outcome = told(combined_with(&stored, &runs(FAR), Some(request), &response));
        assert_eq!(outcome, expected, "{request} and {received}");
    }
    let open = part("0-4/*", " | ETag: \"a\"");
    let outcome = |received: &str| {
        let response = format!("206 | ETag: \"a\" | Content-Range: bytes {received}");
        told(combined_with(&open, &runs("0-4"), Some("GET"), &response))
    };
    assert_eq!(outcome("5-9/10"), "200 10 -: 0..10");
    assert_eq!(outcome("5-9/*"), "-", "nobody knows where it ends");
}

#[test]
fn a_response_speaks_of_what_is_held() {
    let whole = crate::kit::stored("200 | Cache-Control: max-age=9 | ETag: \"a\" | Content-Length: 10");
    assert!(whole.can_be_resumed() && whole.can_grow().is_none());
    let cut = whole.holding(&runs("0-3"), Some(10)).unwrap();
    assert_eq!((cut.status().as_u16(), lines(cut.fields(), "content-range")), (206, "bytes 0-3/10".into()));
    assert_eq!(
        (cut.can_grow(), lines(cut.fields(), "content-length")),
        (Part::new(0, 3, Some(10)), "-".into())
    );
    let again = cut.holding(&runs("0-9"), Some(10)).unwrap();
    assert_eq!((again.status().as_u16(), lines(again.fields(), "content-length")), (200, "10".into()));
    assert_eq!((again.facts().part(), lines(again.fields(), "content-range")), (None, "-".into()));
    assert_eq!(whole.holding(&Runs::new(), Some(10)), None);
    for no in ["ETag: W/\"a\"", "X: y", "ETag: \"a\" | Accept-Ranges: none"] {
        let response = crate::kit::stored(&format!("200 | Cache-Control: max-age=9 | {no}"));
        assert!(!response.can_be_resumed(), "{no}");
    }
}

#[test]
fn only_a_strong_validator_joins_parts() {
    for (section, stored, received, joins) in [
        ("15.3.7.3", "ETag: \"a\"", "ETag: \"a\"", true),
        ("8.8.3.2", "ETag: \"a\"", "ETag: \"b\"", false),
        ("8.8.3.2", "ETag: W/\"a\"", "ETag: W/\"a\"", false),
        ("8.8.3.2", "ETag: W/\"a\"", "ETag: \"a\"", false),
        ("8.8.3.2", "ETag: a", "ETag: a", false),
        ("15.3.7.3", "X: y", "X: y", false),
        ("15.3.7.3", "ETag: \"a\"", "X: y", false),
        ("15.3.7.3", "X: y", "ETag: \"a\"", false),
        ("8.8.2.2", "Last-Modified: {-60}", "Last-Modified: {-60}", true),
        ("8.8.2.2", "Last-Modified: {-60}", "Last-Modified: {-59}", false),
        ("8.8.2.2", "Last-Modified: {+0}", "Last-Modified: {+0} | Date: {+5}", false),
        ("8.8.2.2", "Last-Modified: {-9} | Date: {-9}", "Last-Modified: {-9}", false),
        ("8.8.2.2", "Last-Modified: {-9}", "Last-Modified: {-9} | Date: {-9}", false),
        ("15.3.7.3", "ETag: \"a\" | Last-Modified: {-60}", "ETag: \"b\" | Last-Modified: {-60}", false),
        ("15.3.7.3", "ETag: \"a\" | Last-Modified: {-60}", "Last-Modified: {-60}", false),
    ] {
        let old = part("0-4/10", &format!(" | {stored}"));
        let response = format!("206 | Content-Range: bytes 5-9/10 | {received}");
        assert_eq!(combined(&old, &response).is_some(), joins, "9110 {section}: {stored} and {received}");
    }
}

#[test]
fn what_is_no_sound_206_is_not_combined() {
    let stored = part("0-4/10", " | ETag: \"a\"");
    for response in [
        "200 | ETag: \"a\" | Content-Range: bytes 5-9/10",
        "206 | ETag: \"a\"",
        "206 | ETag: \"a\" | Content-Range: bytes 5-9/10 | Content-Length: 4",
        "206 | ETag: \"a\" | Content-Range: bytes 5-9/10 | Content-Type: multipart/byteranges",
    ] {
        assert_eq!(combined(&stored, response), None, "{response}");
    }
    let vary = part("0-4/10", " | ETag: \"a\" | Vary: Range");
    assert_eq!(combined(&vary, "206 | ETag: \"a\" | Content-Range: bytes 5-9/10"), None, "9111 4.1");
    let other = "206 | ETag: \"a\" | Content-Range: bytes 5-9/10 | Vary: X";
    assert_eq!(combined(&stored, other), None, "it would be another variant");
}

/// RFC 9111, 3.4 and 3.2: newer fields replace older ones, the rest stays.
#[test]
fn the_fields_of_a_combination() {
    let stored = part("0-4/10", " | ETag: \"a\" | X: old | Y: old | Content-Length: 5 | Age: 7");
    let response = "206 | ETag: \"a\" | Content-Range: bytes 5-9/10 | Content-Length: 5 | X: new | Date: {+5} | \
                    Cache-Control: max-age=100 | Connection: x-hop | X-Hop: 1";
    let Combination { response, keep, .. } = combined(&stored, response).unwrap();
    assert_eq!(keep, Ok(()));
    for (name, value) in [
        ("x", "new"),
        ("y", "old"),
        ("content-length", "10"),
        ("content-range", "-"),
        ("cache-control", "max-age=100"),
        ("date", "Sun, 01 Jun 2025 12:00:05 GMT"),
        ("x-hop", "-"),
        ("age", "-"),
    ] {
        assert_eq!(lines(response.fields(), name), value, "{name}");
    }
    assert_eq!(response.facts().part(), None);
    assert_eq!(decide(&[response], "GET", at(104_000)), "hit 99");
}

#[test]
fn a_combination_that_may_not_be_stored_says_so() {
    let stored = part("0-4/10", " | ETag: \"a\"");
    let response = "206 | ETag: \"a\" | Content-Range: bytes 5-9/10 | Cache-Control: no-store";
    assert_eq!(combined(&stored, response).unwrap().keep, Err(NotStored::NoStore));
}

/// 9.2: a 304 leaves a part what it is.
#[test]
fn a_part_is_freshened() {
    let stored = part("0-4/10", " | ETag: \"a\"");
    let request = message("GET | Range: bytes=1-2");
    let response = response_message("304 | ETag: \"a\" | Content-Range: bytes 0-9/10 | Date: {+70}");
    let target = target();
    let exchange = Exchange {
        facts: &RequestFacts::of(&method(&request), &request.fields),
        target: &target,
        request: &request.fields,
        status: crate::kit::status(304),
        response: &response.fields,
        request_time: at(70_000),
        response_time: at(70_000),
        framing_sound: true,
    };
    let after = freshen(&settings(), &stored, &exchange, None).unwrap().response;
    assert_eq!((after.status().as_u16(), after.facts().part()), (206, stored.facts().part()));
    assert_eq!(lines(after.fields(), "content-range"), "bytes 0-4/10");
    assert_eq!(decide(&[after], "GET | Range: bytes=1-2", at(71_000)), "hit 1");
}

#[test]
fn a_part_does_not_displace_the_whole_it_belongs_to() {
    let whole = |more: &str| {
        store(&settings(), "GET", &format!("200 | Cache-Control: max-age=9 | {more}"), None).unwrap()
    };
    let piece = |more: &str| part("0-4/10", &format!(" | {more}"));
    assert!(displaces(&whole("X: y"), &piece("X: y")));
    assert!(displaces(&whole("X: y"), &whole("X: y")));
    assert!(displaces(&piece("X: y"), &piece("X: y")));
    assert!(!displaces(&piece("X: y"), &whole("X: y")));
    assert!(!displaces(&piece("ETag: \"a\""), &whole("ETag: W/\"a\"")));
    assert!(displaces(&piece("ETag: \"b\""), &whole("ETag: \"a\"")));
    assert!(displaces(&piece("Last-Modified: {-5}"), &whole("Last-Modified: {-9}")));
}

#[test]
fn the_first_version_of_the_facts_is_still_read() {
    let plain = *crate::kit::stored("200 | Cache-Control: max-age=9 | ETag: \"a\"").facts();
    let bytes = plain.to_bytes();
    assert_eq!((bytes.len(), bytes[0]), (ReuseFacts::ENCODED_LEN, 1));
    let facts = *part("4-9/10", "").facts();
    let bytes = facts.to_bytes();
    assert_eq!((bytes.len(), bytes[0]), (ReuseFacts::LONGEST_ENCODED_LEN, 2));
    assert_eq!(ReuseFacts::from_bytes(&bytes).unwrap().part(), Part::new(4, 9, Some(10)));
    for length in 0..bytes.len() {
        assert_eq!(ReuseFacts::from_bytes(&bytes[..length]), None);
    }
}
