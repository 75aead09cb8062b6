//! Overrides: what an operator sets beyond or against the origin's word, and what it takes.

use larder_policy::packages::recognise;
use larder_policy::{
    Action, ContentTypePattern, Danger, DeltaSeconds, Exchange, FreshnessSource, HostPattern, IgnoreQuery,
    InvalidOverride, NotStored, OriginFailure, Override, Overrides, ParameterPattern, PathPattern,
    PolicySettings, RequestFacts, TargetUri, freshen, stale_on_error,
};

use crate::kit::{at, decide, lines, message, method, response_message, status, store, target};

fn seconds(seconds: u64) -> Option<DeltaSeconds> {
    Some(DeltaSeconds::from_secs(seconds))
}

/// `host host | path path | type type`, each part possibly empty.
fn named(name: &str, matchers: &str, action: Action) -> Override {
    let mut lists = matchers.split('|').map(|list| list.split_whitespace());
    let hosts = lists.next().unwrap().map(|text| HostPattern::parse(text).unwrap()).collect();
    let paths = lists.next().into_iter().flatten().map(|text| PathPattern::parse(text).unwrap()).collect();
    let types = lists.next().into_iter().flatten();
    let content_types = types.map(|text| ContentTypePattern::parse(text).unwrap()).collect();
    Override { name: name.to_owned(), hosts, paths, content_types, action }
}

fn with(action: Action) -> PolicySettings {
    several(vec![named("rule", "example.com", action)])
}

fn several(list: Vec<Override>) -> PolicySettings {
    PolicySettings { overrides: Overrides::new(list).unwrap(), ..PolicySettings::default() }
}

/// Action, request, response, seconds, later request, outcome without and with the override.
struct Row(Action, &'static str, &'static str, i64, &'static str, &'static str, &'static str);

fn run(rows: &[Row]) {
    for Row(action, request, response, seconds, later, without, overridden) in rows {
        for (settings, expected) in [(PolicySettings::default(), without), (with(action.clone()), overridden)]
        {
            let outcome = match store(&settings, request, response, None) {
                Ok(stored) => {
                    assert_eq!(stored.facts().is_overridden(), !settings.overrides.is_empty());
                    decide(&[stored], later, at(seconds * 1000))
                }
                Err(why) => format!("not stored {why}"),
            };
            let ageless = outcome.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end();
            assert_eq!(ageless, *expected, "{action:?}\n{request} -> {response}, +{seconds}s {later}");
        }
    }
}

fn action(change: impl FnOnce(&mut Action)) -> Action {
    let mut action = Action::default();
    change(&mut action);
    action
}

#[test]
fn freshness_is_set_lifted_and_capped() {
    let fresh_for = || action(|action| action.fresh_for = seconds(60));
    let min_fresh = || action(|action| action.min_fresh = seconds(60));
    let max_fresh = || action(|action| action.max_fresh = seconds(60));
    run(&[
        Row(fresh_for(), "GET", "200", 59, "GET", "not stored no-freshness", "hit"),
        Row(fresh_for(), "GET", "200 | ETag: \"a\"", 60, "GET", "validate stale", "validate stale"),
        Row(fresh_for(), "GET", "200 | Last-Modified: {-9999}", 61, "GET", "hit", "validate stale"),
        // The origin's word stands, even where it cannot be read.
        Row(fresh_for(), "GET", "200 | Cache-Control: max-age=5", 6, "GET", "forward stale", "forward stale"),
        Row(
            fresh_for(),
            "GET",
            "200 | Expires: 0 | ETag: \"a\"",
            0,
            "GET",
            "validate stale",
            "validate stale",
        ),
        // An error is not kept for what the operator wants of the page.
        Row(fresh_for(), "GET", "503", 0, "GET", "not stored no-freshness", "not stored no-freshness"),
        Row(fresh_for(), "GET", "404", 0, "GET", "not stored no-freshness", "not stored no-freshness"),
        Row(fresh_for(), "GET", "301 | Location: /x", 59, "GET", "not stored no-freshness", "hit"),
        Row(
            fresh_for(),
            "GET",
            "302 | Location: /x",
            0,
            "GET",
            "not stored no-freshness",
            "not stored no-freshness",
        ),
        Row(
            fresh_for(),
            "GET",
            "200 | Cache-Control: no-cache | ETag: \"a\"",
            0,
            "GET",
            "validate stale",
            "validate stale",
        ),
        Row(min_fresh(), "GET", "200 | Cache-Control: max-age=5", 59, "GET", "forward stale", "hit"),
        Row(min_fresh(), "GET", "200 | Cache-Control: max-age=90", 89, "GET", "hit", "hit"),
        Row(min_fresh(), "GET", "404 | Cache-Control: max-age=5", 6, "GET", "forward stale", "forward stale"),
        Row(max_fresh(), "GET", "200 | Cache-Control: max-age=90", 61, "GET", "hit", "forward stale"),
        Row(max_fresh(), "GET", "404 | Cache-Control: max-age=90", 61, "GET", "hit", "forward stale"),
        Row(max_fresh(), "GET", "200 | Cache-Control: max-age=5", 4, "GET", "hit", "hit"),
    ]);
    // Age counts as ever.
    let aged = store(&with(fresh_for()), "GET", "200 | Age: 30", None).unwrap();
    assert_eq!(aged.facts().source(), FreshnessSource::Override);
    assert_eq!(decide(std::slice::from_ref(&aged), "GET", at(29_000)), "hit 59");
    assert_eq!(decide(&[aged], "GET", at(30_000)), "forward stale");
}

/// A flag for each prohibition, and no flag does another's work.
#[test]
fn a_prohibition_falls_only_to_its_own_flag() {
    type Flag = (&'static str, fn(&mut Action));
    let flags: [Flag; 4] = [
        ("no-store", |action| action.ignore_no_store = true),
        ("private", |action| action.ignore_private = true),
        ("authorization", |action| action.ignore_authorization = true),
        ("set-cookie", |action| action.drop_set_cookie = true),
    ];
    for (request, response, prohibition) in [
        ("GET", "200 | Cache-Control: no-store", "no-store"),
        ("GET", "200 | Cache-Control: max-age=9, no-store", "no-store"),
        ("GET", "200 | Cache-Control: private", "private"),
        ("GET | Authorization: a", "200", "authorization"),
        ("GET", "200 | Set-Cookie: a=b", "set-cookie"),
    ] {
        for (flag, set) in flags {
            let settings = with(action(|action| {
                action.fresh_for = seconds(60);
                action.min_fresh = seconds(60);
                set(action);
            }));
            let outcome = store(&settings, request, response, None);
            if flag == prohibition {
                let stored = outcome.unwrap();
                assert_eq!(lines(stored.fields(), "set-cookie"), "-");
                assert_eq!(decide(&[stored], "GET", at(9000)), "hit 9", "{response} with {flag}");
            } else {
                assert_eq!(outcome.unwrap_err().as_str(), prohibition, "{response} with {flag}");
            }
        }
    }
}

#[test]
fn other_refusals_are_not_an_operators_to_lift() {
    let all = with(Action {
        fresh_for: seconds(60),
        min_fresh: seconds(60),
        ignore_no_store: true,
        ignore_private: true,
        ignore_authorization: true,
        ignore_no_cache: true,
        ignore_must_revalidate: true,
        ignore_client_reload: true,
        ..Action::default()
    });
    for (request, response, why) in [
        ("GET | Cache-Control: no-store", "200", NotStored::RequestNoStore),
        ("GET", "200 | Vary: *", NotStored::VaryStar),
        ("GET", "401", NotStored::Status),
        ("GET", "206 | Content-Range: bytes 0-1/2", NotStored::Partial),
        ("HEAD", "200", NotStored::Method),
        ("POST", "200", NotStored::Method),
        ("GET | Content-Length: 1", "200", NotStored::RequestBody),
    ] {
        assert_eq!(store(&all, request, response, None), Err(why), "{request} {response}");
    }
}

#[test]
fn validation_and_staleness() {
    let no_cache = action(|action| action.ignore_no_cache = true);
    let grace = action(|action| action.stale_while_revalidate = seconds(30));
    let lenient = action(|action| {
        action.stale_while_revalidate = seconds(30);
        action.ignore_must_revalidate = true;
    });
    let reload = || action(|action| action.ignore_client_reload = true);
    const FRESH: &str = "200 | Cache-Control: max-age=60 | ETag: \"a\"";
    run(&[
        Row(
            no_cache,
            "GET",
            "200 | Cache-Control: no-cache, max-age=9 | ETag: \"a\"",
            5,
            "GET",
            "validate stale",
            "hit",
        ),
        Row(grace.clone(), "GET", FRESH, 89, "GET", "validate stale", "stale stale-while-revalidate"),
        Row(
            grace.clone(),
            "GET",
            "200 | Cache-Control: max-age=60, stale-while-revalidate=90",
            91,
            "GET",
            "stale stale-while-revalidate",
            "forward stale",
        ),
        Row(
            grace,
            "GET",
            "200 | Cache-Control: s-maxage=60 | ETag: \"a\"",
            61,
            "GET",
            "validate stale",
            "validate stale",
        ),
        Row(
            lenient,
            "GET",
            "200 | Cache-Control: max-age=60, must-revalidate | ETag: \"a\"",
            61,
            "GET",
            "validate stale",
            "stale stale-while-revalidate",
        ),
        Row(reload(), "GET", FRESH, 5, "GET | Cache-Control: no-cache", "validate request", "hit"),
        Row(reload(), "GET", FRESH, 5, "GET | Pragma: no-cache", "validate request", "hit"),
        Row(reload(), "GET", FRESH, 5, "GET | Cache-Control: max-age=0", "validate request", "hit"),
        Row(
            reload(),
            "GET",
            FRESH,
            5,
            "GET | Cache-Control: max-age=4",
            "validate request",
            "validate request",
        ),
        Row(reload(), "GET", FRESH, 5, "GET | Cache-Control: no-store", "forward request", "forward request"),
        Row(
            reload(),
            "GET",
            FRESH,
            60,
            "GET | Cache-Control: no-cache",
            "validate request",
            "validate stale",
        ),
    ]);
    let settings = with(action(|action| action.stale_if_error = seconds(30)));
    let stored = store(&settings, "GET", FRESH, None).unwrap();
    let facts = RequestFacts::of(&http::Method::GET, &message("GET").fields);
    let failed = OriginFailure::Status(status(503));
    assert!(stale_on_error(&settings, &facts, &stored, failed, at(89_000)).is_some());
    assert!(stale_on_error(&settings, &facts, &stored, failed, at(90_000)).is_none());
}

#[test]
fn the_first_match_applies_whole_and_alone() {
    let settings = several(vec![
        named("except", "example.com | /a/except/**", Action::default()),
        named("images", "example.com | | image/*", action(|action| action.never_store = true)),
        named("all", "", action(|action| action.fresh_for = seconds(60))),
        named("late", "", action(|action| action.min_fresh = seconds(600))),
    ]);
    let applied = |uri: &str, response: &str| {
        let target = TargetUri::parse(uri.as_bytes()).unwrap();
        let response = message(response).fields;
        settings.overrides.for_response(&target, &response).unwrap().name.clone()
    };
    assert_eq!(applied("http://example.com/a/except/b", "200 | Content-Type: image/png"), "except");
    assert_eq!(applied("http://example.com/a/b", "200 | Content-Type: image/png; x=y"), "images");
    assert_eq!(applied("http://example.com/a/b", "200 | Content-Type: text/html"), "all");
    assert_eq!(applied("http://example.com/a/b", "200"), "all");
    assert_eq!(applied("http://other.example/a", "200 | Content-Type: image/png"), "all");
    let refused = store(&settings, "GET", "200 | Content-Type: image/png | Cache-Control: max-age=9", None);
    assert_eq!(refused, Err(NotStored::Override));
    let stored = store(&settings, "GET", "200", None).unwrap();
    assert_eq!(decide(&[stored], "GET", at(61_000)), "forward stale", "the last one never applies");
}

/// Whatever an override gives, a validation gives again.
#[test]
fn a_304_is_judged_by_the_same_override() {
    let settings = with(action(|action| {
        action.min_fresh = seconds(60);
        action.ignore_no_store = true;
    }));
    let stored = store(&settings, "GET", "200 | Cache-Control: no-store | ETag: \"a\"", None).unwrap();
    let (request, response) = (message("GET"), response_message("304 | ETag: \"a\" | Date: {+70}"));
    let target = target();
    let exchange = Exchange {
        facts: &RequestFacts::of(&method(&request), &request.fields),
        target: &target,
        request: &request.fields,
        status: status(304),
        response: &response.fields,
        request_time: at(70_000),
        response_time: at(70_000),
        framing_sound: true,
    };
    let after = freshen(&settings, &stored, &exchange, None).unwrap();
    assert_eq!(after.keep, Ok(()));
    assert_eq!(decide(&[after.response], "GET", at(129_000)), "hit 59");
    let strict = freshen(&PolicySettings::default(), &stored, &exchange, None).unwrap();
    assert_eq!(strict.keep, Err(NotStored::NoStore));
}

#[test]
fn an_operator_caps_a_package_rule() {
    let path = b"http://deb.example.com/debian/pool/main/a/apt/apt_2.6.1_amd64.deb";
    let rule = recognise(&TargetUri::parse(path).unwrap()).unwrap();
    let stored = store(&with(action(|action| action.fresh_for = seconds(5))), "GET", "200", Some(&rule));
    assert_eq!(stored.unwrap().facts().source(), FreshnessSource::Package);
    let stored = store(&with(action(|action| action.max_fresh = seconds(5))), "GET", "200", Some(&rule));
    assert_eq!(decide(&[stored.unwrap()], "GET", at(5000)), "forward stale");
}

#[test]
fn the_key_leaves_out_what_is_ignored() {
    let names = |names: &[&str]| {
        IgnoreQuery::Named(names.iter().map(|name| ParameterPattern::parse(name).unwrap()).collect())
    };
    let ignoring = |ignore_query| action(|action| action.ignore_query = ignore_query);
    let overrides = Overrides::new(vec![
        named("typed", "a.example | | image/*", ignoring(IgnoreQuery::All)),
        named("ads", "*.example | /ads/**", ignoring(names(&["utm_*", "ref"]))),
        named("all", "b.example", ignoring(IgnoreQuery::All)),
    ])
    .unwrap();
    for (uri, key) in [
        ("http://a.example/ads/x?utm_a=1&b=2&utm_=3&ref&refs=1", "http://a.example/ads/x?b=2&refs=1"),
        ("http://a.example/ads/x?utm_a=1", "http://a.example/ads/x"),
        ("http://a.example:81/ads/x?ref=1", "http://a.example:81/ads/x"),
        ("https://a.example/ads/x?b=2&a=1", "https://a.example/ads/x?b=2&a=1"),
        ("http://a.example/ads/x?b&&ref&", "http://a.example/ads/x?b&&"),
        ("http://a.example/ads/x?", "http://a.example/ads/x?"),
        ("http://a.example/ads/x?b=ref", "http://a.example/ads/x?b=ref"),
        ("http://a.example/ads/x?%72ef=1", "http://a.example/ads/x?%72ef=1"),
        ("http://a.example/x?ref=1", "http://a.example/x?ref=1"),
        ("http://b.example/x?a=1", "http://b.example/x"),
        ("http://b.example/x?", "http://b.example/x"),
        ("http://b.example/ads/x?a=1", "http://b.example/ads/x?a=1"),
        ("http://[::1]/x?a=1", "http://[::1]/x?a=1"),
    ] {
        let target = TargetUri::parse(uri.as_bytes()).unwrap();
        assert_eq!(overrides.key(&target).as_str(), key, "{uri}");
        assert_eq!(overrides.key(overrides.key(&target).target()).as_str(), key, "a key is its own key");
    }
}

#[test]
fn names_are_words_and_unique() {
    let try_names = |names: &[&str]| {
        Overrides::new(names.iter().map(|name| named(name, "", Action::default())).collect()).map(drop)
    };
    assert_eq!(try_names(&["a", "b-1_C"]), Ok(()));
    assert_eq!(try_names(&["a", "a"]), Err(InvalidOverride::Repeated("a".into())));
    for name in ["", "a b", "a;b", "\u{e4}", &"a".repeat(65)] {
        assert_eq!(try_names(&[name]), Err(InvalidOverride::Name(name.into())));
    }
}

#[test]
fn what_is_dangerous_is_said() {
    let warnings = |list: Vec<Override>| {
        let warnings = Overrides::new(list).unwrap().warnings();
        for warning in &warnings {
            assert!(warning.to_string().starts_with(&format!("override {:?}: ", warning.name)));
        }
        warnings.into_iter().map(|warning| warning.danger).collect::<Vec<_>>()
    };
    let one = |matchers: &str, change: fn(&mut Action)| warnings(vec![named("a", matchers, action(change))]);
    assert_eq!(one("h", |action| action.fresh_for = seconds(1)), []);
    assert_eq!(one("h", |action| action.ignore_no_store = true), [Danger::NoStore]);
    assert_eq!(one("h", |action| action.ignore_private = true), [Danger::Private]);
    assert_eq!(one("h", |action| action.ignore_authorization = true), [Danger::Authorization]);
    assert_eq!(one("h", |action| action.ignore_no_cache = true), [Danger::NoCache]);
    assert_eq!(one("h", |action| action.ignore_must_revalidate = true), [Danger::MustRevalidate]);
    assert_eq!(one("h", |action| action.min_fresh = seconds(1)), [Danger::MinFresh]);
    assert_eq!(one("h", |action| action.ignore_query = IgnoreQuery::All), [Danger::WholeQuery]);
    assert_eq!(one("", |action| action.ignore_private = true), [Danger::Private, Danger::EveryHost]);
    assert_eq!(
        one("h || text/html", |action| action.ignore_query = IgnoreQuery::All),
        [Danger::QueryByContentType]
    );
    let contradiction: fn(&mut Action) = |action| {
        action.fresh_for = seconds(9);
        action.max_fresh = seconds(8);
    };
    assert_eq!(one("h", contradiction), [Danger::Contradiction]);
    let nothing: fn(&mut Action) = |action| {
        action.never_store = true;
        action.ignore_private = true;
    };
    assert_eq!(one("h", nothing), [Danger::NothingStored]);

    for (earlier, later, shadowed) in [
        ("", "h | /a | text/html", true),
        ("*.h", "a.h *.b.h", true),
        ("h | /**", "h | /a", true),
        ("h | | text/*", "h | /a | text/html", true),
        ("h", "", false),
        ("h", "*.h", false),
        ("h | /a", "h", false),
        ("h | | text/html", "h", false),
        ("h | /a", "h | /b", false),
    ] {
        let list = vec![named("a", earlier, Action::default()), named("b", later, Action::default())];
        let expected: &[Danger] = if shadowed { &[Danger::Shadowed("a".into())] } else { &[] };
        assert_eq!(warnings(list), expected, "{earlier} before {later}");
    }
}
