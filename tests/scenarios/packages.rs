//! Paths of package repositories that never change, also where the upstream says nothing of freshness.

use larder_policy::packages::Active;

use crate::support::{After, Origin, Proxy};

/// A digest that nothing here has.
const DIGEST: &str = "8c8f4e1a0ac02fbc2c9f4d80a3ab2a1ff1e2a8b9a9b1f9d6ad2f1ab6f2c3a0b7";

#[test]
fn a_deb_without_any_freshness_is_kept_for_ever() {
    let origin =
        Origin::start(|_, reply| reply.send(200, &["Content-Type: application/octet-stream"], b"a package"));
    let proxy = Proxy::start();
    let url = origin.url("/debian/pool/main/h/hello/hello_2.10-3_amd64.deb");
    proxy.get(&url);
    proxy.pass(400 * 86_400);
    for fields in [&[][..], &["Cache-Control: max-age=0"]] {
        let hit = proxy.get_with(&url, fields);
        assert!(hit.is_hit(), "{fields:?}: {}", hit.cache_status());
    }
    assert_eq!(origin.count(), 1);
    proxy.get_with(&url, &["Cache-Control: no-cache"]);
    assert_eq!(origin.count(), 2, "no-cache asks the origin");
}

#[test]
fn other_paths_get_no_such_favour() {
    let origin = Origin::start(|_, reply| reply.send(200, &[], b"x"));
    let proxy = Proxy::start();
    for path in ["/debian/stable/Release", "/pool/readme.txt", "/hello.deb", "/by-hash/SHA256/xyz"] {
        proxy.get(&origin.url(path));
        assert!(!proxy.get(&origin.url(path)).is_hit(), "{path}");
    }
}

#[test]
fn the_origins_no_store_beats_the_rule() {
    let origin = Origin::start(|_, reply| reply.send(200, &["Cache-Control: no-store"], b"x"));
    let proxy = Proxy::start();
    let url = origin.url("/debian/pool/main/h/hello/hello_2.10-3_amd64.deb");
    proxy.get(&url);
    assert!(!proxy.get(&url).is_hit());
}

#[test]
fn a_body_that_is_not_what_its_url_says_is_not_kept() {
    let origin = Origin::start(|request, reply| match request.target.contains(DIGEST) {
        true => reply.send(200, &[], b"something else"),
        false => reply.send(200, &[], b"hello\n"),
    });
    let proxy = Proxy::start();
    let wrong = origin.url(&format!("/debian/dists/stable/main/binary-amd64/by-hash/SHA256/{DIGEST}"));
    for _ in 0..2 {
        let answer = proxy.get(&wrong);
        assert!(!answer.is_hit());
        assert_eq!(answer.text(), "something else", "what the origin sent is passed on");
    }
    // printf 'hello\n' | sha256sum
    let right =
        origin.url("/x/by-hash/SHA256/5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    proxy.get(&right);
    assert!(proxy.get(&right).is_hit());
}

#[test]
fn only_a_whole_200_is_kept() {
    let origin = Origin::start(|request, reply| {
        if request.target.contains("close") {
            reply.raw("HTTP/1.1 200 OK\r\n\r\nuntil the end");
            return After::Close;
        }
        reply.send(404, &[], b"no such package")
    });
    let proxy = Proxy::start();
    for name in ["close_1.0_amd64.deb", "missing_1.0_amd64.deb"] {
        let url = origin.url(&format!("/debian/pool/main/x/{name}"));
        proxy.get(&url);
        assert!(!proxy.get(&url).is_hit(), "{name}");
    }
}

#[test]
fn the_rules_can_be_switched_off() {
    let origin = Origin::start(|_, reply| reply.send(200, &[], b"x"));
    let proxy = Proxy::with(|config, _| config.policy.packages = Active::NONE);
    let url = origin.url("/debian/pool/main/h/hello/hello_2.10-3_amd64.deb");
    proxy.get(&url);
    assert!(!proxy.get(&url).is_hit());
}
