//! Package rules: what they add to HTTP, and what they never overrule.

use std::time::Duration;

use http::{Method, StatusCode};
use larder_policy::packages::{Rule, recognise};
use larder_policy::{
    Action, DeltaSeconds, Exchange, FreshnessSource, NotStored, OriginFailure, Override, Overrides,
    PolicySettings, RequestFacts, StoredResponse, TargetUri, freshen, stale_on_error,
};

use crate::kit::{T0, at, decide, lines, message, method, response_message, store};

const YEAR: i64 = 366 * 86_400_000;

fn rule_of(path: &str) -> Rule {
    recognise(&TargetUri::parse(format!("http://mirror.example.com{path}").as_bytes()).unwrap()).unwrap()
}

fn rule() -> Rule {
    rule_of("/debian/pool/main/a/apt/apt_2.6.1_amd64.deb")
}

/// One whose path has the digest of the body.
fn proved() -> Rule {
    rule_of(&format!("/v2/library/debian/blobs/sha256:{}", "ab".repeat(32)))
}

const PAGE: &str = "/simple/requests/";

fn index(path: &str, request: &str, response: &str) -> Result<StoredResponse, NotStored> {
    store(&PolicySettings::default(), request, response, Some(&rule_of(path)))
}

fn package(request: &str, response: &str) -> Result<StoredResponse, NotStored> {
    store(&PolicySettings::default(), request, response, Some(&rule()))
}

#[test]
fn silence_and_short_lifetimes_become_for_ever() {
    for response in [
        "200",
        "200 | Content-Type: a/b | Content-Length: 5",
        "200 | ETag: \"a\"",
        "200 | Last-Modified: {-60}",
        "200 | Cache-Control: max-age=120",
        "200 | Cache-Control: max-age=0",
        "200 | Expires: 0",
        "200 | Cache-Control: no-cache=\"set-cookie\"",
    ] {
        let stored = package("GET", response).unwrap();
        assert_eq!(stored.facts().source(), FreshnessSource::Package);
        assert_eq!(stored.facts().rule().map(|rule| rule.name()), Some("apt-pool"));
        assert!(decide(&[stored], "GET", at(YEAR)).starts_with("hit"), "{response}");
    }
}

#[test]
fn a_prohibition_is_never_overruled() {
    for (request, response, why) in [
        ("GET", "200 | Cache-Control: no-store", NotStored::NoStore),
        ("GET", "200 | Cache-Control: private", NotStored::Private),
        ("GET", "200 | Cache-Control: no-cache", NotStored::NoFreshness),
        ("GET | Authorization: a", "200 | Cache-Control: max-age=9", NotStored::Authorization),
        ("GET | Cache-Control: no-store", "200", NotStored::RequestNoStore),
        ("GET", "200 | Vary: *", NotStored::VaryStar),
        ("GET", "404", NotStored::NoFreshness),
        ("GET", "206", NotStored::Partial),
        ("HEAD", "200", NotStored::Method),
    ] {
        assert_eq!(package(request, response), Err(why), "{request} {response}");
    }
    let validated = package("GET", "200 | Cache-Control: no-cache | ETag: \"a\"").unwrap();
    assert_eq!(decide(&[validated], "GET", at(0)), "validate stale");
}

/// Fields that private registries open to.
const CREDENTIALS: [&str; 6] = [
    "Authorization: Bearer a",
    "PRIVATE-TOKEN: a",
    "Job-Token: a",
    "X-JFrog-Art-Api: a",
    "X-Api-Key: a",
    "Cookie: session=a",
];

#[test]
fn no_rule_lengthens_what_credentials_opened() {
    for field in CREDENTIALS {
        let request = format!("GET | {field}");
        for (response, after, decision) in [
            ("200 | Cache-Control: max-age=0, must-revalidate | ETag: \"a\"", 0, "validate stale"),
            ("200 | Cache-Control: public, max-age=0 | ETag: \"a\"", 0, "validate stale"),
            ("200 | Cache-Control: public | ETag: \"a\"", 0, "validate stale"),
            ("200 | Cache-Control: s-maxage=9 | ETag: \"a\"", 9, "validate stale"),
            ("200 | Cache-Control: public, max-age=9 | ETag: \"a\"", 8, "hit 8"),
            ("200 | Cache-Control: public, max-age=9 | ETag: \"a\"", 9, "validate stale"),
        ] {
            for rule in [rule(), rule_of("/foo/-/foo-1.0.0.tgz"), rule_of(PAGE), proved()] {
                let stored = store(&PolicySettings::default(), &request, response, Some(&rule)).unwrap();
                assert_eq!(
                    decide(&[stored], "GET", at(after * 1000)),
                    decision,
                    "{field} {response} {rule:?}"
                );
            }
        }
        // Silence stays silence, and a cookie is nobody else's.
        let silent = store(&PolicySettings::default(), &request, "200", Some(&rule()));
        assert!(silent.is_err(), "{field} {silent:?}");
        let cookie = "200 | Cache-Control: public | Last-Modified: {-900000} | Set-Cookie: a=b";
        let cookie = store(&PolicySettings::default(), &request, cookie, Some(&rule()));
        assert_eq!(cookie, Err(NotStored::SetCookie), "{field}");
        let page = index(PAGE, &request, "200 | Cache-Control: public | Last-Modified: {-900000}").unwrap();
        assert_eq!(
            decide(&[page], "GET", at(600_000)),
            "validate stale",
            "a guess at an index stays bounded"
        );
    }
}

#[test]
fn who_ignores_authorization_says_that_all_get_the_same() {
    let action = Action { ignore_authorization: true, ..Action::default() };
    let mine = Override { name: "mine".to_owned(), action, ..Override::default() };
    let settings =
        PolicySettings { overrides: Overrides::new(vec![mine]).unwrap(), ..PolicySettings::default() };
    let stored = store(&settings, "GET | Authorization: a", "200", Some(&rule())).unwrap();
    assert!(decide(&[stored], "GET", at(YEAR)).starts_with("hit"));
}

#[test]
fn an_artefact_whose_origin_wants_it_validated_is_so_unless_a_digest_proves_it() {
    for (response, after) in [
        ("200 | ETag: \"a\" | Cache-Control: max-age=9, must-revalidate", 9),
        ("200 | ETag: \"a\" | Cache-Control: max-age=0, proxy-revalidate", 0),
        ("200 | ETag: \"a\" | Cache-Control: max-age=99, s-maxage=9", 9),
        ("200 | ETag: \"a\" | Cache-Control: must-revalidate", 0),
    ] {
        let stored = [package("GET", response).unwrap()];
        assert_eq!(decide(&stored, "GET", at(after * 1000)), "validate stale", "{response}");
        let stored = [store(&PolicySettings::default(), "GET", response, Some(&proved())).unwrap()];
        assert!(decide(&stored, "GET", at(YEAR)).starts_with("hit"), "{response}");
    }
}

fn signed() -> Rule {
    rule_of(&format!("/lfs/{}?AWSAccessKeyId=a&Expires=1&Signature=b", "ab".repeat(32)))
}

#[test]
fn each_use_of_a_signed_object_needs_the_origins_word() {
    let object = |response: &str| store(&PolicySettings::default(), "GET", response, Some(&signed()));
    for response in [
        "200 | ETag: \"a\"",
        "200 | Last-Modified: {-60}",
        "200 | ETag: \"a\" | Cache-Control: public, max-age=900 | Set-Cookie: a=b",
    ] {
        let stored = object(response).unwrap();
        assert_eq!(lines(stored.fields(), "set-cookie"), "-", "{response}");
        assert_eq!(decide(std::slice::from_ref(&stored), "GET", at(0)), "validate stale", "{response}");
        let (again, keep) = validated(&stored, "GET", &signed());
        assert_eq!(
            (keep, decide(&[again], "GET", at(0))),
            (Ok(()), "validate stale".to_owned()),
            "{response}"
        );
        let facts = RequestFacts::of(&Method::GET, &message("GET").fields);
        let away =
            stale_on_error(&PolicySettings::default(), &facts, &stored, OriginFailure::Unreachable, at(0));
        assert_eq!(away, None, "{response}");
    }
    for (response, why) in [
        ("200", NotStored::NoFreshness),
        ("200 | Cache-Control: max-age=900", NotStored::NoFreshness),
        ("404 | Cache-Control: max-age=900", NotStored::Status),
        ("404 | Cache-Control: max-age=900 | ETag: \"a\"", NotStored::Status),
        ("301 | Cache-Control: max-age=900", NotStored::Status),
        ("200 | ETag: \"a\" | Cache-Control: private", NotStored::Private),
    ] {
        assert_eq!(object(response), Err(why), "{response}");
    }
}

#[test]
fn an_error_follows_plain_http() {
    let missing = package("GET", "404 | Cache-Control: max-age=9").unwrap();
    assert_eq!(missing.facts().rule(), None);
    assert_eq!(decide(&[missing], "GET", at(9000)), "forward stale");
}

/// Clients of package registries send `max-age=0` by habit; `no-cache` they send when asked to.
#[test]
fn the_clients_max_age_is_ignored_and_its_no_cache_is_not() {
    let stored = [package("GET", "200 | ETag: \"a\"").unwrap()];
    assert_eq!(decide(&stored, "GET | Cache-Control: max-age=0", at(9000)), "hit 9");
    assert_eq!(decide(&stored, "GET | Cache-Control: max-age=1, min-fresh=9999999999", at(9000)), "hit 9");
    assert_eq!(decide(&stored, "GET | Cache-Control: no-cache", at(9000)), "validate request");
    assert_eq!(decide(&stored, "GET | Cache-Control: no-store", at(9000)), "forward request");
}

#[test]
fn a_cookie_beside_a_package_is_not_stored() {
    let stored = package("GET", "200 | Set-Cookie: a=b | X: y").unwrap();
    assert_eq!(lines(stored.fields(), "set-cookie"), "-");
    assert_eq!(lines(stored.fields(), "x"), "y");
}

#[test]
fn a_page_for_a_browser_is_no_package() {
    for kind in ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"] {
        assert_eq!(
            package("GET", &format!("200 | Content-Type: {kind}")),
            Err(NotStored::NoFreshness),
            "{kind}"
        );
    }
    let html = "200 | Content-Type: text/html";
    assert!(store(&PolicySettings::default(), "GET", html, Some(&proved())).is_ok(), "the digest tells");
    assert!(index(PAGE, "GET", html).is_ok(), "an index can be one");
}

#[test]
fn an_index_is_fresh_for_a_while_where_the_origin_is_silent() {
    for (path, seconds) in [
        (PAGE, 600),
        ("/debian/dists/stable/InRelease", 120),
        ("/@babel%2fcore", 300),
        ("/golang.org/x/text/@v/list", 60),
        ("/maven2/org/slf4j/slf4j-api/maven-metadata.xml", 600),
        ("/v2/library/debian/manifests/latest", 60),
        ("/main/linux-64/repodata.json", 600),
        ("/se/rd/serde", 600),
    ] {
        let stored = [index(path, "GET", "200 | Content-Type: a/b | Content-Length: 5").unwrap()];
        assert_eq!(stored[0].facts().source(), FreshnessSource::Package, "{path}");
        assert!(decide(&stored, "GET", at(seconds * 1000 - 1)).starts_with("hit"), "{path}");
        assert_eq!(decide(&stored, "GET", at(seconds * 1000)), "forward stale", "{path}");
    }
}

#[test]
fn an_index_is_what_its_origin_says() {
    for (response, after, decision) in [
        ("200 | Cache-Control: max-age=9000", 8_999, "hit 8999"),
        ("200 | Cache-Control: max-age=5 | ETag: \"a\"", 5, "validate stale"),
        ("200 | Cache-Control: max-age=0 | ETag: \"a\"", 0, "validate stale"),
        ("200 | Expires: 0 | ETag: \"a\"", 0, "validate stale"),
        ("200 | Cache-Control: no-cache | ETag: \"a\"", 0, "validate stale"),
        ("200 | Cache-Control: must-revalidate | ETag: \"a\"", 0, "validate stale"),
        ("200 | Last-Modified: {-100}", 9, "hit 9"),
        ("200 | Last-Modified: {-100}", 10, "validate stale"),
        ("200 | Last-Modified: {-900000}", 599, "hit 599"),
        ("200 | Last-Modified: {-900000}", 600, "validate stale"),
    ] {
        let stored = [index(PAGE, "GET", response).unwrap()];
        assert_eq!(decide(&stored, "GET", at(after * 1000)), decision, "{response} +{after}");
    }
    for (request, response, why) in [
        ("GET", "200 | Cache-Control: no-store", NotStored::NoStore),
        ("GET", "200 | Cache-Control: private", NotStored::Private),
        ("GET", "200 | Cache-Control: no-cache", NotStored::NoFreshness),
        ("GET", "200 | Cache-Control: must-revalidate", NotStored::NoFreshness),
        ("GET | Authorization: a", "200", NotStored::Authorization),
        ("GET", "200 | Set-Cookie: a=b", NotStored::SetCookie),
        ("GET", "404", NotStored::NoFreshness),
    ] {
        assert_eq!(index(PAGE, request, response), Err(why), "{request} {response}");
    }
}

#[test]
fn a_client_that_asks_anew_for_an_index_gets_it_anew() {
    let stored = [index(PAGE, "GET", "200 | ETag: \"a\"").unwrap()];
    assert_eq!(decide(&stored, "GET", at(9000)), "hit 9");
    assert_eq!(decide(&stored, "GET | Cache-Control: max-age=0", at(9000)), "validate request");
    assert_eq!(decide(&stored, "GET | Cache-Control: no-cache", at(9000)), "validate request");
}

#[test]
fn the_operators_word_for_a_silent_origin_goes_before_an_indexs_rule() {
    let action = Action { fresh_for: Some(DeltaSeconds::from_secs(9)), ..Action::default() };
    let mine = Override { name: "mine".to_owned(), action, ..Override::default() };
    let settings =
        PolicySettings { overrides: Overrides::new(vec![mine]).unwrap(), ..PolicySettings::default() };
    let stored = store(&settings, "GET", "200", Some(&rule_of(PAGE))).unwrap();
    assert_eq!(stored.facts().source(), FreshnessSource::Override);
    assert_eq!(decide(&[stored], "GET", at(9000)), "forward stale");
}

#[test]
fn an_index_stands_in_for_a_registry_that_is_down() {
    const WEEK: i64 = 7 * 86_400;
    let after = |settings: &PolicySettings, response: &str, status: u16, seconds: i64| {
        let stored = store(settings, "GET", response, Some(&rule_of(PAGE))).unwrap();
        let facts = RequestFacts::of(&Method::GET, &message("GET").fields);
        let failure = OriginFailure::Status(StatusCode::from_u16(status).unwrap());
        stale_on_error(settings, &facts, &stored, failure, at(seconds * 1000)).is_some()
    };
    let default = PolicySettings::default();
    for status in [500, 502, 503, 504] {
        assert!(after(&default, "200", status, 600 + WEEK - 1), "{status}");
        assert!(!after(&default, "200", status, 600 + WEEK), "{status}");
    }
    assert!(after(&default, "200 | Cache-Control: max-age=60", 503, 60 + WEEK - 1));
    for (response, status) in [
        ("200", 404),
        ("200", 429),
        ("200 | Cache-Control: max-age=60, must-revalidate", 503),
        ("200 | Cache-Control: s-maxage=60", 503),
        ("200 | Cache-Control: no-cache | ETag: \"a\"", 503),
    ] {
        assert!(!after(&default, response, status, 700), "{response} {status}");
    }
    let short = PolicySettings { serve_stale_on_error: Some(Duration::from_secs(60)), ..default };
    assert!(after(&short, "200", 503, 659) && !after(&short, "200", 503, 660), "the operator's limit holds");
}

#[test]
fn names_that_others_have_too_need_their_protocol() {
    for (path, sign) in [("/index/config.json", "cargo-protocol: version=1"), ("/express", "npm-command: ci")]
    {
        assert_eq!(index(path, "GET", "200"), Err(NotStored::NoFreshness), "{path}");
        let stored = index(path, &format!("GET | {sign}"), "200").unwrap();
        assert_eq!(stored.facts().source(), FreshnessSource::Package, "{path}");
    }
    let packument = |accept: &str| index("/express", &format!("GET | Accept: {accept}"), "200");
    assert!(packument("application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*").is_ok());
    assert_eq!(packument("application/json"), Err(NotStored::NoFreshness));
}

#[test]
fn formats_are_kept_apart_by_accept() {
    const JSON: &str = "GET | Accept: application/json";
    const SHORT: &str =
        "GET | Accept: application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";
    const RESPONSE: &str = "200 | Cache-Control: max-age=60 | Content-Type: application/json";
    for path in ["/express", "/@babel/core", "/@babel%2fcore"] {
        for (one, other) in [(JSON, SHORT), (SHORT, JSON), ("GET", SHORT), ("GET | Accept: */*", JSON)] {
            let stored = [index(path, one, RESPONSE).unwrap()];
            assert_eq!(decide(&stored, one, at(0)), "hit 0", "{path} {one}");
            assert_eq!(decide(&stored, other, at(0)), "forward vary-miss", "{path} {one} {other}");
        }
    }
    // What npm says of itself takes no part in the key.
    let stored =
        [index("/express", &format!("{JSON} | npm-command: install | pacote-version: 1"), RESPONSE).unwrap()];
    assert_eq!(decide(&stored, &format!("{JSON} | npm-command: ci | User-Agent: x"), at(0)), "hit 0");
    // Anything but a document in JSON is nobody's packument.
    let other = "200 | Cache-Control: max-age=60 | Content-Type: text/plain";
    let stored = [index("/express", "GET | Accept: text/plain", other).unwrap()];
    assert_eq!(decide(&stored, "GET | Accept: */*", at(0)), "hit 0");
}

/// A 304 to this request.
fn validated(stored: &StoredResponse, request: &str, rule: &Rule) -> (StoredResponse, Result<(), NotStored>) {
    let (request, response) = (message(request), response_message("304"));
    let target = TargetUri::parse(b"http://mirror.example.com/x").unwrap();
    let exchange = Exchange {
        facts: &RequestFacts::of(&method(&request), &request.fields),
        target: &target,
        request: &request.fields,
        status: StatusCode::NOT_MODIFIED,
        response: &response.fields,
        request_time: T0,
        response_time: T0,
        framing_sound: true,
    };
    let freshened = freshen(&PolicySettings::default(), stored, &exchange, Some(rule)).unwrap();
    (freshened.response, freshened.keep)
}

#[test]
fn what_credentials_opened_needs_the_origins_word_for_everybody() {
    let blob =
        |request: &str, response: &str| store(&PolicySettings::default(), request, response, Some(&proved()));
    const TOKEN: &str = "GET | Authorization: Bearer a";
    for response in ["200 | ETag: \"a\"", "200 | ETag: \"a\" | Cache-Control: max-age=60"] {
        let stored = blob(TOKEN, response).unwrap();
        for later in [TOKEN, "GET | Authorization: Bearer b", "GET"] {
            assert_eq!(
                decide(std::slice::from_ref(&stored), later, at(0)),
                "validate stale",
                "{response} {later}"
            );
        }
        // It stays so while credentials are what opens it, and no longer.
        let (again, keep) = validated(&stored, "GET | Authorization: Bearer b", &proved());
        assert_eq!((keep, decide(&[again], "GET", at(0))), (Ok(()), "validate stale".to_owned()));
        let (open, keep) = validated(&stored, "GET", &proved());
        assert_eq!((keep, decide(&[open], "GET", at(YEAR))), (Ok(()), format!("hit {}", YEAR / 1000)));
    }
    for (response, why) in [
        ("200", NotStored::NoFreshness),
        ("200 | ETag: \"a\" | Cache-Control: private", NotStored::Private),
        ("200 | ETag: \"a\" | Cache-Control: no-store", NotStored::NoStore),
        ("404 | Cache-Control: max-age=60", NotStored::Authorization),
    ] {
        assert_eq!(blob(TOKEN, response), Err(why), "{response}");
    }
    // Nobody loses what they may have without credentials.
    let open = blob("GET", "200 | ETag: \"a\"").unwrap();
    for field in CREDENTIALS {
        let (_, keep) = validated(&open, &format!("GET | {field}"), &proved());
        assert_eq!(keep, Err(NotStored::Authorization), "{field}");
    }
}
