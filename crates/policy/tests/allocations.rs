//! A decision on a hit allocates nothing: what it needs was computed when the response was stored.
#![allow(clippy::unwrap_used, reason = "a test: a failed expectation is a panic")]

use allocation_counter::measure;
use http::{Method, StatusCode};
use larder_policy::{
    Decision, Exchange, Fields, PolicySettings, RequestFacts, StoredResponse, TargetUri, Timestamp, reuse,
    storability,
};

const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name, value.as_bytes()).unwrap();
    }
    fields
}

fn stored(request: &Fields) -> StoredResponse {
    let response = fields(&[
        ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("Cache-Control", "public, max-age=86400, stale-while-revalidate=60"),
        ("ETag", "\"5f3a-9c1\""),
        ("Vary", "Accept-Encoding, Accept-Language"),
    ]);
    let exchange = Exchange {
        facts: &RequestFacts::of(&Method::GET, request),
        target: &TargetUri::parse(b"http://example.com/app.js?v=42").unwrap(),
        request,
        status: StatusCode::OK,
        response: &response,
        request_time: NOW,
        response_time: NOW,
        framing_sound: true,
    };
    storability(&PolicySettings::default(), &exchange, None).unwrap()
}

#[test]
fn a_decision_on_a_hit_allocates_nothing() {
    let request = fields(&[
        ("Host", "example.com"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Cache-Control", "max-age=3600"),
    ]);
    let response = stored(&request);
    let mut decision = None;
    let allocations = measure(|| {
        let facts = RequestFacts::of(&Method::GET, &request);
        decision = Some(reuse(&facts, &request, [&response], NOW).decision);
    });
    assert!(matches!(decision, Some(Decision::Serve { .. })));
    assert_eq!(allocations.count_total, 0);
}
