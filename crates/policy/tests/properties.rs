//! Properties that hold for all input: what a peer sends, and what comes back from a damaged disk.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers included"
)]

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use larder_policy::{
    Action, AgeValue, CacheKey, Cause, Decision, DeltaSeconds, Exchange, Fields, Held, HostPort, HttpDate,
    IgnoreQuery, Nominated, NotStored, OriginFailure, Override, Overrides, ParameterPattern, PartPlan,
    PolicySettings, RangePlan, RequestFacts, ReuseFacts, Runs, StoredResponse, TargetUri, Timestamp,
    VariantMatch, combine, explain, explain_storability, freshen, invalidates, list_members, missing_for,
    not_modified_fields, packages, parse_http_date, part_plan, precondition, range_plan, remove_hop_by_hop,
    reuse, stale_on_error, storability,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NAMES: &[&str] = &[
    "Accept-Language",
    "Age",
    "Authorization",
    "CDN-Cache-Control",
    "Cache-Control",
    "Connection",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Date",
    "ETag",
    "Expires",
    "Foo",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Modified",
    "Location",
    "Pragma",
    "Range",
    "Set-Cookie",
    "Transfer-Encoding",
    "Vary",
];

const VALUES: &[&str] = &[
    "",
    "*",
    "0",
    "\"a\"",
    "W/\"a\"",
    "\"a",
    "a, b",
    "bytes=0-1",
    "bytes=-5,1-",
    "bytes=9-1",
    "bytes 0-4/10",
    "bytes 5-9/10",
    "bytes 0-9/*",
    "max-age=10",
    "max-age=10, must-revalidate",
    "s-maxage=5",
    "no-cache=\"foo\"",
    "no-cache",
    "no-store",
    "private",
    "must-understand",
    "public",
    "max-age=99999999999, stale-while-revalidate=60, stale-if-error=60",
    "only-if-cached",
    "max-stale",
    "min-fresh=5",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun, 01 Jun 2025 12:05:00 GMT",
    "de, en;q=0.5",
    "EN",
    "foo",
    "close, foo",
    "http://example.com/a?b",
    "//u@h",
    "../x",
    "7200, 0",
    "-1",
    "2147483648",
    "&&&",
    "\"unclosed, no-store",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(VALUES).prop_map(|value| value.as_bytes().to_vec()),
        1 => vec(any::<u8>().prop_filter("ends a line", |byte| !matches!(byte, 0 | b'\r' | b'\n')), 0..40),
        1 => "[ -~\t]{0,40}".prop_map(String::into_bytes),
    ]
}

fn fields() -> impl Strategy<Value = Fields> {
    let name =
        prop_oneof![5 => select(NAMES).prop_map(str::to_owned), 1 => "[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,12}"];
    vec((name, value()), 0..8).prop_map(|lines| {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, &value).unwrap();
        }
        fields
    })
}

fn method() -> impl Strategy<Value = Method> {
    select(&["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "M-SEARCH"][..])
        .prop_map(|method| Method::from_bytes(method.as_bytes()).unwrap())
}

fn status() -> impl Strategy<Value = StatusCode> {
    prop_oneof![select(&[200_u16, 204, 206, 304, 404, 503][..]), 100_u16..1000]
        .prop_map(|code| StatusCode::from_u16(code).unwrap())
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![1_748_000_000_000_i64..1_749_000_000_000, any::<i64>(), select(&[i64::MIN, 0, i64::MAX][..]),]
        .prop_map(Timestamp::from_millis)
}

fn settings() -> impl Strategy<Value = PolicySettings> {
    any::<(bool, bool)>().prop_map(|(targeted, store_parts)| PolicySettings {
        targeted_fields: if targeted { vec!["CDN-Cache-Control".into()] } else { Vec::new() },
        store_parts,
        ..PolicySettings::default()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let seconds =
        || prop_oneof![Just(None), (0_u64..200).prop_map(|secs| Some(DeltaSeconds::from_secs(secs)))];
    ((seconds(), seconds(), seconds(), seconds(), seconds()), any::<[bool; 8]>()).prop_map(
        |(seconds, flags)| Action {
            fresh_for: seconds.0,
            min_fresh: seconds.1,
            max_fresh: seconds.2,
            stale_if_error: seconds.3,
            stale_while_revalidate: seconds.4,
            never_store: flags[0],
            ignore_no_store: flags[1],
            ignore_private: flags[2],
            ignore_authorization: flags[3],
            ignore_no_cache: flags[4],
            ignore_must_revalidate: flags[5],
            drop_set_cookie: flags[6],
            ignore_client_reload: flags[7],
            ..Action::default()
        },
    )
}

fn overrides(action: Action) -> Overrides {
    Overrides::new(vec![Override { name: "any".into(), action, ..Override::default() }]).unwrap()
}

fn target() -> TargetUri {
    TargetUri::parse(b"http://example.com/a?b").unwrap()
}

struct Case {
    method: Method,
    request: Fields,
    status: StatusCode,
    response: Fields,
    times: (Timestamp, Timestamp),
    settings: PolicySettings,
}

impl Case {
    fn storable(&self) -> Option<StoredResponse> {
        self.on(&target(), |exchange| storability(&self.settings, exchange, None).ok())
    }

    fn on<T>(&self, target: &TargetUri, act: impl FnOnce(&Exchange<'_>) -> T) -> T {
        act(&Exchange {
            facts: &RequestFacts::of(&self.method, &self.request),
            target,
            request: &self.request,
            status: self.status,
            response: &self.response,
            request_time: self.times.0,
            response_time: self.times.1,
            framing_sound: true,
        })
    }
}

prop_compose! {
    fn case()(
        method in method(), request in fields(), status in status(), response in fields(),
        times in (timestamp(), timestamp()), settings in settings(),
    ) -> Case {
        Case { method, request, status, response, times, settings }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, request, status, response, times, .. } = self;
        write!(f, "{method} {request:?} -> {status} {response:?} at {times:?}")
    }
}

/// At least 2000 cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(2000), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    /// The whole crate, on anything. What was stored answers the very request that it was stored for, as far
    /// as Vary goes.
    #[test]
    fn no_input_panics(
        first in case(), second in case(), now in timestamp(), length in any::<u64>(),
    ) {
        let facts = RequestFacts::of(&second.method, &second.request);
        let stored: Vec<_> = first.storable().into_iter().chain(second.storable()).collect();
        reuse(&facts, &second.request, &stored, now);
        for response in &stored {
            stale_on_error(&first.settings, &facts, response, OriginFailure::Unreachable, now);
            stale_on_error(&first.settings, &facts, response, OriginFailure::Status(second.status), now);
            precondition(&facts, &second.request, response, now);
            range_plan(&facts, &second.request, response, length);
            missing_for(&facts, &second.request, response, &Held::Body(length));
            if let PartPlan::Serve { body, content_range } =
                part_plan(&facts, &second.request, response, &Held::Body(length))
            {
                prop_assert!(body.start < body.end && body.end <= length);
                prop_assert_eq!(body.end - body.start, content_range.len());
            }
            not_modified_fields(response.fields());
            let target = target();
            let after = second.on(&target, |exchange| freshen(&second.settings, response, exchange, None));
            if let Some(after) = after {
                prop_assert!(!after.response.fields().contains("age"));
                prop_assert!(!after.response.fields().contains("connection"));
                prop_assert_eq!(after.response.status(), response.status());
            }
        }
        if let Some(stored) = first.storable() {
            prop_assert!(stored.nominated().matches(&first.request));
        }
        invalidates(&second.method, second.status, &target(), &second.response);
    }

    #[test]
    fn age_never_falls_as_time_rises(case in case(), one in timestamp(), two in timestamp()) {
        if let Some(stored) = case.storable() {
            let (earlier, later) = (one.min(two), one.max(two));
            prop_assert!(stored.current_age(earlier) <= stored.current_age(later));
            // What has gone stale stays stale, unless the clock first has to reach the time of receipt.
            if earlier >= stored.response_time() && !stored.is_fresh(earlier) {
                prop_assert!(!stored.is_fresh(later));
            }
        }
    }

    /// An explanation says what is done, and its arithmetic adds up.
    #[test]
    fn explanations_are_of_what_is_decided(
        stored in vec(case(), 0..4), asking in case(), now in timestamp(), overridden in action(),
    ) {
        let mut settings = asking.settings.clone();
        settings.overrides = overrides(overridden);
        let stored: Vec<_> = stored.iter().filter_map(|case| {
            case.on(&target(), |exchange| storability(&settings, exchange, None).ok())
        }).collect();
        let facts = RequestFacts::of(&asking.method, &asking.request);
        let selected = reuse(&facts, &asking.request, &stored, now);
        let explanation = explain(&settings, &facts, &asking.request, &stored, now);
        prop_assert_eq!(explanation.selected, selected.index);
        prop_assert_eq!(&explanation.decision, &selected.decision);
        prop_assert_eq!(explanation.variants.len(), stored.len());
        let served = matches!(explanation.decision, Decision::Serve { .. });
        prop_assert_eq!(served, explanation.cause == Cause::Fresh);
        for (variant, stored) in explanation.variants.iter().zip(&stored) {
            let matches = variant.matches != VariantMatch::Different;
            prop_assert_eq!(matches, stored.nominated().matches(&asking.request));
            let all = variant.fields.iter().all(|field| field.matches);
            prop_assert_eq!(variant.matches == VariantMatch::Exact, all);
        }
        if let (Some(freshness), Some(index)) = (explanation.freshness, selected.index) {
            let age = stored[index].current_age(now);
            prop_assert_eq!(freshness.current_age, age);
            prop_assert_eq!(freshness.initial_age.saturating_add(freshness.resident_time), age.as_duration());
            let value = match freshness.age_value { AgeValue::Exactly(age) | AgeValue::AtMost(age) => age };
            let corrected = freshness.apparent_age.max(value.saturating_add(freshness.response_delay));
            prop_assert_eq!(corrected, freshness.initial_age.max(freshness.response_delay));
            prop_assert_eq!(freshness.remaining > Duration::ZERO, stored[index].is_fresh(now));
            prop_assert_eq!(freshness.steps().len(), 9);
        }
        let told = asking.on(&target(), |exchange| {
            (explain_storability(&settings, exchange, None), storability(&settings, exchange, None))
        });
        prop_assert_eq!(&told.0.outcome, &told.1.as_ref().map(drop).map_err(|why| *why));
        prop_assert_eq!(told.0.freshness.is_some(), told.1.is_ok());
        prop_assert!(!told.0.sentence().is_empty());
        for advice in explanation.advice.iter().chain(&told.0.advice) {
            prop_assert!(!advice.to_string().is_empty());
        }
    }

    /// Only in so many words: an override without the flags stores nothing that is refused for another reason
    /// than that it would not be used.
    #[test]
    fn an_override_without_flags_lifts_no_prohibition(case in case(), mut action in action()) {
        action = Action {
            ignore_no_store: false,
            ignore_private: false,
            ignore_authorization: false,
            drop_set_cookie: false,
            never_store: false,
            ..action
        };
        let mut settings = case.settings.clone();
        settings.overrides = overrides(action);
        let overridden = case.on(&target(), |exchange| storability(&settings, exchange, None));
        match case.on(&target(), |exchange| storability(&case.settings, exchange, None)) {
            Err(NotStored::NoFreshness) => {}
            Err(why) => prop_assert_eq!(overridden, Err(why)),
            Ok(stored) => {
                // A cap may leave it without use; but what is kept is the same response.
                if let Ok(overridden) = overridden {
                    prop_assert_eq!(overridden.fields(), stored.fields());
                    prop_assert_eq!(overridden.nominated(), stored.nominated());
                    let (bytes, facts) = (overridden.facts().to_bytes(), *overridden.facts());
                    prop_assert_eq!(ReuseFacts::from_bytes(&bytes), Some(facts));
                }
            }
        }
    }

    /// A key names the same origin and path, and is its own key; two targets share one only as their
    /// parameters allow.
    #[test]
    fn keys_lose_ignored_parameters_only(
        parameters in vec(select(&["a=1", "a=2", "utm_x=1", "utm_=", "b", "", "utm"][..]), 0..6),
        all in any::<bool>(),
    ) {
        let query = parameters.join("&");
        let target = TargetUri::parse(format!("http://example.com/p?{query}").as_bytes()).unwrap();
        let ignore_query = if all {
            IgnoreQuery::All
        } else {
            IgnoreQuery::Named(vec![ParameterPattern::parse("utm_*").unwrap()])
        };
        let overrides = overrides(Action { ignore_query, ..Action::default() });
        let key = overrides.key(&target);
        let kept: Vec<_> = parameters.iter().filter(|parameter| !parameter.starts_with("utm_")).copied().collect();
        let expected = if all || kept.is_empty() && !query.is_empty() {
            "http://example.com/p".to_owned()
        } else {
            format!("http://example.com/p?{}", kept.join("&"))
        };
        prop_assert_eq!(key.as_str(), expected);
        prop_assert_eq!(overrides.key(key.target()), key);
    }

    #[test]
    fn no_store_is_not_stored(mut case in case(), position in any::<prop::sample::Index>()) {
        let lines = case.response.len();
        let mut response = Fields::new();
        for (index, (name, value)) in case.response.iter().enumerate() {
            if index == position.index(lines + 1) {
                response.push("cache-control", b"no-store").unwrap();
            }
            response.push(name, value).unwrap();
        }
        if !response.contains("cache-control") || position.index(lines + 1) == lines {
            response.push("Cache-Control", b"No-Store").unwrap();
        }
        let understood = response
            .all("cache-control")
            .any(|line| list_members(std::iter::once(line)).any(|member| member == b"must-understand"));
        case.response = response;
        let targeted = !case.settings.targeted_fields.is_empty() && case.response.contains("cdn-cache-control");
        if !understood && !targeted {
            prop_assert_eq!(case.storable(), None);
        }
    }

    #[test]
    fn no_connection_field_is_stored(case in case()) {
        if let Some(stored) = case.storable() {
            let mut fields = stored.fields().clone();
            remove_hop_by_hop(&mut fields);
            prop_assert_eq!(stored.fields(), &fields);
            prop_assert!(!fields.contains("age"));
            let date = fields.first("date").and_then(|date| parse_http_date(date, case.times.1));
            prop_assert!(date.is_some());
        }
    }

    #[test]
    fn stored_forms_are_read_back(case in case()) {
        if let Some(stored) = case.storable() {
            let parts = stored.parts();
            prop_assert_eq!(ReuseFacts::from_bytes(&parts.facts.to_bytes()), Some(parts.facts));
            prop_assert_eq!(Nominated::from_bytes(&parts.nominated.to_bytes()), Some(parts.nominated.clone()));
            prop_assert_eq!(&Fields::from_wire(parts.fields.as_wire()).unwrap(), &parts.fields);
            prop_assert_eq!(StoredResponse::from_parts(stored.clone().into_parts()), stored);
        }
    }

    /// Whatever is accepted is written back as the same bytes: there is one form only.
    #[test]
    fn junk_is_refused_or_is_the_one_form(mut bytes in vec(any::<u8>(), 0..80), versioned in any::<bool>()) {
        if versioned {
            let second = bytes.len() % 2 == 1;
            let length = if second { ReuseFacts::LONGEST_ENCODED_LEN } else { ReuseFacts::ENCODED_LEN };
            bytes.resize(length, 0);
            bytes[0] = 1 + u8::from(second);
            for byte in &mut bytes[1..5] {
                *byte %= 7;
            }
        }
        if let Some(facts) = ReuseFacts::from_bytes(&bytes) {
            prop_assert_eq!(facts.to_bytes().to_vec(), bytes.clone());
        }
        if let Some(nominated) = Nominated::from_bytes(&bytes) {
            nominated.matches(&Fields::new());
            prop_assert_eq!(nominated.to_bytes(), bytes.clone());
        }
        if let Ok(fields) = Fields::from_wire(&bytes) {
            prop_assert_eq!(fields.as_wire(), &bytes[..]);
        }
    }

    /// Of one representation, cut at any two places: whatever a part and its completion give is what the
    /// whole would have given, byte for byte.
    #[test]
    fn parts_give_the_bytes_of_the_whole(
        complete in 1_usize..40, cuts in any::<[prop::sample::Index; 4]>(), known in any::<bool>(),
        wanted in prop_oneof![
            Just(String::new()),
            (0_u64..45, 0_u64..45).prop_map(|(one, two)| format!("bytes={}-{}", one.min(two), one.max(two))),
            (0_u64..45).prop_map(|first| format!("bytes={first}-")),
            (0_u64..45).prop_map(|length| format!("bytes=-{length}")),
        ],
    ) {
        let settings = PolicySettings { store_parts: true, ..PolicySettings::default() };
        let mut request = Fields::new();
        if !wanted.is_empty() {
            request.push("Range", wanted.as_bytes()).unwrap();
        }
        let now = Timestamp::from_secs(1_748_779_200);
        let [one, two, three, four] = cuts.map(|cut| cut.index(complete));
        let answer = |first: usize, last: usize| {
            let complete = if known { complete.to_string() } else { "*".to_owned() };
            let mut response = Fields::new();
            for (name, value) in [
                ("Cache-Control", "max-age=60"),
                ("ETag", "\"a\""),
                ("Content-Range", &format!("bytes {first}-{last}/{complete}")),
            ] {
                response.push(name, value.as_bytes()).unwrap();
            }
            Case {
                method: Method::GET, request: request.clone(), status: StatusCode::PARTIAL_CONTENT, response,
                times: (now, now), settings: settings.clone(),
            }
        };
        let (first, last) = (one.min(two), one.max(two));
        let stored = answer(first, last).storable().unwrap();
        let facts = RequestFacts::of(&Method::GET, &request);
        let full = {
            let mut case = answer(0, complete - 1);
            case.status = StatusCode::OK;
            case.storable().unwrap()
        };
        // What is served is here, is what was asked for, and is what the whole would have given.
        let check = |stored: &StoredResponse, held: &Held, runs: &Runs, offset: u64| {
            if let PartPlan::Serve { body: range, content_range } = part_plan(&facts, &request, stored, held) {
                let expected = content_range.first()..content_range.last() + 1;
                prop_assert_eq!(range.start + offset..range.end + offset, expected.clone());
                prop_assert!(runs.covers(&expected));
                let plan = range_plan(&facts, &request, &full, complete as u64);
                prop_assert_eq!(plan, RangePlan::Single(expected));
            }
            Ok(())
        };
        let of_part = Runs::of(first as u64..last as u64 + 1);
        let held = Held::Body((last - first) as u64 + 1);
        check(&stored, &held, &of_part, first as u64)?;
        let grown = Held::Runs(Arc::new(of_part.clone()));
        check(&stored, &grown, &of_part, 0)?;
        let missing = missing_for(&facts, &request, &stored, &held);
        prop_assert_eq!(&missing, &missing_for(&facts, &request, &stored, &grown));
        if missing.is_some() {
            prop_assert_eq!(part_plan(&facts, &request, &stored, &held), PartPlan::Missing);
        }
        // Another part of it, anywhere.
        let (from, to) = (three.min(four), three.max(four));
        let combination = answer(from, to).on(&target(), |exchange| {
            combine(&settings, &stored, &of_part, None, exchange, None)
        });
        let combination = combination.expect("they are of one representation");
        prop_assert_eq!(combination.range.clone(), from as u64..to as u64 + 1);
        prop_assert_eq!(combination.keep, Ok(()));
        let mut union = of_part;
        union.insert(combination.range.clone());
        match combination.response.facts().part() {
            Some(part) => {
                prop_assert_eq!(union.hull(), Some(part.first()..part.last() + 1));
                let held = Held::Runs(Arc::new(union.clone()));
                check(&combination.response, &held, &union, 0)?;
            }
            None => prop_assert_eq!(union.bytes(), complete as u64),
        }
        let speaks = stored.holding(&union, known.then_some(complete as u64)).unwrap();
        prop_assert_eq!(speaks.facts().part(), combination.response.facts().part());
        prop_assert_eq!(speaks.status(), combination.response.status());
    }

    #[test]
    fn fields_print_and_parse(section in fields(), name in select(NAMES), value in value()) {
        let read = Fields::from_wire(section.as_wire()).unwrap();
        prop_assert!(read.iter().eq(section.iter()));
        let mut changed = section.clone();
        changed.set(name, &value).unwrap();
        prop_assert_eq!(changed.all(name).count(), 1);
        let others = |fields: &Fields| {
            let mut others = fields.clone();
            others.remove(name);
            others
        };
        prop_assert_eq!(others(&changed), others(&section));
        prop_assert_eq!(&Fields::from_wire(changed.as_wire()).unwrap(), &changed);
    }

    #[test]
    fn targets_print_and_parse(
        uri in "(http|https|HTTP)://[a-zA-Z0-9.-]{1,12}(:[0-9]{0,6})?(/[!-~]{0,20}|\\?[!-~]{0,5})?",
        reference in "[!-~]{0,30}",
    ) {
        if let Ok(target) = TargetUri::parse(uri.as_bytes()) {
            let text = target.to_string();
            prop_assert_eq!(&TargetUri::parse(text.as_bytes()).unwrap(), &target);
            let key = CacheKey::of(&target);
            prop_assert_eq!(CacheKey::from_stored(key.as_str()).unwrap(), key);
            let parts = TargetUri::from_parts(
                target.scheme(), target.authority().as_bytes(), target.path_and_query().as_bytes(),
            );
            prop_assert_eq!(parts.as_ref(), Ok(&target));
            let connect = format!("{}:{}", target.host(), target.port());
            prop_assert_eq!(HostPort::parse(connect.as_bytes()).unwrap().to_string(), connect);
            if let Some(resolved) = target.resolve(reference.as_bytes()) {
                prop_assert_eq!(TargetUri::parse(resolved.as_str().as_bytes()).unwrap(), resolved);
            }
            packages::recognise(&target);
        }
    }

    #[test]
    fn any_bytes_are_a_target_or_an_error(bytes in vec(any::<u8>(), 0..60)) {
        if let Ok(target) = TargetUri::parse(&bytes) {
            prop_assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        }
        let _ = HostPort::parse(&bytes);
        let _ = target().resolve(&bytes);
    }

    #[test]
    fn dates_print_and_parse(secs in -62_167_219_200_i64..253_402_300_800, now in timestamp()) {
        let instant = Timestamp::from_secs(secs);
        prop_assert_eq!(parse_http_date(HttpDate(instant).to_string().as_bytes(), now), Some(instant));
    }

    #[test]
    fn two_digit_years_are_never_more_than_fifty_years_ahead(year in 0_u32..100, now in timestamp()) {
        let text = format!("Monday, 15-Jun-{year:02} 00:00:00 GMT");
        if let Some(date) = parse_http_date(text.as_bytes(), now) {
            prop_assert!(date.as_secs() - 86_400 * 366 * 50 <= now.as_secs());
        }
    }

    #[test]
    fn list_members_hold_no_space_at_their_ends(line in value()) {
        for member in list_members(std::iter::once(&line[..])) {
            prop_assert!(!member.is_empty());
            prop_assert!(!matches!(member[0], b' ' | b'\t') && !matches!(member[member.len() - 1], b' ' | b'\t'));
        }
    }
}
