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
        let control = start(&config, &metrics, &store, &clock, &flights, &Arc::default()).unwrap().unwrap();
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
    let of = |json| serde_json::from_str::<Selection>(json).unwrap();
    for (what, removed) in [
        (of(r#"{"url": "http://two.example:80/2"}"#), 1),
        (of(r#"{"url": "http://two.example/2"}"#), 0),
        (of(r#"{"host": "ONE.example", "tag": "c"}"#), 0),
        (of(r#"{"host": "ONE.example", "older_ms": 1}"#), 0),
        (of(r#"{"host": "ONE.example", "newer_ms": 1}"#), 2),
        (of(r#"{"tag": "a"}"#), 1),
        (of(r#"{"all": true}"#), 2),
        (of(r#"{"all": true}"#), 0),
    ] {
        let bytes = removed * 4;
        assert_eq!(running.client().purge(&what).unwrap(), Removed { removed, bytes }, "{what:?}");
    }
}

/// What a list has.
fn listed(running: &Running, list: &str) -> Vec<Listed> {
    let mut lines = Vec::new();
    let list: List = serde_json::from_str(list).unwrap();
    running
        .client()
        .list(&list, |listed| {
            lines.push(listed);
            true
        })
        .unwrap();
    lines
}

#[tokio::test]
async fn a_list_tells_all_or_what_is_selected_in_the_order_asked_for() {
    let running = Running::start(None);
    running.store("a, b", &["http://two.example/2", "http://one.example/1", "http://three.example/3"]).await;
    running.store("b", &["http://one.example/0"]).await;
    let urls = |list| listed(&running, list).into_iter().map(|one| one.url).collect::<Vec<_>>();
    assert_eq!(urls("{}").len(), 4);
    assert_eq!(
        urls(r#"{"select": {"host": "one.example"}}"#),
        ["http://one.example/1", "http://one.example/0"]
    );
    assert_eq!(urls(r#"{"select": {"url": "http://one.example:80/0"}}"#), ["http://one.example/0"]);
    assert_eq!(urls(r#"{"select": {"glob": "one.example/*", "tag": "a"}}"#), ["http://one.example/1"]);
    assert_eq!(urls(r#"{"sort": "url", "limit": 2}"#), ["http://one.example/0", "http://one.example/1"]);
    assert_eq!(urls(r#"{"limit": 3}"#).len(), 3);
    let one = listed(&running, r#"{"select": {"url": "http://one.example/1"}}"#).remove(0);
    assert_eq!(
        (one.status, one.bytes, one.lifetime_ms, one.fresh, one.blob),
        (200, 4, 3_600_000, true, false)
    );
    assert_eq!(
        (one.tags.join("|"), &*one.stored, one.origin),
        ("a|b".to_owned(), "Thu, 01 Jan 1970 00:16:40 GMT", None)
    );
}

#[tokio::test]
async fn a_list_of_more_than_is_buffered_arrives_whole_and_may_be_left() {
    let running = Running::start(None);
    let urls: Vec<String> = (0..1500).map(|n| format!("http://one.example/{n}")).collect();
    running.store("a", &urls.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(listed(&running, "{}").len(), 1500);
    let mut seen = 0;
    let left = running.client().list(&List::default(), |_| {
        seen += 1;
        seen < 5
    });
    assert!(left.is_ok() && seen == 5);
}

#[test]
fn a_list_over_tcp_needs_the_token_and_a_sorted_one_a_limit() {
    let running = Running::start(Some(TOKEN));
    assert_eq!(running.post("/list", "", "{}").0, 401);
    assert_eq!(running.get("/list").0, 405);
    let authorized = "Authorization: Bearer s3cret\r\n";
    let (status, answer) = running.post("/list", authorized, "{}");
    assert_eq!(status, 200);
    assert!(
        answer.contains("content-type: application/jsonl\r\n") && answer.ends_with("\r\n0\r\n\r\n"),
        "{answer}"
    );
    for body in [
        r#"{"sort": "url"}"#,
        r#"{"sort": "age", "limit": 10001}"#,
        r#"{"select": {"glob": "*.deb"}}"#,
        r#"{"select": {"hots": "a"}}"#,
    ] {
        assert_eq!(running.post("/list", authorized, body).0, 400, "{body}");
    }
    assert_eq!(Running::start(None).post("/list", "", "{}").0, 403);
}

#[tokio::test]
async fn verifying_tells_what_was_proved() {
    let running = Running::start(None);
    running.store("a", &["http://one.example/1", "http://one.example/2"]).await;
    for repair in [false, true] {
        let mut lines = Vec::new();
        running.client().verify(Verify { repair }, |line| lines.push(line)).unwrap();
        let Some(VerifyLine::Verified(verified)) = lines.pop() else { panic!("{lines:?}") };
        assert!(verified.sound);
        assert_eq!((verified.records, verified.body_bytes, verified.dropped), (2, 8, 0));
        assert!(lines.iter().all(|line| matches!(line, VerifyLine::Progress(_))), "{lines:?}");
    }
}

#[tokio::test]
async fn verifying_names_what_is_damaged() {
    let running = Running::start(None);
    running.store("a", &["http://one.example/1"]).await;
    let segment =
        std::fs::read_dir(running.dir.path().join("segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"body").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for repair in [false, true] {
        let mut faults = Vec::new();
        let tell = |line| {
            if let VerifyLine::Fault(fault) = line {
                faults.push(fault);
            }
        };
        running.client().verify(Verify { repair }, tell).unwrap();
        assert_eq!(faults.len(), 1);
        let VerifyFault { kind, url, dropped, .. } = faults.remove(0);
        assert_eq!(
            (kind, url.as_deref(), dropped),
            (VerifyFaultKind::DamagedBody, Some("http://one.example/1"), repair)
        );
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
    assert!(answer.ends_with("\r\n\r\n{\"removed\":0,\"bytes\":0}"), "{answer}");
    let from_a_page = "Authorization: Bearer s3cret\r\nOrigin: http://evil.example\r\n";
    assert_eq!(running.post("/purge", from_a_page, body).0, 403);
    assert_eq!(running.post("/verify", "Authorization: Bearer s3cret\r\n", "").0, 200);
}

#[test]
fn listeners_are_lent_on_the_socket_alone() {
    let running = Running::start(Some(TOKEN));
    for path in ["/lend", "/release"] {
        assert_eq!(running.post(path, "", "{}").0, 401);
        let (status, answer) = running.post(path, "Authorization: Bearer s3cret\r\n", "{}");
        assert!(status == 403 && answer.contains("on the control socket alone"), "{answer}");
    }
    let client = Client::connect(running.dir.path()).unwrap().unwrap();
    // No worker runs here, which is how a proxy looks that is starting.
    let refused = client.lend(&Lend::default(), |_| true).unwrap_err();
    assert!(matches!(refused, ClientError::Refused { status: 503, .. }), "{refused:?}");
    assert!(!client.release(1).unwrap().released);
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
        r#"{"all":true,"tag":"a"}"#,
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
    let error = running.client().purge(&Selection::default()).unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 400, .. }), "{error:?}");
    assert_eq!(error.to_string(), "say what to remove; for everything, `all` must be true");
}

#[test]
fn an_address_and_a_path_that_cannot_be_listened_on_are_named() {
    let running = Running::start(None);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path())).unwrap();
    let metrics = Arc::new(Metrics::new(Timestamp::from_secs(0)));
    let clock = Clock::manual(Timestamp::from_secs(0));
    let flights = Arc::new(crate::collapse::Flights::new(1, std::time::Duration::ZERO));
    let failure = |config: Config| {
        start(&config, &metrics, &store, &clock, &flights, &Arc::default()).unwrap_err().to_string()
    };
    let taken = Admin { address: running.address(), token: None };
    let error = failure(Config { admin: Some(taken), ..Config::default() });
    assert!(error.contains(&running.address().to_string()), "{error}");
    let missing = socket_path(&dir.path().join("missing"));
    let error = failure(Config { control_socket: Some(missing.clone()), ..Config::default() });
    assert!(error.contains(&missing.display().to_string()), "{error}");
    assert!(
        start(&Config::default(), &metrics, &store, &clock, &flights, &Arc::default()).unwrap().is_none()
    );
}
