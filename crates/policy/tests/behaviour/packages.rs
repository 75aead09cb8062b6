//! Package rules: what they add to HTTP, and what they never overrule.

use larder_policy::packages::{Rule, recognise};
use larder_policy::{FreshnessSource, NotStored, PolicySettings, StoredResponse, TargetUri};

use crate::kit::{at, decide, lines, store};

const YEAR: i64 = 366 * 86_400_000;

fn rule() -> Rule {
    let path = b"http://deb.example.com/debian/pool/main/a/apt/apt_2.6.1_amd64.deb";
    recognise(&TargetUri::parse(path).unwrap()).unwrap()
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
    let public = package("GET | Authorization: a", "200 | Cache-Control: public").unwrap();
    assert!(decide(&[public], "GET", at(YEAR)).starts_with("hit"));
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
