//! The short way of a hit gives what the long way gives.
//!
//! A `Via` that names another proxy sends any request the long way, and means nothing else to a hit.

use larder_server::config::{AccessLogFormat, AccessLogSettings, AccessLogTarget};

use crate::support::{Origin, Proxy, Response, eventually};

/// Whether two answers are the same to the letter, the order and case of fields included.
fn assert_same(short: &Response, long: &Response, what: &str) {
    assert_eq!(short.head.line, long.head.line, "{what}");
    assert_eq!(short.head.fields, long.head.fields, "{what}");
    assert!(short.body == long.body, "{what}");
}

fn origin() -> Origin {
    Origin::start(|request, reply| {
        let fresh = "Cache-Control: max-age=1000";
        match request.target.as_str() {
            "/plain" => reply.send(200, &[fresh, "ETag: \"a\"", "content-type: text/plain"], b"plain"),
            "/aged" => reply.send(200, &[fresh, "aGe: 7", "X-After: age"], b"aged"),
            "/ranges" => reply.send(200, &[fresh, "Accept-Ranges: none"], b"ranges"),
            "/empty" => reply.send(200, &[fresh], b""),
            "/lost" => reply.send(404, &[fresh], b"lost"),
            "/moved" => reply.send(301, &[fresh, "Location: /plain"], b""),
            "/none" => reply.send(204, &[fresh], b""),
            "/large" => reply.send(200, &[fresh], &crate::support::bytes(1, 60_000)),
            "/larger" => reply.send(200, &[fresh], &crate::support::bytes(2, 600_000)),
            "/serde/1.0.0/download" => reply.send(200, &["Content-Type: application/gzip"], b"crate"),
            "/vary" => {
                let body = request.field("accept-encoding").unwrap_or("none").to_owned();
                reply.send(200, &[fresh, "Vary: Accept-Encoding"], body.as_bytes())
            }
            "/vary-host" => reply.send(200, &[fresh, "Vary: X-Forwarded-Proto, X-Odd"], b"host"),
            "/stale" => reply.send(200, &["Cache-Control: max-age=1", "ETag: \"s\""], b"stale"),
            _ => reply.send(200, &[fresh], request.target.as_bytes()),
        }
    })
}

const PATHS: [&str; 17] = [
    "/plain",
    "/aged",
    "/ranges",
    "/empty",
    "/lost",
    "/moved",
    "/none",
    "/large",
    "/larger",
    "/serde/1.0.0/download",
    "/vary",
    "/vary-host",
    "/stale",
    "/query?a=b&c",
    "/dots/../x",
    "/%41",
    "//",
];

const FIELDS: [&[&str]; 16] = [
    &[],
    &["Connection: keep-alive"],
    &["Connection: X-Odd", "X-Odd: 1"],
    &["X-Odd: 1"],
    &["Accept-Encoding: gzip"],
    &["accept-encoding: br;q=1.0, gzip;q=0.5"],
    &["Accept-Encoding:  gzip  ", "Accept-Encoding: br"],
    &["User-Agent: a/1", "Referer: http://r.example/"],
    &["Cookie: a=b", "Sec-Fetch-Mode: navigate", "DNT: 1", "Priority: u=1"],
    &["Cache-Control: no-cache"],
    &["Cache-Control: max-age=0"],
    &["Pragma: no-cache"],
    &["Range: bytes=1-2"],
    &["If-None-Match: \"a\""],
    &["Authorization: Basic eA=="],
    &["X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example"],
];

fn both_ways(proxy: &Proxy, ask: impl Fn(&str, &[&str]) -> Response) {
    for path in PATHS {
        for fields in FIELDS {
            // So that something is there that answers, if anything can.
            ask(path, fields);
        }
    }
    proxy.pass(3);
    for path in PATHS {
        for fields in FIELDS {
            let short = ask(path, fields);
            let long = ask(path, &[fields, &["Via: 1.1 elsewhere"]].concat());
            // The first one may have asked the origin, of which the second one sees what came of it.
            if short.is_hit() {
                assert_same(&short, &long, &format!("{path} {fields:?}"));
            }
        }
    }
}

#[test]
fn a_hit_is_the_same_whichever_way_it_took() {
    let origin = origin();
    let proxy = Proxy::start();
    both_ways(&proxy, |path, fields| proxy.get_with(&origin.url(path), fields));
    let hits = proxy.figures().outcomes["memory-hit"];
    assert!(hits > 200, "{hits}");
}

#[test]
fn a_hit_of_a_reverse_proxy_is_the_same_whichever_way_it_took() {
    let origin = origin();
    let proxy = Proxy::before(&origin.url("/"));
    both_ways(&proxy, |path, fields| proxy.connect().ask("www.example", path, fields));
}

#[test]
fn the_log_has_the_same_line_whichever_way_a_hit_took() {
    let origin = origin();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let target = AccessLogTarget::File(path.clone());
    let proxy = Proxy::with(move |config, _| {
        config.access_log = Some(AccessLogSettings { target: target.clone(), format: AccessLogFormat::Json });
    });
    let fields = ["User-Agent: tool/1", "Referer: http://r.example/"];
    // One connection, so that each line is there before the next request.
    let mut client = proxy.connect();
    for path in ["/plain", "/serde/1.0.0/download", "/large"] {
        client.get(&origin.url(path), &[]);
        client.get(&origin.url(path), &fields);
        client.get(&origin.url(path), &[&fields[..], &["Via: 1.1 elsewhere"]].concat());
    }
    eventually("all are counted", || {
        let outcomes = proxy.figures().outcomes;
        (outcomes["memory-hit"], outcomes["miss"]) == (6, 3)
    });
    proxy.server().drain();
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            for of_each in ["duration_ms", "client_port", "time"] {
                assert!(line.as_object_mut().unwrap().remove(of_each).is_some());
            }
            line
        })
        .collect();
    assert_eq!(lines.len(), 9);
    for answers in lines.chunks(3) {
        assert_eq!(answers[1], answers[2]);
        assert_eq!(
            (&answers[1]["outcome"], &answers[1]["user_agent"]),
            (&"memory-hit".into(), &"tool/1".into())
        );
    }
}

#[test]
fn pipelined_hits_are_answered_in_order() {
    let origin = origin();
    let proxy = Proxy::start();
    let paths = ["/plain", "/large", "/aged", "/larger", "/empty"];
    for path in paths {
        proxy.get(&origin.url(path));
    }
    let mut client = proxy.connect();
    for path in paths {
        client.request("GET", &origin.url(path), &[]);
    }
    for path in paths {
        let answer = client.response("GET");
        assert!(answer.is_hit());
        assert_same(&answer, &proxy.get_with(&origin.url(path), &["Via: 1.1 elsewhere"]), path);
    }
}

#[test]
fn a_client_that_takes_its_time_gets_all_of_a_hit() {
    let origin = origin();
    let proxy = Proxy::start();
    let url = origin.url("/large");
    proxy.get(&url);
    let mut client = proxy.connect();
    // More than the sockets hold between them: the proxy has to wait for the client.
    let count = 400;
    for _ in 0..count {
        client.request("GET", &url, &[]);
    }
    for _ in 0..count {
        let answer = client.response("GET");
        assert!(answer.is_hit() && answer.body.len() == 60_000);
    }
}
