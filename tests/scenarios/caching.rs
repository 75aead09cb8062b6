//! Miss, hit, and what is never a hit.

use crate::support::{Origin, Proxy, bytes};

#[test]
fn the_second_answer_is_a_hit_with_a_right_age_and_the_same_bytes() {
    let body = bytes(1, 5_000);
    let sent = body.clone();
    let origin = Origin::start(move |_, reply| reply.fresh(&sent));
    let proxy = Proxy::start();
    let url = origin.url("/a");

    let miss = proxy.get(&url);
    assert_eq!((miss.status, miss.body == body, miss.age()), (200, true, None));
    assert_eq!(miss.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");

    proxy.pass(7);
    let hit = proxy.get(&url);
    assert!(hit.is_hit(), "{}", hit.cache_status());
    assert_eq!((hit.status, hit.body == body, hit.age()), (200, true, Some(7)));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_stored_response_survives_a_restart() {
    for length in [0, 10, 100_000, 3_000_000] {
        let body = bytes(2, length);
        let sent = body.clone();
        let origin = Origin::start(move |_, reply| reply.fresh(&sent));
        let proxy = Proxy::start();
        let url = origin.url("/a?b=c");
        assert_eq!(proxy.get(&url).body, body);
        let proxy = proxy.restart();
        proxy.pass(30);
        let hit = proxy.get(&url);
        assert!(hit.is_hit(), "{length}: {}", hit.cache_status());
        assert_eq!((hit.body == body, hit.age()), (true, Some(30)), "{length}");
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn different_queries_never_share_and_equal_ones_do() {
    let origin = Origin::start(|request, reply| reply.fresh(&request.target));
    let proxy = Proxy::start();
    for path in ["/?a=1", "/?a=2", "/?a=1&b", "/", "/?"] {
        assert_eq!(proxy.get(&origin.url(path)).text(), path);
    }
    assert!(proxy.get(&origin.url("/?a=2")).is_hit());
    assert_eq!(origin.count(), 5);
}

#[test]
fn without_freshness_or_validator_nothing_is_a_hit() {
    let origin = Origin::start(|_, reply| reply.send(200, &[], b"x"));
    let proxy = Proxy::start();
    let url = origin.url("/");
    assert_eq!(proxy.get(&url).cache_status(), "larder; fwd=uri-miss; fwd-status=200; detail=no-freshness");
    assert!(!proxy.get(&url).is_hit());
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_the_origin_or_the_client_forbids_is_not_stored() {
    for (field, request) in [
        ("Cache-Control: no-store, max-age=60", None),
        ("Cache-Control: private, max-age=60", None),
        ("Cache-Control: max-age=60", Some("Cache-Control: no-store")),
        ("Cache-Control: max-age=60", Some("Authorization: Basic eA==")),
        ("Vary: *\r\nCache-Control: max-age=60", None),
    ] {
        let origin = Origin::start(move |_, reply| reply.send(200, &[field], b"x"));
        let proxy = Proxy::start();
        let fields: Vec<&str> = request.into_iter().collect();
        for _ in 0..2 {
            assert!(!proxy.get_with(&origin.url("/"), &fields).is_hit(), "{field} {request:?}");
        }
        assert_eq!(origin.count(), 2, "{field} {request:?}");
    }
}

#[test]
fn a_client_that_hides_authorization_behind_connection_is_not_believed() {
    let origin = Origin::start(|_, reply| reply.fresh("secret"));
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get_with(&url, &["Authorization: Basic eA==", "Connection: Authorization"]);
    assert!(!proxy.get(&url).is_hit());
    assert_eq!(origin.count(), 2);
}

#[test]
fn variants_are_kept_beside_each_other() {
    let origin = Origin::start(|request, reply| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        reply.send(200, &["Cache-Control: max-age=60", "Vary: Accept-Language"], language.as_bytes())
    });
    let proxy = Proxy::start();
    let url = origin.url("/");
    let ask = |language: &str| proxy.get_with(&url, &[&format!("Accept-Language: {language}")]);
    assert_eq!(ask("de").text(), "de");
    assert_eq!(ask("fr").cache_status(), "larder; fwd=vary-miss; fwd-status=200; stored");
    for language in ["de", "fr"] {
        let hit = ask(language);
        assert!(hit.is_hit());
        assert_eq!(hit.text(), language);
    }
    let proxy = proxy.restart();
    assert!(proxy.get_with(&url, &["Accept-Language: fr"]).is_hit());
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_unsafe_request_outdates_what_is_stored() {
    let origin = Origin::start(|request, reply| match request.method.as_str() {
        "GET" => reply.fresh("x"),
        _ => reply.send(204, &[], b""),
    });
    let proxy = Proxy::start();
    let url = origin.url("/thing");
    for method in ["PUT", "POST", "DELETE", "FROB"] {
        proxy.get(&url);
        assert!(proxy.get(&url).is_hit());
        assert_eq!(proxy.connect().call(method, &url, &[], b"").status, 204);
        assert!(!proxy.get(&url).is_hit(), "{method}");
    }
}

#[test]
fn two_urls_with_the_same_large_body_share_one_blob() {
    let body = bytes(3, 2_000_000);
    let sent = body.clone();
    let origin = Origin::start(move |_, reply| reply.fresh(&sent));
    let proxy = Proxy::start();
    for path in ["/one", "/two"] {
        assert_eq!(proxy.get(&origin.url(path)).body, body);
    }
    let blobs = files_under(&proxy.cache_dir().join("blobs"))
        .into_iter()
        .filter(|name| !name.ends_with(".tree"))
        .count();
    assert_eq!(blobs, 1);
    let removed = proxy_remove(&proxy, &origin.url("/one"));
    assert_eq!(removed, 1);
    let two = proxy.get(&origin.url("/two"));
    assert!(two.is_hit() && two.body == body);
}

#[test]
fn head_is_answered_from_a_stored_get() {
    let origin = Origin::start(|_, reply| reply.fresh("hello"));
    let proxy = Proxy::start();
    let url = origin.url("/");
    proxy.get(&url);
    let head = proxy.connect().call("HEAD", &url, &[], b"");
    assert!(head.is_hit());
    assert_eq!(
        (head.status, head.field("content-length"), head.field("accept-ranges")),
        (200, Some("5"), Some("bytes"))
    );
}

#[test]
fn only_if_cached_is_504_without_a_hit() {
    let origin = Origin::start(|_, reply| reply.fresh("x"));
    let proxy = Proxy::start();
    let url = origin.url("/");
    assert_eq!(proxy.get_with(&url, &["Cache-Control: only-if-cached"]).status, 504);
    assert_eq!(origin.count(), 0);
    proxy.get(&url);
    assert!(proxy.get_with(&url, &["Cache-Control: only-if-cached"]).is_hit());
}

#[test]
fn stored_fields_come_back_in_order_and_case() {
    let fields = [
        "X-ZZ: 1",
        "x-Aa: 2",
        "Set-Cookie: a=1",
        "Cache-Control: max-age=60",
        "set-cookie: b=2",
        "ETag: \"e\"",
    ];
    let origin = Origin::start(move |_, reply| reply.send(200, &fields, b"x"));
    let proxy = Proxy::start();
    let url = origin.url("/");
    for _ in 0..2 {
        let response = proxy.get(&url);
        let lines: Vec<String> =
            response.head.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(lines[..fields.len()], fields);
    }
    assert_eq!(origin.count(), 1);
}

fn proxy_remove(proxy: &Proxy, url: &str) -> usize {
    let key = larder_policy::CacheKey::of(&larder_policy::TargetUri::parse(url.as_bytes()).unwrap());
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(proxy.store().remove(&key))
}

/// Paths of all files below a directory.
pub fn files_under(directory: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return files };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else if path.is_file() {
            // Not the control socket.
            files.push(path.display().to_string());
        }
    }
    files
}
