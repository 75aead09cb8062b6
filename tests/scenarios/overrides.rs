//! What an operator sets beyond or against the origin's word.

use larder_policy::{
    Action, DeltaSeconds, HostPattern, IgnoreQuery, Override, Overrides, ParameterPattern, PathPattern,
};

use crate::support::{Origin, Proxy};

fn proxy_with(path: &str, action: Action) -> Proxy {
    let rule = Override {
        name: "mine".to_owned(),
        hosts: vec![HostPattern::parse("127.0.0.1").unwrap()],
        paths: vec![PathPattern::parse(path).unwrap()],
        content_types: Vec::new(),
        action,
    };
    let overrides = Overrides::new(vec![rule]).unwrap();
    Proxy::with(move |config, _| config.policy.overrides = overrides.clone())
}

#[test]
fn silence_is_filled_and_the_rule_is_named() {
    let origin = Origin::start(|_, reply| reply.send(200, &[], b"x"));
    let proxy = proxy_with(
        "/static/**",
        Action { fresh_for: Some(DeltaSeconds::from_secs(60)), ..Action::default() },
    );
    let url = origin.url("/static/a/b.css");
    assert_eq!(
        proxy.get(&url).cache_status(),
        "larder; fwd=uri-miss; fwd-status=200; stored; detail=override:mine"
    );
    proxy.pass(59);
    assert_eq!(proxy.get(&url).cache_status(), "larder; hit; detail=override:mine");
    proxy.pass(2);
    assert!(!proxy.get(&url).is_hit());
    assert!(!proxy.get(&origin.url("/other")).is_hit());
    assert!(!proxy.get(&origin.url("/other")).is_hit(), "other paths are as they were");
}

#[test]
fn the_origins_word_is_beaten_only_in_so_many_words() {
    for (ignore, hit) in [(false, false), (true, true)] {
        let origin = Origin::start(|_, reply| reply.send(200, &["Cache-Control: no-store"], b"x"));
        let fresh_for = Some(DeltaSeconds::from_secs(60));
        let proxy = proxy_with("/**", Action { fresh_for, ignore_no_store: ignore, ..Action::default() });
        let url = origin.url("/a");
        proxy.get(&url);
        assert_eq!(proxy.get(&url).is_hit(), hit, "{ignore}");
    }
}

#[test]
fn ignored_parameters_are_no_part_of_the_key_but_reach_the_origin() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let ignore_query = IgnoreQuery::Named(vec![ParameterPattern::parse("utm_*").unwrap()]);
    let proxy = proxy_with("/**", Action { ignore_query, ..Action::default() });
    assert_eq!(proxy.get(&origin.url("/p?a=1&utm_source=x")).text(), "/p?a=1&utm_source=x");
    let hit = proxy.get(&origin.url("/p?utm_medium=y&a=1"));
    assert!(hit.is_hit(), "{}", hit.cache_status());
    assert!(!proxy.get(&origin.url("/p?a=2")).is_hit());
    proxy.connect().call("DELETE", &origin.url("/p?a=1&utm_source=z"), &[], b"");
    assert!(!proxy.get(&origin.url("/p?a=1")).is_hit(), "invalidation meets the same key");
}

#[test]
fn what_must_never_be_stored_is_not() {
    let origin = Origin::start(|_, reply| reply.fresh("x"));
    let proxy = proxy_with("/private/**", Action { never_store: true, ..Action::default() });
    let url = origin.url("/private/a");
    assert_eq!(proxy.get(&url).cache_status(), "larder; fwd=uri-miss; fwd-status=200; detail=override");
    assert!(!proxy.get(&url).is_hit());
}
