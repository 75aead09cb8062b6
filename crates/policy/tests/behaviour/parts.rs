//! Section 13: stored parts; what they answer, and what is missing of them.

use std::sync::Arc;

use larder_policy::{
    Candidate, Decision, Held, NotStored, PartPlan, PolicySettings, RequestFacts, Runs, StoredResponse,
    missing_for, part_plan, reuse,
};

use crate::kit::{at, decide, lines, message, method, store};

pub(crate) fn settings() -> PolicySettings {
    PolicySettings { store_parts: true, ..PolicySettings::default() }
}

fn try_part(request: &str, response: &str) -> Result<StoredResponse, NotStored> {
    store(&settings(), request, response, None)
}

/// A part with these fields, fresh for a minute.
pub(crate) fn part(range: &str, more: &str) -> StoredResponse {
    let response = format!("206 | Cache-Control: max-age=60 | Content-Range: bytes {range}{more}");
    try_part("GET | Range: bytes=0-", &response).unwrap()
}

pub(crate) fn facts(request: &str) -> (larder_policy::Fields, RequestFacts) {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    (request.fields, facts)
}

fn planned(stored: &StoredResponse, request: &str, length: u64) -> String {
    plan_of(stored, request, &Held::Body(length))
}

/// Runs as `0-4 7-9`.
pub(crate) fn runs(text: &str) -> Runs {
    let mut runs = Runs::new();
    for run in text.split(' ') {
        let (first, last) = run.split_once('-').unwrap();
        runs.insert(first.parse().unwrap()..last.parse::<u64>().unwrap() + 1);
    }
    runs
}

fn plan_of(stored: &StoredResponse, request: &str, held: &Held) -> String {
    let (request, facts) = facts(request);
    match part_plan(&facts, &request, stored, held) {
        PartPlan::Serve { body, content_range } => {
            assert_eq!(body.end - body.start, content_range.len());
            let complete = content_range.complete_length().map_or("*".into(), |length| length.to_string());
            format!(
                "{}..{} {}-{}/{complete}",
                body.start,
                body.end,
                content_range.first(),
                content_range.last()
            )
        }
        PartPlan::Missing => "missing".to_owned(),
        PartPlan::Unsatisfiable { complete_length } => format!("unsatisfiable {complete_length}"),
    }
}

#[test]
fn what_206_is_stored() {
    const MAX_AGE: &str = "Cache-Control: max-age=9";
    for (section, request, response, expected) in [
        ("13.2", "GET | Range: bytes=0-4", "206 | {} | Content-Range: bytes 0-4/10", Ok("206 0-4")),
        ("13.2", "GET | Range: bytes=0-4", "206 | {} | Content-Range: bytes 0-4/*", Ok("206 0-4")),
        ("13.2", "GET", "206 | Expires: {+9} | Content-Range: bytes 4-9/10", Ok("206 4-9")),
        (
            "9110 15.3.7.3",
            "GET",
            "206 | {} | Content-Range: bytes 0-9/10 | Content-Length: 10",
            Ok("200 whole"),
        ),
        ("13.2", "GET", "206 | {} | Content-Range: bytes 0-9/10", Ok("206 0-9")),
        ("13.2", "GET", "206 | {} | Content-Range: bytes 0-9/10 | Content-Length: 9", Ok("206 0-9")),
        ("13.2", "GET", "206 | {}", Err(NotStored::Partial)),
        ("13.2", "GET", "206 | {} | Content-Range: bytes 4-0/10", Err(NotStored::Partial)),
        ("13.2", "GET", "206 | {} | Content-Range: pages 0-4/10", Err(NotStored::Partial)),
        (
            "9110 15.3.7.2",
            "GET",
            "206 | {} | Content-Type: multipart/byteranges; boundary=a",
            Err(NotStored::Partial),
        ),
        (
            "9110 15.3.7.2",
            "GET",
            "206 | {} | Content-Type: Multipart/Byteranges | Content-Range: bytes 0-4/10",
            Err(NotStored::Partial),
        ),
        (
            "9110 14.4",
            "GET",
            "206 | {} | Content-Range: bytes 0-4/10 | Content-Range: bytes 5-9/10",
            Err(NotStored::Partial),
        ),
        ("13.2", "GET", "206 | Content-Range: bytes 0-4/10 | ETag: \"a\"", Err(NotStored::NoFreshness)),
        ("13.2", "GET", "206 | Content-Range: bytes 0-4/10 | Last-Modified: {-999}", Ok("206 0-4")),
        (
            "13.2",
            "GET",
            "206 | Content-Range: bytes 0-4/10 | ETag: \"a\" | Last-Modified: {-999}",
            Ok("206 0-4"),
        ),
        (
            "9110 8.8.3.2",
            "GET",
            "206 | Content-Range: bytes 0-4/10 | ETag: W/\"a\" | Last-Modified: {-999}",
            Err(NotStored::NoFreshness),
        ),
        ("5.1", "GET", "206 | {}, no-store | Content-Range: bytes 0-4/10", Err(NotStored::NoStore)),
        ("5.1", "GET", "206 | {}, private | Content-Range: bytes 0-4/10", Err(NotStored::Private)),
        (
            "14.1",
            "GET | Authorization: a",
            "206 | {} | Content-Range: bytes 0-4/10",
            Err(NotStored::Authorization),
        ),
        ("13.2", "POST", "206 | {} | Content-Range: bytes 0-4/10", Err(NotStored::Partial)),
        ("13.2", "HEAD", "206 | {} | Content-Range: bytes 0-4/10", Err(NotStored::Method)),
        ("5.6", "GET", "206 | {}, must-understand, no-store | Content-Range: bytes 0-4/10", Ok("206 0-4")),
    ] {
        let response = response.replace("{}", MAX_AGE);
        let outcome = try_part(request, &response).map(|stored| {
            let range = stored.facts().part();
            let range = range.map_or("whole".to_owned(), |part| format!("{}-{}", part.first(), part.last()));
            format!("{} {range}", stored.status().as_u16())
        });
        assert_eq!(outcome, expected.map(str::to_owned), "{section}: {request} -> {response}");
    }
    let off = store(&PolicySettings::default(), "GET", "206 | Content-Range: bytes 0-4/10", None);
    assert_eq!(off, Err(NotStored::Partial));
}

/// 9110 15.3.7.3: a 206 that holds all is kept as the 200 that it is.
#[test]
fn a_whole_206_loses_its_range() {
    let response = "206 | Cache-Control: max-age=9 | Content-Range: bytes 0-9/10 | Content-Length: 10 | X: y";
    let stored = try_part("GET | Range: bytes=0-", response).unwrap();
    assert_eq!(lines(stored.fields(), "content-range"), "-");
    assert_eq!(
        (lines(stored.fields(), "content-length"), lines(stored.fields(), "x")),
        ("10".into(), "y".into())
    );
    assert_eq!(decide(&[stored], "GET", at(0)), "hit 0");
}

#[test]
fn a_part_answers_what_it_holds() {
    for (stored, length, range, expected) in [
        // The very same, and less of it.
        ("4-9/10", 6, "4-9", "0..6 4-9/10"),
        ("4-9/10", 6, "6-8", "2..5 6-8/10"),
        ("4-9/10", 6, "4-4", "0..1 4-4/10"),
        ("4-9/10", 6, "6-", "2..6 6-9/10"),
        ("4-9/10", 6, "-5", "1..6 5-9/10"),
        ("4-9/10", 6, "-6", "0..6 4-9/10"),
        ("4-9/10", 6, "-1", "5..6 9-9/10"),
        ("4-9/10", 6, "6-99", "2..6 6-9/10"),
        // More than it holds.
        ("4-9/10", 6, "3-9", "missing"),
        ("4-9/10", 6, "0-", "missing"),
        ("4-9/10", 6, "-7", "missing"),
        ("4-9/10", 6, "-99", "missing"),
        ("4-6/10", 3, "4-7", "missing"),
        ("4-6/10", 3, "4-", "missing"),
        ("4-6/10", 3, "-2", "missing"),
        ("4-6/10", 3, "5-6", "1..3 5-6/10"),
        // What nobody holds.
        ("4-9/10", 6, "10-", "unsatisfiable 10"),
        ("4-9/10", 6, "10-12", "unsatisfiable 10"),
        ("4-9/10", 6, "-0", "unsatisfiable 10"),
        // An unknown length.
        ("4-9/*", 6, "5-8", "1..5 5-8/*"),
        ("4-9/*", 6, "5-", "missing"),
        ("4-9/*", 6, "-2", "missing"),
        ("4-9/*", 6, "-0", "missing"),
        ("4-9/*", 6, "99-", "missing"),
        // A body shorter than announced ends where the representation does, if the part reaches that.
        ("4-9/10", 5, "-5", "0..5 4-8/10"),
        ("4-9/10", 5, "-1", "4..5 8-8/10"),
        ("4-9/10", 5, "6-", "2..5 6-8/10"),
        ("4-9/10", 5, "6-8", "2..5 6-8/10"),
        ("4-9/10", 5, "6-9", "2..5 6-8/10"),
        ("4-9/10", 5, "9-", "missing"),
        ("4-9/10", 0, "4-", "missing"),
        ("0-4/10", 3, "0-2", "0..3 0-2/10"),
        ("0-4/10", 3, "0-3", "missing"),
        // A body longer than announced is cut.
        ("0-4/10", 9, "0-6", "missing"),
        ("4-9/10", 99, "4-", "0..6 4-9/10"),
        // A part that is all of it.
        ("0-9/10", 10, "-99", "0..10 0-9/10"),
        ("0-9/10", 10, "0-", "0..10 0-9/10"),
    ] {
        let request = format!("GET | Range: bytes={range}");
        assert_eq!(planned(&part(stored, ""), &request, length), expected, "13.2: {range} of {stored}");
    }
}

#[test]
fn a_part_answers_one_range_of_a_get_and_nothing_else() {
    let stored = part("0-9/20", " | ETag: \"a\"");
    for (section, request, expected) in [
        ("13.2", "GET | Range: bytes=1-2", "1..3 1-2/20"),
        ("13.2", "GET", "missing"),
        ("9110 14.2", "HEAD | Range: bytes=1-2", "missing"),
        ("9110 14.2", "GET | Range: bytes=1-2,4-5", "missing"),
        ("9110 14.2", "GET | Range: bytes=2-1", "missing"),
        ("9110 14.2", "GET | Range: pages=1-2", "missing"),
        ("9110 14.2", "GET | Range: bytes=1-2 | Range: bytes=1-2", "missing"),
        ("9110 13.1.5", "GET | Range: bytes=1-2 | If-Range: \"a\"", "1..3 1-2/20"),
        ("9110 13.1.5", "GET | Range: bytes=1-2 | If-Range: \"b\"", "missing"),
        ("9110 13.1.5", "GET | Range: bytes=1-2 | If-Range: W/\"a\"", "missing"),
    ] {
        assert_eq!(planned(&stored, request, 10), expected, "{section}: {request}");
    }
    let whole = crate::kit::stored("200 | Cache-Control: max-age=9");
    assert_eq!(planned(&whole, "GET | Range: bytes=1-2", 10), "missing");
}

/// What may grow holds runs, and its body is read by their positions.
#[test]
fn a_part_with_holes_answers_from_one_run() {
    let stored = part("2-19/30", " | ETag: \"a\"");
    let held = Held::Runs(Arc::new(runs("2-4 10-19 25-29")));
    for (range, expected) in [
        ("2-4", "2..5 2-4/30"),
        ("3-3", "3..4 3-3/30"),
        ("4-5", "missing"),
        ("0-2", "missing"),
        ("5-9", "missing"),
        ("12-99", "missing"),
        ("12-19", "12..20 12-19/30"),
        ("26-", "26..30 26-29/30"),
        ("24-", "missing"),
        ("-5", "25..30 25-29/30"),
        ("-6", "missing"),
        ("30-", "unsatisfiable 30"),
        ("-0", "unsatisfiable 30"),
    ] {
        assert_eq!(plan_of(&stored, &format!("GET | Range: bytes={range}"), &held), expected, "{range}");
    }
    let (request, facts) = facts("GET | Range: bytes=26-27");
    let Held::Runs(held) = held else { unreachable!() };
    for (runs, serves) in [(Some(held), true), (None, false)] {
        let candidate = Candidate { response: &stored, runs };
        let decision = reuse(&facts, &request, [candidate], at(0)).decision;
        assert_eq!(matches!(decision, Decision::Serve { .. }), serves);
    }
}

#[test]
fn reuse_of_a_part() {
    let stored = [part("4-9/20", " | ETag: \"a\"")];
    for (section, seconds, request, expected) in [
        ("13.2", 3, "GET | Range: bytes=5-6", "hit 3"),
        ("13.2", 3, "GET | Range: bytes=20-", "hit 3"),
        ("13.2", 3, "GET", "forward partial"),
        ("13.2", 3, "HEAD", "forward partial"),
        ("13.2", 3, "GET | Range: bytes=0-6", "forward partial"),
        ("13.2", 3, "GET | Range: bytes=5-6 | If-Range: \"b\"", "forward partial"),
        ("13.2", 60, "GET | Range: bytes=5-6", "validate stale"),
        ("15", 3, "GET | Range: bytes=5-6 | Cache-Control: no-cache", "validate request"),
        ("15", 3, "GET | Cache-Control: only-if-cached", "504"),
        ("15", 3, "GET | Range: bytes=5-6 | Cache-Control: only-if-cached", "hit 3"),
    ] {
        assert_eq!(decide(&stored, request, at(seconds * 1000)), expected, "{section}: {request}");
    }
}

#[test]
fn the_part_that_may_be_completed_is_named() {
    let (request, facts) = facts("GET");
    let stored = [part("0-4/10", " | Date: {-9}"), part("5-9/10", "")];
    let selected = reuse(&facts, &request, &stored, at(0));
    assert_eq!(selected.index, Some(1));
    assert!(matches!(selected.decision, Decision::Forward { .. }));
}

/// RFC 9111, 4: the most recent of those that suit, and of two of one time the complete one.
#[test]
fn a_fresh_complete_response_goes_before_a_part() {
    let whole = |date: &str, age: &str| {
        let response = format!("200 | Cache-Control: max-age={age} | ETag: \"a\" | Date: {date}");
        store(&settings(), "GET", &response, None).unwrap()
    };
    let piece = |date: &str| part("0-9/20", &format!(" | Date: {date}"));
    let (request, facts) = facts("GET | Range: bytes=1-2");
    let full = message("GET").fields;
    let chosen = |stored: [StoredResponse; 2], seconds: i64| {
        let index = reuse(&facts, &request, &stored, at(seconds * 1000)).index.unwrap();
        let all = reuse(&RequestFacts::of(&http::Method::GET, &full), &full, &stored, at(seconds * 1000));
        assert_eq!(all.index, Some(0), "only the whole answers for the whole");
        if index == 0 { "whole" } else { "part" }
    };
    assert_eq!(chosen([whole("{+0}", "60"), piece("{+0}")], 0), "whole");
    assert_eq!(chosen([whole("{+0}", "60"), piece("{-5}")], 0), "whole");
    assert_eq!(chosen([whole("{-5}", "60"), piece("{+0}")], 0), "part");
    assert_eq!(chosen([whole("{-5}", "5"), piece("{-9}")], 0), "part", "the whole is stale");
    assert_eq!(chosen([whole("{-5}", "5"), piece("{+0}")], 99), "whole", "both are stale");
}

#[test]
fn what_to_ask_for_to_complete_a_part() {
    const TAG: &str = " | ETag: \"a\"";
    for (section, stored, more, request, expected) in [
        ("13.3", "0-4/10", TAG, "GET", "bytes=5- if \"a\""),
        ("13.3", "0-4/*", TAG, "GET", "bytes=5- if \"a\""),
        ("13.3", "0-4/10", "", "GET", "bytes=5- if -"),
        ("9110 13.1.5", "0-4/10", " | ETag: W/\"a\"", "GET", "bytes=5- if -"),
        ("9110 13.1.5", "0-4/10", " | ETag: W/\"a\" | Last-Modified: {-60}", "GET", "bytes=5- if -"),
        (
            "9110 13.1.5",
            "0-4/10",
            " | Last-Modified: {-60}",
            "GET",
            "bytes=5- if Sun, 01 Jun 2025 11:59:00 GMT",
        ),
        ("9110 8.8.2.2", "0-4/10", " | Last-Modified: {+0}", "GET", "bytes=5- if -"),
        ("13.3", "4-9/10", TAG, "GET", "bytes=0-3 if \"a\""),
        ("13.3", "4-6/10", TAG, "GET", "-"),
        ("13.3", "4-9/*", TAG, "GET", "-"),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=5-8", "bytes=7-8 if \"a\""),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=7-8", "-"),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=8-9", "-"),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=5-", "bytes=7- if \"a\""),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=2-5", "bytes=2-3 if \"a\""),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=2-3", "-"),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=1-2", "-"),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=2-8", "-"),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=-5", "bytes=7- if \"a\""),
        ("13.3", "4-6/*", TAG, "GET | Range: bytes=-5", "-"),
        ("13.3", "4-9/10", TAG, "GET | Range: bytes=-8", "bytes=2-3 if \"a\""),
        ("13.3", "4-6/10", TAG, "GET | Range: bytes=5-6", "-"),
        ("13.3", "0-9/10", TAG, "GET", "-"),
        ("13.3", "0-4/10", TAG, "HEAD", "-"),
        ("13.3", "0-4/10", TAG, "GET | Range: bytes=1-2,6-7", "-"),
        ("13.3", "0-4/10", TAG, "GET | Range: bytes=3-7 | If-Range: \"b\"", "-"),
        ("13.3", "0-4/10", TAG, "GET | If-None-Match: \"b\"", "-"),
        ("15", "0-4/10", TAG, "GET | Cache-Control: no-store", "-"),
    ] {
        let stored = part(stored, more);
        let (request, facts) = facts(request);
        let length = stored.facts().part().unwrap().len();
        let missing = missing_for(&facts, &request, &stored, &Held::Body(length));
        assert_eq!(asked(&request, missing), expected, "{section}: {request:?} with {more}");
        let short = missing_for(&facts, &request, &stored, &Held::Body(length - 1));
        assert_eq!(short, None, "a short body is no base");
    }
}

/// The requests that go out, as `RANGE, RANGE if VALIDATOR`.
fn asked(request: &larder_policy::Fields, missing: Option<larder_policy::Missing>) -> String {
    let Some(missing) = missing else { return "-".to_owned() };
    let mut condition = String::new();
    let ranges = missing.gaps().iter().map(|gap| {
        let mut asked = request.clone();
        missing.ask(gap, &mut asked);
        condition = lines(&asked, "if-range");
        lines(&asked, "range")
    });
    let ranges: Vec<String> = ranges.collect();
    format!("{} if {condition}", ranges.join(", "))
}

#[test]
fn each_gap_is_asked_for_and_nothing_else() {
    const FAR: &str = "0-99999 200000-299999 600000-999999";
    for (held, request, expected) in [
        (FAR, "GET", "bytes=100000-199999, bytes=300000-599999"),
        (FAR, "GET | Range: bytes=50000-150000", "bytes=100000-150000"),
        (FAR, "GET | Range: bytes=150000-700000", "bytes=150000-199999, bytes=300000-599999"),
        (FAR, "GET | Range: bytes=150000-250000", "bytes=150000-199999"),
        (FAR, "GET | Range: bytes=-500000", "bytes=500000-599999"),
        // Nothing that is here is of use: the client's own request goes out.
        (FAR, "GET | Range: bytes=120000-130000", "-"),
        // A run that costs less than a request is fetched again.
        ("0-99999 200000-200099", "GET", "bytes=100000-"),
        ("200000-200099", "GET", "-"),
    ] {
        let stored = part("0-9/1000000", " | ETag: \"a\"");
        let (request, facts) = facts(request);
        let missing = missing_for(&facts, &request, &stored, &Held::Runs(Arc::new(runs(held))));
        let expected = if expected == "-" { "-".to_owned() } else { format!("{expected} if \"a\"") };
        assert_eq!(asked(&request, missing), expected, "{request:?} with {held}");
    }
}
