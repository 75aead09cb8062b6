//! Section 11: serving stale.

use std::time::Duration;

use larder_policy::{
    Candidate, Decision, OriginFailure, PolicySettings, RequestFacts, StaleReason, reuse_offline,
    stale_on_error,
};

use crate::kit::{Row, at, message, method, run, status, stored};

const REVALIDATE: &[Row] = &[
    Row("11.3", "GET", "200 | Cache-Control: max-age=9, stale-while-revalidate=5", 8.0, "GET", "hit 8"),
    Row(
        "11.3",
        "GET",
        "200 | Cache-Control: max-age=9, stale-while-revalidate=5",
        9.0,
        "GET",
        "stale stale-while-revalidate 9",
    ),
    Row(
        "11.3",
        "GET",
        "200 | Cache-Control: max-age=9, stale-while-revalidate=5",
        13.9,
        "GET",
        "stale stale-while-revalidate",
    ),
    Row(
        "11.3",
        "GET",
        "200 | Cache-Control: max-age=9, stale-while-revalidate=5",
        14.0,
        "GET",
        "forward stale",
    ),
    Row(
        "11.3",
        "GET",
        "200 | Cache-Control: max-age=0, stale-while-revalidate=5",
        1.0,
        "GET",
        "stale stale-while-revalidate",
    ),
    Row(
        "11.3",
        "GET",
        "200 | Cache-Control: max-age=9, stale-while-revalidate=x",
        10.0,
        "GET",
        "forward stale",
    ),
    Row(
        "11.2",
        "GET",
        "200 | Cache-Control: max-age=9, stale-while-revalidate=5, must-revalidate",
        10.0,
        "GET",
        "forward stale",
    ),
    Row(
        "11.2",
        "GET",
        "200 | Cache-Control: s-maxage=9, stale-while-revalidate=5",
        10.0,
        "GET",
        "forward stale",
    ),
    Row(
        "11.2",
        "GET",
        "200 | ETag: \"a\" | Cache-Control: no-cache, stale-while-revalidate=5",
        1.0,
        "GET",
        "validate stale",
    ),
    Row(
        "11.3",
        "GET",
        "200 | Cache-Control: max-age=9, stale-while-revalidate=5",
        10.0,
        "GET | Cache-Control: no-cache",
        "forward request",
    ),
    Row(
        "11.3",
        "GET",
        "200 | Cache-Control: max-age=9, stale-while-revalidate=5",
        10.0,
        "GET | Cache-Control: min-fresh=1",
        "forward stale",
    ),
];

#[test]
fn stale_while_revalidate() {
    run(&PolicySettings::default(), REVALIDATE);
}

fn age_on(
    settings: &PolicySettings,
    response: &str,
    request: &str,
    failure: OriginFailure,
    seconds: i64,
) -> Option<u32> {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    stale_on_error(settings, &facts, &stored(response), failure, at(seconds * 1000)).map(|age| age.as_secs())
}

#[test]
fn an_unreachable_origin_lets_stale_responses_answer() {
    let on = |response, request, seconds| {
        age_on(&PolicySettings::default(), response, request, OriginFailure::Unreachable, seconds)
    };
    for (rule, response, request, seconds, age) in [
        ("11.1", "200 | Cache-Control: max-age=9", "GET", 99, Some(99)),
        ("11.1", "200 | Cache-Control: max-age=9", "HEAD", 99, Some(99)),
        ("11.1", "200 | ETag: \"a\"", "GET", 99, Some(99)),
        ("11.1", "200 | Cache-Control: max-age=9", "GET | Cache-Control: max-age=0", 99, Some(99)),
        ("11.1", "200 | Cache-Control: max-age=9", "GET | Cache-Control: no-cache", 1, None),
        ("11.1", "200 | Cache-Control: max-age=9", "POST", 1, None),
        ("11.2", "200 | Cache-Control: max-age=9, must-revalidate", "GET", 10, None),
        ("11.2", "200 | Cache-Control: max-age=9, proxy-revalidate", "GET", 10, None),
        ("11.2", "200 | Cache-Control: s-maxage=9", "GET", 10, None),
        ("11.2", "200 | Cache-Control: s-maxage=9, max-age=9, stale-if-error=99", "GET", 10, None),
        ("11.2", "200 | ETag: \"a\" | Cache-Control: max-age=9, no-cache", "GET", 1, None),
        (
            "11.2",
            "200 | Cache-Control: max-age=9, must-revalidate",
            "GET | Cache-Control: max-age=0",
            8,
            Some(8),
        ),
    ] {
        assert_eq!(on(response, request, seconds), age, "{rule}: {request} on {response}");
    }
}

#[test]
fn stale_answers_may_be_limited_or_forbidden() {
    let on = |limit, seconds| {
        let settings = PolicySettings { serve_stale_on_error: Some(limit), ..PolicySettings::default() };
        let response = "200 | Cache-Control: max-age=9, stale-if-error=5";
        age_on(&settings, response, "GET", OriginFailure::Unreachable, seconds)
    };
    assert_eq!(on(Duration::from_secs(60), 68), Some(68));
    assert_eq!(on(Duration::from_secs(60), 69), None);
    assert_eq!(on(Duration::ZERO, 13), Some(13), "the response itself grants five seconds");
    assert_eq!(on(Duration::ZERO, 14), None);
}

#[test]
fn stale_if_error_covers_server_errors() {
    const GRANTED: &str = "200 | Cache-Control: max-age=9, stale-if-error=60";
    const PLAIN: &str = "200 | Cache-Control: max-age=9";
    for (response, request, code, seconds, served) in [
        (GRANTED, "GET", 500, 10, true),
        (GRANTED, "GET", 502, 10, true),
        (GRANTED, "GET", 503, 68, true),
        (GRANTED, "GET", 504, 69, false),
        (GRANTED, "GET", 501, 10, false),
        (GRANTED, "GET", 404, 10, false),
        (PLAIN, "GET", 503, 10, false),
        (PLAIN, "GET | Cache-Control: stale-if-error=60", 503, 10, true),
        ("200 | Cache-Control: max-age=9, stale-if-error=60, must-revalidate", "GET", 503, 10, false),
    ] {
        let failure = OriginFailure::Status(status(code));
        let age = age_on(&PolicySettings::default(), response, request, failure, seconds);
        assert_eq!(age.is_some(), served, "11.4: {code} after {seconds} s on {response}");
    }
}

/// Response, seconds that pass, later request, whether it is answered offline, and fresh or not.
const OFFLINE: &[(&str, i64, &str, Option<bool>)] = &[
    ("200 | Cache-Control: max-age=9", 5, "GET", Some(true)),
    ("200 | Cache-Control: max-age=9", 5000, "GET", Some(false)),
    ("200 | Cache-Control: max-age=9, must-revalidate", 5000, "GET", Some(false)),
    ("200 | Cache-Control: max-age=9, stale-while-revalidate=60", 20, "GET", Some(false)),
    ("200 | Cache-Control: no-cache | ETag: \"1\"", 1, "GET", Some(false)),
    ("200 | Cache-Control: max-age=9", 5, "GET | Cache-Control: no-cache", Some(false)),
    ("200 | Cache-Control: max-age=9", 5, "GET | Cache-Control: max-age=0", Some(false)),
    ("200 | Cache-Control: max-age=9", 5000, "GET | Cache-Control: only-if-cached", Some(false)),
    ("200 | Cache-Control: max-age=9", 5000, "HEAD", Some(false)),
    ("200 | Cache-Control: max-age=9", 5, "GET | Cache-Control: no-store", None),
    ("200 | Cache-Control: max-age=9", 5, "POST", None),
    ("200 | Cache-Control: max-age=9 | Vary: Accept", 5, "GET | Accept: text/html", None),
];

#[test]
fn offline_whatever_fits_answers_and_nothing_is_forwarded() {
    for (response, seconds, later, expected) in OFFLINE {
        let stored = stored(response);
        let request = message(later);
        let facts = RequestFacts::of(&method(&request), &request.fields);
        let now = at(seconds * 1000);
        let selected = reuse_offline(&facts, &request.fields, &[Candidate::from(&stored)], now);
        let answered = match selected.decision {
            Decision::Serve { .. } => Some(true),
            Decision::ServeStale { why: StaleReason::Offline, .. } => Some(false),
            Decision::GatewayTimeout => None,
            other => panic!("{response}, {later}: {other:?}"),
        };
        assert_eq!(answered, *expected, "{response}, {later}");
        assert!(selected.index.is_some() || expected.is_none(), "{response}, {later}");
    }
    assert!(!StaleReason::Offline.wants_refresh());
}
