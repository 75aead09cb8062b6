//! The API over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_policy::{
    CacheKey, Exchange, Fields, PolicySettings, RequestFacts, TargetUri, Timestamp, storability,
};
use larder_storage::{Options, Store};
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::config::{Admin, Config};
use crate::metrics::tests::{miss, transaction};
use crate::metrics::{Figures, Metrics};

const TOKEN: &str = "s3cret";

struct Running {
    control: Handle,
    store: Store,
    dir: TempDir,
}

impl Running {
    fn start(token: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path())).unwrap();
        let clock = Clock::manual(Timestamp::from_secs(1_000));
        let metrics = Arc::new(Metrics::new(Timestamp::from_secs(940)));
        metrics.record(&transaction());
        metrics.record(&miss());
        let admin = Admin { address: "127.0.0.1:0".parse().unwrap(), token: token.map(str::to_owned) };
        let config =
            Config { control_socket: Some(socket_path(dir.path())), admin: Some(admin), ..Config::default() };
        let flights = Arc::new(crate::collapse::Flights::new(1, std::time::Duration::ZERO));
        let control = start(&config, &metrics, &store, &clock, &flights).unwrap().unwrap();
        Self { control, store, dir }
    }

    fn address(&self) -> SocketAddr {
        self.control.address().unwrap()
    }

    /// Stores a response for each URL, all with this tag.
    async fn store(&self, tag: &str, urls: &[&str]) {
        for url in urls {
            let target = TargetUri::parse(url.as_bytes()).unwrap();
            let mut response = Fields::new();
            for (name, value) in
                [("Cache-Control", "max-age=3600"), ("Cache-Tag", tag), ("Content-Length", "4")]
            {
                response.push(name, value.as_bytes()).unwrap();
            }
            let exchange = Exchange {
                facts: &RequestFacts::of(&Method::GET, &Fields::new()),
                target: &target,
                request: &Fields::new(),
                status: StatusCode::OK,
                response: &response,
                request_time: Timestamp::from_secs(1_000),
                response_time: Timestamp::from_secs(1_000),
                framing_sound: true,
            };
            let stored = storability(&PolicySettings::default(), &exchange, None).unwrap();
            let mut fill = self.store.begin(CacheKey::of(&target), stored, Some(4), None);
            fill.write(Bytes::from_static(b"body")).await.unwrap();
            assert!(fill.finish().await.is_some());
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.dir.path()).unwrap().unwrap()
    }

    /// Status and whole answer to a request over TCP, written as it stands.
    fn tcp(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.tcp(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
    }

    fn post(&self, path: &str, fields: &str, body: &str) -> (u16, String) {
        let length = body.len();
        self.tcp(&format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        ))
    }
}

#[test]
fn reading_needs_no_token() {
    let running = Running::start(None);
    let (status, health) = running.get("/health");
    assert_eq!(status, 200);
    assert!(health.ends_with("\r\n\r\n{\"status\":\"ok\"}"), "{health}");
    assert!(health.contains("cache-control: no-store\r\n"), "{health}");
    let (status, metrics) = running.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(metrics.contains("\nlarder_requests_total{outcome=\"miss\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nlarder_store_objects 0\n"), "{metrics}");
    let (status, list) = running.get("/?any=query");
    assert_eq!(status, 200);
    assert!(list.contains("POST /purge"), "{list}");
}

#[test]
fn the_figures_are_the_same_through_both_doors() {
    let running = Running::start(None);
    let figures = running.client().stats().unwrap();
    assert_eq!((figures.requests, figures.uptime_seconds, figures.hit_ratio), (2, 60, Some(0.5)));
    assert!(figures.store.is_some());
    // The store is on its way up and changes.
    let without_store = |figures: Figures| Figures { store: None, ..figures };
    let (status, answer) = running.get("/stats");
    assert_eq!(status, 200);
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(without_store(serde_json::from_str(body).unwrap()), without_store(figures));
}

#[test]
fn a_head_request_gets_no_content() {
    let running = Running::start(None);
    let (status, answer) = running.tcp("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status, 200);
    assert!(answer.ends_with("\r\n\r\n") && answer.contains("content-length: 15\r\n"), "{answer}");
}

#[tokio::test]
async fn stored_responses_are_purged_by_url_host_tag_and_all_together() {
    let running = Running::start(None);
    running.store("a, b", &["http://one.example/1", "http://one.example:81/2", "http://two.example/1"]).await;
    running.store("b", &["http://two.example/2", "http://three.example/1", "http://three.example/2"]).await;
    assert_eq!(running.client().stats().unwrap().store.unwrap().objects, 6);
    for (what, removed) in [
        (Purge::Url("http://two.example:80/2".to_owned()), 1),
        (Purge::Url("http://two.example/2".to_owned()), 0),
        (Purge::Host("ONE.example".to_owned()), 2),
        (Purge::Tag("a".to_owned()), 1),
        (Purge::All(true), 2),
        (Purge::All(true), 0),
    ] {
        assert_eq!(running.client().purge(&what).unwrap(), Removed { removed }, "{what:?}");
    }
}

#[tokio::test]
async fn verifying_tells_what_was_proved() {
    let running = Running::start(None);
    running.store("a", &["http://one.example/1", "http://one.example/2"]).await;
    for repair in [false, true] {
        let verified = running.client().verify(Verify { repair }).unwrap();
        assert!(verified.sound);
        assert_eq!((verified.records, verified.body_bytes, verified.dropped), (2, 8, 0));
    }
}

#[test]
fn tcp_may_change_things_with_the_token_only() {
    let running = Running::start(Some(TOKEN));
    let body = r#"{"all":true}"#;
    let (status, answer) = running.post("/purge", "", body);
    assert_eq!(status, 401);
    assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    assert_eq!(running.post("/purge", "Authorization: Bearer wrong\r\n", body).0, 401);
    let (status, answer) = running.post("/purge", "Authorization: Bearer s3cret\r\n", body);
    assert_eq!(status, 200);
    assert!(answer.ends_with("\r\n\r\n{\"removed\":0}"), "{answer}");
    let from_a_page = "Authorization: Bearer s3cret\r\nOrigin: http://evil.example\r\n";
    assert_eq!(running.post("/purge", from_a_page, body).0, 403);
    assert_eq!(running.post("/verify", "Authorization: Bearer s3cret\r\n", "").0, 200);
}

#[test]
fn without_a_configured_token_tcp_is_told_how_to_set_one() {
    let running = Running::start(None);
    let (status, answer) = running.post("/purge", "Authorization: Bearer \r\n", r#"{"all":true}"#);
    assert_eq!(status, 403);
    assert!(answer.contains("set `token` under `[admin]`"), "{answer}");
}

#[test]
fn a_name_made_to_resolve_here_reads_nothing() {
    let running = Running::start(Some(TOKEN));
    let (status, answer) = running.tcp("GET /stats HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    assert_eq!(status, 421);
    assert!(!answer.contains("requests"), "{answer}");
    let with_token = "GET /stats HTTP/1.1\r\nHost: proxy.example\r\nAuthorization: Bearer s3cret\r\n\r\n";
    assert_eq!(running.tcp(with_token).0, 200);
}

#[test]
fn wrong_paths_methods_and_bodies_are_told_as_json() {
    let running = Running::start(Some(TOKEN));
    let authorized = "Authorization: Bearer s3cret\r\n";
    let (status, answer) = running.get("/nowhere");
    assert_eq!(status, 404);
    assert!(answer.contains("\r\n\r\n{\"error\":\""), "{answer}");
    let (status, answer) = running.get("/purge");
    assert_eq!(status, 405);
    assert!(answer.contains("allow: POST\r\n"), "{answer}");
    let (status, answer) = running.post("/stats", authorized, "");
    assert_eq!(status, 405);
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    for body in [
        "",
        "{}",
        "nonsense",
        r#"{"all":false}"#,
        r#"{"url":"x","host":"y"}"#,
        r#"{"url":"no url"}"#,
        r#"{"some":1}"#,
    ] {
        let (status, answer) = running.post("/purge", authorized, body);
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer.contains("\r\n\r\n{\"error\":\""), "{answer}");
    }
    assert_eq!(running.post("/verify", authorized, r#"{"fix":true}"#).0, 400);
}

/// A question about a URL, without fields.
fn question(url: &str) -> Explain {
    Explain { url: url.to_owned(), method: "GET".to_owned(), fields: Vec::new() }
}

#[tokio::test]
async fn a_decision_is_explained_without_being_taken() {
    let running = Running::start(None);
    running.store("a", &["http://one.example/1"]).await;
    let told = running.client().explain(&question("HTTP://one.example:80/1")).unwrap();
    assert_eq!((&*told.url, told.answers.len()), ("http://one.example/1", 1));
    assert_eq!((told.answers[0].decision, told.answers[0].status), (Verdict::Serve, Some(200)));
    let fields = vec!["Cache-Control: no-cache, only-if-cached".to_owned()];
    let told = running.client().explain(&Explain { fields, ..question("http://one.example/1") }).unwrap();
    assert_eq!(told.answers[0].decision, Verdict::GatewayTimeout);
    let told = running.client().explain(&question("http://one.example/2")).unwrap();
    assert_eq!(told.answers[0].cache_status, "larder; fwd=uri-miss");
    assert_eq!(running.client().stats().unwrap().requests, 2, "a question is no request");
}

#[test]
fn what_describes_no_request_cannot_be_explained() {
    let running = Running::start(None);
    let header = |line: &str| Explain { fields: vec![line.to_owned()], ..question("http://a.example/") };
    let method = Explain { method: "GET it".to_owned(), ..question("http://a.example/") };
    for (wrong, why) in [
        (question("ftp://a.example/"), "not the URL of a request"),
        (header("no colon"), "write `Name: value`"),
        (header("a: b\r\nc: d"), "write `Name: value`"),
        (method, "is not a method"),
    ] {
        let error = running.client().explain(&wrong).unwrap_err();
        assert!(matches!(&error, ClientError::Refused { status: 400, .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn an_explanation_over_tcp_needs_the_token() {
    let running = Running::start(Some(TOKEN));
    let body = r#"{"url":"http://one.example/"}"#;
    assert_eq!(running.post("/explain", "", body).0, 401);
    assert_eq!(running.get("/explain").0, 405);
    let (status, answer) = running.post("/explain", "Authorization: Bearer s3cret\r\n", body);
    assert_eq!(status, 200);
    assert!(answer.contains(r#""decision":"forward""#), "{answer}");
    assert_eq!(Running::start(None).post("/explain", "", body).0, 403);
}

#[test]
fn a_body_that_is_announced_too_long_is_not_waited_for() {
    let running = Running::start(Some(TOKEN));
    let request = "POST /purge HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\nContent-Length: 65537\r\n\r\n";
    assert_eq!(running.tcp(request).0, 413);
}

#[test]
fn idle_connections_to_tcp_do_not_shut_out_the_socket() {
    let running = Running::start(None);
    let _idle: Vec<_> = (0..80).map(|_| TcpStream::connect(running.address()).unwrap()).collect();
    assert_eq!(running.client().stats().unwrap().requests, 2);
}

#[test]
fn stopping_closes_both_doors_and_removes_the_socket() {
    let Running { control, dir, .. } = Running::start(None);
    let address = control.address().unwrap();
    drop(control);
    assert!(!socket_path(dir.path()).exists());
    assert!(Client::connect(dir.path()).unwrap().is_none());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_client_is_told_what_the_proxy_refused() {
    let running = Running::start(None);
    let error = running.client().purge(&Purge::All(false)).unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 400, .. }), "{error:?}");
    assert_eq!(error.to_string(), "`all` must be true");
}

#[test]
fn an_address_and_a_path_that_cannot_be_listened_on_are_named() {
    let running = Running::start(None);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path())).unwrap();
    let metrics = Arc::new(Metrics::new(Timestamp::from_secs(0)));
    let clock = Clock::manual(Timestamp::from_secs(0));
    let flights = Arc::new(crate::collapse::Flights::new(1, std::time::Duration::ZERO));
    let failure =
        |config: Config| start(&config, &metrics, &store, &clock, &flights).unwrap_err().to_string();
    let taken = Admin { address: running.address(), token: None };
    let error = failure(Config { admin: Some(taken), ..Config::default() });
    assert!(error.contains(&running.address().to_string()), "{error}");
    let missing = socket_path(&dir.path().join("missing"));
    let error = failure(Config { control_socket: Some(missing.clone()), ..Config::default() });
    assert!(error.contains(&missing.display().to_string()), "{error}");
    assert!(start(&Config::default(), &metrics, &store, &clock, &flights).unwrap().is_none());
}
