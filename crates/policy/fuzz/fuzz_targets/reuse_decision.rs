//! Whatever an exchange looks like: only a fresh response is served as fresh, age and staleness never go back
//! as time goes on, and the stored forms are read back.

#![no_main]

use http::{Method, StatusCode};
use larder_policy::{
    Decision, Exchange, Fields, Nominated, PolicySettings, RequestFacts, ReuseFacts, TargetUri, Timestamp,
    reuse, storability,
};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_748_779_200_000;

fn fields(text: &[u8]) -> Fields {
    let mut fields = Fields::new();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let _ = fields.push(&line[..colon], &line[colon + 1..]);
        }
    }
    fields
}

fuzz_target!(|data: &[u8]| {
    let Some((&[method, low, high, seconds], rest)) = data.split_first_chunk::<4>() else { return };
    let mut heads = rest.split(|byte| *byte == 0);
    let (Some(request), Some(response)) = (heads.next(), heads.next()) else { return };
    let (request, response) = (fields(request), fields(response));
    let Ok(status) = StatusCode::from_u16(u16::from_le_bytes([low, high])) else { return };
    let Ok(target) = TargetUri::parse(b"http://example.com/") else { return };
    let method = [Method::GET, Method::HEAD, Method::POST, Method::PUT][usize::from(method % 4)].clone();
    let settings =
        PolicySettings { targeted_fields: vec!["CDN-Cache-Control".into()], ..PolicySettings::default() };
    let exchange = Exchange {
        facts: &RequestFacts::of(&method, &request),
        target: &target,
        request: &request,
        status,
        response: &response,
        request_time: Timestamp::from_millis(NOW - 100),
        response_time: Timestamp::from_millis(NOW),
        framing_sound: true,
    };
    let Ok(stored) = storability(&settings, &exchange, None) else { return };
    assert!(stored.nominated().matches(&request));
    assert_eq!(ReuseFacts::from_bytes(&stored.facts().to_bytes()).as_ref(), Some(stored.facts()));
    assert_eq!(Nominated::from_bytes(&stored.nominated().to_bytes()).as_ref(), Some(stored.nominated()));

    let earlier = Timestamp::from_millis(NOW);
    let later = Timestamp::from_millis(NOW + i64::from(seconds) * 1000);
    assert!(stored.current_age(earlier) <= stored.current_age(later));
    assert!(stored.is_fresh(earlier) || !stored.is_fresh(later));
    let facts = RequestFacts::of(&method, &request);
    if let Decision::Serve { age } = reuse(&facts, &request, [&stored], later).decision {
        assert!(stored.is_fresh(later) && age == stored.current_age(later));
        assert!(!facts.directives.no_cache && !facts.directives.no_store && !stored.facts().is_no_cache());
    }
});
