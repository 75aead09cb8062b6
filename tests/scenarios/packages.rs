//! Paths of package repositories: what never changes and what changes often, also where the origin says nothing of freshness.

use larder_policy::packages::{Active, RuleId};

use super::intercept::opening;
use crate::support::tls::{TlsOrigin, authority, client_config};
use crate::support::{After, Gate, Origin, Proxy, Response, bytes};

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

/// What a gateway sends that has nothing to say.
const SILENT: [&str; 2] = ["Content-Type: application/octet-stream", "Date: Thu, 01 Jan 2026 00:00:00 GMT"];

/// One path for each rule about what never changes, and none that promises a digest.
const ARTEFACTS: [(&str, &str); 11] = [
    ("apt-pool", "/debian/pool/main/h/hello/hello_2.10-3_amd64.deb"),
    ("cargo-crate", "/api/v1/crates/serde/1.0.219/download"),
    (
        "pypi-file",
        "/packages/ab/cd/0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e/x-1.0-py3-none-any.whl",
    ),
    ("npm-tarball", "/@babel%2fcore/-/core-7.24.5.tgz"),
    ("go-module", "/golang.org/x/text/@v/v0.15.0.zip"),
    ("go-tile", "/sumdb/sum.golang.org/tile/8/0/001"),
    ("maven-release", "/maven2/org/slf4j/slf4j-api/2.0.13/slf4j-api-2.0.13.jar"),
    ("gem", "/gems/rails-7.1.3.gem"),
    ("conda-package", "/main/noarch/tzdata-2024a-h0c530f3_0.conda"),
    ("rustup-dist", "/dist/2024-05-02/rustc-1.78.0-x86_64-unknown-linux-gnu.tar.xz"),
    ("hugging-face-file", "/org/model/resolve/0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a/config.json"),
];

#[test]
fn artefacts_of_every_ecosystem_are_kept_for_ever_whatever_max_age_clients_send() {
    let origin = Origin::start(|request, reply| reply.send(200, &SILENT, request.target.as_bytes()));
    let proxy = Proxy::start();
    for (rule, path) in ARTEFACTS {
        let url = origin.url(path);
        let stored = format!("larder; fwd=uri-miss; fwd-status=200; stored; detail={rule}");
        assert_eq!(proxy.get_with(&url, &["Cache-Control: max-age=0"]).cache_status(), stored);
    }
    proxy.pass(400 * 86_400);
    for (rule, path) in ARTEFACTS {
        let hit = proxy.get_with(&origin.url(path), &["Cache-Control: max-age=0"]);
        assert_eq!(hit.cache_status(), format!("larder; hit; detail={rule}"), "{path}");
        assert_eq!(hit.text(), path);
    }
    assert_eq!(origin.count(), ARTEFACTS.len());
}

#[test]
fn a_prohibition_of_the_origin_holds_for_every_artefact() {
    for word in ["no-store", "private", "no-cache"] {
        let field = format!("Cache-Control: {word}");
        let origin = Origin::start(move |_, reply| reply.send(200, &[SILENT[0], SILENT[1], &field], b"x"));
        let proxy = Proxy::start();
        for (_, path) in ARTEFACTS {
            proxy.get(&origin.url(path));
            assert!(!proxy.get(&origin.url(path)).is_hit(), "{word}: {path}");
        }
    }
}

#[test]
fn an_artefact_that_credentials_opened_is_nobody_elses() {
    let origin = Origin::start(|_, reply| reply.send(200, &[SILENT[0], "ETag: \"a\""], b"x"));
    let proxy = Proxy::start();
    for (_, path) in ARTEFACTS {
        let url = origin.url(path);
        let first = proxy.get_with(&url, &["Authorization: Bearer a"]);
        assert!(first.cache_status().ends_with("; detail=authorization"), "{}", first.cache_status());
        for fields in [&[][..], &["Authorization: Bearer a"], &["Authorization: Bearer b"]] {
            let count = origin.count();
            proxy.get_with(&url, fields);
            assert_eq!(origin.count(), count + 1, "{path} {fields:?}");
            proxy.connect().call("DELETE", &url, &[], b"");
        }
    }
}

#[test]
fn what_credentials_opened_is_no_hit_for_anybody_else() {
    let blob = format!("/v2/private/hello/blobs/sha256:{HELLO_SHA256}");
    for credentials in ["Authorization: a", "PRIVATE-TOKEN: a", "X-JFrog-Art-Api: a", "Cookie: session=a"] {
        for word in ["max-age=0, must-revalidate", "public, max-age=0", "public"] {
            let cache_control = format!("Cache-Control: {word}");
            let origin = Origin::start(move |request, reply| {
                let (name, value) = credentials.split_once(": ").unwrap();
                let known = request.field(&name.to_ascii_lowercase()) == Some(value);
                match (known, request.field("if-none-match")) {
                    (false, _) => reply.send(401, &[], b"who are you?"),
                    (true, Some("\"v1\"")) => reply.send(304, &["ETag: \"v1\""], b""),
                    (true, _) => reply.send(200, &[SILENT[0], "ETag: \"v1\"", &cache_control], HELLO),
                }
            });
            let proxy = Proxy::start();
            for path in ["/foo/-/foo-1.0.0.tgz", &blob] {
                let (url, case) = (origin.url(path), format!("{credentials}, {word}, {path}"));
                assert_eq!(proxy.get_with(&url, &[credentials]).status, 200, "{case}");
                for others in [&[][..], &["Authorization: b"]] {
                    let refused = proxy.get_with(&url, others);
                    assert_eq!((refused.status, refused.text().as_str()), (401, "who are you?"), "{case}");
                }
                let again = proxy.get_with(&url, &[credentials]);
                assert_eq!((again.status, again.body.as_slice()), (200, HELLO), "{case}");
                assert!(again.cache_status().contains("fwd-status=304"), "{case}: {}", again.cache_status());
            }
        }
    }
}

#[test]
fn one_rule_can_be_switched_off_alone() {
    let origin = Origin::start(|_, reply| reply.send(200, &SILENT, b"x"));
    let proxy = Proxy::with(|config, _| config.policy.packages = Active::ALL.without(RuleId::NpmTarball));
    for (rule, path) in ARTEFACTS {
        proxy.get(&origin.url(path));
        assert_eq!(proxy.get(&origin.url(path)).is_hit(), rule != "npm-tarball", "{rule}");
    }
}

#[test]
fn an_index_is_fresh_for_a_while_and_asked_for_when_the_client_wants_it() {
    let origin = Origin::start(|request, reply| match request.field("if-none-match") {
        Some(_) => reply.send(304, &["ETag: \"v1\""], b""),
        None => reply.send(200, &["Content-Type: text/html", "ETag: \"v1\""], b"a page"),
    });
    let proxy = Proxy::start();
    let url = origin.url("/simple/requests/");
    let miss = proxy.get(&url);
    assert_eq!(miss.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored; detail=pypi-index");
    proxy.pass(599);
    assert_eq!(proxy.get(&url).cache_status(), "larder; hit; detail=pypi-index");
    assert_eq!(origin.count(), 1);
    let asked = proxy.get_with(&url, &["Cache-Control: max-age=0"]);
    assert_eq!(asked.cache_status(), "larder; fwd=request; fwd-status=304; stored; detail=pypi-index");
    assert_eq!(asked.text(), "a page");
    proxy.pass(600);
    assert!(proxy.get(&url).cache_status().starts_with("larder; fwd=stale; fwd-status=304"));
    assert_eq!(origin.count(), 3);
}

#[test]
fn an_index_stands_in_for_a_registry_that_is_down() {
    let down = Gate::default();
    let origin = {
        let down = down.clone();
        Origin::start(move |_, reply| {
            match down.is_open() {
                true => reply.send(503, &[], b"come back later"),
                false => reply.send(200, &["Content-Type: text/html"], b"a page"),
            };
            // No connection outlives it.
            After::Close
        })
    };
    let proxy = Proxy::start();
    let (page, other) = (origin.url("/simple/requests/"), origin.url("/other/requests/"));
    proxy.get(&page);
    proxy.get(&other);
    down.open();
    proxy.pass(6 * 86_400);
    let stale = proxy.get_with(&page, &["Cache-Control: max-age=0"]);
    assert_eq!((stale.status, stale.text()), (200, "a page".to_owned()));
    assert!(stale.cache_status().contains("detail=stale-if-error"), "{}", stale.cache_status());
    assert_eq!(proxy.get(&other).status, 503);
    proxy.pass(2 * 86_400);
    assert_eq!(proxy.get(&page).status, 503, "after a week it does no more");
    drop(origin);
    assert_eq!(proxy.get(&page).status, 200, "nothing at all is another matter");
}

/// Two formats of one document, chosen by Accept, by an origin whose Vary does not say so.
fn negotiating(short: &'static str) -> Origin {
    Origin::start(move |request, reply| {
        let wants_short = request.field("accept").is_some_and(|accept| accept.starts_with(short));
        let (kind, body) = if wants_short { (short, "short") } else { ("application/json", "full") };
        let kind = format!("Content-Type: {kind}");
        reply.send(200, &[&kind, "Cache-Control: max-age=300", "ETag: \"v1\""], body.as_bytes())
    })
}

#[test]
fn formats_of_a_document_are_kept_apart_without_vary() {
    const NPM: &str = "application/vnd.npm.install-v1+json";
    const PYPI: &str = "application/vnd.pypi.simple.v1+json";
    const OCI: &str = "application/vnd.oci.image.index.v1+json";
    for (path, short) in [
        ("/express", NPM),
        ("/@babel%2fcore", NPM),
        ("/@babel/core", NPM),
        ("/simple/requests/", PYPI),
        ("/v2/library/debian/manifests/latest", OCI),
    ] {
        let origin = negotiating(short);
        let proxy = Proxy::start();
        let url = origin.url(path);
        let (full, abridged) = (
            "Accept: application/json".to_owned(),
            format!("Accept: {short}; q=1.0, application/json; q=0.8, */*"),
        );
        for hit in [false, true] {
            for (accept, body) in [(&full, "full"), (&abridged, "short")] {
                let answer = proxy.get_with(&url, &[accept]);
                assert_eq!((answer.is_hit(), answer.text().as_str()), (hit, body), "{path} {accept}");
            }
        }
        // Weights are spelled in many ways.
        let respelled = format!("Accept: {short},application/json;q=0.5,*/*");
        assert!(proxy.get_with(&url, &[&respelled]).is_hit(), "{path}");
        assert_eq!(origin.count(), 2);
    }
}

const HELLO: &[u8] = b"hello\n";
/// `printf 'hello\n' | sha256sum`
const HELLO_SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

#[test]
fn a_blob_by_its_digest_is_kept_if_it_is_what_its_name_says() {
    let origin = Origin::start(|_, reply| reply.send(200, &SILENT, HELLO));
    let proxy = Proxy::start();
    let right = origin.url(&format!("/v2/library/hello/blobs/sha256:{HELLO_SHA256}"));
    proxy.get(&right);
    assert_eq!(proxy.get(&right).cache_status(), "larder; hit; detail=oci-blob");
    let wrong = origin.url(&format!("/v2/library/hello/manifests/sha256:{DIGEST}"));
    for _ in 0..2 {
        let answer = proxy.get(&wrong);
        assert_eq!((answer.is_hit(), answer.body.as_slice()), (false, HELLO), "passed on, not kept");
    }
}

/// A registry that takes the tokens `a` and `b`.
fn guarded() -> Origin {
    Origin::start(|request, reply| {
        match request.field("authorization") {
            Some("Bearer a" | "Bearer b") if request.field("if-none-match") == Some("\"v1\"") => {
                reply.send(304, &["ETag: \"v1\""], b"")
            }
            Some("Bearer a" | "Bearer b") => reply.send(200, &[SILENT[0], "ETag: \"v1\""], HELLO),
            _ => reply.send(401, &["WWW-Authenticate: Bearer"], b"who are you?"),
        };
        After::Close
    })
}

#[test]
fn a_private_blob_goes_to_whom_the_registry_lets_have_it() {
    let origin = guarded();
    let proxy = Proxy::start();
    let url = origin.url(&format!("/v2/private/hello/blobs/sha256:{HELLO_SHA256}"));
    let first = proxy.get_with(&url, &["Authorization: Bearer a"]);
    assert_eq!(first.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored; detail=oci-blob");
    let second = proxy.get_with(&url, &["Authorization: Bearer b"]);
    assert_eq!(second.cache_status(), "larder; fwd=stale; fwd-status=304; stored; detail=oci-blob");
    assert_eq!(second.body, HELLO);
    for fields in [&[][..], &["Authorization: Bearer c"]] {
        let refused = proxy.get_with(&url, fields);
        assert_eq!((refused.status, refused.text().as_str()), (401, "who are you?"), "{fields:?}");
    }
    assert_eq!(proxy.get_with(&url, &["Authorization: Bearer a"]).body, HELLO);
    assert!(origin.received()[1..].iter().all(|request| request.field("if-none-match") == Some("\"v1\"")));
    drop(origin);
    let away = proxy.get_with(&url, &["Authorization: Bearer a"]);
    assert!(away.status >= 500, "nobody is there to judge: {}", away.status);
}

/// A URL that is signed with Signature Version 4.
fn signed(origin: &Origin, path: &str, signature: &str) -> String {
    origin.url(&format!(
        "{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2Fx&X-Amz-Date=20260101T000000Z\
         &X-Amz-Expires=1200&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
    ))
}

/// An object store that knows the signatures `01` and `02`, and one object wherever it is asked for.
fn object_store() -> Origin {
    Origin::start(|request, reply| {
        let known = ["=01", "=02"].iter().any(|signature| request.target.ends_with(signature));
        match (known, request.field("if-none-match")) {
            (false, _) => reply.send(404, &["Cache-Control: max-age=600"], b"no such object"),
            (true, Some("\"v1\"")) => reply.send(304, &["ETag: \"v1\""], b""),
            (true, _) => reply.send(200, &[SILENT[0], "ETag: \"v1\"", "Cache-Control: max-age=600"], HELLO),
        };
        // No connection outlives it.
        After::Close
    })
}

#[test]
fn an_object_behind_signed_urls_is_one_object_if_its_digest_is_right() {
    let origin = object_store();
    let proxy = Proxy::start();
    let path = format!("/docker/registry/v2/blobs/sha256/58/{HELLO_SHA256}/data");
    assert_eq!(
        proxy.get(&signed(&origin, &path, "01")).cache_status(),
        "larder; fwd=uri-miss; fwd-status=200; stored; detail=signed-object"
    );
    let shared = proxy.get(&signed(&origin, &path, "02"));
    assert_eq!(
        (shared.cache_status(), shared.body.as_slice()),
        ("larder; fwd=stale; fwd-status=304; stored; detail=signed-object", HELLO)
    );
    let received = origin.received();
    assert!(
        received[0].target.ends_with("=01") && received[1].target.ends_with("=02"),
        "as the client signed"
    );
    let other = format!("/docker/registry/v2/blobs/sha256/8c/{DIGEST}/data");
    for (path, signature) in [(&other, "01"), (&other, "02"), (&other, "01")] {
        let answer = proxy.get(&signed(&origin, path, signature));
        assert!(
            answer.cache_status().starts_with("larder; fwd=uri-miss; fwd-status=200"),
            "the digest is wrong"
        );
    }
    let asset = "/release-asset/1/file-1.0.tar.gz".to_owned();
    for signature in ["01", "02"] {
        let answer = proxy.get(&signed(&origin, &asset, signature));
        assert!(answer.cache_status().starts_with("larder; fwd=uri-miss"), "{}", answer.cache_status());
    }
}

#[test]
fn a_signature_opens_what_the_origin_says_it_opens() {
    let origin = object_store();
    let proxy = Proxy::start();
    let path = format!("/lfs/{HELLO_SHA256}");
    let (mine, forged) = (signed(&origin, &path, "01"), signed(&origin, &path, "666"));
    // What a forged signature gets is kept for nobody.
    for _ in 0..2 {
        assert_eq!(proxy.get(&forged).status, 404);
        assert_eq!(proxy.get(&mine).body, HELLO);
    }
    assert_eq!(proxy.get(&forged).text(), "no such object");
    let again = proxy.get(&mine);
    assert!(
        again.cache_status().starts_with("larder; fwd=stale; fwd-status=304"),
        "{}",
        again.cache_status()
    );
    drop(origin);
    assert!(proxy.get(&mine).status >= 500, "nobody is there to judge");
}

#[test]
fn a_signed_object_without_a_validator_is_not_shared() {
    let origin = Origin::start(|_, reply| reply.send(200, &[SILENT[0], "Cache-Control: max-age=600"], HELLO));
    let proxy = Proxy::start();
    let path = format!("/lfs/{HELLO_SHA256}");
    for signature in ["01", "02", "01"] {
        let answer = proxy.get(&signed(&origin, &path, signature));
        assert_eq!(answer.cache_status(), "larder; fwd=uri-miss; fwd-status=200; detail=no-freshness");
    }
}

#[test]
fn a_request_without_a_signature_never_meets_a_signed_object() {
    let origin = object_store();
    let proxy = Proxy::start();
    let path = format!("/lfs/{HELLO_SHA256}");
    for (query, extra) in [("?", ""), ("?x=1", "x=1&")] {
        let mine = signed(&origin, &path, "01").replace('?', &format!("?{extra}"));
        let bare = origin.url(&format!("{path}{query}"));
        // The unsigned request's answer is its own, before and after.
        assert_eq!(proxy.get(&bare).status, 404, "{query}");
        assert_eq!(proxy.get(&mine).body, HELLO, "{query}");
        let hit = proxy.get(&bare);
        assert_eq!((hit.is_hit(), hit.text().as_str()), (true, "no such object"), "{query}");
    }
}

#[test]
fn nobody_sees_a_signed_object_of_anothers_before_it_is_proved() {
    let (gate, path) = (Gate::default(), format!("/lfs/{HELLO_SHA256}"));
    let origin = {
        let gate = gate.clone();
        Origin::start(move |request, reply| {
            if request.target.ends_with("=02") {
                return reply.send(403, &[], b"no");
            }
            if request.field("if-none-match") == Some("\"v1\"") {
                return reply.send(304, &["ETag: \"v1\""], b"");
            }
            if request.field("range").is_some() {
                let fields = ["Content-Range: bytes 0-1/6", "ETag: \"v1\"", "Cache-Control: max-age=600"];
                return reply.send(206, &fields, b"he");
            }
            reply.raw("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 6\r\n\r\nhel");
            gate.wait();
            reply.raw("lo\n");
            After::Keep
        })
    };
    let proxy = Proxy::start();
    let (mine, anothers) = (signed(&origin, &path, "01"), signed(&origin, &path, "02"));
    assert_eq!(proxy.get_with(&mine, &["Range: bytes=0-1"]).status, 206);
    assert_eq!(proxy.get_with(&anothers, &["Range: bytes=0-1"]).status, 403, "a part is no proof");
    let mut first = proxy.connect();
    first.request("GET", &mine, &[]);
    origin.wait_for(3);
    assert_eq!(proxy.get(&anothers).status, 403, "nor is the beginning");
    gate.open();
    assert_eq!(first.response("GET").body, HELLO);
    assert_eq!(proxy.get(&anothers).status, 403, "nor is the digest a right");
    let shared = proxy.get(&signed(&origin, &path, "03"));
    assert_eq!((shared.body.as_slice(), shared.field("etag")), (HELLO, Some("\"v1\"")));
    assert!(shared.cache_status().contains("fwd-status=304"), "{}", shared.cache_status());
}

/// Serves one wheel like a plain file server: HEAD, and ranges of both kinds.
fn wheels(body: Vec<u8>, extra: &'static [&'static str]) -> Origin {
    Origin::start(move |request, reply| {
        let mut fields = SILENT.to_vec();
        fields.extend(extra);
        let length = body.len();
        if request.method == "HEAD" {
            let mut head = "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\n".to_owned();
            fields.iter().for_each(|field| head.push_str(&format!("{field}\r\n")));
            reply.raw(format!("{head}Content-Length: {length}\r\n\r\n"));
            return After::Keep;
        }
        let Some(range) = request.field("range").and_then(|range| range.strip_prefix("bytes=")) else {
            fields.push("Accept-Ranges: bytes");
            return reply.send(200, &fields, &body);
        };
        let (first, last) = range.split_once('-').unwrap();
        let range = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), last) => first..last.map_or(length, |last| (last + 1).min(length)),
            (Err(_), last) => length - last.unwrap()..length,
        };
        let place = format!("Content-Range: bytes {}-{}/{length}", range.start, range.end - 1);
        fields.push(&place);
        reply.send(206, &fields, &body[range])
    })
}

/// uv without a metadata file: how long is it, its last 16 KiB, and then all of it.
fn uv(proxy: &Proxy, url: &str, body: &[u8]) -> [Response; 3] {
    let mut client = proxy.connect();
    let head = client.call("HEAD", url, &[], b"");
    assert_eq!(head.field("accept-ranges"), Some("bytes"));
    assert_eq!(head.field("content-length"), Some(body.len().to_string().as_str()));
    let from = body.len() - 16 * 1024;
    let tail = client.get(url, &[&format!("Range: bytes={from}-{}", body.len() - 1)]);
    assert_eq!((tail.status, tail.body.as_slice()), (206, &body[from..]));
    let whole = client.get(url, &[]);
    assert_eq!((whole.status, whole.body.as_slice()), (200, body));
    [head, tail, whole]
}

#[test]
fn uv_reads_the_end_of_a_wheel_and_then_all_of_it() {
    const VALID: &[&str] = &["ETag: \"w\"", "Cache-Control: max-age=600"];
    let body = bytes(7, 100_000);
    let (_, path) = ARTEFACTS[2];
    for (extra, whole) in [(&[][..], true), (VALID, false)] {
        let origin = wheels(body.clone(), extra);
        let proxy = Proxy::start();
        let url = origin.url(path);
        uv(&proxy, &url, &body);
        let plain = |request: &crate::support::origin::Received| {
            request.method == "GET" && request.field("range").is_none()
        };
        // What says which bytes belong together is completed; the rest is fetched whole, once.
        assert_eq!(origin.received().iter().filter(|request| plain(request)).count(), usize::from(whole));
        let count = origin.count();
        for answer in uv(&proxy, &url, &body) {
            assert_eq!(answer.cache_status(), "larder; hit; detail=pypi-file");
        }
        assert_eq!(origin.count(), count, "the second time nobody is asked");
    }
}

#[test]
fn packages_inside_opened_tunnels_need_no_registry_the_second_time() {
    let known = authority();
    let origin = TlsOrigin::answering(&known, "localhost", |head| {
        let path = head.line.split(' ').nth(1).unwrap_or("");
        let type_and_date = SILENT.join("\r\n");
        format!("HTTP/1.1 200 OK\r\n{type_and_date}\r\nContent-Length: {}\r\n\r\n{path}", path.len())
            .into_bytes()
    });
    let (proxy, trusted) = opening(&known, |_| {});
    let to = origin.authority();
    for hit in [false, true] {
        let connections = origin.connections();
        let tunnel = proxy.connect().tunnel(&to);
        let mut inside = tunnel.tls("localhost", client_config(&trusted, &["http/1.1"])).unwrap();
        for (rule, path) in ARTEFACTS {
            let answer = inside.ask(&to, path, &["Cache-Control: max-age=0"]);
            assert_eq!((answer.is_hit(), answer.text().as_str()), (hit, path), "{}", answer.cache_status());
            assert!(
                answer.cache_status().ends_with(&format!("; detail={rule}")),
                "{}",
                answer.cache_status()
            );
        }
        assert_eq!(origin.count(), ARTEFACTS.len());
        assert_eq!(origin.connections() == connections, hit, "a hit needs no connection");
    }
}
