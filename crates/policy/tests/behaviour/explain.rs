//! Explanations: the causes, the arithmetic and the advice that a person reads.

use std::time::Duration;

use larder_policy::{
    Advice, AgeValue, Cause, Exchange, Explanation, FreshnessSource, PolicySettings, RequestFacts, StepValue,
    StoredResponse, VariantMatch, explain, explain_storability,
};

use crate::kit::{T0, at, message, method, response_message, store, stored, target};

fn explained(candidates: &[StoredResponse], request: &str, seconds: i64) -> Explanation {
    let request = message(request);
    let facts = RequestFacts::of(&method(&request), &request.fields);
    explain(&PolicySettings::default(), &facts, &request.fields, candidates, at(seconds * 1000))
}

#[test]
fn every_decision_has_its_cause() {
    const FRESH: &str = "200 | Cache-Control: max-age=10 | ETag: \"a\"";
    for (response, request, seconds, cause, section) in [
        (FRESH, "GET", 9, Cause::Fresh, "RFC 9111, 4.2"),
        (FRESH, "GET", 10, Cause::Stale, "RFC 9111, 4.2.4"),
        (FRESH, "GET", -61, Cause::ClockStepped, "RFC 9111, 4.2.3"),
        (FRESH, "PUT", 0, Cause::Method, "RFC 9111, 4"),
        (FRESH, "GET | Content-Length: 1", 0, Cause::RequestBody, "RFC 9110, 9.3.1"),
        (FRESH, "GET | Cache-Control: no-store", 0, Cause::RequestNoStore, "RFC 9111, 5.2.1.5"),
        (FRESH, "GET | If-Match: \"a\"", 0, Cause::OriginCondition, "RFC 9111, 4.3.2"),
        (FRESH, "GET | Cache-Control: no-cache", 0, Cause::RequestNoCache, "RFC 9111, 5.2.1.4"),
        (FRESH, "GET | Cache-Control: max-age=4", 5, Cause::RequestMaxAge, "RFC 9111, 5.2.1.1"),
        (FRESH, "GET | Cache-Control: min-fresh=6", 5, Cause::RequestMinFresh, "RFC 9111, 5.2.1.3"),
        (FRESH, "GET | Cache-Control: max-stale", 99, Cause::MaxStale, "RFC 9111, 5.2.1.2"),
        ("200 | Cache-Control: s-maxage=9", "GET", 9, Cause::MustRevalidate, "RFC 9111, 5.2.2.2"),
        (
            "200 | Cache-Control: no-cache | ETag: \"a\"",
            "GET",
            0,
            Cause::ResponseNoCache,
            "RFC 9111, 5.2.2.4",
        ),
        (
            "200 | Cache-Control: max-age=10, stale-while-revalidate=9",
            "GET",
            11,
            Cause::WhileRevalidate,
            "RFC 5861, 3",
        ),
        ("200 | Cache-Control: max-age=10 | Vary: x", "GET | X: 1", 0, Cause::NoVariant, "RFC 9111, 4.1"),
    ] {
        let explanation = explained(&[stored(response)], request, seconds);
        assert_eq!(
            (explanation.cause, explanation.cause.section()),
            (cause, section),
            "{request} {response}"
        );
        assert!(!explanation.cause.to_string().is_empty());
    }
    assert_eq!(explained(&[], "GET", 0).cause, Cause::NothingStored);
    let settings = PolicySettings { store_parts: true, ..PolicySettings::default() };
    let response = "206 | Cache-Control: max-age=9 | Content-Range: bytes 0-4/10";
    let part = store(&settings, "GET", response, None).unwrap();
    assert_eq!(explained(&[part], "GET", 0).cause, Cause::PartMissing);
}

#[test]
fn the_arithmetic_line_by_line() {
    let response = stored("200 | Cache-Control: max-age=60 | Date: {-5} | Age: 12");
    let explanation = explained(&[response], "GET", 3);
    let freshness = explanation.freshness.unwrap();
    let seconds = |seconds| StepValue::Duration(Duration::from_secs(seconds));
    let told: Vec<_> =
        freshness.steps().into_iter().map(|step| (step.what, step.value, step.section)).collect();
    assert_eq!(
        told,
        [
            ("freshness lifetime", seconds(60), "RFC 9111, 5.2.2.1"),
            ("Date", StepValue::Instant(at(-5000)), "RFC 9110, 6.6.1"),
            ("apparent age", seconds(5), "RFC 9111, 4.2.3"),
            ("age value", seconds(12), "RFC 9111, 5.1"),
            ("response delay", seconds(0), "RFC 9111, 4.2.3"),
            ("corrected initial age", seconds(12), "RFC 9111, 4.2.3"),
            ("resident time", seconds(3), "RFC 9111, 4.2.3"),
            ("current age", seconds(15), "RFC 9111, 4.2.3"),
            ("remaining", seconds(45), "RFC 9111, 4.2"),
        ]
    );
    let response = stored("200 | Cache-Control: max-age=60 | Date: {-20} | Age: 12 | ETag: \"a\"");
    let freshness = explained(&[response], "GET", 50).freshness.unwrap();
    assert_eq!(freshness.age_value, AgeValue::AtMost(Duration::from_secs(20)));
    assert_eq!((freshness.remaining, freshness.staleness), (Duration::ZERO, Duration::from_secs(10)));
    assert_eq!(freshness.steps().last().unwrap().what, "stale for");
}

#[test]
fn the_source_of_a_lifetime_has_a_section() {
    let targeted =
        PolicySettings { targeted_fields: vec!["CDN-Cache-Control".into()], ..PolicySettings::default() };
    for (response, source, section) in [
        ("200 | Cache-Control: s-maxage=9", FreshnessSource::SMaxage, "RFC 9111, 5.2.2.10"),
        ("200 | Expires: {+9}", FreshnessSource::Expires, "RFC 9111, 5.3"),
        ("200 | Last-Modified: {-99}", FreshnessSource::Heuristic, "RFC 9111, 4.2.2"),
        ("200 | ETag: \"a\"", FreshnessSource::Absent, "RFC 9111, 4.2.1"),
        ("200 | CDN-Cache-Control: max-age=9", FreshnessSource::MaxAge, "RFC 9213, 2.2"),
    ] {
        let response = store(&targeted, "GET", response, None).unwrap();
        let freshness = explained(&[response], "GET", 0).freshness.unwrap();
        assert_eq!((freshness.source, freshness.lifetime_section()), (source, section));
    }
}

#[test]
fn variants_tell_field_by_field() {
    const RESPONSE: &str =
        "200 | Cache-Control: max-age=9 | Vary: X, Accept-Language, Y | Content-Language: de";
    let settings = PolicySettings::default();
    let variant = |request: &str| store(&settings, request, RESPONSE, None).unwrap();
    let candidates = [
        variant("GET | X: 1 | Accept-Language: EN;q=0.5, fr;q=0"),
        variant("GET | X: 2 | Accept-Language: de;q=0.25 | Y: "),
    ];
    let explanation = explained(&candidates, "GET | X:  1 | Accept-Language: de", 0);
    assert_eq!(explanation.selected, Some(0));
    assert_eq!(explanation.variants[0].matches, VariantMatch::PreferredLanguage);
    assert_eq!(explanation.variants[1].matches, VariantMatch::Different);
    let told = |index: usize| {
        let fields = explanation.variants[index].fields.iter();
        let text = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
        fields
            .map(|field| {
                let sign = if field.matches { "=" } else { "!" };
                format!("{} {}{sign}{}", field.name, text(&field.stored), text(&field.asked))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(0), ["x 1=1", "accept-language en;q=0.5, fr;q=0!de", "y -=-"]);
    assert_eq!(told(1), ["x 2!1", "accept-language de;q=0.25!de", "y !-"]);
}

#[test]
fn only_directives_that_mattered_are_named() {
    let response = || [stored("200 | Cache-Control: max-age=10 | ETag: \"a\"")];
    for (request, seconds, expected) in [
        ("GET", 0, vec![]),
        ("GET | Cache-Control: max-age=60, max-stale=5", 0, vec![]),
        ("GET | Cache-Control: max-age=0, max-stale=5", 0, vec!["max-age=0 5.2.1.1"]),
        ("GET | Cache-Control: max-stale=5", 12, vec!["max-stale=5 5.2.1.2"]),
        ("GET | Cache-Control: max-stale", 12, vec!["max-stale 5.2.1.2"]),
        ("GET | Cache-Control: max-age=x", 0, vec!["max-age (unreadable) 5.2.1.1"]),
        ("GET | Cache-Control: only-if-cached", 0, vec![]),
        ("GET | Cache-Control: only-if-cached", 12, vec!["only-if-cached 5.2.1.7"]),
        ("GET | Pragma: no-cache", 0, vec!["no-cache 5.2.1.4"]),
        ("GET | Cache-Control: min-fresh=20", 0, vec!["min-fresh=20 5.2.1.3"]),
        ("GET | Cache-Control: no-store, no-cache", 0, vec!["no-store 5.2.1.5"]),
    ] {
        let explanation = explained(&response(), request, seconds);
        let told: Vec<_> = explanation
            .directives
            .iter()
            .map(|told| format!("{} {}", told.directive, told.section.trim_start_matches("RFC 9111, ")))
            .collect();
        assert_eq!(told, expected, "{request} +{seconds}s");
    }
}

#[test]
fn what_the_origin_could_do_better() {
    for (response, seconds, expected) in [
        ("200 | Cache-Control: max-age=9 | ETag: \"a\"", 0, vec![]),
        ("200 | Cache-Control: max-age=9", 0, vec![Advice::AddETag]),
        ("200 | Last-Modified: {-99}", 0, vec![Advice::AddMaxAge]),
        (
            "200 | Cache-Control: max-age=x | ETag: \"a\"",
            0,
            vec![Advice::RepairFreshness, Advice::AddStaleWhileRevalidate],
        ),
        ("200 | Expires: 0 | ETag: \"a\"", 0, vec![Advice::RepairExpires, Advice::AddStaleWhileRevalidate]),
        ("200 | Cache-Control: max-age=0, must-revalidate | ETag: \"a\"", 0, vec![Advice::RaiseLifetime]),
        (
            "200 | Cache-Control: max-age=9 | Age: 9 | ETag: \"a\"",
            0,
            vec![Advice::ArrivesStale, Advice::AddStaleWhileRevalidate],
        ),
        ("200 | Cache-Control: max-age=9 | ETag: \"a\"", 9, vec![Advice::AddStaleWhileRevalidate]),
        ("200 | Cache-Control: no-cache | ETag: \"a\"", 0, vec![Advice::ReplaceNoCache]),
        (
            "200 | Cache-Control: max-age=9 | ETag: \"a\" | Vary: Accept, User-Agent",
            0,
            vec![Advice::NarrowVary { name: "user-agent".into(), variants: 1 }],
        ),
        ("404 | Cache-Control: max-age=9", 0, vec![]),
    ] {
        assert_eq!(explained(&[stored(response)], "GET", seconds).advice, expected, "{response}");
    }
}

#[test]
fn why_a_response_is_not_stored() {
    for (request, response, word, section, advice) in [
        (
            "GET",
            "200 | Cache-Control: no-store",
            "no-store",
            "RFC 9111, 5.2.2.5",
            vec![Advice::RemoveNoStore],
        ),
        ("GET", "200 | Cache-Control: private", "private", "RFC 9111, 5.2.2.7", vec![Advice::RemovePrivate]),
        (
            "GET | Authorization: a",
            "200 | Cache-Control: max-age=9",
            "authorization",
            "RFC 9111, 3.5",
            vec![Advice::AllowSharing],
        ),
        (
            "GET",
            "200 | Cache-Control: max-age=9 | Vary: *",
            "vary-star",
            "RFC 9111, 4.1",
            vec![Advice::ReplaceVaryStar],
        ),
        (
            "GET",
            "200 | Set-Cookie: a=b | Last-Modified: {-99}",
            "set-cookie",
            "RFC 9111, 7.3",
            vec![Advice::SeparateCookie],
        ),
        ("GET", "200", "no-freshness", "RFC 9111, 3", vec![Advice::AddMaxAge, Advice::AddETag]),
        ("GET", "302", "no-freshness", "RFC 9111, 3", vec![Advice::AddMaxAge]),
        (
            "GET",
            "200 | Expires: x",
            "no-freshness",
            "RFC 9111, 3",
            vec![Advice::RepairExpires, Advice::AddETag],
        ),
        (
            "GET",
            "200 | Cache-Control: max-age=0",
            "no-freshness",
            "RFC 9111, 3",
            vec![Advice::RaiseLifetime, Advice::AddETag],
        ),
        (
            "GET",
            "200 | Cache-Control: no-cache",
            "no-freshness",
            "RFC 9111, 3",
            vec![Advice::ReplaceNoCache, Advice::AddETag],
        ),
        ("GET", "206 | Cache-Control: max-age=9", "partial", "RFC 9111, 3.3", vec![Advice::AddContentRange]),
        ("PUT", "200 | Cache-Control: max-age=9", "method", "RFC 9111, 3", vec![]),
    ] {
        let told = storing(request, response);
        let why = told.outcome.unwrap_err();
        assert_eq!((why.as_str(), why.section()), (word, section), "{request} {response}");
        assert_eq!(told.advice, advice, "{request} {response}");
        assert!(told.freshness.is_none() && told.sentence().len() > 10);
    }
    let told = storing("GET", "200 | Cache-Control: max-age=9 | ETag: \"a\" | Date: none");
    assert_eq!((told.outcome, &told.advice[..]), (Ok(()), &[Advice::AddDate][..]));
    assert_eq!(told.freshness.unwrap().remaining, Duration::from_secs(9));
}

fn storing(request: &str, response: &str) -> larder_policy::StorabilityExplanation {
    let (request, response) = (message(request), response_message(response));
    let target = target();
    let exchange = Exchange {
        facts: &RequestFacts::of(&method(&request), &request.fields),
        target: &target,
        request: &request.fields,
        status: response.first.parse().unwrap(),
        response: &response.fields,
        request_time: T0,
        response_time: T0,
        framing_sound: true,
    };
    explain_storability(&PolicySettings { store_parts: true, ..PolicySettings::default() }, &exchange, None)
}
