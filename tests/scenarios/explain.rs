//! `larder explain` as a user runs it: beside a running proxy, without one, and against what the proxy really does.

use std::path::Path;

use serde_json::Value;

use crate::support::process::run;
use crate::support::{Larder, Origin, Response};

/// What `larder explain` prints for a request.
fn told(cache: &Path, arguments: &[&str]) -> String {
    let output = run(&[&["explain", "--cache-dir", cache.to_str().unwrap()], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one answer in its JSON.
fn answer(cache: &Path, arguments: &[&str]) -> Value {
    let told: Value = serde_json::from_str(&told(cache, &[&["--json"], arguments].concat())).unwrap();
    assert_eq!(told["answers"].as_array().unwrap().len(), 1);
    told["answers"][0].clone()
}

fn decision(answer: &Value) -> &str {
    answer["decision"].as_str().unwrap()
}

#[test]
fn what_is_explained_is_what_then_happens() {
    let origin = Origin::start(|request, reply| {
        let fields = match &*request.target {
            "/fresh" => "Cache-Control: max-age=600\r\n",
            "/stale" => "Cache-Control: max-age=0\r\nETag: \"v1\"\r\n",
            "/never" => "Cache-Control: no-store\r\n",
            _ => "Cache-Control: max-age=600\r\nVary: Accept-Language\r\n",
        };
        reply.raw(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhello"));
        crate::support::After::Keep
    });
    let directory = tempfile::tempdir().unwrap();
    let proxy = Larder::serve(directory.path(), &[]);
    let french = "Accept-Language: fr";
    for path in ["/fresh", "/stale", "/never", "/vary"] {
        proxy.connect().get(&origin.url(path), &[french]);
    }
    let asked = origin.count();
    for (path, fields, expected) in [
        ("/fresh", &[french][..], "serve"),
        ("/fresh", &["Cache-Control: max-age=0"], "forward"),
        ("/stale", &[], "validate"),
        ("/never", &[], "forward"),
        ("/vary", &[french], "serve"),
        ("/vary", &["Accept-Language: de"], "forward"),
        ("/unheard-of", &[], "forward"),
    ] {
        let url = origin.url(path);
        let mut arguments: Vec<&str> = fields.iter().flat_map(|field| ["-H", field]).collect();
        arguments.push(&url);
        let before = answer(directory.path(), &arguments);
        assert_eq!(decision(&before), expected, "{path} {fields:?}: {before}");
        let said = before["cache_status"].as_str().unwrap().to_owned();
        let after: Response = proxy.connect().get(&url, fields);
        assert!(after.cache_status().starts_with(&said), "{path}: {said}, then {}", after.cache_status());
    }
    assert!(origin.count() > asked);
}

#[test]
fn nothing_is_asked_of_an_origin_and_no_request_is_counted() {
    let origin = Origin::start(|_, reply| reply.fresh("hello"));
    let directory = tempfile::tempdir().unwrap();
    let proxy = Larder::serve(directory.path(), &[]);
    for _ in 0..3 {
        let text = told(directory.path(), &[&origin.url("/a")]);
        assert!(
            text.contains("Not a hit: larder asks the origin.") && text.contains("RFC 9111, 4"),
            "{text}"
        );
    }
    assert_eq!(origin.count(), 0);
    proxy.connect().get(&origin.url("/a"), &[]);
    let text = told(directory.path(), &[&origin.url("/a")]);
    assert!(text.contains("A hit") && text.contains("Cache-Status: larder; hit"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn without_a_running_proxy_the_store_is_opened_and_judged_by_the_configuration() {
    let origin = Origin::start(|_, reply| reply.fresh("hello"));
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let file = directory.path().join("larder.toml");
    std::fs::write(
        &file,
        "[[override]]\nname = \"tracking\"\nignore_query = [\"utm_*\"]\nfresh_for = \"1h\"\nmax_fresh = \"2h\"\n",
    )
    .unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let proxy = Larder::serve(&cache, &config);
    proxy.connect().get(&origin.url("/a?utm_source=x"), &[]);
    let url = origin.url("/a?utm_source=y");
    let arguments = [&config[..], &[&url]].concat();
    let beside = answer(&cache, &arguments);
    proxy.signal("TERM");
    proxy.wait();
    let alone = answer(&cache, &arguments);
    for answer in [&beside, &alone] {
        assert_eq!(decision(answer), "serve", "{answer}");
        assert_eq!(answer["key"], Value::from(origin.url("/a")));
        let rules = answer["rules"].as_array().unwrap();
        assert!(rules.iter().all(|rule| rule["name"] == "tracking"), "{rules:?}");
        assert_eq!(rules.len(), 2, "{rules:?}");
    }
    let without = answer(&cache, &[&url]);
    assert_eq!(decision(&without), "forward", "the key is another one without the override");
    let purge = |config: &[&str]| {
        let output = run(&[&["purge", "--cache-dir", cache.to_str().unwrap()], config, &[&url]].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(purge(&[]), "nothing was stored that matches\n");
    assert_eq!(purge(&config), "removed 1 stored response, 5 B\n");
}

#[test]
fn what_cannot_be_asked_is_told_by_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("none");
    let code = |arguments: &[&str]| {
        let output = run(&[&["explain", "--cache-dir", cache.to_str().unwrap()], arguments].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (failed, said) = code(&["http://a.example/"]);
    assert!(failed == Some(1) && said.contains("there is no cache at"), "{said}");
    let (usage, said) = code(&["a.example/x"]);
    assert!(usage == Some(2) && said.contains("write `http://a.example/x`"), "{said}");
    let (usage, said) = code(&["-H", "Accept-Language=de", "http://a.example/"]);
    assert!(usage == Some(2) && said.contains("write `Accept-Language: de`"), "{said}");
}
